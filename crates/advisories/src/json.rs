//! Access to JSON fields that may be missing, for all readers.

use serde_json::Value;

use crate::ReadError;

/// Returns the text of a field; empty when it is missing.
pub(crate) fn text_of<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// Returns the text of a field; `None` when it is missing or empty.
pub(crate) fn non_empty(value: &Value, key: &str) -> Option<String> {
    Some(text_of(value, key))
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
}

/// Returns the items of a list; none when it is missing.
pub(crate) fn items_of<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value
        .get(key)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// Returns the texts of a list.
pub(crate) fn texts_of(value: &Value, key: &str) -> Vec<String> {
    items_of(value, key)
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

/// Returns a date or time as its publisher writes it; `None` when it is missing.
///
/// # Errors
///
/// It is not a calendar time. A database would accept `infinity` and the year 99999.
pub(crate) fn checked_time(
    value: &Value,
    key: &str,
    format: &'static str,
) -> Result<Option<String>, ReadError> {
    let Some(text) = non_empty(value, key) else {
        return Ok(None);
    };
    let known =
        text.parse::<jiff::Timestamp>().is_ok() || text.parse::<jiff::civil::DateTime>().is_ok();
    if !known || text.starts_with(['+', '-']) {
        return Err(ReadError::Shape {
            format,
            reason: format!("`{key}` is not a date: {}", crate::cut_text(&text, 40)),
        });
    }

    Ok(Some(text))
}

/// Returns the day of a date or time; otherwise as [`checked_time`].
pub(crate) fn checked_day(
    value: &Value,
    key: &str,
    format: &'static str,
) -> Result<Option<String>, ReadError> {
    let Some(text) = checked_time(value, key, format)? else {
        return Ok(None);
    };
    let at = text
        .parse::<jiff::Timestamp>()
        .map(|at| at.to_zoned(jiff::tz::TimeZone::UTC).date());
    Ok(text
        .parse::<jiff::civil::Date>()
        .or(at)
        .ok()
        .map(|day| day.to_string()))
}

/// Parses a document. PostgreSQL cannot store the character NUL, which JSON can escape; a
/// replacement character stands for it, so that one bad text keeps nothing else out.
pub(crate) fn parse_json(text: &str) -> Result<Value, ReadError> {
    let mut document =
        serde_json::from_str(text).map_err(|error| ReadError::Syntax("JSON", error.to_string()))?;
    if text.contains("\\u0000") {
        replace_nul(&mut document);
    }

    Ok(document)
}

fn replace_nul(value: &mut Value) {
    match value {
        Value::String(text) if text.contains('\0') => {
            *text = text.replace('\0', "\u{fffd}");
        }
        Value::Array(items) => items.iter_mut().for_each(replace_nul),
        // Names of fields are not stored.
        Value::Object(fields) => fields.values_mut().for_each(replace_nul),
        _ => {}
    }
}
