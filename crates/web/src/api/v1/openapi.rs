//! `GET /api/openapi.json`: what the routes take and answer, as `OpenAPI` 3.1. It is made from the
//! routes themselves, so that there is none that it does not tell of.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use app::actor::{Action, Resource, requires_step_up};
use app::console::Isolation;
use app::sign_in::SignInError;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::operation::{Answer, Field, Operation, Record, Schema};
use super::{ROUTES, list};
use crate::api::State as Shared;
use crate::api::door::{self, Access};
use crate::api::people::{Asking, no_store};
use crate::error::Problem;

const JSON: &str = "application/json";
const PROBLEM: &str = "application/problem+json";

/// A route, whoever it is for.
#[derive(Clone, Copy)]
struct Described<'a> {
    method: &'static str,
    path: &'static str,
    operation: &'a Operation,
    needs: Needs,
}

/// What whoever asks must have.
#[derive(Clone, Copy)]
enum Needs {
    /// A right.
    Right(Action, Resource),
    /// A session or nothing.
    Door(Access),
}

impl Described<'_> {
    fn is_at_the_door(&self) -> bool {
        matches!(self.needs, Needs::Door(_))
    }
}

fn routes() -> impl Iterator<Item = Described<'static>> {
    let at_the_door = door::ROUTES.iter().map(|route| Described {
        method: route.method,
        path: route.path,
        operation: &route.operation,
        needs: Needs::Door(route.access),
    });
    let behind_it = ROUTES.iter().map(|route| Described {
        method: route.method,
        path: route.path,
        operation: &route.operation,
        needs: Needs::Right(route.action, route.resource),
    });
    at_the_door.chain(behind_it)
}

/// Returns the document.
pub fn document() -> Value {
    let mut records = BTreeMap::new();
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for route in routes() {
        let operation = describe(&route, &mut records);
        paths
            .entry(route.path)
            .or_default()
            .insert(route.method.to_owned(), operation);
    }

    let mut schemas: Map<String, Value> = records
        .into_iter()
        .map(|(name, record)| (name.to_owned(), object(record)))
        .collect();
    schemas.insert("Problem".to_owned(), problem_schema());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "blueteam",
            "version": "v1",
            "description": "What people and their programs do with blueteam. How to sign in, errors, \
                lists, versions and repeated requests are in docs/api.md.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "security": [{ "cookie": [] }, { "bearer": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "cookie": {
                    "type": "apiKey", "in": "cookie", "name": "__Host-blueteam",
                    "description": "A session: POST /api/v1/sign-in.",
                },
                "bearer": {
                    "type": "http", "scheme": "bearer",
                    "description": "An API key of a person: `bt_api_…`.",
                },
            },
            "schemas": schemas,
        },
    })
}

/// Answers the document, to whoever has signed in or has a key (ASVS 13.4.5).
pub(in crate::api) async fn get(
    State(state): State<Arc<Shared>>,
    asking: Asking,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let console = state.console.clone().ok_or(SignInError::NoSession)?;
    let authorization = headers.get(header::AUTHORIZATION);
    let session = super::session_of(
        &state,
        &console,
        &asking,
        authorization,
        Isolation::ReadCommitted,
    )
    .await?;
    session.close().await;
    Ok(no_store(axum::Json(document()).into_response()))
}

type Records = BTreeMap<&'static str, &'static Record>;

fn describe(route: &Described<'_>, records: &mut Records) -> Value {
    let operation = route.operation;
    let mut described = json!({
        "operationId": operation_id(route),
        "summary": operation.summary,
        "description": about(route),
        "parameters": parameters(route, operation),
        "responses": responses(route, operation, records),
    });
    if let (Needs::Door(access), Some(object)) = (route.needs, described.as_object_mut()) {
        let security = match access {
            Access::Anybody => json!([]),
            Access::Session => json!([{ "cookie": [] }]),
        };
        object.insert("security".to_owned(), security);
    }
    if let (Some(body), Some(object)) = (operation.body, described.as_object_mut()) {
        let content = json!({ JSON: { "schema": reference(body, records) } });
        object.insert(
            "requestBody".to_owned(),
            json!({ "required": true, "content": content }),
        );
    }
    described
}

