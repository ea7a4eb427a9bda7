//! Sessions of the database server, of the most that there may be.

use model::{ControlId, Severity};

use super::{Around, Measured, Monitor};

pub(super) const MONITOR: Monitor = Monitor {
    name: "connections",
    what: "Database connections in use",
    unit: " %",
    threshold: 80.0,
    severity: Severity::High,
    controls: &[ControlId::known("3.3.4")],
    measure: |around| Box::pin(measure_connections(around)),
};

async fn measure_connections(around: &mut Around<'_>) -> anyhow::Result<Measured> {
    let (used, most) = store::monitors::connections(around.conn).await?;
    // Numbers of sessions are small.
    Ok(Measured::Value(
        used as f64 * 100.0 / most.max(1) as f64,
        format!("{used} of {most}"),
    ))
}
