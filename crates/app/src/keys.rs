//! API keys: of machines, with which applications send events and monitoring systems read metrics,
//! and of people, with which their programs use `/api/v1` (decision 0051).
//!
//! What a key is for is told by its scopes. No key is both: they are kept apart in the database,
//! look different, and are looked up by different roles.

use std::sync::Arc;

use anyhow::Context as _;
use identity::role::Permissions;
use identity::{KeyScopes, Role, Token, TokenKind, scopes};
use model::{Clock as _, ServiceName, Span, SystemClock, Timestamp};
use store::accounts::{AccountRow, Filter};
use store::keys::{KeyRow, NewKey};
use store::person_keys::{NewPersonKey, NewSecret, PersonKeyRow, Rotation};
use store::{PgConnection, StoreError};
use uuid::Uuid;

use crate::actor::{Action, Denied, Resource};
use crate::tenants::within_plan;
use crate::{AppError, Session, auth, permissions};

/// What a key of a machine may be allowed to do.
pub const SCOPES: [&str; 2] = ["events:write", "metrics:read"];
/// The account that owns keys for which no owner is named. It has no password, so no one can log in
/// as it.
pub const OWNER: &str = "ingest";
/// The longest name of a key, in characters.
pub const NAME_MAX: usize = 100;
/// The fewest first characters that identify a key.
pub const PREFIX_MIN: usize = 6;
/// How long a person's key is valid, unless it is said.
pub const PERSON_VALID_FOR: Span = Span::days(90);
/// How long it may be valid.
pub const PERSON_VALID_MAX: Span = Span::days(365);
/// How long the secret before a rotation counts, unless it is said.
pub const GRACE: Span = Span::hours(1);
/// How long it may count.
pub const GRACE_MAX: Span = Span::hours(24);

/// Characters of a person's key that lists show: its kind and five more.
const PERSON_PREFIX: usize = 12;

/// Whose key it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Of a machine: it sends events or reads metrics.
    Machine,
    /// Of a person: it does in `/api/v1` what its owner may.
    Person,
}

/// A key in a list.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Key {
    /// The key.
    pub key_id: Uuid,
    /// Whose it is.
    pub kind: Kind,
    /// Its owner.
    pub username: String,
    /// Its name.
    pub name: String,
    /// Its first characters.
    pub prefix: String,
    /// What it may do.
    pub scopes: Vec<String>,
    /// The service that sends with it; none for a relay, and for a person's key.
    pub service: Option<String>,
    /// Whether it is in force, its end apart.
    pub is_active: bool,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// When it was last used, to the minute or so.
    pub last_used: Option<Timestamp>,
    /// How often it was used.
    pub usage_count: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its secret was last replaced.
    pub rotated_at: Option<Timestamp>,
    /// Until when the secret before counts, too.
    pub former_until: Option<Timestamp>,
}

impl From<KeyRow> for Key {
    fn from(row: KeyRow) -> Self {
        Self {
            key_id: row.key_id,
            kind: Kind::Machine,
            username: row.username,
            name: row.name,
            prefix: row.prefix,
            scopes: row.scopes,
            service: row.service,
            is_active: row.is_active,
            expires_at: row.expires_at,
            last_used: row.last_used,
            usage_count: row.usage_count.into(),
            created_at: row.created_at,
            rotated_at: None,
            former_until: None,
        }
    }
}

impl From<PersonKeyRow> for Key {
    fn from(row: PersonKeyRow) -> Self {
        Self {
            key_id: row.key_id,
            kind: Kind::Person,
            username: row.username,
            name: row.name,
            prefix: row.prefix,
            scopes: row.scopes,
            service: None,
            is_active: row.is_active,
            expires_at: Some(row.expires_at),
            last_used: row.last_used,
            usage_count: row.usage_count,
            created_at: row.created_at,
            rotated_at: row.rotated_at,
            former_until: row.former_until,
        }
    }
}

/// A key to be made.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// What uses it.
    pub name: &'a str,
    /// What it may do: of [`SCOPES`] for a machine, else of a person. A person's key without any
    /// may read.
    pub scopes: &'a [String],
    /// The service that sends with it; none for a relay, which says whose events they are.
    pub service: Option<&'a ServiceName>,
    /// How long it is valid; without it, a machine's key until it is revoked, a person's 90 days.
    pub valid_for: Option<Span>,
    /// The user that owns it; without one, the service account, or the person who has signed in.
    pub owner: Option<&'a str>,
}

