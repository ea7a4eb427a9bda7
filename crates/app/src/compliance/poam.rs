//! Plans of action and milestones (3.12.2; 32 CFR 170.21).

use compliance::poam::{
    Generated, close_out, due_after_close_out, is_overdue, may_be_on_poam, plan_for,
};
use compliance::sheets::plans;
use compliance::{Catalog, reports};
use config::StateDir;
use model::{
    Actor, Clock as _, Control, Evidence, ObjectiveId, Plan, PlanId, PlanKind, PlanNumber,
    PlanStatus, RiskLevel, Standing, SystemClock, Timestamp,
};
use serde::Serialize;
use store::PgConnection;
use uuid::Uuid;

use super::{claims, current_controls, description, evidence, find_control, find_requirement, ids};
use crate::actor::{Action, Resource};
use crate::{AppError, Session};

/// What brought the plans of action in line with the findings.
#[derive(Debug)]
pub struct Written {
    /// The items.
    pub items: Generated,
    /// How many requirements got no item, because nobody has decided about them, or their evidence
    /// has lapsed.
    pub undecided: usize,
}

/// Writes an item for each requirement that is not met and on no open plan, moves those that are on
/// the wrong one, and records the score: what is on no plan costs 3.12.2 as well.
pub async fn generate(session: &mut Session, state: &StateDir) -> Result<Written, AppError> {
    let (conn, actor) = session.change(Action::Write, Resource::Poam)?;
    let now = SystemClock.now();
    let current_controls = current_controls(conn, now).await?;
    let there = store::plans::list(conn).await?;

    // Told apart by their first letters, although they are made at once.
    let id = || PlanId(Uuid::new_v5(&Uuid::now_v7(), b"plan"));
    let mut items = compliance::poam::generate(Catalog::r2(), &current_controls, &there, now, id);
    store::plans::save(conn, actor, &mut items.new, now).await?;
    store::plans::save(conn, actor, &mut items.moved, now).await?;
    claims::record(conn, actor, state, now).await?;

    let open = |c: &&Control| matches!(c.standing(), Standing::NotAssessed | Standing::Stale);
    Ok(Written {
        items,
        undecided: current_controls.iter().filter(open).count(),
    })
}

/// Which items somebody asks for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filter {
    /// Closed ones too.
    pub closed: bool,
    /// Only those past their day, or past their 180 days.
    pub overdue: bool,
}

/// An item in a list.
#[derive(Debug, Serialize)]
pub struct Listed {
    /// The item.
    #[serde(flatten)]
    pub plan: Plan,
    /// Whether it is past its day, or past its 180 days.
    pub overdue: bool,
    /// Whether it is due only after its 180 days.
    pub due_too_late: bool,
    /// The day by which it must be closed out.
    pub close_out_by: Option<Timestamp>,
}

impl Listed {
    fn of(plan: &Plan, all: &[Plan], now: Timestamp) -> Self {
        Self {
            overdue: is_overdue(plan, now),
            due_too_late: plan.status.is_open() && due_after_close_out(plan, all).is_some(),
            close_out_by: close_out(plan),
            plan: plan.clone(),
        }
    }
}

/// The item of this number, or whose id begins or ends like this.
pub async fn show(session: &mut Session, id: &str) -> Result<Listed, AppError> {
    let conn = session.read(Resource::Poam)?;
    let plan = find_plan(conn, id).await?;
    let all = store::plans::list(conn).await?;
    Ok(Listed::of(&plan, &all, SystemClock.now()))
}

/// The items that are asked for, the next due first.
pub async fn list(session: &mut Session, filter: Filter) -> Result<Vec<Listed>, AppError> {
    let now = SystemClock.now();
    let all = store::plans::list(session.read(Resource::Poam)?).await?;
    let mut listed: Vec<Listed> = all
        .iter()
        .map(|plan| Listed::of(plan, &all, now))
        .filter(|l| filter.closed || l.plan.status.is_open())
        .filter(|l| !filter.overdue || l.overdue)
        .collect();

    listed.sort_by_key(|l| (l.plan.due.is_none(), l.plan.due, l.plan.control_id.order()));
    Ok(listed)
}

