//! `/api/v1/sign-in` and what belongs to it: sessions, passwords, and the enrollment of accounts.
//!
//! A session is a cookie that only this origin gets and no script reads. What changes something is
//! taken from this origin's own pages alone: a browser says where a request comes from
//! (`Sec-Fetch-Site`), and sends JSON to another origin only after asking (ASVS 3.5.1 to 3.5.3).

use std::sync::Arc;

use app::sign_in::{
    Attempt, Chosen, Client, Notice, Outcome, Person, SignIn, SignInError, SignedIn,
};
use axum::body::Bytes;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use model::{AuditRecord, TenantId};
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;
use serde_json::json;
use uuid::Uuid;

use super::State as Shared;
use super::v1::operation::{Field, Record, Schema, body};
use crate::error::Problem;
use crate::peer::Peer;

/// The cookie that holds a session's token. The prefix binds it to this origin (ASVS 3.3.3).
const COOKIE: &str = "__Host-blueteam";
/// The largest request: a password is 1,024 bytes at most.
pub(super) const BODY_MAX: usize = 16 * 1024;

/// Who is at the other end.
pub(crate) struct Asking {
    pub(crate) client: Client,
    /// The token that the cookie holds, unchecked.
    pub(crate) token: Option<String>,
}

impl FromRequestParts<Arc<Shared>> for Asking {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Shared>) -> Result<Self, Problem> {
        let Some(Peer(peer)) = parts.extensions.get::<Peer>() else {
            return Err(Problem::unavailable("nobody knows where this comes from"));
        };
        let user_agent = parts
            .headers
            .get(header::USER_AGENT)
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        if !parts.method.is_safe() {
            refuse_other_sites(&parts.headers)?;
        }

        Ok(Self {
            client: Client {
                address: peer.ip(),
                user_agent,
            },
            token: only_cookie(&parts.headers, COOKIE),
        })
    }
}

/// Refuses what another site's page has a browser send.
pub(super) fn refuse_other_sites(headers: &HeaderMap) -> Result<(), Problem> {
    let site = headers
        .get("sec-fetch-site")
        .map(|value| value.as_bytes().to_ascii_lowercase());
    match site.as_deref() {
        None | Some(b"same-origin" | b"none") => Ok(()),
        Some(_) => Err(Problem::new(
            StatusCode::FORBIDDEN,
            "this was sent by a page of another site",
        )
        .kind("other-site")),
    }
}

/// The value of a cookie. Of two, neither counts: one of them was planted.
pub(super) fn only_cookie(headers: &HeaderMap, wanted: &str) -> Option<String> {
    let mut found = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|cookies| cookies.split(';'))
        .filter_map(|cookie| cookie.trim().split_once('='))
        .filter(|(name, _)| *name == wanted)
        .map(|(_, value)| value.to_owned());
    let only = found.next()?;
    found.next().is_none().then_some(only)
}

pub(crate) fn set_cookie(token: &str) -> Option<HeaderValue> {
    // Not `Strict`: a link in a mail would lead to a page that asks to sign in again.
    HeaderValue::from_str(&format!(
        "{COOKIE}={token}; Path=/; Secure; HttpOnly; SameSite=Lax"
    ))
    .ok()
}

pub(crate) const CLEAR_COOKIE: &str =
    "__Host-blueteam=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0";

/// The body of a request as JSON. What is wrong with it is said without its values.
pub(super) fn read_json<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<T, Problem> {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .map(|kind| kind.trim().to_ascii_lowercase());
    if kind.as_deref() != Some("application/json") {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Content-Type must be application/json",
        )
        .kind("not-json"));
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    let read = serde_path_to_error::deserialize(&mut json)
        .map_err(|error| (pointer(error.path()), error.into_inner()));
    let whole = read.and_then(|value| {
        let end = json.end().map(|()| value);
        end.map_err(|error| (String::new(), error))
    });
    whole.map_err(|(pointer, error)| {
        // The library's own words quote what was sent, which may be a password.
        let what = match error.classify() {
            serde_json::error::Category::Data => "a field is missing, unknown or of another type",
            _ => "the body is not JSON",
        };
        let place = format!("{what} (line {}, column {})", error.line(), error.column());
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, place)
            .kind("bad-body")
            .errors(json!([{ "pointer": pointer, "detail": what }]))
    })
}