/// What it needs, and what is special about it.
fn about(route: &Described<'_>) -> String {
    let mut about = match route.needs {
        Needs::Right(action, resource) => {
            let mut about = format!("Needs the right to {action} {resource}.");
            if requires_step_up(action, resource) {
                about.push_str(" Asks for both factors again; no API key may do it.");
            }
            about
        }
        Needs::Door(Access::Session) => "Needs a session; no API key may do it.".to_owned(),
        Needs::Door(Access::Anybody) => "For whoever signs in.".to_owned(),
    };
    if route.operation.secret {
        about.push_str(" The secret in the answer is shown once.");
    }
    about
}

/// `get_alerts_id` for `GET /api/v1/alerts/{id}`.
fn operation_id(route: &Described<'_>) -> String {
    let path = route
        .path
        .trim_start_matches("/api/")
        .trim_start_matches("v1/");
    let words = path.split(|c: char| !c.is_ascii_alphanumeric());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    format!("{}_{}", route.method, words.join("_"))
}

fn parameters(route: &Described<'_>, operation: &Operation) -> Vec<Value> {
    let mut parameters: Vec<Value> = route
        .path
        .split(['{', '}'])
        .skip(1)
        .step_by(2)
        .map(|name| {
            json!({
                "name": name, "in": "path", "required": true,
                "schema": { "type": "string", "minLength": 1, "maxLength": 255 },
                "description": "The id, or its first characters where they are enough; of accounts \
                    the name.",
            })
        })
        .collect();
    for field in operation.query.iter().flat_map(|query| query.fields) {
        parameters.push(json!({
            "name": field.name, "in": "query", "required": false,
            "description": field.about.trim(),
            "schema": plain(&field.schema),
        }));
    }
    if matches!(operation.answer, Answer::List(_)) {
        parameters.extend(list_parameters(route));
    }
    if operation.versioned || operation.may_expect {
        parameters.push(json!({
            "name": "If-Match", "in": "header", "required": operation.versioned,
            "description": "The ETag of what you have seen.",
            "schema": { "type": "string" },
        }));
    }
    if route.method == "post" && !route.is_at_the_door() {
        parameters.push(json!({
            "name": "Idempotency-Key", "in": "header", "required": false,
            "description": "A name for this request, best a UUID: sent again within a day with the \
                same body, it is answered and not done again.",
            "schema": { "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$" },
        }));
    }
    parameters
}

fn list_parameters(route: &Described<'_>) -> Vec<Value> {
    let mut parameters = vec![
        json!({
            "name": "limit", "in": "query", "required": false,
            "description": "The most entries of the page.",
            "schema": {
                "type": "integer", "minimum": 1, "maximum": list::LIMIT_MAX, "default": list::LIMIT,
            },
        }),
        json!({
            "name": "cursor", "in": "query", "required": false,
            "description": "`next` of the page before, of the same list with the same filters.",
            "schema": { "type": "string", "maxLength": 1024 },
        }),
    ];
    // Counting the events would take as long as reading them.
    if route.path != "/api/v1/events" {
        parameters.push(json!({
            "name": "count", "in": "query", "required": false,
            "description": "Whether to say how many there are in all.",
            "schema": { "type": "boolean", "default": false },
        }));
    }
    parameters
}

fn responses(route: &Described<'_>, operation: &Operation, records: &mut Records) -> Value {
    let mut responses = Map::new();
    let (status, answer) = success(route, operation, records);
    responses.insert(status.to_owned(), answer);
    for (status, why) in failures(route, operation) {
        let content = json!({ PROBLEM: { "schema": { "$ref": "#/components/schemas/Problem" } } });
        responses.insert(
            status.to_owned(),
            json!({ "description": why, "content": content }),
        );
    }
    Value::Object(responses)
}

