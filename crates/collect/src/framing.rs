//! Splits a byte stream into messages (RFC 6587, RFC 5425). Each is counted (`LENGTH SP <PRI>…`) or
//! ends with a newline, which is decided for every message: senders differ, and some mix both.

/// The longest message that is kept whole, in bytes. The rest of a longer one is discarded.
pub const MESSAGE_MAX: usize = 64 * 1024;
/// The most digits of a length; more of them are text.
const DIGITS_MAX: usize = 7;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The bytes so far may be the beginning of a length.
    Undecided,
    /// The message ends with the next newline.
    Line,
    /// The message ends after `left` more bytes.
    Counted { left: usize },
}

/// Splits a stream into messages in time linear in its bytes. Holds at most one message.
#[derive(Debug)]
pub struct Framer {
    state: State,
    held: Vec<u8>,
    max: usize,
    discarded: u64,
}

impl Default for Framer {
    fn default() -> Self {
        Self::new(MESSAGE_MAX)
    }
}

impl Framer {
    /// Creates a framer that keeps up to `max` bytes of a message.
    pub const fn new(max: usize) -> Self {
        Self {
            state: State::Undecided,
            held: Vec::new(),
            max,
            discarded: 0,
        }
    }

    /// Returns whether the last message is incomplete.
    pub const fn is_open(&self) -> bool {
        !self.held.is_empty() || !matches!(self.state, State::Undecided)
    }

    /// Returns how many bytes were discarded because their messages were too long.
    pub const fn discarded_bytes(&self) -> u64 {
        self.discarded
    }

    /// Reads bytes and appends the messages that they complete to `messages`.
    pub fn push(&mut self, mut bytes: &[u8], messages: &mut Vec<Vec<u8>>) {
        while let Some(first) = bytes.first() {
            bytes = match self.state {
                State::Undecided => {
                    self.decide_framing(*first, messages);
                    &bytes[1..]
                }
                State::Line => {
                    let end = memchr::memchr(b'\n', bytes);
                    self.push_bytes(&bytes[..end.unwrap_or(bytes.len())]);
                    if end.is_some() {
                        self.complete_message(messages);
                    }
                    &bytes[end.map_or(bytes.len(), |end| end + 1)..]
                }
                State::Counted { left } => {
                    let (mine, rest) = bytes.split_at(left.min(bytes.len()));
                    self.push_bytes(mine);
                    self.expect_counted(left - mine.len(), messages);
                    rest
                }
            };
        }
    }

    /// Ends the stream and returns a last message that its sender did not end.
    pub fn finish(&mut self) -> Option<Vec<u8>> {
        let mut messages = Vec::new();
        self.complete_message(&mut messages);
        messages.pop()
    }

    fn decide_framing(&mut self, byte: u8, messages: &mut Vec<Vec<u8>>) {
        match (byte, self.held.last()) {
            // Some senders end counted messages with a newline, too.
            (b'\n' | b'\r' | 0, None) => {}
            (b'1'..=b'9', None) => self.held.push(byte),
            (b'0'..=b'9', Some(b'0'..=b'9')) if self.held.len() < DIGITS_MAX => {
                self.held.push(byte);
            }
            (b' ', Some(b'0'..=b'9')) => self.held.push(byte),
            (b'<', Some(b' ')) => {
                let digits = self.held.iter().take_while(|c| c.is_ascii_digit());
                let length = digits.fold(0, |n: usize, c| n * 10 + usize::from(c - b'0'));
                self.held.clear();
                self.push_bytes(b"<");
                self.expect_counted(length - 1, messages);
            }
            (b'\n', _) => self.complete_message(messages),
            _ => {
                self.state = State::Line;
                self.push_bytes(&[byte]);
            }
        }
    }

    fn expect_counted(&mut self, left: usize, messages: &mut Vec<Vec<u8>>) {
        self.state = State::Counted { left };
        if left == 0 {
            self.complete_message(messages);
        }
    }

