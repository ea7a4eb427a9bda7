//! Listening: connections bounded in number and patience, TLS off this machine, an end that
//! finishes what was begun.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use app::auth::{Auth, Trust};
use app::tls::ServerCertificate;
use axum::Router;
use axum::body::Body;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use ingest::{Ingest, Tasks};
use model::Clock;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::{AbortHandle, JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tower::Service as _;

use crate::api::{Serves, State, router};
use crate::console;
use crate::peer::Peer;
use crate::{Pools, Settings, Timeouts};

/// How often the use of keys is written down.
const FLUSH_USES: Duration = Duration::from_secs(10);
/// Bytes of a request's head, and of what hyper reads ahead.
const MAX_HEAD: usize = 64 * 1024;
const MAX_HEADERS: usize = 64;

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be had.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// Keys and events would cross the network in the clear.
    #[error("{0} is open to the network: give it a certificate and a key, or listen on 127.0.0.1")]
    Plaintext(SocketAddr),
    /// TLS cannot be set up.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// The spool cannot be opened.
    #[error("the spool: {0}")]
    Spool(String),
}

/// The running server.
#[derive(Debug)]
pub struct HttpServer {
    ingest: Ingest,
    address: SocketAddr,
    console: SocketAddr,
    task: JoinHandle<()>,
}

impl HttpServer {
    /// The way in for events of the program's own, and what there is to know about the others.
    pub fn ingest(&self) -> &Ingest {
        &self.ingest
    }

    /// Where it listens; tells the port when the setting was 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens for people, which may be the same.
    pub fn console_address(&self) -> SocketAddr {
        self.console
    }

    /// Returns when the server has ended: requests finished, events written or spooled, uses of
    /// keys counted.
    pub async fn ended(self) {
        if self.task.await.is_err() {
            tracing::error!("the HTTP server ended with a bug");
        }
    }
}

/// Starts the server. It ends when `shutdown` does.
pub async fn serve(
    settings: Settings,
    pools: Pools,
    clock: Arc<dyn Clock>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<HttpServer, ServeError> {
    let door = Door::open(settings.listen, settings.tls.as_ref()).await?;
    let console_door = match &settings.console_door {
        Some(console) => Some(Door::open(console.listen, console.tls.as_ref()).await?),
        None => None,
    };
    let address = door.address;
    let console = console_door.as_ref().map_or(address, |door| door.address);
    let (ingest, tasks) = Ingest::start(settings.ingest.clone(), pools.events, Arc::clone(&clock))
        .map_err(|error| ServeError::Spool(error.to_string()))?;
    let auth = Auth::new(pools.keys, Arc::clone(&clock), &trust_settings(&settings));
    let auth = match &settings.offline_keys {
        Some(offline) => auth.with_offline_keys(offline.clone()),
        None => auth,
    };

    let state = Arc::new(State {
        auth,
        ingest: ingest.clone(),
        acknowledge: settings.acknowledge.clone(),
        metrics: settings.metrics.clone(),
        console: settings.console.clone(),
        clock,
    });

    let serves = match &console_door {
        Some(_) => Serves::Machines,
        None => Serves::All,
    };
    let listening = |door, serves| Listening {
        door,
        router: router(Arc::clone(&state), serves, console::router(&state)),
        max_connections: settings.max_connections,
        timeouts: settings.timeouts.clone(),
    };
    let doors = (
        listening(door, serves),
        console_door.map(|door| listening(door, Serves::People)),
    );

    let task = tokio::spawn(run_listeners(doors, state, tasks, shutdown));
    Ok(HttpServer {
        ingest,
        address,
        console,
        task,
    })
}

/// An address that is listened on.
struct Door {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
}

impl Door {
    async fn open(listen: SocketAddr, tls: Option<&ServerCertificate>) -> Result<Self, ServeError> {
        let tls = tls
            .map(|certificate| certificate.acceptor(&[b"http/1.1"]))
            .transpose()?;
        if tls.is_none() && !listen.ip().is_loopback() {
            return Err(ServeError::Plaintext(listen));
        }

        let failed = |error| ServeError::Listen {
            address: listen,
            error,
        };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self {
            listener,
            address,
            tls,
        })
    }
}

/// How long API keys are trusted.
fn trust_settings(settings: &Settings) -> Trust {
    Trust {
        fresh: settings.key_cache,
        grace: settings.key_grace,
        patience: settings.ingest.timeouts.acquire,
        refused_max: settings.refused_keys_max,
    }
}

struct Listening {
    door: Door,
    router: Router,
    max_connections: usize,
    timeouts: Timeouts,
}

async fn run_listeners(
    doors: (Listening, Option<Listening>),
    state: Arc<State>,
    tasks: Tasks,
    shutdown: impl Future<Output = ()>,
) {
    let counting = Arc::clone(&state);
    let uses = tokio::spawn(async move {
        loop {
            counting.auth.keep_offline_keys().await;
            sleep(FLUSH_USES).await;
            counting.auth.flush_uses().await;
            if let Some(console) = &counting.console {
                console.door.keys().flush_uses().await;
            }
            record_refused(&counting, false).await;
        }
    });

    let (end, ending) = watch::channel(());
    let ended = |mut ending: watch::Receiver<()>| async move {
        // An error says that the other end is gone, which is the end, too.
        let _ = ending.changed().await;
    };
    let (machines, people) = doors;
    let people = async {
        if let Some(people) = people {
            accept_loop(people, ended(ending.clone())).await;
        }
    };
    let shutdown = async move {
        shutdown.await;
        drop(end);
    };
    tokio::join!(
        shutdown,
        accept_loop(machines, ended(ending.clone())),
        people
    );
    record_refused(&state, true).await;
    state.ingest.close(tasks).await;
    uses.abort();
    state.auth.flush_uses().await;
    if let Some(console) = &state.console {
        console.door.keys().flush_uses().await;
    }
}

