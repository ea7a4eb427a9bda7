//! Accounts that were locked in an hour, as applications tell it.

use model::{ControlId, Severity, Span};
use store::monitors::Counted;

use super::{Monitor, busiest_tables};

pub(super) const MONITOR: Monitor = Monitor {
    name: "lockouts",
    what: "Account lockouts",
    unit: " an hour",
    threshold: 5.0,
    severity: Severity::Medium,
    controls: &[ControlId::known("3.1.8")],
    measure: |around| Box::pin(busiest_tables(around, COUNTED, Span::hours(1))),
};

const COUNTED: Counted = Counted {
    category: Some("auth"),
    actions: &["account_locked", "account_lockout"],
    failed: &[],
    postgres: &[],
};
