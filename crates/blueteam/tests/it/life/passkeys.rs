//! Passkeys at the door: an authenticator in software registers one, signs in and unlocks with it;
//! and what an attacker would answer instead.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use sqlx::{Executor as _, PgConnection, Row as _};

use super::daemon::Daemon;
use super::people::{PASSWORD, code, json_of, run, secret};

/// User present and verified, and what a registration adds.
const VERIFIED: u8 = 0x05;
const ATTESTED: u8 = 0x40;

/// A browser that keeps its cookies, at an address of its own.
struct Browser {
    client: reqwest::Client,
    port: u16,
    cookies: BTreeMap<String, String>,
}

struct Answer {
    status: u16,
    body: Value,
}

impl Answer {
    fn kind(&self) -> &str {
        let kind = self.body["type"].as_str().unwrap_or_default();
        kind.rsplit(':').next().unwrap_or_default()
    }
}

impl Browser {
    /// `place`: the last number of its address, so that no browser uses up another's attempts.
    fn at(daemon: &Daemon, place: u8) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .no_proxy()
            .local_address(IpAddr::from(Ipv4Addr::new(127, 0, 0, place)))
            .timeout(super::daemon::PATIENCE);
        Self {
            client: client.build().unwrap(),
            port: daemon.port,
            cookies: BTreeMap::new(),
        }
    }

    async fn ask(&mut self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        let cookies: Vec<String> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let mut request = self.client.request(method, url);
        if !cookies.is_empty() {
            request = request.header("cookie", cookies.join("; "));
        }
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body.to_string());
        }
        let answer = request.send().await.unwrap();
        for set in answer.headers().get_all("set-cookie") {
            let set = set.to_str().unwrap();
            assert!(set.contains("; Secure; HttpOnly; SameSite="), "{set}");
            let (name, value) = set.split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Answer { status, body }
    }

    async fn get(&mut self, path: &str) -> Answer {
        self.ask(Method::GET, path, None).await
    }

    async fn post(&mut self, path: &str, body: &Value) -> Answer {
        self.ask(Method::POST, path, Some(body)).await
    }

    async fn is_in(&mut self) -> bool {
        self.get("/api/v1/me").await.status == 200
    }

    /// Begins a ceremony; returns its challenge and the whole of its options.
    async fn begin(&mut self, path: &str) -> (String, Value) {
        let begun = self.post(&format!("{path}/options"), &json!({})).await;
        assert_eq!(begun.status, 200, "{path}: {}", begun.body);
        let options = begun.body["publicKey"].clone();
        let challenge = options["challenge"].as_str().unwrap().to_owned();
        (challenge, options)
    }

    async fn sign_in(&mut self, passkey: &mut Authenticator) -> Answer {
        let (challenge, _) = self.begin("/api/v1/sign-in/passkey").await;
        let credential = passkey.sign(&Signing::of(self.port, &challenge));
        self.post("/api/v1/sign-in/passkey", &credential).await
    }

    async fn register(&mut self, passkey: &mut Authenticator, name: &str) -> Answer {
        let (challenge, options) = self.begin("/api/v1/me/passkeys").await;
        options["user"]["id"]
            .as_str()
            .unwrap()
            .clone_into(&mut passkey.handle);
        let signing = Signing::of(self.port, &challenge);
        let key = passkey.public_key();
        let body = passkey.attest(&signing, name, &key);
        self.post("/api/v1/me/passkeys", &body).await
    }

    /// A person, set up and signed in, with their recovery codes.
    async fn enroll(daemon: &Daemon, place: u8, password: &str, link: &str) -> (Self, Vec<String>) {
        let mut browser = Self::at(daemon, place);
        let begun = browser
            .post("/api/v1/enrollment", &json!({ "enrollment_code": link }))
            .await;
        assert_eq!(begun.status, 200, "{}", begun.body);
        let totp = secret(begun.body["totp_secret"].as_str().unwrap());
        let body = json!({
            "enrollment_code": link, "password": password, "code": code(&totp, None).0,
        });
        let done = browser.post("/api/v1/enrollment/complete", &body).await;
        assert_eq!(done.status, 200, "{}", done.body);
        let codes = serde_json::from_value(done.body["recovery_codes"].clone()).unwrap();
        (browser, codes)
    }

    async fn of_new(daemon: &Daemon, place: u8, name: &str) -> (Self, Vec<String>) {
        let email = format!("{name}@example.com");
        let args = ["users", "create", name, "--email", &email, "--json"];
        let made = json_of(daemon, &args);
        Self::enroll(daemon, place, PASSWORD, made["code"].as_str().unwrap()).await
    }
}

