//! Errors as RFC 9457 problem documents.

use std::borrow::Cow;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};

/// A refusal, as the client sees it. Never holds anything of the server's inside.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    detail: Cow<'static, str>,
    /// Seconds after which a retry makes sense.
    retry_after: Option<u32>,
    /// Which of our errors it is, for programs: the end of its `type`.
    kind: Option<&'static str>,
    /// More members of the document.
    more: Map<String, Value>,
    /// The version of what is there.
    etag: Option<String>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            detail: detail.into(),
            retry_after: None,
            kind: None,
            more: Map::new(),
            etag: None,
        }
    }

    /// Names the error, so that programs can tell it from others of the same status.
    pub(crate) fn kind(self, kind: &'static str) -> Self {
        Self {
            kind: Some(kind),
            ..self
        }
    }

    /// What is wrong with which part of the request.
    pub(crate) fn errors(self, errors: Value) -> Self {
        self.with("errors", errors)
    }

    /// With another member.
    pub(crate) fn with(mut self, name: &str, value: Value) -> Self {
        self.more.insert(name.to_owned(), value);
        self
    }

    /// With the version of what is there.
    pub(crate) fn etag(self, etag: String) -> Self {
        Self {
            etag: Some(etag),
            ..self
        }
    }

    /// The same, worth trying again after so many seconds.
    pub(crate) fn retry_after(self, seconds: u32) -> Self {
        Self {
            retry_after: Some(seconds),
            ..self
        }
    }

    /// 401: who are you?
    pub(crate) fn unauthorized() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "a valid API key is needed: Authorization: Bearer bt_…",
        )
    }

    /// 401 of `/api/v1`: who are you?
    pub(crate) fn unauthorized_person() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "sign in, or send an API key of a person that is in force: Authorization: Bearer \
             bt_api_…",
        )
    }

    /// 429: too much waits already.
    pub(crate) fn busy() -> Self {
        let busy = Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too many events wait for their commit; nothing was taken",
        );
        Self {
            retry_after: Some(1),
            ..busy
        }
    }

    /// 429: too many requests without a good key.
    pub(crate) fn too_many_refused() -> Self {
        let busy = Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too many requests without a valid API key came from this network",
        );
        Self {
            retry_after: Some(60),
            ..busy
        }
    }

    /// 429: too many requests of a session, key or network.
    pub(crate) fn too_fast(wait: std::time::Duration) -> Self {
        let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX);
        let text = "too many requests within a minute: try again after Retry-After";
        Self::new(StatusCode::TOO_MANY_REQUESTS, text)
            .kind("too-many")
            .retry_after(seconds.saturating_add(1))
    }

    /// 503: it cannot be kept now.
    pub(crate) fn unavailable(detail: &'static str) -> Self {
        Self {
            retry_after: Some(5),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
        }
    }
}

impl Problem {
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    /// The same answer with another body, for clients of a protocol that prescribes one.
    pub(crate) fn with_body(self, kind: &'static str, body: Vec<u8>) -> Response {
        let mut response = self.into_response();
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        response.headers_mut().remove(header::CONTENT_LENGTH);
        *response.body_mut() = body.into();
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = serde_json::json!({
            "type": self.kind.map_or_else(
                || "about:blank".to_owned(),
                |kind| format!("urn:blueteam:problem:{kind}"),
            ),
            "title": self.status.canonical_reason().unwrap_or("error"),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        if let Some(body) = body.as_object_mut() {
            body.extend(self.more);
        }

        let kind = [(header::CONTENT_TYPE, "application/problem+json")];
        let mut response = (self.status, kind, body.to_string()).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }

        let etag = self.etag.and_then(|etag| HeaderValue::from_str(&etag).ok());
        if let Some(etag) = etag {
            headers.insert(header::ETAG, etag);
        }

        // A person signs in by other means than a key.
        if self.status == StatusCode::UNAUTHORIZED && self.kind.is_none() {
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"blueteam\""),
            );
        }

        response
    }
}
