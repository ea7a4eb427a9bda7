//! Metrics of the program in Prometheus' text format, for `/metrics`.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use crate::engine_stats::{EngineSnapshot, EngineStats};
use ingest::Stats;
use model::{Clock, Timestamp};
use store::PgConnectOptions;
use store::metrics::Numbers;
use store::monitors::Monitored;
use store::overview::Lag;
use web::Metrics;

use store::reader::LIVE_CURSOR;

/// A database that takes longer counts as unreachable for a scrape.
const PATIENCE: Duration = Duration::from_secs(5);

/// Makes what `/metrics` serves. One scrape at a time asks the database.
pub fn serve(
    database: PgConnectOptions,
    shown: Arc<EngineStats>,
    clock: Arc<dyn Clock>,
) -> Metrics {
    let turn = Arc::new(tokio::sync::Mutex::new(()));
    Metrics(Arc::new(move |stats| {
        let (database, shown, clock, turn) = (
            database.clone(),
            Arc::clone(&shown),
            Arc::clone(&clock),
            Arc::clone(&turn),
        );
        Box::pin(async move {
            let _turn = turn.lock().await;
            let asked = tokio::time::timeout(PATIENCE, query_known(&database)).await;
            let known = asked.ok().and_then(|asked| {
                asked
                    .inspect_err(|e| tracing::debug!("no numbers: {e}"))
                    .ok()
            });
            render_page(&stats, &shown.snapshot(), known.as_ref(), clock.now())
        })
    }))
}

type Known = (Numbers, Option<Lag>, Vec<Monitored>);

async fn query_known(database: &PgConnectOptions) -> Result<Known, store::StoreError> {
    let mut conn = store::connect(database).await?;
    let numbers = store::metrics::read(&mut conn).await?;
    let lag = store::overview::lag(&mut conn, LIVE_CURSOR).await?;
    Ok((numbers, lag, store::monitors::list(&mut conn).await?))
}

/// Writes metrics, one after the other.
struct Page(String);

impl Page {
    /// One metric with its samples: labels and value.
    fn add(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        samples: impl IntoIterator<Item = (String, f64)>,
    ) {
        // Writing to a string cannot fail.
        let _ = writeln!(
            self.0,
            "# HELP blueteam_{name} {help}\n# TYPE blueteam_{name} {kind}"
        );
        for (labels, value) in samples {
            let _ = writeln!(self.0, "blueteam_{name}{labels} {value}");
        }
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: f64) {
        self.add(name, kind, help, [(String::new(), value)]);
    }
}

/// `{a="b",c="d"}`; a value may come from an attacker.
fn format_labels(pairs: &[(&str, &str)]) -> String {
    let escaped = |value: &str| {
        model::text::sanitize(&value.replace('\\', "\\\\").replace('"', "\\\"")).into_owned()
    };
    let pairs: Vec<_> = pairs
        .iter()
        .map(|(key, value)| format!("{key}=\"{}\"", escaped(value)))
        .collect();
    format!("{{{}}}", pairs.join(","))
}

fn write_pair<'a>(
    first: &'a str,
    second: &'a str,
    all: &'a [store::metrics::Labeled],
) -> impl Iterator<Item = (String, f64)> + 'a {
    all.iter().map(move |(a, b, n)| {
        (
            format_labels(&[(first, a.as_str()), (second, b.as_str())]),
            *n as f64,
        )
    })
}

fn render_page(
    stats: &Stats,
    seen: &EngineSnapshot,
    known: Option<&Known>,
    now: Timestamp,
) -> String {
    let mut page = Page(String::with_capacity(16 * 1024));
    write_ingest(&mut page, stats);
    write_engine(&mut page, seen, now);
    page.one(
        "database_up",
        "gauge",
        "Whether the database answered; without it the metrics that it knows are missing.",
        f64::from(u8::from(known.is_some())),
    );

    if let Some((numbers, lag, monitored)) = known {
        write_database(&mut page, numbers, lag.as_ref(), now);
        write_monitors(&mut page, monitored);
    }

    page.0
}

fn write_ingest(page: &mut Page, stats: &Stats) {
    let outcomes = [
        ("accepted", stats.accepted),
        ("duplicate", stats.duplicates),
        ("rejected", stats.rejected),
        ("spooled", stats.spooled),
        ("refused", stats.refused),
        ("dead_letter", stats.dead_letters),
    ];
    page.add(
        "ingest_events_total",
        "counter",
        "Events that reached the HTTP server since the start, by outcome.",
        outcomes.map(|(outcome, n)| (format_labels(&[("outcome", outcome)]), n as f64)),
    );

    page.one(
        "ingest_queue_events",
        "gauge",
        "Events that wait for their commit.",
        stats.waiting as f64,
    );

    page.one(
        "spool_events",
        "gauge",
        "Events on disk, because the database is unreachable.",
        stats.spool_events as f64,
    );

    page.one(
        "spool_bytes",
        "gauge",
        "Bytes of the spool.",
        stats.spool_bytes as f64,
    );
}