/// A key that was made. The secret is not stored: this is the only time that it is there.
pub struct Created {
    /// The key itself.
    pub secret: String,
    /// Its id.
    pub key_id: Uuid,
    /// Whose it is.
    pub kind: Kind,
    /// What it may do.
    pub scopes: Vec<String>,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// The first characters of another active key of the same name.
    pub namesake: Option<String>,
}

/// Makes a key.
pub async fn create(session: &mut Session, request: &Request<'_>) -> Result<Created, AppError> {
    session.require(Action::Write, Resource::Keys)?;
    check_request(request)?;
    let machine = |scope: &String| SCOPES.contains(&scope.as_str());
    let signed_in = session.rights().is_some();
    let is_machine = match request.scopes {
        [] => request.owner.is_none() && !signed_in,
        scopes => scopes.iter().all(machine),
    };
    if !is_machine && request.scopes.iter().any(machine) {
        return Err(AppError::invalid(
            "one key does not send events and act for a person: make two",
        ));
    }
    if is_machine {
        create_for_machine(session, request).await
    } else {
        create_for_person(session, request).await
    }
}

/// The account that owns keys for which no owner is named: names are given once in the whole
/// installation, so that another tenant than `default` has one of its own.
async fn owner_of(conn: &mut PgConnection) -> Result<String, AppError> {
    let tenant = store::tenants::acting_name(conn).await?;
    Ok(match tenant.filter(|name| !name.is_default()) {
        Some(name) => format!("{OWNER}@{name}"),
        None => OWNER.to_owned(),
    })
}

async fn create_for_machine(
    session: &mut Session,
    request: &Request<'_>,
) -> Result<Created, AppError> {
    if request.scopes.is_empty() {
        return Err(AppError::invalid(
            "name what the key may do (--scope), or the person whose key it is (--owner)",
        ));
    }
    let (conn, actor) = session.change(Action::Write, Resource::Keys)?;
    let user_id = if let Some(owner) = request.owner {
        store::users::named(conn, owner)
            .await?
            .ok_or_else(|| AppError::not_found(format!("there is no user `{owner}`")))?
    } else {
        let owner = owner_of(conn).await?;
        store::users::ensure_service(conn, actor, &owner).await?
    };

    let mut random = [0; 32];
    getrandom::fill(&mut random).context("cannot get random numbers from the system")?;
    let minted = auth::mint(random);
    let expires_at = request.valid_for.map(|span| SystemClock.now().plus(span));
    let key = NewKey {
        user_id,
        name: request.name,
        hash: &minted.hash,
        prefix: &minted.prefix,
        scopes: request.scopes,
        service: request.service,
        expires_at,
    };

    let namesake = find_namesake(conn, request.name).await?;
    let key_id = store::keys::create(conn, actor, &key)
        .await
        .map_err(within_plan)?;
    Ok(Created {
        secret: minted.secret,
        key_id,
        kind: Kind::Machine,
        scopes: request.scopes.to_vec(),
        expires_at,
        namesake,
    })
}

/// A person makes keys for themself alone: whoever could make one for another would act as them.
/// The operator of the machine makes them for everybody.
async fn create_for_person(
    session: &mut Session,
    request: &Request<'_>,
) -> Result<Created, AppError> {
    let own = session.rights().map(|_| session.actor().name.clone());
    let owner = match (own, request.owner) {
        (Some(own), Some(owner)) if own != owner => {
            return Err(not_own(session));
        }
        (Some(own), _) => own,
        (None, Some(owner)) => owner.to_owned(),
        (None, None) => {
            return Err(AppError::invalid(
                "name the person whose key it is (--owner)",
            ));
        }
    };
    if request.service.is_some() {
        return Err(AppError::invalid(
            "a person's key sends no events: it has no service",
        ));
    }
    let valid_for = request.valid_for.unwrap_or(PERSON_VALID_FOR);
    if valid_for > PERSON_VALID_MAX {
        return Err(AppError::invalid(
            "a person's key is valid for a year at most; rotate it in time",
        ));
    }

    let (conn, actor) = session.change(Action::Write, Resource::Keys)?;
    let account = find_person(conn, &owner).await?;
    let scopes = match request.scopes {
        [] => vec![scopes::READ.to_owned()],
        scopes => scopes.to_vec(),
    };
    check_scopes(conn, &scopes, &account).await?;

    let token = Token::generate(TokenKind::ApiKey).map_err(anyhow::Error::new)?;
    let hash = token.hash();
    let expires_at = SystemClock.now().plus(valid_for);
    let key = NewPersonKey {
        user_id: account.user_id,
        name: request.name,
        scopes: &scopes,
        expires_at,
        secret: NewSecret {
            hash: hash.as_bytes(),
            prefix: person_prefix(&token),
        },
    };
    let namesake = find_namesake(conn, request.name).await?;
    let key_id = store::person_keys::create(conn, actor, &key)
        .await
        .map_err(within_plan)?;
    Ok(Created {
        secret: token.expose().to_owned(),
        key_id,
        kind: Kind::Person,
        scopes,
        expires_at: Some(expires_at),
        namesake,
    })
}