/// The place of a value in a body (RFC 6901), as far as it is made of what may be our names.
fn pointer(path: &serde_path_to_error::Path) -> String {
    use std::fmt::Write as _;

    let is_name =
        |key: &str| key.len() <= 40 && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let mut pointer = String::new();
    for segment in path {
        // Writing to a string cannot fail.
        let _ = match segment {
            serde_path_to_error::Segment::Seq { index } => write!(pointer, "/{index}"),
            serde_path_to_error::Segment::Map { key } if is_name(key) => {
                write!(pointer, "/{key}")
            }
            _ => break,
        };
    }
    pointer
}

impl From<SignInError> for Problem {
    fn from(error: SignInError) -> Self {
        let text = error.to_string();
        match error {
            SignInError::Wrong => Self::new(StatusCode::UNAUTHORIZED, text).kind("wrong"),
            SignInError::CodeNeeded => {
                Self::new(StatusCode::UNAUTHORIZED, text).kind("code-needed")
            }
            SignInError::NoSession => Self::new(StatusCode::UNAUTHORIZED, text).kind("sign-in"),
            SignInError::Locked => Self::new(StatusCode::UNAUTHORIZED, text).kind("locked"),
            SignInError::NotEnrolled => Self::new(StatusCode::FORBIDDEN, text).kind("not-enrolled"),
            SignInError::PasswordChangeNeeded => {
                Self::new(StatusCode::FORBIDDEN, text).kind("password-change-needed")
            }
            SignInError::Weak(_) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, text).kind("weak-password")
            }
            SignInError::ProofNeeded => Self::new(StatusCode::FORBIDDEN, text).kind("proof-needed"),
            SignInError::NoProvider => Self::new(StatusCode::NOT_FOUND, text).kind("not-found"),
            SignInError::ProviderAway => Self::new(StatusCode::SERVICE_UNAVAILABLE, text)
                .kind("provider-away")
                .retry_after(30),
            SignInError::DirectoryAway => Self::new(StatusCode::SERVICE_UNAVAILABLE, text)
                .kind("directory-away")
                .retry_after(30),
            SignInError::PasswordElsewhere => {
                Self::new(StatusCode::CONFLICT, text).kind("password-elsewhere")
            }
            SignInError::Provider(_) => {
                tracing::warn!("a sign-in by the OpenID Connect provider failed: {text}");
                Self::new(StatusCode::UNAUTHORIZED, text).kind("provider-refused")
            }
            SignInError::PlanFull => Self::new(StatusCode::FORBIDDEN, text).kind("plan-full"),
            SignInError::NotMapped => Self::new(StatusCode::FORBIDDEN, text).kind("not-mapped"),
            SignInError::NameTaken => Self::new(StatusCode::CONFLICT, text).kind("name-taken"),
            SignInError::Disabled => Self::new(StatusCode::FORBIDDEN, text).kind("disabled"),
            SignInError::NoSuchSession | SignInError::NoSuchPasskey => {
                Self::new(StatusCode::NOT_FOUND, text).kind("not-found")
            }
            SignInError::NoticeNeeded => {
                Self::new(StatusCode::FORBIDDEN, text).kind("notice-needed")
            }
            SignInError::NoPasskeys => Self::new(StatusCode::NOT_FOUND, text).kind("no-passkeys"),
            SignInError::PasskeyRefused | SignInError::PasskeyCopied => {
                Self::new(StatusCode::UNAUTHORIZED, text).kind("passkey-refused")
            }
            SignInError::PasskeyElsewhere
            | SignInError::PasskeyTaken
            | SignInError::TooManyPasskeys
            | SignInError::LastFactor => Self::new(StatusCode::CONFLICT, text).kind("conflict"),
            SignInError::PasskeyName => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, text).kind("invalid")
            }
            SignInError::LinkGone => Self::new(StatusCode::GONE, text).kind("link-gone"),
            SignInError::TooMany(wait) => {
                let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX);
                Self::new(StatusCode::TOO_MANY_REQUESTS, text)
                    .kind("too-many")
                    .retry_after(seconds)
            }
            SignInError::Busy(_) => Self::new(StatusCode::TOO_MANY_REQUESTS, text)
                .kind("busy")
                .retry_after(5),
            // Nothing of the inside goes out.
            SignInError::Store(_) | SignInError::Unsealable(_) | SignInError::Failed(_) => {
                tracing::warn!("nobody can be signed in: {text}");
                Self::unavailable("nobody can be signed in now; the log says why")
            }
        }
    }
}

