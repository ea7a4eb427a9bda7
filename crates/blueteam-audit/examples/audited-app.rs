//! An axum application whose every request is audited.
//!
//! Run it against the ingest API or the table:
//!
//!     AUDIT_URL=http://127.0.0.1:8514 AUDIT_KEY=bt_… cargo run -p blueteam-audit --example
//!     audited-app AUDIT_DATABASE_URL=postgres://webapp:…@localhost/app cargo run -p blueteam-audit
//!     --example audited-app
//!
//! and then
//!
//!     curl -X POST http://127.0.0.1:8080/login -d alice
//!     curl -H 'Authorization: Bearer alice' http://127.0.0.1:8080/documents/7/export
#![expect(clippy::print_stdout, reason = "says where it listens")]

use std::env::var;
use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::{ConnectInfo, Path, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use blueteam_audit::{AuditContext, AuditLayer, AuditLogger, Category, Event, Outcome, action};
use tokio::signal::unix::{Signal, SignalKind, signal};
use uuid::Uuid;

const TENANT: Uuid = Uuid::from_u128(0x019a_0000_0000_7000_8000_0000_0000_00aa);

/// Whose word is believed here. An application of yours asks its database.
fn known_user(name: &str) -> Option<Uuid> {
    ["alice", "bob"]
        .iter()
        .position(|known| *known == name)
        .map(|n| Uuid::from_u128(0x019a_0000_0000_7000_8000_0000_0000_0001 + n as u128))
}

/// A login is more than a request: it has an event of its own, told by the handler.
async fn login(
    State(audit): State<AuditLogger>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    name: String,
) -> StatusCode {
    let user = known_user(name.trim());
    let (action, outcome) = match user {
        Some(_) => (action::LOGIN, Outcome::Success),
        None => (action::LOGIN_FAILED, Outcome::Failure),
    };

    let mut event = Event::new(Category::Auth, action, outcome)
        .ip(peer.ip())
        .detail("username", name.trim());
    if let Some(user) = user {
        event.set_user(user);
    }

    audit.log(event);
    if user.is_some() {
        StatusCode::NO_CONTENT
    } else {
        StatusCode::UNAUTHORIZED
    }
}

/// Who is it? Said in the event of the request as soon as it is known.
async fn authenticate(
    Extension(audit): Extension<AuditContext>,
    request: Request,
    next: Next,
) -> Response {
    let name = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let Some(user) = name.and_then(known_user) else {
        return StatusCode::UNAUTHORIZED.into_response();
    };
    audit.update(|event| {
        event.set_user(user);
        event.set_tenant(TENANT);
    });

    next.run(request).await
}

async fn show_document(Extension(audit): Extension<AuditContext>, Path(id): Path<u32>) -> String {
    audit.update(|event| event.set_cui(true));
    format!("document {id}\n")
}

async fn export_documents(
    Extension(audit): Extension<AuditContext>,
    Path(id): Path<u32>,
) -> String {
    let text = format!("document {id}\n").repeat(100);
    audit.update(|event| {
        event.set_action(Category::Data, action::EXPORT_DATA);
        event.set_resource("document", id.to_string());
        event.set_cui(true);
        event.set_detail("bytes", text.len());
    });
    text
}

#[expect(clippy::panic, reason = "to show what is told of a handler that falls")]
async fn fail_always() {
    panic!("on purpose");
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let mut builder = AuditLogger::builder("audited-app");
    builder = match var("AUDIT_DATABASE_URL") {
        Ok(url) => builder.postgres(url),
        Err(_) => builder.http(var("AUDIT_URL")?, var("AUDIT_KEY")?),
    };

    if let Ok(folder) = var("AUDIT_SPOOL") {
        builder = builder.spool(folder);
    }

    let audit = builder.start()?;

    let layer = AuditLayer::new(audit.clone())
        .peer(|request| Some(request.extensions.get::<ConnectInfo<SocketAddr>>()?.0.ip()))
        .trusted_proxies(["127.0.0.0/8".parse()?])
        .fill(|request, event| {
            if let Some(id) = request
                .headers
                .get("x-session-name")
                .and_then(|value| value.to_str().ok())
            {
                event.set_session(id);
            }
        });

    let app = Router::new()
        .route("/documents/{id}", get(show_document))
        .route("/documents/{id}/export", get(export_documents))
        .route_layer(from_fn(authenticate))
        .route("/", get("hello\n"))
        .route("/login", post(login))
        .route("/fall", get(fail_always))
        .with_state(audit.clone())
        // The last layer is the outermost: it sees what the others refuse.
        .layer(layer);

    // Heard from here on, so that whoever reads the address may also end us.
    let term = signal(SignalKind::terminate())?;
    let listener = tokio::net::TcpListener::bind(
        var("LISTEN").unwrap_or_else(|_| "127.0.0.1:8080".to_owned()),
    )
    .await?;
    println!("listening on {}", listener.local_addr()?);

    axum::serve(
        listener,
        app.into_make_service_with_connect_info::<SocketAddr>(),
    )
    .with_graceful_shutdown(asked_to_end(term))
    .await?;

    // After the last request: what is not sent by then stands in the spool.
    let end = audit.shutdown(Duration::from_secs(5)).await;
    println!("{} audit events sent, {} spooled", end.sent, end.spooled);
    Ok(())
}

async fn asked_to_end(mut term: Signal) {
    tokio::select! {
        _ = term.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}