    fn push_bytes(&mut self, bytes: &[u8]) {
        let kept = bytes.len().min(self.max.saturating_sub(self.held.len()));
        self.held.extend_from_slice(&bytes[..kept]);
        self.discarded += (bytes.len() - kept) as u64;
    }

    fn complete_message(&mut self, messages: &mut Vec<Vec<u8>>) {
        self.state = State::Undecided;
        let mut message = std::mem::take(&mut self.held);
        while matches!(message.last(), Some(b'\n' | b'\r' | 0)) {
            message.pop();
        }
        if !message.is_empty() {
            messages.push(message);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split_stream(parts: &[&[u8]], max: usize) -> (Vec<String>, u64) {
        let mut framer = Framer::new(max);
        let mut messages = Vec::new();
        for part in parts {
            framer.push(part, &mut messages);
        }

        messages.extend(framer.finish());
        assert!(!framer.is_open());
        (
            messages
                .iter()
                .map(|m| String::from_utf8_lossy(m).into_owned())
                .collect(),
            framer.discarded_bytes(),
        )
    }

    const MIXED: &[u8] =
        b"<1>one\n6 <2>two\n11 <3>thr\nee\r\n<4>four\r\n\n2026-01-01 five\n12 six\n5 \
            <7>x<8>y\n12345678 <9>\n9 <10>cut";

    #[test]
    fn both_framings_in_one_stream_split_at_every_byte() {
        let expected = [
            "<1>one",
            "<2>two",
            "<3>thr\nee",
            "<4>four",
            "2026-01-01 five",
            "12 six",
            "<7>x<",
            "8>y",
            "12345678 <9>",
            "<10>cut",
        ];

        for at in 0..=MIXED.len() {
            let (left, right) = MIXED.split_at(at);
            assert_eq!(
                split_stream(&[left, right], MESSAGE_MAX).0,
                expected,
                "split at {at}"
            );
        }
    }

    #[test]
    fn a_long_message_is_cut_and_the_next_is_whole() {
        assert_eq!(
            split_stream(&[b"<1>aaaaaaaaaa\n<2>b\n"], 6),
            (vec!["<1>aaa".to_owned(), "<2>b".to_owned()], 7)
        );
        assert_eq!(
            split_stream(&[b"13 <1>aaaaaaaaaa<2>b\n"], 6),
            (vec!["<1>aaa".to_owned(), "<2>b".to_owned()], 7)
        );

        assert_eq!(
            split_stream(&[b"9999999 <", &[b'x'; 100]], 6),
            (vec!["<xxxxx".to_owned()], 95)
        );
    }

    proptest! {
        #[test]
        fn garbage_neither_panics_nor_grows(
            bytes in proptest::collection::vec(any::<u8>(), 0..500),
            max in 1_usize..40,
        ) {
            let mut framer = Framer::new(max);
            let mut messages = Vec::new();
            for piece in bytes.chunks(7) {
                framer.push(piece, &mut messages);
                prop_assert!(framer.held.len() <= max.max(DIGITS_MAX + 1));
            }
            messages.extend(framer.finish());
            prop_assert!(messages.iter().map(Vec::len).sum::<usize>() <= bytes.len());
        }

        #[test]
        fn framed_messages_are_restored(
            texts in proptest::collection::vec(("[a-z0-9 <>\n]{0,40}[a-z]", any::<bool>()), 0..10),
            size in 1_usize..50,
        ) {
            let mut stream = Vec::new();
            let mut expected = Vec::new();
            for (text, counted) in &texts {
                let message = if *counted {
                    format!("<13>{text}")
                } else {
                    format!("<13>{}", text.replace('\n', " "))
                };

                if *counted {
                    stream.extend(format!("{} {message}", message.len()).bytes());
                } else {
                    stream.extend(format!("{message}\n").bytes());
                }
                expected.push(message.into_bytes());
            }

            let mut framer = Framer::default();
            let mut messages = Vec::new();
            for piece in stream.chunks(size) {
                framer.push(piece, &mut messages);
            }

            prop_assert!(!framer.is_open());
            prop_assert_eq!(messages, expected);
        }
    }
}
