//! Encodes an event as a line of JSON, the form for the spool and both sinks.

mod json;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use uuid::Uuid;

use crate::event::{Detail, Event};
use json::{IncompleteWrite, Json};

/// The longest values of the columns and the ingest, in bytes (of the user agent in characters).
const ACTION: usize = 128;
const SESSION_ID: usize = 1024;
const USER_AGENT: usize = 500;
const RESOURCE_TYPE: usize = 2048;
const RESOURCE_ID: usize = 8192;
/// A little below the ingest's limit, because `producer` and `producer_seq` are added.
const METADATA: usize = 60 * 1024;
/// The deepest nesting, also below the ingest's limit.
const DEPTH: usize = 24;

/// An event with its time and sequence number.
#[derive(Debug)]
pub(crate) struct Queued<'a> {
    pub(crate) event: &'a mut Event,
    pub(crate) time: SystemTime,
    pub(crate) seq: u64,
}

/// A writer of the lines of one run. Clones write lines of the same run.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    /// The last members of `metadata`, up to the sequence number.
    producer: Arc<str>,
    /// Random for each run. Event IDs derive from it and the sequence number, so an event needs no
    /// call for random bytes.
    seed: u64,
    /// The last written second and its date and time, which most events share with the one before.
    second: u64,
    date: String,
}

impl Writer {
    pub(crate) fn new(producer: &str) -> Self {
        let (seed, _) = Uuid::new_v4().as_u64_pair();
        // Mixing spreads the constant bits of the UUID version.
        let producer = format!(
            "\"producer\":{},\"producer_seq\":",
            serde_json::Value::from(producer)
        );
        Self {
            producer: producer.into(),
            seed: mix_bits(seed),
            second: 0,
            date: format_seconds(0),
        }
    }

    /// Appends the line of an event, including its newline, and sets its ID.
    pub(crate) fn write_line(&mut self, out: &mut Vec<u8>, queued: &mut Queued<'_>) {
        bound_metadata(queued.event);
        let start = out.len();
        if let Ok(may_hold_nul) = self.encode_event(out, queued)
            && (!may_hold_nul || memchr::memmem::find(&out[start..], b"\\u0000").is_none())
        {
            return;
        }

        // PostgreSQL cannot store NUL (a false alarm is harmless), and a value that cannot be
        // encoded must not lose the event.
        out.truncate(start);
        replace_nul(queued.event);
        if self.encode_event(out, queued).is_err() {
            out.truncate(start);
            queued.event.metadata =
                vec![("metadata_lost".into(), Detail::Word("not serialisable"))];
            if self.encode_event(out, queued).is_err() {
                out.truncate(start);
            }
        }
    }

    /// Appends the line and returns whether it may contain a NUL.
    fn encode_event(
        &mut self,
        out: &mut Vec<u8>,
        queued: &Queued<'_>,
    ) -> Result<bool, IncompleteWrite> {
        let Queued { event, time, seq } = queued;
        // A clock before 1970 is invalid; the server rejects such times.
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut json = Json::new(out);

        json.push_raw("{\"event_id\":");
        json.push_uuid(self.event_id(since, *seq));
        // In microseconds, as PostgreSQL stores it: a retry must carry exactly the same time.
        json.push_raw(",\"timestamp\":\"");
        json.push_raw(self.date_of(since));
        json.push_raw(".");
        json.push_micros(since.subsec_micros());
        json.push_raw("Z\",\"category\":");
        json.push_word(event.category.as_str());
        json.push_raw(",\"action\":");
        json.push_text(if event.action.is_empty() {
            "unnamed"
        } else {
            truncate_bytes(&event.action, ACTION)
        })?;

        json.push_raw(",\"result\":");
        json.push_word(event.outcome.as_str());
        if let Some(id) = event.user_id {
            json.push_raw(",\"user_id\":");
            json.push_uuid(id);
        }
        if let Some(id) = event.instance_id {
            json.push_raw(",\"instance_id\":");
            json.push_uuid(id);
        }
        if let Some(ip) = event.ip_address {
            json.push_raw(",\"ip_address\":");
            json.push_ip(ip.to_canonical())?;
        }

        for (key, text) in [
            (
                ",\"session_id\":",
                event
                    .session_id
                    .as_deref()
                    .map(|text| truncate_bytes(text, SESSION_ID)),
            ),
            (
                ",\"user_agent\":",
                event.user_agent.as_deref().map(truncate_agent),
            ),
            (
                ",\"resource_type\":",
                event
                    .resource_type
                    .as_deref()
                    .map(|text| truncate_bytes(text, RESOURCE_TYPE)),
            ),
            (
                ",\"resource_id\":",
                event
                    .resource_id
                    .as_deref()
                    .map(|text| truncate_bytes(text, RESOURCE_ID)),
            ),
        ] {
            if let Some(text) = text {
                json.push_raw(key);
                json.push_text(text)?;
            }
        }

        json.push_raw(if event.cui_accessed {
            ",\"cui_accessed\":true"
        } else {
            ",\"cui_accessed\":false"
        });
        json.push_raw(",\"metadata\":{");
        for (key, value) in event
            .metadata
            .iter()
            .filter(|(key, _)| key != "producer" && key != "producer_seq")
        {
            json.push_text(key)?;
            json.push_raw(":");
            json.push_detail(value)?;
            json.push_raw(",");
        }

        json.push_raw(&self.producer);
        json.push_number(*seq);
        json.push_raw("}}\n");
        Ok(json.may_hold_nul)
    }

