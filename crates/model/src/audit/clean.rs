//! What is done with a text that the watched person chose and that cannot be kept as it came: it is
//! cleaned or cut, and the event says so in its metadata (decision 0026). None of it is a reason to
//! refuse the event.

use std::borrow::Cow;

use sonic_rs::JsonValueTrait;

use super::limits;
use crate::text::Text;

/// The largest exponent of a number that other programs read.
const EXPONENT_MAX: u32 = 308;
/// The most digits of a number that PostgreSQL keeps without growing it to a multiple.
const DIGITS_MAX: usize = 1000;
/// The character that stands for what is no character.
const REPLACED: &str = "\\ufffd";

/// The JSON text with characters in its strings that PostgreSQL can hold, and without numbers that
/// nobody can read, which become strings. Broken escapes, halves of surrogate pairs, NUL and
/// control characters are replaced. Borrowed when there is nothing to do. What is not JSON stays
/// so.
pub(super) fn json(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let mut clean = Clean {
        text,
        kept: 0,
        out: String::new(),
    };

    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        at = match byte {
            b'"' => clean.string(at + 1),
            b'-' | b'0'..=b'9' => clean.number(at),
            _ => at + 1,
        };
    }

    clean.finish()
}

struct Clean<'a> {
    text: &'a str,
    /// Up to here the text is in `out`, as far as anything is.
    kept: usize,
    out: String,
}

impl<'a> Clean<'a> {
    /// Puts another text in place of what stands from `from` to `to`.
    fn replace(&mut self, from: usize, to: usize, by: &str) {
        self.out.push_str(&self.text[self.kept..from]);
        self.out.push_str(by);
        self.kept = to;
    }

