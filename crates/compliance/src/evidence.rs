//! The hash list of an assessment package (32 CFR 170.17(c)(4); CMMC Hashing Guide v2.13): name,
//! value and algorithm of each artifact.

use std::collections::HashMap;
use std::fmt::Write as _;

use model::Evidence;
use model::evidence::Confirmation;

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

/// Returns the artifacts that have a hash, each under a unique name: evidence that shares a name
/// gets its id as a prefix.
pub fn artifacts(evidence: &[Evidence]) -> Vec<(Artifact, &Evidence)> {
    // No artifact may take the name of the confirmations list.
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

/// Formats the hash list for `sha256sum -c`.
pub fn sums(artifacts: &[Artifact]) -> String {
    let mut text = String::new();
    for a in artifacts {
        // Names hold no line ends or backslashes: a table constraint refuses them.
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
/// id, number, time in microseconds and name, one a line.
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
