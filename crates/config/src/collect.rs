//! `[collect]`.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use collect::Format;
use collect::parsers::journald;
use model::civil::Zone;
use model::{Network, ServiceName, Span, TenantName};
use serde::{Deserialize, Serialize};

use super::error::Problem;

/// The fewest months that may be kept: an incident is investigated with them, and DFARS
/// 252.204-7012 (e) asks for 90 days.
const KEEP_MIN: u16 = 3;
/// The least age at which raw lines may be emptied; the database holds to it too.
const RAW_KEEP_MIN: Span = Span::days(30);

/// Where logs come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Collect {
    /// The files.
    pub files: Vec<File>,
    /// Sockets on which messages are taken.
    pub listeners: Vec<Listener>,
    /// Journals of systemd.
    pub journals: Vec<Journal>,
    /// Databases of applications, whose audit events are read.
    pub databases: Vec<Database>,
    /// How long the raw line of an event is kept, at least 30 days; zero: it is never stored.
    pub keep_raw: Span,
    /// How many whole months log events are kept, at least 3; 0: forever.
    pub retention_months: u16,
    /// The largest spool on disk of each listener while the database is unreachable, in bytes.
    #[serde(rename = "listener_spool_max_size", with = "model::size")]
    pub listener_spool_max_bytes: u64,
}

impl Default for Collect {
    fn default() -> Self {
        Self {
            files: Vec::new(),
            listeners: Vec::new(),
            journals: Vec::new(),
            databases: Vec::new(),
            keep_raw: Span::days(400),
            retention_months: 0,
            listener_spool_max_bytes: 256 * 1024 * 1024,
        }
    }
}

impl Collect {
    /// The name of each configured source, as `sources list` has it; of a folder or a pattern, the
    /// pattern in place of its files. With its tenant, where that is not `default`.
    pub fn source_names(&self) -> BTreeSet<String> {
        let name = |format: Option<&Format>, place: &str, tenant: Option<&TenantName>| {
            let format = format.map_or("", |format| format.name);
            with_tenant(format!("{format}:{place}"), tenant)
        };
        let files = self
            .files
            .iter()
            .map(|file| name(file.format(), &file.path, file.tenant()));
        let listeners = self.listeners.iter();
        let listeners =
            listeners.map(|listener| name(listener.format(), &listener.address, listener.tenant()));
        let journals = self.journals.iter().map(|journal| {
            let place = journal.directory.as_deref().unwrap_or("journal");
            name(Some(&journald::FORMAT), place, journal.tenant())
        });
        let databases = self.databases.iter().map(|database| {
            with_tenant(format!("database:{}", database.service), database.tenant())
        });

        let all = files.chain(listeners).chain(journals);
        all.chain(databases).collect()
    }
}

fn with_tenant(name: String, tenant: Option<&TenantName>) -> String {
    match tenant {
        Some(tenant) => format!("{name} of the tenant {tenant}"),
        None => name,
    }
}

/// One journal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Journal {
    /// The folder with its files; this machine's journal without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
    /// How often it sends at least; a longer silence raises an alert. Unset: learned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_interval: Option<Span>,
    /// Whose log it is: set as `metadata.service` on all its events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceName>,
    /// Whose events they are, by the tenant's name; `default` without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantName>,
}

/// One application with a database of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// The application: set as `metadata.service` on all its events, whatever they say.
    pub service: ServiceName,
    /// A file with the `postgres://` URL of a login that may SELECT from `public.audit_events`.
    pub url_file: String,
    /// How often it sends at least; a longer silence raises an alert. Unset: learned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_interval: Option<Span>,
    /// How often it is asked for new events.
    #[serde(default = "default_poll")]
    pub poll_interval: Span,
    /// How often its whole table is gone through for events that came late.
    #[serde(default = "default_sweep")]
    pub full_scan_interval: Span,
    /// Whose events they are, by the tenant's name; `default` without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantName>,
}

