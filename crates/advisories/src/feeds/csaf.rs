//! The Common Security Advisory Framework (CSAF 2.0 and 2.1, OASIS): a document with a product tree
//! and the vulnerabilities of the products.

mod products;
mod statuses;

use model::Severity;
use serde_json::Value;

use super::{Format, Reading};
use crate::json::{checked_time, items_of, non_empty, text_of};
use crate::severity::{of_number, parse_score, parse_word};
use crate::{Advisory, ReadError, SUMMARY_MAX, cut_text};
use products::collect_products;
use statuses::{affected_packages, count_unnamed};

pub(super) const FORMAT: Format = Format {
    name: "csaf",
    description: "the Common Security Advisory Framework 2.0 and 2.1 (JSON)",
    recognizes: |document| {
        document
            .get("document")
            .is_some_and(|d| d.get("csaf_version").is_some())
    },
    read: parse_document,
};

fn parse_document(document: &Value) -> Result<Reading, ReadError> {
    let shape = |reason: &str| ReadError::Shape {
        format: "CSAF document",
        reason: reason.to_owned(),
    };

    let about = document
        .get("document")
        .ok_or_else(|| shape("it has no `document`"))?;
    let tracking = about.get("tracking").unwrap_or(&Value::Null);
    let own = text_of(tracking, "id");
    if own.is_empty() {
        return Err(shape("`document.tracking.id` is missing"));
    }

    let products = collect_products(document.get("product_tree").unwrap_or(&Value::Null));
    let whole = parse_word(
        about
            .get("aggregate_severity")
            .map_or("", |s| text_of(s, "text")),
    );
    let mut reading = Reading::default();
    let released = checked_time(tracking, "current_release_date", "CSAF document");
    let published = reading.optional(own, released);

    reading.advisories = items_of(document, "vulnerabilities")
        .iter()
        .enumerate()
        .map(|(i, vulnerability)| {
            let cve = text_of(vulnerability, "cve");
            let notes = items_of(vulnerability, "notes");
            let note = notes
                .iter()
                .find(|n| matches!(text_of(n, "category"), "description" | "summary"))
                .or(notes.first());
            let title = non_empty(vulnerability, "title")
                .or_else(|| non_empty(about, "title"))
                .unwrap_or_else(|| own.to_owned());

            Advisory {
                // With the document's own ID: advisories of two vendors about one CVE differ.
                id: if cve.is_empty() {
                    format!("{own}#{}", i + 1)
                } else {
                    format!("{own}/{cve}")
                },
                feed: FORMAT.name.to_owned(),
                title: cut_text(&title, 300),
                summary: cut_text(note.map_or("", |n| text_of(n, "text")), SUMMARY_MAX),
                severity: vulnerability_severity(vulnerability).or(whole),
                aliases: [own, cve]
                    .into_iter()
                    .filter(|id| !id.is_empty())
                    .map(str::to_owned)
                    .collect(),
                related: Vec::new(),
                known_exploited: is_exploited(vulnerability),
                due: None,
                published: published.clone(),
                action: items_of(vulnerability, "remediations")
                    .iter()
                    .find_map(|r| non_empty(r, "details"))
                    .map(|a| cut_text(&a, SUMMARY_MAX)),
                affected: affected_packages(vulnerability, &products),
                unnamed: count_unnamed(vulnerability, &products),
            }
        })
        .collect();
    Ok(reading)
}

/// Returns the highest severity that the scores give, otherwise the vendor's words about the
/// impact.
fn vulnerability_severity(vulnerability: &Value) -> Option<Severity> {
    // Version 2.1 calls them metrics.
    let metrics = items_of(vulnerability, "metrics")
        .iter()
        .filter_map(|metric| metric.get("content"));
    let scored = items_of(vulnerability, "scores")
        .iter()
        .chain(metrics)
        .flat_map(|score| ["cvss_v4", "cvss_v3", "cvss_v2"].map(|key| score.get(key)))
        .flatten()
        .filter_map(score_severity)
        .max();

    let told = || {
        items_of(vulnerability, "threats")
            .iter()
            .filter(|threat| text_of(threat, "category") == "impact")
            .filter_map(|threat| parse_word(text_of(threat, "details")))
            .max()
    };
    scored.or_else(told)
}

fn score_severity(score: &Value) -> Option<Severity> {
    parse_word(text_of(score, "baseSeverity"))
        .or_else(|| of_number(score.get("baseScore")?.as_f64()?))
        .or_else(|| parse_score(text_of(score, "vectorString")))
}

