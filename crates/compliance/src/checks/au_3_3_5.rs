//! 3.3.5: review, analysis and reporting of audit records are correlated.

use model::ControlId;
use model::facts::Facts;

use super::watching::met_if_watching;
use super::{
    Check, CheckResult, Section, cant_read, cant_tell, describe_proofs, list_first, not_met,
};

pub(super) const CHECK: Check = Check {
    id: "au_3_3_5",
    control: ControlId::known("3.3.5"),
    title: "Correlation",
    reads: &[Section::Rules, Section::Sources, Section::Daemon],
    decide,
};

fn decide(facts: &Facts) -> Vec<CheckResult> {
    let (Some(rules), Some(sources)) = (&facts.rules, &facts.sources) else {
        return cant_read("ab", "rules and sources");
    };
    let on = rules.iter().filter(|r| r.enabled).count();
    let off: Vec<String> = rules
        .iter()
        .filter(|r| !r.enabled)
        .map(|r| r.rule_id.clone())
        .collect();

    let saw = format!(
        "{on} rules{} watch {} sources together",
        describe_proofs(rules),
        sources.len()
    );
    let correlated = match (on, sources.len()) {
        (0, _) => not_met('b', "no rule is on"),
        (_, 0) => not_met('b', "there is no source"),
        _ if off.is_empty() => met_if_watching('b', facts, rules.iter(), saw),
        _ => met_if_watching(
            'b',
            facts,
            rules.iter(),
            format!("{saw}; off: {}", list_first(&off)),
        ),
    };

    vec![
        cant_tell('a', "", "the procedure for review, analysis and reporting"),
        correlated,
    ]
}
