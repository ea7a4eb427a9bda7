//! Certificates of servers, which can be replaced while connections are open.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use model::Timestamp;
use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;
use x509_parser::extensions::GeneralName;

/// A certificate chain and its key, PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain, the server's own certificate first.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Why a certificate or its key cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {why}", path.display())]
pub struct TlsError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub why: String,
}

impl TlsError {
    fn new(path: &Path, why: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            why: why.into(),
        }
    }
}

/// From when until when all certificates of a chain are valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The latest beginning.
    pub from: Timestamp,
    /// The earliest end.
    pub until: Timestamp,
}

impl Validity {
    /// Reads it from the certificate file alone, so that the caller needs no access to the key.
    pub fn of(cert: &Path) -> Result<Self, TlsError> {
        read_chain(cert).map(|(_, validity)| validity)
    }
}

/// The names and addresses that a certificate file's first certificate is for.
pub fn names_of(cert: &Path) -> Result<Vec<String>, TlsError> {
    let (chain, _) = read_chain(cert)?;
    let Some((_, leaf)) = chain
        .first()
        .and_then(|der| x509_parser::parse_x509_certificate(der).ok())
    else {
        return Ok(Vec::new());
    };
    let names = leaf.subject_alternative_name().ok().flatten();
    let names = names.map_or_else(Vec::new, |names| names.value.general_names.clone());
    Ok(names.iter().filter_map(name_of).collect())
}

fn name_of(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(octets) => {
            let v4 = <[u8; 4]>::try_from(*octets).map(IpAddr::from);
            let v6 = || <[u8; 16]>::try_from(*octets).map(IpAddr::from);
            v4.or_else(|_| v6()).ok().map(|address| address.to_string())
        }
        _ => None,
    }
}

/// A certificate chain with the key that belongs to it.
#[derive(Clone)]
pub struct Pair {
    key: Arc<CertifiedKey>,
    /// When it is valid. An expired one is still a pair: some clients do not mind, and a server
    /// that refuses to run serves nobody.
    pub validity: Validity,
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair")
            .field("validity", &self.validity)
            .finish_non_exhaustive()
    }
}

impl Pair {
    /// Reads both files, and checks that they belong together.
    pub fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        let (chain, validity) = read_chain(&files.cert)?;
        let key = private_key(&files.key)?;
        let provider = rustls::crypto::ring::default_provider();
        let key = CertifiedKey::from_der(chain, key, &provider).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                let cert = files.cert.display();
                TlsError::new(
                    &files.key,
                    format!("the key does not belong to the certificate in {cert}"),
                )
            }
            rustls::Error::InvalidCertificate(_) => TlsError::new(&files.cert, error.to_string()),
            _ => TlsError::new(&files.key, error.to_string()),
        })?;

        Ok(Self {
            key: Arc::new(key),
            validity,
        })
    }
}

/// Reads the server's own certificate: the first of its file.
pub(crate) fn first_certificate(path: &Path) -> Result<CertificateDer<'static>, TlsError> {
    let (chain, _) = read_chain(path)?;
    let first = chain.into_iter().next();
    first.ok_or_else(|| TlsError::new(path, "holds no certificate (PEM)"))
}

fn read_chain(path: &Path) -> Result<(Vec<CertificateDer<'static>>, Validity), TlsError> {
    let text = read_file(path)?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| TlsError::new(path, format!("is not PEM: {error}")))?;
    let mut validity: Option<Validity> = None;
    for der in &chain {
        let (_, parsed) = x509_parser::parse_x509_certificate(der).map_err(|error| {
            TlsError::new(
                path,
                format!("holds something else than a certificate: {error}"),
            )
        })?;

        let from = Timestamp::from_secs(parsed.validity().not_before.timestamp());
        let until = Timestamp::from_secs(parsed.validity().not_after.timestamp());
        let so_far = validity.unwrap_or(Validity { from, until });
        validity = Some(Validity {
            from: so_far.from.max(from),
            until: so_far.until.min(until),
        });
    }

    let validity = validity.ok_or_else(|| TlsError::new(path, "holds no certificate (PEM)"))?;
    Ok((chain, validity))
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    if !config::names_file(&path.to_string_lossy()) {
        let place = Path::new("the configuration");
        return Err(TlsError::new(place, config::NOT_SHOWN));
    }

    let text = read_file(path)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| {
        let shown = String::from_utf8_lossy(&text);
        let encrypted = shown.contains(
            "BEGIN ENCRYPTED PRIVATE \
            KEY",
        ) || shown.contains("Proc-Type: 4,ENCRYPTED");
        let why = if encrypted {
            "the key is encrypted, and nobody is there to enter its passphrase: store it without \
                one \
             (openssl pkey -in ENCRYPTED -out KEY) and let the program's user alone read it"
                .to_owned()
        } else if matches!(error, pem::Error::NoItemsFound) {
            "holds no private key (PEM)".to_owned()
        } else {
            format!("is not a private key in PEM: {error}")
        };

        TlsError::new(path, why)
    })
}

fn read_file(path: &Path) -> Result<Vec<u8>, TlsError> {
    let text = std::fs::read(path)
        .map_err(|error| TlsError::new(path, format!("cannot be read: {error}")))?;
    if text.is_empty() {
        Err(TlsError::new(path, "is empty"))
    } else {
        Ok(text)
    }
}

/// What a server presents; may be replaced at any time, for the handshakes from then on.
#[derive(Clone)]
pub struct ServerCertificate(Arc<RwLock<Pair>>);

impl fmt::Debug for ServerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.read().unwrap_or_else(PoisonError::into_inner).fmt(f)
    }
}

impl ServerCertificate {
    /// One that begins with this pair.
    pub fn new(pair: Pair) -> Self {
        Self(Arc::new(RwLock::new(pair)))
    }

    /// Presents another pair from now on. Connections that are open stay open.
    pub fn replace(&self, pair: Pair) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = pair;
    }

    /// Accepts connections with it, for these application protocols.
    pub fn acceptor(&self, protocols: &[&[u8]]) -> Result<TlsAcceptor, rustls::Error> {
        self.acceptor_of(WebPkiClientVerifier::no_client_auth(), protocols)
    }

    /// Accepts connections of those who present a certificate of one of the authorities.
    pub fn acceptor_for_clients(
        &self,
        of: &ClientAuthorities,
    ) -> Result<TlsAcceptor, rustls::Error> {
        self.acceptor_of(Arc::clone(&of.0), &[])
    }

    fn acceptor_of(
        &self,
        clients: Arc<dyn ClientCertVerifier>,
        protocols: &[&[u8]],
    ) -> Result<TlsAcceptor, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(clients)
            .with_cert_resolver(Arc::new(self.clone()));
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

/// The authorities whose certificates clients must present.
#[derive(Clone, Debug)]
pub struct ClientAuthorities(Arc<dyn ClientCertVerifier>);

impl ClientAuthorities {
    /// Reads their certificates (PEM).
    pub fn read(path: &Path) -> Result<Self, TlsError> {
        let (certificates, _) = read_chain(path)?;
        let mut roots = RootCertStore::empty();
        for certificate in certificates {
            roots.add(certificate).map_err(|error| {
                TlsError::new(
                    path,
                    format!("is not the certificate of an authority: {error}"),
                )
            })?;
        }

        let provider = Arc::new(rustls::crypto::ring::default_provider());
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map(Self)
            .map_err(|error| TlsError::new(path, error.to_string()))
    }
}

impl ResolvesServerCert for ServerCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(
            &self.0.read().unwrap_or_else(PoisonError::into_inner).key,
        ))
    }
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;
