//! `/api/v1/sign-in/oidc`: signing in by an OpenID Connect provider.
//!
//! A browser is sent to the provider with a sealed cookie, and comes back with an answer that counts
//! with that cookie only. Where it goes from here is no choice of the request: to the provider that
//! is configured, and nowhere else (ASVS 10.4.1, CWE-601).

use std::sync::Arc;

use app::sign_in::{Finished, Notice, SignInError, SignedIn};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Form, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::json;

use super::State as Shared;
use super::acknowledge::escape_html;
use super::enroll::{error_paragraph, notice_paragraph, titled_page};
use super::people::{
    Asking, begun, door, no_store, only_cookie, person, read_json, recorded, refuse_other_sites,
};
use super::v1::operation::{Field, Record, Schema, body};
use crate::error::Problem;

/// The cookie that holds what belongs to a sign-in on its way.
const COOKIE: &str = "__Host-blueteam-oidc";
/// How long it is kept: as long as the sign-in counts.
const COOKIE_SECONDS: u32 = 600;
const CLEAR_COOKIE: &str =
    "__Host-blueteam-oidc=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0";

/// Keeps what belongs to a sign-in in the browser. Not `Strict`: the browser comes back by a link of
/// the provider's.
fn keep(response: &mut Response, sealed: &SecretString) {
    let cookie = format!(
        "{COOKIE}={}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age={COOKIE_SECONDS}",
        sealed.expose_secret()
    );
    if let Ok(value) = HeaderValue::from_str(&cookie) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
}

fn clear(response: &mut Response) {
    let value = HeaderValue::from_static(CLEAR_COOKIE);
    response.headers_mut().append(header::SET_COOKIE, value);
}

/// Whether a person looks at the answer.
fn wants_page(headers: &HeaderMap) -> bool {
    headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"))
}

/// `GET /api/v1/sign-in/oidc`: to the provider. Where another site's page leads here, a person must
/// say so first: the provider may sign them in without a word (ASVS 7.6.2).
pub(super) async fn begin(
    State(state): State<Arc<Shared>>,
    _asking: Asking,
    headers: HeaderMap,
    accepted: Result<Query<Accepted>, QueryRejection>,
) -> Result<Response, Problem> {
    let door = door(&state)?;
    let accepted = accepted.ok().and_then(|Query(accepted)| accepted.notice);
    let begun = match door.begin_oidc(accepted.as_deref()).await {
        Err(SignInError::NoticeNeeded) if wants_page(&headers) => {
            return Ok(notice_page(door.notice()));
        }
        begun => begun?,
    };
    if refuse_other_sites(&headers).is_err() {
        let link = provider_link(door.notice(), "Sign in to blueteam by your provider");
        let body = format!("<h1>Sign in</h1><p>Another site has sent you here. {link}</p>");
        return Ok(titled_page("Sign in", StatusCode::OK, &body));
    }
    let place = HeaderValue::from_str(&begun.url)
        .map_err(|_| Problem::unavailable("the provider's address cannot be used"))?;
    let mut response = StatusCode::SEE_OTHER.into_response();
    response.headers_mut().insert(header::LOCATION, place);
    keep(&mut response, &begun.cookie);
    Ok(no_store(response))
}

/// What was accepted before.
#[derive(Deserialize)]
pub(super) struct Accepted {
    #[serde(default)]
    notice: Option<String>,
}

fn provider_link(notice: Option<&Notice>, text: &str) -> String {
    let query = notice.map_or_else(String::new, |n| format!("?notice={}", n.version()));
    format!("<a href=\"/api/v1/sign-in/oidc{query}\">{text}</a>")
}

/// What must be accepted first, and the way on.
fn notice_page(notice: Option<&Notice>) -> Response {
    let body = format!(
        "<h1>Sign in</h1>{}<p>{}</p>",
        notice_paragraph(notice),
        provider_link(notice, "I accept this, and sign in by my provider")
    );
    titled_page("Sign in", StatusCode::OK, &body)
}

/// What the provider sends a browser back with. Its error is a code; its text is not shown.
#[derive(Deserialize)]
pub(super) struct Answer {
    #[serde(default)]
    code: Option<SecretString>,
    #[serde(default)]
    state: Option<String>,
    #[serde(default)]
    iss: Option<String>,
    #[serde(default)]
    error: Option<String>,
}

