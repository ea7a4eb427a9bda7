//! The shape that nearly every event has, read in one pass: an object of strings, `true`, `false`, `null` and one flat `metadata`
//! object, without escapes and without other white space than single blanks between tokens.
//!
//! It answers only when it is sure. Anything else, right or wrong, is left to the JSON library, so that there is one place that
//! decides what is an error; a property test holds the two against each other.

use super::{Column, Metadata, Wire};
use crate::text::{Text, next_quote};

/// A cursor over the text.
struct Scan<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scan<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn blanks(&mut self) {
        while self.peek() == Some(b' ') {
            self.at += 1;
        }
    }

    /// The byte, and blanks after it.
    fn expect(&mut self, byte: u8) -> Option<()> {
        if self.peek() != Some(byte) {
            return None;
        }
        self.at += 1;
        self.blanks();
        Some(())
    }

    /// A string that begins here, and blanks after it. There are no escapes, so that it ends at the next mark.
    fn string(&mut self) -> Option<&'a str> {
        if self.peek() != Some(b'"') {
            return None;
        }
        let start = self.at + 1;
        let end = next_quote(self.text.as_bytes(), start)?;
        self.at = end + 1;
        self.blanks();
        self.text.get(start..end)
    }

    /// A column's name and the colon after it. Producers write their fields in one order, mostly the table's, so that the name
    /// after the last one is tried first.
    fn column(&mut self, guess: usize) -> Option<Column> {
        if let Some((column, key)) = Column::KEYS.get(guess)
            && self.text.as_bytes().get(self.at..)?.starts_with(key.as_bytes())
        {
            self.at += key.len();
            self.blanks();
            return Some(*column);
        }
        let column = Column::of(self.string()?)?;
        self.expect(b':')?;
        Some(column)
    }

    fn word(&mut self, word: &str) -> Option<()> {
        if !self.text.as_bytes().get(self.at..)?.starts_with(word.as_bytes()) {
            return None;
        }
        self.at += word.len();
        self.blanks();
        Some(())
    }

    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while self.peek().is_some_and(|c| c.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    /// A number as JSON has it, and blanks after it.
    fn number(&mut self) -> Option<()> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        self.blanks();
        Some(())
    }

    /// Past a value that holds no other.
    fn scalar(&mut self) -> Option<()> {
        match self.peek()? {
            b'"' => self.string().map(|_| ()),
            b't' => self.word("true"),
            b'f' => self.word("false"),
            b'n' => self.word("null"),
            _ => self.number(),
        }
    }

    /// The text of an object of scalars, and blanks after it.
    fn flat_object(&mut self) -> Option<&'a str> {
        let start = self.at;
        self.expect(b'{')?;
        if self.peek() != Some(b'}') {
            loop {
                self.string()?;
                self.expect(b':')?;
                self.scalar()?;
                if self.peek()? != b',' {
                    break;
                }
                self.expect(b',')?;
            }
        }
        if self.peek() != Some(b'}') {
            return None;
        }
        self.at += 1;
        let object = self.text.get(start..self.at);
        self.blanks();
        object
    }

    /// A string or `null` into its field.
    fn text(&mut self, field: &mut Option<Text<'a>>) -> Option<()> {
        match self.peek()? {
            b'"' => *field = Some(self.string()?.into()),
            b'n' => self.word("null")?,
            _ => return None,
        }
        Some(())
    }

    fn value(&mut self, column: Column, wire: &mut Wire<'a>) -> Option<()> {
        match column {
            Column::event_id => self.text(&mut wire.event_id)?,
            Column::timestamp => self.text(&mut wire.timestamp)?,
            Column::category => self.text(&mut wire.category)?,
            Column::action => self.text(&mut wire.action)?,
            Column::result => self.text(&mut wire.result)?,
            Column::user_id => self.text(&mut wire.user_id)?,
            Column::session_id => self.text(&mut wire.session_id)?,
            Column::ip_address => self.text(&mut wire.ip_address)?,
            Column::user_agent => self.text(&mut wire.user_agent)?,
            Column::resource_type => self.text(&mut wire.resource_type)?,
            Column::resource_id => self.text(&mut wire.resource_id)?,
            Column::instance_id => self.text(&mut wire.instance_id)?,
            Column::cui_accessed => {
                wire.cui_accessed = match self.peek()? {
                    b't' => self.word("true").map(|()| Some(true))?,
                    b'f' => self.word("false").map(|()| Some(false))?,
                    _ => self.word("null").map(|()| None)?,
                }
            }
            Column::metadata => wire.metadata = Some(Metadata::Flat(self.flat_object()?)),
        }
        Some(())
    }
}

