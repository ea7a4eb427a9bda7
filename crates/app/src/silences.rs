//! Silences, maintenance windows and exceptions: what keeps alerts from notifying people.

use model::text::sanitize;
use model::{
    Alert, Clock as _, Silence, SilenceId, SilenceKind, SilenceScope, Span, SystemClock, Timestamp,
};
use serde::Serialize;
use store::PgConnection;
use store::alerts::AlertFilter;
use uuid::Uuid;

use crate::actor::Permission;
use crate::short_ids::pick;
use crate::{AppError, Session};

/// A preview looks this far back.
const PREVIEW: Span = Span::days(30);
/// The most alerts that a preview looks at.
const PREVIEW_MAX: u32 = 100_000;
/// The longest silence.
const LENGTH_MAX: Span = Span::days(366);
/// A silence that ends within this time is due for review.
const REVIEW: Span = Span::days(7);

/// A silence to be made.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// Silence, maintenance window or exception.
    pub kind: SilenceKind,
    /// What it covers.
    pub scope: SilenceScope,
    /// When it begins; now when it is `None`.
    pub from: Option<Timestamp>,
    /// How long it lasts.
    pub length: Span,
    /// Why.
    pub reason: &'a str,
    /// Where it is written up.
    pub ticket: Option<&'a str>,
}

/// A silence that was made.
#[derive(Debug)]
pub struct Added {
    /// The silence.
    pub silence: Silence,
    /// The alerts of the last 30 days that it would have covered.
    pub covered: Vec<Alert>,
}

/// Makes a silence.
pub async fn add(session: &mut Session, request: &Request<'_>) -> Result<Added, AppError> {
    let (conn, actor) = session.change(Permission::Operate)?;
    let now = SystemClock.now();
    let starts_at = request.from.unwrap_or(now);
    let silence = Silence {
        mute_id: SilenceId(Uuid::now_v7()),
        kind: request.kind,
        scope: request.scope.clone(),
        author: actor.to_string(),
        reason: request.reason.trim().to_owned(),
        ticket: request.ticket.map(str::to_owned),
        starts_at,
        ends_at: starts_at.plus(request.length),
        ended_by: None,
    };

    check_silence(&silence, now)?;
    check_rule(conn, &silence.scope).await?;
    let covered = covered_alerts(conn, &silence.scope, now).await?;
    store::silences::add(conn, actor, &silence).await?;

    Ok(Added { silence, covered })
}

/// What the database would refuse, in words.
fn check_silence(silence: &Silence, now: Timestamp) -> Result<(), AppError> {
    check_scope(&silence.scope)?;
    if silence.ends_at <= now || silence.ends_at <= silence.starts_at {
        return Err(AppError::invalid(
            "--for and --from: it would be over already",
        ));
    }

    if silence.ends_at > silence.starts_at.plus(LENGTH_MAX) {
        return Err(AppError::invalid(
            "--for: 366 days at most; every silence must end",
        ));
    }

    if !(3..=1000).contains(&silence.reason.chars().count()) {
        return Err(AppError::invalid(
            "--reason: from 3 to 1000 characters, for whoever asks why nobody was told",
        ));
    }

    if silence.kind == SilenceKind::Exception && silence.scope.rule_id.is_none() {
        return Err(AppError::invalid(
            "an exception is one to a rule: add --rule",
        ));
    }

    Ok(())
}

fn check_scope(scope: &SilenceScope) -> Result<(), AppError> {
    if scope.is_empty() {
        return Err(AppError::invalid(
            "say what is covered: --rule, --source, --tenant, --entity, or several of them",
        ));
    }
    Ok(())
}

/// A misspelled rule silences nothing, and nobody would notice before it is too late.
async fn check_rule(conn: &mut PgConnection, scope: &SilenceScope) -> Result<(), AppError> {
    let Some(rule) = &scope.rule_id else {
        return Ok(());
    };
    if notify::silences::NEVER.contains(&rule.as_str()) {
        return Err(AppError::conflict(format!(
            "{rule} cannot be silenced: whoever tampers with the record would begin with that"
        )));
    }

    let known = store::rules::settings(conn).await?;
    if known.iter().any(|k| k.rule_id == *rule) {
        return Ok(());
    }

    Err(AppError::not_found(format!(
        "there is no rule `{}`; `blueteam alerts rules` lists those that there are",
        sanitize(rule.as_str())
    )))
}

