//! Alerts: what was found, who was notified of it, and who has seen it.

use std::cmp::Reverse;

use config::Config;
use model::text::sanitize;
use model::{
    Actor, Alert, AlertId, Channel, Origin, Severity, SilencedBy, Timestamp, Verdict, Via,
};
use store::deliveries::{self, Entry};
use store::{PgConnection, StoreError};

use crate::ack_links::Link;
use crate::actor::{Action, Denied, Resource, require};
use crate::database::Pool;
use crate::{AppError, Session, names};

pub use store::alerts::AlertFilter as Filter;
pub use store::escalations::Escalation;
pub use store::verdicts::Judged;

/// The longest note of a verdict, in characters.
const NOTE_MAX: usize = 4000;
/// Notifications of one alert that are looked at.
const NOTIFICATIONS_MAX: u32 = 100;

/// A filter with the rule's name as it is written.
fn named_rule(config: &Config, filter: &Filter) -> Result<Filter, AppError> {
    let rule_id = filter
        .rule_id
        .as_ref()
        .map(|id| names::rule(config, id.as_str()));
    Ok(Filter {
        rule_id: rule_id.transpose()?,
        ..filter.clone()
    })
}

/// Returns how many alerts match.
pub async fn count(
    session: &mut Session,
    config: &Config,
    filter: &Filter,
) -> Result<u64, AppError> {
    let filter = named_rule(config, filter)?;
    Ok(store::alerts::count(session.read(Resource::Alerts)?, &filter).await?)
}

/// Returns the newest alerts first, at most `limit`.
pub async fn list(
    session: &mut Session,
    config: &Config,
    filter: &Filter,
    limit: u32,
) -> Result<Vec<Alert>, AppError> {
    let mut alerts = page(session, config, filter, limit).await?;
    sort(&mut alerts);
    Ok(alerts)
}

/// Sorts alerts as people read them: many are written at once.
pub fn sort(alerts: &mut [Alert]) {
    alerts.sort_by_key(|alert| Reverse((alert.created_at, alert.last_seen)));
}

/// Returns the newest alerts in the order in which the next page goes on, at most `limit`.
pub async fn page(
    session: &mut Session,
    config: &Config,
    filter: &Filter,
    limit: u32,
) -> Result<Vec<Alert>, AppError> {
    let filter = named_rule(config, filter)?;
    Ok(store::alerts::list(session.read(Resource::Alerts)?, &filter, limit).await?)
}

/// Returns the ID of the alert whose ID begins with `prefix`.
pub(crate) async fn find(conn: &mut PgConnection, prefix: &str) -> Result<AlertId, AppError> {
    if prefix.is_empty() {
        return Err(AppError::invalid(
            "give at least the first digit of the alert's ID",
        ));
    }

    let shown = sanitize(prefix);
    match store::alerts::starting_with(conn, prefix, 2).await?[..] {
        [] => Err(AppError::not_found(format!(
            "there is no alert `{shown}`; `blueteam alerts list` shows those that there are"
        ))),
        [id] => Ok(id),
        _ => Err(AppError::invalid(format!(
            "several alerts begin with `{shown}`; give more of the ID"
        ))),
    }
}

/// Everything about one alert.
#[derive(Debug)]
pub struct Details {
    /// The alert.
    pub alert: Alert,
    /// Channels with a notification of it, each once.
    pub channels: Vec<Channel>,
    /// Channels where a summary of many alerts replaces its notification.
    pub folded: Vec<Channel>,
    /// Who was notified, or why nobody was.
    pub notified: Notified,
    /// The escalation tiers that it reached.
    pub escalations: Vec<Escalation>,
    /// What people made of it; the newest verdict, which counts, first.
    pub verdicts: Vec<Judged>,
}

/// Who was notified of an alert, or why nobody was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notified {
    /// Nobody: it was silenced.
    Muted(SilencedBy),
    /// The readers of these channels.
    Through(Vec<Notification>),
    /// Nobody: no channel is configured for its severity.
    NoChannel,
    /// Nobody at once: it is in the daily digest.
    InDigest,
    /// Nobody: the routing of that time named no channel, or the alert was too old when it was
    /// found.
    NotRouted,
}

/// A channel, and how far the notification has come there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notification {
    /// The channel.
    pub channel: Channel,
    /// How far it has come.
    pub progress: Progress,
}

/// How far a notification has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The other side has it.
    Delivered,
    /// No further attempt is made.
    GivenUp,
    /// The next attempt is pending.
    Pending,
    /// A summary of many alerts replaces it.
    Folded,
}