/// What is said of an item; what is `None` stays as it is.
#[derive(Clone, Debug, Default)]
pub struct Details {
    /// What is wrong.
    pub weakness: Option<String>,
    /// What is done about it.
    pub remediation: Option<String>,
    /// How much of a risk it is.
    pub risk: Option<RiskLevel>,
    /// How likely it is used against the system.
    pub likelihood: Option<RiskLevel>,
    /// How bad that would be.
    pub impact: Option<RiskLevel>,
    /// What remains of the risk once it is mitigated as planned.
    pub residual_risk: Option<RiskLevel>,
    /// The plan that it is on.
    pub kind: Option<PlanKind>,
    /// Where it stands; [`close`] completes it.
    pub status: Option<PlanStatus>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// When it is to be done.
    pub due: Option<Timestamp>,
    /// Steps with their days.
    pub milestones: Option<String>,
    /// What it takes.
    pub resources: Option<String>,
    /// What keeps the risk down until then.
    pub mitigation: Option<String>,
    /// Where the work is tracked; empty leaves what is there.
    pub tasks: Vec<String>,
    /// The day of the conditional status, from which the 180 days run.
    pub conditional_since: Option<Timestamp>,
}

impl Details {
    /// Puts them into an item, and notes a new day or new milestones as a change of milestones.
    fn apply(&self, plan: &mut Plan, actor: &Actor, now: Timestamp) {
        let (due, milestones) = (plan.due, plan.milestones.clone());
        set_option(&mut plan.milestones, self.milestones.as_ref());
        set_option(&mut plan.owner, self.owner.as_ref());
        set_option(&mut plan.resources, self.resources.as_ref());
        set_option(&mut plan.mitigation, self.mitigation.as_ref());
        set_if_given(&mut plan.weakness, self.weakness.as_ref());
        set_if_given(&mut plan.remediation, self.remediation.as_ref());

        plan.due = self.due.or(plan.due);
        plan.conditional_since = self.conditional_since.or(plan.conditional_since);
        plan.risk = self.risk.unwrap_or(plan.risk);
        plan.likelihood = self.likelihood.or(plan.likelihood);
        plan.impact = self.impact.or(plan.impact);
        plan.residual_risk = self.residual_risk.or(plan.residual_risk);
        plan.kind = self.kind.unwrap_or(plan.kind);
        plan.status = self.status.unwrap_or(plan.status);
        if !self.tasks.is_empty() {
            plan.tasks.clone_from(&self.tasks);
        }

        let had_any = due.is_some() || milestones.is_some();
        if had_any && (due != plan.due || milestones != plan.milestones) {
            note_milestones(plan, due, milestones.as_deref(), actor, now);
        }
    }
}

fn set_option(to: &mut Option<String>, from: Option<&String>) {
    if from.is_some() {
        *to = from.cloned();
    }
}

fn set_if_given(to: &mut String, from: Option<&String>) {
    if let Some(text) = from {
        to.clone_from(text);
    }
}

/// Notes what the milestones of an item were.
fn note_milestones(
    plan: &mut Plan,
    due: Option<Timestamp>,
    milestones: Option<&str>,
    actor: &Actor,
    now: Timestamp,
) {
    let gap = if plan.milestone_changes.is_empty() {
        ""
    } else {
        "; "
    };

    plan.milestone_changes = format!(
        "{}{gap}{} {actor}: was due {}, {}",
        plan.milestone_changes,
        format_time(now),
        due.map_or_else(|| "-".to_owned(), format_time),
        milestones.unwrap_or("no milestones")
    );
}

