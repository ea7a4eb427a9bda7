//! Evidence as lists, pages and answers show it.

use model::{EvidenceRecord, IncidentId, Timestamp};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

/// An item of evidence.
#[derive(Clone, Debug, Serialize)]
pub struct ItemView {
    /// The item.
    pub evidence_id: Uuid,
    /// Its incident.
    pub incident_id: IncidentId,
    /// Its place in the chain, by which people name it.
    pub number: i64,
    /// What it is.
    pub evidence_type: String,
    /// What it shows.
    pub description: String,
    /// The name of its file, made safe.
    pub file_name: Option<String>,
    /// The name that the file had.
    pub original_name: Option<String>,
    /// What its content is.
    pub media_type: Option<String>,
    /// Its size as it is kept, in bytes.
    pub size_bytes: Option<i64>,
    /// SHA-256 as it is kept.
    pub sha256: Option<String>,
    /// Whether it is a sample of malware: kept encrypted, and never shown.
    pub is_malware: bool,
    /// To whom it is encrypted.
    pub sealed_to: Option<String>,
    /// SHA-256 of the sample before it was encrypted.
    pub sample_sha256: Option<String>,
    /// Its size then.
    pub sample_bytes: Option<i64>,
    /// The query that found an excerpt.
    pub query: Option<Value>,
    /// When it was taken in.
    pub collected_at: Timestamp,
    /// By whom.
    pub collected_by: String,
    /// The hash of its record.
    pub record_hash: String,
    /// What happened to it, the first first.
    pub custody: Vec<CustodyView>,
}

/// What happened to an item, or to all of an incident.
#[derive(Clone, Debug, Serialize)]
pub struct CustodyView {
    /// Its place in the chain.
    pub number: i64,
    /// `collected`, `viewed`, `exported` or `transferred`.
    pub event: String,
    /// From whom it came, or to whom it went.
    pub party: Option<String>,
    /// More about it.
    pub remark: Option<String>,
    /// When it was recorded.
    pub at: Timestamp,
    /// By whom.
    pub by: String,
}

/// The evidence of an incident.
#[derive(Clone, Debug, Serialize)]
pub struct Listing {
    /// The incident.
    pub incident_id: IncidentId,
    /// Its items, the first one first.
    pub items: Vec<ItemView>,
    /// What happened to all of them at once.
    pub custody: Vec<CustodyView>,
    /// How many records the chain has.
    pub records: usize,
    /// The hash of the last one.
    pub head: Option<String>,
}

impl ItemView {
    /// An item, with what `records` say happened to it.
    pub(super) fn of(record: &EvidenceRecord, records: &[EvidenceRecord]) -> Self {
        let item = record.item().cloned().unwrap_or_default();
        Self {
            evidence_id: record.id,
            incident_id: record.incident,
            number: record.sequence,
            is_malware: item.is_malware(),
            evidence_type: item.kind,
            description: item.description,
            file_name: item.file_name,
            original_name: item.original_name,
            media_type: item.media_type,
            size_bytes: item.size,
            sha256: item.sha256,
            sealed_to: item.sealed_to,
            sample_sha256: item.sample_sha256,
            sample_bytes: item.sample_size,
            query: item
                .query
                .and_then(|query| serde_json::from_str(&query).ok()),
            collected_at: record.at,
            collected_by: record.by.clone(),
            record_hash: record.hash.clone(),
            custody: custody_of(Some(record.id), records),
        }
    }
}

impl Listing {
    pub(super) fn of(incident: IncidentId, records: &[EvidenceRecord]) -> Self {
        let items = records.iter().filter(|record| record.item().is_some());
        Self {
            incident_id: incident,
            items: items.map(|record| ItemView::of(record, records)).collect(),
            custody: custody_of(None, records),
            records: records.len(),
            head: records.last().map(|record| record.hash.clone()),
        }
    }
}

fn custody_of(item: Option<Uuid>, records: &[EvidenceRecord]) -> Vec<CustodyView> {
    records
        .iter()
        .filter_map(|record| {
            let entry = record.custody()?;
            (entry.evidence == item).then(|| CustodyView {
                number: record.sequence,
                event: entry.event.clone(),
                party: entry.party.clone(),
                remark: entry.remark.clone(),
                at: record.at,
                by: record.by.clone(),
            })
        })
        .collect()
}
