//! From the text of a request to rows that can be written: ids and times fixed, clocks checked.

use model::audit::Strangers;
use model::{AuditRecord, EventId, FieldError, Span, Timestamp};
use store::events::{AuditRow, Claim};
use store::sources::ENTRY_MAX;
use uuid::Builder;

use super::body::BodyError;
use super::sender::Sender;
use super::split::split;
use crate::Settings;

/// What a request holds.
#[derive(Debug, Default)]
pub struct Prepared {
    /// What can be written.
    pub rows: Vec<AuditRow<'static>>,
    /// The position of each row in the request.
    pub places: Vec<usize>,
    /// What cannot be written: its position, and why.
    pub rejected: Vec<(usize, FieldError)>,
    /// The texts of the first of these, verbatim.
    pub entries: Vec<Vec<u8>>,
    /// Log records that were understood and do not concern security.
    pub ignored: u64,
}

impl Prepared {
    /// Notes an event that cannot be written, with its bytes.
    pub(super) fn reject(&mut self, index: usize, error: FieldError, entry: &[u8]) {
        if self.entries.len() < ENTRIES_MAX {
            let kept = entry.get(..ENTRY_MAX).unwrap_or(entry);
            self.entries.push(kept.to_vec());
        }
        self.rejected.push((index, error));
    }
}

/// Maximum number of texts of rejected events that are kept of one request.
const ENTRIES_MAX: usize = 100;

/// Reads and checks the events of a body. `random` fills a buffer with random bytes, for ids.
pub(super) fn prepare(
    body: &[u8],
    settings: &Settings,
    sender: &Sender,
    now: Timestamp,
    mut random: impl FnMut(&mut [u8]) -> bool,
) -> Result<Prepared, BodyError> {
    let events = split(body, settings.max_batch_events)?;
    let mut done = Prepared {
        rows: Vec::with_capacity(events.len()),
        ..Prepared::default()
    };

    for (index, json) in events.into_iter().enumerate() {
        let row = AuditRecord::from_json(json, Strangers::Refuse).and_then(|record| {
            prepare_row(record.into_owned(), settings, sender, now, &mut random)
        });
        match row {
            Ok(row) => {
                done.rows.push(row);
                done.places.push(index);
            }
            Err(error) => done.reject(index, error, json),
        }
    }

    Ok(done)
}

/// Checks a record that did not come as JSON in this API's format, and completes it.
pub(super) fn finish(
    record: AuditRecord<'static>,
    settings: &Settings,
    sender: &Sender,
    now: Timestamp,
) -> Result<AuditRow<'static>, FieldError> {
    prepare_row(record, settings, sender, now, |_| false)
}

/// Makes the row of a record. If the row has the sender's id but not its time, the row also holds
/// the time that the sender claimed, so that a retry is recognized.
fn prepare_row(
    record: AuditRecord<'static>,
    settings: &Settings,
    sender: &Sender,
    now: Timestamp,
    random: impl FnMut(&mut [u8]) -> bool,
) -> Result<AuditRow<'static>, FieldError> {
    let record = set_date(record, settings, now);
    let (named, undated) = (record.event_id.is_some(), record.timestamp.is_none());
    let (record, ahead) = check_clock(record, settings, now)?;
    let claim = ahead
        .map(Claim::At)
        .or_else(|| undated.then_some(Claim::NoTime))
        .filter(|_| named);
    Ok(complete(sender.stamp(record)?, now, random)?
        .of_tenant(sender.tenant)
        .claiming(claim))
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
            return Err(FieldError::new(
                "event_id",
                "is missing, and no random number could be had to make one",
            ));
        }

        let millis = u64::try_from(now.as_micros() / 1000).unwrap_or(0);
        record.event_id = Some(Builder::from_unix_timestamp_millis(millis, &bytes).into_uuid());
    }

    let id = record.event_id.unwrap_or_default();
    Ok(AuditRow::new(record, || EventId(id), now))
}

/// How old an id may be whose time is used as the event's.
const RETRY_MAX: Span = Span::days(1);

/// An event that has an id and no time happened when its id was made, if that says so (UUIDv7):
/// each retry then carries the same pair, and is the no-op that it should be.
fn set_date<'a>(
    mut record: AuditRecord<'a>,
    settings: &Settings,
    now: Timestamp,
) -> AuditRecord<'a> {
    if record.timestamp.is_none()
        && let Some(id) = record.event_id.filter(|id| id.get_version_num() == 7)
        && let Some(made) = id.get_timestamp()
    {
        let (secs, nanos) = made.to_unix();
        let made = Timestamp::from_secs(i64::try_from(secs).unwrap_or(i64::MAX))
            .plus(Span::micros(i64::from(nanos / 1000)));
        let plausible = made >= now.minus(RETRY_MAX) && made <= now.plus(settings.max_clock_ahead);
        record.timestamp = plausible.then_some(made);
    }
    record
}

