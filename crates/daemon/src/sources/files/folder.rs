//! Folders and patterns of log files: each file is a source of its own, found while it is new and
//! ended when it is gone.
//!
//! Only regular files are followed. Who may write into a folder of logs could else have blueteam
//! read any file of the machine through a link, and show its lines.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component as Part, Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use app::self_audit::Component;
use collect::follow::is_plain_file;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Options, run as follow};
use crate::context::FoundSources;

/// How often new files are looked for.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// A file that is missing for longer is gone; a rotation takes less.
const GONE_AFTER: Duration = Duration::from_secs(20);
/// Files of one folder or pattern that are followed at most.
const FILES_MAX: usize = 1000;

/// Returns whether a configured path stands for several files: a pattern, or a folder.
pub(super) fn is_several(path: &str) -> bool {
    path.contains(['*', '?', '[']) || path.ends_with('/') || Path::new(path).is_dir()
}

/// A file that is followed.
struct Followed {
    stop: CancellationToken,
    /// Since when it has been missing.
    missing_since: Option<Instant>,
}

/// Follows the files until `stop` is cancelled.
pub(super) async fn run(
    options: Options,
    found: FoundSources,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut followed: BTreeMap<PathBuf, Followed> = BTreeMap::new();
    let mut running = JoinSet::new();
    let mut told = (false, false);
    while !stop.is_cancelled() {
        let pattern = options.path.clone();
        let files = tokio::task::spawn_blocking(move || find_files(&pattern)).await?;
        if files.is_empty() && !std::mem::replace(&mut told.0, true) {
            warn!("{}: no file there yet", options.path.display());
        }
        if files.len() > FILES_MAX && !std::mem::replace(&mut told.1, true) {
            tell_too_many(&options, files.len());
        }

        end_missing(&options, &found, &files, &mut followed).await;
        for path in files.into_iter().take(FILES_MAX) {
            if followed.contains_key(&path) || followed.len() >= FILES_MAX {
                continue;
            }
            info!("{}: found, and followed from its start", path.display());
            let own = Options {
                path: path.clone(),
                within: Some(named_folder(&options.path)),
                ..options.clone()
            };
            let child = stop.child_token();
            found.insert(own.name());
            running.spawn(follow(own, child.clone()));
            followed.insert(
                path,
                Followed {
                    stop: child,
                    missing_since: None,
                },
            );
        }

        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            Some(ended) = running.join_next(), if !running.is_empty() => {
                ended.context("the follower of a file ended with a bug")??;
            }
            () = stop.cancelled() => {}
        }
    }

    while let Some(ended) = running.join_next().await {
        ended.context("the follower of a file ended with a bug")??;
    }
    Ok(())
}

fn tell_too_many(options: &Options, files: usize) {
    let message = format!(
        "{}: {files} files match, and only the first {FILES_MAX} are read; name fewer",
        options.path.display()
    );
    warn!("{message}");
    options
        .failures
        .tell_of(Component::Collector, &options.name(), message);
}

/// Ends the followers of files that have been missing for long enough.
async fn end_missing(
    options: &Options,
    found: &FoundSources,
    files: &BTreeSet<PathBuf>,
    followed: &mut BTreeMap<PathBuf, Followed>,
) {
    let mut gone = Vec::new();
    for (path, state) in followed.iter_mut() {
        if files.contains(path) {
            state.missing_since = None;
        } else if state
            .missing_since
            .get_or_insert_with(Instant::now)
            .elapsed()
            > GONE_AFTER
        {
            gone.push(path.clone());
        }
    }

    for path in gone {
        if let Some(state) = followed.remove(&path) {
            state.stop.cancel();
        }
        let own = Options {
            path,
            ..options.clone()
        };
        let name = own.name();
        found.remove(&name);
        // Whoever removes a log may do so to hide, so people hear of it.
        let message = format!("{name}: the file is gone; nothing more comes from it");
        warn!("{message}");
        options
            .failures
            .tell_of(Component::Collector, &name, message);

        let noted = async {
            let mut conn = store::connect(&options.database).await?;
            store::sources::set_gone(&mut conn, &name, options.clock.now()).await
        };
        if let Err(cause) = noted.await {
            warn!("{name}: cannot record that the file is gone: {cause}");
        }
    }
}

