//! The `metadata` of an event: a JSON object, unparsed until somebody asks for a field of it.

use std::borrow::Cow;

use sonic_rs::{JsonValueTrait, LazyValue};
use uuid::Uuid;

use crate::service::ServiceName;
use crate::text::next_quote;

/// The event's `metadata`.
#[derive(Clone, Debug, Default)]
pub struct Details<'a> {
    json: Cow<'a, str>,
    /// A valid object of scalars without a backslash, so that a string followed by a colon is a key.
    flat: bool,
}

/// How the text was come by says nothing about what is in it.
impl PartialEq for Details<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.json == other.json
    }
}

impl Eq for Details<'_> {}

/// A field's value.
enum Field<'a> {
    /// JSON text of a scalar without escapes.
    Plain(&'a str),
    Any(LazyValue<'a>),
}

impl Field<'_> {
    fn text(&self) -> Option<&str> {
        match self {
            Self::Plain(json) => json.strip_prefix('"')?.strip_suffix('"'),
            Self::Any(value) => value.as_str(),
        }
    }

    fn number(&self) -> Option<u64> {
        let float = |f: f64| (f.is_finite() && f >= 0.0).then_some(f as u64);
        match self {
            Self::Plain(json) => json.parse().ok().or_else(|| float(json.parse().ok()?)),
            Self::Any(value) => value.as_u64().or_else(|| float(value.as_f64()?)),
        }
    }
}

impl<'a> Details<'a> {
    /// Wraps a JSON text. The text is not checked here: a field of a text that is no object is absent.
    pub fn from_json(json: impl Into<Cow<'a, str>>) -> Self {
        Self { json: json.into(), flat: false }
    }

    /// Wraps what is known to be a valid object that holds no other, without any backslash.
    pub(crate) fn from_flat(json: &'a str) -> Self {
        Self { json: Cow::Borrowed(json), flat: true }
    }

    /// The JSON text; empty when there is none.
    pub fn as_json(&self) -> &str {
        &self.json
    }

    /// The same with `service`. At the end, because of two equal keys `jsonb` keeps the last: what was said before does not count.
    pub fn with_service(&self, service: &ServiceName) -> Details<'static> {
        let inner = self.json.trim().strip_prefix('{').and_then(|m| m.strip_suffix('}')).unwrap_or("").trim();
        let comma = if inner.is_empty() { "" } else { "," };
        // The name has no character that JSON would escape.
        Details { json: format!(r#"{{{inner}{comma}"service":"{service}"}}"#).into(), flat: false }
    }

    /// The same, owning its bytes.
    pub fn into_owned(self) -> Details<'static> {
        Details { json: Cow::Owned(self.json.into_owned()), flat: self.flat }
    }

    /// Whether `key` can be in there at all. A search for the bytes costs a tenth of a parse; an escape in the text sends
    /// us to the parser, so that `"ro\u006ce"` hides nothing.
    fn may_hold(&self, key: &str) -> bool {
        !self.json.is_empty() && (self.json.contains(key) || memchr::memchr(b'\\', self.json.as_bytes()).is_some())
    }

    fn get(&self, key: &str) -> Option<Field<'_>> {
        if self.flat {
            find_flat(&self.json, key).map(Field::Plain)
        } else if self.may_hold(key) {
            sonic_rs::get(self.json.as_ref(), [key]).ok().map(Field::Any)
        } else {
            None
        }
    }

    /// A field that is a string.
    pub fn text(&self, key: &str) -> Option<String> {
        self.get(key)?.text().map(str::to_owned)
    }

    /// A field that is a non-negative number; its whole part.
    pub fn number(&self, key: &str) -> Option<u64> {
        self.get(key)?.number()
    }

    /// A field that is a UUID.
    pub fn uuid(&self, key: &str) -> Option<Uuid> {
        Uuid::try_parse(self.get(key)?.text()?).ok()
    }
}

/// The JSON text of a key's first value in a flat object.
fn find_flat<'a>(json: &'a str, key: &str) -> Option<&'a str> {
    let bytes = json.as_bytes();
    let mut at = next_quote(bytes, 0)?;
    loop {
        let end = next_quote(bytes, at + 1)?;
        let found = bytes.get(at + 1..end)? == key.as_bytes();
        // Past the colon and the blanks about it.
        let start = end + 1 + bytes.get(end + 1..)?.iter().position(|c| !matches!(c, b' ' | b':'))?;
        let end = if bytes[start] == b'"' {
            next_quote(bytes, start + 1)? + 1
        } else {
            start + bytes.get(start..)?.iter().position(|c| matches!(c, b',' | b'}' | b' '))?
        };
        if found {
            return json.get(start..end);
        }
        at = next_quote(bytes, end)?;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_escaped_key_hides_nothing() {
        assert_eq!(Details::from_json(r#"{"r\u006fle":"user"}"#).text("role").as_deref(), Some("user"));
        assert_eq!(Details::from_json(r#"{"a":{"role":"admin"},"role":"user"}"#).text("role").as_deref(), Some("user"));
        assert_eq!(Details::from_json(r#"{"a":{"role":"admin"}}"#).text("role"), None);
        assert_eq!(Details::from_json("not json role").text("role"), None);
        assert_eq!(Details::default().text("role"), None);
    }

    #[test]
    fn the_service_comes_last() {
        let name: ServiceName = "eqmon".parse().unwrap();
        for (json, expected) in [
            ("", r#"{"service":"eqmon"}"#),
            (" { } ", r#"{"service":"eqmon"}"#),
            (r#"{"service":"other"}"#, r#"{"service":"other","service":"eqmon"}"#),
        ] {
            assert_eq!(Details::from_json(json).with_service(&name).as_json(), expected);
        }
    }

    proptest! {
        /// The quick way finds what the library finds.
        #[test]
        fn a_flat_object_has_the_same_fields(
            fields in proptest::collection::vec(
                ("(a|role|arole|rolea|role: |,|bytes)", "(\"(role|:|role:|)\"|0|[1-9][0-9]{0,2}|-?[0-9]\\.5e1|true|null)", " ?", " ?"), 0..6
            ),
        ) {
            let fields: Vec<String> = fields.iter().map(|(k, v, a, b)| format!("\"{k}\"{a}:{b}{v}{a}")).collect();
            let json = format!("{{{}}}", fields.join(","));
            let (flat, any) = (Details::from_flat(&json), Details::from_json(json.as_str()));
            for key in ["role", "bytes", "a", ","] {
                prop_assert_eq!(flat.text(key), any.text(key), "{} of {}", key, json);
                prop_assert_eq!(flat.number(key), any.number(key), "{} of {}", key, json);
            }
        }
    }
}
