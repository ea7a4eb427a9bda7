//! The program's own parts: commands, configuration, and the daemon that ties the crates below together.
//!
//! Invariant: nothing here holds logic that a crate below could hold.

pub mod cli;
pub mod config;
pub mod replay;
pub mod scenario;
