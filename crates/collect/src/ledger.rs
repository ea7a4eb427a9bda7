//! Is it all there? What a source's own past says of how often it speaks, and which of its numbered
//! events are missing.
//!
//! Nothing here reads a clock: times are arguments, states are saved with what was read.

mod rhythm;
mod sequence;

pub use rhythm::{Hours, Rhythm};
pub use sequence::{Hole, Sequence};
