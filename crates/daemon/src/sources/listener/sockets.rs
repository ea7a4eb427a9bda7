//! The sockets themselves.

use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use collect::framing::{MESSAGE_MAX, datagram_message};
use tokio::net::{TcpListener, UdpSocket, UnixDatagram, UnixListener};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::queue::{Message, Queue};
use super::streams::Socket;
use super::{Lost, Options, drops, streams};
use config::Address;

/// What the system is asked to hold of datagrams that we have not read yet; it may give less.
const DATAGRAM_BUFFER: usize = 8 * 1024 * 1024;

/// Bytes of datagrams that are handed over at once.
const AT_ONCE: usize = 64 * 1024;
/// How often the kernel is asked what it dropped, while anything comes.
const LOOK_FOR_DROPS: Duration = Duration::from_millis(250);
/// How long what has arrived is still read at the stop.
const LAST: Duration = Duration::from_secs(2);

/// Opens the socket and reads it until the stop.
pub(super) async fn read(
    options: &Options,
    queue: &Queue,
    lost: &Lost,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    match &options.address {
        Address::Udp(at) => read_udp(*at, options, queue, lost, stop).await,
        Address::Unix(path) => {
            let read = read_unix(path, options, queue, stop).await;
            let _ = std::fs::remove_file(path);
            read
        }
        Address::UnixStream(path) => {
            let read = unix_stream(path, options, queue, stop).await;
            let _ = std::fs::remove_file(path);
            read
        }
        Address::Tcp(at) => {
            let socket = Socket::Tcp(TcpListener::bind(at).await?);
            streams::accept(options, socket, None, queue, stop).await
        }
        Address::Tls(at) => {
            let slot = options
                .tls
                .as_ref()
                .context("tls needs a certificate and a key")?;
            let acceptor = match &options.client_ca {
                Some(client_ca) => slot.acceptor_for_clients(client_ca)?,
                None => slot.acceptor()?,
            };
            let socket = Socket::Tcp(TcpListener::bind(at).await?);
            streams::accept(options, socket, Some(acceptor), queue, stop).await
        }
    }
}

/// The message of a datagram; nothing when it is empty.
fn message_of(datagram: &[u8], peer: Option<IpAddr>) -> Option<Message> {
    datagram_message(datagram).map(|message| Message {
        bytes: message.to_vec(),
        peer: peer.map(|peer| peer.to_canonical()),
    })
}

async fn read_udp(
    at: SocketAddr,
    options: &Options,
    queue: &Queue,
    lost: &Lost,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let socket = UdpSocket::bind(at).await?;
    // Less is a smaller burst that can be survived, no more.
    let _ = rustix::net::sockopt::set_socket_recv_buffer_size(&socket, DATAGRAM_BUFFER);
    let mut buffer = vec![0; MESSAGE_MAX];
    let mut kernel = KernelDrops::of(&socket, options);
    let mut look = tokio::time::interval(LOOK_FOR_DROPS);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);

    let mut heard = false;
    loop {
        let mut messages = Vec::new();
        tokio::select! {
            read = socket.recv_from(&mut buffer) => {
                let (length, from) = read?;
                if options.admits(from.ip()) {
                    messages.extend(message_of(&buffer[..length], Some(from.ip())));
                } else {
                    options.refuse(from.ip());
                }
            }
            _ = look.tick(), if heard => {
                kernel.note(&socket, lost);
                heard = false;
                continue;
            }
            () = stop.cancelled() => break,
        }

        heard = true;
        gather_datagrams(
            |into| receive_admitted(&socket, into, options),
            &mut buffer,
            &mut messages,
        );
        offer_messages(messages, options, queue, lost);
    }

    // What has arrived was sent before the stop; a flood must not put the stop off.
    let since = Instant::now();
    while since.elapsed() < LAST {
        let mut messages = Vec::new();
        let read = gather_datagrams(
            |into| receive_admitted(&socket, into, options),
            &mut buffer,
            &mut messages,
        );

        offer_messages(messages, options, queue, lost);
        if read == 0 {
            break;
        }
    }

    kernel.note(&socket, lost);
    Ok(())
}

