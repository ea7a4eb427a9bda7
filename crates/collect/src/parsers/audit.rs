//! Audit events as NDJSON with the field names of `audit_events`.

use model::audit::Strangers;
use model::{AuditRecord, Source};

use super::{Format, LineId, LineParser, ParseContext, Parsed};

pub(super) const FORMAT: Format = Format {
    name: "audit",
    description: "one JSON object a line, its fields named as the columns of audit_events",
    source: Source::AuditDb,
    entry_rules: None,
    parser: |_: ParseContext| Box::new(Audit),
};

struct Audit;

impl LineParser for Audit {
    fn parse<'a>(&self, line: &'a [u8], id: LineId) -> Parsed<'a> {
        match AuditRecord::from_json(line, Strangers::Ignore) {
            Ok(record) => match record.timestamp {
                // An event without a time that arrives live happened then; a file has no arrival.
                None => Parsed::Rejected("timestamp: is missing".to_owned()),
                Some(at) => Parsed::Event(record.into_event(|| id.event_id(at), || at)),
            },
            Err(error) => Parsed::Rejected(error.to_string()),
        }
    }
}
