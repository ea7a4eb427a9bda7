//! What was typed when the session locked: it waits until its person is back.

use std::sync::Arc;

use app::drafts::Draft;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequest as _, FromRequestParts as _, Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use pages::{ResumePage, assets};

use super::desk::token_context;
use super::door::CARRIED;
use super::form::Fields;
use super::{FORM_MAX, NoPage, Visit, html, see_other};
use crate::api::State as Shared;
use crate::api::people::{Asking, door};

/// Where a draft is kept, and where it is shown to its person.
const PLACE: &str = "/draft";

/// That an answer leads to the cover of a locked session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Covered;

/// Around each page: what is sent to a locked session is kept.
pub(super) async fn keep_what_was_sent(
    State(state): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    let is_form = content_type.is_some_and(|kind| {
        kind.as_bytes()
            .starts_with(b"application/x-www-form-urlencoded")
    });
    if request.method() != Method::POST || !is_form {
        return next.run(request).await;
    }

    let (mut parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, FORM_MAX).await else {
        let (title, text) = ("This form cannot be read", "It is too large.");
        return NoPage::message(StatusCode::PAYLOAD_TOO_LARGE, title, text).into_response();
    };
    let asking = Asking::from_request_parts(&mut parts, &state).await;
    let path = parts.uri.path().to_owned();
    let again = Request::from_parts(parts, Body::from(body.clone()));
    let response = next.run(again).await;

    let token = asking.ok().and_then(|asking| asking.token);
    match token {
        Some(token) if response.extensions().get::<Covered>().is_some() => {
            let kept = keep(&state, &token, &path, body).await;
            kept.unwrap_or(response)
        }
        _ => response,
    }
}

/// Keeps a form that a page of the locked session has made, and leads to the cover.
async fn keep(state: &Shared, token: &str, path: &str, body: Bytes) -> Option<Response> {
    let console = state.console.as_ref()?;
    let owner = door(state).ok()?.owner(token).await.ok()?;
    let mut request = Request::new(Body::from(body));
    *request.method_mut() = Method::POST;
    let form = header::HeaderValue::from_static("application/x-www-form-urlencoded");
    request.headers_mut().insert(header::CONTENT_TYPE, form);
    let fields = Fields::from_request(request, &()).await.ok()?;

    let context = token_context(owner.session_id);
    console.cursors.open(&context, fields.get("form_token"))?;
    let draft = draft_of(path, &fields, state.clock.now());
    console.drafts.keep(owner.user_id, draft);
    Some(see_other(&format!("/locked?next={PLACE}")))
}

/// What a form carries; the script sends what is typed and where it would go.
fn draft_of(path: &str, fields: &Fields, at: model::Timestamp) -> Draft {
    if path == PLACE {
        return Draft {
            action: fields.place("action"),
            fields: fields.below(CARRIED),
            at,
        };
    }
    Draft {
        action: path.to_owned(),
        fields: fields.typed(),
        at,
    }
}

/// `POST /draft`: what was typed when the cover comes.
pub(super) async fn save(visit: Visit, fields: Fields) -> Result<Response, NoPage> {
    visit.check_form(&fields)?;
    let draft = draft_of(PLACE, &fields, visit.desk.now);
    let (console, person) = (Arc::clone(&visit.console), visit.person.user_id);
    visit.finish(Ok(())).await?;
    console.drafts.keep(person, draft);
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `GET /draft`: what was typed, one press away from being sent.
pub(super) async fn show(visit: Visit) -> Result<Response, NoPage> {
    let draft = visit
        .console
        .drafts
        .take(visit.person.user_id, visit.desk.now);
    let ((), desk) = visit.finish(Ok(())).await?;
    Ok(match draft {
        None => see_other("/"),
        Some(draft) => html(&ResumePage {
            action: draft.action,
            fields: draft.fields,
            form_token: desk.viewer.form_token,
            style: assets::STYLE.path,
        }),
    })
}
