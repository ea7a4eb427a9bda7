//! From the text of a request to rows that can be written: ids and times fixed, clocks checked.

use std::iter::Peekable;

use model::audit::{Strangers, limits};
use model::event::Details;
use model::{AuditRecord, EventId, FieldError, Span, Timestamp};
use store::events::AuditRow;
use store::sources::ENTRY_MAX;
use uuid::Builder;

use super::body::BodyError;
use super::speaker::Speaker;
use super::split::split;
use crate::Settings;

/// What a request holds.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    /// What can be written.
    pub(crate) rows: Vec<AuditRow<'static>>,
    /// Where each row stood in the request.
    pub(crate) places: Vec<usize>,
    /// What cannot, where it stood, and why.
    pub(crate) rejected: Vec<(usize, FieldError)>,
    /// The texts of the first of them, as they came; nothing for those that are no text.
    pub(crate) entries: Vec<Vec<u8>>,
}

/// Texts of rejected events that are kept of one request.
const ENTRIES_MAX: usize = 100;

/// Reads and checks the events of a body. `random` fills a buffer with random bytes, for ids.
pub(super) fn prepare(
    body: &[u8],
    (settings, speaker): (&Settings, &Speaker),
    now: Timestamp,
    mut random: impl FnMut(&mut [u8]) -> bool,
) -> Result<Prepared, BodyError> {
    let events = split(body, settings.max_batch_events)?;
    let mut done = Prepared { rows: Vec::with_capacity(events.len()), ..Prepared::default() };
    for (index, json) in events.into_iter().enumerate() {
        let record =
            AuditRecord::from_json(json, Strangers::Refuse).and_then(check_json).map(|r| date(r, settings, now));
        let record = record.and_then(|r| check_clock(r, settings, now)).and_then(|r| speaker.stamp(r));
        let row = record.and_then(|record| complete(record.into_owned(), now, &mut random));
        match row {
            Ok(row) => {
                done.rows.push(row);
                done.places.push(index);
            }
            Err(error) => {
                if done.entries.len() < ENTRIES_MAX {
                    done.entries.push(json[..json.len().min(ENTRY_MAX)].to_vec());
                }
                done.rejected.push((index, error));
            }
        }
    }
    Ok(done)
}

/// Checks a record that came otherwise than as JSON of ours, and completes it.
pub(super) fn finish(
    record: AuditRecord<'static>,
    (settings, speaker): (&Settings, &Speaker),
    now: Timestamp,
) -> Result<AuditRow<'static>, FieldError> {
    let record = check_clock(check_json(record)?, settings, now)?;
    complete(speaker.stamp(record)?, now, |_| false)
}

/// Gives a record its id and time where it has none.
pub(super) fn complete(
    mut record: AuditRecord<'static>,
    now: Timestamp,
    mut random: impl FnMut(&mut [u8]) -> bool,
) -> Result<AuditRow<'static>, FieldError> {
    if record.event_id.is_none() {
        let mut bytes = [0; 10];
        if !random(&mut bytes) {
            return Err(FieldError::new("event_id", "is missing, and no random number could be had to make one"));
        }
        let millis = u64::try_from(now.as_micros() / 1000).unwrap_or(0);
        record.event_id = Some(Builder::from_unix_timestamp_millis(millis, &bytes).into_uuid());
    }
    let id = record.event_id.unwrap_or_default();
    Ok(AuditRow::new(record, || EventId(id), now))
}

/// Refuses what `jsonb` cannot hold, and numbers beyond what other programs read: `1e130000` is eight bytes here, and a hundred
/// thousand when PostgreSQL writes it out. What only the database refuses would else stand among good events until it is tried, and while the
/// database is away it would be acknowledged.
fn check_json(record: AuditRecord<'_>) -> Result<AuditRecord<'_>, FieldError> {
    const EXPONENT_MAX: u32 = 308;
    const DIGITS_MAX: u32 = 1000;
    let mut bytes = record.metadata.as_json().bytes().peekable();
    let mut digits = 0;
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => check_string(&mut bytes)?,
            b'e' | b'E' if digits > 0 => {
                bytes.next_if(|byte| matches!(byte, b'+' | b'-'));
                let mut exponent = 0_u32;
                while let Some(digit) = bytes.next_if(u8::is_ascii_digit) {
                    exponent = exponent.saturating_mul(10).saturating_add(u32::from(digit - b'0'));
                }
                if exponent > EXPONENT_MAX {
                    return Err(FieldError::new("metadata", "holds a number with an exponent beyond 308"));
                }
            }
            _ => {}
        }
        digits = if byte.is_ascii_digit() || byte == b'.' { digits + 1 } else { 0 };
        if digits > DIGITS_MAX {
            return Err(FieldError::new("metadata", "holds a number of more than 1000 digits"));
        }
    }
    Ok(record)
}

