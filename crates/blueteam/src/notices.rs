//! What is told on schedule: the daily digest, also when nothing happened, and the sign of life that shows that alerts would arrive.
//!
//! Each is written with its messages in one transaction under the key of its day or period, so that no restart tells it twice. What was due
//! while we did not run is told at the next start; the first day and period of a new database are only noted.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use jiff::civil::Time;
use jiff::tz::TimeZone;
use model::{
    Alert, AlertId, AlertState, Channel, Clock, Entity, EntityKind, Fingerprint, RuleId, Severity, Span, Timestamp,
};
use store::notices::{self, Summary};
use store::{Connection as _, PgConnectOptions, PgConnection, StoreError};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use crate::watch::OURSELVES;

/// How often we look whether something is due.
const EVERY: Duration = Duration::from_secs(1);
/// The kinds, as the database and the channels call them.
const DIGEST: &str = "digest";
const HEARTBEAT: &str = "heartbeat";
/// Alerts that a digest names one by one.
const NAMED: usize = 50;
/// How long the first folded alert waits for others, at most.
const FOLDED_PATIENCE: Span = Span::secs(60);
/// The longest period that a digest tells of, however long we did not run.
const LONGEST: Span = Span::days(7);

/// What the schedule is told.
pub(crate) struct Options {
    /// How to connect, as the engine's role.
    pub database: PgConnectOptions,
    /// When the digest is due, where, and by which ways.
    pub digest: (Time, TimeZone, Vec<Channel>),
    /// How often there is a sign of life, and by which ways.
    pub heartbeat: (Span, Vec<Channel>),
    /// In how long a channel takes its limit of messages; what was folded meanwhile is summed up as often.
    pub per: Span,
    /// This machine's name.
    pub hostname: String,
    /// Called when messages were written.
    pub deliveries: Arc<Notify>,
    /// The present.
    pub clock: Arc<dyn Clock>,
}

