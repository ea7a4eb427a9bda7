//! The routes, one module a resource.

mod events;
mod health;

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post};

use crate::auth::Auth;
use crate::error::Problem;
use crate::ingest::Ingest;

/// What the handlers share.
pub(crate) struct State {
    pub(crate) ingest: Ingest,
    pub(crate) auth: Auth,
}

/// Every route.
pub(crate) fn router(state: Arc<State>) -> Router {
    Router::new()
        .route("/v1/events", post(events::post))
        .route("/healthz", get(health::get))
        .fallback(async || Problem::new(StatusCode::NOT_FOUND, "there is nothing here"))
        .method_not_allowed_fallback(async || Problem::new(StatusCode::METHOD_NOT_ALLOWED, "not by this method"))
        .with_state(state)
}
