//! The keys in force, on disk: what lets a daemon take in events that is started while the database
//! is unreachable.
//!
//! The file holds hashes of 256 random bits, from which no key can be had, and what the keys may
//! do. Whoever could write it could let themselves in, so it is used only when it belongs to this
//! user and nobody else may read or write it. The database decides as soon as it answers.

use std::collections::HashMap;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use model::{Span, Timestamp};
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use store::keys::KeyInfo;

/// The largest file that is read, in bytes: some thousand keys.
const FILE_MAX: u64 = 16 * 1024 * 1024;
/// How far ahead of this clock the file may be dated.
const AHEAD_MAX: Span = Span::mins(5);

/// Where the keys in force are kept, and for how long they count.
#[derive(Clone, Debug)]
pub struct OfflineKeys {
    /// The file.
    pub path: PathBuf,
    /// How old it may be; nothing is kept when it is zero.
    pub max_age: Span,
}

/// The keys that were in force when they were read from the database.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct KeyTable {
    /// When that was.
    pub(super) read_at: Timestamp,
    /// By the hex SHA-256 of the key.
    pub(super) keys: HashMap<String, KeyInfo>,
}

impl KeyTable {
    /// The bearer of the key with this hash, if the table is not too old to say.
    pub(super) fn find(&self, hash: &str, now: Timestamp, max_age: Span) -> Option<&KeyInfo> {
        self.check_age(now, max_age).ok()?;
        self.keys.get(hash)
    }

    fn check_age(&self, now: Timestamp, max_age: Span) -> Result<(), String> {
        let age = now.since(self.read_at);
        if age > max_age {
            return Err(format!("is from {}, which is too long ago", self.read_at));
        }
        if age < Span::micros(-AHEAD_MAX.as_micros()) {
            return Err(format!("is from {}, which is in the future", self.read_at));
        }
        Ok(())
    }
}

impl OfflineKeys {
    /// Reads what a former run left. An error says why it is not used.
    pub(super) fn read(&self, now: Timestamp) -> Result<KeyTable, String> {
        let table: KeyTable = read_private(&self.path)
            .map_err(|error| error.to_string())
            .and_then(|bytes| serde_json::from_slice(&bytes).map_err(|error| error.to_string()))?;
        table.check_age(now, self.max_age)?;
        Ok(table)
    }

    /// Replaces the file, readable by this user alone.
    pub(super) fn write(&self, table: &KeyTable) -> std::io::Result<()> {
        let dir = self.path.parent().unwrap_or(Path::new("."));
        // The library makes temporary files with mode 0600.
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        serde_json::to_writer(&mut file, table)?;
        file.persist(&self.path)?;
        Ok(())
    }

    /// Removes the file: it is not to be kept any more.
    pub(super) fn remove(&self) -> std::io::Result<()> {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// The content of a file that is this user's, and that nobody else may read or change.
fn read_private(path: &Path) -> std::io::Result<Vec<u8>> {
    // Without waiting: a pipe in its place would hold up the start.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let mut file = std::fs::File::options()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)?;

    let meta = file.metadata()?;
    let own = meta.is_file()
        && meta.uid() == rustix::process::geteuid().as_raw()
        && meta.mode().trailing_zeros() >= 6;
    if !own || meta.len() > FILE_MAX {
        return Err(std::io::Error::other(
            "is not a file of this user alone (mode 600), or is too large",
        ));
    }

    let mut bytes = Vec::new();
    file.by_ref().take(FILE_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn kept() -> (tempfile::TempDir, OfflineKeys, KeyTable) {
        let dir = tempfile::tempdir().unwrap();
        let keys = OfflineKeys {
            path: dir.path().join("keys.json"),
            max_age: Span::hours(24),
        };
        let info = KeyInfo {
            key_id: uuid::Uuid::from_u128(1),
            user_id: uuid::Uuid::from_u128(2),
            tenant: model::TenantId::DEFAULT,
            scopes: vec!["events:write".to_owned()],
            service: Some("eqmon".parse().unwrap()),
            reserved: Vec::new(),
            expires_at: None,
        };
        let table = KeyTable {
            read_at: Timestamp::from_secs(1_000_000),
            keys: HashMap::from([("ab".to_owned(), info)]),
        };
        (dir, keys, table)
    }

    #[test]
    fn what_was_written_counts_for_its_time() {
        let (_dir, keys, table) = kept();
        keys.write(&table).unwrap();

        let at = Timestamp::from_secs;
        let read = keys.read(at(1_000_000 + 86_400)).unwrap();
        assert_eq!(read.keys, table.keys);
        assert!(read.find("ab", at(1_000_100), keys.max_age).is_some());
        assert!(read.find("cd", at(1_000_100), keys.max_age).is_none());
        assert!(read.find("ab", at(1_086_401), keys.max_age).is_none());

        assert!(keys.read(at(1_086_401)).is_err(), "too old");
        assert!(keys.read(at(999_000)).is_err(), "from the future");
        keys.remove().unwrap();
        assert!(keys.read(at(1_000_000)).is_err(), "there is none");
        keys.remove().unwrap();
    }

    #[test]
    fn a_file_that_others_may_touch_lets_nobody_in() {
        let (dir, keys, table) = kept();
        keys.write(&table).unwrap();
        let mode = std::fs::metadata(&keys.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        for mode in [0o640, 0o604, 0o620, 0o602] {
            let permissions = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(&keys.path, permissions).unwrap();
            assert!(keys.read(table.read_at).is_err(), "{mode:o}");
        }

        std::fs::set_permissions(&keys.path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let planted = dir.path().join("planted");
        std::fs::rename(&keys.path, &planted).unwrap();
        std::os::unix::fs::symlink(&planted, &keys.path).unwrap();
        assert!(keys.read(table.read_at).is_err(), "a link");
    }
}
