//! `/ack/…`: the link in a mail. GET shows a page with a button; only the button's POST
//! acknowledges, because scanners of mail follow links.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};

use app::ack_links::Link;
use model::text::sanitize;
use model::{Alert, Origin, WallClock};

use crate::peer::Peer;

/// The page loads nothing, is not cached or framed, and sends no referrer.
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
    let (Some(link), Some(settings)) = (parse_link(&state, &parts), &state.acknowledge) else {
        return refused_page();
    };

    let facts = match app::alerts::of_link(&settings.people, &link).await {
        Ok(Some(alert)) => describe(&alert),
        Ok(None) => return gone_page(),
        // The button is shown in any case: the database may be back by then.
        Err(_) => format!("<p>Alert {}</p>", link.alert_id),
    };
    html_page(
        StatusCode::OK,
        &format!(
            "{facts}<p>Acknowledge it as {}, to say that you look into it:</p>\
             <form method=\"post\"><button type=\"submit\">Acknowledge</button></form>",
            escape_html(&link.who)
        ),
    )
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
        Ok(true) => {
            let alert = app::alerts::of_link(&settings.people, &link).await;
            let facts = match alert {
                Ok(Some(alert)) => describe(&alert),
                Ok(None) | Err(_) => String::new(),
            };
            let body = format!("<p>Alert {} is acknowledged.</p>{facts}", link.alert_id);
            html_page(StatusCode::OK, &body)
        }
        Ok(false) => gone_page(),
        Err(error) => {
            tracing::warn!("cannot record the acknowledgment of an alert by link: {error}");
            html_page(
                StatusCode::SERVICE_UNAVAILABLE,
                "<p>This cannot be recorded now. Try again in a minute.</p>",
            )
        }
    }
}

/// Describes an alert so that the reader of a mail recognizes it.
fn describe(alert: &Alert) -> String {
    let acknowledged = match &alert.acknowledged_by {
        Some(by) => format!("<p>Acknowledged by {}.</p>", escape_html(by)),
        None => String::new(),
    };

    format!(
        "<h1>{}</h1><p>{}</p><p>Severity: {}. About: {}. Last seen: {}. Events: {}.</p>\
         {acknowledged}",
        escape_html(&alert.title),
        escape_html(&alert.description),
        alert.severity,
        escape_html(&alert.subject()),
        WallClock::default().seconds(alert.last_seen),
        alert.event_count,
    )
}

/// Returns a text that shows as it is and does nothing else.
pub(super) fn escape_html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in sanitize(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(c),
        }
    }

    out
}

fn gone_page() -> Response {
    html_page(
        StatusCode::NOT_FOUND,
        "<p>There is no such alert any more.</p>",
    )
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

/// The same answer to every kind of invalid link.
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
