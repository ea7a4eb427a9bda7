//! Security advisories (3.14.3): `feeds` reads advisories, `inventory` reads the components in use,
//! and `matching` finds the advisories that concern a component. Nothing here does I/O or reads a
//! clock.

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

/// Why a feed or inventory cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The text does not have the syntax of the format.
    #[error("is not valid {0}: {1}")]
    Syntax(&'static str, String),
    /// The text has the syntax, but not the content of the format.
    #[error("is not a valid {format}: {reason}")]
    Shape {
        /// The format that was expected.
        format: &'static str,
        /// What is missing or wrong.
        reason: String,
    },
    /// The text is not in a known format.
    #[error("is not in a known format ({0})")]
    Unknown(String),
}

/// One advisory of any publisher.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Advisory {
    /// The publisher's ID: `CVE-2024-3094`, `RUSTSEC-2023-0071`.
    pub id: String,
    /// The feed's format, by name.
    pub feed: String,
    /// A one-line title.
    pub title: String,
    /// The publisher's description, cut to 4,000 characters.
    pub summary: String,
    /// The publisher's severity; medium where it names none.
    pub severity: Severity,
    /// Other IDs of the same vulnerability.
    pub aliases: Vec<String>,
    /// Whether it is known to be exploited (CISA's catalog).
    pub known_exploited: bool,
    /// The publisher's due date for remediation, as `YYYY-MM-DD`.
    pub due: Option<String>,
    /// When it was published or last changed, as the publisher writes it.
    pub published: Option<String>,
    /// The remediation that the publisher recommends.
    pub action: Option<String>,
    /// The packages that it concerns.
    pub affected: Vec<Affected>,
}

impl Advisory {
    /// Returns the ID that all publishers share: the CVE ID, otherwise the advisory's own ID.
    pub fn vulnerability(&self) -> &str {
        let names = || std::iter::once(&self.id).chain(&self.aliases);
        names()
            .find(|id| id.starts_with("CVE-"))
            .unwrap_or(&self.id)
    }
}

/// A package and its affected versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Affected {
    /// The package, or the product under its vendor's name.
    pub package: Package,
    /// Affected versions that are listed one by one.
    pub versions: Vec<String>,
    /// Ranges of affected versions.
    pub ranges: Vec<Range>,
}

/// A range of versions from `introduced` (inclusive; `None` for the first version) to `fixed`
/// (exclusive) or `last_affected` (inclusive). Without either there is no fix.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// The first affected version.
    pub introduced: Option<String>,
    /// The first version with the fix.
    pub fixed: Option<String>,
    /// The last affected version.
    pub last_affected: Option<String>,
}

/// The most characters of a summary that are kept.
const SUMMARY_MAX: usize = 4000;

/// Rejects a text with the character NUL, which PostgreSQL cannot store and no valid text contains.
fn reject_nul(text: &str, format: &'static str) -> Result<(), ReadError> {
    if text.contains('\0') || text.contains("\\u0000") {
        return Err(ReadError::Shape {
            format,
            reason: "it contains a NUL character".to_owned(),
        });
    }
    Ok(())
}

/// Returns the first characters of a text.
fn cut_text(text: &str, characters: usize) -> String {
    text.chars().take(characters).collect()
}

#[cfg(test)]
mod tests {
    /// Regression test for what the fuzzer found; see fuzz/README.md.
    #[test]
    fn every_fuzz_seed_is_read() {
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
            let of_format = |read: &Vec<super::Advisory>| {
                read.iter().any(|advisory| advisory.feed == format.name)
            };
            assert!(
                feeds.iter().flatten().any(of_format),
                "{} has no seed that gives an advisory",
                format.name
            );
        }

        let inventories = seeds("advisory_inventory");
        for format in super::inventory::ALL {
            let is_read = |text: &String| {
                (format.recognizes)(text) && super::inventory::read(text, Some(format.name)).is_ok()
            };
            assert!(
                inventories.iter().any(is_read),
                "{} has no seed that gives a component",
                format.name
            );
        }
    }
}
