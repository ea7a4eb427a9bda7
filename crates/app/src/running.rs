//! Whether a daemon runs on a state directory, and what it says of itself.

use std::collections::BTreeSet;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use config::{Loaded, StateDir};
use rustix::fs::{FlockOperation, OFlags, flock};
use serde::{Deserialize, Serialize};

/// The file that a running daemon holds a lock on, and in which it says what it is.
pub const DAEMON_LOCK: &str = "daemon.lock";

/// Whether a daemon holds the lock. The lock taken here is shared and released at once. Never
/// waits, whatever lies in the file's place.
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

/// The file in which a daemon says which sources it was started with.
const SOURCES: &str = "running-sources.json";
/// Of a thousand files each has a path of up to 4096 bytes, and few more than a hundred.
const SOURCES_MAX: u64 = 4 * 1024 * 1024;

/// The sources that a daemon was started with. Those of `[collect]` count from a start on.
#[derive(Debug, Serialize, Deserialize)]
pub struct RunningSources {
    /// The file of its configuration.
    file: Option<PathBuf>,
    /// Their names.
    names: BTreeSet<String>,
}

impl RunningSources {
    /// Those of this configuration.
    pub fn of(loaded: &Loaded) -> Self {
        Self {
            file: canonical(loaded),
            names: loaded.config.collect.source_names(),
        }
    }

    /// Writes them for those who look.
    pub fn write(&self, state: &StateDir) -> anyhow::Result<()> {
        state.replace(SOURCES, &serde_json::to_vec(self)?)
    }

    /// How a configuration differs from what the daemon on a state directory runs; `None` where
    /// that is not known, or where it runs with another file.
    pub fn compare(state: &StateDir, loaded: &Loaded) -> Option<SourceChanges> {
        let content = state.read_at_most(SOURCES, SOURCES_MAX)?;
        let running: Self = serde_json::from_slice(&content).ok()?;
        let same = running.file == canonical(loaded);
        same.then(|| running.changes(loaded))
    }

    /// How a newer configuration differs.
    pub fn changes(&self, loaded: &Loaded) -> SourceChanges {
        let wanted = loaded.config.collect.source_names();
        SourceChanges {
            not_running: wanted.difference(&self.names).cloned().collect(),
            removed: self.names.difference(&wanted).cloned().collect(),
        }
    }
}

fn canonical(loaded: &Loaded) -> Option<PathBuf> {
    let file = loaded.file.as_ref()?;
    file.canonicalize().ok()
}

/// What a restart would change about the sources.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SourceChanges {
    /// Sources of the configuration that do not run.
    #[serde(rename = "sources_not_running", skip_serializing_if = "Vec::is_empty")]
    pub not_running: Vec<String>,
    /// Sources that run although they are no longer in the configuration.
    #[serde(rename = "sources_removed", skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<String>,
}

impl SourceChanges {
    /// Each in a sentence without its end.
    pub fn sentences(&self) -> Vec<String> {
        let not_running = self.not_running.iter();
        let not_running = not_running.map(|name| {
            format!("source {name} of the configuration is not running: restart the daemon")
        });
        let removed = self.removed.iter().map(|name| {
            format!("source {name} is not in the configuration and still runs: restart the daemon")
        });
        not_running.chain(removed).collect()
    }
}