    /// Returns a UUIDv7, whose order by time suits an index. The sequence number tells events of
    /// one millisecond apart within a run, and the seed between runs.
    fn event_id(&self, since: Duration, seq: u64) -> Uuid {
        let mut bytes = [0; 10];
        let (low, high) = bytes.split_at_mut(2);
        low.copy_from_slice(&(seq as u16).to_be_bytes());
        high.copy_from_slice(&mix_bits(self.seed.wrapping_add(seq)).to_be_bytes());
        uuid::Builder::from_unix_timestamp_millis(since.as_millis() as u64, &bytes).into_uuid()
    }

    fn date_of(&mut self, since: Duration) -> &str {
        if since.as_secs() != self.second {
            (self.second, self.date) = (since.as_secs(), format_seconds(since.as_secs()));
        }
        &self.date
    }
}

/// Mixes the bits of a number without collisions (the last step of SplitMix64).
fn mix_bits(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// Replaces metadata beyond the ingest's limits by a note, so that the event is not rejected.
fn bound_metadata(event: &mut Event) {
    let deep = event
        .metadata
        .iter()
        .any(|(_, value)| matches!(value, Detail::Json(json) if is_deeper_than(json, DEPTH)));

    // Most are small, which is known without encoding them.
    let size = |event: &Event| {
        event
            .metadata
            .iter()
            .map(|(k, v)| k.len() + estimated_size(v))
            .sum::<usize>()
    };

    if deep || (size(event) > METADATA / 8 && encoded_len(event) > METADATA) {
        event.metadata = vec![(
            "metadata_lost".into(),
            Detail::Word(if deep { "too deep" } else { "too large" }),
        )];
    }
}

fn encoded_len(event: &Event) -> usize {
    let lengths = event
        .metadata
        .iter()
        .map(|(k, v)| k.len() * 6 + 4 + serde_json::to_vec(v).map_or(0, |v| v.len()));
    lengths.sum()
}

/// Estimates at least an eighth of the encoded length: a character has at most six bytes, a number
/// less than twenty-five.
fn estimated_size(value: &Detail) -> usize {
    fn json_size(value: &serde_json::Value) -> usize {
        match value {
            serde_json::Value::String(text) => text.len() + 1,
            serde_json::Value::Array(values) => 1 + values.iter().map(json_size).sum::<usize>(),
            serde_json::Value::Object(map) => {
                1 + map
                    .iter()
                    .map(|(k, v)| k.len() + 1 + json_size(v))
                    .sum::<usize>()
            }
            _ => 4,
        }
    }

    match value {
        Detail::Json(value) => json_size(value),
        _ => 4,
    }
}

fn is_deeper_than(value: &serde_json::Value, left: usize) -> bool {
    match value {
        serde_json::Value::Array(values) => {
            left == 0 || values.iter().any(|v| is_deeper_than(v, left - 1))
        }
        serde_json::Value::Object(map) => {
            left == 0 || map.values().any(|v| is_deeper_than(v, left - 1))
        }
        _ => false,
    }
}

fn replace_nul(event: &mut Event) {
    let text = |text: &mut String| *text = text.replace('\0', "\u{fffd}");
    event.action = event.action.replace('\0', "\u{fffd}").into();
    event.resource_type = event
        .resource_type
        .take()
        .map(|kind| kind.replace('\0', "\u{fffd}").into());
    for field in [
        &mut event.session_id,
        &mut event.user_agent,
        &mut event.resource_id,
    ]
    .into_iter()
    .flatten()
    {
        text(field);
    }
    for (key, value) in &mut event.metadata {
        *key = key.replace('\0', "\u{fffd}").into();
        if let Detail::Json(value) = value {
            replace_nul_in_json(value);
        }
    }
}

fn replace_nul_in_json(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::String(text) => *text = text.replace('\0', "\u{fffd}"),
        serde_json::Value::Array(values) => values.iter_mut().for_each(replace_nul_in_json),
        serde_json::Value::Object(map) => {
            let old = std::mem::take(map);
            map.extend(old.into_iter().map(|(key, mut value)| {
                replace_nul_in_json(&mut value);
                (key.replace('\0', "\u{fffd}"), value)
            }));
        }
        _ => {}
    }
}

