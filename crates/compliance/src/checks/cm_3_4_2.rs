//! 3.4.2: security settings are enforced. A setting that differs from the approved baseline is a
//! counterexample.

use std::collections::BTreeMap;

use model::ControlId;
use model::facts::Facts;

use super::{
    Check, CheckResult, Counted, Scope, Section, cant_read, cant_tell, list_first, not_met,
};

pub(super) const CHECK: Check = Check {
    id: "cm_3_4_2",
    control: ControlId::known("3.4.2"),
    title: "Security settings of this machine against its baseline",
    reads: &[Section::Host],
    scope: Scope {
        population: "every security setting of every product in use",
        counted: Counted::Settings,
        cannot_see: "other machines, and settings that no baseline holds",
    },
    decide,
};

/// Parts of a drift that are not settings.
const NOT_SETTINGS: [&str; 4] = ["operating system", "packages", "open ports", "services"];

fn decide(facts: &Facts) -> Vec<CheckResult> {
    let Some(h) = &facts.host else {
        return cant_read("ab", "the machine's settings");
    };
    let of = |map: &Option<BTreeMap<String, String>>| map.as_ref().map_or(0, BTreeMap::len);
    let (kernel, files) = (of(&h.kernel), of(&h.files));
    let saw = format!(
        "{kernel} kernel settings and {files} files that configure security are read on this \
            machine"
    );

    let settings: Option<Vec<String>> = h.drift.as_ref().map(|drift| {
        drift
            .iter()
            .filter(|d| !NOT_SETTINGS.contains(&d.as_str()))
            .cloned()
            .collect()
    });

    let enforced = match settings {
        None => cant_tell(
            'b',
            saw.clone(),
            "an approved baseline: `compliance evidence baseline` with the evidence of 3.4.1",
        ),
        Some(differ) if differ.is_empty() => cant_tell(
            'b',
            "the settings of this machine are those of its approved baseline",
            "the same of the other machines",
        ),
        Some(differ) => not_met(
            'b',
            format!(
                "settings of this machine differ from its approved baseline: {}",
                list_first(&differ)
            ),
        ),
    };

    vec![
        cant_tell(
            'a',
            saw,
            "the settings that the organization has established",
        ),
        enforced,
    ]
}
