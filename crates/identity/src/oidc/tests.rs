//! Tokens of every kind that is refused, signed by a provider of the test's own.

use hmac::{Hmac, KeyInit as _, Mac as _};
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use serde_json::json;

use super::*;

const ISSUER: &str = "https://login.example.com/realms/soc";
const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

fn b64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

struct Provider {
    key: SigningKey,
    metadata: Metadata,
}

fn metadata_json() -> Value {
    json!({
        "issuer": ISSUER,
        "authorization_endpoint": "https://login.example.com/auth",
        "token_endpoint": "https://login.example.com/token",
        "jwks_uri": "https://login.example.com/keys",
        "authorization_response_iss_parameter_supported": true,
    })
}

fn parse(metadata: &Value) -> Result<Metadata, OidcError> {
    Metadata::parse(metadata.to_string().as_bytes(), ISSUER)
}

impl Provider {
    fn new(seed: u8) -> Self {
        Self {
            key: SigningKey::from_slice(&[seed; 32]).expect("a key"),
            metadata: parse(&metadata_json()).expect("metadata"),
        }
    }

    fn jwk(&self, kid: &str) -> Value {
        let point = self.key.verifying_key().to_encoded_point(false);
        let (x, y) = (point.x().expect("x"), point.y().expect("y"));
        json!({ "kty": "EC", "crv": "P-256", "use": "sig", "kid": kid, "alg": "ES256",
                "x": b64(x), "y": b64(y) })
    }

    fn keys(&self) -> Keys {
        Keys::parse(json!({ "keys": [self.jwk("one")] }).to_string().as_bytes()).expect("keys")
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let head = format!(
            "{}.{}",
            b64(header.to_string().as_bytes()),
            b64(claims.to_string().as_bytes())
        );
        let signature: Signature = self.key.sign(head.as_bytes());
        format!("{head}.{}", b64(&signature.to_bytes()))
    }
}

fn client() -> Client {
    Client {
        issuer: ISSUER.to_owned(),
        client_id: "blueteam".to_owned(),
        client_secret: SecretString::from("s%cret+/"),
        redirect_url: "https://soc.example.com/api/v1/sign-in/oidc/callback".to_owned(),
        scopes: vec!["profile".to_owned()],
        username_claim: "preferred_username".to_owned(),
        groups_claim: "groups".to_owned(),
        mfa_acr: vec!["phr".to_owned()],
        mfa_amr: vec!["mfa".to_owned()],
        fresh_for: Span::mins(10),
    }
}

fn begin(provider: &Provider) -> (String, Pending) {
    client().begin(&provider.metadata, NOW).expect("begun")
}

fn es256() -> Value {
    json!({ "alg": "ES256", "kid": "one", "typ": "JWT" })
}

fn good_claims(pending: &Pending) -> Value {
    json!({
        "iss": ISSUER, "aud": "blueteam", "sub": "248289761001", "nonce": pending.nonce,
        "exp": NOW.as_secs() + 300, "iat": NOW.as_secs(), "auth_time": NOW.as_secs() - 60,
        "preferred_username": "dana", "name": "Dana Scully", "email": "dana@example.com",
        "groups": ["soc", "soc-leads"], "acr": "phr", "amr": ["pwd"],
    })
}

fn check(provider: &Provider, pending: &Pending, token: &str) -> Result<Claims, OidcError> {
    let answer = json!({ "access_token": "x", "token_type": "Bearer", "id_token": token });
    client().check_answer(
        answer.to_string().as_bytes(),
        &provider.keys(),
        pending,
        NOW,
    )
}

#[test]
fn a_right_token_says_who_it_is() {
    let provider = Provider::new(7);
    let (_, pending) = begin(&provider);
    let token = provider.sign(&es256(), &good_claims(&pending));
    assert_eq!(
        check(&provider, &pending, &token),
        Ok(Claims {
            subject: "248289761001".to_owned(),
            username: Some("dana".to_owned()),
            full_name: Some("Dana Scully".to_owned()),
            email: Some("dana@example.com".to_owned()),
            groups: vec!["soc".to_owned(), "soc-leads".to_owned()],
            used_mfa: true,
            is_fresh: true,
        })
    );
}

