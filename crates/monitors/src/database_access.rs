//! What the database refused: logins, access and changes, from its own log and from what
//! applications report.

use model::{ControlId, Severity, Span};
use store::monitors::Counted;

use super::{Monitor, busiest_tables};

pub(super) const MONITOR: Monitor = Monitor {
    name: "database_access",
    what: "Unauthorized access to the database",
    unit: " in ten minutes",
    threshold: 0.0,
    severity: Severity::High,
    controls: &[ControlId::known("3.1.2"), ControlId::known("3.3.8")],
    measure: |around| Box::pin(busiest_tables(around, COUNTED, Span::mins(10))),
};

const COUNTED: Counted = Counted {
    category: None,
    actions: &["unauthorized_database_access"],
    failed: &[],
    postgres: &["login_failed", "permission_denied", "write_refused"],
};
