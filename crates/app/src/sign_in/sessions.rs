//! Sessions of people: whose a token is, when it locks and ends.

use identity::{SessionSettings, SessionState, SessionTimes, Token, TokenKind};
use model::{Actor, Span, Timestamp};
use secrecy::SecretString;
use store::accounts::SessionRow;
use store::sign_in::SessionFacts;
use store::{PgConnection, StoreError};
use uuid::Uuid;

use super::record::{Way, attempt_event};
use super::{
    Attempt, Beginning, Client, Outcome, Person, SignIn, SignInError, SignedIn, client_actor,
    person_of,
};

/// A use of a session is noted when the one before is older than this.
const NOTE_USE_AFTER: Span = Span::secs(30);

/// Whose a session is, whether it is locked or not.
#[derive(Clone, Copy, Debug)]
pub struct Owner {
    /// The account.
    pub user_id: Uuid,
    /// The session.
    pub session_id: Uuid,
}

impl SignIn {
    /// The person whose session a token is, if it may be used.
    pub async fn resolve(&self, token: &str, client: &Client) -> Result<Person, SignInError> {
        self.look(token, client, true).await
    }

    /// The same for what a page asks by itself: nobody was active, and the session locks as if it had
    /// not been asked (3.1.10).
    pub async fn resolve_idle(&self, token: &str, client: &Client) -> Result<Person, SignInError> {
        self.look(token, client, false).await
    }

    /// Whose a session is, also of one that is locked.
    pub async fn owner(&self, token: &str) -> Result<Owner, SignInError> {
        let facts = self.find_session(token).await?;
        Ok(Owner {
            user_id: facts.user_id,
            session_id: facts.session_id,
        })
    }

    async fn look(
        &self,
        token: &str,
        client: &Client,
        is_active: bool,
    ) -> Result<Person, SignInError> {
        let facts = self.find_session(token).await?;
        let times = times_of(&facts);
        let now = self.clock.now();
        match times.state(&self.settings.sessions, now) {
            SessionState::Active => {}
            SessionState::Locked => return Err(SignInError::Locked),
            SessionState::Ended(reason) => {
                let actor = session_actor(&facts, client);
                let mut conn = self.connect().await?;
                store::sign_in::end_session(&mut conn, &actor, facts.session_id, reason.as_str())
                    .await?;
                return Err(SignInError::NoSession);
            }
        }

        if is_active && now.since(facts.seen_at) >= NOTE_USE_AFTER {
            let after = times.after_activity(&self.settings.sessions, now);
            self.keep_times(&facts, &after).await?;
        }
        let stepped_up = times.is_stepped_up(&self.settings.sessions, now);
        Ok(Person {
            user_id: facts.user_id,
            username: facts.username,
            full_name: facts.full_name,
            role: facts.role,
            tenant_id: facts.tenant_id,
            session_id: facts.session_id,
            stepped_up,
            ends_at: facts.expires_at,
        })
    }

    pub(super) async fn find_session(&self, token: &str) -> Result<SessionFacts, SignInError> {
        let token = Token::parse(TokenKind::Session, token).map_err(|_| SignInError::NoSession)?;
        let mut conn = self.connect().await?;
        let facts = store::sign_in::session(&mut conn, token.hash().as_bytes()).await?;
        facts
            .filter(|facts| facts.is_usable)
            .ok_or(SignInError::NoSession)
    }

    async fn keep_times(
        &self,
        facts: &SessionFacts,
        times: &SessionTimes,
    ) -> Result<(), SignInError> {
        let mut conn = self.connect().await?;
        let id = facts.session_id;
        store::sign_in::keep_times(
            &mut conn,
            id,
            times.last_activity,
            times.locked_at,
            times.stepped_up_at,
        )
        .await?;
        Ok(())
    }

