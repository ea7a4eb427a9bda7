//! Where a page of a list ended: the next one begins after it, whatever was added meanwhile.

use std::fmt;
use std::str::FromStr;

use model::Timestamp;
use serde::Serialize;
use uuid::Uuid;

/// The last entry of a page of a list that shows the newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Before {
    /// Its time, by which the list is sorted.
    pub at: Timestamp,
    /// Its id, which tells entries of the same time apart.
    pub id: Uuid,
}

/// The text is not a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a position in a list")]
pub struct PositionError;

impl fmt::Display for Before {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.at.as_micros(), self.id)
    }
}

impl FromStr for Before {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, PositionError> {
        let (at, id) = text.split_once(' ').ok_or(PositionError)?;
        Ok(Self {
            at: Timestamp::from_micros(at.parse().map_err(|_| PositionError)?),
            id: id.parse().map_err(|_| PositionError)?,
        })
    }
}
