//! Room for what must be kept.

use std::collections::BTreeMap;
use std::path::Path;

use rustix::fs::{stat, statvfs};

use super::{Finding, Look, Part, Site};

pub(super) const PART: Part = Part {
    name: "disk",
    look: Look::Files(look),
};

/// Less than this is no room for an outage of the database.
const FREE_MIN: u64 = 512 * 1024 * 1024;
/// Of the inodes, more in use than this is a disk that is full soon, in percent.
const INODES_MAX: f64 = 95.0;

fn look(site: &Site) -> anyhow::Result<Vec<Finding>> {
    let monitors = &site.loaded()?.config.monitors;
    let limit = monitors.thresholds.get("storage").copied().unwrap_or(90.0);
    let paths =
        std::iter::once(site.state.path()).chain(monitors.storage_paths.iter().map(Path::new));

    // Two paths of one file system are one disk.
    let mut disks = BTreeMap::new();
    let mut found = Vec::new();
    for path in paths {
        match stat(path) {
            Ok(about) => {
                disks.entry(about.st_dev).or_insert(path);
            }
            Err(error) => found.push(Finding::unknown(
                format!("{}: {error}", path.display()),
                "start the service, or correct monitors.storage_paths",
            )),
        }
    }

    found.extend(disks.into_values().map(|path| disk(path, limit)));
    Ok(found)
}

fn disk(path: &Path, limit: f64) -> Finding {
    let at = path.display();
    let Ok(about) = statvfs(path) else {
        return Finding::unknown(
            format!("{at} cannot be measured"),
            "look at the file system",
        );
    };

    let free = about.f_bavail.saturating_mul(about.f_frsize);
    // As df counts: what is reserved for root is neither used nor free.
    let used_of = |all: u64, unused: u64, free: u64| {
        let used = all.saturating_sub(unused) as f64;
        let usable = used + free as f64;
        if usable == 0.0 {
            0.0
        } else {
            used * 100.0 / usable
        }
    };
    let used = used_of(about.f_blocks, about.f_bfree, about.f_bavail);
    let inodes = used_of(about.f_files, about.f_ffree, about.f_favail);
    let gib = free as f64 / f64::from(1 << 30);
    let says = format!("{at}: {used:.0} % used, {gib:.1} GiB free");
    let advice = "make room, or move the state directory (docs/operations.md, \"Disk full\")";

    if free < FREE_MIN {
        Finding::wrong(says, advice)
    } else if inodes > INODES_MAX {
        Finding::warning(format!("{at}: {inodes:.0} % of the inodes used"), advice)
    } else if used > limit {
        Finding::warning(says, advice)
    } else {
        Finding::ok(says)
    }
}
