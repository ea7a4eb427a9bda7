//! Bytes to text, and texts of strangers to texts that may be shown and stored.

use std::borrow::Cow;

use encoding_rs::Encoding;
use model::text::{clip, sanitize};

use crate::ReadError;

/// The largest report that is read. A scan of a whole network writes some megabytes; a larger file
/// would take a gigabyte of memory once it is taken apart.
pub const SIZE_MAX: usize = 32 << 20;

/// The most bytes of one text of a report. A longer one is shortened where it is read: a report that
/// names one text of megabytes in each of its thousand results would otherwise take gigabytes.
pub(crate) const STRING_MAX: usize = 4 << 10;

/// The most bytes of a title.
pub(crate) const TITLE_MAX: usize = 300;
/// The most bytes of a name: a rule, a module, a tool.
pub(crate) const NAME_MAX: usize = 200;
/// The most bytes of a place.
pub(crate) const PLACE_MAX: usize = 1_000;
/// The most bytes of an explanation.
pub(crate) const DETAIL_MAX: usize = 2_000;

/// Returns the text of a report. Bytes that are no text in its encoding become replacement
/// characters, and so does NUL, which no database can store.
pub(crate) fn decode(bytes: &[u8]) -> Result<String, ReadError> {
    if bytes.len() > SIZE_MAX {
        return Err(ReadError::TooLarge(SIZE_MAX));
    }

    for (magic, name) in [
        (&b"\x1f\x8b"[..], "gzip"),
        (b"PK\x03\x04", "ZIP"),
        (b"BZh", "bzip2"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"\xfd7zXZ", "xz"),
    ] {
        if bytes.starts_with(magic) {
            return Err(ReadError::Compressed(name));
        }
    }

    let encoding = declared_encoding(bytes);
    // A byte order mark counts more than a declaration, and is taken away.
    let (text, _, _) = encoding.decode(bytes);
    Ok(if text.contains('\0') {
        text.replace('\0', "\u{fffd}")
    } else {
        text.into_owned()
    })
}

/// Returns the encoding that an XML declaration names; UTF-8 without one.
fn declared_encoding(bytes: &[u8]) -> &'static Encoding {
    let utf8 = encoding_rs::UTF_8;
    let start = &bytes[..bytes.len().min(200)];
    if !start.trim_ascii_start().starts_with(b"<?xml") {
        return utf8;
    }
    let start = String::from_utf8_lossy(start);
    let Some((declaration, _)) = start.split_once("?>") else {
        return utf8;
    };
    let named = declaration.split_once("encoding").and_then(|(_, rest)| {
        let rest = rest.trim_start().strip_prefix('=')?.trim_start();
        let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        rest[1..].split(quote).next()
    });
    let encoding = named.and_then(|name| Encoding::for_label(name.trim().as_bytes()));
    // What could be read up to here is no UTF-16 without a mark, whatever it says.
    encoding
        .filter(|encoding| encoding.is_ascii_compatible())
        .unwrap_or(utf8)
}

/// Makes a text of a report one line that acts nowhere: white space becomes spaces, characters that
/// would act are spelled, and the rest is cut.
pub(crate) fn clean(text: &str, max_bytes: usize) -> String {
    // A text of megabytes is cut before it is looked at closely.
    let text = clip(text, max_bytes.saturating_mul(4));
    let mut line = String::with_capacity(text.len().min(max_bytes));
    for word in text.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    clip(&sanitize(&line), max_bytes).into_owned()
}

/// Removes the markup of an explanation that a tool wrote as HTML.
pub(crate) fn without_markup(text: &str) -> Cow<'_, str> {
    if !text.contains('<') {
        return Cow::Borrowed(text);
    }

    let text = clip(text, DETAIL_MAX * 4);
    let mut out = String::with_capacity(text.len());
    let mut rest = &*text;
    while let Some((before, after)) = rest.split_once('<') {
        out.push_str(before);
        let is_tag = after.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
        if !is_tag {
            out.push('<');
            rest = after;
            continue;
        }
        // Looked for only behind a tag, and no further tag can end where this one does not: a text
        // of nothing but `<a` is read once.
        let Some((_, after)) = after.split_once('>') else {
            out.push('<');
            out.push_str(after);
            return Cow::Owned(out);
        };
        out.push(' ');
        rest = after;
    }
    out.push_str(rest);

    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_what_windows_writes() {
        let mut utf16 = vec![0xff, 0xfe];
        utf16.extend("{\"ä\":1}".encode_utf16().flat_map(u16::to_le_bytes));

        assert_eq!(decode(&utf16), Ok("{\"ä\":1}".to_owned()));
        assert_eq!(decode(b"\xef\xbb\xbf{}"), Ok("{}".to_owned()));
        assert_eq!(decode(b"a\xffb\0"), Ok("a\u{fffd}b\u{fffd}".to_owned()));
        let latin = b"<?xml version='1.0' encoding='ISO-8859-1'?><a>\xe4</a>";
        assert!(decode(latin).is_ok_and(|text| text.ends_with("<a>ä</a>")));
    }

    #[test]
    fn refuses_what_is_compressed_or_too_large() {
        assert_eq!(decode(b"\x1f\x8b\x08"), Err(ReadError::Compressed("gzip")));
        assert_eq!(
            decode(&vec![b' '; SIZE_MAX + 1]),
            Err(ReadError::TooLarge(SIZE_MAX))
        );
    }

    #[test]
    fn texts_are_one_line_without_what_acts() {
        assert_eq!(clean(" a\n\tb\u{1b}[2J ", 100), "a b<U+001B>[2J");
        assert_eq!(clean(&"x".repeat(50), 10).len(), 10);
        assert_eq!(without_markup("<p>1 < 2</p>").trim(), "1 < 2");
        assert_eq!(without_markup("a <b c <d"), "a <b c <d");
    }
}