    /// Proves once more who a session's person is, by all factors as at a sign-in: a new session
    /// takes the place of the old one, locked or not. Whoever has copied the old token is left with
    /// nothing (ASVS 7.2.4), and what is dangerous may be done for a while.
    pub async fn prove_again(
        &self,
        token: &str,
        password: SecretString,
        code: Option<String>,
        client: &Client,
    ) -> Outcome<SignedIn> {
        let mut username = String::new();
        let result = async {
            let facts = self.find_session(token).await?;
            username.clone_from(&facts.username);
            let attempt = Attempt {
                username: facts.username.clone(),
                password,
                code,
                notice: None,
            };
            let (credentials, way) = self.prove(&attempt, client).await?;
            // A directory may know another person by this name.
            if credentials.user_id != facts.user_id {
                return Err(SignInError::Wrong);
            }
            let code = attempt.code.as_deref();
            let by = self.prove_second(&credentials, code, client).await?;
            let factors = [way.as_str().to_owned(), by];
            self.attempts.succeeded(client.address, &attempt.username);

            let state = times_of(&facts).state(&self.settings.sessions, self.clock.now());
            if matches!(state, SessionState::Ended(_)) {
                return Err(SignInError::NoSession);
            }
            // As at a sign-in, or whoever never signs out would keep an old password.
            if way == Way::Password && self.must_change(&credentials).await? {
                return Err(SignInError::PasswordChangeNeeded);
            }
            let current = person_of(&credentials, facts.session_id);
            // What was accepted stays with the session that this one takes the place of.
            let beginning = Beginning {
                factors: &factors,
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
            .and_then(|error| attempt_event(Way::Password, Some(&username), client, Err(error)));
        self.outcome(result, event, Some(&username)).await
    }

    /// Locks a session, as its person asks.
    pub async fn lock(&self, token: &str) -> Result<(), SignInError> {
        let facts = self.find_session(token).await?;
        let times = times_of(&facts).after_lock(self.clock.now());
        self.keep_times(&facts, &times).await
    }

    /// Ends a session, as its person asks.
    pub async fn sign_out(&self, token: &str, client: &Client) -> Result<(), SignInError> {
        let facts = self.find_session(token).await?;
        let actor = session_actor(&facts, client);
        let mut conn = self.connect().await?;
        store::sign_in::end_session(&mut conn, &actor, facts.session_id, "signed out").await?;
        Ok(())
    }

    /// The sessions of a person, to see whether all are theirs.
    pub async fn own_sessions(&self, person: &Person) -> Result<Vec<SessionRow>, SignInError> {
        let mut conn = self.connect().await?;
        Ok(store::accounts::sessions(&mut conn, Some(person.user_id)).await?)
    }

    /// Ends one of a person's sessions; asks for both factors again if they are not fresh (ASVS
    /// 7.5.2).
    pub async fn end_own_session(
        &self,
        person: &Person,
        session_id: Uuid,
        client: &Client,
    ) -> Result<(), SignInError> {
        if !person.stepped_up {
            return Err(SignInError::ProofNeeded);
        }
        let actor = person_actor(person, client);
        let mut conn = self.connect().await?;
        let user_id = person.user_id;
        if store::sign_in::end_own_session(&mut conn, &actor, user_id, session_id).await? {
            return Ok(());
        }
        Err(SignInError::NoSuchSession)
    }
}

pub(super) fn times_of(facts: &SessionFacts) -> SessionTimes {
    SessionTimes {
        started: facts.created_at,
        last_activity: facts.seen_at,
        locked_at: facts.locked_at,
        stepped_up_at: facts.stepped_up_at,
    }
}

/// A person who acts from a session.
pub(super) fn person_actor(person: &Person, client: &Client) -> Actor {
    let mut actor = client_actor(&person.username, client);
    actor.tenant = person.tenant_id;
    actor.origin.session = Some(person.session_id.to_string());
    actor
}

fn session_actor(facts: &SessionFacts, client: &Client) -> Actor {
    let mut actor = client_actor(&facts.username, client);
    actor.tenant = facts.tenant_id;
    actor.origin.session = Some(facts.session_id.to_string());
    actor
}

/// Ends the sessions that have had their time although nobody has asked for them since, and
/// disables the accounts that nobody uses; returns the names of these.
pub async fn tidy_up(
    conn: &mut PgConnection,
    sessions: &SessionSettings,
    now: Timestamp,
) -> Result<Vec<String>, StoreError> {
    let actor = Actor::task("accounts");
    let idle_since = now.minus(sessions.end_after_idle);
    let began_before = now.minus(sessions.end_after);
    store::sign_in::end_old_sessions(conn, &actor, idle_since, began_before).await?;
    store::sign_in::disable_idle_accounts(conn, &actor).await
}
