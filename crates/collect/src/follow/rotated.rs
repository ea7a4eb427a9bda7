//! Finds the rotated files of a log in its folder: `auth.log.1`, `auth.log.2.gz`,
//! `auth.log-20261122`, `access-20261122.log.zst`.

use std::cmp::Ordering;
use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Position;
use super::source::{Trust, modified_micros, read_fingerprint};

/// A file in a log's folder.
#[derive(Clone, Debug)]
pub(super) struct LogFile {
    pub(super) path: PathBuf,
    /// The folder in which the log was found, if it was not named.
    within: Option<PathBuf>,
    device: u64,
    inode: u64,
    empty: bool,
    /// When it was last modified, in microseconds since 1970. Renaming and compressors keep this
    /// time.
    written: i64,
    generation: Generation,
}

/// The age of a file according to its name.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Generation {
    /// The log itself.
    Live,
    /// A number; the higher, the older.
    Number(u32),
    /// A date; the higher, the newer.
    Date(String),
    /// No rotated file by its name; it belongs to the log only if its inode is known.
    Unrelated,
}

impl LogFile {
    pub(super) fn is_at(&self, position: &Position) -> bool {
        (self.device, self.inode) == (position.device, position.inode)
    }

    pub(super) fn is_rotated(&self) -> bool {
        matches!(self.generation, Generation::Number(_) | Generation::Date(_))
    }

    /// Returns whether its first line has this fingerprint.
    pub(super) fn begins_with(&self, fingerprint: u64) -> bool {
        read_fingerprint(&self.path, self.trust()) == Some(fingerprint)
    }

    /// Returns which links to the file are followed: those to the log that was named; none in a
    /// folder whose files were found, and none beside a log, where rotations lie.
    pub(super) fn trust(&self) -> Trust<'_> {
        match (&self.within, &self.generation, self.path.parent()) {
            (Some(folder), ..) => Trust::Within(folder),
            (None, Generation::Live, _) | (None, _, None) => Trust::Named,
            (None, _, Some(parent)) => Trust::Within(parent),
        }
    }

    /// Orders older files first: by name if both names are of one kind, otherwise by modification.
    pub(super) fn compare_age(&self, other: &Self) -> Ordering {
        match (&self.generation, &other.generation) {
            (Generation::Number(a), Generation::Number(b)) => b.cmp(a),
            (Generation::Date(a), Generation::Date(b)) => a.cmp(b),
            _ => self.written.cmp(&other.written),
        }
    }
}

/// Lists all files of the log's folder, including the log itself. `within` is the folder in which
/// the log was found, if it was not named.
pub(super) fn list_files(log: &Path, within: Option<&Path>) -> io::Result<Vec<LogFile>> {
    let folder = log
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };

    let name = log.file_name().unwrap_or_default();
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry?;
        let live = entry.file_name() == name;

        // The log may be a symbolic link. A file may disappear in the meantime.
        let metadata = if live {
            std::fs::metadata(entry.path())
        } else {
            entry.metadata()
        };

        let Ok(metadata) = metadata else { continue };
        if metadata.is_file() {
            files.push(LogFile {
                path: entry.path(),
                within: within.map(Path::to_path_buf),
                device: metadata.dev(),
                inode: metadata.ino(),
                empty: metadata.len() == 0,
                written: modified_micros(&metadata),
                generation: if live {
                    Generation::Live
                } else {
                    parse_generation(&entry.file_name(), name)
                },
            });
        }
    }

    Ok(files)
}

fn without_compression(name: &str) -> &str {
    name.strip_suffix(".gz")
        .or_else(|| name.strip_suffix(".zst"))
        .unwrap_or(name)
}

/// Reads the generation from a file's name beside the log's.
fn parse_generation(name: &OsStr, log: &OsStr) -> Generation {
    let (Some(name), Some(log)) = (name.to_str(), log.to_str()) else {
        return Generation::Unrelated;
    };
    let name = without_compression(name);
    let inside = || {
        let (stem, extension) = log.rsplit_once('.')?;
        name.strip_prefix(stem)?
            .strip_suffix(extension)?
            .strip_suffix('.')
    };

    let Some(mark) = name.strip_prefix(log).or_else(inside) else {
        return Generation::Unrelated;
    };
    let Some(mark) = mark.strip_prefix(['.', '-', '_']) else {
        return Generation::Unrelated;
    };
    let digits = mark.bytes().filter(u8::is_ascii_digit).count();
    if digits == mark.len() && (1..=4).contains(&digits) {
        return mark
            .parse()
            .map_or(Generation::Unrelated, Generation::Number);
    }

    let dated = digits >= 6
        && mark
            .bytes()
            .all(|b| b.is_ascii_digit() || b"-_.:T".contains(&b));
    if dated {
        Generation::Date(mark.to_owned())
    } else {
        Generation::Unrelated
    }
}

/// Returns the files that are newer than the one that was read, oldest first, each once even if it
/// also exists compressed. `here` is the file that was read, if it still exists; otherwise files
/// count that were modified after `position`.
pub(super) fn newer_files(
    files: &[LogFile],
    here: Option<&LogFile>,
    position: &Position,
) -> Vec<LogFile> {
    let after = |file: &&LogFile| match (here, position.written) {
        (Some(here), _) if here.generation != Generation::Unrelated => {
            here.compare_age(file) == Ordering::Less
        }
        (_, Some(written)) => file.written > written,
        (_, None) => false,
    };

    let compressed = |file: &LogFile| {
        file.path
            .extension()
            .is_some_and(|e| e == "gz" || e == "zst")
    };

    let mut newer: Vec<LogFile> = files
        .iter()
        .filter(|p| p.is_rotated() && !p.empty)
        .filter(after)
        .cloned()
        .collect();

    // A compressor may have changed the time of a file that was read.
    newer.retain(|file| {
        !(compressed(file) && position.head.is_some_and(|read| file.begins_with(read)))
    });

    // Plain before compressed: while a file is being compressed, the compressed one is incomplete.
    newer.sort_by(|a, b| {
        a.compare_age(b)
            .then_with(|| compressed(a).cmp(&compressed(b)))
    });
    newer.dedup_by(|b, a| a.generation == b.generation);
    newer
}

/// Returns the log itself, if it is not empty.
pub(super) fn live_file(files: &[LogFile]) -> Option<&LogFile> {
    files
        .iter()
        .find(|file| file.generation == Generation::Live && !file.empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_rotated_files_of_a_log() {
        let of = |name: &str, log: &str| parse_generation(OsStr::new(name), OsStr::new(log));
        for name in [
            "auth.log.2",
            "auth.log.2.gz",
            "auth.log-2",
            "auth.2.log.zst",
        ] {
            assert_eq!(of(name, "auth.log"), Generation::Number(2), "{name}");
        }

        for name in [
            "auth.log-20261122",
            "auth.log.20261122.gz",
            "auth-20261122.log",
        ] {
            assert_eq!(
                of(name, "auth.log"),
                Generation::Date("20261122".to_owned()),
                "{name}"
            );
        }

        assert_eq!(
            of("auth.log-2026-11-22_04:00", "auth.log"),
            Generation::Date("2026-11-22_04:00".to_owned())
        );

        for name in [
            "auth.log.swp",
            "auth.log.1.bz2",
            "other.log.1",
            "auth.log2",
            "auth.logs",
            "auth.log.",
            "auth",
        ] {
            assert_eq!(of(name, "auth.log"), Generation::Unrelated, "{name}");
        }
    }
}
