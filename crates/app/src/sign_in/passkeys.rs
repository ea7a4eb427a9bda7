//! Passkeys at the door: registered by a person who has just proven who they are, and then both
//! factors at once, because the authenticator has verified its person. `identity::passkey` decides
//! which answers count.
//!
//! The challenge of a ceremony and its state are in a sealed cookie of the browser that began it:
//! what strangers begin takes no memory here. A challenge counts for its purpose and its session
//! alone, for five minutes, and once: those that were answered rightly are remembered until they
//! would be over anyway.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use identity::passkey::{Assertion, Ceremony, PasskeyError, PasskeyOwner};
use identity::{Passkey, PasskeyHandle, RelyingParty, SessionState};
use secrecy::SecretString;
pub use store::passkeys::FactorRow;
use store::passkeys::{NewPasskey, PasskeyRow, Removal};
use store::sign_in::Credentials;
use uuid::Uuid;

use super::record::{Way, attempt_event};
use super::seal::SealKey;
use super::sessions::{person_actor, times_of};
use super::{Beginning, Client, Outcome, Person, SignIn, SignInError, SignedIn, person_of};

/// The most passkeys of an account.
pub const PASSKEYS_MAX: usize = 10;
/// The longest name of a passkey, in characters.
pub const NAME_MAX: usize = 100;
/// How long an answered challenge is remembered: a little longer than it would count.
const REMEMBERED_FOR: Duration = Duration::from_mins(6);
/// Octets of a challenge.
const CHALLENGE: usize = 16;

/// What a challenge is for. One for the one is of no use for the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// Signing in.
    SignIn,
    /// Proving once more who a session's person is.
    Proof(Uuid),
    /// Registering a passkey, in a session.
    Registration(Uuid),
}

impl Purpose {
    /// What its challenges are sealed for.
    fn to_bytes(self) -> Vec<u8> {
        let (name, session) = match self {
            Self::SignIn => ("passkey sign-in", None),
            Self::Proof(session) => ("passkey proof", Some(session)),
            Self::Registration(session) => ("passkey registration", Some(session)),
        };
        let mut bytes = name.as_bytes().to_vec();
        bytes.extend(session.iter().flat_map(|session| *session.as_bytes()));
        bytes
    }
}

/// Passkeys at the address that people type.
pub struct Passkeys {
    party: RelyingParty,
    /// Of this process alone: whoever began before a restart begins again.
    seal: SealKey,
    answered: Mutex<HashMap<[u8; CHALLENGE], Instant>>,
}

impl std::fmt::Debug for Passkeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Passkeys")
            .field("party", &self.party)
            .finish_non_exhaustive()
    }
}

/// What a browser needs for a ceremony.
#[derive(Debug)]
pub struct PasskeyBegun {
    /// The JSON for `navigator.credentials`.
    pub options: String,
    /// What the browser brings back.
    pub cookie: SecretString,
}

/// What a browser sends to sign in.
#[derive(Clone, Copy, Debug)]
pub struct PasskeyAnswer<'a> {
    /// The JSON that `navigator.credentials` gave.
    pub answer: &'a [u8],
    /// What it has kept since the ceremony began.
    pub cookie: Option<&'a str>,
    /// The version of the notice that its person accepts.
    pub notice: Option<&'a str>,
}

impl Passkeys {
    /// Returns what serves passkeys at the address that people type; none where browsers allow no
    /// passkeys: without a host name, or beyond this machine without TLS.
    pub fn from_config(loaded: &config::Loaded) -> anyhow::Result<Option<Self>> {
        Self::at(&crate::accounts::public_url(&loaded.config))
    }

    fn at(url: &str) -> anyhow::Result<Option<Self>> {
        // Browsers write an origin in one way: without a path, in lower case, without the default
        // port.
        let origin = reqwest::Url::parse(url).map(|url| url.origin().ascii_serialization());
        let Some(party) = origin
            .ok()
            .and_then(|origin| RelyingParty::new(&origin).ok())
        else {
            return Ok(None);
        };
        Ok(Some(Self {
            party,
            seal: SealKey::ephemeral()?,
            answered: Mutex::default(),
        }))
    }

