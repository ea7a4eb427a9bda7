//! The two ceremonies.

use webauthn_rp::bin::{Decode as _, Encode as _};
use webauthn_rp::request::auth::AuthenticationVerificationOptions;
use webauthn_rp::request::register::{
    CoseAlgorithmIdentifier, CoseAlgorithmIdentifiers, CredProtect, Nickname,
    PublicKeyCredentialUserEntity, RegistrationVerificationOptions, USER_HANDLE_MAX_LEN, Username,
};
use webauthn_rp::request::{AsciiDomain, ExtensionInfo, RpId, TimedCeremony as _};
use webauthn_rp::response::auth::error::AuthCeremonyErr;
use webauthn_rp::{
    DiscoverableAuthenticationServerState, DiscoverableCredentialRequestOptions,
    PublicKeyCredentialCreationOptions, Registration, RegistrationServerState,
};

use super::{Assertion, Ceremony, LONGEST_ANSWER, Passkey, PasskeyError, PasskeyHandle};

/// Whose passkey is registered.
#[derive(Clone, Copy, Debug)]
pub struct PasskeyOwner<'a> {
    /// The account's handle.
    pub handle: &'a PasskeyHandle,
    /// The account's name, which the authenticator shows.
    pub username: &'a str,
    /// The owner's name.
    pub full_name: &'a str,
}

/// blueteam towards browsers, at the address that people type.
#[derive(Debug)]
pub struct RelyingParty {
    id: RpId,
    origin: String,
}

impl RelyingParty {
    /// Creates the relying party of an origin, such as `https://blueteam.example.com:8514`. Origins
    /// compare byte by byte, so it is written as browsers do: in lower case, without a path, and
    /// without the default port.
    pub fn new(origin: &str) -> Result<Self, PasskeyError> {
        let host = host_of(origin).ok_or(PasskeyError::Origin)?;
        let id = AsciiDomain::try_from(host.to_owned()).map_err(|_| PasskeyError::Origin)?;
        Ok(Self {
            id: RpId::Domain(id),
            origin: origin.to_owned(),
        })
    }

    /// Begins to register a passkey, for a person who is signed in and stepped up. Authenticators
    /// that hold one of the `existing` ones say so.
    pub fn start_registration(
        &self,
        owner: &PasskeyOwner<'_>,
        existing: &[Passkey],
    ) -> Result<Ceremony, PasskeyError> {
        let handle = owner.handle.to_user_handle()?;
        let user = PublicKeyCredentialUserEntity {
            name: Username::try_from(owner.username).map_err(|_| PasskeyError::Owner)?,
            id: &handle,
            // A name that the protocol does not allow is left out.
            display_name: Nickname::try_from(owner.full_name).ok(),
        };
        let excluded = existing
            .iter()
            .map(Passkey::to_descriptor)
            .collect::<Result<_, _>>()?;

        let mut options = PublicKeyCredentialCreationOptions::passkey(&self.id, user, excluded);
        options.pub_key_cred_params = CoseAlgorithmIdentifiers::default()
            .remove(CoseAlgorithmIdentifier::Es384)
            .remove(CoseAlgorithmIdentifier::Rs256);
        // Asked for, and not insisted on: browsers refuse authenticators without this extension, such as
        // many that are built in. That the person was verified is checked at each sign-in anyway.
        options.extensions.cred_protect =
            CredProtect::UserVerificationRequired(ExtensionInfo::AllowDontEnforceValue);

        let (state, options) = options
            .start_ceremony()
            .map_err(|_| PasskeyError::Options)?;
        Ok(Ceremony {
            challenge: state.sent_challenge().0.to_le_bytes(),
            options: serde_json::to_string(&options).map_err(|_| PasskeyError::Options)?,
            state: state.encode().map_err(|_| PasskeyError::Options)?,
        })
    }

    /// Checks the answer to a registration. The caller refuses an id that is registered already, of
    /// whatever account.
    pub fn finish_registration(
        &self,
        state: &[u8],
        answer: &[u8],
    ) -> Result<Passkey, PasskeyError> {
        if answer.len() > LONGEST_ANSWER {
            return Err(PasskeyError::Answer);
        }

        let state = RegistrationServerState::<USER_HANDLE_MAX_LEN>::decode(state)
            .map_err(|_| PasskeyError::Stored)?;
        let answer = Registration::from_json_relaxed(answer).map_err(|_| PasskeyError::Answer)?;
        let options = RegistrationVerificationOptions::<&str, &str> {
            allowed_origins: &[&self.origin],
            allowed_top_origins: None,
            ..RegistrationVerificationOptions::default()
        };

        let credential = state
            .verify(&self.id, &answer, &options)
            .map_err(|why| PasskeyError::Refused(why.to_string()))?;
        let Ok(public_key) = credential.static_state().encode();
        let Ok(state) = credential.dynamic_state().encode();
        let Ok(transports) = credential.transports().encode();
        let Ok(handle) = credential.user_id().encode();
        Ok(Passkey {
            id: credential.id().as_ref().to_vec(),
            handle: PasskeyHandle::from_bytes(handle),
            public_key,
            state,
            transports,
        })
    }

    /// Begins a sign-in, of whoever has a passkey.
    pub fn start_sign_in(&self) -> Result<Ceremony, PasskeyError> {
        let (state, options) = DiscoverableCredentialRequestOptions::passkey(&self.id)
            .start_ceremony()
            .map_err(|_| PasskeyError::Options)?;
        Ok(Ceremony {
            challenge: state.sent_challenge().0.to_le_bytes(),
            options: serde_json::to_string(&options).map_err(|_| PasskeyError::Options)?,
            state: state.encode().map_err(|_| PasskeyError::Options)?,
        })
    }

    /// Checks the answer to a sign-in against the stored passkey of its id; returns the passkey as
    /// it is to be stored. A counter that does not go forward is refused: the passkey was copied.
    pub fn finish_sign_in(
        &self,
        state: &[u8],
        assertion: &Assertion,
        passkey: &Passkey,
    ) -> Result<Passkey, PasskeyError> {
        let state = DiscoverableAuthenticationServerState::decode(state)
            .map_err(|_| PasskeyError::Stored)?;
        let owner = passkey.handle.to_user_handle()?;
        let mut credential = passkey.to_credential(&owner)?;
        let options = AuthenticationVerificationOptions::<&str, &str> {
            allowed_origins: &[&self.origin],
            allowed_top_origins: None,
            ..AuthenticationVerificationOptions::default()
        };

        state
            .verify(&self.id, &assertion.0, &mut credential, &options)
            .map_err(|why| match why {
                // The library looks at the counter last.
                AuthCeremonyErr::SignatureCounter => PasskeyError::Copied,
                other => PasskeyError::Refused(other.to_string()),
            })?;
        let Ok(state) = credential.dynamic_state().encode();
        Ok(Passkey {
            state,
            ..passkey.clone()
        })
    }
}

/// Returns the host of an origin that browsers allow passkeys for.
fn host_of(origin: &str) -> Option<&str> {
    let (scheme, authority) = origin.split_once("://")?;
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };

    let is_secure = scheme == "https" || (scheme == "http" && host == "localhost");
    let is_default = matches!(
        (scheme, port),
        ("https", Some("443")) | ("http", Some("80"))
    );
    let is_port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|n| n.to_string() == port));
    let is_name = host
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-'));
    // The last label of an IP address is a number, and of a name never.
    let is_address = host.rsplit('.').next()?.bytes().all(|b| b.is_ascii_digit());

    (is_secure && is_port && !is_default && is_name && !is_address).then_some(host)
}
