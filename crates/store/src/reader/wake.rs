//! Waking the reader.

use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};

use crate::{EVENTS_CHANNEL, StoreError};

/// How long a connection may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// Tells when events were committed, by `LISTEN`.
#[derive(Debug)]
pub struct Wake {
    listener: PgListener,
    pool: PgPool,
}

impl Wake {
    /// Listens on a connection of its own.
    pub async fn listen(options: PgConnectOptions) -> Result<Self, StoreError> {
        // The pool tries by itself for this long, more and more seldom; whoever asks tries again
        // anyway, and at once when the database is back.
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(PATIENCE)
            .connect_with(options)
            .await?;
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.listen(EVENTS_CHANNEL).await?;

        Ok(Self { listener, pool })
    }

    /// Ends the connection; without it, it ends some time after the drop, perhaps when its server
    /// is gone already.
    pub async fn close(self) {
        drop(self.listener);
        self.pool.close().await;
    }

    /// Returns when events were committed since the last call, perhaps by many transactions. Safe
    /// to cancel.
    pub async fn woken(&mut self) -> Result<(), StoreError> {
        self.listener.recv().await?;
        // What was said meanwhile is said by this as well.
        while let Some(notification) = self.listener.next_buffered() {
            drop(notification);
        }
        Ok(())
    }
}
