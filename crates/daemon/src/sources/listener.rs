//! Listens for log messages on sockets (udp, tcp, tls, unix) and brings them into the database.
//!
//! Senders do not send again. So everything goes to a spool on disk first: a stream is not read
//! further before what was read of it is synced there, and from the spool it goes into the
//! database, in order and once. A `kill -9` costs at most what had been read at that instant and
//! was not synced yet (one read of 64 KiB per connection) and what the kernel still held. While the
//! spool is full, streams are not read (their senders wait), and datagrams are dropped and counted,
//! like those that the kernel dropped. A peer's address is kept beside what its line says of
//! itself, and is never taken for the client that a line is about.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use collect::Format;
use model::civil::Zone;
use model::time::Calendar;
use model::{Clock, Network, ServiceName, Span, TenantName};
use store::PgConnectOptions;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use uuid::Uuid;

use app::certificates::Slot;
use app::self_audit::{Component, Failures};
use app::spools::{Owner, listeners_dir};
use config::Address;
use config::StateDir;
use drain::{Drain, Sink};
use keeper::{Keeper, Shelf};
use queue::Queue;

mod drain;
mod drops;
mod keeper;
mod places;
mod queue;
mod record;
mod sockets;
mod streams;

use crate::context::TaskContext;
use crate::spool_backlog::SpoolBacklog;
use crate::supervisor::{Reader, SourceKind};
use crate::tenancy::TenantSource;

/// The kind.
pub const SOURCE: SourceKind = SourceKind {
    name: "listeners",
    start,
};

fn start(context: &TaskContext) -> anyhow::Result<Vec<Reader>> {
    let config = &context.loaded.config;
    let (mut readers, mut configured) = (Vec::new(), BTreeSet::new());
    for listener in &config.collect.listeners {
        let options = Options {
            database: context.database.engine.clone(),
            address: listener.address.parse().map_err(anyhow::Error::msg)?,
            tls: context.certificates.listener(&listener.address).cloned(),
            client_ca: (!listener.client_ca.is_empty()).then(|| listener.client_ca.clone().into()),
            format: listener.format().context("no such format")?,
            every: listener.expected_interval,
            senders: listener.senders.clone(),
            service: listener.service.clone(),
            tenant: listener.tenant().cloned(),
            keep_raw: config.collect.keep_raw,
            zone: listener.zone().context("no such time zone")?,
            trusted_proxies: listener.proxies().context("no such network")?,
            calendar: context.calendar.clone(),
            settle: config.detection.allowed_lateness,
            clock: Arc::clone(&context.clock),
            failures: context.failures.clone(),
            state: context.state.clone(),
            spool_max_bytes: config.collect.listener_spool_max_bytes,
            waiting: Arc::clone(&context.arrivals.waiting),
        };

        configured.insert(options.source());
        readers.push(Reader {
            source: Some(options.source()),
            run: Box::pin(run(options, context.stop.clone())),
        });
    }

    // What listeners that are no longer configured have taken in is stored all the same.
    let left = LeftBehind {
        database: context.database.engine.clone(),
        state: context.state.clone(),
        calendar: context.calendar.clone(),
        settle: config.detection.allowed_lateness,
        keep_raw: config.collect.keep_raw,
        failures: context.failures.clone(),
        waiting: Arc::clone(&context.arrivals.waiting),
    };

    readers.push(Reader {
        source: None,
        run: Box::pin(drain_left_behind(left, configured, context.stop.clone())),
    });

    Ok(readers)
}

/// How long a few messages wait for others on their way into the database.
const LINGER: Duration = Duration::from_millis(100);
/// How long a stop waits for a database or a disk that does not take anything.
const LAST_TRY: Duration = Duration::from_secs(10);