fn is_exploited(vulnerability: &Value) -> bool {
    let is_told = items_of(vulnerability, "threats").iter().any(|threat| {
        let details = text_of(threat, "details")
            .to_ascii_lowercase()
            .replace(' ', "");
        text_of(threat, "category") == "exploit_status"
            && (details == "exploited" || details.contains("exploited:yes"))
    });

    // Since version 2.1.
    is_told || !items_of(vulnerability, "first_known_exploitation_dates").is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_found_in_the_product_tree() {
        let document = serde_json::json!({
            "document": { "csaf_version": "2.0", "title": "T", "aggregate_severity": { "text": "Important" },
                          "tracking": { "id": "ACME-1", "current_release_date": "2024-05-01T00:00:00Z" } },
            "product_tree": {
                "branches": [{ "category": "vendor", "name": "Acme", "branches": [{ "category": "product_name", "name": "Widget", "branches": [
                    { "category": "product_version", "name": "1.2", "product": { "name": "Acme Widget 1.2", "product_id": "W12" } },
                    { "category": "product_version", "name": "1.3", "product": { "name": "Acme Widget 1.3", "product_id": "W13",
                      "product_identification_helper": { "purl": "pkg:npm/widget@1.3.0" } } }] }] }],
                "full_product_names": [{ "name": "Gadget", "product_id": "G" }],
                "relationships": [{ "category": "default_component_of", "product_reference": "W13", "relates_to_product_reference": "G",
                                    "full_product_name": { "name": "both", "product_id": "G:W13" } }]
            },
            "vulnerabilities": [{
                "cve": "CVE-2024-9", "notes": [{ "category": "description", "text": "bad" }],
                "product_status": { "known_affected": ["W12", "G:W13"], "fixed": ["G"] },
                "scores": [{ "cvss_v3": { "baseSeverity": "CRITICAL" }, "products": ["W12"] }],
                "remediations": [{ "category": "vendor_fix", "details": "Update to 1.4." }]
            }, { "product_status": { "known_affected": ["G"] } }]
        });

        let read = crate::feeds::read(&document.to_string(), None)
            .unwrap()
            .advisories;
        assert_eq!(
            (
                read[0].id.as_str(),
                read[0].severity,
                read[0].action.as_deref()
            ),
            (
                "ACME-1/CVE-2024-9",
                Some(Severity::Critical),
                Some("Update to 1.4.")
            )
        );

        let described: Vec<_> = read[0]
            .affected
            .iter()
            .map(|a| (a.package.name.as_str(), a.versions.join(" ")))
            .collect();
        let one = |name, version: &str| (name, version.to_owned());
        assert_eq!(
            described,
            [
                one("Widget", "1.2"),
                one("Acme Widget", "1.2"),
                one("Acme Widget 1.2", "1.2"),
                one("widget", "1.3.0"),
            ]
        );

        assert_eq!(
            (read[1].id.as_str(), read[1].severity),
            ("ACME-1#2", Some(Severity::High))
        );
        assert!(read[1].affected[0].versions.is_empty());
    }

    fn judge(document: &Value, purl: &str) -> Option<crate::Confidence> {
        let read = crate::feeds::read(&document.to_string(), None)
            .unwrap()
            .advisories;
        let used = crate::PackageUrl::parse(purl).unwrap().component;
        let index = crate::Index::new([&used]);
        let found = index.find_matches(&read[0]);
        found.first().map(|found| found.confidence)
    }

    /// As Red Hat and SUSE publish it: builds of two releases, of which only the fix is said.
    fn document_of_fixes(status: &str) -> Value {
        let build = |version: &str| {
            serde_json::json!({
                "category": "product_version", "name": format!("openssl-{version}.x86_64"),
                "product": {
                    "name": "openssl", "product_id": format!("openssl-{version}.x86_64"),
                    "product_identification_helper": {
                        "purl": format!("pkg:rpm/redhat/openssl@{version}?arch=x86_64&epoch=1")
                    }
                }
            })
        };
        let platform = |release: &str| {
            serde_json::json!({
                "category": "product_name", "name": format!("RHEL {release}"),
                "product": {
                    "name": format!("RHEL {release}"), "product_id": format!("RHEL-{release}"),
                    "product_identification_helper": {
                        "cpe": format!("cpe:/o:redhat:enterprise_linux:{release}::baseos")
                    }
                }
            })
        };
        let relation = |release: &str, version: &str| {
            serde_json::json!({
                "category": "default_component_of",
                "product_reference": format!("openssl-{version}.x86_64"),
                "relates_to_product_reference": format!("RHEL-{release}"),
                "full_product_name": { "name": "x", "product_id": format!("RHEL-{release}:openssl") }
            })
        };
        serde_json::json!({
            "document": { "csaf_version": "2.0", "title": "T", "tracking": { "id": "EX-2026:1" } },
            "product_tree": {
                "branches": [
                    build("3.0.7-18.el9_2"), build("1.1.1k-9.el8"), platform("8"), platform("9")
                ],
                "relationships": [relation("9", "3.0.7-18.el9_2"), relation("8", "1.1.1k-9.el8")]
            },
            "vulnerabilities": [{
                "cve": "CVE-2026-1",
                "product_status": { status: ["RHEL-9:openssl", "RHEL-8:openssl"] },
                "threats": [{ "category": "impact", "details": "Important" }]
            }]
        })
    }

    #[test]
    fn what_is_older_than_a_fix_is_affected() {
        for status in ["fixed", "first_fixed", "recommended"] {
            let document = document_of_fixes(status);
            let judge = |version: &str| {
                judge(
                    &document,
                    &format!("pkg:rpm/redhat/openssl@{version}?epoch=1"),
                )
            };
            assert_eq!(judge("3.0.7-16.el9_2"), Some(crate::Confidence::Affected));
            assert_eq!(judge("3.0.7-18.el9_2"), None);
            assert_eq!(judge("1.1.1k-9.el8"), None, "of another release");
            assert_eq!(judge("1.1.1k-7.el8_6"), Some(crate::Confidence::Affected));
            let read = crate::feeds::read(&document.to_string(), None)
                .unwrap()
                .advisories;
            assert_eq!(read[0].severity, Some(Severity::High));
        }
    }

    #[test]
    fn version_2_1_is_read() {
        let document = serde_json::json!({
            "document": { "csaf_version": "2.1", "title": "T", "tracking": { "id": "ACME-2" } },
            "product_tree": {
                "full_product_names": [
                    { "name": "Widget", "product_id": "W",
                      "product_identification_helper": { "purls": ["pkg:npm/widget@1.3.0"] } },
                    { "name": "Linux", "product_id": "L" }
                ],
                "product_paths": [{
                    "beginning_product_reference": "W",
                    "full_product_name": { "name": "Widget on Linux", "product_id": "W:L" },
                    "subpaths": [{ "category": "installed_on", "next_product_reference": "L" }]
                }]
            },
            "vulnerabilities": [{
                "cve": "CVE-2026-2",
                "product_status": { "known_affected": ["W:L"] },
                "first_known_exploitation_dates": [{ "date": "2026-01-01T00:00:00Z" }],
                "metrics": [{ "products": ["W:L"], "content": { "cvss_v4": {
                    "vectorString":
                        "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:H/SI:H/SA:H"
                } } }]
            }]
        });
        let read = crate::feeds::read(&document.to_string(), None)
            .unwrap()
            .advisories;
        assert_eq!(read[0].severity, Some(Severity::Critical));
        assert!(read[0].known_exploited);
        assert_eq!(
            judge(&document, "pkg:npm/widget@1.3.0"),
            Some(crate::Confidence::Affected)
        );
        assert_eq!(judge(&document, "pkg:npm/widget@1.3.1"), None);
    }

    #[test]
    fn statuses_that_say_less_are_told_as_possible_or_not_at_all() {
        let document = |status: &str| {
            serde_json::json!({
                "document": { "csaf_version": "2.0", "title": "T", "tracking": { "id": "ACME-3" } },
                "product_tree": { "full_product_names": [{
                    "name": "Widget", "product_id": "W",
                    "product_identification_helper": { "purl": "pkg:npm/widget@1.3.0" }
                }] },
                "vulnerabilities": [{ "product_status": { status: ["W"] } }]
            })
        };
        let purl = "pkg:npm/widget@1.3.0";
        let possible = Some(crate::Confidence::Possible);
        assert_eq!(judge(&document("under_investigation"), purl), possible);
        assert_eq!(judge(&document("unknown"), purl), possible);
        assert_eq!(judge(&document("known_not_affected"), purl), None);
    }
}
