//! Signing people in: the password and a second factor, sessions, and the links by which accounts
//! are set up.
//!
//! Whoever is wrong learns nothing from the answer or its time: an unknown name, a wrong password,
//! a locked and a disabled account are one answer, after one hash (ASVS 6.3.8). Each attempt is an
//! audit event of blueteam's own, so that its rules watch its own door.

mod attempts;
mod directory;
mod enrollment;
mod hash_queue;
mod notice;
mod oidc;
mod passkeys;
mod record;
pub(crate) mod seal;
mod sessions;

use std::net::IpAddr;
use std::ops::DerefMut;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use config::StateDir;
pub use identity::RecoveryCode;
pub use identity::SessionSettings;
pub use identity::oidc::Callback;
use identity::oidc::OidcError;
use identity::password::PasswordError;
use identity::policy::{Candidate, PasswordPolicy, Weakness};
use identity::{Blocklist, Cost, PasswordHash, PasswordHasher, Token, TokenKind, TotpStep};
use model::{Actor, AuditRecord, Clock, Origin, TenantId, Timestamp, Via};
use secrecy::SecretString;
use store::sign_in::{Credentials, NewPassword, NewSession};
use store::{PgConnection, StoreError};
use uuid::Uuid;

use crate::breached;
use crate::database::Pool;
use crate::password_policy;
use crate::person_keys::PersonKeys;
use attempts::Attempts;
pub(crate) use attempts::holder_of;
pub(crate) use directory::issuer as directory_issuer;
pub use directory::{Directory, DirectoryError, FollowError, FollowedDirectory, follow_directory};
pub use enrollment::{Begun, Chosen, Enrolled};
use hash_queue::{Busy, HashQueue};
pub use notice::Notice;
pub use oidc::{Begun as OidcBegun, CALLBACK_PATH, Finished, Provider};
pub use passkeys::{FactorRow, NAME_MAX, PASSKEYS_MAX, PasskeyAnswer, PasskeyBegun, Passkeys};
use record::{Way, attempt_event};
use seal::{SealKey, Unsealable};
pub use sessions::tidy_up;

