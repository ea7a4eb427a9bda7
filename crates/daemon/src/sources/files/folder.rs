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
use crate::tenancy;

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
    let mut told = Told::default();
    while !stop.is_cancelled() {
        let pattern = options.path.clone();
        let look = tokio::task::spawn_blocking(move || find_files(&pattern)).await?;
        told.tell(&options, &look);
        let files = look.files;

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
            found.insert(own.source());
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

/// What was reported since the start; once is enough.
#[derive(Default)]
struct Told {
    none: bool,
    too_many: bool,
    unnameable: bool,
}

impl Told {
    fn tell(&mut self, options: &Options, found: &Found) {
        let at = options.path.display();
        let files = found.files.len();
        if files == 0 && !std::mem::replace(&mut self.none, true) {
            warn!("{at}: no file there yet");
        }

        let tell = |message: String| {
            warn!("{message}");
            options
                .failures
                .tell_of(Component::Collector, &options.name(), message);
        };
        if files > FILES_MAX && !std::mem::replace(&mut self.too_many, true) {
            tell(format!(
                "{at}: {files} files match, and only the first {FILES_MAX} are read; name fewer"
            ));
        }
        if let Some(path) = &found.unnameable
            && !std::mem::replace(&mut self.unnameable, true)
        {
            // Whoever chose the name may have done so to be passed over.
            let path = path.to_string_lossy();
            let path = model::text::sanitize(&path);
            tell(format!(
                "{path}: not read, because its name is not UTF-8; rename the file"
            ));
        }
    }
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
        found.remove(&own.source());
        // Whoever removes a log may do so to hide, so people hear of it.
        let message = format!("{name}: the file is gone; nothing more comes from it");
        warn!("{message}");
        options
            .failures
            .tell_of(Component::Collector, &name, message);

        let noted = async {
            let (mut conn, _) =
                tenancy::connect(&options.database, options.tenant.as_ref()).await?;
            Ok::<_, anyhow::Error>(
                store::sources::set_gone(&mut conn, &name, options.clock.now()).await?,
            )
        };
        if let Err(cause) = noted.await {
            warn!("{name}: cannot record that the file is gone: {cause}");
        }
    }
}

/// What a look at a folder or a pattern found.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    files: BTreeSet<PathBuf>,
    /// A file that is passed over because its name is not UTF-8: a source has a name that the
    /// record can keep, and two of these could share one.
    unnameable: Option<PathBuf>,
}

/// Returns the regular files in a folder, or those that a pattern matches, without what rotations
/// have put aside. Whoever may write there chooses the names, so any bytes may come.
fn find_files(pattern: &Path) -> Found {
    let folder = named_folder(pattern);
    let rest = pattern.strip_prefix(&folder).unwrap_or(Path::new("*"));
    let parts: Vec<glob::Pattern> = rest
        .components()
        .map(|part| part.as_os_str().to_string_lossy())
        .map(|part| glob::Pattern::new(&part))
        .collect::<Result<_, _>>()
        .unwrap_or_default();

    let mut paths = Vec::new();
    if parts.is_empty() && rest.as_os_str().is_empty() {
        paths.extend(entries_of(&folder));
    } else {
        walk(&folder, &parts, &mut paths);
    }

    let mut found = Found::default();
    for path in paths {
        if is_put_aside(&path) || !is_plain_file(&path, &folder) {
            continue;
        }
        if path.to_str().is_none() {
            found.unnameable = Some(path);
        } else {
            found.files.insert(path);
        }
    }
    found
}

/// Adds what the patterns of the parts of a path match below a folder. (The library's own walk
/// panics at a name that is not UTF-8.)
fn walk(folder: &Path, parts: &[glob::Pattern], into: &mut Vec<PathBuf>) {
    let Some((part, below)) = parts.split_first() else {
        return;
    };
    let options = glob::MatchOptions {
        require_literal_leading_dot: true,
        require_literal_separator: true,
        ..glob::MatchOptions::new()
    };
    let recursive = part.as_str() == "**";
    if recursive {
        walk(folder, below, into);
    }

    for path in entries_of(folder) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // The options do not hold for a recursive part: it goes into no hidden folder, and through
        // no link, which could lead in a circle.
        let matches = if recursive {
            !name.starts_with('.') && !path.is_symlink() && path.is_dir()
        } else {
            part.matches_with(&name, options)
        };
        if !matches {
            continue;
        }
        match (recursive, below) {
            (true, _) => walk(&path, parts, into),
            (false, []) => into.push(path),
            (false, _) => walk(&path, below, into),
        }
    }
}

fn entries_of(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    entries.filter_map(Result::ok).map(|entry| entry.path())
}

/// Returns the part of a pattern that an administrator named: the folders before the first
/// wildcard.
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
    let name = path.file_name().unwrap_or_default().to_string_lossy();
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
                .files
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
            let found: Vec<PathBuf> = find_files(&pattern).files.into_iter().collect();
            assert_eq!(found, [dir.path().join(top).join("good/logs/access.log")]);
        }
    }

    #[test]
    fn patterns_reach_into_folders() {
        let dir = tempfile::tempdir().unwrap();
        for site in ["a/logs", "b/logs/old", ".hidden/logs"] {
            std::fs::create_dir_all(dir.path().join(site)).unwrap();
            std::fs::write(dir.path().join(site).join("access.log"), "x").unwrap();
        }
        std::os::unix::fs::symlink(dir.path(), dir.path().join("a/circle")).unwrap();

        for (pattern, found) in [
            ("*/logs/*.log", vec!["a/logs/access.log"]),
            ("[a-b]/logs/access.log", vec!["a/logs/access.log"]),
            (
                "**/*.log",
                vec!["a/logs/access.log", "b/logs/old/access.log"],
            ),
            ("b/**/*.log", vec!["b/logs/old/access.log"]),
        ] {
            let files = find_files(&dir.path().join(pattern)).files;
            let files: Vec<_> = files
                .iter()
                .map(|path| path.strip_prefix(dir.path()).unwrap().to_str().unwrap())
                .collect();
            assert_eq!(files, found, "{pattern}");
        }
    }

    /// Whoever may write into a folder of logs may give a file any bytes as its name.
    #[test]
    fn a_name_that_is_not_utf8_is_passed_over_and_reported() {
        use std::os::unix::ffi::OsStrExt as _;

        let dir = tempfile::tempdir().unwrap();
        let odd = dir
            .path()
            .join(std::ffi::OsStr::from_bytes(b"a\xff\xfe.log"));
        std::fs::write(&odd, "x").unwrap();
        std::fs::write(dir.path().join("b.log"), "x").unwrap();
        let odd_folder = dir.path().join(std::ffi::OsStr::from_bytes(b"\xff"));
        std::fs::create_dir(&odd_folder).unwrap();

        for pattern in ["", "*.log", "**/*.log"] {
            let found = find_files(&dir.path().join(pattern));
            let only = [dir.path().join("b.log")];
            assert_eq!(found.files, BTreeSet::from(only), "{pattern}");
            assert_eq!(found.unnameable.as_ref(), Some(&odd), "{pattern}");
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
