//! The Open Source Vulnerability format (OSV schema 1.x): packages by ecosystem, versions by list
//! and by ranges of events.

use model::Severity;
use serde_json::Value;

use super::{Format, Reading};
use crate::json::{checked_time, items_of, non_empty, text_of, texts_of};
use crate::package::{Ecosystem, Package, PackageUrl};
use crate::range::{Event, ranges_of_events};
use crate::severity::{of_title, parse_score, parse_word};
use crate::{Advisory, Affected, Range, ReadError, SUMMARY_MAX, cut_text};

pub(super) const FORMAT: Format = Format {
    name: "osv",
    description: "the Open Source Vulnerability format (JSON)",
    recognizes: |document| document.get("id").is_some() && document.get("modified").is_some(),
    read: parse_entry,
};

fn parse_entry(document: &Value) -> Result<Reading, ReadError> {
    let id = text_of(document, "id");
    if id.is_empty() {
        return Err(ReadError::Shape {
            format: "OSV entry",
            reason: "it has no `id`".to_owned(),
        });
    }

    // An advisory that its publisher withdrew stays on record without affected packages.
    let withdrawn = document.get("withdrawn").is_some_and(|w| !w.is_null());
    let entries = if withdrawn {
        &[]
    } else {
        items_of(document, "affected")
    };
    let affected: Vec<Affected> = entries.iter().filter_map(parse_affected).collect();
    let details = text_of(document, "details");
    let title = non_empty(document, "summary")
        .unwrap_or_else(|| details.lines().next().unwrap_or(id).to_owned());

    let mut reading = Reading::default();
    let mut time = |key| reading.optional(id, checked_time(document, key, "OSV entry"));
    let published = time("published").or_else(|| time("modified"));

    reading.advisories.push(Advisory {
        id: id.to_owned(),
        feed: FORMAT.name.to_owned(),
        title: cut_text(&title, 300),
        summary: cut_text(details, SUMMARY_MAX),
        severity: entry_severity(document),
        aliases: texts_of(document, "aliases")
            .into_iter()
            .chain(texts_of(document, "upstream"))
            .collect(),
        related: texts_of(document, "related")
            .into_iter()
            .filter(|id| id.starts_with("CVE-"))
            .collect(),
        known_exploited: false,
        due: None,
        published,
        action: None,
        unnamed: entries.len() - affected.len(),
        affected,
    });
    Ok(reading)
}

fn parse_affected(entry: &Value) -> Option<Affected> {
    let package = entry.get("package")?;
    // The name and the package URL are equivalent; the name is never encoded.
    let named = Package::of_osv(text_of(package, "ecosystem"), text_of(package, "name"));
    let package = if named.ecosystem.is_vendor() || named.name.is_empty() {
        PackageUrl::parse(text_of(package, "purl"))?
            .component
            .package
    } else {
        named
    };

    // Ranges of commits do not tell versions.
    let ranges = items_of(entry, "ranges")
        .iter()
        .filter(|range| text_of(range, "type") != "GIT")
        .flat_map(|range| version_ranges(&package.ecosystem, range))
        .collect();
    Some(Affected {
        versions: texts_of(entry, "versions"),
        ranges,
        ..Affected::new(package)
    })
}

/// Converts the events of a range, whose order the format does not promise, to ranges of versions.
fn version_ranges(ecosystem: &Ecosystem, range: &Value) -> Vec<Range> {
    let events = items_of(range, "events")
        .iter()
        .filter_map(|event| {
            let at = |key: &str| non_empty(event, key);
            at("introduced")
                .map(Event::Introduced)
                .or_else(|| at("fixed").map(Event::Fixed))
                .or_else(|| at("last_affected").map(Event::LastAffected))
                .or_else(|| at("limit").filter(|limit| limit != "*").map(Event::Limit))
        })
        .collect();

    ranges_of_events(ecosystem, events)
}

