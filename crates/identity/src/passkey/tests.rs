//! A passkey in software, and answers that an attacker would give.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use proptest::prelude::*;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::*;

const ORIGIN: &str = "https://blueteam.example.com:8514";
const HOST: &str = "blueteam.example.com";

/// What an authenticator answers, before it is signed.
struct Answer {
    kind: &'static str,
    challenge: String,
    origin: String,
    extra: &'static str,
    before: &'static str,
    host: &'static str,
    flags: u8,
    counter: u32,
}

impl Answer {
    fn to(ceremony: &Ceremony, kind: &'static str, flags: u8) -> Self {
        Self {
            kind,
            challenge: BASE64.encode(ceremony.challenge),
            origin: ORIGIN.to_owned(),
            extra: r#","crossOrigin":false"#,
            before: "",
            host: HOST,
            flags,
            counter: 0,
        }
    }

    fn client_data(&self) -> Vec<u8> {
        let Self {
            kind,
            challenge,
            origin,
            extra,
            before,
            ..
        } = self;
        format!(
            r#"{before}{{"type":"{kind}","challenge":"{challenge}","origin":"{origin}"{extra}}}"#
        )
        .into_bytes()
    }

    /// What is signed.
    fn message(&self) -> Vec<u8> {
        let mut message = self.authenticator_data();
        message.extend(Sha256::digest(self.client_data()));
        message
    }

    fn authenticator_data(&self) -> Vec<u8> {
        let mut data = Sha256::digest(self.host).to_vec();
        data.push(self.flags);
        data.extend(self.counter.to_be_bytes());
        data
    }
}

/// A passkey in software.
struct Authenticator {
    key: SigningKey,
    id: Vec<u8>,
}

impl Authenticator {
    fn new() -> Self {
        let key = random_bytes::<32>().unwrap();
        Self {
            key: SigningKey::from_slice(key.as_slice()).unwrap(),
            id: random_bytes::<32>().unwrap().to_vec(),
        }
    }

    /// The public key as COSE has it (RFC 9052), with the given algorithm.
    fn cose_key(&self, algorithm: u8) -> Vec<u8> {
        let point = self.key.verifying_key().to_encoded_point(false);
        let mut key = vec![0xa5, 1, 2, 3, algorithm, 0x20, 1, 0x21, 0x58, 32];
        key.extend(point.x().unwrap());
        key.extend([0x22, 0x58, 32]);
        key.extend(point.y().unwrap());
        key
    }

    fn register(&self, answer: &Answer, algorithm: u8) -> Vec<u8> {
        registration(answer, &self.id, &self.cose_key(algorithm))
    }

    fn sign(&self, answer: &Answer) -> (Signed, Signature) {
        let signed = Signed::new(self.id.clone(), answer);
        (signed, self.key.sign(&answer.message()))
    }
}

/// The JSON of a browser's answer to a registration.
fn registration(answer: &Answer, id: &[u8], cose_key: &[u8]) -> Vec<u8> {
    let mut data = answer.authenticator_data();
    data.extend([0; 16]);
    data.extend((id.len() as u16).to_be_bytes());
    data.extend(id);
    data.extend(cose_key);

    let mut object = b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x58".to_vec();
    object.push(data.len() as u8);
    object.extend(&data);

    let id = BASE64.encode(id);
    json!({
        "id": id, "rawId": id, "type": "public-key", "clientExtensionResults": {},
        "response": {
            "clientDataJSON": BASE64.encode(answer.client_data()),
            "attestationObject": BASE64.encode(object),
            "transports": ["internal"],
        },
    })
    .to_string()
    .into_bytes()
}

/// An answer to a sign-in, without its signature.
struct Signed {
    id: Vec<u8>,
    client_data: Vec<u8>,
    data: Vec<u8>,
}

impl Signed {
    fn new(id: Vec<u8>, answer: &Answer) -> Self {
        Self {
            id,
            client_data: answer.client_data(),
            data: answer.authenticator_data(),
        }
    }

    fn assertion(&self, handle: &PasskeyHandle, signature: &[u8]) -> Assertion {
        let id = BASE64.encode(&self.id);
        let answer = json!({
            "id": id, "rawId": id, "type": "public-key", "clientExtensionResults": {},
            "response": {
                "clientDataJSON": BASE64.encode(&self.client_data),
                "authenticatorData": BASE64.encode(&self.data),
                "signature": BASE64.encode(signature),
                "userHandle": BASE64.encode(handle.as_bytes()),
            },
        });
        Assertion::parse(answer.to_string().as_bytes()).unwrap()
    }
}