#[test]
fn a_token_with_one_wrong_claim_is_refused() {
    let provider = Provider::new(7);
    let (_, pending) = begin(&provider);
    let now = NOW.as_secs();
    for (claim, value) in [
        ("iss", json!("https://login.example.com/realms/other")),
        ("iss", json!("https://login.example.com/realms/soc/")),
        ("iss", Value::Null),
        ("aud", json!("another")),
        ("aud", json!([])),
        // For another one as well, who would hold a token that signs in here.
        ("aud", json!(["blueteam", "another"])),
        ("azp", json!("another")),
        ("nonce", json!("another")),
        ("nonce", Value::Null),
        ("exp", json!(now)),
        ("exp", json!(now - 1)),
        ("exp", Value::Null),
        ("iat", json!(now - 301)),
        ("iat", json!(now + 61)),
        ("iat", Value::Null),
        ("sub", json!("")),
        ("sub", json!("s".repeat(256))),
        ("sub", Value::Null),
    ] {
        let mut claims = good_claims(&pending);
        match value.clone() {
            Value::Null => claims.as_object_mut().expect("claims").remove(claim),
            value => claims
                .as_object_mut()
                .expect("claims")
                .insert(claim.to_owned(), value),
        };
        let result = check(&provider, &pending, &provider.sign(&es256(), &claims));
        assert!(
            matches!(result, Err(OidcError::Refused(_))),
            "{claim} {value}: {result:?}"
        );
    }
}

#[test]
fn a_signature_of_another_kind_or_key_is_refused() {
    let provider = Provider::new(7);
    let (_, pending) = begin(&provider);
    let claims = good_claims(&pending);
    let parts = |header: Value| {
        format!(
            "{}.{}",
            b64(header.to_string().as_bytes()),
            b64(claims.to_string().as_bytes())
        )
    };

    // Without a signature, in each spelling, with one that is empty or another's.
    for alg in ["none", "None", "NONE", "nOnE", ""] {
        let head = parts(json!({ "alg": alg }));
        for token in [format!("{head}."), head.clone(), format!("{head}.AAAA")] {
            assert!(check(&provider, &pending, &token).is_err(), "{alg}");
        }
    }

    // An HMAC whose key is what everybody knows: the public key, in the forms that programs have
    // it in, the client's id, or nothing.
    let point = provider.key.verifying_key().to_encoded_point(false);
    let jwk = provider.jwk("one").to_string();
    let secret = client().client_secret;
    for key in [
        point.as_bytes(),
        jwk.as_bytes(),
        b"blueteam",
        b"",
        // Nor does the client's own secret: it is not a key for tokens.
        secret.expose_secret().as_bytes(),
    ] {
        let head = parts(json!({ "alg": "HS256", "kid": "one" }));
        let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key");
        mac.update(head.as_bytes());
        let token = format!("{head}.{}", b64(&mac.finalize().into_bytes()));
        let result = check(&provider, &pending, &token);
        assert!(matches!(result, Err(OidcError::Refused(_))), "{result:?}");
    }

    // Another key, under the name of the right one, brought along in the header, or unknown.
    let other = Provider::new(8);
    let forged = [
        es256(),
        json!({ "alg": "ES256", "kid": "one", "jwk": other.jwk("one") }),
        json!({ "alg": "ES256", "kid": "one", "jku": "https://evil.example/keys" }),
        json!({ "alg": "ES256" }),
    ];
    for header in forged {
        let result = check(&provider, &pending, &other.sign(&header, &claims));
        assert!(matches!(result, Err(OidcError::Refused(_))), "{result:?}");
    }
    let unknown = json!({ "alg": "ES256", "kid": "two" });
    assert_eq!(
        check(&provider, &pending, &provider.sign(&unknown, &claims)),
        Err(OidcError::UnknownKey)
    );

    // A critical extension that is not known, a token of another kind, a claim that was changed.
    for header in [
        json!({ "alg": "ES256", "kid": "one", "crit": ["exp"], "exp": 1 }),
        json!({ "alg": "ES256", "kid": "one", "typ": "at+jwt" }),
        json!({ "alg": "ES384", "kid": "one" }),
        json!({ "alg": "RS256", "kid": "one" }),
    ] {
        let token = provider.sign(&header, &claims);
        assert!(check(&provider, &pending, &token).is_err(), "{header}");
    }
    let token = provider.sign(&es256(), &claims);
    let signature = token.rsplit('.').next().expect("a signature");
    let mut changed = claims.clone();
    changed["preferred_username"] = json!("mallory");
    let head = format!(
        "{}.{}",
        b64(es256().to_string().as_bytes()),
        b64(changed.to_string().as_bytes())
    );
    assert!(check(&provider, &pending, &format!("{head}.{signature}")).is_err());
}

