//! Evidence of incidents.

use app::incident_evidence::{self, Leaving};
use axum::body::Body;
use axum::extract::Path;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use tokio_util::io::ReaderStream;

use super::list::{Listing, Nothing};
use super::{Api, no_store};
use crate::error::Problem;

pub(super) async fn list(
    mut api: Api,
    Path(id): Path<String>,
    listing: Listing<Nothing>,
) -> Result<Response, Problem> {
    let page = listing.page;
    let found = incident_evidence::list(&mut api.session, &id).await;
    let found = found.map(|found| page.cut(found.items, |item| item.number.to_string()));
    api.page(page, found).await
}

/// It is recorded before the first byte leaves.
pub(super) async fn file(
    mut api: Api,
    Path((id, item)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let state = api.console.state.clone();
    let made = incident_evidence::download(&mut api.session, &state, &id, &item).await;
    let download = api.checked(made).await?;

    let body = match download.content {
        Leaving::Text(text) => Body::from(text),
        Leaving::File(file) => {
            Body::from_stream(ReaderStream::new(tokio::fs::File::from_std(file)))
        }
    };
    let mut response = no_store(body.into_response());
    let headers = response.headers_mut();
    let kind = HeaderValue::from_static(download.media_type);
    headers.insert(header::CONTENT_TYPE, kind);
    if let Some(size) = download.item.size_bytes {
        headers.insert(
            header::CONTENT_LENGTH,
            HeaderValue::from(size.unsigned_abs()),
        );
    }
    // What cannot stand in a header is in the list.
    let name: String = download
        .name
        .chars()
        .map(|c| {
            if c.is_ascii_graphic() && !matches!(c, '"' | '\\') {
                c
            } else {
                '_'
            }
        })
        .collect();
    if let Ok(name) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
        headers.insert(header::CONTENT_DISPOSITION, name);
    }
    let policy = HeaderValue::from_static("sandbox; default-src 'none'");
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    let nosniff = HeaderValue::from_static("nosniff");
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    Ok(response)
}
