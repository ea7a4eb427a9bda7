//! `POST /v1/events`: events in, answered after their commit.

use std::borrow::Cow;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use model::FieldError;
use serde::Serialize;
use tokio::time::timeout;

use crate::error::Problem;
use ingest::{Answer, BodyError, Charge, Encoding, Ingest, IngestError, Prepared};

/// Bodies larger than this, in bytes, are parsed on a thread for blocking work.
pub(super) const BIG: usize = 64 * 1024;
/// Accepted content types. Whether the body is JSON or a JSON object per line is seen in the body
/// itself.
const TYPES: [&str; 7] = [
    "application/json",
    "application/x-ndjson",
    "application/ndjson",
    "application/jsonl",
    "application/x-jsonlines",
    "application/octet-stream",
    "text/plain",
];

/// What became of one event that was not taken.
#[derive(Debug, Serialize)]
struct Rejected {
    /// The event's position in the request, from 0.
    index: usize,
    #[serde(flatten)]
    error: FieldError,
}

/// What became of a request.
#[derive(Debug, Serialize)]
struct Report {
    accepted: u64,
    duplicates: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    spooled: Option<u64>,
    rejected: Vec<Rejected>,
}

pub(super) async fn post(State(state): State<Arc<super::State>>, request: Request) -> Response {
    match take_events(&state, request).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

async fn take_events(state: &super::State, request: Request) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    let sender = super::identify_sender(state, &head).await?;
    let ingest = &state.ingest;
    let encoding = encoding(&head.headers)?;
    check_type(&head.headers)?;

    let (body, mut charge) = read(ingest, &head.headers, body).await?;
    let (prepared, charge) = if body.len() > BIG || encoding != Encoding::Identity {
        let task = ingest.clone();
        let work = tokio::task::spawn_blocking(move || {
            let plain = encoding.decode(body, task.settings().max_body_bytes, &mut charge);
            (
                plain.and_then(|plain| task.prepare(&plain, &sender)),
                charge,
            )
        });

        work.await
            .map_err(|_| Problem::unavailable("the request could not be worked on"))?
    } else {
        (ingest.prepare(&body, &sender), charge)
    };

    let prepared = prepared.map_err(|error| refuse_body(error, ingest))?;
    answer_prepared(ingest, prepared, charge).await
}

