//! The longest query that runs at the moment of looking. What begins and ends between two looks is
//! not seen.

use model::{ControlId, Severity};

use super::{Around, Measured, Monitor};

pub(super) const MONITOR: Monitor = Monitor {
    name: "slow_queries",
    what: "Longest running query",
    unit: " s",
    threshold: 1.0,
    severity: Severity::Low,
    controls: &[ControlId::known("3.14.6")],
    measure: |around| Box::pin(measure_queries(around)),
};

async fn measure_queries(around: &mut Around<'_>) -> anyhow::Result<Measured> {
    let queries = store::monitors::slow_queries(around.conn, around.threshold).await?;
    let hidden = match queries.hidden {
        0 => String::new(),
        n => format!(
            "; {n} sessions could not be looked into (grant pg_read_all_stats to the owner of the \
                schema blueteam)"
        ),
    };

    Ok(Measured::Value(
        queries.longest,
        format!(
            "{} queries run for longer than is allowed{hidden}",
            queries.slow
        ),
    ))
}
