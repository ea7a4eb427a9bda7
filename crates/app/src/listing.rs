//! Cursors: where a page of a list ended, signed, so that nobody makes one up.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use config::StateDir;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

pub use store::Before;

use crate::sign_in::seal::SealKey;

/// Octets of a signature: half of HMAC-SHA256, which RFC 2104 allows.
const TAG: usize = 16;
/// The longest cursor, in characters.
const LENGTH_MAX: usize = 1024;

/// SHA-256, for versions and bodies.
pub fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// What signs cursors: derived from `accounts.key` of the state directory, so that a list goes on after
/// a restart.
pub struct CursorKey([u8; 32]);

impl std::fmt::Debug for CursorKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CursorKey")
    }
}

impl CursorKey {
    /// The key of an installation.
    pub fn of(state: &StateDir) -> anyhow::Result<Self> {
        SealKey::derive(state, "cursors of lists").map(Self)
    }

    fn mac(&self, context: &str, position: &str) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).ok()?;
        // The length keeps what belongs to the one from counting as the other.
        mac.update(&(context.len() as u64).to_be_bytes());
        mac.update(context.as_bytes());
        mac.update(position.as_bytes());
        Some(mac)
    }

    /// Returns a cursor: `position`, which counts for the list that `context` names.
    pub fn sign(&self, context: &str, position: &str) -> String {
        let tag = self.mac(context, position).map(hmac::Mac::finalize);
        let tag = tag.map(|tag| tag.into_bytes());
        let mut bytes = tag.map_or_else(Vec::new, |tag| tag.iter().take(TAG).copied().collect());
        bytes.extend_from_slice(position.as_bytes());
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Returns the position of a cursor that was made for this list.
    pub fn open(&self, context: &str, cursor: &str) -> Option<String> {
        if cursor.len() > LENGTH_MAX {
            return None;
        }
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let (tag, position) = bytes.split_at_checked(TAG)?;
        let position = std::str::from_utf8(position).ok()?;
        let mac = self.mac(context, position)?;
        mac.verify_truncated_left(tag).ok()?;
        Some(position.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_counts_for_its_list_and_as_it_was_given() {
        let key = CursorKey([7; 32]);
        let cursor = key.sign("/a", "12 x");
        assert_eq!(key.open("/a", &cursor).as_deref(), Some("12 x"));
        assert_eq!(key.open("/b", &cursor), None);
        // What is the list's must not be taken for the position's.
        assert_eq!(key.open("/a1", &key.sign("/a", "12 x")), None);
        assert_eq!(CursorKey([8; 32]).open("/a", &cursor), None);

        let bytes = BASE64_URL_SAFE_NO_PAD.decode(&cursor).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut forged = bytes.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            let forged = BASE64_URL_SAFE_NO_PAD.encode(forged);
            assert_eq!(key.open("/a", &forged), None, "{bit}");
        }
        for short in ["", "AAAA", &"A".repeat(2000), "no base64!"] {
            assert_eq!(key.open("/a", short), None, "{short}");
        }
    }
}
