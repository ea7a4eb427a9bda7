//! The reference of the checks, `docs/checks.md`.

use std::fmt::Write as _;

use super::ALL;

const HEAD: &str = "# Compliance checks

What each check looks at, what the objectives of its requirement must hold for, how the part of
that which was seen is counted, and what blueteam cannot see of it. Results state their coverage:
\"seen on 2 of 5 hosts\". Below full coverage nothing is met, whatever was seen. A check proposes, a
person decides ([decision 0014](decisions/0014-findings-are-decided-by-people.md)).

Hosts are the assets in scope of the asset inventory (`blueteam compliance assets`). Settings are
read on blueteam's own machine alone. Records count for a host if they arrived on each day of the
period. Where no number of the whole is known, as of the accounts of all systems, nothing is met.

| requirement | check | must hold for | counted | cannot be seen |
|---|---|---|---|---|
";

/// Returns the text of `docs/checks.md`.
pub fn reference() -> String {
    let mut text = HEAD.to_owned();
    for check in ALL {
        let scope = &check.scope;
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} |",
            check.control,
            check.title,
            scope.population,
            scope.counted.description(),
            scope.cannot_see
        );
    }

    text
}
