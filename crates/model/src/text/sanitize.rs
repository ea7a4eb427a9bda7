//! Makes text that an attacker may have written harmless to terminals, logs and headers.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The text with every character that acts instead of showing (control characters, line separators,
/// direction overrides, invisible ones) spelled as `<U+001B>`. The rest is unchanged.
pub fn sanitize(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_control) {
        return Cow::Borrowed(text);
    }

    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_control(c) {
            // Writing to a String cannot fail.
            let _ = write!(out, "<U+{:04X}>", c as u32);
        } else {
            out.push(c);
        }
    }

    Cow::Owned(out)
}

/// The text, or its beginning and `…`, in at most `max_bytes` bytes; never half a character.
pub fn clip(text: &str, max_bytes: usize) -> Cow<'_, str> {
    const MARK: &str = "…";
    if text.len() <= max_bytes {
        return Cow::Borrowed(text);
    }

    if max_bytes < MARK.len() {
        return Cow::Borrowed("");
    }

    let end = text.floor_char_boundary(max_bytes - MARK.len());
    Cow::Owned(format!("{}{MARK}", &text[..end]))
}

/// Characters that move the cursor, start a line, reverse the text or hide in it.
fn is_control(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spells_what_acts() {
        assert_eq!(
            sanitize("a\x1b[31mb\r\nc\u{202e}d"),
            "a<U+001B>[31mb<U+000D><U+000A>c<U+202E>d"
        );
        assert!(matches!(sanitize("Łódź 🙂"), Cow::Borrowed(_)));
        assert_eq!(clip("żżż", 5), "ż…");
    }

    proptest! {
        #[test]
        fn nothing_acts_afterwards(text: String, max in 0usize..40) {
            let safe = sanitize(&text);
            prop_assert!(!safe.chars().any(is_control));
            prop_assert_eq!(sanitize(&safe), safe.as_ref());
            prop_assert!(clip(&safe, max).len() <= max);
        }
    }
}
