//! Evidence of incidents.

use super::super::operation::{Field, Record, Schema, record};
use super::{ANY, COUNT, ID, MAYBE_COUNT, MAYBE_TEXT, TEXT, TIME, YES};

record! {
    /// What happened to an item of evidence.
    CUSTODY = "Custody" {
        number: COUNT, "its place in the chain";
        event: Schema::OneOf(&["collected", "viewed", "exported", "transferred"]), "what happened";
        party: MAYBE_TEXT, "from whom it came, or to whom it went";
        remark: MAYBE_TEXT, "more about it";
        at: TIME, "when it was recorded";
        by: TEXT, "by whom";
    }
}

record! {
    /// An item of an incident's evidence.
    INCIDENT_EVIDENCE = "IncidentEvidence" {
        evidence_id: ID, "its id";
        incident_id: ID, "its incident";
        number: COUNT, "its place in the chain, by which it is named";
        evidence_type: Schema::OneOf(&["log_excerpt", "screenshot", "config", "timeline", "network_capture", "file", "note"]), "what it is";
        description: TEXT, "what it shows";
        file_name: MAYBE_TEXT, "the name of its file, made safe";
        original_name: MAYBE_TEXT, "the name that it had";
        media_type: MAYBE_TEXT, "what its content is";
        size_bytes: MAYBE_COUNT, "its size as it is kept";
        sha256: MAYBE_TEXT, "SHA-256 as it is kept";
        is_malware: YES, "whether it is a sample of malware, kept encrypted";
        sealed_to: MAYBE_TEXT, "to whom it is encrypted";
        sample_sha256: MAYBE_TEXT, "SHA-256 of the sample before it was encrypted";
        sample_bytes: MAYBE_COUNT, "its size then";
        query: ANY, "of an excerpt, the query that found it";
        collected_at: TIME, "when it was taken in";
        collected_by: TEXT, "by whom";
        record_hash: TEXT, "the hash of its record";
        custody: Schema::List(&Schema::Object(&CUSTODY)), "what happened to it, the first first";
    }
}
