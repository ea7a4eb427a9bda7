//! What was read elsewhere, into our own table.

use model::{Source, Span, Timestamp};
use serde_json::Value;
use sqlx::{Connection, PgConnection};

use super::{Found, Position};
use crate::StoreError;
use crate::events::{AuditRow, insert_audit};
use crate::sources::{self, Cause, DeadLetter, ENTRY_MAX, Intake};

/// What is booked in the completeness ledger with a batch.
#[derive(Clone, Debug)]
pub struct Account<'a> {
    /// The source, as `blueteam sources` lists it.
    pub source_id: &'a str,
    /// The time.
    pub now: Timestamp,
    /// Newest event time so far.
    pub newest: Option<Timestamp>,
    /// How far events may be out of order before they count as late.
    pub settle: Span,
    /// What is learned of its pauses, when that has changed.
    pub rhythm: Option<Value>,
}

/// What became of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// New events.
    pub accepted: u64,
    /// Rows that are not valid audit events.
    pub rejected: u64,
    /// Newest event time so far.
    pub newest: Option<Timestamp>,
}

/// Writes events, the source's account and, with the last batch of a reading, where the next one
/// goes on, in one transaction: killed at any instant, nothing is lost, and what is read again is
/// passed over by its key.
pub async fn keep(
    conn: &mut PgConnection,
    found: Vec<Found>,
    position: Option<&Position>,
    account: &Account<'_>,
) -> Result<Kept, StoreError> {
    let Account { source_id, now, .. } = *account;
    let mut intake = Intake {
        newest: account.newest,
        ..Intake::default()
    };

    let mut rows: Vec<AuditRow<'static>> = Vec::with_capacity(found.len());
    let mut letters = Vec::new();
    for found in found {
        match found.event {
            Ok(row) => rows.push(row),
            Err((error, row)) => letters.push(to_dead_letter(error.to_string(), row)),
        }
    }

    for row in &rows {
        let at = row.timestamp();
        intake.late += u64::from(
            intake
                .newest
                .is_some_and(|newest| at < newest.minus(account.settle)),
        );

        sources::weigh_time(&mut intake.newest, &mut intake.skew, at, now);
    }

    let mut tx = conn.begin().await?;
    let stored = insert_audit(&mut tx, &rows).await?;
    if !stored.conflicting.is_empty() {
        // The position covers all of them, so all of them wait.
        return Err(StoreError::Conflict(stored.conflicting.len()));
    }

    for (place, error) in &stored.rejected {
        let row = rows.get(*place).map(|row| {
            format!(
                "event_id {}, timestamp {}",
                row.event_id().0,
                row.timestamp()
            )
        });
        letters.push(to_dead_letter(error.to_string(), row.unwrap_or_default()));
    }

    (intake.accepted, intake.repeated, intake.rejected) =
        (stored.accepted, stored.duplicates, letters.len() as u64);
    if !intake.is_empty() {
        sources::book(&mut tx, source_id, Source::AuditDb, &intake, now).await?;
        sources::bury(&mut tx, source_id, &letters, now).await?;
        sources::end_gap(&mut tx, source_id, Cause::Silence, now).await?;
    }

    if let Some(rhythm) = &account.rhythm {
        sources::save_ledger(&mut tx, source_id, rhythm, None).await?;
    }

    if let Some(position) = position {
        sqlx::query!(
            "INSERT INTO blueteam.remote_audit_positions (source_id, position)
             VALUES ($1, $2)
             ON CONFLICT (tenant_id, source_id) DO UPDATE
             SET position = excluded.position, updated_at = now()",
            source_id,
            serde_json::to_value(position)?,
        )
        .execute(&mut *tx)
        .await?;
    }

    tx.commit().await?;
    Ok(Kept {
        accepted: intake.accepted,
        rejected: intake.rejected,
        newest: intake.newest,
    })
}

fn to_dead_letter(reason: String, row: String) -> DeadLetter {
    let mut entry = row.into_bytes();
    let length = entry.len() as u64;
    entry.truncate(ENTRY_MAX);

    DeadLetter {
        place: "public.audit_events".to_owned(),
        reason,
        entry,
        length,
    }
}

/// Where reading stands; none when nothing has been read yet, or what is there is of another
/// version: then everything is read again.
pub async fn position(
    conn: &mut PgConnection,
    source_id: &str,
) -> Result<Option<Position>, StoreError> {
    let saved = sqlx::query_scalar!(
        "SELECT position
         FROM blueteam.remote_audit_positions
         WHERE source_id = $1 AND tenant_id = blueteam.tenant_of_new()",
        source_id
    );
    Ok(saved
        .fetch_optional(conn)
        .await?
        .and_then(|position| serde_json::from_value(position).ok()))
}