/// What is signed, and what an attacker changes of it.
#[derive(Clone)]
struct Signing {
    challenge: String,
    origin: String,
    host: &'static str,
    flags: u8,
    /// How far the counter goes on.
    steps: i64,
}

impl Signing {
    fn of(port: u16, challenge: &str) -> Self {
        Self {
            challenge: challenge.to_owned(),
            origin: format!("http://localhost:{port}"),
            host: "localhost",
            flags: VERIFIED,
            steps: 1,
        }
    }

    fn client_data(&self, kind: &str) -> Vec<u8> {
        let (challenge, origin) = (&self.challenge, &self.origin);
        format!(
            r#"{{"type":"webauthn.{kind}","challenge":"{challenge}","origin":"{origin}","crossOrigin":false}}"#
        )
        .into_bytes()
    }

    fn authenticator_data(&self, more_flags: u8, counter: u32) -> Vec<u8> {
        let mut data = Sha256::digest(self.host).to_vec();
        data.push(self.flags | more_flags);
        data.extend(counter.to_be_bytes());
        data
    }
}

/// A passkey in software.
#[derive(Clone)]
struct Authenticator {
    key: SigningKey,
    id: Vec<u8>,
    handle: String,
    counter: u32,
}

impl Authenticator {
    fn new(name: &str) -> Self {
        Self {
            key: SigningKey::from_slice(&Sha256::digest(name)).unwrap(),
            id: Sha256::digest(format!("id of {name}")).to_vec(),
            handle: String::new(),
            counter: 7,
        }
    }

    /// ES256 as COSE has it (RFC 9053).
    fn public_key(&self) -> Vec<u8> {
        let point = self.key.verifying_key().to_encoded_point(false);
        let mut key = vec![0xa5, 1, 2, 3, 0x26, 0x20, 1, 0x21, 0x58, 32];
        key.extend(point.x().unwrap());
        key.extend([0x22, 0x58, 32]);
        key.extend(point.y().unwrap());
        key
    }

    fn attest(&self, signing: &Signing, name: &str, cose_key: &[u8]) -> Value {
        let mut data = signing.authenticator_data(ATTESTED, self.counter);
        data.extend([0; 16]);
        data.extend((self.id.len() as u16).to_be_bytes());
        data.extend(&self.id);
        data.extend(cose_key);
        let mut object = b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData".to_vec();
        // The shortest form, as CTAP2 asks for.
        if let Ok(length) = u8::try_from(data.len()) {
            object.extend([0x58, length]);
        } else {
            object.push(0x59);
            object.extend((data.len() as u16).to_be_bytes());
        }
        object.extend(&data);

        let id = BASE64.encode(&self.id);
        json!({ "name": name, "credential": {
            "id": id, "rawId": id, "type": "public-key", "clientExtensionResults": {},
            "response": {
                "clientDataJSON": BASE64.encode(signing.client_data("create")),
                "attestationObject": BASE64.encode(object),
                "transports": ["internal"],
            },
        }})
    }

    fn sign(&mut self, signing: &Signing) -> Value {
        self.counter = u32::try_from(i64::from(self.counter) + signing.steps).unwrap();
        let client_data = signing.client_data("get");
        let data = signing.authenticator_data(0, self.counter);
        let mut message = data.clone();
        message.extend(Sha256::digest(&client_data));
        let signature: Signature = self.key.sign(&message);
        let id = BASE64.encode(&self.id);
        json!({ "credential": {
            "id": id, "rawId": id, "type": "public-key", "clientExtensionResults": {},
            "response": {
                "clientDataJSON": BASE64.encode(client_data),
                "authenticatorData": BASE64.encode(data),
                "signature": BASE64.encode(signature.to_der().as_bytes()),
                "userHandle": self.handle,
            },
        }})
    }
}

