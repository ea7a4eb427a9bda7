//! Certificates of the HTTP server and of TLS listeners that expire within 7 days.

use model::{ControlId, Severity, Span};

use super::Monitor;
use super::certificates::measure;

pub(super) const MONITOR: Monitor = Monitor {
    name: "certificates_7_days",
    what: "Certificates that expire within 7 days",
    unit: "",
    threshold: 0.0,
    severity: Severity::High,
    controls: &[ControlId::known("3.13.8")],
    measure: |around| Box::pin(std::future::ready(Ok(measure(around, Span::days(7))))),
};
