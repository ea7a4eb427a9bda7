//! The completeness ledger: what each source sent, what became of it, when it was silent, and what
//! could not be read. Each tenant has its own: that of the connection ([`crate::tenants`]).

use model::{Source, Span, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::PgConnection;
use sqlx::postgres::types::PgInterval;

use crate::StoreError;
use crate::db::Ts;

/// An entry is kept up to this many bytes.
pub const ENTRY_MAX: usize = 8192;
/// Dead letters kept of one source.
pub const LETTERS_MAX: i64 = 10_000;

/// What a batch added to a source's account. `received` is their sum.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Intake {
    /// Events stored.
    pub accepted: u64,
    /// Entries that are nothing to security.
    pub ignored: u64,
    /// Events that were there already.
    pub repeated: u64,
    /// Entries that could not be read or stored.
    pub rejected: u64,
    /// Accepted ones that came after newer ones by more than the settling time.
    pub late: u64,
    /// Newest event time.
    pub newest: Option<Timestamp>,
    /// The least that an event lay behind our clock; negative when it was ahead.
    pub skew: Option<Span>,
}

impl Intake {
    /// Whether there is anything to book.
    pub fn is_empty(&self) -> bool {
        self.accepted + self.ignored + self.repeated + self.rejected == 0
    }
}

/// What could not be read, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Where it stood.
    pub place: String,
    /// What is wrong with it.
    pub reason: String,
    /// The entry; what is beyond [`ENTRY_MAX`] is cut.
    pub entry: Vec<u8>,
    /// Its length before it was cut.
    pub length: u64,
}

/// Why something is or may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// It said nothing for longer than it uses to.
    Silence,
    /// A file was rotated away before it was read to its end.
    Rotation,
    /// Numbers of a producer are missing.
    Sequence,
    /// blueteam did not run.
    Outage,
    /// Messages came faster than they could be taken, and were dropped.
    Dropped,
}

impl Cause {
    /// The word in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Silence => "silence",
            Self::Rotation => "rotation",
            Self::Sequence => "sequence",
            Self::Outage => "outage",
            Self::Dropped => "dropped",
        }
    }

    fn parse(text: &str) -> Result<Self, StoreError> {
        [
            Self::Silence,
            Self::Rotation,
            Self::Sequence,
            Self::Outage,
            Self::Dropped,
        ]
        .into_iter()
        .find(|c| c.as_str() == text)
        .ok_or_else(|| StoreError::corrupt("source_gaps.cause", text))
    }
}

/// A time in which something is or may be missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// Why.
    pub cause: Cause,
    /// From when.
    pub started_at: Timestamp,
    /// Until when; none while it lasts.
    pub ended_at: Option<Timestamp>,
    /// Entries or bytes known to be lost.
    pub lost: Option<u64>,
    /// For a person.
    pub detail: String,
}

/// A source as the ledger has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourceRow {
    /// Its name: format and path, a listener's address, `audit_db`, `producer:NAME`.
    pub source_id: String,
    /// What its events are to the engine.
    pub kind: Source,
    /// How often it is configured to speak.
    pub expected_every: Option<Span>,
    /// Since when it is known.
    pub first_seen_at: Timestamp,
    /// When it spoke last.
    pub last_received_at: Option<Timestamp>,
    /// Newest event time.
    pub last_event_at: Option<Timestamp>,
    /// Entries received: accepted, ignored, repeated and rejected ones.
    pub received: u64,
    /// Events stored.
    pub accepted: u64,
    /// Entries that are nothing to security.
    pub ignored: u64,
    /// Events that were there already.
    pub repeated: u64,
    /// Entries that could not be read.
    pub rejected: u64,
    /// Accepted late ones.
    pub late: u64,
    /// The least that an event lay behind our clock, lately.
    pub skew: Option<Span>,
    /// What is learned of its pauses.
    #[serde(skip)]
    pub rhythm: Value,
    /// Which of its numbers are missing.
    #[serde(skip)]
    pub sequence: Option<Value>,
    /// Since when it is silent, or cannot be reached.
    pub silent_since: Option<Timestamp>,
    /// Since when the file is gone that a folder or a pattern had found.
    pub gone_at: Option<Timestamp>,
    /// Messages of it that were dropped because they came faster than they could be taken.
    pub dropped: u64,
}

