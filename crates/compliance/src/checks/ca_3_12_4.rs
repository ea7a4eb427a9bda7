//! 3.12.4: the system security plan.

use model::ControlId;
use model::facts::Facts;

use super::{
    Check, CheckResult, Counted, Scope, Section, cant_read, cant_tell, for_each_objective, not_met,
};

pub(super) const CHECK: Check = Check {
    id: "ca_3_12_4",
    control: ControlId::known("3.12.4"),
    title: "System security plan",
    reads: &[Section::Programme],
    scope: Scope {
        population: "every section of the plan, for the whole system",
        counted: Counted::Documents,
        cannot_see: "what the plan says",
    },
    decide,
};

fn decide(facts: &Facts) -> Vec<CheckResult> {
    let Some(p) = &facts.programme else {
        return cant_read("abcdefgh", "the plan");
    };
    let needs = "a person who reads the plan";
    let saw = p
        .plan_approved
        .map_or(String::new(), |at| format!("a plan was approved on {at}"));
    let stale = p
        .plan_approved
        .is_some_and(|at| at < facts.taken_at.minus(model::Span::days(366)));

    let mut says = match p.plan_approved {
        None => vec![not_met(
            'a',
            "no approved system security plan is among the evidence of 3.12.4",
        )],
        // An approved file may be empty.
        Some(_) => vec![cant_tell('a', saw.clone(), needs)],
    };

    says.extend(for_each_objective("bcdefg", |o| {
        cant_tell(o, saw.clone(), needs)
    }));
    says.push(if stale {
        not_met('h', format!("{saw}, more than a year ago"))
    } else {
        cant_tell('h', saw, "how often it is to be updated")
    });

    says
}
