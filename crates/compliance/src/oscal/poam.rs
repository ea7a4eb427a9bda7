//! The plan of action and milestones.

use model::{Plan, PlanStatus, RiskLevel};
use serde_json::{Value, json};

use super::{
    document_metadata, format_time, insert_list, oscal_prop, stable_id, text_or_not_stated,
    trestle_href,
};
use crate::poam::close_out;
use crate::reports::ReportContext;

/// Builds the POA&M. `None` without items: OSCAL requires at least one.
pub(super) fn poam_document(known: &ReportContext<'_>) -> Option<Value> {
    if known.plans.is_empty() {
        return None;
    }

    let items = known.plans.iter().map(|p| {
        json!({
            "uuid": stable_id(&["item", &p.poam_id.to_string()]),
            "title": item_title(p),
            "description": text_or_not_stated(&p.weakness),
            "props": item_props(p),
            "related-risks": [{ "risk-uuid": risk_id(p) }],
        })
    });

    Some(json!({
        "metadata": document_metadata(known, "Plan of action and milestones"),
        "import-ssp": { "href": trestle_href("system-security-plans", "system-security-plan") },
        "risks": known.plans.iter().map(item_risk).collect::<Vec<_>>(),
        "poam-items": items.collect::<Vec<_>>(),
    }))
}

fn item_title(p: &Plan) -> String {
    let title = format!("{}: {}", p.control_id, one_line_title(&p.weakness));
    match p.item_number {
        Some(number) => format!("{title} ({number})"),
        None => title,
    }
}

fn risk_id(p: &Plan) -> uuid::Uuid {
    stable_id(&["risk", &p.poam_id.to_string()])
}

/// Shortens text to a title of one line.
fn one_line_title(text: &str) -> String {
    let line = text_or_not_stated(text)
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    line.chars().take(120).collect()
}

fn item_props(p: &Plan) -> Vec<Value> {
    let mut props = vec![
        oscal_prop("item-id", p.poam_id),
        oscal_prop("item-number", p.name()),
        oscal_prop("requirement", &p.control_id),
        oscal_prop("kind", p.kind),
        oscal_prop("risk-level", p.risk),
        oscal_prop("status", p.status),
    ];
    let mut add = |name: &str, value: Option<String>| {
        props.extend(
            value
                .map(|v| v.trim().to_owned())
                .filter(|v| !v.is_empty())
                .map(|v| oscal_prop(name, v)),
        );
    };

    let level = |level: Option<RiskLevel>| level.map(|level| level.to_string());
    add("owner", p.owner.clone());
    add("likelihood", level(p.likelihood));
    add("impact", level(p.impact));
    add("residual-risk", level(p.residual_risk));
    add("close-out-by", close_out(p).map(format_time));
    add("conditional-since", p.conditional_since.map(format_time));
    add("completed-at", p.completed.map(format_time));
    add("identified-by", p.identified_by.clone());
    props.extend(
        p.tasks
            .iter()
            .filter(|t| !t.trim().is_empty())
            .map(|t| oscal_prop("task", t.trim())),
    );

    props
}

fn item_risk(p: &Plan) -> Value {
    let status = match p.status {
        PlanStatus::Open => "open",
        PlanStatus::InProgress => "remediating",
        PlanStatus::Completed => "closed",
        PlanStatus::AcceptedRisk => "deviation-approved",
    };

    let mut remediation = json!({
        "uuid": stable_id(&["remediation", &p.poam_id.to_string()]),
        "lifecycle": if p.status == PlanStatus::Completed { "completed" } else { "planned" },
        "title": format!("Meet {}", p.control_id),
        "description": text_or_not_stated(&p.remediation),
    });

    let steps = p
        .milestones
        .as_deref()
        .unwrap_or_default()
        .split([';', '\n'])
        .map(str::trim)
        .filter(|s| !s.is_empty());
    let tasks = steps.enumerate().map(|(n, step)| {
        json!({
            "uuid": stable_id(&["task", &p.poam_id.to_string(), &n.to_string()]),
            "type": "milestone",
            "title": one_line_title(step),
            "description": step,
        })
    });

    insert_list(&mut remediation, "tasks", tasks.collect());
    let mut risk = json!({
        "uuid": risk_id(p),
        "title": one_line_title(&p.weakness),
        "description": text_or_not_stated(&p.weakness),
        "statement": text_or_not_stated(&p.weakness),
        "status": status,
        "remediations": [remediation],
    });

    if let Some(due) = p.due {
        risk["deadline"] = json!(format_time(due));
    }

    if let Some(text) = p.mitigation.as_deref().filter(|t| !t.trim().is_empty()) {
        risk["mitigating-factors"] = json!([{ "uuid": stable_id(&["mitigation", &p.poam_id.to_string()]), "description": text.trim() }]);
    }

    risk
}
