//! Security advisories (3.14.3): `feeds` reads what publishers write, `inventory` reads what we
//! run, `matching` says which advisory concerns which component. Text in, answers out: nothing here
//! does I/O or knows a clock.

mod cvss;
pub mod feeds;
pub mod inventory;
mod json;
pub mod matching;
pub mod package;
pub mod version;

pub use matching::{Confidence, Index, Match};
pub use package::{Component, Ecosystem, Package};

use model::Severity;
use serde::{Deserialize, Serialize};

/// What cannot be read, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Not the language that the format is written in.
    #[error("is not valid {0}: {1}")]
    Syntax(&'static str, String),
    /// Well formed, and something else.
    #[error("is no {format}: {reason}")]
    Shape {
        /// The format that was expected.
        format: &'static str,
        /// What is missing.
        reason: String,
    },
    /// None of the formats that we know.
    #[error("is none of the formats that are known here ({0})")]
    Unknown(String),
}

/// One advisory, whoever published it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Advisory {
    /// Its publisher's id for it: `CVE-2024-3094`, `RUSTSEC-2023-0071`.
    pub id: String,
    /// The feed's format, by name.
    pub feed: String,
    /// One line.
    pub title: String,
    /// What is wrong, in the publisher's words, cut to 4,000 characters.
    pub summary: String,
    /// How bad its publisher calls it; medium where none is said.
    pub severity: Severity,
    /// Other ids of the same vulnerability.
    pub aliases: Vec<String>,
    /// Attackers use it (CISA's catalogue of known exploited vulnerabilities).
    pub known_exploited: bool,
    /// The date by which its publisher wants it dealt with, as `YYYY-MM-DD`.
    pub due: Option<String>,
    /// When it was published or last changed, as the publisher writes it.
    pub published: Option<String>,
    /// What to do, in the publisher's words.
    pub action: Option<String>,
    /// What it is about.
    pub affected: Vec<Affected>,
}

impl Advisory {
    /// The id under which all publishers know the vulnerability: its CVE, else its own.
    pub fn vulnerability(&self) -> &str {
        let names = || std::iter::once(&self.id).chain(&self.aliases);
        names()
            .find(|id| id.starts_with("CVE-"))
            .unwrap_or(&self.id)
    }
}

/// A package and which of its versions are concerned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Affected {
    /// The package, or the product as its vendor calls it.
    pub package: Package,
    /// Versions named one by one.
    pub versions: Vec<String>,
    /// Runs of versions.
    pub ranges: Vec<Range>,
}

/// From `introduced` (included; none: the first version) up to `fixed` (excluded) or
/// `last_affected` (included); without either there is no fix.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// The first version that is concerned.
    pub introduced: Option<String>,
    /// The first version that no longer is.
    pub fixed: Option<String>,
    /// The last version that is.
    pub last_affected: Option<String>,
}

/// The longest summary that is kept, in characters.
const SUMMARY_MAX: usize = 4000;

/// PostgreSQL cannot store the character NUL, and no honest text holds it.
fn no_nul(text: &str, format: &'static str) -> Result<(), ReadError> {
    if text.contains('\0') || text.contains("\\u0000") {
        return Err(ReadError::Shape {
            format,
            reason: "it holds a NUL character".to_owned(),
        });
    }
    Ok(())
}

/// At most so many characters of a text from outside.
fn cut(text: &str, characters: usize) -> String {
    text.chars().take(characters).collect()
}

#[cfg(test)]
mod tests {
    /// What the fuzzer found once is found no more; see fuzz/README.md.
    #[test]
    fn every_seed_is_read() {
        let seeds = |name: &str| {
            let folder =
                concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/seeds/").to_owned() + name;
            let seeds = std::fs::read_dir(folder)
                .unwrap()
                .map(|e| std::fs::read_to_string(e.unwrap().path()).unwrap());
            seeds.collect::<Vec<_>>()
        };

        let feeds: Vec<_> = seeds("advisory_feed")
            .iter()
            .map(|text| super::feeds::read(text, None))
            .collect();
        for format in super::feeds::ALL {
            let said = |read: &Vec<super::Advisory>| {
                read.iter().any(|advisory| advisory.feed == format.name)
            };
            assert!(
                feeds.iter().flatten().any(said),
                "{} has no seed that says something",
                format.name
            );
        }

        let inventories = seeds("advisory_inventory");
        for format in super::inventory::ALL {
            let says = |text: &String| {
                (format.is)(text) && super::inventory::read(text, Some(format.name)).is_ok()
            };
            assert!(
                inventories.iter().any(says),
                "{} has no seed that says something",
                format.name
            );
        }
    }
}
