use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::UnixTime;

use super::*;

fn place() -> (tempfile::TempDir, StateDir) {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDir::resolve(Some(dir.path())).unwrap();
    (dir, state)
}

fn names(texts: &[&str]) -> Vec<ServerName> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn now() -> Timestamp {
    Timestamp::parse("2026-11-30T12:00:00Z").unwrap()
}

/// Whether a client that trusts the authority alone takes the certificate for the name.
fn is_trusted(
    state: &StateDir,
    cert: &[u8],
    name: &str,
    at: Timestamp,
) -> Result<(), rustls::Error> {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(state.join(AUTHORITY)).unwrap();
    roots.add(authority).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .unwrap();
    let cert = CertificateDer::from_pem_slice(cert).unwrap();
    let name = rustls::pki_types::ServerName::try_from(name.to_owned()).unwrap();
    let at =
        UnixTime::since_unix_epoch(std::time::Duration::from_secs(at.as_secs().unsigned_abs()));
    verifier
        .verify_server_cert(&cert, &[], &name, &[], at)
        .map(|_| ())
}

#[test]
fn a_client_that_trusts_the_authority_trusts_the_server_by_its_names_alone() {
    let (_dir, state) = place();
    let asked = names(&[
        "Blue.example.com",
        "10.0.0.5",
        "fd00::5",
        "blue.example.com",
    ]);
    let issued = issue(&state, &asked, DAYS, false, now()).unwrap();
    assert!(issued.is_new_authority);
    assert_eq!(issued.names, ["blue.example.com", "10.0.0.5", "fd00::5"]);
    assert_eq!(issued.until, now().plus(Span::days(90)));

    let cert = std::fs::read(&issued.cert).unwrap();
    for name in ["blue.example.com", "10.0.0.5", "fd00::5"] {
        is_trusted(&state, &cert, name, now()).unwrap();
    }
    for name in ["example.com", "red.blue.example.com", "10.0.0.6"] {
        is_trusted(&state, &cert, name, now()).unwrap_err();
    }
    is_trusted(&state, &cert, "10.0.0.5", now().plus(Span::days(91))).unwrap_err();

    let pair = crate::tls::TlsFiles {
        cert: issued.cert.clone(),
        key: issued.key.clone(),
    };
    crate::tls::Pair::read(&pair).unwrap();
    for file in [AUTHORITY_KEY, SERVER_KEY] {
        let mode = std::fs::metadata(state.join(file))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o077, 0, "{file}");
    }
}

/// What a thief of the authority's key would sign.
fn forge(state: &StateDir, name: &str) -> Vec<u8> {
    let authority = Authority::load(state).unwrap().unwrap();
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.not_before = to_time(now()).unwrap();
    params.not_after = to_time(now().plus(Span::days(9))).unwrap();
    let key = KeyPair::generate().unwrap();
    params
        .signed_by(&key, &authority.issuer)
        .unwrap()
        .pem()
        .into_bytes()
}

#[test]
fn the_authoritys_key_is_worth_nothing_for_other_names() {
    for own in [
        &["blue.example.com"][..],
        &["10.0.0.5"],
        &["fd00::5"],
        &["blue.example.com", "10.0.0.5"],
    ] {
        let (_dir, state) = place();
        issue(&state, &names(own), DAYS, false, now()).unwrap();
        for name in [
            "bank.example",
            "example.com",
            "10.0.0.6",
            "192.0.2.1",
            "fd00::6",
        ] {
            let forged = forge(&state, name);
            assert!(
                is_trusted(&state, &forged, name, now()).is_err(),
                "{own:?}: {name}"
            );
        }
        // The forgery is one that would be taken where it may sign.
        is_trusted(&state, &forge(&state, own[0]), own[0], now()).unwrap();
    }
}

#[test]
fn it_is_renewed_in_time_for_the_same_names_and_by_the_same_authority() {
    let (_dir, state) = place();
    assert_eq!(renew(&state, now()).unwrap(), None);
    assert_eq!(issued(&state).unwrap(), None);
    let first = issue(
        &state,
        &names(&["blue.example.com", "10.0.0.5"]),
        60,
        false,
        now(),
    )
    .unwrap();
    assert_eq!(renew(&state, now().plus(Span::days(39))).unwrap(), None);

    let later = now().plus(Span::days(41));
    let second = renew(&state, later).unwrap().unwrap();
    assert_eq!(second.until, later.plus(Span::days(60)));
    assert_eq!(second.names, first.names);
    assert_eq!(second.authority_sha256, first.authority_sha256);
    assert!(!second.is_new_authority);
    assert_eq!(issued(&state).unwrap().unwrap(), second);
    let cert = std::fs::read(&second.cert).unwrap();
    is_trusted(
        &state,
        &cert,
        "blue.example.com",
        later.plus(Span::days(59)),
    )
    .unwrap();

    // Also where it has expired already; never beyond the authority's own end.
    let end = now().plus(Span::days(AUTHORITY_DAYS));
    let last = renew(&state, end.minus(Span::days(3))).unwrap().unwrap();
    assert_eq!(last.until, end);
    let error = renew(&state, end.plus(Span::secs(1)))
        .unwrap_err()
        .to_string();
    assert!(error.contains("--replace-authority"), "{error}");
}

#[test]
fn another_name_needs_another_authority_and_damage_is_named() {
    let (_dir, state) = place();
    let first = issue(&state, &names(&["blue.example.com"]), DAYS, false, now()).unwrap();
    let other = names(&["red.example.com"]);
    let error = issue(&state, &other, DAYS, false, now())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("red.example.com") && error.contains("--replace-authority"),
        "{error}"
    );
    let second = issue(&state, &other, DAYS, true, now()).unwrap();
    assert!(second.is_new_authority);
    assert_ne!(first.authority_sha256, second.authority_sha256);

    for (days, what) in [(0, "1 to 397"), (398, "1 to 397")] {
        let error = issue(&state, &other, days, false, now())
            .unwrap_err()
            .to_string();
        assert!(error.contains(what), "{error}");
    }

    std::fs::write(state.join(AUTHORITY_KEY), "garbage").unwrap();
    let error = issue(&state, &other, DAYS, false, now()).unwrap_err();
    assert!(format!("{error:#}").contains(AUTHORITY_KEY), "{error:#}");
    std::fs::write(state.join(SERVER), "garbage").unwrap();
    let error = renew(&state, now()).unwrap_err();
    assert!(format!("{error:#}").contains(SERVER), "{error:#}");
}

#[test]
fn only_names_of_servers_are_taken() {
    for bad in [
        "",
        "*.example.com",
        "https://a.example",
        "a.example:8514",
        "a b",
        "a_b.example",
        "10.0.0",
        "256.1.1.1",
        "-a.example",
        "a..b",
        "ex\u{e4}mple.com",
        "a\0b",
    ] {
        assert!(bad.parse::<ServerName>().is_err(), "{bad:?}");
    }
    assert_eq!(
        "LocalHost.".parse(),
        Ok(ServerName::Dns("localhost".to_owned()))
    );
}
