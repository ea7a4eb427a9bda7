//! The assessment plan: there because results must import one.

use serde_json::{Value, json};

use super::{href, metadata};
use crate::reports::Known;

/// Every control and every objective.
pub(super) fn reviewed() -> Value {
    json!({
        "control-selections": [{ "include-all": {} }],
        "control-objective-selections": [{ "include-all": {} }],
    })
}

pub(super) fn document(known: &Known<'_>) -> Value {
    json!({
        "metadata": metadata(known, "Assessment plan, CMMC Level 2"),
        "import-ssp": { "href": href("system-security-plans", "system-security-plan") },
        "reviewed-controls": reviewed(),
    })
}
