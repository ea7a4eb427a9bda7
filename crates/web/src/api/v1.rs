//! `/api/v1`: use cases of `app` for people who have signed in.
//!
//! A route is one line of [`routes!`]: its method and path, what it does to what, and the function
//! that calls one use case. The use case asks whether the person's role may; a refusal is 403 and a
//! row of the audit log. Bodies and answers are those of the commands' `--json`.

use std::sync::Arc;

use app::accounts::{self, Revoke, Shown};
use app::actor::{Action, Denied, Resource, Role};
use app::auth::AuthError;
use app::console::{Console, record_denied};
use app::sign_in::SignInError;
use app::{AppError, Session, alerts, incidents, keys, monitors, notifications, silences, sources};
use app::{advisories, compliance, password_policy, rules};
use axum::body::Bytes;
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing;
use axum::{Extension, Router};
use model::{AlertState, Clock as _, ServiceName, Span, SystemClock};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::State as Shared;
use super::people::{Asking, no_store, person, read_json};
use crate::error::Problem;

/// A route, as the documentation and the tests see it.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// `get` or `post`.
    pub method: &'static str,
    /// Its path.
    pub path: &'static str,
    /// What it does.
    pub action: Action,
    /// To what.
    pub resource: Resource,
}

/// The most entries of a list.
const LIMIT_MAX: u32 = 1000;
/// Entries of a list, unless it is said.
const LIMIT: u32 = 100;

macro_rules! routes {
    ($($method:ident $path:literal, $action:ident $resource:ident => $handler:ident;)*) => {
        /// Every route.
        pub const ROUTES: &[Route] = &[
            $(Route {
                method: stringify!($method),
                path: $path,
                action: Action::$action,
                resource: Resource::$resource,
            },)*
        ];

        pub(super) fn router() -> Router<Arc<Shared>> {
            Router::new()$(.route(
                $path,
                routing::$method($handler)
                    .layer(Extension(Needs(Action::$action, Resource::$resource))),
            ))*
        }
    };
}

routes! {
    get "/api/v1/alerts", Read Alerts => list_alerts;
    post "/api/v1/alerts/{id}/acknowledge", Acknowledge Alerts => acknowledge_alert;
    get "/api/v1/notifications", Read Alerts => list_notifications;
    get "/api/v1/silences", Read Silences => list_silences;
    post "/api/v1/silences/{id}/expire", Write Silences => expire_silence;
    get "/api/v1/incidents", Read Incidents => list_incidents;
    get "/api/v1/incidents/{id}/history", Read Incidents => incident_history;
    post "/api/v1/incidents/{id}/status", Write Incidents => advance_incident;
    get "/api/v1/rules", Read Rules => list_rules;
    post "/api/v1/rules/{id}/enable", Write Rules => enable_rule;
    post "/api/v1/rules/{id}/disable", Write Rules => disable_rule;
    get "/api/v1/sources", Read Sources => list_sources;
    get "/api/v1/sources/{id}", Read Sources => show_source;
    get "/api/v1/monitors", Read System => list_monitors;
    get "/api/v1/advisories", Read Compliance => list_advisories;
    get "/api/v1/compliance/status", Read Compliance => compliance_status;
    get "/api/v1/compliance/gaps", Read Compliance => compliance_gaps;
    get "/api/v1/compliance/scores", Read Compliance => list_scores;
    get "/api/v1/compliance/poam", Read Poam => list_poam;
    get "/api/v1/compliance/evidence", Read Evidence => list_evidence;
    post "/api/v1/compliance/evidence/{id}/approve", Approve Evidence => approve_evidence;
    get "/api/v1/keys", Read Keys => list_keys;
    post "/api/v1/keys", Write Keys => create_key;
    post "/api/v1/keys/{id}/revoke", Write Keys => revoke_key;
    post "/api/v1/keys/{id}/rotate", Write Keys => rotate_key;
    get "/api/v1/users", Read Users => list_users;
    post "/api/v1/users", Write Users => create_user;
    get "/api/v1/users/{name}", Read Users => show_user;
    post "/api/v1/users/{name}/enroll-link", Write Users => enroll_link;
    post "/api/v1/users/{name}/role", Write Users => set_role;
    post "/api/v1/users/{name}/disable", Write Users => disable_user;
    post "/api/v1/users/{name}/enable", Write Users => enable_user;
    post "/api/v1/users/{name}/unlock", Write Users => unlock_user;
    post "/api/v1/users/{name}/require-password-change", Write Users => require_change;
    get "/api/v1/sessions", Read Sessions => list_sessions;
    post "/api/v1/sessions/{id}/revoke", Write Sessions => revoke_session;
    get "/api/v1/policy", Read Policy => show_policy;
}

