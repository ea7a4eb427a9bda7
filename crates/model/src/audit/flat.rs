//! The shape that nearly every event has, read in one pass: an object of strings, `true`, `false`,
//! `null` and one flat `metadata` object, without escapes and without other white space than single
//! blanks between tokens.
//!
//! It answers only when it is sure that the event is right. Anything else, right or wrong, is left
//! to the JSON library and
//! [`AuditRecord::check`], so that there is one place that decides what is an error; a property test holds the two against each
//! other.

use std::net::{IpAddr, Ipv4Addr};

use arrayvec::ArrayVec;
use uuid::Uuid;
use wide::u8x32;

use super::{AuditRecord, Column, Strangers, limits, parse_ip};
use crate::details::{Details, Places};
use crate::event::{Category, Outcome};
use crate::text::Text;
use crate::time::Timestamp;

/// More quotation marks than this are left to the library; an event with every column and ten
/// fields of metadata has 90.
const QUOTES_MAX: usize = 192;

/// Longer numbers are left to the library.
const NUMBER_MAX: usize = 100;

/// Where the quotation marks of a text are, in order.
type Quotes = ArrayVec<u32, QUOTES_MAX>;

/// Finds the quotation marks, 32 bytes at a time. None when there is a control character (an error
/// in a string, white space outside of one), a backslash (an escape needs a copy), or too many
/// marks.
fn survey_quotes(json: &[u8]) -> Option<Quotes> {
    let (mut quotes, mut odd) = (Quotes::new(), u8x32::splat(0));
    let mut look = |block: &[u8; 32], at: usize| {
        let bytes = u8x32::from(*block);
        odd |= bytes.simd_lt(u8x32::splat(b' ')) | bytes.simd_eq(u8x32::splat(b'\\'));
        let mut found = bytes.simd_eq(u8x32::splat(b'"')).to_bitmask();
        while found != 0 {
            quotes.try_push(at as u32 + found.trailing_zeros()).ok()?;
            found &= found - 1;
        }
        Some(())
    };

    let (blocks, rest) = json.as_chunks::<32>();
    for (i, block) in blocks.iter().enumerate() {
        look(block, i * 32)?;
    }

    let mut last = [b' '; 32];
    last[..rest.len()].copy_from_slice(rest);
    look(&last, blocks.len() * 32)?;

    (odd.to_bitmask() == 0).then_some(quotes)
}

/// What a field's name says.
enum Name {
    Column(Column),
    Stranger,
}

/// A cursor over the text.
struct Scan<'a, 'q> {
    text: &'a str,
    at: usize,
    /// The marks that are still ahead.
    quotes: std::slice::Iter<'q, u32>,
}

