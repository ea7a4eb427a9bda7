//! `blueteam status`: how things stand.

use std::process::ExitCode;

use anyhow::Context as _;
use comfy_table::Cell;
use model::text::counted;
use model::{Clock as _, Severity, Span, SystemClock, Timestamp};
use rustix::fs::{FlockOperation, flock};
use serde::Serialize;
use store::PgConnection;
use store::posture::{self, Activity, AlertCount, IncidentCount, Lag, Schema};
use store::sources::RefusedRows;

use super::out::{self, Look};
use super::session::{Globals, block_on};
use app::certificates;
use app::database::{Database, Role};
use config::Loaded;
use config::StateDir;
use daemon::sources::listener;

/// The reader's cursor.
const READER: &str = "monitor";
/// The file that a running daemon holds a lock on.
const DAEMON_LOCK: &str = "daemon.lock";
/// A committed event that waits longer than this is being waited for.
const LAG_ALLOWED: Span = Span::mins(1);
/// How long after its discovery an incident must be reported (DFARS 252.204-7012).
const DFARS_LIMIT: Span = Span::hours(72);
/// Exit code when somebody should look.
const ATTENTION: u8 = 3;

/// How things stand: database, daemon, events of each source, alerts, incidents, deliveries, rules.
///
/// Exit code: 0 all is well; 1 it cannot be told (no database, no right); 2 wrong arguments; 3
/// something needs attention, named at the end: the daemon is not running, the schema is behind,
/// events wait unread for more than a minute, high or critical alerts that nobody has acknowledged,
/// monitors over their thresholds, incidents to be reported under DFARS, messages that could not be
/// delivered, alerts that cannot be written, events that the rules cannot read, high or critical
/// alerts for which no channel is configured, events in the spool or refused by the database,
/// messages that wait in a listener's spool, certificates that expire within 30 days, or an
/// expected source that has never spoken.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  blueteam status\n  blueteam status --json | jq .attention\n  \
                        blueteam status >/dev/null || echo 'look at blueteam'"
)]
pub(super) struct Args {
    /// As a JSON object
    #[arg(long)]
    json: bool,
}

/// How things stand.
#[derive(Debug, Serialize)]
struct Status {
    at: Timestamp,
    database: &'static str,
    state_dir: String,
    daemon_running: bool,
    schema: Schema,
    sources: Vec<Activity>,
    reader: Option<Lag>,
    alerts: Vec<AlertCount>,
    incidents: IncidentCount,
    dfars_report_due: Option<Timestamp>,
    deliveries: Deliveries,
    /// High or critical, and no channel of theirs is configured.
    untold: Vec<Severity>,
    disabled_rules: Vec<String>,
    over_threshold: Vec<Over>,
    /// Expected sources that have never spoken.
    unheard: Vec<String>,
    /// What was accepted while the database was away.
    spool: ingest::SpoolOnDisk,
    /// Alerts that could not be written yet.
    pending_alerts: Option<PendingAlerts>,
    /// Events that the rules have not seen because they cannot be read.
    unreadable: Vec<Unreadable>,
    /// What listeners have received and the database does not have yet.
    listeners: Vec<listener::Held>,
    /// How long the certificates that we present are valid.
    certificates: Vec<certificates::Expiry>,
    /// What was read and checked, and the database refused.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    refused: Vec<RefusedRows>,
    attention: Vec<String>,
}

#[derive(Debug, Serialize)]
struct PendingAlerts {
    alerts: u64,
    since: Timestamp,
    reason: String,
}

/// Rows of a table that cannot be read for one reason.
#[derive(Debug, Serialize)]
struct Unreadable {
    table: String,
    reason: String,
    rows: u64,
}

/// A monitor that is over its threshold.
#[derive(Debug, Serialize)]
struct Over {
    monitor: String,
    since: Timestamp,
    says: String,
}

#[derive(Debug, Serialize)]
struct Deliveries {
    waiting: u64,
    dead: u64,
}

