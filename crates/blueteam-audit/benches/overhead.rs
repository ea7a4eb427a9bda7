//! What the client costs the application. Each mode prints numbers and nothing else;
//! `scripts/bench` makes a table of them.
//!
//!     overhead log up|away        ns of `AuditLogger::log` on its caller: median, 99th percentile;
//!     events dropped overhead layer              ns that the layer adds to a call, without a
//!     server around it overhead serve plain|audited    a hello-world server for wrk; prints its
//!     address, ends with its standard input
#![expect(clippy::print_stdout, reason = "prints numbers")]
#![expect(clippy::unwrap_used, reason = "a benchmark that fails says so")]

use std::convert::Infallible;
use std::io::Read as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, Response};
use axum::routing::{get, post};
use blueteam_audit::{AuditLayer, AuditLogger, Category, Event, Outcome, action};
use tower::{Layer as _, Service, service_fn};

const AGENT: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like \
    Gecko) Chrome/124.0 Safari/537.36";

/// A server that takes every event and forgets it, on a thread of its own.
fn start_sink() -> String {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            tell.send(listener.local_addr().unwrap()).unwrap();
            let take =
                |_: axum::body::Bytes| async { r#"{"accepted":0,"duplicates":0,"rejected":[]}"# };
            let app = Router::new().route("/v1/events", post(take));
            axum::serve(
                listener,
                app.layer(axum::extract::DefaultBodyLimit::disable()),
            )
            .await
            .unwrap();
        });
    });

    format!("http://{}", told.recv().unwrap())
}

fn closed_port() -> String {
    format!(
        "http://{}",
        std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
    )
}

fn start_logger(url: String, spool: &tempfile::TempDir) -> AuditLogger {
    AuditLogger::builder("bench")
        .http(url, "k")
        .spool(spool.path())
        .start()
        .unwrap()
}

fn sample_event(n: u64) -> Event {
    Event::new(Category::Access, action::API_REQUEST, Outcome::Success)
        .ip("192.0.2.1".parse().unwrap())
        .user_agent(AGENT)
        .resource("endpoint", "/api/v2/documents/7")
        .detail("status", 200)
        .detail("duration_ms", n % 900)
}

fn bench_log(away: bool) {
    let spool = tempfile::tempdir().unwrap();
    let audit = start_logger(if away { closed_port() } else { start_sink() }, &spool);
    let mut took = Vec::with_capacity(200_000);
    for _ in 0..2000_u64 {
        // The events are the application's work; putting them in is what is measured.
        let events: Vec<Event> = (0..100).map(sample_event).collect();
        for event in events {
            let since = Instant::now();
            audit.log(event);
            took.push(since.elapsed().as_nanos() as u64);
        }
        std::thread::sleep(Duration::from_millis(2));
    }

    took.sort_unstable();
    println!(
        "{} {} {}",
        took[took.len() / 2],
        took[took.len() / 100 * 99],
        audit.stats().dropped
    );
    audit.shutdown_blocking(Duration::from_secs(1));
}

async fn bench_calls(
    mut service: impl Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
) -> f64 {
    const CALLS: u32 = 4000;
    let mut best = f64::MAX;
    for _ in 0..30 {
        let request = || {
            Request::get("/api/v2/documents/7")
                .header("user-agent", AGENT)
                .body(Body::empty())
                .unwrap()
        };

        let requests: Vec<_> = (0..CALLS).map(|_| request()).collect();
        let since = Instant::now();
        for request in requests {
            service.call(request).await.unwrap();
        }

        best = best.min(since.elapsed().as_nanos() as f64 / f64::from(CALLS));
        std::thread::sleep(Duration::from_millis(100));
    }

    best
}

async fn bench_layer() {
    let spool = tempfile::tempdir().unwrap();
    let audit = start_logger(start_sink(), &spool);
    let hello = || {
        service_fn(|_: Request<Body>| async { Ok::<_, Infallible>(Response::new(Body::empty())) })
    };
    let plain = bench_calls(hello()).await;
    let audited = bench_calls(AuditLayer::new(audit.clone()).layer(hello())).await;
    println!("{:.0} {}", audited - plain, audit.stats().dropped);

    audit.shutdown(Duration::from_secs(1)).await;
}

async fn serve_once(audited: bool) {
    let spool = tempfile::tempdir().unwrap();
    let mut app = Router::new().route("/", get("hello\n"));
    let audit = start_logger(start_sink(), &spool);
    if audited {
        let layer = AuditLayer::new(audit.clone());
        app = app.layer(
            layer.peer(|request| Some(request.extensions.get::<ConnectInfo<SocketAddr>>()?.0.ip())),
        );
    }

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    let end = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::select! {
        done = axum::serve(listener, app) => done.unwrap(),
        _ = end => {}
    }

    let stats = audit.stats();
    println!("{} {}", stats.logged, stats.dropped);
}

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| arg != "--bench")
        .collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words[..] {
        ["log", how @ ("up" | "away")] => tokio::task::block_in_place(|| bench_log(how == "away")),
        ["layer"] => bench_layer().await,
        ["serve", how @ ("plain" | "audited")] => serve_once(how == "audited").await,
        // `cargo bench` and `cargo nextest` ask without a mode.
        _ => println!("modes: log up|away, layer, serve plain|audited"),
    }
}
