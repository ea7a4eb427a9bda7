//! The assessment plan, which exists only because results must import one.

use serde_json::{Value, json};

use super::{document_metadata, trestle_href};
use crate::reports::ReportContext;

/// Selects every control and every objective.
pub(super) fn reviewed_controls() -> Value {
    json!({
        "control-selections": [{ "include-all": {} }],
        "control-objective-selections": [{ "include-all": {} }],
    })
}

pub(super) fn plan_document(known: &ReportContext<'_>) -> Value {
    json!({
        "metadata": document_metadata(known, "Assessment plan, CMMC Level 2"),
        "import-ssp": { "href": trestle_href("system-security-plans", "system-security-plan") },
        "reviewed-controls": reviewed_controls(),
    })
}
