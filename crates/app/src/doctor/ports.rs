//! Whether whoever sends something finds someone there.

use std::io::{Error, ErrorKind};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::os::unix::net::{UnixDatagram, UnixStream};

use tokio::net::{TcpListener, TcpStream, UdpSocket};

use super::{Finding, Look, Part, Site};

pub(super) const PART: Part = Part {
    name: "ports",
    look: Look::Asks(|site| Box::pin(look(site))),
};

async fn look(site: &Site) -> anyhow::Result<Vec<Finding>> {
    let config = &site.loaded()?.config;
    let http = format!("tcp:{}", config.ingest.listen);
    let listeners = config.collect.listeners.iter();
    let addresses = std::iter::once(http).chain(listeners.map(|l| l.address.clone()));

    let mut found = Vec::new();
    for address in addresses {
        let finding = if site.daemon_runs {
            answers(&address).await
        } else {
            is_free(&address).await
        };
        found.push(finding);
    }
    Ok(found)
}

/// Where `tcp:HOST:PORT` is. A listener on every address is asked on this machine's own.
fn socket(address: &str) -> std::io::Result<SocketAddr> {
    let (_, place) = address.split_once(':').unwrap_or_default();
    let mut found = place.to_socket_addrs()?;
    found
        .next()
        .ok_or_else(|| Error::from(ErrorKind::AddrNotAvailable))
}

/// Whether the daemon that runs answers there.
async fn answers(address: &str) -> Finding {
    let kind = address.split(':').next().unwrap_or_default();
    let path = address.split_once(':').unwrap_or_default().1;
    let asked = match kind {
        "unix" => UnixDatagram::unbound().and_then(|socket| socket.connect(path)),
        "unix-stream" => UnixStream::connect(path).map(|_| ()),
        // Nobody answers a datagram: the place must be taken.
        "udp" => match bind_udp(address).await {
            Err(error) if error.kind() == ErrorKind::AddrInUse => Ok(()),
            Err(error) => Err(error),
            Ok(()) => Err(Error::from(ErrorKind::ConnectionRefused)),
        },
        _ => connect(address).await,
    };

    match asked {
        Ok(()) => Finding::ok(format!("{address} is open")),
        Err(error) => Finding::wrong(
            format!("the daemon runs, and nobody is at {address}: {error}"),
            "restart the daemon and look at its log: journalctl -u blueteam -e",
        ),
    }
}

async fn connect(address: &str) -> std::io::Result<()> {
    let mut at = socket(address)?;
    if at.ip().is_unspecified() {
        at.set_ip(if at.is_ipv4() {
            std::net::Ipv4Addr::LOCALHOST.into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        });
    }
    TcpStream::connect(at).await.map(|_| ())
}

async fn bind_udp(address: &str) -> std::io::Result<()> {
    UdpSocket::bind(socket(address)?).await.map(|_| ())
}

/// Whether a daemon that is started could take the place.
async fn is_free(address: &str) -> Finding {
    let kind = address.split(':').next().unwrap_or_default();
    let tried = match kind {
        // What an earlier run has left behind is replaced.
        "unix" | "unix-stream" => Ok(()),
        "udp" => bind_udp(address).await,
        _ => match socket(address) {
            Ok(at) => TcpListener::bind(at).await.map(|_| ()),
            Err(error) => Err(error),
        },
    };

    match tried {
        Ok(()) => Finding::ok(format!("{address} is free")),
        Err(error) if error.kind() == ErrorKind::AddrInUse => Finding::wrong(
            format!("another program is at {address}"),
            "end it (ss -lntup shows which), or configure another port",
        ),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Finding::warning(
            format!("{address} is not for everybody: {error}"),
            "take a port above 1023, or grant the unit CAP_NET_BIND_SERVICE",
        ),
        Err(error) => Finding::wrong(
            format!("{address} cannot be used: {error}"),
            "correct the address",
        ),
    }
}
