//! Connecting, migrating, logins, partitions, and the types that sqlx lacks.

use std::time::Duration;

use model::{Actor, Timestamp};
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{
    PgArgumentBuffer, PgConnectOptions, PgHasArrayType, PgPoolOptions, PgSslMode, PgTypeInfo,
    PgValueFormat, PgValueRef,
};
use sqlx::{
    AssertSqlSafe, Connection, Decode, Encode, PgConnection, PgPool, Postgres, Transaction, Type,
};

use crate::StoreError;

/// Microseconds from 1970-01-01 to 2000-01-01, PostgreSQL's epoch.
pub(crate) const PG_EPOCH_MICROS: i64 = 946_684_800_000_000;

/// A `timestamptz`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ts(pub(crate) Timestamp);

impl Type<Postgres> for Ts {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("TIMESTAMPTZ")
    }
}

impl PgHasArrayType for Ts {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("_timestamptz")
    }
}

impl Encode<'_, Postgres> for Ts {
    fn encode_by_ref(&self, buf: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        Encode::<Postgres>::encode_by_ref(&self.0.as_micros().saturating_sub(PG_EPOCH_MICROS), buf)
    }
}

impl<'r> Decode<'r, Postgres> for Ts {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        let at = match value.format() {
            PgValueFormat::Binary => Timestamp::from_micros(
                <i64 as Decode<Postgres>>::decode(value)?.saturating_add(PG_EPOCH_MICROS),
            ),
            PgValueFormat::Text => Timestamp::parse(value.as_str()?)?,
        };
        Ok(Self(at))
    }
}

/// How long a statement of blueteam waits for a lock. Any login may hold one for as long as it
/// likes, and no wait is endless.
const LOCK_WAIT: &str = "10s";
/// The same for connections of a pool, on which people's requests wait.
const POOL_LOCK_WAIT: &str = "2s";

/// A pool of at most `size` connections, which are made when they are needed and checked before
/// they are lent.
pub fn pool(options: PgConnectOptions, size: u32) -> PgPool {
    PgPoolOptions::new()
        .after_connect(|conn, _| {
            Box::pin(async move {
                sqlx::query("SELECT set_config('lock_timeout', $1, false)")
                    .bind(POOL_LOCK_WAIT)
                    .execute(conn)
                    .await?;
                Ok(())
            })
        })
        .max_connections(size)
        .acquire_timeout(Duration::from_secs(5))
        .idle_timeout(Duration::from_mins(5))
        .connect_lazy_with(options.application_name("blueteam"))
}

/// One connection.
pub async fn connect(options: &PgConnectOptions) -> Result<PgConnection, StoreError> {
    let mut conn =
        PgConnection::connect_with(&options.clone().application_name("blueteam")).await?;

    // Compiling a query takes the server a quarter of a second, and what a person asks for takes
    // less without.
    sqlx::query("SELECT set_config('jit', 'off', false), set_config('lock_timeout', $1, false)")
        .bind(LOCK_WAIT)
        .execute(&mut conn)
        .await?;

    Ok(conn)
}

/// Reads a `postgres://` URL. Over a network (3.13.8) the server must show a certificate for the
/// host of the URL (`verify-full`), unless the URL or `PGSSLMODE` says otherwise. TLS is always used.
pub fn parse_url(url: &str) -> Result<PgConnectOptions, StoreError> {
    let options: PgConnectOptions = url.parse()?;
    if is_local(&options) {
        return Ok(options);
    }

    Ok(match options.get_ssl_mode() {
        // The default, when no mode was given.
        PgSslMode::Prefer if !says_ssl_mode(url) => options.ssl_mode(PgSslMode::VerifyFull),
        PgSslMode::Disable | PgSslMode::Allow | PgSslMode::Prefer => {
            options.ssl_mode(PgSslMode::Require)
        }
        PgSslMode::Require | PgSslMode::VerifyCa | PgSslMode::VerifyFull => options,
    })
}

/// Whether somebody has chosen how the server is checked.
fn says_ssl_mode(url: &str) -> bool {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let of_url = query.split('&').any(|pair| {
        let name = pair.split('=').next().unwrap_or_default();
        matches!(name, "sslmode" | "ssl-mode")
    });
    of_url || std::env::var_os("PGSSLMODE").is_some()
}

/// What is not checked of a server over a network; none where everything is, or it is local.
pub fn unchecked_server(options: &PgConnectOptions) -> Option<&'static str> {
    match options.get_ssl_mode() {
        _ if is_local(options) => None,
        PgSslMode::VerifyFull => None,
        PgSslMode::VerifyCa => {
            Some("any certificate of the authority is taken (sslmode=verify-ca)")
        }
        PgSslMode::Disable | PgSslMode::Allow | PgSslMode::Prefer | PgSslMode::Require => {
            Some("any certificate is taken (sslmode=require)")
        }
    }
}

