//! The age of the newest backup: of the newest file where backups appear.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::Context as _;
use model::{ControlId, Severity, Span, Timestamp, size};

use super::{Around, Measured, Monitor};

pub(super) const MONITOR: Monitor = Monitor {
    name: "backups",
    what: "Age of the newest backup",
    unit: " h",
    threshold: 26.0,
    severity: Severity::High,
    controls: &[ControlId::known("3.8.9")],
    measure: |around| Box::pin(std::future::ready(Ok(measure_backups(around)))),
};

/// A file that was changed within this time may still be being written.
const WRITING_MAX: Span = Span::mins(10);
/// A backup of less than one part in so many of the one before lacks something.
const SHRINK_MAX: u64 = 2;
/// Where the format of an archive stands. `ustar` of tar is the farthest, at byte 257.
const HEAD: u64 = 512;

fn measure_backups(around: &Around<'_>) -> Measured {
    let value = |backup: &Backup| {
        let hours = around.now.since(backup.at).as_micros().max(0) as f64 / 3.6e9;
        let detail = format!("{}, {}, of {}", backup.name, backup.size(), backup.at);
        Measured::Value(hours, detail)
    };

    match newest_backups(around.backups) {
        Backups::NotConfigured => Measured::NotWatched(
            "monitors.backup_files does not say where backups appear".to_owned(),
        ),
        Backups::Missing(why) => Measured::Worst(why),
        Backups::Of(backup) => value(&backup),
        // The one before counts while the next one is being written.
        Backups::Unfit(unfit) => match &unfit.before {
            Some(before) if around.now.since(unfit.at) < WRITING_MAX => value(before),
            _ => Measured::Worst(unfit.why),
        },
    }
}

/// What there is of backups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backups {
    /// Nobody said where they appear.
    NotConfigured,
    /// At one of the places there is none, or it cannot be looked at; in a sentence without its
    /// end.
    Missing(String),
    /// At one of the places the newest file is not a backup to go back to.
    Unfit(Unfit),
    /// The oldest of the newest files: each pattern is a backup of its own.
    Of(Backup),
}

/// A backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    /// When it was written.
    pub at: Timestamp,
    /// The file.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// What it begins like: a dump or an archive. `None` if like nothing that is known, as a file
    /// of an unknown encryption does.
    pub kind: Option<&'static str>,
}

impl Backup {
    /// Its size for people.
    pub fn size(&self) -> String {
        size::approximate(self.bytes)
    }
}

/// A file where a backup should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit {
    /// When it was written.
    pub at: Timestamp,
    /// What is wrong with it, in a sentence without its end.
    pub why: String,
    /// The backup that was written before it.
    pub before: Option<Backup>,
}

/// Looks for backups at `patterns`, paths whose last part may hold `*`.
pub fn newest_backups(patterns: &[String]) -> Backups {
    let mut oldest: Option<Backup> = None;
    for pattern in patterns {
        match newest_backup(pattern) {
            Ok(Some(Ok(backup))) => {
                if oldest.as_ref().is_none_or(|old| backup.at < old.at) {
                    oldest = Some(backup);
                }
            }
            Ok(Some(Err(unfit))) => return Backups::Unfit(unfit),
            Ok(None) => return Backups::Missing(format!("there is no backup at {pattern}")),
            Err(cause) => {
                return Backups::Missing(format!(
                    "backups at {pattern} cannot be looked at: {cause:#}"
                ));
            }
        }
    }

    oldest.map_or(Backups::NotConfigured, Backups::Of)
}

/// A file that fits a pattern.
struct Candidate {
    path: PathBuf,
    at: Timestamp,
    bytes: u64,
}

impl Candidate {
    fn into_backup(self) -> Backup {
        Backup {
            at: self.at,
            kind: kind_of(&self.path),
            name: self.path.display().to_string(),
            bytes: self.bytes,
        }
    }
}

/// The newest file that fits a path whose last part may hold `*`, compared with the one before.
fn newest_backup(pattern: &str) -> anyhow::Result<Option<Result<Backup, Unfit>>> {
    let mut newest: Option<Candidate> = None;
    let mut before: Option<Candidate> = None;
    for candidate in candidates(pattern)? {
        if newest.as_ref().is_none_or(|old| candidate.at > old.at) {
            // An empty file is nothing to compare with.
            before = newest.filter(|old| old.bytes > 0).or(before);
            newest = Some(candidate);
        } else if candidate.bytes > 0 && before.as_ref().is_none_or(|old| candidate.at > old.at) {
            before = Some(candidate);
        }
    }

    let before = before.map(Candidate::into_backup);
    Ok(newest.map(|newest| judge(newest.into_backup(), before)))
}

/// Whether the newest file is a backup to go back to.
fn judge(newest: Backup, before: Option<Backup>) -> Result<Backup, Unfit> {
    let why = match &before {
        _ if newest.bytes == 0 => format!("the newest backup, {}, is empty (0 B)", newest.name),
        // Compression explains another size. What looks like no backup at all explains nothing.
        Some(before)
            if (newest.kind == before.kind || newest.kind.is_none())
                && newest.bytes < before.bytes / SHRINK_MAX =>
        {
            format!(
                "the newest backup, {}, has {}, less than half of the one before, {} with {}",
                newest.name,
                newest.size(),
                before.name,
                before.size()
            )
        }
        _ => return Ok(newest),
    };

    Err(Unfit {
        at: newest.at,
        why,
        before,
    })
}

