//! Which requirements of NIST SP 800-171 a finding is about: by its CWE, otherwise by its kind.
//! Where nothing fits there is none: a requirement that is named without need sends people to the
//! wrong place.

/// What kind of thing a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A module of our own format, which names its requirements itself.
    Module,
    /// A known vulnerability of a component.
    Component,
    /// A setting that is not as it should be.
    Setting,
    /// A password or key that stands where it can be read.
    Secret,
    /// A port that answers.
    Port,
    /// A port whose protocol sends everything in plain text.
    PlainTextPort,
    /// Something else; only its CWE says what.
    Other,
}

/// A line of the table.
struct Mapping {
    cwes: &'static [u32],
    controls: &'static [&'static str],
    /// Why.
    reason: &'static str,
}

const BY_CWE: &[Mapping] = &[
    Mapping {
        cwes: &[
            20, 22, 23, 36, 73, 74, 77, 78, 79, 80, 88, 89, 90, 91, 94, 95, 98, 113, 116, 119, 120,
            125, 134, 190, 415, 416, 434, 470, 476, 502, 564, 601, 611, 643, 776, 787, 917, 918,
            943, 1236, 1321, 1336,
        ],
        controls: &["3.14.1"],
        reason: "a flaw of the program itself, which is to be found and corrected in time",
    },
    Mapping {
        cwes: &[287, 288, 289, 290, 294, 302, 303, 304, 305, 306, 1390],
        controls: &["3.5.2"],
        reason: "someone gets in without proving who they are",
    },
    Mapping {
        cwes: &[308, 309],
        controls: &["3.5.3"],
        reason: "a password alone is enough",
    },
    Mapping {
        cwes: &[307, 799, 837],
        controls: &["3.1.8"],
        reason: "attempts to sign in are not limited",
    },
    Mapping {
        cwes: &[521, 1391, 1392, 1393],
        controls: &["3.5.7"],
        reason: "weak or default passwords are taken",
    },
    Mapping {
        cwes: &[
            256, 257, 258, 259, 260, 261, 321, 522, 523, 547, 549, 555, 759, 760, 798, 836, 916,
        ],
        controls: &["3.5.10"],
        reason: "a password or key is stored or sent so that it can be read",
    },
    Mapping {
        cwes: &[613],
        controls: &["3.1.11"],
        reason: "a session does not end",
    },
    Mapping {
        cwes: &[345, 346, 347, 352, 353, 384, 441, 565, 784, 1385],
        controls: &["3.13.15"],
        reason: "it is not checked that a session or message comes from whom it seems to",
    },
    Mapping {
        cwes: &[
            284, 285, 425, 552, 566, 639, 651, 668, 732, 862, 863, 922, 1220,
        ],
        controls: &["3.1.1", "3.1.2"],
        reason: "someone reaches what they have no right to",
    },
    Mapping {
        cwes: &[250, 266, 267, 268, 269, 270, 271, 272, 273, 274, 276, 280],
        controls: &["3.1.5"],
        reason: "something runs with, or gives, more rights than it needs",
    },
    Mapping {
        cwes: &[5, 319, 614],
        controls: &["3.13.8"],
        reason: "something is sent in plain text",
    },
    Mapping {
        cwes: &[
            295, 296, 297, 298, 299, 310, 322, 323, 324, 325, 326, 327, 328, 329, 330, 331, 335,
            338, 340, 347, 757, 780, 1204, 1240, 1241,
        ],
        controls: &["3.13.11"],
        reason: "the cryptography is weak, or not the validated one",
    },
    Mapping {
        cwes: &[311, 312, 313, 314, 315, 316, 317, 318],
        controls: &["3.13.16"],
        reason: "something is stored in plain text",
    },
    Mapping {
        cwes: &[200, 201, 203, 359, 402, 532, 538, 540, 598, 615],
        controls: &["3.1.3"],
        reason: "information flows where it does not belong",
    },
    Mapping {
        cwes: &[
            2, 7, 11, 12, 13, 15, 16, 209, 497, 525, 526, 530, 548, 693, 942, 1004, 1021, 1032,
            1188, 1275, 1295, 1327,
        ],
        controls: &["3.4.2"],
        reason: "a security setting is missing, or as the manufacturer left it",
    },
    Mapping {
        cwes: &[489, 1242],
        controls: &["3.4.6"],
        reason: "something is switched on that is not needed",
    },
    Mapping {
        cwes: &[223, 778],
        controls: &["3.3.1"],
        reason: "what happens is not recorded",
    },
    Mapping {
        cwes: &[117],
        controls: &["3.3.8"],
        reason: "the record can be forged",
    },
    Mapping {
        cwes: &[494, 506, 507, 509, 829, 830, 1357],
        controls: &["3.14.2"],
        reason: "code of strangers is run",
    },
    Mapping {
        cwes: &[937, 1035, 1104, 1395],
        controls: &["3.11.2", "3.14.1"],
        reason: "a component has a known vulnerability",
    },
];

