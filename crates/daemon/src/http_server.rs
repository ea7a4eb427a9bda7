//! The HTTP server, as the configuration wants it.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use ingest::Ingest;
use model::Clock;
use tokio_util::sync::CancellationToken;
use web::{Acknowledge, ConsoleDoor, Pools, Settings};

use crate::engine_stats::EngineStats;
use crate::metrics;
use app::ack_links::Links;
use app::auth::OfflineKeys;
use app::certificates::Certificates;
use app::console::Console;
use app::database::{Database, Role};
use app::sign_in::{self, Directory, Passkeys, Provider, SignIn};
use app::spools::accepted_dir;
use config::Loaded;
use config::StateDir;

/// The API keys in force, for an outage of the database.
const KEYS_FILE: &str = "keys.json";
/// Connections beside those of the writers: one to try the database with, one to spare.
const SPARE: u32 = 2;
/// Connections that sign people in.
const DOOR: u32 = 4;
/// Connections on which people work.
const PEOPLE: u32 = 4;

/// The running HTTP server.
#[derive(Debug)]
pub struct HttpServer(web::HttpServer);

fn ingest_settings(config: &config::Ingest, state: &StateDir) -> Settings {
    let size = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    let limits = ingest::Settings {
        max_body_bytes: size(config.max_body_bytes),
        max_batch_events: size(config.max_batch_events),
        max_clock_ahead: config.max_clock_ahead,
        max_clock_behind: config.max_clock_behind,
        queue_max_events: size(config.queue_max_events),
        queue_max_bytes: size(config.queue_max_bytes),
        spool_max_bytes: config.spool_max_bytes,
        ..ingest::Settings::new(accepted_dir(state))
    };

    let defaults = Settings::new(accepted_dir(state));
    let offline_keys = OfflineKeys {
        path: state.join(KEYS_FILE),
        max_age: config.offline_keys,
    };

    Settings {
        listen: config.listen,
        max_connections: size(config.max_connections),
        ingest: limits,
        key_grace: defaults.key_grace.max(config.offline_keys.to_std()),
        offline_keys: Some(offline_keys),
        refused_keys_max: config.max_refused_keys,
        ..defaults
    }
}

/// What the HTTP server works with.
pub struct With<'a> {
    /// The state directory.
    pub state: &'a StateDir,
    /// The database.
    pub database: &'a Database,
    /// The database that says which keys are in force.
    pub keys: &'a Database,
    /// The certificates that the daemon presents.
    pub certificates: &'a Certificates,
    /// What the engine does, for metrics.
    pub engine_stats: &'a Arc<EngineStats>,
    /// The present.
    pub clock: Arc<dyn Clock>,
}

/// Who lets people in. Without the provider local administrators sign in, and events are taken in.
fn sign_in_settings(loaded: &Loaded) -> sign_in::Settings {
    let oidc = Provider::from_config(loaded).unwrap_or_else(|error| {
        tracing::error!("nobody can sign in by the OpenID Connect provider: {error:#}");
        None
    });
    let directory = Directory::from_config(loaded).unwrap_or_else(|error| {
        tracing::error!("nobody can sign in by the directory: {error:#}");
        None
    });
    let passkeys = Passkeys::from_config(loaded).unwrap_or_else(|error| {
        tracing::error!("nobody can sign in by a passkey: {error:#}");
        None
    });
    sign_in::Settings {
        passkeys: passkeys.map(Arc::new),
        sessions: loaded.config.console.sessions.settings(),
        notice: sign_in::Notice::new(&loaded.config.console.notice),
        oidc: oidc.map(Arc::new),
        directory: directory.map(Arc::new),
        ..sign_in::Settings::default()
    }
}

/// The channels that people may test. Those that carry alerts are other ones: a test waits for none.
fn channels_to_test(loaded: &Loaded) -> notify::Channels {
    let stdout = Box::new(std::io::stdout());
    let opened = loaded.open_channels(stdout, false, &app::actor::hostname());
    opened.unwrap_or_else(|error| {
        tracing::warn!("nobody can test a channel in the console: {error:#}");
        notify::Channels::default()
    })
}

/// Opens it; it closes when `stop` says so.
pub async fn open(
    loaded: &Loaded,
    with: With<'_>,
    stop: &CancellationToken,
) -> anyhow::Result<HttpServer> {
    let With {
        state,
        database,
        keys,
        certificates,
        engine_stats,
        clock,
    } = with;
    let mut settings = ingest_settings(&loaded.config.ingest, state);
    let certificate = certificates
        .http_server()
        .map(|slot| slot.certificate())
        .transpose();
    settings.tls = certificate.context("the certificate of the HTTP server cannot be used")?;
    if let Some(listen) = loaded.config.console.address() {
        let slot = certificates.console().map(|slot| slot.certificate());
        let tls = slot.transpose();
        settings.console_door = Some(ConsoleDoor {
            listen,
            tls: tls.context("the certificate of the console cannot be used")?,
        });
    }
    settings.metrics = Some(metrics::serve(
        database.options(Role::Engine)?,
        Arc::clone(engine_stats),
        Arc::clone(&clock),
    ));

    if let Some(links) = Links::open(&loaded.config.escalation, state)? {
        let people = store::pool(database.options(Role::Operator)?, SPARE);
        settings.acknowledge = Some(Acknowledge {
            key: links.key().clone(),
            people,
        });
    }

    let door = store::pool(database.options(Role::Accounts)?, DOOR);
    let how = sign_in_settings(loaded);
    match SignIn::open(door, Arc::clone(&clock), state, how) {
        Ok(door) => {
            let people = store::pool(database.options(Role::Operator)?, PEOPLE);
            let config = Arc::new(loaded.config.clone());
            let console = Console::new(door, people, config, state.clone())?
                .with_channels(channels_to_test(loaded));
            settings.console = Some(Arc::new(console));
        }
        // Events are taken in whether or not people can sign in.
        Err(error) => tracing::error!("nobody can sign in: {error:#}"),
    }

    let role = database.options(Role::Ingest)?;
    let writers = u32::try_from(settings.ingest.writers)
        .unwrap_or(1)
        .saturating_add(SPARE);
    let pools = Pools {
        events: store::pool(role, writers),
        keys: store::pool(keys.options(Role::Ingest)?, SPARE),
    };

    let listen = settings.listen;
    let server = web::serve(
        settings,
        pools,
        Arc::clone(&clock),
        stop.clone().cancelled_owned(),
    )
    .await;
    Ok(HttpServer(server.with_context(|| {
        format!("cannot take events at {listen}")
    })?))
}

impl HttpServer {
    /// The way of events into the database.
    pub fn ingest(&self) -> &Ingest {
        self.0.ingest()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.0.address()
    }

    /// Returns when the last request is answered and its events are written.
    pub async fn close(self) {
        self.0.ended().await;
    }
}
