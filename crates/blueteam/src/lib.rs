//! blueteam.
pub mod replay;
pub mod scenario;
