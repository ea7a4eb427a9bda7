//! `GET /healthz`: whether events are taken, for load balancers. Says nothing else, because it asks
//! for no key.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;

/// `ok`; `degraded` with 200 while events go to the spool, with 503 when they are refused.
pub(super) async fn get(State(state): State<Arc<super::State>>) -> (StatusCode, &'static str) {
    let ingest = &state.ingest;
    if !ingest.is_spooling() {
        (StatusCode::OK, "ok\n")
    } else if ingest.is_refusing() {
        (StatusCode::SERVICE_UNAVAILABLE, "degraded\n")
    } else {
        (StatusCode::OK, "degraded\n")
    }
}
