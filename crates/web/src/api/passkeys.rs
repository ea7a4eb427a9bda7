//! Passkeys at the door: `/api/v1/sign-in/passkey`, `/api/v1/unlock/passkey` and
//! `/api/v1/me/passkeys`. Each ceremony is two requests: the first answers what
//! `navigator.credentials` takes and sets a cookie, the second sends what it gave.

use std::sync::Arc;

use app::sign_in::{PasskeyAnswer, PasskeyBegun, SignInError};
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use uuid::Uuid;

use super::State as Shared;
use super::people::{
    Asking, begun, door, no_store, only_cookie, person, read_json, recorded, set_cookie,
};
use super::v1::operation::{Field, Record, Schema, body};
use crate::error::Problem;

/// The cookie that holds the challenge of a ceremony, sealed.
const COOKIE: &str = "__Host-blueteam-passkey";
/// How long it is kept: as long as the challenge counts.
const COOKIE_SECONDS: u32 = 300;
/// The script of the page on which a passkey is added.
const SCRIPT: &str = include_str!("passkey.js");

/// Answers the options of a ceremony; its challenge stays with the browser.
fn options(ceremony: &PasskeyBegun) -> Response {
    let kind = [(header::CONTENT_TYPE, "application/json")];
    let json = format!("{{\"publicKey\":{}}}", ceremony.options);
    let mut response = no_store((kind, json).into_response());
    let cookie = format!(
        "{COOKIE}={}; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age={COOKIE_SECONDS}",
        ceremony.cookie.expose_secret()
    );
    if let Ok(value) = HeaderValue::from_str(&cookie) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
    response
}

body! {
    /// What the authenticator gave.
    PasskeyBody {
        /// The credential that `navigator.credentials.get` gave, as its `toJSON` writes it.
        credential: Value = Schema::Any;
    }
}

body! {
    /// What the authenticator gave to sign in.
    PasskeySignInBody {
        /// The credential that `navigator.credentials.get` gave, as its `toJSON` writes it.
        credential: Value = Schema::Any;
        /// The version of the notice that is accepted (`GET /api/v1/sign-in/notice`).
        notice: Option<String> = Schema::Maybe(&Schema::TextUpTo(64));
    }
}

body! {
    /// A passkey to be registered.
    NewPasskeyBody {
        /// What its person calls it.
        name: String = Schema::TextUpTo(100);
        /// The credential that `navigator.credentials.create` gave, as its `toJSON` writes it.
        credential: Value = Schema::Any;
    }
}

body! {
    /// Another name.
    NameBody {
        /// The name.
        name: String = Schema::TextUpTo(100);
    }
}

/// `POST /api/v1/sign-in/passkey/options`.
pub(super) async fn begin_sign_in(
    State(state): State<Arc<Shared>>,
    _asking: Asking,
) -> Result<Response, Problem> {
    Ok(options(&door(&state)?.begin_passkey_sign_in()?))
}

/// `POST /api/v1/sign-in/passkey`.
pub(super) async fn sign_in(
    State(state): State<Arc<Shared>>,
    asking: Asking,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let body: PasskeySignInBody = read_json(&headers, &body)?;
    let current = person(&state, &asking).await.ok();
    let cookie = only_cookie(&headers, COOKIE);
    let answer = body.credential.to_string();
    let answer = PasskeyAnswer {
        answer: answer.as_bytes(),
        cookie: cookie.as_deref(),
        notice: body.notice.as_deref(),
    };
    let outcome = door(&state)?
        .finish_passkey_sign_in(&answer, &asking.client, current.as_ref())
        .await;
    let signed = recorded(&state, outcome).await?;
    Ok(begun(&signed, &json!({})))
}

/// `POST /api/v1/unlock/passkey/options`.
pub(super) async fn begin_unlock(
    State(state): State<Arc<Shared>>,
    asking: Asking,
) -> Result<Response, Problem> {
    let token = asking.token.as_deref().ok_or(SignInError::NoSession)?;
    Ok(options(&door(&state)?.begin_passkey_proof(token).await?))
}

/// `POST /api/v1/unlock/passkey`.
pub(super) async fn unlock(
    State(state): State<Arc<Shared>>,
    asking: Asking,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let body: PasskeyBody = read_json(&headers, &body)?;
    let token = asking.token.as_deref().ok_or(SignInError::NoSession)?;
    let cookie = only_cookie(&headers, COOKIE);
    let answer = body.credential.to_string();
    let outcome = door(&state)?
        .finish_passkey_proof(token, answer.as_bytes(), cookie.as_deref(), &asking.client)
        .await;
    let signed = recorded(&state, outcome).await?;
    let mut response = no_store(StatusCode::NO_CONTENT.into_response());
    if let Some(cookie) = set_cookie(signed.token.expose()) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

/// `GET /api/v1/me/factors`.
pub(super) async fn factors(
    State(state): State<Arc<Shared>>,
    asking: Asking,
) -> Result<Response, Problem> {
    let person = person(&state, &asking).await?;
    let factors = door(&state)?.own_factors(&person).await?;
    Ok(no_store(axum::Json(factors).into_response()))
}

/// `POST /api/v1/me/passkeys/options`.
pub(super) async fn begin_registration(
    State(state): State<Arc<Shared>>,
    asking: Asking,
) -> Result<Response, Problem> {
    let person = person(&state, &asking).await?;
    let ceremony = door(&state)?.begin_passkey_registration(&person).await?;
    Ok(options(&ceremony))
}

/// `POST /api/v1/me/passkeys`.
pub(super) async fn register(
    State(state): State<Arc<Shared>>,
    asking: Asking,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let body: NewPasskeyBody = read_json(&headers, &body)?;
    let person = person(&state, &asking).await?;
    let cookie = only_cookie(&headers, COOKIE);
    let answer = body.credential.to_string();
    let factor = door(&state)?
        .finish_passkey_registration(
            &person,
            &body.name,
            answer.as_bytes(),
            cookie.as_deref(),
            &asking.client,
        )
        .await?;
    Ok(no_store(axum::Json(factor).into_response()))
}

/// `PATCH /api/v1/me/passkeys/{id}`.
pub(super) async fn rename(
    State(state): State<Arc<Shared>>,
    asking: Asking,
    Path(id): Path<Uuid>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, Problem> {
    let body: NameBody = read_json(&headers, &body)?;
    let person = person(&state, &asking).await?;
    door(&state)?
        .rename_passkey(&person, id, &body.name, &asking.client)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /api/v1/me/passkeys/{id}/remove`.
pub(super) async fn remove(
    State(state): State<Arc<Shared>>,
    asking: Asking,
    Path(id): Path<Uuid>,
) -> Result<StatusCode, Problem> {
    let person = person(&state, &asking).await?;
    door(&state)?
        .remove_passkey(&person, id, &asking.client)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /passkey.js`: the script of the last page of an enrollment.
pub(super) async fn script() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/javascript; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, SCRIPT).into_response()
}