/// Returns the alert whose ID begins with `prefix`, with everything that belongs to it.
pub async fn show(
    session: &mut Session,
    config: &Config,
    prefix: &str,
) -> Result<Details, AppError> {
    let conn = session.read(Resource::Alerts)?;
    let id = find(conn, prefix).await?;
    let filter = deliveries::Filter {
        alert_id: Some(id),
        ..deliveries::Filter::default()
    };

    let entries = deliveries::list(conn, &filter, NOTIFICATIONS_MAX).await?;
    let folded = deliveries::folded(conn, id).await?;
    let escalations = store::escalations::of_alert(conn, id).await?;
    let verdicts = store::verdicts::of_alert(conn, id).await?;
    let alert = store::alerts::show(conn, id)
        .await?
        .ok_or_else(|| AppError::not_found("the alert is gone"))?;

    let channels = distinct_channels(&entries);
    let through = notification_progress(&channels, &entries, &folded);
    Ok(Details {
        notified: to_notified(&alert, through, config),
        alert,
        channels,
        folded,
        escalations,
        verdicts,
    })
}

fn distinct_channels(entries: &[Entry]) -> Vec<Channel> {
    let mut channels: Vec<Channel> = entries.iter().map(|entry| entry.channel).collect();
    channels.sort_unstable();
    channels.dedup();
    channels
}

fn notification_progress(
    channels: &[Channel],
    entries: &[Entry],
    folded: &[Channel],
) -> Vec<Notification> {
    let any = |channel: Channel, state: &str| {
        entries
            .iter()
            .any(|entry| entry.channel == channel && entry.state == state)
    };

    let sent = channels.iter().map(|&channel| Notification {
        channel,
        progress: if any(channel, "delivered") {
            Progress::Delivered
        } else if any(channel, "dead") {
            Progress::GivenUp
        } else {
            Progress::Pending
        },
    });

    let summed_up = folded.iter().map(|&channel| Notification {
        channel,
        progress: Progress::Folded,
    });
    sent.chain(summed_up).collect()
}

fn to_notified(alert: &Alert, through: Vec<Notification>, config: &Config) -> Notified {
    if let Some(by) = alert.muted_by {
        return Notified::Muted(by);
    }

    if !through.is_empty() {
        return Notified::Through(through);
    }

    if config.untold().contains(&alert.severity) {
        return Notified::NoChannel;
    }

    let digest = !config.digest.channels(&config.channels).is_empty();
    match alert.severity {
        Severity::Medium | Severity::Low if digest => Notified::InDigest,
        _ => Notified::NotRouted,
    }
}

/// Records that the actor has seen these alerts, named by the beginnings of their IDs. None is
/// acknowledged unless all exist.
pub async fn acknowledge_all(
    session: &mut Session,
    prefixes: &[String],
) -> Result<Vec<Alert>, AppError> {
    let (conn, actor) = session.change(Action::Acknowledge, Resource::Alerts)?;
    let mut ids = Vec::with_capacity(prefixes.len());
    for prefix in prefixes {
        ids.push(find(conn, prefix).await?);
    }

    let mut seen = Vec::with_capacity(ids.len());
    for id in ids {
        store::alerts::ack(conn, actor, id).await?;
        seen.extend(store::alerts::show(conn, id).await?);
    }

    Ok(seen)
}

/// Every verdict on the alert whose ID begins with `prefix`, the newest, which counts, first.
pub async fn verdicts(session: &mut Session, prefix: &str) -> Result<Vec<Judged>, AppError> {
    let conn = session.read(Resource::Alerts)?;
    let id = find(conn, prefix).await?;
    Ok(store::verdicts::of_alert(conn, id).await?)
}

/// Says what the alert whose ID begins with `prefix` turned out to be. Earlier verdicts stay on
/// record, and the newest counts. What is no attack says why: noise without a reason is how attacks
/// get lost.
pub async fn judge(
    session: &mut Session,
    prefix: &str,
    verdict: Verdict,
    note: Option<&str>,
) -> Result<Alert, AppError> {
    let (conn, actor) = session.change(Action::Acknowledge, Resource::Alerts)?;
    let note = note.map(str::trim).filter(|note| !note.is_empty());
    let length = note.map_or(0, |note| note.chars().count());
    if note.is_none() && verdict != Verdict::TruePositive {
        return Err(AppError::invalid(format!(
            "note: say why it is {verdict}, in 3 to {NOTE_MAX} characters; it stays on record"
        )));
    }
    if note.is_some() && !(3..=NOTE_MAX).contains(&length) {
        return Err(AppError::invalid(format!(
            "note: from 3 to {NOTE_MAX} characters"
        )));
    }

    let id = find(conn, prefix).await?;
    store::verdicts::judge(conn, actor, id, verdict, note).await?;
    let alert = store::alerts::show(conn, id).await?;
    alert.ok_or_else(|| AppError::not_found("the alert is gone"))
}

/// The most alerts that are acknowledged at once.
pub const BATCH_MAX: usize = 500;