/// A person, and what they work with.
struct Api {
    console: Arc<Console>,
    session: Session,
}

/// What a route does to what: a layer of each.
#[derive(Clone, Copy, Debug)]
struct Needs(Action, Resource);

/// A session of whoever asks: by the key in `Authorization`, if there is such a header, else by the
/// cookie. A header that is wrong is not made up for by a cookie.
async fn session_of(
    state: &Shared,
    console: &Console,
    asking: &Asking,
    authorization: Option<&HeaderValue>,
) -> Result<Session, Problem> {
    let Some(header) = authorization else {
        let person = person(state, asking).await?;
        return Ok(console.session_of(&person, &asking.client).await?);
    };
    let header = header.to_str().unwrap_or_default();
    let holder = console.door.keys().resolve(header, asking.client.address);
    let holder = holder.await.map_err(|error| match error {
        AuthError::Unknown | AuthError::Scope => Problem::unauthorized_person(),
        AuthError::TooMany => Problem::too_many_refused(),
        AuthError::Away => Problem::unavailable("API keys cannot be checked now"),
    })?;
    Ok(console.session_of_key(&holder, &asking.client).await?)
}

impl FromRequestParts<Arc<Shared>> for Api {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<Shared>) -> Result<Self, Problem> {
        let asking = Asking::from_request_parts(parts, state).await?;
        let console = state.console.clone().ok_or(SignInError::NoSession)?;
        let authorization = parts.headers.get(header::AUTHORIZATION);
        let session = session_of(state, &console, &asking, authorization).await?;
        let api = Self { console, session };
        // Before the body is read: whoever may not learns nothing about what it should be.
        match parts.extensions.get::<Needs>() {
            Some(Needs(action, resource)) => {
                let may = api.session.require(*action, *resource);
                api.allowed(may.map_err(AppError::from)).await
            }
            None => Err(Problem::unavailable("nobody knows what this needs")),
        }
    }
}

impl Api {
    /// The answer of a use case. A refusal is recorded first.
    async fn answer<T: Serialize>(self, result: Result<T, AppError>) -> Result<Response, Problem> {
        let value = self.checked(result).await?;
        Ok(no_store(axum::Json(value).into_response()))
    }

    /// The same where there is nothing to tell.
    async fn done<T>(self, result: Result<T, AppError>) -> Result<Response, Problem> {
        self.checked(result).await?;
        Ok(StatusCode::NO_CONTENT.into_response())
    }

    /// Goes on if the role may.
    async fn allowed(self, may: Result<(), AppError>) -> Result<Self, Problem> {
        match may {
            Ok(()) => Ok(self),
            Err(error) => Err(match self.checked(Err::<(), _>(error)).await {
                Ok(()) => Problem::unavailable("nobody knows what this needs"),
                Err(problem) => problem,
            }),
        }
    }

    async fn checked<T>(mut self, result: Result<T, AppError>) -> Result<T, Problem> {
        if let Err(AppError::Denied(denied)) = &result
            && let Err(error) = record_denied(&mut self.session, denied).await
        {
            tracing::warn!("a refusal cannot be recorded: {error}");
        }
        self.session.close().await;
        Ok(result?)
    }
}

