//! Certificates of the HTTP server and of TLS listeners that expire within a day.

use model::{ControlId, Severity, Span};

use super::Monitor;
use super::certificates::measure;

pub(super) const MONITOR: Monitor = Monitor {
    name: "certificates_1_day",
    what: "Certificates that expire within a day",
    unit: "",
    threshold: 0.0,
    severity: Severity::Critical,
    controls: &[ControlId::known("3.13.8")],
    measure: |around| Box::pin(std::future::ready(Ok(measure(around, Span::days(1))))),
};
