//! `[ingest]`.

use std::net::SocketAddr;

use model::Span;
use serde::{Deserialize, Serialize};

use crate::error::Problem;
use crate::{check_lasting, check_positive};

/// A key that is revoked while the database is unreachable counts for this long at most.
const OFFLINE_MAX: Span = Span::days(7);

/// The HTTP door for events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ingest {
    /// Address and port.
    pub listen: SocketAddr,
    /// Certificate chain (PEM); needed to listen anywhere but on this machine.
    pub tls_cert_file: String,
    /// Its key (PEM).
    pub tls_key_file: String,
    /// The largest request, after decompression, in bytes.
    #[serde(rename = "max_body_size", with = "model::size")]
    pub max_body_bytes: u64,
    /// The most events in one request.
    pub max_batch_events: u64,
    /// How far ahead of our clock an event's time may be before it is replaced and marked.
    pub max_clock_ahead: Span,
    /// How old an event may be.
    pub max_clock_behind: Span,
    /// The most events that wait for their commit; beyond, requests are answered 429.
    pub queue_max_events: u64,
    /// The most bytes of events that wait for their commit.
    #[serde(rename = "queue_max_size", with = "model::size")]
    pub queue_max_bytes: u64,
    /// The most connections at once.
    pub max_connections: u64,
    /// How long API keys count while the database is unreachable: those that were in force when it
    /// was last reachable, also after a restart. Zero: none count that were not used within the
    /// last hour, and none after a restart.
    pub offline_keys: Span,
    /// The most requests of a network (a /24, or an IPv6 /64) within a minute whose keys are looked
    /// up although they are not in force; beyond, they are answered 429.
    pub max_refused_keys: u64,
    /// The largest spool on disk while the database is unreachable, in bytes.
    #[serde(rename = "spool_max_size", with = "model::size")]
    pub spool_max_bytes: u64,
}

impl Default for Ingest {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8514)),
            tls_cert_file: String::new(),
            tls_key_file: String::new(),
            max_body_bytes: 16 * 1024 * 1024,
            max_batch_events: 10_000,
            max_clock_ahead: Span::mins(5),
            max_clock_behind: Span::days(30),
            queue_max_events: 50_000,
            queue_max_bytes: 64 * 1024 * 1024,
            max_connections: 1024,
            offline_keys: Span::hours(24),
            max_refused_keys: 60,
            spool_max_bytes: 1024 * 1024 * 1024,
        }
    }
}

impl Ingest {
    pub(super) fn check(&self, problems: &mut Vec<Problem>) {
        check_positive(problems, "ingest.max_body_size", self.max_body_bytes);
        check_positive(problems, "ingest.max_batch_events", self.max_batch_events);
        check_positive(problems, "ingest.queue_max_events", self.queue_max_events);
        check_positive(problems, "ingest.queue_max_size", self.queue_max_bytes);
        check_positive(problems, "ingest.max_connections", self.max_connections);
        check_positive(problems, "ingest.max_refused_keys", self.max_refused_keys);
        check_lasting(problems, "ingest.max_clock_ahead", self.max_clock_ahead);
        check_lasting(problems, "ingest.max_clock_behind", self.max_clock_behind);
        if self.offline_keys < Span::ZERO || self.offline_keys > OFFLINE_MAX {
            let message = format!("is from 0s to {OFFLINE_MAX}");
            problems.push(Problem::new("ingest.offline_keys", message));
        }

        match (self.tls_cert_file.is_empty(), self.tls_key_file.is_empty()) {
            (true, false) => problems.push(Problem::new(
                "ingest.tls_key_file",
                "needs tls_cert_file as well",
            )),
            (false, true) => problems.push(Problem::new(
                "ingest.tls_cert_file",
                "needs tls_key_file as well",
            )),
            (true, true) if !self.listen.ip().is_loopback() => {
                let message = "is open to the network: set tls_cert_file and tls_key_file, or \
                    listen on 127.0.0.1";
                problems.push(Problem::new("ingest.listen", message));
            }
            _ => {}
        }
    }
}
