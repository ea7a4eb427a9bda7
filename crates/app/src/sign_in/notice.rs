//! The notice that people accept before they sign in (3.1.9): what the system is for, and that it is
//! watched. Each text is a version of its own, so that what was accepted is on record.

use std::fmt::Write as _;

use super::{SignIn, SignInError};

/// Octets of the hash that is the version.
const VERSION: usize = 8;

/// A notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    text: String,
    version: String,
}

impl Notice {
    /// Returns the notice with this text; none if it is blank.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.is_empty() {
            return None;
        }
        let hash = crate::listing::digest(text.as_bytes());
        let mut version = String::with_capacity(2 * VERSION);
        for byte in hash.iter().take(VERSION) {
            // Writing to a string cannot fail.
            let _ = write!(version, "{byte:02x}");
        }
        Some(Self {
            text: text.to_owned(),
            version,
        })
    }

    /// What people read.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What they send to say that they accept it.
    pub fn version(&self) -> &str {
        &self.version
    }
}

impl SignIn {
    /// The notice, if there is one.
    pub const fn notice(&self) -> Option<&Notice> {
        self.settings.notice.as_ref()
    }

    /// The version that is on record with a sign-in whose person has accepted it.
    pub(super) fn accepted(&self, given: Option<&str>) -> Result<Option<&str>, SignInError> {
        match self.notice() {
            None => Ok(None),
            Some(notice) if given == Some(notice.version()) => Ok(given.map(|_| notice.version())),
            Some(_) => Err(SignInError::NoticeNeeded),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_text_is_another_version_and_blanks_around_it_are_none() {
        let notice = Notice::new(" You are watched.\n").unwrap();
        assert_eq!(notice.text(), "You are watched.");
        assert_eq!(Notice::new("You are watched."), Some(notice.clone()));
        let other = Notice::new("You are watched!").unwrap();
        assert_ne!(other.version(), notice.version());
        assert_eq!(notice.version().len(), 16);
        assert_eq!(Notice::new(" \n"), None);
    }
}
