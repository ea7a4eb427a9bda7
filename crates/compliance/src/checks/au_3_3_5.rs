//! 3.3.5: review, analysis and reporting of audit records are correlated.

use model::ControlId;
use model::facts::Facts;

use super::watching::watched_but;
use super::{
    Check, CheckResult, Counted, Scope, Section, cant_read, cant_tell, describe_proofs, not_met,
};

pub(super) const CHECK: Check = Check {
    id: "au_3_3_5",
    control: ControlId::known("3.3.5"),
    title: "Correlation",
    reads: &[Section::Rules, Section::Sources, Section::Daemon],
    scope: Scope {
        population: "every process by which records are reviewed, analyzed and reported",
        counted: Counted::Records,
        cannot_see: "the processes of the organization",
    },
    decide,
};

fn decide(facts: &Facts) -> Vec<CheckResult> {
    let (Some(rules), Some(sources)) = (&facts.rules, &facts.sources) else {
        return cant_read("ab", "rules and sources");
    };
    let on = rules.iter().filter(|r| r.enabled).count();

    let saw = format!(
        "{on} rules{} watch {} sources together",
        describe_proofs(rules),
        sources.len()
    );
    let correlated = match (on, sources.len()) {
        (0, _) => not_met('b', "no rule is on"),
        (_, 0) => not_met('b', "there is no source"),
        // Rules that look at several sources correlate events. The objective is about what people
        // do with them.
        _ => watched_but(
            'b',
            facts,
            saw,
            "the defined processes, and a person who says that they are correlated",
        ),
    };

    vec![
        cant_tell('a', "", "the procedure for review, analysis and reporting"),
        correlated,
    ]
}
