//! The assessment results: evidence as observations, each decided objective as a finding.

use model::{Evidence, EvidenceKind, Finding, Objective};
use serde_json::{Value, json};

use super::plan::reviewed;
use super::{href, id, metadata, objective, prop, put, said, time};
use crate::claim::Claim;
use crate::reports::Known;

pub(super) fn document(known: &Known<'_>) -> Value {
    let observations = known.evidence.iter().filter(|e| e.approved_at.is_some());
    let objectives = known.controls.iter().flat_map(|c| &c.objectives);
    let start = objectives
        .clone()
        .filter_map(|o| o.decision.as_ref())
        .map(|d| d.at)
        .min()
        .unwrap_or(known.now);
    let mut result = json!({
        "uuid": id(&["result"]),
        "title": "CMMC Level 2",
        "description": "Findings by assessment objective, as named people decided them.",
        "start": time(start),
        "end": time(known.now),
        "props": claimed(&known.claim()),
        "reviewed-controls": reviewed(),
    });

    put(
        &mut result,
        "observations",
        observations.map(observation).collect(),
    );
    put(
        &mut result,
        "findings",
        objectives.filter_map(|o| finding(known, o)).collect(),
    );

    json!({
        "metadata": metadata(known, "Assessment results, CMMC Level 2"),
        "import-ap": { "href": href("assessment-plans", "assessment-plan") },
        "results": [result],
    })
}

/// The score and the status, or why there is none.
fn claimed(claim: &Claim) -> Vec<Value> {
    let points = claim
        .points()
        .map_or_else(|| "no score".to_owned(), |points| points.to_string());
    let mut props = vec![
        prop("dod-score", points),
        prop("cmmc-status", claim.level()),
    ];
    props.extend(
        claim
            .obstacles()
            .iter()
            .map(|obstacle| prop("cmmc-status-obstacle", obstacle)),
    );

    props.extend(
        claim
            .until()
            .map(|until| prop("cmmc-status-until", time(until))),
    );

    props
}

/// OSCAL knows ids of version 4 and 5 only, and ours are of version 7.
fn observation_id(e: &Evidence) -> uuid::Uuid {
    id(&["observation", &e.evidence_id.to_string()])
}

fn observation(e: &Evidence) -> Value {
    let method = match e.kind {
        EvidenceKind::TestResult | EvidenceKind::ScanResult => "TEST",
        _ => "EXAMINE",
    };

    let mut props = vec![
        prop("evidence-id", e.evidence_id),
        prop("artifact", e.artifact()),
        prop("kind", e.kind),
    ];
    props.extend(e.sha256.as_ref().map(|hash| prop("sha-256", hash)));
    props.extend(e.confirmed_at.map(|at| prop("confirmed-at", time(at))));

    let mut o = json!({
        "uuid": observation_id(e),
        "title": said(&e.description),
        "description": said(&e.description),
        "props": props,
        "methods": [method],
        "collected": time(e.effective_at.unwrap_or(e.collected_at)),
    });

    if let Some(until) = e.valid_until {
        o["expires"] = json!(time(until));
    }

    o
}

fn finding(known: &Known<'_>, o: &Objective) -> Option<Value> {
    let d = o.decision.as_ref()?;
    let (state, reason) = match d.finding {
        Finding::Met => ("satisfied", "pass"),
        // OSCAL has no word for it: satisfied, with a remark.
        Finding::NotApplicable => ("satisfied", "other"),
        Finding::NotMet => ("not-satisfied", "fail"),
    };

    let mut status = json!({ "state": state, "reason": reason });
    if d.finding == Finding::NotApplicable {
        status["remarks"] = json!("not applicable");
    }

    let methods = d
        .methods
        .iter()
        .map(|m| prop("method", m.as_str().to_ascii_uppercase()));
    let mut props = vec![
        prop("finding", d.finding),
        prop("decided-by", said(&d.by)),
        prop("decided-at", time(d.at)),
    ];
    props.extend(methods);

    let mut f = json!({
        "uuid": id(&["finding", &o.objective_id.0]),
        "title": o.objective_id.0,
        "description": said(&d.reason),
        "props": props,
        "target": { "type": "objective-id", "target-id": objective(&o.objective_id), "status": status },
    });

    let supports = known
        .evidence
        .iter()
        .filter(|e| e.approved_at.is_some() && e.objectives.contains(&o.objective_id));
    put(
        &mut f,
        "related-observations",
        supports
            .map(|e| json!({ "observation-uuid": observation_id(e) }))
            .collect(),
    );

    Some(f)
}
