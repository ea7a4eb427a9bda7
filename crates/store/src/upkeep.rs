//! Upkeep: what the database says about itself and about how it is looked after, and the statistics
//! that blueteam takes of its own tables.

use model::{Actor, Timestamp};
use serde::Serialize;
use sqlx::PgConnection;

use crate::StoreError;
use crate::db::{Ts, begin};

/// Samples are kept this many days: two years show how a year goes.
const SAMPLES_KEPT: i32 = 730;

/// A number of failed sign-ins or lockouts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FailureRow {
    /// `failed` or `locked`.
    pub kind: String,
    /// Of what: `all`, an `account` or an `address`.
    pub by: String,
    /// The account or address. Whoever tried to sign in chose the account.
    pub name: Option<String>,
    /// Of them, today.
    pub today: u64,
    /// Since the given time.
    pub week: u64,
    /// Addresses that tried the account, or accounts that were tried from the address.
    pub others: u64,
}

/// Failed sign-ins and lockouts since a time, with the `named` accounts and addresses that have the
/// most.
pub async fn sign_in_failures(
    conn: &mut PgConnection,
    since: Timestamp,
    today: Timestamp,
    named: u32,
) -> Result<Vec<FailureRow>, StoreError> {
    let rows = sqlx::query_file!(
        "src/upkeep/sign_in_failures.sql",
        Ts(since) as Ts,
        Ts(today) as Ts,
        i64::from(named)
    )
    .fetch_all(conn)
    .await?;

    Ok(rows
        .into_iter()
        .map(|r| FailureRow {
            kind: r.kind,
            by: r.by,
            name: r.name,
            today: r.today.unsigned_abs(),
            week: r.week.unsigned_abs(),
            others: r.others.unsigned_abs(),
        })
        .collect())
}

/// What `pg_stat_statements` has of this database, all statements together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StatementTotals {
    /// Why there is nothing.
    pub why: Option<String>,
    /// Calls of all statements.
    pub calls: u64,
    /// Mean time of a call in milliseconds; none without calls.
    pub mean_ms: Option<f64>,
    /// Statements that the owner of the schema may not see.
    pub hidden: u64,
    /// Since when it counts.
    pub since: Option<Timestamp>,
}

/// Returns the totals of `pg_stat_statements`.
pub async fn statement_totals(conn: &mut PgConnection) -> Result<StatementTotals, StoreError> {
    let row = sqlx::query!(
        r#"SELECT why, calls, mean_ms, hidden, since AS "since: Ts"
           FROM blueteam.statement_totals()"#
    )
    .fetch_one(conn)
    .await?;
    Ok(StatementTotals {
        why: row.why,
        calls: row.calls.unwrap_or(0).unsigned_abs(),
        mean_ms: row.mean_ms,
        hidden: row.hidden.unwrap_or(0).unsigned_abs(),
        since: row.since.map(|t| t.0),
    })
}

/// A statement of `pg_stat_statements`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Statement {
    /// Its text without literals and comments, clipped.
    pub statement: String,
    /// Calls.
    pub calls: u64,
    /// Mean time of a call in milliseconds.
    pub mean_ms: f64,
    /// The longest call in milliseconds.
    pub max_ms: f64,
}

/// The statements of this database that take longest on average. Only where
/// [`StatementTotals::why`] is none.
pub async fn slow_statements(
    conn: &mut PgConnection,
    most: i32,
) -> Result<Vec<Statement>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT
               statement AS "statement!", calls AS "calls!", mean_ms AS "mean_ms!",
               max_ms AS "max_ms!"
           FROM blueteam.slow_statements($1)"#,
        most
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| Statement {
            statement: r.statement,
            calls: r.calls.unsigned_abs(),
            mean_ms: r.mean_ms,
            max_ms: r.max_ms,
        })
        .collect())
}

/// An index that no query has used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UnusedIndex {
    /// Its name.
    pub name: String,
    /// Its table.
    pub table: String,
    /// Its size, with those of partitions.
    pub bytes: u64,
    /// Whether it keeps rows unique: it works without being used by a query.
    pub constrains: bool,
}

/// The largest indexes that no query has used since [`statistics_since`].
pub async fn unused_indexes(
    conn: &mut PgConnection,
    most: u32,
) -> Result<Vec<UnusedIndex>, StoreError> {
    let rows = sqlx::query_file!("src/upkeep/unused_indexes.sql", i64::from(most))
        .fetch_all(conn)
        .await?;
    Ok(rows
        .into_iter()
        .map(|r| UnusedIndex {
            name: r.name,
            table: r.table,
            bytes: r.bytes.unsigned_abs(),
            constrains: r.constrains,
        })
        .collect())
}

