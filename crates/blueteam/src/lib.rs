//! The program: its command line, and the demo.
//!
//! Invariant: a command turns arguments into one call and prints what comes back; decisions are
//! made below.

pub mod cli;
pub mod demo;
