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
use future::Watch;

type Peer = dyn Fn(&Parts) -> Option<IpAddr> + Send + Sync;
type Fill = dyn Fn(&Parts, &mut Event) + Send + Sync;

/// Audits every request of the service that it is put around: one event `access/api_request` with
/// address, agent, path, method, status and duration (until the response's head), told when the
/// response is there, the request is given up, or the service fails or panics. The status says the
/// result: below 400 success; 401, 403, 407 and 429 denied; else failure.
///
/// The query isn't recorded, because secrets travel in it. Who the user is, the tenant, and whether
/// CUI was touched, the application says: by [`AuditLayer::fill`] from the request, or later by the
/// [`AuditContext`] among the request's extensions.
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
///         .fill(|request, event| if request.uri.path().starts_with("/documents") { event.set_cui(true) }),
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
    /// Tells the logger of every request.
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

    fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Arc::make_mut(&mut self.settings));
        self
    }

    /// How to learn who is at the other end of the connection, which only the server knows. Without
    /// it the layer looks for a `SocketAddr` or an `IpAddr` among the request's extensions; axum's
    /// is a `ConnectInfo<SocketAddr>`.
    pub fn peer(self, peer: impl Fn(&Parts) -> Option<IpAddr> + Send + Sync + 'static) -> Self {
        self.with(|settings| settings.peer = Some(Arc::new(peer)))
    }

    /// Whose `X-Forwarded-For` is believed. When the peer is none of them, the header is anybody's
    /// invention and is not looked at. Read from its end, the first address that is no trusted
    /// proxy is the client.
    pub fn trusted_proxies(self, proxies: impl IntoIterator<Item = Network>) -> Self {
        let proxies = proxies.into_iter().collect();
        self.with(|settings| settings.proxies = proxies)
    }

    /// Fills in what the request alone tells: user, session, tenant, CUI, or a better action. It
    /// runs before the service, and a panic in it costs only what it would have filled in.
    pub fn fill(self, fill: impl Fn(&Parts, &mut Event) + Send + Sync + 'static) -> Self {
        self.with(|settings| settings.fill = Some(Arc::new(fill)))
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

/// What [`AuditLayer`] makes of a service.
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
        let context = AuditContext::new(self.settings.begin(&parts));
        let watch = Watch::new(
            self.settings.logger.clone(),
            context.clone(),
            Instant::now(),
        );

        parts.extensions.insert(context);
        ResponseFuture::new(self.inner.call(Request::from_parts(parts, body)), watch)
    }
}

impl Settings {
    fn begin(&self, parts: &Parts) -> Event {
        let mut event = Event::new(Category::Access, action::API_REQUEST, Outcome::Failure);
        event.metadata.reserve_exact(4);
        event.resource_type = Some("endpoint".into());
        event.resource_id = Some(parts.uri.path().to_owned());
        event.ip_address = self
            .peer(parts)
            .map(|peer| address::client(peer, &parts.headers, &self.proxies));

        let agent = parts.headers.get(header::USER_AGENT);
        event.user_agent =
            agent.map(|agent| String::from_utf8_lossy(agent.as_bytes()).into_owned());
        event.put("method".into(), method(&parts.method));

        if let Some(fill) = &self.fill {
            let mut filled = event.clone();
            if catch_unwind(AssertUnwindSafe(|| fill(parts, &mut filled))).is_ok() {
                return filled;
            }
            tracing::error!("the hook that fills in audit events panics");
        }

        event
    }

    fn peer(&self, parts: &Parts) -> Option<IpAddr> {
        if let Some(peer) = &self.peer {
            return catch_unwind(AssertUnwindSafe(|| peer(parts)))
                .ok()
                .flatten();
        }
        let address = parts.extensions.get::<SocketAddr>().map(SocketAddr::ip);
        address.or_else(|| parts.extensions.get().copied())
    }
}

fn method(method: &Method) -> Detail {
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
