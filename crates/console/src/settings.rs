//! What the operator can choose.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use model::Span;

use crate::acknowledge::LinkKey;
use crate::ingest::Stats;
use crate::tls::ServerCertificate;

/// How long a key that was found good is trusted without asking again, unless it is said otherwise.
pub const KEY_CACHE: Duration = Duration::from_secs(10);

/// How long things may take.
#[derive(Clone, Debug)]
pub struct Timeouts {
    /// A request's head, the wait for the next request of a connection, and a TLS handshake.
    pub head: Duration,
    /// A request's body.
    pub body: Duration,
    /// Getting a database connection; beyond it the database counts as away.
    pub acquire: Duration,
    /// Writing a group of events; beyond it the database counts as away.
    pub write: Duration,
    /// The wait for a commit; beyond it the request is answered 503, and its fate is open.
    pub answer: Duration,
    /// Finishing requests after the shutdown began.
    pub shutdown: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(20),
            body: Duration::from_secs(30),
            acquire: Duration::from_secs(2),
            write: Duration::from_secs(15),
            answer: Duration::from_mins(1),
            shutdown: Duration::from_secs(10),
        }
    }
}

/// What the links in mails need.
#[derive(Clone, Debug)]
pub struct Acknowledge {
    /// What they are signed with.
    pub key: LinkKey,
    /// Connections of a role that does people's work.
    pub people: sqlx::PgPool,
}

/// A text that is being written.
pub type Writing = Pin<Box<dyn Future<Output = String> + Send>>;

/// Writes the numbers in Prometheus' text format. What cannot be had at the moment is left out, and
/// a number says so.
#[derive(Clone)]
pub struct Metrics(pub Arc<dyn Fn(Stats) -> Writing + Send + Sync>);

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

/// Everything that the console needs to be told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Address and port.
    pub listen: SocketAddr,
    /// Needed to listen anywhere but on this machine.
    pub tls: Option<ServerCertificate>,
    /// The largest request, in bytes, as sent and after decompression.
    pub max_body_bytes: usize,
    /// The most events in one request.
    pub max_batch_events: usize,
    /// How far ahead of our clock an event's time may be before it is replaced and marked.
    pub max_clock_ahead: Span,
    /// How old an event may be.
    pub max_clock_behind: Span,
    /// The most events that wait for their commit; beyond, requests are answered 429.
    pub queue_max_events: usize,
    /// The most bytes of requests that are being read or wait for their commit; never taken below
    /// twice `max_body_bytes`.
    pub queue_max_bytes: usize,
    /// The most connections at once; more wait in the kernel's backlog.
    pub max_connections: usize,
    /// Where events go while the database is away; made when it is missing.
    pub spool_dir: PathBuf,
    /// The most bytes there.
    pub spool_max_bytes: u64,
    /// How many groups are written at once.
    pub writers: usize,
    /// How long a key that was found good is trusted without asking again, and so how long a
    /// revocation takes at most.
    pub key_cache: Duration,
    /// How long it is trusted when the database is away.
    pub key_grace: Duration,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// Serves the links by which people acknowledge alerts.
    pub acknowledge: Option<Acknowledge>,
    /// Serves the numbers of the program to monitoring systems.
    pub metrics: Option<Metrics>,
}

impl Settings {
    /// The defaults, with the spool in `spool_dir`.
    pub fn new(spool_dir: impl Into<PathBuf>) -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8514)),
            tls: None,
            max_body_bytes: 16 * 1024 * 1024,
            max_batch_events: 10_000,
            max_clock_ahead: Span::mins(5),
            max_clock_behind: Span::days(30),
            queue_max_events: 50_000,
            queue_max_bytes: 64 * 1024 * 1024,
            max_connections: 1024,
            spool_dir: spool_dir.into(),
            spool_max_bytes: 1024 * 1024 * 1024,
            writers: 2,
            key_cache: KEY_CACHE,
            key_grace: Duration::from_hours(1),
            timeouts: Timeouts::default(),
            acknowledge: None,
            metrics: None,
        }
    }
}
