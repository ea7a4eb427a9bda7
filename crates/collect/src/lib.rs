//! Sources (bytes in) and formats (bytes to events).
//!
//! Invariant: a collector never decides what is an attack; it says what a line means and leaves the
//! rest to the engine. Every line is hostile: parsers never panic and take time linear in its
//! length.
//!
//! Adding a format touches its file in `parsers/` and the list in `parsers.rs`.

pub mod entries;
pub mod follow;
pub mod framing;
mod json;
pub mod ledger;
pub mod otlp;
pub mod parsers;
pub mod spool;
mod text;

pub use parsers::{Format, LineId, LineParser, Parsed, Reference};
