//! What the operator can choose.

use std::path::PathBuf;
use std::time::Duration;

use model::Span;

/// How long things may take.
#[derive(Clone, Debug)]
pub struct Timeouts {
    /// A request's body.
    pub body: Duration,
    /// Getting a database connection; beyond it the database counts as unreachable.
    pub acquire: Duration,
    /// Writing a group of events; beyond it the database counts as unreachable.
    pub write: Duration,
    /// The wait for a commit; beyond it the sender gets no answer, and the fate of its events is
    /// open.
    pub answer: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            body: Duration::from_secs(30),
            acquire: Duration::from_secs(2),
            write: Duration::from_secs(15),
            answer: Duration::from_mins(1),
        }
    }
}

/// Limits of the ingest, and where its spool is.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The largest request, in bytes, as sent and after decompression.
    pub max_body_bytes: usize,
    /// The most events in one request.
    pub max_batch_events: usize,
    /// How far ahead of the clock an event's time may be before it is replaced and marked.
    pub max_clock_ahead: Span,
    /// How old an event may be.
    pub max_clock_behind: Span,
    /// The most events that wait for their commit; beyond, requests are refused.
    pub queue_max_events: usize,
    /// The most bytes of requests that are being read or wait for their commit; never taken below
    /// twice `max_body_bytes`.
    pub queue_max_bytes: usize,
    /// Where events go while the database is unreachable; made when it is missing.
    pub spool_dir: PathBuf,
    /// The most bytes there.
    pub spool_max_bytes: u64,
    /// How many groups are written at once.
    pub writers: usize,
    /// How long things may take.
    pub timeouts: Timeouts,
}

impl Settings {
    /// The defaults, with the spool in `spool_dir`.
    pub fn new(spool_dir: impl Into<PathBuf>) -> Self {
        Self {
            max_body_bytes: 16 * 1024 * 1024,
            max_batch_events: 10_000,
            max_clock_ahead: Span::mins(5),
            max_clock_behind: Span::days(30),
            queue_max_events: 50_000,
            queue_max_bytes: 64 * 1024 * 1024,
            spool_dir: spool_dir.into(),
            spool_max_bytes: 1024 * 1024 * 1024,
            writers: 2,
            timeouts: Timeouts::default(),
        }
    }
}
