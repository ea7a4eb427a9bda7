//! What people sign in by, and what they do with their own account: each route with what it takes
//! and answers, for the `OpenAPI` document.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use axum::{Router, middleware, routing};

use super::State as Shared;
use super::v1::answers;
use super::v1::operation::{Operation, op};
use super::{oidc, passkeys, people};
use crate::error::Problem;
use crate::peer::Peer;

/// Who a route is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Whoever reaches the port.
    Anybody,
    /// Whoever has a session.
    Session,
}

/// A route, as the document sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Route {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) access: Access,
    pub(crate) operation: Operation,
}

macro_rules! routes {
    ($($method:ident $path:literal, $access:ident => $handler:path, $operation:expr;)*) => {
        /// Every route.
        pub(crate) const ROUTES: &[Route] = &[
            $(Route {
                method: stringify!($method),
                path: $path,
                access: Access::$access,
                operation: $operation,
            },)*
        ];

        /// Every route.
        pub(super) fn router(state: &Arc<Shared>) -> Router<Arc<Shared>> {
            let counted = middleware::from_fn_with_state::<_, _, (State<Arc<Shared>>, Request)>(
                Arc::clone(state),
                count_strangers,
            );
            Router::new()
                $(.route($path, routing::$method($handler)))*
                .layer(DefaultBodyLimit::max(people::BODY_MAX))
                .layer(counted)
        }
    };
}

#[rustfmt::skip]
routes! {
    get "/api/v1/sign-in/notice", Anybody => people::notice,
        op("Shows the notice that is accepted with a sign-in").gives(&answers::NOTICE);
    post "/api/v1/sign-in", Anybody => people::sign_in,
        op("Signs in by password and code").body(people::SignInBody::RECORD)
            .gives(&answers::SIGNED_IN);
    post "/api/v1/sign-in/passkey/options", Anybody => passkeys::begin_sign_in,
        op("Begins a sign-in by a passkey").gives(&answers::PASSKEY_OPTIONS);
    post "/api/v1/sign-in/passkey", Anybody => passkeys::sign_in,
        op("Signs in by a passkey").body(passkeys::PasskeySignInBody::RECORD)
            .gives(&answers::SIGNED_IN);
    get "/api/v1/sign-in/oidc", Anybody => oidc::begin,
        op("Leads to the OpenID Connect provider").query(&answers::ACCEPTED).redirects();
    get "/api/v1/sign-in/oidc/callback", Anybody => oidc::callback,
        op("Takes what the provider sends a browser back with").query(&answers::CALLBACK)
            .gives(&answers::SIGNED_IN);
    post "/api/v1/sign-in/oidc/code", Anybody => oidc::code,
        op("Takes a code of blueteam's after a provider").body(oidc::CodeBody::RECORD)
            .gives(&answers::SIGNED_IN);
    post "/api/v1/sign-out", Anybody => people::sign_out, op("Ends the session");
    post "/api/v1/password", Anybody => people::change_password,
        op("Chooses a new password, by both factors").body(people::PasswordBody::RECORD)
            .gives(&answers::SIGNED_IN);
    post "/api/v1/enrollment", Anybody => people::begin_enrollment,
        op("Begins to set an account up").body(people::LinkBody::RECORD)
            .gives(&answers::ENROLLMENT).secret();
    post "/api/v1/enrollment/complete", Anybody => people::complete_enrollment,
        op("Sets an account up").body(people::EnrollBody::RECORD)
            .gives(&answers::ENROLLED).secret();
    get "/api/v1/me", Session => people::me, op("Says who one is").gives(&answers::SIGNED_IN);
    get "/api/v1/me/sessions", Session => people::own_sessions,
        op("Lists one's own sessions").gives_all(&answers::SESSION);
    post "/api/v1/me/sessions/{id}/revoke", Session => people::end_own_session,
        op("Ends one of one's own sessions");
    get "/api/v1/me/factors", Session => passkeys::factors,
        op("Lists one's own second factors").gives_all(&answers::FACTOR);
    post "/api/v1/me/passkeys/options", Session => passkeys::begin_registration,
        op("Begins to register a passkey").gives(&answers::PASSKEY_OPTIONS);
    post "/api/v1/me/passkeys", Session => passkeys::register,
        op("Registers a passkey; one's other sessions end")
            .body(passkeys::NewPasskeyBody::RECORD).gives(&answers::FACTOR);
    patch "/api/v1/me/passkeys/{id}", Session => passkeys::rename,
        op("Renames a passkey").body(passkeys::NameBody::RECORD);
    post "/api/v1/me/passkeys/{id}/remove", Session => passkeys::remove,
        op("Removes a passkey; one's other sessions end");
    post "/api/v1/lock", Session => people::lock, op("Locks the session");
    post "/api/v1/unlock", Session => people::unlock,
        op("Proves both factors again, by password and code").body(people::ProofBody::RECORD);
    post "/api/v1/unlock/passkey/options", Session => passkeys::begin_unlock,
        op("Begins to prove both factors again by a passkey").gives(&answers::PASSKEY_OPTIONS);
    post "/api/v1/unlock/passkey", Session => passkeys::unlock,
        op("Proves both factors again, by a passkey").body(passkeys::PasskeyBody::RECORD);
}

/// Whether a path is of a route for whoever reaches the port. None of these has a part that varies.
pub(super) fn is_for_anybody(path: &str) -> bool {
    let mut open = ROUTES.iter();
    open.any(|route| route.access == Access::Anybody && route.path == path)
}

/// In front of what needs no session: counts requests by their network. Others count by session.
async fn count_strangers(
    State(state): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    let peer = request.extensions().get::<Peer>().copied();
    if let (Some(console), Some(Peer(peer))) = (&state.console, peer)
        && is_for_anybody(request.uri().path())
        && let Err(wait) = console.count_stranger(peer.ip())
    {
        return Problem::too_fast(wait).into_response();
    }
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_provider_comes_back_to_a_route() {
        let callback = ROUTES.iter().find(|route| route.path.ends_with("callback"));
        assert_eq!(callback.unwrap().path, app::sign_in::CALLBACK_PATH);
    }

    #[test]
    fn what_anybody_may_ask_for_is_counted() {
        let open = ROUTES
            .iter()
            .filter(|route| route.access == Access::Anybody);
        for route in open {
            assert!(!route.path.contains('{'), "{}", route.path);
            assert!(is_for_anybody(route.path), "{}", route.path);
        }
        assert!(!is_for_anybody("/api/v1/me"));
    }
}
