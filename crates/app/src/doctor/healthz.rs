//! Whether it is blueteam that answers where the HTTP server should be: `GET /healthz`, and with
//! TLS the configured certificate.
//!
//! Any program may listen at the port of a daemon that could not: that a connection opens shows
//! nothing.

use std::io::{Error, Result};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{self, CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::tls;

/// How long the answer may take: less than a part of `doctor` has.
const PATIENCE: Duration = Duration::from_secs(1);
/// Bytes of the answer that are read. The daemon's has some 200.
const ANSWER_MAX: u64 = 4096;
const REQUEST: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// What the HTTP server says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    /// Events are taken.
    Ok,
    /// They go to the spool, or are refused.
    Degraded,
}

/// Asks the server at this address. With `certificate` over TLS, and the server must present the
/// first certificate of that file. An error says what is not as it should be.
pub(super) async fn ask(at: SocketAddr, certificate: Option<&Path>) -> Result<Health> {
    let answer = async {
        let stream = TcpStream::connect(at).await?;
        match certificate {
            None => converse(stream).await,
            Some(file) => {
                let config = Arc::new(presenting(file)?);
                let name = ServerName::IpAddress(at.ip().into());
                let connector = TlsConnector::from(config);
                converse(connector.connect(name, stream).await?).await
            }
        }
    };
    let answer = timeout(PATIENCE, answer)
        .await
        .map_err(|_| Error::other("it does not answer GET /healthz"))??;

    judge(&answer).ok_or_else(|| Error::other("its answer to GET /healthz is not blueteam's"))
}

async fn converse(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<String> {
    stream.write_all(REQUEST).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_MAX).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// What the answer of `api::health` in the crate `web` says; `None` for anybody else's.
fn judge(answer: &str) -> Option<Health> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?;
    match (status, body) {
        ("200", "ok\n") => Some(Health::Ok),
        ("200" | "503", "degraded\n") => Some(Health::Degraded),
        _ => None,
    }
}

/// Speaks to the owner of this certificate alone, whatever its name and its dates.
fn presenting(file: &Path) -> Result<ClientConfig> {
    let provider = Arc::new(crypto::ring::default_provider());
    let expected = tls::first_certificate(file).map_err(Error::other)?;
    let verifier = Arc::new(Exactly {
        expected,
        provider: Arc::clone(&provider),
    });
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(Error::other)?;
    let verified = builder
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    Ok(verified.with_no_client_auth())
}

/// Accepts one certificate.
#[derive(Debug)]
struct Exactly {
    expected: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Exactly {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        if *end_entity == self.expected {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_daemons_answer_is_taken_for_it() {
        let answer = |status: &str, body: &str| judge(&format!("{status}\r\na: b\r\n\r\n{body}"));
        assert_eq!(answer("HTTP/1.1 200 OK", "ok\n"), Some(Health::Ok));
        let refusing = "HTTP/1.1 503 Service Unavailable";
        assert_eq!(answer(refusing, "degraded\n"), Some(Health::Degraded));
        for (status, body) in [
            ("HTTP/1.1 200 OK", "<html>It works!</html>"),
            ("HTTP/1.1 404 Not Found", ""),
            ("HTTP/1.1 500 ok", "ok\n"),
            ("220 mail ESMTP", "ok\n"),
            ("HTTP/1.1 2é", "ok\n"),
        ] {
            assert_eq!(answer(status, body), None, "{status}");
        }
        assert_eq!(judge(""), None);
    }
}