/// `GET /api/v1/sign-in/oidc/callback`: back from the provider.
pub(super) async fn callback(
    State(state): State<Arc<Shared>>,
    asking: Asking,
    headers: HeaderMap,
    answer: Result<Query<Answer>, QueryRejection>,
) -> Result<Response, Problem> {
    // Twice the same parameter, or one that is no text: not shown, because anybody can send it.
    let Ok(Query(answer)) = answer else {
        return Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "the answer of the provider cannot be read",
        ));
    };
    let current = person(&state, &asking).await.ok();
    let cookie = only_cookie(&headers, COOKIE);
    let callback = app::sign_in::Callback {
        code: answer.code,
        state: answer.state,
        iss: answer.iss,
        error: answer.error,
    };
    let outcome = door(&state)?
        .finish_oidc(
            &callback,
            cookie.as_deref(),
            &asking.client,
            current.as_ref(),
        )
        .await;
    match recorded(&state, outcome).await? {
        Finished::SignedIn(signed) => Ok(signed_in(&signed, &headers)),
        Finished::CodeNeeded { cookie } if wants_page(&headers) => {
            let mut response = code_page(StatusCode::OK, None);
            keep(&mut response, &cookie);
            Ok(response)
        }
        Finished::CodeNeeded { cookie } => {
            let mut response = Problem::from(SignInError::CodeNeeded).into_response();
            keep(&mut response, &cookie);
            Ok(no_store(response))
        }
    }
}

body! {
    /// A code of blueteam's.
    CodeBody {
        /// The code of the authenticator app, or a recovery code.
        code: String = Schema::Text;
    }
}

async fn by_code(
    state: &Shared,
    asking: &Asking,
    headers: &HeaderMap,
    code: &str,
) -> Result<SignedIn, Problem> {
    let current = person(state, asking).await.ok();
    let cookie = only_cookie(headers, COOKIE);
    let outcome = door(state)?
        .finish_oidc_by_code(code, cookie.as_deref(), &asking.client, current.as_ref())
        .await;
    recorded(state, outcome).await
}

/// `POST /api/v1/sign-in/oidc/code`: the second factor of whoever the provider has vouched for.
pub(super) async fn code(
    State(state): State<Arc<Shared>>,
    asking: Asking,
    headers: HeaderMap,
    body: axum::body::Bytes,
) -> Result<Response, Problem> {
    let CodeBody { code } = read_json(&headers, &body)?;
    let signed = by_code(&state, &asking, &headers, &code).await?;
    let mut response = begun(&signed, &json!({}));
    clear(&mut response);
    Ok(response)
}

/// `POST /sign-in/code`: the same from the page's form.
pub(super) async fn code_form(
    State(state): State<Arc<Shared>>,
    asking: Asking,
    headers: HeaderMap,
    Form(CodeBody { code }): Form<CodeBody>,
) -> Result<Response, Problem> {
    match by_code(&state, &asking, &headers, &code).await {
        Ok(signed) => Ok(signed_in(&signed, &headers)),
        Err(problem) if problem.status() == StatusCode::UNAUTHORIZED => {
            Ok(code_page(StatusCode::UNAUTHORIZED, Some(problem.detail())))
        }
        Err(problem) => Err(problem),
    }
}

fn signed_in(signed: &SignedIn, headers: &HeaderMap) -> Response {
    let mut response = begun(signed, &json!({}));
    if wants_page(headers) {
        let name = escape_html(&signed.person.username);
        let body = format!("<h1>Signed in</h1><p>You are signed in as {name}.</p>");
        let page = titled_page("Signed in", StatusCode::OK, &body);
        let cookies = response.headers_mut().remove(header::SET_COOKIE);
        response = page;
        if let Some(cookie) = cookies {
            response.headers_mut().insert(header::SET_COOKIE, cookie);
        }
    }
    clear(&mut response);
    response
}

fn code_page(status: StatusCode, error: Option<&str>) -> Response {
    let body = format!(
        "<h1>One more step</h1>{}<form method=\"post\" action=\"/sign-in/code\">\
         <label for=\"code\">The six digits that your authenticator app shows, or a recovery code\
         </label><input id=\"code\" name=\"code\" required autocomplete=\"one-time-code\" autofocus>\
         <button>Sign in</button></form>",
        error_paragraph(error)
    );
    titled_page("Sign in", status, &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_with_a_parameter_twice_is_not_read() {
        let read = |query: &str| {
            let uri = format!("http://localhost/x?{query}")
                .parse()
                .expect("a URI");
            Query::<Answer>::try_from_uri(&uri).map(|Query(answer)| answer.state)
        };
        assert_eq!(read("code=a&state=b").ok().flatten().as_deref(), Some("b"));
        assert!(read("code=a&state=b&state=c").is_err());
    }
}
