//! A connection to the database on behalf of an actor: what use cases take.

use model::Actor;
use store::{Connection as _, PgConnection, StoreError};

use crate::actor::{Denied, Permission, require};
use crate::database::{Database, Role};

/// A connection, and on whose behalf it is used. There is no way to it but through a permission.
#[derive(Debug)]
pub struct Session {
    conn: PgConnection,
    actor: Actor,
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
    /// Opens a session for a person, in the operator's role.
    pub async fn open(database: &Database, actor: Actor) -> anyhow::Result<Self> {
        Ok(Self::new(database.connect(Role::Operator).await?, actor))
    }

    /// A session on a connection that is open already.
    pub const fn new(conn: PgConnection, actor: Actor) -> Self {
        Self { conn, actor }
    }

    /// On whose behalf.
    pub const fn actor(&self) -> &Actor {
        &self.actor
    }

    /// The connection, to look at what blueteam knows.
    pub fn read(&mut self) -> Result<&mut PgConnection, Denied> {
        require(&self.actor, Permission::Read)?;
        Ok(&mut self.conn)
    }

    /// The connection and the actor, to change something. Each change that `store` makes for the
    /// actor is a transaction of its own, unless the caller begins one around several by
    /// [`store::begin`].
    pub fn change(
        &mut self,
        permission: Permission,
    ) -> Result<(&mut PgConnection, &Actor), Denied> {
        require(&self.actor, permission)?;
        Ok((&mut self.conn, &self.actor))
    }

    /// Closes the connection. An error is ignored: the server notices the end in any case.
    pub async fn close(self) {
        let _ = self.conn.close().await;
    }
}
