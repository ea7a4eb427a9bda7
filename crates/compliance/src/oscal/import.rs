//! Import of a system security plan or a POA&M from another tool, limited to what blueteam stores.

use model::{ControlId, Plan, PlanId, PlanKind, PlanStatus, RiskLevel, Timestamp};
use serde_json::Value;
use uuid::Uuid;

use crate::catalog::Catalog;

/// Errors in an imported document.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The document is not JSON.
    #[error("it is not JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The document is of an unsupported kind.
    #[error("it is neither an OSCAL system-security-plan nor a plan-of-action-and-milestones")]
    Unknown,
    /// A part of the document is invalid.
    #[error("{place}: {what}")]
    Wrong {
        /// Path within the document.
        place: String,
        /// The problem.
        what: String,
    },
}

/// What a plan says of a requirement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// The requirement.
    pub control_id: ControlId,
    /// How it is implemented.
    pub notes: Option<String>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// When it is to be assessed next.
    pub due: Option<Timestamp>,
    /// Whether the partial score is taken.
    pub partial_credit: Option<bool>,
}

/// The contents of an imported document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Imported {
    /// Implementation and owner of each requirement.
    Plan(Vec<Described>),
    /// Items of a plan of action.
    Poam(Vec<Plan>),
}

/// Parses a document. An unknown requirement is an error, not skipped.
pub fn read(catalog: &Catalog, text: &[u8], now: Timestamp) -> Result<Imported, ImportError> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let doc: Value = serde_json::from_slice(text)?;
    if has_nul(&doc) {
        return Err(invalid_part(
            "the document",
            "holds a NUL character, which text may not contain",
        ));
    }

    if let Some(ssp) = doc.get("system-security-plan") {
        return read_plan(catalog, ssp).map(Imported::Plan);
    }

    if let Some(poam) = doc.get("plan-of-action-and-milestones") {
        return read_items(catalog, poam, now).map(Imported::Poam);
    }

    Err(ImportError::Unknown)
}

fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(list) => list.iter().any(has_nul),
        Value::Object(map) => map.values().any(has_nul),
        _ => false,
    }
}

fn invalid_part(place: &str, what: impl Into<String>) -> ImportError {
    ImportError::Wrong {
        place: place.to_owned(),
        what: what.into(),
    }
}

/// Parses `sp800-171r2-3.1.1`, `3.1.1` or `AC.L2-3.1.1`.
fn parse_control(catalog: &Catalog, id: &str, place: &str) -> Result<ControlId, ImportError> {
    let plain = id.rsplit('-').next().unwrap_or(id);
    let found = catalog.find(plain).map(|(r, _)| r.control_id.clone());
    found.ok_or_else(|| invalid_part(place, format!("the catalog has no control `{id}`")))
}

fn non_empty_text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value
        .get(key)?
        .as_str()
        .map(str::trim)
        .filter(|t| !t.is_empty() && *t != "Not stated.")
}

fn prop_value<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    let props = value.get("props")?.as_array()?;
    let found = props
        .iter()
        .find(|p| p.get("name").and_then(Value::as_str) == Some(name))?;
    non_empty_text(found, "value")
}

fn prop_values(value: &Value, name: &str) -> Vec<String> {
    let props = value.get("props").and_then(Value::as_array);
    props
        .into_iter()
        .flatten()
        .filter(|p| p.get("name").and_then(Value::as_str) == Some(name))
        .filter_map(|p| non_empty_text(p, "value"))
        .map(str::to_owned)
        .collect()
}

fn time_prop(value: &Value, name: &str, place: &str) -> Result<Option<Timestamp>, ImportError> {
    let parse = |text: &str| {
        Timestamp::parse(text)
            .map_err(|_| invalid_part(place, format!("{name}: `{text}` is not a time")))
    };
    prop_value(value, name).map(parse).transpose()
}

fn read_plan(catalog: &Catalog, ssp: &Value) -> Result<Vec<Described>, ImportError> {
    const PLACE: &str = "control-implementation.implemented-requirements";
    let list = ssp
        .pointer("/control-implementation/implemented-requirements")
        .and_then(Value::as_array);
    let list = list.ok_or_else(|| invalid_part(PLACE, "is missing"))?;
    let mut found = Vec::new();

    for (n, r) in list.iter().enumerate() {
        let place = format!("{PLACE}[{n}]");
        let id = non_empty_text(r, "control-id")
            .ok_or_else(|| invalid_part(&place, "has no control-id"))?;

        // The description of the first component of each statement: in blueteam's documents that is
        // the system as a whole, and in most others the only component.
        let statements = r
            .get("statements")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        let described = statements
            .filter_map(|s| non_empty_text(s.pointer("/by-components/0")?, "description"));
        let own = r
            .pointer("/by-components/0")
            .and_then(|c| non_empty_text(c, "description"));

        let notes: Vec<&str> = described.chain(own).collect();
        let notes = (!notes.is_empty()).then(|| notes.join("\n"));
        found.push(Described {
            control_id: parse_control(catalog, id, &place)?,
            notes,
            owner: prop_value(r, "owner").map(str::to_owned),
            due: time_prop(r, "next-assessment", &place)?,
            partial_credit: prop_value(r, "partial-credit").map(|word| word == "true"),
        });
    }

    Ok(found)
}

