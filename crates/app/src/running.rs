//! Whether a daemon runs on a state directory, and what it says of itself.

use std::os::unix::fs::OpenOptionsExt as _;

use config::StateDir;
use rustix::fs::{FlockOperation, OFlags, flock};
use serde::{Deserialize, Serialize};

/// The file that a running daemon holds a lock on, and in which it says what it is.
pub const DAEMON_LOCK: &str = "daemon.lock";

/// Whether a daemon holds the lock. The lock taken here is shared and released at once. Never waits,
/// whatever lies in the file's place.
pub fn daemon_runs(state: &StateDir) -> bool {
    let file = std::fs::File::options()
        .read(true)
        .custom_flags((OFlags::NONBLOCK | OFlags::NOFOLLOW).bits().cast_signed())
        .open(state.join(DAEMON_LOCK));
    let Ok(file) = file else {
        return false;
    };
    let is_file = file.metadata().is_ok_and(|about| about.is_file());
    is_file && flock(&file, FlockOperation::NonBlockingLockShared).is_err()
}

/// What a running daemon says of itself.
#[derive(Debug, Serialize, Deserialize)]
pub struct RunningDaemon {
    /// The version of the program.
    pub version: String,
    /// What it waits for before it begins its work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
}

impl RunningDaemon {
    /// This program, at work or waiting.
    pub fn this(waits_for: Option<String>) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            waits_for,
        }
    }

    /// The daemon on a state directory; none where it is older than this file's content.
    pub fn of(state: &StateDir) -> Option<Self> {
        serde_json::from_slice(&state.read_small(DAEMON_LOCK)?).ok()
    }

    /// Writes it for those who look; the lock alone decides whether a daemon runs.
    pub fn write(&self, state: &StateDir) -> anyhow::Result<()> {
        // Not replaced: the lock is on the file that is there.
        std::fs::write(state.join(DAEMON_LOCK), serde_json::to_vec(self)?)?;
        Ok(())
    }
}