pub(super) fn run(args: &Args, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let (loaded, state) = (globals.load()?, globals.state()?);
    let daemon_running = daemon_runs(&state);
    let now = SystemClock.now();
    let mut status = block_on(async {
        let database = Database::existing(&loaded, &state).await?;
        let done = async {
            let mut conn = database.connect(Role::Operator).await?;
            ask(
                &mut conn,
                &loaded,
                &state,
                (now, daemon_running, database.is_private()),
            )
            .await
        };

        let done = done.await;
        database.leave().await?;
        done
    })?;

    status.attention = attention(&status);
    if args.json {
        out::json(&status)?;
    } else {
        show(&status)?;
    }

    Ok(if status.attention.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(ATTENTION)
    })
}

/// Whether a daemon holds the lock. Ours is shared and gone at once.
fn daemon_runs(state: &StateDir) -> bool {
    let Ok(file) = std::fs::File::open(state.join(DAEMON_LOCK)) else {
        return false;
    };
    flock(&file, FlockOperation::NonBlockingLockShared).is_err()
}

async fn ask(
    conn: &mut PgConnection,
    loaded: &Loaded,
    state: &StateDir,
    (now, daemon_running, private): (Timestamp, bool, bool),
) -> anyhow::Result<Status> {
    let incidents = posture::incidents(conn).await?;
    let backlog = store::outbox::backlog(conn).await?;
    let table = store::rules::settings(conn).await?;
    let in_file = |id: &str| {
        loaded
            .config
            .rules
            .get(id)
            .and_then(|r| r.get("enabled"))
            .and_then(serde_json::Value::as_bool)
    };

    let mut disabled: Vec<String> = loaded
        .config
        .rules
        .keys()
        .filter(|id| in_file(id) == Some(false))
        .cloned()
        .collect();
    disabled.extend(
        table
            .iter()
            .filter(|r| !r.enabled)
            .map(|r| r.rule_id.to_string()),
    );

    disabled.sort();
    disabled.dedup();
    Ok(Status {
        at: now,
        database: if private {
            "private cluster"
        } else {
            "DATABASE_URL"
        },
        state_dir: state.path().display().to_string(),
        daemon_running,
        schema: posture::schema(conn).await?,
        sources: posture::activity(conn, now).await?,
        reader: posture::lag(conn, READER).await?,
        alerts: posture::alerts(conn).await?,
        dfars_report_due: incidents.dfars_since.map(|since| since.plus(DFARS_LIMIT)),
        incidents,
        deliveries: Deliveries {
            waiting: backlog.pending,
            dead: backlog.dead,
        },
        untold: loaded
            .config
            .untold()
            .into_iter()
            .filter(|severity| *severity >= Severity::High)
            .collect(),
        disabled_rules: disabled,
        over_threshold: over(conn).await?,
        unheard: unheard(conn, &loaded.config.detection.expected_sources).await?,
        spool: daemon::http_server::spool(state).context("cannot look into the spool")?,
        pending_alerts: store::alerts::pending(conn, Span::ZERO)
            .await?
            .map(|p| PendingAlerts {
                alerts: p.alerts,
                since: p.since,
                reason: p.reason,
            }),
        unreadable: unreadable(conn).await?,
        listeners: listener::held(state).context("cannot look into the spools of listeners")?,
        certificates: certificates::expiries(&loaded.config),
        refused: store::sources::refused_rows(conn, now).await?,
        attention: Vec::new(),
    })
}

/// Which of the expected sources nobody has ever heard of.
async fn unheard(conn: &mut PgConnection, expected: &[String]) -> anyhow::Result<Vec<String>> {
    let known = store::sources::list(conn).await?;
    let heard = |name: &str| {
        known
            .iter()
            .any(|s| s.kind.as_str() == name && s.has_spoken())
    };

    Ok(expected
        .iter()
        .filter(|name| !heard(name))
        .cloned()
        .collect())
}

