//! Bringing the schema up to date beside applications that write.
//!
//! Invariants, on any table that an application may use:
//! - Nobody waits for long. A lock is waited for [`LOCK_WAIT`] at most, because whoever comes later
//!   queues behind the one who waits; then the migration is rolled back, pauses and tries again,
//!   until [`Patience`] ends.
//! - A migration is one message to the server, from BEGIN to COMMIT: a client that stalls or dies
//!   holds no lock.
//! - What the login lacks is found before the first statement, and said as the statements to run.

mod needs;
mod outlook;

pub use outlook::{Outlook, outlook};

use std::fmt::{self, Display};
use std::time::Duration;

use sqlx::migrate::{Migrate as _, MigrateError, Migration, Migrator};
use sqlx::{AssertSqlSafe, Executor as _, PgConnection};
use tokio::time::Instant;

use crate::StoreError;

/// The schema, forward only.
pub static MIGRATOR: Migrator = sqlx::migrate!("./migrations");

/// How long a statement waits for a lock, and with it everybody who queues behind it.
const LOCK_WAIT: Duration = Duration::from_millis(200);
/// Between two attempts those who queued get on with their work.
const PAUSE: Duration = Duration::from_secs(1);
/// How long the index build waits for old transactions to end; nobody queues behind it.
const INDEX_WAIT: Duration = Duration::from_mins(1);
/// How long an attempt waits for a vacuum to give way, which takes `deadlock_timeout` (1 s). Nobody
/// queues behind this.
const VACUUM_WAIT: Duration = Duration::from_secs(5);

/// The last migration that the first version of a table needs: up to here roles and schemas are
/// made.
const BASE: i64 = 8;

/// The migration that makes the documents' tables where they are missing.
const TABLES: i64 = 3;

/// Checksums of migrations as they were before 0053. They made the same schema in a way that
/// applications noticed, so they were changed; databases that they migrated are up to date.
const REPLACED: [(i64, &str); 2] = [
    (
        2,
        "7c1bc743a85d29a2659522e6b1fb3e57972a8022414726281ee6993801c315c3a80cb342098fb37937366619f460ff2b",
    ),
    (
        7,
        "374ca36b296cb4b313909c5443af072b8260f3e0e24beb6d4c3bc2cca1f65ea8e4699625bbb9eb5a8b36e17ad1009612",
    ),
];

/// How long to try for locks before giving up.
#[derive(Clone, Copy, Debug)]
pub struct Patience(pub Duration);

impl Default for Patience {
    fn default() -> Self {
        Self(Duration::from_mins(5))
    }
}

/// Why migrating stopped. Each says how to go on.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// The login lacks rights. Nothing was changed.
    #[error("{0}")]
    Lacking(Lacking),
    /// The table of audit events is of a kind that cannot be adopted. Nothing was changed.
    #[error("cannot adopt public.audit_events: {0}; nothing was changed")]
    Unadoptable(&'static str),
    /// Other sessions held locks for too long.
    #[error("{0}")]
    Blocked(Blocked),
    /// The server refused a statement. What came before is in place, and nothing of this migration
    /// is.
    #[error(
        "migration {version} ({description}) failed and was rolled back: {error}; applications \
            can write audit events as \
         before. Remove the cause and run `blueteam migrate` again, which goes on from there"
    )]
    Failed {
        /// Its number.
        version: i64,
        /// Its name.
        description: String,
        /// What the server said.
        error: sqlx::Error,
    },
    /// The index for reading an adopted table could not be built. All migrations are in place.
    #[error(
        "cannot build the index on audit_events: {0}; applications can write audit events. Remove \
            the cause and run \
         `blueteam migrate` again, which builds it"
    )]
    Index(sqlx::Error),
}

/// What a login lacks to migrate.
#[derive(Debug)]
pub struct Lacking {
    /// The login.
    pub login: String,
    /// Who owns the schema, when that is another login: it migrates, and this one need not.
    pub owner: Option<String>,
    /// What a superuser has to run.
    pub statements: Vec<String>,
}

