//! Sends scheduled notifications: the daily digest, also when nothing happened, and the sign of
//! life that shows that alerts would arrive.
//!
//! Each is written with its messages in one transaction under the key of its day or period, so that
//! no restart sends it twice. What was due while blueteam did not run is sent at the next start;
//! the first day and period of a new database are only noted.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use jiff::civil::Time;
use jiff::tz::TimeZone;
use model::text::counted;
use model::{Alert, Channel, Clock, Notice, Severity, Span, TenantId, Timestamp, Topic};
use store::notices::{self, Summary};
use store::overview::AlertCount;
use store::{Connection as _, PgConnectOptions, PgConnection, StoreError};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use crate::context::TaskContext;
use crate::supervisor::{Lifetime, Running, Task};
use crate::tasks::source_health::OURSELVES;

/// The task.
pub const TASK: Task = Task {
    name: "scheduled notifications",
    lifetime: Lifetime::Configuration,
    start,
};

fn start(context: &TaskContext) -> anyhow::Result<Option<Running>> {
    let config = &context.loaded.config;
    let options = Options {
        database: context.database.engine.clone(),
        operator: context.database.operator.clone(),
        digest: (
            config.digest.time(),
            context.zone()?,
            config.digest.channels(&config.channels),
        ),
        heartbeat: (
            config.heartbeat.interval,
            config.heartbeat.channels(&config.channels),
        ),
        per: config.alerts.rate_limit.per,
        hostname: app::actor::hostname(),
        deliveries: Arc::clone(&context.outbox.wake),
        clock: Arc::clone(&context.clock),
    };

    Ok(Some(Box::pin(run(options, context.stop.clone()))))
}

/// How often due notifications are looked for.
const EVERY: Duration = Duration::from_secs(1);
/// The kinds, as the database and the channels call them.
const DIGEST: &str = "digest";
const HEARTBEAT: &str = "heartbeat";
/// Alerts that a digest names one by one.
const NAMED: usize = 50;
/// A silence that ends within this is named, so that it can be reviewed.
const ENDS_SOON: Span = Span::days(7);
/// How long the first folded alert waits for others, at most.
const FOLDED_PATIENCE: Span = Span::secs(60);
/// The longest period that a digest covers, however long blueteam did not run.
const LONGEST: Span = Span::days(7);

/// Configuration of the schedule.
pub struct Options {
    /// How to connect, as the engine's role.
    pub database: PgConnectOptions,
    /// How to connect to look at what a digest says, as a person at work, who sees one tenant.
    pub operator: PgConnectOptions,
    /// When the digest is due, where, and by which ways.
    pub digest: (Time, TimeZone, Vec<Channel>),
    /// How often there is a sign of life, and by which ways.
    pub heartbeat: (Span, Vec<Channel>),
    /// In how long a channel takes its limit of messages; what was folded meanwhile is summed up as
    /// often.
    pub per: Span,
    /// This machine's name.
    pub hostname: String,
    /// Called when messages were written.
    pub deliveries: Arc<Notify>,
    /// The present.
    pub clock: Arc<dyn Clock>,
}

/// Sends what is due until `stop` is cancelled.
pub async fn run(options: Options, stop: CancellationToken) -> anyhow::Result<()> {
    let (mut done, mut failing) = ([String::new(), String::new()], false);
    loop {
        let looked = match send_due(&options, &mut done).await {
            Ok(()) => sum_up(&options).await,
            failed => failed,
        };

        match looked {
            Ok(()) => failing = false,
            Err(_) if failing => {}
            Err(cause) => {
                failing = true;
                warn!("cannot send digests and heartbeats; retrying: {cause:#}");
            }
        }

        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stop.cancelled() => return Ok(()),
        }
    }
}

