//! A support archive: what someone who helps needs to know of an installation, without its
//! secrets.
//!
//! Invariants: nothing of an event's content, no key, no hash of one. Every text goes through
//! [`Scrubber`], which knows this installation's secrets by value and everybody's by their form; a
//! file that holds secrets is never read for its content.

use std::collections::BTreeMap;
use std::io::{Cursor, Write as _};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use collect::masking::raw_line;
use config::Loaded;
use model::text::sanitize;
use secrecy::ExposeSecret;
use serde::Serialize;
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use tokio::time::timeout;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::{Report, Site};
use crate::actor::Resource;
use crate::{rules, sources, status};

/// What stands where a secret stood.
const MASK: &str = "***";
/// A secret that is shorter would be found in every other word.
const SECRET_MIN: usize = 4;
/// So many bytes leave at least six characters of base64 that are the secret's alone.
const BASE64_MIN: usize = 6;
/// The newest lines of the daemon's own log.
const LOG_LINES: &str = "2000";
/// Bytes of it at most.
const LOG_MAX: u64 = 4 * 1024 * 1024;
/// How long the database and the journal are asked, each.
const ASKED_MAX: Duration = Duration::from_secs(5);

/// What the archive holds, for whoever is about to send it.
const README: &str = "\
This archive describes an installation of blueteam, for someone who helps.

doctor.json     what `blueteam doctor` found
status.json     what `blueteam status` shows
sources.json    the sources: names, counts, gaps
rules.json      the rules as they run
database.json   settings of the PostgreSQL server
config.toml     the configuration in force, defaults included
environment.txt names of variables that are set (not their values)
state.txt       files of the state directory: mode, owner, size, name
system.txt      operating system, processor, memory, disks
log.txt         the newest lines of the daemon's own log, if it could be read

Secrets are replaced by ***. Names of machines, people and networks are not: look through it before
you send it to anybody who must not know them.
";

/// Takes secrets out of texts.
pub struct Scrubber {
    secrets: Vec<String>,
}

impl Scrubber {
    /// One that knows the secrets of a configuration.
    pub fn new(loaded: Option<&Loaded>) -> Self {
        let known = loaded.map(values).unwrap_or_default();
        Self::of(&known)
    }

    fn of(secrets: &[String]) -> Self {
        let mut known: Vec<String> = secrets.iter().flat_map(|one| spellings(one)).collect();
        known.retain(|secret| secret.len() >= SECRET_MIN);
        // Of two secrets one may hold the other.
        known.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        known.dedup();
        Self { secrets: known }
    }

    /// The text without what is known to be secret, and without what looks like it.
    pub fn clean(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        for line in text.lines() {
            let mut line = line.to_owned();
            for secret in &self.secrets {
                if line.contains(secret.as_str()) {
                    line = line.replace(secret.as_str(), MASK);
                }
            }
            out.push_str(&raw_line(line.as_bytes()));
            out.push('\n');
        }
        out
    }
}

/// A secret as texts of several kinds write it: as it is, within a string of JSON or TOML, as a URL
/// hides it, and in base64, as `Authorization: Basic` and dumps do.
fn spellings(secret: &str) -> Vec<String> {
    let escaped = serde_json::to_string(secret).unwrap_or_default();
    let within = escaped.trim_matches('"').to_owned();
    let decoded = percent_decoded(secret);
    let mut all = vec![secret.to_owned(), within];
    for plain in [secret, &decoded] {
        all.extend(percent_encoded(plain));
        all.extend(base64_cores(plain.as_bytes()));
    }
    all.push(decoded);
    all
}

/// The text as URLs write it: what must be escaped, up to everything but letters and digits, in
/// upper and in lower case.
fn percent_encoded(text: &str) -> Vec<String> {
    // RFC 3986: unreserved characters; those that a login may hold; those that a path and a query
    // may hold; and none at all, as some encode.
    let kept = ["-._~", "-._~!$&'()*+,;=", "-._~!$&'()*+,;=:@/?", ""];
    let upper = kept.map(|keeps| percent_encode(text, keeps, |byte| format!("%{byte:02X}")));
    let lower = kept.map(|keeps| percent_encode(text, keeps, |byte| format!("%{byte:02x}")));
    [upper, lower].concat()
}

fn percent_encode(text: &str, keeps: &str, escape: impl Fn(u8) -> String) -> String {
    let spell = |byte: u8| {
        let is_kept = byte.is_ascii_alphanumeric() || keeps.as_bytes().contains(&byte);
        if is_kept {
            char::from(byte).to_string()
        } else {
            escape(byte)
        }
    };
    text.bytes().map(spell).collect()
}

