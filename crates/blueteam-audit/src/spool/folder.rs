//! The folder of a spool: one for each running process, so that several may share a base folder.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::{ENDING, private_options};

/// The most processes that may spool below one folder.
const SLOTS: u32 = 256;
/// The most bytes of rejected lines that are kept.
const REJECTED_MAX: u64 = 16 * 1024 * 1024;

/// A folder that belongs to this process while it holds the lock, which is until it ends.
#[derive(Debug)]
pub(super) struct Folder {
    dir: PathBuf,
    _lock: File,
}

impl Folder {
    /// Acquires the first free folder below `base`, moves the files that ended runs left in others
    /// to it, and writes a mark of this run. Also returns the runs that left their mark.
    pub(super) fn acquire(base: &Path, producer: &str) -> io::Result<(Self, Vec<String>)> {
        make_dir(base)?;
        let mut own: Option<Self> = None;
        let mut unclean = Vec::new();
        for slot in 0..SLOTS {
            let dir = base.join(slot.to_string());
            if own.is_some() && !dir.is_dir() {
                break;
            }

            let Some(found) = Self::try_lock_dir(dir)? else {
                continue;
            };
            unclean.extend(found.take_unclean_mark());

            match &own {
                None => own = Some(found),
                // Files that cannot be moved wait for another start.
                Some(own) => {
                    if let Err(error) = own.move_segments_from(&found) {
                        tracing::error!(%error, "cannot take over the files that an ended run left \
                            in the audit spool");
                    }
                }
            }
        }

        let Some(folder) = own else {
            return Err(io::Error::other(
                "too many programs share this spool folder",
            ));
        };

        // A full disk accepts no mark, but sending the waiting lines makes room on it.
        if let Err(error) = fs::write(folder.mark_path(), producer) {
            tracing::warn!(%error, "cannot write the mark of this run to the audit spool; \
                the next run will not notice an unclean end");
        }

        Ok((folder, unclean))
    }

    fn try_lock_dir(dir: PathBuf) -> io::Result<Option<Self>> {
        make_dir(&dir)?;
        let lock = private_options()
            .write(true)
            .truncate(false)
            .open(dir.join("lock"))?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(Self { dir, _lock: lock })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn mark_path(&self) -> PathBuf {
        self.dir.join("running")
    }

    fn take_unclean_mark(&self) -> Option<String> {
        let producer = fs::read_to_string(self.mark_path()).ok()?;
        fs::remove_file(self.mark_path()).ok()?;
        Some(producer.chars().take(300).collect())
    }

    fn move_segments_from(&self, other: &Self) -> io::Result<()> {
        let next = self.next_unused_id()?;
        for (id, (_, path)) in (next..).zip(other.list_segments()?) {
            fs::rename(path, self.segment_path(id))?;
        }
        Ok(())
    }

    /// Returns an ID that no file has, including those that were set aside.
    pub(super) fn next_unused_id(&self) -> io::Result<u64> {
        let mut next = 0;
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            if let Some(id) = path
                .file_stem()
                .and_then(|stem| stem.to_str())
                .and_then(|stem| stem.parse::<u64>().ok())
            {
                next = next.max(id.saturating_add(1));
            }
        }

        Ok(next)
    }

    /// Lists the files with lines, oldest first.
    pub(super) fn list_segments(&self) -> io::Result<Vec<(u64, PathBuf)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            let id = path
                .file_stem()
                .and_then(|stem| stem.to_str())
                .and_then(|stem| stem.parse().ok());
            if path.extension().is_some_and(|ending| ending == ENDING)
                && let Some(id) = id
            {
                found.push((id, path));
            }
        }

        found.sort_unstable();
        Ok(found)
    }

    pub(super) fn segment_path(&self, id: u64) -> PathBuf {
        self.dir.join(format!("{id:012}.{ENDING}"))
    }

    /// Syncs the folder, so its names survive a power failure.
    pub(super) fn sync_dir(&self) -> io::Result<()> {
        File::open(&self.dir)?.sync_all()
    }

    pub(super) fn keep_rejected(&self, line: &[u8], why: &str) -> io::Result<()> {
        let mut file = private_options()
            .append(true)
            .open(self.dir.join("refused.ndjson.log"))?;
        if file.metadata()?.len() > REJECTED_MAX {
            return Ok(());
        }
        let line = String::from_utf8_lossy(line);
        file.write_all(format!("{}\n", serde_json::json!({"why": why, "line": line})).as_bytes())
    }

    pub(super) fn remove_mark(&self) -> io::Result<()> {
        fs::remove_file(self.mark_path())
    }
}

fn make_dir(dir: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}
