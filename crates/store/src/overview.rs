//! How things stand: what `status` shows, and what lists of rules add to them.

use std::collections::BTreeMap;

use model::{RuleId, Severity, Source, Span, Timestamp};
use serde::Serialize;
use sqlx::PgConnection;

use crate::StoreError;
use crate::db::Ts;
use crate::migrate::MIGRATOR;
use crate::reader;

/// Has each statement of this connection give up on a lock after half a second: who asks how things
/// stand may ask because a session holds one.
pub async fn wait_briefly(conn: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query("SELECT set_config('lock_timeout', '500ms', false)")
        .execute(conn)
        .await?;
    Ok(())
}

/// How far the schema is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Schema {
    /// The newest migration that the database has; 0 when it has none.
    pub applied: i64,
    /// The newest migration that the program knows.
    pub known: i64,
}

/// How far the schema is. A database without our migrations is at 0.
pub async fn schema(conn: &mut PgConnection) -> Result<Schema, StoreError> {
    let known = MIGRATOR.iter().map(|m| m.version).max().unwrap_or(0);
    // The table is the migration tool's and missing in a database that was never migrated, so this
    // cannot be a checked query.
    let exists: bool = sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL")
        .fetch_one(&mut *conn)
        .await?;
    let applied: Option<i64> = if exists {
        sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations WHERE success")
            .fetch_one(conn)
            .await?
    } else {
        None
    };

    Ok(Schema {
        applied: applied.unwrap_or(0),
        known,
    })
}

/// Who is logged in, and what that login may do beyond its work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Login {
    /// The login.
    pub name: String,
    /// Tables and partitions of the product that it owns, by itself or by a role. An owner may
    /// switch off the triggers that keep records append-only.
    pub owned_tables: u64,
    /// Whether it is a superuser, who owns everything.
    pub superuser: bool,
    /// Whether policies keep the role that this connection has taken to one tenant.
    pub sees_one_tenant: bool,
    /// Whether log events may be copied into their table; else they take a detour, which is slower.
    pub copies_log_events: bool,
}

impl Login {
    /// Whether it may change what the product's roles may only add to.
    pub const fn may_rewrite_records(&self) -> bool {
        self.superuser || self.owned_tables > 0
    }
}

/// Who is logged in, whatever role the connection has taken.
pub async fn login(conn: &mut PgConnection) -> Result<Login, StoreError> {
    let row = sqlx::query_file!("src/overview/login.sql")
        .fetch_one(conn)
        .await?;
    Ok(Login {
        name: row.name,
        owned_tables: row.owned_tables.unsigned_abs(),
        superuser: row.superuser,
        sees_one_tenant: row.sees_one_tenant,
        copies_log_events: row.copies_log_events,
    })
}

/// Requests with API keys that are not in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RefusedKeys {
    /// How many.
    pub requests: u64,
    /// From how many networks, minute by minute.
    pub records: u64,
}

/// How many requests had keys that were not in force since then, as the product recorded them.
pub async fn refused_keys(
    conn: &mut PgConnection,
    since: Timestamp,
) -> Result<RefusedKeys, StoreError> {
    let row = sqlx::query_file!("src/overview/refused_keys.sql", Ts(since) as Ts)
        .fetch_one(conn)
        .await?;
    Ok(RefusedKeys {
        requests: row.requests.unsigned_abs(),
        records: row.records.unsigned_abs(),
    })
}

/// The settings of the server that decide whether it keeps what it has confirmed, and its version.
pub async fn server_settings(
    conn: &mut PgConnection,
) -> Result<BTreeMap<String, String>, StoreError> {
    let rows = sqlx::query_file!("src/overview/server_settings.sql")
        .fetch_all(conn)
        .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.name, row.setting))
        .collect())
}

/// What the clock of the database server says.
pub async fn server_clock(conn: &mut PgConnection) -> Result<Timestamp, StoreError> {
    let now = sqlx::query_scalar!(r#"SELECT clock_timestamp() AS "now!: Ts""#)
        .fetch_one(conn)
        .await?;
    Ok(now.0)
}

/// What a source sent lately.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Activity {
    /// The source.
    pub source: Source,
    /// Events of the last hour.
    pub last_hour: u64,
    /// Events of the last 24 hours.
    pub last_day: u64,
    /// Time of the newest event of the last week.
    pub newest: Option<Timestamp>,
}

/// What each source sent in the week before `now`, by event time; sources that sent nothing are
/// left out.
pub async fn activity(
    conn: &mut PgConnection,
    now: Timestamp,
) -> Result<Vec<Activity>, StoreError> {
    let rows = sqlx::query_file!("src/overview/activity.sql", Ts(now) as Ts)
        .fetch_all(conn)
        .await?;

    rows.into_iter()
        .filter(|r| r.newest.is_some())
        .map(|r| {
            Ok(Activity {
                source: r
                    .source
                    .parse()
                    .map_err(|e| StoreError::corrupt("log_events.source", e))?,
                last_hour: r.hour.unsigned_abs(),
                last_day: r.day.unsigned_abs(),
                newest: r.newest.map(|t| t.0),
            })
        })
        .collect()
}

/// How far the reader is behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Lag {
    /// Committed events that it has not read yet; counted up to [`LAG_MAX`].
    pub unread: u64,
    /// When the earliest of them was written.
    pub oldest: Option<Timestamp>,
}

/// Unread events are not counted beyond this.
pub const LAG_MAX: u64 = 100_000;

