//! Certificates of the HTTP server and of TLS listeners that expire within 30 days. Two more
//! monitors report them again, 7 days before and on the last day, each in an alert of its own.

use model::{ControlId, Severity, Span};

use crate::{Around, Measured, Monitor, SOON};

pub(super) const MONITOR: Monitor = Monitor {
    name: "certificates",
    what: "Certificates that expire within 30 days",
    unit: "",
    threshold: 0.0,
    severity: Severity::High,
    controls: &[ControlId::known("3.13.8")],
    measure: |around| Box::pin(std::future::ready(Ok(measure(around, SOON)))),
};

/// How many of them are no longer valid after that span, or cannot be read.
pub(super) fn measure(around: &Around<'_>, within: Span) -> Measured {
    if around.certificates.is_empty() {
        return Measured::NotWatched("no certificate is configured".to_owned());
    }

    let ending = around
        .certificates
        .iter()
        .filter(|c| c.problem.is_some() || c.ends_within(within, around.now));
    let said: Vec<String> = ending
        .map(
            |certificate| match (&certificate.problem, certificate.warning(around.now)) {
                (Some(problem), _) => format!("{}: {problem}", certificate.file.display()),
                (None, warning) => warning.unwrap_or_default(),
            },
        )
        .collect();

    let first = around
        .certificates
        .iter()
        .filter_map(|certificate| certificate.not_after)
        .min();
    let detail = match first {
        Some(first) if said.is_empty() => format!("the first of them expires on {first}"),
        _ => said.join("; "),
    };

    Measured::Value(said.len() as f64, detail)
}