/// Up to the end of a string: its escapes must be characters that `jsonb` holds (RFC 8259, section 8.2).
fn check_string(bytes: &mut Peekable<impl Iterator<Item = u8>>) -> Result<(), FieldError> {
    let half = || FieldError::new("metadata", "holds half of a character (an unpaired surrogate)");
    let mut high = false;
    loop {
        let unit = match bytes.next() {
            None | Some(b'"') => return if high { Err(half()) } else { Ok(()) },
            Some(b'\\') => match bytes.next() {
                Some(b'u') => {
                    let digit = |byte| char::from(byte).to_digit(16).unwrap_or(0);
                    Some(bytes.by_ref().take(4).fold(0, |unit, byte| unit << 4 | digit(byte)))
                }
                _ => None,
            },
            Some(_) => None,
        };
        high = match (high, unit) {
            (true, Some(0xdc00..=0xdfff)) => false,
            (true, _) | (false, Some(0xdc00..=0xdfff)) => return Err(half()),
            (false, Some(0xd800..=0xdbff)) => true,
            (false, Some(0)) => return Err(FieldError::new("metadata", "holds the character U+0000")),
            (false, _) => false,
        };
    }
}

/// How old an id may be whose time stands for the event's.
const RETRY_MAX: Span = Span::days(1);

/// An event that has an id and no time happened when its id was made, if that says so (UUIDv7): each retry then carries the same
/// pair, and is the no-op that it should be.
fn date<'a>(mut record: AuditRecord<'a>, settings: &Settings, now: Timestamp) -> AuditRecord<'a> {
    if record.timestamp.is_none()
        && let Some(id) = record.event_id.filter(|id| id.get_version_num() == 7)
        && let Some(made) = id.get_timestamp()
    {
        let (secs, nanos) = made.to_unix();
        let made =
            Timestamp::from_secs(i64::try_from(secs).unwrap_or(i64::MAX)).plus(Span::micros(i64::from(nanos / 1000)));
        let plausible = made >= now.minus(RETRY_MAX) && made <= now.plus(settings.max_clock_ahead);
        record.timestamp = plausible.then_some(made);
    }
    record
}

/// An event from the future is taken at its arrival and marked; one from too far back is refused.
fn check_clock<'a>(
    mut record: AuditRecord<'a>,
    settings: &Settings,
    now: Timestamp,
) -> Result<AuditRecord<'a>, FieldError> {
    let Some(at) = record.timestamp else { return Ok(record) };
    if at < now.minus(settings.max_clock_behind) {
        let oldest = settings.max_clock_behind;
        return Err(FieldError::new("timestamp", format_args!("is older than {oldest}, which is the most allowed")));
    }
    if at > now.plus(settings.max_clock_ahead) {
        let marked = mark_skew(record.metadata.as_json(), at);
        if marked.len() > limits::METADATA {
            let ahead = settings.max_clock_ahead;
            let error = format_args!("is more than {ahead} ahead of the server, and metadata has no room to note it");
            return Err(FieldError::new("timestamp", error));
        }
        record.metadata = Details::from_json(marked);
        record.timestamp = Some(now);
    }
    Ok(record)
}

