//! The chain of an incident's evidence: each record's hash covers every field of the record and the
//! hash of the record before it (decision 0062).
//!
//! A chain proves that nobody changed something in its middle. Who may write to the database can
//! cut its end off, or rewrite all of it; so what the audit log says about each record is
//! compared, and its newest signed manifest is what a chain is compared with outside of blueteam.

mod faults;

use std::fmt::Write as _;

use model::{EvidenceEntry, EvidenceRecord, Timestamp};
use sha2::{Digest as _, Sha256};

pub use faults::{Fault, Verdict, verify};

/// The form of the records that are hashed: another list of fields is another form.
pub const FORM: &str = "blueteam-evidence-1";
/// What the first record follows.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// A field of a record, as it is hashed and exported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Its value; none where there is none, which is not the same as an empty one.
    pub value: Option<String>,
}

/// Returns the fields of a record, without its hash, in the order in which they are hashed.
pub fn fields(record: &EvidenceRecord) -> Vec<Field> {
    let some = |name, value: &dyn ToString| Field {
        name,
        value: Some(value.to_string()),
    };
    let text = |name, value: &Option<String>| Field {
        name,
        value: value.clone(),
    };
    let number = |name, value: Option<i64>| Field {
        name,
        value: value.map(|value| value.to_string()),
    };

    let record_type = match record.what {
        EvidenceEntry::Item(_) => "item",
        EvidenceEntry::Custody(_) => "custody",
    };
    let mut fields = vec![
        some("form", &FORM),
        some("record", &record_type),
        some("tenant_id", &record.tenant),
        some("incident_id", &record.incident),
        some("sequence", &record.sequence),
        some("previous_hash", &record.previous),
        some("id", &record.id),
        some("recorded_by", &record.by),
        text("login", &record.login),
        some("recorded_at", &time(record.at)),
    ];

    match &record.what {
        EvidenceEntry::Item(item) => fields.extend([
            some("evidence_type", &item.kind),
            some("description", &item.description),
            text("content", &item.content),
            text("file_path", &item.file_path),
            text("hash_sha256", &item.sha256),
            number("size_bytes", item.size),
            text("media_type", &item.media_type),
            text("file_name", &item.file_name),
            text("original_name", &item.original_name),
            text("query", &item.query),
            text("sealed_to", &item.sealed_to),
            text("sample_sha256", &item.sample_sha256),
            number("sample_bytes", item.sample_size),
        ]),
        EvidenceEntry::Custody(entry) => fields.extend([
            Field {
                name: "evidence_id",
                value: entry.evidence.map(|id| id.to_string()),
            },
            some("event", &entry.event),
            text("party", &entry.party),
            text("remark", &entry.remark),
        ]),
    }
    fields
}

/// A time with microseconds, always: `2026-03-05T14:07:31.250000Z`.
fn time(at: Timestamp) -> String {
    format!("{:.6}", at.to_jiff())
}

/// Returns what is hashed: name and value of each field, each as `length:bytes,` with the length in
/// bytes, and `-` for a value that is not there. A program of ten lines does the same.
pub fn canonical(fields: &[Field]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1024);
    for field in fields {
        push(&mut bytes, field.name);
        match &field.value {
            Some(value) => push(&mut bytes, value),
            // A length begins with a digit, so nothing that is there is taken for this.
            None => bytes.push(b'-'),
        }
    }
    bytes
}

fn push(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend_from_slice(text.len().to_string().as_bytes());
    bytes.push(b':');
    bytes.extend_from_slice(text.as_bytes());
    bytes.push(b',');
}

/// Returns the hash of a record by what it says, whatever hash is stored with it.
pub fn hash(record: &EvidenceRecord) -> String {
    hex(&Sha256::digest(canonical(&fields(record))))
}

/// Returns the record with its hash, to be stored.
pub fn sealed(record: EvidenceRecord) -> EvidenceRecord {
    EvidenceRecord {
        hash: hash(&record),
        ..record
    }
}

/// Returns a record as a line of JSON: its fields in their order, and its hash.
pub fn line(record: &EvidenceRecord) -> String {
    let mut line = String::from("{");
    for field in fields(record) {
        let value = match field.value {
            Some(value) => serde_json::Value::String(value),
            None => serde_json::Value::Null,
        };
        let _ = write!(line, "\"{}\":{value},", field.name);
    }
    let _ = write!(
        line,
        "\"record_hash\":{}}}",
        serde_json::Value::String(record.hash.clone())
    );
    line
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests;
