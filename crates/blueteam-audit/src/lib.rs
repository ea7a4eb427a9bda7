//! Sends the audit events of an application.
//!
//! An [`AuditLogger`] takes [`Event`]s and delivers them to a PostgreSQL table
//! (`public.audit_events`, as a role that may only insert rows) or to the ingest API of blueteam
//! (`POST /v1/events`). With the feature `tower`, [`AuditLayer`] does this for every request of an
//! axum or tower application.
//!
//! ```no_run
//! use blueteam_audit::{AuditLogger, Category, Event, Outcome, action};
//!
//! # async fn run() -> Result<(), blueteam_audit::StartError> {
//! let audit = AuditLogger::builder("apollo")
//!     .http("https://audit.example.com:8514", "bt_…")
//!     .spool("/var/lib/apollo/audit-spool")
//!     .start()?;
//! audit.log(Event::new(Category::Auth, action::LOGIN_FAILED, Outcome::Failure)
//!     .ip("203.0.113.9".parse().unwrap())
//!     .detail("username", "jdoe"));
//! audit.shutdown(std::time::Duration::from_secs(5)).await;
//! # Ok(())
//! # }
//! ```
//!
//! # Guarantees
//!
//! - [`AuditLogger::log`] neither blocks nor fails: it writes the event's line to a bounded queue
//!   without waiting for a lock and without a system call.
//! - A separate thread empties the queue every [`interval`](Builder::interval), writes it to the
//!   spool, and sends from there. The spool is bounded, and fsynced while the sink is unreachable.
//!   It survives `kill -9`, except for events that were queued in the last interval. A power failure
//!   may lose events that were not yet fsynced.
//! - The time and the ID of an event are set once, so sending it again changes nothing.
//! - Events that are dropped (queue or spool full) or permanently rejected are counted, logged, and
//!   reported in an event `system/audit_failure` when the sink is reachable again.
//!
//! # Completeness
//!
//! Each event's `metadata` holds `producer` (the given name, a slash, and an ID of this run of the
//! program) and `producer_seq`: 1, 2, 3 … without a gap, assigned by [`AuditLogger::log`] before an
//! event can be lost. The first event of a run is `system/audit_start`, the last
//! `system/audit_stop`. So a gap is a loss, and a run without its stop ended uncleanly and may have
//! lost its last events. The start after an unclean end names that run in
//! `metadata.unclean_end_of`.

#[cfg(not(any(feature = "http", feature = "postgres")))]
compile_error!(
    "blueteam-audit needs a sink for its events: enable the feature `http` or `postgres`"
);

pub mod action;
mod config;
mod event;
#[cfg(feature = "tower")]
mod layer;
mod line;
mod logger;
mod queue;
mod sink;
mod spool;
mod worker;

pub use config::{Builder, StartError};
pub use event::{Category, Event, Outcome};
#[cfg(feature = "tower")]
pub use layer::{AuditContext, AuditLayer, AuditService, Network, NotANetwork, ResponseFuture};
pub use logger::{AuditLogger, Stats};
