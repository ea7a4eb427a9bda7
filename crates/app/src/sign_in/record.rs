//! Attempts to sign in as audit events of blueteam's own, so that its rules watch its own door.

use model::AuditRecord;
use serde_json::json;
use uuid::Uuid;

use super::{Attempt, Client, SignInError, SignedIn};

/// The event of an attempt to sign in. An answer that only asks for more is none.
pub(super) fn attempt_event(
    attempt: &Attempt,
    client: &Client,
    result: &Result<SignedIn, SignInError>,
) -> Option<AuditRecord<'static>> {
    match result {
        Ok(signed) => sign_in_event(&attempt.username, client, Some(signed.person.user_id), true),
        Err(_) => failure_event(&attempt.username, client, result),
    }
}

/// The event of an attempt that was wrong.
pub(super) fn failure_event<T>(
    username: &str,
    client: &Client,
    result: &Result<T, SignInError>,
) -> Option<AuditRecord<'static>> {
    let counts = matches!(result, Err(SignInError::Wrong | SignInError::TooMany(_)));
    counts
        .then(|| sign_in_event(username, client, None, false))
        .flatten()
}

fn sign_in_event(
    username: &str,
    client: &Client,
    user_id: Option<Uuid>,
    succeeded: bool,
) -> Option<AuditRecord<'static>> {
    let event = json!({
        "category": "auth",
        "action": if succeeded { "login" } else { "login_failed" },
        "result": if succeeded { "success" } else { "failure" },
        "user_id": user_id,
        "ip_address": client.address,
        "user_agent": client.user_agent,
        "resource_type": model::event::OURSELVES,
        "metadata": { "username": username, "service": model::event::OURSELVES },
    });
    let bytes = serde_json::to_vec(&event).ok()?;
    AuditRecord::from_json(&bytes, model::audit::Strangers::Refuse)
        .ok()
        .map(AuditRecord::into_owned)
}
