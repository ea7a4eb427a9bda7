//! What OWASP ASVS 5.0 asks of HTTP itself (`docs/security/asvs.md`).

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::http::{Running, call, event, read_answer};

#[tokio::test]
async fn each_answer_says_what_it_is_and_nothing_else_is_served() {
    let run = Running::new(|_| {}).await;
    let text = "content-type: text/plain; charset=utf-8";
    // JSON is UTF-8 by definition and has no such parameter (RFC 8259, 11).
    let problem = "content-type: application/problem+json\r\n";
    for (line, status, kind) in [
        ("GET /healthz", 200, text),
        ("POST /v1/events", 401, problem),
        ("POST /v1/logs", 415, problem),
        // Also of the methods and places that scanners try (ASVS 13.4.1 to 13.4.5).
        ("TRACE /healthz", 405, problem),
        ("GET /v1/events", 405, problem),
        ("GET /", 404, problem),
        ("GET /v1", 404, problem),
        ("GET /v1/", 404, problem),
        ("GET /.git/config", 404, problem),
        ("GET /.svn/entries", 404, problem),
        ("GET /docs/", 404, problem),
        ("GET /debug/pprof/", 404, problem),
        ("GET /healthz/../v1/events", 404, problem),
        ("GET /metrics", 404, problem),
    ] {
        let answer = call(run.to, line, "X-Secret: tangerine\r\n", b"").await;
        let head = format!("{}\r\n", answer.head);
        assert_eq!(answer.status, status, "{line}: {head}");
        assert!(head.contains(kind), "{line}: {head}");
        assert!(!answer.text.contains("tangerine"), "{line}");
        // Where TLS is wanted nobody is led there from plaintext (ASVS 4.1.2).
        assert!(!head.contains("location:"), "{line}: {head}");
        assert!(!head.contains("server:"), "{line}: {head}");
        // A browser runs nothing of it, shows it in no frame, guesses nothing, and no other origin reads
        // it (ASVS 3.2.1, 3.4).
        for part in [
            "content-security-policy: default-src 'none'; frame-ancestors 'none'; base-uri 'none'",
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
            "strict-transport-security: max-age=31536000; includesubdomains",
        ] {
            assert!(head.to_lowercase().contains(part), "{line}: {head}");
        }
        assert!(!head.contains("access-control-"), "{line}: {head}");
    }
}

/// A request of which two readers may see different ends is one that smuggles another (ASVS 4.2.1).
#[tokio::test]
async fn no_request_hides_in_another() {
    let run = Running::new(|_| {}).await;
    let hidden = "POST /v1/events HTTP/1.1\r\nHost: x\r\n";
    let body = event(1);
    let length = body.len();
    let chunked = format!("{length:x}\r\n{body}\r\n0\r\n\r\n");
    for (framing, sent) in [
        // The chunks count, and the length does not, or both are refused.
        (
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n".to_owned(),
            chunked.as_str(),
        ),
        (
            format!("Content-Length: {length}\r\nContent-Length: 5\r\n"),
            &body,
        ),
        (
            "Transfer-Encoding: chunked, identity\r\n".to_owned(),
            &chunked,
        ),
        ("Content-Length: +5\r\n".to_owned(), &body),
        (format!("Content-Length : {length}\r\n"), &body),
    ] {
        let mut stream = TcpStream::connect(run.to).await.unwrap();
        let head = format!(
            "{hidden}Authorization: Bearer {}\r\n{framing}\r\n{sent}",
            run.key
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let answer = read_answer(&mut stream).await;
        let is_whole = answer.status == 200 && answer.counts().0 + answer.counts().1 == 1;
        assert!(is_whole || answer.status == 400, "{framing}: {answer:?}");

        // What follows on the connection is no request of somebody else's making.
        let _ = stream
            .write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .await;
        let next = read_answer(&mut stream).await;
        assert!([0, 200].contains(&next.status), "{framing}: {next:?}");
    }
    assert!(run.rows().await <= 1);
}

/// What the server would speak, and what it answers to a client that only knows TLS 1.1.
#[tokio::test]
async fn tls_is_recent_and_its_suites_have_forward_secrecy() {
    let versions = rustls::ALL_VERSIONS.iter().map(|known| known.version);
    let recent = [
        rustls::ProtocolVersion::TLSv1_2,
        rustls::ProtocolVersion::TLSv1_3,
    ];
    assert!(
        versions
            .into_iter()
            .all(|version| recent.contains(&version))
    );
    let suites = rustls::crypto::ring::default_provider().cipher_suites;
    let names: Vec<String> = suites
        .iter()
        .map(|suite| format!("{:?}", suite.suite()))
        .collect();
    assert_eq!(names[0], "TLS13_AES_256_GCM_SHA384", "the strongest first");
    for name in names {
        let is_forward_secret = name.starts_with("TLS13_") || name.starts_with("TLS_ECDHE_");
        let is_authenticated = name.contains("_GCM_") || name.contains("_CHACHA20_POLY1305");
        assert!(is_forward_secret && is_authenticated, "{name}");
    }

    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = (dir.path().join("c.pem"), dir.path().join("k.pem"));
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(&cert, own.cert.pem()).unwrap();
    std::fs::write(&key, own.signing_key.serialize_pem()).unwrap();
    let pair = app::tls::Pair::read(&app::tls::TlsFiles { cert, key }).unwrap();
    let acceptor = app::tls::ServerCertificate::new(pair)
        .acceptor(&[b"http/1.1"])
        .unwrap();

    // A hello of TLS 1.1 with suites of its time: ECDHE and RSA with AES-128-CBC.
    let mut hello = vec![3, 2];
    hello.extend([7; 32]);
    hello.extend([0, 0, 4, 0xc0, 0x13, 0, 0x2f, 1, 0]);
    let length = u8::try_from(hello.len()).unwrap();
    let mut record = vec![22, 3, 1, 0, 4 + length, 1, 0, 0, length];
    record.append(&mut hello);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    client.write_all(&record).await.unwrap();
    assert!(acceptor.accept(stream).await.is_err());
    let mut answer = Vec::new();
    let _ = client.read_to_end(&mut answer).await;
    assert_eq!(answer.first(), Some(&21), "an alert: {answer:?}");
}