fn candidates(pattern: &str) -> anyhow::Result<Vec<Candidate>> {
    let path = Path::new(pattern);
    let (folder, name) = (
        path.parent().context("is no path of files")?,
        path.file_name().context("names no file")?,
    );
    let name = name.to_string_lossy();
    let mut found = Vec::new();

    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if !matches_pattern(&name, &entry.file_name().to_string_lossy()) {
            continue;
        }

        // It may be gone by now, or be a link: what counts is the file behind it.
        let Ok(meta) = std::fs::metadata(entry.path()) else {
            continue;
        };
        if !meta.is_file() {
            continue;
        }

        let since = meta
            .modified()?
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        found.push(Candidate {
            path: entry.path(),
            at: Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX)),
            bytes: meta.len(),
        });
    }

    Ok(found)
}

/// What a file begins like. `None` also if it cannot be read: its age and size still count.
fn kind_of(path: &Path) -> Option<&'static str> {
    let mut head = Vec::new();
    let file = File::open(path).ok()?;
    file.take(HEAD).read_to_end(&mut head).ok()?;
    kind_of_head(&head)
}

fn kind_of_head(head: &[u8]) -> Option<&'static str> {
    let known: [(&[u8], &str); 9] = [
        (b"PGDMP", "a dump in custom format"),
        (b"\x1f\x8b", "compressed with gzip"),
        (b"\x28\xb5\x2f\xfd", "compressed with zstd"),
        (b"\x04\x22\x4d\x18", "compressed with lz4"),
        (b"\xfd7zXZ\0", "compressed with xz"),
        (b"BZh", "compressed with bzip2"),
        (b"age-encryption.org/", "encrypted with age"),
        (b"-----BEGIN AGE ENCRYPTED", "encrypted with age"),
        (b"-----BEGIN PGP MESSAGE", "encrypted with OpenPGP"),
    ];
    let is_plain = || {
        // As pg_dump and pg_dumpall begin.
        let text = String::from_utf8_lossy(head);
        text.starts_with("--\n") && text.contains("-- PostgreSQL database")
    };

    let known = known.iter().find(|(magic, _)| head.starts_with(magic));
    let tar = || (head.get(257..262) == Some(b"ustar")).then_some("a tar archive");
    known
        .map(|(_, kind)| *kind)
        .or_else(tar)
        .or_else(|| is_plain().then_some("a dump in plain text"))
}

/// Whether a name fits a pattern in which `*` stands for any run of characters.
fn matches_pattern(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(mut name) = name.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();

    for part in parts {
        match name.find(part) {
            Some(at) => name = &name[at + part.len()..],
            None => return false,
        }
    }

    name.ends_with(last)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    /// Writes a file that is so many hours old.
    fn write(path: &Path, content: &[u8], hours: u64) {
        std::fs::write(path, content).unwrap();
        let file = File::options().write(true).open(path).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_hours(hours))
            .unwrap();
    }

    #[test]
    fn an_empty_or_shrunken_file_is_not_a_backup() {
        let dir = tempfile::tempdir().unwrap();
        let patterns = [dir.path().join("*.dump").display().to_string()];
        let why = || match newest_backups(&patterns) {
            Backups::Unfit(unfit) => unfit.why,
            Backups::Of(_) => String::new(),
            other => panic!("{other:?}"),
        };
        let (old, new) = (dir.path().join("a.dump"), dir.path().join("b.dump"));

        write(&old, &[b"PGDMP", [7; 4000].as_slice()].concat(), 26);
        assert_eq!(why(), "");
        write(&new, b"", 2);
        assert!(why().contains("b.dump, is empty (0 B)"), "{}", why());
        write(&new, &[b"PGDMP", [7; 1000].as_slice()].concat(), 2);
        let says = why();
        let sizes = says.contains("b.dump, has 1005 B") && says.contains("a.dump with 3.9 KiB");
        assert!(sizes, "{says}");
        // What was printed instead of a dump.
        write(&new, b"pg_dump: error: connection failed", 2);
        assert!(why().contains("less than half"), "{}", why());

        // Half of it, or the same compressed, is one.
        write(&new, &[b"PGDMP", [7; 2500].as_slice()].concat(), 2);
        assert_eq!(why(), "");
        write(&new, b"\x1f\x8b and so on", 2);
        assert_eq!(why(), "");
        // An empty file between two backups hides neither.
        write(&dir.path().join("between.dump"), b"", 10);
        write(&new, &[b"PGDMP", [7; 1000].as_slice()].concat(), 2);
        assert!(why().contains("a.dump with"), "{}", why());
    }

    #[test]
    fn the_kind_of_a_backup_is_known_by_its_head() {
        let mut tar = vec![0; 512];
        tar[257..262].copy_from_slice(b"ustar");
        for (head, expected) in [
            (b"PGDMP\x01\x0e".as_slice(), Some("a dump in custom format")),
            (b"\x1f\x8b\x08\x00", Some("compressed with gzip")),
            (b"\x28\xb5\x2f\xfd\x04", Some("compressed with zstd")),
            (
                b"--\n-- PostgreSQL database cluster dump\n--\n",
                Some("a dump in plain text"),
            ),
            (&tar, Some("a tar archive")),
            (b"<html>", None),
            (b"", None),
        ] {
            assert_eq!(kind_of_head(head), expected, "{head:?}");
        }
    }

    #[test]
    fn stars_stand_for_anything() {
        for (pattern, name, expected) in [
            ("a.dump", "a.dump", true),
            ("a.dump", "b.dump", false),
            ("*.dump", "a.dump", true),
            ("db-*.dump", "db-2026.dump", true),
            ("db-*.dump", "db-2026.dump.part", false),
            ("*2026*.gz", "db-2026-01.gz", true),
            ("ab*ba", "aba", false),
            ("*", "", true),
        ] {
            assert_eq!(matches_pattern(pattern, name), expected, "{pattern} {name}");
        }
    }
}