async fn factors_of(browser: &mut Browser) -> Vec<(String, String)> {
    let listed = browser.get("/api/v1/me/factors").await;
    assert_eq!(listed.status, 200, "{}", listed.body);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let all = listed.body.as_array().unwrap().iter();
    all.map(|factor| (text(&factor["kind"]), text(&factor["name"])))
        .collect()
}

type Forge = fn(&mut Signing);

/// The audit events of sign-ins by passkeys: what became of them, and whose they are.
async fn recorded(conn: &mut PgConnection) -> Vec<(String, String, Option<String>)> {
    let rows = sqlx::query(
        "SELECT action, result::text, metadata ->> 'username' AS username
         FROM audit_events WHERE metadata ->> 'method' = 'passkey' ORDER BY seq",
    )
    .fetch_all(conn)
    .await
    .unwrap();
    rows.iter()
        .map(|row| (row.get(0), row.get(1), row.get(2)))
        .collect()
}

#[expect(
    clippy::too_many_lines,
    reason = "one passkey's life, of which each step needs the one before"
)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_passkey_is_registered_signs_in_unlocks_and_is_removed() {
    let daemon = Daemon::new("").await;
    let mut conn = daemon.connect().await;
    let (mut dana, codes) = Browser::of_new(&daemon, 1, "dana").await;
    let mut elsewhere = Browser::at(&daemon, 2);
    let both = json!({"username": "dana", "password": PASSWORD, "code": codes[0]});
    assert_eq!(elsewhere.post("/api/v1/sign-in", &both).await.status, 200);

    // Only after a proof of both factors, and then what began elsewhere ends.
    conn.execute("UPDATE users.sessions SET stepped_up_at = now() - interval '11 minutes'")
        .await
        .unwrap();
    let path = "/api/v1/me/passkeys/options";
    let stale = dana.post(path, &json!({})).await;
    assert_eq!((stale.status, stale.kind()), (403, "proof-needed"));
    let proof = json!({"password": PASSWORD, "code": codes[1]});
    assert_eq!(dana.post("/api/v1/unlock", &proof).await.status, 204);
    let (_, options) = dana.begin("/api/v1/me/passkeys").await;
    assert_eq!(options["rp"]["id"], "localhost");
    assert_eq!(options["user"]["name"], "dana");
    let mut passkey = Authenticator::new("dana's");
    let made = dana.register(&mut passkey, " Laptop ").await;
    assert_eq!((made.status, &made.body["name"]), (200, &json!("Laptop")));
    assert!(!elsewhere.is_in().await && dana.is_in().await);
    let (_, options) = dana.begin("/api/v1/me/passkeys").await;
    assert_eq!(
        options["excludeCredentials"][0]["id"],
        BASE64.encode(&passkey.id)
    );
    assert_eq!(options["user"]["id"], passkey.handle.as_str());
    let again = dana.register(&mut passkey, "The same").await;
    assert_eq!((again.status, again.kind()), (409, "conflict"));

    // It is both factors at once, also for what is dangerous.
    let signed = elsewhere.sign_in(&mut passkey).await;
    assert_eq!(signed.status, 200, "{}", signed.body);
    assert_eq!(signed.body["person"]["username"], "dana");
    assert_eq!(signed.body["person"]["stepped_up"], true);
    let sessions = json_of(&daemon, &["sessions", "list", "dana", "--json"]);
    assert_eq!(sessions[0]["factors"], json!(["passkey"]), "{sessions}");
    let shown = json_of(&daemon, &["users", "show", "dana", "--json"]);
    assert_eq!(shown["factors"], json!(["passkey", "totp"]));

    // A session that was locked is another one afterwards.
    assert_eq!(elsewhere.post("/api/v1/lock", &json!({})).await.status, 204);
    let old = elsewhere.cookies.clone();
    let (challenge, _) = elsewhere.begin("/api/v1/unlock/passkey").await;
    let answer = passkey.sign(&Signing::of(daemon.port, &challenge));
    let unlocked = elsewhere.post("/api/v1/unlock/passkey", &answer).await;
    assert_eq!(unlocked.status, 204, "{}", unlocked.body);
    assert!(elsewhere.is_in().await);
    let mut thief = Browser::at(&daemon, 3);
    thief.cookies = old;
    assert_eq!(thief.get("/api/v1/me").await.kind(), "sign-in");

    // It is no way around a password that must be chosen, or a lock.
    let must = "UPDATE users.users SET must_change_password = true";
    conn.execute(must).await.unwrap();
    let refused = thief.sign_in(&mut passkey).await;
    assert_eq!(refused.kind(), "password-change-needed");
    conn.execute(
        "UPDATE users.users
         SET must_change_password = false, account_locked_until = now() + interval '1 hour'",
    )
    .await
    .unwrap();
    assert_eq!(thief.sign_in(&mut passkey).await.kind(), "passkey-refused");
    conn.execute("UPDATE users.users SET account_locked_until = NULL")
        .await
        .unwrap();

    // Named, and removed by its person alone, but not as the last.
    let id = made.body["factor_id"].as_str().unwrap();
    let path = format!("/api/v1/me/passkeys/{id}");
    let name = json!({"name": "Desk"});
    let renamed = elsewhere.ask(Method::PATCH, &path, Some(&name)).await;
    assert_eq!(renamed.status, 204, "{}", renamed.body);
    let factors = factors_of(&mut elsewhere).await;
    assert_eq!(factors[1], ("passkey".to_owned(), "Desk".to_owned()));
    let (mut eve, _) = Browser::of_new(&daemon, 4, "eve").await;
    let remove = format!("{path}/remove");
    assert_eq!(eve.ask(Method::PATCH, &path, Some(&name)).await.status, 404);
    assert_eq!(eve.post(&remove, &json!({})).await.status, 404);
    let totp = "UPDATE users.mfa_factors f SET removed_at = now() FROM users.users u
                WHERE u.user_id = f.user_id AND u.username = 'dana' AND kind = 'totp'";
    let mut undone = sqlx::Connection::begin(&mut conn).await.unwrap();
    undone.execute(totp).await.unwrap();
    undone.commit().await.unwrap();
    let last = elsewhere.post(&remove, &json!({})).await;
    assert_eq!(
        (last.status, last.kind()),
        (409, "conflict"),
        "{}",
        last.body
    );
    let mut second = Authenticator::new("dana's second");
    assert_eq!(elsewhere.register(&mut second, "Key").await.status, 200);
    assert_eq!(elsewhere.post(&remove, &json!({})).await.status, 204);
    assert_eq!(thief.sign_in(&mut passkey).await.kind(), "passkey-refused");
    assert_eq!(thief.sign_in(&mut second).await.status, 200);

    // A recovery takes them all away.
    let link = json_of(&daemon, &["users", "recover", "dana", "--json"]);
    let link = link["code"].as_str().unwrap();
    let (mut recovered, _) = Browser::enroll(&daemon, 5, "eleven green kettles agree", link).await;
    assert_eq!(factors_of(&mut recovered).await.len(), 1);
    assert_eq!(
        recovered.sign_in(&mut second).await.kind(),
        "passkey-refused"
    );
    assert_eq!(run(&daemon, &["users", "show", "dana"]).0, 0);

    let events = recorded(&mut conn).await;
    let done = (
        "login".to_owned(),
        "success".to_owned(),
        Some("dana".to_owned()),
    );
    assert_eq!(events.iter().filter(|event| **event == done).count(), 2);
    // Who was kept out by a lock had proven who they are; who has a removed passkey, nothing.
    let locked = (
        "login_failed".to_owned(),
        "failure".to_owned(),
        Some("dana".to_owned()),
    );
    assert_eq!(events.iter().filter(|event| **event == locked).count(), 1);
    let logins: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM audit.audit_log
         WHERE action = 'LOGIN' AND new_value -> 'factors' = '[\"passkey\"]'",
    )
    .fetch_one(&mut conn)
    .await
    .unwrap();
    assert_eq!(logins, 3);
}

