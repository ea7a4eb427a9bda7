//! The console over real sockets, on a real PostgreSQL.

mod answers;
mod http;
mod keys;
mod outage;
mod slow;
