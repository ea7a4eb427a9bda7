//! 3.3.3: logged events are reviewed and updated.

use model::ControlId;
use model::facts::Facts;

use super::{Check, CheckResult, Counted, Scope, Section, cant_read, cant_tell, not_met};

pub(super) const CHECK: Check = Check {
    id: "au_3_3_3",
    control: ControlId::known("3.3.3"),
    title: "Review of the types of logged events",
    reads: &[Section::Programme],
    scope: Scope {
        population: "every event type that an asset logs or should log",
        counted: Counted::Records,
        cannot_see: "the process by which it was reviewed, and what a reviewer looked at",
    },
    decide,
};

fn decide(facts: &Facts) -> Vec<CheckResult> {
    let Some(p) = &facts.programme else {
        return cant_read("abc", "reviews");
    };
    let (a, c) = (
        "the policy that defines the process",
        "what the review led to",
    );
    let reviewed = match p.last_review {
        None => not_met(
            'b',
            "nobody has ever signed a review of the logged event types",
        ),
        Some(at) if at < facts.taken_at.minus(crate::review::VALID) => not_met(
            'b',
            format!("the last review was signed on {at}, more than a quarter ago"),
        ),
        // A signature shows that a person signed. Whether that is the defined process, and whether
        // what should be logged was looked at, too, is in documents.
        Some(at) => cant_tell(
            'b',
            format!("reviewed and signed on {at}"),
            "the defined process, to compare the review with, and a person who reads the review",
        ),
    };

    vec![cant_tell('a', "", a), reviewed, cant_tell('c', "", c)]
}
