//! Connections over TCP, with TLS or without, and over Unix sockets: bounded in number and in
//! patience.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use collect::framing::Framer;
use model::Clock;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::Options;
use super::places::{Peer, Place, Places};
use super::queue::{Message, Queue};
use app::self_audit::Component;

/// A connection that says nothing for so long is closed. Long: a sender that finds itself closed
/// may lose a message over it.
const IDLE: Duration = Duration::from_hours(1);
/// A message that is not complete so long after its last byte but one came is taken as it is, and
/// its sender is cut off.
const SLOW: Duration = Duration::from_secs(30);
/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// At the stop, what has arrived is still read: until nothing more comes for this long,
const LAST_QUIET: Duration = Duration::from_millis(100);
/// and no longer than this.
const LAST: Duration = Duration::from_secs(2);

/// Read at once of a connection: the most that a kill can take of it, beside what the kernel holds.
const AT_ONCE: usize = 64 * 1024;

/// Where connections come in.
pub(super) enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    async fn accept(&self) -> io::Result<(Stream, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok((Stream::Tcp(stream), Peer::Address(peer.ip())))
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                let user = stream.peer_cred()?.uid();
                Ok((Stream::Unix(stream), Peer::User(user)))
            }
        }
    }
}

/// Takes connections until the stop.
pub(super) async fn accept(
    options: &Options,
    listener: Socket,
    tls: Option<TlsAcceptor>,
    queue: &Queue,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let places = Places::default();
    let mut open = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = open.join_next(), if !open.is_empty() => continue,
            () = stop.cancelled() => break,
        };

        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file handles, most likely: others must end first.
                warn!(%error, "a connection could not be taken");
                sleep(Duration::from_millis(50)).await;
                continue;
            }
        };

        if let Peer::Address(address) = peer
            && !options.admits(address)
        {
            options.refuse(address);
            continue;
        }

        let place = match places.take(peer) {
            Ok(place) => place,
            Err(why) => {
                let message = format!("{}: {why}", options.name());
                options.failures.tell_of(
                    Component::Collector,
                    &options.address.to_string(),
                    message,
                );
                continue;
            }
        };

        let (tls, queue, stop) = (tls.clone(), queue.clone(), stop.clone());
        let clock = Arc::clone(&options.clock);
        let (failures, name) = (options.failures.clone(), options.name());
        let asks_certificate = options.client_ca.is_some();
        open.spawn(async move {
            let ending = serve_connection(stream, tls, &queue, &*clock, &place, &stop).await;
            match ending {
                Ending::Broken => {
                    let message = format!(
                        "{name}: a sender gave a wrong message length; its connection was closed, \
                            and what followed in it is lost"
                    );
                    warn!("{message}");
                    failures.tell_of(Component::Collector, &name, message);
                }
                Ending::Unverified(why) if asks_certificate => {
                    let message = format!(
                        "{name}: {peer} presents no certificate of an authority in `client_ca` \
                            ({why}); what it sends is refused"
                    );
                    warn!("{message}");
                    failures.tell_of(Component::Collector, &format!("{name} client_ca"), message);
                }
                Ending::Closed | Ending::Unverified(_) => {}
            }
        });
    }

    drop(listener);
    while open.join_next().await.is_some() {}
    Ok(())
}

/// How reading a connection ended.
#[derive(Clone, PartialEq, Eq)]
enum Ending {
    Closed,
    /// The TLS handshake failed, and why.
    Unverified(String),
    /// The messages in it cannot be told apart any more.
    Broken,
}

async fn serve_connection(
    stream: Stream,
    tls: Option<TlsAcceptor>,
    queue: &Queue,
    clock: &dyn Clock,
    place: &Place,
    stop: &CancellationToken,
) -> Ending {
    match (stream, tls) {
        (Stream::Unix(stream), _) => read_stream(stream, queue, clock, place, stop).await,
        (Stream::Tcp(stream), None) => read_stream(stream, queue, clock, place, stop).await,
        (Stream::Tcp(stream), Some(tls)) => match timeout(HANDSHAKE, tls.accept(stream)).await {
            Ok(Ok(stream)) => read_stream(stream, queue, clock, place, stop).await,
            Ok(Err(error)) => {
                debug!(%error, "a TLS handshake failed");
                Ending::Unverified(error.to_string())
            }
            Err(_) => {
                debug!("a TLS handshake took too long");
                Ending::Closed
            }
        },
    }
}

async fn read_stream(
    mut stream: impl AsyncRead + Unpin,
    queue: &Queue,
    clock: &dyn Clock,
    place: &Place,
    stop: &CancellationToken,
) -> Ending {
    let (mut framer, mut messages) = (Framer::default(), Vec::new());
    let of_peer = |bytes| Message {
        bytes,
        peer: place.address(),
    };
    let mut buffer = vec![0; AT_ONCE];
    let mut began: Option<Instant> = None;
    let mut last: Option<Instant> = None;
    loop {
        let patience = match began {
            _ if last.is_some() => LAST_QUIET,
            Some(began) => SLOW.saturating_sub(began.elapsed()),
            None => IDLE,
        };
        let length = tokio::select! {
            biased;
            () = stop.cancelled(), if last.is_none() => {
                last = Some(Instant::now());
                continue;
            }

            // It ends as if the sender had.
            () = place.given_up(), if last.is_none() => 0,
            read = timeout(patience, stream.read(&mut buffer)) => match read {
                Ok(Ok(length)) => length,
                // What came before counts all the same.
                Ok(Err(_)) | Err(_) => 0,
            },
        };
        place.touch();
        framer.push(&buffer[..length], &mut messages);
        let ends =
            length == 0 || framer.is_broken() || last.is_some_and(|since| since.elapsed() > LAST);
        if ends {
            messages.extend(framer.finish());
        }
        // An unfinished message has its time from where it began; a new one, anew.
        began = match began {
            Some(began) if framer.is_open() && messages.is_empty() => Some(began),
            _ => framer.is_open().then(Instant::now),
        };
        // Nothing more is read before these are on disk.
        if !messages.is_empty()
            && !queue
                .hand_over(messages.drain(..).map(of_peer).collect(), clock.now())
                .await
        {
            return Ending::Closed;
        }
        if framer.is_broken() {
            return Ending::Broken;
        }
        if ends {
            return Ending::Closed;
        }
    }
}
