//! Keys, accounts, sessions and the policy for passwords.

use std::sync::Arc;

use app::accounts::{self, Revoke, Shown};
use app::actor::{Action, Resource, Role};
use app::{AppError, keys, password_policy, permissions, recovery};
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use model::{Clock as _, ServiceName, Span, SystemClock, TenantId};
use serde_json::json;
use tokio::sync::MutexGuard;
use uuid::Uuid;

use super::list::{Listing, Nothing};
use super::operation::{Field, Record, Schema, body, query};
use super::version::{Expected, Given};
use super::{Api, answers};
use crate::api::State as Shared;
use crate::api::people::{read_json, record};
use crate::error::Problem;

pub(super) async fn keys(mut api: Api, listing: Listing<Nothing>) -> Result<Response, Problem> {
    let page = listing.page;
    let found = keys::list(&mut api.session).await;
    let found = found.map(|all| page.cut(all, |key| key.key_id.to_string()));
    api.page(page, found).await
}

body! {
    /// A key to be made. One for `events:write` or `metrics:read` is of a machine; any other is
    /// one's own.
    KeyBody {
        /// What uses it.
        name: String = Schema::TextUpTo(100);
        /// What it may do: `events:write`, `metrics:read`; or `read`, or a resource and an action.
        scopes: Vec<String> = Schema::ListUpTo(&Schema::Text, 50);
        /// The service that a machine sends as.
        service: Option<ServiceName> = Schema::Maybe(&Schema::Text);
        /// How long it is valid; one's own for 90 days if it is left out, and for 365 at most.
        expires: Option<Span> = Schema::Maybe(&Schema::Span);
        /// The person whose key it is: oneself. For a machine's key the account that owns it.
        owner: Option<String> = Schema::Maybe(&Schema::TextUpTo(100));
    }
}

pub(super) async fn create_key(
    mut api: Api,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let body: KeyBody = read_json(&headers, &body)?;
    let request = keys::Request {
        name: &body.name,
        scopes: &body.scopes,
        service: body.service.as_ref(),
        valid_for: body.expires,
        owner: body.owner.as_deref(),
    };
    let made = keys::create(&mut api.session, &request).await;
    api.answer(made.map(|key| {
        json!({
            "key_id": key.key_id,
            "kind": key.kind,
            "scopes": key.scopes,
            "expires_at": key.expires_at,
            "key": key.secret,
        })
    }))
    .await
}

pub(super) async fn revoke_key(mut api: Api, Path(id): Path<String>) -> Result<Response, Problem> {
    let done = keys::revoke(&mut api.session, &id).await;
    api.answer(done.map(|(key, revoked)| json!({ "key": key, "revoked": revoked })))
        .await
}

body! {
    /// How one's own key gets another secret.
    RotateBody {
        /// How much longer the old one counts: an hour if it is left out, a day at most.
        grace: Option<Span> = Schema::Maybe(&Schema::Span);
    }
}

pub(super) async fn rotate_key(
    mut api: Api,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let body: RotateBody = read_json(&headers, &body)?;
    let grace = body.grace.unwrap_or(keys::GRACE);
    let done = keys::rotate(&mut api.session, &id, grace).await;
    api.answer(done.map(|rotated| {
        json!({
            "key_id": rotated.key.key_id,
            "expires_at": rotated.expires_at,
            "former_until": rotated.former_until,
            "key": rotated.secret,
        })
    }))
    .await
}

query! {
    /// Which accounts.
    UserQuery {
        /// Those that are locked.
        locked: bool = Schema::Boolean;
    }
}

pub(super) async fn users(mut api: Api, listing: Listing<UserQuery>) -> Result<Response, Problem> {
    let Listing { query, page } = listing;
    let shown = Shown {
        locked: query.locked.unwrap_or(false),
    };
    let found = accounts::list(&mut api.session, shown).await;
    let found = found.map(|all| page.cut(all, |user| user.user_id.to_string()));
    api.page(page, found).await
}

pub(super) async fn user(mut api: Api, Path(name): Path<String>) -> Result<Response, Problem> {
    let found = accounts::find(&mut api.session, &name).await;
    api.tagged(found).await
}

body! {
    /// An account to be made.
    UserBody {
        /// Its name, which it keeps.
        username: String = Schema::TextUpTo(100);
        /// Where mail to its person goes.
        email: String = Schema::TextUpTo(254);
        /// Its person's name.
        full_name: Option<String> = Schema::Maybe(&Schema::TextUpTo(255));
        /// Its role.
        role: Role = Schema::OneOf(answers::ROLES);
        /// How long it is given; without an end if it is left out.
        expires: Option<Span> = Schema::Maybe(&Schema::Span);
    }
}

fn invitation(made: &accounts::Invitation) -> serde_json::Value {
    json!({
        "user_id": made.user_id,
        "username": made.username,
        "enrollment_code": made.token.expose(),
        "expires_at": made.until,
    })
}

pub(super) async fn create_user(
    mut api: Api,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let body: UserBody = read_json(&headers, &body)?;
    let request = accounts::Request {
        username: &body.username,
        email: &body.email,
        full_name: body.full_name.as_deref(),
        role: body.role,
        expires_at: body.expires.map(|span| SystemClock.now().plus(span)),
    };
    let made = accounts::create(&mut api.session, &request).await;
    api.answer(made.map(|made| invitation(&made))).await
}

