//! The fullest of the file systems that hold our state, the private cluster, and what the
//! configuration names.

use model::{ControlId, Severity};
use rustix::fs::statvfs;

use super::{Around, Measured, Monitor};

pub(super) const MONITOR: Monitor = Monitor {
    name: "storage",
    what: "Disk space in use",
    unit: " %",
    threshold: 85.0,
    severity: Severity::High,
    controls: &[ControlId::known("3.3.4")],
    measure: |around| Box::pin(std::future::ready(Ok(measure_storage(around)))),
};

fn measure_storage(around: &Around<'_>) -> Measured {
    let mut fullest: Option<(f64, String)> = None;
    for path in around.storage {
        let stat = match statvfs(path) {
            Ok(stat) => stat,
            // A disk that has gone away is full for whoever wants to write to it.
            Err(error) => {
                return Measured::Worst(format!("{} cannot be looked at: {error}", path.display()));
            }
        };

        // As `df` counts: what is reserved for the superuser is not free.
        let (used, free) = (stat.f_blocks.saturating_sub(stat.f_bfree), stat.f_bavail);
        let percent = used as f64 * 100.0 / used.saturating_add(free).max(1) as f64;
        let gib = (free.saturating_mul(stat.f_frsize)) as f64 / f64::from(1 << 30);
        if fullest.as_ref().is_none_or(|(most, _)| percent > *most) {
            fullest = Some((percent, format!("{}: {gib:.1} GiB free", path.display())));
        }
    }

    let Some((percent, mut detail)) = fullest else {
        return Measured::NotWatched("no path is configured".to_owned());
    };
    if !around.holds_database {
        detail.push_str(
            "; the disk of the database is not watched unless monitors.storage_paths names it",
        );
    }

    Measured::Value(percent, detail)
}
