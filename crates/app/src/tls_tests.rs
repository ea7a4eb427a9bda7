use super::*;

fn tls_files(dir: &Path) -> TlsFiles {
    TlsFiles {
        cert: dir.join("cert.pem"),
        key: dir.join("key.pem"),
    }
}

fn issue_certificate(dir: &Path, name: &str) -> TlsFiles {
    let issued = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let files = tls_files(dir);
    std::fs::write(&files.cert, issued.cert.pem()).unwrap();
    std::fs::write(&files.key, issued.signing_key.serialize_pem()).unwrap();
    files
}

#[test]
fn a_pair_that_cannot_be_used_says_which_file_and_why() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let files = issue_certificate(dir.path(), "localhost");
    assert!(Pair::read(&files).is_ok());
    let good = std::fs::read(&files.key).unwrap();
    let chain = std::fs::read(&files.cert).unwrap();
    let foreign = std::fs::read(issue_certificate(other.path(), "localhost").key).unwrap();
    let encrypted =
        b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n"
            .to_vec();

    let old_encrypted =
        b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\n\
                          MIIB\n-----END RSA PRIVATE KEY-----\n"
            .to_vec();
    let garbage = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_vec();
    for (what, cert, key, culprit, expected) in [
        (
            "another's key",
            &chain,
            &foreign,
            &files.key,
            "does not belong to the certificate",
        ),
        (
            "an encrypted key",
            &chain,
            &encrypted,
            &files.key,
            "encrypted",
        ),
        (
            "an encrypted key of the old kind",
            &chain,
            &old_encrypted,
            &files.key,
            "encrypted",
        ),
        ("an empty key", &chain, &Vec::new(), &files.key, "is empty"),
        (
            "a certificate as key",
            &chain,
            &chain,
            &files.key,
            "holds no private key",
        ),
        (
            "an empty certificate",
            &Vec::new(),
            &good,
            &files.cert,
            "is empty",
        ),
        (
            "a key as certificate",
            &good,
            &good,
            &files.cert,
            "holds no certificate",
        ),
        (
            "garbage as certificate",
            &garbage,
            &good,
            &files.cert,
            "something else than a certificate",
        ),
    ] {
        std::fs::write(&files.cert, cert).unwrap();
        std::fs::write(&files.key, key).unwrap();
        let error = Pair::read(&files).unwrap_err();
        assert!(
            error.path == *culprit && error.why.contains(expected),
            "{what}: {error}"
        );
    }

    std::fs::remove_file(&files.cert).unwrap();
    let error = Pair::read(&files).unwrap_err();
    assert!(
        error.path == files.cert && error.why.contains("cannot be read"),
        "{error}"
    );
}

#[test]
fn a_chain_is_valid_as_long_as_all_of_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let of = |from: i32, until: i32| {
        let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        params
            .self_signed(&rcgen::KeyPair::generate().unwrap())
            .unwrap()
            .pem()
    };

    let path = dir.path().join("chain.pem");
    std::fs::write(&path, of(2020, 2040) + &of(2021, 2030)).unwrap();
    let validity = Validity::of(&path).unwrap();
    let expected = ["2021-01-01T00:00:00Z", "2030-01-01T00:00:00Z"]
        .map(|text| Timestamp::parse(text).unwrap());
    assert_eq!([validity.from, validity.until], expected);
}

/// An authority: its certificate in a file, and what it issues with.
fn authority(dir: &Path, name: &str) -> (PathBuf, rcgen::Issuer<'static, rcgen::KeyPair>) {
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    let key = rcgen::KeyPair::generate().unwrap();
    let file = dir.join(format!("{name}.pem"));
    std::fs::write(&file, params.self_signed(&key).unwrap().pem()).unwrap();
    (file, rcgen::Issuer::new(params, key))
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn identity(issuer: &rcgen::Issuer<'static, rcgen::KeyPair>) -> Identity {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["sender".to_owned()]).unwrap();
    let cert = params.signed_by(&key, issuer).unwrap();
    let der = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    (vec![cert.der().clone()], der)
}

/// Whether the server lets a client with this identity in.
async fn is_let_in(
    acceptor: TlsAcceptor,
    server: CertificateDer<'static>,
    client: Option<Identity>,
) -> bool {
    let mut roots = RootCertStore::empty();
    roots.add(server).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match client {
        Some((chain, key)) => config.with_client_auth_cert(chain, key).unwrap(),
        None => config.with_no_client_auth(),
    };

    let (near, far) = tokio::io::duplex(64 * 1024);
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let (accepted, connected) = tokio::join!(acceptor.accept(far), connector.connect(name, near));
    drop(connected);
    accepted.is_ok()
}

#[tokio::test]
async fn only_clients_of_the_authorities_are_let_in() {
    let dir = tempfile::tempdir().unwrap();
    let files = issue_certificate(dir.path(), "localhost");
    let server = CertificateDer::from_pem_file(&files.cert).unwrap();
    let certificate = ServerCertificate::new(Pair::read(&files).unwrap());
    let (file, ours) = authority(dir.path(), "ours");
    let (_, other) = authority(dir.path(), "other");

    let authorities = ClientAuthorities::read(&file).unwrap();
    let acceptor = || certificate.acceptor_for_clients(&authorities).unwrap();
    assert!(is_let_in(acceptor(), server.clone(), Some(identity(&ours))).await);
    assert!(!is_let_in(acceptor(), server.clone(), Some(identity(&other))).await);
    assert!(!is_let_in(acceptor(), server.clone(), None).await);

    // Without authorities nobody is asked.
    let open = certificate.acceptor(&[]).unwrap();
    assert!(is_let_in(open, server, None).await);
    let none = ClientAuthorities::read(&files.key).unwrap_err();
    assert!(none.to_string().contains("holds no certificate"), "{none}");
}
