//! The score over time: a row of `posture_scores` whenever it changed, and one a day.

use model::Actor;
use model::Scored;
use serde_json::json;
use sqlx::PgConnection;

use crate::StoreError;
use crate::db::{Ts, begin};

/// Notes a score and the share of its range that it is, from 0 to 100, unless it is the last one and that is younger than a day. Returns whether it was
/// noted.
pub async fn note(
    conn: &mut PgConnection,
    actor: &Actor,
    scored: &Scored,
    share: Option<f64>,
) -> Result<bool, StoreError> {
    let details = json!({
        "kind": "dod_score", "points": scored.points, "met": scored.met, "not_met": scored.not_met, "open": scored.open
    });
    let mut tx = begin(conn, actor).await?;

    let done = sqlx::query!(
        "INSERT INTO blueteam.posture_scores (scored_at, compliance_score, details)
         SELECT $1, round($2::float8::numeric, 2), $3
         WHERE NOT EXISTS (
             SELECT
             FROM (
                 SELECT scored_at, details
                 FROM blueteam.posture_scores
                 WHERE details->>'kind' = 'dod_score'
                   AND tenant_id = (SELECT blueteam.tenant_of_new())
                 ORDER BY scored_at DESC
                 LIMIT 1
             ) last
             WHERE last.details = $3 AND last.scored_at > $1::timestamptz - interval '1 day'
         )",
        Ts(scored.at) as Ts,
        share,
        details
    )
    .execute(&mut *tx)
    .await?;

    tx.commit().await?;
    Ok(done.rows_affected() > 0)
}

/// Every score there was, the oldest first.
pub async fn all(conn: &mut PgConnection) -> Result<Vec<Scored>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT
               scored_at AS "at: Ts",
               (details->>'points')::integer AS points,
               (details->>'met')::integer AS "met!",
               (details->>'not_met')::integer AS "not_met!",
               (details->>'open')::integer AS "open!"
           FROM blueteam.posture_scores
           WHERE details->>'kind' = 'dod_score'
             AND tenant_id = (SELECT blueteam.tenant_of_new())
           ORDER BY scored_at, score_id"#
    )
    .fetch_all(conn)
    .await?;
    let few = |n: i32| u32::try_from(n).unwrap_or_default();
    Ok(rows
        .into_iter()
        .map(|r| Scored {
            at: r.at.0,
            points: r.points,
            met: few(r.met),
            not_met: few(r.not_met),
            open: few(r.open),
        })
        .collect())
}
