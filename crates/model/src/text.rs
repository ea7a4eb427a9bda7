//! Text that is borrowed from the input where it can be.

mod sanitize;

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::{Serialize, Serializer};

pub use sanitize::{clip, sanitize};

/// A string borrowed from the input unless it held an escape.
///
/// `Option<Cow<str>>` always allocates under serde; this type borrows, which is what makes a
/// million events a second possible.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Text<'a>(pub Cow<'a, str>);

impl Text<'_> {
    /// The same text, owning its bytes.
    pub fn into_owned(self) -> Text<'static> {
        Text(Cow::Owned(self.0.into_owned()))
    }
}

impl Text<'_> {
    /// Shortens the text in place when it is longer than `max` bytes; see [`shorten`].
    pub fn shorten(&mut self, max: usize) {
        if self.0.len() > max {
            self.0 = Cow::Owned(shorten(&self.0, max).into_owned());
        }
    }
}

impl Deref for Text<'_> {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(value: &'a str) -> Self {
        Self(Cow::Borrowed(value))
    }
}

impl From<String> for Text<'_> {
    fn from(value: String) -> Self {
        Self(Cow::Owned(value))
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;

        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(value)))
            }

            fn visit_str<E: Error>(self, value: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(value.to_owned())))
            }

            fn visit_string<E: Error>(self, value: String) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(value)))
            }
        }

        deserializer.deserialize_str(TextVisitor)
    }
}

/// The most bytes of a value that keys a rule or stands in an index: what the ingest API takes for
/// a session id. PostgreSQL's B-trees refuse entries of more than 2,704 bytes, and an entity stands
/// in one together with its source.
pub const KEY_BYTES_MAX: usize = 1_024;

/// Shortens a text that is longer than `max` bytes to its beginning, an ellipsis and a checksum of
/// the whole, so that two long texts that differ only at their ends stay different. Texts within
/// the limit are returned as they are, and so is what was shortened before. `max` must be at least
/// 32.
pub fn shorten(text: &str, max: usize) -> Cow<'_, str> {
    if text.len() <= max {
        return Cow::Borrowed(text);
    }

    // FNV-1a. It need not withstand an attacker: who makes two of their own texts look alike hides
    // nothing by it, because only one sender's values are compared with each other.
    let checksum = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let tail = format!("…{checksum:016x}");
    let end = text.floor_char_boundary(max.saturating_sub(tail.len()));

    Cow::Owned(format!("{}{tail}", &text[..end]))
}

/// The same for a text of one's own, which is not copied when it is short.
pub fn shortened(text: String, max: usize) -> String {
    if text.len() > max {
        shorten(&text, max).into_owned()
    } else {
        text
    }
}

/// Undoes the percent encoding of URLs (RFC 3986, section 2.1); what is none stays. Bytes that are
/// then no UTF-8 become replacement characters.
pub fn percent_decode(text: &str) -> String {
    let b = text.as_bytes();
    let hex = |c: Option<&u8>| c.and_then(|c| char::from(*c).to_digit(16)).map(|d| d as u8);
    let mut out = Vec::with_capacity(b.len());
    let mut at = 0;
    while let Some(&c) = b.get(at) {
        if let (b'%', Some(high), Some(low)) = (c, hex(b.get(at + 1)), hex(b.get(at + 2))) {
            out.push(high << 4 | low);
            at += 3;
        } else {
            out.push(c);
            at += 1;
        }
    }

    String::from_utf8_lossy(&out).into_owned()
}

/// `1 alert`, `2 alerts`, `0 entries`: a count with its noun.
pub fn counted(n: u64, noun: &str) -> String {
    match (n, noun.strip_suffix('y')) {
        (1, _) => format!("1 {noun}"),
        (_, Some(stem)) => format!("{n} {stem}ies"),
        (_, None) => format!("{n} {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_shortened_and_stay_different() {
        let long = |end: &str| format!("{}{end}", "é".repeat(4_000));
        let (a, b) = (long("a"), long("b"));
        let (short_a, short_b) = (shorten(&a, 1_024), shorten(&b, 1_024));

        assert!(
            short_a.len() <= 1_024 && short_a.len() > 1_000,
            "{}",
            short_a.len()
        );
        assert_ne!(short_a, short_b);
        assert_eq!(shorten(&short_a, 1_024), short_a);
        assert_eq!(shorten("as it is", 1_024), "as it is");
    }
}
