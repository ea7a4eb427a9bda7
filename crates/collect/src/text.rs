//! Hostile bytes into text, and text into JSON.

use std::borrow::Cow;
use std::net::IpAddr;

use model::Text;

/// Bytes as text: what is not UTF-8 is replaced, and so is NUL, which PostgreSQL cannot store.
pub(crate) fn text(bytes: &[u8]) -> Text<'_> {
    let text = String::from_utf8_lossy(bytes);
    if memchr::memchr(0, bytes).is_some() {
        return text.replace('\0', "\u{fffd}").into();
    }
    match text {
        Cow::Borrowed(text) => text.into(),
        Cow::Owned(text) => text.into(),
    }
}

/// An address as servers and proxies write it.
pub(crate) fn address(bytes: &[u8]) -> Option<IpAddr> {
    model::address::client(str::from_utf8(bytes).ok()?)
}

/// Past NULs, which stand before the first new line of a file that was truncated under a writer
/// that does not append, or that a crash left with a hole.
pub(crate) fn without_padding(line: &[u8]) -> &[u8] {
    &line[line
        .iter()
        .position(|byte| *byte != 0)
        .unwrap_or(line.len())..]
}

/// The details of an attempt whose client cannot be named: where it was made, which is what it is
/// counted by.
pub(crate) fn origin(host: &[u8]) -> String {
    let mut details = Object::with_capacity(host.len() + 16);
    details.text(
        "origin",
        if host.is_empty() {
            b"unknown host"
        } else {
            &host[..host.len().min(255)]
        },
    );

    details.finish()
}

/// The details of an attempt by a client of which only the name is known: it is counted by that
/// name, in which case does not matter.
pub(crate) fn named_origin(details: &mut Object, host: &[u8]) {
    let host = host[..host.len().min(255)].to_ascii_lowercase();
    let host = host.strip_suffix(b".").unwrap_or(&host);
    details.text("host", host).text("origin", host);
}

/// A flat JSON object, written field by field.
pub(crate) struct Object {
    json: String,
}

impl Object {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        let mut json = String::with_capacity(bytes);
        json.push('{');
        Self { json }
    }

    fn key(&mut self, key: &str) {
        if self.json.len() > 1 {
            self.json.push(',');
        }
        self.json.push('"');
        self.json.push_str(key);
        self.json.push_str("\":");
    }

    /// A string field; `key` is ours and needs no escape.
    pub(crate) fn text(&mut self, key: &str, value: &[u8]) -> &mut Self {
        self.key(key);
        self.json.push('"');
        for part in text(value).split_inclusive(|c: char| c < ' ' || matches!(c, '"' | '\\')) {
            let mut chars = part.chars();
            match chars.next_back() {
                Some('"') => self.escaped(chars.as_str(), "\\\""),
                Some('\\') => self.escaped(chars.as_str(), "\\\\"),
                Some('\n') => self.escaped(chars.as_str(), "\\n"),
                Some(c) if c < ' ' => self.escaped(chars.as_str(), &format!("\\u{:04x}", c as u32)),
                _ => self.json.push_str(part),
            }
        }

        self.json.push('"');
        self
    }

    fn escaped(&mut self, before: &str, escape: &str) {
        self.json.push_str(before);
        self.json.push_str(escape);
    }

    /// A field that is a number: digits, as they stood in the line.
    pub(crate) fn number(&mut self, key: &str, digits: &[u8]) -> &mut Self {
        let Ok(number) = str::from_utf8(digits).unwrap_or_default().parse::<u64>() else {
            return self;
        };
        self.key(key);
        // Without the leading zeros that JSON refuses.
        self.json.push_str(&number.to_string());
        self
    }

    pub(crate) fn finish(mut self) -> String {
        self.json.push('}');
        self.json
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_goes_in_is_json(value in proptest::collection::vec(any::<u8>(), 0..60), number in "[0-9]{0,24}") {
            let mut object = Object::with_capacity(9);
            object.text("a", &value).number("n", number.as_bytes()).text("b", b"x");
            let json: serde_json::Value = serde_json::from_str(&object.finish()).unwrap();
            prop_assert_eq!(json["a"].as_str().unwrap(), &*text(&value));
            prop_assert_eq!(json["n"].as_u64(), number.parse().ok());
        }
    }
}