fn not_own(session: &Session) -> AppError {
    Denied::NotAllowed {
        actor: session.actor().name.clone(),
        action: Action::Write,
        resource: Resource::Keys,
        because: "whoever has another person's key acts as them".to_owned(),
    }
    .into()
}

fn person_prefix(token: &Token) -> &str {
    let text = token.expose();
    text.get(..PERSON_PREFIX).unwrap_or(text)
}

async fn find_person(conn: &mut PgConnection, name: &str) -> Result<AccountRow, AppError> {
    let filter = Filter {
        name: Some(name),
        ..Filter::default()
    };
    let found = store::accounts::list(conn, &filter).await?;
    let account = found
        .into_iter()
        .find(|account| account.username.eq_ignore_ascii_case(name))
        .ok_or_else(|| AppError::not_found(format!("there is no user `{name}`")))?;
    if account.is_service || !account.is_active {
        return Err(AppError::conflict(format!(
            "{} is not a person who may sign in",
            account.username
        )));
    }
    Ok(account)
}

/// Refuses what the owner may not do themself: a later promotion would give it to a key that
/// everybody has forgotten.
async fn check_scopes(
    conn: &mut PgConnection,
    scopes: &[String],
    account: &AccountRow,
) -> Result<(), AppError> {
    let parsed = KeyScopes::parse(scopes.iter().map(String::as_str))
        .map_err(|error| AppError::invalid(error.to_string()))?;
    let role: Role = account.role.parse().map_err(anyhow::Error::new)?;
    let permissions = permissions::in_force(conn, &Arc::new(Permissions::built_in())).await?;
    let beyond = parsed.iter().find(|scope| match scope {
        scopes::Scope::Read => false,
        scopes::Scope::One(resource, action) => !permissions.allows(role, *action, *resource),
    });
    match beyond {
        Some(scope) => Err(AppError::invalid(format!(
            "{} has the role {role}, which has no right to {scope}",
            account.username
        ))),
        None => Ok(()),
    }
}

async fn find_namesake(conn: &mut PgConnection, name: &str) -> Result<Option<String>, StoreError> {
    let keys = all_keys(conn).await?;
    let other = keys.into_iter().find(|k| k.is_active && k.name == name);
    Ok(other.map(|key| key.prefix))
}

fn check_request(request: &Request<'_>) -> Result<(), AppError> {
    let length = request.name.chars().count();
    if request.name.trim().is_empty() || length > NAME_MAX {
        return Err(AppError::invalid(format!(
            "a key's name has from 1 to {NAME_MAX} characters"
        )));
    }

    if request.valid_for.is_some_and(|span| span <= Span::ZERO) {
        return Err(AppError::invalid("--expires must be longer than nothing"));
    }

    Ok(())
}

/// Every key, the newest first.
pub async fn list(session: &mut Session) -> Result<Vec<Key>, AppError> {
    Ok(all_keys(session.read(Resource::Keys)?).await?)
}

async fn all_keys(conn: &mut PgConnection) -> Result<Vec<Key>, StoreError> {
    let machines = store::keys::list(conn).await?;
    let persons = store::person_keys::list(conn).await?;
    let mut keys: Vec<Key> = machines
        .into_iter()
        .map(Key::from)
        .chain(persons.into_iter().map(Key::from))
        .collect();
    keys.sort_by_key(|key| std::cmp::Reverse((key.created_at, key.key_id)));
    Ok(keys)
}

