//! The plan of action and milestones.

use model::{Plan, PlanStatus};
use serde_json::{Value, json};

use super::{href, id, metadata, prop, put, said, time};
use crate::poam::close_out;
use crate::reports::Known;

/// None when there is no item: OSCAL wants one at least.
pub(super) fn document(known: &Known<'_>) -> Option<Value> {
    if known.plans.is_empty() {
        return None;
    }

    let items = known.plans.iter().map(|p| {
        json!({
            "uuid": id(&["item", &p.poam_id.to_string()]),
            "title": format!("{}: {}", p.control_id, short(&p.weakness)),
            "description": said(&p.weakness),
            "props": props(p),
            "related-risks": [{ "risk-uuid": risk_id(p) }],
        })
    });

    Some(json!({
        "metadata": metadata(known, "Plan of action and milestones"),
        "import-ssp": { "href": href("system-security-plans", "system-security-plan") },
        "risks": known.plans.iter().map(risk).collect::<Vec<_>>(),
        "poam-items": items.collect::<Vec<_>>(),
    }))
}

fn risk_id(p: &Plan) -> uuid::Uuid {
    id(&["risk", &p.poam_id.to_string()])
}

/// A title is one line.
fn short(text: &str) -> String {
    let line = said(text).split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(120).collect()
}

fn props(p: &Plan) -> Vec<Value> {
    let mut props = vec![
        prop("item-id", p.poam_id),
        prop("requirement", &p.control_id),
        prop("kind", p.kind),
        prop("risk-level", p.risk),
        prop("status", p.status),
    ];
    let mut add = |name: &str, value: Option<String>| {
        props.extend(
            value
                .map(|v| v.trim().to_owned())
                .filter(|v| !v.is_empty())
                .map(|v| prop(name, v)),
        );
    };

    add("owner", p.owner.clone());
    add("close-out-by", close_out(p).map(time));
    add("identified-by", p.identified_by.clone());
    props.extend(
        p.tasks
            .iter()
            .filter(|t| !t.trim().is_empty())
            .map(|t| prop("task", t.trim())),
    );

    props
}

fn risk(p: &Plan) -> Value {
    let status = match p.status {
        PlanStatus::Open => "open",
        PlanStatus::InProgress => "remediating",
        PlanStatus::Completed => "closed",
        PlanStatus::AcceptedRisk => "deviation-approved",
    };

    let mut remediation = json!({
        "uuid": id(&["remediation", &p.poam_id.to_string()]),
        "lifecycle": if p.status == PlanStatus::Completed { "completed" } else { "planned" },
        "title": format!("Meet {}", p.control_id),
        "description": said(&p.remediation),
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
            "uuid": id(&["task", &p.poam_id.to_string(), &n.to_string()]),
            "type": "milestone",
            "title": short(step),
            "description": step,
        })
    });

    put(&mut remediation, "tasks", tasks.collect());
    let mut risk = json!({
        "uuid": risk_id(p),
        "title": short(&p.weakness),
        "description": said(&p.weakness),
        "statement": said(&p.weakness),
        "status": status,
        "remediations": [remediation],
    });

    if let Some(due) = p.due {
        risk["deadline"] = json!(time(due));
    }

    if let Some(text) = p.mitigation.as_deref().filter(|t| !t.trim().is_empty()) {
        risk["mitigating-factors"] = json!([{ "uuid": id(&["mitigation", &p.poam_id.to_string()]), "description": text.trim() }]);
    }

    risk
}
