//! Silences, maintenance windows and exceptions: what keeps alerts from notifying people.

use config::Config;
use model::{
    Alert, Clock as _, Entity, EntityKind, RuleId, Silence, SilenceId, SilenceKind, SilenceScope,
    SilenceTarget, Span, SystemClock, Timestamp,
};
use serde::Serialize;
use store::PgConnection;
use store::alerts::AlertFilter;
use uuid::Uuid;

use crate::actor::{Action, Resource};
use crate::short_ids::pick;
use crate::{AppError, Session, names};

/// A preview looks this far back.
const PREVIEW: Span = Span::days(30);
/// The most alerts that a preview looks at.
const PREVIEW_MAX: u32 = 100_000;
/// The longest silence.
const LENGTH_MAX: Span = Span::days(366);
/// A silence that ends within this time is up for review.
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
    /// Also if nothing of that name has been seen so far.
    pub allow_unknown: bool,
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
pub async fn add(
    session: &mut Session,
    config: &Config,
    request: &Request<'_>,
) -> Result<Added, AppError> {
    let (conn, actor) = session.change(Action::Write, Resource::Silences)?;
    let now = SystemClock.now();
    let starts_at = request.from.unwrap_or(now);
    let silence = Silence {
        mute_id: SilenceId(Uuid::now_v7()),
        kind: request.kind,
        scope: known_scope(conn, config, request).await?,
        author: actor.to_string(),
        reason: request.reason.trim().to_owned(),
        ticket: request.ticket.map(str::to_owned),
        starts_at,
        ends_at: starts_at.plus(request.length),
        ended_by: None,
    };

    check_silence(&silence, now)?;
    check_rule(&silence.scope)?;
    let covered = covered_alerts(conn, &silence.scope, now).await?;
    store::silences::add(conn, actor, &silence).await?;

    Ok(Added { silence, covered })
}

/// Checks what the database would refuse too, with better messages.
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
            "--reason: from 3 to 1000 characters, for whoever asks why no one was notified",
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
            "say what is covered: --rule, --source, --instance, --entity, or several of them",
        ));
    }
    Ok(())
}

/// Returns what a request covers, by the names that alerts have. A misspelled name silences
/// nothing, and nobody would notice before it is too late.
async fn known_scope(
    conn: &mut PgConnection,
    config: &Config,
    request: &Request<'_>,
) -> Result<SilenceScope, AppError> {
    check_scope(&request.scope)?;
    match resolved_scope(conn, config, &request.scope).await {
        Err(AppError::Invalid(_) | AppError::NotFound(_)) if request.allow_unknown => {
            Ok(request.scope.clone())
        }
        Err(AppError::Invalid(why) | AppError::NotFound(why)) => Err(AppError::invalid(format!(
            "{why} (--allow-unknown silences what does not exist yet)"
        ))),
        resolved => resolved,
    }
}

async fn resolved_scope(
    conn: &mut PgConnection,
    config: &Config,
    scope: &SilenceScope,
) -> Result<SilenceScope, AppError> {
    let name_of = |id: &RuleId| names::rule(config, id.as_str());
    let source_of = |name: &String| names::source(name).map(|source| source.to_string());

    Ok(SilenceScope {
        rule_id: scope.rule_id.as_ref().map(name_of).transpose()?,
        source: scope.source.as_ref().map(source_of).transpose()?,
        tenant: scope.tenant,
        entity: match &scope.entity {
            Some(SilenceTarget::One(entity)) => {
                Some(SilenceTarget::One(known_entity(conn, entity).await?))
            }
            other => other.clone(),
        },
    })
}

async fn known_entity(conn: &mut PgConnection, entity: &Entity) -> Result<Entity, AppError> {
    let value = match entity.kind {
        EntityKind::User => names::user(conn, &entity.value).await?,
        EntityKind::Source => {
            names::check_entity(conn, entity.kind, &entity.value).await?;
            entity.value.clone()
        }
        // Addresses and sessions come and go: a silence is often made before their first alert.
        EntityKind::Ip | EntityKind::Session => entity.value.clone(),
    };

    Ok(Entity {
        kind: entity.kind,
        value,
    })
}

fn check_rule(scope: &SilenceScope) -> Result<(), AppError> {
    match &scope.rule_id {
        Some(rule) if notify::silences::NEVER.contains(&rule.as_str()) => {
            Err(AppError::conflict(format!(
                "{rule} cannot be silenced: whoever tampers with the record would begin with that"
            )))
        }
        Some(_) | None => Ok(()),
    }
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
pub async fn preview(
    session: &mut Session,
    config: &Config,
    scope: &SilenceScope,
) -> Result<Vec<Alert>, AppError> {
    let conn = session.read(Resource::Silences)?;
    check_scope(scope)?;
    let scope = resolved_scope(conn, config, scope).await?;
    check_rule(&scope)?;
    covered_alerts(conn, &scope, SystemClock.now()).await
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
    let conn = session.read(Resource::Silences)?;
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
    let (conn, actor) = session.change(Action::Write, Resource::Silences)?;
    let now = SystemClock.now();
    let silence = pick(
        store::silences::ending_after(conn, now).await?,
        prefix,
        |silence| silence.mute_id.0,
        "silence that still counts",
        "blueteam silences list",
    )?;

    if !store::silences::end(conn, actor, silence.mute_id, now).await? {
        return Err(AppError::conflict("someone else has just ended it"));
    }

    Ok(Expired { silence, at: now })
}
