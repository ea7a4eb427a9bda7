//! Monitors: what each measured, since when it is over its threshold, and the measurements that
//! need the database.

use model::{Span, Timestamp};
use serde::Serialize;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::StoreError;
use crate::db::Ts;

/// A row of `blueteam.monitors`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Monitored {
    /// Its name.
    pub name: String,
    /// Whether it measures anything; else `detail` says why not.
    pub watched: bool,
    /// What it measured last, in its own unit; none: not watched, or worse than any number.
    pub value: Option<f64>,
    /// Above this it raises an alert.
    pub threshold: f64,
    /// What was seen, in words.
    pub detail: String,
    /// When.
    pub measured_at: Timestamp,
    /// Since when it is over its threshold, until it has been below for long enough.
    pub over_since: Option<Timestamp>,
    /// When it was over it last.
    pub last_over: Option<Timestamp>,
    /// Since when it is below again, while the alert is open.
    pub calm_since: Option<Timestamp>,
    /// The highest value since then.
    pub peak: Option<f64>,
    /// How often it was found over it since then.
    pub times_over: u64,
    /// The alert that says so.
    pub alert_id: Option<Uuid>,
}

/// All monitors that have ever measured, by name.
pub async fn list(conn: &mut PgConnection) -> Result<Vec<Monitored>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT
               name, watched, value, threshold, detail, measured_at AS "measured_at: Ts",
               over_since AS "over_since: Ts", last_over AS "last_over: Ts",
               calm_since AS "calm_since: Ts", peak, times_over, alert_id
           FROM blueteam.monitors
           ORDER BY name"#
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| Monitored {
            name: r.name,
            watched: r.watched,
            value: r.value,
            threshold: r.threshold,
            detail: r.detail,
            measured_at: r.measured_at.0,
            over_since: r.over_since.map(|t| t.0),
            last_over: r.last_over.map(|t| t.0),
            calm_since: r.calm_since.map(|t| t.0),
            peak: r.peak,
            times_over: r.times_over.unsigned_abs(),
            alert_id: r.alert_id,
        })
        .collect())
}

/// Keeps what a monitor says now, and its value where it watches.
pub async fn save(conn: &mut PgConnection, m: &Monitored) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO blueteam.monitors (
             name, watched, value, threshold, detail, measured_at, over_since, last_over,
             calm_since, peak, times_over, alert_id
         )
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
         ON CONFLICT (name) DO UPDATE
         SET
             watched = excluded.watched, value = excluded.value, threshold = excluded.threshold,
             detail = excluded.detail, measured_at = excluded.measured_at,
             over_since = excluded.over_since, last_over = excluded.last_over,
             calm_since = excluded.calm_since, peak = excluded.peak,
             times_over = excluded.times_over, alert_id = excluded.alert_id",
        m.name,
        m.watched,
        m.value,
        m.threshold,
        m.detail,
        Ts(m.measured_at) as Ts,
        m.over_since.map(Ts) as Option<Ts>,
        m.last_over.map(Ts) as Option<Ts>,
        m.calm_since.map(Ts) as Option<Ts>,
        m.peak,
        i64::try_from(m.times_over).unwrap_or(i64::MAX),
        m.alert_id,
    )
    .execute(&mut *conn)
    .await?;

    if m.watched {
        sqlx::query!(
            "INSERT INTO blueteam.monitor_values (name, at, value, over)
             VALUES ($1, $2, $3, $4)
             ON CONFLICT DO NOTHING",
            m.name,
            Ts(m.measured_at) as Ts,
            m.value,
            m.value.is_none_or(|value| value > m.threshold),
        )
        .execute(conn)
        .await?;
    }

    Ok(())
}

/// One measurement.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Value {
    /// When.
    pub at: Timestamp,
    /// What; none: worse than any number.
    pub value: Option<f64>,
    /// Whether that was over the threshold of then.
    pub over: bool,
}

/// The values of a monitor since a time, the oldest first, the highest of each step of time.
pub async fn history(
    conn: &mut PgConnection,
    name: &str,
    since: Timestamp,
    step: Span,
) -> Result<Vec<Value>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT
               to_timestamp(
                   floor(extract(epoch FROM at) / $3::double precision) * $3::double precision
               ) AS "at!: Ts",
               max(value) AS value,
               bool_or(over) AS "over!"
           FROM blueteam.monitor_values
           WHERE name = $1 AND at >= $2
           GROUP BY 1
           ORDER BY 1"#,
        name,
        Ts(since) as Ts,
        (step.as_micros() as f64 / 1e6).max(1.0)
    )
    .fetch_all(conn)
    .await?;

    Ok(rows
        .into_iter()
        .map(|r| Value {
            at: r.at.0,
            value: r.value,
            over: r.over,
        })
        .collect())
}