/// Returns the severity that the database names in words, otherwise the highest of the scores,
/// otherwise that in the title.
fn entry_severity(document: &Value) -> Option<Severity> {
    let entries = || std::iter::once(document).chain(items_of(document, "affected"));
    let word = entries()
        .flat_map(|entry| {
            ["database_specific", "ecosystem_specific"]
                .into_iter()
                .filter_map(|at| entry.get(at))
                .flat_map(|at| ["severity", "urgency", "priority"].map(|key| text_of(at, key)))
        })
        .filter_map(parse_word)
        .max();

    let score = || {
        entries()
            .flat_map(|entry| items_of(entry, "severity"))
            .filter_map(|severity| parse_score(text_of(severity, "score")))
            .max()
    };
    word.or_else(score)
        .or_else(|| of_title(text_of(document, "summary")))
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

        let read = crate::feeds::read(&entry.to_string(), None)
            .unwrap()
            .advisories;
        assert_eq!(read[0].severity, Some(Severity::Medium));
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
            Package::of_osv("Debian:12", "rust-rsa")
        );
        let lines = format!("{entry}\n\n{entry}\n");
        assert_eq!(
            crate::feeds::read(&lines, Some("osv"))
                .unwrap()
                .advisories
                .len(),
            2
        );

        let withdrawn = serde_json::json!({
            "id": "X",
            "modified": "2024-01-01T00:00:00Z",
            "withdrawn": "2024-01-02T00:00:00Z"
        });
        assert!(
            crate::feeds::read(&withdrawn.to_string(), None)
                .unwrap()
                .advisories[0]
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

    #[test]
    fn severities_are_read_in_every_form_and_never_guessed() {
        let severity = |mut entry: Value| {
            entry["id"] = "X".into();
            entry["modified"] = "2024-01-01T00:00:00Z".into();
            crate::feeds::read(&entry.to_string(), None)
                .unwrap()
                .advisories[0]
                .severity
        };
        let scored = |score: &str| serde_json::json!({ "severity": [{ "score": score }] });

        assert_eq!(
            severity(scored(
                "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:H/SI:H/SA:H"
            )),
            Some(Severity::Critical)
        );
        assert_eq!(severity(scored("negligible")), Some(Severity::Low));
        assert_eq!(severity(scored("CVSS:9.0/X:Y")), None);
        assert_eq!(severity(serde_json::json!({})), None);
        assert_eq!(
            severity(serde_json::json!({ "summary": "Important: libtiff security update" })),
            Some(Severity::High)
        );
        assert_eq!(
            severity(serde_json::json!({
                "affected": [{ "ecosystem_specific": { "urgency": "unimportant" } }]
            })),
            Some(Severity::Low)
        );
    }

    #[test]
    fn an_entry_that_names_no_package_cannot_be_matched() {
        let entry = serde_json::json!({
            "id": "X",
            "modified": "2024-01-01T00:00:00Z",
            "affected": [{ "ranges": [{
                "type": "GIT", "repo": "https://example.com/x", "events": [{ "introduced": "0" }]
            }] }]
        });
        let read = crate::feeds::read(&entry.to_string(), None)
            .unwrap()
            .advisories;
        assert!(read[0].is_unmatchable());

        let mut withdrawn = entry;
        withdrawn["withdrawn"] = "2024-01-02T00:00:00Z".into();
        let read = crate::feeds::read(&withdrawn.to_string(), None)
            .unwrap()
            .advisories;
        assert!(!read[0].is_unmatchable());
    }

    #[test]
    fn an_escaped_backslash_is_not_nul() {
        let feed = r#"{"id":"X","modified":"2024-01-01T00:00:00Z","summary":"a\\u0000b",
            "details":"c\u0000d"}"#;
        let read = crate::feeds::read(&format!("\u{feff}{feed}"), None)
            .unwrap()
            .advisories;
        assert_eq!(read[0].title, r"a\u0000b");
        assert_eq!(read[0].summary, "c\u{fffd}d");
    }
}
