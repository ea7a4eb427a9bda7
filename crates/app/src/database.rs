//! The database that the configuration names: an existing PostgreSQL, or blueteam's private
//! cluster.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use cluster::{Cluster, ClusterConfig, Login};
use secrecy::ExposeSecret as _;
pub use store::PgPool as Pool;
pub use store::Step;
use store::{Outlook, Patience, PgConnectOptions, PgConnection};
use tokio::sync::Mutex;

use config::Loaded;
use config::StateDir;

use crate::running::daemon_runs;

/// The name of the product's own database in its private cluster.
const NAME: &str = "blueteam";

/// What stopped, in front of why.
const UNMIGRATED: &str = "the database cannot be migrated";

/// Called with each migration before it is applied.
pub type OnStep<'a> = dyn FnMut(Step<'_>) + Send + 'a;

/// On whose behalf a connection works: decides what the database lets it do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The reader, the engine, the outbox.
    Engine,
    /// The HTTP server.
    Ingest,
    /// A person at the command line.
    Operator,
    /// What signs people in.
    Accounts,
}

impl Role {
    const fn name(self) -> &'static str {
        match self {
            Self::Engine => "blueteam_engine",
            Self::Ingest => "blueteam_ingest",
            Self::Operator => "blueteam_admin",
            Self::Accounts => "blueteam_accounts",
        }
    }
}

fn cluster_config(loaded: &Loaded, state: &StateDir) -> ClusterConfig {
    let mut config = ClusterConfig::new(state.path());
    config.max_connections = u16::try_from(loaded.config.database.max_connections)
        .unwrap_or(u16::MAX)
        .saturating_add(16);
    config
}

/// How to connect to the private cluster.
#[derive(Clone, Debug)]
struct Logins {
    /// To the maintenance database.
    admin: PgConnectOptions,
    owner: PgConnectOptions,
    daemon: PgConnectOptions,
    operator: PgConnectOptions,
}

impl Logins {
    fn of(cluster: &Cluster) -> anyhow::Result<Self> {
        Ok(Self {
            admin: cluster.options(Login::Owner, "postgres")?,
            owner: cluster.options(Login::Owner, NAME)?,
            daemon: cluster.options(Login::Daemon, NAME)?,
            operator: cluster.options(Login::Operator, NAME)?,
        })
    }
}

/// An open database.
#[derive(Debug)]
pub struct Database {
    cluster: Option<Arc<Mutex<Cluster>>>,
    logins: Option<Logins>,
    external: Option<PgConnectOptions>,
    /// Where a private cluster is kept.
    state: Option<StateDir>,
}

/// How long a command waits while the daemon starts its cluster again.
const RESTART_MAX: Duration = Duration::from_secs(10);

impl Database {
    /// Connects to the configured database, or starts the private cluster. Migrates nothing.
    pub async fn open(loaded: &Loaded, state: &StateDir) -> anyhow::Result<Self> {
        if let Some(url) = &loaded.secrets.database_url {
            // The error must not show the URL, which may hold a password.
            let options = store::parse_url(url.expose_secret())
                .ok()
                .context("the database URL is not a valid postgres:// URL")?;
            return Ok(Self {
                cluster: None,
                logins: None,
                external: Some(options),
                state: None,
            });
        }

        state.create()?;
        let cluster = Cluster::start(cluster_config(loaded, state))
            .await
            .context("the private PostgreSQL cluster does not start")?;
        Self::private(cluster, state)
    }

    fn private(cluster: Cluster, state: &StateDir) -> anyhow::Result<Self> {
        let logins = Logins::of(&cluster)?;
        Ok(Self {
            cluster: Some(Arc::new(Mutex::new(cluster))),
            logins: Some(logins),
            external: None,
            state: Some(state.clone()),
        })
    }

    /// Whether there is a database to connect to.
    pub fn exists(loaded: &Loaded, state: &StateDir) -> bool {
        loaded.secrets.database_url.is_some() || cluster::exists(state.path())
    }

