//! Signing in by an OpenID Connect provider: what is asked of it over HTTP, and what becomes of its
//! answer. `identity::oidc` decides what of the answer is believed (decision 0050).
//!
//! What belongs to a sign-in that waits for its answer is in a sealed cookie of the browser that
//! began it: nothing that strangers do is kept here, and another browser has no use for the answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use identity::oidc::{Callback, Claims, Keys, Metadata, OidcError, Pending, TokenRequest};
use identity::{Email, RoleMap, Username};
use model::{Actor, Span, Timestamp};
use reqwest::{StatusCode, redirect};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use store::external::{Entered, ExternalId, Method, Vouched};
use store::sign_in::Credentials;
use uuid::Uuid;

use super::record::{Way, attempt_event};
use super::seal::SealKey;
use super::{
    Beginning, Client, Notice, Outcome, Person, SignIn, SignInError, SignedIn, client_actor,
};

/// Where the provider sends people back to.
pub const CALLBACK_PATH: &str = "/api/v1/sign-in/oidc/callback";
/// How long the provider's configuration and keys are taken for what they are. Short, because keys
/// are changed, and because a person who is sent to a provider that does not answer is told nothing.
const KNOWN_FOR: Duration = Duration::from_secs(10);
/// How long nobody asks it again after it did not answer.
const AWAY_FOR: Duration = Duration::from_secs(5);
/// The most bytes of an answer.
const ANSWER_MAX: usize = 1024 * 1024;
/// The most sign-ins within [`identity::oidc::PENDING_FOR`] that are known to be used up.
const USED_MAX: usize = 10_000;
/// How long whoever the provider has vouched for may take to enter a code of blueteam's.
const CODE_FOR: Span = Span::mins(5);
/// The longest name of a person, in characters.
const FULL_NAME_MAX: usize = 255;

/// The provider, as it is configured.
pub struct Provider {
    client: identity::oidc::Client,
    roles: RoleMap,
    http: reqwest::Client,
    /// Of this process alone: whoever began to sign in before a restart begins again.
    seal: SealKey,
    known: tokio::sync::Mutex<Known>,
    used: Mutex<HashMap<[u8; 32], Timestamp>>,
}

impl std::fmt::Debug for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Provider")
            .field("issuer", &self.client.issuer)
            .finish_non_exhaustive()
    }
}

/// What is known of the provider.
#[derive(Default)]
struct Known {
    about: Option<About>,
    away_since: Option<Instant>,
}

#[derive(Clone)]
struct About {
    metadata: Arc<Metadata>,
    keys: Arc<Keys>,
    read_at: Instant,
}

/// What a browser keeps between two requests, sealed.
#[derive(Serialize, Deserialize)]
enum Kept {
    /// It was sent to the provider.
    Pending(Pending),
    /// The provider has vouched for its person, and a code of blueteam's is missing.
    Vouched { user_id: Uuid, at: i64 },
}

/// Why the token endpoint exchanges no code (RFC 6749, 5.2).
#[derive(Deserialize)]
struct Refusal {
    error: String,
}

/// Where a browser goes to sign in.
#[derive(Debug)]
pub struct Begun {
    /// The provider's page.
    pub url: String,
    /// What the browser brings back.
    pub cookie: SecretString,
}

/// What became of the provider's answer.
#[derive(Debug)]
pub enum Finished {
    /// The person is in.
    SignedIn(SignedIn),
    /// A code of blueteam's is missing; the browser keeps this until it is entered.
    CodeNeeded {
        /// What the browser keeps.
        cookie: SecretString,
    },
}

impl Provider {
    /// Returns the provider that is configured, if there is one.
    pub fn from_config(loaded: &config::Loaded) -> anyhow::Result<Option<Self>> {
        let settings = &loaded.config.console.oidc;
        if !settings.is_configured() {
            return Ok(None);
        }
        let secret = loaded.secrets.oidc_client_secret.clone();
        let ca_pem = notify::tls::read_pem(&settings.ca_file).map_err(anyhow::Error::msg)?;
        let tls = notify::tls::client_config(ca_pem.as_deref())
            .map_err(|why| anyhow!("console.oidc.ca_file {why}"))?;
        // A redirect would lead to a host that nobody has configured.
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(redirect::Policy::none())
            .timeout(settings.timeout.to_std())
            .user_agent(concat!("blueteam/", env!("CARGO_PKG_VERSION")))
            .build()
            .context("cannot make an HTTP client for console.oidc")?;
        let client = identity::oidc::Client {
            issuer: settings.issuer.clone(),
            client_id: settings.client_id.clone(),
            client_secret: secret.context("console.oidc.client_secret_file is missing")?,
            redirect_url: format!(
                "{}{CALLBACK_PATH}",
                crate::accounts::public_url(&loaded.config)
            ),
            scopes: settings.scopes.clone(),
            username_claim: settings.username_claim.clone(),
            groups_claim: settings.groups_claim.clone(),
            mfa_acr: settings.mfa_acr.clone(),
            mfa_amr: settings.mfa_amr.clone(),
            fresh_for: loaded.config.console.sessions.step_up_for,
        };
        Ok(Some(Self {
            client,
            roles: settings.role_map(),
            http,
            seal: SealKey::ephemeral()?,
            known: tokio::sync::Mutex::default(),
            used: Mutex::default(),
        }))
    }

