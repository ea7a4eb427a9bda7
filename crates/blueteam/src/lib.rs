//! The program's own parts: commands, configuration, and the daemon that ties the crates below
//! together.
//!
//! Invariant: nothing here holds logic that a crate below could hold.

mod advisories;
mod applications;
mod books;
mod certificates;
mod claims;
pub mod cli;
pub mod collector;
pub mod config;
pub mod daemon;
pub mod database;
pub mod demo;
pub mod dispatcher;
pub mod door;
pub mod dossier;
mod duties;
mod escalation;
pub mod evidence;
pub mod failures;
pub mod health;
mod intake;
mod interrupted;
pub mod journal;
mod lab;
mod links;
pub mod listener;
pub mod metrics;
pub mod monitor;
mod monitors;
mod notices;
mod outage;
pub mod replay;
pub mod scenario;
pub mod settings;
pub mod state;
mod timekeeping;
pub mod vault;
mod watch;
pub mod watchdog;
