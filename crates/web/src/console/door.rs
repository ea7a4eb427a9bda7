//! The door of the console: the same as that of the API, by forms.

use std::sync::Arc;

use app::sign_in::{Attempt, SignInError};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use pages::{ConfirmPage, LockedPage, ResumePage, SignInPage, assets};
use secrecy::SecretString;

use super::form::{Fields, local_place};
use super::{NoPage, html, see_other};
use crate::api::State as Shared;
use crate::api::people::{Asking, CLEAR_COOKIE, door, person, recorded_outcome, set_cookie};
use crate::error::Problem;

fn page(state: &Shared, error: Option<String>, username: &str, next: String) -> SignInPage {
    let has_provider = state
        .console
        .as_ref()
        .is_some_and(|console| console.config.console.oidc.is_configured());
    SignInPage {
        error,
        username: username.to_owned(),
        next,
        has_provider,
        notice: door(state).ok().and_then(|door| {
            let notice = door.notice()?;
            Some((notice.version().to_owned(), notice.text().to_owned()))
        }),
        style: assets::STYLE.path,
    }
}

/// What is said of an attempt that failed. Which part of it was wrong is not.
fn said(error: &SignInError) -> String {
    match error {
        SignInError::Wrong | SignInError::CodeNeeded => {
            "The name, password or code is wrong, or the account is locked. A code works once, for 30 \
             seconds."
                .to_owned()
        }
        SignInError::NoticeNeeded => {
            "The notice below has changed: read it, and agree to it to sign in.".to_owned()
        }
        SignInError::NotEnrolled => {
            "This account has no second factor yet: set it up with an enrollment code.".to_owned()
        }
        SignInError::PasswordChangeNeeded => {
            "This password must be changed first: blueteam users enroll-link makes a code for a new one, \
             or POST /api/v1/password changes it."
                .to_owned()
        }
        SignInError::TooMany(wait) => format!(
            "Too many attempts. Try again in {} seconds.",
            wait.as_secs().max(1)
        ),
        other => other.to_string(),
    }
}

/// `GET /sign-in`.
pub(super) async fn sign_in_page(
    State(state): State<Arc<Shared>>,
    asking: Asking,
    uri: axum::http::Uri,
) -> Result<Response, NoPage> {
    door(&state)?;
    let next = Fields::of_query(uri.query()).place("next");
    // Whoever is signed in already goes on.
    if person(&state, &asking).await.is_ok() {
        return Ok(see_other(&next));
    }
    Ok(html(&page(&state, None, "", next)))
}

/// `POST /sign-in`.
pub(super) async fn sign_in(
    State(state): State<Arc<Shared>>,
    asking: Asking,
    fields: Fields,
) -> Result<Response, NoPage> {
    let next = fields.place("next");
    let attempt = Attempt {
        username: fields.get("username").trim().to_owned(),
        password: SecretString::from(fields.get("password")),
        code: Some(fields.get("code").trim().to_owned()).filter(|code| !code.is_empty()),
        notice: Some(fields.get("notice").to_owned()).filter(|version| !version.is_empty()),
    };
    let current = person(&state, &asking).await.ok();
    let door = door(&state)?;
    let outcome = door
        .sign_in(&attempt, &asking.client, current.as_ref())
        .await;
    match recorded_outcome(&state, outcome).await? {
        Ok(signed) => Ok(entered(signed.token.expose(), &next)),
        Err(error) => {
            let page = page(&state, Some(said(&error)), &attempt.username, next);
            let status = Problem::from(error).status();
            Ok((status, html(&page)).into_response())
        }
    }
}