/// What is the same of a secret's base64 wherever it begins within what is encoded, in the standard
/// and the URL-safe alphabet.
///
/// Three bytes are four characters, so there are three places to begin at. The characters at both
/// ends also hold bits of the neighbors: they are left out.
fn base64_cores(secret: &[u8]) -> Vec<String> {
    // Fewer bytes would be found in every other word.
    if secret.len() < BASE64_MIN {
        return Vec::new();
    }

    let mut cores = Vec::new();
    for before in 0..3 {
        let bytes = [&[0; 2][..before], secret].concat();
        for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            let text = engine.encode(&bytes);
            // Bits of `before` bytes spread over one character more than there are bytes.
            let first = if before == 0 { 0 } else { before + 1 };
            let last = bytes.len() * 8 / 6;
            cores.push(text[first..last].to_owned());
        }
    }
    cores
}

/// The text that `%40` and its like stand for.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let byte = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match byte {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Every secret of a configuration, and the passwords within URLs.
fn values(loaded: &Loaded) -> Vec<String> {
    let secrets = &loaded.secrets;
    let named = secrets.channels.values();
    let all = secrets
        .database_url
        .iter()
        .chain(&secrets.watchdog_url)
        .chain(&secrets.databases)
        .chain(named);

    let named = all.map(ExposeSecret::expose_secret);
    // What was typed into a key that names a file stays there while a variable takes its place.
    let all = named.chain(config::typed_secrets(&loaded.config));

    let mut found = Vec::new();
    for text in all {
        found.push(text.to_owned());
        found.extend(text.lines().map(|line| line.trim().to_owned()));
        let login = text
            .split_once("://")
            .and_then(|(_, rest)| rest.rsplit_once('@'))
            .and_then(|(login, _)| login.split_once(':'));
        found.extend(login.map(|(_, password)| password.to_owned()));
        let query = text.split_once('?').map_or("", |(_, query)| query);
        let parameters = query.split('&').filter_map(|pair| pair.split_once('='));
        found.extend(
            parameters
                .filter(|(name, _)| name.contains("password"))
                .map(|(_, v)| v.to_owned()),
        );
    }
    found
}

/// Makes the archive, a ZIP file.
pub async fn make(site: &Site, report: &Report) -> anyhow::Result<Vec<u8>> {
    let scrubber = Scrubber::new(site.loaded.as_ref().ok());
    let mut files: BTreeMap<&str, String> = BTreeMap::new();
    files.insert("README.txt", README.to_owned());
    files.insert("doctor.json", json(report)?);
    files.insert("environment.txt", variables());
    files.insert("state.txt", state_files(site));
    files.insert("system.txt", system());
    match &site.loaded {
        Ok(loaded) => {
            files.insert("log.txt", own_log().await);
            let config = toml::to_string_pretty(&loaded.config);
            files.insert("config.toml", config.context("the configuration")?);
            // What the database holds is missing where it does not answer.
            let asked = timeout(ASKED_MAX, of_database(site, loaded, &mut files)).await;
            let failed = asked.map_or_else(
                |_| Some("no answer".to_owned()),
                |asked| asked.err().map(|error| format!("{error:#}")),
            );
            if let Some(error) = failed {
                files.insert("database.json", json(&error)?);
            }
        }
        Err(errors) => {
            let why = "left out: the configuration cannot be read, so its secrets are not known";
            files.insert("log.txt", why.to_owned());
            files.insert("config.toml", format!("# cannot be read: {errors}\n"));
        }
    }

    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .unix_permissions(0o600);
    for (name, text) in files {
        zip.start_file(format!("blueteam-support/{name}"), options)?;
        zip.write_all(scrubber.clean(&text).as_bytes())?;
    }
    Ok(zip.finish()?.into_inner())
}

async fn of_database(
    site: &Site,
    loaded: &Loaded,
    files: &mut BTreeMap<&str, String>,
) -> anyhow::Result<()> {
    let mut session = site.session().await?;
    let settings = store::overview::server_settings(session.read(Resource::System)?).await?;
    files.insert("database.json", json(&settings)?);
    let status = status::gather(&mut session, loaded, &site.state).await?;
    files.insert("status.json", json(&status)?);
    files.insert("sources.json", json(&sources::list(&mut session).await?)?);
    let rules = rules::list(&mut session, &loaded.config).await?;
    files.insert("rules.json", json(&rules)?);
    session.close().await;
    Ok(())
}

fn json(value: &impl Serialize) -> anyhow::Result<String> {
    Ok(serde_json::to_string_pretty(value)?)
}

