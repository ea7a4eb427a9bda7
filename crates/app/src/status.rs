//! How things stand: database, daemon, events, alerts, incidents, notifications and rules, and what
//! of it needs attention.
//!
//! Whoever asks may ask because something is broken: what cannot be read is named, and costs no
//! other part its answer.

mod attention;

use std::fmt::Display;

use config::{Config, Loaded, StateDir};
use model::{Clock as _, Severity, Span, SystemClock, Timestamp};
use rustix::fs::{StatVfsMountFlags, statvfs};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use store::overview;
use store::reader::LIVE_CURSOR;
use store::sources::RefusedRows;
use store::{PgConnection, StoreError};

use crate::actor::Resource;
use crate::certificates::{self, Expiry};
use crate::running::{RunningSources, SourceChanges, daemon_runs};
use crate::spools::{self, Held};
use crate::{AppError, Session, monitors};

pub use attention::{Attention, ListenerSpool, Spool, attention};
pub use store::overview::{
    Activity, AlertCount, IncidentCount, LAG_MAX, Lag, Login, RefusedKeys, Schema,
};

/// The file that says what is wrong with the clock, as long as something is.
pub const CLOCK_FILE: &str = "clock.json";
/// Rows that the rules could not read are named this long.
const UNREADABLE_SINCE: Span = Span::days(1);

/// How things stand.
#[derive(Debug, Serialize)]
pub struct Status {
    /// What runs here.
    #[serde(flatten)]
    pub installation: Installation,
    /// What was seen and found.
    #[serde(flatten)]
    pub findings: Findings,
    /// What is not where it belongs.
    #[serde(flatten)]
    pub backlog: Backlog,
    /// What could not be read. Its fields are null, or as if there were nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_read: Vec<NotRead>,
}

impl Status {
    /// Returns whether this could not be read: `database` for all that the database holds.
    pub fn lacks(&self, what: &str) -> bool {
        let mut lacking = self.not_read.iter().map(|not_read| not_read.what);
        lacking.any(|lacking| lacking == what || lacking == DATABASE)
    }
}

/// Something that could not be read.
#[derive(Debug, Serialize)]
pub struct NotRead {
    /// What.
    pub what: &'static str,
    /// Why not.
    pub why: String,
}

/// In place of everything that the database holds.
const DATABASE: &str = "database";

/// Keeps what was read, and writes down what was not.
#[derive(Default)]
struct Gaps(Vec<NotRead>);

impl Gaps {
    fn keep<T, E: Display>(&mut self, what: &'static str, read: Result<T, E>) -> Option<T> {
        match read {
            Ok(value) => Some(value),
            Err(why) => {
                let why = format!("{why:#}");
                self.0.push(NotRead { what, why });
                None
            }
        }
    }
}

/// What runs here.
#[derive(Debug, Serialize)]
pub struct Installation {
    /// When the status was read.
    pub at: Timestamp,
    /// Whose database it is.
    pub database: &'static str,
    /// What is not checked of a database server over a network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database_unchecked: Option<&'static str>,
    /// Where everything that must survive a restart is kept.
    pub state_dir: String,
    /// Whether its file system takes no writes.
    pub state_read_only: bool,
    /// Whether the daemon runs on this machine.
    pub daemon_running: bool,
    /// How the sources of the configuration differ from those that run.
    #[serde(flatten)]
    pub source_changes: SourceChanges,
    /// What the running daemon finds wrong with the clocks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock: Option<ClockDoubt>,
    /// How far the schema is.
    pub schema: Option<Schema>,
    /// Who is logged in to the database, as the configuration says.
    pub login: Option<Login>,
}

/// Why times are not judged by the clock.
#[derive(Debug, Serialize, Deserialize)]
pub struct ClockDoubt {
    /// Since when.
    pub since: Timestamp,
    /// What is wrong.
    pub why: String,
}

/// What was seen and found.
#[derive(Debug, Default, Serialize)]
pub struct Findings {
    /// What each source sent in the last week.
    pub sources: Option<Vec<Activity>>,
    /// How far the reader is behind; `None` when it has never run.
    pub reader: Option<Lag>,
    /// Alerts that are not acknowledged, the worst severity first.
    pub alerts: Option<Vec<AlertCount>>,
    /// Incidents that are not closed.
    pub incidents: Option<IncidentCount>,
    /// When the first of the incidents to be reported is due.
    pub dfars_report_due: Option<Timestamp>,
    /// Notifications that have not arrived.
    pub deliveries: Option<Undelivered>,
    /// High and critical severities for which no channel is configured.
    pub untold: Vec<Severity>,
    /// Rules that are switched off.
    pub disabled_rules: Vec<String>,
    /// Monitors that are over their thresholds.
    pub over_threshold: Vec<Over>,
    /// Expected sources that have never sent anything.
    pub unheard: Vec<String>,
    /// Requests of the last day with API keys that are not in force.
    pub refused_keys: Option<RefusedKeys>,
}