/// The day whose digest is due: today's once its time has come, else yesterday's.
fn day_key(now: Timestamp, at: Time, zone: &TimeZone) -> String {
    let local = now.to_jiff().to_zoned(zone.clone());
    let today = local.date();
    if local.time() >= at {
        today
    } else {
        today.yesterday().unwrap_or(today)
    }
    .to_string()
}

/// The period that has begun, by its number and length.
fn period_key(now: Timestamp, every: Span) -> String {
    format!(
        "{every} {}",
        now.as_micros().div_euclid(every.as_micros().max(1))
    )
}

async fn send_due(options: &Options, done: &mut [String; 2]) -> anyhow::Result<()> {
    let now = options.clock.now();
    let (at, zone, channels) = &options.digest;
    let (every, beats) = &options.heartbeat;
    let due = [
        (DIGEST, day_key(now, *at, zone), channels, true),
        (
            HEARTBEAT,
            period_key(now, *every),
            beats,
            *every > Span::ZERO,
        ),
    ];

    for ((kind, key, channels, wanted), done) in due.into_iter().zip(done) {
        if !wanted || channels.is_empty() || *done == key {
            continue;
        }

        let mut conn = store::connect(&options.database).await?;
        let written = write_notification(options, &mut conn, kind, &key, channels, now).await?;
        *done = key;

        if written > 0 {
            info!(kind, written, "wrote scheduled notifications");
            options.deliveries.notify_one();
        }
    }

    Ok(())
}

/// Sends summaries of the alerts that were folded because a channel had reached its rate limit.
async fn sum_up(options: &Options) -> anyhow::Result<()> {
    let mut conn = store::connect(&options.database).await?;
    for tenant in store::tenants::list(&mut conn).await? {
        sum_up_tenant(options, &mut conn, tenant.id).await?;
    }
    Ok(())
}

async fn sum_up_tenant(
    options: &Options,
    conn: &mut PgConnection,
    tenant: TenantId,
) -> anyhow::Result<()> {
    let mut tx = conn.begin().await.map_err(StoreError::from)?;
    store::tenants::act_for_now(&mut tx, tenant).await?;

    // The first summary comes while the storm lasts, the next ones with its pace.
    let patience = FOLDED_PATIENCE.min(options.per);
    let all = notices::folded(&mut tx, patience, options.per).await?;
    for folded in &all {
        let count: u64 = folded.groups.iter().map(|(_, _, n)| n).sum();
        let worst = folded
            .groups
            .first()
            .map_or(Severity::Info, |(severity, _, _)| *severity);
        let title = format!(
            "{count} more {}, the worst {worst}, {} not sent one by one",
            if count == 1 { "alert" } else { "alerts" },
            if count == 1 { "was" } else { "were" }
        );

        let lines: Vec<String> = folded
            .groups
            .iter()
            .map(|(severity, rule, n)| format!("{severity}: {n} of {}", one_line(rule)))
            .collect();
        let text = format!(
            "{}\nAll are stored; `blueteam alerts list` shows them.",
            lines.join("\n")
        );
        let notice = Notice {
            severity: worst,
            count,
            ..notice(&options.hostname, title, text, folded.span.0, folded.span.1)
        };
        notices::tell_folded(&mut tx, folded.channel, folded.span.1, &notice).await?;
    }

    tx.commit().await.map_err(StoreError::from)?;
    if !all.is_empty() {
        options.deliveries.notify_one();
    }

    Ok(())
}

