//! `dead-letter.ndjson`: events out of the spool that the database refuses for good, with the reason.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use model::{FieldError, Timestamp};

/// The file's name, in the spool's folder.
pub(super) const FILE: &str = "dead-letter.ndjson";
/// The file's bound. When it is reached the drain stops and says so, because nothing is dropped.
pub(super) const MAX_BYTES: u64 = 64 * 1024 * 1024;
/// With less room than this it counts as full: a batch of the drain may need as much.
pub(super) const ROOM: u64 = 8 * 1024 * 1024;

/// One refused event: its JSON, and why.
pub(super) type Letter = (Vec<u8>, FieldError);

/// Appends letters; on disk on return. A replay after a crash may write one again.
pub(super) fn append(dir: &Path, letters: &[Letter], now: Timestamp) -> io::Result<()> {
    let path = dir.join(FILE);
    let mut lines = Vec::new();
    for (json, error) in letters {
        // As an object where it is one that serde can read, else as the text that it is.
        let event = serde_json::from_slice::<serde_json::Value>(json)
            .unwrap_or_else(|_| String::from_utf8_lossy(json).into_owned().into());
        let line = serde_json::json!({ "at": now, "field": error.field, "error": error.error, "event": event });
        serde_json::to_writer(&mut lines, &line)?;
        lines.push(b'\n');
    }
    let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path)?;
    let before = file.metadata()?.len();
    if before + lines.len() as u64 > MAX_BYTES {
        let message = format!("{} is full ({MAX_BYTES} bytes): look into it and move it away", path.display());
        return Err(io::Error::other(message));
    }
    let written = file.write_all(&lines).and_then(|()| file.sync_all());
    if written.is_err() {
        let _ = file.set_len(before);
    }
    written
}