impl SourceRow {
    /// Whether anything that could be read has ever come from it. What blueteam records of itself
    /// is a sign of life, and no event.
    pub const fn has_spoken(&self) -> bool {
        self.accepted + self.ignored + self.repeated > 0
    }
}

fn to_interval(span: Span) -> PgInterval {
    PgInterval {
        months: 0,
        days: 0,
        microseconds: span.as_micros(),
    }
}

fn to_span(interval: &PgInterval) -> Span {
    // Months do not occur: only microseconds are written.
    Span::micros(i64::from(interval.days) * 86_400_000_000 + interval.microseconds)
}

/// Makes a source known, with the cadence that the configuration gives it.
pub async fn declare(
    conn: &mut PgConnection,
    source_id: &str,
    kind: Source,
    expected_every: Option<Span>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO blueteam.sources (source_id, kind, expected_every)
         VALUES ($1, $2, $3)
         ON CONFLICT (tenant_id, source_id) DO UPDATE
         SET kind = excluded.kind, expected_every = excluded.expected_every, gone_at = NULL",
        source_id,
        kind.as_str(),
        expected_every.map(to_interval) as _,
    )
    .execute(conn)
    .await?;

    Ok(())
}

/// Notes that the file of a source is there no more.
pub async fn set_gone(
    conn: &mut PgConnection,
    source_id: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE blueteam.sources SET gone_at = $2
         WHERE source_id = $1 AND tenant_id = blueteam.tenant_of_new()",
        source_id,
        Ts(now) as Ts,
    )
    .execute(conn)
    .await?;

    Ok(())
}

/// How far a sender's clock may be ahead for its events to count as the newest of a source.
const AHEAD: Span = Span::hours(24);

/// Takes the time of an event into account: the newest time of its source, and how far the clock of
/// that is from ours. One line with a wrong time, which a client may have chosen, says nothing of
/// the clock, so an event that is far ahead counts only where no other one does.
pub fn weigh_time(
    newest: &mut Option<Timestamp>,
    skew: &mut Option<Span>,
    at: Timestamp,
    now: Timestamp,
) {
    let behind = now.since(at);
    let is_far_ahead = |behind: Span| behind.as_micros() < -AHEAD.as_micros();
    if !is_far_ahead(behind) {
        *newest = (*newest).max(Some(at));
    }

    *skew = Some(match *skew {
        Some(least) if is_far_ahead(least) == is_far_ahead(behind) => least.min(behind),
        Some(least) if is_far_ahead(behind) => least,
        _ => behind,
    });
}

/// Books what a batch of a source held. Belongs into the transaction that stores the batch.
pub async fn book(
    conn: &mut PgConnection,
    source_id: &str,
    kind: Source,
    intake: &Intake,
    now: Timestamp,
) -> Result<(), StoreError> {
    let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    // One event of the year 9999 must not be the newest for all time.
    let newest = intake.newest.filter(|at| at.since(now) <= AHEAD);
    sqlx::query_file!(
        "src/sources/book.sql",
        source_id,
        kind.as_str(),
        Ts(now) as Ts,
        newest.map(Ts) as Option<Ts>,
        count(intake.accepted),
        count(intake.ignored),
        count(intake.repeated),
        count(intake.rejected),
        count(intake.late),
        intake.skew.map(to_interval) as _,
    )
    .execute(conn)
    .await?;

    Ok(())
}

/// Saves what was learned of a source's pauses, and of its numbers.
pub async fn save_ledger(
    conn: &mut PgConnection,
    source_id: &str,
    rhythm: &Value,
    sequence: Option<&Value>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE blueteam.sources
         SET rhythm = $2, sequence = coalesce($3, sequence)
         WHERE source_id = $1 AND tenant_id = blueteam.tenant_of_new()",
        source_id,
        rhythm,
        sequence,
    )
    .execute(conn)
    .await?;

    Ok(())
}

