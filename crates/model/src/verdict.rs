//! What a person made of an alert after looking into it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::UnknownWord;

/// What an alert turned out to be: it tells rules that find attacks from rules that make noise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// An attack, or an attempt at one.
    TruePositive,
    /// What the rule says did happen, and was expected: an ordered scan, a rehearsed restore.
    BenignPositive,
    /// What the rule says did not happen.
    FalsePositive,
    /// Not known, or no longer: takes an earlier verdict back.
    Undetermined,
}

impl Verdict {
    /// Every verdict.
    pub const ALL: [Self; 4] = [
        Self::TruePositive,
        Self::BenignPositive,
        Self::FalsePositive,
        Self::Undetermined,
    ];

    /// The word in the database and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TruePositive => "true_positive",
            Self::BenignPositive => "benign_positive",
            Self::FalsePositive => "false_positive",
            Self::Undetermined => "undetermined",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Verdict {
    type Err = UnknownWord;
    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let known = Self::ALL
            .into_iter()
            .find(|verdict| verdict.as_str() == text);
        known.ok_or_else(|| UnknownWord {
            found: text.to_owned(),
            expected: "true_positive, benign_positive, false_positive, undetermined",
        })
    }
}