async fn write_notification(
    options: &Options,
    conn: &mut PgConnection,
    kind: &str,
    key: &str,
    channels: &[Channel],
    now: Timestamp,
) -> anyhow::Result<u64> {
    // Its readers are those of `default`.
    store::tenants::act_for(conn, TenantId::DEFAULT).await?;
    let last = notices::last(conn, kind).await?;
    if last.as_ref().is_some_and(|(last, _)| last == key) {
        return Ok(0);
    }

    let from = last
        .as_ref()
        .map_or(now.minus(Span::days(1)), |(_, at)| *at)
        .max(now.minus(LONGEST));
    let (title, text) = if kind == DIGEST {
        let mut people = store::connect(&options.operator).await?;
        store::tenants::act_for(&mut people, TenantId::DEFAULT).await?;
        let soon = now.plus(ENDS_SOON);
        let summary = notices::summary(&mut people, from, now, soon, OURSELVES, NAMED).await?;
        let waiting = unacknowledged(store::overview::alerts(&mut people).await?);
        (
            digest_title(&summary, &waiting),
            digest_text(&summary, &waiting),
        )
    } else {
        (
            format!("blueteam on {} is alive", options.hostname),
            "Sent on schedule.".to_owned(),
        )
    };

    let notice = notice(&options.hostname, title, text, from, now);
    // The first period sends no digest: there is no day yet to report on.
    let channels = if last.is_some() { channels } else { &[] };
    Ok(
        notices::write(conn, kind, key, OURSELVES, &notice, channels)
            .await?
            .unwrap_or(0),
    )
}

/// The unacknowledged critical and high alerts.
fn unacknowledged(counts: Vec<AlertCount>) -> Vec<(Severity, u64)> {
    counts
        .into_iter()
        .filter(|count| count.severity >= Severity::High && count.unacknowledged > 0)
        .map(|count| (count.severity, count.unacknowledged))
        .collect()
}

/// The one line that a reader in a hurry reads.
fn digest_title(summary: &Summary, waiting: &[(Severity, u64)]) -> String {
    let alerts: u64 = summary.alerts.iter().map(|(_, n)| n).sum();
    let what = if alerts == 0 && summary.silent.is_empty() && summary.dead == 0 {
        "all quiet".to_owned()
    } else {
        counted(alerts, "alert")
    };

    let silent = match summary.silent.len() {
        0 => String::new(),
        n => format!(", {n} silent"),
    };

    let waiting = match waiting.iter().map(|(_, n)| n).sum() {
        0_u64 => String::new(),
        n => format!(", {n} critical or high not acknowledged"),
    };

    format!(
        "Daily digest: {what}{waiting}, {}, {} alive{silent}",
        counted(summary.events, "event"),
        counted(summary.alive_count, "source")
    )
}

/// The rest, a line each. Writing to a string cannot fail.
fn digest_text(summary: &Summary, waiting: &[(Severity, u64)]) -> String {
    let mut out = String::new();
    if !waiting.is_empty() {
        let counts: Vec<String> = waiting.iter().map(|(s, n)| format!("{n} {s}")).collect();
        let _ = writeln!(out, "Not acknowledged, of all time: {}", counts.join(", "));
    }

    for (severity, n) in &summary.alerts {
        let _ = writeln!(out, "{severity}: {n}");
    }

    if summary.alerts.is_empty() {
        out.push_str("No alerts.\n");
    }

    for alert in &summary.told {
        let _ = writeln!(out, "{}", alert_line(alert));
    }

    let all: u64 = summary
        .alerts
        .iter()
        .filter(|(s, _)| in_digest(*s))
        .map(|(_, n)| n)
        .sum();

    if all > summary.told.len() as u64 {
        let _ = writeln!(
            out,
            "and {} more; `blueteam alerts list` shows them",
            all - summary.told.len() as u64
        );
    }

    let of = if summary.entries == summary.events {
        String::new()
    } else {
        format!(" of {} that were read", counted(summary.entries, "entry"))
    };

    let _ = writeln!(out, "Stored: {}{of}", counted(summary.events, "event"));
    if !summary.alive.is_empty() {
        let more = if summary.alive_count > summary.alive.len() as u64 {
            ", …"
        } else {
            ""
        };

        let _ = writeln!(
            out,
            "Sources alive: {}{more}",
            one_line(&summary.alive.join(", "))
        );
    }

    if !summary.silent.is_empty() {
        let _ = writeln!(
            out,
            "Sources silent: {}",
            one_line(&summary.silent.join(", "))
        );
    }

    for silence in &summary.ending {
        let ends = silence.ends_at.to_jiff().strftime("%Y-%m-%d %H:%M UTC");
        let said = format!(
            "{} of {} by {}: {}",
            silence.kind, silence.scope, silence.author, silence.reason
        );
        let _ = writeln!(out, "Ends {ends}: {}", one_line(&said));
    }

    if summary.dead > 0 {
        let _ = writeln!(
            out,
            "Messages that could not be delivered: {}",
            summary.dead
        );
    }

    out
}

