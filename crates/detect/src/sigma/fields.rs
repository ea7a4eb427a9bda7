//! Fields of an event as rules name them: blueteam's own columns, the metadata of an application's
//! event, and the names of ECS and of Sigma's taxonomy for Linux and web servers.

use std::collections::BTreeSet;

use model::{Outcome, SecurityEvent, Source};
use rsigma_parser::{CorrelationCondition, CorrelationRule, Detection, SigmaRule};
use serde_json::{Map, Value, json};

/// Names that every event has under that name, where it has a value.
const COLUMNS: &[&str] = &[
    "account",
    "action",
    "category",
    "cui_accessed",
    "event_id",
    "instance_id",
    "ip_address",
    "metadata",
    "resource_id",
    "resource_type",
    "result",
    "role",
    "session_id",
    "severity",
    "source",
    "timestamp",
    "user_agent",
    "user_id",
];

/// Keys that collectors write into the metadata of events from logs. Only what one of them writes
/// belongs here: a rule on anything else can never fire on a log.
const LOG_KEYS: &[&str] = &[
    "bytes",
    "database",
    "duration_ms",
    "frames",
    "host",
    "level",
    "line",
    "message",
    "origin",
    "referer",
    "severity",
    "state",
    "status",
];

/// What a name of another vocabulary means here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    Account,
    Action,
    Address,
    Agent,
    Category,
    EventId,
    /// `success` or `failure`: a refusal is a failure.
    EcsOutcome,
    Session,
    Tenant,
    Time,
    UserId,
    /// Of a web request.
    Method,
    Path,
    Query,
    Target,
    /// The machine that logged it, its program, process and facility, who sent it, and through
    /// which file or listener it came.
    Host,
    Program,
    ProcessId,
    Facility,
    Peer,
    SourceId,
    /// ECS counts nanoseconds.
    DurationNanos,
    /// A key of the metadata.
    Metadata(&'static str),
}

/// The other names, each with its meaning. Dotted names are ECS (8.x), `c-…`, `cs-…` and `sc-…` are
/// the W3C names of Sigma's taxonomy for web servers.
const SYNONYMS: &[(&str, Meaning)] = &[
    ("@timestamp", Meaning::Time),
    ("User", Meaning::Account),
    ("c-ip", Meaning::Address),
    ("c-uri", Meaning::Target),
    ("c-uri-query", Meaning::Query),
    ("c-uri-stem", Meaning::Path),
    ("c-useragent", Meaning::Agent),
    ("client.address", Meaning::Address),
    ("client.ip", Meaning::Address),
    ("cs-bytes", Meaning::Metadata("request_bytes")),
    ("cs-host", Meaning::Metadata("host")),
    ("cs-method", Meaning::Method),
    ("cs-referer", Meaning::Metadata("referer")),
    ("cs-referrer", Meaning::Metadata("referer")),
    ("cs-uri-query", Meaning::Query),
    ("cs-uri-stem", Meaning::Path),
    ("cs-user-agent", Meaning::Agent),
    ("cs-username", Meaning::Account),
    ("event.action", Meaning::Action),
    ("event.category", Meaning::Category),
    ("event.duration", Meaning::DurationNanos),
    ("event.id", Meaning::EventId),
    ("event.outcome", Meaning::EcsOutcome),
    ("facility", Meaning::Facility),
    ("host", Meaning::Host),
    ("host.hostname", Meaning::Host),
    ("host.name", Meaning::Host),
    ("hostname", Meaning::Host),
    ("http.request.method", Meaning::Method),
    ("http.request.referrer", Meaning::Metadata("referer")),
    ("http.response.body.bytes", Meaning::Metadata("bytes")),
    ("http.response.bytes", Meaning::Metadata("bytes")),
    ("http.response.status_code", Meaning::Metadata("status")),
    ("log.file.path", Meaning::SourceId),
    ("log.level", Meaning::Metadata("level")),
    ("log.source.address", Meaning::Peer),
    ("log.syslog.appname", Meaning::Program),
    ("log.syslog.facility.name", Meaning::Facility),
    ("log.syslog.hostname", Meaning::Host),
    ("log.syslog.procid", Meaning::ProcessId),
    ("message", Meaning::Metadata("message")),
    ("organization.id", Meaning::Tenant),
    ("pid", Meaning::ProcessId),
    ("process.name", Meaning::Program),
    ("process.pid", Meaning::ProcessId),
    ("program", Meaning::Program),
    ("sc-bytes", Meaning::Metadata("bytes")),
    ("sc-status", Meaning::Metadata("status")),
    ("service.name", Meaning::Metadata("service")),
    ("session.id", Meaning::Session),
    ("source.address", Meaning::Address),
    ("source.ip", Meaning::Address),
    ("src_ip", Meaning::Address),
    ("url.domain", Meaning::Metadata("host")),
    ("url.original", Meaning::Target),
    ("url.path", Meaning::Path),
    ("url.query", Meaning::Query),
    ("user.id", Meaning::UserId),
    ("user.name", Meaning::Account),
    ("user_agent.original", Meaning::Agent),
];

