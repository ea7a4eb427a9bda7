//! Evidence of incidents (3.6.2): the records of its chain, items and what happened to them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ids::{IncidentId, UnknownWord};
use crate::time::Timestamp;
use crate::words;

/// `blueteam.incident_evidence.evidence_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IncidentEvidenceKind {
    /// Events or lines of a log.
    LogExcerpt,
    /// A picture of a screen.
    Screenshot,
    /// A configuration as it was found.
    Config,
    /// What happened in which order.
    Timeline,
    /// Captured traffic, such as a pcap file.
    NetworkCapture,
    /// Another file: a disk image, a sample of malware.
    File,
    /// What a person wrote down.
    Note,
}
words!(IncidentEvidenceKind,
    "log_excerpt, screenshot, config, timeline, network_capture (or pcap), file, note",
    LogExcerpt => "log_excerpt", Screenshot => "screenshot", Config => "config", Timeline => "timeline",
    NetworkCapture => "network_capture", File => "file", Note => "note");

impl IncidentEvidenceKind {
    /// Returns the kind of a name; `pcap` is what the design calls a captured traffic.
    pub fn named(text: &str) -> Result<Self, UnknownWord> {
        if text.trim().eq_ignore_ascii_case("pcap") {
            return Ok(Self::NetworkCapture);
        }
        text.parse()
    }
}

/// `blueteam.incident_custody.event`: what happened to evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CustodyEvent {
    /// It was taken in.
    Collected,
    /// Its content was shown.
    Viewed,
    /// A copy left blueteam.
    Exported,
    /// The thing itself, or a copy, was handed to someone.
    Transferred,
}
words!(CustodyEvent, "collected, viewed, exported, transferred",
    Collected => "collected", Viewed => "viewed", Exported => "exported", Transferred => "transferred");

/// A record of the chain of an incident's evidence: a row of `blueteam.incident_evidence` or of
/// `blueteam.incident_custody`.
///
/// Values are as they are stored, also those that nobody but a tamperer writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvidenceRecord {
    /// Its tenant.
    pub tenant: Uuid,
    /// Its incident.
    pub incident: IncidentId,
    /// Its place in the chain of the incident, from 1.
    pub sequence: i64,
    /// Hash of the record before it; zeros of the first.
    pub previous: String,
    /// Hash of this record, as it is stored.
    pub hash: String,
    /// Its own id.
    pub id: Uuid,
    /// Who recorded it, and for whom.
    pub by: String,
    /// The database login; none of what was recorded before there was a chain.
    pub login: Option<String>,
    /// When it was recorded.
    pub at: Timestamp,
    /// What it says.
    pub what: EvidenceEntry,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EvidenceEntry {
    /// An item of evidence.
    Item(Box<EvidenceItem>),
    /// What happened to an item, or to all of them.
    Custody(CustodyEntry),
}

/// An item of evidence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EvidenceItem {
    /// The word of its [`IncidentEvidenceKind`].
    pub kind: String,
    /// What it shows.
    pub description: String,
    /// Its text, of an item without a file.
    pub content: Option<String>,
    /// Its file, below the state directory.
    pub file_path: Option<String>,
    /// SHA-256 of the file or text as it is kept.
    pub sha256: Option<String>,
    /// Its size as it is kept, in bytes.
    pub size: Option<i64>,
    /// What its content is, by the content itself.
    pub media_type: Option<String>,
    /// The name of the file, made safe.
    pub file_name: Option<String>,
    /// The name that the file had, with what acts on terminals spelled out.
    pub original_name: Option<String>,
    /// The query that found an excerpt, as JSON.
    pub query: Option<String>,
    /// To whom the file is encrypted, of malware.
    pub sealed_to: Option<String>,
    /// SHA-256 of the file before it was encrypted.
    pub sample_sha256: Option<String>,
    /// Its size then.
    pub sample_size: Option<i64>,
}

impl EvidenceItem {
    /// Whether it is a sample of malware: kept encrypted, and never shown.
    pub const fn is_malware(&self) -> bool {
        self.sealed_to.is_some()
    }
}

/// What happened to an item, or to all items of an incident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustodyEntry {
    /// The item; none for all of the incident.
    pub evidence: Option<Uuid>,
    /// The word of its [`CustodyEvent`].
    pub event: String,
    /// From whom it came, or to whom it went.
    pub party: Option<String>,
    /// More about it.
    pub remark: Option<String>,
}

impl EvidenceRecord {
    /// Returns the item, if it is the record of one.
    pub fn item(&self) -> Option<&EvidenceItem> {
        match &self.what {
            EvidenceEntry::Item(item) => Some(item),
            EvidenceEntry::Custody(_) => None,
        }
    }

    /// Returns what happened, if it is the record of that.
    pub fn custody(&self) -> Option<&CustodyEntry> {
        match &self.what {
            EvidenceEntry::Custody(entry) => Some(entry),
            EvidenceEntry::Item(_) => None,
        }
    }
}

/// What the audit log says about a record: who changes the chain would have to change that, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvidenceWitness {
    /// The incident in whose chain the record was written.
    pub incident: IncidentId,
    /// The place in the chain that the record was given.
    pub sequence: i64,
    /// The record.
    pub id: Uuid,
    /// Its hash.
    pub hash: String,
    /// Columns of the row that are not what the audit log has; empty when the row is gone.
    pub changed: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pcap_is_a_network_capture() {
        let named = IncidentEvidenceKind::named;
        assert_eq!(named("PCAP"), Ok(IncidentEvidenceKind::NetworkCapture));
        assert_eq!(named("log-excerpt"), Ok(IncidentEvidenceKind::LogExcerpt));
        assert!(named("mail").is_err());
    }
}