    fn keep(&self, purpose: Purpose, ceremony: Ceremony) -> Result<PasskeyBegun, SignInError> {
        let mut kept = ceremony.challenge.to_vec();
        kept.extend(ceremony.state);
        let sealed = self.seal.seal_bytes(&purpose.to_bytes(), &kept)?;
        Ok(PasskeyBegun {
            options: ceremony.options,
            cookie: SecretString::from(URL_SAFE_NO_PAD.encode(sealed)),
        })
    }

    /// The challenge and the state of the ceremony that a browser has begun for this purpose.
    fn kept(
        &self,
        purpose: Purpose,
        cookie: Option<&str>,
    ) -> Result<([u8; CHALLENGE], Vec<u8>), SignInError> {
        let open = |cookie: &str| {
            let sealed = URL_SAFE_NO_PAD.decode(cookie).ok()?;
            let kept = self.seal.open_bytes(&purpose.to_bytes(), &sealed).ok()?;
            let (challenge, state) = kept.split_first_chunk::<CHALLENGE>()?;
            Some((*challenge, state.to_vec()))
        };
        cookie.and_then(open).ok_or(SignInError::PasskeyRefused)
    }

    /// Whether a challenge was answered rightly before.
    fn is_answered(&self, challenge: &[u8; CHALLENGE]) -> bool {
        let answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        answered.contains_key(challenge)
    }

    /// Uses up a challenge that was answered rightly; false if it was before. Only who has a passkey
    /// adds to what is remembered.
    fn use_up(&self, challenge: [u8; CHALLENGE], now: Instant) -> bool {
        let mut answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        answered.retain(|_, at| now.duration_since(*at) < REMEMBERED_FOR);
        answered.insert(challenge, now).is_none()
    }
}

/// A passkey as `identity` knows it. One whose row is damaged counts for nothing.
fn to_passkey(row: PasskeyRow) -> Option<Passkey> {
    Some(Passkey {
        id: row.credential_id,
        handle: PasskeyHandle::from_bytes(row.user_handle.try_into().ok()?),
        public_key: row.public_key,
        state: row.state.try_into().ok()?,
        transports: row.transports.try_into().ok()?,
    })
}

/// A name that a person gives a passkey.
fn check_name(name: &str) -> Result<&str, SignInError> {
    let name = name.trim();
    let is_name =
        (1..=NAME_MAX).contains(&name.chars().count()) && !name.chars().any(char::is_control);
    is_name.then_some(name).ok_or(SignInError::PasskeyName)
}

/// Under what wrong answers are counted beside their network: they name nobody.
fn at_the_door(client: &Client) -> String {
    format!("passkey from {}", client.address)
}

impl SignIn {
    /// Whether people can have passkeys here.
    pub fn has_passkeys(&self) -> bool {
        self.settings.passkeys.is_some()
    }

    fn passkeys(&self) -> Result<&Arc<Passkeys>, SignInError> {
        self.settings
            .passkeys
            .as_ref()
            .ok_or(SignInError::NoPasskeys)
    }

    /// Begins a sign-in by a passkey, of whoever has one.
    pub fn begin_passkey_sign_in(&self) -> Result<PasskeyBegun, SignInError> {
        let passkeys = self.passkeys()?;
        let ceremony = passkeys.party.start_sign_in().map_err(unable)?;
        passkeys.keep(Purpose::SignIn, ceremony)
    }

    /// Lets the person in whose passkey has answered.
    pub async fn finish_passkey_sign_in(
        &self,
        answer: &PasskeyAnswer<'_>,
        client: &Client,
        current: Option<&Person>,
    ) -> Outcome<SignedIn> {
        let mut username = None;
        let result = async {
            let notice = self.accepted(answer.notice)?;
            let PasskeyAnswer { answer, cookie, .. } = *answer;
            let credentials = self
                .prove_by_passkey(Purpose::SignIn, answer, cookie, client, &mut username)
                .await?;
            let beginning = Beginning {
                factors: &by_passkey(),
                is_fresh: true,
                notice,
                current,
            };
            self.begin_session(&credentials, client, beginning).await
        }
        .await;
        let id = result.as_ref().map(|signed| signed.person.user_id);
        let event = attempt_event(Way::Passkey, username.as_deref(), client, id);
        self.outcome(result, event, username.as_deref()).await
    }

