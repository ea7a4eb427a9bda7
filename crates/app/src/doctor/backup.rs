//! Whether there is a backup to go back to.

use model::{Clock as _, SystemClock};
use monitors::{Backups, newest_backups};

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
        Backups::Of { at, name } => {
            let hours = SystemClock.now().since(at).as_micros() as f64 / 3.6e9;
            let says = format!("{name}, {hours:.0} h old");
            if hours < -1.0 {
                Finding::wrong(
                    format!("{name} is dated {at}, which has not come yet"),
                    advice,
                )
            } else if hours > limit {
                Finding::wrong(says, advice)
            } else {
                Finding::ok(says)
            }
        }
    }])
}
