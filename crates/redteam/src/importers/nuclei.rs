//! The JSON of nuclei: a line, or an item of a list, for each match.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Importer, Reader, new_report};
use crate::controls::Kind;
use crate::drafts::{Draft, Drafts, cve, cwe, severity};
use crate::json::{text_of, texts_of};
use crate::report::Scope;
use crate::{ReadError, Report, times};

pub(super) const IMPORTER: Importer = Importer {
    name: "nuclei",
    title: "nuclei, JSON Lines or JSON",
    may_be_empty: true,
    reader: Reader::Json { recognizes, read },
};

fn template_of(result: &Value) -> &str {
    [
        text_of(result, "template-id"),
        text_of(result, "templateID"),
    ]
    .into_iter()
    .find(|id| !id.is_empty())
    .unwrap_or_default()
}

pub(super) fn recognizes(document: &Value) -> bool {
    let first = document
        .as_array()
        .map_or(Some(document), |items| items.first());
    first.is_some_and(|first| !template_of(first).is_empty())
}

fn read(document: &Value, drafts: &mut Drafts) -> Result<Report, ReadError> {
    let results = document
        .as_array()
        .map_or(std::slice::from_ref(document), Vec::as_slice);
    let mut report = new_report(&IMPORTER);
    let mut areas = BTreeSet::new();
    for (number, result) in (1..).zip(results) {
        drafts.item()?;
        let template = template_of(result);
        if template.is_empty() {
            let reason = format!("result {number} has no `template-id`");
            return Err(ReadError::shape(IMPORTER.name, reason));
        }
        let at = times::read(text_of(result, "timestamp"));
        report.started = [report.started, at].into_iter().flatten().min();
        report.ended = [report.ended, at].into_iter().flatten().max();
        let host = text_of(result, "host");
        areas.insert(host.to_owned());
        // With `-ms`, what did not match is listed too.
        if result.get("matcher-status") == Some(&Value::Bool(false)) {
            drafts.counts.add("unmatched");
            continue;
        }
        drafts.counts.add("matched");
        drafts.push(draft(result, template, host))?;
    }
    report.scope = Scope::of_areas(areas);
    Ok(report)
}

fn draft(result: &Value, template: &str, host: &str) -> Draft {
    let info = &result["info"];
    let classification = &info["classification"];
    let first_of = |keys: [&'static str; 2]| {
        let texts = keys.map(|key| text_of(result, key));
        texts
            .into_iter()
            .find(|text| !text.is_empty())
            .unwrap_or_default()
    };
    let place = first_of(["matched-at", "matched"]);
    let matcher = first_of(["matcher-name", "matcher_name"]);
    let mut cves: Vec<String> = texts_of(classification, "cve-id")
        .into_iter()
        .filter_map(cve)
        .collect();
    cves.extend(cve(template));
    let tags = texts_of(info, "tags").join(",");
    let is_tagged = |tag: &str| tags.split(',').any(|one| one.trim() == tag);
    let kind = if !cves.is_empty() {
        Kind::Component
    } else if is_tagged("misconfig") || is_tagged("misconfiguration") {
        Kind::Setting
    } else {
        Kind::Other
    };
    let name = text_of(info, "name");
    let title = if matcher.is_empty() {
        name.to_owned()
    } else {
        format!("{name}: {matcher}")
    };

    Draft {
        title,
        severity: severity(text_of(info, "severity")),
        location: if place.is_empty() { host } else { place }.to_owned(),
        area: host.to_owned(),
        cwes: texts_of(classification, "cwe-id")
            .into_iter()
            .filter_map(cwe)
            .collect(),
        cves,
        detail: text_of(info, "description").to_owned(),
        identity: [matcher, host, place].map(str::to_owned).to_vec(),
        ..Draft::of(template, kind)
    }
}
