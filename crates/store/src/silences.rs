//! Silences, maintenance windows and exceptions.

use model::Actor;
use model::{RuleId, Silence, SilenceId, SilenceKind, SilenceScope, Timestamp};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::StoreError;
use crate::db::{Ts, begin};

struct Row {
    mute_id: Uuid,
    kind: String,
    rule_id: Option<String>,
    source: Option<String>,
    tenant: Option<Uuid>,
    entity: Option<String>,
    author: String,
    reason: String,
    ticket: Option<String>,
    starts_at: Ts,
    ends_at: Ts,
    ended_by: Option<String>,
}

impl TryFrom<Row> for Silence {
    type Error = StoreError;
    fn try_from(row: Row) -> Result<Self, StoreError> {
        let entity = row.entity.map(|text| {
            text.parse()
                .map_err(|e| StoreError::corrupt("silences.entity", e))
        });

        Ok(Self {
            mute_id: SilenceId(row.mute_id),
            kind: row
                .kind
                .parse::<SilenceKind>()
                .map_err(|e| StoreError::corrupt("silences.kind", e))?,
            scope: SilenceScope {
                rule_id: row.rule_id.map(|id| RuleId(id.into())),
                source: row.source,
                tenant: row.tenant,
                entity: entity.transpose()?,
            },
            author: row.author,
            reason: row.reason,
            ticket: row.ticket,
            starts_at: row.starts_at.0,
            ends_at: row.ends_at.0,
            ended_by: row.ended_by,
        })
    }
}

/// Writes a decision. Its author is the actor, whatever it says.
pub async fn add(
    conn: &mut PgConnection,
    actor: &Actor,
    silence: &Silence,
) -> Result<(), StoreError> {
    let mut tx = begin(conn, actor).await?;
    sqlx::query!(
        "INSERT INTO blueteam.silences (
             mute_id, kind, rule_id, source, entity, reason, ticket, starts_at, ends_at, tenant
         )
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        silence.mute_id.0,
        silence.kind.as_str(),
        silence.scope.rule_id.as_ref().map(RuleId::as_str),
        silence.scope.source,
        silence.scope.entity.as_ref().map(ToString::to_string),
        silence.reason,
        silence.ticket,
        Ts(silence.starts_at) as Ts,
        Ts(silence.ends_at) as Ts,
        silence.scope.tenant,
    )
    .execute(&mut *tx)
    .await?;

    tx.commit().await?;
    Ok(())
}

/// Ends a silence now. False when there is none of this id that has not ended already.
pub async fn end(
    conn: &mut PgConnection,
    actor: &Actor,
    id: SilenceId,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let mut tx = begin(conn, actor).await?;
    let done = sqlx::query!(
        "UPDATE blueteam.silences
         SET ends_at = $3, ended_by = $2
         WHERE mute_id = $1 AND ends_at > $3 AND ended_by IS NULL",
        id.0,
        actor.to_string(),
        Ts(now) as Ts
    )
    .execute(&mut *tx)
    .await?;

    tx.commit().await?;
    Ok(done.rows_affected() > 0)
}

/// The tenant's that end after `since`, the next to end first: with the present, what counts now or later.
pub async fn ending_after(
    conn: &mut PgConnection,
    since: Timestamp,
) -> Result<Vec<Silence>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT
               mute_id, kind, rule_id, source, tenant, entity, author, reason, ticket,
               starts_at AS "starts_at: Ts", ends_at AS "ends_at: Ts", ended_by
           FROM blueteam.silences
           WHERE ends_at > $1 AND tenant_id = (SELECT blueteam.tenant_of_new())
           ORDER BY ends_at, mute_id"#,
        Ts(since) as Ts
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Silence::try_from).collect()
}

/// Another number whenever a silence of any tenant is added, ended or over; cheap enough to be asked each second.
/// Not a time: transactions commit in another order than they begin.
pub async fn stamp(conn: &mut PgConnection) -> Result<i64, StoreError> {
    let stamp = sqlx::query_scalar!(
        r#"SELECT coalesce(
               bit_xor(hashtextextended(mute_id::text || (ended_by IS NOT NULL)::text, 0)),
               0
           ) AS "stamp!"
           FROM blueteam.silences
           WHERE ends_at > now()"#
    )
    .fetch_one(conn)
    .await?;
    Ok(stamp)
}

/// How many alerts a silence has kept quiet.
pub async fn muted_alerts(conn: &mut PgConnection, id: SilenceId) -> Result<u64, StoreError> {
    let count = sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM blueteam.alert_history WHERE muted_by_mute = $1"#,
        id.0
    )
    .fetch_one(conn)
    .await?;
    Ok(count.unsigned_abs())
}
