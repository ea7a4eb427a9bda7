//! A private PostgreSQL cluster, for machines where none is configured.
//!
//! It listens on a Unix socket only, has data checksums and scram passwords, and lives under the
//! state directory. PostgreSQL refuses to run as root, so root runs it as the user `postgres`. The
//! postmaster is not our child in spirit: when we are killed it goes on, and the next start adopts
//! it; when it is killed, [`Cluster::ensure_running`] starts it again.

mod binaries;
mod layout;
mod process;
mod remains;

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgSslMode};

pub use binaries::Binaries;
use layout::Layout;
pub use layout::Login;
use process::Postmaster;

/// Whether a state directory holds a cluster: whoever only asks need not make one. A directory that
/// we may not look into is somebody's.
pub fn exists(state_dir: &Path) -> bool {
    let base = state_dir.join("postgres");
    let denied = |error: std::io::Error| error.kind() == std::io::ErrorKind::PermissionDenied;
    base.join("data/PG_VERSION").exists() || std::fs::read_dir(base).is_err_and(denied)
}

/// Why there is no cluster.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// No usable server binaries.
    #[error(
        "no PostgreSQL 15 or newer is installed (looked in {0}); install it (Debian: apt-get \
            install postgresql) or set DATABASE_URL"
    )]
    NoBinaries(String),
    /// Root, and no other account to run the server as.
    #[error(
        "PostgreSQL refuses to run as root and there is no user `postgres` to run it as; install \
            the postgresql package, create the user, or start this program as another user"
    )]
    NoUser,
    /// The server's user cannot get to its files.
    #[error("the user {user} cannot enter {}, which leads to the database's files; choose a state \
        directory that it can reach, such as /var/lib/blueteam, or open it with: chmod \
        o+x {}", dir.display(), dir.display())]
    Untraversable {
        /// Who cannot.
        user: String,
        /// The directory that stops them.
        dir: PathBuf,
    },
    /// A file operation failed.
    #[error("{}: {error}", path.display())]
    Io {
        /// What it was about.
        path: PathBuf,
        /// What happened.
        error: std::io::Error,
    },
    /// `initdb` failed.
    #[error("initdb failed: {0}")]
    Init(String),
    /// The data directory is another version's.
    #[error("the data in {} were written by PostgreSQL {found}, and its binaries are not \
        installed; install them, or upgrade the data with pg_upgrade", data.display())]
    Version {
        /// The data directory.
        data: PathBuf,
        /// What its PG_VERSION says.
        found: String,
    },
    /// The server did not come up.
    #[error("PostgreSQL did not start: {why}; its log is {}", log.display())]
    Start {
        /// What was found.
        why: String,
        /// Where it says more.
        log: PathBuf,
    },
    /// The server did not go down.
    #[error("PostgreSQL (process {pid}) did not stop within {} s; its log \
        is {}", waited.as_secs(), log.display())]
    Stop {
        /// The postmaster.
        pid: u32,
        /// How long the start was waited for.
        waited: Duration,
        /// Where it says more.
        log: PathBuf,
    },
}

impl ClusterError {
    pub(crate) fn io(path: &Path, error: std::io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            error,
        }
    }

    /// Whether a file system takes no writes.
    pub(crate) fn is_read_only(&self) -> bool {
        let kind = std::io::ErrorKind::ReadOnlyFilesystem;
        matches!(self, Self::Io { error, .. } if error.kind() == kind)
    }
}

/// How the cluster is to be run.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    /// Everything lives below it; made when it is missing.
    pub state_dir: PathBuf,
    /// False only for tests: gives up durability for speed.
    pub durable: bool,
    /// How long a start may take, crash recovery included.
    pub start_timeout: Duration,
    /// `max_connections`.
    pub max_connections: u16,
}

impl ClusterConfig {
    /// A durable cluster under `state_dir`.
    pub fn new(state_dir: impl Into<PathBuf>) -> Self {
        Self {
            state_dir: state_dir.into(),
            durable: true,
            start_timeout: Duration::from_mins(2),
            max_connections: 64,
        }
    }
}

/// A running cluster. Dropping it leaves the server running; [`Cluster::stop`] stops it.
#[derive(Debug)]
pub struct Cluster {
    binaries: Binaries,
    layout: Layout,
    config: ClusterConfig,
    postmaster: Postmaster,
}

impl Cluster {
    /// Finds the binaries, makes the cluster when there is none, and starts it or adopts the one
    /// that runs. Ready for connections on return.
    pub async fn start(config: ClusterConfig) -> Result<Self, ClusterError> {
        let layout = Layout::prepare(&config.state_dir)?;
        let binaries = match layout.data_version() {
            Some(version) => {
                Binaries::of_version(&version).ok_or_else(|| ClusterError::Version {
                    data: layout.data.clone(),
                    found: version.clone(),
                })?
            }
            None => Binaries::newest()?,
        };

        if layout.data_version().is_none() {
            process::init(&binaries, &layout, config.durable).await?;
        }

        let postmaster = Postmaster::start_or_adopt(&binaries, &layout, &config).await?;
        Ok(Self {
            binaries,
            layout,
            config,
            postmaster,
        })
    }

    /// Adopts the server that runs; none where none does. Never makes or starts one.
    pub async fn adopt(config: ClusterConfig) -> Result<Option<Self>, ClusterError> {
        let layout = Layout::prepare(&config.state_dir)?;
        if Postmaster::running(&layout).is_none() {
            return Ok(None);
        }
        Self::start(config).await.map(Some)
    }

    /// Returns whether the server was already running.
    pub fn was_adopted(&self) -> bool {
        self.postmaster.is_adopted()
    }

    /// Whether the postmaster lives. Cheap: asks the kernel, not the database.
    pub fn is_alive(&mut self) -> bool {
        self.postmaster.is_alive(&self.layout)
    }

    /// Starts the server again when it has died; true when it had. To be called now and then, and
    /// when connections fail.
    pub async fn ensure_running(&mut self) -> Result<bool, ClusterError> {
        if self.is_alive() {
            return Ok(false);
        }
        self.postmaster =
            Postmaster::start_or_adopt(&self.binaries, &self.layout, &self.config).await?;
        Ok(true)
    }

    /// Ends the server in fast mode: open transactions are rolled back, everything committed is on
    /// disk.
    pub async fn stop(mut self) -> Result<(), ClusterError> {
        if !self.is_alive()
            && let Some(postmaster) = Postmaster::running(&self.layout)
        {
            // An interrupted restart has left it.
            self.postmaster = postmaster;
        }
        self.postmaster
            .stop(&self.layout, Duration::from_mins(1))
            .await
    }

    /// How to connect as one of our logins. `database` is `blueteam` for the product's own.
    pub fn options(&self, login: Login, database: &str) -> Result<PgConnectOptions, ClusterError> {
        Ok(PgConnectOptions::new_without_pgpass()
            .socket(&self.layout.run)
            .port(layout::PORT)
            .ssl_mode(PgSslMode::Disable)
            .username(login.name())
            .password(&self.layout.password(login)?)
            .database(database))
    }

    /// The password of a login, for [`crate::ensure_login`].
    pub fn password(&self, login: Login) -> Result<String, ClusterError> {
        self.layout.password(login)
    }

    /// The server's log file.
    pub fn log_file(&self) -> &Path {
        &self.layout.log
    }

    /// The postmaster's process id.
    pub fn pid(&self) -> u32 {
        self.postmaster.pid()
    }
}