    fn finish(mut self) -> Cow<'a, str> {
        if self.kept == 0 && self.out.is_empty() {
            return Cow::Borrowed(self.text);
        }
        self.out.push_str(&self.text[self.kept..]);
        Cow::Owned(self.out)
    }

    /// From behind the opening quotation mark to behind the closing one.
    fn string(&mut self, mut at: usize) -> usize {
        while let Some(byte) = self.text.as_bytes().get(at) {
            at = match byte {
                b'"' => return at + 1,
                b'\\' => self.escape(at),
                0 => self.replaced(at, at + 1, REPLACED),
                control @ ..b' ' => self.replaced(at, at + 1, &format!("\\u{control:04x}")),
                _ => at + 1,
            };
        }

        at
    }

    fn replaced(&mut self, from: usize, to: usize, by: &str) -> usize {
        self.replace(from, to, by);
        to
    }

    /// An escape at `at`; returns where the string goes on.
    fn escape(&mut self, at: usize) -> usize {
        let unit = |at: usize| {
            let digits = self.text.as_bytes().get(at..at + 6)?.strip_prefix(b"\\u")?;
            digits
                .iter()
                .map(|c| char::from(*c).to_digit(16))
                .try_fold(0, |unit, digit| Some(unit << 4 | digit?))
        };

        match (self.text.as_bytes().get(at + 1), unit(at)) {
            (Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't'), _) => at + 2,
            (Some(b'u'), Some(0xd800..0xdc00)) if matches!(unit(at + 6), Some(0xdc00..0xe000)) => {
                at + 12
            }
            (Some(b'u'), Some(0 | 0xd800..0xe000)) => self.replaced(at, at + 6, REPLACED),
            (Some(b'u'), Some(_)) => at + 6,
            (Some(b'u'), None) => self.replaced(at, at + 2, REPLACED),
            // The backslash itself was meant, or nothing.
            (Some(_), _) => self.replaced(at, at + 1, "\\\\"),
            (None, _) => at + 1,
        }
    }

    /// A number at `at`; returns what follows it.
    fn number(&mut self, at: usize) -> usize {
        let rest = &self.text.as_bytes()[at..];
        let end = rest
            .iter()
            .position(|c| !matches!(c, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9'));
        let end = at + end.unwrap_or(rest.len());

        let number = &self.text[at..end];
        if !fits_number(number) {
            let quoted = format!("\"{}\"", &number[..number.len().min(DIGITS_MAX)]);
            self.replace(at, end, &quoted);
        }

        end
    }
}

/// Whether PostgreSQL can hold a number, and others read it: `1e130000` is eight bytes here, and a
/// hundred thousand when PostgreSQL writes it out.
fn fits_number(number: &str) -> bool {
    let (digits, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let exponent = exponent
        .trim_start_matches(['+', '-'])
        .trim_start_matches('0');
    let exponent = if exponent.is_empty() {
        Ok(0)
    } else {
        exponent.parse::<u32>()
    };

    digits.len() <= DIGITS_MAX && exponent.is_ok_and(|exponent| exponent <= EXPONENT_MAX)
}

/// What was done to the fields of an event.
#[derive(Debug, Default)]
pub(super) struct Cuts {
    fields: Vec<&'static str>,
    /// The address as it was sent, where it was not simply one.
    address: Option<String>,
    /// Characters were replaced somewhere.
    cleaned: bool,
}

impl Cuts {
    /// Of an event in whose text characters were replaced, or were not.
    pub(super) fn of(cleaned: bool) -> Self {
        Self {
            cleaned,
            ..Self::default()
        }
    }

    /// A text of at most so many bytes, in whole characters.
    pub(super) fn fit<'a>(
        &mut self,
        field: &'static str,
        value: Option<Text<'a>>,
        most: usize,
    ) -> Option<Text<'a>> {
        value.map(|text| {
            if text.len() <= most {
                return text;
            }
            self.fields.push(field);
            cut_text(text, most)
        })
    }

    /// The same of a name that tells things apart: what is cut off counts, in a fingerprint at the
    /// end.
    pub(super) fn fit_name<'a>(
        &mut self,
        field: &'static str,
        value: Option<Text<'a>>,
        most: usize,
    ) -> Option<Text<'a>> {
        let long = value.as_ref().filter(|text| text.len() > most);
        let Some(hash) = long.map(|text| text_fingerprint(text)) else {
            return value;
        };
        let kept = self.fit(field, value, most - 17)?;
        Some(format!("{kept}~{hash:016x}").into())
    }

    /// Notes that a field could not be kept as it was sent.
    pub(super) fn note(&mut self, field: &'static str) {
        if !self.fields.contains(&field) {
            self.fields.push(field);
        }
    }

    /// Notes an address that is not simply one.
    pub(super) fn note_address(&mut self, sent: &str) {
        self.fields.push("ip_address");
        self.address = Some(sent[..sent.floor_char_boundary(256)].to_owned());
    }

    /// The fields of the metadata that say so; none when nothing was done.
    pub(super) fn marks(&self) -> Option<String> {
        let mut marks = Vec::new();
        if !self.fields.is_empty() {
            let fields: Vec<String> = self
                .fields
                .iter()
                .map(|field| format!("\"{field}\""))
                .collect();
            marks.push(format!("\"cut\":[{}]", fields.join(",")));
        }

        if let Some(sent) = &self.address {
            marks.push(format!(
                "\"ip_address_sent\":{}",
                sonic_rs::to_string(sent).ok()?
            ));
        }

        if self.cleaned {
            marks.push("\"cleaned\":true".to_owned());
        }

        (!marks.is_empty()).then(|| marks.join(","))
    }
}

