//! What the operator can choose.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use app::ack_links::LinkKey;
use app::auth::OfflineKeys;
use app::console::Console;
use app::database::Pool;
use app::tls::ServerCertificate;
use ingest::Stats;

/// How long things may take.
#[derive(Clone, Debug)]
pub struct Timeouts {
    /// A request's head, the wait for the next request of a connection, and a TLS handshake.
    pub head: Duration,
    /// Finishing requests after the shutdown began.
    pub shutdown: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(20),
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
    pub people: Pool,
}

/// A text that is being written.
pub type Writing = Pin<Box<dyn Future<Output = String> + Send>>;

/// Writes the metrics in the text format of Prometheus. What cannot be measured at the moment is
/// left out, and a metric says so.
#[derive(Clone)]
pub struct Metrics(pub Arc<dyn Fn(Stats) -> Writing + Send + Sync>);

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

/// Where people's part of the server listens, if it is apart from that for events.
#[derive(Clone, Debug)]
pub struct ConsoleDoor {
    /// Address and port.
    pub listen: SocketAddr,
    /// Needed to listen anywhere but on this machine.
    pub tls: Option<ServerCertificate>,
}

/// Configuration of the HTTP server.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Address and port.
    pub listen: SocketAddr,
    /// Needed to listen anywhere but on this machine.
    pub tls: Option<ServerCertificate>,
    /// The most connections at once; more wait in the kernel's backlog.
    pub max_connections: usize,
    /// Limits of the ingest, and its spool.
    pub ingest: ingest::Settings,
    /// How long an API key that was found valid is trusted without asking again, and so how long a
    /// revocation takes at most.
    pub key_cache: Duration,
    /// How long it is trusted while the database is unreachable.
    pub key_grace: Duration,
    /// Where the keys in force are kept, so that they count while the database is unreachable also
    /// after a restart.
    pub offline_keys: Option<OfflineKeys>,
    /// The most requests of a network within a minute whose keys are looked up although they are
    /// not in force.
    pub refused_keys_max: u64,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// Serves the links by which people acknowledge alerts.
    pub acknowledge: Option<Acknowledge>,
    /// Serves the metrics of the program to monitoring systems.
    pub metrics: Option<Metrics>,
    /// What people sign in to.
    pub console: Option<Arc<Console>>,
    /// Where, if elsewhere: then each address serves only what belongs to it.
    pub console_door: Option<ConsoleDoor>,
}

impl Settings {
    /// The defaults, with the spool in `spool_dir`.
    pub fn new(spool_dir: impl Into<PathBuf>) -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8514)),
            tls: None,
            max_connections: 1024,
            ingest: ingest::Settings::new(spool_dir),
            key_cache: app::auth::KEY_CACHE,
            key_grace: Duration::from_hours(1),
            offline_keys: None,
            refused_keys_max: 60,
            timeouts: Timeouts::default(),
            acknowledge: None,
            metrics: None,
            console: None,
            console_door: None,
        }
    }
}
