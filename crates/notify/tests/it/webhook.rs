use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit as _, Mac as _};
use notify::channels::webhook::{Settings, outlet};
use notify::channels::{Outlet, pagerduty, slack, teams};
use notify::http_post::Target;
use notify::{Receipt, Retry, SendError, SetupError};
use secrecy::SecretString;
use sha2::Sha256;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::{IMPATIENCE, PATIENCE, send};

const SECRET: &str = "a secret of the test's own";

fn settings(url: &str, timeout: Duration) -> Settings {
    let target = Target {
        url: SecretString::from(url),
        ca_pem: None,
        timeout,
    };

    Settings {
        target,
        secret: SecretString::from(SECRET),
    }
}

/// Reads one request: its head and its body.
async fn request(stream: &mut TcpStream) -> (String, Vec<u8>) {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8(bytes[..end].to_vec())
                .unwrap()
                .to_ascii_lowercase();
            let length = head
                .split("content-length: ")
                .nth(1)
                .unwrap()
                .lines()
                .next()
                .unwrap()
                .parse::<usize>()
                .unwrap();

            if bytes.len() >= end + 4 + length {
                return (head, bytes[end + 4..].to_vec());
            }
        }

        assert!(
            stream.read_buf(&mut bytes).await.unwrap() > 0,
            "request broke off"
        );
    }
}

/// A sink that answers one request with `answer`, then hangs up.
async fn answered(answer: &'static str) -> (Result<Receipt, SendError>, (String, Vec<u8>)) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "http://{}/hook?token=hidden",
        listener.local_addr().unwrap()
    );

    let sink = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let request = request(&mut stream).await;
        stream.write_all(answer.as_bytes()).await.unwrap();
        request
    });

    (
        send(outlet(settings(&url, PATIENCE))).await,
        sink.await.unwrap(),
    )
}

#[tokio::test]
async fn delivers_signed_json() {
    let (result, (head, body)) = answered("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(result.unwrap().detail, "answered 204");
    let header = |name: &str| {
        head.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
            .unwrap_or_default()
            .to_owned()
    };

    assert!(head.starts_with("post /hook?token=hidden http/1.1"));
    assert_eq!(
        header("blueteam-delivery"),
        super::message().delivery_id.to_string()
    );
    assert_eq!(header("blueteam-timestamp"), "1772719953");

    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(b"1772719953.");
    mac.update(&body);
    let hex = header("blueteam-signature")
        .strip_prefix("v1=")
        .unwrap()
        .to_owned();
    let bytes: Vec<u8> = (0..hex.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap())
        .collect();

    mac.verify_slice(&bytes).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(json["alert"]["rule_id"], "brute_force");

    // CloudEvents 1.0, binary mode: the required attributes, and a time as RFC 3339 writes it.
    assert_eq!(
        (
            header("ce-specversion").as_str(),
            header("ce-type").as_str()
        ),
        ("1.0", "blueteam.alert.opened")
    );
    assert_eq!(
        (header("ce-id"), header("ce-source").as_str()),
        (super::message().delivery_id.to_string(), "/blueteam/alerts")
    );

    assert!(model::Timestamp::parse(&header("ce-time").to_uppercase()).is_ok());
}

/// Opens a channel to a service.
type Open = fn(Target) -> Result<Box<dyn Outlet>, SetupError>;

fn open_pagerduty(target: Target) -> Result<Box<dyn Outlet>, SetupError> {
    pagerduty::outlet(pagerduty::Settings {
        target,
        routing_key: SecretString::from("0123456789abcdef0123456789abcdef"),
    })
}

/// What a service is sent, and what becomes of its answer.
async fn posted(
    open: Open,
    answer: &'static str,
) -> (Result<Receipt, SendError>, String, serde_json::Value) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = SecretString::from(format!(
        "http://{}/services/hidden",
        listener.local_addr().unwrap()
    ));
    let target = Target {
        url,
        ca_pem: None,
        timeout: PATIENCE,
    };

    let sink = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let request = request(&mut stream).await;
        stream.write_all(answer.as_bytes()).await.unwrap();
        request
    });

    let sent = send(open(target)).await;
    let (head, body) = sink.await.unwrap();
    (sent, head, serde_json::from_slice(&body).unwrap())
}

