//! What happens in an application, told to those who watch over it.
//!
//! An [`AuditLogger`] takes [`Event`]s and brings them to a PostgreSQL table
//! (`public.audit_events`, as a role that may add rows and nothing else) or to the ingest API of
//! blueteam (`POST /v1/events`). With the feature `tower`, [`AuditLayer`] does it for every request
//! of an axum or tower application.
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
//! # What is promised
//!
//! - [`AuditLogger::log`] neither waits nor fails: it writes the event's line into a bounded queue,
//!   where it waits for no lock and makes no system call.
//! - A thread of its own takes the queue every [`interval`](Builder::interval), writes it to the
//!   spool, and sends from there. While the sink is away the spool is fsynced; it is bounded. It
//!   outlives `kill -9`; what the queue held in the last interval does not. Power may take what was
//!   not yet fsynced.
//! - The time and the id of an event are chosen here, once, so that sending it again changes
//!   nothing.
//! - What has to be dropped (queue or spool full) or is refused for good is counted, logged, and
//!   told in an event `system/audit_failure` when the sink is back.
//!
//! # Whether all arrived
//!
//! Each event's `metadata` says `producer` (the name that was given, a slash, and an id of this run
//! of the program) and `producer_seq`: 1, 2, 3 … without a hole, given by [`AuditLogger::log`]
//! before anything can be lost. The first event of a run is `system/audit_start`, the last
//! `system/audit_stop`. So a hole is a loss, and a run without its stop ended badly and may have
//! lost its tail. The start after a bad end names the run that ended so in
//! `metadata.unclean_end_of`.

#[cfg(not(any(feature = "http", feature = "postgres")))]
compile_error!(
    "blueteam-audit needs somewhere to send events to: the feature `http` or `postgres`"
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