/// How to connect to a place where no server is: a socket's folder that does not exist.
pub fn unreachable(folder: &std::path::Path) -> PgConnectOptions {
    PgConnectOptions::new_without_pgpass().socket(folder)
}

/// Whether the server runs on this machine, as far as the address says.
pub fn is_local(options: &PgConnectOptions) -> bool {
    let host = options.get_host();
    let is_loopback = host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback());
    options.get_socket().is_some() || host.starts_with('/') || is_loopback
}

/// Makes a database, if it is missing.
pub async fn ensure_database(admin: &mut PgConnection, name: &str) -> Result<(), StoreError> {
    let exists: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
            .bind(name)
            .fetch_one(&mut *admin)
            .await?;
    if !exists {
        let sql: String = sqlx::query_scalar("SELECT format('CREATE DATABASE %I', $1::text)")
            .bind(name)
            .fetch_one(&mut *admin)
            .await?;
        sqlx::query(AssertSqlSafe(sql)).execute(admin).await?;
    }

    Ok(())
}

/// Makes a login with the given password and roles, or brings an existing one in line. For the
/// private cluster, whose logins are ours.
pub async fn ensure_login(
    conn: &mut PgConnection,
    login: &str,
    password: &str,
    roles: &[&str],
) -> Result<(), StoreError> {
    let mut tx = conn.begin().await?;
    // CREATE ROLE takes no parameters; the server does the quoting. The statement must not reach
    // its log.
    sqlx::query("SET LOCAL log_statement = 'none'")
        .execute(&mut *tx)
        .await?;

    // That it is a member already is no news.
    sqlx::query("SET LOCAL client_min_messages = 'error'")
        .execute(&mut *tx)
        .await?;
    let exists: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)")
            .bind(login)
            .fetch_one(&mut *tx)
            .await?;
    let verb = if exists { "ALTER" } else { "CREATE" };
    let sql: String = sqlx::query_scalar(
        "SELECT format('%s ROLE %I LOGIN PASSWORD %L', $1::text, $2::text, $3::text)",
    )
    .bind(verb)
    .bind(login)
    .bind(password)
    .fetch_one(&mut *tx)
    .await?;

    sqlx::query(AssertSqlSafe(sql)).execute(&mut *tx).await?;
    for role in roles {
        let sql: String = sqlx::query_scalar("SELECT format('GRANT %I TO %I', $1::text, $2::text)")
            .bind(*role)
            .bind(login)
            .fetch_one(&mut *tx)
            .await?;
        sqlx::query(AssertSqlSafe(sql)).execute(&mut *tx).await?;
    }

    tx.commit().await?;
    Ok(())
}

/// Makes the partitions of this month and the next `months` (at most 24); returns how many are new.
pub async fn ensure_partitions(conn: &mut PgConnection, months: u8) -> Result<u32, StoreError> {
    let made = sqlx::query_scalar!("SELECT blueteam.ensure_partitions($1)", i32::from(months))
        .fetch_one(conn)
        .await?;
    Ok(made.unwrap_or(0).unsigned_abs())
}

/// A transaction that sees one moment and writes nothing: for what is read by several queries and
/// must agree. Within a transaction it begins a savepoint, and the moment is that transaction's
/// ([`begin_for`]).
pub async fn snapshot(conn: &mut PgConnection) -> Result<Transaction<'_, Postgres>, StoreError> {
    if conn.is_in_transaction() {
        return Ok(conn.begin().await?);
    }

    Ok(conn
        .begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        .await?)
}

/// What a transaction sees of what others commit meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// The moment at which it began.
    Snapshot,
    /// For each statement the present.
    ReadCommitted,
}

/// Takes back everything that a transaction of [`begin_for`] has changed, and begins it again.
pub async fn start_over(conn: &mut PgConnection, actor: &Actor) -> Result<(), StoreError> {
    sqlx::query("ROLLBACK AND CHAIN")
        .execute(&mut *conn)
        .await?;
    set_actor(conn, actor).await
}