    /// Begins to prove once more, by a passkey, who a session's person is.
    pub async fn begin_passkey_proof(&self, token: &str) -> Result<PasskeyBegun, SignInError> {
        let passkeys = self.passkeys()?;
        let facts = self.find_session(token).await?;
        let ceremony = passkeys.party.start_sign_in().map_err(unable)?;
        passkeys.keep(Purpose::Proof(facts.session_id), ceremony)
    }

    /// Proves once more who a session's person is: as [`SignIn::prove_again`], by a passkey.
    pub async fn finish_passkey_proof(
        &self,
        token: &str,
        answer: &[u8],
        cookie: Option<&str>,
        client: &Client,
    ) -> Outcome<SignedIn> {
        let mut username = None;
        let result = async {
            let facts = self.find_session(token).await?;
            let purpose = Purpose::Proof(facts.session_id);
            let credentials = self
                .prove_by_passkey(purpose, answer, cookie, client, &mut username)
                .await?;
            // Another person's passkey proves who they are, and not whose session it is.
            if credentials.user_id != facts.user_id {
                return Err(SignInError::PasskeyRefused);
            }
            let state = times_of(&facts).state(&self.settings.sessions, self.clock.now());
            if matches!(state, SessionState::Ended(_)) {
                return Err(SignInError::NoSession);
            }
            let current = person_of(&credentials, facts.session_id);
            let beginning = Beginning {
                factors: &by_passkey(),
                is_fresh: true,
                notice: None,
                current: Some(&current),
            };
            self.begin_session(&credentials, client, beginning).await
        }
        .await;
        let event = result
            .as_ref()
            .err()
            .and_then(|error| attempt_event(Way::Passkey, username.as_deref(), client, Err(error)));
        self.outcome(result, event, username.as_deref()).await
    }

    /// The account whose passkey has answered, if it may be used. `username`: its name, once the
    /// signature says so; before, anybody could name anybody.
    async fn prove_by_passkey(
        &self,
        purpose: Purpose,
        answer: &[u8],
        cookie: Option<&str>,
        client: &Client,
        username: &mut Option<String>,
    ) -> Result<Credentials, SignInError> {
        let passkeys = self.passkeys()?;
        self.attempts
            .begin(client.address, &at_the_door(client), Instant::now())
            .map_err(SignInError::TooMany)?;
        let (challenge, state) = passkeys.kept(purpose, cookie)?;
        // Before the counter is looked at: an answer that is sent twice is no copy of a passkey.
        if passkeys.is_answered(&challenge) {
            return Err(SignInError::PasskeyRefused);
        }
        let assertion = Assertion::parse(answer).map_err(|_| SignInError::PasskeyRefused)?;
        let id = assertion.passkey_id();
        let found = {
            let mut conn = self.connect().await?;
            store::passkeys::of_credential(&mut conn, &id).await?
        };
        let (factor_id, user_id) = found
            .as_ref()
            .map(|row| (row.factor_id, row.user_id))
            .ok_or(SignInError::PasskeyRefused)?;
        let before = found
            .and_then(to_passkey)
            .ok_or(SignInError::PasskeyRefused)?;

        let checked = passkeys.party.finish_sign_in(&state, &assertion, &before);
        let refused = match &checked {
            Ok(_) => None,
            Err(PasskeyError::Copied) => Some(SignInError::PasskeyCopied),
            Err(error) => {
                tracing::debug!(address = %client.address, "a passkey is not let in: {error}");
                return Err(SignInError::PasskeyRefused);
            }
        };
        // From here on the key itself has signed.
        let mut conn = self.connect().await?;
        let credentials = store::sign_in::credentials_of(&mut conn, user_id)
            .await?
            .ok_or(SignInError::PasskeyRefused)?;
        *username = Some(credentials.username.clone());
        if let Some(refused) = refused {
            tracing::warn!(
                username = %model::text::sanitize(&credentials.username),
                address = %client.address,
                "a passkey is used by two: its counter did not go forward; remove it"
            );
            return Err(refused);
        }
        let after = checked.map_err(|_| SignInError::PasskeyRefused)?;
        if !passkeys.use_up(challenge, Instant::now()) {
            return Err(SignInError::PasskeyRefused);
        }
        // Whoever is known elsewhere proves there who they are, and leaves there.
        if !credentials.is_usable || credentials.is_locked || credentials.is_external {
            return Err(SignInError::PasskeyRefused);
        }
        let counter = i64::from(after.counter());
        if !store::passkeys::note_use(&mut conn, factor_id, &before.state, &after.state, counter)
            .await?
        {
            return Err(SignInError::PasskeyRefused);
        }
        drop(conn);
        if self.must_change(&credentials).await? {
            return Err(SignInError::PasswordChangeNeeded);
        }
        self.attempts
            .succeeded(client.address, &at_the_door(client));
        Ok(credentials)
    }