/// What is not where it belongs.
#[derive(Debug, Serialize)]
pub struct Backlog {
    /// What was accepted while the database was unreachable.
    pub spool: ingest::SpoolOnDisk,
    /// Alerts that could not be written yet.
    pub pending_alerts: Option<PendingAlerts>,
    /// Events that the rules have not seen because they cannot be read.
    pub unreadable: Vec<Unreadable>,
    /// What listeners have received and the database does not have yet.
    pub listeners: Vec<Held>,
    /// How long the certificates that blueteam presents are valid.
    pub certificates: Vec<Expiry>,
    /// What was read and checked, and the database refused.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<RefusedRows>,
}

/// Notifications that have not arrived.
#[derive(Debug, Serialize)]
pub struct Undelivered {
    /// Those that are tried again.
    pub waiting: u64,
    /// Those that were given up.
    pub dead: u64,
}

/// A monitor that is over its threshold.
#[derive(Debug, Serialize)]
pub struct Over {
    /// The monitor.
    pub monitor: String,
    /// Since when.
    pub since: Timestamp,
    /// What it says, in a sentence without its end.
    pub says: String,
}

/// Alerts that could not be written yet.
#[derive(Debug, Serialize)]
pub struct PendingAlerts {
    /// How many.
    pub alerts: u64,
    /// When the first of them could not be written.
    pub since: Timestamp,
    /// Why not, in the database's words.
    pub reason: String,
}

/// Rows of a table that cannot be read for one reason.
#[derive(Debug, Serialize)]
pub struct Unreadable {
    /// The table.
    pub table: String,
    /// The reason.
    pub reason: String,
    /// How many rows.
    pub rows: u64,
}

/// Gathers how things stand. What takes a lock that another session holds is left after a moment.
pub async fn gather(
    session: &mut Session,
    loaded: &Loaded,
    state: &StateDir,
) -> Result<Status, AppError> {
    let conn = session.read(Resource::System)?;
    let now = SystemClock.now();
    let mut gaps = Gaps::default();
    overview::wait_briefly(conn).await?;

    let mut here = installation(loaded, state, now);
    here.schema = gaps.keep("schema", overview::schema(conn).await);
    here.login = gaps.keep("login", overview::login(conn).await);
    let mut status = Status {
        findings: gather_findings(conn, &loaded.config, now, &mut gaps).await,
        backlog: local_backlog(&loaded.config, state, &mut gaps),
        installation: here,
        not_read: Vec::new(),
    };

    let backlog = &mut status.backlog;
    let pending = gaps.keep(
        "pending alerts",
        store::alerts::pending(conn, Span::ZERO).await,
    );
    backlog.pending_alerts = pending.flatten().map(|pending| PendingAlerts {
        alerts: pending.alerts,
        since: pending.since,
        reason: pending.reason,
    });
    let unreadable = store::reader::unreadable(conn, UNREADABLE_SINCE).await;
    let unreadable = gaps.keep("unreadable rows", unreadable).unwrap_or_default();
    let unreadable = unreadable
        .into_iter()
        .map(|(table, reason, rows)| Unreadable {
            table,
            reason,
            rows,
        });
    backlog.unreadable = unreadable.collect();
    let refused = gaps.keep(
        "refused rows",
        store::sources::refused_rows(conn, now).await,
    );
    backlog.refused = refused.unwrap_or_default();

    status.not_read = gaps.0;
    Ok(status)
}

/// What can be said without the database, and why it is missing.
pub fn gather_without_database(loaded: &Loaded, state: &StateDir, why: String) -> Status {
    let mut gaps = Gaps(vec![NotRead {
        what: DATABASE,
        why,
    }]);
    Status {
        installation: installation(loaded, state, SystemClock.now()),
        findings: Findings {
            untold: untold(&loaded.config),
            ..Findings::default()
        },
        backlog: local_backlog(&loaded.config, state, &mut gaps),
        not_read: gaps.0,
    }
}

/// What is not checked of the configured database server ([`store::unchecked_server`]).
pub(crate) fn unchecked_server(loaded: &Loaded) -> Option<&'static str> {
    let url = loaded.secrets.database_url.as_ref()?;
    store::unchecked_server(&store::parse_url(url.expose_secret()).ok()?)
}