impl Display for Lacking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            login,
            owner,
            statements,
        } = self;
        write!(
            f,
            "the login {login:?} lacks rights, and nothing was changed. "
        )?;

        if let Some(owner) = owner {
            write!(
                f,
                "The schema belongs to {owner:?}: run `blueteam migrate` once with a DATABASE_URL \
                    of that login (`DATABASE_URL=postgres://{owner}@HOST/DATABASE blueteam \
                    migrate`). Only if {login:?} is to own it instead, run"
            )?;
        } else {
            f.write_str("Run")?;
        }

        f.write_str(
            " these in this database as a superuser, then `blueteam migrate` again:\n\n    SET \
                lock_timeout = '500ms';",
        )?;
        statements
            .iter()
            .try_for_each(|statement| write!(f, "\n    {statement}"))?;

        f.write_str("\n")
    }
}

/// Who held the locks that a migration needs.
#[derive(Debug)]
pub struct Blocked {
    /// What could not be done.
    pub what: String,
    /// How long it was tried.
    pub tried: Duration,
    /// The sessions, longest transaction first.
    pub holders: Vec<Holder>,
}

impl Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} got no lock within {} s",
            self.what,
            self.tried.as_secs()
        )?;

        for (n, holder) in self.holders.iter().enumerate() {
            write!(f, "{} {holder}", if n == 0 { ": held by" } else { ", by" })?;
        }

        f.write_str(
            "; nothing of it was changed, and applications can write audit events as before. End \
                that transaction (SELECT \
             pg_terminate_backend(pid)) or wait for it, then run `blueteam migrate` again, which \
             goes on from there",
        )
    }
}

/// A session, or a prepared transaction, that holds a lock.
#[derive(Debug, sqlx::FromRow)]
pub struct Holder {
    /// Its process; 0 for a prepared transaction.
    pub pid: i32,
    /// Its login.
    pub login: String,
    /// What it calls itself.
    pub application: String,
    /// The name of a prepared transaction.
    pub prepared: String,
    /// When its transaction began, where this login may see it.
    pub since: Option<String>,
    /// What it has locked.
    pub tables: String,
    /// Whether it is (also) a vacuum or the like, which gives way to those who wait long enough.
    maintenance: bool,
}

impl Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pid == 0 {
            write!(
                f,
                "the prepared transaction {:?} of {:?}",
                self.prepared, self.login
            )?;
        } else {
            write!(
                f,
                "pid {} ({:?}, application {:?})",
                self.pid, self.login, self.application
            )?;
        }

        if let Some(since) = &self.since {
            write!(f, ", in a transaction since {since}")?;
        }

        write!(f, ", on {}", self.tables)
    }
}

/// A migration that is about to be applied.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// Its place among those that are applied, from 1.
    pub number: usize,
    /// How many are applied.
    pub of: usize,
    /// Its number.
    pub version: i64,
    /// What it does, in a few words.
    pub description: &'a str,
}

/// Brings the schema up to date; does nothing when it is. The login must own the database's
/// objects, or be a superuser.
pub async fn migrate(conn: &mut PgConnection) -> Result<(), StoreError> {
    migrate_within(conn, Patience::default(), &mut |_| {}).await
}