fn truncate_bytes(text: &str, bytes: usize) -> &str {
    let end = text.floor_char_boundary(bytes);
    text.get(..end).unwrap_or(text)
}

fn truncate_agent(text: &str) -> &str {
    if text.len() <= USER_AGENT {
        return text;
    }
    text.char_indices()
        .nth(USER_AGENT)
        .and_then(|(end, _)| text.get(..end))
        .unwrap_or(text)
}

/// Formats a time in seconds since 1970.
fn format_seconds(seconds: u64) -> String {
    let (year, month, day) = civil_date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
}

/// Returns the Gregorian date of a day since 1970-01-01. Years are counted from March, so the leap
/// day is the last of its year, and 400 years always have 146,097 days.
fn civil_date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let of_month = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };

    (era * 400 + year + next, month, of_month)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::event::{Category, Outcome};

    fn encode_line(mut event: Event) -> Value {
        let mut out = Vec::new();
        let time = UNIX_EPOCH + Duration::from_micros(1_772_668_800_000_001);
        Writer::new("apollo/1").write_line(
            &mut out,
            &mut Queued {
                event: &mut event,
                time,
                seq: 7,
            },
        );

        assert_eq!(memchr::memchr_iter(b'\n', &out).count(), 1);
        serde_json::from_slice(&out).unwrap()
    }

    fn sample_event() -> Event {
        Event::new(Category::Data, "export_data", Outcome::Denied)
    }

    #[test]
    fn a_line_has_the_columns_of_the_table() {
        let mut got = encode_line(
            sample_event()
                .ip("::ffff:192.0.2.1".parse().unwrap())
                .cui()
                .detail("bytes", 5),
        );
        let id: Uuid = got["event_id"].as_str().unwrap().parse().unwrap();
        assert_eq!(id.get_version_num(), 7);

        got.as_object_mut().unwrap().remove("event_id");
        assert_eq!(
            got,
            json!({"timestamp": "2026-03-05T00:00:00.000001Z", "category": "data",
                   "action": "export_data", "result": "denied", "ip_address": "192.0.2.1", "cui_accessed": true,
                   "metadata": {"bytes": 5, "producer": "apollo/1", "producer_seq": 7}})
        );
    }

    #[test]
    fn handwritten_json_is_read_back_by_serde() {
        let hostile: String = (0..0x1ff_u32)
            .filter_map(char::from_u32)
            .filter(|c| *c != '\0')
            .collect();
        for n in [0, 9, 10, 99, 1_000_000, u64::MAX] {
            for ip in ["0.0.0.0", "255.10.1.100", "2001:db8::1", "::1"] {
                let id = Uuid::from_u128(u128::from(n) << 60);
                let got = encode_line(
                    sample_event()
                        .ip(ip.parse().unwrap())
                        .user(id)
                        .tenant(id)
                        .session(hostile.clone())
                        .user_agent("\"\\")
                        .resource("\u{7f}", "ü")
                        .detail(hostile.clone(), hostile.clone())
                        .detail("n", n)
                        .detail("any", json!({"a\"": [null, -1.5, true]})),
                );

                assert_eq!(got["ip_address"], ip);
                assert_eq!(
                    (&got["user_id"], &got["instance_id"]),
                    (&json!(id), &json!(id))
                );
                assert_eq!(
                    (&got["session_id"], &got["user_agent"]),
                    (&json!(hostile), &json!("\"\\"))
                );

                assert_eq!(
                    (&got["resource_type"], &got["resource_id"]),
                    (&json!("\u{7f}"), &json!("ü"))
                );
                assert_eq!(
                    (&got["metadata"][&hostile], &got["metadata"]["n"]),
                    (&json!(hostile), &json!(n))
                );

                assert_eq!(got["metadata"]["any"], json!({"a\"": [null, -1.5, true]}));
            }
        }
    }

    #[test]
    fn dates_match_the_calendar() {
        for (seconds, expect) in [
            (0, "1970-01-01T00:00:00"),
            (68_169_600, "1972-02-29T00:00:00"),
            (951_868_799, "2000-02-29T23:59:59"),
            (951_868_800, "2000-03-01T00:00:00"),
            (4_107_542_399, "2100-02-28T23:59:59"),
            (4_107_542_400, "2100-03-01T00:00:00"),
            (1_798_761_599, "2026-12-31T23:59:59"),
        ] {
            assert_eq!(format_seconds(seconds), expect);
        }
    }

    #[test]
    fn event_ids_are_unique() {
        let (one, two) = (Writer::new("a"), Writer::new("a"));
        let since = Duration::from_micros(1_772_668_800_000_001);
        let ids =
            (1..=200_000).flat_map(|seq| [one.event_id(since, seq), two.event_id(since, seq)]);
        let ids: std::collections::HashSet<Uuid> = ids.collect();
        assert_eq!(ids.len(), 400_000, "in one millisecond, of two runs");
        assert!(
            ids.iter()
                .all(|id| id.get_version_num() == 7 && id.get_variant() == uuid::Variant::RFC4122)
        );
    }

    #[test]
    fn oversized_and_invalid_text_is_cut_and_cleaned() {
        let got = encode_line(
            Event::new(Category::Access, "é".repeat(100), Outcome::Success)
                .user_agent("ü".repeat(600))
                .session("a\0b")
                .resource("api", "x".repeat(10_000))
                .detail("k\0", json!({"deep\0": ["\0"]}))
                .detail("producer", "forged"),
        );
        assert_eq!(got["action"], "é".repeat(64));

        assert_eq!(got["user_agent"].as_str().unwrap().chars().count(), 500);
        assert_eq!(got["session_id"], "a\u{fffd}b");
        assert_eq!(got["resource_id"].as_str().unwrap().len(), 8192);
        assert_eq!(
            got["metadata"]["k\u{fffd}"],
            json!({"deep\u{fffd}": ["\u{fffd}"]})
        );
        assert_eq!(got["metadata"]["producer"], "apollo/1");

        assert_eq!(
            encode_line(Event::new(Category::Access, "", Outcome::Success))["action"],
            "unnamed"
        );
    }

    #[test]
    fn only_metadata_is_lost_when_it_is_too_large() {
        let got = encode_line(sample_event().detail("a", "x".repeat(70_000)));
        assert_eq!(
            got["metadata"],
            json!({"metadata_lost": "too large", "producer": "apollo/1", "producer_seq": 7})
        );

        let mut deep = json!(1);
        for _ in 0..40 {
            deep = json!([deep]);
        }

        assert_eq!(
            encode_line(sample_event().detail("a", deep))["metadata"]["metadata_lost"],
            "too deep"
        );
        let many = json!(vec!["\u{1}".repeat(100); 200]);
        assert_eq!(
            encode_line(sample_event().detail("a", many))["metadata"]["metadata_lost"],
            "too large"
        );

        let fits = json!(vec!["x".repeat(100); 200]);
        assert_eq!(
            encode_line(sample_event().detail("a", fits.clone()))["metadata"]["a"],
            fits
        );
    }
}
