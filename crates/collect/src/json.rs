//! Reads JSON objects as servers write them, which is not always valid JSON: texts come from
//! clients, and a client must not be able to make its own record unreadable.
//!
//! nginx without `escape=json` writes `\x22` for a quotation mark, and a bare dash where a variable
//! is empty; PostgreSQL and nginx write bytes that are not UTF-8 as they came.

use serde_json::{Map, Value};

/// Parses an object, strictly where that is possible.
pub(crate) fn parse_object(line: &[u8]) -> Option<Map<String, Value>> {
    let text = String::from_utf8_lossy(line);
    let strict = serde_json::from_str(&text).ok();
    strict.or_else(|| {
        let mut object = Map::new();
        LenientReader { line, at: 0 }
            .read_object(&mut object)
            .map(|()| object)
    })
}

/// Parses the fields of an object that was cut off; of the last text, what there is of it. `None`
/// when there are none.
pub(crate) fn parse_beginning(line: &[u8]) -> Option<Map<String, Value>> {
    // The cut may divide an escape.
    let escape = memchr::memrchr(b'\\', line).filter(|at| line.len() - at < 6);
    let ends = [Some(line.len()), escape];
    ends.into_iter()
        .flatten()
        .find_map(|end| {
            let closed = [&line[..end], b"\"}"].concat();
            let mut object = Map::new();
            let reader = LenientReader {
                line: &closed,
                at: 0,
            };
            let whole = reader.read_object(&mut object).is_some();
            (whole || (end < line.len() && !object.is_empty())).then_some(object)
        })
        .or_else(|| {
            let mut object = Map::new();
            let whole = LenientReader { line, at: 0 }.read_object(&mut object);
            (whole.is_some() || !object.is_empty()).then_some(object)
        })
}

/// Reads nearly valid JSON. A value that is neither a string nor valid JSON is kept as its text.
struct LenientReader<'a> {
    line: &'a [u8],
    at: usize,
}

