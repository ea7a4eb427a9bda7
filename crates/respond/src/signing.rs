//! Signatures in minisign's format (prehashed Ed25519), which `minisign -Vm` checks anywhere.
//!
//! Keys and signatures use the operating system's randomness; nothing else here does.

use std::io::Cursor;

use minisign::{KeyPair, PublicKey, SecretKey, SecretKeyBox, SignatureBox};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::chain::hex;

/// What is wrong with a key or a signature.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SigningError(String);

impl From<minisign::PError> for SigningError {
    fn from(error: minisign::PError) -> Self {
        Self(error.to_string())
    }
}

/// A key that signs.
pub struct SigningKey {
    secret: SecretKey,
    public: PublicKey,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SigningKey").field(&self.about().id).finish()
    }
}

/// What may be known about a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PublicAbout {
    /// The number that minisign shows for it.
    pub id: String,
    /// The public key, as `minisign -P` takes it.
    pub key: String,
    /// SHA-256 over the text of the public key, in groups of four: to be compared with what stands
    /// in reports.
    pub fingerprint: String,
}

impl SigningKey {
    /// Makes a key.
    pub fn generate() -> Result<Self, SigningError> {
        let pair = KeyPair::generate_unencrypted_keypair()?;
        Ok(Self {
            secret: pair.sk,
            public: pair.pk,
        })
    }

    /// Reads a key as minisign writes it: without a password, because a daemon has nobody to ask.
    pub fn parse(text: &str) -> Result<Self, SigningError> {
        let secret = SecretKeyBox::from_string(text)?
            .into_unencrypted_secret_key()
            .map_err(|_| {
                SigningError(
                    "it is not a secret key of minisign without a password (minisign -G -W)"
                        .to_owned(),
                )
            })?;
        if secret.is_encrypted() {
            return Err(SigningError(
                "it has a password, and nobody is there to type it: minisign -G -W makes one \
                 without"
                    .to_owned(),
            ));
        }
        let public = PublicKey::from_secret_key(&secret)?;
        Ok(Self { secret, public })
    }

    /// The secret key, as minisign reads it.
    pub fn to_text(&self) -> Result<String, SigningError> {
        let comment = format!("blueteam evidence key {}", self.about().id);
        Ok(self.secret.to_box(Some(&comment))?.into_string())
    }

    /// What may be known about it.
    pub fn about(&self) -> PublicAbout {
        about(&self.public)
    }

    /// The public key, as a file that `minisign -p` takes.
    pub fn public_file(&self) -> String {
        let about = self.about();
        format!(
            "untrusted comment: minisign public key {}\n{}\n",
            about.id, about.key
        )
    }

    /// Signs a text. The comment is signed with it, and is one line.
    pub fn sign(&self, text: &[u8], trusted_comment: &str) -> Result<String, SigningError> {
        let comment = trusted_comment.replace(['\r', '\n'], " ");
        let signed = minisign::sign(
            Some(&self.public),
            &self.secret,
            Cursor::new(text),
            Some(&comment),
            Some("signature from a blueteam evidence key"),
        )?;
        let mut text = signed.into_string();
        if !text.ends_with('\n') {
            text.push('\n');
        }
        Ok(text)
    }
}

fn about(public: &PublicKey) -> PublicAbout {
    let key = public.to_base64();
    let mut number: Vec<u8> = public.keynum().to_vec();
    number.reverse();
    PublicAbout {
        id: hex(&number).to_uppercase(),
        fingerprint: groups(&hex(&Sha256::digest(key.as_bytes()))),
        key,
    }
}

fn groups(hex: &str) -> String {
    let mut text = String::with_capacity(hex.len() * 5 / 4);
    for (at, c) in hex.chars().enumerate() {
        if at > 0 && at % 4 == 0 {
            text.push(' ');
        }
        text.push(c);
    }
    text
}

/// Checks a signature by a public key, as `minisign -V` does. Returns the trusted comment.
pub fn check(public: &str, text: &[u8], signature: &str) -> Result<String, SigningError> {
    let public = PublicKey::from_base64(public)?;
    let signature = SignatureBox::from_string(signature)?;
    minisign::verify(&public, &signature, Cursor::new(text), true, false, false)?;
    Ok(signature.trusted_comment()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_kept_as_text_and_signs_afterwards() {
        let key = SigningKey::generate().unwrap();
        let text = key.to_text().unwrap();
        assert!(text.starts_with("untrusted comment: blueteam evidence key "));
        let again = SigningKey::parse(&text).unwrap();
        assert_eq!(again.about(), key.about());
        assert_eq!(key.about().id.len(), 16);
        assert_eq!(key.about().fingerprint.len(), 79);
        assert!(!format!("{key:?}").contains(&key.about().key));

        let signature = again.sign(b"text", "incident:1\nforged:1").unwrap();
        let public = key.about().key;
        assert_eq!(
            check(&public, b"text", &signature).unwrap(),
            "incident:1 forged:1"
        );
        assert!(check(&public, b"texT", &signature).is_err());
        let forged = signature.replace("incident:1", "incident:2");
        assert!(check(&public, b"text", &forged).is_err());
        let other = SigningKey::generate().unwrap().about().key;
        assert!(check(&other, b"text", &signature).is_err());
    }

    #[test]
    fn keys_that_nobody_can_open_are_refused() {
        // Says that it is encrypted by a password.
        let open = SigningKey::generate().unwrap().to_text().unwrap();
        let locked = open.replace("\nRWQAAEIy", "\nRWRTY0Iy");
        assert_ne!(open, locked);
        for text in ["", "untrusted comment: x\nAAAA\n", &locked] {
            assert!(SigningKey::parse(text).is_err(), "{text}");
        }
    }
}
