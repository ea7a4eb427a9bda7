//! Undoing encodings: what a server, an interpreter or a browser would make of a text.

/// Maximum number of nested encodings: attackers encode repeatedly.
const LAYERS_MAX: usize = 4;

fn hex_digit(byte: Option<&u8>) -> Option<u32> {
    byte.and_then(|c| char::from(*c).to_digit(16))
}

/// Returns the number of the `digits` hexadecimal digits at `at`.
fn hex_number(text: &[u8], at: usize, digits: usize) -> Option<u32> {
    (at..at + digits).try_fold(0, |number, i| Some(number << 4 | hex_digit(text.get(i))?))
}

/// Undoes what web servers do to bytes that would break their log: `\xHH`.
pub(super) fn unescape_log(text: &[u8]) -> Vec<u8> {
    let (mut out, mut at) = (Vec::with_capacity(text.len()), 0);
    while let Some(&byte) = text.get(at) {
        let escaped = byte == b'\\' && matches!(text.get(at + 1), Some(b'x' | b'X'));
        if let Some(number) = hex_number(text, at + 2, 2).filter(|_| escaped) {
            out.push(number as u8);
            at += 4;
        } else {
            out.push(byte);
            at += 1;
        }
    }

    out
}

/// Named entities of HTML that matter to scripts. The names are compared without case, as browsers
/// do for the old ones.
const ENTITIES: [(&[u8], u8); 13] = [
    (b"lt", b'<'),
    (b"gt", b'>'),
    (b"quot", b'"'),
    (b"apos", b'\''),
    (b"amp", b'&'),
    (b"lpar", b'('),
    (b"rpar", b')'),
    (b"colon", b':'),
    (b"tab", b'\t'),
    (b"newline", b'\n'),
    (b"sol", b'/'),
    (b"equals", b'='),
    (b"grave", b'`'),
];

/// Returns the character of the entity at the ampersand that begins `text`, and its length.
fn entity(text: &[u8]) -> Option<(u32, usize)> {
    if text.get(1) == Some(&b'#') {
        let hexadecimal = matches!(text.get(2), Some(b'x' | b'X'));
        let (start, base) = if hexadecimal { (3, 16) } else { (2, 10) };
        let length = text[start.min(text.len())..]
            .iter()
            .take(10)
            .take_while(|c| char::from(**c).is_digit(base))
            .count();
        let digits = std::str::from_utf8(text.get(start..start + length)?).ok()?;

        let end = start + length;
        let closed = usize::from(text.get(end) == Some(&b';'));
        return Some((u32::from_str_radix(digits, base).ok()?, end + closed));
    }

    ENTITIES.iter().find_map(|(name, character)| {
        let found = text.get(1..=name.len())?.eq_ignore_ascii_case(name);
        let closed = text.get(name.len() + 1) == Some(&b';');
        (found && closed).then_some((u32::from(*character), name.len() + 2))
    })
}

/// Returns the character that an escape at the beginning of `text` stands for, and its length:
/// `%HH`, `%uHHHH`, `\uHHHH`, `&#60;`, `&lt;`, and the angle brackets of UTF-7.
fn escape(text: &[u8]) -> Option<(u32, usize)> {
    match text {
        [b'%' | b'\\', b'u' | b'U', ..] => Some((hex_number(text, 2, 4)?, 6)),
        [b'\\', b'x' | b'X', ..] => Some((hex_number(text, 2, 2)?, 4)),
        [b'&', ..] => entity(text),
        [b'+', b'A' | b'a', b'D' | b'd', b'w', b'-', ..] => Some((u32::from(b'<'), 5)),
        [b'+', b'A' | b'a', b'D' | b'd', b'4', b'-', ..] => Some((u32::from(b'>'), 5)),
        _ => None,
    }
}

