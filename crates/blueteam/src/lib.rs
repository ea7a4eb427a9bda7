//! The program's own parts: commands and configuration.
//!
//! Invariant: nothing here holds logic that a crate below could hold.

pub mod cli;
pub mod config;
