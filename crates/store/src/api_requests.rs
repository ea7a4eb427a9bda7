//! What the API keeps of requests: answers for those that are sent again, and what has left.

use model::Actor;
use serde_json::Value;
use sqlx::PgConnection;

use crate::StoreError;
use crate::db::begin;

/// A request that may be sent again.
#[derive(Clone, Copy, Debug)]
pub struct Repeatable<'a> {
    /// Who sends it: the name of the account.
    pub person: &'a str,
    /// Method and path.
    pub route: &'a str,
    /// What they call it.
    pub key: &'a str,
    /// SHA-256 of its body.
    pub body_sha256: &'a [u8],
}

/// An answer that was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// Its status.
    pub status: u16,
    /// Its media type; none without a body.
    pub content_type: Option<String>,
    /// Its body.
    pub body: String,
}

/// What is known of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It is new, and now in flight.
    New,
    /// It is in flight, or nobody knows what became of it.
    InFlight,
    /// Another one was sent by that name.
    Other,
    /// It was answered.
    Answered(Answered),
    /// The person has too many.
    TooMany,
}

/// The most requests of a person that are remembered.
const OF_PERSON: i64 = 10_000;

/// Claims a request, once within 24 hours.
pub async fn claim(
    conn: &mut PgConnection,
    actor: &Actor,
    request: &Repeatable<'_>,
) -> Result<Claim, StoreError> {
    let mut tx = begin(conn, actor).await?;
    sqlx::query!(
        "DELETE FROM users.idempotency_keys WHERE created_at < now() - interval '24 hours'"
    )
    .execute(&mut *tx)
    .await?;
    let kept = sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM users.idempotency_keys WHERE person = $1"#,
        request.person
    )
    .fetch_one(&mut *tx)
    .await?;
    if kept >= OF_PERSON {
        return Ok(Claim::TooMany);
    }

    let done = sqlx::query!(
        "INSERT INTO users.idempotency_keys (person, route, key, body_sha256)
         VALUES ($1, $2, $3, $4)
         ON CONFLICT (person, route, key) DO NOTHING",
        request.person,
        request.route,
        request.key,
        request.body_sha256
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    if done.rows_affected() == 1 {
        return Ok(Claim::New);
    }

    let row = sqlx::query!(
        "SELECT body_sha256, status, content_type, body
         FROM users.idempotency_keys
         WHERE person = $1 AND route = $2 AND key = $3",
        request.person,
        request.route,
        request.key
    )
    .fetch_optional(conn)
    .await?;
    Ok(match row {
        Some(row) if row.body_sha256 != request.body_sha256 => Claim::Other,
        Some(row) => row.status.map_or(Claim::InFlight, |status| {
            Claim::Answered(Answered {
                status: status.unsigned_abs(),
                content_type: row.content_type,
                body: row.body.unwrap_or_default(),
            })
        }),
        // Released meanwhile: whoever asks next claims it.
        None => Claim::InFlight,
    })
}

/// Keeps the answer to a claimed request.
pub async fn keep_answer(
    conn: &mut PgConnection,
    request: &Repeatable<'_>,
    answer: &Answered,
) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE users.idempotency_keys
         SET status = $4, content_type = $5, body = $6
         WHERE person = $1 AND route = $2 AND key = $3",
        request.person,
        request.route,
        request.key,
        i16::try_from(answer.status).unwrap_or(i16::MAX),
        answer.content_type,
        answer.body
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets a claimed request that changed nothing, so that it can be sent again.
pub async fn release(conn: &mut PgConnection, request: &Repeatable<'_>) -> Result<(), StoreError> {
    sqlx::query!(
        "DELETE FROM users.idempotency_keys
         WHERE person = $1 AND route = $2 AND key = $3 AND status IS NULL",
        request.person,
        request.route,
        request.key
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Records that a list or report leaves: `EXPORT` in the audit log.
pub async fn record_export(
    conn: &mut PgConnection,
    actor: &Actor,
    resource: &str,
    what: &Value,
) -> Result<(), StoreError> {
    let mut tx = begin(conn, actor).await?;
    sqlx::query!("SELECT audit.record_export($1, $2)", resource, what)
        .execute(&mut *tx)
        .await?;

    tx.commit().await?;
    Ok(())
}

/// Records that a file of blueteam's own was replaced: `UPDATE` in the audit log.
pub async fn record_import(
    conn: &mut PgConnection,
    actor: &Actor,
    what: &Value,
) -> Result<(), StoreError> {
    let mut tx = begin(conn, actor).await?;
    sqlx::query!("SELECT audit.record_import($1)", what)
        .execute(&mut *tx)
        .await?;

    tx.commit().await?;
    Ok(())
}
