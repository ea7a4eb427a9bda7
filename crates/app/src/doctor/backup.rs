//! Whether there is a backup to go back to.

use model::{Clock as _, SystemClock};
use monitors::{Backup, Backups, newest_backups};

use super::{Finding, Look, Part, Site};

pub(super) const PART: Part = Part {
    name: "backup",
    look: Look::Files(look),
};

fn look(site: &Site) -> anyhow::Result<Vec<Finding>> {
    let monitors = &site.loaded()?.config.monitors;
    let limit = monitors.thresholds.get("backups").copied().unwrap_or(26.0);
    let advice = "docs/operations.md, \"Back up\"";
    Ok(vec![match newest_backups(&monitors.backup_files) {
        Backups::NotConfigured => Finding::warning(
            "nobody has said where backups appear (monitors.backup_files)",
            advice,
        ),
        Backups::Missing(why) => Finding::wrong(why, advice),
        Backups::Unfit(unfit) => Finding::wrong(
            unfit.why,
            "look at the job that makes backups, and whether one is still running; each pattern \
                of monitors.backup_files stands for one backup",
        ),
        Backups::Of(backup) => judge(&backup, limit, advice),
    }])
}

/// Whether it is of the time in which one is expected.
fn judge(backup: &Backup, limit: f64, advice: &str) -> Finding {
    let Backup { at, name, .. } = backup;
    let hours = SystemClock.now().since(*at).as_micros() as f64 / 3.6e9;
    let kind = backup.kind.unwrap_or("of an unknown kind");
    let says = format!("{name}, {hours:.0} h old, {}, {kind}", backup.size());
    if hours < -1.0 {
        Finding::wrong(
            format!("{name} is dated {at}, which has not come yet"),
            advice,
        )
    } else if hours > limit {
        Finding::wrong(says, advice)
    } else if backup.kind.is_none() {
        Finding::warning(
            says,
            "it begins like no dump, archive or encrypted file that is known: see whether it can \
                be restored",
        )
    } else {
        Finding::ok(says)
    }
}