impl From<AppError> for Problem {
    fn from(error: AppError) -> Self {
        let text = error.to_string();
        match error {
            AppError::Denied(Denied::NotAllowed { .. }) => {
                Self::new(StatusCode::FORBIDDEN, text).kind("denied")
            }
            AppError::Denied(Denied::NotByKey { .. }) => {
                Self::new(StatusCode::FORBIDDEN, text).kind("not-by-key")
            }
            AppError::Denied(Denied::ProofNeeded { .. }) => {
                Self::new(StatusCode::FORBIDDEN, text).kind("proof-needed")
            }
            AppError::Invalid(_) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, text).kind("invalid")
            }
            AppError::NotFound(_) => Self::new(StatusCode::NOT_FOUND, text).kind("not-found"),
            AppError::Conflict(_) => Self::new(StatusCode::CONFLICT, text).kind("conflict"),
            AppError::Store(error) if error.is_outage() || error.is_conflict() => {
                Self::unavailable("the database does not answer now")
            }
            // Nothing of the inside goes out (ASVS 16.5.1).
            AppError::Store(_) | AppError::Failed(_) => {
                tracing::warn!("a request of the API failed: {text}");
                let detail = "this cannot be done now; the log says why";
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, detail).kind("failed")
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Listing {
    limit: u32,
    /// Also what is over.
    all: bool,
}

impl Default for Listing {
    fn default() -> Self {
        Self {
            limit: LIMIT,
            all: false,
        }
    }
}

impl Listing {
    fn limit(&self) -> u32 {
        self.limit.clamp(1, LIMIT_MAX)
    }
}

async fn list_alerts(mut api: Api, Query(listing): Query<Listing>) -> Result<Response, Problem> {
    let filter = alerts::Filter {
        state: (!listing.all).then_some(AlertState::Open),
        ..alerts::Filter::default()
    };
    let config = Arc::clone(&api.console.config);
    let found = alerts::list(&mut api.session, &config, &filter, listing.limit()).await;
    api.answer(found).await
}

async fn acknowledge_alert(mut api: Api, Path(id): Path<String>) -> Result<Response, Problem> {
    let done = alerts::acknowledge_all(&mut api.session, &[id]).await;
    api.answer(done).await
}

async fn list_notifications(
    mut api: Api,
    Query(listing): Query<Listing>,
) -> Result<Response, Problem> {
    let filter = notifications::Filter::default();
    let found = notifications::list(&mut api.session, &filter, listing.limit()).await;
    api.answer(found).await
}

async fn list_silences(mut api: Api, Query(listing): Query<Listing>) -> Result<Response, Problem> {
    let which = if listing.all {
        silences::Which::All
    } else {
        silences::Which::Unended
    };
    let found = silences::list(&mut api.session, which).await;
    api.answer(found).await
}

async fn expire_silence(mut api: Api, Path(id): Path<String>) -> Result<Response, Problem> {
    let done = silences::expire(&mut api.session, &id).await;
    api.done(done).await
}

async fn list_incidents(mut api: Api, Query(listing): Query<Listing>) -> Result<Response, Problem> {
    let found = incidents::list(&mut api.session, listing.all, listing.limit()).await;
    api.answer(found).await
}

async fn incident_history(mut api: Api, Path(id): Path<String>) -> Result<Response, Problem> {
    let found = incidents::history(&mut api.session, &id).await;
    api.answer(found.map(|(_, changes)| changes)).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StatusBody {
    status: String,
    reason: String,
}

async fn advance_incident(
    mut api: Api,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let body: StatusBody = read_json(&headers, &body)?;
    let to = body
        .status
        .parse()
        .map_err(|error| AppError::invalid(format!("status: {error}")))?;
    let moved = incidents::advance(&mut api.session, &id, to, &body.reason).await;
    api.answer(moved.map(|moved| json!({ "incident": moved.before, "status": moved.status })))
        .await
}

async fn list_rules(mut api: Api) -> Result<Response, Problem> {
    let config = Arc::clone(&api.console.config);
    let found = rules::list(&mut api.session, &config).await;
    api.answer(found).await
}

async fn enable_rule(mut api: Api, Path(id): Path<String>) -> Result<Response, Problem> {
    let config = Arc::clone(&api.console.config);
    let done = rules::enable(&mut api.session, &config, &id).await;
    api.done(done).await
}

async fn disable_rule(mut api: Api, Path(id): Path<String>) -> Result<Response, Problem> {
    let config = Arc::clone(&api.console.config);
    let done = rules::disable(&mut api.session, &config, &id).await;
    api.done(done).await
}

async fn list_sources(mut api: Api) -> Result<Response, Problem> {
    let found = sources::list(&mut api.session).await;
    api.answer(found).await
}

async fn show_source(mut api: Api, Path(id): Path<String>) -> Result<Response, Problem> {
    let found = sources::show(&mut api.session, &id).await;
    api.answer(found).await
}

async fn list_monitors(mut api: Api) -> Result<Response, Problem> {
    let config = Arc::clone(&api.console.config);
    let found = monitors::list(&mut api.session, &config).await;
    api.answer(found).await
}

async fn list_advisories(
    mut api: Api,
    Query(listing): Query<Listing>,
) -> Result<Response, Problem> {
    let filter = advisories::Filter {
        all: listing.all,
        ..advisories::Filter::default()
    };
    let found = advisories::list(&mut api.session, &filter).await;
    api.answer(found).await
}

async fn compliance_status(mut api: Api) -> Result<Response, Problem> {
    let state = api.console.state.clone();
    let filter = compliance::overview::Filter::default();
    let found = compliance::overview::status(&mut api.session, &state, &filter).await;
    api.answer(found.map(|overview| overview.requirements))
        .await
}

async fn compliance_gaps(mut api: Api) -> Result<Response, Problem> {
    let state = api.console.state.clone();
    let filter = compliance::overview::Filter::default();
    let found = compliance::overview::gaps(&mut api.session, &state, &filter).await;
    api.answer(found.map(|overview| overview.requirements))
        .await
}

async fn list_scores(mut api: Api) -> Result<Response, Problem> {
    let found = compliance::score::history(&mut api.session).await;
    api.answer(found).await
}

async fn list_poam(mut api: Api, Query(listing): Query<Listing>) -> Result<Response, Problem> {
    let filter = compliance::poam::Filter {
        closed: listing.all,
        ..compliance::poam::Filter::default()
    };
    let found = compliance::poam::list(&mut api.session, filter).await;
    api.answer(found).await
}

async fn list_evidence(mut api: Api, Query(listing): Query<Listing>) -> Result<Response, Problem> {
    let state = api.console.state.clone();
    let filter = compliance::evidence::Filter {
        all: listing.all,
        ..compliance::evidence::Filter::default()
    };
    let found = compliance::evidence::list(&mut api.session, &state, &filter).await;
    api.answer(found).await
}

async fn approve_evidence(mut api: Api, Path(id): Path<String>) -> Result<Response, Problem> {
    let separate = api.console.config.compliance.separate_approver;
    let done = compliance::evidence::approve(&mut api.session, &id, separate).await;
    api.answer(done).await
}

async fn list_keys(mut api: Api) -> Result<Response, Problem> {
    let found = keys::list(&mut api.session).await;
    api.answer(found).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyBody {
    name: String,
    scopes: Vec<String>,
    #[serde(default)]
    service: Option<ServiceName>,
    #[serde(default)]
    expires: Option<Span>,
    /// The person whose key it is: oneself.
    #[serde(default)]
    owner: Option<String>,
}

async fn create_key(mut api: Api, headers: HeaderMap, body: Bytes) -> Result<Response, Problem> {
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

async fn revoke_key(mut api: Api, Path(id): Path<String>) -> Result<Response, Problem> {
    let done = keys::revoke(&mut api.session, &id).await;
    api.answer(done.map(|(key, revoked)| json!({ "key": key, "revoked": revoked })))
        .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RotateBody {
    #[serde(default)]
    grace: Option<Span>,
}

async fn rotate_key(
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct UserListing {
    locked: bool,
}

async fn list_users(mut api: Api, Query(listing): Query<UserListing>) -> Result<Response, Problem> {
    let shown = Shown {
        locked: listing.locked,
    };
    let found = accounts::list(&mut api.session, shown).await;
    api.answer(found).await
}

async fn show_user(mut api: Api, Path(name): Path<String>) -> Result<Response, Problem> {
    let found = accounts::find(&mut api.session, &name).await;
    api.answer(found).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UserBody {
    username: String,
    email: String,
    #[serde(default)]
    full_name: Option<String>,
    role: Role,
    #[serde(default)]
    expires: Option<Span>,
}

fn invitation(made: &accounts::Invitation) -> serde_json::Value {
    json!({
        "user_id": made.user_id,
        "username": made.username,
        "enrollment_code": made.token.expose(),
        "expires_at": made.until,
    })
}

async fn create_user(mut api: Api, headers: HeaderMap, body: Bytes) -> Result<Response, Problem> {
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

async fn enroll_link(mut api: Api, Path(name): Path<String>) -> Result<Response, Problem> {
    let made = accounts::make_link(&mut api.session, &name).await;
    api.answer(made.map(|made| invitation(&made))).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RoleBody {
    role: Role,
}

async fn set_role(
    mut api: Api,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let body: RoleBody = read_json(&headers, &body)?;
    let done = accounts::set_role(&mut api.session, &name, body.role).await;
    api.done(done).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReasonBody {
    reason: String,
}

async fn disable_user(
    mut api: Api,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let body: ReasonBody = read_json(&headers, &body)?;
    let done = accounts::disable(&mut api.session, &name, &body.reason).await;
    api.done(done).await
}

async fn enable_user(mut api: Api, Path(name): Path<String>) -> Result<Response, Problem> {
    let done = accounts::enable(&mut api.session, &name).await;
    api.done(done).await
}

async fn unlock_user(mut api: Api, Path(name): Path<String>) -> Result<Response, Problem> {
    let done = accounts::unlock(&mut api.session, Some(&name)).await;
    api.done(done).await
}

async fn require_change(mut api: Api, Path(name): Path<String>) -> Result<Response, Problem> {
    let done = accounts::require_password_change(&mut api.session, Some(&name)).await;
    api.done(done).await
}

async fn list_sessions(mut api: Api) -> Result<Response, Problem> {
    let found = accounts::sessions(&mut api.session, None).await;
    api.answer(found).await
}

async fn revoke_session(mut api: Api, Path(id): Path<Uuid>) -> Result<Response, Problem> {
    let done = accounts::revoke_sessions(&mut api.session, Revoke::Session(id)).await;
    api.done(done).await
}

async fn show_policy(mut api: Api) -> Result<Response, Problem> {
    let found = password_policy::show(&mut api.session).await;
    api.answer(found.map(|in_force| in_force.to_json())).await
}
