//! Files of incidents' evidence: below the state directory, by tenant and hash, never changed.
//!
//! A file is written under another name, synced, and gets its own name as the last thing: whatever
//! ends the program in between, no file has a name that it does not deserve.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use config::StateDir;
use model::TenantId;
use respond::media;
use respond::sealing::Recipient;
use rustix::fs::{FlockOperation, OFlags, flock};
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

use crate::compliance::evidence_store::{EvidenceStore, open_regular, to_hex};
use crate::{AppError, temp_files};

/// The largest file, in bytes.
pub const FILE_MAX: u64 = 2 << 30;
/// The folder in the state directory, which evidence for controls is in, too.
const FOLDER: &str = "evidence";
/// How files begin that do not have their names yet.
const INCOMING: &str = ".incoming-";
/// Whoever makes such a file, or removes one that was left behind, holds this.
const GATE: &str = ".lock";

/// A file that was taken in.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    /// SHA-256 as it is kept.
    pub(super) sha256: String,
    /// Its size as it is kept.
    pub(super) size: u64,
    /// Where it is, below the state directory.
    pub(super) path: String,
    /// What was written, by how it begins.
    pub(super) media_type: &'static str,
    /// What was written before it was encrypted, where it was.
    pub(super) sample: Option<Sample>,
}

/// A file before it was encrypted.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) sealed_to: String,
    pub(super) sha256: String,
    pub(super) size: u64,
}

/// A file that is being taken in. Dropped before its end, it leaves nothing.
pub(super) struct Incoming {
    state: PathBuf,
    folder: String,
    to: Target,
    sealed_to: Option<String>,
    hash: Sha256,
    size: u64,
    head: Vec<u8>,
    _held: temp_files::Held,
}

enum Target {
    Plain(Hashed),
    Sealed(Box<respond::sealing::Sealing<Hashed>>),
}

impl Incoming {
    /// Begins a file of a tenant. With a recipient nothing but what is encrypted reaches the disk.
    pub(super) fn begin(
        state: &StateDir,
        tenant: TenantId,
        seal: Option<&Recipient>,
    ) -> Result<Self, AppError> {
        state.create()?;
        let folder = format!("{FOLDER}/{}", tenant.0);
        let path = state.join(&folder);
        make_folder(&path)?;

        let file = incoming_file(&path).map_err(|error| not_kept(error, &path))?;
        let held = temp_files::hold(file.path());
        let file = Hashed {
            file,
            hash: Sha256::new(),
            size: 0,
        };
        let to = match seal {
            None => Target::Plain(file),
            Some(recipient) => {
                let sealing = recipient
                    .seal(file)
                    .map_err(|error| not_kept(error, &path))?;
                Target::Sealed(Box::new(sealing))
            }
        };
        Ok(Self {
            state: state.path().to_owned(),
            folder,
            to,
            sealed_to: seal.map(|recipient| recipient.as_str().to_owned()),
            hash: Sha256::new(),
            size: 0,
            head: Vec::new(),
            _held: held,
        })
    }

    /// Writes more of it.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), AppError> {
        self.size += bytes.len() as u64;
        if self.size > FILE_MAX {
            return Err(AppError::invalid(format!(
                "a file of evidence has at most {} GiB; split it, and take in the parts",
                FILE_MAX >> 30
            )));
        }

        let room = media::HEAD.saturating_sub(self.head.len());
        self.head.extend_from_slice(&bytes[..bytes.len().min(room)]);
        let written = match &mut self.to {
            Target::Plain(to) => to.write_all(bytes),
            Target::Sealed(to) => {
                self.hash.update(bytes);
                to.write_all(bytes)
            }
        };
        written.map_err(|error| not_kept(error, &self.state.join(&self.folder)))
    }

    /// Writes all that is read.
    pub(super) fn write_all_of(&mut self, mut from: impl Read, name: &str) -> Result<(), AppError> {
        let mut buffer = vec![0; 1 << 18];
        loop {
            match from.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(read) => self.write(&buffer[..read])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    return Err(AppError::Failed(
                        anyhow!(error).context(format!("cannot read {name}")),
                    ));
                }
            }
        }
    }

    /// Gives it its name. It is on disk when this returns; the same content twice is one file.
    pub(super) fn end(self) -> Result<Kept, AppError> {
        let place = self.state.join(&self.folder);
        let failed = |error| not_kept(error, &place);
        let (file, sample) = match self.to {
            Target::Plain(file) => (file, None),
            Target::Sealed(sealing) => {
                let sample = Sample {
                    sealed_to: self.sealed_to.unwrap_or_default(),
                    sha256: to_hex(&self.hash.finalize()),
                    size: self.size,
                };
                (sealing.finish().map_err(failed)?, Some(sample))
            }
        };
        file.file.as_file().sync_all().map_err(failed)?;

        let sha256 = to_hex(&file.hash.finalize());
        let path = format!("{}/{}/{sha256}", self.folder, &sha256[..2]);
        let target = self.state.join(&path);
        let parent = place.join(&sha256[..2]);
        make_folder(&parent)?;
        match file.file.persist_noclobber(&target) {
            Ok(_) => File::open(&parent)
                .and_then(|folder| folder.sync_all())
                .map_err(failed)?,
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
                check_same(&target, &sha256)?;
            }
            Err(error) => return Err(failed(error.error)),
        }

        Ok(Kept {
            sha256,
            size: file.size,
            path,
            media_type: media::of(&self.head),
            sample,
        })
    }
}

