//! Completeness of a source: how often it usually sends, and which of its numbered events are
//! missing.
//!
//! Nothing here reads a clock: times are arguments, and the state is saved with the batch it
//! belongs to.

mod cadence;
mod sequence;

pub use cadence::{Cadence, Hours};
pub use sequence::{Sequence, SequenceGap};
