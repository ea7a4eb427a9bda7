//! `/ack/…`: the link in a mail. GET shows a page with a button; only the button's POST
//! acknowledges, because scanners of mail follow links.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};

use app::ack_links::Link;
use model::Origin;

use crate::server::Peer;

/// Nothing is loaded, kept, framed or told to other sites.
const HEADERS: [(HeaderName, &str); 4] = [
    (header::CACHE_CONTROL, "no-store"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    ),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
];

type Parts = Path<(String, String, String, String)>;

pub(super) async fn get(State(state): State<Arc<super::State>>, Path(parts): Parts) -> Response {
    match parse_link(&state, &parts) {
        Some(link) => html_page(
            StatusCode::OK,
            &format!(
                "<p>Alert {}</p><p>Say that you have seen it and look into it:</p>\
                 <form method=\"post\"><button type=\"submit\">Acknowledge</button></form>",
                link.alert_id
            ),
        ),
        None => refused_page(),
    }
}

pub(super) async fn post(
    State(state): State<Arc<super::State>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    Path(parts): Parts,
) -> Response {
    let (Some(link), Some(settings)) = (parse_link(&state, &parts), &state.acknowledge) else {
        return refused_page();
    };
    let done =
        app::alerts::acknowledge_by_link(&settings.people, &link, request_origin(peer, &headers));
    match done.await {
        Ok(true) => html_page(
            StatusCode::OK,
            &format!("<p>Alert {} is acknowledged.</p>", link.alert_id),
        ),
        Ok(false) => html_page(
            StatusCode::NOT_FOUND,
            "<p>There is no such alert any more.</p>",
        ),
        Err(error) => {
            tracing::warn!("an alert was not acknowledged by the link in its mail: {error}");
            html_page(
                StatusCode::SERVICE_UNAVAILABLE,
                "<p>This cannot be recorded now. Try again in a minute.</p>",
            )
        }
    }
}

/// Where a request comes from, for the audit log.
fn request_origin(Peer(address): Peer, headers: &HeaderMap) -> Origin {
    let user_agent = headers
        .get(header::USER_AGENT)
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());

    Origin {
        address: Some(address.ip().to_string()),
        user_agent,
        ..Origin::default()
    }
}

fn parse_link(
    state: &super::State,
    (alert, expires, who, tag): &(String, String, String, String),
) -> Option<Link> {
    state
        .acknowledge
        .as_ref()?
        .key
        .read(alert, expires, who, tag, state.clock.now())
}

/// The same answer to all that is wrong.
fn refused_page() -> Response {
    html_page(
        StatusCode::FORBIDDEN,
        "<p>This link is wrong, or its time is over. Use <code>blueteam alerts ack</code>.</p>",
    )
}

fn html_page(status: StatusCode, body: &str) -> Response {
    let page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta \
            charset=\"utf-8\"><title>blueteam</title></head><body>{body}</body></html>\n"
    );
    (status, HEADERS, Html(page)).into_response()
}