/// Why a person was not let in.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// Name, password or code: which of them is not said.
    #[error("the name, the password or the code is wrong")]
    Wrong,
    /// The password is right, and a code is missing.
    #[error("enter the code of your authenticator app, or a recovery code")]
    CodeNeeded,
    /// The password is right, and there is no second factor.
    #[error(
        "the account has no second factor yet: ask an administrator for an enrollment link \
         (`blueteam users enroll-link`)"
    )]
    NotEnrolled,
    /// All is right, and a new password must be chosen first.
    #[error("choose a new password first")]
    PasswordChangeNeeded,
    /// The password is not taken.
    #[error("the new password is not taken: {}", list(.0))]
    Weak(Vec<Weakness>),
    /// The link was used, is too old, or never was.
    #[error("the link was used before, or is too old: ask for another one")]
    LinkGone,
    /// Too many attempts.
    #[error("too many attempts: try again in {} seconds", .0.as_secs())]
    TooMany(Duration),
    /// Too many of others.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// The session has ended, or never was.
    #[error("sign in first")]
    NoSession,
    /// The session is locked.
    #[error("the session is locked: unlock it with your password")]
    Locked,
    /// Something dangerous is asked for.
    #[error("enter password and code once more")]
    ProofNeeded,
    /// Nobody signs in by a provider here.
    #[error("no OpenID Connect provider is configured ([console.oidc])")]
    NoProvider,
    /// The provider does not answer.
    #[error(
        "the sign-in provider does not answer: try again later. Local administrators sign in with \
         their password"
    )]
    ProviderAway,
    /// The directory does not answer.
    #[error(
        "the directory does not answer: try again later. Local administrators sign in with their \
         password"
    )]
    DirectoryAway,
    /// The password is the directory's.
    #[error("your password is kept by the directory: change it there")]
    PasswordElsewhere,
    /// What came back from the provider counts for nothing.
    #[error("{0}; begin to sign in again")]
    Provider(OidcError),
    /// The provider lets them in, and blueteam has no role for them.
    #[error("none of your groups has a role here: ask an administrator")]
    NotMapped,
    /// The account with that name belongs to another person, or nobody has linked it.
    #[error(
        "there is an account of your name that is not linked to you: ask an administrator \
         (`blueteam users link`)"
    )]
    NameTaken,
    /// Their organization has as many accounts as its plan allows.
    #[error("your organization's plan allows no more accounts: ask an administrator")]
    PlanFull,
    /// The account is disabled or past its end.
    #[error("your account is disabled: ask an administrator")]
    Disabled,
    /// None of this id is theirs.
    #[error("you have no such session")]
    NoSuchSession,
    /// The notice was not accepted, or another one.
    #[error("accept the notice of GET /api/v1/sign-in/notice: send its version with the sign-in")]
    NoticeNeeded,
    /// Browsers allow no passkeys at this address.
    #[error(
        "passkeys need an address with a host name and TLS, such as https://blueteam.example.com \
         (escalation.public_url)"
    )]
    NoPasskeys,
    /// Which part of the answer is wrong is not said.
    #[error("the passkey was refused; begin again")]
    PasskeyRefused,
    /// Two have used the same passkey. Nobody but its person and the log is told.
    #[error("the passkey was refused; begin again")]
    PasskeyCopied,
    /// Whoever leaves the provider or the directory must have no other way in.
    #[error("you sign in by a provider or a directory: set passkeys up there")]
    PasskeyElsewhere,
    /// It is registered already.
    #[error("this passkey is, or was, registered already")]
    PasskeyTaken,
    /// There are enough of them.
    #[error("an account has {PASSKEYS_MAX} passkeys at most: remove one first")]
    TooManyPasskeys,
    /// Not a name.
    #[error(
        "the name of a passkey has from 1 to {NAME_MAX} characters, none of them a control character"
    )]
    PasskeyName,
    /// None of this id is theirs.
    #[error("you have no such passkey")]
    NoSuchPasskey,
    /// Nobody is without a second factor (3.5.3).
    #[error("it is your last second factor: set another one up first")]
    LastFactor,
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The state directory's key is not the one that sealed the factor.
    #[error(transparent)]
    Unsealable(#[from] Unsealable),
    /// The system.
    #[error("{0:#}")]
    Failed(anyhow::Error),
}

fn list(weaknesses: &[Weakness]) -> String {
    let texts: Vec<String> = weaknesses.iter().map(ToString::to_string).collect();
    texts.join("; ")
}

impl From<PasswordError> for SignInError {
    fn from(error: PasswordError) -> Self {
        match error {
            // Nobody has one of these, so that it is as wrong as any other.
            PasswordError::TooLong => Self::Wrong,
            other => Self::Failed(other.into()),
        }
    }
}

impl From<anyhow::Error> for SignInError {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

/// Where a request comes from.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its address.
    pub address: IpAddr,
    /// What it calls itself.
    pub user_agent: Option<String>,
}

/// What a person gives to be let in.
#[derive(Debug)]
pub struct Attempt {
    /// The name of the account.
    pub username: String,
    /// Its password.
    pub password: SecretString,
    /// A code of the authenticator app, or a recovery code.
    pub code: Option<String>,
    /// The version of the notice that they accept.
    pub notice: Option<String>,
}

/// How a session begins.
#[derive(Clone, Copy)]
struct Beginning<'a> {
    /// By what its person has proven who they are.
    factors: &'a [String],
    /// Whether they have just done so.
    is_fresh: bool,
    /// The notice that they have accepted.
    notice: Option<&'a str>,
    /// The session that it takes the place of.
    current: Option<&'a Person>,
}

/// A session that began. The token is not stored: this is the only time that it is there.
#[derive(Debug)]
pub struct SignedIn {
    /// What the browser keeps.
    pub token: Token,
    /// Who.
    pub person: Person,
}

