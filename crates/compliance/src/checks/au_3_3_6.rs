//! 3.3.6: audit record reduction and report generation on demand. That blueteam can search and
//! report says nothing of records that it does not hold, nor that anyone uses it.

use model::ControlId;
use model::facts::Facts;

use super::watching::met_if_recorded;
use super::{
    Check, CheckResult, Counted, Scope, Section, cant_read, cant_tell, for_each_objective,
};

pub(super) const CHECK: Check = Check {
    id: "au_3_3_6",
    control: ControlId::known("3.3.6"),
    title: "Audit reduction and reports",
    reads: &[Section::Programme, Section::Sources],
    scope: Scope {
        population: "the records of every asset, of every day",
        counted: Counted::Records,
        cannot_see: "records that never left their asset, and who sends in another's name",
    },
    decide,
};

fn decide(facts: &Facts) -> Vec<CheckResult> {
    let Some(p) = &facts.programme else {
        return cant_read("ab", "the record of questions");
    };
    if p.queries == 0 {
        return for_each_objective("ab", |o| {
            cant_tell(
                o,
                format!("nobody asked anything of the record in {} days", facts.days),
                "people who analyze the record and report from it",
            )
        });
    }

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
            format!("`events export`, `report` and `compliance export` write reports; {saw}"),
        ),
    ]
}
