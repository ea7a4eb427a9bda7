//! The HTTP server: `POST /v1/events`, `POST /v1/logs`, `/healthz`, `/metrics`, and the links by
//! which people acknowledge alerts.
//!
//! Invariants: only this crate knows HTTP. It holds no SQL and no logic: events go to `ingest`,
//! everything else is a use case of `app`. No payload, key or token reaches a log.

mod api;
mod console;
mod error;
mod peer;
mod percent;
mod server;
mod settings;
mod turn;

use app::database::Pool;

pub use api::v1::openapi::{document as openapi_document, route_table};
pub use api::v1::{ROUTES, Route};
pub use console::{PAGES, Page};
pub use server::{HttpServer, ServeError, serve};
pub use settings::{Acknowledge, ConsoleDoor, Metrics, Settings, Timeouts, Writing};

/// The database pools that the server works with.
#[derive(Clone, Debug)]
pub struct Pools {
    /// For writing events: at least [`ingest::Settings::writers`] + 1 connections, its role one
    /// that may insert into `audit_events`.
    pub events: Pool,
    /// For API keys: its role one that may read `users.api_keys` and count their use.
    pub keys: Pool,
}
