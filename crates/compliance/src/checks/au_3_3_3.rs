//! 3.3.3: logged events are reviewed and updated.

use model::ControlId;
use model::facts::Facts;

use super::{Check, CheckResult, Section, cant_read, cant_tell, met, not_met};

pub(super) const CHECK: Check = Check {
    id: "au_3_3_3",
    control: ControlId::known("3.3.3"),
    title: "Review of the types of logged events",
    reads: &[Section::Programme],
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
        Some(at) => met('b', format!("reviewed and signed on {at}")),
    };

    vec![cant_tell('a', "", a), reviewed, cant_tell('c', "", c)]
}