fn read_items(catalog: &Catalog, poam: &Value, now: Timestamp) -> Result<Vec<Plan>, ImportError> {
    const PLACE: &str = "poam-items";
    let list = poam
        .get(PLACE)
        .and_then(Value::as_array)
        .ok_or_else(|| invalid_part(PLACE, "is missing"))?;

    let risks: Vec<&Value> = poam
        .get("risks")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .collect();
    let mut found = Vec::new();

    for (n, item) in list.iter().enumerate() {
        let place = format!("{PLACE}[{n}]");
        let risk = item
            .pointer("/related-risks/0/risk-uuid")
            .and_then(Value::as_str);
        let risk = risk.and_then(|id| {
            risks
                .iter()
                .find(|r| r.get("uuid").and_then(Value::as_str) == Some(id))
                .copied()
        });

        let item = read_item(catalog, item, risk, &place, now)?;
        if found.iter().any(|f: &Plan| f.poam_id == item.poam_id) {
            return Err(invalid_part(
                &place,
                format!("its id {} appears twice", item.poam_id),
            ));
        }

        found.push(item);
    }

    Ok(found)
}

fn read_item(
    catalog: &Catalog,
    item: &Value,
    risk: Option<&Value>,
    place: &str,
    now: Timestamp,
) -> Result<Plan, ImportError> {
    let title = non_empty_text(item, "title").unwrap_or_default();
    let id = prop_value(item, "requirement")
        .or_else(|| title.split([':', ' ']).next())
        .unwrap_or_default();
    let control_id = parse_control(catalog, id, place)?;
    let word = |name: &str| prop_value(item, name);
    let bad = |e: model::ids::UnknownWord| invalid_part(place, e.to_string());
    let due = risk.and_then(|r| non_empty_text(r, "deadline"));
    let due = due.map(|t| {
        Timestamp::parse(t)
            .map_err(|_| invalid_part(place, format!("deadline: `{t}` is not a time")))
    });

    let remediation = risk.and_then(|r| r.pointer("/remediations/0"));
    let tasks = remediation
        .and_then(|r| r.get("tasks"))
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let milestones: Vec<&str> = tasks
        .filter_map(|t| non_empty_text(t, "description").or_else(|| non_empty_text(t, "title")))
        .collect();

    let status = match (
        word("status"),
        risk.and_then(|r| non_empty_text(r, "status")),
    ) {
        (Some(ours), _) => ours.parse().map_err(bad)?,
        (None, Some("closed")) => PlanStatus::Completed,
        (None, Some("remediating")) => PlanStatus::InProgress,
        (None, Some("deviation-approved")) => PlanStatus::AcceptedRisk,
        _ => PlanStatus::Open,
    };

    let weight = catalog.get(&control_id).and_then(|r| r.dod_weight);
    let uuid = prop_value(item, "item-id")
        .or_else(|| non_empty_text(item, "uuid"))
        .and_then(|t| Uuid::try_parse(t).ok());
    let id = PlanId(uuid.unwrap_or_else(|| super::stable_id(&["imported", &item.to_string()])));
    let risk_level = word("risk-level")
        .map_or_else(|| Ok(RiskLevel::of_weight(weight)), str::parse)
        .map_err(bad)?;

    let level = |name: &str| word(name).map(str::parse).transpose().map_err(bad);
    Ok(Plan {
        likelihood: level("likelihood")?,
        impact: level("impact")?,
        residual_risk: level("residual-risk")?,
        item_number: word("item-number").and_then(|number| number.parse().ok()),
        kind: word("kind")
            .map_or(Ok(PlanKind::Operational), str::parse)
            .map_err(bad)?,
        weakness: non_empty_text(item, "description")
            .unwrap_or(title)
            .to_owned(),
        remediation: remediation
            .and_then(|r| non_empty_text(r, "description"))
            .unwrap_or("not stated")
            .to_owned(),
        milestones: (!milestones.is_empty()).then(|| milestones.join("; ")),
        due: due.transpose()?,
        completed: match status {
            PlanStatus::Completed => time_prop(item, "completed-at", place)?.or(Some(now)),
            _ => None,
        },
        conditional_since: time_prop(item, "conditional-since", place)?,
        tasks: prop_values(item, "task"),
        status,
        owner: word("owner").map(str::to_owned),
        identified_by: word("identified-by").map(str::to_owned),
        mitigation: risk
            .and_then(|r| non_empty_text(r.pointer("/mitigating-factors/0")?, "description"))
            .map(str::to_owned),
        ..Plan::new(id, control_id, risk_level, now)
    })
}