fn party() -> RelyingParty {
    RelyingParty::new(ORIGIN).unwrap()
}

/// User present, user verified, attested credential data.
const REGISTERING: u8 = 0x45;
const SIGNING_IN: u8 = 0x05;
const ES256: u8 = 0x26;
const EDDSA: u8 = 0x27;

fn start(handle: &PasskeyHandle, existing: &[Passkey]) -> Ceremony {
    let owner = PasskeyOwner {
        handle,
        username: "jane",
        full_name: "Jane Doe",
    };
    party().start_registration(&owner, existing).unwrap()
}

fn registered() -> (Authenticator, Passkey) {
    let authenticator = Authenticator::new();
    let handle = PasskeyHandle::generate().unwrap();
    let ceremony = start(&handle, &[]);
    let answer = Answer::to(&ceremony, "webauthn.create", REGISTERING);
    let passkey = party()
        .finish_registration(&ceremony.state, &authenticator.register(&answer, ES256))
        .unwrap();
    assert_eq!((&passkey.id, &passkey.handle), (&authenticator.id, &handle));
    (authenticator, passkey)
}

#[test]
fn a_registered_passkey_signs_in() {
    let (authenticator, passkey) = registered();
    let ceremony = party().start_sign_in().unwrap();
    let (signed, signature) =
        authenticator.sign(&Answer::to(&ceremony, "webauthn.get", SIGNING_IN));
    let assertion = signed.assertion(&passkey.handle, signature.to_der().as_bytes());

    assert_eq!(assertion.challenge().unwrap(), ceremony.challenge);
    assert_eq!(assertion.passkey_id(), passkey.id);
    let stored = party().finish_sign_in(&ceremony.state, &assertion, &passkey);
    assert_eq!(stored.unwrap().id, passkey.id);
}

#[test]
fn options_are_narrow() {
    let (_, passkey) = registered();
    let ceremony = start(&passkey.handle, std::slice::from_ref(&passkey));
    let options: Value = serde_json::from_str(&ceremony.options).unwrap();
    let options = options.get("publicKey").unwrap_or(&options).clone();

    let algorithms: Vec<i64> = options["pubKeyCredParams"]
        .as_array()
        .unwrap()
        .iter()
        .map(|parameter| parameter["alg"].as_i64().unwrap())
        .collect();
    assert_eq!(algorithms, [-8, -7]);
    assert_eq!(options["attestation"], "none");
    assert_eq!(
        options["authenticatorSelection"]["userVerification"],
        "required"
    );
    assert_eq!(options["authenticatorSelection"]["residentKey"], "required");
    assert_eq!(options["rp"]["id"], HOST);
    assert_eq!(
        options["excludeCredentials"][0]["id"],
        BASE64.encode(&passkey.id)
    );
    assert_eq!(options["challenge"], BASE64.encode(ceremony.challenge));
}

#[test]
fn forged_registrations_are_refused() {
    type Forge = fn(&mut Answer);
    let forgeries: [(&str, Forge); 7] = [
        ("other challenge", |a| a.challenge = BASE64.encode([7; 16])),
        ("of a sign-in", |a| a.kind = "webauthn.get"),
        ("other origin", |a| {
            a.origin = "https://evil.example.com:8514".to_owned();
        }),
        ("without the port", |a| a.origin = format!("https://{HOST}")),
        ("other host", |a| a.host = "example.com"),
        ("user not verified", |a| a.flags = 0x41),
        ("user not present", |a| a.flags = 0x44),
    ];
    for (what, forge) in forgeries {
        let ceremony = start(&PasskeyHandle::generate().unwrap(), &[]);
        let mut answer = Answer::to(&ceremony, "webauthn.create", REGISTERING);
        forge(&mut answer);
        let json = Authenticator::new().register(&answer, ES256);
        let result = party().finish_registration(&ceremony.state, &json);
        assert!(
            matches!(result, Err(PasskeyError::Refused(_))),
            "{what}: {result:?}"
        );
    }
}