    /// What the provider says of itself. While it does not answer, others do not wait for it.
    async fn about(&self) -> Result<About, SignInError> {
        let mut known = self.known.lock().await;
        if let Some(about) = &known.about
            && about.read_at.elapsed() < KNOWN_FOR
        {
            return Ok(about.clone());
        }
        if known.away_since.is_some_and(|at| at.elapsed() < AWAY_FOR) {
            return Err(SignInError::ProviderAway);
        }

        let read = async {
            let url = identity::oidc::metadata_url(&self.client.issuer);
            let json = self.get(&url).await?;
            let metadata = Metadata::parse(&json, &self.client.issuer)?;
            let keys = Keys::parse(&self.get(metadata.jwks_uri()).await?)?;
            Ok::<_, anyhow::Error>(About {
                metadata: Arc::new(metadata),
                keys: Arc::new(keys),
                read_at: Instant::now(),
            })
        };
        match read.await {
            Ok(about) => {
                known.away_since = None;
                known.about = Some(about.clone());
                Ok(about)
            }
            Err(error) => {
                tracing::warn!("the OpenID Connect provider cannot be used: {error:#}");
                known.away_since = Some(Instant::now());
                Err(SignInError::ProviderAway)
            }
        }
    }

    /// Forgets what is known of a provider that has stopped to answer.
    async fn forget(&self) {
        let mut known = self.known.lock().await;
        *known = Known {
            about: None,
            away_since: Some(Instant::now()),
        };
    }

    async fn get(&self, url: &str) -> anyhow::Result<Vec<u8>> {
        let answer = self
            .http
            .get(url)
            .header("accept", "application/json")
            .send()
            .await
            .with_context(|| format!("cannot reach {url}"))?;
        if answer.status() != StatusCode::OK {
            return Err(anyhow!("{url} answered {}", answer.status()));
        }
        read_body(answer)
            .await
            .with_context(|| format!("cannot read {url}"))
    }

    /// Exchanges a code; returns the answer of the token endpoint.
    async fn exchange(&self, url: &str, request: &TokenRequest) -> Result<Vec<u8>, SignInError> {
        let mut post = self
            .http
            .post(url)
            .header("accept", "application/json")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(request.body.expose_secret().to_owned());
        if let Some(authorization) = &request.authorization {
            post = post.header("authorization", authorization.expose_secret());
        }
        let away = |error: anyhow::Error| {
            tracing::warn!("the OpenID Connect provider exchanges no code: {error:#}");
            SignInError::ProviderAway
        };
        let answer = post.send().await.map_err(|error| away(error.into()))?;
        let status = answer.status();
        if status.is_server_error() {
            return Err(away(anyhow!("{url} answered {status}")));
        }
        let body = read_body(answer).await.map_err(away)?;
        if status == StatusCode::OK {
            return Ok(body);
        }

        // A code that was used before, or a client that is not configured there as it is here.
        let said = serde_json::from_slice::<Refusal>(&body).map_or_else(
            |_| status.to_string(),
            |refusal| {
                model::text::shortened(model::text::sanitize(&refusal.error).into_owned(), 100)
            },
        );
        Err(SignInError::Provider(OidcError::Refused(format!(
            "it exchanges no code: {said}"
        ))))
    }

    fn keep(&self, kept: &Kept) -> Result<SecretString, SignInError> {
        let json = serde_json::to_vec(kept).map_err(anyhow::Error::new)?;
        let sealed = self.seal.seal_bytes(b"oidc", &json)?;
        Ok(SecretString::from(URL_SAFE_NO_PAD.encode(sealed)))
    }

    fn kept(&self, cookie: Option<&str>) -> Result<Kept, SignInError> {
        let open = |cookie: &str| {
            let sealed = URL_SAFE_NO_PAD.decode(cookie).ok()?;
            let json = self.seal.open_bytes(b"oidc", &sealed).ok()?;
            serde_json::from_slice(&json).ok()
        };
        cookie
            .and_then(open)
            .ok_or(SignInError::Provider(OidcError::NotBegun))
    }