/// Revokes the key with this id, or with these first characters: of the key as the list shows it,
/// or the whole key, pasted in a hurry. Returns the key, and whether it was in force.
pub async fn revoke(session: &mut Session, id: &str) -> Result<(Key, bool), AppError> {
    let (conn, actor) = session.change(Action::Write, Resource::Keys)?;
    let key = find_key(all_keys(conn).await?, id)?;
    let revoked = match key.kind {
        Kind::Machine => store::keys::revoke(conn, actor, key.key_id).await?,
        Kind::Person => store::person_keys::revoke(conn, actor, key.key_id).await?,
    };
    Ok((key, revoked))
}

/// A key whose secret was replaced. The secret is not stored.
pub struct Rotated {
    /// The key as it was.
    pub key: Key,
    /// The new secret.
    pub secret: String,
    /// When the key ends now: as long from now as it was valid before.
    pub expires_at: Timestamp,
    /// Until when the old secret counts.
    pub former_until: Timestamp,
}

/// Gives a person's key another secret; the old one counts for `grace` more. Beyond the machine
/// only its owner does this, because they get the secret.
pub async fn rotate(session: &mut Session, id: &str, grace: Span) -> Result<Rotated, AppError> {
    session.require(Action::Write, Resource::Keys)?;
    if !(Span::ZERO..=GRACE_MAX).contains(&grace) {
        return Err(AppError::invalid(
            "the old secret counts for 24 hours at most",
        ));
    }
    let own = session.rights().map(|_| session.actor().name.clone());
    let (conn, _) = session.change(Action::Write, Resource::Keys)?;
    let key = find_key(all_keys(conn).await?, id)?;
    if key.kind == Kind::Machine {
        return Err(AppError::invalid(
            "a machine's key is not rotated: make another one and revoke this",
        ));
    }
    if own.is_some_and(|own| own != key.username) {
        return Err(not_own(session));
    }

    let token = Token::generate(TokenKind::ApiKey).map_err(anyhow::Error::new)?;
    let (hash, now) = (token.hash(), SystemClock.now());
    let since = key.rotated_at.unwrap_or(key.created_at);
    let valid_for = key.expires_at.unwrap_or(now).since(since);
    let expires_at = now.plus(valid_for.min(PERSON_VALID_MAX));
    let rotation = Rotation {
        secret: NewSecret {
            hash: hash.as_bytes(),
            prefix: person_prefix(&token),
        },
        expires_at,
        grace,
    };
    let (conn, actor) = session.change(Action::Write, Resource::Keys)?;
    if !store::person_keys::rotate(conn, actor, key.key_id, &rotation).await? {
        return Err(AppError::conflict(
            "the key was revoked or is over: make another one",
        ));
    }
    Ok(Rotated {
        key,
        secret: token.expose().to_owned(),
        expires_at,
        former_until: now.plus(grace),
    })
}

/// Finds the one key that `id` identifies. Too few characters are an error, not a match.
fn find_key(keys: Vec<Key>, id: &str) -> Result<Key, AppError> {
    let exact = keys.iter().position(|key| key.key_id.to_string() == id);
    let mut keys = keys;
    if let Some(exact) = exact {
        return Ok(keys.swap_remove(exact));
    }

    // All keys of people begin alike.
    let kind = TokenKind::ApiKey.prefix();
    let min = if kind.starts_with(id) || id.starts_with(kind) {
        PERSON_PREFIX - 2
    } else {
        PREFIX_MIN
    };
    if id.len() < min {
        return Err(AppError::invalid(format!(
            "give at least {min} characters of the key, or its ID; `blueteam keys list` \
                shows both"
        )));
    }

    keys.retain(|key| key.prefix.starts_with(id) || id.starts_with(&key.prefix));
    match keys.pop() {
        Some(key) if keys.is_empty() => Ok(key),
        Some(_) => Err(AppError::invalid(
            "several keys begin like this; give more characters, or the ID",
        )),
        None => Err(AppError::not_found(
            "there is no such key; `blueteam keys list` shows all",
        )),
    }
}
