//! Configuration of a logger.

use std::path::PathBuf;
use std::time::Duration;

use crate::logger::AuditLogger;
use crate::sink::Sink;

/// Why a logger cannot start. Problems that may end while the application runs (an unwritable
/// folder, an unreachable sink) are logged instead, and the logger starts anyway.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Neither [`Builder::http`] nor [`Builder::postgres`] was called.
    #[error("no sink for audit events: call `http` or `postgres`")]
    NoSink,
    /// The URL is not valid.
    #[error("invalid URL for audit events: {0}")]
    Url(String),
    /// The key has characters that a header must not contain.
    #[error("invalid key for audit events")]
    Key,
    /// The certificates are not valid.
    #[error("invalid certificates for audit events: {0}")]
    Tls(String),
    /// The thread cannot be started.
    #[error("cannot start the thread for audit events: {0}")]
    Thread(#[from] std::io::Error),
}

#[derive(Clone)]
enum Target {
    None,
    #[cfg(feature = "http")]
    Http(String, String),
    #[cfg(feature = "postgres")]
    Postgres(String),
}

/// Configures and starts an [`AuditLogger`].
#[must_use = "nothing happens before `start`"]
pub struct Builder {
    pub(crate) name: String,
    target: Target,
    ca_pem: Option<String>,
    pub(crate) spool: Option<PathBuf>,
    pub(crate) spool_max_bytes: u64,
    pub(crate) queue: usize,
    pub(crate) batch: usize,
    pub(crate) interval: Duration,
    pub(crate) patience: Duration,
}

impl std::fmt::Debug for Builder {
    /// Without the target, which holds a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder")
            .field("name", &self.name)
            .field("spool", &self.spool)
            .finish_non_exhaustive()
    }
}

impl Builder {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.chars().filter(|c| !c.is_control()).take(100).collect(),
            target: Target::None,
            ca_pem: None,
            spool: None,
            spool_max_bytes: 256 * 1024 * 1024,
            queue: 8192,
            batch: 1000,
            interval: Duration::from_millis(50),
            patience: Duration::from_secs(10),
        }
    }

    /// Sends events to the ingest API at this URL (`https://host:8514`; `http://` only for this
    /// machine), with a key that may write events.
    #[cfg(feature = "http")]
    pub fn http(mut self, url: impl Into<String>, key: impl Into<String>) -> Self {
        self.target = Target::Http(url.into(), key.into());
        self
    }

    /// Trusts these certificates (PEM) in addition to the machine's, for [`Builder::http`].
    pub fn ca_pem(mut self, pem: impl Into<String>) -> Self {
        self.ca_pem = Some(pem.into());
        self
    }

    /// Inserts events into the table, as a login that is a member of `eqmon_audit_writer`:
    /// `postgres://webapp:…@db.example/app?sslmode=verify-full`.
    #[cfg(feature = "postgres")]
    pub fn postgres(mut self, url: impl Into<String>) -> Self {
        self.target = Target::Postgres(url.into());
        self
    }

    /// Sets the folder where events wait while the sink is unreachable. Several processes may share
    /// it. Without it up to 8 MiB of events wait in memory and are lost with the process.
    pub fn spool(mut self, folder: impl Into<PathBuf>) -> Self {
        self.spool = Some(folder.into());
        self
    }

    /// Sets the most bytes in the spool (default: 256 MiB). Beyond that, new events are dropped and
    /// counted.
    pub fn spool_max_bytes(mut self, bytes: u64) -> Self {
        self.spool_max_bytes = bytes;
        self
    }

    /// Sets the most events that wait in memory for the spool (default: 8192). Beyond that, new
    /// events are dropped and counted.
    pub fn queue(mut self, events: usize) -> Self {
        self.queue = events.max(1);
        self
    }

    /// Sets the most events in one request or statement (default: 1000).
    pub fn batch(mut self, events: usize) -> Self {
        self.batch = events.clamp(1, 10_000);
        self
    }

    /// Sets how long an event waits for others (default: 50 ms). A `kill -9` may lose the events of
    /// this time.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval.max(Duration::from_millis(1));
        self
    }

    /// Sets the timeout of one attempt to send (default: 10 s).
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Starts the logger and its thread.
    pub fn start(self) -> Result<AuditLogger, StartError> {
        let sink: Sink = match self.target.clone() {
            Target::None => return Err(StartError::NoSink),
            #[cfg(feature = "http")]
            Target::Http(url, key) => {
                Sink::http(&url, &key, self.ca_pem.as_deref(), self.patience)?
            }
            #[cfg(feature = "postgres")]
            Target::Postgres(url) => Sink::postgres(&url, self.patience)?,
        };
        AuditLogger::start(&self, sink)
    }
}
