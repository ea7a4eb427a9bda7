//! The posture: counted from what is stored, kept once a day, and as it was at any earlier date.

use compliance::claim::Claim;
use compliance::posture::count;
use compliance::reports::{Executive, Postures};
use compliance::system::System;
use config::{Config, StateDir};
use model::period::Period;
use model::posture::{Grounds, Posture, Rules};
use model::{Severity, Span, Timestamp};
use store::PgConnection;
use store::posture::Patience;

use crate::actor::{Action, Resource};
use crate::compliance::checks::rule_facts;
use crate::compliance::claims::Grounds as ClaimGrounds;
use crate::compliance::description;
use crate::{AppError, Session, redteam};

/// Sources and rules are judged over this time.
const WATCHED: Span = Span::days(30);
/// Alerts and incidents are judged over this time.
const HANDLED: Span = Span::days(90);
/// The posture is kept this often.
const KEPT_EVERY: Span = Span::days(1);

/// How long an incident may take until it spreads no further.
const CONTAIN_WITHIN: [(Severity, Span); 4] = [
    (Severity::Critical, Span::hours(4)),
    (Severity::High, Span::hours(24)),
    (Severity::Medium, Span::days(3)),
    (Severity::Low, Span::days(14)),
];

/// The posture now, and what it is compared with.
#[derive(Debug)]
pub struct Report {
    /// The description of the system.
    pub system: System,
    /// The posture now.
    pub now: Posture,
    /// The newest that was kept at or before the date that was asked for.
    pub earlier: Option<Posture>,
    /// Those that were kept in the year before, the oldest first.
    pub kept: Vec<Posture>,
}

impl Report {
    /// As the report wants it.
    pub const fn known(&self) -> Postures<'_> {
        Postures {
            system: &self.system,
            now: &self.now,
            earlier: self.earlier.as_ref(),
            kept: self.kept.as_slice(),
        }
    }
}

/// The posture now, compared with the newest that was kept at or before `earlier`.
pub async fn report(
    session: &mut Session,
    config: &Config,
    state: &StateDir,
    now: Timestamp,
    earlier: Timestamp,
) -> Result<Report, AppError> {
    let conn = session.read(Resource::Reports)?;
    let kept = store::posture::since(conn, now.minus(Span::days(366))).await?;
    Ok(Report {
        system: description::read(conn, None, state)
            .await
            .unwrap_or_default(),
        now: reckon(conn, config, state, now).await?,
        earlier: store::posture::at(conn, earlier).await?,
        kept,
    })
}

/// What whoever decides on money and people reads.
#[derive(Debug)]
pub struct ExecutiveReport {
    postures: Report,
    period: Period,
    grounds: ClaimGrounds,
    claim: Claim,
}

impl ExecutiveReport {
    /// As the report wants it.
    pub fn known(&self) -> Executive<'_> {
        Executive {
            postures: self.postures.known(),
            period: &self.period,
            claim: &self.claim,
            plans: &self.grounds.plans,
            evidence: self.grounds.evidence(),
        }
    }
}

/// What happened since `from`, what it means, and what is needed.
pub async fn executive(
    session: &mut Session,
    config: &Config,
    state: &StateDir,
    now: Timestamp,
    from: Timestamp,
) -> Result<ExecutiveReport, AppError> {
    let postures = report(session, config, state, now, from).await?;
    let conn = session.read(Resource::Reports)?;
    let system = description::read(conn, None, state).await.ok();
    let grounds = ClaimGrounds::read(conn, system, state, now).await?;
    Ok(ExecutiveReport {
        postures,
        period: store::posture::period(conn, from, now).await?,
        claim: grounds.claim(),
        grounds,
    })
}

/// Counts the posture and keeps it, once a day. Returns whether it was kept.
pub async fn keep(
    session: &mut Session,
    config: &Config,
    state: &StateDir,
    now: Timestamp,
) -> Result<bool, AppError> {
    let (conn, actor) = session.change(Action::Write, Resource::Compliance)?;
    let last = store::posture::at(conn, now).await?;
    if last.is_some_and(|last| now.since(last.at) < KEPT_EVERY) {
        return Ok(false);
    }
    let posture = reckon(conn, config, state, now).await?;
    store::posture::keep(conn, actor, &posture).await?;
    Ok(true)
}

async fn reckon(
    conn: &mut PgConnection,
    config: &Config,
    state: &StateDir,
    now: Timestamp,
) -> Result<Posture, AppError> {
    let overdue = crate::incidents::overdue(conn, config, now).await?;
    let grounds = Grounds {
        points: points(conn, state, now).await?,
        redteam: redteam::counts_now(conn, now).await?,
        sources: store::posture::sources(conn, now.minus(WATCHED), now).await?,
        rules: rules(conn, config, now).await?,
        handled: store::posture::handled(conn, now.minus(HANDLED), now, &patience(config), overdue)
            .await?,
    };
    Ok(count(&grounds, now))
}

/// The DoD score, or why there is none.
async fn points(
    conn: &mut PgConnection,
    state: &StateDir,
    now: Timestamp,
) -> Result<Result<i32, String>, AppError> {
    let system = description::read(conn, None, state).await.ok();
    let claim = ClaimGrounds::read(conn, system, state, now).await?.claim();
    let why = || format!("no DoD score: {}", claim.no_score().unwrap_or_default());
    Ok(claim.points().ok_or_else(why))
}

/// Rules in force, and those of them that see what they need and were proven lately.
async fn rules(
    conn: &mut PgConnection,
    config: &Config,
    now: Timestamp,
) -> Result<Rules, AppError> {
    let facts = rule_facts(conn, config).await?;
    let in_force = facts.iter().filter(|rule| rule.enabled);
    let is_proven = |at: &Timestamp| now.since(*at) < WATCHED;
    let ready = in_force.clone().filter(|rule| {
        rule.blind_to.as_ref().is_some_and(Vec::is_empty)
            && !rule.proof_failed
            && rule.last_proven.as_ref().is_some_and(is_proven)
    });
    Ok(Rules {
        ready: ready.count() as u64,
        in_force: in_force.count() as u64,
    })
}

/// How long alerts may wait, as escalation says, and incidents.
fn patience(config: &Config) -> Vec<Patience> {
    let alerts = config.escalation.patience();
    let of = |severity| alerts.iter().find(|(of, _)| *of == severity);
    CONTAIN_WITHIN
        .iter()
        .filter_map(|(severity, incident)| {
            let (_, alert) = of(*severity)?;
            Some(Patience {
                severity: *severity,
                alert: *alert,
                incident: *incident,
            })
        })
        .collect()
}
