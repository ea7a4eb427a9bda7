//! 3.14.3: alerts and advisories are monitored and acted on.

use model::ControlId;
use model::facts::Facts;

use super::{Check, Says, Section, cant_tell, not_met, unread};

pub(super) const CHECK: Check = Check {
    id: "si_3_14_3",
    control: ControlId::known("3.14.3"),
    title: "Alerts that people acted on",
    reads: &[Section::Alerts],
    decide,
};

fn decide(facts: &Facts) -> Vec<Says> {
    let Some(a) = &facts.alerts else { return unread("abc", "alerts") };
    let total: u64 = a.by_severity.values().sum();
    let saw = format!("{} of {total} alerts were acknowledged in {} days", a.acknowledged, facts.days);
    let taken = match (total, a.acknowledged) {
        (0, _) => cant_tell('c', saw.clone(), "an alert or an advisory"),
        (_, 0) => not_met('c', saw.clone()),
        _ => cant_tell('c', saw.clone(), "a person who looks at the responses"),
    };
    vec![
        cant_tell('a', "", "the procedure"),
        cant_tell('b', saw, "the advisories that are followed (CISA, vendors)"),
        taken,
    ]
}
