//! The hash list of an assessment package (32 CFR 170.17(c)(4); CMMC Hashing Guide v2.13): name,
//! value and algorithm of each artifact.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;

use model::evidence::Confirmation;
use model::{Evidence, EvidenceId};

use crate::checks;
use crate::dates::format_day;

/// An artifact of the hash list.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Artifact {
    /// Its name in the package, unique in the list.
    pub name: String,
    /// SHA-256 in hexadecimal.
    pub sha256: String,
}

/// File name of the confirmations list.
pub const CONFIRMATIONS: &str = "confirmations.csv";

/// The longest middle part of a name, in bytes.
const SUBJECT_MAX: usize = 60;
/// The longest ending of a file's name, in bytes.
const EXTENSION_MAX: usize = 8;

/// Returns the name of each piece in a package: requirement, subject and day, as in
/// `3.3.8-audit-table-permissions-2026-11-29.txt`.
///
/// Names are unique without regard to case, hold only what every file system takes, and depend on
/// nothing but the pieces; a later piece never changes the name of an earlier one.
pub fn names(evidence: &[Evidence]) -> BTreeMap<EvidenceId, String> {
    let mut pieces: Vec<&Evidence> = evidence.iter().collect();
    pieces.sort_by_key(|e| (e.collected_at, e.evidence_id));

    let mut taken = HashSet::new();
    let mut names = BTreeMap::new();
    for e in pieces {
        let stem = format!(
            "{}-{}-{}",
            file_words(&e.control_id.0, '.'),
            subject(e),
            format_day(e.effective_at.unwrap_or(e.collected_at))
        );
        let extension = extension(e);
        let name = (1..=evidence.len() + 1)
            .map(|n| match n {
                1 => format!("{stem}{extension}"),
                n => format!("{stem}-{n}{extension}"),
            })
            .find(|name| !taken.contains(name))
            .unwrap_or_default();

        taken.insert(name.clone());
        names.insert(e.evidence_id, name);
    }

    names
}

/// Returns what a piece is, in words that a file's name may hold: the title of its check, the name
/// that its file had, or its description.
fn subject(e: &Evidence) -> String {
    let check = e.recorded.as_ref().and_then(|r| checks::find(&r.check_id));
    let file = e.file_name.as_deref().map(|name| split_name(name).0);
    let text = check
        .map(|check| check.title)
        .or(file)
        .unwrap_or(&e.description);

    let mut words = file_words(text, '-');
    if let Some(rest) = words.strip_prefix(&format!("{}-", file_words(&e.control_id.0, '-'))) {
        words = rest.to_owned();
    }
    if words.len() > SUBJECT_MAX {
        let end = words[..=SUBJECT_MAX].rfind('-').unwrap_or(SUBJECT_MAX);
        words.truncate(end);
    }
    // Of a name in another script, no letter may be left.
    if words.is_empty() {
        words = file_words(e.kind.as_str(), '-');
    }

    words
}

/// Returns the ending of the file that a piece was, with its dot; of a text, that of a text.
fn extension(e: &Evidence) -> String {
    let ending = e
        .file_name
        .as_deref()
        .map_or(Some("txt"), |name| split_name(name).1);
    ending.map_or_else(String::new, |ending| {
        format!(".{}", ending.to_ascii_lowercase())
    })
}

/// Splits the name of a file into stem and ending.
fn split_name(name: &str) -> (&str, Option<&str>) {
    let is_plain = |ending: &str| {
        (1..=EXTENSION_MAX).contains(&ending.len())
            && ending.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    match name.rsplit_once('.') {
        Some((stem, ending)) if !stem.is_empty() && is_plain(ending) => (stem, Some(ending)),
        _ => (name, None),
    }
}

/// Returns a text in lower case with everything but ASCII letters and digits as one separator.
pub fn file_words(text: &str, separator: char) -> String {
    let mut out = String::new();
    for c in text.chars().flat_map(plain_letter) {
        if c.is_ascii_alphanumeric() {
            out.push(c.to_ascii_lowercase());
        } else if !out.is_empty() && !out.ends_with(separator) {
            out.push(separator);
        }
    }

    out.trim_end_matches(separator).to_owned()
}

/// Returns the ASCII letters that stand for a letter of Western European languages.
fn plain_letter(c: char) -> impl Iterator<Item = char> {
    const LETTERS: [(&str, &str); 11] = [
        ("àáâãåāăą", "a"),
        ("äæ", "ae"),
        ("çćč", "c"),
        ("èéêëēęě", "e"),
        ("ìíîïīį", "i"),
        ("ñńň", "n"),
        ("òóôõøō", "o"),
        ("öœ", "oe"),
        ("ùúûūůų", "u"),
        ("üű", "ue"),
        ("ß", "ss"),
    ];
    let lower = c.to_lowercase().next().unwrap_or(c);
    let found = LETTERS.iter().find(|(letters, _)| letters.contains(lower));
    let own = found.is_none().then_some(c);
    found.map_or("", |(_, plain)| plain).chars().chain(own)
}

/// Returns the artifacts that have a hash, each under its name in a package.
pub fn artifacts(evidence: &[Evidence]) -> Vec<(Artifact, &Evidence)> {
    let names = names(evidence);
    let artifact = |e: &Evidence| {
        Some(Artifact {
            name: names.get(&e.evidence_id)?.clone(),
            sha256: e.sha256.clone()?,
        })
    };

    let mut all: Vec<_> = evidence
        .iter()
        .filter_map(|e| Some((artifact(e)?, e)))
        .collect();
    all.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));

    all
}