/// What a listener is told.
pub struct Options {
    /// How to connect, as the engine's role.
    pub database: PgConnectOptions,
    /// Where it listens.
    pub address: Address,
    /// Certificate and key, for `tls:`.
    pub tls: Option<Arc<Slot>>,
    /// The file of the authorities of which senders must present a certificate.
    pub client_ca: Option<PathBuf>,
    /// What is in the messages.
    pub format: &'static Format,
    /// How often somebody is configured to speak.
    pub every: Option<Span>,
    /// The networks from which messages are taken; empty for any.
    pub senders: Vec<Network>,
    /// Whose events they are.
    pub service: Option<ServiceName>,
    /// Their tenant; none: `default`.
    pub tenant: Option<TenantName>,
    /// The zone of times that name none.
    pub zone: Zone,
    /// Proxies whose word about whom they forward for is taken.
    pub trusted_proxies: Vec<Network>,
    /// Business hours.
    pub calendar: Calendar,
    /// How far events may be out of order before they count as late.
    pub settle: Span,
    /// The age up to which raw lines are kept.
    pub keep_raw: Span,
    /// The present.
    pub clock: Arc<dyn Clock>,
    /// Where failures are told.
    pub failures: Failures,
    /// Where the spool is kept.
    pub state: StateDir,
    /// The most bytes in it.
    pub spool_max_bytes: u64,
    /// Says since when messages wait.
    pub waiting: Arc<SpoolBacklog>,
}

impl Options {
    /// The source's name in the ledger.
    pub fn name(&self) -> String {
        format!("{}:{}", self.format.name, self.address)
    }

    /// The source in the ledger.
    pub fn source(&self) -> TenantSource {
        TenantSource {
            tenant: self.tenant.clone(),
            name: self.name(),
        }
    }

    /// Whether messages of an address are taken.
    fn admits(&self, address: IpAddr) -> bool {
        self.senders.is_empty() || self.senders.iter().any(|network| network.contains(address))
    }

    /// Tells that an address wanted to send that may not.
    fn refuse(&self, address: IpAddr) {
        let message = format!(
            "{}: {address} is not among its `senders`; what it sends is refused",
            self.name()
        );
        self.failures.tell_of(
            Component::Collector,
            &format!("{} senders", self.address),
            message,
        );
    }

    fn sink(&self) -> Sink {
        Sink {
            database: self.database.clone(),
            source: self.source(),
            format: self.format,
            every: self.every,
            service: self.service.clone(),
            zone: self.zone.clone(),
            trusted_proxies: self.trusted_proxies.clone(),
            calendar: self.calendar.clone(),
            settle: self.settle,
            keep_raw: self.keep_raw,
            failures: self.failures.clone(),
            waiting: Arc::clone(&self.waiting),
        }
    }
}

/// The folder of a source's spool, which is one tenant's: its name as far as a file's may have it, and a number that tells
/// apart what then looks the same.
fn spool_folder(state: &StateDir, source: &TenantSource) -> PathBuf {
    let source = source.key();
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || c == '.' {
            c
        } else {
            '-'
        }
    };

    let shown: String = source.chars().map(plain).take(100).collect();
    let number = Uuid::new_v5(&Uuid::NAMESPACE_URL, source.as_bytes())
        .simple()
        .to_string();
    listeners_dir(state).join(format!("{shown}-{}", &number[..8]))
}

/// What could not be taken in, since it was last written down.
#[derive(Debug, Default)]
struct Lost(AtomicU64);

impl Lost {
    fn note(&self, messages: u64) {
        self.0.fetch_add(messages, Ordering::Relaxed);
    }
}

/// Listens until told to stop, then stores what is held.
pub async fn run(options: Options, stop: CancellationToken) -> anyhow::Result<()> {
    if options.address.is_plain_network() {
        warn!(
            "{}: what is sent there crosses the network in the clear; use tls: off this machine",
            options.name()
        );
    }

    let (lost, options) = (Arc::new(Lost::default()), Arc::new(options));
    let name = options.name();
    let shelf = Arc::new(Shelf::new(
        spool_folder(&options.state, &options.source()),
        options.spool_max_bytes,
    ));
    let owner = Owner {
        source: name,
        format: options.format.name.to_owned(),
        service: options.service.clone(),
        tenant: options.tenant.clone(),
    };

    if let Err(cause) = owner.write(shelf.dir()) {
        warn!("{}: the spool cannot be opened yet: {cause}", owner.source);
    }

    let drain = Arc::new(tokio::sync::Mutex::new(Drain::new(options.sink())));
    let ended = CancellationToken::new();
    let draining = tokio::spawn(drain::run(
        Arc::clone(&drain),
        Arc::clone(&shelf),
        ended.clone(),
    ));
    let (queue, handovers) = queue::new();
    let reading = tokio::spawn(run_reader(
        Arc::clone(&options),
        queue,
        Arc::clone(&lost),
        stop.clone(),
    ));

    Keeper::new(&options, shelf, lost, drain)?
        .run(handovers, &stop)
        .await;
    ended.cancel();
    draining
        .await
        .context("a listener's way into the database ended with a bug")?;

    reading.await.context("a listener ended with a bug")
}

