//! Where files of evidence are kept: below the state directory, by their hash, read-only, and never
//! changed.

use std::fs::{self, File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use rustix::fs::OFlags;
use sha2::{Digest as _, Sha256};

use crate::temp_files;

/// Its folder in the state directory.
const FOLDER: &str = "evidence";

/// The files of evidence.
#[derive(Debug)]
pub struct EvidenceStore {
    state: PathBuf,
}

/// A file that was taken in.
#[derive(Debug)]
pub struct Kept {
    /// SHA-256 in hexadecimal.
    pub sha256: String,
    /// Octets.
    pub size: u64,
    /// Where it is, below the state directory.
    pub path: String,
}

impl EvidenceStore {
    /// That of a state directory.
    pub fn new(state: &Path) -> Self {
        Self {
            state: state.to_owned(),
        }
    }

    /// Returns where the file of a hash is kept, below the state directory.
    pub(super) fn path_of(sha256: &str) -> String {
        format!("{FOLDER}/{}/{sha256}", &sha256[..2])
    }

    /// Copies a file in. It is on disk when this returns; the same content twice is one file.
    pub fn take(&self, source: &Path) -> anyhow::Result<Kept> {
        let from = open_regular(source, OFlags::empty())
            .with_context(|| format!("cannot open {}", source.display()))?;
        self.take_from(from)
            .with_context(|| format!("cannot copy {}", source.display()))
    }

    /// Copies what is read in, as [`Self::take`] does.
    pub fn take_from(&self, from: impl Read) -> anyhow::Result<Kept> {
        let folder = self.state.join(FOLDER);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let mut copy = tempfile::NamedTempFile::new_in(&folder)
            .with_context(|| format!("cannot write to {}", folder.display()))?;
        let _held = temp_files::hold(copy.path());
        let mut hash = Hashing::new(from);
        io::copy(&mut hash, &mut copy)?;

        let (sha256, size) = hash.end();
        copy.as_file()
            .set_permissions(Permissions::from_mode(0o440))?;
        copy.as_file().sync_all()?;
        let path = Self::path_of(&sha256);

        let target = self.state.join(&path);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
            copy.persist(&target)
                .with_context(|| format!("cannot keep {}", target.display()))?;
            File::open(parent)?.sync_all()?;
        }

        Ok(Kept { sha256, size, path })
    }

    /// Where a file is kept. A path in the database that leads out of the vault is refused.
    pub fn locate(&self, path: &str) -> anyhow::Result<PathBuf> {
        let inside = path
            .strip_prefix("evidence/")
            .is_some_and(|rest| rest.split('/').all(|p| !matches!(p, "" | "." | "..")));
        if !inside {
            bail!(
                "`{}` is not in the evidence vault",
                model::text::sanitize(path)
            );
        }

        Ok(self.state.join(path))
    }

    /// The hash of a file as it is now; none when it is gone.
    pub fn hash(&self, path: &str) -> anyhow::Result<Option<String>> {
        let path = self.locate(path)?;
        match open_regular(&path, OFlags::NOFOLLOW) {
            Ok(file) => {
                let mut hash = Hashing::new(file);
                io::copy(&mut hash, &mut io::sink())
                    .with_context(|| format!("cannot read {}", path.display()))?;
                Ok(Some(hash.end().0))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot open {}", path.display())),
        }
    }

    /// Opens a file that is kept. A link, a pipe or a folder in its place is an error.
    pub fn open(&self, path: &str) -> anyhow::Result<File> {
        let path = self.locate(path)?;
        open_regular(&path, OFlags::NOFOLLOW)
            .with_context(|| format!("cannot open {}", path.display()))
    }
}

/// Opens a plain file for reading, without waiting for anybody: a pipe without a writer would hold
/// us for good, and a device has no end.
pub(crate) fn open_regular(path: &Path, how: OFlags) -> io::Result<File> {
    let flags = (OFlags::NONBLOCK | how).bits();
    let file = File::options()
        .read(true)
        .custom_flags(flags.cast_signed())
        .open(path)
        .map_err(|error| {
            let link = error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error());
            if link {
                io::Error::other("it is a link and no file")
            } else {
                error
            }
        })?;

    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no file"));
    }

    Ok(file)
}

/// SHA-256 of a text, in hexadecimal.
pub fn sha256(text: &[u8]) -> String {
    to_hex(&Sha256::digest(text))
}

pub(crate) fn to_hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// Hashes what is read through it.
pub struct Hashing<R> {
    inner: R,
    hash: Sha256,
    size: u64,
}

impl<R> Hashing<R> {
    /// Hashes what is read from `inner` on its way.
    pub fn new(inner: R) -> Self {
        Self {
            inner,
            hash: Sha256::new(),
            size: 0,
        }
    }

    /// The hash of all that was read, and how much that was.
    pub fn end(self) -> (String, u64) {
        (to_hex(&self.hash.finalize()), self.size)
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.hash.update(&buf[..n]);
        self.size += n as u64;
        Ok(n)
    }
}
