//! What a score and a CMMC status are decided from, read at one moment. The decision is
//! [`compliance::claim`]'s alone.

use compliance::Catalog;
use compliance::claim::{Basis, Claim, Obstacle, plan_obstacles};
use compliance::score::PLAN;
use compliance::system::System;
use model::Actor;
use model::{Control, Evidence, Plan, Timestamp};
use store::evidence::EvidenceFilter;
use store::{PgConnection, StoreError};

use config::StateDir;

use super::assessment_package::system_description;
use crate::actor::Permission;
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
    /// Reads everything in one snapshot.
    pub(super) async fn read(
        conn: &mut PgConnection,
        system: Option<System>,
        now: Timestamp,
    ) -> Result<Self, AppError> {
        let mut tx = store::snapshot(conn).await?;
        let grounds = Self {
            system,
            controls: store::compliance::all(&mut tx, now).await?,
            plans: store::plans::list(&mut tx).await?,
            evidence: plan_evidence(&mut tx).await?,
            now,
        };

        tx.commit().await.map_err(StoreError::from)?;
        Ok(grounds)
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

/// The description of the system in the state directory; `None` where it cannot be read, which bars
/// every claim.
pub(super) fn description(state: &StateDir) -> Option<System> {
    system_description(None, state).ok()
}

/// Why 3.12.4 cannot be met now.
pub(super) async fn against_plan(
    conn: &mut PgConnection,
    state: &StateDir,
    now: Timestamp,
) -> Result<Vec<Obstacle>, AppError> {
    let evidence = plan_evidence(conn).await?;
    Ok(plan_obstacles(description(state).as_ref(), &evidence, now))
}

/// Records the score for its history, when it changed or a day has passed.
pub async fn record_score(
    session: &mut Session,
    state: &StateDir,
    now: Timestamp,
) -> Result<(), AppError> {
    let (conn, actor) = session.change(Permission::Operate)?;
    record(conn, actor, state, now).await
}

/// The same for a use case that has changed what the score follows from.
pub(super) async fn record(
    conn: &mut PgConnection,
    actor: &Actor,
    state: &StateDir,
    now: Timestamp,
) -> Result<(), AppError> {
    let grounds = Grounds::read(conn, description(state), now).await?;
    store::scores::note(conn, actor, &grounds.claim().noted(now)).await?;
    Ok(())
}

/// The evidence that a system security plan may be among, without its texts.
async fn plan_evidence(conn: &mut PgConnection) -> Result<Vec<Evidence>, AppError> {
    let filter = EvidenceFilter {
        control: Some(PLAN),
        latest: true,
        bare: true,
        ..EvidenceFilter::default()
    };
    Ok(store::evidence::list(conn, &filter).await?)
}
