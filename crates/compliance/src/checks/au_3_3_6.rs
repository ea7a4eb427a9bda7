//! 3.3.6: audit record reduction and report generation on demand. blueteam is the capability, for
//! the records that it holds.

use model::ControlId;
use model::facts::Facts;

use super::watching::met_if_recorded;
use super::{Check, CheckResult, Section, cant_read};

pub(super) const CHECK: Check = Check {
    id: "au_3_3_6",
    control: ControlId::known("3.3.6"),
    title: "Audit reduction and reports",
    reads: &[Section::Programme, Section::Sources],
    decide,
};

fn decide(facts: &Facts) -> Vec<CheckResult> {
    let Some(p) = &facts.programme else {
        return cant_read("ab", "the record of questions");
    };
    let saw = format!(
        "{} questions were asked of the record in {} days, each of them recorded",
        p.queries, facts.days
    );
    vec![
        met_if_recorded(
            'a',
            facts,
            format!("`events search`, `stats` and `tail` filter and count on demand; {saw}"),
        ),
        met_if_recorded(
            'b',
            facts,
            "`events export`, `report` and `compliance export` write reports on demand",
        ),
    ]
}