/// Whether any byte is a control character or a backslash. In lanes, so that the compiler makes vectors of it.
fn is_odd(json: &[u8]) -> bool {
    let odd = |c: u8| u8::from(c < b' ') | u8::from(c == b'\\');
    let (blocks, rest) = json.as_chunks::<32>();
    let mut lanes = [0_u8; 32];
    for block in blocks {
        for (lane, c) in lanes.iter_mut().zip(block) {
            *lane |= odd(*c);
        }
    }
    lanes.into_iter().chain(rest.iter().map(|c| odd(*c))).fold(0, |any, o| any | o) != 0
}

/// Reads the usual shape; none for any other.
pub(super) fn read(json: &[u8]) -> Option<Wire<'_>> {
    // Control characters are errors in strings and white space outside of them; an escape needs a copy.
    if is_odd(json) {
        return None;
    }
    let text = std::str::from_utf8(json).ok()?;
    let mut scan = Scan { text, at: 0 };
    scan.expect(b'{')?;
    let (mut wire, mut seen) = (Wire::default(), 0_u16);
    let mut guess = 0;
    loop {
        let column = scan.column(guess)?;
        guess = column as usize + 1;
        let bit = 1 << column as u16;
        if seen & bit != 0 {
            return None;
        }
        seen |= bit;
        scan.value(column, &mut wire)?;
        match scan.peek()? {
            b',' => scan.expect(b',')?,
            b'}' => break,
            _ => return None,
        }
    }
    scan.expect(b'}')?;
    (scan.at == json.len()).then_some(wire)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::AuditRecord;
    use super::*;

    /// Where the quick way answers, the library must answer the same.
    fn agree(json: &str) -> bool {
        let quick = read(json.as_bytes());
        let answered = quick.is_some();
        if let Some(wire) = quick {
            let library: Wire<'_> = sonic_rs::from_slice(json.as_bytes()).unwrap_or_else(|e| panic!("{json}: {e}"));
            assert_eq!(AuditRecord::check(wire), AuditRecord::check(library), "{json}");
        }
        answered
    }

    #[test]
    fn answers_for_what_producers_send() {
        for json in [
            r#"{"category":"auth","action":"login","result":"success"}"#,
            r#"{"category": "auth", "action": "login", "result": "success", "metadata": {"a": -1.5e+3, "b": null, "c": "x"}}"#,
            r#"{"category":"auth","action":"é","result":"success","user_id":null,"cui_accessed":true,"metadata":{}}"#,
        ] {
            assert!(agree(json), "{json}");
        }
    }

    #[test]
    fn leaves_what_it_is_not_sure_of() {
        for json in [
            r#"{"category":"auth","action":"a\u0062","result":"success"}"#,
            r#"{"category":"auth","action":"a","result":"success","metadata":{"a":{"b":1}}}"#,
            r#"{"category":"auth","action":"a","result":"success","metadata":{"a":01}}"#,
            r#"{"category":"auth","action":"a","result":"success","metadata":{"a":1,}}"#,
            r#"{"category":"auth","action":"a","action":"b","result":"success"}"#,
            r#"{"category":"auth","action":"a","result":"success","x":1}"#,
            r#"{"category":"auth","action":7,"result":"success"}"#,
            r#"{"category":"auth","action":"a","result":"success"} x"#,
            r#"{"category":"auth","action":"a","result":"success""#,
            "{}",
            "",
        ] {
            assert!(!agree(json), "{json}");
        }
    }

    proptest! {
        /// Texts that are nearly events, cut and changed anywhere.
        #[test]
        fn never_disagrees_with_the_library(
            action in "[ -~é]{0,8}",
            value in prop_oneof![
                Just("{}".to_owned()), "[-0-9.eE+]{0,8}".prop_map(|n| format!("{{\"k\":{n}}}")),
                "[ -~]{0,12}".prop_map(|s| format!("{{\"k\":\"{s}\",\"l\":true}}")), "[\\[\\]{}:,\"0-9a ]{0,14}",
            ],
            at in 0_usize..160, change in proptest::option::of(any::<char>()),
        ) {
            let mut json = format!(
                r#"{{"event_id":"019a0000-0000-7000-8000-000000000001", "category":"auth","action":"{action}","result":"success","metadata":{value},"cui_accessed":false}}"#
            );
            if let Some(c) = change
                && let Some((i, old)) = json.char_indices().nth(at)
            {
                json.replace_range(i..i + old.len_utf8(), c.encode_utf8(&mut [0; 4]));
            }
            agree(&json);
        }
    }
}
