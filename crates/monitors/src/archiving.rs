//! Whether PostgreSQL gets rid of its write-ahead log: without it there is no restoring to a point
//! in time, and the disk fills up.

use model::{ControlId, Severity};

use super::{Around, Measured, Monitor};

pub(super) const MONITOR: Monitor = Monitor {
    name: "archiving",
    what: "Archiving of the database's log fails since",
    unit: " h",
    threshold: 0.0,
    severity: Severity::High,
    controls: &[ControlId::known("3.8.9")],
    measure: |around| Box::pin(measure_archiving(around)),
};

async fn measure_archiving(around: &mut Around<'_>) -> anyhow::Result<Measured> {
    let archiving = store::monitors::archiving(around.conn).await?;
    if !archiving.on {
        return Ok(Measured::NotWatched(
            "the server archives no log (archive_mode = off)".to_owned(),
        ));
    }

    let Some(failed) = archiving
        .failed_at
        .filter(|failed| archiving.archived_at.is_none_or(|done| done < *failed))
    else {
        return Ok(Measured::Value(
            0.0,
            "the last attempt succeeded, or there was none yet".to_owned(),
        ));
    };

    let since = archiving
        .archived_at
        .or(archiving.counted_since)
        .unwrap_or(failed);
    let hours = around.now.since(since).as_micros().max(1) as f64 / 3.6e9;
    let file = archiving.failed_file.unwrap_or_default();

    Ok(Measured::Value(
        hours,
        format!("{file} could not be archived at {failed}"),
    ))
}