/// Keeps what could not be read; the oldest go when a source has more than [`LETTERS_MAX`].
pub async fn bury(
    conn: &mut PgConnection,
    source_id: &str,
    letters: &[DeadLetter],
    now: Timestamp,
) -> Result<(), StoreError> {
    // One batch of garbage must not cost more than what is kept of it.
    let letters = &letters[letters.len().saturating_sub(LETTERS_MAX as usize)..];
    for chunk in letters.chunks(1000) {
        let places: Vec<String> = chunk.iter().map(|l| l.place.clone()).collect();
        let reasons: Vec<String> = chunk
            .iter()
            .map(|l| l.reason.replace('\0', "\u{fffd}"))
            .collect();
        let entries: Vec<Vec<u8>> = chunk
            .iter()
            .map(|l| l.entry[..l.entry.len().min(ENTRY_MAX)].to_vec())
            .collect();

        let lengths: Vec<i64> = chunk
            .iter()
            .map(|l| i64::try_from(l.length).unwrap_or(i64::MAX))
            .collect();
        sqlx::query!(
            "INSERT INTO blueteam.dead_letters (
                 source_id, received_at, place, reason, entry, length
             )
             SELECT $1, $2, *
             FROM unnest($3::text[], $4::text[], $5::bytea[], $6::bigint[])",
            source_id,
            Ts(now) as Ts,
            &places,
            &reasons,
            &entries,
            &lengths,
        )
        .execute(&mut *conn)
        .await?;
    }

    Ok(())
}

/// The place of an event that was read and checked, and that the database still refused.
pub const BY_DATABASE: &str = "the database";
/// The same of one that had waited in the spool.
pub const FROM_SPOOL: &str = "the spool";

/// Of a source, how many events the database refused within a week, and when it last did.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct RefusedRows {
    /// The source.
    pub source_id: String,
    /// How many are kept as dead letters.
    pub events: u64,
    /// The newest.
    pub last: Timestamp,
}

/// What the database refused within a week, by source. There should be none: each is an event that
/// no rule saw.
pub async fn refused_rows(
    conn: &mut PgConnection,
    now: Timestamp,
) -> Result<Vec<RefusedRows>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT source_id, count(*) AS "events!", max(received_at) AS "last!: Ts"
           FROM blueteam.dead_letters
           WHERE tenant_id = blueteam.tenant_of_new() AND place IN ($1, $2) AND received_at > $3::timestamptz - interval '7 days'
           GROUP BY source_id
           ORDER BY source_id"#,
        BY_DATABASE,
        FROM_SPOOL,
        Ts(now) as Ts,
    )
    .fetch_all(conn)
    .await?;
    let rows = rows.into_iter().map(|row| RefusedRows {
        source_id: row.source_id,
        events: row.events.unsigned_abs(),
        last: row.last.0,
    });

    Ok(rows.collect())
}

/// Gives up the oldest dead letters of each source beyond [`LETTERS_MAX`]. Returns how many.
pub async fn clear_dead_letters(conn: &mut PgConnection) -> Result<u64, StoreError> {
    let done = sqlx::query_file!("src/sources/clear_dead_letters.sql", LETTERS_MAX)
        .execute(conn)
        .await?;

    Ok(done.rows_affected())
}

/// Notes a time in which something is missing.
pub async fn note_gap(
    conn: &mut PgConnection,
    source_id: &str,
    gap: &Gap,
) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO blueteam.source_gaps (source_id, cause, started_at, ended_at, lost, detail)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT DO NOTHING",
        source_id,
        gap.cause.as_str(),
        Ts(gap.started_at) as Ts,
        gap.ended_at.map(Ts) as Option<Ts>,
        gap.lost.map(|n| i64::try_from(n).unwrap_or(i64::MAX)),
        gap.detail,
    )
    .execute(conn)
    .await?;

    Ok(())
}

/// Ends a source's silence, if there is one: it has spoken at `now`.
pub async fn end_silence(
    conn: &mut PgConnection,
    source_id: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    end_gap(conn, source_id, Cause::Silence, now).await
}