async fn covered_alerts(
    conn: &mut PgConnection,
    scope: &SilenceScope,
    now: Timestamp,
) -> Result<Vec<Alert>, AppError> {
    let filter = AlertFilter {
        since: Some(now.minus(PREVIEW)),
        rule_id: scope.rule_id.clone(),
        tenant: scope.tenant,
        ..AlertFilter::default()
    };

    let mut alerts = store::alerts::list(conn, &filter, PREVIEW_MAX).await?;
    alerts.retain(|alert| scope.covers(alert));
    Ok(alerts)
}

/// Returns the alerts of the last 30 days that a silence would have covered, the newest first.
pub async fn preview(session: &mut Session, scope: &SilenceScope) -> Result<Vec<Alert>, AppError> {
    let conn = session.read()?;
    check_scope(scope)?;
    check_rule(conn, scope).await?;
    covered_alerts(conn, scope, SystemClock.now()).await
}

/// A silence, and what it did.
#[derive(Debug, Serialize)]
pub struct Listed {
    /// The silence.
    #[serde(flatten)]
    pub silence: Silence,
    /// Alerts that it covered.
    pub muted_alerts: u64,
    /// Whether it ends soon: is it still wanted?
    pub review: bool,
    /// Where it is in its time.
    #[serde(skip)]
    pub phase: Phase,
}

/// Where a silence is in its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It has not begun.
    Upcoming,
    /// It counts.
    InForce,
    /// It counts, and ends soon.
    Ending,
    /// It has ended.
    Over,
}

impl Phase {
    fn of(silence: &Silence, now: Timestamp) -> Self {
        if silence.ends_at <= now {
            Self::Over
        } else if silence.starts_at > now {
            Self::Upcoming
        } else if silence.ends_at <= now.plus(REVIEW) {
            Self::Ending
        } else {
            Self::InForce
        }
    }
}

/// Which silences to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Those that have not ended.
    Unended,
    /// Those that end within this time.
    EndingWithin(Span),
    /// Every one.
    All,
}

/// Returns silences, those that end first at the beginning.
pub async fn list(session: &mut Session, which: Which) -> Result<Vec<Listed>, AppError> {
    let conn = session.read()?;
    let now = SystemClock.now();
    let since = match which {
        Which::All => Timestamp::from_secs(0),
        Which::Unended | Which::EndingWithin(_) => now,
    };

    let mut silences = store::silences::ending_after(conn, since).await?;
    if let Which::EndingWithin(within) = which {
        silences.retain(|silence| silence.ends_at <= now.plus(within));
    }

    let mut listed = Vec::with_capacity(silences.len());
    for silence in silences {
        listed.push(Listed {
            muted_alerts: store::silences::muted_alerts(conn, silence.mute_id).await?,
            review: silence.ends_at > now && silence.ends_at <= now.plus(REVIEW),
            phase: Phase::of(&silence, now),
            silence,
        });
    }

    Ok(listed)
}

/// A silence that was ended.
#[derive(Debug)]
pub struct Expired {
    /// The silence.
    pub silence: Silence,
    /// When it ended.
    pub at: Timestamp,
}

/// Ends the silence whose ID begins with `prefix` before its time.
pub async fn expire(session: &mut Session, prefix: &str) -> Result<Expired, AppError> {
    let (conn, actor) = session.change(Permission::Operate)?;
    let now = SystemClock.now();
    let silence = pick(
        store::silences::ending_after(conn, now).await?,
        prefix,
        |silence| silence.mute_id.0,
        "silence that still counts",
        "blueteam silences list",
    )?;

    if !store::silences::end(conn, actor, silence.mute_id, now).await? {
        return Err(AppError::conflict("somebody else has just ended it"));
    }

    Ok(Expired { silence, at: now })
}
