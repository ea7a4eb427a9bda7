//! Sources (bytes in) and formats (bytes to events).
//!
//! Invariant: a collector reports what a line means and never decides what is an attack; that is
//! the engine's work. Every line is hostile: parsers never panic and take time linear in its
//! length.
//!
//! A new format is one file in `parsers/` and one line in the list in `parsers.rs`.

pub mod entries;
pub mod follow;
pub mod framing;
mod json;
pub mod masking;
pub mod otlp;
pub mod parsers;
pub mod sequence;
pub mod source_tracking;
pub mod spool;
mod text;

pub use parsers::{Format, LineId, LineParser, ParseContext, Parsed};
