//! Plans of action for what was found.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};

use ::redteam::state::State;
use model::text::{clip, counted};
use model::{Plan, RiskLevel, Severity};
use serde::Serialize;
use store::redteam as stored;
use uuid::Uuid;

use super::{Finding, findings_of};
use crate::actor::{Action, Resource};
use crate::compliance::poam::{self, Weakness};
use crate::{AppError, Session};

/// A plan of action that findings opened.
#[derive(Clone, Debug, Serialize)]
pub struct Opened {
    /// The item, by its number.
    pub item: String,
    /// The requirement.
    pub control: String,
    /// The findings that it is about.
    pub findings: Vec<Uuid>,
    /// What is wrong.
    pub weakness: String,
}

/// The most items that are opened at once. A report may list any number of rules, and nobody reads
/// a thousand plans.
const PLANS_MAX: usize = 100;

/// Opens an item for each rule and requirement that findings of medium severity and above are of,
/// the worst first. What has an open one already, or concerns no requirement, gets none. Returns also
/// how many more are due.
pub async fn open_plans(
    session: &mut Session,
    is_meant: impl Fn(&Finding) -> bool,
) -> Result<(Vec<Opened>, usize), AppError> {
    session.require(Action::Write, Resource::Poam)?;
    let (conn, actor) = session.change(Action::Write, Resource::RedTeam)?;
    let mut tx = store::begin(conn, actor).await?;
    stored::lock(&mut tx).await?;
    let plans = store::plans::list(&mut tx).await?.into_iter();
    let open: HashSet<Uuid> = plans
        .filter(|plan| plan.status.is_open())
        .map(|plan| plan.poam_id.0)
        .collect();
    let mut groups: BTreeMap<(String, String, String), Vec<Finding>> = BTreeMap::new();
    for finding in findings_of(&mut tx).await? {
        let has_plan = finding.plans.iter().any(|plan| open.contains(plan));
        let is_due = finding.severity >= Severity::Medium && finding.state == State::Open;
        if has_plan || !is_due || !is_meant(&finding) {
            continue;
        }
        if let Some(control) = finding.controls.first() {
            let key = (finding.tool.clone(), finding.rule.clone(), control.clone());
            groups.entry(key).or_default().push(finding);
        }
    }

    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(_, findings)| Reverse(findings.iter().map(|f| f.severity).max()));
    let left = groups.len().saturating_sub(PLANS_MAX);
    groups.truncate(PLANS_MAX);
    let mut opened = Vec::new();
    for ((tool, _, control), findings) in groups {
        let weakness = weakness_of(&tool, control, &findings);
        let plan = poam::open(&mut tx, actor, &weakness).await?;
        let ids: Vec<Uuid> = findings.iter().map(|finding| finding.finding_id).collect();
        stored::note_plan(&mut tx, actor, &ids, plan.poam_id.0).await?;
        opened.push(one(&plan, ids));
    }
    tx.commit().await.map_err(store::StoreError::from)?;
    Ok((opened, left))
}

fn one(plan: &Plan, findings: Vec<Uuid>) -> Opened {
    Opened {
        item: plan.name(),
        control: plan.control_id.to_string(),
        findings,
        weakness: plan.weakness.clone(),
    }
}

/// What an item says: the findings by title, place and ID.
fn weakness_of(tool: &str, control: String, findings: &[Finding]) -> Weakness {
    const NAMED: usize = 5;
    // The pages that change an item take 4000 characters.
    const PLACE_MAX: usize = 400;
    let worst = findings.iter().map(|f| f.severity).max();
    let title = findings.first().map_or("", |finding| &finding.title);
    let places: Vec<String> = findings
        .iter()
        .take(NAMED)
        .map(|f| {
            format!(
                "{} (finding {})",
                clip(&f.location, PLACE_MAX),
                f.finding_id
            )
        })
        .collect();
    let more = match findings.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {}", counted(more as u64, "more place")),
    };
    let severity = worst.unwrap_or(Severity::Medium);

    Weakness {
        control,
        weakness: format!("{title} ({severity}): {}{more}", places.join("; ")),
        remediation: format!(
            "Correct it, and show by another run of {tool} with the same scope that it is gone."
        ),
        risk: match severity {
            Severity::Critical => RiskLevel::VeryHigh,
            Severity::High => RiskLevel::High,
            Severity::Medium => RiskLevel::Moderate,
            Severity::Low | Severity::Info => RiskLevel::Low,
        },
        identified_by: format!("{tool}, by its report"),
    }
}
