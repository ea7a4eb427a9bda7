//! Events from logs into `log_events`, together with how far their collector has read.

use model::event::{Provenance, UserId};
use model::{SecurityEvent, Source, Span, Timestamp};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::StoreError;
use crate::binary_copy::Encoder;
use crate::events::{copy, is_about_data, is_refused_copy};
use crate::senders::{self, SenderIntake, SenderKey};
use crate::sources::{self, BY_DATABASE, DeadLetter, Gap, Intake};

/// How far a collector has read, in its own words (a file's inode and offset, a journal's cursor).
#[derive(Clone, Debug, PartialEq)]
pub struct Position {
    /// The collector, and what it reads: `syslog:/var/log/auth.log`.
    pub collector: String,
    /// Where it is.
    pub at: Value,
}

const COLUMNS: &str = "
    event_id, timestamp, source, category, action, result, user_id, user_name, account, session_id,
    ip_address, user_agent, resource_type, resource_id, instance_id, cui_involved, occurrences,
    metadata, source_id, host, program, pid, facility, peer, raw";
/// How many those are.
const COLUMN_COUNT: i16 = 25;

/// What is booked in the completeness ledger with a batch.
#[derive(Clone, Debug)]
pub struct Account<'a> {
    /// The source, as `blueteam sources` lists it.
    pub source_id: &'a str,
    /// What its events are to the engine.
    pub kind: Source,
    /// The time.
    pub now: Timestamp,
    /// Entries that are nothing to security.
    pub ignored: u64,
    /// Events that came late.
    pub late: u64,
    /// Newest event time.
    pub newest: Option<Timestamp>,
    /// The least that an event lay behind our clock.
    pub skew: Option<Span>,
    /// Entries that could not be read.
    pub letters: Vec<DeadLetter>,
    /// Further ones that are counted, but not kept.
    pub unkept: u64,
    /// What was lost.
    pub gaps: Vec<Gap>,
    /// What is learned of its pauses, when that has changed.
    pub rhythm: Option<Value>,
    /// Who sent it.
    pub senders: Vec<(SenderKey, SenderIntake)>,
}

