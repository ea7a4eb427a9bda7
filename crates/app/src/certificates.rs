//! The certificates that blueteam presents, those of the HTTP server and of TLS listeners: reading,
//! checking, replacing them while they are in use, and warning before they expire.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::tls::{self, ClientAuthorities, Pair, ServerCertificate, TlsError, TlsFiles, Validity};
use anyhow::Context as _;
use model::{Span, Timestamp};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::actor::{Action, Resource};
use crate::self_audit::{Component, Failures};
use crate::{AppError, Session};
use config::{Config, ConfigError, ConfigErrors, Place};
pub use monitors::Expiry;

/// How often the files are looked at. A change counts once it is the same in two looks, because a
/// certificate and its key are not replaced in one step.
const LOOK: Duration = Duration::from_secs(10);

/// A certificate that the configuration names.
#[derive(Clone, Debug)]
pub struct Named {
    /// The same in every configuration: `ingest`, `console`, or a listener's address.
    id: String,
    /// Its place in the configuration, such as `ingest`.
    key: String,
    /// Its files.
    pub files: TlsFiles,
}

/// The ID of the HTTP server's certificate.
const HTTP_SERVER: &str = "ingest";
/// That of people's part of it, where it listens elsewhere.
const CONSOLE: &str = "console";

/// Returns every certificate that the configuration names.
pub fn named(config: &Config) -> Vec<Named> {
    let files = |cert: &str, key: &str| TlsFiles {
        cert: cert.into(),
        key: key.into(),
    };

    let ingest = &config.ingest;
    let http_server = (!ingest.tls_cert_file.is_empty()).then(|| Named {
        id: HTTP_SERVER.to_owned(),
        key: "ingest".to_owned(),
        files: files(&ingest.tls_cert_file, &ingest.tls_key_file),
    });

    let console = &config.console;
    let console = (!console.tls_cert_file.is_empty()).then(|| Named {
        id: CONSOLE.to_owned(),
        key: "console".to_owned(),
        files: files(&console.tls_cert_file, &console.tls_key_file),
    });

    let listeners = config
        .collect
        .listeners
        .iter()
        .enumerate()
        .filter_map(|(i, listener)| {
            let pair = listener.tls()?;
            let key = format!("collect.listeners[{i}]");
            Some(Named {
                id: listener.address.clone(),
                key,
                files: files(&pair.cert, &pair.key),
            })
        });

    let of_http = http_server.into_iter().chain(console);
    of_http.chain(listeners).collect()
}

/// Reads all of them as the daemon does. The error lists everything that is wrong.
pub fn read_all(config: &Config) -> Result<Vec<(Named, Pair)>, ConfigErrors> {
    let (mut pairs, mut wrong) = (Vec::new(), Vec::new());
    for named in named(config) {
        match Pair::read(&named.files) {
            Ok(pair) => pairs.push((named, pair)),
            Err(error) => {
                // An error of the key may hide its path.
                let which = if error.path == named.files.cert {
                    "tls_cert_file"
                } else {
                    "tls_key_file"
                };

                let key = format!("{}.{which}", named.key);
                let place = Place::Whole(error.path.display().to_string());
                wrong.push(ConfigError {
                    place,
                    key,
                    message: error.why,
                });
            }
        }
    }

    wrong.extend(unreadable_authorities(config));
    if wrong.is_empty() {
        Ok(pairs)
    } else {
        Err(ConfigErrors(wrong))
    }
}

/// What is wrong with the files of authorities that clients need a certificate of.
fn unreadable_authorities(config: &Config) -> Vec<ConfigError> {
    let listeners = config.collect.listeners.iter().enumerate();
    listeners
        .filter(|(_, listener)| !listener.client_ca.is_empty())
        .filter_map(|(i, listener)| {
            let error = ClientAuthorities::read(Path::new(&listener.client_ca)).err()?;
            Some(ConfigError {
                place: Place::Whole(error.path.display().to_string()),
                key: format!("collect.listeners[{i}].client_ca"),
                message: error.why,
            })
        })
        .collect()
}

/// How long each of the configured certificates is valid.
pub fn expiries(config: &Config) -> Vec<Expiry> {
    named(config).into_iter().map(to_expiry).collect()
}

/// A certificate as a page shows it.
#[derive(Debug)]
pub struct Shown {
    /// How long it is valid.
    pub expiry: Expiry,
    /// What it is for.
    pub names: Vec<String>,
}

/// Returns the configured certificates, with what they are for.
pub async fn list(session: &Session, config: &Arc<Config>) -> Result<Vec<Shown>, AppError> {
    session.require(Action::Read, Resource::System)?;
    let config = Arc::clone(config);
    let shown = tokio::task::spawn_blocking(move || {
        let shown = |named: Named| Shown {
            names: tls::names_of(&named.files.cert).unwrap_or_default(),
            expiry: to_expiry(named),
        };
        named(&config).into_iter().map(shown).collect()
    });
    Ok(shown.await.map_err(anyhow::Error::from)?)
}

fn to_expiry(named: Named) -> Expiry {
    let validity = Validity::of(&named.files.cert);
    Expiry {
        key: named.key,
        file: named.files.cert,
        not_before: validity.as_ref().ok().map(|v| v.from),
        not_after: validity.as_ref().ok().map(|v| v.until),
        problem: validity.err().map(|error| error.why),
    }
}

/// The place from which a server takes its certificate, and where a new one is put.
pub struct Slot {
    id: String,
    content: Mutex<Content>,
}