    /// Like [`Self::open`], for a command that only asks: it never creates a cluster.
    pub async fn existing(loaded: &Loaded, state: &StateDir) -> anyhow::Result<Self> {
        if !Self::exists(loaded, state) {
            let dir = state.path().display();
            bail!(
                "there is no database in {dir} yet: start one with `blueteam serve`, or name another \
                    place with --state-dir or DATABASE_URL"
            );
        }
        if loaded.secrets.database_url.is_some() || !daemon_runs(state) {
            return Self::open(loaded, state).await;
        }

        // The cluster is the daemon's: whoever starts it beside the daemon would stop it, too.
        let since = Instant::now();
        while since.elapsed() < RESTART_MAX {
            if let Some(database) = Self::running(loaded, state).await? {
                return Ok(database);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        bail!("the private PostgreSQL cluster of the daemon does not run; its log says why")
    }

    /// The private cluster that runs, or the configured database; never starts one.
    pub async fn running(loaded: &Loaded, state: &StateDir) -> anyhow::Result<Option<Self>> {
        if loaded.secrets.database_url.is_some() {
            return Self::open(loaded, state).await.map(Some);
        }
        if !cluster::exists(state.path()) {
            return Ok(None);
        }

        let adopted = Cluster::adopt(cluster_config(loaded, state)).await;
        let adopted = adopted.context("the private PostgreSQL cluster cannot be reached")?;
        adopted
            .map(|cluster| Self::private(cluster, state))
            .transpose()
    }

    /// Returns whether the database is a private cluster.
    pub const fn is_private(&self) -> bool {
        self.cluster.is_some()
    }

    /// The private cluster, to look after.
    pub fn cluster(&self) -> Option<Arc<Mutex<Cluster>>> {
        self.cluster.clone()
    }

    /// Returns how to connect to an existing database; `None` for the private cluster.
    pub const fn external(&self) -> Option<&PgConnectOptions> {
        self.external.as_ref()
    }

    /// A database that is withheld: whoever connects finds nobody there, so that what comes in
    /// meanwhile is kept on disk.
    pub fn withheld(state: &StateDir) -> Self {
        Self {
            cluster: None,
            logins: None,
            external: Some(store::unreachable(&state.join("withheld"))),
            state: None,
        }
    }

    /// What migrating would do. Of a database that has not been made yet, everything.
    pub async fn outlook(&self) -> anyhow::Result<Outlook> {
        let options = match (&self.logins, &self.external) {
            (Some(logins), _) => {
                store::ensure_database(&mut store::connect(&logins.admin).await?, NAME).await?;
                &logins.owner
            }
            (None, Some(options)) => options,
            (None, None) => bail!("there is no database to connect to"),
        };
        let mut conn = store::connect(options)
            .await
            .context("cannot connect to the database")?;
        store::outlook(&mut conn).await.context(UNMIGRATED)
    }

    /// Brings the schema up to date, makes the logins of a private cluster, and makes this month's
    /// partitions; calls `on_step` before each migration. Where the schema is up to date, a
    /// login that owns nothing may call it.
    pub async fn migrate(&self, on_step: &mut OnStep<'_>) -> anyhow::Result<()> {
        match &self.logins {
            Some(logins) => self.migrate_private(logins, on_step).await?,
            None => self.migrate_external(on_step).await?,
        }

        let mut engine = self.connect(Role::Engine).await?;
        store::ensure_partitions(&mut engine, 2).await?;
        Ok(())
    }

    async fn migrate_private(
        &self,
        logins: &Logins,
        on_step: &mut OnStep<'_>,
    ) -> anyhow::Result<()> {
        store::ensure_database(&mut store::connect(&logins.admin).await?, NAME).await?;
        let mut owner = store::connect(&logins.owner).await?;
        store::migrate_within(&mut owner, Patience::default(), on_step)
            .await
            .context(UNMIGRATED)?;

        if let Some(cluster) = &self.cluster {
            let cluster = cluster.lock().await;
            for login in [Login::Daemon, Login::Operator] {
                let password = cluster.password(login)?;
                store::ensure_login(&mut owner, login.name(), &password, login.roles()).await?;
            }
        }

        Ok(())
    }

    async fn migrate_external(&self, on_step: &mut OnStep<'_>) -> anyhow::Result<()> {
        let Some(options) = &self.external else {
            bail!("there is no database to connect to")
        };
        let mut conn = store::connect(options)
            .await
            .context("cannot connect to the database (DATABASE_URL)")?;

        if !store::is_current(&mut conn).await.context(UNMIGRATED)? {
            store::migrate_within(&mut conn, Patience::default(), on_step)
                .await
                .context(UNMIGRATED)?;
        }

        Ok(())
    }

    /// Returns how to connect in a role.
    pub fn options(&self, role: Role) -> anyhow::Result<PgConnectOptions> {
        let options = match (&self.logins, &self.external) {
            (Some(logins), _) if role == Role::Operator => logins.operator.clone(),
            (Some(logins), _) => logins.daemon.clone(),
            (None, Some(options)) => options.clone(),
            (None, None) => bail!("there is no database to connect to"),
        };
        // The role may do less than the login: a flaw in one part must not open what another part
        // needs.
        Ok(options.options([("role", role.name())]))
    }

    /// Connects in a role.
    pub async fn connect(&self, role: Role) -> anyhow::Result<PgConnection> {
        store::connect(&self.options(role)?).await.with_context(|| {
            format!(
                "cannot connect to the database as {}; has `blueteam migrate` been run?",
                role.name()
            )
        })
    }

    /// Stops the private cluster: the end of the daemon that owns it.
    pub async fn stop(self) -> anyhow::Result<()> {
        match self.cluster.and_then(Arc::into_inner) {
            Some(cluster) => Ok(cluster.into_inner().stop().await?),
            None => Ok(()),
        }
    }

    /// Leaves the private cluster as it was found: the end of a command that only looked. What a
    /// daemon has begun to use meanwhile stays.
    pub async fn leave(self) -> anyhow::Result<()> {
        if self.state.as_ref().is_some_and(daemon_runs) {
            return Ok(());
        }
        match self
            .cluster
            .and_then(Arc::into_inner)
            .map(Mutex::into_inner)
        {
            Some(cluster) if !cluster.was_adopted() => Ok(cluster.stop().await?),
            _ => Ok(()),
        }
    }
}
