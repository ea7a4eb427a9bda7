//! Passkeys (WebAuthn level 3): a factor that cannot be phished, because it signs for the origin
//! that the browser sees.
//!
//! Narrowed to what every platform has: ES256 and Ed25519, no attestation, user verification
//! required, no other site around the page. Ceremonies last five minutes. The caller keeps their
//! state where nobody else writes it, and lets each challenge count once.
//!
//! Passkeys need a host name and HTTPS, or `localhost`; by IP address only one-time codes work.
//!
//! The library reads the system's clock for the end of a ceremony, which is the only clock in this
//! crate.

mod relying_party;
#[cfg(test)]
mod tests;

use std::fmt;

use webauthn_rp::bin::Decode as _;
use webauthn_rp::request::PublicKeyCredentialDescriptor;
use webauthn_rp::request::register::{USER_HANDLE_MAX_LEN, UserHandle};
use webauthn_rp::response::register::{CompressedPubKey, DynamicState, StaticState};
use webauthn_rp::response::{AuthTransports, CredentialId};
use webauthn_rp::{AuthenticatedCredential, DiscoverableAuthentication64};

use crate::random::{RandomError, random_bytes};

pub use relying_party::{PasskeyOwner, RelyingParty};

/// The most bytes of an answer: an attestation that nobody asked for may be in it.
const LONGEST_ANSWER: usize = 64 * 1024;

type StoredKey = CompressedPubKey<[u8; 32], [u8; 32], [u8; 48], Vec<u8>>;
type StoredCredential<'a> = AuthenticatedCredential<'a, 'a, USER_HANDLE_MAX_LEN, StoredKey>;

/// Why a passkey is not registered or does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasskeyError {
    /// No host name that browsers take.
    #[error("passkeys need an address such as https://blueteam.example.com, with a host name")]
    Origin,
    /// The owner's name is not allowed by the protocol.
    #[error("the name of the account cannot be shown by a passkey")]
    Owner,
    /// Not what a browser sends.
    #[error("the answer of the browser is damaged")]
    Answer,
    /// What was stored is damaged.
    #[error("the stored state of the passkey is damaged")]
    Stored,
    /// A ceremony did not begin.
    #[error("the options of the passkey are contradictory")]
    Options,
    /// The answer is not the one to this ceremony, or its signature is wrong. The reason is for the
    /// log, not for who answered.
    #[error("the passkey was refused: {0}")]
    Refused(String),
    /// The signature is right, and the counter did not go forward: somebody else has used the key.
    #[error("the passkey was copied: its counter did not go forward")]
    Copied,
}

/// What an account is called towards passkeys: 512 random bits, so that no passkey holds anything
/// about a person.
#[derive(Clone, PartialEq, Eq)]
pub struct PasskeyHandle([u8; USER_HANDLE_MAX_LEN]);

impl PasskeyHandle {
    /// Makes the handle of an account, once.
    pub fn generate() -> Result<Self, RandomError> {
        random_bytes().map(|bytes| Self(*bytes))
    }

    /// Takes a stored handle.
    pub const fn from_bytes(bytes: [u8; USER_HANDLE_MAX_LEN]) -> Self {
        Self(bytes)
    }

    /// Returns the handle, to be stored.
    pub const fn as_bytes(&self) -> &[u8; USER_HANDLE_MAX_LEN] {
        &self.0
    }

    fn to_user_handle(&self) -> Result<UserHandle<USER_HANDLE_MAX_LEN>, PasskeyError> {
        UserHandle::decode(self.0).map_err(|_| PasskeyError::Stored)
    }
}

impl fmt::Debug for PasskeyHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasskeyHandle(…)")
    }
}

/// A ceremony that has begun.
#[derive(Clone, Debug)]
pub struct Ceremony {
    /// What the answer must be to; different in each ceremony.
    pub challenge: [u8; 16],
    /// The JSON for `navigator.credentials`.
    pub options: String,
    /// Its state, which the caller keeps until the answer comes.
    pub state: Vec<u8>,
}

/// A registered passkey, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passkey {
    /// Its id, which is unique among all accounts.
    pub id: Vec<u8>,
    /// Whose it is.
    pub handle: PasskeyHandle,
    /// Its public key; never changes.
    pub public_key: Vec<u8>,
    /// Its counter and flags; change with use.
    pub state: [u8; 7],
    /// How browsers reach it: bits of the protocol's `transports`.
    pub transports: u8,
}

impl Passkey {
    /// Returns how often its authenticator says that it was used; 0 for one that does not count.
    pub const fn counter(&self) -> u32 {
        let [_, _, a, b, c, d, _] = self.state;
        u32::from_le_bytes([a, b, c, d])
    }

    /// Returns the descriptor that browsers get.
    fn to_descriptor(&self) -> Result<PublicKeyCredentialDescriptor<Vec<u8>>, PasskeyError> {
        Ok(PublicKeyCredentialDescriptor {
            id: CredentialId::decode(self.id.clone()).map_err(|_| PasskeyError::Stored)?,
            transports: AuthTransports::decode(self.transports)
                .map_err(|_| PasskeyError::Stored)?,
        })
    }

    /// Reads what was stored.
    fn to_credential<'a>(
        &'a self,
        owner: &'a UserHandle<USER_HANDLE_MAX_LEN>,
    ) -> Result<StoredCredential<'a>, PasskeyError> {
        let id = CredentialId::decode(self.id.as_slice()).map_err(|_| PasskeyError::Stored)?;
        let key = StaticState::decode(&self.public_key).map_err(|_| PasskeyError::Stored)?;
        let state = DynamicState::decode(self.state).map_err(|_| PasskeyError::Stored)?;
        AuthenticatedCredential::new(id, owner, key, state).map_err(|_| PasskeyError::Stored)
    }
}

/// The answer to a sign-in. Nothing of it is proved before [`RelyingParty::finish_sign_in`].
#[derive(Debug)]
pub struct Assertion(DiscoverableAuthentication64);

impl Assertion {
    /// Reads the JSON of a browser's answer.
    pub fn parse(answer: &[u8]) -> Result<Self, PasskeyError> {
        if answer.len() > LONGEST_ANSWER {
            return Err(PasskeyError::Answer);
        }

        DiscoverableAuthentication64::from_json_relaxed(answer)
            .map(Self)
            .map_err(|_| PasskeyError::Answer)
    }

    /// Returns the challenge that it claims to answer.
    pub fn challenge(&self) -> Result<[u8; 16], PasskeyError> {
        let challenge = self.0.challenge_relaxed();
        challenge
            .map(|challenge| challenge.0.to_le_bytes())
            .map_err(|_| PasskeyError::Answer)
    }

    /// Returns the id of the passkey that it claims to come from.
    pub fn passkey_id(&self) -> Vec<u8> {
        self.0.raw_id().as_ref().to_vec()
    }
}
