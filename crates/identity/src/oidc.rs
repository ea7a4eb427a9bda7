//! Signing in by an OpenID Connect provider: the authorization request, and what of an ID token is
//! believed (OpenID Connect Core 3.1.3.7; RFC 9700; ASVS 10.5.1 to 10.5.5).
//!
//! The authorization code flow with PKCE, `state` and `nonce`. An ID token counts if the issuer
//! that is configured signed it with RS256, PS256 or ES256, for this client alone, in the last
//! minutes and for this very sign-in. What it says before that is checked is shown to nobody: a
//! forged token must not accuse the person that it names.

use std::collections::BTreeSet;
use std::str::FromStr as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use model::{Span, Timestamp};
use openidconnect::core::{
    CoreGenderClaim, CoreIdToken, CoreJsonWebKeySet, CoreJwsSigningAlgorithm,
};
use openidconnect::url::Url;
use openidconnect::url::form_urlencoded::{Serializer, byte_serialize};
use openidconnect::{
    ClaimsVerificationError, ClientId, EmptyAdditionalClaims, IdTokenClaims, IdTokenVerifier,
    IssuerUrl, Nonce, SignatureVerificationError,
};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::external::GROUPS_MAX;
use crate::random::{RandomError, random_bytes};

/// How long a person may take at the provider.
pub const PENDING_FOR: Span = Span::mins(10);
/// How far the provider's clock may be off.
const SKEW: Span = Span::mins(1);
/// How old an ID token may be: it comes straight from the provider.
const TOKEN_AGE_MAX: Span = Span::mins(5);
/// The longest subject (OpenID Connect Core 2).
const SUBJECT_MAX: usize = 255;
/// The longest ID token.
const TOKEN_MAX: usize = 256 * 1024;
/// The most keys of a provider.
const KEYS_MAX: usize = 100;
/// The shortest modulus of an RSA key, in bytes (SP 800-131A).
const RSA_MIN: usize = 256;

/// Why somebody cannot be signed in by the provider.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OidcError {
    /// The provider's configuration cannot be used.
    #[error("the provider's configuration cannot be used: {0}")]
    Metadata(String),
    /// The provider's keys cannot be used.
    #[error("the provider's keys cannot be used: {0}")]
    Keys(String),
    /// The token is signed with a key that is not among those that are known.
    #[error("the ID token is signed with an unknown key")]
    UnknownKey,
    /// Something is wrong with the token, or with the answer that it came in.
    #[error("the provider's answer is refused: {0}")]
    Refused(String),
    /// The answer belongs to no sign-in that was begun here, or to one that is too old.
    #[error("this sign-in was not begun here, or too long ago")]
    NotBegun,
    /// No random numbers.
    #[error(transparent)]
    Random(#[from] RandomError),
}

fn refused(why: impl Into<String>) -> OidcError {
    OidcError::Refused(why.into())
}

/// Returns the URL if nobody on the way can read or change what is asked there.
fn secure_url(text: &str, what: &str) -> Result<Url, OidcError> {
    let bad = |why: &str| OidcError::Metadata(format!("{what} {why}"));
    let url = Url::parse(text).map_err(|_| bad("is not a URL"))?;
    let is_loopback = || {
        url.host_str().is_some_and(|host| {
            let bare = host.trim_start_matches('[').trim_end_matches(']');
            bare.eq_ignore_ascii_case("localhost")
                || bare
                    .parse::<std::net::IpAddr>()
                    .is_ok_and(|address| address.is_loopback())
        })
    };
    let is_secure = match url.scheme() {
        "https" => true,
        "http" => is_loopback(),
        _ => false,
    };
    if !is_secure {
        return Err(bad(
            "must begin with https:// (http:// only on this machine)",
        ));
    }
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err(bad("must hold no password and no fragment"));
    }
    Ok(url)
}

/// Checks an issuer as it is configured.
pub fn check_issuer(issuer: &str) -> Result<(), OidcError> {
    let url = secure_url(issuer, "the issuer")?;
    if url.query().is_some() {
        return Err(OidcError::Metadata(
            "the issuer must have no query".to_owned(),
        ));
    }
    Ok(())
}