/// Formats the hash list for `sha256sum -c`.
pub fn sums(artifacts: &[Artifact]) -> String {
    let mut text = String::new();
    for a in artifacts {
        // Names hold no line ends or backslashes: see `names`.
        let _ = writeln!(text, "{}  {}", a.sha256, a.name);
    }
    text
}

/// Formats the hash list as the DoD requires it: artifact name, hash value, algorithm; RFC 4180.
pub fn csv(artifacts: &[Artifact]) -> String {
    let mut text = "Artifact Name,Hash Value,Hash Algorithm\r\n".to_owned();
    for a in artifacts {
        let name = a.name.replace('"', "\"\"");
        let _ = write!(
            text,
            "\"{name}\",{},SHA-256\r\n",
            a.sha256.to_ascii_uppercase()
        );
    }

    text
}

/// Formats the confirmations of unchanged check results, one a line; RFC 4180. Empty if there are
/// none. Each hash covers the previous hash (the first one, the hash of the evidence), followed by
/// id, number, time in microseconds and name, one a line. `names`: of the files in the package.
pub fn confirmations(all: &[Confirmation], names: &BTreeMap<EvidenceId, String>) -> String {
    if all.is_empty() {
        return String::new();
    }

    let mut text = "Evidence,Number,Confirmed,By,SHA-256 of the chain,File\r\n".to_owned();
    for c in all {
        let _ = write!(
            text,
            "{},{},{},\"{}\",{},{}\r\n",
            c.evidence_id,
            c.n,
            c.at,
            c.by.replace('"', "\"\""),
            c.sha256,
            names.get(&c.evidence_id).map_or("", String::as_str)
        );
    }

    text
}

#[cfg(test)]
mod tests {
    use model::evidence::Recorded;
    use model::{ControlId, EvidenceKind, Timestamp};
    use uuid::Uuid;

    use super::*;

    fn piece(n: u128, control: &'static str, file: Option<&str>, shows: &str) -> Evidence {
        let at = Timestamp::parse("2026-11-29T10:00:00Z").unwrap();
        Evidence {
            file_name: file.map(str::to_owned),
            description: shows.to_owned(),
            sha256: Some(format!("{n:064x}")),
            ..Evidence::draft(
                EvidenceId(Uuid::from_u128(n)),
                ControlId::known(control),
                EvidenceKind::PolicyDoc,
                "alice",
                at,
            )
        }
    }

    fn name(e: Evidence) -> String {
        let id = e.evidence_id;
        names(&[e]).remove(&id).unwrap()
    }

    #[test]
    fn evidence_is_named_for_requirement_subject_and_day() {
        let cases = [
            (
                Some("Access Policy v2.PDF"),
                "3.1.1-access-policy-v2-2026-11-29.pdf",
            ),
            (Some("3.1.1 list.tar.gz"), "3.1.1-list-tar-2026-11-29.gz"),
            (
                Some("Überprüfung-Maß.txt"),
                "3.1.1-ueberpruefung-mass-2026-11-29.txt",
            ),
            (Some("方針.docx"), "3.1.1-policy-doc-2026-11-29.docx"),
            (Some("../..\\COM1:.exe "), "3.1.1-com1-exe-2026-11-29"),
            (Some(".htaccess"), "3.1.1-htaccess-2026-11-29"),
            (Some("a.b c"), "3.1.1-a-b-c-2026-11-29"),
            (None, "3.1.1-who-may-do-what-2026-11-29.txt"),
        ];
        for (file, expected) in cases {
            assert_eq!(name(piece(1, "3.1.1", file, "Who may do what?")), expected);
        }

        let long = name(piece(1, "3.1.1", None, &"several words ".repeat(20)));
        assert!(long.len() <= 90 && !long.contains("--"), "{long}");

        let mut checked = piece(1, "3.3.8", None, "");
        checked.recorded = Some(Recorded {
            check_id: "au_3_3_8".to_owned(),
            facts: serde_json::Value::Null,
            facts_sha256: None,
        });
        assert_eq!(
            name(checked),
            "3.3.8-rights-on-the-record-and-its-guards-2026-11-29.txt"
        );
    }

    #[test]
    fn names_are_unique_and_stay_when_pieces_are_added() {
        let mut all: Vec<Evidence> = ["Plan.txt", "plan.TXT", "plan-2026-11-29.txt", "plan.txt"]
            .into_iter()
            .enumerate()
            .map(|(n, file)| piece(n as u128, "3.12.4", Some(file), "the plan"))
            .collect();
        let first = names(&all[..2]);
        let every = names(&all);

        assert!(
            first.iter().all(|(id, name)| every[id] == *name),
            "{every:?}"
        );
        let unique: HashSet<&String> = every.values().collect();
        assert_eq!(unique.len(), all.len(), "{every:?}");

        all.reverse();
        assert_eq!(names(&all), every, "in whatever order they come");
    }

    proptest::proptest! {
        #[test]
        fn any_name_is_safe_on_every_file_system(file in ".{0,300}", shows in ".{0,300}") {
            for file in [Some(file.as_str()), None] {
                let name = name(piece(1, "3.1.1", file, &shows));
                assert!(name.len() <= 100 && name.starts_with("3.1.1-"), "{name}");
                assert!(
                    name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.'),
                    "{name}"
                );
                assert!(!name.contains("..") && !name.ends_with(['.', '-']), "{name}");
            }
        }
    }
}
