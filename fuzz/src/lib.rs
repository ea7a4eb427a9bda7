//! What is done with the fuzzer's bytes: read them as the product would, and hold against each
//! other what must be the same. A panic, a difference, or more time than `-timeout` is a finding.

use collect::entries::Entries;
use collect::framing::Framer;
use collect::otlp::{self, Encoding, Meaning};
use collect::parsers::{Parsed, journald};
use collect::{Format, LineId, ParseContext};
use model::audit::{Strangers, limits};
use model::{AuditRecord, EventId, Timestamp};

const NOW: Timestamp = Timestamp::from_secs(1_772_712_451);

/// Lines of a format: entries are put together, parsed, and are the same when parsed again and when
/// they own their bytes.
pub fn format(name: &str, data: &[u8]) {
    let format = Format::named(name).expect("a format of the list");
    let parser = (format.parser)(ParseContext::utc(NOW));
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
        if let Some(cursor) = journald::find_cursor(entry) {
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
        (messages, framer.discarded_bytes())
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
    let done = otlp::read_request(data, encoding, 1000, |_, meaning| {
        told += 1;
        if let Meaning::Event { record, .. } = meaning {
            check(&record);
        }
    });
    assert!(done.is_ok() || told == 0, "a request that is refused was told of");
    assert!(told <= 1000);
}

/// What a publisher writes: read twice it is the same, its parts keep their bounds, what is stored
/// of it is read again, and holding it against what we run ends.
pub fn advisory_feed(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(all) = advisories::feeds::read(text, None) else { return };
    assert_eq!(advisories::feeds::read(text, None).as_ref(), Ok(&all));
    let ours = [("deb", "openssl", "3.0.11-1"), ("cargo", "rsa", "0.9.6"), ("npm", "@a/b", ""), ("", "Sudo", "1.9.13p3")];
    let ours = ours.map(|(ecosystem, name, version)| advisories::Component::new(ecosystem, name, version));
    let index = advisories::Index::new(&ours);
    for advisory in &all.advisories {
        assert!(!advisory.id.is_empty() && advisory.id.len() <= 300 && advisory.vulnerability().len() <= 300);
        assert!(advisory.title.chars().count() <= 300 && advisory.summary.chars().count() <= 4000);
        assert!(advisory.due.as_ref().is_none_or(|day| day.len() == 10 && day.is_ascii()));
        let stored = serde_json::to_string(advisory).expect("what was read can be written");
        assert!(!has_nul(&serde_json::json!(advisory)), "PostgreSQL cannot keep it");
        assert_eq!(&serde_json::from_str::<advisories::Advisory>(&stored).expect("what was written can be read"), advisory);
        assert!(index.find_matches(advisory).len() <= ours.len());
        let _ = index.named_packages(advisory);
    }
}

fn has_nul(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::String(text) => text.contains('\0'),
        serde_json::Value::Array(items) => items.iter().any(has_nul),
        serde_json::Value::Object(map) => map.iter().any(|(key, value)| key.contains('\0') || has_nul(value)),
        _ => false,
    }
}

/// A list of what we run: read twice it is the same, in order, each component once and within the
/// bounds of its table.
pub fn advisory_inventory(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(all) = advisories::inventory::read(text, None) else { return };
    assert_eq!(advisories::inventory::read(text, None).as_ref(), Ok(&all));
    assert!(!all.is_empty() && all.is_sorted() && all.windows(2).all(|two| two[0] != two[1]));
    for component in &all {
        let parts = [&component.package.name, &component.version, &component.package.ecosystem.0];
        assert!(parts.iter().all(|part| !part.contains('\0') && part.len() <= 500) && !component.package.name.is_empty());
        let again = advisories::Component::new(&component.package.ecosystem.0, &component.package.name, &component.version);
        assert_eq!(&again, component, "as it comes back from the database");
    }
}

/// A report of a red team or a scanner: read twice it is the same, and its texts are bounded lines
/// that PostgreSQL can keep.
pub fn redteam_report(data: &[u8]) {
    use redteam::importers::{self, Hints};

    let Ok(report) = importers::read(data, Hints::default()) else { return };
    assert_eq!(importers::read(data, Hints::default()).as_ref(), Ok(&report));
    assert!(!has_nul(&serde_json::json!(report)), "PostgreSQL cannot keep it");
    for finding in &report.findings {
        assert!(finding.fingerprint.len() == 64 && finding.instances > 0 && !finding.title.is_empty());
        assert!(finding.title.len() <= 300 && finding.location.len() <= 1000 && finding.detail.len() <= 2000);
        assert!(!finding.detail.chars().any(char::is_control));
    }
}