/// The metadata with `clock_skew` and the time that the producer gave. At the end, because of two equal keys `jsonb` keeps the
/// last: a producer cannot say otherwise.
fn mark_skew(metadata: &str, claimed: Timestamp) -> String {
    let inner = metadata.trim().strip_prefix('{').and_then(|m| m.strip_suffix('}')).unwrap_or("").trim();
    let comma = if inner.is_empty() { "" } else { "," };
    format!(r#"{{{inner}{comma}"clock_skew":true,"clock_skew_timestamp":"{claimed}"}}"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_772_719_651);

    fn one(extra: &str) -> Prepared {
        let body = format!(r#"{{"category":"auth","action":"login","result":"success"{extra}}}"#);
        let relay = Speaker::Relay { reserved: Vec::new() };
        prepare(body.as_bytes(), (&Settings::new("/"), &relay), NOW, |b| {
            b.fill(7);
            true
        })
        .unwrap()
    }

    #[test]
    fn ids_and_times_are_filled_in() {
        let done = one("");
        assert_eq!(done.rows[0].timestamp(), NOW);
        assert_eq!(done.rows[0].event_id().0.get_version_num(), 7);
    }

    #[test]
    fn an_id_that_knows_its_time_dates_the_event() {
        let dated = |before: Span| {
            let millis = NOW.minus(before).as_micros().unsigned_abs() / 1000;
            let id = Builder::from_unix_timestamp_millis(millis, &[7; 10]).into_uuid();
            one(&format!(r#","event_id":"{id}""#)).rows[0].timestamp()
        };
        for before in [Span::ZERO, Span::secs(90), Span::days(1), Span::mins(-5)] {
            assert_eq!(dated(before), NOW.minus(before), "the same with each retry");
        }
        for before in [Span::days(2), Span::mins(-6)] {
            assert_eq!(dated(before), NOW, "an id that was not made for this event");
        }
        let v4 = one(r#","event_id":"4f0b5c1e-63a8-4f0e-9c51-0a6c0e1d2f33""#);
        assert_eq!(v4.rows[0].timestamp(), NOW);
    }

    #[test]
    fn numbers_that_nobody_can_read_are_refused() {
        let ok = |metadata: &str| one(&format!(r#","metadata":{metadata}"#)).rejected.is_empty();
        for metadata in
            [r#"{"a":1e308}"#, r#"{"a":[-1.5E-300,true,false]}"#, r#"{"1e999":"1e999\\\"1e999"}"#, r#"{"a":9e+1}"#]
        {
            assert!(ok(metadata), "{metadata}");
        }
        for metadata in
            [r#"{"a":1e309}"#, r#"{"a":[1,1E130000]}"#, r#"{"a":"\\","b":1.5e-16300}"#, r#"{"a":1e99999999999}"#]
        {
            assert!(!ok(metadata), "{metadata}");
        }
    }

    #[test]
    fn what_the_database_cannot_hold_is_refused_here() {
        let why =
            |metadata: &str| one(&format!(r#","metadata":{metadata}"#)).rejected.first().map(|(_, e)| e.to_string());
        for metadata in [
            r#"{"a":"\ud83d\ude00 \u0041\\ud800"}"#,
            r#"{"\ud83d\ude00":1}"#,
            &format!(r#"{{"a":{}}}"#, "9".repeat(1000)),
        ] {
            assert_eq!(why(metadata), None, "{metadata}");
        }
        for metadata in [
            r#"{"a":"\ud800"}"#,
            r#"{"a":"\ud800x"}"#,
            r#"{"a":"\ude00"}"#,
            r#"{"a":"\ud800\u0041"}"#,
            r#"{"\ud800":1}"#,
        ] {
            assert!(why(metadata).is_some_and(|w| w.contains("half of a character")), "{metadata}");
        }
        assert!(why(r#"{"a":"x\u0000"}"#).is_some());
        assert!(why(&format!(r#"{{"a":0.{}}}"#, "1".repeat(1000))).is_some());
    }

    #[test]
    fn a_clock_ahead_is_replaced_and_marked() {
        let at = |secs: i64| NOW.plus(Span::secs(secs));
        let done = one(&format!(r#","timestamp":"{}""#, at(300)));
        assert_eq!(done.rows[0].timestamp(), at(300));
        for (given, marked) in [("", ""), (r#","metadata":{ }"#, ""), (r#","metadata":{"a":1}"#, r#""a":1,"#)] {
            let done = one(&format!(r#","timestamp":"{}"{given}"#, at(301)));
            assert_eq!(done.rows[0].timestamp(), NOW);
            let expected = format!(r#"{{{marked}"clock_skew":true,"clock_skew_timestamp":"{}"}}"#, at(301));
            assert_eq!(done.rows[0].record().metadata.as_json(), expected);
        }
    }

    #[test]
    fn an_event_from_long_ago_is_refused() {
        let edge = NOW.minus(Span::days(30));
        assert_eq!(one(&format!(r#","timestamp":"{edge}""#)).rows.len(), 1);
        let done = one(&format!(r#","timestamp":"{}""#, edge.minus(Span::micros(1))));
        assert_eq!(done.rejected[0].1.to_string(), "timestamp: is older than 30d, which is the most allowed");
    }
}