/// What could not be read during the last day.
async fn unreadable(conn: &mut PgConnection) -> anyhow::Result<Vec<Unreadable>> {
    let found = store::reader::unreadable(conn, Span::days(1)).await?;
    Ok(found
        .into_iter()
        .map(|(table, reason, rows)| Unreadable {
            table,
            reason,
            rows,
        })
        .collect())
}

/// The monitors that are over their thresholds.
async fn over(conn: &mut PgConnection) -> anyhow::Result<Vec<Over>> {
    let all = store::monitors::list(conn).await?;
    let over = all.iter().filter_map(|m| Some((m, m.over_since?)));
    Ok(over
        .map(|(m, since)| Over {
            monitor: m.name.clone(),
            since,
            says: super::monitors::says(m),
        })
        .collect())
}

/// What somebody should look at, the worst first.
fn attention(s: &Status) -> Vec<String> {
    let mut out = Vec::new();
    if let Some(due) = s.dfars_report_due {
        let n = s.incidents.dfars_unreported;
        out.push(format!(
            "incidents to be reported to the DoD: {n}, the first by {}",
            out::time(due)
        ));
    }
    for a in s
        .alerts
        .iter()
        .filter(|a| a.severity >= Severity::High && a.unacknowledged > 0)
    {
        out.push(format!(
            "{} alerts that nobody has acknowledged: {}",
            a.severity, a.unacknowledged
        ));
    }
    if s.schema.applied < s.schema.known {
        out.push(format!(
            "the schema is at version {} of {}: run `blueteam migrate`",
            s.schema.applied, s.schema.known
        ));
    }
    if !s.daemon_running {
        out.push("the daemon is not running here: nothing is detected".to_owned());
    }
    if let Some(oldest) = s.reader.and_then(|lag| lag.oldest)
        && s.at.since(oldest) > LAG_ALLOWED
    {
        out.push(format!("events wait unread since {}", out::time(oldest)));
    }
    if let Some(p) = &s.pending_alerts {
        let (alerts, since) = (counted(p.alerts, "alert"), out::time(p.since));
        out.push(format!(
            "{alerts} not written since {since}: {}",
            model::text::sanitize(&p.reason)
        ));
    }
    for u in &s.unreadable {
        let rows = counted(u.rows, "row");
        out.push(format!(
            "{rows} of {} not seen by the rules: {}",
            u.table,
            model::text::sanitize(&u.reason)
        ));
    }
    for source in &s.unheard {
        out.push(format!(
            "nothing has ever come from {source}, which is expected (detection.expected_sources)"
        ));
    }
    if !s.untold.is_empty() {
        let which: Vec<&str> = s.untold.iter().map(|severity| severity.as_str()).collect();
        let which = which.join(" and ");
        out.push(format!(
            "nobody is told of {which} alerts: no channel is configured for them (`blueteam \
                config check`)"
        ));
    }
    out.extend(
        s.certificates
            .iter()
            .filter_map(|certificate| certificate.warning(s.at)),
    );
    for RefusedRows {
        source_id,
        events,
        last,
    } in &s.refused
    {
        let (source, last) = (model::text::sanitize(source_id), out::time(*last));
        out.push(format!(
            "events of {source} that the database refused within a week: {events}, the last at \
                {last} (`blueteam sources \
             dead-letters`)"
        ));
    }
    out.extend(spooled(&s.spool));
    out.extend(s.listeners.iter().filter_map(|held| held.attention(s.at)));
    for o in &s.over_threshold {
        out.push(format!(
            "{} (since {}; `blueteam monitors show {}`)",
            o.says,
            out::time(o.since),
            o.monitor
        ));
    }
    if s.deliveries.dead > 0 {
        out.push(format!(
            "messages that could not be delivered: {} (`blueteam alerts deliveries list --state \
                dead`)",
            s.deliveries.dead
        ));
    }
    out
}

