//! An event as a line of JSON: what is spooled, and what both sinks take.

mod json;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use uuid::Uuid;

use crate::event::{Detail, Event};
use json::{Json, Unwritten};

/// Longest values of the table's columns and of the ingest, in bytes (the agent: characters).
const ACTION: usize = 128;
const SESSION_ID: usize = 1024;
const USER_AGENT: usize = 500;
const RESOURCE_TYPE: usize = 2048;
const RESOURCE_ID: usize = 8192;
/// A little below the ingest's, for `producer` and `producer_seq` are ours to add.
const METADATA: usize = 60 * 1024;
/// Likewise below its nesting.
const DEPTH: usize = 24;

/// An event with what the logger adds to it.
#[derive(Debug)]
pub(crate) struct Queued<'a> {
    pub(crate) event: &'a mut Event,
    pub(crate) time: SystemTime,
    pub(crate) seq: u64,
}

/// Writes the lines of one run. Clones write lines of the same run.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    /// The last members of `metadata`, but for the number.
    producer: Arc<str>,
    /// Random for each run; with the sequence number it makes the ids, so that no event costs a
    /// call for random bytes.
    seed: u64,
    /// The second that was written last, and its date and time: most events share them with the one
    /// before.
    second: u64,
    date: String,
}

impl Writer {
    pub(crate) fn new(producer: &str) -> Self {
        let (seed, _) = Uuid::new_v4().as_u64_pair();
        // The version's bits, which are the same in each, are spread by the mixing.
        let producer = format!(
            "\"producer\":{},\"producer_seq\":",
            serde_json::Value::from(producer)
        );
        Self {
            producer: producer.into(),
            seed: mix(seed),
            second: 0,
            date: date(0),
        }
    }

    /// Appends the event's line, its end included. The id is made here.
    pub(crate) fn write(&mut self, out: &mut Vec<u8>, queued: &mut Queued<'_>) {
        bound_metadata(queued.event);
        let start = out.len();
        if let Ok(nul) = self.encode(out, queued)
            && (!nul || memchr::memmem::find(&out[start..], b"\\u0000").is_none())
        {
            return;
        }
        // PostgreSQL stores no NUL (a false alarm only costs a second look); and a value that is no
        // JSON, of which we know none, must not cost us the event.
        out.truncate(start);
        clean(queued.event);
        if self.encode(out, queued).is_err() {
            out.truncate(start);
            queued.event.metadata =
                vec![("metadata_lost".into(), Detail::Word("not serialisable"))];
            if self.encode(out, queued).is_err() {
                out.truncate(start);
            }
        }
    }

    /// Gives whether the line may hold a NUL.
    fn encode(&mut self, out: &mut Vec<u8>, queued: &Queued<'_>) -> Result<bool, Unwritten> {
        let Queued { event, time, seq } = queued;
        // A clock before 1970 is no clock; the server will say so.
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut json = Json::new(out);
        json.raw("{\"event_id\":");
        json.uuid(self.id(since, *seq));
        // To the microsecond, as PostgreSQL keeps it: a retry must carry the very same time.
        json.raw(",\"timestamp\":\"");
        json.raw(self.date_of(since));
        json.raw(".");
        json.micros(since.subsec_micros());
        json.raw("Z\",\"category\":");
        json.word(event.category.as_str());
        json.raw(",\"action\":");
        json.text(if event.action.is_empty() {
            "unnamed"
        } else {
            cut(&event.action, ACTION)
        })?;
        json.raw(",\"result\":");
        json.word(event.outcome.as_str());
        if let Some(id) = event.user_id {
            json.raw(",\"user_id\":");
            json.uuid(id);
        }
        if let Some(id) = event.instance_id {
            json.raw(",\"instance_id\":");
            json.uuid(id);
        }
        if let Some(ip) = event.ip_address {
            json.raw(",\"ip_address\":");
            json.ip(ip.to_canonical())?;
        }
        for (key, text) in [
            (
                ",\"session_id\":",
                event
                    .session_id
                    .as_deref()
                    .map(|text| cut(text, SESSION_ID)),
            ),
            (
                ",\"user_agent\":",
                event.user_agent.as_deref().map(cut_agent),
            ),
            (
                ",\"resource_type\":",
                event
                    .resource_type
                    .as_deref()
                    .map(|text| cut(text, RESOURCE_TYPE)),
            ),
            (
                ",\"resource_id\":",
                event
                    .resource_id
                    .as_deref()
                    .map(|text| cut(text, RESOURCE_ID)),
            ),
        ] {
            if let Some(text) = text {
                json.raw(key);
                json.text(text)?;
            }
        }
        json.raw(if event.cui_accessed {
            ",\"cui_accessed\":true"
        } else {
            ",\"cui_accessed\":false"
        });
        json.raw(",\"metadata\":{");
        for (key, value) in event
            .metadata
            .iter()
            .filter(|(key, _)| key != "producer" && key != "producer_seq")
        {
            json.text(key)?;
            json.raw(":");
            json.detail(value)?;
            json.raw(",");
        }
        json.raw(&self.producer);
        json.number(*seq);
        json.raw("}}\n");
        Ok(json.nul)
    }