/// Returns where an issuer publishes its configuration (OpenID Connect Discovery 4).
pub fn metadata_url(issuer: &str) -> String {
    let base = issuer.trim_end_matches('/');
    format!("{base}/.well-known/openid-configuration")
}

/// What a provider says of itself.
#[derive(Clone, Debug)]
pub struct Metadata {
    authorization_endpoint: Url,
    token_endpoint: Url,
    jwks_uri: Url,
    names_issuer: bool,
    takes_basic: bool,
}

#[derive(Deserialize)]
struct RawMetadata {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    code_challenge_methods_supported: Option<Vec<String>>,
}

impl Metadata {
    /// Reads the configuration of the issuer that is configured, and of no other one.
    pub fn parse(json: &[u8], issuer: &str) -> Result<Self, OidcError> {
        let raw: RawMetadata =
            serde_json::from_slice(json).map_err(|error| OidcError::Metadata(error.to_string()))?;
        if raw.issuer != issuer {
            let found: String = raw.issuer.chars().take(200).collect();
            let why = format!("it is that of the issuer `{found}`, and `{issuer}` is configured");
            return Err(OidcError::Metadata(why));
        }
        // A provider that lists its methods and leaves S256 out would ignore the challenge.
        let methods = raw.code_challenge_methods_supported;
        if methods.is_some_and(|methods| !methods.iter().any(|method| method == "S256")) {
            return Err(OidcError::Metadata(
                "it does not know PKCE (S256)".to_owned(),
            ));
        }

        let auth_methods = raw.token_endpoint_auth_methods_supported;
        Ok(Self {
            authorization_endpoint: secure_url(
                &raw.authorization_endpoint,
                "authorization_endpoint",
            )?,
            token_endpoint: secure_url(&raw.token_endpoint, "token_endpoint")?,
            jwks_uri: secure_url(&raw.jwks_uri, "jwks_uri")?,
            names_issuer: raw.authorization_response_iss_parameter_supported,
            takes_basic: auth_methods
                .is_none_or(|methods| methods.iter().any(|m| m == "client_secret_basic")),
        })
    }

    /// Where the provider's keys are.
    pub fn jwks_uri(&self) -> &str {
        self.jwks_uri.as_str()
    }

    /// Where codes are exchanged for tokens.
    pub fn token_endpoint(&self) -> &str {
        self.token_endpoint.as_str()
    }
}

/// The public keys of a provider.
#[derive(Clone, Debug)]
pub struct Keys(CoreJsonWebKeySet);

impl Keys {
    /// Reads a JWK set (RFC 7517). Keys that no token may be signed with are left out: secret ones,
    /// short ones, and those of other curves.
    pub fn parse(json: &[u8]) -> Result<Self, OidcError> {
        #[derive(Deserialize)]
        struct Raw {
            keys: Vec<Value>,
        }
        let bad = |why: String| OidcError::Keys(why);
        let raw: Raw = serde_json::from_slice(json).map_err(|error| bad(error.to_string()))?;
        if raw.keys.len() > KEYS_MAX {
            return Err(bad(format!("there are more than {KEYS_MAX}")));
        }

        let usable: Vec<Value> = raw.keys.into_iter().filter(is_usable).collect();
        if usable.is_empty() {
            return Err(bad("none of them is for RS256, PS256 or ES256".to_owned()));
        }
        let keys = serde_json::from_value(serde_json::json!({ "keys": usable }))
            .map_err(|error| bad(error.to_string()))?;
        Ok(Self(keys))
    }
}

fn is_usable(key: &Value) -> bool {
    let text = |name: &str| key.get(name).and_then(Value::as_str);
    match text("kty") {
        Some("RSA") => text("n").is_some_and(|n| {
            let modulus = URL_SAFE_NO_PAD.decode(n).unwrap_or_default();
            let significant = modulus.iter().skip_while(|byte| **byte == 0).count();
            significant >= RSA_MIN
        }),
        Some("EC") => text("crv") == Some("P-256"),
        _ => false,
    }
}

