//! Names of accounts and email addresses, as far as they are safe to store, compare and print.
//!
//! Names are ASCII only: an `admin` that begins with a Cyrillic letter must not appear in an audit
//! log and be taken for `admin`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The most characters of a name; the column `users.users.username`.
pub const LONGEST_NAME: usize = 50;
/// The most bytes of an email address; the column `users.users.email`.
pub const LONGEST_EMAIL: usize = 255;

/// Names that would be taken for a part of blueteam or of the operating system.
const RESERVED: [&str; 16] = [
    "anonymous",
    "anyone",
    "blueteam",
    "console",
    "daemon",
    "everyone",
    "guest",
    "localhost",
    "nobody",
    "none",
    "null",
    "postgres",
    "root",
    "self",
    "system",
    "unknown",
];

/// Why a text is not the name of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UsernameError {
    /// Nothing, or too much.
    #[error("a username has 1 to 50 characters")]
    Length,
    /// It begins with something else than a letter.
    #[error("a username begins with a letter (a-z)")]
    Start,
    /// There are other characters in it.
    #[error("a username holds only letters (a-z), digits, `.`, `_` and `-`")]
    Character,
    /// blueteam or the operating system calls itself so.
    #[error("this username is reserved: choose another")]
    Reserved,
}

/// The name of an account, as it was chosen. Two names that differ only in case are the same.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Username(String);

impl Username {
    /// Checks a name. Blanks around it are a mistake, not a name.
    pub fn parse(text: &str) -> Result<Self, UsernameError> {
        if text.is_empty() || text.len() > LONGEST_NAME {
            return Err(UsernameError::Length);
        }
        if !text.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return Err(UsernameError::Start);
        }

        let is_allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if !text.bytes().all(is_allowed) {
            return Err(UsernameError::Character);
        }

        let name = Self(text.to_owned());
        if RESERVED.contains(&name.folded().as_str()) {
            return Err(UsernameError::Reserved);
        }