#[test]
fn what_a_refused_token_says_is_not_repeated() {
    let provider = Provider::new(7);
    let (_, pending) = begin(&provider);
    let mut claims = good_claims(&pending);
    claims["iss"] = json!("https://evil.example/mallory");
    claims["aud"] = json!(["blueteam", "mallory"]);
    claims["preferred_username"] = json!("mallory");
    for token in [
        provider.sign(&es256(), &claims),
        provider.sign(
            &json!({ "alg": "ES256", "kid": "one", "typ": "mallory" }),
            &claims,
        ),
        "mallory.mallory.mallory".to_owned(),
    ] {
        let error = check(&provider, &pending, &token).expect_err("it is refused");
        assert!(!error.to_string().contains("mallory"), "{error}");
    }
}

#[test]
fn an_answer_counts_for_its_sign_in_and_its_issuer_only() {
    let provider = Provider::new(7);
    let (_, pending) = begin(&provider);
    let (_, other) = begin(&provider);
    let callback = |state: &str, iss: Option<&str>, code: Option<&str>| Callback {
        code: code.map(SecretString::from),
        state: Some(state.to_owned()),
        iss: iss.map(str::to_owned),
        error: None,
    };
    let check = |callback: &Callback, now| {
        client()
            .check_callback(&provider.metadata, &pending, callback, now)
            .map(|code| code.expose_secret().to_owned())
    };

    let good = callback(&pending.state, Some(ISSUER), Some("c0de"));
    assert_eq!(check(&good, NOW), Ok("c0de".to_owned()));
    let too_late = NOW.plus(PENDING_FOR);
    assert_eq!(check(&good, too_late), Err(OidcError::NotBegun));
    for state in [other.state.as_str(), "", &pending.state[1..]] {
        let wrong = callback(state, Some(ISSUER), Some("c0de"));
        assert_eq!(check(&wrong, NOW), Err(OidcError::NotBegun), "{state}");
    }
    let no_state = Callback {
        state: None,
        ..good.clone()
    };
    assert_eq!(check(&no_state, NOW), Err(OidcError::NotBegun));

    for wrong in [
        callback(&pending.state, Some("https://evil.example"), Some("c0de")),
        callback(&pending.state, Some(""), Some("c0de")),
        // This provider says that it always names itself.
        callback(&pending.state, None, Some("c0de")),
        callback(&pending.state, Some(ISSUER), None),
        callback(&pending.state, Some(ISSUER), Some("")),
    ] {
        assert!(
            matches!(check(&wrong, NOW), Err(OidcError::Refused(_))),
            "{wrong:?}"
        );
    }

    let error = Callback {
        error: Some("access_denied\n<b>dana did it".to_owned()),
        ..good
    };
    let text = check(&error, NOW).expect_err("an error").to_string();
    assert!(text.ends_with("`access_deniedbdanadidit`"), "{text}");
}

#[test]
fn the_request_binds_code_state_and_nonce_to_this_sign_in() {
    let provider = Provider::new(7);
    let (url, pending) = begin(&provider);
    let (_, other) = begin(&provider);
    assert!(pending.state != other.state && pending.nonce != other.nonce);
    assert!(pending.verifier != other.verifier && pending.verifier.len() == 43);
    let url = Url::parse(&url).expect("a URL");
    let query: std::collections::BTreeMap<_, _> = url.query_pairs().collect();
    let challenge = b64(&Sha256::digest(pending.verifier.as_bytes()));
    for (key, value) in [
        ("response_type", "code"),
        ("client_id", "blueteam"),
        (
            "redirect_uri",
            "https://soc.example.com/api/v1/sign-in/oidc/callback",
        ),
        ("scope", "openid profile"),
        ("state", &pending.state),
        ("nonce", &pending.nonce),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
        ("max_age", "600"),
        ("acr_values", "phr"),
    ] {
        assert_eq!(query.get(key).map(AsRef::as_ref), Some(value), "{key}");
    }
    assert!(!url.as_str().contains(&pending.verifier));
    assert!(!format!("{pending:?}").contains(&pending.verifier));

    let code = SecretString::from("c&de");
    let request = client().token_request(&provider.metadata, &pending, &code);
    let body = request.body.expose_secret();
    assert!(
        body.contains("code=c%26de&")
            && body.contains(&format!("code_verifier={}", pending.verifier))
    );
    let basic = request.authorization.expect("a header");
    let encoded = basic.expose_secret().trim_start_matches("Basic ");
    assert_eq!(
        STANDARD.decode(encoded).expect("base64"),
        b"blueteam:s%25cret%2B%2F"
    );
    assert!(!body.contains("client_secret"));
}

