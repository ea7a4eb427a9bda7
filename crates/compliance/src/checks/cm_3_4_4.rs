//! 3.4.4: the impact of changes is analyzed beforehand. Software sees the changes, but not the
//! analysis.

use model::ControlId;
use model::facts::Facts;

use super::{Check, CheckResult, Counted, Scope, Section, cant_read, cant_tell, list_first};

pub(super) const CHECK: Check = Check {
    id: "cm_3_4_4",
    control: ControlId::known("3.4.4"),
    title: "Changes of this machine that were to be analyzed",
    reads: &[Section::Host],
    scope: Scope {
        population: "every change to every system",
        counted: Counted::Settings,
        cannot_see: "any analysis, and changes of other machines",
    },
    decide,
};

fn decide(facts: &Facts) -> Vec<CheckResult> {
    let Some(h) = &facts.host else {
        return cant_read("a", "the machine's settings");
    };
    let saw = match &h.drift {
        None => "there is no approved baseline to see changes by".to_owned(),
        Some(drift) if drift.is_empty() => {
            "nothing of this machine changed since its baseline was approved".to_owned()
        }
        Some(drift) => format!(
            "changed since the baseline was approved: {}",
            list_first(drift)
        ),
    };

    vec![cant_tell(
        'a',
        saw,
        "the analysis of each change, with a date before it",
    )]
}