/// What of the spool somebody should look at.
fn spooled(spool: &ingest::SpoolOnDisk) -> Vec<String> {
    let mut out = Vec::new();
    let file = spool.refused_file.display();
    if spool.refused_full {
        out.push(format!(
            "{file} is full, and until it is moved away further events that the database refuses \
                are only counted"
        ));
    } else if spool.refused_bytes > 0 {
        out.push(format!(
            "events of the spool that the database refused for good: look into {file}, then move \
                it away"
        ));
    }

    if spool.waiting_bytes > 0 {
        let since = out::maybe_time(spool.since);
        out.push(format!(
            "{} bytes of events wait in the spool for the database since {since}",
            spool.waiting_bytes
        ));
    }

    if spool.conflicting_bytes > 0 {
        out.push(format!(
            "{} bytes of events conflict with an open transaction in the database and wait for \
                its end",
            spool.conflicting_bytes
        ));
    }

    out.extend(spool.damaged.iter().map(|path| {
        format!(
            "a damaged piece of the spool was set aside: {}",
            path.display()
        )
    }));

    out
}

fn show(s: &Status) -> anyhow::Result<()> {
    let label = |name: &str, value: String| out::line(format_args!("{name:<12} {value}"));
    let schema = if s.schema.applied == s.schema.known {
        format!("version {}, up to date", s.schema.applied)
    } else {
        format!(
            "version {}, the program knows {}",
            s.schema.applied, s.schema.known
        )
    };

    label("database", format!("{} (schema {schema})", s.database))?;
    label(
        "daemon",
        if s.daemon_running {
            "running"
        } else {
            "not running"
        }
        .to_owned(),
    )?;

    let lag = match s.reader {
        None => "has never run".to_owned(),
        Some(Lag { unread: 0, .. }) => "up to date".to_owned(),
        Some(Lag { unread, oldest }) => {
            let more = if unread >= posture::LAG_MAX {
                "at least "
            } else {
                ""
            };

            format!(
                "{more}{unread} events unread, the first since {}",
                out::maybe_time(oldest)
            )
        }
    };

    label("reader", lag)?;
    let i = &s.incidents;
    let due = s.dfars_report_due.map_or_else(String::new, |due| {
        format!(", the first by {}", out::time(due))
    });
    label(
        "incidents",
        format!(
            "{} open, {} with CUI, {} to report{due}",
            i.open, i.cui, i.dfars_unreported
        ),
    )?;

    label(
        "deliveries",
        format!(
            "{} waiting, {} given up",
            s.deliveries.waiting, s.deliveries.dead
        ),
    )?;

    if !s.disabled_rules.is_empty() {
        label(
            "rules off",
            model::text::sanitize(&s.disabled_rules.join(", ")).into_owned(),
        )?;
    }

    let look = Look::stdout();
    out::line("")?;
    if s.sources.is_empty() {
        out::line("no events within a week")?;
    } else {
        let mut table = out::table(look, &["source", "last hour", "last 24 h", "newest"]);
        for a in &s.sources {
            let newest = Cell::new(out::maybe_time(a.newest));
            table.add_row([
                Cell::new(a.source),
                Cell::new(a.last_hour),
                Cell::new(a.last_day),
                newest,
            ]);
        }

        out::print(table)?;
    }

    out::line("")?;
    if s.alerts.is_empty() {
        out::line("no alerts wait")?;
    } else {
        let mut table = out::table(look, &["alerts", "open", "unacknowledged"]);
        for a in &s.alerts {
            table.add_row([
                look.severity(a.severity),
                Cell::new(a.open),
                Cell::new(a.unacknowledged),
            ]);
        }

        out::print(table)?;
    }

    out::line("")?;
    if s.attention.is_empty() {
        return out::line("all is well");
    }

    out::line("needs attention:")?;
    for what in &s.attention {
        out::line(format_args!("  {what}"))?;
    }

    Ok(())
}
