//! The names of channels.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ids::UnknownWord;

/// The longest name, in bytes.
const NAME_MAX: usize = 16;

/// A way out to people or machines, by its name in the configuration and the database. Which
/// channels there are, and what each can do, only `notify` knows; a name from the database may be
/// that of a channel that another version has.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Channel {
    /// The name, with zeros after it.
    bytes: [u8; NAME_MAX],
}

impl Channel {
    /// Names a channel in the code.
    ///
    /// # Panics
    ///
    /// If it is no name: 1 to 16 lower-case letters, digits and underscores. A channel's definition
    /// is a constant, where that does not compile.
    #[expect(
        clippy::panic,
        reason = "names in the code are constants, where it is an error of the compiler"
    )]
    pub const fn named(name: &str) -> Self {
        match Self::read(name) {
            Some(channel) => channel,
            None => panic!("a channel has 1 to 16 lower-case letters, digits and underscores"),
        }
    }

    const fn read(name: &str) -> Option<Self> {
        let name = name.as_bytes();
        if name.is_empty() || name.len() > NAME_MAX {
            return None;
        }

        let mut bytes = [0; NAME_MAX];
        let mut at = 0;
        while at < name.len() {
            match name[at] {
                byte @ (b'a'..=b'z' | b'0'..=b'9' | b'_') => bytes[at] = byte,
                _ => return None,
            }
            at += 1;
        }

        Some(Self { bytes })
    }

    /// The word in the configuration and the database.
    pub fn as_str(&self) -> &str {
        let length = self.bytes.iter().take_while(|byte| **byte != 0).count();
        // A name is ASCII.
        std::str::from_utf8(&self.bytes[..length]).unwrap_or_default()
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Channel({})", self.as_str())
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Channel {
    type Err = UnknownWord;

    /// Reads any name that a channel may have. What a person writes goes through
    /// `notify::channels::find`, which knows the channels that there are.
    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        Self::read(text).ok_or_else(|| UnknownWord {
            found: text.to_owned(),
            expected: "1 to 16 lower-case letters, digits and underscores",
        })
    }
}

impl Serialize for Channel {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Channel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_is_written_and_nothing_else_is_a_name() {
        for name in ["a", "email", "sms_2", "sixteen_letters_"] {
            let channel: Channel = name.parse().unwrap();
            assert_eq!(channel.as_str(), name);
            assert_eq!(channel, Channel::named(name));
            let json = serde_json::to_value(channel).unwrap();
            assert_eq!(json, name);
            assert_eq!(serde_json::from_value::<Channel>(json).unwrap(), channel);
        }

        for wrong in ["", "E", "e mail", "ż", "a\0", "seventeen_letters"] {
            assert!(wrong.parse::<Channel>().is_err(), "{wrong:?}");
        }
        assert!("console".parse::<Channel>().unwrap() < Channel::named("email"));
    }
}