        Ok(name)
    }

    /// Checks a name that a provider or a directory gives: there, names may be mail addresses.
    pub fn parse_external(text: &str) -> Result<Self, UsernameError> {
        if text.is_empty() || text.len() > LONGEST_NAME {
            return Err(UsernameError::Length);
        }
        let (local, domain) = text.split_once('@').unwrap_or((text, ""));
        let is_allowed =
            |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'+');
        let is_domain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-');
        if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            return Err(UsernameError::Start);
        }
        if !local.bytes().all(is_allowed) || !domain.bytes().all(is_domain) {
            return Err(UsernameError::Character);
        }
        if RESERVED.contains(&local.to_ascii_lowercase().as_str()) {
            return Err(UsernameError::Reserved);
        }
        Ok(Self(text.to_owned()))
    }

    /// Returns the name as it was chosen.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the name in lower case, under which it is unique, also after the account is gone
    /// (3.5.5).
    pub fn folded(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

impl PartialEq for Username {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Username {}

impl fmt::Debug for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Username({})", self.0)
    }
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for Username {
    type Err = UsernameError;

    fn from_str(text: &str) -> Result<Self, UsernameError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Username {
    type Error = UsernameError;

    fn try_from(text: String) -> Result<Self, UsernameError> {
        Self::parse(&text)
    }
}

impl From<Username> for String {
    fn from(name: Username) -> Self {
        name.0
    }
}

/// Why a text is not an email address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EmailError {
    /// Nothing, or too much.
    #[error("an email address has 3 to 255 characters")]
    Length,
    /// Not one `@` with something before and behind it.
    #[error("an email address has one `@`, such as jane@example.com")]
    At,
    /// The part before the `@`.
    #[error("the part of an email address before the `@` has 1 to 64 letters, digits or signs")]
    Local,
    /// The part behind the `@`.
    #[error("the part of an email address behind the `@` is a host name, such as example.com")]
    Domain,
}

/// An email address that mail can be sent to without quoting. Two that differ only in case are the
/// same.
///
/// Narrower than RFC 5321 on purpose: no quoted or commented part, no address literal, nothing that
/// is not ASCII, so that nothing in it can end a header, begin an option or look like another
/// address.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Email(String);

impl Email {
    /// Checks an address.
    pub fn parse(text: &str) -> Result<Self, EmailError> {
        if text.len() < 3 || text.len() > LONGEST_EMAIL {
            return Err(EmailError::Length);
        }

        let (local, domain) = text.split_once('@').ok_or(EmailError::At)?;
        if domain.contains('@') {
            return Err(EmailError::At);
        }
        if !is_local_part(local) {
            return Err(EmailError::Local);
        }
        if !domain.split('.').all(is_label) {
            return Err(EmailError::Domain);
        }

        Ok(Self(text.to_owned()))
    }

    /// Returns the address as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the address in lower case, under which it is unique.
    pub fn folded(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

/// Whether this is an unquoted local part (RFC 5321 `Dot-string`) that does not look like an
/// option.
fn is_local_part(local: &str) -> bool {
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&b);
    (1..=64).contains(&local.len())
        && local.bytes().all(is_allowed)
        && !local.starts_with('-')
        && local.split('.').all(|atom| !atom.is_empty())
}

/// Whether this is a label of a host name (RFC 1123).
fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

impl PartialEq for Email {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Email {}

impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Email({})", self.0)
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for Email {
    type Err = EmailError;

    fn from_str(text: &str) -> Result<Self, EmailError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Email {
    type Error = EmailError;

    fn try_from(text: String) -> Result<Self, EmailError> {
        Self::parse(&text)
    }
}

impl From<Email> for String {
    fn from(email: Email) -> Self {
        email.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn usual_names_are_valid() {
        for name in ["a", "jane", "J.Doe-2_x", "admin", &"a".repeat(50)] {
            assert_eq!(Username::parse(name).unwrap().as_str(), name);
        }
        assert_eq!(
            Username::parse("Jane").unwrap(),
            Username::parse("jANE").unwrap()
        );
    }

    #[test]
    fn names_of_directories_may_be_addresses_and_nothing_that_hides() {
        for name in [
            "dana",
            "dana@example.com",
            "d.scully+soc@corp.example.com",
            "7dana",
        ] {
            assert_eq!(Username::parse_external(name).unwrap().as_str(), name);
        }
        for name in [
            "",
            "root",
            "root@example.com",
            "-rf",
            "dana@ex@ample",
            "dana@example+com",
            "d\u{430}na@example.com",
            "dana\n",
            "dana smith",
            "EXAMPLE\\dana",
            &"a".repeat(51),
        ] {
            assert!(Username::parse_external(name).is_err(), "{name}");
        }
    }

    #[test]
    fn names_that_hide_or_accuse_are_refused() {
        for (name, error) in [
            ("", UsernameError::Length),
            (&*"a".repeat(51), UsernameError::Length),
            ("1jane", UsernameError::Start),
            (" jane", UsernameError::Start),
            ("-rf", UsernameError::Start),
            ("jane ", UsernameError::Character),
            ("jane\n", UsernameError::Character),
            ("jane\u{202e}x", UsernameError::Character),
            ("j\u{430}ne", UsernameError::Character),
            ("jane'--", UsernameError::Character),
            ("jane\0", UsernameError::Character),
            ("\u{430}dmin", UsernameError::Start),
            ("key:1", UsernameError::Character),
            ("System", UsernameError::Reserved),
            ("DAEMON", UsernameError::Reserved),
            ("BlueTeam", UsernameError::Reserved),
            ("root", UsernameError::Reserved),
        ] {
            assert_eq!(Username::parse(name).unwrap_err(), error, "{name:?}");
        }
    }

    #[test]
    fn usual_addresses_are_valid() {
        for email in ["a@b", "jane.doe+tag@mail.example.com", "root@localhost"] {
            assert_eq!(Email::parse(email).unwrap().as_str(), email);
        }
        assert_eq!(
            Email::parse("Jane@Example.com").unwrap(),
            Email::parse("jane@example.COM").unwrap()
        );
    }

    #[test]
    fn addresses_that_inject_are_refused() {
        for (email, error) in [
            ("a@", EmailError::Length),
            (&*format!("a@{}", "b.".repeat(200)), EmailError::Length),
            ("jane.example.com", EmailError::At),
            ("a@b@c", EmailError::At),
            ("jane@example.com\r\nBcc: all@example.com", EmailError::At),
            ("jane\r\n@example.com", EmailError::Local),
            ("\"jane doe\"@example.com", EmailError::Local),
            ("-oQ/tmp@example.com", EmailError::Local),
            (".jane@example.com", EmailError::Local),
            ("ja..ne@example.com", EmailError::Local),
            ("j\u{e4}ne@example.com", EmailError::Local),
            ("jane@example..com", EmailError::Domain),
            ("jane@ex\u{430}mple.com", EmailError::Domain),
            ("jane@-example.com", EmailError::Domain),
            ("jane@[127.0.0.1]", EmailError::Domain),
            ("jane@example.com ", EmailError::Domain),
            ("jane@example.com\n", EmailError::Domain),
            ("<jane@example.com>", EmailError::Local),
        ] {
            assert_eq!(Email::parse(email).unwrap_err(), error, "{email:?}");
        }
    }

    #[test]
    fn json_is_checked_too() {
        assert!(serde_json::from_str::<Username>("\"system\"").is_err());
        assert!(serde_json::from_str::<Email>("\"x\"").is_err());
        let name: Username = serde_json::from_str("\"Jane\"").unwrap();
        assert_eq!(serde_json::to_string(&name).unwrap(), "\"Jane\"");
    }

    proptest! {
        #[test]
        fn valid_names_print_as_they_are(text in ".{0,60}") {
            if let Ok(name) = Username::parse(&text) {
                prop_assert_eq!(name.to_string(), text.clone());
                prop_assert!(text.is_ascii() && !text.contains(|c: char| c.is_control()));
            }
        }

        #[test]
        fn valid_addresses_hold_nothing_that_ends_a_header(text in ".{0,20}@.{0,20}") {
            if let Ok(email) = Email::parse(&text) {
                prop_assert!(email.as_str().bytes().all(|b| b.is_ascii_graphic()));
            }
        }
    }
}
