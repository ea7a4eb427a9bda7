//! Generating plans of action from findings, and the eMASS sheet.

use model::{
    Control, ControlId, Finding, Objective, Plan, PlanId, PlanKind, PlanStatus, RiskLevel,
    Standing, Timestamp,
};

use crate::catalog::{Catalog, Requirement};
use crate::cmmc::CLOSE_OUT;

/// The changes that bring the plans of action in line with the findings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Generated {
    /// New items.
    pub new: Vec<Plan>,
    /// Open items that move from the wrong plan to the right one.
    pub moved: Vec<Plan>,
}

/// Generates an item for every requirement that is not met. A requirement that may wait for a
/// conditional status goes on the POA&M, due in 180 days; any other goes on the operational plan,
/// because it must be met before there is a status at all.
///
/// If a requirement has open items on the wrong plan only, because a partial score was set or
/// withdrawn since, its oldest item moves.
pub fn generate(
    catalog: &Catalog,
    controls: &[Control],
    plans: &[Plan],
    now: Timestamp,
    mut id: impl FnMut() -> PlanId,
) -> Generated {
    let mut generated = Generated::default();
    for c in controls.iter().filter(|c| c.standing() == Standing::NotMet) {
        let Some(r) = catalog.get(&c.control_id) else {
            continue;
        };
        let kind = required_kind(c, r);
        let mut open: Vec<&Plan> = plans
            .iter()
            .filter(|p| p.control_id == c.control_id && p.status.is_open())
            .collect();
        open.sort_by_key(|p| p.created_at);

        // An operational item beside one on the POA&M is a person's choice.
        match open.first() {
            None => generated.new.push(new_item(c, r, kind, now, id())),
            Some(_) if open.iter().any(|p| p.kind == kind) => {}
            Some(oldest) => generated.moved.push(move_to_plan(oldest, kind, now)),
        }
    }

    generated
}

/// Returns the plan that a requirement belongs on.
fn required_kind(c: &Control, r: &Requirement) -> PlanKind {
    if r.poam_eligibility.allows(c.partial_credit) {
        PlanKind::Poam
    } else {
        PlanKind::Operational
    }
}

fn move_to_plan(plan: &Plan, kind: PlanKind, now: Timestamp) -> Plan {
    let mut moved = Plan {
        kind,
        ..plan.clone()
    };

    let latest = now.plus(CLOSE_OUT);
    if kind == PlanKind::Poam && moved.due.is_none_or(|due| due > latest) {
        moved.due = Some(latest);
    }

    let to = if kind == PlanKind::Poam {
        "the POA&M"
    } else {
        "the operational plan"
    };

    let gap = if moved.milestone_changes.is_empty() {
        ""
    } else {
        "; "
    };

    let day = now.to_jiff().strftime("%Y-%m-%d");
    moved.milestone_changes = format!("{}{gap}{day}: moved to {to}", moved.milestone_changes);
    moved
}

fn new_item(c: &Control, r: &Requirement, kind: PlanKind, now: Timestamp, poam_id: PlanId) -> Plan {
    let failed = |o: &&Objective| {
        o.decision
            .as_ref()
            .is_some_and(|d| d.finding == Finding::NotMet)
    };

    let reasons: Vec<String> = c
        .objectives
        .iter()
        .filter(failed)
        .filter_map(|o| {
            o.decision
                .as_ref()
                .map(|d| format!("{}: {}", o.objective_id, d.reason))
        })
        .collect();

    let by = c
        .objectives
        .iter()
        .filter_map(|o| o.decision.as_ref())
        .map(|d| d.by.as_str())
        .next()
        .unwrap_or("nobody");
    Plan {
        kind,
        weakness: reasons.join("; "),
        remediation: format!("Meet {}: {}", r.control_id, r.requirement),
        due: Some(now.plus(CLOSE_OUT)),
        owner: c.owner.clone(),
        identified_by: Some(format!("assessment by {by}")),
        ..Plan::new(
            poam_id,
            c.control_id.clone(),
            RiskLevel::of_weight(r.dod_weight),
            now,
        )
    }
}

/// Returns the day by which an item must be closed out: 180 days after the conditional status (32
/// CFR 170.21(b)). `None` for an operational plan, or before there is a status.
pub fn close_out(plan: &Plan) -> Option<Timestamp> {
    (plan.kind == PlanKind::Poam).then_some(plan.conditional_since?.plus(CLOSE_OUT))
}

/// Whether an item is open past its day, or past its 180 days.
pub fn is_overdue(plan: &Plan, now: Timestamp) -> bool {
    let past_close_out = close_out(plan).is_some_and(|at| at < now) && plan.status.is_open();
    plan.is_overdue(now) || past_close_out
}

/// Whether a requirement may be on the POA&M of a conditional status (32 CFR 170.21(a)(2)), at
/// least with its partial score.
pub fn may_be_on_poam(catalog: &Catalog, control: &ControlId) -> bool {
    catalog
        .get(control)
        .is_some_and(|r| r.poam_eligibility.allows(true))
}

/// Returns the plan that a requirement belongs on while it is not met.
pub fn plan_for(catalog: &Catalog, control: &Control) -> PlanKind {
    catalog
        .get(&control.control_id)
        .map_or(PlanKind::Operational, |r| required_kind(control, r))
}