    /// Ordered by time (UUIDv7), which an index likes. Within a run the number tells two of one
    /// millisecond apart, between runs the seed does.
    fn id(&self, since: Duration, seq: u64) -> Uuid {
        let mut bytes = [0; 10];
        let (low, high) = bytes.split_at_mut(2);
        low.copy_from_slice(&(seq as u16).to_be_bytes());
        high.copy_from_slice(&mix(self.seed.wrapping_add(seq)).to_be_bytes());
        uuid::Builder::from_unix_timestamp_millis(since.as_millis() as u64, &bytes).into_uuid()
    }

    fn date_of(&mut self, since: Duration) -> &str {
        if since.as_secs() != self.second {
            (self.second, self.date) = (since.as_secs(), date(since.as_secs()));
        }
        &self.date
    }
}

/// Spreads the bits of a number over all of it; no two numbers meet (SplitMix64's last step).
fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// Metadata beyond what the ingest takes is replaced by a word about it; the event is worth more.
fn bound_metadata(event: &mut Event) {
    let deep = event
        .metadata
        .iter()
        .any(|(_, value)| matches!(value, Detail::Json(json) if deeper(json, DEPTH)));

    // Most are small, and known to be so without writing them out.
    let size = |event: &Event| {
        event
            .metadata
            .iter()
            .map(|(k, v)| k.len() + weight(v))
            .sum::<usize>()
    };

    if deep || (size(event) > METADATA / 8 && written(event) > METADATA) {
        event.metadata = vec![(
            "metadata_lost".into(),
            Detail::Word(if deep { "too deep" } else { "too large" }),
        )];
    }
}

fn written(event: &Event) -> usize {
    let lengths = event
        .metadata
        .iter()
        .map(|(k, v)| k.len() * 6 + 4 + serde_json::to_vec(v).map_or(0, |v| v.len()));
    lengths.sum()
}

/// At least an eighth of the written length: a character is written in six bytes at most, a number
/// in less than twenty-five.
fn weight(value: &Detail) -> usize {
    fn json(value: &serde_json::Value) -> usize {
        match value {
            serde_json::Value::String(text) => text.len() + 1,
            serde_json::Value::Array(values) => 1 + values.iter().map(json).sum::<usize>(),
            serde_json::Value::Object(map) => {
                1 + map
                    .iter()
                    .map(|(k, v)| k.len() + 1 + json(v))
                    .sum::<usize>()
            }
            _ => 4,
        }
    }

    match value {
        Detail::Json(value) => json(value),
        _ => 4,
    }
}

fn deeper(value: &serde_json::Value, left: usize) -> bool {
    match value {
        serde_json::Value::Array(values) => left == 0 || values.iter().any(|v| deeper(v, left - 1)),
        serde_json::Value::Object(map) => left == 0 || map.values().any(|v| deeper(v, left - 1)),
        _ => false,
    }
}

fn clean(event: &mut Event) {
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
            clean_json(value);
        }
    }
}

fn clean_json(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::String(text) => *text = text.replace('\0', "\u{fffd}"),
        serde_json::Value::Array(values) => values.iter_mut().for_each(clean_json),
        serde_json::Value::Object(map) => {
            let old = std::mem::take(map);
            map.extend(old.into_iter().map(|(key, mut value)| {
                clean_json(&mut value);
                (key.replace('\0', "\u{fffd}"), value)
            }));
        }
        _ => {}
    }
}

fn cut(text: &str, bytes: usize) -> &str {
    let end = text.floor_char_boundary(bytes);
    text.get(..end).unwrap_or(text)
}

