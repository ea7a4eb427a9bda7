//! The Common Security Advisory Framework (CSAF 2.0, OASIS): a document with a product tree and the
//! vulnerabilities of the products.

use std::collections::HashMap;

use model::Severity;
use serde_json::Value;

use super::{Format, osv::parse_severity};
use crate::json::{checked_time, items_of, non_empty, text_of, texts_of};
use crate::package::{Component, Ecosystem, Package};
use crate::{Advisory, Affected, ReadError, SUMMARY_MAX, cut_text};

pub(super) const FORMAT: Format = Format {
    name: "csaf",
    description: "the Common Security Advisory Framework 2.0 (JSON)",
    recognizes: |document| {
        document
            .get("document")
            .is_some_and(|d| d.get("csaf_version").is_some())
    },
    read: parse_document,
};

/// The deepest product tree that is read; the JSON parser allows little more.
const DEPTH_MAX: usize = 100;

fn parse_document(document: &Value) -> Result<Vec<Advisory>, ReadError> {
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
    let whole = parse_severity(
        about
            .get("aggregate_severity")
            .map_or("", |s| text_of(s, "text")),
    );
    let published = checked_time(tracking, "current_release_date", "CSAF document")?;

    Ok(items_of(document, "vulnerabilities")
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
                severity: highest_severity(vulnerability)
                    .or(whole)
                    .unwrap_or(Severity::Medium),
                aliases: [own, cve]
                    .into_iter()
                    .filter(|id| !id.is_empty())
                    .map(str::to_owned)
                    .collect(),
                known_exploited: items_of(vulnerability, "threats").iter().any(|t| {
                    text_of(t, "category") == "exploit_status"
                        && text_of(t, "details").eq_ignore_ascii_case("exploited")
                }),
                due: None,
                published: published.clone(),
                action: items_of(vulnerability, "remediations")
                    .iter()
                    .find_map(|r| non_empty(r, "details"))
                    .map(|a| cut_text(&a, SUMMARY_MAX)),
                affected: affected_packages(vulnerability, &products),
            }
        })
        .collect())
}

fn highest_severity(vulnerability: &Value) -> Option<Severity> {
    let scores = items_of(vulnerability, "scores").iter();
    scores
        .filter_map(|score| parse_severity(text_of(score.get("cvss_v3")?, "baseSeverity")))
        .max()
}

/// Returns the packages that are known to be affected. One without a version has no versions and no
/// ranges.
fn affected_packages(
    vulnerability: &Value,
    products: &HashMap<String, Component>,
) -> Vec<Affected> {
    let status = vulnerability.get("product_status").unwrap_or(&Value::Null);
    let ids = ["known_affected", "first_affected", "last_affected"]
        .into_iter()
        .flat_map(|key| texts_of(status, key));
    let mut affected: Vec<Affected> = Vec::new();

    let mut places: HashMap<&Package, usize> = HashMap::new();
    for component in ids.filter_map(|id| products.get(&id)) {
        let version = Some(component.version.clone()).filter(|v| !v.is_empty());
        if let Some(place) = places.get(&component.package) {
            affected[*place].versions.extend(version);
        } else {
            places.insert(&component.package, affected.len());
            affected.push(Affected {
                package: component.package.clone(),
                versions: version.into_iter().collect(),
                ranges: Vec::new(),
            });
        }
    }

    affected
}

/// Collects all products by their ID, with the name of their package URL or else the vendor's name.
fn collect_products(tree: &Value) -> HashMap<String, Component> {
    let mut found = HashMap::new();
    for product in items_of(tree, "full_product_names") {
        insert_product(product, "", "", &mut found);
    }

    let mut branches: Vec<(&Value, &str, &str, usize)> = items_of(tree, "branches")
        .iter()
        .map(|b| (b, "", "", 0))
        .collect();
    while let Some((branch, mut name, mut version, depth)) = branches.pop() {
        match text_of(branch, "category") {
            "product_name" => name = text_of(branch, "name"),
            "product_version" => version = text_of(branch, "name"),
            // A version range is free text or a `vers`; the affected version is unknown then.
            _ => {}
        }

        if let Some(product) = branch.get("product") {
            insert_product(product, name, version, &mut found);
        }

        if depth < DEPTH_MAX {
            branches.extend(
                items_of(branch, "branches")
                    .iter()
                    .map(|b| (b, name, version, depth + 1)),
            );
        }
    }

    for relation in items_of(tree, "relationships") {
        // `openssl as a component of RHEL` is known under the name of the part.
        let part = found.get(text_of(relation, "product_reference")).cloned();
        if let (Some(part), Some(whole)) = (part, relation.get("full_product_name")) {
            found.insert(text_of(whole, "product_id").to_owned(), part);
        }
    }

    found
}

fn insert_product(
    product: &Value,
    name: &str,
    version: &str,
    found: &mut HashMap<String, Component>,
) {
    let purl = product
        .get("product_identification_helper")
        .map_or("", |h| text_of(h, "purl"));
    let name = if name.is_empty() {
        text_of(product, "name")
    } else {
        name
    };

    let vendor = || Component {
        package: Package {
            ecosystem: Ecosystem::default(),
            name: name.to_owned(),
        },
        version: version.to_owned(),
    };

    let mut component = Component::of_purl(purl).unwrap_or_else(vendor);
    if component.version.is_empty() {
        version.clone_into(&mut component.version);
    }

    found.insert(text_of(product, "product_id").to_owned(), component);
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

        let read = crate::feeds::read(&document.to_string(), None).unwrap();
        assert_eq!(
            (
                read[0].id.as_str(),
                read[0].severity,
                read[0].action.as_deref()
            ),
            (
                "ACME-1/CVE-2024-9",
                Severity::Critical,
                Some("Update to 1.4.")
            )
        );

        assert_eq!(
            read[0]
                .affected
                .iter()
                .map(|a| (a.package.clone(), a.versions.clone()))
                .collect::<Vec<_>>(),
            [
                (
                    Component::new("", "Widget", "").package,
                    vec!["1.2".to_owned()]
                ),
                (
                    Component::new("npm", "widget", "").package,
                    vec!["1.3.0".to_owned()]
                ),
            ]
        );

        assert_eq!(
            (read[1].id.as_str(), read[1].severity),
            ("ACME-1#2", Severity::High)
        );
        assert!(read[1].affected[0].versions.is_empty());
    }
}
