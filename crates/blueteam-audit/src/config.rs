//! What an application chooses.

use std::path::PathBuf;
use std::time::Duration;

use crate::logger::AuditLogger;
use crate::sink::Sink;

/// Why a logger does not start. What can be mended while the application runs (an unwritable
/// folder, a sink that is away) is not among it: that is logged, and the logger does what it can.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Neither [`Builder::http`] nor [`Builder::postgres`] was called.
    #[error("nowhere to send audit events to")]
    NoSink,
    /// The URL is no good.
    #[error("the URL for audit events: {0}")]
    Url(String),
    /// The key has characters that no header may hold.
    #[error("the key for audit events is no key")]
    Key,
    /// The certificates are no good.
    #[error("the certificates for audit events: {0}")]
    Tls(String),
    /// The system gives us no thread.
    #[error("the thread for audit events: {0}")]
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

/// Makes an [`AuditLogger`].
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

    /// To the ingest API at this address (`https://host:8514`; `http://` only to this machine),
    /// with a key that may write events.
    #[cfg(feature = "http")]
    pub fn http(mut self, url: impl Into<String>, key: impl Into<String>) -> Self {
        self.target = Target::Http(url.into(), key.into());
        self
    }

    /// Certificates (PEM) that are trusted besides the machine's, for [`Builder::http`].
    pub fn ca_pem(mut self, pem: impl Into<String>) -> Self {
        self.ca_pem = Some(pem.into());
        self
    }

    /// Into the table, as a login that is a member of `eqmon_audit_writer`:
    /// `postgres://webapp:…@db.example/app?sslmode=verify-full`.
    #[cfg(feature = "postgres")]
    pub fn postgres(mut self, url: impl Into<String>) -> Self {
        self.target = Target::Postgres(url.into());
        self
    }

    /// Where events wait while the sink is away. Several processes may share it. Without it they
    /// wait in memory, 8 MiB of them, and die with the process.
    pub fn spool(mut self, folder: impl Into<PathBuf>) -> Self {
        self.spool = Some(folder.into());
        self
    }

    /// The most bytes there; 256 MiB when not said. Beyond, the newest events are dropped and
    /// counted.
    pub fn spool_max_bytes(mut self, bytes: u64) -> Self {
        self.spool_max_bytes = bytes;
        self
    }

    /// The most events that wait in memory for the spool; 8192 when not said. Beyond, the newest
    /// are dropped and counted.
    pub fn queue(mut self, events: usize) -> Self {
        self.queue = events.max(1);
        self
    }

    /// The most events in one request or statement; 1000 when not said.
    pub fn batch(mut self, events: usize) -> Self {
        self.batch = events.clamp(1, 10_000);
        self
    }

    /// How long an event waits for others; 50 ms when not said. It is also what a `kill -9` may
    /// cost.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval.max(Duration::from_millis(1));
        self
    }

    /// How long one attempt to send may take; 10 s when not said.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Starts the thread.
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
