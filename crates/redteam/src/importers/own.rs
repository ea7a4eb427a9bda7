//! Our own format: `docs/formats/redteam.md`. Fields that are not known are kept, and a verdict that
//! is missing or unknown is inconclusive: never "not vulnerable".

use std::collections::{BTreeMap, BTreeSet};

use model::Severity;
use serde_json::{Map, Value};

use super::{Importer, Reader, new_report};
use crate::controls::{self, Kind};
use crate::drafts::{Draft, Drafts, cves_in, cwe, group_name, severity};
use crate::json::{list_of, text_of, texts_of, word_of};
use crate::report::{Checks, Module, Scope, Verdict};
use crate::text::{DETAIL_MAX, NAME_MAX, clean};
use crate::{ReadError, Report, times};

pub(super) const IMPORTER: Importer = Importer {
    name: "redteam",
    title: "blueteam's own, docs/formats/redteam.md",
    may_be_empty: false,
    reader: Reader::Json { recognizes, read },
};

/// The most bytes of fields that are not known.
const UNKNOWN_MAX: usize = 16 << 10;

fn recognizes(document: &Value) -> bool {
    let has = |key: &str| document.get(key).is_some();
    has("modules") && !has("runs") && (has("run_id") || has("id") || has("target") || has("tool"))
}

fn read(document: &Value, drafts: &mut Drafts) -> Result<Report, ReadError> {
    let format = IMPORTER.name;
    let mut report = new_report(&IMPORTER);
    let named = |key: &str| Some(word_of(document, key)).filter(|text| !text.is_empty());
    report.run_id = named("run_id").or_else(|| named("id"));
    report.tool = named("tool").unwrap_or_else(|| "redteam".to_owned());
    report.version = named("version");
    report.started = times::read(&word_of(document, "started"));
    report.ended = times::read(&word_of(document, "ended"));
    report.target = word_of(document, "target");
    report.unknown = unknown_of(
        document,
        &[
            "run_id", "id", "tool", "version", "started", "ended", "target", "modules",
        ],
    );
    if !document.get("modules").is_some_and(Value::is_array) {
        return Err(ReadError::shape(format, "`modules` is not a list"));
    }

    let mut conclusive: BTreeMap<String, bool> = BTreeMap::new();
    for (number, entry) in (1..).zip(list_of(document, "modules", format)?) {
        drafts.item()?;
        let module = module(entry)
            .ok_or_else(|| ReadError::shape(format, format!("module {number} has no `name`")))?;
        drafts.counts.add(module.verdict.as_str());
        let group = group_of(&module);
        if module.verdict == Verdict::Vulnerable {
            drafts.push(draft(entry, &module, &report.target, &group))?;
        }
        // One inconclusive attempt at it leaves it open, however others went.
        let is_conclusive = conclusive.entry(group).or_insert(true);
        *is_conclusive &= module.verdict.is_conclusive();
        report.modules.push(module);
    }

    let groups = conclusive
        .into_iter()
        .filter(|(_, is_conclusive)| *is_conclusive);
    report.scope = Scope {
        is_complete: true,
        is_whole: true,
        areas: BTreeSet::from([report.target.clone()]),
        checks: Checks::Groups(groups.map(|(group, _)| group).collect()),
    };
    Ok(report)
}

fn module(entry: &Value) -> Option<Module> {
    let name = clean(&word_of(entry, "name"), NAME_MAX);
    if name.is_empty() {
        return None;
    }
    let controls = if entry.get("control_ids").is_some() {
        texts_of(entry, "control_ids")
    } else {
        texts_of(entry, "controls")
    };
    let controls: Vec<String> = controls.into_iter().map(str::to_owned).collect();
    let requests = entry.get("requests").or_else(|| entry.get("request_count"));
    let worst = word_of(entry, "severity");

    Some(Module {
        name,
        variant: clean(&word_of(entry, "variant"), NAME_MAX),
        controls: controls::given(&controls),
        // An attack that nobody has rated is no small one.
        severity: worst.parse().unwrap_or_else(|_| {
            if worst.is_empty() {
                Severity::Medium
            } else {
                severity(&worst)
            }
        }),
        verdict: text_of(entry, "verdict")
            .parse()
            .unwrap_or(Verdict::Inconclusive),
        evidence: clean(&evidence_of(entry), DETAIL_MAX),
        requests: requests.and_then(Value::as_u64),
        unknown: unknown_of(
            entry,
            &[
                "name",
                "variant",
                "control_ids",
                "controls",
                "severity",
                "verdict",
                "evidence",
                "requests",
                "request_count",
                "title",
                "cwe",
            ],
        ),
    })
}