/// The door, where there is one.
pub(crate) fn door(state: &Shared) -> Result<&SignIn, Problem> {
    state
        .console
        .as_deref()
        .map(|console| &console.door)
        .ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "nobody signs in at this address"))
}

/// Records an attempt in blueteam's own audit trail, and hands its result on. What cannot be
/// recorded is refused, or a full queue would hide who tries passwords.
pub(super) async fn recorded<T>(state: &Shared, outcome: Outcome<T>) -> Result<T, Problem> {
    Ok(recorded_outcome(state, outcome).await??)
}

/// The same, for a page that says itself what was wrong.
pub(crate) async fn recorded_outcome<T>(
    state: &Shared,
    outcome: Outcome<T>,
) -> Result<Result<T, SignInError>, Problem> {
    if let Some(event) = outcome.event {
        record(state, event, outcome.tenant).await?;
    }
    Ok(outcome.result)
}

pub(crate) async fn record(
    state: &Shared,
    event: AuditRecord<'static>,
    tenant: TenantId,
) -> Result<(), Problem> {
    let recorded = state.ingest.record(event, tenant).await;
    recorded.map(|_| ()).map_err(|error| {
        tracing::warn!(%error, "an attempt to sign in cannot be recorded");
        Problem::unavailable("what is done here cannot be recorded now")
    })
}

/// The person whose session the cookie holds.
pub(crate) async fn person(state: &Shared, asking: &Asking) -> Result<Person, Problem> {
    let token = asking.token.as_deref().ok_or(SignInError::NoSession)?;
    let person = door(state)?.resolve(token, &asking.client).await?;
    if let Some(console) = &state.console {
        let counted = console.count_request(person.session_id);
        counted.map_err(Problem::too_fast)?;
    }
    Ok(person)
}

