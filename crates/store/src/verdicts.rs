//! What people made of alerts.

use model::{Actor, AlertId, Timestamp, Verdict};
use sqlx::PgConnection;

use crate::StoreError;
use crate::db::{Ts, begin};

/// A verdict on an alert, and who gave it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Judged {
    /// What the alert turned out to be.
    pub verdict: Verdict,
    /// Why.
    pub note: Option<String>,
    /// Who says so.
    pub decided_by: String,
    /// Since when.
    pub decided_at: Timestamp,
}

/// Says what an alert turned out to be. Returns `false` when there is no such alert.
pub async fn judge(
    conn: &mut PgConnection,
    actor: &Actor,
    alert: AlertId,
    verdict: Verdict,
    note: Option<&str>,
) -> Result<bool, StoreError> {
    let mut tx = begin(conn, actor).await?;
    let found = sqlx::query_scalar!(
        r#"SELECT blueteam.judge_alert($1, $2, $3) AS "found!""#,
        alert.0,
        verdict.as_str(),
        note
    )
    .fetch_one(&mut *tx)
    .await?;

    tx.commit().await?;
    Ok(found)
}

/// Every verdict on an alert, the newest, which counts, first; at most 100.
pub async fn of_alert(conn: &mut PgConnection, alert: AlertId) -> Result<Vec<Judged>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT verdict, note, decided_by, decided_at AS "decided_at: Ts"
           FROM blueteam.alert_verdicts
           WHERE alert_id = $1
           ORDER BY verdict_id DESC
           LIMIT 100"#,
        alert.0
    )
    .fetch_all(conn)
    .await?;

    rows.into_iter()
        .map(|row| {
            let verdict = row.verdict.parse();
            Ok(Judged {
                verdict: verdict.map_err(|e| StoreError::corrupt("alert_verdicts.verdict", e))?,
                note: row.note,
                decided_by: row.decided_by,
                decided_at: row.decided_at.0,
            })
        })
        .collect()
}