fn meaning_of(name: &str) -> Option<Meaning> {
    SYNONYMS
        .iter()
        .find(|(synonym, _)| *synonym == name)
        .map(|(_, meaning)| *meaning)
}

/// What kind of thing a field identifies, for the entity of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Identifies {
    Address,
    User,
    Session,
    Nothing,
}

/// Returns what a field identifies.
pub(super) fn identifies(name: &str) -> Identifies {
    match (name, meaning_of(name)) {
        ("ip_address", _) | (_, Some(Meaning::Address)) => Identifies::Address,
        ("user_id" | "account", _) | (_, Some(Meaning::Account | Meaning::UserId)) => {
            Identifies::User
        }
        ("session_id", _) | (_, Some(Meaning::Session)) => Identifies::Session,
        _ => Identifies::Nothing,
    }
}

/// Whether events of log sources (all but the audit events of applications, whose metadata may hold
/// any key) can have a field.
pub(super) fn logs_have(name: &str) -> bool {
    let key = name
        .strip_prefix("metadata.")
        .or_else(|| name.strip_prefix("details."))
        .unwrap_or(name);
    COLUMNS.contains(&name)
        || match meaning_of(name) {
            Some(Meaning::Metadata(key)) => LOG_KEYS.contains(&key),
            Some(_) => true,
            None => LOG_KEYS.contains(&key),
        }
}

/// Returns the fields that a rule names.
pub(super) fn names_of(rule: &SigmaRule) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for part in rule.detection.named.values() {
        collect_names(part, &mut names);
    }
    names
}

fn collect_names(part: &Detection, names: &mut BTreeSet<String>) {
    match part {
        Detection::AllOf(items) => {
            names.extend(items.iter().filter_map(|item| item.field.name.clone()));
        }
        Detection::AnyOf(parts) | Detection::And(parts) => {
            for part in parts {
                collect_names(part, names);
            }
        }
        Detection::ArrayMatch { field, .. } => {
            names.insert(field.clone());
        }
        Detection::Conditional { .. } | Detection::Keywords(_) => {}
    }
}

/// Returns the fields that a correlation names.
pub(super) fn correlation_names(rule: &CorrelationRule) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = rule.group_by.iter().cloned().collect();
    for alias in &rule.aliases {
        names.remove(&alias.alias);
        names.extend(alias.mapping.values().cloned());
    }
    if let CorrelationCondition::Threshold {
        field: Some(fields),
        ..
    } = &rule.condition
    {
        names.extend(fields.iter().cloned());
    }

    names
}

/// The names in use that are no columns. Only these are looked up for each event.
#[derive(Debug, Default)]
pub(super) struct Fields {
    others: Vec<(String, Option<Meaning>)>,
}

impl Fields {
    pub(super) fn new(names: BTreeSet<String>) -> Self {
        let others = names
            .into_iter()
            .filter(|name| !COLUMNS.contains(&name.as_str()))
            .map(|name| {
                let meaning = meaning_of(&name);
                (name, meaning)
            });
        Self {
            others: others.collect(),
        }
    }

    /// Returns an event as rules see it: an object with the columns, `metadata`, and each other
    /// name in use that the event has a value for.
    pub(super) fn of_event(&self, event: &SecurityEvent<'_>) -> Value {
        let mut map = columns(event);
        let metadata = match serde_json::from_str(event.details.as_json()) {
            Ok(Value::Object(metadata)) => metadata,
            _ => Map::new(),
        };

        for (name, meaning) in &self.others {
            // An application's own key of that name says more than what blueteam concludes.
            let key = name
                .strip_prefix("metadata.")
                .or_else(|| name.strip_prefix("details."))
                .unwrap_or(name);
            let value = find_path(&metadata, key)
                .cloned()
                .or_else(|| meaning.and_then(|meaning| value_of(meaning, event, &metadata)));
            if let Some(value) = value {
                map.insert(name.clone(), value);
            }
        }

        map.insert("metadata".to_owned(), Value::Object(metadata));
        Value::Object(map)
    }
}

/// Follows a path through objects whose keys may hold dots themselves, as attributes of
/// OpenTelemetry do: at each object, the longest key that fits comes first.
fn find_path<'a>(object: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    if let Some(value) = object.get(path) {
        return Some(value);
    }

    path.rmatch_indices('.').find_map(|(dot, _)| {
        let inner = object.get(&path[..dot])?.as_object()?;
        find_path(inner, &path[dot + 1..])
    })
}

