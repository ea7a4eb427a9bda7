//! Turns hostile bytes into text, and text into JSON.

use std::borrow::Cow;
use std::net::IpAddr;

use model::Text;

/// Decodes bytes as text. Replaces invalid UTF-8, and NUL, which PostgreSQL cannot store.
pub(crate) fn lossy_text(bytes: &[u8]) -> Text<'_> {
    let text = String::from_utf8_lossy(bytes);
    if memchr::memchr(0, bytes).is_some() {
        return text.replace('\0', "\u{fffd}").into();
    }
    match text {
        Cow::Borrowed(text) => text.into(),
        Cow::Owned(text) => text.into(),
    }
}

/// Parses an address as servers and proxies write it.
pub(crate) fn parse_address(bytes: &[u8]) -> Option<IpAddr> {
    model::address::client(str::from_utf8(bytes).ok()?)
}

/// Parses a process ID.
pub(crate) fn parse_pid(digits: &[u8]) -> Option<u32> {
    str::from_utf8(digits).ok()?.parse().ok()
}

/// Strips leading NULs and a byte order mark. NULs precede the first new line of a file that was
/// truncated under a writer that does not append, or that a crash left with a hole.
pub(crate) fn without_padding(line: &[u8]) -> &[u8] {
    let start = line.iter().position(|byte| *byte != 0);
    let line = &line[start.unwrap_or(line.len())..];
    line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line)
}

/// Returns the details of an attempt whose client cannot be named. Such attempts are counted by the
/// host that logged them.
pub(crate) fn unnamed_origin(host: &[u8]) -> String {
    let mut details = Object::with_capacity(host.len() + 16);
    details.text_field(
        "origin",
        if host.is_empty() {
            b"unknown host"
        } else {
            &host[..host.len().min(255)]
        },
    );

    details.finish()
}

/// Adds the details of an attempt by a client of which only the host name is known. Attempts are
/// counted by that name, regardless of case.
pub(crate) fn add_named_origin(details: &mut Object, host: &[u8]) {
    let host = host[..host.len().min(255)].to_ascii_lowercase();
    let host = host.strip_suffix(b".").unwrap_or(&host);
    details.text_field("host", host).text_field("origin", host);
}

/// A flat JSON object that is written field by field.
pub(crate) struct Object {
    json: String,
}

impl Object {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        let mut json = String::with_capacity(bytes);
        json.push('{');
        Self { json }
    }

    fn push_key(&mut self, key: &str) {
        if self.json.len() > 1 {
            self.json.push(',');
        }
        self.json.push('"');
        self.json.push_str(key);
        self.json.push_str("\":");
    }

    /// Adds a string field. `key` is written as it is: it must not need escaping.
    pub(crate) fn text_field(&mut self, key: &str, value: &[u8]) -> &mut Self {
        self.push_key(key);
        self.json.push('"');
        for part in lossy_text(value).split_inclusive(|c: char| c < ' ' || matches!(c, '"' | '\\'))
        {
            let mut chars = part.chars();
            match chars.next_back() {
                Some('"') => self.push_escaped(chars.as_str(), "\\\""),
                Some('\\') => self.push_escaped(chars.as_str(), "\\\\"),
                Some('\n') => self.push_escaped(chars.as_str(), "\\n"),
                Some(c) if c < ' ' => {
                    self.push_escaped(chars.as_str(), &format!("\\u{:04x}", c as u32));
                }
                _ => self.json.push_str(part),
            }
        }

        self.json.push('"');
        self
    }

    fn push_escaped(&mut self, before: &str, escape: &str) {
        self.json.push_str(before);
        self.json.push_str(escape);
    }

    /// Adds a number from the digits in a line; adds nothing when they are not a number.
    pub(crate) fn number_field(&mut self, key: &str, digits: &[u8]) -> &mut Self {
        let Ok(number) = str::from_utf8(digits).unwrap_or_default().parse::<u64>() else {
            return self;
        };
        self.push_key(key);
        // JSON does not allow leading zeros.
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
        fn any_bytes_become_valid_json(
            value in proptest::collection::vec(any::<u8>(), 0..60),
            number in "[0-9]{0,24}",
        ) {
            let mut object = Object::with_capacity(9);
            object
                .text_field("a", &value)
                .number_field("n", number.as_bytes())
                .text_field("b", b"x");
            let json: serde_json::Value = serde_json::from_str(&object.finish()).unwrap();
            prop_assert_eq!(json["a"].as_str().unwrap(), &*lossy_text(&value));
            prop_assert_eq!(json["n"].as_u64(), number.parse().ok());
        }
    }
}