/// Since when the server counts the use of this database; `None` where it was never reset.
pub async fn statistics_since(conn: &mut PgConnection) -> Result<Option<Timestamp>, StoreError> {
    let at = sqlx::query_scalar!(
        r#"SELECT stats_reset AS "at: Ts"
           FROM pg_stat_database
           WHERE datname = current_database()"#
    )
    .fetch_optional(conn)
    .await?;
    Ok(at.flatten().map(|t| t.0))
}

/// A table with its size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TableSize {
    /// Its name.
    pub name: String,
    /// Its size with indexes and partitions.
    pub bytes: u64,
}

/// The largest tables.
pub async fn largest_tables(
    conn: &mut PgConnection,
    most: u32,
) -> Result<Vec<TableSize>, StoreError> {
    let rows = sqlx::query_file!("src/upkeep/largest_tables.sql", i64::from(most))
        .fetch_all(conn)
        .await?;
    Ok(rows
        .into_iter()
        .map(|r| TableSize {
            name: r.name,
            bytes: r.bytes.unsigned_abs(),
        })
        .collect())
}

/// The size of this database in bytes.
pub async fn database_bytes(conn: &mut PgConnection) -> Result<u64, StoreError> {
    let bytes = sqlx::query_scalar!("SELECT pg_database_size(current_database())")
        .fetch_one(conn)
        .await?;
    Ok(bytes.unwrap_or(0).unsigned_abs())
}

/// A row of `blueteam.size_samples`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SizeSample {
    /// When it was measured.
    pub at: Timestamp,
    /// The size of the database.
    pub database_bytes: u64,
    /// The disk that holds it, where that is known.
    pub disk: Option<Disk>,
}

/// How full a disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Disk {
    /// Bytes in use.
    pub used: u64,
    /// Bytes that can be used, with those in use.
    pub size: u64,
}

/// Keeps today's sample, unless there is one; returns whether it was kept.
pub async fn add_sample(
    conn: &mut PgConnection,
    now: Timestamp,
    disk: Option<Disk>,
) -> Result<bool, StoreError> {
    let to_i64 = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    let done = sqlx::query!(
        "INSERT INTO blueteam.size_samples (day, at, database_bytes, disk_used_bytes, disk_bytes)
         VALUES (
             ($1::timestamptz AT TIME ZONE 'UTC')::date, $1, pg_database_size(current_database()),
             $2, $3
         )
         ON CONFLICT DO NOTHING",
        Ts(now) as Ts,
        disk.map(|disk| to_i64(disk.used)),
        disk.map(|disk| to_i64(disk.size)),
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Forgets samples that are older than two years.
pub async fn forget_samples(conn: &mut PgConnection, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query!(
        "DELETE FROM blueteam.size_samples
         WHERE at < $1::timestamptz - make_interval(days => $2)",
        Ts(now) as Ts,
        SAMPLES_KEPT
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The samples since a time, the oldest first.
pub async fn samples(
    conn: &mut PgConnection,
    since: Timestamp,
) -> Result<Vec<SizeSample>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT at AS "at: Ts", database_bytes, disk_used_bytes, disk_bytes
           FROM blueteam.size_samples
           WHERE at >= $1
           ORDER BY at"#,
        Ts(since) as Ts
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| SizeSample {
            at: r.at.0,
            database_bytes: r.database_bytes.unsigned_abs(),
            disk: r
                .disk_used_bytes
                .zip(r.disk_bytes)
                .map(|(used, size)| Disk {
                    used: used.unsigned_abs(),
                    size: size.unsigned_abs(),
                }),
        })
        .collect())
}

/// An account that a person can sign in with, and what it lacks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PasswordState {
    /// Its name.
    pub username: String,
    /// Its password is older than the policy allows.
    pub is_past_age: bool,
    /// It has no second factor.
    pub has_no_factor: bool,
    /// Its next sign-in asks for another password.
    pub must_change: bool,
}

/// Every account that a person can sign in with.
pub async fn password_states(
    conn: &mut PgConnection,
    now: Timestamp,
) -> Result<Vec<PasswordState>, StoreError> {
    let rows = sqlx::query_file!("src/upkeep/passwords.sql", Ts(now) as Ts)
        .fetch_all(conn)
        .await?;
    Ok(rows
        .into_iter()
        .map(|r| PasswordState {
            username: r.username,
            is_past_age: r.is_past_age,
            has_no_factor: r.has_no_factor,
            must_change: r.must_change,
        })
        .collect())
}

