//! What a signed-in person works with: their session of the database, within the rights of their
//! role. What they are refused is recorded.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use config::{Config, StateDir};
use identity::role::Permissions;
use model::{Actor, Network, Origin, Via};
use notify::Channels;
pub use store::Isolation;
use store::{PersonTransaction, StoreError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use crate::actor::{Denied, Rights};
use crate::database::Pool;
use crate::drafts::Drafts;
use crate::listing::CursorKey;
use crate::person_keys::KeyHolder;
use crate::rates::{self, Rates};
use crate::rules::jobs::Backtests;
use crate::sign_in::{Client, Person, SignIn, holder_of};
use crate::{AppError, Session};

/// The door, and what is behind it.
#[derive(Debug)]
pub struct Console {
    /// Signs people in.
    pub door: SignIn,
    /// Connections of the role that does people's work.
    people: Pool,
    /// The configuration that the daemon runs with.
    pub config: Arc<Config>,
    /// Where evidence and keys are kept.
    pub state: StateDir,
    /// The configured channels, to test them.
    pub channels: Channels,
    /// What each role may do where nothing was changed.
    permissions: Arc<Permissions>,
    /// Signs where pages of lists end.
    pub cursors: CursorKey,
    /// Backtests that people began.
    pub backtests: Backtests,
    /// What people had typed when their sessions locked.
    pub drafts: Drafts,
    rates: Rates<Uuid>,
    networks: Rates<Network>,
    reports: Arc<Semaphore>,
}

impl Console {
    /// Opens the console. `people`: connections of the role that does people's work.
    pub fn new(
        door: SignIn,
        people: Pool,
        config: Arc<Config>,
        state: StateDir,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            cursors: CursorKey::of(&state)?,
            rates: Rates::new(rates::OF_SESSION),
            networks: Rates::new(rates::OF_NETWORK),
            reports: Arc::new(Semaphore::new(rates::REPORTS_AT_ONCE)),
            door,
            people,
            config,
            state,
            channels: Channels::default(),
            backtests: Backtests::default(),
            drafts: Drafts::default(),
            permissions: Arc::new(Permissions::built_in()),
        })
    }

    /// The same with channels that can be tested.
    #[must_use]
    pub fn with_channels(self, channels: Channels) -> Self {
        Self { channels, ..self }
    }

    /// A transaction of the role that does people's work, for an actor.
    pub(crate) async fn begin(&self, actor: &Actor) -> Result<PersonTransaction, StoreError> {
        store::begin_for(&self.people, actor, Isolation::ReadCommitted).await
    }

    /// Counts a request of a session, or of a person's key; returns how long to wait if there were too
    /// many within a minute.
    pub fn count_request(&self, session: Uuid) -> Result<(), Duration> {
        self.rates.take(session, Instant::now())
    }

    /// Counts a request of whoever has no session yet, by the network that its holder has.
    pub fn count_stranger(&self, address: IpAddr) -> Result<(), Duration> {
        let network = holder_of(address);
        network.map_or(Ok(()), |network| {
            self.networks.take(network, Instant::now())
        })
    }

    /// A place among the reports that are being written; none while there are enough of them.
    pub fn begin_report(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.reports).try_acquire_owned().ok()
    }

    /// A session of the database for a person who has signed in.
    pub async fn session_of(
        &self,
        person: &Person,
        client: &Client,
        isolation: Isolation,
    ) -> Result<Session, AppError> {
        let actor = actor_of(
            &person.username,
            Via::Web,
            person.tenant_id,
            person.session_id,
            client,
        );
        let rights = Rights {
            role: person.role.parse().map_err(anyhow::Error::new)?,
            permissions: Arc::clone(&self.permissions),
            stepped_up: person.stepped_up,
            key: None,
        };
        Session::of_person(&self.people, actor, rights, isolation).await
    }

    /// A session of the database for whoever has come with an API key.
    pub async fn session_of_key(
        &self,
        holder: &KeyHolder,
        client: &Client,
        isolation: Isolation,
    ) -> Result<Session, AppError> {
        let actor = actor_of(
            &holder.username,
            Via::ApiKey,
            holder.tenant_id,
            holder.key_id,
            client,
        );
        let rights = Rights {
            role: holder.role,
            permissions: Arc::clone(&self.permissions),
            stepped_up: false,
            key: Some(holder.scopes.clone()),
        };
        Session::of_person(&self.people, actor, rights, isolation).await
    }
}

/// A person who asks from a client; `session` is their session, or the key that they ask with.
fn actor_of(name: &str, via: Via, tenant: Option<Uuid>, session: Uuid, client: &Client) -> Actor {
    Actor {
        name: name.to_owned(),
        on_behalf_of: None,
        via,
        tenant,
        origin: Origin {
            address: Some(client.address.to_string()),
            user_agent: client.user_agent.clone(),
            session: Some(session.to_string()),
            ..Origin::default()
        },
    }
}

/// Records that a person was refused: `PERMISSION_DENIED` in the audit log. Nothing else of their
/// session remains.
pub async fn record_denied(session: &mut Session, denied: &Denied) -> Result<(), StoreError> {
    if matches!(denied, Denied::ProofNeeded { .. }) {
        return Ok(());
    }
    session.start_over().await?;
    let (action, resource) = denied.what();
    let (conn, actor) = session.parts();
    store::users::record_denied(conn, actor, action.as_str(), resource.as_str()).await
}
