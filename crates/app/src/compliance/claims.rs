//! What a score and a CMMC status are decided from, read at one moment. The decision is
//! [`compliance::claim`]'s alone.

use compliance::Catalog;
use compliance::claim::{Basis, Claim, Obstacle, plan_obstacles};
use compliance::score::PLAN;
use compliance::system::System;
use model::Actor;
use model::{Control, ControlId, Evidence, Plan, Timestamp};
use store::evidence::EvidenceFilter;
use store::{PgConnection, StoreError};

use config::StateDir;

use super::description;
use super::integrity::mark_tampered;
use crate::actor::{Action, Resource};
use crate::{AppError, Session};

/// What a claim is decided from.
#[derive(Debug)]
pub struct Grounds {
    /// The description of the system; `None` where it cannot be read.
    pub system: Option<System>,
    /// Findings.
    pub controls: Vec<Control>,
    /// Plans of action, closed ones too.
    pub plans: Vec<Plan>,
    evidence: Vec<Evidence>,
    now: Timestamp,
}

impl Grounds {
    /// Reads everything in one snapshot, and hashes the evidence again: what is not what was taken
    /// in supports nothing, and is no plan.
    pub(crate) async fn read(
        conn: &mut PgConnection,
        system: Option<System>,
        state: &StateDir,
        now: Timestamp,
    ) -> Result<Self, AppError> {
        let mut tx = store::snapshot(conn).await?;
        let mut grounds = Self {
            system,
            controls: store::compliance::all(&mut tx, now).await?,
            plans: store::plans::list(&mut tx).await?,
            evidence: hashed_evidence(&mut tx, state, None).await?,
            now,
        };

        tx.commit().await.map_err(StoreError::from)?;
        discount_tampered(&mut grounds.controls, &grounds.evidence, now);
        Ok(grounds)
    }

    /// The evidence that is not what was taken in.
    pub fn tampered(&self) -> impl Iterator<Item = &Evidence> {
        self.evidence.iter().filter(|e| e.tampered)
    }

    /// The evidence, of each check the last result.
    pub fn evidence(&self) -> &[Evidence] {
        &self.evidence
    }

    /// What a claim is decided from.
    pub fn basis(&self) -> Basis<'_> {
        Basis {
            catalog: Catalog::r2(),
            system: self.system.as_ref(),
            controls: &self.controls,
            evidence: &self.evidence,
            plans: &self.plans,
            now: self.now,
        }
    }

    /// What may be claimed.
    pub fn claim(&self) -> Claim {
        Claim::of(&self.basis())
    }
}

/// The description of the system; `None` where it cannot be read, which bars every claim.
pub(super) async fn describe(conn: &mut PgConnection, state: &StateDir) -> Option<System> {
    description::read(conn, None, state).await.ok()
}

/// Why 3.12.4 cannot be met now, by these requirements.
pub(super) async fn against_plan(
    conn: &mut PgConnection,
    state: &StateDir,
    controls: &[Control],
    now: Timestamp,
) -> Result<Vec<Obstacle>, AppError> {
    let evidence = hashed_evidence(conn, state, Some(PLAN)).await?;
    let system = describe(conn, state).await;
    Ok(plan_obstacles(system.as_ref(), controls, &evidence, now))
}

/// Records the score for its history, when it changed or a day has passed.
pub async fn record_score(
    session: &mut Session,
    state: &StateDir,
    now: Timestamp,
) -> Result<(), AppError> {
    let (conn, actor) = session.change(Action::Write, Resource::Compliance)?;
    record(conn, actor, state, now).await
}

/// The same for a use case that has changed what the score follows from.
pub(super) async fn record(
    conn: &mut PgConnection,
    actor: &Actor,
    state: &StateDir,
    now: Timestamp,
) -> Result<(), AppError> {
    let system = describe(conn, state).await;
    let grounds = Grounds::read(conn, system, state, now).await?;
    let scored = grounds.claim().noted(now);
    // The share of the range of the score, as the posture counts it.
    let share = scored.points.map(compliance::posture::percent_of_points);
    store::scores::note(conn, actor, &scored, share).await?;
    Ok(())
}

/// The evidence of a requirement, or all, of each check the last result; hashed again.
async fn hashed_evidence(
    conn: &mut PgConnection,
    state: &StateDir,
    control: Option<ControlId>,
) -> Result<Vec<Evidence>, AppError> {
    let filter = EvidenceFilter {
        control,
        latest: true,
        ..EvidenceFilter::default()
    };
    let mut evidence = store::evidence::list(conn, &filter).await?;
    mark_tampered(conn, state, &mut evidence).await?;
    Ok(evidence)
}

/// Counts what is not what was taken in apart from valid evidence: what rests on it alone is stale.
pub(super) fn discount_tampered(controls: &mut [Control], evidence: &[Evidence], now: Timestamp) {
    for piece in evidence.iter().filter(|e| e.tampered) {
        let untouched = Evidence {
            tampered: false,
            ..piece.clone()
        };
        if !untouched.validity(now).counts() {
            continue;
        }

        let objectives = controls.iter_mut().flat_map(|c| &mut c.objectives);
        for objective in objectives.filter(|o| piece.objectives.contains(&o.objective_id)) {
            objective.support.valid = objective.support.valid.saturating_sub(1);
            objective.support.tampered += 1;
        }
    }
}