    /// The account of a person who may set a passkey up: they have just proven who they are.
    async fn owner_of_passkeys(&self, person: &Person) -> Result<Credentials, SignInError> {
        if !person.stepped_up {
            return Err(SignInError::ProofNeeded);
        }
        let mut conn = self.connect().await?;
        let found = store::sign_in::credentials_of(&mut conn, person.user_id).await?;
        let credentials = found.ok_or(SignInError::NoSession)?;
        if credentials.is_external {
            return Err(SignInError::PasskeyElsewhere);
        }
        Ok(credentials)
    }

    /// Begins to register a passkey of a person.
    pub async fn begin_passkey_registration(
        &self,
        person: &Person,
    ) -> Result<PasskeyBegun, SignInError> {
        let passkeys = self.passkeys()?;
        let credentials = self.owner_of_passkeys(person).await?;
        let rows = {
            let mut conn = self.connect().await?;
            store::passkeys::of_account(&mut conn, person.user_id).await?
        };
        if rows.len() >= PASSKEYS_MAX {
            return Err(SignInError::TooManyPasskeys);
        }

        let existing: Vec<Passkey> = rows.into_iter().filter_map(to_passkey).collect();
        let handle = match existing.first() {
            Some(passkey) => passkey.handle.clone(),
            None => PasskeyHandle::generate().map_err(anyhow::Error::new)?,
        };
        let owner = PasskeyOwner {
            handle: &handle,
            username: &credentials.username,
            full_name: credentials.full_name.as_deref().unwrap_or_default(),
        };
        let ceremony = passkeys.party.start_registration(&owner, &existing);
        let purpose = Purpose::Registration(person.session_id);
        passkeys.keep(purpose, ceremony.map_err(unable)?)
    }

    /// Registers the passkey that has answered. Other sessions of its person end.
    pub async fn finish_passkey_registration(
        &self,
        person: &Person,
        name: &str,
        answer: &[u8],
        cookie: Option<&str>,
        client: &Client,
    ) -> Result<FactorRow, SignInError> {
        let passkeys = self.passkeys()?;
        let name = check_name(name)?;
        self.owner_of_passkeys(person).await?;
        let purpose = Purpose::Registration(person.session_id);
        let (challenge, state) = passkeys.kept(purpose, cookie)?;
        let passkey = passkeys
            .party
            .finish_registration(&state, answer)
            .map_err(|error| {
                tracing::debug!(address = %client.address, "a passkey is not registered: {error}");
                SignInError::PasskeyRefused
            })?;
        if !passkeys.use_up(challenge, Instant::now()) {
            return Err(SignInError::PasskeyRefused);
        }

        let new = NewPasskey {
            user_id: person.user_id,
            name,
            credential_id: &passkey.id,
            public_key: &passkey.public_key,
            user_handle: passkey.handle.as_bytes(),
            state: &passkey.state,
            counter: i64::from(passkey.counter()),
            transports: passkey.transports.into(),
        };
        let actor = person_actor(person, client);
        let mut conn = self.connect().await?;
        store::passkeys::add(&mut conn, &actor, person.session_id, &new)
            .await?
            .ok_or(SignInError::PasskeyTaken)
    }

    /// The second factors of a person.
    pub async fn own_factors(&self, person: &Person) -> Result<Vec<FactorRow>, SignInError> {
        let mut conn = self.connect().await?;
        Ok(store::passkeys::factors(&mut conn, person.user_id).await?)
    }

