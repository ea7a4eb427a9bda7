//! Sends syslog messages to their receiver, whatever they contain.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use model::Channel;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket, UnixDatagram, UnixStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{Facility, Target};
use crate::error::{Receipt, SendError, SetupError, chain};
use crate::tls;

/// The smallest message that every receiver must take (RFC 5424 6.1).
pub const MESSAGE_MIN: usize = 480;
/// The largest message that is made; UDP carries no more than this.
pub const MESSAGE_MAX: usize = 64_000;

/// Where the messages go, and what their header says about the sender.
#[derive(Clone, Debug)]
pub struct Receiver {
    /// The receiver.
    pub target: Target,
    /// Certificates (PEM) that are trusted besides the machine's, for TLS.
    pub ca_pem: Option<String>,
    /// The facility; the design says LOG_SECURITY, whose modern name is authpriv.
    pub facility: Facility,
    /// This machine's name in the messages.
    pub hostname: String,
    /// This program's name in the messages.
    pub app_name: String,
    /// The longest message in bytes; what doesn't fit is cut, least important first.
    pub max_message_bytes: usize,
    /// The limit of one attempt.
    pub timeout: Duration,
}

/// Sends texts to a receiver.
pub(in crate::channels) struct Sender {
    pub(in crate::channels) receiver: Receiver,
    channel: Channel,
    tls: Option<Arc<ClientConfig>>,
}

impl Sender {
    /// `least` is the smallest limit of a message that the channel can keep.
    pub(in crate::channels) fn new(
        channel: Channel,
        receiver: Receiver,
        least: usize,
    ) -> Result<Self, SetupError> {
        if !(least..=MESSAGE_MAX).contains(&receiver.max_message_bytes) {
            let message = format!("must be between {least} and {MESSAGE_MAX}");
            return Err(SetupError::new(channel, "max_message_bytes", message));
        }

        let tls = match &receiver.target {
            Target::Tls(_) => {
                let config = tls::client_config(receiver.ca_pem.as_deref());
                Some(Arc::new(config.map_err(|error| {
                    SetupError::new(channel, "ca_file", error)
                })?))
            }
            _ => None,
        };

        Ok(Self {
            receiver,
            channel,
            tls,
        })
    }

    /// Sends one message, which is one line, within the limit of time.
    pub(in crate::channels) async fn send(&self, text: String) -> Result<Receipt, SendError> {
        let target = &self.receiver.target;
        let advice = format!(
            "check that the receiver runs and that target in [channels.{}] is right",
            self.channel.as_str()
        );
        match timeout(
            self.receiver.timeout,
            deliver_text(target, self.tls.as_ref(), text.as_bytes()),
        )
        .await
        {
            Ok(Ok(detail)) => Ok(Receipt {
                detail: detail.to_owned(),
            }),
            Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidInput || too_long(&error) => {
                Err(SendError::never(
                    format!("{target} refused: {}", chain(&error)),
                    "lower max_message_bytes",
                ))
            }
            Ok(Err(error)) => Err(SendError::later(
                format!("{target} cannot be reached: {}", chain(&error)),
                advice,
            )),
            Err(_) => Err(SendError::later(
                format!("{target} did not take the message in time"),
                advice,
            )),
        }
    }
}

/// EMSGSIZE: the socket takes no datagram of this size.
fn too_long(error: &io::Error) -> bool {
    error.raw_os_error() == Some(90)
}

async fn deliver_text(
    target: &Target,
    tls: Option<&Arc<ClientConfig>>,
    text: &[u8],
) -> io::Result<&'static str> {
    match target {
        Target::Unix(path) => {
            let socket = UnixDatagram::unbound()?;
            match socket.connect(path) {
                Ok(()) => socket.send(text).await.map(|_| "handed to the socket"),
                // EPROTOTYPE: a stream socket is listening there.
                Err(error) if error.raw_os_error() == Some(91) => {
                    let mut stream = UnixStream::connect(path).await?;
                    stream.write_all(text).await?;
                    finish_stream(stream, b"\n").await
                }
                Err(error) => Err(error),
            }
        }
        Target::Udp(address) => send_udp(address, text).await,
        Target::Tcp(address) => {
            let mut stream = TcpStream::connect(address.as_str()).await?;
            stream
                .write_all(format!("{} ", text.len()).as_bytes())
                .await?;
            stream.write_all(text).await?;
            finish_stream(stream, b"").await
        }
        Target::Tls(address) => {
            let config = tls.ok_or_else(|| io::Error::other("TLS is not set up"))?;
            let host = address
                .rsplit_once(':')
                .map_or(address.as_str(), |(host, _)| host);
            let host = host
                .trim_start_matches('[')
                .trim_end_matches(']')
                .to_owned();
            let name = ServerName::try_from(host).map_err(io::Error::other)?;

            let stream = TcpStream::connect(address.as_str()).await?;
            let mut stream = TlsConnector::from(Arc::clone(config))
                .connect(name, stream)
                .await?;
            stream
                .write_all(format!("{} ", text.len()).as_bytes())
                .await?;
            stream.write_all(text).await?;

            finish_stream(stream, b"").await
        }
    }
}

/// Nobody acknowledges UDP; but a machine that answers "nobody listens here" is heard when it
/// answers quickly.
async fn send_udp(address: &str, text: &[u8]) -> io::Result<&'static str> {
    let to = lookup_host(address)
        .await?
        .next()
        .ok_or_else(|| io::Error::other("the name has no address"))?;
    let from = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(from).await?;
    socket.connect(to).await?;
    socket.send(text).await?;

    match timeout(Duration::from_millis(20), socket.recv(&mut [0; 1])).await {
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => Err(error),
        _ => Ok("sent; UDP has no acknowledgment"),
    }
}

/// Ends the stream and waits for the receiver to do the same: it has then read everything. Syslog
/// has no better acknowledgment, and a write alone also succeeds into a connection that is dead.
async fn finish_stream<S: AsyncWrite + AsyncRead + Unpin>(
    mut stream: S,
    end: &[u8],
) -> io::Result<&'static str> {
    stream.write_all(end).await?;
    stream.shutdown().await?;
    match timeout(Duration::from_secs(2), stream.read(&mut [0; 64])).await {
        Ok(Ok(_)) => Ok("taken by the receiver"),
        // It closed without TLS's goodbye, as many do, after ours.
        Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Ok("taken by the receiver")
        }
        Ok(Err(error)) => Err(error),
        Err(_) => Ok("sent; the receiver keeps the connection open"),
    }
}
