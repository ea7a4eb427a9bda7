//! What readers of JSON share: fields that may be missing.

use serde_json::Value;

use crate::ReadError;

/// A text of a field, empty when there is none.
pub(crate) fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// The same; none when it is empty.
pub(crate) fn maybe(value: &Value, key: &str) -> Option<String> {
    Some(text(value, key))
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
}

/// The items of a list, none when there is none.
pub(crate) fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value
        .get(key)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// The texts of a list.
pub(crate) fn texts(value: &Value, key: &str) -> Vec<String> {
    list(value, key)
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

/// A day or a moment as its publisher writes it: none when there is none, an error when it is no
/// time that a calendar has. `infinity` and the year 99999 are times to a database.
pub(crate) fn moment(
    value: &Value,
    key: &str,
    format: &'static str,
) -> Result<Option<String>, ReadError> {
    let Some(text) = maybe(value, key) else {
        return Ok(None);
    };
    let known =
        text.parse::<jiff::Timestamp>().is_ok() || text.parse::<jiff::civil::DateTime>().is_ok();
    if !known || text.starts_with(['+', '-']) {
        return Err(ReadError::Shape {
            format,
            reason: format!("`{key}` is no date: {}", crate::cut(&text, 40)),
        });
    }

    Ok(Some(text))
}

/// The same for a day.
pub(crate) fn day(
    value: &Value,
    key: &str,
    format: &'static str,
) -> Result<Option<String>, ReadError> {
    let Some(text) = moment(value, key, format)? else {
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

pub(crate) fn parse(text: &str) -> Result<Value, ReadError> {
    serde_json::from_str(text).map_err(|error| ReadError::Syntax("JSON", error.to_string()))
}
