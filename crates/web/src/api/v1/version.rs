//! Versions of what is changed: an `ETag` with what is shown, `If-Match` with what changes it, so
//! that nobody overwrites what they have not seen (RFC 9110, 13; RFC 6585).
//!
//! A version is the hash of what is shown. Changes by the API take turns, so that nothing comes
//! between the comparison and the change; a command on the machine may.

use std::fmt::Write as _;
use std::sync::Arc;

use app::AppError;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::MutexGuard;

use super::Api;
use crate::api::State as Shared;
use crate::api::people::no_store;
use crate::error::Problem;
use crate::turn::turn;

/// The versions that a request expects.
pub(super) struct Expected(String);

impl FromRequestParts<Arc<Shared>> for Expected {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Shared>) -> Result<Self, Problem> {
        let mut given = parts.headers.get_all(header::IF_MATCH).iter();
        let (Some(expected), None) = (given.next(), given.next()) else {
            return Err(Problem::new(
                StatusCode::PRECONDITION_REQUIRED,
                "send the ETag of what you have seen in If-Match",
            )
            .kind("if-match-needed"));
        };
        Ok(Self(expected.to_str().unwrap_or_default().to_owned()))
    }
}

/// The versions that a request expects, if it says so: of what may be changed without having been seen.
pub(super) struct Given(Option<Expected>);

impl FromRequestParts<Arc<Shared>> for Given {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<Shared>) -> Result<Self, Problem> {
        if !parts.headers.contains_key(header::IF_MATCH) {
            return Ok(Self(None));
        }
        Expected::from_request_parts(parts, state)
            .await
            .map(|expected| Self(Some(expected)))
    }
}

impl Given {
    /// What is expected, if anything is.
    pub(super) const fn expected(&self) -> Option<&Expected> {
        self.0.as_ref()
    }
}

impl Expected {
    /// Waits until no other change is under way.
    pub(super) async fn turn(&self) -> MutexGuard<'static, ()> {
        turn().await
    }

    /// Whether it is this version. Weak tags never match (RFC 9110, 13.1.1).
    fn is(&self, tag: &str) -> bool {
        self.0.trim() == "*" || self.0.split(',').any(|one| one.trim() == tag)
    }
}

/// The version of what is shown.
pub(super) fn etag(value: &Value) -> String {
    let hash = app::listing::digest(value.to_string().as_bytes());
    let hex = hash.iter().take(16).fold(String::new(), |mut hex, byte| {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    format!("\"{hex}\"")
}

impl Api {
    /// Answers with a version.
    pub(super) async fn tagged<T: Serialize>(
        self,
        result: Result<T, AppError>,
    ) -> Result<Response, Problem> {
        let value = result.and_then(|value| to_json(&value));
        let value = self.checked(value).await?;
        let tag = etag(&value);
        let mut response = no_store(axum::Json(value).into_response());
        if let Ok(tag) = HeaderValue::from_str(&tag) {
            response.headers_mut().insert(header::ETAG, tag);
        }
        Ok(response)
    }

    /// Goes on if what is there now is what the request expects.
    pub(super) async fn unchanged<T: Serialize>(
        self,
        expected: &Expected,
        current: Result<T, AppError>,
    ) -> Result<Self, Problem> {
        let current = match current.and_then(|current| to_json(&current)) {
            Ok(current) => current,
            Err(error) => {
                return Err(match self.checked(Err::<(), _>(error)).await {
                    Ok(()) => Problem::unavailable("nobody knows what is there"),
                    Err(problem) => problem,
                });
            }
        };
        let tag = etag(&current);
        if expected.is(&tag) {
            return Ok(self);
        }
        self.session.close().await;
        Err(Problem::new(
            StatusCode::PRECONDITION_FAILED,
            "it was changed since you saw it: this is what it is now",
        )
        .kind("changed")
        .etag(tag)
        .with("current", current))
    }
}

fn to_json<T: Serialize>(value: &T) -> Result<Value, AppError> {
    serde_json::to_value(value).map_err(AppError::unwritable)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_version_matches_itself_and_no_weak_one() {
        let tag = etag(&json!({"a": 1}));
        assert_ne!(tag, etag(&json!({"a": 2})));
        for right in [tag.clone(), format!("\"x\", {tag}"), "*".to_owned()] {
            assert!(Expected(right.clone()).is(&tag), "{right}");
        }
        for wrong in ["", "\"\"", &format!("W/{tag}"), tag.trim_matches('"')] {
            assert!(!Expected(wrong.to_owned()).is(&tag), "{wrong}");
        }
    }
}
