//! 3.13.16: the confidentiality of CUI at rest is protected.

use model::ControlId;
use model::facts::Facts;

use super::{Check, CheckResult, Counted, Scope, Section, cant_read, cant_tell};

pub(super) const CHECK: Check = Check {
    id: "sc_3_13_16",
    control: ControlId::known("3.13.16"),
    title: "Encryption under the data",
    reads: &[Section::Host],
    scope: Scope {
        population: "every place where CUI rests",
        counted: Counted::Settings,
        cannot_see: "encryption by drives, file systems, clouds and applications, and other places",
    },
    decide,
};

fn decide(facts: &Facts) -> Vec<CheckResult> {
    let Some(h) = &facts.host else {
        return cant_read("a", "the machine");
    };
    match h.data_encrypted {
        // Drives, file systems and clouds encrypt without dm-crypt, and not all data is CUI.
        Some(false) => vec![cant_tell(
            'a',
            "there is no dm-crypt below the data directory of this machine",
            "how every place where CUI rests is encrypted",
        )],
        Some(true) => vec![cant_tell(
            'a',
            "the disk under the data directory is encrypted (dm-crypt)",
            "the same of every place where CUI rests",
        )],
        None => vec![cant_tell('a', "", "the device under the data directory")],
    }
}
