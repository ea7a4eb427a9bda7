//! API keys: with which applications send events and monitoring systems read metrics.

use anyhow::Context as _;
use model::{Clock as _, ServiceName, Span, SystemClock, Timestamp};
use store::keys::NewKey;
use uuid::Uuid;

use crate::actor::{Action, Resource};
use crate::{AppError, Session, auth};

pub use store::keys::KeyRow;

/// What a key may be allowed to do.
pub const SCOPES: [&str; 2] = ["events:write", "metrics:read"];
/// The account that owns keys for which no owner is named. It has no password, so no one can log in
/// as it.
pub const OWNER: &str = "ingest";
/// The longest name of a key, in characters.
pub const NAME_MAX: usize = 100;
/// The fewest first characters that identify a key.
pub const PREFIX_MIN: usize = 6;

/// A key to be made.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// What uses it.
    pub name: &'a str,
    /// What it may do, of [`SCOPES`].
    pub scopes: &'a [String],
    /// The service that sends with it; none for a relay, which says whose events they are.
    pub service: Option<&'a ServiceName>,
    /// How long it is valid; without it, until it is revoked.
    pub valid_for: Option<Span>,
    /// The user that owns it; without one, the service account.
    pub owner: Option<&'a str>,
}

/// A key that was made. The secret is not stored: this is the only time that it is there.
pub struct Created {
    /// The key itself.
    pub secret: String,
    /// Its id.
    pub key_id: Uuid,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// The first characters of another active key of the same name.
    pub namesake: Option<String>,
}

/// Makes a key.
pub async fn create(session: &mut Session, request: &Request<'_>) -> Result<Created, AppError> {
    let (conn, actor) = session.change(Action::Write, Resource::Keys)?;
    check_request(request)?;

    let user_id = match request.owner {
        Some(owner) => store::users::named(conn, owner)
            .await?
            .ok_or_else(|| AppError::not_found(format!("there is no user `{owner}`")))?,
        None => store::users::ensure_service(conn, actor, OWNER).await?,
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

    let namesake = store::keys::list(conn)
        .await?
        .into_iter()
        .find(|other| other.is_active && other.name == request.name)
        .map(|other| other.prefix);
    let key_id = store::keys::create(conn, actor, &key).await?;
    Ok(Created {
        secret: minted.secret,
        key_id,
        expires_at,
        namesake,
    })
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
pub async fn list(session: &mut Session) -> Result<Vec<KeyRow>, AppError> {
    Ok(store::keys::list(session.read(Resource::Keys)?).await?)
}

/// Revokes the key with this id, or with these first characters: of the key as the list shows it,
/// or the whole key, pasted in a hurry. Returns the key, and whether it was in force.
pub async fn revoke(session: &mut Session, id: &str) -> Result<(KeyRow, bool), AppError> {
    let (conn, actor) = session.change(Action::Write, Resource::Keys)?;
    let key = find_key(store::keys::list(conn).await?, id)?;
    let revoked = store::keys::revoke(conn, actor, key.key_id).await?;
    Ok((key, revoked))
}

/// Finds the one key that `id` identifies. Too few characters are an error, not a match.
fn find_key(keys: Vec<KeyRow>, id: &str) -> Result<KeyRow, AppError> {
    let exact = keys.iter().position(|key| key.key_id.to_string() == id);
    let mut keys = keys;
    if let Some(exact) = exact {
        return Ok(keys.swap_remove(exact));
    }

    if id.len() < PREFIX_MIN {
        return Err(AppError::invalid(format!(
            "give at least {PREFIX_MIN} characters of the key, or its ID; `blueteam keys list` \
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
