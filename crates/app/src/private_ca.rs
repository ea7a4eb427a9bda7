//! A private authority, for installations that nobody outside knows: it issues the certificate of
//! this machine's HTTP server, and renews it.
//!
//! Browsers come to trust the authority, so that its key must be worth little to a thief: the
//! authority itself is limited to the names that it was made for (RFC 5280 4.2.1.10), and whoever
//! has its key can impersonate this server and nothing else.

use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::{Context as _, bail, ensure};
use config::StateDir;
use model::{Span, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    NameConstraints,
};
use ring::digest::{SHA256, digest};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, DnsName};
use time::OffsetDateTime;
use x509_parser::extensions::GeneralName;
use zeroize::Zeroizing;

use crate::actor::hostname;
use crate::tls::Validity;

/// Files of the state directory.
const AUTHORITY: &str = "tls-authority.pem";
const AUTHORITY_KEY: &str = "tls-authority.key";
const SERVER: &str = "tls-server.pem";
const SERVER_KEY: &str = "tls-server.key";
/// The largest of them, in bytes.
const FILE_MAX: u64 = 64 * 1024;

/// How long a certificate is valid, unless it is said.
pub const DAYS: u16 = 90;
/// The longest that browsers take.
pub const DAYS_MAX: u16 = 397;
/// How long the authority is.
const AUTHORITY_DAYS: i64 = 3650;
/// Clocks of browsers may be behind.
const BACKDATED: Span = Span::hours(1);
/// The most names of a certificate.
const NAMES_MAX: usize = 100;

/// A name that a server is asked for by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ServerName {
    /// In the DNS, in lower case.
    Dns(String),
    /// An address.
    Ip(IpAddr),
}

impl std::fmt::Display for ServerName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Dns(name) => f.write_str(name),
            Self::Ip(ip) => ip.fmt(f),
        }
    }
}

/// Why a text is no name of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "is no name of a server: give a host name or an address, without wildcard, port or https://"
)]
pub struct BadServerName;

impl std::str::FromStr for ServerName {
    type Err = BadServerName;

    fn from_str(text: &str) -> Result<Self, BadServerName> {
        if let Ok(ip) = text.parse() {
            return Ok(Self::Ip(ip));
        }
        let name = text.to_ascii_lowercase();
        let name = name.strip_suffix('.').unwrap_or(&name);
        // Underscores are for other records than those of hosts.
        if name.contains('_') || name.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
            return Err(BadServerName);
        }
        DnsName::try_from(name).map_err(|_| BadServerName)?;
        Ok(Self::Dns(name.to_owned()))
    }
}

/// A certificate that the private authority has issued.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Issued {
    /// What browsers must trust (PEM).
    pub authority: PathBuf,
    /// SHA-256 of the authority's certificate, to compare before trusting it.
    pub authority_sha256: String,
    /// The server's certificate (PEM).
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The names that it is for.
    pub names: Vec<String>,
    /// When it ends.
    pub until: Timestamp,
    /// Whether the authority is new, so that nobody trusts it yet.
    pub is_new_authority: bool,
}

/// Issues a certificate for these names. Makes the authority where there is none, or where
/// `replace_authority` says so.
pub fn issue(
    state: &StateDir,
    names: &[ServerName],
    days: u16,
    replace_authority: bool,
    now: Timestamp,
) -> anyhow::Result<Issued> {
    let mut names = names.to_vec();
    names.sort();
    names.dedup();
    ensure!(!names.is_empty(), "name what the server is asked for by");
    ensure!(
        names.len() <= NAMES_MAX,
        "a certificate has {NAMES_MAX} names at most"
    );
    ensure!(
        (1..=DAYS_MAX).contains(&days),
        "a certificate is valid for 1 to {DAYS_MAX} days: browsers take no longer one"
    );
    state.create()?;

    let found = Authority::load(state)?.filter(|_| !replace_authority);
    let is_new_authority = found.is_none();
    let authority = match found {
        Some(authority) => authority,
        None => Authority::make(state, &names, now)?,
    };
    let foreign: Vec<String> = names
        .iter()
        .filter(|name| !authority.names.contains(name))
        .map(ToString::to_string)
        .collect();
    if !foreign.is_empty() {
        let own: Vec<String> = authority.names.iter().map(ToString::to_string).collect();
        bail!(
            "the authority was made for {}, and can issue nothing for {}: say --replace-authority to make \
                another one, which browsers must come to trust again",
            own.join(", "),
            foreign.join(", ")
        );
    }

    let until = now
        .plus(Span::days(i64::from(days)))
        .min(authority.validity.until);
    ensure!(
        until > now,
        "the authority has expired: say --replace-authority to make another one"
    );
    write_server(state, &authority, &names, now, until)?;
    Ok(Issued {
        authority: state.join(AUTHORITY),
        authority_sha256: authority.sha256,
        cert: state.join(SERVER),
        key: state.join(SERVER_KEY),
        names: names.iter().map(ToString::to_string).collect(),
        until,
        is_new_authority,
    })
}