fn format_time(at: Timestamp) -> String {
    at.to_jiff().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// An item that was written.
#[derive(Debug)]
pub struct Saved {
    /// The item.
    pub plan: Plan,
    /// What whoever wrote it should know.
    pub notes: Vec<String>,
}

/// Adds an item about a requirement.
pub async fn add(
    session: &mut Session,
    control: &str,
    details: &Details,
) -> Result<Saved, AppError> {
    let (conn, actor) = session.change(Action::Write, Resource::Poam)?;
    let (requirement, _) = find_requirement(control)?;
    let now = SystemClock.now();
    let id = PlanId(Uuid::now_v7());
    let risk = RiskLevel::of_weight(requirement.dod_weight);
    let mut plan = Plan {
        identified_by: Some(format!("{actor}, by hand")),
        ..Plan::new(id, requirement.control_id.clone(), risk, now)
    };

    let controls = current_controls(conn, now).await?;
    let control = find_control(requirement, &controls)?;
    let all = store::plans::list(conn).await?;
    plan.kind = plan_for(Catalog::r2(), control);

    details.apply(&mut plan, actor, now);
    check_plan(&plan, now)?;
    check_due(&plan, &all, now)?;

    let notes = [met_already(control), doubled(&plan, &all)];
    store::plans::save(conn, actor, std::slice::from_mut(&mut plan), now).await?;
    Ok(Saved {
        plan,
        notes: notes.into_iter().flatten().collect(),
    })
}

/// A weakness that something else than an assessment has found.
#[derive(Clone, Debug)]
pub(crate) struct Weakness {
    /// The requirement.
    pub(crate) control: String,
    /// What is wrong.
    pub(crate) weakness: String,
    /// What is done about it.
    pub(crate) remediation: String,
    /// How bad it is.
    pub(crate) risk: RiskLevel,
    /// What found it.
    pub(crate) identified_by: String,
}

/// Adds an item about a weakness, for an actor who may.
pub(crate) async fn open(
    conn: &mut PgConnection,
    actor: &Actor,
    found: &Weakness,
) -> Result<Plan, AppError> {
    let (requirement, _) = find_requirement(&found.control)?;
    let now = SystemClock.now();
    let id = PlanId(Uuid::now_v7());
    let controls = current_controls(conn, now).await?;
    let mut plan = Plan {
        kind: plan_for(Catalog::r2(), find_control(requirement, &controls)?),
        weakness: found.weakness.clone(),
        remediation: found.remediation.clone(),
        identified_by: Some(found.identified_by.clone()),
        ..Plan::new(id, requirement.control_id.clone(), found.risk, now)
    };
    check_plan(&plan, now)?;
    store::plans::save(conn, actor, std::slice::from_mut(&mut plan), now).await?;
    Ok(plan)
}

/// Says that a requirement is met: an item about it plans for nothing.
fn met_already(control: &Control) -> Option<String> {
    control.standing().counts().then(|| {
        format!(
            "{} is {}: there is nothing to correct, as its findings say",
            control.control_id,
            if control.standing() == Standing::Met {
                "MET"
            } else {
                "N/A"
            }
        )
    })
}

/// Says that there is an open item about the same requirement on the same plan.
fn doubled(plan: &Plan, all: &[Plan]) -> Option<String> {
    let same =
        |p: &&Plan| p.control_id == plan.control_id && p.kind == plan.kind && p.status.is_open();
    let other = all.iter().find(same)?;
    Some(format!(
        "{} has an open item on the same plan already: {} (`poam update` changes it)",
        plan.control_id,
        other.name()
    ))
}

/// That an item is not due after the 180 days of its conditional status (32 CFR 170.21(b)). Once
/// they are over the work goes on, and every later day is shown as late.
fn check_due(plan: &Plan, all: &[Plan], now: Timestamp) -> Result<(), AppError> {
    match due_after_close_out(plan, all) {
        Some(by) if by >= now && plan.status.is_open() => Err(AppError::invalid(format!(
            "--due: {} must be closed out by {}, when the 180 days of the conditional status end \
                (32 CFR 170.21(b)); give an earlier day",
            plan.control_id,
            by.to_jiff().strftime("%Y-%m-%d")
        ))),
        _ => Ok(()),
    }
}

/// Changes the item of this number, or whose id begins or ends like this.
pub async fn update(session: &mut Session, id: &str, details: &Details) -> Result<Saved, AppError> {
    let (conn, actor) = session.change(Action::Write, Resource::Poam)?;
    if details.status == Some(PlanStatus::Completed) {
        return Err(AppError::invalid(
            "--status: `compliance poam close` completes an item, with the evidence that shows it",
        ));
    }

    let now = SystemClock.now();
    let mut plan = find_plan(conn, id).await?;
    if plan.status == PlanStatus::Completed {
        return Err(AppError::conflict(format!(
            "{} is completed, by {}",
            plan.name(),
            plan.closed_by.as_deref().unwrap_or("-")
        )));
    }

    let all = store::plans::list(conn).await?;
    details.apply(&mut plan, actor, now);
    check_plan(&plan, now)?;
    check_due(&plan, &all, now)?;

    let notes = late(&plan, &all).into_iter().collect();
    store::plans::save(conn, actor, std::slice::from_mut(&mut plan), now).await?;
    Ok(Saved { plan, notes })
}

/// Says that the conditional status of an item ended before the day on which it is due.
fn late(plan: &Plan, all: &[Plan]) -> Option<String> {
    let by = due_after_close_out(plan, all)?;
    Some(format!(
        "LATE: {} was to be closed out by {}, and the conditional status has expired (32 CFR \
            170.21(b))",
        plan.control_id,
        by.to_jiff().strftime("%Y-%m-%d")
    ))
}

/// Completes the item of this number, or whose id begins or ends like this, with the evidence that
/// shows it.
pub async fn close(session: &mut Session, id: &str, evidence: &str) -> Result<Plan, AppError> {
    let (conn, actor) = session.change(Action::Write, Resource::Poam)?;
    let mut plan = find_plan(conn, id).await?;
    if plan.status == PlanStatus::Completed {
        return Err(AppError::conflict(format!(
            "{} is completed already, by {}",
            plan.name(),
            plan.closed_by.as_deref().unwrap_or("-")
        )));
    }

    let evidence = evidence::one(conn, evidence).await?;
    check_closure(&plan, &evidence)?;

    let now = SystemClock.now();
    if !store::plans::close(conn, actor, plan.poam_id, evidence.evidence_id, now).await? {
        return Err(AppError::conflict(format!(
            "{} was completed meanwhile",
            plan.name()
        )));
    }

    plan.status = PlanStatus::Completed;
    plan.completed = Some(now);
    plan.closed_by = Some(actor.to_string());
    plan.closing_evidence = Some(evidence.evidence_id);
    Ok(plan)
}

/// That a piece of evidence can show that an item is done.
fn check_closure(plan: &Plan, evidence: &Evidence) -> Result<(), AppError> {
    if evidence.approved_at.is_none() {
        return Err(AppError::conflict(format!(
            "{} is a draft; approve it first",
            evidence.evidence_id
        )));
    }

    let of_it = |objective: &ObjectiveId| objective.control() == &*plan.control_id.0;
    if evidence.control_id == plan.control_id || evidence.objectives.iter().any(of_it) {
        return Ok(());
    }

    Err(AppError::conflict(format!(
        "{} does not support {}; add a file that shows the closure: `compliance evidence add FILE \
            --supports {} --kind test_result --shows 'what it shows' --final`",
        evidence.evidence_id, plan.control_id, plan.control_id
    )))
}

/// That an item says what it must, and is on a plan on which it may be.
fn check_plan(plan: &Plan, now: Timestamp) -> Result<(), AppError> {
    if plan.weakness.trim().is_empty() || plan.remediation.trim().is_empty() {
        return Err(AppError::invalid(
            "--weakness and --remediation: say what is wrong and what is done about it",
        ));
    }

    if plan.kind == PlanKind::Poam && !may_be_on_poam(Catalog::r2(), &plan.control_id) {
        return Err(AppError::invalid(format!(
            "{} may not be on the POA&M of a conditional status (32 CFR 170.21(a)(2)); use --kind \
                operational",
            plan.control_id
        )));
    }

    if plan.conditional_since.is_some_and(|since| since > now) {
        return Err(AppError::invalid(
            "--conditional-since: the day of a conditional status is not in the future",
        ));
    }

    Ok(())
}

/// The one item of this number, or whose id begins or ends like this.
async fn find_plan(conn: &mut PgConnection, id: &str) -> Result<Plan, AppError> {
    let all = store::plans::list(conn).await?;
    if let Ok(number) = id.parse::<PlanNumber>() {
        let found = all.into_iter().find(|p| p.item_number == Some(number));
        return found.ok_or_else(|| {
            AppError::not_found(format!(
                "no item is called {number}; see `blueteam compliance poam list --all`"
            ))
        });
    }

    ids::pick(all, id, |plan| plan.poam_id.0)?
        .ok_or_else(|| ids::nothing("item", id, "blueteam compliance poam list --all"))
}

/// A form that the items are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The columns of the eMASS template, RFC 4180.
    Csv,
    /// The same as a workbook.
    Xlsx,
    /// A document, as Markdown.
    Markdown,
    /// The same, as a page.
    Html,
    /// The same, typeset.
    Pdf,
}

/// Writes all items for others.
pub async fn export(
    session: &mut Session,
    state: &StateDir,
    form: Form,
) -> Result<Vec<u8>, AppError> {
    let conn = session.export(Resource::Poam)?;
    let now = SystemClock.now();
    let items = store::plans::list(conn).await?;
    let controls = current_controls(conn, now).await?;
    let system = description::read(conn, None, state).await?;
    let known = reports::Plans {
        catalog: Catalog::r2(),
        system: &system,
        controls: &controls,
        plans: &items,
        now,
    };

    Ok(match form {
        Form::Csv => plans::csv(&known).map_err(anyhow::Error::new)?,
        Form::Xlsx => plans::xlsx(&known).map_err(anyhow::Error::new)?,
        Form::Markdown => reports::poam(&known).markdown().into_bytes(),
        Form::Html => reports::poam(&known).html().into_bytes(),
        Form::Pdf => pdf::render(&reports::poam(&known)).map_err(anyhow::Error::from)?,
    })
}