fn write_engine(page: &mut Page, seen: &EngineSnapshot, now: Timestamp) {
    let age = seen
        .at
        .map_or(f64::INFINITY, |at| now.since(at).as_micros() as f64 / 1e6);
    page.one(
        "reader_pulse_age_seconds",
        "gauge",
        "Since the monitor last came round.",
        age,
    );

    page.one(
        "engine_events_total",
        "counter",
        "Events that the engine saw since it was made.",
        seen.counters.events as f64,
    );

    page.one(
        "engine_late_total",
        "counter",
        "Of them, those too late for their window.",
        seen.counters.late as f64,
    );

    page.one(
        "engine_unknown_role_total",
        "counter",
        "Admin endpoints reached by users whose role is not known.",
        seen.counters.unknown_role as f64,
    );

    page.one(
        "open_detections",
        "gauge",
        "Detections that may still grow.",
        seen.open as f64,
    );

    let rules = |of: fn(&detect::RuleStatus) -> f64| {
        seen.rules
            .iter()
            .map(move |rule| (format_labels(&[("rule", rule.rule_id.as_str())]), of(rule)))
            .collect::<Vec<_>>()
    };

    page.add(
        "rule_keys",
        "gauge",
        "Keys that a rule keeps track of.",
        rules(|rule| rule.usage.keys as f64),
    );

    page.add(
        "rule_evictions_total",
        "counter",
        "Keys that a rule gave up at its cap.",
        rules(|rule| rule.usage.evicted as f64),
    );
}

fn write_database(page: &mut Page, numbers: &Numbers, lag: Option<&Lag>, now: Timestamp) {
    page.one(
        "reader_lag_events",
        "gauge",
        "Committed events that are not read yet.",
        lag.map_or(0.0, |l| l.unread as f64),
    );

    let oldest = lag
        .and_then(|lag| lag.oldest)
        .map_or(0.0, |at| now.since(at).as_micros().max(0) as f64 / 1e6);
    page.one(
        "reader_lag_seconds",
        "gauge",
        "Since the first of them was written.",
        oldest,
    );

    page.add(
        "source_entries_total",
        "counter",
        "Entries of each source, by what became of them; late ones are accepted as well.",
        write_pair("source", "outcome", &numbers.entries),
    );

    page.add(
        "source_silence_seconds",
        "gauge",
        "Since a source was last heard.",
        numbers
            .silence
            .iter()
            .map(|(source, seconds)| (format_labels(&[("source", source)]), *seconds)),
    );

    page.add(
        "alerts",
        "gauge",
        "Alerts of the last 90 days.",
        write_pair("severity", "state", &numbers.alerts),
    );

    page.add(
        "alerts_unacknowledged",
        "gauge",
        "Alerts of the last 90 days that nobody has acknowledged.",
        numbers
            .unacknowledged
            .iter()
            .map(|(severity, n)| (format_labels(&[("severity", severity)]), *n as f64)),
    );

    page.add(
        "delivery_attempts",
        "gauge",
        "Attempts to deliver in the last 90 days.",
        write_pair("channel", "outcome", &numbers.attempts),
    );

    page.add(
        "deliveries_waiting",
        "gauge",
        "Messages that wait (pending) or were given up (dead).",
        write_pair("channel", "state", &numbers.deliveries),
    );

    page.one(
        "database_connections",
        "gauge",
        "Connections to the server, everybody's.",
        numbers.connections.0 as f64,
    );

    page.one(
        "database_connections_max",
        "gauge",
        "The most that it allows.",
        numbers.connections.1 as f64,
    );

    page.one(
        "database_bytes",
        "gauge",
        "Size of the database.",
        numbers.database_bytes as f64,
    );
}

/// Writes each monitor's last value, threshold and state.
fn write_monitors(page: &mut Page, all: &[Monitored]) {
    let one = |monitor: &Monitored| format_labels(&[("monitor", monitor.name.as_str())]);
    // A monitor that is watched but has no number is reported as infinite: worse than any
    // threshold.
    let watched = all.iter().filter(|monitor| monitor.watched);
    page.add(
        "monitor_value",
        "gauge",
        "What a monitor measured last, in its own unit; missing while there is nothing to \
                measure.",
        watched.map(|monitor| (one(monitor), monitor.value.unwrap_or(f64::INFINITY))),
    );

    page.add(
        "monitor_threshold",
        "gauge",
        "Above this a monitor raises an alert.",
        all.iter().map(|monitor| (one(monitor), monitor.threshold)),
    );

    let states = ["ok", "over", "unwatched"];
    let samples = all.iter().flat_map(|monitor| {
        let is = monitor_state(monitor);
        states.map(|state| {
            (
                format_labels(&[("monitor", monitor.name.as_str()), ("state", state)]),
                f64::from(u8::from(is == state)),
            )
        })
    });

    page.add(
        "monitor_state",
        "gauge",
        "1 for the state that a monitor is in: ok, over (its alert is open), unwatched.",
        samples,
    );
}

const fn monitor_state(monitor: &Monitored) -> &'static str {
    match (monitor.watched, monitor.over_since) {
        (_, Some(_)) => "over",
        (false, None) => "unwatched",
        (true, None) => "ok",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_monitor_is_in_one_state() {
        let at = Timestamp::from_secs(0);
        let monitor = |name: &str, watched, value, over_since| Monitored {
            name: name.to_owned(),
            watched,
            value,
            threshold: 80.0,
            detail: String::new(),
            measured_at: at,
            over_since,
            last_over: None,
            calm_since: None,
            peak: None,
            times_over: 0,
            alert_id: None,
        };

        let all = [
            monitor("storage", true, Some(91.5), Some(at)),
            monitor("backups", true, None, Some(at)),
            monitor("archiving", false, None, None),
            monitor("connections", true, Some(12.0), None),
        ];
        let mut page = Page(String::new());
        write_monitors(&mut page, &all);

        let samples: Vec<&str> = page
            .0
            .lines()
            .filter(|line| !line.starts_with('#') && !line.ends_with(" 0"))
            .collect();
        insta::assert_snapshot!(samples.join("\n"));
    }

    #[test]
    fn a_source_writes_no_line_of_its_own() {
        assert_eq!(
            format_labels(&[("source", "a\"b\\c\nd")]),
            r#"{source="a\"b\\c<U+000A>d"}"#
        );
    }
}