/// What became of a rule's alerts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleRecord {
    /// The rule.
    pub rule_id: String,
    /// Its alerts.
    pub alerts: u64,
    /// Of them, acknowledged by a person.
    pub acknowledged: u64,
    /// Of them, not sent because of a silence.
    pub silenced: u64,
    /// Of them, part of an incident.
    pub in_incidents: u64,
    /// Of them, attacks by a person's verdict.
    pub true_positives: u64,
    /// Of them, expected or false by a person's verdict.
    pub noise: u64,
}

/// What became of the alerts since a time, by rule, those with the most alerts first.
pub async fn rules(
    conn: &mut PgConnection,
    since: Timestamp,
) -> Result<Vec<RuleRecord>, StoreError> {
    let rows = sqlx::query_file!("src/upkeep/rules.sql", Ts(since) as Ts)
        .fetch_all(conn)
        .await?;
    Ok(rows
        .into_iter()
        .map(|r| RuleRecord {
            rule_id: r.rule_id,
            alerts: r.alerts.unsigned_abs(),
            acknowledged: r.acknowledged.unsigned_abs(),
            silenced: r.silenced.unsigned_abs(),
            in_incidents: r.in_incidents.unsigned_abs(),
            true_positives: r.true_positives.unsigned_abs(),
            noise: r.noise.unsigned_abs(),
        })
        .collect())
}

/// How often somebody did something that the audit log keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuditCount {
    /// What.
    pub action: String,
    /// To what.
    pub resource: String,
    /// Who.
    pub actor: String,
    /// How often.
    pub times: u64,
}

/// The audit log since a time by action, resource and actor, the most frequent first.
pub async fn audit_counts(
    conn: &mut PgConnection,
    since: Timestamp,
) -> Result<Vec<AuditCount>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT action::text AS "action!", resource_type::text AS "resource!", actor,
                  count(*) AS "times!"
           FROM audit.audit_log
           WHERE created_at >= $1
           GROUP BY action, resource_type, actor
           ORDER BY 4 DESC, 1, 2, 3"#,
        Ts(since) as Ts
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| AuditCount {
            action: r.action,
            resource: r.resource,
            actor: r.actor,
            times: r.times.unsigned_abs(),
        })
        .collect())
}

/// A row of `blueteam.analyze_runs`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AnalyzeRun {
    /// When.
    pub at: Timestamp,
    /// Who had it done.
    pub done_by: String,
    /// Tables whose statistics are new since then.
    pub analyzed: u64,
    /// Tables that were locked, or are another owner's.
    pub skipped: Vec<String>,
}

/// When the statistics were last taken.
pub async fn last_analyze(conn: &mut PgConnection) -> Result<Option<AnalyzeRun>, StoreError> {
    let row = sqlx::query!(
        r#"SELECT at AS "at: Ts", done_by, analyzed, skipped
           FROM blueteam.analyze_runs
           ORDER BY at DESC
           LIMIT 1"#
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|r| AnalyzeRun {
        at: r.at.0,
        done_by: r.done_by,
        analyzed: u64::from(r.analyzed.unsigned_abs()),
        skipped: r.skipped,
    }))
}

/// Takes the statistics of blueteam's tables, each in a transaction of its own, and records that.
pub async fn analyze(conn: &mut PgConnection, actor: &Actor) -> Result<(), StoreError> {
    let tables =
        sqlx::query_scalar!(r#"SELECT name AS "name!" FROM blueteam.tables_to_analyze() AS name"#)
            .fetch_all(&mut *conn)
            .await?;

    let (mut analyzed, mut skipped) = (0, Vec::new());
    for table in tables {
        let done = sqlx::query_scalar!(r#"SELECT blueteam.analyze_table($1) AS "done!""#, table)
            .fetch_one(&mut *conn)
            .await?;
        if done {
            analyzed += 1;
        } else {
            skipped.push(table);
        }
    }

    let mut tx = begin(conn, actor).await?;
    sqlx::query!("SELECT blueteam.record_analyze($1, $2)", analyzed, &skipped)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(())
}

/// When a review of upkeep was last signed: `weekly_review` or `monthly_review`.
pub async fn last_signed(
    conn: &mut PgConnection,
    form: &str,
) -> Result<Option<Timestamp>, StoreError> {
    let at = sqlx::query_scalar!(
        r#"SELECT max(approved_at) AS "at: Ts"
           FROM blueteam.compliance_evidence
           WHERE form = $1 AND state = 'final'"#,
        form
    )
    .fetch_one(conn)
    .await?;
    Ok(at.map(|t| t.0))
}