pub(super) async fn enroll_link(
    State(state): State<Arc<Shared>>,
    api: Api,
    Path(name): Path<String>,
    given: Given,
) -> Result<Response, Problem> {
    let (mut api, _turn) = unchanged_if_given(api, &name, &given).await?;
    let made = accounts::make_link(&mut api.session, &name).await;
    if let Ok(made) = &made
        && let Some(event) = recovery::event(made, api.session.actor())?
    {
        // What cannot be recorded is not done: the session is not kept.
        let tenant = api.session.actor().tenant.map(TenantId).unwrap_or_default();
        record(&state, event, tenant).await?;
    }
    api.answer(made.map(|made| invitation(&made))).await
}

/// An account, if it is still what the request expects.
async fn unchanged_user(mut api: Api, name: &str, expected: &Expected) -> Result<Api, Problem> {
    let current = accounts::find(&mut api.session, name).await;
    api.unchanged(expected, current).await
}

/// The same of a request that may have seen nothing. What it returns is held until the change is made.
async fn unchanged_if_given(
    api: Api,
    name: &str,
    given: &Given,
) -> Result<(Api, Option<MutexGuard<'static, ()>>), Problem> {
    let Some(expected) = given.expected() else {
        return Ok((api, None));
    };
    let turn = expected.turn().await;
    Ok((unchanged_user(api, name, expected).await?, Some(turn)))
}

/// Answers an account as it is after a change.
async fn changed_user<T>(
    mut api: Api,
    name: &str,
    done: Result<T, AppError>,
) -> Result<Response, Problem> {
    let now = match done {
        Ok(_) => accounts::find(&mut api.session, name).await,
        Err(error) => Err(error),
    };
    api.tagged(now).await
}

body! {
    /// Another role.
    RoleBody {
        /// The role.
        role: Role = Schema::OneOf(answers::ROLES);
    }
}

pub(super) async fn set_role(
    api: Api,
    Path(name): Path<String>,
    expected: Expected,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let body: RoleBody = read_json(&headers, &body)?;
    let _turn = expected.turn().await;
    let mut api = unchanged_user(api, &name, &expected).await?;
    let done = accounts::set_role(&mut api.session, &name, body.role).await;
    changed_user(api, &name, done).await
}

body! {
    /// Why.
    ReasonBody {
        /// The reason.
        reason: String = Schema::TextUpTo(500);
    }
}

pub(super) async fn disable_user(
    api: Api,
    Path(name): Path<String>,
    expected: Expected,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let body: ReasonBody = read_json(&headers, &body)?;
    let _turn = expected.turn().await;
    let mut api = unchanged_user(api, &name, &expected).await?;
    let done = accounts::disable(&mut api.session, &name, &body.reason).await;
    changed_user(api, &name, done).await
}

pub(super) async fn enable_user(
    api: Api,
    Path(name): Path<String>,
    expected: Expected,
) -> Result<Response, Problem> {
    let _turn = expected.turn().await;
    let mut api = unchanged_user(api, &name, &expected).await?;
    let done = accounts::enable(&mut api.session, &name).await;
    changed_user(api, &name, done).await
}

pub(super) async fn unlock_user(
    api: Api,
    Path(name): Path<String>,
    given: Given,
) -> Result<Response, Problem> {
    let (mut api, _turn) = unchanged_if_given(api, &name, &given).await?;
    let done = accounts::unlock(&mut api.session, Some(&name)).await;
    api.done(done).await
}

pub(super) async fn require_change(
    api: Api,
    Path(name): Path<String>,
    given: Given,
) -> Result<Response, Problem> {
    let (mut api, _turn) = unchanged_if_given(api, &name, &given).await?;
    let done = accounts::require_password_change(&mut api.session, Some(&name)).await;
    api.done(done).await
}

pub(super) async fn sessions(mut api: Api, listing: Listing<Nothing>) -> Result<Response, Problem> {
    let page = listing.page;
    let found = accounts::sessions(&mut api.session, None).await;
    let found = found.map(|all| page.cut(all, |session| session.session_id.to_string()));
    api.page(page, found).await
}

pub(super) async fn revoke_session(
    mut api: Api,
    Path(id): Path<Uuid>,
) -> Result<Response, Problem> {
    let done = accounts::revoke_sessions(&mut api.session, Revoke::Session(id)).await;
    api.done(done).await
}

pub(super) async fn permissions(
    mut api: Api,
    listing: Listing<Nothing>,
) -> Result<Response, Problem> {
    let page = listing.page;
    let found = permissions::list(&mut api.session).await;
    let name =
        |one: &permissions::Permission| format!("{} {} {}", one.role, one.resource, one.action);
    let found = found.map(|all| page.cut(all, name));
    api.page(page, found).await
}

body! {
    /// What a role may do, or may not.
    PermissionBody {
        /// The role.
        role: Role = Schema::OneOf(answers::ROLES);
        /// What is done.
        action: Action = Schema::OneOf(answers::ACTIONS);
        /// To what.
        resource: Resource = Schema::Text;
        /// Whether the role may.
        allowed: bool = Schema::Boolean;
    }
}

pub(super) async fn set_permission(
    mut api: Api,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let body: PermissionBody = read_json(&headers, &body)?;
    let change = permissions::Change {
        role: body.role,
        action: body.action,
        resource: body.resource,
        allowed: body.allowed,
    };
    let done = permissions::set(&mut api.session, change).await;
    api.done(done).await
}

pub(super) async fn policy(mut api: Api) -> Result<Response, Problem> {
    let found = password_policy::show(&mut api.session).await;
    api.tagged(found.map(|in_force| in_force.to_json())).await
}