    /// Gives a passkey of a person another name.
    pub async fn rename_passkey(
        &self,
        person: &Person,
        factor_id: Uuid,
        name: &str,
        client: &Client,
    ) -> Result<(), SignInError> {
        let name = check_name(name)?;
        let actor = person_actor(person, client);
        let mut conn = self.connect().await?;
        let user_id = person.user_id;
        if store::passkeys::rename(&mut conn, &actor, user_id, factor_id, name).await? {
            return Ok(());
        }
        Err(SignInError::NoSuchPasskey)
    }

    /// Removes a passkey of a person who has just proven who they are, but not the last of their
    /// second factors. Their other sessions end.
    pub async fn remove_passkey(
        &self,
        person: &Person,
        factor_id: Uuid,
        client: &Client,
    ) -> Result<(), SignInError> {
        if !person.stepped_up {
            return Err(SignInError::ProofNeeded);
        }
        let actor = person_actor(person, client);
        let mut conn = self.connect().await?;
        let (user_id, session_id) = (person.user_id, person.session_id);
        match store::passkeys::remove(&mut conn, &actor, user_id, session_id, factor_id).await? {
            Removal::Done => Ok(()),
            Removal::NoSuchPasskey => Err(SignInError::NoSuchPasskey),
            Removal::LastFactor => Err(SignInError::LastFactor),
        }
    }
}

/// What a session says of how it began.
fn by_passkey() -> [String; 1] {
    ["passkey".to_owned()]
}

/// A ceremony that cannot begin.
fn unable(error: PasskeyError) -> SignInError {
    match error {
        PasskeyError::Owner => SignInError::PasskeyName,
        other => SignInError::Failed(anyhow::Error::new(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passkeys() -> Passkeys {
        let served = Passkeys::at("https://Blueteam.Example.com:443/console").unwrap();
        served.expect("it has a name")
    }

    #[test]
    fn addresses_have_passkeys_where_browsers_allow_them() {
        let origin = format!("{:?}", passkeys());
        assert!(
            origin.contains("\"https://blueteam.example.com\""),
            "{origin}"
        );
        for url in ["http://localhost:8514", "https://blueteam.lan:8514"] {
            assert!(Passkeys::at(url).unwrap().is_some(), "{url}");
        }
        for url in [
            "https://192.0.2.1:8514",
            "http://blueteam.lan",
            "http://127.0.0.1:8514",
            "",
        ] {
            assert!(Passkeys::at(url).unwrap().is_none(), "{url}");
        }
    }

    #[test]
    fn a_challenge_counts_for_its_purpose_once() {
        let passkeys = passkeys();
        let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let purposes = [
            Purpose::SignIn,
            Purpose::Proof(one),
            Purpose::Proof(two),
            Purpose::Registration(one),
        ];
        for made in purposes {
            let ceremony = passkeys.party.start_sign_in().unwrap();
            let challenge = ceremony.challenge;
            let begun = passkeys.keep(made, ceremony).unwrap();
            let cookie = secrecy::ExposeSecret::expose_secret(&begun.cookie).to_owned();
            for used in purposes {
                let kept = passkeys.kept(used, Some(&cookie)).ok();
                let found = kept.map(|(challenge, _)| challenge);
                assert_eq!(
                    found,
                    (made == used).then_some(challenge),
                    "{made:?} {used:?}"
                );
            }
            let now = Instant::now();
            assert!(!passkeys.is_answered(&challenge));
            assert!(passkeys.use_up(challenge, now) && !passkeys.use_up(challenge, now));
            assert!(passkeys.is_answered(&challenge));
            // Another process, or one that was started again.
            assert!(self::passkeys().kept(made, Some(&cookie)).is_err());
        }
        assert!(passkeys.kept(Purpose::SignIn, None).is_err());

        // What is over anyway is forgotten.
        let later = Instant::now() + REMEMBERED_FOR;
        assert!(passkeys.use_up([0; CHALLENGE], later));
        assert_eq!(passkeys.answered.lock().unwrap().len(), 1);
    }
}
