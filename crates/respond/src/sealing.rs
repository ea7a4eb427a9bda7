//! Samples of malware are kept encrypted with age (<https://age-encryption.org/v1>) to a key of
//! which blueteam has the public half alone: nothing here can open them, run them or show them.
//!
//! Each file has a key of its own, which comes from the operating system's randomness.

use std::io::Write;

/// A writer that encrypts what is written to it.
pub type Sealing<W> = age::stream::StreamWriter<W>;

/// To whom samples are encrypted: an `age1…` recipient.
#[derive(Clone)]
pub struct Recipient {
    key: age::x25519::Recipient,
    text: String,
}

impl std::fmt::Debug for Recipient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Recipient").field(&self.text).finish()
    }
}

impl Recipient {
    /// Reads an X25519 recipient, as `age-keygen` prints it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        let key = text.parse()?;
        Ok(Self {
            key,
            text: text.to_owned(),
        })
    }

    /// As `age-keygen` prints it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns a writer that encrypts to `output`. Its `finish` must be called: what lacks it
    /// cannot be decrypted.
    pub fn seal<W: Write>(&self, output: W) -> std::io::Result<Sealing<W>> {
        let keys: [&dyn age::Recipient; 1] = [&self.key];
        age::Encryptor::with_recipients(keys.into_iter())
            .map_err(std::io::Error::other)?
            .wrap_output(output)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn what_is_sealed_is_opened_by_its_identity_alone() {
        let identity = age::x25519::Identity::generate();
        let recipient = Recipient::parse(&format!(" {}\n", identity.to_public())).unwrap();
        let sample = vec![7; 200_000];

        let mut writer = recipient.seal(Vec::new()).unwrap();
        writer.write_all(&sample).unwrap();
        let sealed = writer.finish().unwrap();
        assert!(sealed.starts_with(b"age-encryption.org/v1\n"));
        assert!(!sealed.windows(16).any(|part| part == [7; 16]));

        let open = |identity: &age::x25519::Identity| {
            let decryptor = age::Decryptor::new(&sealed[..]).unwrap();
            let mut opened = Vec::new();
            let identities = [identity as &dyn age::Identity];
            let mut reader = decryptor.decrypt(identities.into_iter()).ok()?;
            reader.read_to_end(&mut opened).ok()?;
            Some(opened)
        };
        assert_eq!(open(&identity), Some(sample));
        assert_eq!(open(&age::x25519::Identity::generate()), None);
    }

    #[test]
    fn other_keys_are_refused() {
        let secret = age::x25519::Identity::generate().to_string();
        let secret = age::secrecy::ExposeSecret::expose_secret(&secret);
        for text in ["", "age1", "ssh-ed25519 AAAA", secret] {
            assert!(Recipient::parse(text).is_err(), "{text}");
        }
    }
}
