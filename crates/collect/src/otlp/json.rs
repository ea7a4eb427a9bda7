//! The JSON encoding: names in lowerCamelCase, 64-bit numbers as strings or numbers, IDs in
//! hexadecimal.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::{
    ATTRIBUTES_MAX, DEPTH_MAX, Meaning, OtlpError, RECORD_MAX, Record, clean_text,
    malformed_record, too_large_record,
};

/// How deep a request is read; the library ends at 128. Of attributes and bodies, [`DEPTH_MAX`]
/// levels are kept, each of which takes three of these.
const NESTING_MAX: usize = 100;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    #[serde(borrow, default, deserialize_with = "list_or_null")]
    resource_logs: Vec<ResourceLogs<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResourceLogs<'a> {
    #[serde(borrow, default)]
    resource: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "list_or_null")]
    scope_logs: Vec<ScopeLogs<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ScopeLogs<'a> {
    /// Raw, so that each record is parsed by itself.
    #[serde(borrow, default, deserialize_with = "list_or_null")]
    log_records: Vec<&'a RawValue>,
}

/// Reads a list; `null` is an empty one, as the JSON encoding of protobuf says.
fn list_or_null<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

pub(super) fn read_request(
    body: &[u8],
    max_records: usize,
    mut on_record: impl FnMut(&[u8], Meaning),
) -> Result<(), OtlpError> {
    // serde would accept an array as the fields of an object in order.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(OtlpError::Malformed);
    }

    // Invalid text in one record must not affect the others, nor may one that is nested deeper than
    // the library reads be lost.
    let body = model::audit::clean_json(body);
    let body = model::audit::limit_depth(&body, NESTING_MAX);
    let request: Request<'_> = serde_json::from_str(&body).map_err(|_| OtlpError::Malformed)?;
    let scopes = request.resource_logs.iter().flat_map(|r| &r.scope_logs);
    if scopes.map(|s| s.log_records.len()).sum::<usize>() > max_records {
        return Err(OtlpError::TooMany);
    }

    for logs in &request.resource_logs {
        let resource = logs.resource.filter(|raw| raw.get().len() <= RECORD_MAX);
        let resource = resource
            .and_then(|raw| serde_json::from_str(raw.get()).ok())
            .unwrap_or(Value::Null);
        let resource = decode_attributes(&resource, 0);
        for raw in logs.scope_logs.iter().flat_map(|scope| &scope.log_records) {
            let raw = raw.get();
            let meaning = if raw.len() > RECORD_MAX {
                too_large_record()
            } else {
                match serde_json::from_str::<Value>(raw) {
                    Ok(value @ Value::Object(_)) => decode_record(&value).interpret_with(&resource),
                    _ => malformed_record(),
                }
            };
            on_record(raw.as_bytes(), meaning);
        }
    }

    Ok(())
}

fn decode_text(value: &Value) -> String {
    clean_text(value.as_str().unwrap_or_default(), RECORD_MAX)
}

/// Decodes a 64-bit number from a string or a number.
fn decode_nanos(value: &Value) -> u64 {
    value
        .as_u64()
        .or_else(|| value.as_str()?.parse().ok())
        .unwrap_or(0)
}

fn decode_record(value: &Value) -> Record {
    Record {
        time: decode_nanos(&value["timeUnixNano"]),
        observed: decode_nanos(&value["observedTimeUnixNano"]),
        severity: value["severityNumber"].as_i64().unwrap_or(0),
        severity_text: decode_text(&value["severityText"]),
        name: decode_text(&value["eventName"]),
        body: decode_any(&value["body"], 0),
        trace_id: decode_text(&value["traceId"]),
        span_id: decode_text(&value["spanId"]),
        attributes: decode_attributes(value, 0),
    }
}

/// Decodes the attributes of a record or a resource, or the values of a `kvlistValue`.
fn decode_pairs(list: &Value, depth: usize) -> Map<String, Value> {
    let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
    let pair = |kv: &Value| Some((decode_text(&kv["key"]), decode_any(&kv["value"], depth)?));
    list.iter().filter_map(pair).take(ATTRIBUTES_MAX).collect()
}

fn decode_attributes(owner: &Value, depth: usize) -> Map<String, Value> {
    decode_pairs(&owner["attributes"], depth)
}

fn decode_any(value: &Value, depth: usize) -> Option<Value> {
    let (kind, value) = value.as_object()?.iter().next()?;

    match (kind.as_str(), value) {
        ("stringValue" | "bytesValue", Value::String(text)) => {
            Some(clean_text(text, RECORD_MAX).into())
        }
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
                    .filter_map(|item| decode_any(item, depth + 1))
                    .take(ATTRIBUTES_MAX)
                    .collect(),
            )
        }
        ("kvlistValue", list) if depth < DEPTH_MAX => {
            Some(decode_pairs(&list["values"], depth + 1).into())
        }
        _ => None,
    }
}
