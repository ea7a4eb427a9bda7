//! A connection to the database on behalf of an actor: what use cases take.

use model::{Actor, TenantId, TenantName};
use store::{Connection as _, Isolation, PersonTransaction, PgConnection, StoreError};

use crate::actor::{Action, Denied, Resource, Rights, require};
use crate::database::{Database, Pool, Role};
use crate::{AppError, permissions};

/// A connection, and on whose behalf it is used. There is no way to it but through a permission.
#[derive(Debug)]
pub struct Session {
    conn: Conn,
    actor: Actor,
    /// What a signed-in person may do; none for those whose way says it.
    rights: Option<Rights>,
    /// Whether it is for `default` because none of several tenants was named.
    assumes_tenant: bool,
}

#[derive(Debug)]
enum Conn {
    Own(PgConnection),
    /// A transaction for the actor's tenant, on a connection of a pool.
    Lent(PersonTransaction),
}

impl Conn {
    fn as_mut(&mut self) -> &mut PgConnection {
        match self {
            Self::Own(conn) => conn,
            Self::Lent(conn) => conn,
        }
    }
}

/// Why a use case could not begin.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The actor may not.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Session {
    /// Opens a session for a person at the machine, in the operator's role, for the tenant that they
    /// name. Where they name none it is for the only one there is, or for `default`.
    pub async fn open(
        database: &Database,
        actor: Actor,
        tenant: Option<&TenantName>,
    ) -> anyhow::Result<Self> {
        let mut conn = database.connect(Role::Operator).await?;
        let named = match tenant {
            Some(name) => {
                let found = store::tenants::find(&mut conn, name).await?;
                let found = found.ok_or_else(|| {
                    AppError::not_found(format!(
                        "there is no tenant `{name}`; `blueteam tenants list` shows all"
                    ))
                })?;
                Some(found)
            }
            None => None,
        };
        let is_assumed = named.is_none() && store::tenants::acting(&mut conn).await?.is_none();
        if let Some(tenant) = named.or(is_assumed.then_some(TenantId::DEFAULT)) {
            store::tenants::act_for(&mut conn, tenant).await?;
        }

        Ok(Self {
            assumes_tenant: is_assumed,
            ..Self::new(conn, actor)
        })
    }

    /// Whether there are several tenants and none was named, so that it is for `default`.
    pub const fn assumes_tenant(&self) -> bool {
        self.assumes_tenant
    }

    /// A session on a connection that is open already.
    pub const fn new(conn: PgConnection, actor: Actor) -> Self {
        Self {
            conn: Conn::Own(conn),
            actor,
            rights: None,
            assumes_tenant: false,
        }
    }

    /// A session of a person who has signed in, and may do what their role may: `rights` are those
    /// that are built in, and what was changed of them comes from the database. It is one
    /// transaction for their tenant, and changes nothing before [`Self::commit`].
    pub async fn of_person(
        people: &Pool,
        actor: Actor,
        rights: Rights,
        isolation: Isolation,
    ) -> Result<Self, AppError> {
        let mut tx = store::begin_for(people, &actor, isolation).await?;
        let permissions = permissions::in_force(&mut tx, &rights.permissions).await?;
        let rights = Rights {
            permissions,
            ..rights
        };
        Ok(Self {
            conn: Conn::Lent(tx),
            actor,
            rights: Some(rights),
            assumes_tenant: false,
        })
    }

    /// On whose behalf.
    pub const fn actor(&self) -> &Actor {
        &self.actor
    }

    /// Checks that the actor may do something, before anything is looked at for it.
    pub fn require(&self, action: Action, resource: Resource) -> Result<(), Denied> {
        match &self.rights {
            Some(rights) => rights.require(&self.actor, action, resource),
            None => require(&self.actor, action, resource),
        }
    }

    /// The connection, to look at what blueteam knows.
    pub fn read(&mut self, resource: Resource) -> Result<&mut PgConnection, Denied> {
        self.require(Action::Read, resource)?;
        Ok(self.conn.as_mut())
    }

    /// The connection and the actor, to change something. Each change that `store` makes for the
    /// actor is a transaction of its own, unless the caller begins one around several by
    /// [`store::begin`].
    pub fn change(
        &mut self,
        action: Action,
        resource: Resource,
    ) -> Result<(&mut PgConnection, &Actor), Denied> {
        self.require(action, resource)?;
        Ok((self.conn.as_mut(), &self.actor))
    }

    /// The rights of whoever has signed in; none at the command line.
    pub(crate) const fn rights(&self) -> Option<&Rights> {
        self.rights.as_ref()
    }

    /// Connection and actor, to record what was refused.
    pub(crate) fn parts(&mut self) -> (&mut PgConnection, &Actor) {
        (self.conn.as_mut(), &self.actor)
    }

    /// The connection, to hand out what blueteam knows as a file.
    pub fn export(&mut self, resource: Resource) -> Result<&mut PgConnection, Denied> {
        self.require(Action::Export, resource)?;
        Ok(self.conn.as_mut())
    }

    /// Takes back everything that a person's session has changed, and goes on: with the record of
    /// why.
    pub(crate) async fn start_over(&mut self) -> Result<(), StoreError> {
        match &mut self.conn {
            Conn::Own(_) => Ok(()),
            Conn::Lent(tx) => store::start_over(tx, &self.actor).await,
        }
    }

    /// Keeps what a person's session has changed. At the command line each change is kept as it is
    /// made.
    pub async fn commit(self) -> Result<(), StoreError> {
        match self.conn {
            Conn::Own(_) => self.close().await,
            Conn::Lent(tx) => tx.commit().await?,
        }
        Ok(())
    }

    /// Closes the connection, or gives it back; what a person's session has changed is not kept. An
    /// error is ignored: the server notices the end in any case.
    pub async fn close(self) {
        match self.conn {
            Conn::Own(conn) => {
                let _ = conn.close().await;
            }
            Conn::Lent(tx) => {
                let _ = tx.rollback().await;
            }
        }
    }
}
