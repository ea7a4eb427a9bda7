//! The client against a real ingest and a real database.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the helpers of tests fail as tests do"
)]

mod actions;
mod app;
mod door;
mod http;
mod layer;
mod php;
mod php_guard;
mod php_hang;
mod postgres;