pub(super) fn begun(signed: &SignedIn, more: &serde_json::Value) -> Response {
    let mut body = json!({ "person": signed.person });
    if let (Some(body), Some(more)) = (body.as_object_mut(), more.as_object()) {
        body.extend(more.clone());
    }
    let mut response = no_store(axum::Json(body).into_response());
    if let Some(cookie) = set_cookie(signed.token.expose()) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

pub(crate) fn no_store(mut response: Response) -> Response {
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

body! {
    /// Both factors.
    SignInBody {
        /// The account.
        username: String = Schema::Text;
        /// Its password.
        password: SecretString = Schema::Text;
        /// A code of the authenticator app, or a recovery code.
        code: Option<String> = Schema::Maybe(&Schema::Text);
        /// The version of the notice that is accepted (`GET /api/v1/sign-in/notice`).
        notice: Option<String> = Schema::Maybe(&Schema::TextUpTo(64));
    }
}

impl From<SignInBody> for Attempt {
    fn from(body: SignInBody) -> Self {
        Self {
            username: body.username,
            password: body.password,
            code: body.code,
            notice: body.notice,
        }
    }
}

/// `GET /api/v1/sign-in/notice`: what must be accepted, if anything.
pub(super) async fn notice(State(state): State<Arc<Shared>>) -> Result<Response, Problem> {
    let notice = door(&state)?.notice();
    let body = json!({
        "version": notice.map(Notice::version),
        "text": notice.map(Notice::text),
    });
    Ok(no_store(axum::Json(body).into_response()))
}

/// `POST /api/v1/sign-in`.
pub(super) async fn sign_in(
    State(state): State<Arc<Shared>>,
    asking: Asking,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let attempt = Attempt::from(read_json::<SignInBody>(&headers, &body)?);
    let current = person(&state, &asking).await.ok();
    let door = door(&state)?;
    let outcome = door
        .sign_in(&attempt, &asking.client, current.as_ref())
        .await;
    let signed = recorded(&state, outcome).await?;
    Ok(begun(&signed, &json!({})))
}

body! {
    /// Both factors, and a new password.
    PasswordBody {
        /// The account.
        username: String = Schema::Text;
        /// Its present password.
        password: SecretString = Schema::Text;
        /// A code of the authenticator app, or a recovery code.
        code: String = Schema::Text;
        /// The new password.
        new_password: SecretString = Schema::Text;
        /// The version of the notice that is accepted (`GET /api/v1/sign-in/notice`).
        notice: Option<String> = Schema::Maybe(&Schema::TextUpTo(64));
    }
}

/// `POST /api/v1/password`: a new password, by all factors, with or without a session.
pub(super) async fn change_password(
    State(state): State<Arc<Shared>>,
    asking: Asking,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let body: PasswordBody = read_json(&headers, &body)?;
    let attempt = Attempt {
        username: body.username,
        password: body.password,
        code: Some(body.code),
        notice: body.notice,
    };
    let outcome = door(&state)?
        .change_password(&attempt, &body.new_password, &asking.client)
        .await;
    let signed = recorded(&state, outcome).await?;
    Ok(begun(&signed, &json!({})))
}

/// `POST /api/v1/sign-out`. Whoever has no session is signed out already.
pub(super) async fn sign_out(
    State(state): State<Arc<Shared>>,
    asking: Asking,
) -> Result<Response, Problem> {
    if let Some(token) = &asking.token {
        match door(&state)?.sign_out(token, &asking.client).await {
            Ok(()) | Err(SignInError::NoSession) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let cleared = [
        (header::SET_COOKIE, CLEAR_COOKIE),
        // Also what a shared computer's browser has kept of the pages (ASVS 14.3.1).
        (
            header::HeaderName::from_static("clear-site-data"),
            "\"cache\", \"storage\"",
        ),
    ];
    Ok(no_store((StatusCode::NO_CONTENT, cleared).into_response()))
}

/// `GET /api/v1/me`.
pub(super) async fn me(
    State(state): State<Arc<Shared>>,
    asking: Asking,
) -> Result<Response, Problem> {
    let person = person(&state, &asking).await?;
    Ok(no_store(
        axum::Json(json!({ "person": person })).into_response(),
    ))
}

/// `GET /api/v1/me/sessions`.
pub(super) async fn own_sessions(
    State(state): State<Arc<Shared>>,
    asking: Asking,
) -> Result<Response, Problem> {
    let person = person(&state, &asking).await?;
    let sessions = door(&state)?.own_sessions(&person).await?;
    Ok(no_store(axum::Json(sessions).into_response()))
}

/// `POST /api/v1/me/sessions/{id}/revoke`.
pub(super) async fn end_own_session(
    State(state): State<Arc<Shared>>,
    asking: Asking,
    Path(id): Path<Uuid>,
) -> Result<StatusCode, Problem> {
    let person = person(&state, &asking).await?;
    let door = door(&state)?;
    door.end_own_session(&person, id, &asking.client).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /api/v1/lock`.
pub(super) async fn lock(
    State(state): State<Arc<Shared>>,
    asking: Asking,
) -> Result<StatusCode, Problem> {
    let token = asking.token.as_deref().ok_or(SignInError::NoSession)?;
    door(&state)?.lock(token).await?;
    Ok(StatusCode::NO_CONTENT)
}

body! {
    /// Both factors.
    ProofBody {
        /// The password.
        password: SecretString = Schema::Text;
        /// A code of the authenticator app, or a recovery code.
        code: Option<String> = Schema::Maybe(&Schema::Text);
    }
}

/// `POST /api/v1/unlock`: proves once more who it is. Another session, with another cookie, takes the
/// place of the one that was locked, and for ten minutes lets its person do what is dangerous.
pub(super) async fn unlock(
    State(state): State<Arc<Shared>>,
    asking: Asking,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let body: ProofBody = read_json(&headers, &body)?;
    let token = asking.token.as_deref().ok_or(SignInError::NoSession)?;
    let outcome = door(&state)?
        .prove_again(token, body.password, body.code, &asking.client)
        .await;
    let signed = recorded(&state, outcome).await?;
    let mut response = no_store(StatusCode::NO_CONTENT.into_response());
    if let Some(cookie) = set_cookie(signed.token.expose()) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

body! {
    /// A way to an account that is to be set up.
    LinkBody {
        /// The code that an administrator gave to the person.
        enrollment_code: SecretString = Schema::Text;
    }
}

/// `POST /api/v1/enrollment`: what an authenticator app needs, and what a password must meet.
pub(super) async fn begin_enrollment(
    State(state): State<Arc<Shared>>,
    asking: Asking,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let body: LinkBody = read_json(&headers, &body)?;
    let code = body.enrollment_code.expose_secret();
    let begun = door(&state)?.begin_enrollment(code, &asking.client).await?;
    let body = json!({
        "username": begun.username,
        "totp_secret": begun.secret.expose_secret(),
        "totp_uri": begun.uri.expose_secret(),
        "min_length": begun.policy.map(|policy| policy.required_length(true)),
    });
    Ok(no_store(axum::Json(body).into_response()))
}

body! {
    /// The factors of an account that is set up.
    EnrollBody {
        /// The code that an administrator gave to the person.
        enrollment_code: SecretString = Schema::Text;
        /// A password; none of an account that is known elsewhere.
        password: Option<SecretString> = Schema::Maybe(&Schema::Text);
        /// A code of the app that is being set up.
        code: String = Schema::Text;
        /// The version of the notice that is accepted (`GET /api/v1/sign-in/notice`).
        notice: Option<String> = Schema::Maybe(&Schema::TextUpTo(64));
    }
}

/// `POST /api/v1/enrollment/complete`: the recovery codes are in the answer, and nowhere else.
pub(super) async fn complete_enrollment(
    State(state): State<Arc<Shared>>,
    asking: Asking,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let body: EnrollBody = read_json(&headers, &body)?;
    let link = body.enrollment_code.expose_secret();
    let chosen = Chosen {
        password: body.password.unwrap_or_default(),
        code: body.code,
        notice: body.notice,
    };
    let enrolled = door(&state)?
        .complete_enrollment(link, &chosen, &asking.client)
        .await?;
    let codes: Vec<String> = enrolled
        .recovery_codes
        .iter()
        .map(app::sign_in::RecoveryCode::expose)
        .collect();
    Ok(begun(
        &enrolled.session,
        &json!({ "recovery_codes": codes }),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                let name = header::HeaderName::from_static(name);
                (name, HeaderValue::from_str(value).expect("a header"))
            })
            .collect()
    }

    #[test]
    fn one_cookie_counts_and_of_two_neither() {
        let of = |cookie: &str| only_cookie(&headers(&[("cookie", cookie)]), COOKIE);
        assert_eq!(
            of("a=b; __Host-blueteam=bt_session_x; c=d").as_deref(),
            Some("bt_session_x")
        );
        assert_eq!(of("__Host-blueteam=one; __Host-blueteam=two"), None);
        assert_eq!(of("blueteam=x; __host-blueteam=y"), None);
        let twice = headers(&[
            ("cookie", "__Host-blueteam=one"),
            ("cookie", "__Host-blueteam=two"),
        ]);
        assert_eq!(only_cookie(&twice, COOKIE), None);
    }

    #[test]
    fn pages_of_other_sites_change_nothing() {
        for site in ["cross-site", "same-site", "Cross-Site", "unheard-of"] {
            assert!(
                refuse_other_sites(&headers(&[("sec-fetch-site", site)])).is_err(),
                "{site}"
            );
        }
        for site in ["same-origin", "none"] {
            assert!(
                refuse_other_sites(&headers(&[("sec-fetch-site", site)])).is_ok(),
                "{site}"
            );
        }
        assert!(refuse_other_sites(&HeaderMap::new()).is_ok());
    }

    #[test]
    fn an_error_about_a_body_quotes_nothing_of_it() {
        let json = headers(&[("content-type", "application/json; charset=utf-8")]);
        for body in [
            r#"{"username":"dana","password":["hunter2"]}"#,
            r#"{"username":"dana","password":"hunter2","hunter2":1}"#,
            r#"{"username":"dana","password":"hunter2"#,
        ] {
            let refused = read_json::<SignInBody>(&json, &Bytes::from(body.to_owned()));
            let problem = refused.err().expect("it is refused");
            assert!(
                !problem.detail().contains("hunter2"),
                "{}",
                problem.detail()
            );
        }
        let plain = headers(&[("content-type", "text/plain")]);
        assert!(read_json::<SignInBody>(&plain, &Bytes::from_static(b"{}")).is_err());
    }
}
