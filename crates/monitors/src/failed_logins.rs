//! Failed logins in a minute, of all users and addresses together, from applications and logs.

use model::{ControlId, Severity, Span};
use store::monitors::Counted;

use super::{Monitor, busiest_tables};

pub(super) const MONITOR: Monitor = Monitor {
    name: "failed_logins",
    what: "Failed logins",
    unit: " a minute",
    threshold: 10.0,
    severity: Severity::Medium,
    controls: &[ControlId::known("3.1.8")],
    measure: |around| Box::pin(busiest_tables(around, COUNTED, Span::mins(1))),
};

const COUNTED: Counted = Counted {
    category: Some("auth"),
    actions: &["login_failed"],
    failed: &["login"],
    postgres: &[],
};