fn cut_text(text: Text<'_>, most: usize) -> Text<'_> {
    let end = text.floor_char_boundary(most);
    match text {
        Text(Cow::Borrowed(t)) => Text(Cow::Borrowed(&t[..end])),
        Text(Cow::Owned(mut t)) => {
            t.truncate(end);
            Text(Cow::Owned(t))
        }
    }
}

/// FNV-1a, because it is stored and must stay what it is.
fn text_fingerprint(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// A metadata object of at most [`limits::METADATA`] bytes: the fields that rules ask for first,
/// then the others in their order while there is room, long texts cut. None when it is not an
/// object.
pub(super) fn metadata(object: &str) -> Option<String> {
    const TEXT_MAX: usize = 1024;
    let fields: Vec<_> = sonic_rs::to_object_iter(object)
        .collect::<Result<_, _>>()
        .ok()?;
    let asked = |key: &str| key == "service" || crate::details::ASKED.contains(&key);
    let (first, others): (Vec<_>, Vec<_>) = fields.into_iter().partition(|(key, _)| asked(key));

    let mut kept = String::from("{");
    for (key, value) in first.iter().chain(&others) {
        let text = match value.as_str() {
            Some(text) if text.len() > TEXT_MAX => {
                Cow::Owned(sonic_rs::to_string(&text[..text.floor_char_boundary(TEXT_MAX)]).ok()?)
            }
            _ => Cow::Borrowed(value.as_raw_str()),
        };

        let key = sonic_rs::to_string(&**key).ok()?;
        if kept.len() + key.len() + text.len() + 3 > limits::METADATA {
            continue;
        }

        if kept.len() > 1 {
            kept.push(',');
        }

        kept.push_str(&key);
        kept.push(':');
        kept.push_str(&text);
    }

    kept.push('}');
    Some(kept)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_cannot_be_kept_is_replaced() {
        for (text, expected) in [
            (r#"{"a":"\u41zz"}"#, r#"{"a":"\ufffd41zz"}"#),
            (r#"{"a":"x\u0000y"}"#, r#"{"a":"x\ufffdy"}"#),
            (r#"{"a":"x\\u0000y"}"#, r#"{"a":"x\\u0000y"}"#),
            (
                r#"{"\ud800":"\ud800\u0041\udc00"}"#,
                r#"{"\ufffd":"\ufffd\u0041\ufffd"}"#,
            ),
            (
                r#"{"a":"\ud83d\ude00\u00e9"}"#,
                r#"{"a":"\ud83d\ude00\u00e9"}"#,
            ),
            (r#"{"a":"\x\q"}"#, r#"{"a":"\\x\\q"}"#),
            ("{\"a\":\"x\0y\n\"}", r#"{"a":"x\ufffdy\u000a"}"#),
            (
                r#"{"a":[1,1e400,-1e-400,1e308,"1e400"]}"#,
                r#"{"a":[1,"1e400","-1e-400",1e308,"1e400"]}"#,
            ),
            (r#"{"a":1}"#, r#"{"a":1}"#),
            (r#"{"a":"\"#, r#"{"a":"\"#),
        ] {
            assert_eq!(json(text), expected, "{text}");
        }
    }

    proptest! {
        /// Whatever is between the quotation marks, the text is JSON that PostgreSQL can hold.
        #[test]
        fn any_text_becomes_json(inner in r#"(\\u|\\|[0-9a-f]{1,4}|\\u0000|\\ud800|\\udc00|\\"|\PC|\x00|\n|e400){0,12}"#) {
            // A backslash at the end would take the mark with it.
            let text = format!("{{\"a\":\"{inner} \",\"n\":1e{}}}", inner.len() * 40);
            let mut quotes = inner.replace("\\\\", "").replace("\\\"", "");
            quotes.retain(|c| c == '"');
            prop_assume!(quotes.is_empty());
            let clean = json(&text);
            let value: serde_json::Value = serde_json::from_str(&clean).expect(&clean);
            prop_assert!(!value["a"].as_str().unwrap().contains('\0'));

            let again = json(&clean);
            prop_assert_eq!(&*again, &*clean);
        }

        #[test]
        fn large_metadata_keeps_what_rules_ask_for(size in 1_usize..200_000, n in 1_usize..200) {
            let filler: Vec<String> = (0..n).map(|i| format!("\"k{i}\":\"{}\",", "é".repeat(size / n))).collect();
            let filler = filler.concat();
            let kept = metadata(&format!("{{{filler}\"username\":\"root\",\"bytes\":7}}")).unwrap();
            prop_assert!(kept.len() <= limits::METADATA);
            let value: serde_json::Value = serde_json::from_str(&kept).unwrap();
            prop_assert_eq!((value["username"].as_str(), value["bytes"].as_u64()), (Some("root"), Some(7)));
        }
    }
}
