//! The HTTP side of the product. For now its API: `POST /v1/events`, and `/healthz`; and the links
//! by which people acknowledge alerts.
//!
//! Invariants: only this crate knows HTTP status codes; it holds no SQL (that is `store`'s). Every
//! queue is bounded and says what happens when it is full. An event is acknowledged after its
//! commit, or after it stands on disk in the spool; never before. No payload, no key and no token
//! reaches a log.

pub mod acknowledge;
mod api;
pub mod auth;
mod error;
mod ingest;
mod server;
mod settings;
pub mod tls;

pub use ingest::{Ingest, IngestError, Recorded, SpoolOnDisk, Stats, spool_on_disk};
pub use server::{Console, ServeError, serve};
pub use settings::{Acknowledge, KEY_CACHE, Metrics, Settings, Timeouts, Writing};

/// The database pools that the console works with.
#[derive(Clone, Debug)]
pub struct Pools {
    /// For writing events: at least [`Settings::writers`] + 1 connections, its role one that may
    /// insert into `audit_events`.
    pub events: sqlx::PgPool,
    /// For API keys: its role one that may read `users.api_keys` and count their use.
    pub keys: sqlx::PgPool,
}
