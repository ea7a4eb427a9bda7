//! What is found about a requirement: a named person decides, checks propose.

use std::path::Path;

use compliance::Requirement;
use compliance::catalog::ObjectiveText;
use compliance::checks::CheckResult;
use compliance::claim::Obstacle;
use compliance::score::PLAN;
use compliance::sheets::findings;
use config::StateDir;
use model::{
    Clock as _, Control, Evidence, EvidenceId, Finding, Implementation, Method, ObjectiveId,
    Responsibility, Standing, SystemClock, Timestamp,
};
use serde::Serialize;
use store::compliance::NewDecision;
use store::evidence::EvidenceFilter;
use store::{PgConnection, StoreError};

use super::integrity::mark_tampered;
use super::{checks, claims, current_controls, description, find_control, find_requirement};
use crate::actor::{Action, Resource};
use crate::{AppError, Session};

pub use store::compliance::{Change, Changes};

/// How many characters a reason may have.
pub(super) const REASON: std::ops::RangeInclusive<usize> = 3..=4000;
/// So many things that the description of the system lacks are named.
const NAMED: usize = 3;

/// A finding, or none again: `not_assessed` takes a decision back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decided(pub Option<Finding>);

impl std::str::FromStr for Decided {
    type Err = model::ids::UnknownWord;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if matches!(text, "not_assessed" | "not-assessed") {
            return Ok(Self(None));
        }

        if text.eq_ignore_ascii_case("n/a") || text.eq_ignore_ascii_case("na") {
            return Ok(Self(Some(Finding::NotApplicable)));
        }

        text.parse().map(|finding| Self(Some(finding)))
    }
}

/// What a person says about a requirement or an objective.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The requirement, of which a finding decides all objectives, or one objective.
    pub id: &'a str,
    /// What was found.
    pub finding: Option<Decided>,
    /// Why.
    pub reason: Option<&'a str>,
    /// How it was looked at; examined when nothing else is said of what is met.
    pub methods: &'a [Method],
    /// What is said about the requirement as a whole.
    pub changes: Changes,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// The objectives that were decided.
    pub decided: Vec<ObjectiveId>,
    /// The requirement as it stands then.
    pub assessed: Assessed,
}

/// All that is known of one requirement.
#[derive(Debug, Serialize)]
pub struct Assessed {
    /// Its entry in the catalog.
    pub requirement: &'static Requirement,
    /// What people and checks said.
    pub standing: Control,
    /// How far it is implemented.
    pub status: Implementation,
    /// What follows of its objectives.
    pub finding: Standing,
    /// What its check last saw; `None` when it has none, or it never ran.
    pub check: Option<LastResult>,
}

/// What the check of a requirement last saw.
#[derive(Debug, Serialize)]
pub struct LastResult {
    /// The check.
    pub check_id: String,
    /// Where that is kept.
    pub evidence_id: EvidenceId,
    /// When it last saw so.
    pub at: Timestamp,
    /// Of each objective; empty when this version cannot read what it recorded.
    pub says: Vec<CheckResult>,
}

/// Shows a requirement.
pub async fn show(session: &mut Session, state: &StateDir, id: &str) -> Result<Assessed, AppError> {
    let conn = session.read(Resource::Compliance)?;
    let (requirement, _) = find_requirement(id)?;
    assess_requirement(conn, state, requirement).await
}

/// Every decision about a requirement, or about all, the oldest first.
pub async fn history(session: &mut Session, id: Option<&str>) -> Result<Vec<Change>, AppError> {
    let conn = session.read(Resource::Compliance)?;
    let control = id
        .map(find_requirement)
        .transpose()?
        .map(|(r, _)| &r.control_id);

    Ok(store::compliance::history(conn, control).await?)
}

/// The findings about all objectives as a sheet, as CSV (RFC 4180).
pub async fn sheet(session: &mut Session) -> Result<Vec<u8>, AppError> {
    let current_controls =
        current_controls(session.read(Resource::Compliance)?, SystemClock.now()).await?;
    Ok(findings::csv(&current_controls).map_err(anyhow::Error::new)?)
}