impl<'a> Scan<'a, '_> {
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

    /// The places of the marks about a string that begins here, and blanks after it. There are no
    /// escapes, so that it ends at the next mark.
    fn quoted(&mut self) -> Option<(usize, usize)> {
        let (open, close) = (*self.quotes.next()? as usize, *self.quotes.next()? as usize);
        if open != self.at {
            return None;
        }
        self.at = close + 1;
        self.blanks();
        Some((open, close))
    }

    fn string(&mut self) -> Option<&'a str> {
        let (open, close) = self.quoted()?;
        self.text.get(open + 1..close)
    }

    /// A field's name and the colon after it. Producers write their fields in one order,
    /// mostly the table's, so that the name after the last one is tried first.
    fn column(&mut self, guess: usize) -> Option<Name> {
        if let Some(column) = Column::ALL.get(guess)
            && let Some(length) = column.key_begins(self.text.as_bytes().get(self.at..)?)
        {
            self.quotes.next()?;
            self.quotes.next()?;
            self.at += length;
            self.blanks();
            return Some(Name::Column(*column));
        }
        let column = Column::of(self.string()?);
        self.expect(b':')?;
        Some(column.map_or(Name::Stranger, Name::Column))
    }

    fn word(&mut self, word: &str) -> Option<()> {
        if !self
            .text
            .as_bytes()
            .get(self.at..)?
            .starts_with(word.as_bytes())
        {
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
        let start = self.at;
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

            // Others are left to those who know what a number may be.
            let from = self.at;
            self.digits()?;
            if self.at - from > 2 {
                return None;
            }
        }

        if self.at - start > NUMBER_MAX {
            return None;
        }

        self.blanks();
        Some(())
    }

    /// Past a value that holds no other.
    fn scalar(&mut self) -> Option<()> {
        match self.peek()? {
            b'"' => self.quoted().map(|_| ()),
            b't' => self.word("true"),
            b'f' => self.word("false"),
            b'n' => self.word("null"),
            _ => self.number(),
        }
    }

    /// An object of scalars, and blanks after it.
    fn flat_object(&mut self) -> Option<Details<'a>> {
        let start = self.at;
        let mut places = Places::default();
        self.expect(b'{')?;

        if self.peek() != Some(b'}') {
            loop {
                let (open, close) = self.quoted()?;
                self.expect(b':')?;
                let from = self.at;
                self.scalar()?;
                let key = self.text.as_bytes().get(open + 1..close)?;

                // Blanks after a value are passed over with it, and no number or word ends in one.
                places.note(
                    key,
                    from - start,
                    self.text.get(from..self.at)?.trim_end_matches(' ').len(),
                );

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
        let object = self
            .text
            .get(start..self.at)
            .filter(|object| object.len() <= limits::METADATA)?;

        self.blanks();
        Some(Details::from_flat(object, places))
    }

    /// A string, read by `read`, or `null`, into its field.
    fn maybe<T>(
        &mut self,
        field: &mut Option<T>,
        read: impl FnOnce(&'a str) -> Option<T>,
    ) -> Option<()> {
        if self.peek()? != b'"' {
            return self.word("null");
        }
        *field = Some(read(self.string()?)?);
        Some(())
    }

    fn maybe_text(&mut self, field: &mut Option<Text<'a>>, limit: usize) -> Option<()> {
        self.maybe(field, |text| (text.len() <= limit).then(|| text.into()))
    }

    fn value(&mut self, column: Column, event: &mut Partial<'a>) -> Option<()> {
        let record = &mut event.record;
        match column {
            Column::event_id => self.maybe(&mut record.event_id, parse_uuid)?,
            Column::timestamp => {
                self.maybe(&mut record.timestamp, |text| Timestamp::parse(text).ok())?;
            }
            Column::category => {
                record.category =
                    Category::parse(self.string()?).filter(|c| *c != Category::Network)?;
            }
            Column::action => {
                record.action = self
                    .string()
                    .filter(|a| !a.is_empty() && a.len() <= limits::ACTION)?
                    .into();
            }
            Column::result => record.result = Outcome::parse(self.string()?)?,
            Column::user_id => self.maybe(&mut record.user_id, parse_uuid)?,
            Column::session_id => self.maybe_text(&mut record.session_id, limits::SESSION_ID)?,
            Column::ip_address => self.maybe(&mut record.ip_address, plain_ip)?,
            // In bytes, so that what is perhaps too long is counted in characters by the library's
            // way.
            Column::user_agent => self.maybe_text(&mut record.user_agent, limits::USER_AGENT)?,
            Column::resource_type => {
                self.maybe_text(&mut record.resource_type, limits::RESOURCE_TYPE)?;
            }
            Column::resource_id => self.maybe_text(&mut record.resource_id, limits::RESOURCE_ID)?,
            Column::instance_id => self.maybe(&mut record.instance_id, parse_uuid)?,
            Column::cui_accessed => {
                record.cui_accessed = match self.peek()? {
                    b't' => self.word("true").map(|()| true)?,
                    b'f' => self.word("false").map(|()| false)?,
                    _ => self.word("null").map(|()| false)?,
                }
            }
            Column::metadata => record.metadata = self.flat_object()?,
        }

        event.seen |= column.bit();
        Some(())
    }
}

fn parse_uuid(text: &str) -> Option<Uuid> {
    Uuid::try_parse(text).ok()
}

/// An address: dotted by hand, because nearly all are, and the rest as everywhere.
fn plain_ip(text: &str) -> Option<IpAddr> {
    let (mut octets, mut at, mut digits) = ([0_u8; 4], 0, 0);
    for c in text.bytes() {
        match c {
            b'0'..=b'9' if digits == 0 || octets[at] != 0 => {
                octets[at] = octets[at].checked_mul(10)?.checked_add(c - b'0')?;
                digits += 1;
            }
            b'.' if digits > 0 && at < 3 => (at, digits) = (at + 1, 0),
            _ => return parse_ip(text).ok(),
        }
    }

    if at == 3 && digits > 0 {
        Some(Ipv4Addr::from(octets).into())
    } else {
        None
    }
}

/// An event that is being read: `record` holds what `seen` says, and blanks elsewhere.
struct Partial<'a> {
    record: AuditRecord<'a>,
    seen: u16,
}

/// A `metadata` object by itself, with the places of its fields; none when it is not of the usual
/// shape.
pub(crate) fn details(json: &str) -> Option<Details<'_>> {
    let quotes = survey_quotes(json.as_bytes())?;
    let mut scan = Scan {
        text: json,
        at: 0,
        quotes: quotes.iter(),
    };
    let details = scan.flat_object()?;
    (scan.at == json.len()).then_some(details)
}

