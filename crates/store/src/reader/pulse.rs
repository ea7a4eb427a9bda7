//! The reader's sign of life in the database, for those who judge from the database alone.

use model::Timestamp;
use sqlx::PgConnection;

use crate::StoreError;
use crate::db::Ts;

/// Whether and when a reader reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pulse {
    /// When it last said so; none when no reader of that name has ever run.
    pub beat_at: Option<Timestamp>,
    /// A connection holds the right to read now. It ends with the reader's process, whether that
    /// was stopped or killed.
    pub held: bool,
}

/// Says that the reader of that name reads.
pub async fn beat(conn: &mut PgConnection, name: &str, at: Timestamp) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO blueteam.reader_pulse (name, beat_at) VALUES ($1, $2)
         ON CONFLICT (name) DO UPDATE SET beat_at = excluded.beat_at",
        name,
        Ts(at) as Ts
    )
    .execute(conn)
    .await?;

    Ok(())
}

/// The pulse of the reader of that name.
pub async fn pulse(conn: &mut PgConnection, name: &str) -> Result<Pulse, StoreError> {
    let row = sqlx::query!(
        r#"SELECT
               (SELECT beat_at FROM blueteam.reader_pulse WHERE name = $1) AS "beat_at: Ts",
               EXISTS (
                   SELECT
                   FROM blueteam.reader_leases l
                   JOIN pg_stat_activity a ON a.pid = l.backend_pid
                   WHERE l.name = $1 AND l.renewed_at >= pg_postmaster_start_time()
               ) AS "held!""#,
        name
    )
    .fetch_one(conn)
    .await?;
    Ok(Pulse {
        beat_at: row.beat_at.map(|at| at.0),
        held: row.held,
    })
}
