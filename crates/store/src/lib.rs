//! The only SQL in the product: migrations, every query, the private cluster, the snapshot cursor,
//! partitions.
//!
//! Invariants: nothing here formats for people or knows HTTP. Functions take a connection and leave
//! the transaction to the caller, unless they say otherwise; none logs a payload. A function that a
//! person triggers takes the actor and says it to the transaction, so that `audit.audit_log`
//! records a person and not a pool.

pub mod accounts;
pub mod advisories;
pub mod alerts;
pub mod api_requests;
pub mod assets;
pub mod audit_log;
pub mod baselines;
mod binary_copy;
pub mod compliance;
mod db;
pub mod deliveries;
pub mod duties;
mod error;
pub mod escalations;
pub mod events;
pub mod evidence;
pub mod external;
pub mod facts;
pub mod first_steps;
pub mod incident_evidence;
pub mod incidents;
pub mod keys;
pub mod known_names;
pub mod log_events;
pub mod metrics;
mod migrate;
pub mod monitors;
pub mod notices;
pub mod outbox;
pub mod overview;
pub mod passkeys;
pub mod passwords;
pub mod permissions;
pub mod person_keys;
pub mod plans;
mod position;
pub mod posture;
pub mod preferences;
pub mod reader;
pub mod redteam;
pub mod remote_audit;
pub mod rule_proofs;
pub mod rules;
pub mod scores;
pub mod search;
pub mod senders;
pub mod sign_in;
pub mod silences;
pub mod sources;
pub mod ssp_sections;
pub mod stored_events;
pub mod subscriptions;
pub mod tenants;
pub mod trail;
pub mod trends;
pub mod upkeep;
pub mod users;
pub mod verdicts;

pub use db::{
    Isolation, begin, begin_for, connect, ensure_database, ensure_login, ensure_partitions,
    is_local, parse_url, pool, snapshot, start_over, unchecked_server, unreachable,
};
pub use error::StoreError;
pub use migrate::{
    Blocked, Holder, Lacking, MIGRATOR, MigrationError, Outlook, Patience, Step, is_current,
    migrate, migrate_within, outlook,
};
pub use position::Before;
pub use sqlx::postgres::PgConnectOptions;
pub use sqlx::{Connection, PgConnection, PgPool};
/// What a person's request works in ([`begin_for`]).
pub type PersonTransaction = sqlx::Transaction<'static, sqlx::Postgres>;

/// The channel on which PostgreSQL wakes the reader (`LISTEN`); its messages are empty.
pub const EVENTS_CHANNEL: &str = "blueteam_events";