/// The same, with another limit to waiting for locks; calls `on_step` before each migration.
pub async fn migrate_within(
    conn: &mut PgConnection,
    patience: Patience,
    on_step: &mut (dyn FnMut(Step<'_>) + Send),
) -> Result<(), StoreError> {
    // Migrations drop what may not exist and skip what does; the server's notices about that are
    // noise.
    conn.execute("SET client_min_messages = warning; SET statement_timeout = 0")
        .await?;
    lock_out_others(conn, patience).await?;
    let result = run_migrations(conn, Instant::now() + patience.0, patience, on_step).await;

    // A connection that broke gave its locks back, and why it broke is the better error.
    let unlocked = conn.unlock().await;
    let reset = conn
        .execute("RESET client_min_messages; RESET statement_timeout; RESET lock_timeout")
        .await;
    result?;
    unlocked?;
    reset?;

    Ok(())
}

/// Takes the lock that lets one program migrate at a time. Anybody may take such a lock, so it is
/// not waited for without end.
async fn lock_out_others(conn: &mut PgConnection, patience: Patience) -> Result<(), StoreError> {
    let wait = patience.0.as_millis();
    conn.execute(AssertSqlSafe(format!("SET lock_timeout = {wait}")))
        .await?;
    let locked = conn.lock().await;
    conn.execute("RESET lock_timeout").await?;

    match locked {
        Err(MigrateError::Execute(error)) if is_lock(&error) => {
            let holders = sqlx::query_as(include_str!("lock_holders.sql"))
                .fetch_all(&mut *conn)
                .await?;
            Err(MigrationError::Blocked(Blocked {
                what: "the lock of migrations".to_owned(),
                tried: patience.0,
                holders,
            })
            .into())
        }
        locked => Ok(locked?),
    }
}

async fn run_migrations(
    conn: &mut PgConnection,
    deadline: Instant,
    patience: Patience,
    on_step: &mut (dyn FnMut(Step<'_>) + Send),
) -> Result<(), StoreError> {
    let pending = pending_migrations(conn).await?;
    let base = pending.first().is_some_and(|first| first.version <= BASE);
    if !pending.is_empty() {
        give_back_inserts(conn, &pending).await?;
        needs::check(
            conn,
            base,
            pending.iter().any(|migration| migration.version == 2),
        )
        .await?;
        conn.ensure_migrations_table(&MIGRATOR.table_name).await?;
    }

    if base {
        sqlx::raw_sql(include_str!("roles.sql"))
            .execute(&mut *conn)
            .await?;
    }

    if pending.iter().any(|migration| migration.version == TABLES) {
        complete_tables(conn).await?;
    }

    let of = pending.len();
    for (before, migration) in pending.into_iter().enumerate() {
        on_step(Step {
            number: before + 1,
            of,
            version: migration.version,
            description: &migration.description,
        });
        apply_migration(conn, migration, deadline, patience).await?;
    }

    index_arrivals(conn, deadline, patience).await
}

/// Whether the database has every migration that this program knows. Asks only, so that a login
/// that owns nothing may.
pub async fn is_current(conn: &mut PgConnection) -> Result<bool, StoreError> {
    let pending = pending_migrations(&mut *conn).await?;
    Ok(pending.is_empty() && arrivals_index(conn).await?.is_usable())
}

/// The number of the newest migration that this program knows.
pub(crate) fn newest_migration() -> i64 {
    MIGRATOR.iter().map(|one| one.version).max().unwrap_or(0)
}

/// The migrations that the database does not have, in order. Refuses a database of a newer program.
async fn pending_migrations(
    conn: &mut PgConnection,
) -> Result<Vec<&'static Migration>, StoreError> {
    let table = &MIGRATOR.table_name;
    let exists: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
        .bind(&**table)
        .fetch_one(&mut *conn)
        .await?;
    if !exists {
        return Ok(MIGRATOR.iter().collect());
    }

    if let Some(version) = conn.dirty_version(table).await? {
        return Err(MigrateError::Dirty(version).into());
    }

    let applied = conn.list_applied_migrations(table).await?;
    for one in &applied {
        let Some(known) = MIGRATOR.iter().find(|known| known.version == one.version) else {
            return Err(MigrateError::VersionMissing(one.version).into());
        };
        if known.checksum != one.checksum && !is_replaced(one.version, &one.checksum) {
            return Err(MigrateError::VersionMismatch(one.version).into());
        }
    }

    Ok(MIGRATOR
        .iter()
        .filter(|known| !applied.iter().any(|one| one.version == known.version))
        .collect())
}

/// Whether this is the checksum of a migration as it was before it was changed.
fn is_replaced(version: i64, checksum: &[u8]) -> bool {
    REPLACED
        .iter()
        .any(|(replaced, hex)| *replaced == version && *hex == to_hex(checksum))
}

fn to_hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(2 * bytes.len()), |mut hex, byte| {
            let digit = |value: u8| char::from_digit(value.into(), 16).unwrap_or_default();
            hex.extend([digit(byte >> 4), digit(byte & 15)]);
            hex
        })
}

/// Adds the columns that the documents' tables lack where they were made another way, as the
/// design lists them without their columns: all or none, before the migrations that need them.
async fn complete_tables(conn: &mut PgConnection) -> Result<(), StoreError> {
    let statements: Vec<String> = sqlx::query_scalar(include_str!("documented_columns.sql"))
        .fetch_all(&mut *conn)
        .await?;
    if statements.is_empty() {
        return Ok(());
    }

    let script = format!(
        "BEGIN; SET LOCAL lock_timeout = {}; {} COMMIT",
        VACUUM_WAIT.as_millis(),
        statements.join("\n")
    );
    let done = conn.execute(sqlx::raw_sql(AssertSqlSafe(script))).await;
    if let Err(error) = done {
        drop(conn.execute("ROLLBACK").await);
        return Err(MigrationError::Failed {
            version: TABLES,
            description: "columns of tables that were there".to_owned(),
            error,
        }
        .into());
    }

    Ok(())
}

/// Mends what an earlier version broke: its migration 2 took the application's right to insert,
/// which its migration 8 gave back, if it came to that.
async fn give_back_inserts(
    conn: &mut PgConnection,
    pending: &[&Migration],
) -> Result<(), StoreError> {
    let is_pending = |version| pending.iter().any(|migration| migration.version == version);
    if is_pending(2) || !is_pending(BASE) {
        return Ok(());
    }

    let grant = "DO $$ BEGIN
        GRANT INSERT (
            event_id, timestamp, category, action, result, user_id, session_id, ip_address,
            user_agent, resource_type, resource_id, instance_id, cui_accessed, metadata
        ) ON public.audit_events TO eqmon_audit_writer;
        -- Whoever may not grant is told what is lacking next.
        EXCEPTION WHEN insufficient_privilege THEN NULL;
    END $$";
    conn.execute(grant).await?;

    Ok(())
}

/// Applies one migration and notes it, in one transaction that is one message.
async fn apply_migration(
    conn: &mut PgConnection,
    migration: &Migration,
    deadline: Instant,
    patience: Patience,
) -> Result<(), StoreError> {
    let record = format!(
        r"INSERT INTO {} (version, description, success, checksum, execution_time)
           VALUES (
               {},
               '{}',
               true,
               '\x{}',
               (extract(epoch FROM clock_timestamp() - now()) * 1e9)::bigint
           )",
        MIGRATOR.table_name,
        migration.version,
        migration.description.replace('\'', "''"),
        to_hex(&migration.checksum),
    );

    let sql = migration.sql.as_str();
    let mut vacuumed = Vec::new();
    loop {
        let prelude = vacuum_gives_way(&vacuumed);
        let wait = LOCK_WAIT.as_millis();
        let script =
            format!("BEGIN; {prelude} SET LOCAL lock_timeout = {wait};\n{sql}\n;{record}; COMMIT");
        let Err(error) = conn.execute(sqlx::raw_sql(AssertSqlSafe(script))).await else {
            return Ok(());
        };

        // On a broken connection there is nothing to roll back, and the first error says more.
        drop(conn.execute("ROLLBACK").await);
        if !matches!(error, sqlx::Error::Database(_)) {
            return Err(error.into());
        }

        if !is_lock(&error) {
            let (version, description) = (migration.version, migration.description.to_string());
            return Err(MigrationError::Failed {
                version,
                description,
                error,
            }
            .into());
        }

        let what = format!(
            "migration {} ({})",
            migration.version, migration.description
        );
        vacuumed = pause_writers(conn, what, deadline, patience).await?;
    }
}

/// Takes the locks for which a vacuum stops. It stops for whoever has waited for
/// `deadlock_timeout`, which the wait for a lock that keeps writers out must not last; this lock
/// keeps nobody out but vacuums.
fn vacuum_gives_way(tables: &[String]) -> String {
    if tables.is_empty() {
        return String::new();
    }
    format!(
        "SET LOCAL lock_timeout = {}; LOCK TABLE {} IN SHARE UPDATE EXCLUSIVE MODE;",
        VACUUM_WAIT.as_millis(),
        tables.join(", ")
    )
}

/// After a lock that did not come: waits a little, or gives up and names who holds it. Returns the
/// tables under vacuum.
async fn pause_writers(
    conn: &mut PgConnection,
    what: String,
    deadline: Instant,
    patience: Patience,
) -> Result<Vec<String>, StoreError> {
    let holders: Vec<Holder> = sqlx::query_as(include_str!("blockers.sql"))
        .fetch_all(&mut *conn)
        .await?;
    if Instant::now() + PAUSE >= deadline {
        return Err(MigrationError::Blocked(Blocked {
            what,
            tried: patience.0,
            holders,
        })
        .into());
    }

    tokio::time::sleep(PAUSE).await;
    let under_vacuum = holders.into_iter().filter(|holder| holder.maintenance);
    Ok(under_vacuum
        .flat_map(|holder| {
            holder
                .tables
                .split(", ")
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .collect())
}

/// Whether a lock did not come in time, or waiting for it would never have ended.
fn is_lock(error: &sqlx::Error) -> bool {
    let code = error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code);
    matches!(code.as_deref(), Some("55P03" | "40P01"))
}

/// Builds the reader's index on an adopted table. Writers go on meanwhile, which takes more than
/// one transaction: a build that was cut short leaves an index that is not valid, and the next one
/// starts over.
async fn index_arrivals(
    conn: &mut PgConnection,
    deadline: Instant,
    patience: Patience,
) -> Result<(), StoreError> {
    loop {
        let statement = match arrivals_index(conn).await? {
            ArrivalsIndex::NotNeeded | ArrivalsIndex::Valid => return Ok(()),
            ArrivalsIndex::Invalid => "DROP INDEX CONCURRENTLY public.idx_audit_xact",
            ArrivalsIndex::Missing => {
                "CREATE INDEX CONCURRENTLY idx_audit_xact ON public.audit_events (xact_id)"
            }
        };

        let wait = INDEX_WAIT
            .min(deadline.saturating_duration_since(Instant::now()))
            .max(LOCK_WAIT);
        conn.execute(AssertSqlSafe(format!(
            "SET lock_timeout = {}",
            wait.as_millis()
        )))
        .await?;

        match conn.execute(statement).await {
            Ok(_) => {}
            Err(error) if is_lock(&error) => {
                pause_writers(
                    conn,
                    "building the index on audit_events".to_owned(),
                    deadline,
                    patience,
                )
                .await?;
            }
            Err(error) => return Err(MigrationError::Index(error).into()),
        }
    }
}

/// The reader's index on an adopted table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ArrivalsIndex {
    /// The table is partitioned, and has it by a migration.
    NotNeeded,
    Valid,
    /// A build was cut short.
    Invalid,
    Missing,
}

impl ArrivalsIndex {
    const fn is_usable(self) -> bool {
        matches!(self, Self::NotNeeded | Self::Valid)
    }
}

async fn arrivals_index(conn: &mut PgConnection) -> Result<ArrivalsIndex, StoreError> {
    let state = "SELECT (
             SELECT i.indisvalid
             FROM pg_index i
             JOIN pg_class n ON n.oid = i.indexrelid
             WHERE i.indrelid = c.oid AND n.relname = 'idx_audit_xact'
         )
         FROM pg_class c
         WHERE c.oid = to_regclass('public.audit_events') AND c.relkind = 'r'";
    let valid: Option<Option<bool>> = sqlx::query_scalar(state).fetch_optional(conn).await?;

    Ok(match valid {
        None => ArrivalsIndex::NotNeeded,
        Some(Some(true)) => ArrivalsIndex::Valid,
        Some(Some(false)) => ArrivalsIndex::Invalid,
        Some(None) => ArrivalsIndex::Missing,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_checksums_are_accepted_for_the_migrations_that_were_changed_only() {
        for (version, hex) in REPLACED {
            let old: Vec<u8> = (0..hex.len() / 2)
                .map(|n| u8::from_str_radix(&hex[2 * n..2 * n + 2], 16).unwrap())
                .collect();
            assert!(is_replaced(version, &old));
            assert!(!is_replaced(version + 1, &old) && !is_replaced(version, &old[1..]));

            let now = MIGRATOR
                .iter()
                .find(|migration| migration.version == version)
                .unwrap();
            assert_ne!(
                *now.checksum, *old,
                "migration {version} is as it was; remove it from REPLACED"
            );
        }
    }
}