fn success(
    route: &Described<'_>,
    operation: &Operation,
    records: &mut Records,
) -> (&'static str, Value) {
    match operation.answer {
        Answer::Empty => ("204", json!({ "description": "Done." })),
        Answer::One(record) => {
            let mut answer = json!({
                "description": record.about.trim(),
                "content": { JSON: { "schema": reference(record, records) } },
            });
            if operation.tagged {
                answer["headers"] = json!({
                    "ETag": { "description": "Its version.", "schema": { "type": "string" } },
                });
            }
            ("200", answer)
        }
        Answer::All(record) => {
            let all = json!({ "type": "array", "items": reference(record, records) });
            let content = json!({ JSON: { "schema": all } });
            (
                "200",
                json!({ "description": record.about.trim(), "content": content }),
            )
        }
        Answer::Redirect => {
            let location = json!({
                "Location": { "description": "The provider.", "schema": { "type": "string" } },
            });
            (
                "303",
                json!({ "description": "Go there.", "headers": location }),
            )
        }
        Answer::List(record) => {
            let item = reference(record, records);
            let mut properties = json!({
                "items": { "type": "array", "items": item, "maxItems": list::LIMIT_MAX },
                "next": {
                    "type": ["string", "null"],
                    "description": "The cursor of the next page; `null` on the last.",
                },
            });
            if route.path != "/api/v1/events" {
                properties["total"] = json!({
                    "type": "integer", "minimum": 0,
                    "description": "How many there are in all, if `count` asks for it.",
                });
            }
            let page = json!({
                "type": "object", "required": ["items", "next"],
                "properties": properties, "additionalProperties": false,
            });
            let text = json!({ "schema": { "type": "string" } });
            let content = json!({
                JSON: { "schema": page }, "text/csv": text, "application/x-ndjson": text,
            });
            (
                "200",
                json!({ "description": "A page, by `Accept`.", "content": content }),
            )
        }
        Answer::File(formats) => {
            let binary = json!({ "schema": {} });
            let content: Map<String, Value> = formats
                .iter()
                .map(|kind| ((*kind).to_owned(), binary.clone()))
                .collect();
            (
                "200",
                json!({ "description": "The report.", "content": content }),
            )
        }
    }
}

/// What can go wrong, besides what belongs to a connection (docs/api.md).
fn failures(route: &Described<'_>, operation: &Operation) -> Vec<(&'static str, &'static str)> {
    let (is_get, has_body) = (route.method == "get", operation.body.is_some());
    let has_path = route.path.contains('{');
    let is_file = matches!(operation.answer, Answer::File(_));
    let mut parameters = operation.query.iter().flat_map(|query| query.fields);
    let names_alert = parameters.any(|field| matches!(field.schema, Schema::IdStart));
    let all = [
        (true, "400", "A parameter, header, path or cursor is wrong."),
        (true, "401", "No session or key in force."),
        (
            true,
            "403",
            "The role or the key has no right to it, or both factors are asked for again.",
        ),
        (
            has_path || has_body || names_alert || is_file || route.is_at_the_door(),
            "404",
            "There is no such thing.",
        ),
        (
            !is_get || has_path || is_file,
            "409",
            "It contradicts what is there, or the same request is in flight.",
        ),
        (
            route.path.starts_with("/api/v1/enrollment"),
            "410",
            "The enrollment code was used, is too old, or never was.",
        ),
        (
            operation.versioned || operation.may_expect,
            "412",
            "It was changed since it was seen; `current` is what it is now.",
        ),
        (has_body || !is_get, "413", "The body is too large."),
        (has_body, "415", "The body is not application/json."),
        (
            true,
            "422",
            "It cannot be right, or its Idempotency-Key is another request's.",
        ),
        (operation.versioned, "428", "If-Match is missing."),
        (true, "429", "Too many requests; see Retry-After."),
        (
            true,
            "500",
            "A failure of blueteam's own; its log says which.",
        ),
        (true, "503", "The database is unreachable; see Retry-After."),
    ];
    all.into_iter()
        .filter(|(can_be, _, _)| *can_be)
        .map(|(_, status, why)| (status, why))
        .collect()
}

