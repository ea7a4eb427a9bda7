//! 3.13.11: FIPS-validated cryptography.

use model::ControlId;
use model::facts::Facts;

use super::{Check, CheckResult, Counted, Scope, Section, cant_read, cant_tell};

pub(super) const CHECK: Check = Check {
    id: "sc_3_13_11",
    control: ControlId::known("3.13.11"),
    title: "FIPS mode",
    reads: &[Section::Host],
    scope: Scope {
        population: "every module that encrypts CUI, wherever it runs",
        counted: Counted::Settings,
        cannot_see: "the modules that programs use, and their certificates",
    },
    decide,
};

fn decide(facts: &Facts) -> Vec<CheckResult> {
    let Some(h) = &facts.host else {
        return cant_read("a", "the machine");
    };
    match h.fips {
        // Neither mode decides it: a validated module may run on any kernel, and programs on a
        // kernel in FIPS mode may bring cryptography of their own.
        Some(false) => vec![cant_tell(
            'a',
            "the kernel of this machine does not run in FIPS mode",
            "the certificates (CMVP) of the modules that protect CUI",
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
