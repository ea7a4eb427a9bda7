//! Spools: what was accepted and is not in the database yet, as the state directory shows it.

use std::io;
use std::path::{Path, PathBuf};

use config::StateDir;
use ingest::SpoolOnDisk;
use model::{ServiceName, TenantName, Timestamp};
use serde::{Deserialize, Serialize};

/// The folder of what applications sent, below the state directory.
const ACCEPTED: &str = "spool";
/// The folder of the listeners' spools, below the state directory; each has a folder of its own.
const LISTENERS: &str = "listeners";
/// The file that says whose spool a listener's folder is.
const OWNER: &str = "source.json";

/// The folder of what applications sent.
pub fn accepted_dir(state: &StateDir) -> PathBuf {
    state.join(ACCEPTED)
}

/// The folder of the listeners' spools.
pub fn listeners_dir(state: &StateDir) -> PathBuf {
    state.join(LISTENERS)
}

/// Whose spool a listener's folder is: what was received is stored even when the listener is no
/// longer configured.
#[derive(Debug, Serialize, Deserialize)]
pub struct Owner {
    /// The source's name.
    pub source: String,
    /// The format of its messages.
    pub format: String,
    /// Whose events they are.
    pub service: Option<ServiceName>,
    /// Their tenant; none: `default`. A file that an earlier version wrote does not say.
    #[serde(default)]
    pub tenant: Option<TenantName>,
}

impl Owner {
    /// Reads whose spool a folder is; `None` when it does not say.
    pub fn of(dir: &Path) -> Option<Self> {
        let text = std::fs::read(dir.join(OWNER)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Writes into a folder whose spool it is.
    pub fn write(&self, dir: &Path) -> io::Result<()> {
        std::fs::create_dir_all(dir)?;
        std::fs::write(dir.join(OWNER), serde_json::to_vec(self)?)
    }
}

/// What a listener has received and the database does not have yet.
#[derive(Debug, Serialize)]
pub struct Held {
    /// The source's name.
    pub source: String,
    /// Bytes of messages that wait.
    pub waiting_bytes: u64,
    /// When the oldest file of them was begun.
    pub since: Option<Timestamp>,
    /// Files that were set aside because they are damaged.
    pub damaged: Vec<PathBuf>,
}

/// Returns what waits of what applications sent.
pub fn accepted(state: &StateDir) -> io::Result<SpoolOnDisk> {
    ingest::spool_on_disk(&accepted_dir(state))
}

/// Returns what waits in the spools of all listeners, also of those that are no longer configured.
pub fn held_by_listeners(state: &StateDir) -> io::Result<Vec<Held>> {
    let folders = match std::fs::read_dir(listeners_dir(state)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        folders => folders?,
    };

    let mut all = Vec::new();
    for folder in folders {
        let dir = folder?.path();
        let Some(owner) = Owner::of(&dir) else {
            continue;
        };

        let found = ingest::spool_on_disk(&dir)?;
        all.push(Held {
            source: owner.source,
            waiting_bytes: found.waiting_bytes,
            since: found.since,
            damaged: found.damaged,
        });
    }

    Ok(all)
}