/// Takes a connection of a pool and begins a transaction on behalf of an actor, in which people's
/// roles see the rows of the actor's tenant and nothing else. The setting ends with the
/// transaction, so that whoever borrows the connection next has none.
pub async fn begin_for(
    pool: &PgPool,
    actor: &Actor,
    isolation: Isolation,
) -> Result<Transaction<'static, Postgres>, StoreError> {
    let statement = match isolation {
        Isolation::Snapshot => "BEGIN ISOLATION LEVEL REPEATABLE READ",
        Isolation::ReadCommitted => "BEGIN",
    };
    let mut tx = pool.begin_with(statement).await?;
    set_actor(&mut tx, actor).await?;
    Ok(tx)
}

/// Takes the exclusive right of that name until the end of the transaction, and waits for it as
/// long as for any lock. It is a row that only the engine's role may lock: an advisory lock could
/// be taken, and kept, by every login.
pub(crate) async fn take_exclusively(
    conn: &mut PgConnection,
    name: &str,
) -> Result<(), StoreError> {
    let row = sqlx::query_scalar!(
        "SELECT name FROM blueteam.exclusive_rights WHERE name = $1 FOR UPDATE",
        name
    );
    match row.fetch_optional(conn).await? {
        Some(_) => Ok(()),
        None => Err(StoreError::Missing(
            "blueteam.exclusive_rights",
            name.to_owned(),
        )),
    }
}

/// Begins a transaction on behalf of an actor: what it changes is theirs in `audit.audit_log`, with
/// the address, program and session that they act from. The one way to begin a transaction that
/// changes what people own. Inside another transaction it begins a savepoint.
pub async fn begin<'c>(
    conn: &'c mut PgConnection,
    actor: &Actor,
) -> Result<Transaction<'c, Postgres>, StoreError> {
    let mut tx = conn.begin().await?;
    set_actor(&mut tx, actor).await?;
    Ok(tx)
}

/// Says who acts, until the end of the transaction; `audit.record_change()` reads it.
pub(crate) async fn set_actor(conn: &mut PgConnection, actor: &Actor) -> Result<(), StoreError> {
    let origin = &actor.origin;
    sqlx::query_scalar!(
        "SELECT ARRAY [
             set_config('blueteam.actor', $1, true),
             set_config('blueteam.via', $2, true),
             set_config('blueteam.tenant',
                        coalesce($3, current_setting('blueteam.tenant', true), ''), true),
             set_config('blueteam.address', $4, true),
             set_config('blueteam.user_agent', $5, true),
             set_config('blueteam.session', $6, true),
             set_config('blueteam.host', $7, true),
             set_config('blueteam.terminal', $8, true),
             set_config('blueteam.account', $9, true),
             set_config('blueteam.on_behalf_of', $10, true)
         ]",
        storable_text(&actor.name),
        actor.via.as_str(),
        actor.tenant.map(|tenant| tenant.to_string()),
        optional_text(origin.address.as_deref()),
        optional_text(origin.user_agent.as_deref()),
        optional_text(origin.session.as_deref()),
        optional_text(origin.host.as_deref()),
        optional_text(origin.terminal.as_deref()),
        optional_text(origin.account.as_deref()),
        optional_text(actor.on_behalf_of.as_deref()),
    )
    .fetch_one(conn)
    .await?;
    Ok(())
}

/// The most bytes of one of these values: a client chooses some of them.
const ORIGIN_MAX: usize = 500;

/// A value as a setting takes it: without NUL, and bounded.
fn storable_text(value: &str) -> String {
    model::text::clip(value, ORIGIN_MAX).replace('\0', "<U+0000>")
}

/// The same; empty for none.
fn optional_text(value: Option<&str>) -> String {
    value.map(storable_text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_over_a_network_is_checked_unless_somebody_chose_otherwise() {
        for (url, mode, is_checked) in [
            ("postgres://db.example/x", "VerifyFull", true),
            (
                "postgres://db.example/x?application_name=sslmode",
                "VerifyFull",
                true,
            ),
            (
                "postgres://db.example/x?sslmode=verify-full",
                "VerifyFull",
                true,
            ),
            (
                "postgres://db.example/x?sslmode=verify-ca",
                "VerifyCa",
                false,
            ),
            ("postgres://db.example/x?sslmode=require", "Require", false),
            // In the clear it goes nowhere.
            ("postgres://db.example/x?sslmode=disable", "Require", false),
            ("postgres://db.example/x?sslmode=prefer", "Require", false),
            ("postgres://localhost/x", "Prefer", true),
            ("postgres:///x?host=/run/postgresql", "Prefer", true),
            ("postgres://127.0.0.1/x?sslmode=disable", "Disable", true),
        ] {
            let options = parse_url(url).unwrap();
            assert_eq!(format!("{:?}", options.get_ssl_mode()), mode, "{url}");
            assert_eq!(unchecked_server(&options).is_none(), is_checked, "{url}");
        }
    }
}
