//! Handwritten JSON. Each request of an audited application writes such a line on the application's
//! thread, always with the same fields; serde takes almost four times as long for them.

use std::io::Write as _;
use std::net::IpAddr;

use uuid::Uuid;

use crate::event::Detail;

/// Appends JSON to a line.
#[derive(Debug)]
pub(super) struct Json<'a> {
    out: &'a mut Vec<u8>,
    /// Whether the output may contain an escaped NUL.
    pub(super) may_hold_nul: bool,
}

/// The output is incomplete.
#[derive(Debug)]
pub(super) struct IncompleteWrite;

impl<'a> Json<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        Self {
            out,
            may_hold_nul: false,
        }
    }

    /// Appends text that is already JSON.
    #[inline]
    pub(super) fn push_raw(&mut self, json: &str) {
        self.out.extend_from_slice(json.as_bytes());
    }

    /// Appends a string that needs no escape.
    #[inline]
    pub(super) fn push_word(&mut self, word: &'static str) {
        self.push_raw("\"");
        self.push_raw(word);
        self.push_raw("\"");
    }

    pub(super) fn push_text(&mut self, text: &str) -> Result<(), IncompleteWrite> {
        if !is_plain(text) {
            self.may_hold_nul |= text.contains('\0');
            return serde_json::to_writer(&mut *self.out, text).map_err(|_| IncompleteWrite);
        }
        self.push_raw("\"");
        self.push_raw(text);
        self.push_raw("\"");
        Ok(())
    }

    pub(super) fn push_number(&mut self, number: u64) {
        let mut digits = [0; 20];
        let mut at = digits.len();
        let mut left = number;
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

    fn push_octet(&mut self, octet: u8) {
        if octet > 99 {
            self.out.push(b'0' + octet / 100);
        }
        if octet > 9 {
            self.out.push(b'0' + octet / 10 % 10);
        }
        self.out.push(b'0' + octet % 10);
    }

    /// Appends six digits.
    pub(super) fn push_micros(&mut self, micros: u32) {
        let digit = |unit: u32| b'0' + (micros / unit % 10) as u8;
        self.out
            .extend([100_000, 10_000, 1000, 100, 10, 1].map(digit));
    }

    pub(super) fn push_uuid(&mut self, id: Uuid) {
        let mut room = Uuid::encode_buffer();
        let text: &str = id.hyphenated().encode_lower(&mut room);
        self.push_raw("\"");
        self.push_raw(text);
        self.push_raw("\"");
    }

    pub(super) fn push_ip(&mut self, ip: IpAddr) -> Result<(), IncompleteWrite> {
        self.push_raw("\"");
        match ip {
            IpAddr::V4(ip) => {
                for (i, octet) in ip.octets().into_iter().enumerate() {
                    if i > 0 {
                        self.out.push(b'.');
                    }
                    self.push_octet(octet);
                }
            }
            IpAddr::V6(ip) => write!(self.out, "{ip}").map_err(|_| IncompleteWrite)?,
        }

        self.push_raw("\"");
        Ok(())
    }

    pub(super) fn push_detail(&mut self, detail: &Detail) -> Result<(), IncompleteWrite> {
        match detail {
            Detail::Word(word) => {
                self.push_word(word);
                Ok(())
            }
            Detail::Number(number) => {
                self.push_number(*number);
                Ok(())
            }
            Detail::Json(serde_json::Value::String(text)) => self.push_text(text),
            Detail::Json(value) => {
                self.may_hold_nul |= value.is_array() || value.is_object();
                serde_json::to_writer(&mut *self.out, value).map_err(|_| IncompleteWrite)
            }
        }
    }
}

/// Returns whether a JSON string of the text needs no escape.
fn is_plain(text: &str) -> bool {
    let special = |b: u8| u8::from(b < 0x20) | u8::from(b == b'"') | u8::from(b == b'\\');
    // Without an early exit, so that the compiler can vectorize it.
    text.bytes().fold(0, |found, b| found | special(b)) == 0
}
