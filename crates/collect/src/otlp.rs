//! OpenTelemetry logs (OTLP/HTTP, protobuf and JSON). The semantic conventions decide what the
//! records of applications mean.
//!
//! A record is an event if it has an event name, the status of an HTTP response, or attributes
//! named `audit.` and a column of `audit_events`; or if it is an error. All others are ignored:
//! debug output is not an audit record.
//!
//! One record is held at a time, and none larger than [`RECORD_MAX`], so a small request cannot
//! take up much memory.

mod json;
mod wire;

use model::audit::{Strangers, limits};
use model::{AuditRecord, FieldError, Timestamp};
use serde_json::{Map, Value, json};

/// The largest record that is read, in bytes as sent.
pub const RECORD_MAX: usize = 256 * 1024;
/// The most attributes of a record or resource that are read.
const ATTRIBUTES_MAX: usize = 256;
/// The most bytes of attributes and body that an event keeps.
const KEPT_MAX: usize = 16 * 1024;
/// The deepest nesting of values that is read; deeper ones are left out.
const DEPTH_MAX: usize = 8;
/// `SEVERITY_NUMBER_ERROR`.
const ERROR: i64 = 17;

/// The encoding of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// `application/x-protobuf`.
    Protobuf,
    /// `application/json`.
    Json,
}

/// Why a request is rejected as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OtlpError {
    /// The body is not an `ExportLogsServiceRequest`.
    #[error("the body is not an ExportLogsServiceRequest")]
    Malformed,
    /// The request has more records than allowed.
    #[error("the request has too many log records")]
    TooMany,
}

/// The meaning of a record.
#[derive(Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "one is held at a time")]
pub enum Meaning {
    /// An event. The caller assigns its ID. The service, where the resource names one, is only a
    /// claim of the sender.
    Event {
        /// The event.
        record: AuditRecord<'static>,
        /// The resource's `service.name`.
        service: Option<String>,
    },
    /// Nothing that concerns security.
    Nothing,
    /// The record is rejected; says why.
    Rejected(FieldError),
}

/// A log record as sent, with its resource's attributes.
#[derive(Debug, Default)]
struct Record {
    time: u64,
    observed: u64,
    severity: i64,
    severity_text: String,
    name: String,
    body: Option<Value>,
    trace_id: String,
    span_id: String,
    attributes: Map<String, Value>,
}

/// Reads a request of at most `max_records` and calls `on_record` for each in order, with its bytes
/// as sent. The request is checked first, so `on_record` is not called for any record of a
/// malformed one.
pub fn read_request(
    body: &[u8],
    encoding: Encoding,
    max_records: usize,
    on_record: impl FnMut(&[u8], Meaning),
) -> Result<(), OtlpError> {
    match encoding {
        Encoding::Protobuf => wire::read_request(body, max_records, on_record),
        Encoding::Json => json::read_request(body, max_records, on_record),
    }
}

fn too_large_record() -> Meaning {
    Meaning::Rejected(FieldError::new(
        "logRecord",
        format_args!("is larger than {RECORD_MAX} bytes"),
    ))
}

fn malformed_record() -> Meaning {
    Meaning::Rejected(FieldError::new("logRecord", "is not a LogRecord"))
}

impl Record {
    fn text_attribute(&self, key: &str) -> Option<&str> {
        self.attributes
            .get(key)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    }

    fn first_text(&self, keys: &[&str]) -> Option<&str> {
        keys.iter().find_map(|key| self.text_attribute(key))
    }

    fn number_attribute(&self, key: &str) -> Option<i64> {
        let value = self.attributes.get(key)?;
        value.as_i64().or_else(|| value.as_str()?.parse().ok())
    }

    /// Returns the time of the event, or of its observation where the source gave none.
    fn event_time(&self) -> Option<Timestamp> {
        let nanos = if self.time == 0 {
            self.observed
        } else {
            self.time
        };
        (nanos != 0)
            .then(|| Timestamp::from_micros(i64::try_from(nanos / 1000).unwrap_or(i64::MAX)))
    }

