//! JSON by hand. Every request of an audited application costs such a line, on the application's
//! own thread, and its fields are always the same: the library's way through them takes almost four
//! times as long.

use std::io::Write as _;
use std::net::IpAddr;

use uuid::Uuid;

use crate::event::Detail;

/// Appends JSON to a line.
#[derive(Debug)]
pub(super) struct Json<'a> {
    out: &'a mut Vec<u8>,
    /// Something was written that may hold the escape of a NUL.
    pub(super) nul: bool,
}

/// Not all of it was written.
#[derive(Debug)]
pub(super) struct Unwritten;

impl<'a> Json<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, nul: false }
    }

    /// What is JSON already.
    #[inline]
    pub(super) fn raw(&mut self, json: &str) {
        self.out.extend_from_slice(json.as_bytes());
    }

    /// A text of our own, in which nothing is to be escaped.
    #[inline]
    pub(super) fn word(&mut self, word: &'static str) {
        self.raw("\"");
        self.raw(word);
        self.raw("\"");
    }

    pub(super) fn text(&mut self, text: &str) -> Result<(), Unwritten> {
        if !is_plain(text) {
            self.nul |= text.contains('\0');
            return serde_json::to_writer(&mut *self.out, text).map_err(|_| Unwritten);
        }
        self.raw("\"");
        self.raw(text);
        self.raw("\"");
        Ok(())
    }

    pub(super) fn number(&mut self, number: u64) {
        let (mut digits, mut at, mut left) = ([0; 20], 20, number);
        loop {
            at -= 1;
            digits[at] = b'0' + (left % 10) as u8;
            left /= 10;
            if left == 0 {
                break;
            }
        }

        self.out.extend_from_slice(&digits[at..]);
    }

    fn octet(&mut self, octet: u8) {
        if octet > 99 {
            self.out.push(b'0' + octet / 100);
        }
        if octet > 9 {
            self.out.push(b'0' + octet / 10 % 10);
        }
        self.out.push(b'0' + octet % 10);
    }

    /// Six digits.
    pub(super) fn micros(&mut self, micros: u32) {
        let digit = |unit: u32| b'0' + (micros / unit % 10) as u8;
        self.out
            .extend([100_000, 10_000, 1000, 100, 10, 1].map(digit));
    }

    pub(super) fn uuid(&mut self, id: Uuid) {
        let mut room = Uuid::encode_buffer();
        let text: &str = id.hyphenated().encode_lower(&mut room);
        self.raw("\"");
        self.raw(text);
        self.raw("\"");
    }

    pub(super) fn ip(&mut self, ip: IpAddr) -> Result<(), Unwritten> {
        self.raw("\"");
        match ip {
            IpAddr::V4(ip) => {
                for (i, octet) in ip.octets().into_iter().enumerate() {
                    if i > 0 {
                        self.out.push(b'.');
                    }
                    self.octet(octet);
                }
            }
            IpAddr::V6(ip) => write!(self.out, "{ip}").map_err(|_| Unwritten)?,
        }

        self.raw("\"");
        Ok(())
    }

    pub(super) fn detail(&mut self, detail: &Detail) -> Result<(), Unwritten> {
        match detail {
            Detail::Word(word) => {
                self.word(word);
                Ok(())
            }
            Detail::Number(number) => {
                self.number(*number);
                Ok(())
            }
            Detail::Json(serde_json::Value::String(text)) => self.text(text),
            Detail::Json(value) => {
                self.nul |= value.is_array() || value.is_object();
                serde_json::to_writer(&mut *self.out, value).map_err(|_| Unwritten)
            }
        }
    }
}

/// Whether a JSON string of it needs no escape.
fn is_plain(text: &str) -> bool {
    let special = |b: u8| u8::from(b < 0x20) | u8::from(b == b'"') | u8::from(b == b'\\');
    // Without a way out early, so that the compiler looks at many bytes at once.
    text.bytes().fold(0, |found, b| found | special(b)) == 0
}
