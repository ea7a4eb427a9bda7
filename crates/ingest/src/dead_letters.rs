//! `dead-letter.ndjson`: events of the spool that the database refuses permanently, with the
//! reason.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use model::{FieldError, Timestamp};

/// The file's name, in the spool's folder.
pub(super) const FILE: &str = "dead-letter.ndjson";
/// The file's bound. Events beyond it are counted, and kept as dead letters of the completeness
/// ledger as far as that has room: a sender of events that the database refuses must not keep all
/// others' events in the spool.
pub(super) const MAX_BYTES: u64 = 64 * 1024 * 1024;
/// With less room than this the file counts as full: a batch of the drain may need as much.
pub(super) const ROOM: u64 = 8 * 1024 * 1024;

/// One refused event: its JSON, and why.
pub(super) type Letter = (Vec<u8>, FieldError);

/// Appends letters as far as there is room; they are on disk on return. Returns how many there was
/// no room for. A replay after a crash may write one again.
pub(super) fn append(dir: &Path, letters: &[Letter], now: Timestamp) -> io::Result<u64> {
    let path = dir.join(FILE);
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(&path)?;
    let before = file.metadata()?.len();
    let (mut lines, mut beyond) = (Vec::new(), 0);

    for (json, error) in letters {
        // As an object if serde can read it, otherwise as text.
        let event = serde_json::from_slice::<serde_json::Value>(json)
            .unwrap_or_else(|_| String::from_utf8_lossy(json).into_owned().into());
        let line =
            serde_json::json!({ "at": now, "field": error.field, "error": error.error, "event": event }).to_string();
        if before + lines.len() as u64 + line.len() as u64 + 1 > MAX_BYTES {
            beyond += 1;
            continue;
        }

        lines.extend_from_slice(line.as_bytes());
        lines.push(b'\n');
    }

    let written = file.write_all(&lines).and_then(|()| file.sync_all());
    if written.is_err() {
        let _ = file.set_len(before);
    }

    written.map(|()| beyond)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_beyond_the_bound_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let letters = [(b"{}".to_vec(), FieldError::new("event", "is no good"))];
        let now = Timestamp::from_secs(1_772_719_651);
        assert_eq!(append(dir.path(), &letters, now).unwrap(), 0);
        let path = dir.path().join(FILE);
        OpenOptions::new()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(MAX_BYTES - 10)
            .unwrap();

        assert_eq!(append(dir.path(), &letters, now).unwrap(), 1);
        assert_eq!(path.metadata().unwrap().len(), MAX_BYTES - 10);
    }
}
