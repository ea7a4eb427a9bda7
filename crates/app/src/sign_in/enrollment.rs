//! Setting an account up: with the code of a link, a person chooses a password and a second factor.

use std::time::Instant;

use identity::{PasswordPolicy, RecoveryCode, Token, TokenKind, TotpSecret};
use secrecy::{ExposeSecret as _, SecretString};
use store::sign_in::{Credentials, Enrollment, LinkFacts, NewPassword, NewSession};

use super::{Client, SignIn, SignInError, SignedIn, actor_of, person_of};

/// What authenticator apps call the account's issuer.
const ISSUER: &str = "blueteam";

/// What an enrollment shows before it is completed.
#[derive(Debug)]
pub struct Begun {
    /// The name of the account.
    pub username: String,
    /// For the authenticator app, as a text.
    pub secret: SecretString,
    /// The same as an address that apps read, for a QR code.
    pub uri: SecretString,
    /// What a password must meet; none for an account that is known elsewhere and has none.
    pub policy: Option<PasswordPolicy>,
}

/// What a person chooses at an enrollment.
#[derive(Debug)]
pub struct Chosen {
    /// The password; empty for an account that is known elsewhere.
    pub password: SecretString,
    /// A code of the app that is being set up.
    pub code: String,
    /// The version of the notice that they accept.
    pub notice: Option<String>,
}

/// What an enrollment leaves with its person.
#[derive(Debug)]
pub struct Enrolled {
    /// The session that began.
    pub session: SignedIn,
    /// Codes for when the app is lost; shown once.
    pub recovery_codes: Vec<RecoveryCode>,
}

impl SignIn {
    async fn find_link(&self, token: &str) -> Result<(LinkFacts, Credentials), SignInError> {
        let kinds = [TokenKind::Enrollment, TokenKind::Recovery];
        let token = kinds
            .into_iter()
            .find_map(|kind| Token::parse(kind, token).ok())
            .ok_or(SignInError::LinkGone)?;
        let mut conn = self.connect().await?;
        let link = store::sign_in::link(&mut conn, token.hash().as_bytes())
            .await?
            .ok_or(SignInError::LinkGone)?;
        let credentials = store::sign_in::credentials_of(&mut conn, link.user_id)
            .await?
            .ok_or(SignInError::LinkGone)?;
        Ok((link, credentials))
    }

    /// Begins an enrollment: returns what the authenticator app needs. Whoever opens a link twice
    /// is shown the same.
    pub async fn begin_enrollment(
        &self,
        token: &str,
        client: &Client,
    ) -> Result<Begun, SignInError> {
        self.attempts
            .begin(client.address, &at_the_page(client), Instant::now())
            .map_err(SignInError::TooMany)?;
        let (link, credentials) = self.find_link(token).await?;
        self.attempts
            .succeeded(client.address, &at_the_page(client));

        let fresh = TotpSecret::generate().map_err(anyhow::Error::new)?;
        let sealed = self.seal.seal(credentials.user_id, &fresh)?;
        let actor = actor_of(&credentials, client);
        let mut conn = self.connect().await?;
        let kept = store::sign_in::keep_link_secret(&mut conn, &actor, link.link_id, &sealed)
            .await?
            .ok_or(SignInError::LinkGone)?;
        drop(conn);
        let secret = self.seal.open(credentials.user_id, &kept)?;
        Ok(Begun {
            uri: secret.to_uri(ISSUER, &credentials.username),
            secret: secret.to_base32(),
            policy: if credentials.is_external {
                None
            } else {
                Some(self.policy(credentials.tenant_id).await?)
            },
            username: credentials.username,
        })
    }

    /// Completes an enrollment: the password and the authenticator app are the account's from now
    /// on, and the person is signed in.
    pub async fn complete_enrollment(
        &self,
        token: &str,
        chosen: &Chosen,
        client: &Client,
    ) -> Result<Enrolled, SignInError> {
        let notice = self.accepted(chosen.notice.as_deref())?;
        self.attempts
            .begin(client.address, &at_the_page(client), Instant::now())
            .map_err(SignInError::TooMany)?;
        let (link, credentials) = self.find_link(token).await?;
        let sealed = link.sealed.as_deref().ok_or(SignInError::LinkGone)?;
        let secret = self.seal.open(credentials.user_id, sealed)?;
        let step = secret
            .verify(&chosen.code, self.clock.now(), None)
            .map_err(|_| SignInError::Wrong)?;
        // Whoever is known elsewhere proves there who it is, and sets up the second factor alone.
        let hashed = if credentials.is_external {
            None
        } else {
            Some(self.hash_new(&credentials, &chosen.password, None).await?)
        };
        self.attempts
            .succeeded(client.address, &at_the_page(client));

        let recovery_codes = RecoveryCode::generate_set().map_err(anyhow::Error::new)?;
        let recovery_hashes: Vec<Vec<u8>> = recovery_codes
            .iter()
            .map(|code| code.hash().as_bytes().to_vec())
            .collect();
        let session_token = Token::generate(TokenKind::Session).map_err(anyhow::Error::new)?;
        let session_hash = session_token.hash();
        let first = if hashed.is_some() {
            "password"
        } else {
            "enrollment link"
        };
        let factors = [first.to_owned(), "totp".to_owned()];
        let enrollment = Enrollment {
            link_id: link.link_id,
            user_id: credentials.user_id,
            username: &credentials.username,
            password: hashed.as_ref().map(|hashed| NewPassword {
                hash: &hashed.hash,
                history: &hashed.history,
            }),
            sealed,
            step: step.as_i64(),
            recovery_hashes: &recovery_hashes,
            session: NewSession {
                user_id: credentials.user_id,
                token_hash: session_hash.as_bytes(),
                factors: &factors,
                replaces: None,
                is_fresh: true,
                notice,
            },
        };

        let actor = actor_of(&credentials, client);
        let mut conn = self.connect().await?;
        let session_id = store::sign_in::enroll(&mut conn, &actor, &enrollment)
            .await?
            .ok_or(SignInError::LinkGone)?;
        Ok(Enrolled {
            session: SignedIn {
                token: session_token,
                person: person_of(&credentials, session_id),
            },
            recovery_codes,
        })
    }
}

/// How someone who is made up signs in.
#[derive(Debug)]
pub(crate) struct MadeUp {
    /// For an authenticator app.
    pub totp_secret: SecretString,
    /// In place of its codes.
    pub recovery_codes: Vec<RecoveryCode>,
}

impl SignIn {
    /// Sets an account up without a person and an app. The session that begins ends at once.
    pub(crate) async fn enroll_made_up(
        &self,
        token: &str,
        password: SecretString,
        client: &Client,
    ) -> Result<MadeUp, SignInError> {
        let begun = self.begin_enrollment(token, client).await?;
        let (link, credentials) = self.find_link(token).await?;
        let sealed = link.sealed.as_deref().ok_or(SignInError::LinkGone)?;
        let secret = self.seal.open(credentials.user_id, sealed)?;
        let chosen = Chosen {
            password,
            code: secret.code_at(self.clock.now()).expose_secret().to_owned(),
            notice: None,
        };
        let enrolled = self.complete_enrollment(token, &chosen, client).await?;
        self.sign_out(enrolled.session.token.expose(), client)
            .await?;
        Ok(MadeUp {
            totp_secret: begun.secret,
            recovery_codes: enrolled.recovery_codes,
        })
    }
}

/// Under what attempts at the page are counted beside their network: nobody's wrong codes may keep
/// others from setting their accounts up.
fn at_the_page(client: &Client) -> String {
    format!("enrollment from {}", client.address)
}