/// How far the reader of that name is behind; none when it has never run.
pub async fn lag(conn: &mut PgConnection, name: &str) -> Result<Option<Lag>, StoreError> {
    let Some(cursor) = reader::load(conn, name).await? else {
        return Ok(None);
    };

    // The conditions are made of numbers of ours; they cannot be parameters.
    let sql = format!(
        "SELECT count(*), min(created_at)
         FROM (
             (SELECT created_at FROM blueteam.audit_events WHERE {} LIMIT {LAG_MAX})
             UNION ALL
             (SELECT created_at FROM blueteam.log_events WHERE {} LIMIT {LAG_MAX})
         ) AS unread",
        cursor.audit_unread(),
        cursor.collected_unread()
    );
    let (unread, oldest): (i64, Option<Ts>) = sqlx::query_as(sqlx::AssertSqlSafe(sql))
        .fetch_one(conn)
        .await?;

    Ok(Some(Lag {
        unread: unread.unsigned_abs().min(LAG_MAX),
        oldest: oldest.map(|t| t.0),
    }))
}

/// How many unread events are looked at to find an old one: those that were inserted first are old
/// if any is.
const OLD_AMONG: u32 = 20_000;

/// Whether events that were written more than `patience` ago are still unread by the reader of that
/// name. False when it has never run.
pub async fn waits_unread(
    conn: &mut PgConnection,
    name: &str,
    patience: Span,
) -> Result<bool, StoreError> {
    let Some(cursor) = reader::load(conn, name).await? else {
        return Ok(false);
    };

    // The conditions are made of numbers of ours; they cannot be parameters.
    let sql = format!(
        "SELECT EXISTS (
             SELECT
             FROM (
                 (SELECT created_at FROM blueteam.audit_events WHERE {} LIMIT {OLD_AMONG})
                 UNION ALL
                 (SELECT created_at FROM blueteam.log_events WHERE {} LIMIT {OLD_AMONG})
             ) AS unread
             WHERE created_at < now() - $1::bigint * interval '1 microsecond'
         )",
        cursor.audit_unread(),
        cursor.collected_unread()
    );

    Ok(sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
        .bind(patience.as_micros())
        .fetch_one(conn)
        .await?)
}

/// How many alerts of a severity wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct AlertCount {
    /// The severity.
    pub severity: Severity,
    /// Alerts that may still grow.
    pub open: u64,
    /// Alerts that are neither acknowledged nor silenced.
    pub unacknowledged: u64,
}

/// Returns how many alerts are open or not acknowledged, by severity, the worst first.
pub async fn alerts(conn: &mut PgConnection) -> Result<Vec<AlertCount>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT
               severity,
               count(*) FILTER (WHERE state = 'open') AS "open!",
               count(*) FILTER (
                   WHERE acknowledged IS NOT TRUE
                     AND muted_by_mute IS NULL
                     AND muted_by_alert IS NULL
               ) AS "unacknowledged!"
           FROM blueteam.alert_history
           WHERE state = 'open'
              OR (acknowledged IS NOT TRUE AND muted_by_mute IS NULL AND muted_by_alert IS NULL)
           GROUP BY severity"#
    )
    .fetch_all(conn)
    .await?;

    let mut counts = Vec::with_capacity(rows.len());
    for row in rows {
        counts.push(AlertCount {
            severity: row
                .severity
                .parse()
                .map_err(|e| StoreError::corrupt("alert_history.severity", e))?,
            open: row.open.unsigned_abs(),
            unacknowledged: row.unacknowledged.unsigned_abs(),
        });
    }

    counts.sort_by_key(|c: &AlertCount| std::cmp::Reverse(c.severity));
    Ok(counts)
}

/// Incidents that are not closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct IncidentCount {
    /// All of them.
    pub open: u64,
    /// Those that touched CUI.
    pub cui: u64,
    /// Those that must be reported under DFARS 252.204-7012 and are not yet.
    pub dfars_unreported: u64,
    /// When the first of these was discovered; the report is due 72 hours later.
    pub dfars_since: Option<Timestamp>,
}

/// Counts the incidents that are not closed.
pub async fn incidents(conn: &mut PgConnection) -> Result<IncidentCount, StoreError> {
    let row = sqlx::query!(
        r#"SELECT
               count(*) AS "open!",
               count(*) FILTER (WHERE cui_involved) AS "cui!",
               (SELECT count(*) FROM blueteam.reports_due) AS "dfars!",
               (SELECT min(since) FROM blueteam.reports_due) AS "since: Ts"
           FROM blueteam.security_incidents
           WHERE status <> 'closed'"#
    )
    .fetch_one(conn)
    .await?;
    Ok(IncidentCount {
        open: row.open.unsigned_abs(),
        cui: row.cui.unsigned_abs(),
        dfars_unreported: row.dfars.unsigned_abs(),
        dfars_since: row.since.map(|t| t.0),
    })
}

/// How often a rule fired.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fired {
    /// The rule.
    pub rule_id: RuleId,
    /// Alerts in all.
    pub alerts: u64,
    /// Time of the latest event of the latest one.
    pub last: Option<Timestamp>,
}

/// How often each rule fired; rules that never did are left out.
pub async fn fired(conn: &mut PgConnection) -> Result<Vec<Fired>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT
               rule_id AS "rule_id!",
               count(*) AS "alerts!",
               max(coalesce(last_seen, created_at)) AS "last: Ts"
           FROM blueteam.alert_history
           WHERE rule_id IS NOT NULL
           GROUP BY rule_id
           ORDER BY rule_id"#
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| Fired {
            rule_id: RuleId(r.rule_id.into()),
            alerts: r.alerts.unsigned_abs(),
            last: r.last.map(|t| t.0),
        })
        .collect())
}