fn installation(loaded: &Loaded, state: &StateDir, now: Timestamp) -> Installation {
    let runs = daemon_runs(state);
    let changes = runs.then(|| RunningSources::compare(state, loaded));
    Installation {
        at: now,
        database: if loaded.secrets.database_url.is_some() {
            "DATABASE_URL"
        } else {
            "private cluster"
        },
        database_unchecked: unchecked_server(loaded),
        state_dir: state.path().display().to_string(),
        state_read_only: statvfs(state.path())
            .is_ok_and(|about| about.f_flag.contains(StatVfsMountFlags::RDONLY)),
        daemon_running: runs,
        source_changes: changes.flatten().unwrap_or_default(),
        clock: clock_doubt(state),
        schema: None,
        login: None,
    }
}

/// High and critical severities for which no channel is configured.
fn untold(config: &Config) -> Vec<Severity> {
    let untold = config.untold().into_iter();
    untold
        .filter(|severity| *severity >= Severity::High)
        .collect()
}

/// What waits on this machine's disk.
fn local_backlog(config: &Config, state: &StateDir, gaps: &mut Gaps) -> Backlog {
    let listeners = gaps.keep("spools of listeners", spools::held_by_listeners(state));
    Backlog {
        spool: gaps
            .keep("spool", spools::accepted(state))
            .unwrap_or_default(),
        pending_alerts: None,
        unreadable: Vec::new(),
        listeners: listeners.unwrap_or_default(),
        certificates: certificates::expiries(config),
        refused: Vec::new(),
    }
}

/// What the running daemon has written down about the clocks.
pub(crate) fn clock_doubt(state: &StateDir) -> Option<ClockDoubt> {
    let bytes = state.read_small(CLOCK_FILE)?;
    serde_json::from_slice(&bytes).ok()
}

async fn gather_findings(
    conn: &mut PgConnection,
    config: &Config,
    now: Timestamp,
    gaps: &mut Gaps,
) -> Findings {
    let incidents = gaps.keep("incidents", overview::incidents(conn).await);
    let outbox = gaps.keep("deliveries", store::outbox::backlog(conn).await);
    let off = gaps.keep("rules off", disabled_rules(conn, config).await);
    let over = gaps.keep("monitors", over_threshold(conn).await);
    let expected = &config.detection.expected_sources;
    let unheard = gaps.keep("expected sources", unheard_sources(conn, expected).await);
    let since = now.minus(Span::days(1));

    Findings {
        sources: gaps.keep("events", overview::activity(conn, now).await),
        reader: gaps
            .keep("reader", overview::lag(conn, LIVE_CURSOR).await)
            .flatten(),
        alerts: gaps.keep("alerts", overview::alerts(conn).await),
        dfars_report_due: incidents
            .and_then(|incidents| incidents.dfars_since)
            .map(|since| since.plus(respond::clocks::DFARS_WITHIN)),
        incidents,
        deliveries: outbox.map(|outbox| Undelivered {
            waiting: outbox.pending,
            dead: outbox.dead,
        }),
        untold: untold(config),
        disabled_rules: off.unwrap_or_default(),
        over_threshold: over.unwrap_or_default(),
        unheard: unheard.unwrap_or_default(),
        refused_keys: gaps.keep("refused keys", overview::refused_keys(conn, since).await),
    }
}

/// The rules that the configuration or an operator switched off, by name.
async fn disabled_rules(
    conn: &mut PgConnection,
    config: &Config,
) -> Result<Vec<String>, StoreError> {
    let off = |rule: &serde_json::Value| {
        rule.get("enabled").and_then(serde_json::Value::as_bool) == Some(false)
    };

    let mut disabled: Vec<String> = config
        .rules
        .iter()
        .filter(|(_, rule)| off(rule))
        .map(|(id, _)| id.clone())
        .collect();

    let table = store::rules::settings(conn).await?;
    disabled.extend(
        table
            .iter()
            .filter(|row| !row.enabled)
            .map(|row| row.rule_id.to_string()),
    );

    disabled.sort();
    disabled.dedup();
    Ok(disabled)
}

async fn over_threshold(conn: &mut PgConnection) -> Result<Vec<Over>, StoreError> {
    let all = store::monitors::list(conn).await?;
    let over = all.iter().filter_map(|m| {
        Some(Over {
            monitor: m.name.clone(),
            since: m.over_since?,
            says: monitors::sentence(m),
        })
    });
    Ok(over.collect())
}

/// The expected sources that have never sent anything.
async fn unheard_sources(
    conn: &mut PgConnection,
    expected: &[String],
) -> Result<Vec<String>, StoreError> {
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
