//! The routes, one module a resource.

mod acknowledge;
mod events;
mod health;

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post};

use model::Clock;

use crate::Acknowledge;
use crate::auth::Auth;
use crate::error::Problem;
use crate::ingest::Ingest;

/// What the handlers share.
pub(crate) struct State {
    pub(crate) ingest: Ingest,
    pub(crate) auth: Auth,
    pub(crate) acknowledge: Option<Acknowledge>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// Every route.
pub(crate) fn router(state: Arc<State>) -> Router {
    let mut routes = Router::new();
    if state.acknowledge.is_some() {
        let link = get(acknowledge::get).post(acknowledge::post);
        routes = routes.route("/ack/{alert}/{expires}/{who}/{tag}", link);
    }
    routes
        .route("/v1/events", post(events::post))
        .route("/healthz", get(health::get))
        .fallback(async || Problem::new(StatusCode::NOT_FOUND, "there is nothing here"))
        .method_not_allowed_fallback(async || Problem::new(StatusCode::METHOD_NOT_ALLOWED, "not by this method"))
        .with_state(state)
}