/// blueteam, as the provider knows it.
#[derive(Clone, Debug)]
pub struct Client {
    /// The issuer, exactly as it calls itself.
    pub issuer: String,
    /// The client's id.
    pub client_id: String,
    /// What proves that it is the client.
    pub client_secret: SecretString,
    /// Where the provider sends people back to.
    pub redirect_url: String,
    /// What is asked for besides `openid`.
    pub scopes: Vec<String>,
    /// The claim that names the person.
    pub username_claim: String,
    /// The claim that lists their groups.
    pub groups_claim: String,
    /// Values of `acr` that say that two factors were used. The first ones are asked for.
    pub mfa_acr: Vec<String>,
    /// Values of `amr` that say the same.
    pub mfa_amr: Vec<String>,
    /// How long ago a person may have signed in at the provider to count as freshly proven.
    pub fresh_for: Span,
}

/// A sign-in that waits for the provider's answer. Its holder is the browser that began it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pending {
    state: String,
    nonce: String,
    verifier: String,
    began_at: i64,
}

impl std::fmt::Debug for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pending")
            .field("began_at", &self.began_at)
            .finish_non_exhaustive()
    }
}

/// What the provider sends a browser back with.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Callback {
    /// The code to exchange.
    pub code: Option<SecretString>,
    /// The state that was sent.
    pub state: Option<String>,
    /// Who answers (RFC 9207).
    pub iss: Option<String>,
    /// What went wrong at the provider.
    pub error: Option<String>,
}

/// A request to the token endpoint.
#[derive(Debug)]
pub struct TokenRequest {
    /// The header `Authorization`, if the secret goes there.
    pub authorization: Option<SecretString>,
    /// The body, `application/x-www-form-urlencoded`.
    pub body: SecretString,
}

/// What a provider says of a person, after all of it was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// Who it is to the issuer; never given to another one.
    pub subject: String,
    /// What the claim for names says.
    pub username: Option<String>,
    /// The person's name.
    pub full_name: Option<String>,
    /// Their mail address, if the provider has verified it or does not say.
    pub email: Option<String>,
    /// Their groups.
    pub groups: Vec<String>,
    /// Whether they used two factors, by the values that are configured.
    pub used_mfa: bool,
    /// Whether they signed in there just now, and not long ago.
    pub is_fresh: bool,
}

/// The access token is not used: nothing is asked of the provider in a person's name.
#[derive(Deserialize)]
struct Answer {
    id_token: SecretString,
}

fn random_text() -> Result<String, OidcError> {
    Ok(URL_SAFE_NO_PAD.encode(random_bytes::<32>()?.as_slice()))
}

impl Pending {
    /// Returns what identifies this sign-in, for a record of those that are used up.
    pub fn fingerprint(&self) -> [u8; 32] {
        Sha256::digest(self.state.as_bytes()).into()
    }

    /// Returns until when it counts.
    pub fn ends_at(&self) -> Timestamp {
        Timestamp::from_secs(self.began_at).plus(PENDING_FOR)
    }
}

impl Client {
    /// Begins a sign-in: returns where the browser goes, and what it must bring back with it.
    pub fn begin(
        &self,
        metadata: &Metadata,
        now: Timestamp,
    ) -> Result<(String, Pending), OidcError> {
        let pending = Pending {
            state: random_text()?,
            nonce: random_text()?,
            verifier: random_text()?,
            began_at: now.as_secs(),
        };
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(pending.verifier.as_bytes()));
        let mut scopes = vec!["openid"];
        scopes.extend(
            self.scopes
                .iter()
                .map(String::as_str)
                .filter(|s| *s != "openid"),
        );

