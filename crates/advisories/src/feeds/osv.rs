//! The Open Source Vulnerability format (OSV schema 1.x): packages by ecosystem, versions by list
//! and by ranges of events.

use model::Severity;
use serde_json::Value;

use super::Format;
use crate::json::{checked_time, items_of, non_empty, text_of, texts_of};
use crate::package::{Component, Ecosystem, Package};
use crate::{Advisory, Affected, Range, ReadError, SUMMARY_MAX, cut_text};

pub(super) const FORMAT: Format = Format {
    name: "osv",
    description: "the Open Source Vulnerability format (JSON)",
    recognizes: |document| document.get("id").is_some() && document.get("modified").is_some(),
    read: parse_entry,
};

fn parse_entry(document: &Value) -> Result<Vec<Advisory>, ReadError> {
    let id = text_of(document, "id");
    if id.is_empty() {
        return Err(ReadError::Shape {
            format: "OSV entry",
            reason: "it has no `id`".to_owned(),
        });
    }

    // An advisory that its publisher withdrew stays on record without affected packages.
    let withdrawn = document.get("withdrawn").is_some_and(|w| !w.is_null());
    let details = text_of(document, "details");
    let title = non_empty(document, "summary")
        .unwrap_or_else(|| details.lines().next().unwrap_or(id).to_owned());

    Ok(vec![Advisory {
        id: id.to_owned(),
        feed: FORMAT.name.to_owned(),
        title: cut_text(&title, 300),
        summary: cut_text(details, SUMMARY_MAX),
        severity: entry_severity(document),
        aliases: texts_of(document, "aliases")
            .into_iter()
            .chain(texts_of(document, "upstream"))
            .collect(),
        known_exploited: false,
        due: None,
        published: match checked_time(document, "published", "OSV entry")? {
            Some(published) => Some(published),
            None => checked_time(document, "modified", "OSV entry")?,
        },
        action: None,
        affected: items_of(document, "affected")
            .iter()
            .filter(|_| !withdrawn)
            .filter_map(parse_affected)
            .collect(),
    }])
}

fn parse_affected(entry: &Value) -> Option<Affected> {
    let package = entry.get("package")?;
    // The name and the package URL are equivalent; the name is never encoded.
    let named = Package {
        ecosystem: Ecosystem::of_osv(text_of(package, "ecosystem")),
        name: text_of(package, "name").to_owned(),
    };

    let package = if named.ecosystem.is_vendor() || named.name.is_empty() {
        Component::of_purl(text_of(package, "purl"))?.package
    } else {
        named
    };

    // Ranges of commits do not tell versions.
    let ranges = items_of(entry, "ranges")
        .iter()
        .filter(|range| text_of(range, "type") != "GIT");
    Some(Affected {
        package,
        versions: texts_of(entry, "versions"),
        ranges: ranges.flat_map(version_ranges).collect(),
    })
}

/// Converts the events of a range, which are in order, to ranges of versions.
fn version_ranges(range: &Value) -> Vec<Range> {
    let mut ranges: Vec<Range> = Vec::new();
    for event in items_of(range, "events") {
        if let Some(introduced) = non_empty(event, "introduced") {
            ranges.push(Range {
                introduced: Some(introduced),
                ..Range::default()
            });
        } else if let Some(open) = ranges
            .last_mut()
            .filter(|r| r.fixed.is_none() && r.last_affected.is_none())
        {
            open.fixed = non_empty(event, "fixed");
            open.last_affected = non_empty(event, "last_affected");
        }
    }

    ranges
}

/// Returns the severity that the database names, otherwise that of the CVSS 3 vector, otherwise
/// medium.
fn entry_severity(document: &Value) -> Severity {
    let entries = std::iter::once(document).chain(items_of(document, "affected"));
    let mut words = entries.flat_map(|of| {
        ["database_specific", "ecosystem_specific"]
            .map(|at| of.get(at).map_or("", |at| text_of(at, "severity")))
    });

    let scored = || {
        let entries = std::iter::once(document).chain(items_of(document, "affected"));
        entries
            .flat_map(|of| items_of(of, "severity"))
            .filter_map(|s| crate::cvss::vector_severity(text_of(s, "score")))
            .max()
    };

    words
        .find_map(parse_severity)
        .or_else(scored)
        .unwrap_or(Severity::Medium)
}

/// Parses a severity in the words of publishers.
pub(super) fn parse_severity(word: &str) -> Option<Severity> {
    Some(match word.to_ascii_lowercase().as_str() {
        "critical" => Severity::Critical,
        "high" | "important" => Severity::High,
        "medium" | "moderate" => Severity::Medium,
        "low" | "unimportant" | "negligible" => Severity::Low,
        "none" => Severity::Info,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_become_version_ranges() {
        let entry = serde_json::json!({
            "id": "RUSTSEC-2023-0071",
            "modified": "2023-11-22T00:00:00Z",
            "aliases": ["CVE-2023-49092"],
            "summary": "Marvin attack",
            "details": "timing", "database_specific": { "severity": "MODERATE" },
            "affected": [{
                "package": { "ecosystem": "crates.io", "name": "rsa", "purl": "pkg:cargo/rsa" },
                "ranges": [
                    { "type": "GIT", "events": [{ "introduced": "0" }] },
                    { "type": "SEMVER", "events": [
                        { "introduced": "0" },
                        { "fixed": "0.5.0" },
                        { "introduced": "0.6.0" },
                        { "last_affected": "0.9.9" }
                    ] }
                ]
            }, {
                "package": { "ecosystem": "Debian:12", "name": "rust-rsa" },
                "versions": ["0.9.2-1"]
            }]
        });

        let read = crate::feeds::read(&entry.to_string(), None).unwrap();
        assert_eq!(read[0].severity, Severity::Medium);
        assert_eq!(
            read[0].affected[0].ranges,
            [
                Range {
                    introduced: Some("0".to_owned()),
                    fixed: Some("0.5.0".to_owned()),
                    last_affected: None
                },
                Range {
                    introduced: Some("0.6.0".to_owned()),
                    fixed: None,
                    last_affected: Some("0.9.9".to_owned())
                },
            ]
        );

        assert_eq!(
            read[0].affected[1].package,
            Component::new("deb", "rust-rsa", "").package
        );
        let lines = format!("{entry}\n\n{entry}\n");
        assert_eq!(crate::feeds::read(&lines, Some("osv")).unwrap().len(), 2);

        let withdrawn = serde_json::json!({
            "id": "X",
            "modified": "2024-01-01T00:00:00Z",
            "withdrawn": "2024-01-02T00:00:00Z"
        });
        assert!(
            crate::feeds::read(&withdrawn.to_string(), None).unwrap()[0]
                .affected
                .is_empty()
        );

        assert!(
            crate::feeds::read("{\"a\":", None)
                .unwrap_err()
                .to_string()
                .contains("not valid JSON")
        );

        assert!(
            crate::feeds::read("{}", None)
                .unwrap_err()
                .to_string()
                .contains("kev, csaf, osv")
        );
    }
}