fn default_poll() -> Span {
    Span::secs(5)
}

fn default_sweep() -> Span {
    Span::mins(10)
}

/// One log file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Its path; absolute, because the daemon's working directory is not the caller's.
    pub path: String,
    /// What is in it: a name of `collect`'s list of formats.
    pub format: String,
    /// How often it sends at least; a longer silence raises an alert. Unset: learned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_interval: Option<Span>,
    /// The zone of times that name none, as an IANA name. UTC without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// Proxies, as addresses or networks, that are trusted to name the client.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trusted_proxies: Vec<String>,
    /// Whose log it is: set as `metadata.service` on all its events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceName>,
    /// The machine of events whose lines name none. This machine without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Whose events they are, by the tenant's name; `default` without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantName>,
}

impl File {
    /// Its format; `check` has seen to it that there is one.
    pub fn format(&self) -> Option<&'static Format> {
        Format::named(&self.format)
    }

    /// Its zone; UTC unless it says otherwise.
    pub fn zone(&self) -> Option<Zone> {
        self.time_zone
            .as_deref()
            .map_or(Some(Zone::UTC), Zone::named)
    }

    /// Returns the trusted proxies, or `None` where one of them is not a network.
    pub fn proxies(&self) -> Option<Vec<Network>> {
        networks(&self.trusted_proxies)
    }
}

/// Implements what every table of a source has.
macro_rules! tenants_of {
    ($($table:ty),+) => {$(
        impl $table {
            /// Whose events they are; none for the tenant `default`.
            pub fn tenant(&self) -> Option<&TenantName> {
                self.tenant.as_ref().filter(|name| !name.is_default())
            }
        }
    )+};
}
tenants_of!(File, Listener, Journal, Database);

fn networks(texts: &[String]) -> Option<Vec<Network>> {
    texts.iter().map(|text| text.parse().ok()).collect()
}

/// Checks zone and proxies of a source.
fn check_context(
    key: &str,
    zone: Option<&str>,
    trusted_proxies: &[String],
    problems: &mut Vec<Problem>,
) {
    if let Some(name) = zone.filter(|name| Zone::named(name).is_none()) {
        let message = format!("`{name}` is not a known IANA time zone");
        problems.push(Problem::new(format!("{key}.time_zone"), message));
    }
    for (i, text) in trusted_proxies.iter().enumerate() {
        if text.parse::<Network>().is_err() {
            let message = format!("`{text}` is not an address or a network such as 10.0.0.0/8");
            problems.push(Problem::new(format!("{key}.trusted_proxies[{i}]"), message));
        }
    }
}

/// One socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// `udp:HOST:PORT`, `tcp:HOST:PORT`, `tls:HOST:PORT`, `unix:/PATH` or `unix-stream:/PATH`.
    pub address: String,
    /// What is in its messages: a name of `collect`'s list of formats.
    #[serde(default = "default_format")]
    pub format: String,
    /// How often its peers send at least; a longer silence raises an alert. Unset: learned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_interval: Option<Span>,
    /// The zone of times that name none, as an IANA name. UTC without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// Proxies, as addresses or networks, that are trusted to name the client.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trusted_proxies: Vec<String>,
    /// The addresses and networks from which messages are taken, such as `10.0.0.0/8`; empty: from
    /// any. For `udp:`, `tcp:` and `tls:`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub senders: Vec<Network>,
    /// Who speaks there: set as `metadata.service` on all its events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceName>,
    /// Certificate chain (PEM), for `tls:`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tls_cert_file: String,
    /// Its key (PEM).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tls_key_file: String,
    /// The authorities (PEM) of which senders must present a certificate, for `tls:`. Unset: nobody
    /// is asked for one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub client_ca: String,
    /// Whose events they are, by the tenant's name; `default` without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantName>,
}

fn default_format() -> String {
    "syslog".to_owned()
}