/// Who a session belongs to.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Person {
    /// The account.
    pub user_id: Uuid,
    /// Its name.
    pub username: String,
    /// Its person's name.
    pub full_name: Option<String>,
    /// Its role.
    pub role: String,
    /// Its tenant.
    #[serde(skip)]
    pub tenant_id: Option<Uuid>,
    /// The session.
    pub session_id: Uuid,
    /// Whether something dangerous may be done without proving once more who it is.
    pub stepped_up: bool,
    /// When the account ends, as far as a session says it.
    #[serde(skip)]
    pub ends_at: Option<Timestamp>,
}

/// What became of an attempt, and the event that records it.
#[derive(Debug)]
pub struct Outcome<T> {
    /// What became of it.
    pub result: Result<T, SignInError>,
    /// For the audit trail of blueteam itself.
    pub event: Option<AuditRecord<'static>>,
    /// Whose account it is about; that of the installation where there is no such account.
    pub tenant: TenantId,
}

/// Words that no password may be made of: what this place is called.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The organization's names.
    pub context_words: Vec<String>,
    /// When sessions lock and end.
    pub sessions: SessionSettings,
    /// What a hash costs; the recommended, if none is given.
    pub cost: Option<Cost>,
    /// Who lets people in besides blueteam.
    pub oidc: Option<Arc<Provider>>,
    /// A directory that knows people's passwords.
    pub directory: Option<Arc<Directory>>,
    /// Serves passkeys, where browsers allow them.
    pub passkeys: Option<Arc<Passkeys>>,
    /// What people accept before they sign in.
    pub notice: Option<Notice>,
}

/// The door.
pub struct SignIn {
    pool: Pool,
    clock: Arc<dyn Clock>,
    hasher: Arc<PasswordHasher>,
    queue: HashQueue,
    attempts: Attempts,
    seal: SealKey,
    /// Where a list of known passwords may be.
    state: StateDir,
    blocklist: Blocklist,
    settings: Settings,
    keys: PersonKeys,
}