/// Reads the usual shape; none for any other.
pub(super) fn read(json: &[u8], strangers: Strangers) -> Option<AuditRecord<'_>> {
    let quotes = survey_quotes(json)?;
    let text = simdutf8::basic::from_utf8(json).ok()?;
    let mut scan = Scan {
        text,
        at: 0,
        quotes: quotes.iter(),
    };

    scan.expect(b'{')?;
    let blank = AuditRecord {
        event_id: None,
        timestamp: None,
        category: Category::System,
        action: Text::default(),
        result: Outcome::Failure,
        user_id: None,
        session_id: None,
        ip_address: None,
        user_agent: None,
        resource_type: None,
        resource_id: None,
        instance_id: None,
        cui_accessed: false,
        metadata: Details::default(),
    };

    let mut event = Partial {
        record: blank,
        seen: 0,
    };

    let mut guess = 0;
    loop {
        match scan.column(guess)? {
            // Twice is an error.
            Name::Column(column) if event.seen & column.bit() != 0 => return None,
            Name::Column(column) => {
                guess = column as usize + 1;
                scan.value(column, &mut event)?;
            }
            Name::Stranger if strangers == Strangers::Ignore => scan.scalar()?,
            Name::Stranger => return None,
        }

        match scan.peek()? {
            b',' => scan.expect(b',')?,
            b'}' => break,
            _ => return None,
        }
    }

    scan.expect(b'}')?;
    let required = Column::category.bit() | Column::action.bit() | Column::result.bit();
    (scan.at == json.len() && event.seen & required == required).then_some(event.record)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Wire;
    use super::*;

    /// Where the quick way answers, the library must answer the same.
    fn agree(json: &str) -> bool {
        let quick = read(json.as_bytes(), Strangers::Ignore);
        let answered = quick.is_some();
        if let Some(record) = quick {
            let library: Wire<'_> =
                sonic_rs::from_slice(json.as_bytes()).unwrap_or_else(|e| panic!("{json}: {e}"));
            for key in ["username", "email", "role", "home_instance_id", "bytes"] {
                let any = Details::from_json(record.metadata.as_json());
                assert_eq!(record.metadata.text(key), any.text(key), "{key} of {json}");
                assert_eq!(
                    record.metadata.number(key),
                    any.number(key),
                    "{key} of {json}"
                );
            }

            assert_eq!(
                Ok(record),
                AuditRecord::check(library, limits::METADATA, super::super::Cuts::default()),
                "{json}"
            );
        }

        answered
    }

    #[test]
    fn answers_for_what_producers_send() {
        for json in [
            r#"{"category":"auth","action":"login","result":"success"}"#,
            r#"{"category": "auth", "action": "login", "result": "success", "metadata": {"a": -1.5e+3, "b": null, "c": "x"}}"#,
            r#"{"category":"auth","action":"a","result":"success","seq":1,"created_at":"now"}"#,
            r#"{"category":"auth","action":"é","result":"success","user_id":null,"cui_accessed":true,"metadata":{}}"#,
        ] {
            assert!(agree(json), "{json}");
        }
    }

    #[test]
    fn what_is_no_column_is_refused_where_it_must_be() {
        assert!(
            read(
                br#"{"category":"auth","action":"a","result":"success","seq":1}"#,
                Strangers::Refuse
            )
            .is_none()
        );
    }

    #[test]
    fn leaves_what_it_is_not_sure_of() {
        for json in [
            r#"{"category":"auth","action":"a\u0062","result":"success"}"#,
            r#"{"category":"auth","action":"a","result":"success","metadata":{"a":{"b":1}}}"#,
            r#"{"category":"auth","action":"a","result":"success","metadata":{"a":01}}"#,
            r#"{"category":"auth","action":"a","result":"success","metadata":{"a":1,}}"#,
            r#"{"category":"auth","action":"a","action":"b","result":"success"}"#,
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
                Just("{}".to_owned()), "[-0-9.eE+]{0,8}".prop_map(|n| format!("{{\"bytes\":{n},\"role\":\"a\"}}")),
                "[ -~]{0,12}".prop_map(|s| format!("{{\"k\":\"{s}\",\"l\":true}}")), "[\\[\\]{}:,\"0-9a ]{0,14}",
            ],
            ip in "(25[0-9]|[0-9]{1,3}|[0-9.]{3}|0)\\.[0-9]{1,3}\\.[0-9]{1,2}\\.[0-9]|[0-9a-f:.]{2,9}",
            at in 0_usize..200, change in proptest::option::of(any::<char>()),
        ) {
            let mut json = format!(
                r#"{{"event_id":"019a0000-0000-7000-8000-000000000001", "category":"auth","action":"{action}","result":"success","ip_address":"{ip}","metadata":{value},"cui_accessed":false}}"#
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