/// Receives a datagram that is there already, and who sent it; one of a sender that may not send
/// has no bytes.
fn receive_admitted(
    socket: &UdpSocket,
    into: &mut [u8],
    options: &Options,
) -> std::io::Result<(usize, Option<IpAddr>)> {
    let (length, from) = socket.try_recv_from(into)?;
    if options.admits(from.ip()) {
        return Ok((length, Some(from.ip())));
    }
    options.refuse(from.ip());
    Ok((0, None))
}

fn receive_local(
    socket: &UnixDatagram,
    into: &mut [u8],
) -> std::io::Result<(usize, Option<IpAddr>)> {
    Ok((socket.try_recv(into)?, None))
}

/// Reads what is there already, up to [`AT_ONCE`] bytes. Returns how many datagrams there were.
fn gather_datagrams(
    mut receive: impl FnMut(&mut [u8]) -> std::io::Result<(usize, Option<IpAddr>)>,
    buffer: &mut [u8],
    messages: &mut Vec<Message>,
) -> usize {
    let (mut bytes, mut read) = (0, 0);
    while bytes < AT_ONCE
        && let Ok((length, peer)) = receive(buffer)
    {
        (bytes, read) = (bytes + length.max(64), read + 1);
        messages.extend(message_of(&buffer[..length], peer));
    }
    read
}

/// Hands over what there is room for; the rest is counted.
fn offer_messages(messages: Vec<Message>, options: &Options, queue: &Queue, lost: &Lost) {
    let count = messages.len() as u64;
    if count > 0 && !queue.offer(messages, options.clock.now()) {
        lost.note(count);
    }
}

/// What the kernel dropped: as lost as what did not fit into our own queue.
struct KernelDrops {
    noted: u64,
}

impl KernelDrops {
    fn of(socket: &UdpSocket, options: &Options) -> Self {
        if drops::dropped(socket).is_none() {
            warn!(
                "{}: the kernel does not tell how many datagrams it drops; they are not counted",
                options.name()
            );
        }
        Self { noted: 0 }
    }

    fn note(&mut self, socket: &UdpSocket, lost: &Lost) {
        let all = drops::dropped(socket).unwrap_or(self.noted);
        lost.note(all.saturating_sub(self.noted));
        self.noted = all;
    }
}

/// Removes the socket that a daemon that was killed has left there.
fn make_way(path: &Path) -> anyhow::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => Ok(std::fs::remove_file(path)?),
        Ok(_) => bail!("there is something else than a socket"),
        Err(_) => Ok(()),
    }
}

/// As `/dev/log`: any program of this machine may write.
fn open_to_all(path: &Path) -> anyhow::Result<()> {
    Ok(std::fs::set_permissions(
        path,
        std::fs::Permissions::from_mode(0o666),
    )?)
}

async fn unix_stream(
    path: &Path,
    options: &Options,
    queue: &Queue,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    make_way(path)?;
    let socket = Socket::Unix(UnixListener::bind(path)?);
    open_to_all(path)?;
    streams::accept(options, socket, None, queue, stop).await
}

async fn read_unix(
    path: &Path,
    options: &Options,
    queue: &Queue,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    make_way(path)?;
    let socket = UnixDatagram::bind(path)?;
    open_to_all(path)?;
    let mut buffer = vec![0; MESSAGE_MAX];
    loop {
        let mut messages = Vec::new();
        tokio::select! {
            read = socket.recv(&mut buffer) => messages.extend(message_of(&buffer[..read?], None)),
            () = stop.cancelled() => break,
        }

        gather_datagrams(
            |into| receive_local(&socket, into),
            &mut buffer,
            &mut messages,
        );
        if !messages.is_empty() && !queue.hand_over(messages, options.clock.now()).await {
            bail!("nobody stores any more");
        }
    }

    let since = Instant::now();
    let mut read = 1;
    while read > 0 && since.elapsed() < LAST {
        let mut messages = Vec::new();
        read = gather_datagrams(
            |into| receive_local(&socket, into),
            &mut buffer,
            &mut messages,
        );
        if !messages.is_empty() && !queue.hand_over(messages, options.clock.now()).await {
            bail!("nobody stores any more");
        }
    }

    if read > 0 {
        warn!(
            "{}: not all that was written to it could be read before the stop",
            path.display()
        );
    }

    Ok(())
}