/// A text, or whatever else proves it.
fn evidence_of(entry: &Value) -> String {
    match entry.get("evidence") {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// The part of the checks that a module is. The length keeps `a`, `b/c` from being `a/b`, `c`.
fn group_of(module: &Module) -> String {
    group_name(&format!(
        "{} {}/{}",
        module.name.len(),
        module.name,
        module.variant
    ))
}

fn draft(entry: &Value, module: &Module, target: &str, group: &str) -> Draft {
    let title = word_of(entry, "title");
    Draft {
        title: match (title.is_empty(), module.variant.is_empty()) {
            (false, _) => title,
            (true, true) => module.name.clone(),
            (true, false) => format!("{} ({})", module.name, module.variant),
        },
        severity: module.severity,
        location: target.to_owned(),
        area: target.to_owned(),
        group: group.to_owned(),
        cwes: texts_of(entry, "cwe").into_iter().filter_map(cwe).collect(),
        cves: cves_in(&module.evidence),
        controls: module.controls.clone(),
        detail: module.evidence.clone(),
        identity: vec![module.variant.clone()],
        ..Draft::of(module.name.clone(), Kind::Module)
    }
}

/// Returns the fields that are not known; a note in their place where they are too many.
fn unknown_of(value: &Value, known: &[&str]) -> Value {
    let Value::Object(fields) = value else {
        return Value::Null;
    };
    let rest: Map<String, Value> = fields
        .iter()
        .filter(|(key, _)| !known.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    if rest.is_empty() {
        return Value::Null;
    }
    let rest = Value::Object(rest);
    let bytes = rest.to_string().len();
    if bytes > UNKNOWN_MAX {
        return serde_json::json!({ "left_out_bytes": bytes });
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::importers::{Hints, read as read_report};

    fn report(modules: &str) -> Report {
        let text = format!(
            r#"{{"run_id":"r1","tool":"eqmon-redteam","target":"https://eqmon.example",
                "started":"2026-01-05T10:00:00Z","range":7,"modules":[{modules}]}}"#
        );
        read_report(text.as_bytes(), Hints::default()).unwrap()
    }

    #[test]
    fn a_verdict_that_is_missing_is_inconclusive() {
        let report = report(
            r#"{"name":"a"},{"name":"b","verdict":"safe"},{"name":"c","verdict":"not_vulnerable"},
               {"name":"d","verdict":"vulnerable","severity":"critical","control_ids":["3.5.3"],
                "evidence":"a token","requests":4,"colour":"red"}"#,
        );

        let verdicts: Vec<Verdict> = report.modules.iter().map(|m| m.verdict).collect();
        assert_eq!(verdicts[0], Verdict::Inconclusive);
        assert_eq!(verdicts[1], Verdict::Inconclusive);
        assert!(!report.scope.covers("https://eqmon.example", "1 a/"));
        assert!(report.scope.covers("https://eqmon.example", "1 c/"));
        assert_eq!(report.findings.len(), 1);
        assert_eq!(report.findings[0].controls, ["3.5.3"]);
        assert_eq!(report.findings[0].severity, Severity::Critical);
        assert_eq!(report.unknown, serde_json::json!({"range": 7}));
        assert_eq!(
            report.modules[3].unknown,
            serde_json::json!({"colour": "red"})
        );
    }

    #[test]
    fn one_inconclusive_attempt_leaves_a_module_open() {
        let report = report(
            r#"{"name":"a","verdict":"not_vulnerable"},{"name":"a","verdict":"error"},
               {"name":"a","variant":"v","verdict":"not_vulnerable"}"#,
        );

        assert!(!report.scope.covers("https://eqmon.example", "1 a/"));
        assert!(report.scope.covers("https://eqmon.example", "1 a/v"));
    }

    #[test]
    fn a_module_says_nothing_of_another_one() {
        let long = "n".repeat(250);
        let report = report(&format!(
            r#"{{"name":"a/b","variant":"c","verdict":"vulnerable"}},
               {{"name":"a","variant":"b/c","verdict":"not_vulnerable"}},
               {{"name":"{long}","variant":"one","verdict":"not_vulnerable"}},
               {{"name":"{long}","variant":"two","verdict":"vulnerable"}}"#
        ));
        let Checks::Groups(groups) = &report.scope.checks else {
            unreachable!("modules are groups");
        };

        assert_eq!((groups.len(), report.findings.len()), (4, 2));
    }

    #[test]
    fn a_target_without_a_name_is_covered_by_nothing() {
        let text = br#"{"run_id":"r1","modules":[{"name":"a","verdict":"not_vulnerable"}]}"#;
        let report = read_report(text, Hints::default()).unwrap();

        assert!(!report.scope.covers("", "1 a/"));
    }
}
