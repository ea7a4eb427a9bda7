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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The application's fields stay as they are, whatever a person puts into another.
        #[test]
        fn no_text_of_a_person_changes_an_event(
            sent in "(\\PC{0,5}|\"|\\\\|,|\u{0}|\n|\u{feff}){0,8}",
            escape in prop_oneof![Just(""), Just("\\ud800"), Just("\\u0000")],
        ) {
            let text = serde_json::Value::from(sent).to_string();
            let text = format!("{}{escape}\"", &text[..text.len() - 1]);
            let line = format!(
                r#"{{"timestamp":"2026-03-04T10:00:00Z","category":"auth","action":"login_failed","result":"failure","user_agent":{text},"ip_address":"203.0.113.9","metadata":{{"username":{text}}}}}"#
            );
            let id = LineId { file: 1, offset: 1 };
            let Parsed::Event(event) = Audit.parse(line.as_bytes(), id) else { panic!("{line}") };
            let client = std::net::Ipv4Addr::new(203, 0, 113, 9);
            prop_assert_eq!(event.ip_address, Some(client.into()));
            prop_assert_eq!(event.timestamp.to_string(), "2026-03-04T10:00:00Z");
            prop_assert_eq!(&*event.action, "login_failed");
        }
    }
}
