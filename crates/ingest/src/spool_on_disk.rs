//! The content of a spool's folder, for a process that is not the one that writes there.

use std::path::{Path, PathBuf};

use model::Timestamp;

use super::{dead_letters, held};

/// What a spool's folder holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct SpoolOnDisk {
    /// Bytes of events that wait for the database.
    pub waiting_bytes: u64,
    /// When the oldest of these files was created, by its file system.
    pub since: Option<Timestamp>,
    /// Bytes of events that conflict with an open transaction and wait for its end.
    pub conflicting_bytes: u64,
    /// Whether there is no room for more of them: they are refused.
    pub conflicting_full: bool,
    /// Bytes of events that the database refused for good.
    pub refused_bytes: u64,
    /// Whether there is no room for more of these: further ones are counted, and not kept.
    pub refused_full: bool,
    /// Where the refused ones are.
    pub refused_file: PathBuf,
    /// Files that were set aside because they are damaged.
    pub damaged: Vec<PathBuf>,
}

/// Reads a spool's folder. A missing folder counts as empty.
pub fn spool_on_disk(dir: &Path) -> std::io::Result<SpoolOnDisk> {
    let mut found = SpoolOnDisk {
        refused_file: dir.join(dead_letters::FILE),
        ..SpoolOnDisk::default()
    };

    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(error),
    };

    for entry in entries {
        let path = entry?.path();
        // A file that was drained may be deleted meanwhile.
        let Ok(about) = path.metadata() else { continue };
        if path == found.refused_file {
            found.refused_bytes = about.len();
            found.refused_full = about.len() + dead_letters::ROOM > dead_letters::MAX_BYTES;
            continue;
        }

        match path.extension().and_then(|e| e.to_str()) {
            Some("seg") => {
                found.waiting_bytes += about.len();
                let begun = about.created().or_else(|_| about.modified()).ok();
                let begun = begun.and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
                let begun = begun.map(|at| {
                    Timestamp::from_micros(i64::try_from(at.as_micros()).unwrap_or(i64::MAX))
                });
                found.since = [found.since, begun].into_iter().flatten().min();
            }
            Some("damaged") => found.damaged.push(path),
            _ => {}
        }
    }

    found.damaged.sort();
    let conflicting = std::fs::read_dir(held::folder(dir))
        .into_iter()
        .flatten()
        .flatten();
    found.conflicting_bytes = conflicting
        .filter(|entry| entry.path().extension().is_some_and(|e| e == "seg"))
        .filter_map(|entry| entry.metadata().ok())
        .map(|about| about.len())
        .sum();
    found.conflicting_full = held::is_full(found.conflicting_bytes);

    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sees_what_waits_what_was_refused_and_what_is_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let missing = spool_on_disk(&dir.path().join("none")).unwrap();
        assert_eq!(
            (missing.waiting_bytes, missing.since, missing.refused_full),
            (0, None, false)
        );

        let write = |name: &str, bytes: usize| {
            std::fs::write(dir.path().join(name), vec![b'x'; bytes]).unwrap();
        };
        write("lock", 0);
        write("00000000000000000001.seg", 100);
        write("00000000000000000002.seg", 20);
        write("00000000000000000000.damaged", 7);
        write("dead-letter.ndjson", 10);

        let found = spool_on_disk(dir.path()).unwrap();
        assert_eq!(
            (found.waiting_bytes, found.refused_bytes, found.refused_full),
            (120, 10, false)
        );
        assert!(found.since.is_some());
        assert_eq!(
            found.damaged,
            [dir.path().join("00000000000000000000.damaged")]
        );

        let full = std::fs::OpenOptions::new()
            .write(true)
            .open(&found.refused_file)
            .unwrap();
        full.set_len(dead_letters::MAX_BYTES - 1).unwrap();
        assert!(spool_on_disk(dir.path()).unwrap().refused_full);
    }
}