/// Characters that some servers take for others: full-width forms and fractions in `%uHHHH`.
fn plain_char(number: u32) -> char {
    let plain = match number {
        0xff01..=0xff5e => number - 0xfee0,
        0x2215 | 0x2044 => u32::from(b'/'),
        0x2216 | 0xfe68 => u32::from(b'\\'),
        0x2024 => u32::from(b'.'),
        0x2018 | 0x2019 | 0x2032 | 0x02b9 | 0x02bc => u32::from(b'\''),
        0x2329 | 0x3008 => u32::from(b'<'),
        0x232a | 0x3009 => u32::from(b'>'),
        other => other,
    };

    char::from_u32(plain).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// Returns the character of paths that `%2%e` stands for at the beginning of `text`: scanners encode
/// each digit of an escape by itself, with a percent sign of its own.
fn torn_escape(text: &[u8]) -> Option<u8> {
    match text.get(..4)? {
        [b'%', b'2', b'%', b'e' | b'E'] => Some(b'.'),
        [b'%', b'2', b'%', b'f' | b'F'] => Some(b'/'),
        [b'%', b'5', b'%', b'c' | b'C'] => Some(b'\\'),
        _ => None,
    }
}

/// Removes one layer of encoding; `None` if there is none.
fn decode_layer(text: &[u8]) -> Option<Vec<u8>> {
    let (mut out, mut at, mut changed) = (Vec::with_capacity(text.len()), 0, false);
    while let Some(&byte) = text.get(at) {
        if byte == b'%'
            && let Some(number) = hex_number(text, at + 1, 2)
        {
            out.push(number as u8);
            at += 3;
            changed = true;
        } else if let Some(character) = torn_escape(&text[at..]) {
            out.push(character);
            at += 4;
            changed = true;
        } else if let Some((number, length)) = escape(&text[at..]) {
            let mut utf8 = [0; 4];
            out.extend_from_slice(plain_char(number).encode_utf8(&mut utf8).as_bytes());
            at += length;
            changed = true;
        } else {
            out.push(byte);
            at += 1;
        }
    }

    changed.then_some(out)
}

/// Returns the ASCII character of an overlong UTF-8 sequence at the beginning of `text`, and its
/// length. Old decoders ignore the upper bits of the bytes that follow.
fn overlong(text: &[u8]) -> Option<(u8, usize)> {
    let path_character = |byte: u8| matches!(byte, b'.' | b'/' | b'\\').then_some(byte);
    match text {
        // A slash to decoders that drop one bit more.
        [0xc1, 0xaf, ..] => Some((b'/', 2)),
        [lead @ (0xc0 | 0xc1), next, ..] if *next != b'%' => {
            let byte = (lead & 1) << 6 | (next & 0x3f);
            let valid = next & 0xc0 == 0x80;
            if valid {
                Some((byte, 2))
            } else {
                path_character(byte).map(|byte| (byte, 2))
            }
        }
        // `%c0%9v`, whose second byte is no number.
        [0xc0 | 0xc1, b'%', c, _, ..] if c.is_ascii_hexdigit() => Some((b'/', 4)),
        [0xe0, 0x80 | 0x81, last @ 0x80..=0xbf, ..] => {
            Some(((text[1] & 1) << 6 | (last & 0x3f), 3))
        }
        [0xf0, 0x80, 0x80 | 0x81, last @ 0x80..=0xbf, ..] => {
            Some(((text[2] & 1) << 6 | (last & 0x3f), 4))
        }
        // Sequences of five and six bytes, which were UTF-8 once.
        [
            0xf8,
            0x80,
            0x80,
            high @ (0x80 | 0x81),
            last @ 0x80..=0xbf,
            ..,
        ] => Some(((high & 1) << 6 | (last & 0x3f), 5)),
        [
            0xfc,
            0x80,
            0x80,
            0x80,
            high @ (0x80 | 0x81),
            last @ 0x80..=0xbf,
            ..,
        ] => Some(((high & 1) << 6 | (last & 0x3f), 6)),
        _ => None,
    }
}

/// Lowercases a decoded text and unifies what interpreters do not distinguish: a run of blanks is
/// one space, or one line feed if it holds one; overlong and full-width characters are plain.
fn normalize(text: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let (byte, length) = overlong(&text[at..]).unwrap_or((byte, 1));
        bytes.push(byte);
        at += length;
    }

    let mut out = String::with_capacity(bytes.len());
    for c in String::from_utf8_lossy(&bytes).chars() {
        let c = match plain_char(u32::from(c)).to_ascii_lowercase() {
            '\r' | '\n' => '\n',
            '\t' | '\u{b}' | '\u{c}' | '\u{a0}' => ' ',
            c => c,
        };

        match (c, out.as_bytes().last()) {
            (' ', Some(b' ' | b'\n')) | ('\n', Some(b'\n')) => {}
            ('\n', Some(b' ')) => {
                out.pop();
                out.push('\n');
            }
            _ => out.push(c),
        }
    }

    out
}

/// Calls `judge` with a text as it is and after each layer of encoding, normalized, until it
/// returns something. In a form a plus is a space.
pub(super) fn in_each_layer<T>(
    text: &[u8],
    is_form: bool,
    mut judge: impl FnMut(&str) -> Option<T>,
) -> Option<T> {
    let mut layer = text.to_vec();
    if is_form {
        for byte in layer.iter_mut().filter(|byte| **byte == b'+') {
            *byte = b' ';
        }
    }

    for _ in 0..=LAYERS_MAX {
        if let Some(found) = judge(&normalize(&layer)) {
            return Some(found);
        }
        layer = decode_layer(&layer)?;
    }

    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last_layer(text: &str) -> String {
        let mut last = String::new();
        let _: Option<()> = in_each_layer(text.as_bytes(), true, |layer| {
            last = layer.to_owned();
            None
        });
        last
    }

    #[test]
    fn encodings_are_undone() {
        for (encoded, plain) in [
            ("a+b%20%0d%0ac", "a b\nc"),
            ("%2527", "'"),
            ("%25252527", "'"),
            ("%%32%37", "'"),
            ("%u0027%uff07", "''"),
            (
                "%c0%ae%c0%af%e0%80%af%c1%9c%c0%2f",
                "..".get(..1).unwrap_or_default(),
            ),
            ("&lt;SCRIPT&#62;&#x3c&#x28;", "<script><("),
            ("\\u003cb", "<b"),
            ("%2BADw-b%2BAD4-", "<b>"),
            ("%", "%"),
            ("%%32%%65%2%F%%35%%63", "./\\"),
            ("%f8%80%80%80%ae%fc%80%80%80%80%af", "./"),
            ("%zz%u00", "%zz%u00"),
        ] {
            let found = last_layer(encoded);
            assert!(found.starts_with(plain), "{encoded}: {found}");
        }
        assert_eq!(last_layer("%c0%ae%c0%af%e0%80%af%c1%9c%c0%2f"), ".//\\/");
        assert_eq!(unescape_log(b"\\x27\\x5c\\xg"), b"'\\\\xg");
    }
}