async fn answer_prepared(
    ingest: &Ingest,
    prepared: Prepared,
    charge: Charge,
) -> Result<Response, Problem> {
    let Prepared {
        rows,
        places,
        rejected,
        ..
    } = prepared;

    let mut report = Report {
        accepted: 0,
        duplicates: 0,
        spooled: None,
        rejected: Vec::new(),
    };

    report.rejected.extend(
        rejected
            .into_iter()
            .map(|(index, error)| Rejected { index, error }),
    );

    if !rows.is_empty() {
        match ingest.submit(rows, charge).await.map_err(refuse)? {
            Answer::Written(done) => {
                report.accepted = done.accepted;
                report.duplicates = done.duplicates;
                report.spooled =
                    (!done.conflicting.is_empty()).then_some(done.conflicting.len() as u64);
                let late = done.rejected.into_iter();
                report.rejected.extend(late.filter_map(|(at, error)| {
                    places.get(at).map(|&index| Rejected { index, error })
                }));
            }
            Answer::Spooled(events) => report.spooled = Some(events),
        }
    }

    report.rejected.sort_by_key(|r| r.index);
    let taken = report.accepted + report.duplicates + report.spooled.unwrap_or(0);
    let status = match (taken, report.spooled) {
        (0, _) if !report.rejected.is_empty() => StatusCode::UNPROCESSABLE_ENTITY,
        (_, Some(_)) => StatusCode::ACCEPTED,
        _ => StatusCode::OK,
    };

    for Rejected { error, .. } in &mut report.rejected {
        shorten_error(error);
    }

    let body = serde_json::to_vec(&report)
        .map_err(|_| Problem::unavailable("the answer could not be written"))?;
    Ok((status, [(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// A field's name comes from the client and is sent back; its length must not.
fn shorten_error(error: &mut FieldError) {
    if error.field.len() > 128 {
        error.field = Cow::Owned(error.field.chars().take(100).chain(['…']).collect());
    }
}

pub(super) fn refuse(error: IngestError) -> Problem {
    match error {
        IngestError::QueueFull => Problem::busy(),
        IngestError::NotKept => Problem::unavailable(
            "the database is unreachable and the spool cannot take the events; nothing was taken",
        ),
        IngestError::Closed => {
            Problem::unavailable("the server is shutting down; nothing was taken")
        }
        IngestError::Open => Problem::unavailable(
            "the commit takes too long; the events may yet be written, send them again with their \
                ids",
        ),
    }
}

pub(super) fn refuse_body(error: BodyError, ingest: &Ingest) -> Problem {
    let settings = ingest.settings();
    match error {
        BodyError::TooLarge => too_large(settings.max_body_bytes),
        BodyError::TooMany => {
            let most = settings.max_batch_events;
            Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("more than {most} events in one request"),
            )
        }
        BodyError::Busy => Problem::busy(),
        BodyError::Unreadable(why) => Problem::new(StatusCode::BAD_REQUEST, why),
    }
}

fn too_large(most: usize) -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        format!("the body is larger than {most} bytes after decompression"),
    )
}

pub(super) fn encoding(headers: &HeaderMap) -> Result<Encoding, Problem> {
    let bad = || {
        Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Content-Encoding is not one of gzip, zstd, identity",
        )
    };

    let mut values = headers.get_all(header::CONTENT_ENCODING).iter();
    let (first, second) = (values.next(), values.next());
    match (
        first
            .map(|v| v.to_str().unwrap_or("?").trim().to_ascii_lowercase())
            .as_deref(),
        second,
    ) {
        (None | Some("identity" | ""), None) => Ok(Encoding::Identity),
        (Some("gzip" | "x-gzip"), None) => Ok(Encoding::Gzip),
        (Some("zstd"), None) => Ok(Encoding::Zstd),
        _ => Err(bad()),
    }
}

fn check_type(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return Ok(());
    };
    let kind = value
        .to_str()
        .unwrap_or("?")
        .split(';')
        .next()
        .unwrap_or("")
        .trim();

    if TYPES.iter().any(|t| t.eq_ignore_ascii_case(kind)) {
        return Ok(());
    }

    let detail = "Content-Type is not one of application/json, application/x-ndjson";
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail))
}

/// Reads the body within its bounds of size, memory and time.
pub(super) async fn read(
    ingest: &Ingest,
    headers: &HeaderMap,
    mut body: Body,
) -> Result<(Bytes, Charge), Problem> {
    let most = ingest.settings().max_body_bytes;
    let length = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.parse::<usize>().ok());
    if length.is_some_and(|length| length > most) {
        return Err(too_large(most));
    }

    let mut charge = ingest.charge();
    let reading = async {
        let mut first = Bytes::new();
        let mut rest: Vec<u8> = Vec::new();
        while let Some(frame) = body.frame().await {
            let broken = |_| Problem::new(StatusCode::BAD_REQUEST, "the body ends early");
            let Ok(data) = frame.map_err(broken)?.into_data() else {
                continue;
            };
            if first.len() + rest.len() + data.len() > most {
                return Err(too_large(most));
            }

            charge.grow(data.len()).map_err(|_| Problem::busy())?;
            // Nearly every body is one frame, which needs no copy.
            if first.is_empty() && rest.is_empty() {
                first = data;
                continue;
            }

            if rest.is_empty() {
                rest.reserve(length.unwrap_or(0).min(most));
                rest.extend_from_slice(&first);
                first = Bytes::new();
            }

            rest.extend_from_slice(&data);
        }

        Ok(if rest.is_empty() {
            first
        } else {
            Bytes::from(rest)
        })
    };

    let slow = |_| Problem::new(StatusCode::REQUEST_TIMEOUT, "the body came too slowly");
    let bytes = timeout(ingest.settings().timeouts.body, reading)
        .await
        .map_err(slow)??;
    Ok((bytes, charge))
}