/// Writes what somebody decides and says, and records the score that follows.
pub async fn set(
    session: &mut Session,
    state: &StateDir,
    request: &Request<'_>,
) -> Result<Outcome, AppError> {
    let (conn, actor) = session.change(Action::Write, Resource::Compliance)?;
    let (requirement, objective) = find_requirement(request.id)?;
    let decisions = decisions_on(request, requirement, objective)?;
    check_changes(request, requirement, &decisions)?;

    let now = SystemClock.now();
    if decisions.iter().any(needs_plan) {
        let controls = current_controls(conn, now).await?;
        if let Some(why) = no_plan(conn, state, &controls, now).await? {
            return Err(AppError::conflict(why));
        }
    }

    check_provider(conn, request, requirement, now).await?;

    let mut tx = store::begin(conn, actor).await?;
    store::compliance::decide(&mut tx, actor, now, &decisions).await?;
    if request.changes != Changes::default() {
        let control = &requirement.control_id;
        store::compliance::change(&mut tx, actor, control, &request.changes).await?;
    }
    tx.commit().await.map_err(StoreError::from)?;
    claims::record(conn, actor, state, now).await?;

    Ok(Outcome {
        decided: decisions.into_iter().map(|d| d.objective_id).collect(),
        assessed: assess_requirement(conn, state, requirement).await?,
    })
}

/// The longest note of an assessor, in characters.
const NOTES_MAX: usize = 10_000;

/// Writes what an assessor notes about a requirement: the one thing that an assessor writes.
pub async fn note(
    session: &mut Session,
    state: &StateDir,
    id: &str,
    notes: &str,
) -> Result<Assessed, AppError> {
    let (conn, actor) = session.change(Action::Write, Resource::AssessorNotes)?;
    let (requirement, _) = find_requirement(id)?;
    let notes = notes.trim();
    if notes.chars().count() > NOTES_MAX {
        return Err(AppError::invalid(format!(
            "a note has at most {NOTES_MAX} characters"
        )));
    }

    let changes = Changes {
        assessor_notes: Some(notes.to_owned()),
        ..Changes::default()
    };
    store::compliance::change(conn, actor, &requirement.control_id, &changes).await?;
    assess_requirement(conn, state, requirement).await
}

async fn assess_requirement(
    conn: &mut PgConnection,
    state: &StateDir,
    requirement: &'static Requirement,
) -> Result<Assessed, AppError> {
    let now = SystemClock.now();
    let mut controls = current_controls(conn, now).await?;
    let filter = EvidenceFilter {
        control: Some(requirement.control_id.clone()),
        latest: true,
        ..EvidenceFilter::default()
    };
    let mut pieces = store::evidence::list(conn, &filter).await?;
    mark_tampered(conn, state, &mut pieces).await?;
    claims::discount_tampered(&mut controls, &pieces, now);
    let control = find_control(requirement, &controls)?.clone();

    Ok(Assessed {
        requirement,
        status: control.implementation(),
        finding: control.standing(),
        standing: control,
        check: last_result(&pieces),
    })
}

fn last_result(pieces: &[Evidence]) -> Option<LastResult> {
    let last = pieces.iter().rev().find(|e| e.recorded.is_some())?;
    Some(LastResult {
        check_id: last
            .recorded
            .as_ref()
            .map(|r| r.check_id.clone())
            .unwrap_or_default(),
        evidence_id: last.evidence_id,
        at: last.confirmed_at.unwrap_or(last.collected_at),
        says: checks::replay(last).map(|r| r.says).unwrap_or_default(),
    })
}

/// What is decided about which objectives.
fn decisions_on(
    request: &Request<'_>,
    requirement: &Requirement,
    objective: Option<&ObjectiveText>,
) -> Result<Vec<NewDecision>, AppError> {
    let Some(Decided(finding)) = request.finding else {
        if request.reason.is_some() || !request.methods.is_empty() {
            return Err(AppError::invalid(
                "--reason and --method say something about a --finding",
            ));
        }

        return Ok(Vec::new());
    };

    let reason = request.reason.unwrap_or_default().trim().to_owned();
    if !REASON.contains(&reason.chars().count()) {
        return Err(AppError::invalid(format!(
            "--reason: from {} to {} characters; an assessor will ask",
            REASON.start(),
            REASON.end()
        )));
    }

    let methods = match (request.methods, finding) {
        ([], Some(Finding::Met)) => vec![Method::Examine],
        (given, _) => given.to_vec(),
    };

    let decision = |objective_id| NewDecision {
        objective_id,
        finding,
        reason: reason.clone(),
        methods: methods.clone(),
    };

    let ids = meant(requirement, objective);
    Ok(ids.into_iter().map(decision).collect())
}

/// The objective that is meant, or all of the requirement.
pub(super) fn meant(
    requirement: &Requirement,
    objective: Option<&ObjectiveText>,
) -> Vec<ObjectiveId> {
    match objective {
        Some(objective) => vec![objective.id.clone()],
        None => requirement
            .assessment_objectives
            .iter()
            .map(|o| o.id.clone())
            .collect(),
    }
}

