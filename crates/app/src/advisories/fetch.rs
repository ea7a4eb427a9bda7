//! A text from a file or over HTTPS, within the limits.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use reqwest::{Client, Url, redirect};

use super::{TEXT_MAX, read_file};

/// How long a feed may take.
const TIMEOUT: Duration = Duration::from_mins(5);

/// Reads `origin`: a file, or `https://…` (`http://…` to this machine).
pub async fn fetch(origin: &str) -> anyhow::Result<String> {
    if !origin.contains("://") {
        let path = Path::new(origin).to_owned();
        // Files of a hundred megabytes take a while.
        return tokio::task::spawn_blocking(move || read_file(&path)).await?;
    }

    let url = Url::parse(origin).with_context(|| format!("{origin} is not a URL"))?;
    match url.scheme() {
        "https" => {}
        "http" if notify::tls::is_loopback(url.host_str().unwrap_or_default()) => {}
        _ => bail!("{origin} must start with https:// (http:// only to this machine)"),
    }

    let tls = notify::tls::client_config(None).map_err(anyhow::Error::msg)?;
    let client = Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(redirect::Policy::none())
        .timeout(TIMEOUT)
        .user_agent(concat!("blueteam/", env!("CARGO_PKG_VERSION")))
        .build()?;

    let mut response = client
        .get(url)
        .send()
        .await
        .with_context(|| format!("cannot reach {origin}"))?;
    if response.status() != reqwest::StatusCode::OK {
        bail!("{origin} answered {}", response.status());
    }

    let mut body = Vec::new();
    while let Some(piece) = response
        .chunk()
        .await
        .with_context(|| format!("cannot read {origin}"))?
    {
        body.extend_from_slice(&piece);
        if body.len() as u64 > TEXT_MAX {
            bail!("{origin} has more than {TEXT_MAX} bytes");
        }
    }

    String::from_utf8(body).with_context(|| format!("{origin} is not text"))
}
