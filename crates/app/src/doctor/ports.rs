//! Whether whoever sends something finds someone there.

use std::io::{Error, ErrorKind};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;

use tokio::net::{TcpListener, TcpStream, UdpSocket};

use super::healthz::{self, Health};
use super::{Finding, Look, Part, Site};

pub(super) const PART: Part = Part {
    name: "ports",
    look: Look::Asks(|site| Box::pin(look(site))),
};

async fn look(site: &Site) -> anyhow::Result<Vec<Finding>> {
    let config = &site.loaded()?.config;
    let ingest = (config.ingest.listen, &config.ingest.tls_cert_file);
    let console = config.console.address();
    let console = console.map(|listen| (listen, &config.console.tls_cert_file));
    let mut found = Vec::new();
    for (listen, certificate) in [ingest].into_iter().chain(console) {
        let http = format!("tcp:{listen}");
        found.push(if site.daemon_runs {
            serves(&http, certificate).await
        } else {
            is_free(&http).await
        });
    }

    for listener in &config.collect.listeners {
        let finding = if site.daemon_runs {
            answers(&listener.address).await
        } else {
            is_free(&listener.address).await
        };
        found.push(finding);
    }
    Ok(found)
}

/// Whether the daemon's HTTP server is what answers there.
async fn serves(address: &str, certificate: &str) -> Finding {
    let certificate = (!certificate.is_empty()).then(|| Path::new(certificate));
    let asked = match reachable(address) {
        Ok(at) => healthz::ask(at, certificate).await,
        Err(error) => Err(error),
    };
    let how = if certificate.is_some() {
        "with the configured certificate"
    } else {
        "without TLS"
    };

    match asked {
        Ok(Health::Ok) => Finding::ok(format!("{address} is open, {how}")),
        Ok(Health::Degraded) => Finding::warning(
            format!("{address} is open, {how}, and events do not reach the database"),
            "see what `blueteam status` says of the database and the spool",
        ),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => nobody(address, &error),
        Err(error) => Finding::wrong(
            format!("what answers at {address} is not the daemon as it is configured: {error}"),
            "look which program is there (ss -lntup); after a change of the certificate wait half \
                a minute, after one of `ingest` restart the daemon",
        ),
    }
}

fn nobody(address: &str, error: &Error) -> Finding {
    Finding::wrong(
        format!("the daemon runs, and nobody is at {address}: {error}"),
        "restart the daemon and look at its log: journalctl -u blueteam -e",
    )
}

/// Where `tcp:HOST:PORT` is.
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
        _ => match reachable(address) {
            Ok(at) => TcpStream::connect(at).await.map(|_| ()),
            Err(error) => Err(error),
        },
    };

    match asked {
        Ok(()) => Finding::ok(format!("{address} is open")),
        Err(error) => nobody(address, &error),
    }
}

/// Where it is reached from this machine. A listener on every address is asked on its own.
fn reachable(address: &str) -> std::io::Result<SocketAddr> {
    let mut at = socket(address)?;
    if at.ip().is_unspecified() {
        at.set_ip(if at.is_ipv4() {
            std::net::Ipv4Addr::LOCALHOST.into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        });
    }
    Ok(at)
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