fn cut_agent(text: &str) -> &str {
    if text.len() <= USER_AGENT {
        return text;
    }
    text.char_indices()
        .nth(USER_AGENT)
        .and_then(|(end, _)| text.get(..end))
        .unwrap_or(text)
}

/// Date and time of a second since 1970.
fn date(seconds: u64) -> String {
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
}

/// The date of a day, counted from 1970-01-01, in the Gregorian calendar: years are counted from
/// March, so that the odd day is the last of its year, and four centuries always have 146,097 days.
fn civil(days: u64) -> (u64, u64, u64) {
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

    fn line(mut event: Event) -> Value {
        let mut out = Vec::new();
        let time = UNIX_EPOCH + Duration::from_micros(1_772_668_800_000_001);
        Writer::new("apollo/1").write(
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

    fn event() -> Event {
        Event::new(Category::Data, "export_data", Outcome::Denied)
    }

    #[test]
    fn a_line_holds_what_the_table_takes() {
        let mut got = line(
            event()
                .ip("::ffff:192.0.2.1".parse().unwrap())
                .cui()
                .detail("bytes", 5),
        );
        let id: Uuid = got["event_id"].as_str().unwrap().parse().unwrap();
        assert_eq!(id.get_version_num(), 7);

        got.as_object_mut().unwrap().remove("event_id");
        assert_eq!(
            got,
            json!({"timestamp": "2026-03-05T00:00:00.000001Z", "category": "data", "action": "export_data", "result": "denied",
                   "ip_address": "192.0.2.1", "cui_accessed": true,
                   "metadata": {"bytes": 5, "producer": "apollo/1", "producer_seq": 7}})
        );
    }

    #[test]
    fn what_is_written_by_hand_is_what_the_library_reads() {
        let hostile: String = (0..0x1ff_u32)
            .filter_map(char::from_u32)
            .filter(|c| *c != '\0')
            .collect();
        for n in [0, 9, 10, 99, 1_000_000, u64::MAX] {
            for ip in ["0.0.0.0", "255.10.1.100", "2001:db8::1", "::1"] {
                let id = Uuid::from_u128(u128::from(n) << 60);
                let got = line(
                    event()
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
    fn dates_are_those_of_the_calendar() {
        for (seconds, expect) in [
            (0, "1970-01-01T00:00:00"),
            (68_169_600, "1972-02-29T00:00:00"),
            (951_868_799, "2000-02-29T23:59:59"),
            (951_868_800, "2000-03-01T00:00:00"),
            (4_107_542_399, "2100-02-28T23:59:59"),
            (4_107_542_400, "2100-03-01T00:00:00"),
            (1_798_761_599, "2026-12-31T23:59:59"),
        ] {
            assert_eq!(date(seconds), expect);
        }
    }

    #[test]
    fn no_two_ids_are_the_same() {
        let (one, two) = (Writer::new("a"), Writer::new("a"));
        let since = Duration::from_micros(1_772_668_800_000_001);
        let ids = (1..=200_000).flat_map(|seq| [one.id(since, seq), two.id(since, seq)]);
        let ids: std::collections::HashSet<Uuid> = ids.collect();
        assert_eq!(ids.len(), 400_000, "in one millisecond, of two runs");
        assert!(
            ids.iter()
                .all(|id| id.get_version_num() == 7 && id.get_variant() == uuid::Variant::RFC4122)
        );
    }

    #[test]
    fn what_no_column_takes_is_cut_and_cleaned() {
        let got = line(
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
            line(Event::new(Category::Access, "", Outcome::Success))["action"],
            "unnamed"
        );
    }

    #[test]
    fn too_much_metadata_costs_the_metadata_alone() {
        let got = line(event().detail("a", "x".repeat(70_000)));
        assert_eq!(
            got["metadata"],
            json!({"metadata_lost": "too large", "producer": "apollo/1", "producer_seq": 7})
        );

        let mut deep = json!(1);
        for _ in 0..40 {
            deep = json!([deep]);
        }

        assert_eq!(
            line(event().detail("a", deep))["metadata"]["metadata_lost"],
            "too deep"
        );
        let many = json!(vec!["\u{1}".repeat(100); 200]);
        assert_eq!(
            line(event().detail("a", many))["metadata"]["metadata_lost"],
            "too large"
        );

        let fits = json!(vec!["x".repeat(100); 200]);
        assert_eq!(
            line(event().detail("a", fits.clone()))["metadata"]["a"],
            fits
        );
    }
}
