//! CMMC Level 2 status: the terms and numbers of 32 CFR 170.21. [`crate::claim`] decides what may
//! be claimed.

use std::fmt;

use model::{Span, Timestamp};
use serde::Serialize;

/// Minimum score of a conditional status: 0.8 of 110 (32 CFR 170.21(a)(2)(i)).
pub const CONDITIONAL_FROM: i32 = 88;
/// The time within which a plan of action must be closed out (32 CFR 170.21(b)).
pub const CLOSE_OUT: Span = Span::days(180);

/// The status that the organization may claim.
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

/// Returns the deadline for closing out a plan of action, and whether `now` is past it.
pub fn close_out(conditional_since: Timestamp, now: Timestamp) -> (Timestamp, bool) {
    let deadline = conditional_since.plus(CLOSE_OUT);
    (deadline, now > deadline)
}
