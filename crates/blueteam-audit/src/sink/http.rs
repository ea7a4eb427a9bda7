//! Sends events to `POST /v1/events`.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, Url, redirect};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;

use super::{Sent, error_chain};
use crate::config::StartError;
use crate::spool::Batch;

/// The most bytes of a response that are read: enough for an error about each line of a batch.
const RESPONSE_MAX: usize = 4 * 1024 * 1024;
/// The longest wait that a server may ask for.
const WAIT_MAX: Duration = Duration::from_mins(5);

#[derive(Debug)]
pub(crate) struct Http {
    client: Client,
    url: Url,
}

/// The relevant part of the response. `spooled` is ignored: the server has those events on disk.
#[derive(Deserialize)]
struct Report {
    // Required, so a response of another server is recognized.
    rejected: Vec<Rejected>,
}

#[derive(Deserialize)]
struct Rejected {
    index: usize,
    field: String,
    error: String,
}

impl Http {
    pub(super) fn new(
        url: &str,
        key: &str,
        ca_pem: Option<&str>,
        patience: Duration,
    ) -> Result<Self, StartError> {
        let bad = |why: &str| StartError::Url(why.to_owned());
        let url = format!("{}/v1/events", url.trim_end_matches('/'));
        let url = Url::parse(&url).map_err(|error| bad(&error.to_string()))?;
        match url.scheme() {
            "https" => {}
            // Traffic to this machine does not need encryption.
            "http" if url.host_str().is_some_and(is_loopback) => {}
            _ => {
                return Err(bad(
                    "must start with https:// (http:// only to this machine)",
                ));
            }
        }

        let mut bearer =
            HeaderValue::try_from(format!("Bearer {key}")).map_err(|_| StartError::Key)?;
        bearer.set_sensitive(true);
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, bearer);
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/x-ndjson"),
        );

        let client = Client::builder()
            .tls_backend_preconfigured(tls_config(ca_pem).map_err(StartError::Tls)?)
            .default_headers(headers)
            // The key must not be sent to another address.
            .redirect(redirect::Policy::none())
            .no_proxy()
            .timeout(patience)
            .user_agent(concat!("blueteam-audit/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| bad(&error_chain(&error)))?;

        Ok(Self { client, url })
    }

    pub(super) async fn send(&self, batch: &Batch) -> Sent {
        let request = self
            .client
            .post(self.url.clone())
            .body(batch.bytes().clone());
        match request.send().await {
            Ok(response) => interpret_response(response).await,
            Err(error) => Sent::Later(None, error_chain(&error)),
        }
    }
}

async fn interpret_response(response: Response) -> Sent {
    let status = response.status();
    let wait = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.trim().parse().ok());
    let wait = wait.map(|seconds| Duration::from_secs(seconds).min(WAIT_MAX));
    let answer = match read_body(response).await {
        Ok(answer) => answer,
        Err(error) => return Sent::Later(wait, error_chain(&error)),
    };

    match status {
        StatusCode::OK | StatusCode::ACCEPTED | StatusCode::UNPROCESSABLE_ENTITY => {
            match serde_json::from_slice::<Report>(&answer) {
                Ok(report) => {
                    let text = |r: Rejected| (r.index, format!("{}: {}", r.field, r.error));
                    Sent::Done(report.rejected.into_iter().map(text).collect())
                }
                Err(error) => Sent::Later(
                    wait,
                    format!("answered {status} with an invalid report: {error}"),
                ),
            }
        }
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => {
            Sent::Refused(format!("answered {status}: {}", start_of(&answer)))
        }
        // A person must correct a wrong key or address; the events wait.
        _ => Sent::Later(wait, format!("answered {status}: {}", start_of(&answer))),
    }
}

async fn read_body(mut response: Response) -> Result<Vec<u8>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > RESPONSE_MAX {
            break;
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn start_of(answer: &[u8]) -> String {
    let text = String::from_utf8_lossy(answer);
    text.chars()
        .take(200)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.eq_ignore_ascii_case("localhost")
        || bare
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback())
}

/// Builds a TLS configuration with the machine's certificates and those of `ca_pem`. Names the
/// provider (ring), so the process default does not matter.
fn tls_config(ca_pem: Option<&str>) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for certificate in CertificateDer::pem_slice_iter(ca_pem.unwrap_or_default().as_bytes()) {
        let certificate = certificate.map_err(|error| format!("not valid PEM: {error}"))?;
        roots
            .add(certificate)
            .map_err(|error| format!("cannot be used: {error}"))?;
    }

    let builder =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