/// Looks until told to stop.
pub(crate) async fn run(options: Options, stop: CancellationToken) -> anyhow::Result<()> {
    let (mut done, mut failing) = ([String::new(), String::new()], false);
    loop {
        let looked = match look(&options, &mut done).await {
            Ok(()) => sum_up(&options).await,
            failed => failed,
        };
        match looked {
            Ok(()) => failing = false,
            Err(_) if failing => {}
            Err(cause) => {
                failing = true;
                warn!("digests and signs of life wait: {cause:#}");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stop.cancelled() => return Ok(()),
        }
    }
}

/// The day whose digest is due: today's once its time has come, else yesterday's.
fn day(now: Timestamp, at: Time, zone: &TimeZone) -> String {
    let local = now.to_jiff().to_zoned(zone.clone());
    let today = local.date();
    if local.time() >= at { today } else { today.yesterday().unwrap_or(today) }.to_string()
}

/// The period that has begun, by its number and length.
fn period(now: Timestamp, every: Span) -> String {
    format!("{every} {}", now.as_micros().div_euclid(every.as_micros().max(1)))
}

async fn look(options: &Options, done: &mut [String; 2]) -> anyhow::Result<()> {
    let now = options.clock.now();
    let (at, zone, channels) = &options.digest;
    let (every, beats) = &options.heartbeat;
    let due =
        [(DIGEST, day(now, *at, zone), channels, true), (HEARTBEAT, period(now, *every), beats, *every > Span::ZERO)];
    for ((kind, key, channels, wanted), done) in due.into_iter().zip(done) {
        if !wanted || channels.is_empty() || *done == key {
            continue;
        }
        let mut conn = store::connect(&options.database).await?;
        let written = write(options, &mut conn, (kind, &key), channels, now).await?;
        *done = key;
        if written > 0 {
            info!(kind, written, "messages on schedule");
            options.deliveries.notify_one();
        }
    }
    Ok(())
}

/// Sums up what was folded because a channel had been told of too many alerts.
async fn sum_up(options: &Options) -> anyhow::Result<()> {
    let mut conn = store::connect(&options.database).await?;
    let mut tx = conn.begin().await.map_err(StoreError::from)?;
    // The first summary comes while the storm lasts, the next ones with its pace.
    let patience = FOLDED_PATIENCE.min(options.per);
    let all = notices::folded(&mut tx, patience, options.per).await?;
    for folded in &all {
        let count: u64 = folded.groups.iter().map(|(_, _, n)| n).sum();
        let worst = folded.groups.first().map_or(Severity::Info, |(severity, _, _)| *severity);
        let title = format!("{count} more alerts, the worst {worst}, were not sent one by one");
        let lines: Vec<String> =
            folded.groups.iter().map(|(severity, rule, n)| format!("{severity}: {n} of {}", one_line(rule))).collect();
        let text = format!("{}\nAll are stored; `blueteam alerts list` shows them.", lines.join("\n"));
        let mut alert = payload(&options.hostname, (title, text), folded.span);
        alert.severity = worst;
        alert.event_count = count;
        notices::tell_folded(&mut tx, folded.channel, folded.span.1, &serde_json::to_value(alert)?).await?;
    }
    tx.commit().await.map_err(StoreError::from)?;
    if !all.is_empty() {
        options.deliveries.notify_one();
    }
    Ok(())
}

async fn write(
    options: &Options,
    conn: &mut PgConnection,
    (kind, key): (&str, &str),
    channels: &[Channel],
    now: Timestamp,
) -> anyhow::Result<u64> {
    let last = notices::last(conn, kind).await?;
    if last.as_ref().is_some_and(|(last, _)| last == key) {
        return Ok(0);
    }
    let from = last.as_ref().map_or(now.minus(Span::days(1)), |(_, at)| *at).max(now.minus(LONGEST));
    let (title, text) = if kind == DIGEST {
        let summary = notices::summary(conn, from, OURSELVES, NAMED).await?;
        (title(&summary), text(&summary))
    } else {
        (format!("blueteam on {} is alive", options.hostname), "Sent on schedule.".to_owned())
    };
    let payload = serde_json::to_value(payload(&options.hostname, (title, text), (from, now)))?;
    // What begins is not told: there is no day yet to tell of.
    let channels = if last.is_some() { channels } else { &[] };
    Ok(notices::write(conn, (kind, key), &payload, channels).await?.unwrap_or(0))
}

/// The one line that a reader in a hurry reads.
fn title(summary: &Summary) -> String {
    let alerts: u64 = summary.alerts.iter().map(|(_, n)| n).sum();
    let what = if alerts == 0 && summary.silent.is_empty() && summary.dead == 0 {
        "all quiet".to_owned()
    } else if alerts == 1 {
        "1 alert".to_owned()
    } else {
        format!("{alerts} alerts")
    };
    format!("Daily digest: {what}, {} events, {} sources alive", summary.events, summary.alive)
}

/// The rest, a line each.
fn text(summary: &Summary) -> String {
    let mut out = String::new();
    for (severity, n) in &summary.alerts {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{severity}: {n}");
    }
    if summary.alerts.is_empty() {
        out.push_str("No alerts.\n");
    }
    if !summary.silent.is_empty() {
        let _ = writeln!(out, "Silent sources: {}", summary.silent.join(", "));
    }
    if summary.dead > 0 {
        let _ = writeln!(out, "Messages that could not be delivered: {}", summary.dead);
    }
    for alert in &summary.told {
        let at = alert.created_at.to_jiff().strftime("%Y-%m-%d %H:%M UTC");
        let _ = writeln!(out, "{at}  {}  {}  ({})", alert.severity, one_line(&alert.title), alert.alert_id);
    }
    out
}

/// A line break in a title would begin a line of its own.
fn one_line(title: &str) -> String {
    notify::plain::neutral(title).into_owned()
}

/// This machine's name.
pub(crate) fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// A notice as a channel is given it.
pub(crate) fn payload(hostname: &str, (title, text): (String, String), (from, now): (Timestamp, Timestamp)) -> Alert {
    let id = Uuid::now_v7();
    Alert {
        alert_id: AlertId(id),
        rule_id: RuleId::builtin("schedule"),
        severity: Severity::Info,
        title,
        description: text,
        entity: Entity { kind: EntityKind::Source, value: hostname.to_owned() },
        source: "blueteam".to_owned(),
        services: Vec::new(),
        first_seen: from,
        last_seen: now,
        event_count: 0,
        event_ids: Vec::new(),
        nist_controls: Vec::new(),
        cui_involved: false,
        incident_id: None,
        state: AlertState::Closed,
        fingerprint: Fingerprint(id),
        acknowledged_by: None,
        acknowledged_at: None,
        created_at: now,
        muted_by: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_begins_at_its_time_in_its_zone() {
        let zone = TimeZone::get("America/New_York").unwrap();
        let at = Time::constant(7, 0, 0, 0);
        let day = |text: &str| day(Timestamp::parse(text).unwrap(), at, &zone);
        assert_eq!(day("2026-03-05T11:59:59Z"), "2026-03-04");
        assert_eq!(day("2026-03-05T12:00:00Z"), "2026-03-05");
        // Summer time began on the 8th.
        assert_eq!(day("2026-03-09T10:59:59Z"), "2026-03-08");
        assert_eq!(day("2026-03-09T11:00:00Z"), "2026-03-09");
    }

    #[test]
    fn a_quiet_day_says_so() {
        let summary =
            Summary { events: 7, alive: 2, silent: Vec::new(), alerts: Vec::new(), told: Vec::new(), dead: 0 };
        assert_eq!(title(&summary), "Daily digest: all quiet, 7 events, 2 sources alive");
        assert_eq!(text(&summary), "No alerts.\n");
        let silent = Summary { silent: vec!["a".to_owned()], ..summary };
        assert_eq!(title(&silent), "Daily digest: 0 alerts, 7 events, 2 sources alive");
        assert_eq!(text(&silent), "No alerts.\nSilent sources: a\n");
    }
}
