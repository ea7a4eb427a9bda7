//! The assessment results: evidence as observations, each decided objective as a finding.

use model::{Evidence, EvidenceKind, Finding, Objective};
use serde_json::{Value, json};

use super::plan::reviewed_controls;
use super::{
    document_metadata, format_time, insert_list, oscal_objective_id, oscal_prop, stable_id,
    text_or_not_stated, trestle_href,
};
use crate::claim::Claim;
use crate::reports::ReportContext;

pub(super) fn results_document(known: &ReportContext<'_>) -> Value {
    let names = crate::evidence::names(known.evidence);
    let observations = known.evidence.iter().filter(|e| e.approved_at.is_some());
    let objectives = known.controls.iter().flat_map(|c| &c.objectives);
    let start = objectives
        .clone()
        .filter_map(|o| o.decision.as_ref())
        .map(|d| d.at)
        .min()
        .unwrap_or(known.now);
    let mut result = json!({
        "uuid": stable_id(&["result"]),
        "title": "CMMC Level 2",
        "description": "Findings by assessment objective, as named people decided them.",
        "start": format_time(start),
        "end": format_time(known.now),
        "props": claim_props(&known.claim()),
        "reviewed-controls": reviewed_controls(),
    });

    insert_list(
        &mut result,
        "observations",
        observations
            .map(|e| evidence_observation(known, e, &names[&e.evidence_id]))
            .collect(),
    );
    insert_list(
        &mut result,
        "findings",
        objectives
            .filter_map(|o| objective_finding(known, o))
            .collect(),
    );

    json!({
        "metadata": document_metadata(known, "Assessment results, CMMC Level 2"),
        "import-ap": { "href": trestle_href("assessment-plans", "assessment-plan") },
        "results": [result],
    })
}

/// Returns score and status as properties, or the reasons why there is none.
fn claim_props(claim: &Claim) -> Vec<Value> {
    let points = claim
        .points()
        .map_or_else(|| "no score".to_owned(), |points| points.to_string());
    let mut props = vec![
        oscal_prop("dod-score", points),
        oscal_prop("cmmc-status", claim.level()),
    ];
    props.extend(
        claim
            .obstacles()
            .iter()
            .map(|obstacle| oscal_prop("cmmc-status-obstacle", obstacle)),
    );

    props.extend(
        claim
            .cautions()
            .iter()
            .map(|caution| oscal_prop("cmmc-status-caution", caution)),
    );
    props.extend(
        claim
            .until()
            .map(|until| oscal_prop("cmmc-status-until", format_time(until))),
    );

    props
}

/// Returns an observation id: OSCAL allows UUIDs of version 4 and 5 only, evidence has version 7.
fn observation_id(e: &Evidence) -> uuid::Uuid {
    stable_id(&["observation", &e.evidence_id.to_string()])
}

fn evidence_observation(known: &ReportContext<'_>, e: &Evidence, name: &str) -> Value {
    let method = match e.kind {
        EvidenceKind::TestResult | EvidenceKind::ScanResult => "TEST",
        _ => "EXAMINE",
    };

    let mut props = vec![
        oscal_prop("evidence-id", e.evidence_id),
        oscal_prop("artifact", name),
        oscal_prop("kind", e.kind),
        oscal_prop("validity", e.validity(known.now)),
    ];
    props.extend(e.sha256.as_ref().map(|hash| oscal_prop("sha-256", hash)));
    props.extend(
        e.confirmed_at
            .map(|at| oscal_prop("confirmed-at", format_time(at))),
    );

    let mut o = json!({
        "uuid": observation_id(e),
        "title": text_or_not_stated(&e.description),
        "description": text_or_not_stated(&e.description),
        "props": props,
        "methods": [method],
        "collected": format_time(e.effective_at.unwrap_or(e.collected_at)),
    });

    if let Some(until) = e.valid_until {
        o["expires"] = json!(format_time(until));
    }

    o
}

fn objective_finding(known: &ReportContext<'_>, o: &Objective) -> Option<Value> {
    let d = o.decision.as_ref()?;
    let (state, reason) = match d.finding {
        Finding::Met => ("satisfied", "pass"),
        // OSCAL has no state for it: satisfied, with a remark.
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
        .map(|m| oscal_prop("method", m.as_str().to_ascii_uppercase()));
    let mut props = vec![
        oscal_prop("finding", d.finding),
        oscal_prop("decided-by", text_or_not_stated(&d.by)),
        oscal_prop("decided-at", format_time(d.at)),
    ];
    props.extend(methods);

    let mut f = json!({
        "uuid": stable_id(&["finding", &o.objective_id.0]),
        "title": o.objective_id.0,
        "description": text_or_not_stated(&d.reason),
        "props": props,
        "target": { "type": "objective-id", "target-id": oscal_objective_id(&o.objective_id), "status": status },
    });

    let supports = known
        .evidence
        .iter()
        .filter(|e| e.approved_at.is_some() && e.objectives.contains(&o.objective_id));
    insert_list(
        &mut f,
        "related-observations",
        supports
            .map(|e| json!({ "observation-uuid": observation_id(e) }))
            .collect(),
    );

    Some(f)
}
