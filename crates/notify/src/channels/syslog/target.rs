//! Where syslog messages go, as the operator writes it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// A receiver: `unix:/dev/log`, `udp:host:514`, `tcp:host:601`, `tls:host:6514`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A unix socket, datagram or stream, whichever listens.
    Unix(PathBuf),
    /// Host and port.
    Udp(String),
    /// Host and port; octet counting.
    Tcp(String),
    /// Host and port; octet counting inside of TLS (RFC 5425). The certificate must be the host's.
    Tls(String),
}

/// Not a receiver.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no syslog target; write unix:/dev/log, udp:host:514, tcp:host:601 or tls:host:6514"
)]
pub struct TargetError(String);

impl FromStr for Target {
    type Err = TargetError;
    fn from_str(text: &str) -> Result<Self, TargetError> {
        let bad = || TargetError(text.to_owned());
        let (kind, rest) = text.split_once(':').ok_or_else(bad)?;
        let address = || {
            let (host, port) = rest.rsplit_once(':').ok_or_else(bad)?;
            let port: u16 = port.parse().map_err(|_| bad())?;
            if host.is_empty() || port == 0 {
                Err(bad())
            } else {
                Ok(rest.to_owned())
            }
        };

        match kind {
            "unix" if rest.starts_with('/') => Ok(Self::Unix(rest.into())),
            "udp" => address().map(Self::Udp),
            "tcp" => address().map(Self::Tcp),
            "tls" => address().map(Self::Tls),
            _ => Err(bad()),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Udp(address) => write!(f, "udp:{address}"),
            Self::Tcp(address) => write!(f, "tcp:{address}"),
            Self::Tls(address) => write!(f, "tls:{address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for text in [
            "unix:/dev/log",
            "udp:loghost:514",
            "tcp:[::1]:601",
            "tls:loghost:6514",
        ] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }

        for text in [
            "",
            "/dev/log",
            "unix:dev/log",
            "udp:loghost",
            "tcp::601",
            "tcp:a:0",
            "tls:a",
            "ssl:a:1",
        ] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }
}