/// The names of the variables that concern blueteam. A value may be a secret.
fn variables() -> String {
    let mut names: Vec<String> = std::env::vars_os()
        .filter_map(|(name, _)| name.into_string().ok())
        .filter(|name| name.starts_with("BLUETEAM") || name == "DATABASE_URL" || name == "TZ")
        .collect();
    names.sort();
    names.join("\n")
}

/// What lies in the state directory, not what is in it.
fn state_files(site: &Site) -> String {
    use std::os::unix::fs::MetadataExt as _;
    let entries = match std::fs::read_dir(site.state.path()) {
        Ok(entries) => entries,
        Err(error) => return format!("{}: {error}", site.state.path().display()),
    };
    let mut lines: Vec<String> = entries
        .flatten()
        .filter_map(|entry| {
            let meta = entry.metadata().ok()?;
            Some(format!(
                "{:6o} {:5} {:12} {}",
                meta.mode(),
                meta.uid(),
                meta.len(),
                sanitize(&entry.file_name().to_string_lossy())
            ))
        })
        .collect();
    lines.sort();
    lines.join("\n")
}

fn system() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let uname = rustix::system::uname();
    let processor = read("/proc/cpuinfo");
    let model = processor
        .lines()
        .find(|line| line.starts_with("model name"));
    let memory = read("/proc/meminfo");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);

    format!(
        "{}\n{} {}\n{}, {cores} cores\n{}\n{}",
        read("/etc/os-release").trim_end(),
        uname.sysname().to_string_lossy(),
        uname.release().to_string_lossy(),
        model.unwrap_or("processor unknown"),
        memory.lines().take(3).collect::<Vec<_>>().join("\n"),
        read("/proc/mounts")
    )
}

/// The newest lines of the daemon's own log, as the journal has them.
async fn own_log() -> String {
    match timeout(ASKED_MAX, read_journal()).await {
        Ok(Ok(log)) if !log.is_empty() => log,
        _ => "the journal cannot be read: add the log of the service by hand".to_owned(),
    }
}

async fn read_journal() -> std::io::Result<String> {
    let mut journalctl = Command::new("journalctl")
        .args([
            "--unit=blueteam",
            "--lines",
            LOG_LINES,
            "--no-pager",
            "--output=short-iso",
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let mut log = Vec::new();
    if let Some(out) = journalctl.stdout.take() {
        out.take(LOG_MAX).read_to_end(&mut log).await?;
    }
    Ok(String::from_utf8_lossy(&log).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_known_in_every_spelling() {
        let scrubber = Scrubber {
            secrets: spellings(r#"p%40ss"w\ord"#),
        };
        let text = scrubber.clean(r#"a p%40ss"w\ord b "p%40ss\"w\\ord" c p@ss"w\ord d"#);
        assert_eq!(text, "a *** b \"***\" c *** d\n");
    }

    #[test]
    fn an_encoded_secret_is_known_wherever_it_begins() {
        let secret = "q7/Zm+k?w&Xx~9";
        let scrubber = Scrubber::of(&[secret.to_owned()]);
        for around in ["", "a", "ab", "abc", "user:", "0123456789"] {
            let text = format!("{around}{secret}{around}");
            for encoded in [
                STANDARD_NO_PAD.encode(&text),
                URL_SAFE_NO_PAD.encode(&text),
                base64::engine::general_purpose::STANDARD.encode(&text),
            ] {
                let cleaned = scrubber.clean(&format!("x {encoded} y"));
                assert!(cleaned.contains(MASK), "{encoded}: {cleaned}");
                // What is left of the ends is less than a character of the secret each.
                let left = cleaned.trim().len() + secret.len() * 4 / 3;
                assert!(left <= "x  y".len() + encoded.len() + 8, "{cleaned}");
            }
        }

        for encoded in [
            "q7%2FZm%2Bk%3Fw%26Xx~9",
            "q7%2fZm%2bk%3fw%26Xx%7e9",
            "q7/Zm+k?w&Xx~9",
            "q7%2FZm+k%3Fw&Xx~9",
        ] {
            assert_eq!(scrubber.clean(encoded), "***\n", "{encoded}");
        }
    }

    #[test]
    fn secrets_go_by_value_and_by_form() {
        let scrubber = Scrubber {
            secrets: vec!["hunter2hunter2".to_owned()],
        };
        let text = scrubber.clean(
            "url = postgres://app:s3cr3tpw@db/app\nthe word hunter2hunter2 in a sentence\n\
                Authorization: Bearer bt_AAAAAAAAAAAAAAAAAAAAAAAA\nport = 25",
        );
        assert_eq!(
            text,
            "url = postgres://app:***db/app\nthe word *** in a sentence\n\
                Authorization: Bearer ***\nport = 25\n"
        );
    }
}
