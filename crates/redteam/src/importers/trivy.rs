//! The JSON of trivy: vulnerabilities, misconfigurations, secrets and licenses of an artifact or a
//! cluster, in all versions of its schema.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Importer, Reader, new_report};
use crate::controls::Kind;
use crate::drafts::{Draft, Drafts, cve, cwe, severity};
use crate::json::{list_of, text_of, texts_of};
use crate::report::{Checks, Scope};
use crate::{ReadError, Report, times};

pub(super) const IMPORTER: Importer = Importer {
    name: "trivy",
    title: "trivy, JSON",
    may_be_empty: true,
    reader: Reader::Json { recognizes, read },
};

const NAME: &str = "trivy";

fn recognizes(document: &Value) -> bool {
    let has = |key: &str| document.get(key).is_some();
    if let Some(items) = document.as_array() {
        // The first schema was a list of results.
        let is_result = |item: &Value| item.get("Target").is_some();
        return items.first().is_some_and(is_result);
    }
    (has("SchemaVersion") && (has("Results") || has("ArtifactName")))
        || (has("ClusterName") && (has("Resources") || has("Findings") || has("Vulnerabilities")))
}

fn read(document: &Value, drafts: &mut Drafts) -> Result<Report, ReadError> {
    let mut report = new_report(&IMPORTER);
    report.version = Some(text_of(&document["Trivy"], "Version").to_owned());
    report.ended = times::read(text_of(document, "CreatedAt"));
    let names = ["ArtifactName", "ClusterName"].map(|key| text_of(document, key));
    let name = names.into_iter().find(|name| !name.is_empty());
    name.unwrap_or_default().clone_into(&mut report.target);

    let mut groups = BTreeSet::new();
    let results = match document {
        Value::Array(results) => results,
        _ => list_of(document, "Results", NAME)?,
    };
    read_results(results, "", drafts, &mut groups)?;
    for list in [
        "Resources",
        "Findings",
        "Vulnerabilities",
        "Misconfigurations",
    ] {
        for resource in list_of(document, list, NAME)? {
            let names = ["Namespace", "Kind", "Name"].map(|key| text_of(resource, key));
            let within = names.join("/");
            read_results(
                list_of(resource, "Results", NAME)?,
                &within,
                drafts,
                &mut groups,
            )?;
        }
    }

    report.scope = Scope {
        is_complete: true,
        is_whole: !report.target.is_empty(),
        areas: BTreeSet::from([report.target.clone()]),
        checks: Checks::Groups(groups),
    };
    let area = report.target.clone();
    drafts.set_area(&area);
    Ok(report)
}

fn read_results(
    results: &[Value],
    within: &str,
    drafts: &mut Drafts,
    groups: &mut BTreeSet<String>,
) -> Result<(), ReadError> {
    for result in results {
        let target = format!("{within}{}{}", separator(within), text_of(result, "Target"));
        match text_of(result, "Class") {
            "os-pkgs" | "lang-pkgs" => groups.insert("vulnerability".to_owned()),
            "config" => groups.insert("misconfiguration".to_owned()),
            "secret" => groups.insert("secret".to_owned()),
            "license" | "license-file" => groups.insert("license".to_owned()),
            _ => false,
        };
        for (list, read) in LISTS {
            for entry in list_of(result, list, NAME)? {
                drafts.item()?;
                read(entry, &target, drafts)?;
            }
        }
    }
    Ok(())
}

const fn separator(within: &str) -> &'static str {
    if within.is_empty() { "" } else { " " }
}

type Read = fn(&Value, &str, &mut Drafts) -> Result<(), ReadError>;

const LISTS: [(&str, Read); 4] = [
    ("Vulnerabilities", vulnerability),
    ("Misconfigurations", misconfiguration),
    ("Secrets", secret),
    ("Licenses", license),
];

