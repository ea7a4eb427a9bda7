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