    /// Uses a sign-in up: its answer counts once.
    fn use_up(&self, pending: &Pending, now: Timestamp) -> Result<(), SignInError> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.retain(|_, ends_at| *ends_at > now);
        if used.len() >= USED_MAX {
            return Err(SignInError::TooMany(Duration::from_mins(1)));
        }
        match used.insert(pending.fingerprint(), pending.ends_at()) {
            None => Ok(()),
            Some(_) => Err(SignInError::Provider(OidcError::NotBegun)),
        }
    }
}

async fn read_body(mut answer: reqwest::Response) -> anyhow::Result<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await? {
        body.extend_from_slice(&piece);
        if body.len() > ANSWER_MAX {
            return Err(anyhow!("it has more than {ANSWER_MAX} bytes"));
        }
    }
    Ok(body)
}

impl SignIn {
    fn provider(&self) -> Result<&Provider, SignInError> {
        self.settings.oidc.as_deref().ok_or(SignInError::NoProvider)
    }

    /// Begins to sign a person in by the provider, who has accepted the notice of this version. Its
    /// cookie says so when they come back: there is none without.
    pub async fn begin_oidc(&self, notice: Option<&str>) -> Result<Begun, SignInError> {
        let provider = self.provider()?;
        self.accepted(notice)?;
        let about = provider.about().await?;
        let (url, pending) = provider.client.begin(&about.metadata, self.clock.now())?;
        Ok(Begun {
            url,
            cookie: provider.keep(&Kept::Pending(pending))?,
        })
    }

    /// Lets a person in whom the provider sends back.
    pub async fn finish_oidc(
        &self,
        callback: &Callback,
        cookie: Option<&str>,
        client: &Client,
        current: Option<&Person>,
    ) -> Outcome<Finished> {
        // Until the provider's signature is checked, nobody is named: a link must accuse no one.
        let mut username = None;
        let result = self
            .try_finish(callback, cookie, client, current, &mut username)
            .await;
        let event = match &result {
            Ok(Finished::SignedIn(signed)) => {
                let user_id = signed.person.user_id;
                attempt_event(Way::Oidc, username.as_deref(), client, Ok(user_id))
            }
            Ok(Finished::CodeNeeded { .. }) => None,
            Err(error) => attempt_event(Way::Oidc, username.as_deref(), client, Err(error)),
        };
        self.outcome(result, event, username.as_deref()).await
    }

    async fn try_finish(
        &self,
        callback: &Callback,
        cookie: Option<&str>,
        client: &Client,
        current: Option<&Person>,
        username: &mut Option<String>,
    ) -> Result<Finished, SignInError> {
        let provider = self.provider()?;
        let place = format!("provider from {}", client.address);
        self.attempts
            .begin(client.address, &place, Instant::now())
            .map_err(SignInError::TooMany)?;
        let Kept::Pending(pending) = provider.kept(cookie)? else {
            return Err(SignInError::Provider(OidcError::NotBegun));
        };
        let about = provider.about().await?;
        let (oidc, metadata) = (&provider.client, &about.metadata);
        let code = oidc.check_callback(metadata, &pending, callback, self.clock.now())?;
        provider.use_up(&pending, self.clock.now())?;

        let request = oidc.token_request(metadata, &pending, &code);
        let answer = provider.exchange(metadata.token_endpoint(), &request).await;
        if matches!(answer, Err(SignInError::ProviderAway)) {
            provider.forget().await;
        }
        let answer = answer?;
        let now = self.clock.now();
        let claims = oidc.check_answer(&answer, &about.keys, &pending, now)?;

        username.clone_from(&claims.username);
        let credentials = self.enter_by_provider(provider, &claims, client).await?;
        *username = Some(credentials.username.clone());
        self.attempts.succeeded(client.address, &place);
        if claims.used_mfa {
            let factors = ["oidc".to_owned(), "mfa of the provider".to_owned()];
            let beginning = Beginning {
                factors: &factors,
                is_fresh: claims.is_fresh,
                notice: self.notice().map(Notice::version),
                current,
            };
            return self
                .begin_session(&credentials, client, beginning)
                .await
                .map(Finished::SignedIn);
        }
        if credentials.totp.is_none() {
            return Err(SignInError::NotEnrolled);
        }
        let user_id = credentials.user_id;
        let at = now.as_secs();
        Ok(Finished::CodeNeeded {
            cookie: provider.keep(&Kept::Vouched { user_id, at })?,
        })
    }