#[tokio::test]
async fn services_are_sent_what_they_take() {
    let services: [(&str, Open, &str, &str); 3] = [
        ("slack", |t| slack::outlet(&t), "/blocks/0/type", "header"),
        (
            "teams",
            |t| teams::outlet(&t),
            "/attachments/0/contentType",
            "application/vnd.microsoft.card.adaptive",
        ),
        ("pagerduty", open_pagerduty, "/event_action", "trigger"),
    ];
    for (channel, open, at, expected) in services {
        let (sent, head, body) =
            posted(open, "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n").await;
        assert_eq!(sent.unwrap().detail, "answered 202");
        assert!(
            head.starts_with("post /services/hidden http/1.1")
                && head.contains("content-type: application/json")
        );

        assert_eq!(
            body.pointer(at).and_then(serde_json::Value::as_str),
            Some(expected),
            "{channel}"
        );

        let error = posted(open, "HTTP/1.1 404 Gone\r\nContent-Length: 0\r\n\r\n")
            .await
            .0
            .unwrap_err();
        assert!(
            !error.is_temporary() && error.advice.contains(channel),
            "{error}"
        );

        assert!(!error.to_string().contains("hidden"), "{error}");
        let error = posted(
            open,
            "HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n",
        )
        .await
        .0
        .unwrap_err();
        assert_eq!(
            error.retry,
            Retry::Later {
                after: Some(Duration::from_secs(7))
            }
        );
    }
}

#[tokio::test]
async fn a_cut_answer_is_still_an_answer() {
    let (result, _) = answered("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf").await;
    assert!(result.is_ok());
}

#[tokio::test]
async fn says_whether_to_try_again() {
    let after = |secs| {
        Some(Retry::Later {
            after: Some(Duration::from_secs(secs)),
        })
    };

    let later = Some(Retry::Later { after: None });
    let cases = [
        (
            "HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n",
            after(7),
        ),
        (
            "HTTP/1.1 503 Busy\r\nRetry-After: 9\r\nContent-Length: 0\r\n\r\n",
            after(9),
        ),
        (
            "HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\n\x1b[2J",
            later,
        ),
        ("HTTP/1.1 408 Slow\r\nContent-Length: 0\r\n\r\n", later),
        (
            "HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n",
            Some(Retry::Never),
        ),
        (
            "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n",
            Some(Retry::Never),
        ),
        (
            "HTTP/1.1 302 There\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
            Some(Retry::Never),
        ),
        ("HTTP/1.1 2", later),
    ];

    for (answer, expected) in cases {
        let error = answered(answer).await.0.unwrap_err();
        assert_eq!(Some(error.retry), expected, "{answer:?}: {error}");
        let text = error.to_string();
        assert!(
            !text.contains("hidden") && !text.chars().any(char::is_control),
            "{text}"
        );
    }
}

#[tokio::test]
async fn reads_a_bounded_part_of_an_endless_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let sink = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        request(&mut stream).await;
        stream
            .write_all(b"HTTP/1.1 500 Oops\r\n\r\n")
            .await
            .unwrap();
        // Ends when the client hangs up, and with the test when it never does.
        while stream.write_all(&[b'x'; 8192]).await.is_ok() {}
    });

    let error = send(outlet(settings(&url, PATIENCE))).await.unwrap_err();
    assert!(error.is_temporary() && error.what.len() < 600);
    tokio::time::timeout(PATIENCE, sink)
        .await
        .expect("hung up")
        .unwrap();
}

#[tokio::test]
async fn refused_and_hanging_receivers_are_tried_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let start = Instant::now();
    let error = send(outlet(settings(&url, IMPATIENCE))).await.unwrap_err();
    assert!(
        error.is_temporary() && error.what.contains("in time"),
        "{error}"
    );

    assert!(start.elapsed() < PATIENCE);
    drop(listener);
    assert!(
        send(outlet(settings(&url, PATIENCE)))
            .await
            .unwrap_err()
            .is_temporary()
    );
}

#[test]
fn refuses_plain_text_and_weak_secrets() {
    let open = |url: &str| {
        outlet(settings(url, PATIENCE))
            .map(|_| ())
            .map_err(|error| error.key)
    };

    assert_eq!(open("https://example.com/x"), Ok(()));
    assert_eq!(open("http://[::1]:9/x"), Ok(()));
    assert_eq!(open("http://localhost/x"), Ok(()));
    assert_eq!(open("http://example.com/x"), Err("url"));
    assert_eq!(open("http://127.0.0.1.example.com/x"), Err("url"));
    assert_eq!(open("file:///etc/passwd"), Err("url"));

    let mut weak = settings("https://example.com/", PATIENCE);
    weak.secret = SecretString::from("short");
    assert_eq!(outlet(weak).err().unwrap().key, "secret");
    assert!(!format!("{:?}", settings("https://x/token", PATIENCE)).contains("token"));
}
