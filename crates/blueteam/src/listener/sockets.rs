//! The sockets themselves.

use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use collect::framing::MESSAGE_MAX;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, UdpSocket, UnixDatagram};
use tokio::time::MissedTickBehavior;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::queue::Queue;
use super::{Lost, Options, drops, streams};
use crate::config::{Address, TlsPair};

/// What the system is asked to hold of datagrams that we have not read yet; it may give less.
const DATAGRAM_BUFFER: usize = 8 * 1024 * 1024;

/// How often the kernel is asked what it dropped.
const LOOK_FOR_DROPS: Duration = Duration::from_secs(1);

/// Opens the socket and reads it until the stop.
pub(super) async fn read(
    options: &Options,
    queue: &Queue,
    lost: &Lost,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    match &options.address {
        Address::Udp(at) => udp(*at, queue, lost, stop).await,
        Address::Unix(path) => {
            let read = unix(path, queue, stop).await;
            let _ = std::fs::remove_file(path);
            read
        }
        Address::Tcp(at) => streams::accept(options, TcpListener::bind(at).await?, None, queue, stop).await,
        Address::Tls(at) => {
            let pair = options.tls.as_ref().context("tls needs a certificate and a key")?;
            let acceptor = acceptor(pair)?;
            streams::accept(options, TcpListener::bind(at).await?, Some(acceptor), queue, stop).await
        }
    }
}

fn acceptor(pair: &TlsPair) -> anyhow::Result<TlsAcceptor> {
    let chain = CertificateDer::pem_file_iter(&pair.cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| pair.cert.clone())?;
    let key = PrivateKeyDer::from_pem_file(&pair.key).with_context(|| pair.key.clone())?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .with_context(|| pair.cert.clone())?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// A datagram without what ends it; nothing when it is empty.
fn message(datagram: &[u8]) -> Option<Vec<u8>> {
    let end = datagram.iter().rposition(|c| !matches!(c, b'\n' | b'\r' | 0))?;
    Some(datagram[..=end].to_vec())
}

async fn udp(at: SocketAddr, queue: &Queue, lost: &Lost, stop: &CancellationToken) -> anyhow::Result<()> {
    let socket = UdpSocket::bind(at).await?;
    // Less is a smaller burst that can be survived, no more.
    let _ = rustix::net::sockopt::set_socket_recv_buffer_size(&socket, DATAGRAM_BUFFER);
    let mut buffer = vec![0; MESSAGE_MAX];
    let take = |datagram: &[u8]| {
        if message(datagram).is_some_and(|text| !queue.try_push(text)) {
            lost.note(1);
        }
    };
    let mut dropped = 0;
    let mut count_dropped = || {
        // What the kernel could not hold is as lost as what we could not.
        let all = drops::dropped(&socket).unwrap_or(dropped);
        lost.note(all.saturating_sub(dropped));
        dropped = all;
    };
    let mut look = tokio::time::interval(LOOK_FOR_DROPS);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            read = socket.recv_from(&mut buffer) => take(&buffer[..read?.0]),
            _ = look.tick() => count_dropped(),
            () = stop.cancelled() => break,
        }
    }
    // What has arrived was sent before the stop.
    while let Ok((length, _)) = socket.try_recv_from(&mut buffer) {
        take(&buffer[..length]);
    }
    count_dropped();
    Ok(())
}

async fn unix(path: &Path, queue: &Queue, stop: &CancellationToken) -> anyhow::Result<()> {
    match std::fs::symlink_metadata(path) {
        // Left by a daemon that was killed.
        Ok(found) if found.file_type().is_socket() => std::fs::remove_file(path)?,
        Ok(_) => bail!("there is something else than a socket"),
        Err(_) => {}
    }
    let socket = UnixDatagram::bind(path)?;
    // As /dev/log: any program of this machine may write.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))?;
    let mut buffer = vec![0; MESSAGE_MAX];
    loop {
        let length = tokio::select! {
            read = socket.recv(&mut buffer) => read?,
            () = stop.cancelled() => break,
        };
        if let Some(text) = message(&buffer[..length])
            && !queue.push(text).await
        {
            bail!("nobody stores any more");
        }
    }
    let drained = async {
        while let Ok(length) = socket.try_recv(&mut buffer) {
            if let Some(text) = message(&buffer[..length]) {
                queue.push(text).await;
            }
        }
    };
    if tokio::time::timeout(Duration::from_secs(2), drained).await.is_err() {
        warn!("{}: not all that was written to it could be read before the stop", path.display());
    }
    Ok(())
}