fn reference(record: &'static Record, records: &mut Records) -> Value {
    if records.insert(record.name, record).is_none() {
        for field in record.fields {
            collect(&field.schema, records);
        }
    }
    json!({ "$ref": format!("#/components/schemas/{}", record.name) })
}

fn collect(schema: &'static Schema, records: &mut Records) {
    match schema {
        Schema::Object(record) => {
            reference(record, records);
        }
        Schema::List(inner) | Schema::ListUpTo(inner, _) | Schema::Maybe(inner) => {
            collect(inner, records);
        }
        _ => {}
    }
}

fn object(record: &Record) -> Value {
    let required: Vec<&str> = record
        .fields
        .iter()
        .filter(|field| field.required)
        .map(|field| field.name)
        .collect();
    let properties: Map<String, Value> = record
        .fields
        .iter()
        .map(|field| (field.name.to_owned(), property(field)))
        .collect();
    json!({
        "type": "object",
        "description": record.about.trim(),
        "required": required,
        "properties": properties,
        "additionalProperties": false,
    })
}

fn property(field: &Field) -> Value {
    let mut schema = plain(&field.schema);
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("description".to_owned(), json!(field.about.trim()));
    }
    schema
}

fn plain(schema: &Schema) -> Value {
    match schema {
        Schema::Text => json!({ "type": "string" }),
        Schema::TextUpTo(most) => json!({ "type": "string", "maxLength": most }),
        Schema::Id => json!({ "type": "string", "format": "uuid" }),
        Schema::IdStart => json!({ "type": "string", "minLength": 1, "maxLength": 36 }),
        Schema::Time => json!({ "type": "string", "format": "date-time" }),
        Schema::Span => json!({ "type": "string", "pattern": "^[0-9]+(us|ms|s|m|h|d|w)$" }),
        Schema::Integer => json!({ "type": "integer" }),
        Schema::Number => json!({ "type": "number" }),
        Schema::Boolean => json!({ "type": "boolean" }),
        Schema::OneOf(words) => json!({ "type": "string", "enum": words }),
        Schema::List(inner) => json!({ "type": "array", "items": plain(inner) }),
        Schema::ListUpTo(inner, most) => {
            json!({ "type": "array", "items": plain(inner), "minItems": 1, "maxItems": most })
        }
        Schema::Maybe(inner) => json!({ "anyOf": [plain(inner), { "type": "null" }] }),
        Schema::Object(record) => {
            json!({ "$ref": format!("#/components/schemas/{}", record.name) })
        }
        Schema::Any => json!({}),
    }
}

fn problem_schema() -> Value {
    json!({
        "type": "object",
        "description": "An error (RFC 9457).",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": { "type": "string", "description": "Which error it is; it stays the same." },
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "detail": { "type": "string", "description": "For people; it may change." },
            "errors": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["detail"],
                    "properties": {
                        "pointer": {
                            "type": "string", "description": "Where in the body (RFC 6901).",
                        },
                        "parameter": { "type": "string", "description": "Which parameter." },
                        "detail": { "type": "string" },
                    },
                },
            },
            "current": { "description": "With 412: what it is now." },
        },
    })
}

/// Returns the routes as a table for docs/api.md.
pub fn route_table() -> String {
    let mut table = "| method and path | what | right | body |\n|---|---|---|---|\n".to_owned();
    for route in ROUTES {
        let body = route.operation.body.map_or_else(String::new, |body| {
            let names = body.fields.iter().map(|field| {
                if field.required {
                    format!("`{}`", field.name)
                } else {
                    format!("`{}`?", field.name)
                }
            });
            names.collect::<Vec<_>>().join(", ")
        });
        // Writing to a string cannot fail.
        let _ = writeln!(
            table,
            "| `{} {}` | {} | {} {} | {} |",
            route.method.to_uppercase(),
            route.path,
            route.operation.summary,
            route.action,
            route.resource,
            body
        );
    }
    table
}