impl LenientReader<'_> {
    fn read_object(mut self, object: &mut Map<String, Value>) -> Option<()> {
        self.skip_blanks();
        self.expect_byte(b'{')?;
        self.skip_blanks();
        if self.peek() == Some(b'}') {
            return Some(());
        }

        loop {
            let key = self.read_string()?;
            self.skip_blanks();
            self.expect_byte(b':')?;
            self.skip_blanks();
            let value = if self.peek() == Some(b'"') {
                self.read_string()?.into()
            } else {
                self.read_bare()?
            };

            object.insert(key, value);
            self.skip_blanks();
            match self.peek()? {
                b',' => self.at += 1,
                b'}' => break,
                _ => return None,
            }

            self.skip_blanks();
        }

        self.at += 1;
        self.line[self.at..].trim_ascii().is_empty().then_some(())
    }

    fn peek(&self) -> Option<u8> {
        self.line.get(self.at).copied()
    }

    fn expect_byte(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn skip_blanks(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    /// Reads a quoted string. An invalid escape stands for itself; invalid UTF-8 and half a
    /// surrogate pair become the replacement character.
    fn read_string(&mut self) -> Option<String> {
        self.expect_byte(b'"')?;
        let mut bytes = Vec::new();
        loop {
            let rest = self.line.get(self.at..)?;
            let plain = memchr::memchr2(b'"', b'\\', rest)?;
            bytes.extend_from_slice(&rest[..plain]);
            self.at += plain + 1;
            if rest[plain] == b'"' {
                return Some(String::from_utf8_lossy(&bytes).into_owned());
            }
            self.read_escape(&mut bytes)?;
        }
    }

    fn read_escape(&mut self, bytes: &mut Vec<u8>) -> Option<()> {
        let letter = self.peek()?;
        self.at += 1;
        match letter {
            b'"' | b'\\' | b'/' => bytes.push(letter),
            b'n' => bytes.push(b'\n'),
            b't' => bytes.push(b'\t'),
            b'r' => bytes.push(b'\r'),
            b'b' => bytes.push(8),
            b'f' => bytes.push(12),
            b'x' if self.peek_hex(2).is_some() => {
                bytes.push(self.peek_hex(2)? as u8);
                self.at += 2;
            }
            b'u' if self.peek_hex(4).is_some() => {
                let unit = self.peek_hex(4)?;
                self.at += 4;
                let c = self
                    .read_surrogate_pair(unit)
                    .or_else(|| char::from_u32(unit))
                    .unwrap_or(char::REPLACEMENT_CHARACTER);
                bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
            _ => bytes.extend([b'\\', letter]),
        }

        Some(())
    }

    /// Returns the number in the next hexadecimal digits without advancing.
    fn peek_hex(&self, digits: usize) -> Option<u32> {
        let digits = self.line.get(self.at..self.at + digits)?.iter();
        digits
            .map(|c| char::from(*c).to_digit(16))
            .try_fold(0, |number, digit| Some(number << 4 | digit?))
    }

    /// Returns the character of a surrogate pair whose first half, `high`, was read.
    fn read_surrogate_pair(&mut self, high: u32) -> Option<char> {
        if !(0xd800..0xdc00).contains(&high) || self.line.get(self.at..self.at + 2) != Some(b"\\u")
        {
            return None;
        }
        let low = Self {
            line: self.line,
            at: self.at + 2,
        }
        .peek_hex(4)
        .filter(|low| (0xdc00..0xe000).contains(low))?;
        self.at += 6;
        char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00))
    }

    /// Reads an unquoted value: a number, a word, a dash, nothing, a list of these, an object or an
    /// array. Ends before the next key or the end of the object.
    fn read_bare(&mut self) -> Option<Value> {
        let start = self.at;
        let mut depth = 0_u32;
        loop {
            match self.peek()? {
                b'"' => {
                    self.read_string()?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' if depth == 0 => break,
                b'}' | b']' => depth = depth.saturating_sub(1),
                b',' if depth == 0 && self.key_follows() => break,
                _ => {}
            }

            self.at += 1;
        }

        let text = self.line[start..self.at].trim_ascii();
        Some(match serde_json::from_slice(text) {
            Ok(value) => value,
            Err(_) if text.is_empty() || text == b"-" => Value::Null,
            Err(_) => String::from_utf8_lossy(text).into_owned().into(),
        })
    }

    fn key_follows(&self) -> bool {
        let mut ahead = Self {
            line: self.line,
            at: self.at + 1,
        };
        ahead.skip_blanks();
        // Only the quotation mark: reading the whole key at every comma would take quadratic time.
        ahead.peek() == Some(b'"')
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn lenient_json_of_servers_is_read() {
        for (line, expected) in [
            (
                r#"{"a":"x\x22y\xc3\xa9\xff","b":1}"#,
                json!({ "a": "x\"y\u{e9}\u{fffd}", "b": 1 }),
            ),
            (r#"{"a":-,"b":"c"}"#, json!({ "a": null, "b": "c" })),
            (r#"{"a":,"b":}"#, json!({ "a": null, "b": null })),
            (
                r#"{ "a" : 0.1, 0.2 , "b" : 009 }"#,
                json!({ "a": "0.1, 0.2", "b": "009" }),
            ),
            (
                r#"{"a":"\ud83d\ude00\ud800\u0041\u41zz\q"}"#,
                json!({ "a": "\u{1f600}\u{fffd}A\\u41zz\\q" }),
            ),
            (
                r#"{"a":{"b":"},\"c\":1","d":[1]},"e":-}"#,
                json!({ "a": { "b": "},\"c\":1", "d": [1] }, "e": null }),
            ),
            (r#"{"a":1e999}"#, json!({ "a": "1e999" })),
            ("{}", json!({})),
        ] {
            assert_eq!(
                parse_object(line.as_bytes()).map(Value::Object),
                Some(expected),
                "{line}"
            );
        }

        for line in [
            "",
            "{",
            "[]",
            r#"{"a"}"#,
            r#"{"a":"}"#,
            r#"{"a":1"#,
            r#"{"a":1}x"#,
            r#"{"a":"b" "c":1}"#,
        ] {
            assert_eq!(parse_object(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn fields_of_a_truncated_object_are_read() {
        let read = |line: &str| parse_beginning(line.as_bytes()).map(Value::Object);
        assert_eq!(
            read(r#"{"state":"42501","statement":"x"#),
            Some(json!({ "state": "42501", "statement": "x" }))
        );
        for cut in [r"\", r"\u", r"\u00", r"\u004"] {
            assert_eq!(
                read(&format!(r#"{{"state":"42501","statement":"x{cut}"#)).unwrap()["state"],
                "42501"
            );
        }
        assert_eq!(
            read(r#"{"state":"42501","statement":"x\"#),
            Some(json!({ "state": "42501", "statement": "x" }))
        );
        assert_eq!(
            read(r#"{"state":"42501","sta"#),
            Some(json!({ "state": "42501" }))
        );
        assert_eq!(read(r#"{"state"#), None);
        assert_eq!(read("x"), None);
    }

    proptest! {
        #[test]
        fn never_panics(
            line in proptest::collection::vec(any::<u8>(), 0..200),
            text in r#"[{}\[\]",:\\ux0-9a-]{0,60}"#,
        ) {
            let _ = (parse_object(&line), parse_object(format!("{{{text}").as_bytes()));
        }

        /// A value stays one value with nginx's default escaping, whatever the client sends.
        #[test]
        fn no_client_makes_its_record_unreadable(
            sent in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let plain = |c: u8| (b' '..0x7f).contains(&c) && !matches!(c, b'"' | b'\\');
            let escape = |c: u8| {
                if plain(c) { char::from(c).to_string() } else { format!("\\x{c:02X}") }
            };
            let written: String = sent.iter().map(|c| escape(*c)).collect();
            let line = format!(r#"{{"agent":"{written}","took":-,"status":403}}"#);
            let read = parse_object(line.as_bytes()).expect("an object");
            prop_assert_eq!(read["agent"].as_str(), Some(&*String::from_utf8_lossy(&sent)));
            prop_assert_eq!(read["status"].as_u64(), Some(403));

            // PostgreSQL and `escape=json` write the bytes as they came.
            let mut line = br#"{"user":""#.to_vec();
            line.extend(sent.iter().filter(|c| **c >= b' ' && !matches!(**c, b'"' | b'\\')));
            line.extend_from_slice(br#"","state":"28P01"}"#);
            let read = parse_object(&line).expect("an object");
            prop_assert_eq!(read["state"].as_str(), Some("28P01"));
        }
    }
}