/// Returns the requirements of a finding, in order.
pub fn of(cwes: &[u32], kind: Kind) -> Vec<String> {
    let by_kind: &[&str] = match kind {
        // A scan finds it, and the update that corrects it is due.
        Kind::Component => &["3.11.2", "3.11.3", "3.14.1"],
        // Settings are established and enforced.
        Kind::Setting => &["3.4.2"],
        // Passwords are stored and sent protected.
        Kind::Secret => &["3.5.10"],
        // What is not needed is closed.
        Kind::Port => &["3.4.7"],
        // The same, and what is sent is protected.
        Kind::PlainTextPort => &["3.4.7", "3.13.8"],
        Kind::Module | Kind::Other => &[],
    };
    let by_cwe = BY_CWE
        .iter()
        .filter(|line| cwes.iter().any(|cwe| line.cwes.contains(cwe)))
        .flat_map(|line| line.controls);

    // What is wrong inside a component is its authors' to know: for us it is an update.
    if kind == Kind::Component {
        return in_order(by_kind.iter().copied());
    }
    let named = in_order(by_cwe.copied());
    if named.is_empty() {
        return in_order(by_kind.iter().copied());
    }
    named
}

/// Returns why a finding of this CWE concerns the requirements that it does.
pub fn reason(cwe: u32) -> Option<&'static str> {
    let line = BY_CWE.iter().find(|line| line.cwes.contains(&cwe));
    line.map(|line| line.reason)
}

/// Returns the requirements that a report names: `3.5.3`, `IA.L2-3.5.3`, `3.5.3[a]`. What is none
/// is left out.
pub(crate) fn given(names: &[String]) -> Vec<String> {
    let number = |name: &String| {
        let name = name.trim();
        let name = name.rsplit_once('-').map_or(name, |(_, number)| number);
        let name = name.split('[').next().unwrap_or_default().trim();
        is_requirement(name).then(|| name.to_owned())
    };
    let mut found: Vec<String> = names.iter().take(50).filter_map(number).collect();
    found.sort_by_key(|id| order(id));
    found.dedup();
    found
}

/// How many requirements each family of revision 2 has, from 3.1 on.
const FAMILIES: [u8; 14] = [22, 3, 9, 9, 11, 3, 6, 9, 2, 6, 3, 4, 16, 7];

fn is_requirement(name: &str) -> bool {
    let (family, number) = order(name);
    let most = family
        .checked_sub(1)
        .and_then(|place| FAMILIES.get(usize::from(place)));
    name == format!("3.{family}.{number}") && most.is_some_and(|most| (1..=*most).contains(&number))
}

fn order(name: &str) -> (u8, u8) {
    let mut parts = name
        .split('.')
        .skip(1)
        .map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

fn in_order<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut names: Vec<String> = names.map(str::to_owned).collect();
    names.sort_by_key(|id| order(id));
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_of_the_table_names_requirements_and_says_why() {
        for line in BY_CWE {
            assert!(!line.cwes.is_empty() && !line.reason.is_empty());
            assert!(
                line.controls.iter().all(|id| is_requirement(id)),
                "{:?}",
                line.controls
            );
        }
    }

    #[test]
    fn a_finding_has_the_requirements_of_its_weakness() {
        assert_eq!(of(&[79], Kind::Other), ["3.14.1"]);
        assert_eq!(of(&[347], Kind::Other), ["3.13.11", "3.13.15"]);
        assert_eq!(of(&[79], Kind::Component), ["3.11.2", "3.11.3", "3.14.1"]);
        assert!(of(&[4_000_000], Kind::Other).is_empty());
    }

    #[test]
    fn a_report_names_them_in_any_way() {
        let names = ["IA.L2-3.5.3", "3.1.8[a]", "3.5.3", "9.9.9", "3.1.23"];

        assert_eq!(given(&names.map(str::to_owned)), ["3.1.8", "3.5.3"]);
    }
}