fn vulnerability(entry: &Value, target: &str, drafts: &mut Drafts) -> Result<(), ReadError> {
    drafts.counts.add("vulnerabilities");
    let (id, package) = (text_of(entry, "VulnerabilityID"), text_of(entry, "PkgName"));
    let title = text_of(entry, "Title");
    let fixed = text_of(entry, "FixedVersion");
    drafts.push(Draft {
        title: format!("{package}: {}", if title.is_empty() { id } else { title }),
        severity: severity(text_of(entry, "Severity")),
        location: format!("{target} {package} {}", text_of(entry, "InstalledVersion")),
        group: "vulnerability".to_owned(),
        cwes: texts_of(entry, "CweIDs")
            .into_iter()
            .filter_map(cwe)
            .collect(),
        cves: cve(id).into_iter().collect(),
        detail: if fixed.is_empty() {
            text_of(entry, "Description").to_owned()
        } else {
            format!("Fixed in {fixed}. {}", text_of(entry, "Description"))
        },
        // Not the version: what was updated and is affected still is the same.
        identity: ["vulnerability", target, package, text_of(entry, "PkgPath")]
            .map(str::to_owned)
            .to_vec(),
        ..Draft::of(id, Kind::Component)
    })
}

fn misconfiguration(entry: &Value, target: &str, drafts: &mut Drafts) -> Result<(), ReadError> {
    drafts.counts.add("misconfigurations");
    let status = text_of(entry, "Status");
    if status == "PASS" {
        drafts.counts.add("passed");
        return Ok(());
    }
    let id = [text_of(entry, "ID"), text_of(entry, "AVDID")]
        .into_iter()
        .find(|id| !id.is_empty())
        .unwrap_or("misconfiguration");
    let message = text_of(entry, "Message");
    let cause = &entry["CauseMetadata"];
    let line = cause.get("StartLine").and_then(Value::as_u64);
    let draft = Draft {
        title: text_of(entry, "Title").to_owned(),
        severity: severity(text_of(entry, "Severity")),
        location: line.map_or_else(|| target.to_owned(), |line| format!("{target}:{line}")),
        group: "misconfiguration".to_owned(),
        detail: message.to_owned(),
        identity: [
            "misconfiguration",
            target,
            text_of(cause, "Resource"),
            message,
        ]
        .map(str::to_owned)
        .to_vec(),
        ..Draft::of(id, Kind::Setting)
    };
    // An exception was made for it in the tool.
    if status == "EXCEPTION" {
        drafts.counts.add("passed");
        drafts.set_aside(&draft);
        return Ok(());
    }
    drafts.push(draft)
}

fn secret(entry: &Value, target: &str, drafts: &mut Drafts) -> Result<(), ReadError> {
    drafts.counts.add("secrets");
    let line = entry.get("StartLine").and_then(Value::as_u64);
    drafts.push(Draft {
        title: text_of(entry, "Title").to_owned(),
        severity: severity(text_of(entry, "Severity")),
        location: line.map_or_else(|| target.to_owned(), |line| format!("{target}:{line}")),
        group: "secret".to_owned(),
        detail: text_of(entry, "Category").to_owned(),
        // The match itself is left out: it may be the secret.
        identity: vec![
            "secret".to_owned(),
            target.to_owned(),
            line.map(|line| line.to_string()).unwrap_or_default(),
        ],
        ..Draft::of(text_of(entry, "RuleID"), Kind::Secret)
    })
}

/// A license is rated as the tool rates it, and concerns no requirement.
fn license(entry: &Value, target: &str, drafts: &mut Drafts) -> Result<(), ReadError> {
    drafts.counts.add("licenses");
    let (name, package) = (text_of(entry, "Name"), text_of(entry, "PkgName"));
    drafts.push(Draft {
        title: format!("{package}: license {name}"),
        severity: severity(text_of(entry, "Severity")),
        location: format!("{target} {package}{}", text_of(entry, "FilePath")),
        group: "license".to_owned(),
        detail: text_of(entry, "Category").to_owned(),
        identity: ["license", target, package, text_of(entry, "FilePath")]
            .map(str::to_owned)
            .to_vec(),
        ..Draft::of(name, Kind::Other)
    })
}