/// Writes events, the position behind them and the source's account in one transaction: killed at
/// any instant, a collector neither loses an event nor reads one twice. Returns how many events
/// were new; one that is there already (same id and time) is skipped.
///
/// An event that the database cannot take is left out and reported by its place, so that one line
/// cannot hold up a log.
pub async fn insert(
    conn: &mut PgConnection,
    events: &[SecurityEvent<'_>],
    position: Option<&Position>,
    account: Option<&Account<'_>>,
) -> Result<Collected, StoreError> {
    let mut tx = conn.begin().await?;
    let mut collected = Collected::default();
    if !events.is_empty() {
        let source_id = account.map(|account| account.source_id);
        write_events(&mut tx, events, source_id, &mut collected).await?;
    }

    if let Some(account) = account {
        settle_batch(&mut tx, account, events, &collected).await?;
    }

    if let Some(position) = position {
        sqlx::query!(
            "INSERT INTO blueteam.collector_positions (collector, position)
             VALUES ($1, $2)
             ON CONFLICT (collector) DO UPDATE
             SET position = excluded.position, updated_at = now()",
            position.collector,
            position.at,
        )
        .execute(&mut *tx)
        .await?;
    }

    tx.commit().await?;
    Ok(collected)
}

/// Books a batch in the completeness ledger.
async fn settle_batch(
    conn: &mut PgConnection,
    account: &Account<'_>,
    events: &[SecurityEvent<'_>],
    collected: &Collected,
) -> Result<(), StoreError> {
    let Account {
        source_id,
        kind,
        now,
        ..
    } = *account;

    let refused = collected.rejected.iter().map(|(at, reason)| {
        let entry = events.get(*at).map(event_digest).unwrap_or_default();
        DeadLetter {
            place: BY_DATABASE.to_owned(),
            reason: reason.clone(),
            length: entry.len() as u64,
            entry,
        }
    });

    let letters: Vec<DeadLetter> = account.letters.iter().cloned().chain(refused).collect();
    let intake = Intake {
        accepted: collected.accepted,
        ignored: account.ignored,
        repeated: collected.duplicates.len() as u64,
        rejected: letters.len() as u64 + account.unkept,
        late: account.late,
        newest: account.newest,
        skew: account.skew,
    };

    sources::book(conn, source_id, kind, &intake, now).await?;
    senders::book(conn, source_id, &account.senders, now).await?;
    sources::bury(conn, source_id, &letters, now).await?;
    for gap in &account.gaps {
        sources::note_gap(conn, source_id, gap).await?;
    }

    if let Some(rhythm) = &account.rhythm {
        sources::save_ledger(conn, source_id, rhythm, None).await?;
    }

    if !intake.is_empty() {
        sources::end_silence(conn, source_id, now).await?;
    }

    Ok(())
}

/// An event as its dead letter shows it.
fn event_digest(event: &SecurityEvent<'_>) -> Vec<u8> {
    let user = event.user_id.as_ref().map(ToString::to_string);
    let text = |text: &Option<model::Text<'_>>| text.as_ref().map(ToString::to_string);
    let told = serde_json::json!({
        "timestamp": event.timestamp, "category": event.category, "action": &*event.action, "result": event.result,
        "user": user, "account": text(&event.account_name), "ip_address": event.ip_address,
        "resource_type": text(&event.resource_type), "resource_id": text(&event.resource_id),
        "metadata": event.details.as_json(),
    });

    told.to_string().into_bytes()
}

/// What became of collected events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// New rows.
    pub accepted: u64,
    /// Places of those that were there already.
    pub duplicates: Vec<usize>,
    /// Places of those that the database cannot take, with its reason.
    pub rejected: Vec<(usize, String)>,
}

/// Where rows wait for the INSERT of [`copy_by_detour`].
const DETOUR: &str = "pg_temp.blueteam_log_events_on_their_way";

/// Writes rows by way of a temporary table: where this login is held by the table's policies, a
/// COPY into it is refused (decision 0049).
async fn copy_by_detour(conn: &mut PgConnection, rows: Vec<u8>) -> Result<u64, sqlx::Error> {
    // Without the defaults, which may be what this login cannot evaluate.
    let make = format!(
        "CREATE TEMPORARY TABLE IF NOT EXISTS blueteam_log_events_on_their_way ON COMMIT DELETE ROWS
         AS SELECT {COLUMNS} FROM blueteam.log_events WITH NO DATA"
    );
    sqlx::query(AssertSqlSafe(make)).execute(&mut *conn).await?;
    copy(
        conn,
        &format!("COPY {DETOUR} ({COLUMNS}) FROM STDIN (FORMAT binary)"),
        rows,
    )
    .await?;
    let move_on = format!(
        "WITH moved AS (DELETE FROM {DETOUR} RETURNING {COLUMNS})
         INSERT INTO blueteam.log_events ({COLUMNS}) SELECT {COLUMNS} FROM moved"
    );
    Ok(sqlx::query(AssertSqlSafe(move_on))
        .execute(conn)
        .await?
        .rows_affected())
}

/// Copies a batch, halving it around rows that do not go in. Collectors resume from a position that
/// is as durable as their events, so that the careful way is rare and need not be fast.
async fn write_events(
    conn: &mut PgConnection,
    events: &[SecurityEvent<'_>],
    source_id: Option<&str>,
    collected: &mut Collected,
) -> Result<(), StoreError> {
    let statement = format!("COPY blueteam.log_events ({COLUMNS}) FROM STDIN (FORMAT binary)");
    let mut takes_detour = false;
    let mut todo = vec![(0, events.len())];
    while let Some((start, end)) = todo.pop() {
        let mut savepoint = conn.begin().await?;
        let rows = encode_events(&events[start..end], source_id);
        let copied = if takes_detour {
            copy_by_detour(&mut savepoint, rows).await
        } else {
            copy(&mut savepoint, &statement, rows).await
        };
        match copied {
            Ok(accepted) => {
                savepoint.commit().await?;
                collected.accepted += accepted;
            }
            Err(error) if !takes_detour && is_refused_copy(&error) => {
                savepoint.rollback().await?;
                takes_detour = true;
                todo.push((start, end));
            }
            Err(error) if is_about_data(&error) => {
                savepoint.rollback().await?;
                if end - start > 1 {
                    let middle = start + (end - start) / 2;
                    todo.push((middle, end));
                    todo.push((start, middle));
                } else if error
                    .as_database_error()
                    .is_some_and(sqlx::error::DatabaseError::is_unique_violation)
                {
                    collected.duplicates.push(start);
                } else {
                    collected.rejected.push((start, error.to_string()));
                }
            }
            Err(error) => return Err(error.into()),
        }
    }

    Ok(())
}

fn encode_events(events: &[SecurityEvent<'_>], source_id: Option<&str>) -> Vec<u8> {
    let mut out = Encoder::with_capacity(events.len() * 512);
    let nowhere = Provenance::default();
    for e in events {
        let (id, name) = match &e.user_id {
            Some(UserId::Uuid(id)) => (Some(*id), None),
            Some(UserId::Name(name)) => (None, Some(&**name)),
            None => (None, None),
        };

        out.row(COLUMN_COUNT);
        out.uuid(Some(e.event_id.0));
        out.timestamp(e.timestamp);
        out.text(e.source.as_str());
        out.text(e.category.as_str());
        out.text(&e.action);
        out.text(e.result.as_str());
        out.uuid(id);

        out.opt_text(name);
        out.opt_text(e.account_name.as_deref());
        out.opt_text(e.session_id.as_deref());
        out.inet(e.ip_address);
        out.opt_text(e.user_agent.as_deref());
        out.opt_text(e.resource_type.as_deref());
        out.opt_text(e.resource_id.as_deref());
        out.uuid(e.instance_id);

        out.boolean(e.cui_involved);
        out.int4(i32::try_from(e.occurrences).unwrap_or(i32::MAX));
        out.jsonb(e.details.as_json());

        let place = e.provenance.as_deref().unwrap_or(&nowhere);
        out.opt_text(source_id.or(place.source_id.as_deref()));
        out.opt_text(place.host.as_deref());
        out.opt_text(place.program.as_deref());
        out.opt_int8(place.pid.map(i64::from));
        out.opt_text(place.facility.as_deref());
        out.inet(place.peer);
        out.opt_text(place.raw.as_deref());
    }

    out.finish()
}

/// Where a collector was; none when it has never written.
pub async fn position(
    conn: &mut PgConnection,
    collector: &str,
) -> Result<Option<Value>, StoreError> {
    Ok(sqlx::query_scalar!(
        "SELECT position FROM blueteam.collector_positions WHERE collector = $1",
        collector
    )
    .fetch_optional(conn)
    .await?)
}

/// Empties the raw lines of at most one day of events that are older than so many days (at least
/// 30). Returns how many were emptied, or `None` when nothing is left to do.
pub async fn empty_raw_lines(
    conn: &mut PgConnection,
    days: u32,
) -> Result<Option<u64>, StoreError> {
    let days = i32::try_from(days).unwrap_or(i32::MAX);
    let emptied = sqlx::query_scalar!(
        "SELECT audit.empty_raw_lines(make_interval(days => $1))",
        days
    )
    .fetch_one(conn)
    .await?;
    Ok(emptied.map(i64::unsigned_abs))
}

/// Drops the months that are older than so many whole months (at least 3), each with a record of
/// what it held. Returns their names.
pub async fn drop_old(conn: &mut PgConnection, months: u16) -> Result<Vec<String>, StoreError> {
    let dropped = sqlx::query_scalar!("SELECT audit.drop_old_collected($1)", i32::from(months))
        .fetch_one(conn)
        .await?;
    Ok(dropped.unwrap_or_default())
}

/// Whether events of this source live in `log_events`; the others are in `audit_events`.
pub const fn holds(source: Source) -> bool {
    !matches!(source, Source::AuditDb)
}
