//! Passwords that break the policy, as applications tell it: every one counts.

use model::{ControlId, Severity, Span};
use store::monitors::Counted;

use super::{Monitor, busiest_tables};

pub(super) const MONITOR: Monitor = Monitor {
    name: "policy_violations",
    what: "Violations of the password policy",
    unit: " in ten minutes",
    threshold: 0.0,
    severity: Severity::Low,
    controls: &[ControlId::known("3.5.7")],
    measure: |around| Box::pin(busiest_tables(around, COUNTED, Span::mins(10))),
};

const COUNTED: Counted = Counted {
    category: None,
    actions: &["password_policy_violation", "policy_violation"],
    failed: &[],
    postgres: &[],
};
