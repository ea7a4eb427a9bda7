//! Every use case: what a command, a task and a page do on behalf of an actor.
//!
//! Invariants: nothing here prints, parses arguments or knows HTTP. Pure crates decide, `store`
//! holds the SQL; what is here opens the transaction, calls both, and returns data.

pub mod about;
pub mod accounts;
pub mod ack_links;
pub mod actor;
pub mod advisories;
pub mod alert_routing;
pub mod alerts;
pub mod audit_log;
pub mod auth;
pub mod backtests;
pub mod breached;
pub mod certificates;
pub mod channels;
pub mod clock_sync;
pub mod compliance;
pub mod console;
pub mod database;
pub mod demo;
pub mod doctor;
mod error;
pub mod events;
pub mod export;
pub mod first_steps;
pub mod health;
pub mod idempotency;
pub mod incidents;
pub mod keys;
pub mod listing;
pub mod machine;
pub mod monitors;
pub mod names;
pub mod notifications;
pub mod password_policy;
pub mod permissions;
pub mod person_keys;
pub mod preferences;
pub mod private_ca;
pub mod rates;
pub mod recovery;
pub mod remote;
pub mod rule_tests;
pub mod rules;
pub mod running;
pub mod schema;
pub mod self_audit;
pub mod session;
mod short_ids;
pub mod sign_in;
pub mod silences;
pub mod sources;
pub mod spools;
pub mod status;
pub mod temp_files;
pub mod tenants;
pub mod tls;
pub mod today;
pub mod trail;
pub mod trends;
pub mod upgrade;
pub mod upkeep;

pub use error::AppError;
pub use session::{Session, SessionError};
