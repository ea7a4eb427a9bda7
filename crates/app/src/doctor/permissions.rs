//! Who may read and write what the daemon rests on.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use model::text::sanitize;

use super::{Finding, Look, Part, Site};

/// The file beside the configuration that the unit reads variables from (`EnvironmentFile`).
const ENVIRONMENT: &str = "environment";
/// Bytes of it that are looked through.
const ENVIRONMENT_MAX: u64 = 64 * 1024;
/// What is part of the name of a variable that holds a secret; `URL` as in `DATABASE_URL`.
const SECRETS: [&str; 5] = ["PASSWORD", "SECRET", "TOKEN", "KEY", "URL"];

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

        let environment = file.with_file_name(ENVIRONMENT);
        found.extend(open_to_others(&environment, "the environment file"));
        found.extend(shows_secrets(&environment));
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
    let about = fs::metadata(path).ok()?;
    let mode = about.mode() & 0o7777;
    let (who, which) = match (mode & 0o002 != 0, mode & 0o020 != 0) {
        (true, true) => ("everybody".to_owned(), "go-w"),
        (true, false) => ("everybody".to_owned(), "o-w"),
        (false, true) => (format!("the group {}", about.gid()), "g-w"),
        (false, false) => return None,
    };

    let path = path.display();
    Some(Finding::wrong(
        format!("{who} may write to {what} {path} (mode {mode:o})"),
        format!("chmod {which} {path}"),
    ))
}

/// Whether everybody may read a secret of the environment file. Nothing of it is shown but names.
fn shows_secrets(path: &Path) -> Option<Finding> {
    let mode = fs::metadata(path).ok()?.mode() & 0o7777;
    if mode & 0o004 == 0 {
        return None;
    }

    let mut text = String::new();
    let file = fs::File::open(path).ok()?;
    file.take(ENVIRONMENT_MAX).read_to_string(&mut text).ok()?;
    let names: Vec<_> = text.lines().filter_map(secret_of).map(sanitize).collect();
    if names.is_empty() {
        return None;
    }

    let path = path.display();
    let names = names.join(", ");
    Some(Finding::wrong(
        format!("everybody may read {names} in the environment file {path} (mode {mode:o})"),
        format!("chmod 600 {path}, and change what it held"),
    ))
}

/// The name of the variable, if a line of an environment file sets one that holds a secret.
fn secret_of(line: &str) -> Option<&str> {
    let (name, value) = line.split_once('=')?;
    let name = name.trim();
    let is_set = !value.trim().trim_matches(['"', '\'']).is_empty();
    let names_file = name.ends_with("_FILE");
    (is_set && !names_file && SECRETS.iter().any(|word| name.contains(word))).then_some(name)
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn files_that_others_may_change_or_read_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(ENVIRONMENT);
        let look = |text: &str, mode| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let findings = [open_to_others(&path, "the file"), shows_secrets(&path)];
            let says = findings.into_iter().flatten().map(|finding| finding.says);
            says.collect::<Vec<_>>().join("\n")
        };

        let secret = "# of the service\nTZ=UTC\nDATABASE_URL=\"postgres://a:hidden@h/d\"\n";
        assert_eq!(look(secret, 0o640), "");
        assert_eq!(look("TZ=UTC\nBLUETEAM_X_PASSWORD_FILE=/a\n", 0o644), "");
        let says = look(secret, 0o644);
        assert!(
            says.starts_with("everybody may read DATABASE_URL"),
            "{says}"
        );
        assert!(!says.contains("hidden"), "{says}");
        assert!(look("TZ=UTC\n", 0o660).starts_with("the group "));
        assert!(look("TZ=UTC\n", 0o606).starts_with("everybody may write"));
    }
}