#[test]
fn other_algorithms_are_refused() {
    // -8 with the parameters of P-256, and -35, which is ES384.
    for algorithm in [0x27, 0x22] {
        let ceremony = start(&PasskeyHandle::generate().unwrap(), &[]);
        let answer = Answer::to(&ceremony, "webauthn.create", REGISTERING);
        let json = Authenticator::new().register(&answer, algorithm);
        assert!(party().finish_registration(&ceremony.state, &json).is_err());
    }
}

#[test]
fn forged_sign_ins_are_refused() {
    type Forge = fn(&mut Answer);
    let forgeries: [(&str, Forge, bool); 12] = [
        ("nothing", |_| (), true),
        ("byte order mark", |a| a.before = "\u{feff}", true),
        (
            "unknown members",
            |a| a.extra = r#","crossOrigin":false,"x":{"y":1}"#,
            true,
        ),
        (
            "other challenge",
            |a| a.challenge = BASE64.encode([7; 16]),
            false,
        ),
        ("of a registration", |a| a.kind = "webauthn.create", false),
        (
            "subdomain",
            |a| a.origin = format!("https://evil.{HOST}:8514"),
            false,
        ),
        (
            "upper case",
            |a| a.origin = ORIGIN.to_uppercase().replace("HTTPS", "https"),
            false,
        ),
        ("framed", |a| a.extra = r#","crossOrigin":true"#, false),
        (
            "framed by another site",
            |a| a.extra = r#","crossOrigin":true,"topOrigin":"https://evil.test""#,
            false,
        ),
        ("other host", |a| a.host = "example.com", false),
        ("user not present", |a| a.flags = 0x04, false),
        ("user not verified", |a| a.flags = 0x01, false),
    ];
    for (what, forge, expected) in forgeries {
        let (authenticator, passkey) = registered();
        let ceremony = party().start_sign_in().unwrap();
        let mut answer = Answer::to(&ceremony, "webauthn.get", SIGNING_IN);
        forge(&mut answer);
        let (signed, signature) = authenticator.sign(&answer);
        let assertion = signed.assertion(&passkey.handle, signature.to_der().as_bytes());
        let result = party().finish_sign_in(&ceremony.state, &assertion, &passkey);
        assert_eq!(result.is_ok(), expected, "{what}: {result:?}");
    }
}

#[test]
fn ed25519_passkeys_sign_in() {
    let key = ed25519_dalek::SigningKey::from_bytes(&random_bytes::<32>().unwrap());
    let mut cose = vec![0xa4, 1, 1, 3, EDDSA, 0x20, 6, 0x21, 0x58, 32];
    cose.extend(key.verifying_key().as_bytes());
    let id = random_bytes::<32>().unwrap().to_vec();
    let handle = PasskeyHandle::generate().unwrap();
    let ceremony = start(&handle, &[]);
    let answer = Answer::to(&ceremony, "webauthn.create", REGISTERING);
    let passkey = party()
        .finish_registration(&ceremony.state, &registration(&answer, &id, &cose))
        .unwrap();

    let ceremony = party().start_sign_in().unwrap();
    let answer = Answer::to(&ceremony, "webauthn.get", SIGNING_IN);
    let signature = key.sign(&answer.message()).to_bytes();
    let signed = Signed::new(id, &answer);
    let assertion = signed.assertion(&handle, &signature);
    assert!(
        party()
            .finish_sign_in(&ceremony.state, &assertion, &passkey)
            .is_ok()
    );

    let mut forged = signature;
    forged[0] ^= 1;
    let assertion = signed.assertion(&handle, &forged);
    assert!(
        party()
            .finish_sign_in(&ceremony.state, &assertion, &passkey)
            .is_err()
    );
}

#[test]
fn only_whole_signatures_count() {
    let (authenticator, passkey) = registered();
    let ceremony = party().start_sign_in().unwrap();
    let (signed, signature) =
        authenticator.sign(&Answer::to(&ceremony, "webauthn.get", SIGNING_IN));
    let good = signature.to_der().as_bytes().to_vec();
    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let mut trailing = good.clone();
    trailing.push(0);
    // The other root: as valid, so nothing may rest on signatures being unique.
    let (r, s) = signature.split_scalars();
    let high = Signature::from_scalars(r.to_bytes(), (-*s).to_bytes()).unwrap();
    assert_ne!(high, signature);

    let (_, others) = Authenticator::new().sign(&Answer::to(&ceremony, "webauthn.get", SIGNING_IN));
    for (signature, expected) in [
        (good, true),
        (high.to_der().as_bytes().to_vec(), true),
        (flipped, false),
        (trailing, false),
        (Vec::new(), false),
        (signature.to_bytes().to_vec(), false),
        (others.to_der().as_bytes().to_vec(), false),
    ] {
        let assertion = signed.assertion(&passkey.handle, &signature);
        let result = party().finish_sign_in(&ceremony.state, &assertion, &passkey);
        assert_eq!(result.is_ok(), expected, "{signature:02x?}");
    }
}

#[test]
fn a_passkey_speaks_for_its_owner_only() {
    let (authenticator, passkey) = registered();
    let (_, others) = registered();
    let ceremony = party().start_sign_in().unwrap();
    let (signed, signature) =
        authenticator.sign(&Answer::to(&ceremony, "webauthn.get", SIGNING_IN));

    let signature = signature.to_der();
    // With another's handle, and against another's passkey.
    let assertion = signed.assertion(&others.handle, signature.as_bytes());
    for stored in [&passkey, &others] {
        let result = party().finish_sign_in(&ceremony.state, &assertion, stored);
        assert!(matches!(result, Err(PasskeyError::Refused(_))));
    }
}

#[test]
fn a_counter_that_goes_back_is_refused() {
    let (authenticator, mut passkey) = registered();
    for (counter, expected) in [(0, true), (5, true), (4, false), (5, false), (6, true)] {
        let ceremony = party().start_sign_in().unwrap();
        let mut answer = Answer::to(&ceremony, "webauthn.get", SIGNING_IN);
        answer.counter = counter;
        let (signed, signature) = authenticator.sign(&answer);
        let assertion = signed.assertion(&passkey.handle, signature.to_der().as_bytes());
        let result = party().finish_sign_in(&ceremony.state, &assertion, &passkey);
        if expected {
            passkey = result.unwrap();
            assert_eq!(passkey.counter(), counter);
        } else {
            assert_eq!(result, Err(PasskeyError::Copied), "{counter}");
        }
    }
}

#[test]
fn origins_have_names_and_tls() {
    for origin in [ORIGIN, "https://blueteam.lan", "http://localhost:8514"] {
        assert!(RelyingParty::new(origin).is_ok(), "{origin}");
    }
    for origin in [
        "",
        "blueteam.example.com",
        "http://blueteam.example.com",
        "https://192.0.2.1:8514",
        "https://[::1]",
        "https://Blueteam.example.com",
        "https://blueteam.example.com/",
        "https://blueteam.example.com:443",
        "https://blueteam.example.com:08514",
        "https://blueteam.example.com:99999",
        "https://user@blueteam.example.com",
        "https://",
    ] {
        assert_eq!(
            RelyingParty::new(origin).unwrap_err(),
            PasskeyError::Origin,
            "{origin}"
        );
    }
}

#[test]
fn large_and_damaged_answers_are_refused() {
    let state = start(&PasskeyHandle::generate().unwrap(), &[]).state;
    for answer in [&b"{}"[..], b"", &b" ".repeat(1 << 20), &b"[".repeat(60_000)] {
        assert!(matches!(
            Assertion::parse(answer),
            Err(PasskeyError::Answer)
        ));
        let result = party().finish_registration(&state, answer);
        assert_eq!(result, Err(PasskeyError::Answer));
    }
    let result = party().finish_registration(b"x", b"{}");
    assert_eq!(result, Err(PasskeyError::Stored));
}

#[test]
fn no_flipped_bit_signs_in() {
    let (authenticator, passkey) = registered();
    let ceremony = party().start_sign_in().unwrap();
    let answer = Answer::to(&ceremony, "webauthn.get", SIGNING_IN);
    for at in 0..37 {
        let (mut signed, signature) = authenticator.sign(&answer);
        signed.data[at] ^= 1 << (at % 8);
        let assertion = signed.assertion(&passkey.handle, signature.to_der().as_bytes());
        let result = party().finish_sign_in(&ceremony.state, &assertion, &passkey);
        assert!(result.is_err(), "{at}");
    }
}

proptest! {
    #[test]
    fn any_answer_is_read_without_panic(answer in any::<Vec<u8>>(), state in any::<Vec<u8>>()) {
        let _ = Assertion::parse(&answer);
        let _ = party().finish_registration(&state, &answer);
    }
}