        let mut url = metadata.authorization_endpoint.clone();
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.client_id)
            .append_pair("redirect_uri", &self.redirect_url)
            .append_pair("scope", &scopes.join(" "))
            .append_pair("state", &pending.state)
            .append_pair("nonce", &pending.nonce)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256")
            .append_pair(
                "max_age",
                &(self.fresh_for.as_micros() / 1_000_000).to_string(),
            );
        if !self.mfa_acr.is_empty() {
            url.query_pairs_mut()
                .append_pair("acr_values", &self.mfa_acr.join(" "));
        }
        Ok((url.into(), pending))
    }

    /// Checks that an answer belongs to this sign-in and comes from this issuer; returns the code.
    pub fn check_callback(
        &self,
        metadata: &Metadata,
        pending: &Pending,
        callback: &Callback,
        now: Timestamp,
    ) -> Result<SecretString, OidcError> {
        let state = callback.state.as_deref().unwrap_or_default();
        let is_same = bool::from(state.as_bytes().ct_eq(pending.state.as_bytes()));
        if !is_same || now >= pending.ends_at() || pending.began_at > now.plus(SKEW).as_secs() {
            return Err(OidcError::NotBegun);
        }
        // Mix-up (RFC 9207): another provider's answer, sent here.
        match callback.iss.as_deref() {
            Some(iss) if iss != self.issuer => {
                return Err(refused("another issuer answered"));
            }
            None if metadata.names_issuer => {
                return Err(refused("the answer does not say which issuer it is from"));
            }
            _ => {}
        }
        if let Some(error) = &callback.error {
            // Anybody can make such a link, and its text goes to a log.
            let error: String = error
                .chars()
                .filter(|c| c.is_ascii_alphanumeric() || *c == '_')
                .take(50)
                .collect();
            return Err(refused(format!("the provider says `{error}`")));
        }
        callback
            .code
            .clone()
            .filter(|code| !code.expose_secret().is_empty())
            .ok_or_else(|| refused("there is no code in it"))
    }

    /// Returns the request that exchanges a code.
    pub fn token_request(
        &self,
        metadata: &Metadata,
        pending: &Pending,
        code: &SecretString,
    ) -> TokenRequest {
        let mut form = Serializer::new(String::new());
        form.append_pair("grant_type", "authorization_code")
            .append_pair("code", code.expose_secret())
            .append_pair("redirect_uri", &self.redirect_url)
            .append_pair("code_verifier", &pending.verifier);
        let secret = self.client_secret.expose_secret();
        let authorization = metadata.takes_basic.then(|| {
            // Both are encoded like a form before they are joined (RFC 6749 2.3.1).
            let encode = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
            let both = format!("{}:{}", encode(&self.client_id), encode(secret));
            SecretString::from(format!("Basic {}", STANDARD.encode(both)))
        });
        if authorization.is_none() {
            form.append_pair("client_id", &self.client_id)
                .append_pair("client_secret", secret);
        }
        TokenRequest {
            authorization,
            body: SecretString::from(form.finish()),
        }
    }

    /// Reads the answer of the token endpoint, and checks the ID token in it.
    pub fn check_answer(
        &self,
        answer: &[u8],
        keys: &Keys,
        pending: &Pending,
        now: Timestamp,
    ) -> Result<Claims, OidcError> {
        if answer.len() > TOKEN_MAX {
            return Err(refused("it is too long"));
        }
        let answer: Answer =
            serde_json::from_slice(answer).map_err(|_| refused("it lacks an ID token"))?;
        self.check_token(answer.id_token.expose_secret(), keys, pending, now)
    }

    fn check_token(
        &self,
        text: &str,
        keys: &Keys,
        pending: &Pending,
        now: Timestamp,
    ) -> Result<Claims, OidcError> {
        let token = CoreIdToken::from_str(text)
            .map_err(|_| refused("it is not an ID token of a kind that is taken"))?;
        let issuer = IssuerUrl::new(self.issuer.clone())
            .map_err(|error| OidcError::Metadata(error.to_string()))?;
        let present = to_chrono(now).ok_or_else(|| refused("the clock cannot be right"))?;
        let not_before = to_chrono(now.minus(TOKEN_AGE_MAX)).unwrap_or(present);
        let not_after = to_chrono(now.plus(SKEW)).unwrap_or(present);
        // A client without a secret, to the verifier: so no key of it makes an HMAC right.
        let verifier = IdTokenVerifier::new_public_client(
            ClientId::new(self.client_id.clone()),
            issuer,
            keys.0.clone(),
        )
        .set_allowed_algs([
            CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
            CoreJwsSigningAlgorithm::RsaSsaPssSha256,
            CoreJwsSigningAlgorithm::EcdsaP256Sha256,
        ])
        .set_other_audience_verifier_fn(|_| false)
        .set_time_fn(move || present)
        .set_issue_time_verifier_fn(move |issued| {
            if issued < not_before || issued > not_after {
                return Err("it was not issued just now".to_owned());
            }
            Ok(())
        });

        let nonce = Nonce::new(pending.nonce.clone());
        let claims = token
            .claims(&verifier, &nonce)
            .map_err(|error| why_refused(&error))?;
        // The library leaves `azp` to its user: a token that was issued to another party.
        let party = claims.authorized_party();
        if party.is_some_and(|party| party.as_str() != self.client_id) {
            return Err(refused("it was issued to another client"));
        }
        self.read_claims(text, claims, now)
    }

    fn read_claims(
        &self,
        token: &str,
        claims: &IdTokenClaims<EmptyAdditionalClaims, CoreGenderClaim>,
        now: Timestamp,
    ) -> Result<Claims, OidcError> {
        let subject = claims.subject().as_str().to_owned();
        if subject.is_empty() || subject.len() > SUBJECT_MAX {
            return Err(refused("its subject is empty or too long"));
        }

        // The names of claims are the operator's, so that they are read from what was verified.
        let all = payload(token)?;
        let text = |name: &str| all.get(name).and_then(Value::as_str).map(str::to_owned);
        let is_unverified = all.get("email_verified") == Some(&Value::Bool(false));
        let acr = text("acr").unwrap_or_default();
        let amr = texts(all.get("amr"));
        let fresh_since = now.minus(self.fresh_for).minus(SKEW).as_secs();
        Ok(Claims {
            subject,
            username: text(&self.username_claim),
            full_name: text("name"),
            email: text("email").filter(|_| !is_unverified),
            groups: texts(all.get(&self.groups_claim)),
            used_mfa: self.mfa_acr.contains(&acr) || self.mfa_amr.iter().any(|m| amr.contains(m)),
            is_fresh: all
                .get("auth_time")
                .and_then(Value::as_i64)
                .is_some_and(|at| at >= fresh_since && at <= now.plus(SKEW).as_secs()),
        })
    }
}

