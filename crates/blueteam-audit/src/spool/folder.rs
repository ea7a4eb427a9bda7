//! The folder of a spool: one for each process that runs, so that several may be given the same
//! place.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::{ENDING, private};

/// The most processes that may spool below one folder.
const SLOTS: u32 = 256;
/// The most bytes of refused lines that are kept.
const BURIED_MAX: u64 = 16 * 1024 * 1024;

/// A folder that is ours while the lock is held, which is until the process ends.
#[derive(Debug)]
pub(super) struct Folder {
    dir: PathBuf,
    _lock: File,
}

impl Folder {
    /// Takes the first free folder below `base`, brings what ended runs left in others there, and
    /// leaves a mark of this run. Also says which runs left their mark.
    pub(super) fn take(base: &Path, producer: &str) -> io::Result<(Self, Vec<String>)> {
        make_dir(base)?;
        let mut ours: Option<Self> = None;
        let mut unclean = Vec::new();
        for slot in 0..SLOTS {
            let dir = base.join(slot.to_string());
            if ours.is_some() && !dir.is_dir() {
                break;
            }

            let Some(found) = Self::lock(dir)? else {
                continue;
            };
            unclean.extend(found.unclean());

            match &ours {
                None => ours = Some(found),
                // What cannot be brought here waits there for another start.
                Some(ours) => {
                    if let Err(error) = ours.inherit(&found) {
                        tracing::error!(%error, "what an ended run left in the audit spool cannot \
                            be taken up");
                    }
                }
            }
        }

        let Some(folder) = ours else {
            return Err(io::Error::other("too many programs spool to this folder"));
        };

        // A full disk takes no mark; what waits there is sent all the same, and that is what makes
        // room.
        if let Err(error) = fs::write(folder.mark(), producer) {
            tracing::warn!(%error, "the audit spool takes no mark of this run; should it end \
                badly, the next will not know");
        }

        Ok((folder, unclean))
    }

    fn lock(dir: PathBuf) -> io::Result<Option<Self>> {
        make_dir(&dir)?;
        let lock = private()
            .write(true)
            .truncate(false)
            .open(dir.join("lock"))?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(Self { dir, _lock: lock })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn mark(&self) -> PathBuf {
        self.dir.join("running")
    }

    fn unclean(&self) -> Option<String> {
        let producer = fs::read_to_string(self.mark()).ok()?;
        fs::remove_file(self.mark()).ok()?;
        Some(producer.chars().take(300).collect())
    }

    fn inherit(&self, other: &Self) -> io::Result<()> {
        let next = self.unused()?;
        for (id, (_, path)) in (next..).zip(other.segments()?) {
            fs::rename(path, self.path(id))?;
        }
        Ok(())
    }

    /// A number that no file has, also none that was set aside.
    pub(super) fn unused(&self) -> io::Result<u64> {
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

    /// The files with lines, oldest first.
    pub(super) fn segments(&self) -> io::Result<Vec<(u64, PathBuf)>> {
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

    pub(super) fn path(&self, id: u64) -> PathBuf {
        self.dir.join(format!("{id:012}.{ENDING}"))
    }

    /// Makes the names in it survive a loss of power.
    pub(super) fn sync(&self) -> io::Result<()> {
        File::open(&self.dir)?.sync_all()
    }

    pub(super) fn bury(&self, line: &[u8], why: &str) -> io::Result<()> {
        let mut file = private()
            .append(true)
            .open(self.dir.join("refused.ndjson.log"))?;
        if file.metadata()?.len() > BURIED_MAX {
            return Ok(());
        }
        let line = String::from_utf8_lossy(line);
        file.write_all(format!("{}\n", serde_json::json!({"why": why, "line": line})).as_bytes())
    }

    pub(super) fn leave(&self) -> io::Result<()> {
        fs::remove_file(self.mark())
    }
}

fn make_dir(dir: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}