struct Content {
    files: TlsFiles,
    certificate: Option<ServerCertificate>,
    /// What the files held when the certificate was read from them.
    loaded: Option<u64>,
    /// What they held at the last look.
    seen: Option<u64>,
}

/// Returns a fingerprint of what the files hold.
fn files_fingerprint(files: &TlsFiles) -> u64 {
    let mut hasher = DefaultHasher::new();
    for path in [&files.cert, &files.key] {
        path.hash(&mut hasher);
        std::fs::read(path)
            .map_err(|error| error.kind())
            .hash(&mut hasher);
    }
    hasher.finish()
}

impl Slot {
    fn new(named: Named) -> Self {
        let content = Content {
            files: named.files,
            certificate: None,
            loaded: None,
            seen: None,
        };

        Self {
            id: named.id,
            content: Mutex::new(content),
        }
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The certificate, read from its files when it has not been yet.
    pub fn certificate(&self) -> Result<ServerCertificate, TlsError> {
        let mut content = self.content();
        if let Some(certificate) = &content.certificate {
            return Ok(certificate.clone());
        }

        let before = files_fingerprint(&content.files);
        let certificate = ServerCertificate::new(Pair::read(&content.files)?);
        content.loaded = Some(before);
        content.certificate = Some(certificate.clone());

        Ok(certificate)
    }

    /// Accepts connections with it.
    pub fn acceptor(&self) -> anyhow::Result<tokio_rustls::TlsAcceptor> {
        self.certificate()?
            .acceptor(&[])
            .context("TLS cannot be set up")
    }

    /// Accepts connections of those who present a certificate of an authority in this file.
    pub fn acceptor_for_clients(
        &self,
        client_ca: &Path,
    ) -> anyhow::Result<tokio_rustls::TlsAcceptor> {
        let authorities = ClientAuthorities::read(client_ca)?;
        self.certificate()?
            .acceptor_for_clients(&authorities)
            .context("TLS cannot be set up")
    }

    fn replace(&self, files: TlsFiles, pair: Pair) {
        let mut content = self.content();
        content.loaded = Some(files_fingerprint(&files));
        content.files = files;
        match &content.certificate {
            Some(certificate) => certificate.replace(pair),
            None => content.certificate = Some(ServerCertificate::new(pair)),
        }
    }

    /// Loads the files if they have changed. Returns the result of each change once.
    fn look(&self) -> Option<Result<Validity, TlsError>> {
        let (files, loaded, seen) = {
            let mut content = self.content();
            let now = files_fingerprint(&content.files);
            let seen = content.seen.replace(now);
            // Until it was read for the first time, whoever needs it reads it.
            content.certificate.as_ref()?;
            (content.files.clone(), content.loaded, (seen, now))
        };

        if loaded == Some(seen.1) || seen.0 != Some(seen.1) {
            return None;
        }

        match Pair::read(&files) {
            Ok(pair) => {
                let validity = pair.validity;
                self.replace(files, pair);
                Some(Ok(validity))
            }
            Err(error) => {
                // The same files are not reported again.
                self.content().loaded = Some(seen.1);
                Some(Err(error))
            }
        }
    }
}

/// The certificates of the running program.
#[derive(Clone, Default)]
pub struct Certificates(Arc<BTreeMap<String, Arc<Slot>>>);

impl Certificates {
    /// Creates a slot for each certificate that the configuration names; none is read yet.
    pub fn new(config: &Config) -> Self {
        let slots = named(config)
            .into_iter()
            .map(|named| (named.id.clone(), Arc::new(Slot::new(named))));
        Self(Arc::new(slots.collect()))
    }

    /// Returns the certificate of the HTTP server, if it has one.
    pub fn http_server(&self) -> Option<&Arc<Slot>> {
        self.0.get(HTTP_SERVER)
    }

    /// Returns the certificate of people's part of it, if it listens elsewhere and has one.
    pub fn console(&self) -> Option<&Arc<Slot>> {
        self.0.get(CONSOLE)
    }

    /// Returns the certificate of a listener, if it has one.
    pub fn listener(&self, address: &str) -> Option<&Arc<Slot>> {
        self.0.get(address)
    }

    /// Presents these from now on.
    pub fn replace(&self, pairs: Vec<(Named, Pair)>) {
        for (named, pair) in pairs {
            if let Some(slot) = self.0.get(&named.id) {
                slot.replace(named.files, pair);
            }
        }
    }

    /// Loads certificates that change on disk, until `stop` is cancelled.
    pub async fn watch(self, failures: Failures, stop: CancellationToken) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = stop.cancelled() => return Ok(()),
            }

            for slot in self.0.values().cloned() {
                let id = slot.id.clone();
                match tokio::task::spawn_blocking(move || slot.look()).await? {
                    None => {}
                    Some(Ok(validity)) => info!(
                        "{id}: presenting a new certificate, valid until {}",
                        validity.until
                    ),
                    Some(Err(error)) => {
                        let message = format!(
                            "{id}: the certificate was replaced by one that cannot be used; the \
                                old one stays: {error}"
                        );
                        error!("{message}");
                        failures.tell_of(Component::Certificate, &id, message);
                    }
                }
            }
        }
    }
}

/// Logs what is wrong with the configured certificates, or soon will be.
pub fn log_warnings(config: &Config, now: Timestamp) {
    for expiry in expiries(config) {
        let Some(warning) = expiry.warning(now) else {
            continue;
        };
        if expiry.ends_within(Span::ZERO, now) {
            error!("{warning}");
        } else {
            warn!("{warning}");
        }
    }
}
