//! The cursor, its row in the database, and the witness outside of it.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::PgConnection;

use super::{Snapshot, Withheld};
use crate::StoreError;

/// How far has been read.
#[derive(Clone, Debug, PartialEq)]
pub struct Cursor {
    /// Its name; `monitor` for the product's own.
    pub name: String,
    /// What the last poll saw.
    pub snapshot: Snapshot,
    /// Rows of `audit_events` up to here are never read.
    pub(crate) audit_floor: i64,
    /// The highest `seq` read of `audit_events`.
    pub(crate) audit_last: i64,
    /// The same of `log_events`.
    pub(crate) collected_floor: i64,
    /// The same of `log_events`.
    pub(crate) collected_last: i64,
    /// The cluster in whose transaction ids the snapshot is written.
    pub(crate) system_identifier: String,
    /// Counts saves.
    pub version: i64,
    /// What the caller keeps with it.
    pub checkpoint: Option<Value>,
    /// Rows that are left out, as known when the cursor was loaded.
    pub(crate) withheld: Withheld,
}

impl Cursor {
    pub(crate) fn audit_unread(&self) -> String {
        format!(
            "(seq > {} AND {})",
            self.audit_floor,
            self.snapshot.unseen()
        )
    }

    pub(crate) fn collected_unread(&self) -> String {
        format!(
            "(seq > {} AND {})",
            self.collected_floor,
            self.snapshot.unseen()
        )
    }

    /// What to write down outside of the database, once the cursor is committed.
    pub fn witness(&self) -> Witness {
        Witness {
            system_identifier: self.system_identifier.clone(),
            version: self.version,
            snapshot: self.snapshot.to_string(),
        }
    }
}

/// What the caller keeps in a file, to notice a database that was put back to an earlier point
/// behind its back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Witness {
    /// The cluster.
    pub system_identifier: String,
    /// The cursor's version.
    pub version: i64,
    /// The cursor's snapshot.
    pub snapshot: String,
}

/// How the database compares with the cursor witness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// All is as it was, or nothing is remembered.
    Continuous,
    /// The database was put back to an earlier point: events and alerts since are gone. Its cursor
    /// went back with it, so reading continues from there; people must be notified.
    WentBack {
        /// The version in the witness.
        remembered: i64,
        /// The version that it has.
        found: i64,
    },
    /// The database has moved to another cluster, or its cluster's transaction ids have started
    /// over: [`super::rebase`].
    Elsewhere,
}

/// Where a new cursor begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Before the first row.
    Beginning,
    /// What is visible now is past.
    Now,
}

/// Compares the database with a cursor just loaded from it and with the witness.
pub async fn check(
    conn: &mut PgConnection,
    cursor: &Cursor,
    witness: Option<&Witness>,
) -> Result<Check, StoreError> {
    let here = present_ids(conn).await?;
    if here.0 != cursor.system_identifier || here.1.xmax() < cursor.snapshot.xmax() {
        return Ok(Check::Elsewhere);
    }

    Ok(match witness {
        Some(w)
            if w.version > cursor.version
                || (w.version == cursor.version && w.snapshot != cursor.snapshot.to_string()) =>
        {
            Check::WentBack {
                remembered: w.version,
                found: cursor.version,
            }
        }
        _ => Check::Continuous,
    })
}

/// The cursor of that name.
pub async fn load(conn: &mut PgConnection, name: &str) -> Result<Option<Cursor>, StoreError> {
    let row = sqlx::query!(
        "SELECT
             snapshot, audit_floor, audit_last, collected_floor, collected_last,
             system_identifier, version, checkpoint
         FROM blueteam.reader_cursor
         WHERE name = $1",
        name
    )
    .fetch_optional(&mut *conn)
    .await?;

    let withheld = Withheld::load(conn).await?;
    row.map(|row| {
        Ok(Cursor {
            name: name.to_owned(),
            snapshot: row.snapshot.parse()?,
            audit_floor: row.audit_floor,
            audit_last: row.audit_last,
            collected_floor: row.collected_floor,
            collected_last: row.collected_last,
            system_identifier: row.system_identifier,
            version: row.version,
            checkpoint: row.checkpoint,
            withheld,
        })
    })
    .transpose()
}

/// Makes a cursor, or loads the one that another process made meanwhile.
pub async fn initialize(
    conn: &mut PgConnection,
    name: &str,
    start: Start,
) -> Result<Cursor, StoreError> {
    let (system_identifier, now) = present_ids(&mut *conn).await?;
    let snapshot = if start == Start::Now {
        now
    } else {
        Snapshot::BEGINNING
    };

    // Floors stay at nothing: the snapshot alone tells past from future in this cluster.
    sqlx::query_file!(
        "src/reader/initialize.sql",
        name,
        snapshot.to_string(),
        system_identifier,
        start == Start::Now,
    )
    .execute(&mut *conn)
    .await?;

    load(conn, name)
        .await?
        .ok_or_else(|| StoreError::corrupt("reader_cursor", "the row just written is not there"))
}

/// Saves the cursor in the caller's transaction, if no other process has since it was loaded;
/// returns it as saved.
pub async fn save(conn: &mut PgConnection, cursor: Cursor) -> Result<Cursor, StoreError> {
    let done = sqlx::query!(
        "UPDATE blueteam.reader_cursor
         SET
             snapshot = $3, audit_floor = $4, audit_last = $5, collected_floor = $6,
             collected_last = $7, system_identifier = $8, version = version + 1, checkpoint = $9,
             updated_at = now()
         WHERE name = $1 AND version = $2",
        cursor.name,
        cursor.version,
        cursor.snapshot.to_string(),
        cursor.audit_floor,
        cursor.audit_last,
        cursor.collected_floor,
        cursor.collected_last,
        cursor.system_identifier,
        cursor.checkpoint,
    )
    .execute(conn)
    .await?;

    if done.rows_affected() == 1 {
        Ok(Cursor {
            version: cursor.version + 1,
            ..cursor
        })
    } else {
        Err(StoreError::CursorMoved(cursor.name))
    }
}

/// The commit of this transaction does not wait for the disk. Should the server's machine crash, it
/// forgets the last half second of such commits, whole and in order: the cursor is where it was,
/// and what it had read since is read again.
pub async fn commit_early(tx: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query!("SET LOCAL synchronous_commit = off")
        .execute(tx)
        .await?;
    Ok(())
}

/// A cursor for which every row that is there now is past; for [`super::rebase`], which holds back
/// writers.
pub(super) async fn present(conn: &mut PgConnection, name: &str) -> Result<Cursor, StoreError> {
    let (system_identifier, snapshot) = present_ids(&mut *conn).await?;
    let row = sqlx::query!(
        r#"SELECT coalesce((SELECT max(seq) FROM public.audit_events), 0) AS "audit!",
                  coalesce((SELECT max(seq) FROM blueteam.log_events), 0) AS "collected!""#
    )
    .fetch_one(conn)
    .await?;
    Ok(Cursor {
        name: name.to_owned(),
        snapshot,
        audit_floor: row.audit,
        audit_last: row.audit,
        collected_floor: row.collected,
        collected_last: row.collected,
        system_identifier,
        version: 0,
        checkpoint: None,
        withheld: Withheld::default(),
    })
}

async fn present_ids(conn: &mut PgConnection) -> Result<(String, Snapshot), StoreError> {
    let row = sqlx::query!(
        r#"SELECT
                   blueteam.system_identifier() AS "system!",
                   pg_current_snapshot()::text AS "snapshot!""#
    )
    .fetch_one(conn)
    .await?;
    Ok((row.system, row.snapshot.parse()?))
}
