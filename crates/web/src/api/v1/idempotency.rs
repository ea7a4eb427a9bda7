//! `Idempotency-Key`: a request that changes something and is sent again is not done again.
//!
//! The name is that of an Internet-Draft that has expired (draft-ietf-httpapi-idempotency-key-header);
//! what it means here is written in docs/api.md. An answer is kept for a day with the person, method
//! and path, and the hash of the body. Secrets in it are not: a request that is sent again gets
//! `null` in their place.

use std::sync::Arc;

use app::idempotency::{Answered, Claim, Repeatable};
use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts as _, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt as _;
use serde_json::Value;

use super::{Api, BODY_MAX};
use crate::api::State as Shared;
use crate::error::Problem;

const NAME: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// The longest key.
const LENGTH_MAX: usize = 255;
/// Fields of answers that are shown once.
const SECRETS: [&str; 2] = ["key", "enrollment_code"];
/// What each secret begins with, and how long it is at least; lists show the first characters.
const SECRET_PREFIX: &str = "bt_";
const SECRET_LENGTH: usize = 40;

/// Around each route: without the header it changes nothing.
pub(super) async fn once(
    State(state): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    if request.method().is_safe() || !request.headers().contains_key(NAME) {
        return next.run(request).await;
    }
    match run_once(state, request, next).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

fn key_of(headers: &HeaderMap) -> Result<String, Problem> {
    let mut given = headers.get_all(NAME).iter();
    let key = match (given.next(), given.next()) {
        (Some(key), None) => key.to_str().ok(),
        _ => None,
    };
    let is_key = |key: &&str| {
        (1..=LENGTH_MAX).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
    };
    key.filter(is_key).map(str::to_owned).ok_or_else(|| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "Idempotency-Key: one, of 1 to 255 visible ASCII characters, best a UUID",
        )
        .kind("bad-idempotency-key")
    })
}

async fn run_once(state: Arc<Shared>, request: Request, next: Next) -> Result<Response, Problem> {
    let key = key_of(request.headers())?;
    let (mut parts, body) = request.into_parts();
    // Who may not, or may no longer, does not see what was answered either.
    let mut api = Api::from_request_parts(&mut parts, &state).await?;
    let body = read_body(body).await?;

    let route = format!("{} {}", parts.method, parts.uri.path());
    let actor = api.session.actor().clone();
    let digest = app::listing::digest(&body);
    let repeatable = Repeatable {
        person: &actor.name,
        route: &route,
        key: &key,
        body_sha256: &digest,
    };
    let claim = app::idempotency::claim(&mut api.session, &repeatable).await;
    match api.checked(claim).await? {
        Claim::New => {}
        Claim::Answered(answered) => return replay(answered),
        Claim::Other => {
            return Err(Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "another request was sent with this Idempotency-Key",
            )
            .kind("idempotency-key-reused"));
        }
        Claim::InFlight => {
            return Err(Problem::new(
                StatusCode::CONFLICT,
                "this request is under way, or was cut off: look whether it was done before you \
                 send it with another Idempotency-Key",
            )
            .kind("in-flight"));
        }
        Claim::TooMany => {
            return Err(Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too many requests with an Idempotency-Key within a day",
            )
            .kind("too-many")
            .retry_after(3600));
        }
    }

    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    let (head, body) = response.into_parts();
    let body = body
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes)
        .map_err(|_| Problem::unavailable("the answer is incomplete"))?;
    // After an error of ours nobody knows whether it was done: it stays in flight.
    if let Some(console) = state
        .console
        .as_ref()
        .filter(|_| !head.status.is_server_error())
    {
        let answered = to_keep(&head, &body);
        app::idempotency::finish(console, &actor, &repeatable, answered.as_ref()).await;
    }
    Ok(Response::from_parts(head, Body::from(body)))
}

async fn read_body(body: Body) -> Result<Bytes, Problem> {
    let limited = http_body_util::Limited::new(body, BODY_MAX);
    let collected = limited.collect().await.map_err(|_| {
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large").kind("too-large")
    })?;
    Ok(collected.to_bytes())
}

/// What is kept of an answer; none for one that changed nothing and may be different next time.
fn to_keep(head: &axum::http::response::Parts, body: &Bytes) -> Option<Answered> {
    if !head.status.is_success() {
        return None;
    }
    let content_type = head
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    Some(Answered {
        status: head.status.as_u16(),
        content_type,
        body: without_secrets(body),
    })
}

fn without_secrets(body: &Bytes) -> String {
    let Ok(mut value) = serde_json::from_slice::<Value>(body) else {
        return String::new();
    };
    if let Some(object) = value.as_object_mut() {
        for name in SECRETS {
            if let Some(secret) = object.get_mut(name).filter(|secret| secret.is_string()) {
                *secret = Value::Null;
            }
        }
    }
    let text = value.to_string();
    // Whatever field it may be in.
    let is_secret = |part: &str| part.starts_with(SECRET_PREFIX) && part.len() >= SECRET_LENGTH;
    if text.split('"').any(is_secret) {
        "{}".to_owned()
    } else {
        text
    }
}

fn replay(answered: Answered) -> Result<Response, Problem> {
    let status = StatusCode::from_u16(answered.status)
        .map_err(|_| Problem::unavailable("the answer that was kept cannot be read"))?;
    let mut response = (status, answered.body).into_response();
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_TYPE);
    let kind = answered.content_type;
    if let Some(kind) = kind.and_then(|kind| HeaderValue::from_str(&kind).ok()) {
        headers.insert(header::CONTENT_TYPE, kind);
    }
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    Ok(crate::api::people::no_store(response))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_kept() {
        for (body, kept) in [
            (
                r#"{"key":"bt_api_x","key_id":"1"}"#,
                r#"{"key":null,"key_id":"1"}"#,
            ),
            (
                r#"{"enrollment_code":"bt_enroll_x"}"#,
                r#"{"enrollment_code":null}"#,
            ),
            (
                r#"{"a":{"b":["bt_session_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"]}}"#,
                "{}",
            ),
            (
                r#"{"key":{"prefix":"bt_api_Xk"}}"#,
                r#"{"key":{"prefix":"bt_api_Xk"}}"#,
            ),
            ("", ""),
        ] {
            let body = Bytes::from_static(body.as_bytes());
            assert_eq!(without_secrets(&body), kept);
        }
    }
}