#[expect(
    clippy::too_many_lines,
    reason = "one program, whose start takes longer than all of it"
)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_answers_of_passkeys_let_nobody_in() {
    let daemon = Daemon::new("").await;
    let mut conn = daemon.connect().await;
    let (mut dana, _) = Browser::of_new(&daemon, 1, "dana").await;
    let (mut eve, _) = Browser::of_new(&daemon, 2, "eve").await;
    let (mut hers, mut eves) = (Authenticator::new("dana's"), Authenticator::new("eve's"));
    assert_eq!(dana.register(&mut hers, "Laptop").await.status, 200);
    assert_eq!(eve.register(&mut eves, "Laptop").await.status, 200);

    // What a page elsewhere, or a careless authenticator, would sign.
    let forgeries: [(&str, Forge); 6] = [
        ("of another site", |s| {
            s.origin = "https://localhost.evil.example".to_owned();
        }),
        ("of another port", |s| {
            s.origin = "http://localhost:1".to_owned();
        }),
        ("for another host", |s| {
            s.host = "evil.example";
        }),
        ("without its person", |s| {
            s.flags = 0x01;
        }),
        ("without a touch", |s| {
            s.flags = 0x04;
        }),
        ("of another challenge", |s| {
            s.challenge = BASE64.encode([7; 16]);
        }),
    ];
    for (at, (what, forge)) in forgeries.into_iter().enumerate() {
        let mut browser = Browser::at(&daemon, 10 + at as u8);
        let (challenge, _) = browser.begin("/api/v1/sign-in/passkey").await;
        let mut signing = Signing::of(daemon.port, &challenge);
        forge(&mut signing);
        let answer = hers.clone().sign(&signing);
        let refused = browser.post("/api/v1/sign-in/passkey", &answer).await;
        assert_eq!(
            (refused.status, refused.kind()),
            (401, "passkey-refused"),
            "{what}"
        );
        assert!(!browser.is_in().await, "{what}");
    }

    // An answer counts once, and in the browser that asked.
    let (mut one, mut two) = (Browser::at(&daemon, 20), Browser::at(&daemon, 21));
    let (challenge, _) = one.begin("/api/v1/sign-in/passkey").await;
    let answer = hers.sign(&Signing::of(daemon.port, &challenge));
    two.begin("/api/v1/sign-in/passkey").await;
    assert_eq!(
        two.post("/api/v1/sign-in/passkey", &answer).await.status,
        401
    );
    let ceremony = one.cookies.clone();
    assert_eq!(
        one.post("/api/v1/sign-in/passkey", &answer).await.status,
        200
    );
    two.cookies = ceremony;
    let replayed = two.post("/api/v1/sign-in/passkey", &answer).await;
    assert_eq!(replayed.kind(), "passkey-refused");
    let bare = Browser::at(&daemon, 22)
        .post("/api/v1/sign-in/passkey", &answer)
        .await;
    assert_eq!(bare.kind(), "passkey-refused");
    // Nor does one without a counter, which every use leaves as it was.
    let zero = "UPDATE users.mfa_factors
                SET passkey_state = set_byte(passkey_state, 2, 0), sign_count = 0
                WHERE credential_id = $1";
    sqlx::query(zero)
        .bind(&hers.id)
        .execute(&mut conn)
        .await
        .unwrap();
    hers.counter = 0;
    let (challenge, _) = one.begin("/api/v1/sign-in/passkey").await;
    let still = Signing {
        steps: 0,
        ..Signing::of(daemon.port, &challenge)
    };
    let answer = hers.sign(&still);
    let ceremony = one.cookies.clone();
    assert_eq!(
        one.post("/api/v1/sign-in/passkey", &answer).await.status,
        200
    );
    one.cookies = ceremony;
    let replayed = one.post("/api/v1/sign-in/passkey", &answer).await;
    assert_eq!(replayed.kind(), "passkey-refused");
    hers.counter = 40;
    assert_eq!(one.sign_in(&mut hers).await.status, 200);

    // Another person's credential, by her own key, and with either handle.
    for (at, handle) in [&hers.handle, &eves.handle].into_iter().enumerate() {
        let mut browser = Browser::at(&daemon, 30 + at as u8);
        let mut forged = eves.clone();
        forged.id.clone_from(&hers.id);
        forged.handle.clone_from(handle);
        forged.counter = 100;
        assert_eq!(browser.sign_in(&mut forged).await.kind(), "passkey-refused");
    }
    let mut hers_by_name = eves.clone();
    hers_by_name.handle.clone_from(&hers.handle);
    assert_eq!(
        eve.sign_in(&mut hers_by_name).await.kind(),
        "passkey-refused"
    );

    // A session is unlocked by its person, with a challenge of its own.
    let path = "/api/v1/unlock/passkey";
    let (challenge, _) = dana.begin(path).await;
    let answer = eves.sign(&Signing::of(daemon.port, &challenge));
    assert_eq!(dana.post(path, &answer).await.kind(), "passkey-refused");
    let (challenge, _) = dana.begin(path).await;
    let answer = hers.sign(&Signing::of(daemon.port, &challenge));
    let ceremony = dana.cookies["__Host-blueteam-passkey"].clone();
    let name = "__Host-blueteam-passkey".to_owned();
    let mut other = Browser::at(&daemon, 35);
    assert_eq!(other.sign_in(&mut hers.clone()).await.status, 200);
    other.cookies.insert(name.clone(), ceremony.clone());
    assert_eq!(other.post(path, &answer).await.kind(), "passkey-refused");
    let as_sign_in = other.post("/api/v1/sign-in/passkey", &answer).await;
    assert_eq!(as_sign_in.kind(), "passkey-refused");

    // A registration in another session, without its person, and of an algorithm that is not taken.
    let (challenge, options) = dana.begin("/api/v1/me/passkeys").await;
    let mut planted = Authenticator::new("planted");
    options["user"]["id"]
        .as_str()
        .unwrap()
        .clone_into(&mut planted.handle);
    let signing = Signing::of(daemon.port, &challenge);
    let good = planted.attest(&signing, "Planted", &planted.public_key());
    eve.cookies
        .insert(name.clone(), dana.cookies[&name].clone());
    let moved = eve.post("/api/v1/me/passkeys", &good).await;
    assert_eq!(moved.kind(), "passkey-refused");
    let unverified = Signing {
        flags: 0x01,
        ..signing.clone()
    };
    let unverified = planted.attest(&unverified, "Planted", &planted.public_key());
    let mut rs256 = b"\xa4\x01\x03\x03\x39\x01\x00\x20\x59\x01\x00".to_vec();
    rs256.extend([0xc5; 256]);
    rs256.extend(b"\x21\x43\x01\x00\x01");
    let rs256 = planted.attest(&signing, "Planted", &rs256);
    for (what, body) in [("unverified", unverified), ("RS256", rs256)] {
        let refused = dana.post("/api/v1/me/passkeys", &body).await;
        assert_eq!(
            (refused.status, refused.kind()),
            (401, "passkey-refused"),
            "{what}"
        );
    }
    let nobody = Browser::at(&daemon, 36)
        .post("/api/v1/me/passkeys", &good)
        .await;
    assert_eq!(nobody.kind(), "sign-in");
    assert_eq!(factors_of(&mut dana).await.len(), 2);
    assert_eq!(factors_of(&mut eve).await.len(), 2);

    // A copy that was used elsewhere: it is refused, and its person is named, because it has signed.
    hers.counter = 80;
    let mut copy = hers.clone();
    let mut browser = Browser::at(&daemon, 40);
    assert_eq!(browser.sign_in(&mut hers).await.status, 200);
    copy.counter -= 1;
    assert_eq!(browser.sign_in(&mut copy).await.kind(), "passkey-refused");
    let events = recorded(&mut conn).await;
    let copied: Vec<_> = events.iter().filter(|event| event.1 == "denied").collect();
    let of_dana = (
        "login_failed".to_owned(),
        "denied".to_owned(),
        Some("dana".to_owned()),
    );
    assert_eq!(copied, [&of_dana]);
    // Nobody is accused by what another one has made up, or has sent twice. Eve did sign.
    let named = |name: &str| {
        let failed = events.iter().filter(|event| event.1 == "failure");
        failed
            .filter(|event| event.2.as_deref() == Some(name))
            .count()
    };
    assert_eq!((named("dana"), named("eve")), (0, 1), "{events:?}");

    // Ten wrong answers a minute from an address, and then none is looked at.
    let mut flood = Browser::at(&daemon, 50);
    for n in 0..12 {
        let refused = flood.post("/api/v1/sign-in/passkey", &answer).await;
        let expected = if n < 10 { 401 } else { 429 };
        assert_eq!(refused.status, expected, "{n}");
    }
}
