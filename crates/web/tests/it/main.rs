//! The console over real sockets, on a real PostgreSQL.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the helpers of tests fail as tests do"
)]

mod acknowledge;
mod answers;
mod http;
mod keys;
mod otlp;
mod outage;
mod protocol;
mod slow;