/// Forgets values from before a time.
pub async fn forget(conn: &mut PgConnection, before: Timestamp) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        "DELETE FROM blueteam.monitor_values WHERE at < $1",
        Ts(before) as Ts
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Which events count.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counted {
    /// Of this category alone, when it is said.
    pub category: Option<&'static str>,
    /// These actions.
    pub actions: &'static [&'static str],
    /// These too, where they did not succeed.
    pub failed: &'static [&'static str],
    /// These too, where PostgreSQL's own log has them.
    pub postgres: &'static [&'static str],
}

/// How many events there were in the busiest `window` that ends after `since`, by the events' own
/// times.
pub async fn busiest(
    conn: &mut PgConnection,
    counted: &Counted,
    window: Span,
    since: Timestamp,
) -> Result<u64, StoreError> {
    let texts = |list: &[&str]| {
        list.iter()
            .map(|text| (*text).to_owned())
            .collect::<Vec<_>>()
    };

    let most = sqlx::query_file_scalar!(
        "src/monitors/busiest_window.sql",
        counted.category,
        &texts(counted.actions),
        &texts(counted.failed),
        &texts(counted.postgres),
        Ts(since) as Ts,
        sqlx::postgres::types::PgInterval {
            months: 0,
            days: 0,
            microseconds: window.as_micros()
        },
    )
    .fetch_one(conn)
    .await?;

    Ok(most.unwrap_or(0).unsigned_abs())
}

/// Sessions of all databases, and how many there may be.
pub async fn connections(conn: &mut PgConnection) -> Result<(u64, u64), StoreError> {
    let row = sqlx::query!(
        r#"SELECT coalesce((SELECT sum(numbackends) FROM pg_stat_database), 0)::bigint AS "used!",
                  current_setting('max_connections')::bigint AS "most!""#
    )
    .fetch_one(conn)
    .await?;
    Ok((row.used.unsigned_abs(), row.most.unsigned_abs()))
}

/// Returns the queries that run now, of sessions other than blueteam's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Queries {
    /// For how long the longest runs already, in seconds.
    pub longest: f64,
    /// How many run for longer than is allowed.
    pub slow: u64,
    /// Sessions that could not be looked into, for lack of rights.
    pub hidden: u64,
}

/// Looks at the queries that run, in the moment; `limit` is in seconds.
pub async fn slow_queries(conn: &mut PgConnection, limit: f64) -> Result<Queries, StoreError> {
    let row = sqlx::query!(
        r#"SELECT longest AS "longest!", slow AS "slow!", hidden AS "hidden!"
           FROM blueteam.slow_queries($1)"#,
        limit
    )
    .fetch_one(conn)
    .await?;
    Ok(Queries {
        longest: row.longest,
        slow: row.slow.unsigned_abs(),
        hidden: row.hidden.unsigned_abs(),
    })
}

/// How the archiving of the write-ahead log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archiving {
    /// Whether there is any.
    pub on: bool,
    /// When it last succeeded.
    pub archived_at: Option<Timestamp>,
    /// When it last failed.
    pub failed_at: Option<Timestamp>,
    /// With which file.
    pub failed_file: Option<String>,
    /// Since when the server counts.
    pub counted_since: Option<Timestamp>,
}

/// How the archiving of the write-ahead log goes.
pub async fn archiving(conn: &mut PgConnection) -> Result<Archiving, StoreError> {
    let row = sqlx::query!(
        r#"SELECT
               current_setting('archive_mode') <> 'off' AS "on!",
               last_archived_time AS "archived: Ts",
               last_failed_time AS "failed: Ts",
               last_failed_wal,
               stats_reset AS "reset: Ts"
           FROM pg_stat_archiver"#
    )
    .fetch_one(conn)
    .await?;
    Ok(Archiving {
        on: row.on,
        archived_at: row.archived.map(|t| t.0),
        failed_at: row.failed.map(|t| t.0),
        failed_file: row.last_failed_wal,
        counted_since: row.reset.map(|t| t.0),
    })
}
