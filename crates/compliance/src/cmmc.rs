//! CMMC Level 2 status: the words and the numbers of 32 CFR 170.21. What may be claimed is decided
//! in [`crate::claim`].

use std::fmt;

use model::{Span, Timestamp};
use serde::Serialize;

/// Points from which on a conditional status can be had: 0.8 of 110 (32 CFR 170.21(a)(2)(i)).
pub const CONDITIONAL_FROM: i32 = 88;
/// A plan of action must be closed out within this time (32 CFR 170.21(b)).
pub const CLOSE_OUT: Span = Span::days(180);

/// What the organisation could claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level2 {
    /// Everything is met.
    Final,
    /// Enough is met, and the rest may wait on a plan of action for 180 days.
    Conditional,
    /// Neither.
    None,
}

impl fmt::Display for Level2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Final => "Final Level 2",
            Self::Conditional => "Conditional Level 2",
            Self::None => "no CMMC status",
        })
    }
}

/// The last moment at which a plan of action may be closed out, and whether a moment is past it.
pub fn close_out(conditional_since: Timestamp, now: Timestamp) -> (Timestamp, bool) {
    let deadline = conditional_since.plus(CLOSE_OUT);
    (deadline, now > deadline)
}
