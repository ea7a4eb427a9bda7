//! Attempts to sign in as audit events of blueteam's own, so that its rules watch its own door.

use model::{AuditRecord, TenantId};
use serde_json::json;
use uuid::Uuid;

use super::{Client, Outcome, SignIn, SignInError};

/// How somebody wants to sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// By a password of blueteam's own.
    Password,
    /// By an OpenID Connect provider.
    Oidc,
    /// By a directory.
    Ldap,
    /// By a passkey.
    Passkey,
}

impl Way {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Oidc => "oidc",
            Self::Ldap => "ldap",
            Self::Passkey => "passkey",
        }
    }
}

/// The event of an attempt to sign in; of one that succeeded, with its account. An answer that only
/// asks for more is none. `username`: none where nobody has proven whose attempt it is.
pub(super) fn attempt_event(
    way: Way,
    username: Option<&str>,
    client: &Client,
    result: Result<Uuid, &SignInError>,
) -> Option<AuditRecord<'static>> {
    let (succeeded, user_id) = match result {
        Ok(user_id) => (true, Some(user_id)),
        Err(
            SignInError::Wrong
            | SignInError::TooMany(_)
            | SignInError::Provider(_)
            | SignInError::NotMapped
            | SignInError::PlanFull
            | SignInError::NameTaken
            | SignInError::Disabled
            | SignInError::PasskeyRefused
            | SignInError::PasskeyCopied,
        ) => (false, None),
        Err(_) => return None,
    };
    let mut event = json!({
        "category": "auth",
        "action": if succeeded { "login" } else { "login_failed" },
        "result": if succeeded { "success" } else { "failure" },
        "user_id": user_id,
        "ip_address": client.address,
        "user_agent": client.user_agent,
        "resource_type": model::event::OURSELVES,
        "metadata": { "service": model::event::OURSELVES, "method": way.as_str() },
    });
    if let Some(username) = username {
        event["metadata"]["username"] = username.into();
    }
    if matches!(result, Err(SignInError::PasskeyCopied)) {
        event["result"] = "denied".into();
        event["metadata"]["reason"] = model::event::PASSKEY_COPIED.into();
    }
    let bytes = serde_json::to_vec(&event).ok()?;
    AuditRecord::from_json(&bytes, model::audit::Strangers::Refuse)
        .ok()
        .map(AuditRecord::into_owned)
}

impl SignIn {
    /// What became of an attempt, with whose it is. Asked alike whether there is such an account or
    /// not, and not at all for those that are too many.
    pub(super) async fn outcome<T>(
        &self,
        result: Result<T, SignInError>,
        event: Option<AuditRecord<'static>>,
        username: Option<&str>,
    ) -> Outcome<T> {
        let is_cheap = matches!(result, Err(SignInError::TooMany(_)));
        let tenant = match username {
            Some(username) if event.is_some() && !is_cheap => self.tenant_of(username).await,
            _ => TenantId::DEFAULT,
        };
        Outcome {
            result,
            event,
            tenant,
        }
    }

    async fn tenant_of(&self, username: &str) -> TenantId {
        let asked = async {
            let mut conn = self.connect().await?;
            Ok::<_, SignInError>(store::tenants::of_account(&mut conn, username).await?)
        };
        asked.await.ok().flatten().unwrap_or_default()
    }
}