/// Records who came without a good key.
async fn record_refused(state: &State, now: bool) {
    let of_people = state
        .console
        .as_ref()
        .map(|console| console.door.keys().take_refused(now))
        .unwrap_or_default();
    for refused in state.auth.take_refused(now).into_iter().chain(of_people) {
        let Ok(event) = refused.event(state.clock.now()) else {
            continue;
        };
        if let Err(error) = state.ingest.record(event, model::TenantId::DEFAULT).await {
            tracing::warn!(%error, refused = refused.refused, "refused keys cannot be recorded");
        }
    }
}

/// A connection that may be closed when another one needs its place.
struct Held {
    task: AbortHandle,
    /// Whether a request is being answered.
    asked: Arc<AtomicBool>,
}

/// Makes room when the limit is reached: closes the oldest connection that is not answering a
/// request. A client that opens a thousand connections and sends nothing locks no one else out.
fn shed_oldest(held: &mut VecDeque<Held>) {
    held.retain(|connection| !connection.task.is_finished());
    let idle = held
        .iter()
        .position(|connection| !connection.asked.load(Ordering::Relaxed));
    if let Some(connection) = idle.and_then(|idle| held.remove(idle)) {
        connection.task.abort();
    }
}

/// Accepts connections until the shutdown, then waits for those that are open, with a limit.
async fn accept_loop(listening: Listening, shutdown: impl Future<Output = ()>) {
    let Listening {
        door: Door { listener, tls, .. },
        router,
        max_connections,
        timeouts,
    } = listening;
    let places = Arc::new(Semaphore::new(
        max_connections.clamp(1, Semaphore::MAX_PERMITS),
    ));
    let (end, ending) = watch::channel(());
    let mut open = JoinSet::new();
    let mut held: VecDeque<Held> = VecDeque::new();
    let mut waiting: Option<(TcpStream, Peer)> = None;
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept(), if waiting.is_none() => match accepted {
                Ok((stream, peer)) => {
                    waiting = Some((stream, Peer(peer)));
                    if places.available_permits() == 0 {
                        shed_oldest(&mut held);
                    }
                }
                Err(error) => {
                    // Out of file handles, most likely: others must end first.
                    tracing::warn!(%error, "a connection could not be taken");
                    sleep(Duration::from_millis(50)).await;
                }
            },
            place = Arc::clone(&places).acquire_owned(), if waiting.is_some() => {
                let Some((stream, peer)) = waiting.take() else { continue };
                let (tls, router, ending) = (tls.clone(), router.clone(), ending.clone());
                let (head, asked) = (timeouts.head, Arc::new(AtomicBool::new(false)));
                let service = Service { router, asked: Arc::clone(&asked), peer };
                let task = open.spawn(async move {
                    let _place = place;
                    serve_connection(stream, tls, service, ending, head).await;
                });

                if held.len() > 2 * max_connections {
                    held.retain(|connection| !connection.task.is_finished());
                }

                held.push_back(Held { task, asked });
            },
            Some(_) = open.join_next(), if !open.is_empty() => {}
        }
    }
    drop(listener);
    drop(ending);
    let _ = end.send(());
    if timeout(timeouts.shutdown, async {
        while open.join_next().await.is_some() {}
    })
    .await
    .is_err()
    {
        tracing::warn!(connections = open.len(), "connections were cut at the end");
        open.shutdown().await;
    }
}

/// What answers the requests of a connection.
struct Service {
    router: Router,
    /// Whether a request is being answered.
    asked: Arc<AtomicBool>,
    peer: Peer,
}

async fn serve_connection(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    service: Service,
    ending: watch::Receiver<()>,
    patience: Duration,
) {
    // Answers are small and whole; waiting to fill a packet only delays them.
    let _ = stream.set_nodelay(true);
    match tls {
        None => serve_http(stream, service, ending, patience).await,
        Some(tls) => {
            if let Ok(Ok(stream)) = timeout(patience, tls.accept(stream)).await {
                serve_http(stream, service, ending, patience).await;
            }
        }
    }
}

async fn serve_http(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    service: Service,
    mut ending: watch::Receiver<()>,
    patience: Duration,
) {
    let Service {
        router,
        asked,
        peer,
    } = service;
    let service = service_fn(move |request: Request<Incoming>| {
        asked.store(true, Ordering::Relaxed);
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer);

        let answer = router.clone().call(request);
        let asked = Arc::clone(&asked);
        async move {
            let answer = answer.await;
            asked.store(false, Ordering::Relaxed);
            answer
        }
    });

    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(patience)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS);

    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    // Errors here are the client's: gone, too slow, or no HTTP.
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = ending.changed() => connection.as_mut().graceful_shutdown(),
    }

    let _ = connection.await;
}