/// A file, and the hash of what was written to it.
struct Hashed {
    file: NamedTempFile,
    hash: Sha256,
    size: u64,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Makes a file for what comes in, and removes those whose makers were killed.
fn incoming_file(folder: &Path) -> io::Result<NamedTempFile> {
    let gate = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(folder.join(GATE))?;
    flock(&gate, FlockOperation::LockExclusive)?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with(INCOMING) {
            continue;
        }
        // Whoever writes to it holds it; the kernel lets go of it when they are killed.
        let is_left = File::open(entry.path())
            .is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok());
        if is_left {
            fs::remove_file(entry.path())?;
        }
    }

    let file = tempfile::Builder::new()
        .prefix(INCOMING)
        .tempfile_in(folder)?;
    flock(file.as_file(), FlockOperation::NonBlockingLockExclusive)?;
    Ok(file)
}

fn make_folder(path: &Path) -> Result<(), AppError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("cannot make {}", path.display()))?;
    Ok(())
}

/// The file that is there must be what its name says: taking the same in again must not hide a
/// change.
fn check_same(target: &Path, sha256: &str) -> Result<(), AppError> {
    if hash(target)?.as_deref() == Some(sha256) {
        return Ok(());
    }
    Err(AppError::conflict(format!(
        "{} was changed after it was taken in (`blueteam incidents verify`); it is evidence of that: \
         move it away, and take the file in again",
        target.display()
    )))
}

fn not_kept(error: io::Error, folder: &Path) -> AppError {
    let is_full = matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    );
    AppError::Failed(if is_full {
        anyhow!(
            "no space is left for {}: nothing was taken in; make room, and try again",
            folder.display()
        )
    } else {
        anyhow!(error).context(format!("cannot write to {}", folder.display()))
    })
}

/// SHA-256 of a plain file as it is now; none when it is gone.
pub(super) fn hash(path: &Path) -> Result<Option<String>, AppError> {
    let mut file = match open_regular(path, OFlags::NOFOLLOW) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(AppError::Failed(
                anyhow!(error).context(format!("cannot open {}", path.display())),
            ));
        }
    };
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(Some(to_hex(&hash.finalize()))),
            Ok(read) => hash.update(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                return Err(AppError::Failed(
                    anyhow!(error).context(format!("cannot read {}", path.display())),
                ));
            }
        }
    }
}

/// Where a file is, by what its record says: a path that leads elsewhere is none.
pub(super) fn place(state: &StateDir, path: &str) -> Option<PathBuf> {
    EvidenceStore::new(state.path()).locate(path).ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != GATE)
            .collect();
        names.sort();
        names
    }

    fn state() -> (tempfile::TempDir, StateDir) {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::resolve(Some(folder.path())).unwrap();
        (folder, state)
    }

    fn take(state: &StateDir, content: &[u8], seal: Option<&Recipient>) -> Result<Kept, AppError> {
        let mut incoming = Incoming::begin(state, TenantId::DEFAULT, seal)?;
        incoming.write_all_of(content, "x")?;
        incoming.end()
    }

    #[test]
    fn a_file_is_kept_by_its_hash_and_once() {
        let (_held, state) = state();
        let kept = take(&state, b"content", None).unwrap();
        assert_eq!(kept.size, 7);
        assert_eq!(kept.media_type, media::TEXT);
        let file = state.join(&kept.path);
        assert_eq!(fs::read(&file).unwrap(), b"content");
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(take(&state, b"content", None).unwrap().path, kept.path);
        let folder = state.join(&format!("evidence/{}", TenantId::DEFAULT.0));
        assert_eq!(names(&folder), [&kept.sha256[..2]]);

        fs::write(&file, "Content").unwrap();
        assert!(take(&state, b"content", None).is_err());
        assert_eq!(fs::read(&file).unwrap(), b"Content");
    }

    #[test]
    fn what_was_left_behind_is_removed_and_what_is_written_is_not() {
        let (_held, state) = state();
        let mut running = Incoming::begin(&state, TenantId::DEFAULT, None).unwrap();
        running.write(b"half").unwrap();
        let folder = state.join(&format!("evidence/{}", TenantId::DEFAULT.0));
        fs::write(folder.join(".incoming-killed"), "half").unwrap();
        take(&state, b"other", None).unwrap();
        assert!(!folder.join(".incoming-killed").exists());
        running.write(b" and whole").unwrap();
        let kept = running.end().unwrap();
        assert_eq!(fs::read(state.join(&kept.path)).unwrap(), b"half and whole");

        drop(Incoming::begin(&state, TenantId::DEFAULT, None).unwrap());
        assert!(names(&folder).iter().all(|name| name.len() == 2));
    }

    #[test]
    fn only_what_is_encrypted_reaches_the_disk() {
        let (_held, state) = state();
        let recipient = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
        let recipient = Recipient::parse(recipient).unwrap();
        let kept = take(&state, b"a sample of malware", Some(&recipient)).unwrap();
        let sample = kept.sample.unwrap();
        assert_eq!(sample.size, 19);
        assert_eq!(sample.sealed_to, recipient.as_str());
        assert_ne!(sample.sha256, kept.sha256);
        let stored = fs::read(state.join(&kept.path)).unwrap();
        assert!(stored.starts_with(b"age-encryption.org/v1\n"));
        assert_eq!(stored.len() as u64, kept.size);
    }
}