    /// The account of a person whom the provider has vouched for, with the role of their groups.
    async fn enter_by_provider(
        &self,
        provider: &Provider,
        claims: &Claims,
        client: &Client,
    ) -> Result<Credentials, SignInError> {
        let Some(role) = provider.roles.role_of(&claims.groups) else {
            return Err(SignInError::NotMapped);
        };
        let name = claims.username.as_deref();
        let name = name.and_then(|name| Username::parse_external(name).ok());
        let email = claims.email.as_deref().and_then(|e| Email::parse(e).ok());
        let vouched = Vouched {
            id: ExternalId {
                method: Method::Oidc,
                issuer: &provider.client.issuer,
                subject: &claims.subject,
            },
            username: name.as_ref().map(Username::as_str),
            email: email.as_ref().map(Email::as_str),
            full_name: claims.full_name.as_deref().filter(|n| is_full_name(n)),
            role: role.as_str(),
        };
        self.enter(&vouched, "oidc", client).await
    }

    /// The account of a person for whom somebody else vouches. `by`: who does, in the audit log.
    pub(super) async fn enter(
        &self,
        vouched: &Vouched<'_>,
        by: &str,
        client: &Client,
    ) -> Result<Credentials, SignInError> {
        let subject = vouched.id.subject;
        let actor = Actor {
            on_behalf_of: Some(vouched.username.unwrap_or(subject).to_owned()),
            ..client_actor(by, client)
        };
        let mut conn = self.connect().await?;
        let entered = store::external::enter(&mut conn, &actor, vouched).await;
        if let Err(error) = &entered
            && error.constraint() == Some(crate::tenants::WITHIN_PLAN)
        {
            tracing::warn!(by, "cannot make an account: {error}");
            return Err(SignInError::PlanFull);
        }
        let entered = entered?;
        let user_id = match entered {
            Entered::Found(id) => id,
            Entered::Created(id) => {
                tracing::info!(username = vouched.username, by, "an account was made");
                id
            }
            Entered::RoleKept(id) => {
                let role = vouched.role;
                tracing::warn!(by, role, "the last system administrator keeps the role");
                id
            }
            Entered::Taken => {
                let username = vouched.username.unwrap_or_default();
                let subject = model::text::sanitize(subject);
                tracing::warn!(
                    %username, %subject, by,
                    "cannot let a person in: the name is missing, or belongs to an account that \
                     is not linked to them; link it by `blueteam users link`"
                );
                return Err(SignInError::NameTaken);
            }
            Entered::Unusable(_) => return Err(SignInError::Disabled),
        };
        let credentials = store::sign_in::credentials_of(&mut conn, user_id).await?;
        credentials
            .filter(|credentials| credentials.is_usable)
            .ok_or(SignInError::Disabled)
    }

    /// Lets a person in for whom the provider has vouched, and who enters a code of blueteam's.
    pub async fn finish_oidc_by_code(
        &self,
        code: &str,
        cookie: Option<&str>,
        client: &Client,
        current: Option<&Person>,
    ) -> Outcome<SignedIn> {
        let mut username = None;
        let result = self
            .try_code(code, cookie, client, current, &mut username)
            .await;
        let id = result.as_ref().map(|signed| signed.person.user_id);
        let event = attempt_event(Way::Oidc, username.as_deref(), client, id);
        self.outcome(result, event, username.as_deref()).await
    }

    async fn try_code(
        &self,
        code: &str,
        cookie: Option<&str>,
        client: &Client,
        current: Option<&Person>,
        username: &mut Option<String>,
    ) -> Result<SignedIn, SignInError> {
        let kept = self.provider()?.kept(cookie)?;
        let not_begun = || SignInError::Provider(OidcError::NotBegun);
        let Kept::Vouched { user_id, at } = kept else {
            return Err(not_begun());
        };
        let until = Timestamp::from_secs(at).plus(CODE_FOR);
        if self.clock.now() >= until {
            return Err(not_begun());
        }
        let credentials = {
            let mut conn = self.connect().await?;
            store::sign_in::credentials_of(&mut conn, user_id)
                .await?
                .filter(|credentials| credentials.is_usable)
                .ok_or(SignInError::Disabled)?
        };
        *username = Some(credentials.username.clone());
        self.attempts
            .begin(client.address, &credentials.username, Instant::now())
            .map_err(SignInError::TooMany)?;
        // Codes are guessed here as they are beside a password, and so the lock holds here, too.
        if credentials.is_locked {
            return Err(SignInError::Wrong);
        }
        let by = self.prove_second(&credentials, Some(code), client).await?;
        self.attempts
            .succeeded(client.address, &credentials.username);
        let factors = ["oidc".to_owned(), by];
        let beginning = Beginning {
            factors: &factors,
            is_fresh: true,
            notice: self.notice().map(Notice::version),
            current,
        };
        self.begin_session(&credentials, client, beginning).await
    }
}

impl From<OidcError> for SignInError {
    fn from(error: OidcError) -> Self {
        Self::Provider(error)
    }
}

/// Whether a text can stand as a person's name.
pub(super) fn is_full_name(text: &str) -> bool {
    !text.trim().is_empty()
        && text.chars().count() <= FULL_NAME_MAX
        && !text.chars().any(char::is_control)
}