/// Gives an event from the future the time of its arrival, marks it, and returns the time that it
/// claimed; rejects one that is too old.
fn check_clock<'a>(
    mut record: AuditRecord<'a>,
    settings: &Settings,
    now: Timestamp,
) -> Result<(AuditRecord<'a>, Option<Timestamp>), FieldError> {
    let Some(at) = record.timestamp else {
        return Ok((record, None));
    };
    if at < now.minus(settings.max_clock_behind) {
        let oldest = settings.max_clock_behind;
        return Err(FieldError::new(
            "timestamp",
            format_args!("is older than {oldest}, which is the most allowed"),
        ));
    }

    if at <= now.plus(settings.max_clock_ahead) {
        return Ok((record, None));
    }

    let marks = format_args!(r#""clock_skew":true,"clock_skew_timestamp":"{at}""#);
    record.metadata = record.metadata.with_fields(marks);
    record.timestamp = Some(now);

    Ok((record, Some(at)))
}

#[cfg(test)]
mod tests {
    use model::TenantId;

    use super::super::record;
    use super::super::sender::Voice;
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_772_719_651);

    fn one(extra: &str) -> Prepared {
        let body = format!(r#"{{"category":"auth","action":"login","result":"success"{extra}}}"#);
        let relay = Sender {
            tenant: TenantId::DEFAULT,
            voice: Voice::Relay {
                reserved: Vec::new(),
            },
        };
        prepare(body.as_bytes(), &Settings::new("/"), &relay, NOW, |b| {
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
    fn what_is_taken_now_is_taken_from_the_spool() {
        for metadata in [
            r#"{"a":"\u41zz"}"#,
            r#"{"a":"\ud800x","b":"\ud83d\ude00"}"#,
            r#"{"\ud800":1}"#,
            r#"{"a":"x\u0000"}"#,
            r#"{"a":[1,1E130000]}"#,
            &format!(r#"{{"a":0.{}}}"#, "1".repeat(1001)),
            &format!(r#"{{"username":"root","a":"{}"}}"#, "x".repeat(70_000)),
        ] {
            let done = one(&format!(
                r#","metadata":{metadata},"timestamp":"{}""#,
                NOW.plus(Span::hours(1))
            ));
            assert!(done.rejected.is_empty(), "{metadata}: {:?}", done.rejected);

            let mut spooled = Vec::new();
            record::encode(&done.rows[0], &mut spooled).unwrap();
            assert_eq!(
                record::decode(&spooled).unwrap(),
                done.rows[0],
                "{metadata}"
            );
            serde_json::from_str::<serde_json::Value>(done.rows[0].record().metadata.as_json())
                .unwrap();
        }
    }

    #[test]
    fn a_row_says_what_its_sender_claims_where_that_is_not_its_time() {
        let claim = |extra: &str| one(extra).rows[0].claim();
        let (id, ahead) = (
            "4f0b5c1e-63a8-4f0e-9c51-0a6c0e1d2f33",
            NOW.plus(Span::mins(6)),
        );

        assert_eq!(claim(""), None, "nobody can send it again");
        assert_eq!(
            claim(&format!(r#","event_id":"{id}","timestamp":"{NOW}""#)),
            None
        );
        assert_eq!(
            claim(&format!(r#","event_id":"{id}""#)),
            Some(Claim::NoTime)
        );

        assert_eq!(
            claim(&format!(r#","event_id":"{id}","timestamp":"{ahead}""#)),
            Some(Claim::At(ahead))
        );
        let millis = ahead.as_micros().unsigned_abs() / 1000;
        let v7 = Builder::from_unix_timestamp_millis(millis, &[7; 10]).into_uuid();
        assert_eq!(
            claim(&format!(r#","event_id":"{v7}""#)),
            Some(Claim::NoTime),
            "its id is ahead"
        );
    }

    #[test]
    fn a_clock_ahead_is_replaced_and_marked() {
        let at = |secs: i64| NOW.plus(Span::secs(secs));
        let done = one(&format!(r#","timestamp":"{}""#, at(300)));
        assert_eq!(done.rows[0].timestamp(), at(300));

        for (given, marked) in [
            ("", ""),
            (r#","metadata":{ }"#, ""),
            (r#","metadata":{"a":1}"#, r#""a":1,"#),
        ] {
            let done = one(&format!(r#","timestamp":"{}"{given}"#, at(301)));
            assert_eq!(done.rows[0].timestamp(), NOW);
            let expected = format!(
                r#"{{{marked}"clock_skew":true,"clock_skew_timestamp":"{}"}}"#,
                at(301)
            );
            assert_eq!(done.rows[0].record().metadata.as_json(), expected);
        }
    }

    #[test]
    fn an_event_from_long_ago_is_refused() {
        let edge = NOW.minus(Span::days(30));
        assert_eq!(one(&format!(r#","timestamp":"{edge}""#)).rows.len(), 1);
        let done = one(&format!(
            r#","timestamp":"{}""#,
            edge.minus(Span::micros(1))
        ));
        assert_eq!(
            done.rejected[0].1.to_string(),
            "timestamp: is older than 30d, which is the most allowed"
        );
    }
}
