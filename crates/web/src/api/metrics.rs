//! `GET /metrics`: the numbers of the program, for Prometheus. They tell how much is seen and of
//! whom, so they ask for a key.

use std::sync::Arc;

use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::error::Problem;

/// The text format of Prometheus, version 0.0.4.
const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) async fn get(
    State(state): State<Arc<super::State>>,
    head: Parts,
) -> Result<Response, Problem> {
    super::bearer_token(&state, &head, super::METRICS).await?;
    let Some(metrics) = &state.metrics else {
        return Err(Problem::new(StatusCode::NOT_FOUND, "there is nothing here"));
    };
    let text = (metrics.0)(state.ingest.stats()).await;
    Ok(([(header::CONTENT_TYPE, FORMAT)], text).into_response())
}
