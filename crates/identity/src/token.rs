//! Random secrets that stand for a session, an invitation or a reset: 256 random bits behind a
//! prefix that says what they are, such as `bt_session_…`.
//!
//! They look like the API keys (`bt_…`), so that scanners for leaked secrets and blueteam's own
//! masking know them. Only the SHA-256 of the whole text is stored: the text has 256 bits of
//! entropy (ASVS 7.2.3 asks for 128), so that a plain hash cannot be searched. The prefix is hashed
//! with the rest, so that a secret of one kind never counts as one of another. A UUID is never a
//! secret (ASVS 11.5.1).

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::random::{RandomError, random_bytes};

/// Length of the random part: 32 bytes as base64url without padding.
const RANDOM_LENGTH: usize = 43;

/// What a token stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenKind {
    /// A person's session; lives in a cookie.
    Session,
    /// The one-time link by which an invited person sets up an account.
    Enrollment,
    /// The one-time link that lets a person back in who lost password or factors.
    Recovery,
    /// A token in each form of a page, against requests forged by other sites.
    Form,
    /// The key with which a person's programs use the API.
    ApiKey,
}

impl TokenKind {
    /// All kinds.
    pub const ALL: [Self; 5] = [
        Self::Session,
        Self::Enrollment,
        Self::Recovery,
        Self::Form,
        Self::ApiKey,
    ];

    /// Returns what each token of this kind begins with.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Session => "bt_session_",
            Self::Enrollment => "bt_enroll_",
            Self::Recovery => "bt_recover_",
            Self::Form => "bt_form_",
            Self::ApiKey => "bt_api_",
        }
    }
}

/// Why a text is not a token of the expected kind. Says nothing about whether such a token exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It begins with something else.
    #[error("the token must begin with `{0}`")]
    Prefix(&'static str),
    /// The rest is not 256 bits as base64url.
    #[error("the token is incomplete or damaged: copy it whole")]
    Shape,
}

/// A secret as its bearer holds it. To be shown or set as a cookie once, and then forgotten.
pub struct Token {
    kind: TokenKind,
    text: SecretString,
}

impl Token {
    /// Makes a token from 256 random bits.
    pub fn generate(kind: TokenKind) -> Result<Self, RandomError> {
        let random = random_bytes::<32>()?;
        let mut text = String::with_capacity(kind.prefix().len() + RANDOM_LENGTH);
        text.push_str(kind.prefix());
        BASE64_URL_SAFE_NO_PAD.encode_string(random.as_slice(), &mut text);

        Ok(Self {
            kind,
            text: text.into(),
        })
    }

    /// Reads a token of the expected kind. Exactly one text stands for a token: no blanks, no
    /// padding, no other bits in the last character.
    pub fn parse(kind: TokenKind, text: &str) -> Result<Self, TokenError> {
        let random = text
            .strip_prefix(kind.prefix())
            .ok_or(TokenError::Prefix(kind.prefix()))?;
        if random.len() != RANDOM_LENGTH {
            return Err(TokenError::Shape);
        }

        let mut bytes = zeroize::Zeroizing::new([0; 33]);
        let decoded = BASE64_URL_SAFE_NO_PAD.decode_slice(random, bytes.as_mut());
        if decoded != Ok(32) {
            return Err(TokenError::Shape);
        }

        Ok(Self {
            kind,
            text: text.into(),
        })
    }

    /// Returns what it stands for.
    pub const fn kind(&self) -> TokenKind {
        self.kind
    }

    /// Returns the text itself, for the cookie or link.
    pub fn expose(&self) -> &str {
        self.text.expose_secret()
    }

    /// Returns its SHA-256, which is what is stored.
    pub fn hash(&self) -> TokenHash {
        TokenHash(Sha256::digest(self.expose().as_bytes()).into())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({}…)", self.kind.prefix())
    }
}

/// The SHA-256 of a token.
#[derive(Clone, Copy)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// Takes a stored hash.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the hash, to be stored or looked up.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Compares with a token in constant time.
    pub fn matches(&self, token: &Token) -> bool {
        self == &token.hash()
    }
}

impl PartialEq for TokenHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for TokenHash {}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(…)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn generated_tokens_parse_match_and_differ() {
        for kind in TokenKind::ALL {
            let token = Token::generate(kind).unwrap();
            let again = Token::parse(kind, token.expose()).unwrap();
            assert!(token.hash().matches(&again));
            assert!(!token.hash().matches(&Token::generate(kind).unwrap()));
            assert_eq!(
                TokenHash::from_bytes(*token.hash().as_bytes()),
                token.hash()
            );
        }
    }

    #[test]
    fn a_token_of_one_kind_is_not_one_of_another() {
        for kind in TokenKind::ALL {
            let token = Token::generate(kind).unwrap();
            for other in TokenKind::ALL.into_iter().filter(|other| *other != kind) {
                assert!(Token::parse(other, token.expose()).is_err());

                // The same random bits under another prefix hash to something else.
                let random = &token.expose()[kind.prefix().len()..];
                let moved = Token::parse(other, &format!("{}{random}", other.prefix())).unwrap();
                assert!(!token.hash().matches(&moved));
            }
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let token = Token::generate(TokenKind::Session).unwrap();
        assert_eq!(format!("{token:?}"), "Token(bt_session_…)");
        assert_eq!(format!("{:?}", token.hash()), "TokenHash(…)");
    }

    #[test]
    fn damaged_tokens_are_refused() {
        let good = Token::generate(TokenKind::Session).unwrap();
        let good = good.expose();
        let mut other_tail = good.to_owned();
        // The last character carries four bits; its other two must be zero.
        let last = other_tail.pop().unwrap();
        other_tail.push(char::from(last as u8 + 1));

        for bad in [
            "",
            "bt_session_",
            "bt_session",
            &good[..good.len() - 1],
            &format!("{good}A"),
            &format!("{good}="),
            &format!(" {good}"),
            &format!("{good}\n"),
            &good.replace("bt_session_", "BT_SESSION_"),
            &good.replace("bt_session_", "bt_"),
            &other_tail,
            &"bt_session_".repeat(100_000),
        ] {
            assert!(Token::parse(TokenKind::Session, bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn one_text_per_token(text in "bt_session_[A-Za-z0-9_-]{43}") {
            if let Ok(token) = Token::parse(TokenKind::Session, &text) {
                prop_assert_eq!(token.expose(), &text);
                let bytes = BASE64_URL_SAFE_NO_PAD.decode(&text[11..]).unwrap();
                prop_assert_eq!(BASE64_URL_SAFE_NO_PAD.encode(bytes), &text[11..]);
            }
        }

        #[test]
        fn any_text_is_read_without_panic(text in ".{0,80}") {
            for kind in TokenKind::ALL {
                let _ = Token::parse(kind, &text);
            }
        }
    }
}