#[test]
fn a_provider_is_taken_only_as_the_one_that_is_configured() {
    let change = |key: &str, value: Value| {
        let mut metadata = metadata_json();
        metadata[key] = value;
        parse(&metadata)
    };
    assert!(change("code_challenge_methods_supported", json!(["plain", "S256"])).is_ok());
    assert!(change("token_endpoint", json!("http://127.0.0.1:9/token")).is_ok());
    for (key, value) in [
        ("issuer", json!("https://login.example.com/realms/soc/")),
        ("issuer", json!("https://evil.example")),
        (
            "authorization_endpoint",
            json!("http://login.example.com/auth"),
        ),
        ("token_endpoint", json!("http://10.0.0.1/token")),
        (
            "token_endpoint",
            json!("http://127.0.0.1.evil.example/token"),
        ),
        ("jwks_uri", json!("file:///etc/passwd")),
        (
            "jwks_uri",
            json!("https://user:pass@login.example.com/keys"),
        ),
        ("jwks_uri", Value::Null),
        ("code_challenge_methods_supported", json!(["plain"])),
    ] {
        let result = change(key, value.clone());
        assert!(
            matches!(result, Err(OidcError::Metadata(_))),
            "{key} {value}: {result:?}"
        );
    }
    for issuer in [
        "http://login.example.com",
        "https://a.example/?x=1",
        "https://a.example/#x",
        "a",
    ] {
        assert!(check_issuer(issuer).is_err(), "{issuer}");
    }
    assert!(check_issuer("http://localhost:8080/realms/x").is_ok());
    assert_eq!(
        metadata_url("https://a.example/"),
        "https://a.example/.well-known/openid-configuration"
    );
}

#[test]
fn keys_that_no_token_may_be_signed_with_are_left_out() {
    let parse = |keys: Value| Keys::parse(json!({ "keys": keys }).to_string().as_bytes());
    let rsa = |bytes: usize| json!({ "kty": "RSA", "e": "AQAB", "n": b64(&vec![0xc5; bytes]) });
    assert!(parse(json!([rsa(256)])).is_ok());
    for keys in [
        json!([]),
        json!([rsa(128)]),
        // A short one that pretends to be long.
        json!([{ "kty": "RSA", "e": "AQAB", "n": b64(&[vec![0; 200], vec![0xc5; 128]].concat()) }]),
        json!([{ "kty": "oct", "k": "c2VjcmV0" }]),
        json!([{ "kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA" }]),
        json!(vec![rsa(256); KEYS_MAX + 1]),
    ] {
        assert!(matches!(parse(keys), Err(OidcError::Keys(_))));
    }
    // A key of a kind that nobody knows yet does not keep the others out.
    assert!(parse(json!([{ "kty": "AKP", "pub": "x" }, rsa(256)])).is_ok());
}

#[test]
fn claims_of_odd_kinds_give_nothing() {
    let provider = Provider::new(7);
    let (_, pending) = begin(&provider);
    let read = |change: Value| {
        let mut claims = good_claims(&pending);
        for (key, value) in change.as_object().expect("an object") {
            claims[key] = value.clone();
        }
        check(&provider, &pending, &provider.sign(&es256(), &claims)).expect("it is right")
    };
    assert_eq!(read(json!({ "groups": "soc" })).groups, ["soc"]);
    assert!(read(json!({ "groups": { "soc": true } })).groups.is_empty());
    assert_eq!(
        read(json!({ "groups": [1, null, ["soc"], "x", "x"] })).groups,
        ["x"]
    );
    let weak = read(json!({ "acr": "phr ", "amr": ["pwd", "MFA"] }));
    assert!(!weak.used_mfa);
    assert!(read(json!({ "acr": "0", "amr": ["pwd", "mfa"] })).used_mfa);
    assert_eq!(read(json!({ "email_verified": false })).email, None);
    assert!(!read(json!({ "auth_time": NOW.as_secs() - 3600 })).is_fresh);
    assert!(!read(json!({ "auth_time": NOW.as_secs() + 3600 })).is_fresh);
}