/// Ends what lasts of that cause, if anything does.
pub async fn end_gap(
    conn: &mut PgConnection,
    source_id: &str,
    cause: Cause,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        "UPDATE blueteam.source_gaps SET ended_at = greatest(started_at, $2)
          WHERE source_id = $1 AND cause = $3 AND ended_at IS NULL
            AND tenant_id = blueteam.tenant_of_new()",
        source_id,
        Ts(now) as Ts,
        cause.as_str(),
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Every source, by name.
pub async fn list(conn: &mut PgConnection) -> Result<Vec<SourceRow>, StoreError> {
    let rows = sqlx::query_file!("src/sources/list.sql")
        .fetch_all(conn)
        .await?;

    rows.into_iter()
        .map(|r| {
            Ok(SourceRow {
                kind: r
                    .kind
                    .parse()
                    .map_err(|e| StoreError::corrupt("sources.kind", e))?,
                source_id: r.source_id,
                expected_every: r.expected_every.as_ref().map(to_span),
                first_seen_at: r.first_seen_at.0,
                last_received_at: r.last_received_at.map(|t| t.0),
                last_event_at: r.last_event_at.map(|t| t.0),
                received: r.received.unsigned_abs(),
                accepted: r.accepted.unsigned_abs(),
                ignored: r.ignored.unsigned_abs(),
                repeated: r.repeated.unsigned_abs(),
                rejected: r.rejected.unsigned_abs(),
                late: r.late.unsigned_abs(),
                skew: r.skew.as_ref().map(to_span),
                rhythm: r.rhythm,
                sequence: r.sequence,
                silent_since: r.silent_since.map(|t| t.0),
                gone_at: r.gone_at.map(|t| t.0),
                dropped: r.dropped.unsigned_abs(),
            })
        })
        .collect()
}

/// One source; none when there is none of that name.
pub async fn find(
    conn: &mut PgConnection,
    source_id: &str,
) -> Result<Option<SourceRow>, StoreError> {
    // A handful of rows: one query for both is worth more than the index.
    Ok(list(conn)
        .await?
        .into_iter()
        .find(|s| s.source_id == source_id))
}

/// The gaps of a source, newest first.
pub async fn gaps(
    conn: &mut PgConnection,
    source_id: &str,
    limit: i64,
) -> Result<Vec<Gap>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT cause, started_at AS "started_at: Ts", ended_at AS "ended_at: Ts", lost, detail
           FROM blueteam.source_gaps
           WHERE source_id = $1 AND tenant_id = blueteam.tenant_of_new()
           ORDER BY started_at DESC, gap_id DESC
           LIMIT $2"#,
        source_id,
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|r| {
            Ok(Gap {
                cause: Cause::parse(&r.cause)?,
                started_at: r.started_at.0,
                ended_at: r.ended_at.map(|t| t.0),
                lost: r.lost.map(i64::unsigned_abs),
                detail: r.detail,
            })
        })
        .collect()
}

/// A dead letter as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptLetter {
    /// Its number.
    pub letter_id: i64,
    /// Whose it is.
    pub source_id: String,
    /// When it came.
    pub received_at: Timestamp,
    /// Where it stood, why it is here, and its beginning.
    pub letter: DeadLetter,
}

/// The newest dead letters, of one source or of all.
pub async fn dead_letters(
    conn: &mut PgConnection,
    source_id: Option<&str>,
    limit: i64,
) -> Result<Vec<KeptLetter>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT
               letter_id, source_id, received_at AS "received_at: Ts", place, reason, entry,
               length
           FROM blueteam.dead_letters
           WHERE tenant_id = blueteam.tenant_of_new() AND ($1::text IS NULL OR source_id = $1)
           ORDER BY letter_id DESC
           LIMIT $2"#,
        source_id,
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| KeptLetter {
            letter_id: r.letter_id,
            source_id: r.source_id,
            received_at: r.received_at.0,
            letter: DeadLetter {
                place: r.place,
                reason: r.reason,
                entry: r.entry,
                length: r.length.unsigned_abs(),
            },
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever gets a line of the year 2099 into a log would mark its clock as wrong, and all later
    /// lines as late.
    #[test]
    fn a_line_from_the_future_says_nothing_of_the_clock() {
        let now = Timestamp::from_secs(1_772_712_451);
        let future = now.plus(Span::days(27_000));
        let weighed = |times: &[Timestamp]| {
            let (mut newest, mut skew) = (None, None);
            for at in times {
                weigh_time(&mut newest, &mut skew, *at, now);
            }
            (newest, skew)
        };

        let (near, ahead) = (now.minus(Span::secs(3)), now.plus(Span::secs(90)));
        let normal = (Some(near), Some(Span::secs(3)));
        assert_eq!(weighed(&[near]), normal);
        assert_eq!(weighed(&[future, near]), normal);
        assert_eq!(weighed(&[near, future]), normal);
        assert_eq!(
            weighed(&[near, ahead]),
            (Some(ahead), Some(Span::secs(-90)))
        );
        // A clock that is wrong in all lines shows.
        assert_eq!(weighed(&[future, future]), (None, Some(now.since(future))));
    }
}
