//! One-time codes as RFC 4226 and 6238 list them. The samples are not part of this repository;
//! without them the tests say so and pass.

#![expect(clippy::print_stderr, reason = "a test")]

use std::path::PathBuf;

use identity::TotpSecret;
use model::Timestamp;
use secrecy::ExposeSecret as _;
use serde_json::Value;

fn samples() -> Option<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/samples/identity");
    if path.is_dir() {
        return Some(path);
    }

    eprintln!("SKIPPED: there are no samples in {}", path.display());
    None
}

#[test]
fn codes_are_those_of_the_rfcs() {
    let Some(samples) = samples() else { return };
    let text = std::fs::read_to_string(samples.join("otp/totp-hotp.json")).unwrap();
    let vectors: Value = serde_json::from_str(&text).unwrap();
    let secret = TotpSecret::from_bytes(*b"12345678901234567890");

    let of = |kind: &str| vectors[kind].as_array().unwrap().clone();
    let hotp = of("hotp").into_iter().map(|v| {
        (
            v["counter"].as_i64().unwrap() * 30,
            v["code"].clone(),
            v["secret_base32"].clone(),
        )
    });
    let totp = of("totp")
        .into_iter()
        .filter(|v| v["algorithm"] == "SHA1")
        .map(|v| {
            (
                v["time"].as_i64().unwrap(),
                v["code"].clone(),
                v["secret_base32"].clone(),
            )
        });

    let mut checked = 0;
    for (secs, code, base32) in hotp.chain(totp) {
        assert_eq!(secret.to_base32().expose_secret(), base32.as_str().unwrap());
        // Of eight digits, the last six are those of six.
        let code = code.as_str().unwrap();
        let step = secret.verify(&code[code.len() - 6..], Timestamp::from_secs(secs), None);
        assert_eq!(step.unwrap().as_i64(), secs / 30);
        checked += 1;
    }
    assert!(checked >= 16, "{checked}");
}