/// That something is said, and that it can be said of this requirement.
fn check_changes(
    request: &Request<'_>,
    requirement: &Requirement,
    decisions: &[NewDecision],
) -> Result<(), AppError> {
    if decisions.is_empty() && request.changes == Changes::default() {
        return Err(AppError::invalid(
            "say what is to be set: --finding with --reason, --owner, --due, --notes, \
                --responsibility, --partial, --evidence-type, --assessor-notes",
        ));
    }

    if request.changes.partial_credit == Some(true) && requirement.partial_weight.is_none() {
        return Err(AppError::invalid(
            "--partial: only 3.5.3 and 3.13.11 have a partial score (DoD Assessment Methodology \
                v1.2.1)",
        ));
    }

    Ok(())
}

/// That what somebody else does has a provider, now or since earlier.
async fn check_provider(
    conn: &mut PgConnection,
    request: &Request<'_>,
    requirement: &Requirement,
    now: Timestamp,
) -> Result<(), AppError> {
    let changes = &request.changes;
    let shared = changes
        .responsibility
        .is_some_and(|r| r != Responsibility::Own);
    if !shared || changes.provider.is_some() {
        return Ok(());
    }

    let all = current_controls(conn, now).await?;
    if find_control(requirement, &all).is_ok_and(|c| c.provider.is_some()) {
        return Ok(());
    }

    Err(AppError::invalid(
        "--responsibility: name the provider with --provider",
    ))
}

/// Whether a decision says that 3.12.4, or an objective of it, is met: that takes an approved plan.
pub(super) fn needs_plan(decision: &NewDecision) -> bool {
    decision.finding == Some(Finding::Met) && decision.objective_id.control() == PLAN.0
}

/// Why 3.12.4 cannot be met now, and what to do about it; `None` when it can.
pub(super) async fn no_plan(
    conn: &mut PgConnection,
    state: &StateDir,
    controls: &[Control],
    now: Timestamp,
) -> Result<Option<String>, AppError> {
    let obstacles = claims::against_plan(conn, state, controls, now).await?;
    let path = state.join(description::SYSTEM);
    let Some(first) = obstacles.first() else {
        return Ok(None);
    };

    Ok(Some(match first {
        Obstacle::PlanIncomplete { missing } => describe_incomplete(&path, missing),
        Obstacle::PlanUnreadable => {
            // The error names the line.
            description::read(conn, None, state).await?;
            format!("{} cannot be read", path.display())
        }
        _ => format!("{NOT_APPROVED}{}", describe_obstacles(&path, &obstacles)),
    }))
}

/// Why the plan is none yet, though one was approved: the description of the system, where there is
/// one, has gaps.
fn describe_incomplete(path: &Path, missing: &[String]) -> String {
    format!(
        "3.12.4 is met by a plan that says all that it must, and the description of the system \
            ({}) lacks:\n  {}\n\
         Complete it, write the plan again (`blueteam compliance ssp`), and take it in as evidence",
        path.display(),
        missing.join("\n  ")
    )
}

/// What to do before 3.12.4 can be met.
const NOT_APPROVED: &str = "3.12.4 is met by a system security plan, and no approved one is among \
    the evidence. Take yours in first:\n  \
    blueteam compliance ssp --output ssp.pdf\n  \
    blueteam compliance evidence add ssp.pdf --supports 3.12.4 --kind policy_doc --shows 'the \
    system security plan' --for 365d --final";

/// What the description of the system lacks, for those who have one or are about to write one.
fn describe_obstacles(path: &Path, obstacles: &[Obstacle]) -> String {
    let lacks = |obstacle: &Obstacle| {
        if let Obstacle::PlanIncomplete { missing } = obstacle {
            missing.clone()
        } else {
            Vec::new()
        }
    };

    let mut missing: Vec<String> = obstacles.iter().flat_map(lacks).collect();
    if missing.is_empty() && !path.exists() {
        missing = compliance::system::System::default().missing();
    }

    if missing.is_empty() {
        return String::new();
    }

    let things = if missing.len() == 1 {
        "thing is"
    } else {
        "things are"
    };
    format!(
        "\n{} {things} missing in the description of the system ({}{}); `compliance ssp --sample` \
            shows what it holds",
        missing.len(),
        missing[..missing.len().min(NAMED)].join("; "),
        if missing.len() > NAMED { "; ..." } else { "" }
    )
}
