//! The routes, one module per resource.

mod acknowledge;
pub(crate) mod door;
mod enroll;
mod events;
mod health;
mod logs;
mod metrics;
mod oidc;
mod passkeys;
pub(crate) mod people;
pub(crate) mod v1;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use model::Clock;

use crate::error::Problem;
use crate::peer::Peer;
use crate::{Acknowledge, Metrics};
use app::auth::{Auth, AuthError};
use app::console::Console;
use ingest::{Ingest, Sender};

/// What the handlers share.
pub(crate) struct State {
    pub(crate) ingest: Ingest,
    pub(crate) auth: Auth,
    pub(crate) acknowledge: Option<Acknowledge>,
    pub(crate) metrics: Option<Metrics>,
    pub(crate) console: Option<Arc<Console>>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// What a key may do.
const WRITE: &str = "events:write";
const METRICS: &str = "metrics:read";

/// Who sends, if they may.
async fn identify_sender(state: &State, head: &Parts) -> Result<Sender, Problem> {
    bearer_token(state, head, WRITE).await
}

/// Who asks, if their key has the scope.
async fn bearer_token(state: &State, head: &Parts, scope: &'static str) -> Result<Sender, Problem> {
    let peer = head.extensions.get::<Peer>();
    let address = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |Peer(peer)| peer.ip());
    let authorization = head
        .headers
        .get(header::AUTHORIZATION)
        .and_then(|v| v.to_str().ok());
    state
        .auth
        .check(authorization, scope, address)
        .await
        .map_err(|error| match error {
            AuthError::Unknown => Problem::unauthorized(),
            AuthError::Scope => Problem::new(
                StatusCode::FORBIDDEN,
                format!("the API key lacks the scope {scope}"),
            ),
            AuthError::TooMany => Problem::too_many_refused(),
            AuthError::Away => Problem::unavailable("API keys cannot be checked now"),
        })
}

/// Errors that the framework words, such as that of a body that is too large, as problem documents.
async fn as_problem(response: Response) -> Response {
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    let is_page = |kind: &HeaderValue| {
        kind == "application/problem+json" || kind.as_bytes().starts_with(b"text/html")
    };
    let kind = response.headers().get(header::CONTENT_TYPE);
    if !is_error || kind.is_some_and(is_page) {
        return response;
    }
    let (kind, detail) = match status {
        StatusCode::PAYLOAD_TOO_LARGE => ("too-large", "the body is too large"),
        StatusCode::BAD_REQUEST => ("bad-request", "the request cannot be read"),
        _ => return response,
    };
    Problem::new(status, detail).kind(kind).into_response()
}

/// What people sign in by, and what is behind it.
fn people_routes(state: &Arc<State>) -> Router<Arc<State>> {
    Router::new()
        .route("/enroll", get(enroll::get).post(enroll::post))
        .route("/passkey.js", get(passkeys::script))
        .route("/sign-in/code", post(oidc::code_form))
        .layer(DefaultBodyLimit::max(people::BODY_MAX))
        .merge(door::router(state))
        .route("/api/openapi.json", get(v1::openapi::get))
        .merge(v1::router(state))
        .layer(map_response(as_problem))
}

/// What every answer says to a browser, unless it says more itself: that it is what it says it is, runs
/// nothing, stands in no frame, and is to be had by TLS alone from here on (ASVS 3.4).
async fn with_policy(mut response: Response) -> Response {
    const HEADERS: [(HeaderName, &str); 4] = [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; frame-ancestors 'none'; base-uri 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            header::STRICT_TRANSPORT_SECURITY,
            "max-age=31536000; includeSubDomains",
        ),
    ];
    for (name, value) in HEADERS {
        let value = HeaderValue::from_static(value);
        response.headers_mut().entry(name).or_insert(value);
    }
    response
}

/// What an address serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Serves {
    /// Everything.
    All,
    /// Events and metrics: what machines come for.
    Machines,
    /// What people sign in to, and the links in their mails.
    People,
}

/// The routes of an address. What belongs to the other one is not there. `pages`: those of the
/// console.
pub(crate) fn router(state: Arc<State>, serves: Serves, pages: Router<Arc<State>>) -> Router {
    let mut routes = Router::new();
    if serves != Serves::Machines {
        if state.acknowledge.is_some() {
            let link = get(acknowledge::get).post(acknowledge::post);
            routes = routes.route("/ack/{alert}/{expires}/{who}/{tag}", link);
        }
        if state.console.is_some() {
            routes = routes.merge(people_routes(&state));
            routes = routes.merge(pages);
        }
    }

    if serves != Serves::People {
        if state.metrics.is_some() {
            routes = routes.route("/metrics", get(metrics::get));
        }
        routes = routes
            .route("/v1/events", post(events::post))
            .route("/v1/logs", post(logs::post));
    }

    routes
        .route("/healthz", get(health::get))
        .fallback(async || Problem::new(StatusCode::NOT_FOUND, "there is nothing here"))
        .method_not_allowed_fallback(async || {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "not by this method")
        })
        .with_state(state)
        .layer(map_response(with_policy))
}
