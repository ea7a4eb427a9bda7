//! Which alerts belong to an incident, and which incidents are one.

use config::Config;
use model::{AlertId, Severity};
use serde::Serialize;
use store::PgConnection;
use store::incidents::{Answer, Change};

use super::{TITLE_MAX, again, change_one, done, hold, playbooks, reason, text};
use crate::incidents::{Incident, find};
use crate::{AppError, Session, alerts};

/// Alerts that are split off at once.
const SPLIT_MAX: usize = 500;

/// Two incidents that are one, or two again.
#[derive(Clone, Debug, Serialize)]
pub struct Merged {
    /// The one that is or was part of the other.
    pub from: Incident,
    /// The other.
    pub into: Incident,
}

async fn alert_ids(conn: &mut PgConnection, alerts: &[String]) -> Result<Vec<AlertId>, AppError> {
    if alerts.is_empty() || alerts.len() > SPLIT_MAX {
        return Err(AppError::invalid(format!(
            "name from 1 to {SPLIT_MAX} alerts"
        )));
    }
    let mut ids = Vec::with_capacity(alerts.len());
    for alert in alerts {
        let id = alerts::find(conn, alert).await?;
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    Ok(ids)
}

/// Puts alerts into an incident, out of those that they belonged to.
pub async fn link(
    session: &mut Session,
    config: &Config,
    id: &str,
    alerts: &[String],
    why: &str,
) -> Result<Incident, AppError> {
    change_each(session, config, id, alerts, why, Belongs::Yes).await
}

/// Takes alerts out of their incident; they do not go back by themselves.
pub async fn unlink(
    session: &mut Session,
    config: &Config,
    id: &str,
    alerts: &[String],
    why: &str,
) -> Result<Incident, AppError> {
    change_each(session, config, id, alerts, why, Belongs::No).await
}

/// Whether alerts belong to an incident from now on.
#[derive(Clone, Copy)]
enum Belongs {
    Yes,
    No,
}

async fn change_each(
    session: &mut Session,
    config: &Config,
    id: &str,
    alerts: &[String],
    why: &str,
    belongs: Belongs,
) -> Result<Incident, AppError> {
    let held = hold(session, config, id).await?;
    let why = reason(why)?;
    let alerts = alert_ids(held.conn, alerts).await?;
    change_one(held, config, async |change, before| {
        let incident = before.row.incident_id;
        for alert in alerts {
            let answer = match belongs {
                Belongs::Yes => change.link(incident, alert, why).await?,
                Belongs::No => change.unlink(incident, alert, why).await?,
            };
            done(answer, before)?;
        }
        Ok(Answer::Done)
    })
    .await
}

/// Gives alerts of an incident one of their own, with the discovery of the one that they come from:
/// what was known then was known. Returns the new one.
pub async fn split(
    session: &mut Session,
    config: &Config,
    id: &str,
    alerts: &[String],
    title: &str,
    why: &str,
) -> Result<Incident, AppError> {
    let held = hold(session, config, id).await?;
    let why = reason(why)?;
    let title = text("--title", title, 3, TITLE_MAX)?;
    let alerts = alert_ids(held.conn, alerts).await?;
    let id = held.id();

    let mut change = Change::begin(held.conn, held.actor).await?;
    for alert in &alerts {
        let answer = change.unlink(id, *alert, why).await?;
        done(answer, &held.before)?;
    }
    let Some(first) = alerts.first() else {
        return Err(AppError::invalid("name the alerts that are split off"));
    };
    let severity = worst_of(&mut change, &alerts).await?;
    let made = change
        .open(&store::incidents::NewIncident {
            title,
            description: None,
            severity,
            alert: Some(*first),
            reason: why,
        })
        .await?;
    let made = made.ok_or_else(|| AppError::not_found("the alert is gone"))?;
    for alert in alerts.iter().skip(1) {
        let answer = change.link(made, *alert, why).await?;
        done(answer, &held.before)?;
    }
    let found_out = held.before.row.discovered_at;
    let answer = change
        .discover(made, None, found_out, &format!("split off {id}: {why}"))
        .await?;
    done(answer, &held.before)?;
    let rule = store::alerts::show(change.conn(), *first).await?;
    let rule = rule.map(|alert| alert.rule_id);
    let rule = rule.as_ref().map(model::RuleId::as_str);
    playbooks::plan(&mut change, config, made, rule).await?;
    let after = again(&mut change, config, made).await?;
    change.commit().await?;
    Ok(after)
}

/// The worst severity of alerts; an incident is at least low.
async fn worst_of(change: &mut Change<'_>, alerts: &[AlertId]) -> Result<Severity, AppError> {
    let mut worst = Severity::Low;
    for alert in alerts {
        let Some(alert) = store::alerts::show(change.conn(), *alert).await? else {
            continue;
        };
        worst = worst.max(alert.severity);
    }
    Ok(worst)
}

/// Makes one incident part of another: alerts, discovery and duties count there.
pub async fn merge(
    session: &mut Session,
    config: &Config,
    from: &str,
    into: &str,
    why: &str,
) -> Result<Merged, AppError> {
    let held = hold(session, config, from).await?;
    let why = reason(why)?;
    let other = Incident::of(find(held.conn, into).await?, config);
    let (from, into) = (held.id(), other.row.incident_id);
    if from == into {
        return Err(AppError::invalid(format!(
            "name two incidents; {}",
            held.before.standing()
        )));
    }
    let mut change = Change::begin(held.conn, held.actor).await?;
    let answer = change.merge(from, into, why).await?;
    let about = match answer {
        Answer::OtherAbsent | Answer::OtherClosed | Answer::OtherMerged => &other,
        _ => &held.before,
    };
    done(answer, about)?;
    let merged = Merged {
        from: again(&mut change, config, from).await?,
        into: again(&mut change, config, into).await?,
    };
    change.commit().await?;
    Ok(merged)
}

/// Takes a merge back: the incident stands where it stood, with the alerts that it had.
pub async fn undo_merge(
    session: &mut Session,
    config: &Config,
    id: &str,
    why: &str,
) -> Result<Merged, AppError> {
    let held = hold(session, config, id).await?;
    let why = reason(why)?;
    let Some(into) = held.before.row.merged_into else {
        done(Answer::Apart, &held.before)?;
        return Err(AppError::conflict(held.before.standing()));
    };
    let from = held.id();
    let mut change = Change::begin(held.conn, held.actor).await?;
    let answer = change.undo_merge(from, why).await?;
    done(answer, &held.before)?;
    let merged = Merged {
        from: again(&mut change, config, from).await?,
        into: again(&mut change, config, into).await?,
    };
    change.commit().await?;
    Ok(merged)
}