impl std::fmt::Debug for SignIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignIn")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl SignIn {
    /// Opens the door. `pool`: connections of the role that signs people in.
    pub fn open(
        pool: Pool,
        clock: Arc<dyn Clock>,
        state: &StateDir,
        settings: Settings,
    ) -> anyhow::Result<Self> {
        let cost = match settings.cost.clone() {
            Some(cost) => cost,
            None => Cost::recommended()?,
        };
        Ok(Self {
            keys: PersonKeys::new(pool.clone(), Arc::clone(&clock)),
            pool,
            clock,
            hasher: Arc::new(PasswordHasher::new(cost)?),
            queue: HashQueue::start().context("cannot start the threads that hash passwords")?,
            attempts: Attempts::default(),
            seal: SealKey::load(state)?,
            state: state.clone(),
            blocklist: Blocklist::common(),
            settings,
        })
    }

    /// When sessions lock and end.
    pub const fn session_settings(&self) -> &SessionSettings {
        &self.settings.sessions
    }

    /// Checks the API keys of people.
    pub const fn keys(&self) -> &PersonKeys {
        &self.keys
    }

    /// Lets a person in who gives the right password and code.
    pub async fn sign_in(
        &self,
        attempt: &Attempt,
        client: &Client,
        current: Option<&Person>,
    ) -> Outcome<SignedIn> {
        let result = self.try_sign_in(attempt, client, current).await;
        let event = password_event(attempt, client, &result);
        let result = result.map(|(signed, _)| signed);
        self.outcome(result, event, Some(&attempt.username)).await
    }

    async fn try_sign_in(
        &self,
        attempt: &Attempt,
        client: &Client,
        current: Option<&Person>,
    ) -> Result<(SignedIn, Way), SignInError> {
        let notice = self.accepted(attempt.notice.as_deref())?;
        let (credentials, way) = self.prove(attempt, client).await?;
        let code = attempt.code.as_deref();
        let by = self.prove_second(&credentials, code, client).await?;
        let factors = [way.as_str().to_owned(), by];
        if way == Way::Password && self.must_change(&credentials).await? {
            return Err(SignInError::PasswordChangeNeeded);
        }

        self.attempts.succeeded(client.address, &attempt.username);
        let beginning = Beginning {
            factors: &factors,
            is_fresh: true,
            notice,
            current,
        };
        let signed = self.begin_session(&credentials, client, beginning).await?;
        Ok((signed, way))
    }

    /// Chooses a new password, by all factors: also where the old one has had its time.
    pub async fn change_password(
        &self,
        attempt: &Attempt,
        new: &SecretString,
        client: &Client,
    ) -> Outcome<SignedIn> {
        let result = self.try_change(attempt, new, client).await;
        let event = password_event(attempt, client, &result);
        let result = result.map(|(signed, _)| signed);
        self.outcome(result, event, Some(&attempt.username)).await
    }

    async fn try_change(
        &self,
        attempt: &Attempt,
        new: &SecretString,
        client: &Client,
    ) -> Result<(SignedIn, Way), SignInError> {
        let notice = self.accepted(attempt.notice.as_deref())?;
        let (credentials, way) = self.prove(attempt, client).await?;
        if way != Way::Password {
            return Err(SignInError::PasswordElsewhere);
        }
        if attempt.code.is_none() {
            return Err(SignInError::CodeNeeded);
        }

        // Before the code is used up: whose new password is too weak tries again with the same.
        let hashed = self
            .hash_new(&credentials, new, Some(&attempt.password))
            .await?;
        let code = attempt.code.as_deref();
        let by = self.prove_second(&credentials, code, client).await?;
        let factors = ["password".to_owned(), by];
        let actor = actor_of(&credentials, client);

        let mut conn = self.connect().await?;
        let password = NewPassword {
            hash: &hashed.hash,
            history: &hashed.history,
        };
        store::sign_in::change_password(&mut conn, &actor, credentials.user_id, &password).await?;
        drop(conn);
        self.attempts.succeeded(client.address, &attempt.username);
        let beginning = Beginning {
            factors: &factors,
            is_fresh: true,
            notice,
            current: None,
        };
        let signed = self.begin_session(&credentials, client, beginning).await?;
        Ok((signed, way))
    }

    async fn connect(&self) -> Result<impl DerefMut<Target = PgConnection> + use<>, SignInError> {
        Ok(self.pool.acquire().await.map_err(StoreError::from)?)
    }

    /// The account, if the password is right and it may be used.
    async fn prove(
        &self,
        attempt: &Attempt,
        client: &Client,
    ) -> Result<(Credentials, Way), SignInError> {
        let failures = self
            .attempts
            .begin(client.address, &attempt.username, Instant::now())
            .map_err(SignInError::TooMany)?;
        // No account has such a name, and the database refuses to look for it.
        if attempt.username.contains('\0') {
            return Err(SignInError::Wrong);
        }
        let found = {
            let mut conn = self.connect().await?;
            store::sign_in::credentials(&mut conn, &attempt.username).await?
        };

        // A hash is made in any case: without an account, of nothing.
        let may_enter = |c: &&Credentials| c.is_usable && !c.is_locked && !c.is_external;
        let stored = found
            .as_ref()
            .filter(may_enter)
            .and_then(|c| PasswordHash::parse(&c.password_hash).ok());
        let (hasher, password) = (Arc::clone(&self.hasher), attempt.password.clone());
        let is_right = self
            .queue
            .run(failures, move || hasher.verify(&password, stored.as_ref()))
            .await??;

        if let (true, Some(credentials)) = (is_right, &found) {
            return Ok((credentials.clone(), Way::Password));
        }
        let is_external = found.as_ref().is_some_and(|c| c.is_external);
        let is_in_directory = found.as_ref().is_some_and(|c| c.is_in_directory);
        let may_ask = found.as_ref().is_none_or(|c| {
            // The passwords of those whom only blueteam knows are not shown to a directory.
            c.is_usable && !c.is_locked && c.is_in_directory
        });
        if let (true, Some(directory)) = (may_ask, self.settings.directory.as_deref()) {
            let (name, password) = (&attempt.username, &attempt.password);
            match self
                .prove_by_directory(directory, name, password, client)
                .await
            {
                Ok(credentials) if credentials.is_locked => {}
                Ok(credentials) => return Ok((credentials, Way::Ldap)),
                Err(SignInError::Wrong) => {}
                Err(error) => return Err(error),
            }
        }

        // Without a password that could be guessed here, a lock would keep its person out for nothing.
        if !is_external || is_in_directory {
            self.count_failure(&attempt.username, client).await?;
        }
        Err(SignInError::Wrong)
    }

    async fn count_failure(&self, username: &str, client: &Client) -> Result<(), SignInError> {
        let mut conn = self.connect().await?;
        let actor = client_actor(username, client);
        if let Some(until) = store::sign_in::count_failure(&mut conn, &actor, username).await? {
            tracing::warn!(
                username = %model::text::sanitize(username),
                address = %client.address,
                %until,
                "an account is locked after too many wrong attempts"
            );
        }
        Ok(())
    }

    /// What kind of code it was, if it is right.
    async fn prove_second(
        &self,
        credentials: &Credentials,
        code: Option<&str>,
        client: &Client,
    ) -> Result<String, SignInError> {
        let Some(totp) = &credentials.totp else {
            return Err(SignInError::NotEnrolled);
        };
        let Some(code) = code.filter(|code| !code.trim().is_empty()) else {
            return Err(SignInError::CodeNeeded);
        };

        let mut conn = self.connect().await?;
        let user_id = credentials.user_id;
        // First, because it needs no key: whoever restored a database without its state directory
        // has only these.
        let by = if let Ok(recovery) = RecoveryCode::parse(code) {
            let actor = actor_of(credentials, client);
            let hash = recovery.hash();
            store::sign_in::use_recovery_code(&mut conn, &actor, user_id, hash.as_bytes())
                .await?
                .then_some("recovery code")
        } else {
            let secret = self.seal.open(user_id, &totp.sealed)?;
            let last = totp.last_step.and_then(TotpStep::from_i64);
            match secret.verify(code, self.clock.now(), last) {
                Ok(step) => {
                    let step = step.as_i64();
                    store::sign_in::use_totp_step(&mut conn, totp.factor_id, step)
                        .await?
                        .then_some("totp")
                }
                Err(_) => None,
            }
        };
        if let Some(by) = by {
            return Ok(by.to_owned());
        }

        drop(conn);
        self.count_failure(&credentials.username, client).await?;
        Err(SignInError::Wrong)
    }

    async fn policy(&self, tenant: Option<Uuid>) -> Result<PasswordPolicy, SignInError> {
        let mut conn = self.connect().await?;
        let row = store::passwords::policy(&mut conn, tenant).await?;
        Ok(password_policy::from_row(&row)?)
    }

    /// Whether another password must be chosen: an administrator said so, or it is too old.
    async fn must_change(&self, credentials: &Credentials) -> Result<bool, SignInError> {
        let policy = self.policy(credentials.tenant_id).await?;
        // A password of no known age is as old as can be.
        let chosen = credentials.password_last_changed.unwrap_or(Timestamp::MIN);
        let is_old = policy
            .expires_at(chosen)
            .is_some_and(|end| self.clock.now() >= end);
        Ok(credentials.must_change_password || is_old)
    }

    async fn begin_session(
        &self,
        credentials: &Credentials,
        client: &Client,
        beginning: Beginning<'_>,
    ) -> Result<SignedIn, SignInError> {
        let Beginning {
            factors,
            is_fresh,
            notice,
            current,
        } = beginning;
        let token = Token::generate(TokenKind::Session).map_err(anyhow::Error::new)?;
        let hash = token.hash();
        let session = NewSession {
            user_id: credentials.user_id,
            token_hash: hash.as_bytes(),
            factors,
            replaces: current.map(|person| person.session_id),
            is_fresh,
            notice,
        };
        let actor = actor_of(credentials, client);
        let mut conn = self.connect().await?;
        let username = &credentials.username;
        let session_id =
            store::sign_in::begin_session(&mut conn, &actor, username, &session).await?;
        Ok(SignedIn {
            token,
            person: Person {
                stepped_up: is_fresh,
                ..person_of(credentials, session_id)
            },
        })
    }

    /// The password of an account as it is kept, if it meets the policy.
    async fn hash_new(
        &self,
        credentials: &Credentials,
        new: &SecretString,
        old: Option<&SecretString>,
    ) -> Result<Hashed, SignInError> {
        let policy = self.policy(credentials.tenant_id).await?;
        let (state, password) = (self.state.clone(), new.clone());
        let is_breached =
            tokio::task::spawn_blocking(move || breached::is_known(&state, &password))
                .await
                .map_err(anyhow::Error::new)??;
        let words: Vec<&str> = self
            .settings
            .context_words
            .iter()
            .map(String::as_str)
            .collect();
        let candidate = Candidate {
            password: new,
            // Nobody is without a second factor (3.5.3).
            has_mfa: true,
            username: &credentials.username,
            email: &credentials.email,
            full_name: credentials.full_name.as_deref().unwrap_or_default(),
            context_words: &words,
            old_password: old,
            blocklist: &self.blocklist,
            is_breached,
        };
        policy
            .check_new_password(&candidate)
            .map_err(SignInError::Weak)?;

        // The newest first; the present one is the first of those that are not taken again.
        let count = usize::try_from(policy.history_count).unwrap_or_default();
        let history: Vec<String> = [&credentials.password_hash]
            .into_iter()
            .chain(&credentials.password_history)
            .filter(|hash| hash.starts_with('$'))
            .take(count)
            .cloned()
            .collect();
        let former: Vec<PasswordHash> = history
            .iter()
            .filter_map(|hash| PasswordHash::parse(hash).ok())
            .collect();

        let (hasher, password) = (Arc::clone(&self.hasher), new.clone());
        let hash = self
            .queue
            .run(0, move || {
                if hasher.was_used(&password, &former)? {
                    return Ok(None);
                }
                hasher.hash(&password).map(|hash| Some(hash.to_phc()))
            })
            .await??;
        match hash {
            Some(hash) => Ok(Hashed { hash, history }),
            None => Err(SignInError::Weak(vec![Weakness::RecentlyUsed(
                policy.history_count,
            )])),
        }
    }
}