fn value_of(
    meaning: Meaning,
    event: &SecurityEvent<'_>,
    metadata: &Map<String, Value>,
) -> Option<Value> {
    let request = event.source == Source::Nginx;
    let place = event.provenance.as_deref();
    let target = || event.resource_id.as_deref().filter(|_| request);
    match meaning {
        Meaning::Account => event.account().map(|account| json!(account)),
        Meaning::Action => Some(json!(event.action)),
        Meaning::Address => event.ip_address.map(|ip| json!(ip)),
        Meaning::Agent => event.user_agent.as_ref().map(|agent| json!(agent)),
        Meaning::Category => Some(json!(event.category)),
        Meaning::EventId => Some(json!(event.event_id)),
        Meaning::EcsOutcome => Some(json!(if event.result == Outcome::Success {
            "success"
        } else {
            "failure"
        })),
        Meaning::Session => event.session_id.as_ref().map(|session| json!(session)),
        Meaning::Tenant => event.instance_id.map(|tenant| json!(tenant)),
        Meaning::Time => Some(json!(event.timestamp)),
        Meaning::UserId => event.user_id.as_ref().map(|user| json!(user.to_string())),
        Meaning::Method => event
            .resource_type
            .as_ref()
            .filter(|_| request)
            .map(|method| json!(method)),
        Meaning::Target => target().map(|target| json!(target)),
        Meaning::Path => target().map(|t| json!(t.split_once('?').map_or(t, |(path, _)| path))),
        Meaning::Query => target()?.split_once('?').map(|(_, query)| json!(query)),
        // Of an audit event it is what the application says; in an access log, `host` is the
        // client's name.
        Meaning::Host if event.source == Source::AuditDb => metadata.get("host").cloned(),
        Meaning::Host => place?.host.as_ref().map(|host| json!(host)),
        Meaning::Program => place?.program.as_ref().map(|program| json!(program)),
        Meaning::ProcessId => place?.pid.map(|pid| json!(pid)),
        Meaning::Facility => place?.facility.as_ref().map(|facility| json!(facility)),
        Meaning::Peer => place?.peer.map(|peer| json!(peer)),
        Meaning::SourceId => place?.source_id.as_ref().map(|source| json!(source)),
        Meaning::DurationNanos => {
            let millis = metadata.get("duration_ms")?.as_u64()?;
            Some(json!(millis.saturating_mul(1_000_000)))
        }
        Meaning::Metadata(key) => metadata.get(key).cloned(),
    }
}

fn columns(event: &SecurityEvent<'_>) -> Map<String, Value> {
    let mut map = Map::new();
    let mut set = |key: &str, value: Value| {
        map.insert(key.to_owned(), value);
    };
    set("event_id", json!(event.event_id));
    set("timestamp", json!(event.timestamp));
    set("source", json!(event.source));
    set("category", json!(event.category));

    set("severity", json!(event.severity()));
    set("action", json!(event.action));
    set("result", json!(event.result));
    set("cui_accessed", json!(event.cui_involved));

    let texts = [
        ("session_id", &event.session_id),
        ("user_agent", &event.user_agent),
        ("resource_type", &event.resource_type),
        ("resource_id", &event.resource_id),
    ];
    for (key, text) in texts {
        if let Some(text) = text {
            set(key, json!(text));
        }
    }

    let others = [
        (
            "user_id",
            event.user_id.as_ref().map(|user| json!(user.to_string())),
        ),
        ("account", event.account().map(|account| json!(account))),
        ("ip_address", event.ip_address.map(|ip| json!(ip))),
        ("instance_id", event.instance_id.map(|tenant| json!(tenant))),
        ("role", event.role().map(|role| json!(role))),
    ];
    for (key, value) in others {
        if let Some(value) = value {
            set(key, value);
        }
    }

    map
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_with_dots_are_found_however_they_nest() {
        let Value::Object(metadata) = json!({
            "order.total": 7, "a": {"b.c": 8, "b": {"d": 9}}, "a.b": {"e": 10}
        }) else {
            unreachable!()
        };

        for (path, found) in [
            ("order.total", Some(7)),
            ("a.b.c", Some(8)),
            ("a.b.d", Some(9)),
            ("a.b.e", Some(10)),
            ("order", None),
            ("a.x", None),
        ] {
            let value = find_path(&metadata, path).and_then(Value::as_u64);
            assert_eq!(value, found, "{path}");
        }
    }

    #[test]
    fn lists_are_sorted_and_hold_each_name_once() {
        assert!(COLUMNS.is_sorted_by(|a, b| a < b));
        assert!(LOG_KEYS.is_sorted_by(|a, b| a < b));
        assert!(SYNONYMS.is_sorted_by(|a, b| a.0 < b.0));
    }
}