fn to_chrono(at: Timestamp) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_micros(at.as_micros())
}

/// The claims of a token whose signature was checked.
fn payload(token: &str) -> Result<Map<String, Value>, OidcError> {
    token
        .split('.')
        .nth(1)
        .and_then(|part| URL_SAFE_NO_PAD.decode(part).ok())
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .ok_or_else(|| refused("its claims cannot be read"))
}

/// A list of texts, or a single one: both are in use. Of equal ones, one is kept.
fn texts(value: Option<&Value>) -> Vec<String> {
    let found: BTreeSet<&str> = match value {
        Some(Value::Array(list)) => list
            .iter()
            .filter_map(Value::as_str)
            .take(GROUPS_MAX)
            .collect(),
        Some(Value::String(one)) => BTreeSet::from([one.as_str()]),
        _ => BTreeSet::new(),
    };
    found.into_iter().map(str::to_owned).collect()
}

/// Why a token is refused, without what it says: its text may be anybody's.
fn why_refused(error: &ClaimsVerificationError) -> OidcError {
    let why = match error {
        ClaimsVerificationError::SignatureVerification(
            SignatureVerificationError::NoMatchingKey,
        ) => return OidcError::UnknownKey,
        ClaimsVerificationError::SignatureVerification(
            SignatureVerificationError::NoSignature
            | SignatureVerificationError::DisallowedAlg(_)
            | SignatureVerificationError::UnsupportedAlg(_),
        ) => "its signature is of a kind that is not taken",
        ClaimsVerificationError::SignatureVerification(_) => "its signature is wrong",
        ClaimsVerificationError::Expired(_) => "it has expired, or was not issued just now",
        ClaimsVerificationError::InvalidAudience(_) => "it is not for this client alone",
        ClaimsVerificationError::InvalidIssuer(_) => "it is from another issuer",
        ClaimsVerificationError::InvalidNonce(_) => "it was issued for another sign-in",
        _ => "it is not an ID token of a kind that is taken",
    };
    refused(why)
}

#[cfg(test)]
mod tests;
