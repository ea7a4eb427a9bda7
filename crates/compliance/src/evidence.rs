//! The list of hashes that an assessor takes along (32 CFR 170.17(c)(4); CMMC Hashing Guide v2.13):
//! name, value and algorithm of each artifact.

use std::collections::HashMap;
use std::fmt::Write as _;

use model::Evidence;
use model::evidence::Confirmation;

/// An artifact of the list.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Artifact {
    /// Its name in the package, unique in the list.
    pub name: String,
    /// SHA-256 in hexadecimal.
    pub sha256: String,
}

/// The name of the list of confirmations among the artifacts.
pub const CONFIRMATIONS: &str = "confirmations.csv";

/// The artifacts that have a hash, each under a name of its own: pieces that share a name get their
/// id before it.
pub fn artifacts(evidence: &[Evidence]) -> Vec<(Artifact, &Evidence)> {
    // Nobody's file takes the name of our list.
    let mut names: HashMap<String, u32> = HashMap::from([(CONFIRMATIONS.to_owned(), 1)]);
    for e in evidence {
        *names.entry(e.artifact().to_lowercase()).or_default() += 1;
    }

    let artifact = |e: &Evidence| {
        let name = e.artifact();
        let shared = names.get(&name.to_lowercase()).is_some_and(|n| *n > 1);
        let name = if shared {
            format!("{}-{name}", e.evidence_id)
        } else {
            name
        };

        Some(Artifact {
            name,
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

/// As `sha256sum -c` reads it.
pub fn sums(artifacts: &[Artifact]) -> String {
    let mut text = String::new();
    for a in artifacts {
        // A name with a line end or a backslash cannot be: the table refuses it.
        let _ = writeln!(text, "{}  {}", a.sha256, a.name);
    }
    text
}

/// As the DoD wants it handed over: artifact name, hash value, algorithm; RFC 4180.
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

/// When checks saw again what they had seen, one line a time; RFC 4180. Empty when there is none.
/// Each hash is over the one before it, of the first over that of the piece, followed by id,
/// number, time in microseconds and name, a line each.
pub fn confirmations(all: &[Confirmation]) -> String {
    if all.is_empty() {
        return String::new();
    }

    let mut text = "Evidence,Number,Confirmed,By,SHA-256 of the chain\r\n".to_owned();
    for c in all {
        let _ = write!(
            text,
            "{},{},{},\"{}\",{}\r\n",
            c.evidence_id,
            c.n,
            c.at,
            c.by.replace('"', "\"\""),
            c.sha256
        );
    }

    text
}
