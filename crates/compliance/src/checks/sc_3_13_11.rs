//! 3.13.11: FIPS-validated cryptography.

use model::ControlId;
use model::facts::Facts;

use super::{Check, CheckResult, Section, cant_read, cant_tell, not_met};

pub(super) const CHECK: Check = Check {
    id: "sc_3_13_11",
    control: ControlId::known("3.13.11"),
    title: "FIPS mode",
    reads: &[Section::Host],
    decide,
};

fn decide(facts: &Facts) -> Vec<CheckResult> {
    let Some(h) = &facts.host else {
        return cant_read("a", "the machine");
    };
    match h.fips {
        Some(false) => vec![not_met(
            'a',
            "the kernel of this machine does not run in FIPS mode",
        )],
        Some(true) => vec![cant_tell(
            'a',
            "the kernel of this machine runs in FIPS mode",
            "the certificates (CMVP) of the modules that protect CUI",
        )],
        None => vec![cant_tell(
            'a',
            "",
            "a kernel that says whether it runs in FIPS mode",
        )],
    }
}
