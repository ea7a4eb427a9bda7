//! The name of a service: an application whose events are kept apart from those of others.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest name, in bytes.
const MAX: usize = 63;

/// A service's name: 1 to 63 letters, digits, `.`, `_` and `-`, of which the first is a letter or a
/// digit. The database checks the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServiceName(String);

/// A text that names no service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a service's name has 1 to 63 letters, digits, `.`, `_` or `-`, and begins with a letter or a \
        digit"
)]
pub struct NoServiceName;

impl ServiceName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ServiceName {
    type Err = NoServiceName;
    fn from_str(text: &str) -> Result<Self, NoServiceName> {
        let begins = text
            .bytes()
            .next()
            .is_some_and(|b| b.is_ascii_alphanumeric());
        let allowed = text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));

        if begins && allowed && text.len() <= MAX {
            Ok(Self(text.to_owned()))
        } else {
            Err(NoServiceName)
        }
    }
}

impl TryFrom<String> for ServiceName {
    type Error = NoServiceName;
    fn try_from(text: String) -> Result<Self, NoServiceName> {
        text.parse()
    }
}

impl From<ServiceName> for String {
    fn from(name: ServiceName) -> Self {
        name.0
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_plain() {
        let longest = "a".repeat(63);
        for good in ["eqmon", "Artemis-2", "mqtt.processor_1", "0", &longest] {
            assert_eq!(
                good.parse::<ServiceName>().map(String::from).as_deref(),
                Ok(good)
            );
        }

        let long = "a".repeat(64);
        for bad in ["", "-a", ".", "a b", "é", "a\n", "a\"", &long] {
            assert_eq!(bad.parse::<ServiceName>(), Err(NoServiceName), "{bad:?}");
        }
    }
}
