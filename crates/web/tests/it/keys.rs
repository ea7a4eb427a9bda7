//! Who is let in.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::http::{Running, call, event, mint};

/// What a key's service is, nobody but the key says; and a key without one speaks for no service
/// that has a key.
#[tokio::test]
async fn a_key_says_whose_events_they_are() {
    let mut run = Running::new(|s| s.key_cache = Duration::ZERO).await;
    let relay = run.key.clone();
    let eqmon = mint(&run.pool, 2, "{events:write}", "NULL").await;
    let name = |service: &'static str| {
        format!("UPDATE users.api_keys SET service = '{service}' WHERE key_name = 'k2'")
    };

    for bad in ["", "-x", "a b", "a\n"] {
        let done = sqlx::raw_sql(sqlx::AssertSqlSafe(name(bad)))
            .execute(&run.pool)
            .await;
        assert!(done.is_err(), "{bad:?} is no name");
    }

    sqlx::raw_sql(sqlx::AssertSqlSafe(name("eqmon")))
        .execute(&run.pool)
        .await
        .unwrap();
    let said = |n: u64, service: &str| {
        event(n).replace('}', &format!(r#","metadata":{{"service":"{service}"}}}}"#))
    };
    let refused = |answer: crate::http::Answer| {
        assert_eq!(answer.status, 422, "{answer:?}");
        assert_eq!(answer.json()["rejected"][0]["field"], "metadata.service");
    };

    refused(run.post(said(1, "eqmon")).await);
    assert_eq!(run.post(said(2, "artemis")).await.status, 200);
    run.key = eqmon;
    refused(run.post(said(3, "artemis")).await);
    assert_eq!(run.post(said(4, "eqmon")).await.status, 200);
    assert_eq!(run.post(event(5)).await.status, 200);

    // Once its key is revoked, the service may be spoken for again.
    sqlx::query("UPDATE users.api_keys SET is_active = false WHERE key_name = 'k2'")
        .execute(&run.pool)
        .await
        .unwrap();
    run.key = relay;
    assert_eq!(run.post(said(6, "eqmon")).await.status, 200);

    let sql = "SELECT right(event_id::text, 1) || (metadata->>'service') FROM audit_events ORDER \
        BY event_id";
    let rows: Vec<String> = sqlx::query_scalar(sql).fetch_all(&run.pool).await.unwrap();
    assert_eq!(rows, ["2artemis", "4eqmon", "5eqmon", "6eqmon"]);
}

#[tokio::test]
async fn only_a_key_in_force_with_the_scope_is_let_in() {
    let mut run = Running::new(|s| s.key_cache = Duration::from_millis(200)).await;
    let none = call(run.to, "POST /v1/events", "", event(1).as_bytes()).await;
    assert_eq!(none.status, 401);
    assert!(none.head.contains("www-authenticate: bearer"), "{none:?}");
    let good = run.key.clone();
    let unknown = app::auth::mint([9; 32]).secret;
    let reader = mint(&run.pool, 2, "{events:read}", "NULL").await;

    let over = mint(
        &run.pool,
        3,
        "{events:write}",
        "now() - interval '1 second'",
    )
    .await;

    let soon = mint(
        &run.pool,
        4,
        "{events:write}",
        "now() + interval '700 milliseconds'",
    )
    .await;
    let mut bodies = Vec::new();

    for (key, status) in [
        (unknown, 401),
        (over, 401),
        ("bt_x".to_owned(), 401),
        (reader, 403),
        (soon.clone(), 200),
    ] {
        run.key = key;
        let answer = run.post(event(1)).await;
        assert_eq!(answer.status, status);
        bodies.extend((status == 401).then_some(answer.text));
    }

    bodies.dedup();
    assert_eq!(bodies.len(), 1, "the answer must not tell why");
    run.key = good;
    assert_eq!(run.post(event(2)).await.status, 200);
    sqlx::query("UPDATE users.api_keys SET is_active = false WHERE key_name = 'k1'")
        .execute(&run.pool)
        .await
        .unwrap();

    tokio::time::sleep(Duration::from_millis(250)).await;
    assert_eq!(run.post(event(3)).await.status, 401);
    tokio::time::sleep(Duration::from_millis(600)).await;
    run.key = soon;
    assert_eq!(run.post(event(3)).await.status, 401);
}

#[tokio::test]
async fn no_plaintext_off_this_machine_but_tls() {
    let db = testkit::TestDb::new().await;
    let pool = db.pool(4);
    let dir = tempfile::tempdir().unwrap();
    let mut settings = web::Settings::new(dir.path().join("spool"));
    settings.listen = "0.0.0.0:0".parse().unwrap();

    let pools = web::Pools {
        events: pool.clone(),
        keys: pool,
    };

    let start = |s| {
        web::serve(
            s,
            pools.clone(),
            Arc::new(model::SystemClock),
            std::future::pending(),
        )
    };

    assert!(matches!(
        start(settings.clone()).await,
        Err(web::ServeError::Plaintext(_))
    ));
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (cert, key) = (dir.path().join("c.pem"), dir.path().join("k.pem"));
    std::fs::write(&cert, own.cert.pem()).unwrap();
    std::fs::write(&key, own.signing_key.serialize_pem()).unwrap();

    let pair = app::tls::Pair::read(&app::tls::TlsFiles { cert, key }).unwrap();
    settings.tls = Some(app::tls::ServerCertificate::new(pair));
    let console = start(settings).await.unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(own.cert.der().clone()).unwrap();

    let config = rustls::ClientConfig::builder_with_provider(Arc::new(
        rustls::crypto::ring::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .unwrap()
    .with_root_certificates(roots)
    .with_no_client_auth();
    let to = std::net::SocketAddr::from(([127, 0, 0, 1], console.address().port()));
    let stream = tokio::net::TcpStream::connect(to).await.unwrap();

    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let mut stream = tokio_rustls::TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .unwrap();
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();

    let mut text = String::new();
    let _ = stream.read_to_string(&mut text).await;
    assert!(
        text.starts_with("HTTP/1.1 200") && text.ends_with("ok\n"),
        "{text}"
    );
}

#[tokio::test]
async fn refused_keys_are_recorded_and_limited() {
    let mut run = Running::new(|s| s.refused_keys_max = 3).await;
    let good = run.key.clone();
    assert_eq!(run.post(event(1)).await.status, 200);

    for (n, status) in [(10, 401), (11, 401), (12, 401), (13, 429), (14, 429)] {
        run.key = app::auth::mint([n; 32]).secret;
        let answer = run.post(event(2)).await;
        assert_eq!(answer.status, status, "{n}: {answer:?}");
    }

    // Whoever is known is let in all the same.
    run.key = good;
    assert_eq!(run.post(event(3)).await.status, 200);

    run.stop().await;
    let sql = "SELECT metadata FROM audit_events WHERE action = 'api_key_refused'";
    let told: Vec<serde_json::Value> = sqlx::query_scalar(sql).fetch_all(&run.pool).await.unwrap();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(
        (&told[0]["network"], &told[0]["refused"], &told[0]["unseen"]),
        (&"127.0.0.0/24".into(), &5.into(), &2.into())
    );
}
