//! 3.13.16: the confidentiality of CUI at rest is protected.

use model::ControlId;
use model::facts::Facts;

use super::{Check, CheckResult, Section, cant_read, cant_tell, not_met};

pub(super) const CHECK: Check = Check {
    id: "sc_3_13_16",
    control: ControlId::known("3.13.16"),
    title: "Encryption under the data",
    reads: &[Section::Host],
    decide,
};

fn decide(facts: &Facts) -> Vec<CheckResult> {
    let Some(h) = &facts.host else {
        return cant_read("a", "the machine");
    };
    match h.data_encrypted {
        Some(false) => vec![not_met(
            'a',
            "the disk under the data directory is not encrypted (no dm-crypt below it)",
        )],
        Some(true) => vec![cant_tell(
            'a',
            "the disk under the data directory is encrypted (dm-crypt)",
            "the same of every place where CUI rests",
        )],
        None => vec![cant_tell('a', "", "the device under the data directory")],
    }
}