/// On to a page, with a session.
fn entered(token: &str, next: &str) -> Response {
    let mut response = see_other(next);
    if let Some(cookie) = set_cookie(token) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

/// `POST /sign-out`. Without a token of the form: it only ends what the cookie holds, and a page of
/// another site is refused before.
pub(super) async fn sign_out(
    State(state): State<Arc<Shared>>,
    asking: Asking,
) -> Result<Response, NoPage> {
    if let Some(token) = &asking.token {
        match door(&state)?.sign_out(token, &asking.client).await {
            Ok(()) | Err(SignInError::NoSession) => {}
            Err(error) => return Err(Problem::from(error).into()),
        }
    }
    let gone = [
        (header::SET_COOKIE, CLEAR_COOKIE),
        (
            header::HeaderName::from_static("clear-site-data"),
            "\"cache\", \"storage\"",
        ),
    ];
    Ok((gone, see_other("/sign-in")).into_response())
}

/// `GET /locked`: locks the session, if it is not locked yet, and shows nothing of it.
pub(super) async fn locked_page(
    State(state): State<Arc<Shared>>,
    asking: Asking,
    uri: axum::http::Uri,
) -> Result<Response, NoPage> {
    let next = Fields::of_query(uri.query()).place("next");
    let Some(token) = asking.token.as_deref() else {
        return Ok(see_other("/sign-in"));
    };
    match door(&state)?.lock(token).await {
        Ok(()) => {}
        Err(SignInError::NoSession) => return Ok(see_other("/sign-in")),
        Err(error) => return Err(Problem::from(error).into()),
    }
    Ok(html(&locked(None, next)))
}

fn locked(error: Option<String>, next: String) -> LockedPage {
    LockedPage {
        error,
        next,
        style: assets::STYLE.path,
    }
}

/// `POST /unlock`.
pub(super) async fn unlock(
    State(state): State<Arc<Shared>>,
    asking: Asking,
    fields: Fields,
) -> Result<Response, NoPage> {
    let next = local_place(fields.get("next"));
    let Some(token) = asking.token.as_deref() else {
        return Ok(see_other("/sign-in"));
    };
    let password = SecretString::from(fields.get("password"));
    let code = Some(fields.get("code").trim().to_owned()).filter(|code| !code.is_empty());
    let outcome = door(&state)?
        .prove_again(token, password, code, &asking.client)
        .await;
    match recorded_outcome(&state, outcome).await? {
        Ok(signed) => Ok(entered(signed.token.expose(), &next)),
        Err(SignInError::NoSession) => Ok(see_other("/sign-in")),
        Err(error) => {
            let page = locked(Some(said(&error)), next);
            Ok((StatusCode::UNAUTHORIZED, html(&page)).into_response())
        }
    }
}

/// Asks once more who it is, before what `fields` carry is sent to `action`.
pub(super) fn confirm_page(
    error: Option<String>,
    action: String,
    fields: Vec<(String, String)>,
) -> ConfirmPage {
    ConfirmPage {
        error,
        action,
        fields,
        style: assets::STYLE.path,
    }
}

/// The beginning of names of fields that are carried along.
pub(super) const CARRIED: &str = "field-";

/// `POST /confirm`: both factors once more. A new session takes the place of the old one, so that the
/// form is sent again with the token of that one, by its person. After a passkey, which has proven it
/// already, the fields alone come.
pub(super) async fn confirm(
    State(state): State<Arc<Shared>>,
    asking: Asking,
    fields: Fields,
) -> Result<Response, NoPage> {
    let action = local_place(fields.get("action"));
    let carried = fields.below(CARRIED);
    let Some(token) = asking.token.as_deref() else {
        return Ok(see_other("/sign-in"));
    };
    let password = fields.get("password");
    if password.is_empty()
        && let Ok(current) = person(&state, &asking).await
        && current.stepped_up
    {
        return Ok(html(&resume(&state, current.session_id, action, carried)));
    }

    let code = Some(fields.get("code").trim().to_owned()).filter(|code| !code.is_empty());
    let outcome = door(&state)?
        .prove_again(token, SecretString::from(password), code, &asking.client)
        .await;
    match recorded_outcome(&state, outcome).await? {
        Ok(signed) => {
            let page = resume(&state, signed.person.session_id, action, carried);
            let mut response = html(&page);
            if let Some(cookie) = set_cookie(signed.token.expose()) {
                response.headers_mut().insert(header::SET_COOKIE, cookie);
            }
            Ok(response)
        }
        Err(SignInError::NoSession) => Ok(see_other("/sign-in")),
        Err(error) => {
            let page = confirm_page(Some(said(&error)), action, carried);
            Ok((StatusCode::UNAUTHORIZED, html(&page)).into_response())
        }
    }
}

fn resume(
    state: &Shared,
    session: uuid::Uuid,
    action: String,
    fields: Vec<(String, String)>,
) -> ResumePage {
    let form_token = state
        .console
        .as_ref()
        .map_or_else(String::new, |console| super::form_token(console, session));
    ResumePage {
        action,
        fields,
        form_token,
        style: assets::STYLE.path,
    }
}
