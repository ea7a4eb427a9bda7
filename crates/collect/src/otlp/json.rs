//! The JSON form: names in lowerCamelCase, 64-bit numbers as texts or numbers, ids in hexadecimal.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::{
    ATTRIBUTES_MAX, DEPTH_MAX, Meaning, OtlpError, RECORD_MAX, Record, broken, clip, too_large,
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    #[serde(borrow, default)]
    resource_logs: Vec<ResourceLogs<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResourceLogs<'a> {
    #[serde(borrow, default)]
    resource: Option<&'a RawValue>,
    #[serde(borrow, default)]
    scope_logs: Vec<ScopeLogs<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ScopeLogs<'a> {
    /// Unread: each is looked at by itself.
    #[serde(borrow, default)]
    log_records: Vec<&'a RawValue>,
}

pub(super) fn read(
    body: &[u8],
    most: usize,
    mut tell: impl FnMut(Meaning),
) -> Result<(), OtlpError> {
    // serde would take a list for an object's fields in order.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(OtlpError::Malformed);
    }

    // One record's text must not cost the others.
    let body = model::audit::clean_json(body);
    let request: Request<'_> = serde_json::from_str(&body).map_err(|_| OtlpError::Malformed)?;
    let scopes = request.resource_logs.iter().flat_map(|r| &r.scope_logs);
    if scopes.map(|s| s.log_records.len()).sum::<usize>() > most {
        return Err(OtlpError::TooMany);
    }

    for logs in &request.resource_logs {
        let resource = logs.resource.filter(|raw| raw.get().len() <= RECORD_MAX);
        let resource = resource
            .and_then(|raw| serde_json::from_str(raw.get()).ok())
            .unwrap_or(Value::Null);
        let resource = attributes(&resource, 0);
        for raw in logs.scope_logs.iter().flat_map(|scope| &scope.log_records) {
            tell(if raw.get().len() > RECORD_MAX {
                too_large()
            } else {
                match serde_json::from_str::<Value>(raw.get()) {
                    Ok(value @ Value::Object(_)) => record(&value).meaning(&resource),
                    _ => broken(),
                }
            });
        }
    }

    Ok(())
}

fn text(value: &Value) -> String {
    clip(value.as_str().unwrap_or_default(), RECORD_MAX)
}

/// A 64-bit number, as a text or a number.
fn nanos(value: &Value) -> u64 {
    value
        .as_u64()
        .or_else(|| value.as_str()?.parse().ok())
        .unwrap_or(0)
}

fn record(value: &Value) -> Record {
    Record {
        time: nanos(&value["timeUnixNano"]),
        observed: nanos(&value["observedTimeUnixNano"]),
        severity: value["severityNumber"].as_i64().unwrap_or(0),
        severity_text: text(&value["severityText"]),
        name: text(&value["eventName"]),
        body: any(&value["body"], 0),
        trace_id: text(&value["traceId"]),
        span_id: text(&value["spanId"]),
        attributes: attributes(value, 0),
    }
}

/// The attributes of a record or a resource, or the values of a `kvlistValue`.
fn pairs(list: &Value, depth: usize) -> Map<String, Value> {
    let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
    let pair = |kv: &Value| Some((text(&kv["key"]), any(&kv["value"], depth)?));
    list.iter().filter_map(pair).take(ATTRIBUTES_MAX).collect()
}

fn attributes(of: &Value, depth: usize) -> Map<String, Value> {
    pairs(&of["attributes"], depth)
}

fn any(value: &Value, depth: usize) -> Option<Value> {
    let (kind, value) = value.as_object()?.iter().next()?;
    match (kind.as_str(), value) {
        ("stringValue" | "bytesValue", Value::String(text)) => Some(clip(text, RECORD_MAX).into()),
        ("boolValue", Value::Bool(_)) | ("doubleValue" | "intValue", Value::Number(_)) => {
            Some(value.clone())
        }
        ("intValue", Value::String(text)) => text.parse::<i64>().ok().map(Value::from),
        ("arrayValue", list) if depth < DEPTH_MAX => {
            let items = list["values"]
                .as_array()
                .map(Vec::as_slice)
                .unwrap_or_default();
            Some(
                items
                    .iter()
                    .filter_map(|item| any(item, depth + 1))
                    .take(ATTRIBUTES_MAX)
                    .collect(),
            )
        }
        ("kvlistValue", list) if depth < DEPTH_MAX => {
            Some(pairs(&list["values"], depth + 1).into())
        }
        _ => None,
    }
}
