//! RFC 5424, to a unix socket, UDP, or TCP with octet counting (RFC 6587).

use std::io;
use std::time::Duration;

use model::{Channel, Severity};
use tokio::io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket, UnixDatagram, UnixStream, lookup_host};
use tokio::time::timeout;

use super::{Outlet, Sending};
use crate::error::{Receipt, SendError, SetupError, chain};

mod format;
mod target;

pub use format::Facility;
pub use target::Target;

/// The smallest message that every receiver must take (RFC 5424 6.1).
pub const MESSAGE_MIN: usize = 480;
/// The largest that we make; UDP carries no more than this anyhow.
pub const MESSAGE_MAX: usize = 64_000;

/// Where the messages go and what they say about us.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The receiver.
    pub target: Target,
    /// The facility; the design says LOG_SECURITY, whose modern name is authpriv.
    pub facility: Facility,
    /// This machine's name in the messages.
    pub hostname: String,
    /// This program's name in the messages.
    pub app_name: String,
    /// Private enterprise number after the `@` of the structured data's name; 32473 is the one for documentation.
    pub enterprise_id: u32,
    /// The longest message in bytes; what doesn't fit is cut, least important first.
    pub max_message_bytes: usize,
    /// The limit of one attempt.
    pub timeout: Duration,
}

struct Syslog {
    settings: Settings,
}

pub(super) fn open(settings: &mut super::Settings) -> Result<Option<Box<dyn Outlet>>, SetupError> {
    let Some(settings) = settings.syslog.take() else { return Ok(None) };
    if !(MESSAGE_MIN..=MESSAGE_MAX).contains(&settings.max_message_bytes) {
        let message = format!("must be between {MESSAGE_MIN} and {MESSAGE_MAX}");
        return Err(SetupError::new(Channel::Syslog, "max_message_bytes", message));
    }
    Ok(Some(Box::new(Syslog { settings })))
}

/// How bad, in syslog's own numbers (RFC 5424 6.2.1).
const fn level(severity: Severity) -> u8 {
    match severity {
        Severity::Critical => 2,
        Severity::High => 3,
        Severity::Medium => 4,
        Severity::Low => 5,
        Severity::Info => 6,
    }
}

impl Outlet for Syslog {
    fn send<'a>(&'a self, message: &'a crate::Message) -> Sending<'a> {
        Box::pin(async move {
            let text = format::message(&self.settings, message);
            let target = &self.settings.target;
            let advice = "check that the receiver runs and that target in [channels.syslog] is right";
            match timeout(self.settings.timeout, deliver(target, text.as_bytes())).await {
                Ok(Ok(detail)) => Ok(Receipt { detail: detail.to_owned() }),
                Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidInput || too_long(&error) => {
                    Err(SendError::never(format!("{target} refused: {}", chain(&error)), "lower max_message_bytes"))
                }
                Ok(Err(error)) => {
                    Err(SendError::later(format!("{target} cannot be reached: {}", chain(&error)), advice))
                }
                Err(_) => Err(SendError::later(format!("{target} did not take the message in time"), advice)),
            }
        })
    }
}

/// EMSGSIZE: the socket takes no datagram of this size.
fn too_long(error: &io::Error) -> bool {
    error.raw_os_error() == Some(90)
}

async fn deliver(target: &Target, text: &[u8]) -> io::Result<&'static str> {
    match target {
        Target::Unix(path) => {
            let socket = UnixDatagram::unbound()?;
            match socket.connect(path) {
                Ok(()) => socket.send(text).await.map(|_| "handed to the socket"),
                // EPROTOTYPE: a stream socket is listening there.
                Err(error) if error.raw_os_error() == Some(91) => {
                    let mut stream = UnixStream::connect(path).await?;
                    stream.write_all(text).await?;
                    finish(stream, b"\n").await
                }
                Err(error) => Err(error),
            }
        }
        Target::Udp(address) => udp(address, text).await,
        Target::Tcp(address) => {
            let mut stream = TcpStream::connect(address.as_str()).await?;
            stream.write_all(format!("{} ", text.len()).as_bytes()).await?;
            stream.write_all(text).await?;
            finish(stream, b"").await
        }
    }
}

/// Nobody acknowledges UDP; but a machine that answers "nobody listens here" is heard when it answers quickly.
async fn udp(address: &str, text: &[u8]) -> io::Result<&'static str> {
    let to = lookup_host(address).await?.next().ok_or_else(|| io::Error::other("the name has no address"))?;
    let from = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(from).await?;
    socket.connect(to).await?;
    socket.send(text).await?;
    match timeout(Duration::from_millis(20), socket.recv(&mut [0; 1])).await {
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => Err(error),
        _ => Ok("sent; UDP has no acknowledgement"),
    }
}

/// Ends the stream and waits for the receiver to do the same: it has then read everything. Syslog has no better
/// acknowledgement, and a write alone also succeeds into a connection that is dead.
async fn finish<S: AsyncWrite + tokio::io::AsyncRead + Unpin>(mut stream: S, end: &[u8]) -> io::Result<&'static str> {
    stream.write_all(end).await?;
    stream.shutdown().await?;
    match timeout(Duration::from_secs(2), stream.read(&mut [0; 64])).await {
        Ok(Ok(_)) => Ok("taken by the receiver"),
        Ok(Err(error)) => Err(error),
        Err(_) => Ok("sent; the receiver keeps the connection open"),
    }
}