/// Stores what listeners have taken in that are configured no longer. Returns when nothing of it is
/// left, or at the stop.
pub async fn drain_left_behind(
    like: LeftBehind,
    configured: BTreeSet<TenantSource>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let folders = match std::fs::read_dir(listeners_dir(&like.state)) {
        Ok(folders) => folders
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .collect(),
        Err(_) => Vec::new(),
    };

    for dir in folders {
        let Some(owner) = Owner::of(&dir) else {
            continue;
        };
        let source = TenantSource {
            tenant: owner.tenant,
            name: owner.source,
        };
        if configured.contains(&source) {
            continue;
        }
        let Some(format) = Format::named(&owner.format) else {
            continue;
        };
        let shelf = Arc::new(Shelf::new(dir, u64::MAX / 2));
        if shelf
            .with(|spool| Ok(spool.is_empty()))
            .await
            .unwrap_or(true)
        {
            continue;
        }
        info!(
            "{}: storing what was received before it was taken out of the configuration",
            source.name
        );
        let sink = Sink {
            database: like.database.clone(),
            source,
            format,
            every: None,
            service: owner.service,
            zone: Zone::UTC,
            trusted_proxies: Vec::new(),
            calendar: like.calendar.clone(),
            settle: like.settle,
            keep_raw: like.keep_raw,
            failures: like.failures.clone(),
            waiting: Arc::clone(&like.waiting),
        };
        drain::run_to_end(Drain::new(sink), shelf, &stop).await;
    }

    stop.cancelled().await;
    Ok(())
}

/// What spools that were left behind are stored with.
pub struct LeftBehind {
    /// How to connect, as the engine's role.
    pub database: PgConnectOptions,
    /// Where the spools are kept.
    pub state: StateDir,
    /// Business hours.
    pub calendar: Calendar,
    /// How far events may be out of order before they count as late.
    pub settle: Span,
    /// The age up to which raw lines are kept.
    pub keep_raw: Span,
    /// Where failures are told.
    pub failures: Failures,
    /// Says since when messages wait.
    pub waiting: Arc<SpoolBacklog>,
}

/// Opens the socket and reads it; tries again when that fails.
async fn run_reader(options: Arc<Options>, queue: Queue, lost: Arc<Lost>, stop: CancellationToken) {
    let mut failures = 0_u32;
    while !stop.is_cancelled() {
        if let Err(cause) = sockets::read(&options, &queue, &lost, &stop).await {
            failures += 1;
            let message = format!("cannot listen on {}: {cause:#}", options.address);

            // A port that the daemon before has just left is no news.
            if failures == 1 || failures.is_multiple_of(30) {
                error!("{message}");
            }

            if failures == 3 {
                options
                    .failures
                    .tell_of(Component::Collector, &options.name(), message);
            }

            let _ = timeout(Duration::from_secs(1), stop.cancelled()).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_source_has_a_folder_of_its_own() {
        let state = StateDir::resolve(Some(std::path::Path::new("/state"))).unwrap();
        let of_tenant = |source: &str, tenant: Option<&str>| {
            let source = TenantSource {
                tenant: tenant.map(|name| name.parse().unwrap()),
                name: source.to_owned(),
            };
            spool_folder(&state, &source).display().to_string()
        };
        let of = |source: &str| of_tenant(source, None);
        assert!(
            of("syslog:udp:127.0.0.1:5514")
                .starts_with("/state/listeners/syslog-udp-127.0.0.1-5514-")
        );
        assert_ne!(of("syslog:unix:/a/b"), of("syslog:unix:/a-b"));
        assert!(!of("syslog:unix:/../../etc").contains("/.."));
        // What was received for one tenant is not stored as another's.
        let tenants = [None, Some("a"), Some("b")].map(|tenant| of_tenant("syslog:x", tenant));
        assert!(tenants[0] != tenants[1] && tenants[1] != tenants[2]);
    }
}