/// What became of one alert of many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum BatchResult {
    /// It is acknowledged now.
    Acknowledged,
    /// It was before.
    AlreadyAcknowledged,
    /// It would be.
    WouldAcknowledge,
    /// There is none of this id.
    NotFound,
    /// Several begin like this.
    Ambiguous,
}

/// One alert of many, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct BatchItem {
    /// As it was named.
    pub id: String,
    /// The alert.
    pub alert_id: Option<AlertId>,
    /// What became of it.
    pub result: BatchResult,
}

/// Records that the actor has seen each of these alerts that exists. With `dry_run`, only says what
/// would be done.
pub async fn acknowledge_each(
    session: &mut Session,
    ids: &[String],
    dry_run: bool,
) -> Result<Vec<BatchItem>, AppError> {
    let (conn, actor) = session.change(Action::Acknowledge, Resource::Alerts)?;
    if !(1..=BATCH_MAX).contains(&ids.len()) {
        return Err(AppError::invalid(format!("ids: from 1 to {BATCH_MAX}")));
    }

    let mut items = Vec::with_capacity(ids.len());
    for id in ids {
        let (alert_id, result) = acknowledge_one(conn, actor, id, dry_run).await?;
        items.push(BatchItem {
            id: id.clone(),
            alert_id,
            result,
        });
    }
    Ok(items)
}

async fn acknowledge_one(
    conn: &mut PgConnection,
    actor: &Actor,
    id: &str,
    dry_run: bool,
) -> Result<(Option<AlertId>, BatchResult), AppError> {
    let found = match find(conn, id).await {
        Ok(found) => found,
        Err(AppError::NotFound(_)) => return Ok((None, BatchResult::NotFound)),
        Err(AppError::Invalid(_)) => return Ok((None, BatchResult::Ambiguous)),
        Err(error) => return Err(error),
    };
    let Some(alert) = store::alerts::show(conn, found).await? else {
        return Ok((None, BatchResult::NotFound));
    };
    let result = if alert.acknowledged_at.is_some() {
        BatchResult::AlreadyAcknowledged
    } else if dry_run {
        BatchResult::WouldAcknowledge
    } else {
        store::alerts::ack(conn, actor, found).await?;
        BatchResult::Acknowledged
    };
    Ok((Some(found), result))
}

/// How an acknowledgment was taken back, or why it was not.
pub use store::alerts::TakenBack;

/// Takes back what the actor acknowledged at once, at this time: within ten minutes. Returns what
/// came of each alert.
pub async fn take_back(
    session: &mut Session,
    at: Timestamp,
) -> Result<Vec<(AlertId, TakenBack)>, AppError> {
    let (conn, actor) = session.change(Action::Acknowledge, Resource::Alerts)?;
    let ids = store::alerts::acknowledged_at(conn, &actor.to_string(), at).await?;
    let mut done = Vec::with_capacity(ids.len());
    for id in ids {
        done.push((id, store::alerts::take_back_ack(conn, actor, id).await?));
    }
    Ok(done)
}

/// Why an alert was not acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum AcknowledgeError {
    /// The actor may not.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Records that the actor has seen an alert. Returns `false` when there is no such alert.
pub async fn acknowledge(
    conn: &mut PgConnection,
    actor: &Actor,
    alert_id: AlertId,
) -> Result<bool, AcknowledgeError> {
    require(actor, Action::Acknowledge, Resource::Alerts)?;
    Ok(store::alerts::ack(conn, actor, alert_id).await?)
}

/// Returns the alert of a signed link.
pub async fn of_link(pool: &Pool, link: &Link) -> Result<Option<Alert>, StoreError> {
    let mut tx = pool.begin().await.map_err(StoreError::from)?;
    let Some(tenant) = store::tenants::of_alert(&mut tx, link.alert_id).await? else {
        return Ok(None);
    };
    store::tenants::act_for_now(&mut tx, tenant).await?;
    let alert = store::alerts::show(&mut tx, link.alert_id).await?;
    tx.commit().await.map_err(StoreError::from)?;
    Ok(alert)
}

/// The same for the holder of a signed link. `origin` is what their request says.
pub async fn acknowledge_by_link(
    pool: &Pool,
    link: &Link,
    origin: Origin,
) -> Result<bool, AcknowledgeError> {
    let mut conn = pool.acquire().await.map_err(StoreError::from)?;
    let Some(tenant) = store::tenants::of_alert(&mut conn, link.alert_id).await? else {
        return Ok(false);
    };
    let actor = Actor {
        name: format!("{} (link in a mail)", link.who),
        on_behalf_of: None,
        via: Via::AckLink,
        tenant: Some(tenant.0),
        origin,
    };
    acknowledge(&mut conn, &actor, link.alert_id).await
}
