//! JSON of strangers: no key twice, not too deep, not too many values.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::ReadError;

/// The most values of a file, all its lines together: it keeps what a file of brackets takes in
/// memory in bounds.
const VALUES_MAX: u32 = 8_000_000;
/// An object counts as so many: it takes half a kilobyte, whatever is in it.
const OBJECT_COSTS: u32 = 8;

/// Parses a document. Two values of one key are refused: which one counts is a matter of taste, and
/// a list of findings that is there twice could be read as none.
fn parse(text: &str, left: &Cell<u32>) -> Result<Value, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = Strict(left).deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

/// A text that is one document, or one in each line.
pub(crate) enum Documents {
    One(Value),
    Lines(Vec<Value>),
}

/// Parses a document, or as many as there are lines.
pub(crate) fn documents(text: &str) -> Result<Documents, ReadError> {
    let syntax = |reason: String| ReadError::Syntax {
        syntax: "JSON",
        reason,
    };
    let error = match parse(text, &Cell::new(VALUES_MAX)) {
        Ok(value) => return Ok(Documents::One(value)),
        Err(error) => error,
    };

    let is_written = |(_, line): &(usize, &str)| !line.trim().is_empty();
    let lines = || (1_usize..).zip(text.lines()).filter(is_written);
    let begins_with_object = lines().next().and_then(|(_, first)| line(first)).is_some();
    if !begins_with_object || lines().nth(1).is_none() {
        return Err(syntax(error.to_string()));
    }

    let left = Cell::new(VALUES_MAX);
    let parsed = lines().map(|(number, text)| {
        let place = |error: serde_json::Error| {
            // Each line is parsed as a document of its own, so that it knows no other number.
            let reason = error
                .to_string()
                .replace(" at line 1 column ", " at column ");
            syntax(format!("line {number}: {reason}"))
        };
        parse(text, &left).map_err(place)
    });
    Ok(Documents::Lines(parsed.collect::<Result<_, _>>()?))
}

/// Returns the object that a line is by itself.
pub(crate) fn line(text: &str) -> Option<Value> {
    let value = parse(text, &Cell::new(VALUES_MAX)).ok();
    value.filter(Value::is_object)
}

/// Returns the text of a field; empty when it is missing.
pub(crate) fn text_of<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// Returns the text of a field, or its number as a text.
pub(crate) fn word_of(value: &Value, key: &str) -> String {
    match value.get(key) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    }
}

/// Returns the items of a list; none when it is missing.
///
/// # Errors
///
/// There is something else in its place.
pub(crate) fn list_of<'a>(
    value: &'a Value,
    key: &str,
    format: &'static str,
) -> Result<&'a [Value], ReadError> {
    match value.get(key) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(items)) => Ok(items),
        Some(_) => Err(ReadError::shape(format, format!("`{key}` is not a list"))),
    }
}

/// Returns the texts of a list, or the one text that stands in its place.
pub(crate) fn texts_of<'a>(value: &'a Value, key: &str) -> Vec<&'a str> {
    match value.get(key) {
        Some(Value::String(text)) => vec![text],
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

struct Strict<'a>(&'a Cell<u32>);

impl Strict<'_> {
    fn count<E: Error>(&self, cost: u32) -> Result<(), E> {
        let left = self.0.get().checked_sub(cost);
        self.0
            .set(left.ok_or_else(|| E::custom("there are too many values in it"))?);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.count(1)?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(bounded(value)))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while let Some(item) = items.next_element_seed(Strict(self.0))? {
            all.push(item);
        }
        Ok(Value::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        self.count(OBJECT_COSTS)?;
        let mut all = Map::new();
        while let Some(key) = fields.next_key::<String>()? {
            let key = bounded(&key);
            let value = fields.next_value_seed(Strict(self.0))?;
            if all.contains_key(&key) {
                let key = crate::text::clean(&key, 60);
                return Err(A::Error::custom(format!("the key `{key}` is there twice")));
            }
            all.insert(key, value);
        }
        Ok(Value::Object(all))
    }
}

/// A text that a database can store, of a length that may stand in every result.
fn bounded(text: &str) -> String {
    let text = model::text::shorten(text, crate::text::STRING_MAX);
    text.replace('\0', "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Value, serde_json::Error> {
        super::parse(text, &Cell::new(VALUES_MAX))
    }

    #[test]
    fn a_key_is_there_once() {
        let twice = parse(r#"{"results":[],"results":[1]}"#).unwrap_err();

        assert!(twice.to_string().contains("`results` is there twice"));
        // What is the same once it is cleaned is the same.
        assert!(parse("{\"a\\u0000\":1,\"a\\ufffd\":2}").is_err());
    }

    #[test]
    fn depth_and_count_have_an_end() {
        assert!(parse(&"[".repeat(100_000)).is_err());
        assert!(parse(&format!("[{}0]", "0,".repeat(VALUES_MAX as usize))).is_err());
        assert!(documents(&"{}\n".repeat(1_000_000)).is_err());
    }

    #[test]
    fn no_text_is_longer_than_may_stand_in_every_result() {
        let long = |end: &str| parse(&format!("\"{}{end}\"", "x".repeat(100_000))).unwrap();

        assert!(long("a").as_str().is_some_and(|text| text.len() <= 4 << 10));
        assert_ne!(long("a"), long("b"));
    }

    #[test]
    fn a_broken_line_is_named() {
        let Err(error) = documents("{}\n\n{\"a\":\n{}\n") else {
            unreachable!("line 3 is broken");
        };

        assert!(error.to_string().contains("line 3"), "{error}");
    }
}
