//! 3.12.3: security controls are monitored on an ongoing basis.

use model::ControlId;
use model::facts::Facts;

use super::{Check, Says, Section, holds, unread};

pub(super) const CHECK: Check = Check {
    id: "ca_3_12_3",
    control: ControlId::known("3.12.3"),
    title: "Ongoing monitoring",
    reads: &[Section::Programme, Section::Sources, Section::Rules],
    decide,
};

fn decide(facts: &Facts) -> Vec<Says> {
    let (Some(p), Some(rules)) = (&facts.programme, &facts.rules) else { return unread("a", "checks and rules") };
    let on = rules.iter().filter(|r| r.enabled).count();
    let saw = format!(
        "{on} rules watch at all times; {} results of checks were kept in {} days; {} pieces of evidence have lapsed",
        p.checks_run, facts.days, p.lapsed
    );
    vec![holds('a', on > 0 && p.checks_run > 0, saw.clone(), saw)]
}
