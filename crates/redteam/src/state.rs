//! What becomes of a finding from one run to the next.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where a finding stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It is there.
    Open,
    /// A later run of the same scope has not found it: a person may close it.
    GoneProposed,
    /// A person said that it is gone.
    Closed,
    /// A person said that it stays.
    Accepted,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Open, Self::GoneProposed, Self::Closed, Self::Accepted];

    /// Returns the word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::GoneProposed => "gone_proposed",
            Self::Closed => "closed",
            Self::Accepted => "accepted",
        }
    }

    /// Returns whether the weakness counts as being there. Accepting a risk does not remove it, and
    /// a proposal is no decision.
    pub const fn counts(self) -> bool {
        !matches!(self, Self::Closed)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The word is no state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid state `{0}`: must be open, gone_proposed, closed or accepted")]
pub struct UnknownState(String);

impl FromStr for State {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, UnknownState> {
        let found = Self::ALL.into_iter().find(|s| s.as_str() == text);
        found.ok_or_else(|| UnknownState(text.chars().take(40).collect()))
    }
}

/// What a run says of a finding that was known before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observation {
    /// It lists it.
    Seen,
    /// It looked for it and does not list it.
    Missing,
    /// It did not look there or not for that, or it cannot say.
    OutOfScope,
}

/// What a run changes for a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It was not known before.
    New,
    /// It is proposed for closing.
    Gone,
    /// It is there again: a regression.
    Back,
    /// It is there, as before.
    Still,
    /// Nothing is said about it.
    OutOfScope,
}

impl Change {
    /// Returns the word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Gone => "gone",
            Self::Back => "back",
            Self::Still => "still",
            Self::OutOfScope => "out_of_scope",
        }
    }
}

/// Returns where a finding stands after a run, and what the run has changed.
pub const fn after(state: State, observation: Observation) -> (State, Change) {
    match (state, observation) {
        (State::Open | State::Accepted, Observation::Seen) => (state, Change::Still),
        (State::GoneProposed | State::Closed, Observation::Seen) => (State::Open, Change::Back),
        (State::Open | State::Accepted, Observation::Missing) => {
            (State::GoneProposed, Change::Gone)
        }
        (State::GoneProposed, Observation::Missing) => (state, Change::Gone),
        // It was closed, and is.
        (State::Closed, Observation::Missing) => (state, Change::OutOfScope),
        (_, Observation::OutOfScope) => (state, Change::OutOfScope),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn states() -> impl Strategy<Value = State> {
        prop::sample::select(State::ALL.to_vec())
    }

    fn observations() -> impl Strategy<Value = Observation> {
        prop::sample::select(vec![
            Observation::Seen,
            Observation::Missing,
            Observation::OutOfScope,
        ])
    }

    proptest! {
        #[test]
        fn what_is_out_of_scope_stays_as_it_is(state in states()) {
            prop_assert_eq!(after(state, Observation::OutOfScope).0, state);
        }

        #[test]
        fn no_run_closes_or_accepts(state in states(), seen in observations()) {
            let (next, _) = after(state, seen);
            prop_assert!(next == state || matches!(next, State::Open | State::GoneProposed));
        }

        #[test]
        fn what_is_seen_is_never_gone(state in states(), all in prop::collection::vec(observations(), 0..20)) {
            let before = all.iter().fold(state, |state, seen| after(state, *seen).0);
            let (last, change) = after(before, Observation::Seen);
            prop_assert!(matches!(last, State::Open | State::Accepted));
            let was_away = matches!(before, State::GoneProposed | State::Closed);
            prop_assert_eq!(change == Change::Back, was_away);
        }
    }
}
