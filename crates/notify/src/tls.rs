//! Certificates that are trusted for mail and webhooks: the machine's, and those of a file that the
//! operator names.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

/// Reads the certificates of a file, if one is named. An error names the file.
pub fn read_pem(file: &str) -> Result<Option<String>, String> {
    if file.is_empty() {
        return Ok(None);
    }

    std::fs::read_to_string(file)
        .map(Some)
        .map_err(|error| format!("cannot read the certificates in {file}: {error}"))
}

/// A client configuration on ring with the machine's certificates and `extra_ca_pem`.
pub fn client_config(extra_ca_pem: Option<&str>) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(pem) = extra_ca_pem {
        let mut found = 0;
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let certificate = certificate.map_err(|error| format!("is no PEM: {error}"))?;
            roots
                .add(certificate)
                .map_err(|error| format!("holds a certificate that cannot be used: {error}"))?;
            found += 1;
        }

        if found == 0 {
            return Err("holds no certificate".to_owned());
        }
    }

    // The provider is named here, so that nothing depends on a process-wide default that another
    // library may set.
    let builder =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Returns whether the host is this machine, where no one else can read plain text.
pub fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.eq_ignore_ascii_case("localhost")
        || bare
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback())
}
