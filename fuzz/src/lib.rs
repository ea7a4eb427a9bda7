//! What is done with the fuzzer's bytes: read them as the product would, and hold against each other what must be the same.
//! A panic, a difference, or more time than `-timeout` is a finding.

use collect::entries::Entries;
use collect::framing::Framer;
use collect::otlp::{self, Encoding, Meaning};
use collect::parsers::{Parsed, journald};
use collect::{Format, LineId, Reference};
use model::audit::{Strangers, limits};
use model::{AuditRecord, EventId, Timestamp};

const NOW: Timestamp = Timestamp::from_secs(1_772_712_451);

/// Lines of a format: entries are put together, parsed, and are the same when parsed again and when they own their bytes.
pub fn format(name: &str, data: &[u8]) {
    let format = Format::named(name).expect("a format of the list");
    let parser = (format.parser)(Reference::utc(NOW));
    let mut entries = Entries::of(format);
    let lines = data.split(|byte| *byte == b'\n').zip(0..);
    let mut all = entries.push(lines.map(|(line, offset)| (LineId { file: 7, offset }, line)));
    all.extend(entries.finish());
    for (id, entry) in &all {
        let parsed = parser.parse(entry, *id);
        assert_eq!(parsed, parser.parse(entry, *id));
        if let Parsed::Event(event) = parsed {
            assert!(event.occurrences > 0);
            assert_eq!(event.clone().into_owned(), event);
            let _ = (event.account(), event.role(), event.severity());
        }
        if let Some(cursor) = journald::cursor(entry) {
            assert!(cursor.bytes().all(|b| b.is_ascii_graphic()) && !cursor.starts_with('-'));
            let _ = journald::line_id(&cursor);
        }
    }
}

/// A stream in two pieces is the same messages as in one, and none is longer than allowed.
pub fn framing(data: &[u8]) {
    const MAX: usize = 64;
    let read = |pieces: &[&[u8]]| {
        let (mut framer, mut messages) = (Framer::new(MAX), Vec::new());
        for piece in pieces {
            framer.push(piece, &mut messages);
        }
        messages.extend(framer.finish());
        (messages, framer.cut())
    };
    let whole = read(&[data]);
    assert!(whole.0.iter().all(|message| message.len() <= MAX));
    let (head, tail) = data.split_at(data.len() / 2);
    assert_eq!(read(&[head, tail]), whole);
    let bytes: Vec<&[u8]> = data.chunks(1).collect();
    assert_eq!(read(&bytes), whole);
}

/// What the ingest takes keeps its bounds, and means the same when it owns its bytes.
pub fn json_ingest(data: &[u8]) {
    let refusing = AuditRecord::from_json(data, Strangers::Refuse);
    let ignoring = AuditRecord::from_json(data, Strangers::Ignore);
    let Ok(record) = refusing else { return };
    assert_eq!(ignoring.as_ref(), Ok(&record));
    check(&record);
    let owned = record.clone().into_owned();
    assert_eq!(owned, record);
    let _ = owned.into_event(|| EventId(Default::default()), || NOW).account();
}

fn check(record: &AuditRecord<'_>) {
    assert!(!record.action.is_empty() && record.action.len() <= limits::ACTION);
    assert!(record.metadata.as_json().len() <= limits::METADATA);
    let within = |text: &Option<model::Text<'_>>, most: usize| text.as_ref().is_none_or(|t| t.len() <= most && !t.contains('\0'));
    assert!(within(&record.session_id, limits::SESSION_ID) && within(&record.user_agent, 4 * limits::USER_AGENT));
    assert!(within(&record.resource_type, limits::RESOURCE_TYPE) && within(&record.resource_id, limits::RESOURCE_ID));
}

/// `ExportLogsServiceRequest` in protobuf.
pub fn otlp_protobuf(data: &[u8]) {
    request(data, Encoding::Protobuf);
}

/// `ExportLogsServiceRequest` in JSON.
pub fn otlp_json(data: &[u8]) {
    request(data, Encoding::Json);
}

fn request(data: &[u8], encoding: Encoding) {
    let mut told = 0;
    let done = otlp::read(data, encoding, 1000, |meaning| {
        told += 1;
        if let Meaning::Event { record, .. } = meaning {
            check(&record);
        }
    });
    assert!(done.is_ok() || told == 0, "a request that is refused was told of");
    assert!(told <= 1000);
}
