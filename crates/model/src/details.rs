//! The `metadata` of an event: a JSON object, unparsed until a field is asked for.

use std::borrow::Cow;

use sonic_rs::{JsonValueTrait, LazyValue};
use uuid::Uuid;

use crate::service::ServiceName;

/// The event's `metadata`.
#[derive(Clone, Debug, Default)]
pub struct Details<'a> {
    json: Cow<'a, str>,
    /// Of a valid object of scalars without a backslash: where its fields are. None of any other.
    flat: Option<Places>,
}

/// Where the values of [`ASKED`] are in an object of scalars.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Places([Place; ASKED.len()]);

/// Where a value begins and how long it is; nowhere when it is of no length, which no JSON value
/// is.
type Place = (u16, u16);

/// The fields that rules ask for.
pub(crate) const ASKED: [&str; 6] = [
    "username",
    "email",
    "role",
    "home_instance_id",
    "bytes",
    "status",
];

impl Places {
    fn of(key: &[u8]) -> Option<usize> {
        // Written out, so that the compiler looks at the length first and then compares numbers.
        match key {
            b"username" => Some(0),
            b"email" => Some(1),
            b"role" => Some(2),
            b"home_instance_id" => Some(3),
            b"bytes" => Some(4),
            b"status" => Some(5),
            _ => None,
        }
    }

    /// Takes note of a field; of two of one name the first counts, as it does for the library.
    pub(crate) fn note(&mut self, key: &[u8], from: usize, length: usize) {
        // A place beyond the numbers is beyond the limit of `metadata` too, and such an object is
        // refused.
        if let (Some(i), Ok(from), Ok(length)) =
            (Self::of(key), u16::try_from(from), u16::try_from(length))
            && self.0[i].1 == 0
        {
            self.0[i] = (from, length);
        }
    }
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
            // A number in quotation marks is one, too: who writes the event chooses how.
            Self::Plain(json) => {
                let digits = json.trim_matches('"');
                digits.parse().ok().or_else(|| float(digits.parse().ok()?))
            }
            Self::Any(value) => value
                .as_u64()
                .or_else(|| float(value.as_f64()?))
                .or_else(|| value.as_str()?.trim().parse().ok()),
        }
    }
}

impl<'a> Details<'a> {
    /// Wraps a JSON text. The text is not checked here: a field of a text that is no object is
    /// absent.
    pub fn from_json(json: impl Into<Cow<'a, str>>) -> Self {
        Self {
            json: json.into(),
            flat: None,
        }
    }

    /// Wraps a JSON text that will be asked for fields: looks once where they are, when it is of
    /// the usual shape.
    pub fn read(json: &'a str) -> Self {
        crate::audit::flat::details(json).unwrap_or_else(|| Self::from_json(json))
    }

    /// Wraps a JSON text that one of our parsers has just made, and looks once where its fields are.
    pub fn made(json: String) -> Details<'static> {
        let flat = crate::audit::flat::details(&json).and_then(|details| details.flat);
        Details {
            json: Cow::Owned(json),
            flat,
        }
    }

    /// Wraps what is known to be a valid object that holds no other, without any backslash.
    pub(crate) fn from_flat(json: &'a str, places: Places) -> Self {
        Self {
            json: Cow::Borrowed(json),
            flat: Some(places),
        }
    }

    /// The JSON text; empty when there is none.
    pub fn as_json(&self) -> &str {
        &self.json
    }

    /// The same with `service`.
    pub fn with_service(&self, service: &ServiceName) -> Details<'static> {
        // The name has no character that JSON would escape.
        self.with_fields(format_args!(r#""service":"{service}""#))
    }

    /// The same with fields of blueteam's own, as JSON. At the end, because of two equal keys
    /// `jsonb` keeps the last: what was said before does not count.
    pub fn with_fields(&self, fields: impl std::fmt::Display) -> Details<'static> {
        let inner = self
            .json
            .trim()
            .strip_prefix('{')
            .and_then(|m| m.strip_suffix('}'))
            .unwrap_or("")
            .trim();
        let comma = if inner.is_empty() { "" } else { "," };
        Details {
            json: format!("{{{inner}{comma}{fields}}}").into(),
            flat: None,
        }
    }

    /// The same, owning its bytes.
    pub fn into_owned(self) -> Details<'static> {
        Details {
            json: Cow::Owned(self.json.into_owned()),
            flat: self.flat,
        }
    }

    /// Whether `key` can be in there at all. A search for the bytes costs a tenth of a parse; an
    /// escape in the text leads to the parser, so that `"ro\u006ce"` hides nothing.
    fn may_hold(&self, key: &str) -> bool {
        !self.json.is_empty()
            && (self.json.contains(key) || memchr::memchr(b'\\', self.json.as_bytes()).is_some())
    }

    fn get(&self, key: &str) -> Option<Field<'_>> {
        if let Some(Places(places)) = &self.flat
            && let Some(i) = Places::of(key.as_bytes())
        {
            let (from, length) = places[i];
            let (from, length) = (usize::from(from), usize::from(length));
            (length > 0)
                .then(|| self.json.get(from..from + length))
                .flatten()
                .map(Field::Plain)
        } else if self.may_hold(key) {
            sonic_rs::get(self.json.as_ref(), [key])
                .ok()
                .map(Field::Any)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_escaped_key_hides_nothing() {
        assert_eq!(
            Details::from_json(r#"{"r\u006fle":"user"}"#)
                .text("role")
                .as_deref(),
            Some("user")
        );

        assert_eq!(
            Details::from_json(r#"{"a":{"role":"admin"},"role":"user"}"#)
                .text("role")
                .as_deref(),
            Some("user")
        );
        assert_eq!(
            Details::from_json(r#"{"a":{"role":"admin"}}"#).text("role"),
            None
        );

        assert_eq!(Details::from_json("not json role").text("role"), None);
        assert_eq!(Details::default().text("role"), None);
    }

    #[test]
    fn how_a_text_is_read_does_not_change_what_is_in_it() {
        for json in [
            r#"{"role": "user", "bytes": 17, "username": "ann", "home_instance_id": "44f77e1d-27b0-462a-95d1-33698d7d690a"}"#,
            r#"{"bytes": 1.5e3, "role": null}"#,
            r#"{"a": {"role": "admin"}, "role": "user"}"#,
            r#"{"role": "us\u0065r"}"#,
            r#"{"role": "user"} x"#,
            "{}",
            "",
            "7",
        ] {
            let (read, any) = (Details::read(json), Details::from_json(json));
            for key in ASKED {
                assert_eq!(read.text(key), any.text(key), "{key} of {json}");
                assert_eq!(read.number(key), any.number(key), "{key} of {json}");
                assert_eq!(read.uuid(key), any.uuid(key), "{key} of {json}");
            }
        }
    }

    #[test]
    fn the_service_comes_last() {
        let name: ServiceName = "eqmon".parse().unwrap();
        for (json, expected) in [
            ("", r#"{"service":"eqmon"}"#),
            (" { } ", r#"{"service":"eqmon"}"#),
            (
                r#"{"service":"other"}"#,
                r#"{"service":"other","service":"eqmon"}"#,
            ),
        ] {
            assert_eq!(
                Details::from_json(json).with_service(&name).as_json(),
                expected
            );
        }
    }
}