/// What was issued last; none where nothing was.
pub fn issued(state: &StateDir) -> anyhow::Result<Option<Issued>> {
    let Some(text) = state.read_at_most(SERVER, FILE_MAX) else {
        return Ok(None);
    };
    let authority = Authority::load(state)?.context("the certificate has no authority")?;
    let server = Parsed::of(&text).with_context(|| format!("{SERVER} cannot be read"))?;
    Ok(Some(Issued {
        authority: state.join(AUTHORITY),
        authority_sha256: authority.sha256,
        cert: state.join(SERVER),
        key: state.join(SERVER_KEY),
        names: server.names.iter().map(ToString::to_string).collect(),
        until: server.validity.until,
        is_new_authority: false,
    }))
}

/// The authority's certificate (PEM), to hand out; none where there is none.
pub fn authority_pem(state: &StateDir) -> Option<String> {
    String::from_utf8(state.read_at_most(AUTHORITY, FILE_MAX)?).ok()
}

/// Issues the certificate again, for the same names and the same time, when a third of that time or
/// less is left. Returns it if it is new.
pub fn renew(state: &StateDir, now: Timestamp) -> anyhow::Result<Option<Issued>> {
    let Some(text) = state.read_at_most(SERVER, FILE_MAX) else {
        return Ok(None);
    };
    let server = Parsed::of(&text).with_context(|| format!("{SERVER} cannot be read"))?;
    let life = server.validity.until.since(server.validity.from);
    let left = server.validity.until.since(now);
    if left.as_micros() > life.as_micros() / 3 {
        return Ok(None);
    }

    let days = (life.as_micros() - BACKDATED.as_micros()) / Span::days(1).as_micros();
    let days = u16::try_from(days).unwrap_or(DAYS).clamp(1, DAYS_MAX);
    issue(state, &server.names, days, false, now).map(Some)
}

/// What a certificate file says.
struct Parsed {
    names: Vec<ServerName>,
    validity: Validity,
    sha256: String,
}

impl Parsed {
    fn of(pem: &[u8]) -> anyhow::Result<Self> {
        let der = CertificateDer::from_pem_slice(pem).context("is not PEM")?;
        let (_, cert) =
            x509_parser::parse_x509_certificate(&der).context("is not a certificate")?;
        let mut names = Vec::new();
        let alternative = cert.subject_alternative_name()?;
        for name in alternative
            .iter()
            .flat_map(|found| &found.value.general_names)
        {
            names.extend(to_server_name(name, false));
        }
        // An authority has them as what it is limited to.
        let constraints = cert.name_constraints()?;
        let permitted = constraints
            .iter()
            .filter_map(|found| found.value.permitted_subtrees.as_ref());
        for tree in permitted.flatten() {
            names.extend(to_server_name(&tree.base, true));
        }

        names.sort();
        let sha256 = digest(&SHA256, &der);
        Ok(Self {
            names,
            validity: Validity {
                from: Timestamp::from_secs(cert.validity().not_before.timestamp()),
                until: Timestamp::from_secs(cert.validity().not_after.timestamp()),
            },
            sha256: fingerprint(sha256.as_ref()),
        })
    }
}

/// As other programs show it: `AB:CD:…`.
fn fingerprint(hash: &[u8]) -> String {
    let pairs: Vec<String> = hash.iter().map(|byte| format!("{byte:02X}")).collect();
    pairs.join(":")
}

/// A name of a certificate. In a name constraint, an address is followed by its mask.
fn to_server_name(name: &GeneralName<'_>, is_subtree: bool) -> Option<ServerName> {
    match name {
        GeneralName::DNSName(name) => name.parse().ok(),
        GeneralName::IPAddress(bytes) => {
            let length = if is_subtree {
                bytes.len() / 2
            } else {
                bytes.len()
            };
            let bytes = bytes.get(..length)?;
            let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
            let v6 = <[u8; 16]>::try_from(bytes).map(IpAddr::from);
            v4.or(v6).ok().map(ServerName::Ip)
        }
        _ => None,
    }
}

