//! 3.4.5: who may change the system. What everybody may write to is restricted to nobody.

use model::ControlId;
use model::facts::Facts;

use super::{Check, Says, Section, cant_tell, each, not_met, some, unread};

pub(super) const CHECK: Check = Check {
    id: "cm_3_4_5",
    control: ControlId::known("3.4.5"),
    title: "Who may write to what decides what runs",
    reads: &[Section::Host],
    decide,
};

fn decide(facts: &Facts) -> Vec<Says> {
    let Some(h) = &facts.host else {
        return unread("abcdefgh", "the machine's files");
    };
    let mut says = each("abcd", |o| {
        cant_tell(
            o,
            "",
            "the physical access restrictions, which no software sees",
        )
    });

    says.extend(each("efg", |o| {
        cant_tell(
            o,
            "",
            "the document that defines who may change systems, with its approval",
        )
    }));

    says.push(match &h.writable {
        None => cant_tell(
            'h',
            "",
            "the permissions of system files, which could not be read",
        ),
        Some(open) if open.is_empty() => cant_tell(
            'h',
            "no system file or folder of this machine is writable by everybody",
            "the list of those who may change systems, and the rights on the other machines",
        ),
        Some(open) => not_met(
            'h',
            format!("everybody on this machine may write to {}", some(open)),
        ),
    });

    says
}
