//! The same lists and acknowledgments from another machine: through the API of a running daemon,
//! with the API key of a person.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use reqwest::{Client, Method, Url, redirect};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use identity::{Token, TokenKind};
use notify::tls;

/// Entries of a page.
const PAGE: u32 = 200;
/// How long the server has to answer.
const PATIENCE: Duration = Duration::from_mins(1);
/// The largest answer.
const ANSWER_MAX: usize = 64 << 20;
/// The largest file of a key.
const KEY_FILE_MAX: u64 = 4096;

/// How to reach a server.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Its address, such as `https://blueteam.example.com:8514`.
    pub server: &'a str,
    /// The file that holds the API key.
    pub key_file: &'a Path,
    /// The file of the authority that signed its certificate; without it those of the system count.
    pub ca_file: Option<&'a Path>,
}

/// A server, and the key with which it is asked.
pub struct Remote {
    client: Client,
    server: Url,
    key: SecretString,
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remote")
            .field("server", &self.server.as_str())
            .finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Page<T> {
    items: Vec<T>,
    next: Option<String>,
}

impl Remote {
    /// Reads key and authority, and prepares to ask. The key would cross the network in the clear
    /// without TLS, so that only this machine is asked without.
    pub fn open(target: &Target<'_>) -> anyhow::Result<Self> {
        let server = check_server(target.server)?;
        let key = read_key(target.key_file)?;
        let authority = target.ca_file.map(std::fs::read_to_string).transpose();
        let authority = authority.context("cannot read --ca-file")?;
        let tls = tls::client_config(authority.as_deref())
            .map_err(|error| anyhow::anyhow!("--ca-file: {error}"))?;
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            // Whoever is redirected to would get the key.
            .redirect(redirect::Policy::none())
            .no_proxy()
            .timeout(PATIENCE)
            .user_agent(concat!(
                "blueteam/",
                env!("CARGO_PKG_VERSION"),
                " (command line)"
            ))
            .build()?;
        Ok(Self {
            client,
            server,
            key,
        })
    }

    /// The first `limit` entries of a list.
    pub async fn list<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
        limit: u32,
    ) -> anyhow::Result<Vec<T>> {
        let mut found = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let missing = limit.saturating_sub(u32::try_from(found.len())?);
            if missing == 0 {
                return Ok(found);
            }
            let mut url = self.url(path)?;
            let mut pairs = url.query_pairs_mut();
            pairs.append_pair("limit", &missing.min(PAGE).to_string());
            for (name, value) in query {
                pairs.append_pair(name, value);
            }
            if let Some(cursor) = &cursor {
                pairs.append_pair("cursor", cursor);
            }
            drop(pairs);

            let page: Page<T> = self.ask(Method::GET, url, None).await?;
            // A server that never ends would fill the memory.
            let ends = page.items.is_empty();
            found.extend(page.items);
            cursor = page.next;
            if cursor.is_none() || ends {
                return Ok(found);
            }
        }
    }

    /// Does something; returns the answer.
    pub async fn post<T: DeserializeOwned>(&self, path: &[&str]) -> anyhow::Result<T> {
        let mut url = self.url("")?;
        url.path_segments_mut()
            .map_err(|()| anyhow::anyhow!("--server: not an address of a server"))?
            .pop_if_empty()
            .extend(path);
        self.ask(Method::POST, url, None).await
    }

    fn url(&self, path: &str) -> anyhow::Result<Url> {
        Ok(self.server.join(path)?)
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        url: Url,
        body: Option<&Value>,
    ) -> anyhow::Result<T> {
        let mut request = self
            .client
            .request(method, url)
            .bearer_auth(self.key.expose_secret())
            .header("accept", "application/json");
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body.to_string());
        }
        let mut response = request
            .send()
            .await
            .with_context(|| format!("cannot reach {}", self.server))?;
        let status = response.status();
        let mut text = Vec::new();
        while let Some(part) = response.chunk().await? {
            if text.len() + part.len() > ANSWER_MAX {
                bail!("the answer of {} is too large", self.server);
            }
            text.extend_from_slice(&part);
        }
        if !status.is_success() {
            bail!("{} refuses ({status}): {}", self.server, detail_of(&text));
        }
        serde_json::from_slice(&text).with_context(|| {
            format!(
                "cannot read the answer of {}: is it the same version?",
                self.server
            )
        })
    }
}

/// What a problem document says for people.
fn detail_of(text: &[u8]) -> String {
    let problem = serde_json::from_slice::<Value>(text).unwrap_or_default();
    let detail = problem["detail"].as_str().unwrap_or("no reason is given");
    model::text::sanitize(&model::text::clip(detail, 1000)).into_owned()
}

fn check_server(server: &str) -> anyhow::Result<Url> {
    let url = Url::parse(server).context("--server: not a URL")?;
    let host = url.host_str().unwrap_or_default();
    let is_safe = match url.scheme() {
        "https" => true,
        "http" => tls::is_loopback(host),
        _ => false,
    };
    if !is_safe {
        bail!("--server must start with https:// (http:// only to this machine)");
    }
    let is_bare = url.path() == "/"
        && url.query().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    if !is_bare {
        bail!("--server: only scheme, host and port, such as https://blueteam.example.com:8514");
    }
    Ok(url)
}

/// Reads a key that nobody else can read.
fn read_key(path: &Path) -> anyhow::Result<SecretString> {
    let shown = path.display();
    let file = File::open(path).with_context(|| format!("cannot open the key file {shown}"))?;
    let mode = file.metadata()?.permissions().mode();
    if mode & 0o077 != 0 {
        bail!(
            "{shown} is open to others (mode {:o}): chmod 600 it",
            mode & 0o777
        );
    }
    let mut text = String::new();
    file.take(KEY_FILE_MAX)
        .read_to_string(&mut text)
        .with_context(|| format!("cannot read the key file {shown}"))?;
    let key = Token::parse(TokenKind::ApiKey, text.trim()).map_err(|error| {
        anyhow::anyhow!("{shown} holds no API key of a person (`blueteam keys create`): {error}")
    })?;
    Ok(key.expose().to_owned().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_crosses_no_network_in_the_clear() {
        for good in [
            "https://b.example.com",
            "http://127.0.0.1:8514",
            "http://[::1]:1/",
        ] {
            assert!(check_server(good).is_ok(), "{good}");
        }
        for bad in [
            "http://b.example.com",
            "http://127.0.0.1.example.com",
            "ftp://localhost",
            "https://x:y@b.example.com",
            "https://b.example.com/path",
            "b.example.com",
        ] {
            assert!(check_server(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_key_that_others_can_read_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let key = Token::generate(TokenKind::ApiKey).unwrap();
        std::fs::write(&path, format!("{}\n", key.expose())).unwrap();
        for (mode, works) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(read_key(&path).is_ok(), works, "{mode:o}");
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&path, crate::auth::mint([1; 32]).secret).unwrap();
        assert!(read_key(&path).is_err());
    }
}
