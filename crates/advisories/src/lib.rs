//! Security advisories (3.14.3): `feeds` reads advisories, `inventory` reads the components in use,
//! and `matching` finds the advisories that concern a component. Nothing here does I/O or reads a
//! clock.

pub mod feeds;
pub mod inventory;
mod json;
pub mod matching;
pub mod package;
mod range;
mod severity;
pub mod version;

pub use matching::{Confidence, Coverage, Index, Match};
pub use package::{Component, Distribution, Ecosystem, Package, PackageUrl};
pub use range::Range;

use std::collections::HashSet;

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
    /// The publisher's severity; `None` where it gives none that is understood.
    pub severity: Option<Severity>,
    /// Other IDs of the same vulnerability.
    pub aliases: Vec<String>,
    /// CVE IDs of other vulnerabilities that it is also about, as those of one update.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub related: Vec<String>,
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
    /// How many products it speaks of that it does not name, so that nothing can be matched.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unnamed: usize,
}

impl Advisory {
    /// Returns the ID that all publishers share: the CVE ID, otherwise the advisory's own ID.
    pub fn vulnerability(&self) -> &str {
        let names = || std::iter::once(&self.id).chain(&self.aliases);
        names()
            .find(|id| id.starts_with("CVE-"))
            .unwrap_or(&self.id)
    }

    /// Returns whether it speaks of products and names none of them.
    pub fn is_unmatchable(&self) -> bool {
        self.affected.is_empty() && self.unnamed > 0
    }

    /// Returns whether a catalog of vulnerabilities has one that this advisory is about.
    pub fn is_listed_in(&self, catalog: &HashSet<String>) -> bool {
        std::iter::once(&self.id)
            .chain(&self.aliases)
            .chain(&self.related)
            .any(|id| catalog.contains(id))
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
    /// Ranges of versions that are not affected, whatever else is said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unaffected: Vec<Range>,
    /// What the publisher says of these versions.
    #[serde(default, skip_serializing_if = "Statement::is_affected")]
    pub statement: Statement,
}

impl Affected {
    /// Creates the statement that a package is affected, with no versions yet.
    pub(crate) fn new(package: Package) -> Self {
        Self {
            package,
            versions: Vec::new(),
            ranges: Vec::new(),
            unaffected: Vec::new(),
            statement: Statement::Affected,
        }
    }
}

/// What a publisher says of versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Statement {
    /// They are affected.
    #[default]
    Affected,
    /// It is not known whether they are affected.
    UnderInvestigation,
}

impl Statement {
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde passes a reference"
    )]
    fn is_affected(&self) -> bool {
        *self == Self::Affected
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// The most characters of a summary that are kept.
const SUMMARY_MAX: usize = 4000;

/// Removes the byte order mark that Windows programs write before a text.
fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
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
            let of_format = |read: &super::feeds::Reading| {
                let mut advisories = read.advisories.iter();
                advisories.any(|advisory| advisory.feed == format.name)
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
