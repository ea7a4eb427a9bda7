//! Who may read and write what the daemon rests on.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::{Finding, Look, Part, Site};

pub(super) const PART: Part = Part {
    name: "permissions",
    look: Look::Files(look),
};

#[expect(
    clippy::unnecessary_wraps,
    reason = "the list takes looks that may fail"
)]
fn look(site: &Site) -> anyhow::Result<Vec<Finding>> {
    let mut found = Vec::new();
    let dir = site.state.path();
    if dir.exists() {
        match site.state.check_private() {
            Err(error) => found.push(Finding::wrong(
                "the state directory is not the daemon's own",
                format!("{error:#}"),
            )),
            Ok(()) => found.extend(unwritable(site)),
        }
    } else {
        found.push(Finding::wrong(
            format!("there is no state directory {}", dir.display()),
            "start the service, or name its place with --state-dir",
        ));
    }

    if let Some(file) = &site.file {
        found.extend(open_to_others(file, "the configuration file"));
        let folder = file
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        found.extend(folder.and_then(|folder| open_to_others(folder, "the folder")));
    }

    if let Ok(loaded) = site.loaded() {
        let files = loaded.config.collect.files.iter();
        found.extend(files.filter_map(|file| unreadable(&file.path)));
    }

    if found.is_empty() {
        found.push(Finding::ok(format!("{} is private", dir.display())));
    }
    Ok(found)
}

fn unwritable(site: &Site) -> Option<Finding> {
    let error = site.state.try_write().err()?;
    Some(Finding::wrong(
        format!(
            "nothing can be written to {}: {error}",
            site.state.path().display()
        ),
        "look for a full disk, or a file system that is mounted read-only",
    ))
}

/// Whoever can write to the configuration decides what is watched.
fn open_to_others(path: &Path, what: &str) -> Option<Finding> {
    let mode = fs::metadata(path).ok()?.mode();
    (mode & 0o002 != 0).then(|| {
        let path = path.display();
        Finding::wrong(
            format!(
                "everybody may write to {what} {path} (mode {:o})",
                mode & 0o7777
            ),
            format!("chmod o-w {path}"),
        )
    })
}

/// Whether a file or folder that is followed is there and closed to the person who asks.
fn unreadable(path: &str) -> Option<Finding> {
    let is_pattern = path.contains(['*', '?', '[']);
    let path = Path::new(path);
    let path = if is_pattern { path.parent()? } else { path };
    let error = if path.is_dir() {
        fs::read_dir(path).err()
    } else {
        fs::File::open(path).err()
    }?;

    (error.kind() == std::io::ErrorKind::PermissionDenied).then(|| {
        Finding::wrong(
            format!("{} cannot be read by this user", path.display()),
            "let its group read it (chmod g+r), and add the daemon's user to that group (Debian: \
                usermod -aG adm blueteam); then restart the daemon",
        )
    })
}