/// Returns the day by which an item must be closed out, if it is due only after that. The 180 days
/// are those of the status, which begins once: they run for an item on the POA&M from the first
/// conditional date of any open one.
pub fn due_after_close_out(plan: &Plan, all: &[Plan]) -> Option<Timestamp> {
    let due = plan.due.filter(|_| plan.kind == PlanKind::Poam)?;
    let others = all
        .iter()
        .filter(|p| p.poam_id != plan.poam_id && p.status.is_open());
    let deadline = others.chain([plan]).filter_map(close_out).min()?;
    (due > deadline).then_some(deadline)
}

/// The columns of the eMASS POA&M template, in its order (A to Y).
pub const EMASS: [&str; 25] = [
    "POA&M Item ID",
    "Control Vulnerability Description",
    "Security Control Number (NC/NA controls only)",
    "Office/Org",
    "Security Checks",
    "Resources Required",
    "Scheduled Completion Date",
    "Milestone with Completion Dates",
    "Milestone Changes",
    "Source Identifying Vulnerability",
    "Status",
    "Comments",
    "Raw Severity",
    "Devices Affected",
    "Mitigations",
    "Predisposing Conditions",
    "Severity",
    "Relevance of Threat",
    "Threat Description",
    "Likelihood",
    "Impact",
    "Impact Description",
    "Residual Risk Level",
    "Recommendations",
    "Resulting Residual Risk after Proposed Mitigations",
];

/// Returns how likely a weakness is used: as stated, otherwise what gives its risk together with
/// its impact (NIST SP 800-30, table I-2).
pub fn likelihood(plan: &Plan) -> RiskLevel {
    let impact = impact(plan);
    plan.likelihood.unwrap_or(match (impact, plan.risk) {
        (impact, risk) if risk >= impact => RiskLevel::High,
        (RiskLevel::VeryHigh, RiskLevel::High) | (RiskLevel::High, RiskLevel::Moderate) => {
            RiskLevel::Moderate
        }
        _ => RiskLevel::Low,
    })
}

/// Returns how bad the use of a weakness would be: as stated, otherwise as its risk, which is that
/// of the requirement's weight.
pub fn impact(plan: &Plan) -> RiskLevel {
    plan.impact.unwrap_or(plan.risk)
}

/// Returns the cells of an item in the order of [`EMASS`]. Unknown values stay empty.
pub fn emass(catalog: &Catalog, organization: &str, plan: &Plan) -> [String; 25] {
    let r = catalog.get(&plan.control_id);
    let status = match plan.status {
        PlanStatus::Open | PlanStatus::InProgress => "Ongoing",
        PlanStatus::Completed => "Completed",
        PlanStatus::AcceptedRisk => "Risk Accepted",
    };

    let text = |t: &Option<String>| t.clone().unwrap_or_default();
    let mut cells: [String; 25] = Default::default();
    cells[0] = plan.name();
    cells[1].clone_from(&plan.weakness);
    cells[2] = r.map_or_else(|| plan.control_id.to_string(), |r| r.cmmc_practice.clone());
    organization.clone_into(&mut cells[3]);
    cells[4] = plan.control_id.to_string();

    cells[5] = text(&plan.resources);
    cells[6] = emass_day(plan.due);
    cells[7] = text(&plan.milestones);
    cells[8].clone_from(&plan.milestone_changes);
    cells[9] = text(&plan.identified_by);
    cells[10] = status.into();
    cells[11] = emass_comments(plan);

    cells[12] = emass_level(plan.risk).into();
    cells[14] = text(&plan.mitigation);
    cells[16] = emass_level(plan.risk).into();
    cells[19] = emass_level(likelihood(plan)).into();
    cells[20] = emass_level(impact(plan)).into();
    cells[21] = r
        .and_then(|r| r.dod_weight)
        .map_or_else(String::new, |points| {
            format!("costs {points} of the 110 points of the DoD Assessment Methodology")
        });
    cells[22] = emass_level(plan.risk).into();
    cells[23].clone_from(&plan.remediation);
    cells[24] = plan.residual_risk.map_or("", emass_level).into();

    cells
}

/// Formats a day as the template shows it.
fn emass_day(at: Option<Timestamp>) -> String {
    at.map_or_else(String::new, |at| {
        at.to_jiff().strftime("%m/%d/%Y").to_string()
    })
}

const fn emass_level(level: RiskLevel) -> &'static str {
    match level {
        RiskLevel::Low => "Low",
        RiskLevel::Moderate => "Moderate",
        RiskLevel::High => "High",
        RiskLevel::VeryHigh => "Very High",
    }
}

/// Returns what no other column holds: the plan, who answers for the item, and where the work is.
fn emass_comments(plan: &Plan) -> String {
    let kind = match plan.kind {
        PlanKind::Poam => "CMMC plan of action",
        PlanKind::Operational => "operational plan of action",
    };

    let mut comments = vec![kind.to_owned()];
    comments.extend(plan.owner.as_ref().map(|owner| format!("owner: {owner}")));
    comments.extend(close_out(plan).map(|at| format!("close out by {}", emass_day(Some(at)))));
    if plan.likelihood.is_none() {
        comments.push("likelihood derived from the risk (NIST SP 800-30, table I-2)".to_owned());
    }

    comments.extend(plan.tasks.iter().cloned());
    comments.join("; ")
}
