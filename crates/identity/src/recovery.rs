//! Recovery codes: ten codes to be printed, each good for one sign-in in place of the second
//! factor.
//!
//! A code has 120 random bits, so that a plain SHA-256 protects it (ASVS 6.5.2 asks for 112). It is
//! written in Crockford's base 32, which has no letters that look like others, and read with any
//! case, blanks and dashes.

use std::fmt;

use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};

use crate::random::{RandomError, random_bytes};

/// Codes of a set.
pub const CODES: usize = 10;
/// Characters of a code, five bits each, without dashes.
const LENGTH: usize = 24;
/// Characters between dashes.
const GROUP: usize = 6;
/// Crockford's alphabet, in lower case: without i, l, o and u.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// The most bytes that are looked at: a code with a blank after each character, and some.
const LONGEST_INPUT: usize = 64;

/// The text is not a recovery code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a recovery code has 24 letters and digits, such as 7k3m2q-9xw4tz-0c5hn8-bvd61r")]
pub struct RecoveryCodeError;

/// A recovery code, to be shown once.
pub struct RecoveryCode(SecretString);

impl RecoveryCode {
    /// Makes a set of new codes.
    pub fn generate_set() -> Result<Vec<Self>, RandomError> {
        (0..CODES).map(|_| Self::generate()).collect()
    }

    fn generate() -> Result<Self, RandomError> {
        let random = random_bytes::<LENGTH>()?;
        // The low five bits of a random byte are a random character.
        let text: String = random
            .iter()
            .map(|byte| char::from(ALPHABET[usize::from(byte & 31)]))
            .collect();
        Ok(Self(text.into()))
    }

    /// Reads a code as a person types it: in any case, with blanks and dashes anywhere, with O for
    /// 0 and I or L for 1.
    pub fn parse(text: &str) -> Result<Self, RecoveryCodeError> {
        if text.len() > LONGEST_INPUT {
            return Err(RecoveryCodeError);
        }

        let mut code = String::with_capacity(LENGTH);
        for c in text.chars().filter(|c| !matches!(c, ' ' | '\t' | '-')) {
            code.push(match c.to_ascii_lowercase() {
                'o' => '0',
                'i' | 'l' => '1',
                c if c.is_ascii() && ALPHABET.contains(&(c as u8)) => c,
                _ => return Err(RecoveryCodeError),
            });
        }

        if code.len() == LENGTH {
            Ok(Self(code.into()))
        } else {
            Err(RecoveryCodeError)
        }
    }

    /// Returns the code in groups, to be shown.
    pub fn expose(&self) -> String {
        let code = self.0.expose_secret();
        let mut text = String::with_capacity(LENGTH + LENGTH / GROUP);
        for (i, c) in code.chars().enumerate() {
            if i > 0 && i % GROUP == 0 {
                text.push('-');
            }
            text.push(c);
        }

        text
    }

    /// Returns its SHA-256, which is what is stored.
    pub fn hash(&self) -> RecoveryHash {
        let mut hash = Sha256::new();
        // Of its own domain, so that no hash of another kind of secret counts as one of a code.
        hash.update(b"blueteam recovery code\0");
        hash.update(self.0.expose_secret().as_bytes());
        RecoveryHash(hash.finalize().into())
    }

    /// Returns the index of the code among those not used yet, comparing with all of them in
    /// constant time. Whoever gets an index removes that hash.
    pub fn position_in(&self, unused: &[RecoveryHash]) -> Option<usize> {
        let hash = self.hash();
        let (mut found, mut at) = (Choice::from(0), 0_u64);
        for (i, candidate) in unused.iter().enumerate() {
            let same = candidate.0.ct_eq(&hash.0);
            at.conditional_assign(&(i as u64), same);
            found |= same;
        }

        bool::from(found).then_some(at as usize)
    }
}

impl fmt::Debug for RecoveryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryCode(…)")
    }
}

/// The SHA-256 of a recovery code.
#[derive(Clone, Copy)]
pub struct RecoveryHash([u8; 32]);

impl RecoveryHash {
    /// Takes a stored hash.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the hash, to be stored.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for RecoveryHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryHash(…)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_set_holds_ten_codes_that_differ() {
        let codes = RecoveryCode::generate_set().unwrap();
        let hashes: Vec<RecoveryHash> = codes.iter().map(RecoveryCode::hash).collect();

        assert_eq!(codes.len(), 10);
        for (i, code) in codes.iter().enumerate() {
            assert_eq!(code.expose().len(), 27);
            assert_eq!(code.position_in(&hashes), Some(i));
        }

        let other = RecoveryCode::generate().unwrap();
        assert_eq!(other.position_in(&hashes), None);
        assert_eq!(other.position_in(&[]), None);
    }

    #[test]
    fn a_used_code_does_not_count_again() {
        let codes = RecoveryCode::generate_set().unwrap();
        let mut unused: Vec<RecoveryHash> = codes.iter().map(RecoveryCode::hash).collect();
        let at = codes[3].position_in(&unused).unwrap();
        unused.remove(at);

        assert_eq!(codes[3].position_in(&unused), None);
        assert_eq!(codes[4].position_in(&unused), Some(3));
    }

    #[test]
    fn codes_are_read_as_people_type_them() {
        let code = RecoveryCode::parse("10000k-9xw4tz-0c5hn8-bvd61r").unwrap();
        for same in [
            "10000K9XW4TZ0C5HN8BVD61R",
            " lOo0Ok 9xw4tz 0c5hn8 bvd6Ir ",
            "1-0-0-0-0-k-9-x-w-4-t-z-0-c-5-h-n-8-b-v-d-6-1-r",
        ] {
            let parsed = RecoveryCode::parse(same).unwrap();
            assert_eq!(parsed.position_in(&[code.hash()]), Some(0), "{same}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for bad in [
            "",
            "10000k",
            "u0000k-9xw4tz-0c5hn8-bvd61r",
            "10000k-9xw4tz-0c5hn8-bvd61r0",
            "１0000k-9xw4tz-0c5hn8-bvd61r",
            "10000k-9xw4tz-0c5hn8-bvd61r\0",
            &"-".repeat(1 << 20),
        ] {
            assert!(RecoveryCode::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let code = RecoveryCode::generate().unwrap();
        assert_eq!(
            format!("{code:?} {:?}", code.hash()),
            "RecoveryCode(…) RecoveryHash(…)"
        );
    }

    proptest! {
        #[test]
        fn shown_codes_are_read_again(bytes in "[0-9a-hjkmnp-tv-z]{24}") {
            let code = RecoveryCode::parse(&bytes).unwrap();
            let again = RecoveryCode::parse(&code.expose().to_uppercase()).unwrap();
            prop_assert_eq!(again.position_in(&[code.hash()]), Some(0));
        }

        #[test]
        fn any_text_is_read_without_panic(text in ".{0,70}") {
            let _ = RecoveryCode::parse(&text);
        }
    }
}