    fn interpret_with(&self, resource: &Map<String, Value>) -> Meaning {
        let name = if self.name.is_empty() {
            self.text_attribute("event.name").unwrap_or_default()
        } else {
            &self.name
        };

        let status = self
            .number_attribute("http.response.status_code")
            .or_else(|| self.number_attribute("http.status_code"));
        let audited = self.text_attribute("audit.action").is_some();
        if name.is_empty() && status.is_none() && !audited && self.severity < ERROR {
            return Meaning::Nothing;
        }

        let (category, action, result) = self.classify_event(name, status);
        let mut event = json!({
            "category": category, "action": clean_text(&action, limits::ACTION), "result": result,
            "metadata": self.event_metadata(resource),
        });

        let mut set = |field: &str, value: Option<&str>, max: usize| {
            if let (Some(value), Some(event)) = (value, event.as_object_mut()) {
                event.insert(field.to_owned(), clean_text(value, max).into());
            }
        };

        let address = self.first_text(&[
            "audit.ip_address",
            "client.address",
            "source.address",
            "http.client_ip",
        ]);

        // Long enough for the ports, brackets and lists that proxies and frameworks write.
        set("ip_address", address, 256);
        let uuid = |keys: &[&str]| {
            self.first_text(keys)
                .filter(|id| uuid::Uuid::try_parse(id).is_ok())
        };

        set(
            "user_id",
            uuid(&["audit.user_id", "user.id", "enduser.id"]),
            64,
        );
        set("instance_id", uuid(&["audit.instance_id"]), 64);
        set(
            "session_id",
            self.first_text(&["audit.session_id", "session.id"]),
            limits::SESSION_ID,
        );

        set(
            "user_agent",
            self.first_text(&["audit.user_agent", "user_agent.original"]),
            4 * limits::USER_AGENT,
        );
        set(
            "resource_type",
            self.first_text(&["audit.resource_type", "url.path", "http.route"]),
            limits::RESOURCE_TYPE,
        );

        set(
            "resource_id",
            self.text_attribute("audit.resource_id"),
            limits::RESOURCE_ID,
        );

        if let (Some(at), Some(event)) = (self.event_time(), event.as_object_mut()) {
            event.insert("timestamp".to_owned(), at.to_string().into());
        }

        if let (Some(Value::Bool(cui)), Some(event)) = (
            self.attributes.get("audit.cui_accessed"),
            event.as_object_mut(),
        ) {
            event.insert("cui_accessed".to_owned(), (*cui).into());
        }

        let service = resource
            .get("service.name")
            .and_then(Value::as_str)
            .filter(|name| !name.is_empty());
        match AuditRecord::from_json(event.to_string().as_bytes(), Strangers::Refuse) {
            Ok(record) => Meaning::Event {
                record: record.into_owned(),
                service: service.map(str::to_owned),
            },
            Err(error) => Meaning::Rejected(error),
        }
    }

    /// Returns the result of a record without `audit.result`: what its outcome says, else its
    /// status, else its severity. A login whose outcome is present and not understood is no
    /// success, because a guess must not be counted as a login.
    fn outcome(&self, name: &str, status: Option<i64>) -> &'static str {
        let outcome = self.attributes.get("event.outcome");
        let known = match outcome {
            Some(Value::Bool(true)) => Some("success"),
            Some(Value::Bool(false)) => Some("failure"),
            Some(Value::String(word)) => known_outcome(word),
            _ => None,
        };

        match (known, status) {
            (Some(result), _) => result,
            (None, Some(401 | 403 | 407 | 429)) => "denied",
            (None, Some(400..)) => "failure",
            (None, Some(_)) if self.severity < ERROR => "success",
            _ if self.severity >= ERROR => "failure",
            (None, None) if outcome.is_some() && login_action(plain_name(name), "success").0 => {
                "failure"
            }
            _ => "success",
        }
    }

    /// Returns category, action and result.
    fn classify_event(&self, name: &str, status: Option<i64>) -> (&str, String, &str) {
        let result = match self.text_attribute("audit.result") {
            // An unknown word is refused with the field's name.
            Some(word) => known_outcome(word).unwrap_or(word),
            None => self.outcome(name, status),
        };

        if let Some(action) = self.text_attribute("audit.action") {
            return (
                self.text_attribute("audit.category").unwrap_or("system"),
                action.to_owned(),
                result,
            );
        }

        if name.is_empty() {
            let request = status.is_some();
            return if request {
                ("access", "api_request".to_owned(), result)
            } else {
                ("system", "log_error".to_owned(), result)
            };
        }

        let plain = plain_name(name);
        let (auth, action) = login_action(plain, result);
        // What the name says of a login, its result says too.
        let result = match (&*action, result) {
            ("login_failed", "success") => "failure",
            _ => result,
        };
        let category = match self.text_attribute("event.category") {
            _ if auth => "auth",
            Some("authentication" | "session") => "auth",
            Some("iam" | "configuration") => "admin",
            Some("database" | "file") => "data",
            Some("web" | "api" | "network") => "access",
            _ if status.is_some() => "access",
            _ => "system",
        };

        (category, action, result)
    }

    /// Collects all other attributes, within bounds.
    fn event_metadata(&self, resource: &Map<String, Value>) -> Value {
        let mut kept = Map::new();
        let user = ["user.name", "enduser.id", "user.id"];
        for (key, value) in [
            ("username", self.first_text(&user)),
            ("email", self.text_attribute("user.email")),
        ] {
            if let Some(value) = value.filter(|v| uuid::Uuid::try_parse(v).is_err()) {
                kept.insert(key.to_owned(), clean_text(value, 1024).into());
            }
        }

        for (key, value) in [
            ("severity", &self.severity_text),
            ("trace_id", &self.trace_id),
            ("span_id", &self.span_id),
        ] {
            if !value.is_empty() {
                kept.insert(key.to_owned(), clean_text(value, 64).into());
            }
        }

        let mut room = KEPT_MAX;
        let mut put = |kept: &mut Map<String, Value>, key: &str, value: &Value| {
            let size = value.to_string().len() + key.len() + 8;
            if size <= room && key.len() <= 256 && !kept.contains_key(key) {
                room -= size;
                kept.insert(key.to_owned(), value.clone());
            }
        };

        match &self.body {
            Some(Value::String(text)) => put(&mut kept, "body", &clean_text(text, 4096).into()),
            Some(other) => put(&mut kept, "body", other),
            None => {}
        }

        // The API key decides the service.
        for (key, value) in self
            .attributes
            .iter()
            .chain(resource)
            .filter(|(key, _)| *key != "service")
        {
            put(&mut kept, key, value);
        }

        kept.into()
    }
}

