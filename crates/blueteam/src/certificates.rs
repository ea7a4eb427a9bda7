//! The certificates that we present: those of the HTTP door and of TLS listeners. Read, checked,
//! replaced while we run, and told of before they expire.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use console::tls::{Pair, ServerCertificate, TlsError, TlsFiles, Validity};
use model::{Span, Timestamp};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::config::{Config, ConfigError, ConfigErrors, Place};
use crate::failures::{Component, Failures};

/// How often the files are looked at. A change counts once it is the same in two looks, because a
/// certificate and its key are not replaced in one step.
const LOOK: Duration = Duration::from_secs(10);
/// How long before its end a certificate is worth a word.
pub(crate) const SOON: Span = Span::days(30);

/// A certificate that the configuration names.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    /// The same in every configuration: the door, or a listener's address.
    id: String,
    /// Its place in the configuration, such as `ingest`.
    key: String,
    /// Its files.
    pub(crate) files: TlsFiles,
}

/// The id of the HTTP door's.
const DOOR: &str = "ingest";

/// All that the configuration names.
pub(crate) fn named(config: &Config) -> Vec<Named> {
    let files = |cert: &str, key: &str| TlsFiles {
        cert: cert.into(),
        key: key.into(),
    };

    let ingest = &config.ingest;
    let door = (!ingest.tls_cert_file.is_empty()).then(|| Named {
        id: DOOR.to_owned(),
        key: "ingest".to_owned(),
        files: files(&ingest.tls_cert_file, &ingest.tls_key_file),
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

    door.into_iter().chain(listeners).collect()
}

/// Reads all of them as the daemon does. Says everything that is wrong.
pub(crate) fn read_all(config: &Config) -> Result<Vec<(Named, Pair)>, ConfigErrors> {
    let (mut pairs, mut wrong) = (Vec::new(), Vec::new());
    for named in named(config) {
        match Pair::read(&named.files) {
            Ok(pair) => pairs.push((named, pair)),
            Err(error) => {
                let which = if error.path == named.files.key {
                    "tls_key_file"
                } else {
                    "tls_cert_file"
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

    if wrong.is_empty() {
        Ok(pairs)
    } else {
        Err(ConfigErrors(wrong))
    }
}

/// A certificate and how long it is valid, for people.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct Expiry {
    /// Its place in the configuration.
    pub(crate) key: String,
    /// The file.
    pub(crate) file: PathBuf,
    /// From when; none when it cannot be read.
    pub(crate) not_before: Option<Timestamp>,
    /// Until when.
    pub(crate) not_after: Option<Timestamp>,
    /// Why it cannot be read.
    pub(crate) problem: Option<String>,
}

impl Expiry {
    fn of(named: Named) -> Self {
        let validity = Validity::of(&named.files.cert);
        Self {
            key: named.key,
            file: named.files.cert,
            not_before: validity.as_ref().ok().map(|v| v.from),
            not_after: validity.as_ref().ok().map(|v| v.until),
            problem: validity.err().map(|error| error.why),
        }
    }

    /// Whether it is no longer valid after that span, or not valid yet.
    pub(crate) fn ends_within(&self, span: Span, now: Timestamp) -> bool {
        self.not_after.is_some_and(|until| until <= now.plus(span))
            || self.not_before.is_some_and(|from| from > now)
    }

    /// What people should know of it; none while all is well.
    pub(crate) fn warning(&self, now: Timestamp) -> Option<String> {
        let (file, key) = (self.file.display(), &self.key);
        let (from, until) = (self.not_before?, self.not_after?);
        if until <= now {
            return Some(format!(
                "the certificate {file} ({key}) expired on {until}: clients refuse it"
            ));
        }

        if from > now {
            return Some(format!(
                "the certificate {file} ({key}) is not valid before {from}: clients refuse it"
            ));
        }

        let left = until.since(now);
        (left <= SOON).then(|| {
            let days = left.as_micros() / Span::days(1).as_micros();
            format!("the certificate {file} ({key}) expires on {until}, in {days} days: renew it")
        })
    }
}

/// How long each of the configured certificates is valid.
pub(crate) fn expiries(config: &Config) -> Vec<Expiry> {
    named(config).into_iter().map(Expiry::of).collect()
}

/// Where a server finds its certificate, and we put a new one.
pub(crate) struct Slot {
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

/// Stands for what the files hold; changes when anything about that does.
fn fingerprint(files: &TlsFiles) -> u64 {
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
    pub(crate) fn certificate(&self) -> Result<ServerCertificate, TlsError> {
        let mut content = self.content();
        if let Some(certificate) = &content.certificate {
            return Ok(certificate.clone());
        }

        let before = fingerprint(&content.files);
        let certificate = ServerCertificate::new(Pair::read(&content.files)?);
        content.loaded = Some(before);
        content.certificate = Some(certificate.clone());

        Ok(certificate)
    }

    /// Accepts connections with it.
    pub(crate) fn acceptor(&self) -> anyhow::Result<tokio_rustls::TlsAcceptor> {
        self.certificate()?
            .acceptor(&[])
            .context("TLS cannot be set up")
    }

    fn replace(&self, files: TlsFiles, pair: Pair) {
        let mut content = self.content();
        content.loaded = Some(fingerprint(&files));
        content.files = files;
        match &content.certificate {
            Some(certificate) => certificate.replace(pair),
            None => content.certificate = Some(ServerCertificate::new(pair)),
        }
    }

    /// Takes up files that have changed. Says what came of it, once.
    fn look(&self) -> Option<Result<Validity, TlsError>> {
        let (files, loaded, seen) = {
            let mut content = self.content();
            let now = fingerprint(&content.files);
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
                // The same files are not told of again.
                self.content().loaded = Some(seen.1);
                Some(Err(error))
            }
        }
    }
}

/// The certificates of the running program.
#[derive(Clone, Default)]
pub(crate) struct Certificates(Arc<BTreeMap<String, Arc<Slot>>>);

impl Certificates {
    /// Those that the configuration names; none of them is read yet.
    pub(crate) fn new(config: &Config) -> Self {
        let slots = named(config)
            .into_iter()
            .map(|named| (named.id.clone(), Arc::new(Slot::new(named))));
        Self(Arc::new(slots.collect()))
    }

    /// That of the HTTP door.
    pub(crate) fn door(&self) -> Option<&Arc<Slot>> {
        self.0.get(DOOR)
    }

    /// That of a listener.
    pub(crate) fn listener(&self, address: &str) -> Option<&Arc<Slot>> {
        self.0.get(address)
    }

    /// Presents these from now on.
    pub(crate) fn replace(&self, pairs: Vec<(Named, Pair)>) {
        for (named, pair) in pairs {
            if let Some(slot) = self.0.get(&named.id) {
                slot.replace(named.files, pair);
            }
        }
    }

    /// Takes up certificates that change on disk, until told to stop.
    pub(crate) async fn watch(
        self,
        failures: Failures,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
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

/// Says in the log what is wrong with the configured certificates, or soon will be.
pub(crate) fn log_warnings(config: &Config, now: Timestamp) {
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
