//! A layer that audits every request.

mod address;
mod context;
mod future;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use http::request::Parts;
use http::{Method, Request, Response, header};
use tower_layer::Layer;
use tower_service::Service;

pub use address::{Network, NotANetwork};
pub use context::AuditContext;
pub use future::ResponseFuture;

use crate::event::{Category, Detail, Event, Outcome};
use crate::{AuditLogger, action};
use future::RequestGuard;

type Peer = dyn Fn(&Parts) -> Option<IpAddr> + Send + Sync;
type Fill = dyn Fn(&Parts, &mut Event) + Send + Sync;

/// A layer that audits every request of a service: one event `access/api_request` with address,
/// user agent, path, method, status and duration (until the response's head). It is logged when the
/// response is ready, the request is aborted, or the service fails or panics. The status determines
/// the result: success below 400, denied for 401, 403, 407 and 429, otherwise failure.
///
/// The query is not recorded, because it may contain secrets. The application adds user, tenant and
/// access to CUI: from the request by [`AuditLayer::fill`], or later by the [`AuditContext`] among
/// the request's extensions.
///
/// ```no_run
/// # use blueteam_audit::{AuditLayer, AuditLogger};
/// # use axum::{Router, extract::ConnectInfo};
/// # use std::net::SocketAddr;
/// # fn build(audit: AuditLogger, router: Router) -> Router {
/// router.layer(
///     AuditLayer::new(audit)
///         .peer(|request| Some(request.extensions.get::<ConnectInfo<SocketAddr>>()?.0.ip()))
///         .trusted_proxies(["10.0.0.0/8".parse().unwrap()])
///         .fill(|request, event| {
///             event.set_cui(request.uri.path().starts_with("/documents"));
///         }),
/// )
/// # }
/// ```
#[derive(Clone)]
pub struct AuditLayer {
    settings: Arc<Settings>,
}

#[derive(Clone)]
struct Settings {
    logger: AuditLogger,
    proxies: Vec<Network>,
    peer: Option<Arc<Peer>>,
    fill: Option<Arc<Fill>>,
}

impl fmt::Debug for AuditLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditLayer")
            .field("proxies", &self.settings.proxies)
            .finish_non_exhaustive()
    }
}

impl AuditLayer {
    /// Creates a layer that logs to `logger`.
    pub fn new(logger: AuditLogger) -> Self {
        Self {
            settings: Arc::new(Settings {
                logger,
                proxies: Vec::new(),
                peer: None,
                fill: None,
            }),
        }
    }

    fn with_settings(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Arc::make_mut(&mut self.settings));
        self
    }

    /// Sets how to find the address of the connection's peer. Without it the layer looks for a
    /// `SocketAddr` or an `IpAddr` among the request's extensions; axum provides a
    /// `ConnectInfo<SocketAddr>`.
    pub fn peer(self, peer: impl Fn(&Parts) -> Option<IpAddr> + Send + Sync + 'static) -> Self {
        self.with_settings(|settings| settings.peer = Some(Arc::new(peer)))
    }

    /// Sets the proxies whose `X-Forwarded-For` is trusted. The header of other peers is ignored.
    /// Read from its end, the first address that is not a trusted proxy is the client's.
    pub fn trusted_proxies(self, proxies: impl IntoIterator<Item = Network>) -> Self {
        let proxies = proxies.into_iter().collect();
        self.with_settings(|settings| settings.proxies = proxies)
    }

    /// Sets a hook that fills in user, session, tenant, CUI or action from the request. It runs
    /// before the service. If it panics, the event is logged without its changes.
    pub fn fill(self, fill: impl Fn(&Parts, &mut Event) + Send + Sync + 'static) -> Self {
        self.with_settings(|settings| settings.fill = Some(Arc::new(fill)))
    }
}

impl<S> Layer<S> for AuditLayer {
    type Service = AuditService<S>;

    fn layer(&self, inner: S) -> AuditService<S> {
        AuditService {
            inner,
            settings: Arc::clone(&self.settings),
        }
    }
}

/// A service that is audited by [`AuditLayer`].
#[derive(Clone)]
pub struct AuditService<S> {
    inner: S,
    settings: Arc<Settings>,
}

impl<S: fmt::Debug> fmt::Debug for AuditService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditService")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

impl<S, B, R> Service<Request<B>> for AuditService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        let context = AuditContext::new(self.settings.initial_event(&parts));
        let guard = RequestGuard::new(
            self.settings.logger.clone(),
            context.clone(),
            Instant::now(),
        );

        parts.extensions.insert(context);
        ResponseFuture::new(self.inner.call(Request::from_parts(parts, body)), guard)
    }
}

impl Settings {
    fn initial_event(&self, parts: &Parts) -> Event {
        let mut event = Event::new(Category::Access, action::API_REQUEST, Outcome::Failure);
        event.metadata.reserve_exact(4);
        event.resource_type = Some("endpoint".into());
        event.resource_id = Some(parts.uri.path().to_owned());
        event.ip_address = self
            .peer_address(parts)
            .map(|peer| address::client_address(peer, &parts.headers, &self.proxies));

        let agent = parts.headers.get(header::USER_AGENT);
        event.user_agent =
            agent.map(|agent| String::from_utf8_lossy(agent.as_bytes()).into_owned());
        event.put_detail("method".into(), method_detail(&parts.method));

        if let Some(fill) = &self.fill {
            let mut filled = event.clone();
            if catch_unwind(AssertUnwindSafe(|| fill(parts, &mut filled))).is_ok() {
                return filled;
            }
            tracing::error!("the hook that fills in audit events panicked");
        }

        event
    }

    fn peer_address(&self, parts: &Parts) -> Option<IpAddr> {
        if let Some(peer) = &self.peer {
            return catch_unwind(AssertUnwindSafe(|| peer(parts)))
                .ok()
                .flatten();
        }
        let address = parts.extensions.get::<SocketAddr>().map(SocketAddr::ip);
        address.or_else(|| parts.extensions.get().copied())
    }
}

fn method_detail(method: &Method) -> Detail {
    let known = [
        Method::GET,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::HEAD,
        Method::OPTIONS,
    ];

    let words = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
    match known.iter().zip(words).find(|(known, _)| *known == method) {
        Some((_, word)) => Detail::Word(word),
        None => Detail::Json(method.as_str().into()),
    }
}
