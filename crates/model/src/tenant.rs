//! Tenants: the organizations that use one installation (decision 0049). Not what an application
//! calls a tenant of its own, which is the `instance_id` of its events.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The longest name, in bytes.
const MAX: usize = 63;

/// A tenant's id. Whose an event is follows from the key or source by which it came; nothing that
/// is sent is read as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TenantId(pub Uuid);

impl TenantId {
    /// The tenant that every installation has, `default`.
    pub const DEFAULT: Self = Self(Uuid::from_u128(0x0000_0000_0000_7000_8000_0000_0000_0001));
}

impl Default for TenantId {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A tenant's name: 1 to 63 lower-case letters, digits, `_` and `-`, of which the first is a letter
/// or a digit. Not an id, which names an instance of an application.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TenantName(String);

/// A text that names no tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a tenant's name has 1 to 63 lower-case letters, digits, `_` or `-`, begins with a letter or a \
     digit, and is not an id"
)]
pub struct NoTenantName;

impl TenantName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is the tenant that every installation has.
    pub fn is_default(&self) -> bool {
        self.0 == "default"
    }
}

impl FromStr for TenantName {
    type Err = NoTenantName;
    fn from_str(text: &str) -> Result<Self, NoTenantName> {
        let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let begins = text.bytes().next().is_some_and(is_plain);
        let allowed = text
            .bytes()
            .all(|b| is_plain(b) || matches!(b, b'_' | b'-'));

        // What looks like an id is one, of something else.
        let is_id = Uuid::try_parse(text).is_ok();

        if begins && allowed && text.len() <= MAX && !is_id {
            Ok(Self(text.to_owned()))
        } else {
            Err(NoTenantName)
        }
    }
}

impl TryFrom<String> for TenantName {
    type Error = NoTenantName;
    fn try_from(text: String) -> Result<Self, NoTenantName> {
        text.parse()
    }
}

impl From<TenantName> for String {
    fn from(name: TenantName) -> Self {
        name.0
    }
}

impl fmt::Display for TenantName {
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
        for good in ["default", "acme-2", "0_x", &longest] {
            assert_eq!(
                good.parse::<TenantName>().map(String::from).as_deref(),
                Ok(good)
            );
        }

        let long = "a".repeat(64);
        let id = "7b0c6a52-0d63-4c11-9d0a-2f4f1c1f9a10";
        for bad in [id, "", "-a", "_", "Acme", "a b", "a.b", "é", "a\n", &long] {
            assert_eq!(bad.parse::<TenantName>(), Err(NoTenantName), "{bad:?}");
        }
    }
}