/// Returns the regular files in a folder, or those that a pattern matches, without what rotations
/// have put aside.
fn find_files(pattern: &Path) -> BTreeSet<PathBuf> {
    let text = pattern.to_string_lossy();
    let paths: Vec<PathBuf> = if text.contains(['*', '?', '[']) {
        let options = glob::MatchOptions {
            require_literal_leading_dot: true,
            require_literal_separator: true,
            ..glob::MatchOptions::new()
        };
        match glob::glob_with(&text, options) {
            Ok(paths) => paths.filter_map(Result::ok).collect(),
            Err(_) => Vec::new(),
        }
    } else {
        match std::fs::read_dir(pattern) {
            Ok(entries) => entries.filter_map(Result::ok).map(|e| e.path()).collect(),
            Err(_) => Vec::new(),
        }
    };

    let folder = named_folder(pattern);
    let is_log = |path: &PathBuf| !is_put_aside(path) && is_plain_file(path, &folder);
    paths.into_iter().filter(is_log).collect()
}

/// Returns the part of a pattern that an administrator named: the folders before the first wildcard.
fn named_folder(pattern: &Path) -> PathBuf {
    let is_named = |part: &Part<'_>| {
        let text = part.as_os_str().to_string_lossy();
        !text.contains(['*', '?', '['])
    };
    pattern.components().take_while(is_named).collect()
}

/// Returns whether a name is one that rotations, editors and packages leave behind: hidden, `~`,
/// compressed, or with a number or a date at its end (`access.log.1`, `access.log-20260304`). The
/// follower of the file reads what was rotated away.
fn is_put_aside(path: &Path) -> bool {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        return true;
    };
    let ends = [
        ".gz", ".xz", ".zst", ".bz2", ".lz4", "~", ".swp", ".tmp", ".old", ".bak",
    ];
    let tail = name.rsplit(['.', '-']).next().unwrap_or_default();
    let is_number = !tail.is_empty() && tail.bytes().all(|c| c.is_ascii_digit());
    let has_base = name.len() > tail.len() + 1;
    name.starts_with('.') || ends.iter().any(|end| name.ends_with(end)) || (is_number && has_base)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_logs_themselves_are_found() {
        let dir = tempfile::tempdir().unwrap();
        for name in [
            "access.log",
            "error.log",
            "access.log.1",
            "access.log.2.gz",
            "access.log-20260304",
            ".hidden.log",
            "notes.txt",
        ] {
            std::fs::write(dir.path().join(name), "x").unwrap();
        }
        std::fs::create_dir(dir.path().join("sub.log")).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", dir.path().join("link.log")).unwrap();

        let names = |pattern: &str| -> Vec<String> {
            find_files(&dir.path().join(pattern))
                .iter()
                .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
                .collect()
        };
        assert_eq!(names("*.log"), ["access.log", "error.log"]);
        assert_eq!(names("*"), ["access.log", "error.log", "notes.txt"]);
        assert_eq!(names(""), ["access.log", "error.log", "notes.txt"]);
        assert_eq!(names("none*"), [] as [&str; 0]);
    }

    /// Whoever owns a folder below a wildcard could else have any folder of the machine read.
    #[test]
    fn links_below_a_wildcard_lead_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        for site in ["good/logs", "secret"] {
            std::fs::create_dir_all(dir.path().join("srv").join(site)).unwrap();
            std::fs::write(dir.path().join("srv").join(site).join("access.log"), "x").unwrap();
        }
        std::fs::create_dir(dir.path().join("srv/evil")).unwrap();
        let secret = dir.path().join("srv/secret");
        std::os::unix::fs::symlink(&secret, dir.path().join("srv/evil/logs")).unwrap();
        // A link that an administrator named is followed.
        std::os::unix::fs::symlink(dir.path().join("srv"), dir.path().join("www")).unwrap();

        for top in ["srv", "www"] {
            let pattern = dir.path().join(top).join("*/logs/*.log");
            assert_eq!(named_folder(&pattern), dir.path().join(top));
            let found: Vec<PathBuf> = find_files(&pattern).into_iter().collect();
            assert_eq!(found, [dir.path().join(top).join("good/logs/access.log")]);
        }
    }

    #[test]
    fn patterns_and_folders_stand_for_several_files() {
        for (path, several) in [
            ("/var/log/nginx/*.log", true),
            ("/srv/app/logs/", true),
            ("/", true),
            ("/var/log/auth.log", false),
        ] {
            assert_eq!(is_several(path), several, "{path}");
        }
    }
}