/// The authority, ready to sign.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    names: Vec<ServerName>,
    validity: Validity,
    sha256: String,
}

impl Authority {
    fn load(state: &StateDir) -> anyhow::Result<Option<Self>> {
        let Some(cert) = state.read_at_most(AUTHORITY, FILE_MAX) else {
            return Ok(None);
        };
        let key = state.read_at_most(AUTHORITY_KEY, FILE_MAX);
        let key =
            key.with_context(|| format!("{} is missing", state.join(AUTHORITY_KEY).display()))?;
        Self::of(&cert, &Zeroizing::new(key)).map(Some)
    }

    fn of(cert: &[u8], key: &[u8]) -> anyhow::Result<Self> {
        let parsed = Parsed::of(cert).with_context(|| format!("{AUTHORITY} cannot be read"))?;
        let key = std::str::from_utf8(key)
            .ok()
            .and_then(|text| KeyPair::from_pem(text).ok())
            .with_context(|| format!("{AUTHORITY_KEY} is no key (PEM)"))?;
        let cert = std::str::from_utf8(cert).context("the authority is not PEM")?;
        Ok(Self {
            issuer: Issuer::from_ca_cert_pem(cert, key)
                .with_context(|| format!("{AUTHORITY} is no authority"))?,
            names: parsed.names,
            validity: parsed.validity,
            sha256: parsed.sha256,
        })
    }

    /// Makes one that can issue for these names and no others.
    fn make(state: &StateDir, names: &[ServerName], now: Timestamp) -> anyhow::Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(
            DnType::CommonName,
            format!("blueteam on {} since {:.10}", hostname(), now.to_string()),
        );
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = to_time(now.minus(BACKDATED))?;
        params.not_after = to_time(now.plus(Span::days(AUTHORITY_DAYS)))?;
        params.name_constraints = Some(constraints(names));

        let key = KeyPair::generate().context("cannot make a key")?;
        let cert = params.self_signed(&key).context("cannot sign")?.pem();
        let key = Zeroizing::new(key.serialize_pem());
        // The certificate counts: without it the key is nobody's.
        state.replace(AUTHORITY_KEY, key.as_bytes())?;
        state.replace(AUTHORITY, cert.as_bytes())?;
        Self::of(cert.as_bytes(), key.as_bytes())
    }
}

/// Limits an authority to these names. A kind of which none is permitted must be excluded as a
/// whole, since what no list names is not limited.
fn constraints(names: &[ServerName]) -> NameConstraints {
    let permitted = names.iter().map(|name| match name {
        ServerName::Dns(name) => GeneralSubtree::DnsName(name.clone()),
        ServerName::Ip(ip) => {
            GeneralSubtree::IpAddress(subnet(*ip, if ip.is_ipv4() { 32 } else { 128 }))
        }
    });
    let mut excluded = Vec::new();
    if !names.iter().any(|name| matches!(name, ServerName::Dns(_))) {
        excluded.push(GeneralSubtree::DnsName(String::new()));
    }
    if !names.iter().any(|name| matches!(name, ServerName::Ip(_))) {
        excluded.push(GeneralSubtree::IpAddress(subnet([0; 4].into(), 0)));
        excluded.push(GeneralSubtree::IpAddress(subnet([0; 16].into(), 0)));
    }

    NameConstraints {
        permitted_subtrees: permitted.collect(),
        excluded_subtrees: excluded,
    }
}

fn subnet(ip: IpAddr, prefix: u8) -> CidrSubnet {
    CidrSubnet::from_addr_prefix(ip, prefix)
}

fn write_server(
    state: &StateDir,
    authority: &Authority,
    names: &[ServerName],
    now: Timestamp,
    until: Timestamp,
) -> anyhow::Result<()> {
    let texts: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(texts).context("the names cannot be used")?;
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, "blueteam");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params.not_before = to_time(now.minus(BACKDATED))?;
    params.not_after = to_time(until)?;

    let key = KeyPair::generate().context("cannot make a key")?;
    let cert = params
        .signed_by(&key, &authority.issuer)
        .context("cannot sign")?
        .pem();
    // A daemon that looks in between finds a pair that does not fit, and looks again.
    state.replace(SERVER_KEY, Zeroizing::new(key.serialize_pem()).as_bytes())?;
    state.replace(SERVER, cert.as_bytes())
}

fn to_time(at: Timestamp) -> anyhow::Result<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp(at.as_secs()).context("the clock is wrong")
}

#[cfg(test)]
#[path = "private_ca_tests.rs"]
mod tests;