/// A certificate and its key, as files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsPair {
    /// The chain.
    pub cert: String,
    /// Its key.
    pub key: String,
}

/// Where a listener listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// Datagrams.
    Udp(SocketAddr),
    /// A stream in the clear.
    Tcp(SocketAddr),
    /// A stream over TLS.
    Tls(SocketAddr),
    /// Datagrams of this machine's programs.
    Unix(PathBuf),
    /// Streams of this machine's programs.
    UnixStream(PathBuf),
}

impl Address {
    /// Whether senders do not wait: what cannot be taken at once is dropped.
    pub fn is_datagram(&self) -> bool {
        matches!(self, Self::Udp(_) | Self::Unix(_))
    }

    /// Whether what is sent there crosses a network in the clear.
    pub fn is_plain_network(&self) -> bool {
        matches!(self, Self::Udp(at) | Self::Tcp(at) if !at.ip().is_loopback())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp(at) => write!(f, "udp:{at}"),
            Self::Tcp(at) => write!(f, "tcp:{at}"),
            Self::Tls(at) => write!(f, "tls:{at}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::UnixStream(path) => write!(f, "unix-stream:{}", path.display()),
        }
    }
}

impl FromStr for Address {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORMS: &str = "must be udp:, tcp: or tls: with an IP address and a port \
            (udp:127.0.0.1:5514), or unix: or \
                             unix-stream: with an absolute path";
        let (kind, rest) = text.split_once(':').ok_or(FORMS)?;
        let at = || rest.parse::<SocketAddr>().map_err(|_| FORMS);
        match kind {
            "udp" => at().map(Self::Udp),
            "tcp" => at().map(Self::Tcp),
            "tls" => at().map(Self::Tls),
            "unix" if rest.starts_with('/') => Ok(Self::Unix(rest.into())),
            "unix-stream" if rest.starts_with('/') => Ok(Self::UnixStream(rest.into())),
            _ => Err(FORMS),
        }
    }
}

impl Listener {
    /// Its zone; UTC unless it says otherwise.
    pub fn zone(&self) -> Option<Zone> {
        self.time_zone
            .as_deref()
            .map_or(Some(Zone::UTC), Zone::named)
    }

    /// Returns the trusted proxies, or `None` where one of them is not a network.
    pub fn proxies(&self) -> Option<Vec<Network>> {
        networks(&self.trusted_proxies)
    }

    /// Its format; `check` has seen to it that there is one.
    pub fn format(&self) -> Option<&'static Format> {
        Format::named(&self.format)
    }

    /// Its certificate and key.
    pub fn tls(&self) -> Option<TlsPair> {
        let given = !self.tls_cert_file.is_empty() && !self.tls_key_file.is_empty();
        given.then(|| TlsPair {
            cert: self.tls_cert_file.clone(),
            key: self.tls_key_file.clone(),
        })
    }

    fn check(&self, key: &str, problems: &mut Vec<Problem>) {
        let mut wrong = |field: &str, message: String| {
            problems.push(Problem::new(format!("{key}.{field}"), message));
        };
        let is_tls = match self.address.parse::<Address>() {
            Ok(address) => matches!(address, Address::Tls(_)),
            Err(why) => return wrong("address", why.to_owned()),
        };

        match self.format() {
            None => wrong("format", unknown_format(&self.format)),
            Some(format) if format.entry_rules.is_some() => {
                wrong(
                    "format",
                    format!(
                        "entries of `{}` have many lines; messages have one",
                        self.format
                    ),
                );
            }
            Some(_) => {}
        }

        let local = self
            .address
            .parse()
            .is_ok_and(|at| matches!(at, Address::Unix(_) | Address::UnixStream(_)));
        if local && !self.senders.is_empty() {
            wrong(
                "senders",
                "is for udp:, tcp: and tls:; a socket of this machine has no addresses".to_owned(),
            );
        }

        if !self.client_ca.is_empty() && !is_tls {
            wrong(
                "client_ca",
                "is for an address that begins with tls:".to_owned(),
            );
        }

        let given = !self.tls_cert_file.is_empty() || !self.tls_key_file.is_empty();
        if is_tls && self.tls().is_none() {
            wrong(
                "address",
                "tls needs tls_cert_file and tls_key_file".to_owned(),
            );
        } else if given && !is_tls {
            wrong(
                "tls_cert_file",
                "is for an address that begins with tls:".to_owned(),
            );
        }
    }
}