/// Returns the result that a word of an instrumentation means, however it is spelled, or `None`
/// for one that says neither (`unknown`, which ECS allows).
fn known_outcome(word: &str) -> Option<&'static str> {
    let word = word.trim().to_ascii_lowercase();
    match &*word {
        "success" | "succeeded" | "successful" | "succeed" | "ok" | "pass" | "passed" | "allow"
        | "allowed" | "granted" | "accepted" | "true" => Some("success"),
        "denied" | "deny" | "refused" | "rejected" | "reject" | "blocked" | "block"
        | "forbidden" | "unauthorized" | "unauthenticated" | "challenged" => Some("denied"),
        "failure" | "failed" | "fail" | "error" | "errored" | "invalid" | "false"
        | "unsuccessful" | "timeout" | "aborted" | "exception" => Some("failure"),
        _ => None,
    }
}

/// Returns the name of an event in lowercase, with everything but letters and digits as `_`.
fn plain_name(name: &str) -> String {
    let plain = |c: char| {
        if c.is_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            '_'
        }
    };
    name.chars().map(plain).collect()
}

/// What stands beside a login's name in the names of events that are not attempts to log in:
/// pages, settings and the upkeep of authentication methods.
const NO_ATTEMPT: [&str; 24] = [
    "banner",
    "page",
    "form",
    "screen",
    "view",
    "viewed",
    "button",
    "link",
    "history",
    "setting",
    "settings",
    "config",
    "method",
    "methods",
    "provider",
    "registered",
    "registration",
    "enrolled",
    "added",
    "removed",
    "deleted",
    "changed",
    "updated",
    "rendered",
];

/// Returns whether `name` is about a login, and the action under the name that the rules use.
fn login_action(name: String, result: &str) -> (bool, String) {
    let has = |word: &str| name.contains(word);
    if has("logout") || has("signout") || has("sign_out") {
        return (true, "logout".to_owned());
    }

    let named = ["login", "logon", "signin", "sign_in", "authenticat"]
        .into_iter()
        .any(|word| name.replace("authenticator", "").contains(word));
    let refused = ["fail", "denied", "invalid", "rejected", "refused"]
        .into_iter()
        .any(has);
    // A name that tells of a refusal is an attempt, whatever else it says.
    let upkeep = !refused && name.split('_').any(|word| NO_ATTEMPT.contains(&word));
    if named && !upkeep {
        let failed = result != "success" || refused;
        return (
            true,
            if failed { "login_failed" } else { "login" }.to_owned(),
        );
    }

    (false, name)
}

/// Cuts a text to `max` bytes at a character boundary and replaces NUL, which PostgreSQL cannot
/// store, and its JSON escape. A monitored user may choose the text, which must not get the event
/// rejected.
fn clean_text(text: &str, max: usize) -> String {
    text[..text.floor_char_boundary(max)]
        .replace('\0', "\u{fffd}")
        .replace("\\u0000", "\u{fffd}")
}

fn to_hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().take(64).flat_map(|b| [b >> 4, b & 15]);
    digits
        .filter_map(|d| char::from_digit(u32::from(d), 16))
        .collect()
}

#[cfg(test)]
mod tests;
