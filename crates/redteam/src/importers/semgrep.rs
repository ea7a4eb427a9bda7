//! The JSON of semgrep.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Importer, Reader, new_report};
use crate::controls::Kind;
use crate::drafts::{Draft, Drafts, cwe, severity};
use crate::json::{list_of, text_of, texts_of};
use crate::report::Scope;
use crate::{ReadError, Report};

pub(super) const IMPORTER: Importer = Importer {
    name: "semgrep",
    title: "semgrep, JSON",
    may_be_empty: false,
    reader: Reader::Json { recognizes, read },
};

const NAME: &str = "semgrep";

fn recognizes(document: &Value) -> bool {
    let Some(results) = document.get("results").and_then(Value::as_array) else {
        return false;
    };
    // Bandit writes the same two lists, with its figures.
    let has = |key: &str| document.get(key).is_some();
    (has("errors") || has("paths"))
        && !has("metrics")
        && results
            .first()
            .is_none_or(|first| first.get("check_id").is_some())
}

fn read(document: &Value, drafts: &mut Drafts) -> Result<Report, ReadError> {
    let mut report = new_report(&IMPORTER);
    report.version = Some(text_of(document, "version").to_owned());
    let mut areas: BTreeSet<String> = texts_of(&document["paths"], "scanned")
        .into_iter()
        .map(str::to_owned)
        .collect();
    for result in list_of(document, "results", NAME)? {
        drafts.item()?;
        drafts.counts.add("results");
        areas.insert(text_of(result, "path").to_owned());
        if result["extra"]["is_ignored"] == Value::Bool(true) {
            drafts.counts.add("suppressed");
            drafts.set_aside(&draft(result));
            continue;
        }
        drafts.push(draft(result))?;
    }
    let mut is_complete = true;
    for error in list_of(document, "errors", NAME)? {
        if text_of(error, "level") == "error" {
            // A file that could not be read does not say that nothing is in it.
            let path = text_of(error, "path");
            is_complete &= !path.is_empty();
            areas.remove(path);
        }
    }
    report.scope = Scope {
        is_complete,
        ..Scope::of_areas(areas)
    };
    Ok(report)
}

fn draft(result: &Value) -> Draft {
    let extra = &result["extra"];
    let (rule, path) = (text_of(result, "check_id"), text_of(result, "path"));
    let line = result["start"]["line"].as_u64();
    let message = text_of(extra, "message");
    // Who is not signed in gets a request to do so in place of both.
    let given = |key: &str| {
        let text = text_of(extra, key);
        Some(text.trim()).filter(|text| !text.is_empty() && *text != "requires login")
    };
    let number = line.map(|line| line.to_string()).unwrap_or_default();
    let place = given("fingerprint")
        .or_else(|| given("lines"))
        .unwrap_or(&number);
    let metadata = &extra["metadata"];
    let short = rule.rsplit('.').next().unwrap_or(rule);

    Draft {
        title: if message.is_empty() { short } else { message }.to_owned(),
        severity: match text_of(extra, "severity") {
            "INFO" => model::Severity::Low,
            word => severity(word),
        },
        location: line.map_or_else(|| path.to_owned(), |line| format!("{path}:{line}")),
        area: path.to_owned(),
        cwes: texts_of(metadata, "cwe")
            .into_iter()
            .filter_map(cwe)
            .collect(),
        detail: message.to_owned(),
        identity: [path, place].map(str::to_owned).to_vec(),
        ..Draft::of(rule, Kind::Other)
    }
}
