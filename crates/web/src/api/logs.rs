//! `POST /v1/logs`: OpenTelemetry logs over HTTP, protobuf or JSON, by the same road as events.
//!
//! Answers are what the protocol prescribes (OTLP 1.x, "OTLP/HTTP Response"): 200 with what was
//! rejected of it; else a `google.rpc.Status`.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use collect::otlp::{Encoding, OtlpError};
use serde_json::json;

use super::events::{self, BIG};
use crate::error::Problem;
use ingest::{Answer, BodyError, Charge, Ingest, Prepared};

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

/// What is said of rejected records, at most.
const MESSAGE_MAX: usize = 300;

pub(super) async fn post(State(state): State<Arc<super::State>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let Some(encoding) = request_encoding(&head.headers) else {
        let detail = "Content-Type is not one of application/x-protobuf, application/json";
        return Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail).into_response();
    };

    match take_logs(&state, &head, body, encoding).await {
        Ok((rejected, message)) => {
            let kind = if encoding == Encoding::Json {
                JSON
            } else {
                PROTOBUF
            };

            (
                [(header::CONTENT_TYPE, kind)],
                encode_response(encoding, rejected, &message),
            )
                .into_response()
        }
        Err(problem) => refuse_request(encoding, problem),
    }
}

/// How the body is written; none when it says so of neither.
fn request_encoding(headers: &HeaderMap) -> Option<Encoding> {
    let kind = headers
        .get(header::CONTENT_TYPE)?
        .to_str()
        .ok()?
        .split(';')
        .next()?
        .trim();

    match kind {
        _ if kind.eq_ignore_ascii_case(PROTOBUF) => Some(Encoding::Protobuf),
        _ if kind.eq_ignore_ascii_case(JSON) => Some(Encoding::Json),
        _ => None,
    }
}

/// Takes the records in; says how many were rejected and why the first of them.
async fn take_logs(
    state: &super::State,
    head: &Parts,
    body: axum::body::Body,
    encoding: Encoding,
) -> Result<(u64, String), Problem> {
    let sender = super::identify_sender(state, head).await?;
    let headers = &head.headers;
    let ingest = &state.ingest;
    let compression = events::encoding(headers)?;
    let (body, mut charge) = events::read(ingest, headers, body).await?;
    let refused = |error| match error {
        OtlpError::Malformed => BodyError::Unreadable("the body is no ExportLogsServiceRequest"),
        OtlpError::TooMany => BodyError::TooMany,
    };

    let (prepared, charge) = if body.len() > BIG || compression != ingest::Encoding::Identity {
        let task = ingest.clone();
        let work = tokio::task::spawn_blocking(move || {
            let plain = compression.decode(body, task.settings().max_body_bytes, &mut charge);
            (
                plain.and_then(|plain| {
                    task.prepare_logs(&plain, encoding, &sender)
                        .map_err(refused)
                }),
                charge,
            )
        });

        work.await
            .map_err(|_| Problem::unavailable("the request could not be worked on"))?
    } else {
        (
            ingest
                .prepare_logs(&body, encoding, &sender)
                .map_err(refused),
            charge,
        )
    };

    let prepared = prepared.map_err(|error| events::refuse_body(error, ingest))?;
    store_events(ingest, prepared, charge).await
}

async fn store_events(
    ingest: &Ingest,
    prepared: Prepared,
    charge: Charge,
) -> Result<(u64, String), Problem> {
    let Prepared {
        rows,
        mut rejected,
        places,
        ..
    } = prepared;

    if !rows.is_empty() {
        match ingest.submit(rows, charge).await.map_err(events::refuse)? {
            Answer::Written(done) => {
                let late = done.rejected.into_iter();
                rejected.extend(late.filter_map(|(at, error)| Some((*places.get(at)?, error))));
            }
            // On disk: it is kept, which is all that the protocol asks.
            Answer::Spooled(_) => {}
        }
    }

    let message = rejected
        .iter()
        .min_by_key(|(at, _)| *at)
        .map(|(at, error)| format!("log record {at}: {error}"));
    let message = message.unwrap_or_default();
    Ok((
        rejected.len() as u64,
        message[..message.floor_char_boundary(MESSAGE_MAX)].to_owned(),
    ))
}

/// An `ExportLogsServiceResponse`.
fn encode_response(encoding: Encoding, rejected: u64, message: &str) -> Vec<u8> {
    match encoding {
        Encoding::Json if rejected == 0 => b"{}".to_vec(),
        Encoding::Json => {
            let partial =
                json!({ "rejectedLogRecords": rejected.to_string(), "errorMessage": message });
            json!({ "partialSuccess": partial })
                .to_string()
                .into_bytes()
        }
        Encoding::Protobuf if rejected == 0 => Vec::new(),
        Encoding::Protobuf => {
            let mut partial = vec![1 << 3];
            write_varint(rejected, &mut partial);
            write_bytes(2, message.as_bytes(), &mut partial);
            let mut out = Vec::new();
            write_bytes(1, &partial, &mut out);
            out
        }
    }
}

/// A refusal, with a `google.rpc.Status` for a body.
fn refuse_request(encoding: Encoding, problem: Problem) -> Response {
    // The codes of gRPC that come nearest: INVALID_ARGUMENT, PERMISSION_DENIED, UNAUTHENTICATED,
    // RESOURCE_EXHAUSTED, UNAVAILABLE.
    let code: u8 = match problem.status() {
        StatusCode::UNAUTHORIZED => 16,
        StatusCode::FORBIDDEN => 7,
        StatusCode::TOO_MANY_REQUESTS => 8,
        StatusCode::SERVICE_UNAVAILABLE => 14,
        _ => 3,
    };

    match encoding {
        Encoding::Json => {
            let body = json!({ "code": code, "message": problem.detail() })
                .to_string()
                .into_bytes();
            problem.with_body(JSON, body)
        }
        Encoding::Protobuf => {
            let mut body = vec![1 << 3, code];
            write_bytes(2, problem.detail().as_bytes(), &mut body);
            problem.with_body(PROTOBUF, body)
        }
    }
}

fn write_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn write_bytes(field: u8, value: &[u8], out: &mut Vec<u8>) {
    out.push(field << 3 | 2);
    write_varint(value.len() as u64, out);
    out.extend_from_slice(value);
}