fn unknown_format(format: &str) -> String {
    let known: Vec<&str> = collect::parsers::ALL.iter().map(|f| f.name).collect();
    format!(
        "there is no format `{format}`; there are {}",
        known.join(", ")
    )
}

impl Collect {
    pub(super) fn check(&self, problems: &mut Vec<Problem>) {
        if self.keep_raw != Span::ZERO && self.keep_raw < RAW_KEEP_MIN {
            let message = "must be at least 30d, or 0s to store no raw lines";
            problems.push(Problem::new("collect.keep_raw", message));
        }

        if (1..KEEP_MIN).contains(&self.retention_months) {
            let message = format!("must be 0 (no limit) or at least {KEEP_MIN}");
            problems.push(Problem::new("collect.retention_months", message));
        }

        super::check_positive(
            problems,
            "collect.listener_spool_max_size",
            self.listener_spool_max_bytes,
        );

        for (i, file) in self.files.iter().enumerate() {
            if !file.path.starts_with('/') {
                problems.push(Problem::new(
                    format!("collect.files[{i}].path"),
                    "must be absolute",
                ));
            }

            check_context(
                &format!("collect.files[{i}]"),
                file.time_zone.as_deref(),
                &file.trusted_proxies,
                problems,
            );

            if file.format().is_none() {
                problems.push(Problem::new(
                    format!("collect.files[{i}].format"),
                    unknown_format(&file.format),
                ));
            }
        }

        for (i, journal) in self.journals.iter().enumerate() {
            let key = format!("collect.journals[{i}].directory");
            if journal
                .directory
                .as_ref()
                .is_some_and(|path| !path.starts_with('/'))
            {
                problems.push(Problem::new(&key, "must be absolute"));
            }
            if self.journals[..i]
                .iter()
                .any(|other| other.directory == journal.directory)
            {
                problems.push(Problem::new(key, "is there twice"));
            }
        }

        for (i, database) in self.databases.iter().enumerate() {
            let key = format!("collect.databases[{i}]");
            if database.url_file.is_empty() {
                problems.push(Problem::new(format!("{key}.url_file"), "is empty"));
            }
            super::check_lasting(
                problems,
                &format!("{key}.poll_interval"),
                database.poll_interval,
            );
            super::check_lasting(
                problems,
                &format!("{key}.full_scan_interval"),
                database.full_scan_interval,
            );
            if self.databases[..i].iter().any(|other| {
                other.service == database.service && other.tenant() == database.tenant()
            }) {
                problems.push(Problem::new(format!("{key}.service"), "is there twice"));
            }
        }

        for (i, listener) in self.listeners.iter().enumerate() {
            let key = format!("collect.listeners[{i}]");
            listener.check(&key, problems);
            check_context(
                &key,
                listener.time_zone.as_deref(),
                &listener.trusted_proxies,
                problems,
            );
            if self.listeners[..i]
                .iter()
                .any(|other| other.address == listener.address)
            {
                problems.push(Problem::new(format!("{key}.address"), "is there twice"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(toml: &str) -> Vec<String> {
        let collect: Collect = toml::from_str(toml).unwrap();
        let mut problems = Vec::new();
        collect.check(&mut problems);
        problems.into_iter().map(|p| p.key).collect()
    }

    #[test]
    fn journals_are_checked() {
        assert!(
            problems("[[journals]]\nservice = 'bastion'\n[[journals]]\ndirectory = '/srv/journal'")
                .is_empty()
        );
        assert_eq!(
            problems("[[journals]]\n[[journals]]"),
            ["collect.journals[1].directory"]
        );

        assert_eq!(
            problems("retention_months = 2"),
            ["collect.retention_months"]
        );
        assert_eq!(
            problems("[[journals]]\ndirectory = 'here'"),
            ["collect.journals[0].directory"]
        );
    }

    #[test]
    fn databases_are_checked() {
        let one = |fields: &str| {
            problems(&format!(
                "[[databases]]\nservice = 'eqmon'\nurl_file = '/x'\n{fields}"
            ))
        };

        assert!(one("").is_empty());
        assert_eq!(
            one("poll_interval = '0s'"),
            ["collect.databases[0].poll_interval"]
        );
        assert_eq!(
            one("full_scan_interval = '0s'"),
            ["collect.databases[0].full_scan_interval"]
        );
        assert_eq!(
            one("[[databases]]\nservice = 'eqmon'\nurl_file = '/y'"),
            ["collect.databases[1].service"]
        );
        assert!(
            one("tenant = 'default'\n[[databases]]\nservice = 'eqmon'\nurl_file = '/y'\ntenant = 'other'")
                .is_empty(),
            "two tenants have one each"
        );
        assert_eq!(
            one("[[databases]]\nservice = 'eqmon'\nurl_file = '/y'\ntenant = 'default'"),
            ["collect.databases[1].service"]
        );
        assert_eq!(
            problems("[[databases]]\nservice = 'eqmon'\nurl_file = ''"),
            ["collect.databases[0].url_file"]
        );
    }

    #[test]
    fn zones_and_proxies_are_checked() {
        let one = "[[listeners]]\naddress = 'udp:[::1]:1'\n";
        assert!(
            problems(&format!(
                "{one}time_zone = 'America/New_York'\ntrusted_proxies = ['10.0.0.0/8', '::1']"
            ))
            .is_empty()
        );
        assert_eq!(
            problems(&format!(
                "{one}time_zone = 'Mars'\ntrusted_proxies = ['::1', '10.0.0.0/33']"
            )),
            [
                "collect.listeners[0].time_zone",
                "collect.listeners[0].trusted_proxies[1]"
            ]
        );
    }

    #[test]
    fn listeners_are_checked() {
        for (fields, wrong) in [
            ("address = 'udp:127.0.0.1:5514'", None),
            ("address = 'unix:/run/x'\nformat = 'nginx'", None),
            ("address = 'unix-stream:/run/x'", None),
            ("address = 'unix-stream:x'", Some("address")),
            (
                "address = 'tls:[::1]:6514'\ntls_cert_file = 'c'\ntls_key_file = 'k'",
                None,
            ),
            (
                "address = 'tls:[::1]:6514'\ntls_cert_file = 'c'",
                Some("address"),
            ),
            (
                "address = 'tcp:[::1]:6514'\ntls_cert_file = 'c'",
                Some("tls_cert_file"),
            ),
            ("address = 'udp:localhost:1'", Some("address")),
            ("address = 'unix:here'", Some("address")),
            ("address = '127.0.0.1:5514'", Some("address")),
            (
                "address = 'udp:127.0.0.1:1'\nformat = 'php'",
                Some("format"),
            ),
            (
                "address = 'udp:127.0.0.1:1'\nformat = 'morse'",
                Some("format"),
            ),
        ] {
            let wrong: Vec<String> = wrong
                .iter()
                .map(|field| format!("collect.listeners[0].{field}"))
                .collect();
            assert_eq!(
                problems(&format!("[[listeners]]\n{fields}")),
                wrong,
                "{fields}"
            );
        }

        let twice =
            "[[listeners]]\naddress = 'udp:[::1]:1'\n[[listeners]]\naddress = 'udp:[::1]:1'";
        assert_eq!(problems(twice), ["collect.listeners[1].address"]);
    }
}