/// The event of an attempt with a password.
fn password_event(
    attempt: &Attempt,
    client: &Client,
    result: &Result<(SignedIn, Way), SignInError>,
) -> Option<AuditRecord<'static>> {
    let way = result.as_ref().map_or(Way::Password, |(_, way)| *way);
    let id = result.as_ref().map(|(signed, _)| signed.person.user_id);
    attempt_event(way, Some(&attempt.username), client, id)
}

struct Hashed {
    hash: String,
    history: Vec<String>,
}

fn person_of(credentials: &Credentials, session_id: Uuid) -> Person {
    Person {
        user_id: credentials.user_id,
        username: credentials.username.clone(),
        full_name: credentials.full_name.clone(),
        role: credentials.role.clone(),
        tenant_id: credentials.tenant_id,
        session_id,
        stepped_up: true,
        ends_at: None,
    }
}

/// A client that says it is this person.
fn client_actor(username: &str, client: &Client) -> Actor {
    Actor {
        name: username.to_owned(),
        on_behalf_of: None,
        via: Via::Web,
        tenant: None,
        origin: Origin {
            address: Some(client.address.to_string()),
            user_agent: client.user_agent.clone(),
            ..Origin::default()
        },
    }
}

fn actor_of(credentials: &Credentials, client: &Client) -> Actor {
    Actor {
        tenant: credentials.tenant_id,
        ..client_actor(&credentials.username, client)
    }
}
