//! Secrets of second factors, sealed by a key that is not in the database (ASVS 13.3.1): whoever
//! reads the database, or a backup of it, makes no codes.

use std::path::Path;

use anyhow::{Context as _, bail};
use config::StateDir;
use hmac::{Hmac, KeyInit as _, Mac as _};
use identity::TotpSecret;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use sha2::Sha256;
use uuid::Uuid;
use zeroize::Zeroizing;

/// The file of the key, readable by its owner alone.
const KEY: &str = "accounts.key";
/// Length of the key in bytes.
const KEY_LENGTH: usize = 32;
/// What sealed secrets begin with, so that another way can follow.
const VERSION: u8 = 1;

/// The key that seals.
pub(crate) struct SealKey(LessSafeKey);

impl std::fmt::Debug for SealKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealKey")
    }
}

/// A sealed secret that this key does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the second factor was sealed with another key than {KEY} of the state directory")]
pub struct Unsealable;

impl SealKey {
    /// Loads the key; makes it if there is none yet.
    pub(super) fn load(state: &StateDir) -> anyhow::Result<Self> {
        let path = state.join(KEY);
        match std::fs::read(&path) {
            Ok(bytes) => {
                let bytes = Zeroizing::new(bytes);
                if bytes.len() != KEY_LENGTH {
                    bail!(
                        "{} is no key: it must have {KEY_LENGTH} bytes",
                        path.display()
                    );
                }
                Self::new(&bytes)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Self::make(state, &path),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    fn make(state: &StateDir, path: &Path) -> anyhow::Result<Self> {
        let mut bytes = Zeroizing::new([0; KEY_LENGTH]);
        getrandom::fill(bytes.as_mut()).context("cannot get random numbers from the system")?;
        state
            .replace(KEY, bytes.as_slice())
            .with_context(|| format!("cannot write {}", path.display()))?;
        Self::new(bytes.as_slice())
    }

    fn new(bytes: &[u8]) -> anyhow::Result<Self> {
        let key = UnboundKey::new(&AES_256_GCM, bytes)
            .ok()
            .context("the key that seals second factors has the wrong length")?;
        Ok(Self(LessSafeKey::new(key)))
    }

    /// Another key for `purpose`, which tells nothing of this one: HMAC-SHA256 of its name.
    pub(crate) fn derive(state: &StateDir, purpose: &str) -> anyhow::Result<[u8; 32]> {
        let path = state.join(KEY);
        let bytes = std::fs::read(&path).map(Zeroizing::new);
        let bytes = bytes.with_context(|| format!("cannot read {}", path.display()))?;
        let mut mac = Hmac::<Sha256>::new_from_slice(&bytes)
            .ok()
            .context("a key cannot be derived")?;
        mac.update(purpose.as_bytes());
        Ok(mac.finalize().into_bytes().into())
    }

    /// A key that ends with the process.
    pub(super) fn ephemeral() -> anyhow::Result<Self> {
        let mut bytes = Zeroizing::new([0; KEY_LENGTH]);
        getrandom::fill(bytes.as_mut()).context("cannot get random numbers from the system")?;
        Self::new(bytes.as_slice())
    }

    /// Seals the secret of an account.
    pub(super) fn seal(&self, user_id: Uuid, secret: &TotpSecret) -> anyhow::Result<Vec<u8>> {
        self.seal_bytes(user_id.as_bytes(), secret.expose())
    }

    /// Seals bytes for a purpose: version, nonce, ciphertext with its tag.
    pub(super) fn seal_bytes(&self, purpose: &[u8], bytes: &[u8]) -> anyhow::Result<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).context("cannot get random numbers from the system")?;
        let mut sealed = bytes.to_vec();
        self.0
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(purpose),
                &mut sealed,
            )
            .ok()
            .context("a secret cannot be sealed")?;

        let mut out = vec![VERSION];
        out.extend_from_slice(&nonce);
        out.append(&mut sealed);
        Ok(out)
    }

    /// Opens what was sealed for this account: that of another one, moved here, is not opened.
    pub(super) fn open(&self, user_id: Uuid, sealed: &[u8]) -> Result<TotpSecret, Unsealable> {
        let opened = self.open_bytes(user_id.as_bytes(), sealed)?;
        let bytes = <[u8; 20]>::try_from(opened.as_slice()).map_err(|_| Unsealable)?;
        Ok(TotpSecret::from_bytes(bytes))
    }

    /// Opens what was sealed for this purpose.
    pub(super) fn open_bytes(
        &self,
        purpose: &[u8],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Unsealable> {
        let (version, rest) = sealed.split_first().ok_or(Unsealable)?;
        let (nonce, ciphertext) = rest
            .split_first_chunk::<NONCE_LEN>()
            .filter(|_| *version == VERSION)
            .ok_or(Unsealable)?;
        let mut opened = Zeroizing::new(ciphertext.to_vec());
        let length = self
            .0
            .open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(purpose),
                &mut opened,
            )
            .map_err(|_| Unsealable)?
            .len();
        opened.truncate(length);
        Ok(opened)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SealKey {
        SealKey::new(&[7; KEY_LENGTH]).expect("a key")
    }

    #[test]
    fn a_secret_is_opened_for_its_account_by_its_key_only() {
        let (dana, mallory) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let secret = TotpSecret::generate().expect("randomness");
        let sealed = key().seal(dana, &secret).expect("sealed");
        let opened = key().open(dana, &sealed).expect("opened");
        assert_eq!(opened.expose(), secret.expose());

        // A row that was copied from one account to another.
        assert!(key().open(mallory, &sealed).is_err());
        let other = SealKey::new(&[8; KEY_LENGTH]).expect("a key");
        assert!(other.open(dana, &sealed).is_err());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(key().open(dana, &changed).is_err(), "byte {at}");
            assert!(key().open(dana, &sealed[..at]).is_err(), "{at} bytes");
        }
    }
}