/// Returns an alert in a line: what, about whom, how often.
fn alert_line(alert: &Alert) -> String {
    let at = alert.created_at.to_jiff().strftime("%Y-%m-%d %H:%M UTC");
    let silenced = if alert.muted_by.is_some() {
        ", silenced"
    } else {
        ""
    };

    let about = one_line(&alert.entity.to_string());
    let events = counted(alert.event_count, "event");
    let id = alert.alert_id.to_string();
    let id = id.get(..8).unwrap_or_default();

    format!(
        "{at}  {}  {}; {about}, {events}{silenced} ({id})",
        alert.severity,
        one_line(&alert.title)
    )
}

const fn in_digest(severity: Severity) -> bool {
    matches!(severity, Severity::Medium | Severity::Low)
}

/// A line break in a title would begin a line of its own.
fn one_line(title: &str) -> String {
    model::text::sanitize(title).into_owned()
}

/// A notice of the schedule, about this machine and the time from `from` to `now`.
pub fn notice(
    hostname: &str,
    title: String,
    text: String,
    from: Timestamp,
    now: Timestamp,
) -> Notice {
    Notice {
        id: Uuid::now_v7(),
        topic: Topic::Schedule,
        severity: Severity::Info,
        title,
        body: text,
        about: hostname.to_owned(),
        from,
        to: now,
        count: 0,
        lasts: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_begins_at_its_time_in_its_zone() {
        let zone = TimeZone::get("America/New_York").unwrap();
        let at = Time::constant(7, 0, 0, 0);
        let day = |text: &str| day_key(Timestamp::parse(text).unwrap(), at, &zone);
        assert_eq!(day("2026-03-05T11:59:59Z"), "2026-03-04");
        assert_eq!(day("2026-03-05T12:00:00Z"), "2026-03-05");
        // Summer time began on the 8th.
        assert_eq!(day("2026-03-09T10:59:59Z"), "2026-03-08");
        assert_eq!(day("2026-03-09T11:00:00Z"), "2026-03-09");
    }

    fn quiet() -> Summary {
        Summary {
            entries: 9,
            events: 7,
            alive: vec!["audit_db".to_owned(), "/var/log/auth.log".to_owned()],
            alive_count: 2,
            silent: Vec::new(),
            alerts: Vec::new(),
            told: Vec::new(),
            ending: Vec::new(),
            dead: 0,
        }
    }

    #[test]
    fn what_nobody_has_acknowledged_stands_first() {
        let count = |severity, unacknowledged| AlertCount {
            severity,
            open: 0,
            unacknowledged,
        };
        let waiting = unacknowledged(vec![
            count(Severity::Critical, 1),
            count(Severity::High, 3),
            count(Severity::Medium, 9),
        ]);

        assert!(
            digest_title(&quiet(), &waiting).contains(", 4 critical or high not acknowledged, "),
        );
        let text = digest_text(&quiet(), &waiting);
        assert_eq!(
            text.lines().next(),
            Some("Not acknowledged, of all time: 1 critical, 3 high")
        );
    }

    #[test]
    fn a_quiet_day_says_so() {
        assert_eq!(
            digest_title(&quiet(), &[]),
            "Daily digest: all quiet, 7 events, 2 sources alive"
        );
        let read = "Stored: 7 events of 9 entries that were read\nSources alive: audit_db, \
            /var/log/auth.log\n";
        assert_eq!(digest_text(&quiet(), &[]), format!("No alerts.\n{read}"));

        let silent = Summary {
            silent: vec!["a".to_owned()],
            ..quiet()
        };

        assert_eq!(
            digest_title(&silent, &[]),
            "Daily digest: 0 alerts, 7 events, 2 sources alive, 1 silent"
        );
        assert_eq!(
            digest_text(&silent, &[]),
            format!("No alerts.\n{read}Sources silent: a\n")
        );
    }

    #[test]
    fn a_day_with_something_in_it_names_it() {
        let at = Timestamp::parse("2026-03-05T14:07:00Z").unwrap();
        let hostile = "Off-hours access by ann\nCRITICAL: none".to_owned();
        let mut alert = notice("soc1", hostile, String::new(), at, at).to_alert();
        alert.severity = Severity::Medium;

        alert.alert_id = model::AlertId(Uuid::from_u128(0x1234_5678 << 96));
        alert.entity = model::Entity {
            kind: model::EntityKind::User,
            value: "ann\u{202e}".to_owned(),
        };

        alert.event_count = 1;
        let silence = model::Silence {
            mute_id: model::SilenceId(Uuid::nil()),
            kind: model::SilenceKind::Silence,
            scope: model::SilenceScope {
                rule_id: None,
                source: Some("nginx".to_owned()),
                tenant: None,
                entity: None,
            },
            author: "alice".to_owned(),
            reason: "an ordered scan".to_owned(),
            ticket: None,
            starts_at: at,
            ends_at: at.plus(Span::hours(1)),
            ended_by: None,
        };

        let alerts = vec![(Severity::High, 1), (Severity::Medium, 3)];
        let day = Summary {
            events: 1,
            entries: 1,
            alive_count: 1,
            alerts,
            told: vec![alert],
            ending: vec![silence],
            ..quiet()
        };

        assert_eq!(
            digest_title(&day, &[]),
            "Daily digest: 4 alerts, 1 event, 1 source alive"
        );
        insta::assert_snapshot!(digest_text(&day, &[]));

        let one = Summary {
            alerts: vec![(Severity::High, 1)],
            ..quiet()
        };

        assert_eq!(
            digest_title(&one, &[]),
            "Daily digest: 1 alert, 7 events, 2 sources alive"
        );
    }

    proptest::proptest! {
        /// Whoever can name a user, a log or a silence writes no line of his own and nothing that
        /// acts on whoever reads it.
        #[test]
        fn an_attacker_writes_no_line_of_the_digest(
            text in "(?s)(.|[|=\\]\\[\r\n\u{0}\u{1b}\u{85}\u{2028}\u{202e}\u{2066}]|\nCRITICAL: \
                none){0,300}", long in 0_usize..3,
        ) {
            let said = text.repeat(1 + long * 40);
            let at = Timestamp::parse("2026-03-05T14:07:00Z").unwrap();
            let mut alert = notice("soc1",said.clone(), said.clone(),at, at).to_alert();
            alert.severity = Severity::Low;
            alert.entity.value = said.clone();

            let silence = model::Silence {
                mute_id: model::SilenceId(Uuid::nil()),
                kind: model::SilenceKind::Exception,
                scope: model::SilenceScope { rule_id: None, source: Some(said.clone()), tenant: None, entity: None },
                author: said.clone(),
                reason: said.clone(),
                ticket: None,
                starts_at: at,
                ends_at: at,
                ended_by: None,
            };

            let day = Summary {
                alive: vec![said.clone()], silent: vec![said], told: vec![alert], ending: vec![silence], alerts: vec![(Severity::Low, 1)], ..quiet()
            };
            let digest = digest_text(&day, &[]);
            proptest::prop_assert_eq!(digest.lines().count(), 6, "{}", digest);

            let acts = |c: char| c != '\n' && (c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'));
            proptest::prop_assert!(!digest.chars().any(acts), "{:?}", digest);
        }
    }
}
