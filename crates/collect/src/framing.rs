//! Splits a byte stream into messages (RFC 6587, RFC 5425). Each is counted (`LENGTH SP <PRI>…`) or
//! ends with a newline, which is decided for every message once one was counted: some senders mix
//! both. A sender that began with newlines counts nothing: a length there is text of a client,
//! which would swallow the messages after it.
//!
//! Some senders end messages with NUL instead. A client may have sent a NUL that stands in a
//! message, so NUL only ends messages where the sender is seen to write no newlines: a read ends
//! with NUL before any newline came. A length that is wrong leaves no place to continue from that a
//! client could not have chosen, so the stream is then broken and must be closed.

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
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one fact about the stream"
)]
pub struct Framer {
    state: State,
    held: Vec<u8>,
    max: usize,
    discarded: u64,
    /// What ends messages that are not counted, once it is known.
    delimiter: Option<u8>,
    /// Whether a counted message has just ended.
    after_counted: bool,
    /// Whether a message was counted.
    counts: bool,
    /// Whether a delimiter has ended a message that was not counted.
    delimits: bool,
    broken: bool,
}

/// Bytes without a newline in which a NUL before a priority ends a message: no name that a client
/// sends is that long.
const NO_NEWLINE: usize = 8 * 1024;

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
            delimiter: None,
            after_counted: false,
            counts: false,
            delimits: false,
            broken: false,
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

    /// Returns whether a length was wrong. What follows cannot be told from what a client sent.
    pub const fn is_broken(&self) -> bool {
        self.broken
    }

    /// Reads bytes and appends the messages that they complete to `messages`. Reads nothing of a
    /// broken stream.
    pub fn push(&mut self, mut bytes: &[u8], messages: &mut Vec<Vec<u8>>) {
        while let Some(first) = bytes.first()
            && !self.broken
        {
            bytes = match self.state {
                State::Undecided => {
                    self.decide_framing(*first, messages);
                    &bytes[1..]
                }
                State::Line => {
                    let end = memchr::memchr(self.delimiter.unwrap_or(b'\n'), bytes);
                    self.push_bytes(&bytes[..end.unwrap_or(bytes.len())]);
                    if end.is_some() {
                        self.delimiter.get_or_insert(b'\n');
                        self.delimits = true;
                        self.complete_message(messages);
                    }
                    &bytes[end.map_or(bytes.len(), |end| end + 1)..]
                }
                State::Counted { left } => {
                    let (mine, rest) = bytes.split_at(left.min(bytes.len()));
                    let before = self.held.len();
                    self.push_bytes(mine);
                    if self.delimits && holds_message(&self.held[before.saturating_sub(2)..]) {
                        self.broken = true;
                        break;
                    }
                    self.expect_counted(left - mine.len(), messages);
                    rest
                }
            };
        }

        if self.state == State::Line && self.delimiter.is_none() {
            self.detect_nul(messages);
        }
    }

    /// Splits what came so far at NULs, if they end messages.
    fn detect_nul(&mut self, messages: &mut Vec<Vec<u8>>) {
        let is_long = self.held.len() > NO_NEWLINE;
        let ends = self.held.last() == Some(&0)
            || (is_long && memchr::memmem::find(&self.held, b"\0<").is_some());
        if !ends {
            return;
        }

        self.delimiter = Some(0);
        self.state = State::Undecided;
        let held = std::mem::take(&mut self.held);
        self.push(&held, messages);
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
            (b'1'..=b'9', None) if self.counts || !self.delimits => self.held.push(byte),
            (b'0'..=b'9', Some(b'0'..=b'9')) if self.held.len() < DIGITS_MAX => {
                self.held.push(byte);
            }
            (b' ', Some(b'0'..=b'9')) => self.held.push(byte),
            (b'<', Some(b' ')) => {
                let digits = self.held.iter().take_while(|c| c.is_ascii_digit());
                let length = digits.fold(0, |n: usize, c| n * 10 + usize::from(c - b'0'));
                self.held.clear();
                self.push_bytes(b"<");
                self.counts = true;
                // What is discarded could not be searched for messages that it swallows.
                self.broken = self.delimits && length > self.max;
                self.expect_counted(length - 1, messages);
            }
            (b'\n', _) => {
                self.delimits = true;
                self.complete_message(messages);
            }
            (0, _) if self.delimiter == Some(0) => self.complete_message(messages),
            _ => {
                let first = self.held.first().copied().unwrap_or(byte);
                self.broken = self.after_counted && first != b'<';
                self.state = State::Line;
                self.push_bytes(&[byte]);
            }
        }

        // Whatever ends a message is a place to continue from.
        self.after_counted &= !matches!(byte, b'\n' | b'\r' | 0);
    }

    fn expect_counted(&mut self, left: usize, messages: &mut Vec<Vec<u8>>) {
        self.state = State::Counted { left };
        if left == 0 {
            self.complete_message(messages);
            self.after_counted = true;
        }
    }

    fn push_bytes(&mut self, bytes: &[u8]) {
        let kept = bytes.len().min(self.max.saturating_sub(self.held.len()));
        self.held.extend_from_slice(&bytes[..kept]);
        self.discarded += (bytes.len() - kept) as u64;
    }

    fn complete_message(&mut self, messages: &mut Vec<Vec<u8>>) {
        self.state = State::Undecided;
        self.after_counted = false;
        let mut message = std::mem::take(&mut self.held);
        while matches!(message.last(), Some(b'\n' | b'\r' | 0)) {
            message.pop();
        }
        if !message.is_empty() {
            messages.push(message);
        }
    }
}

/// Returns whether a line of `bytes` after the first begins with a priority.
fn holds_message(bytes: &[u8]) -> bool {
    memchr::memmem::find_iter(bytes, b"\n<")
        .any(|at| bytes.get(at + 2).is_some_and(u8::is_ascii_digit))
}

/// Returns the message of a datagram: without the length that some senders put before it, and
/// without what ends it. `None` where it is empty.
pub fn datagram_message(datagram: &[u8]) -> Option<&[u8]> {
    let end = datagram
        .iter()
        .rposition(|c| !matches!(c, b'\n' | b'\r' | 0))?;
    let message = &datagram[..=end];
    let digits = message.iter().take_while(|c| c.is_ascii_digit()).count();
    let is_counted = (1..=DIGITS_MAX).contains(&digits) && message[digits..].starts_with(b" <");
    Some(&message[if is_counted { digits + 1 } else { 0 }..])
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
        b"6 <1>one<1>1\n6 <2>two\n11 <3>thr\nee\r\n<4>four\r\n\n2026-01-01 five\n12 six\n5 \
            <7>xy<8>z\n12345678 <9>\n9 <10>cut";

    #[test]
    fn both_framings_in_one_stream_split_at_every_byte() {
        let expected = [
            "<1>one",
            "<1>1",
            "<2>two",
            "<3>thr\nee",
            "<4>four",
            "2026-01-01 five",
            "12 six",
            "<7>xy",
            "<8>z",
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

    #[test]
    fn a_wrong_length_breaks_the_stream() {
        for stream in [
            // Too short, as of a sender that counts characters.
            &b"11 <1>root \xc3\xa4\xc3\xb64 <2>x4 <3>y"[..],
            b"5 <1>long message 4 <2>x\n",
            // Too long.
            b"9 <1>a4 <2>b4 <3>c",
        ] {
            let mut framer = Framer::default();
            let mut messages = Vec::new();
            framer.push(stream, &mut messages);
            assert!(framer.is_broken(), "{}", String::from_utf8_lossy(stream));
            assert_eq!(messages.len(), 1);
        }

        let mut framer = Framer::default();
        framer.push(b"4 <1>a4 <2>b\n4 <3>c\0<4>d\n\nplain\n", &mut Vec::new());
        assert!(!framer.is_broken());
    }

    #[test]
    fn a_length_that_a_client_wrote_swallows_nothing() {
        for stream in [
            &b"<1>a\n<1>q=\n3000 <1>x\n<2>b\n<2>c\n"[..],
            b"<1>a\n<1>q=\n9 <1>x\n<2>b\n<2>c\n",
            b"1\n<1>q=\n9999999 <1>x\n<2>b\n<2>c\n",
        ] {
            let (messages, discarded) = split_stream(&[stream], MESSAGE_MAX);
            assert_eq!(messages[3..], ["<2>b", "<2>c"], "{messages:?}");
            assert_eq!(discarded, 0);
        }

        // Of a sender that mixes both, nobody knows who wrote the length.
        for stream in [
            &b"4 <1>a<1>q=\n3000 <1>x\n<2>b\n"[..],
            b"4 <1>a<1>q=\n9999999 <1>x\n",
        ] {
            for at in 0..stream.len() {
                let mut framer = Framer::default();
                framer.push(&stream[..at], &mut Vec::new());
                framer.push(&stream[at..], &mut Vec::new());
                assert!(framer.is_broken(), "split at {at}");
            }
        }

        // A counted message may hold what it wants where all are counted.
        assert_eq!(
            split_stream(&[b"9 <1>a\n<2>b3 <3>"], MESSAGE_MAX).0.len(),
            2
        );
    }

    #[test]
    fn messages_may_end_with_nul() {
        let read = |parts: &[&[u8]]| split_stream(parts, MESSAGE_MAX).0;
        assert_eq!(read(&[b"<1>a\0<2>b\0"]), ["<1>a", "<2>b"]);
        assert_eq!(
            read(&[b"<1>a\0", b"<2>b\0<3>c", b"d\0"]),
            ["<1>a", "<2>b", "<3>cd"]
        );
        // A NUL that a client sent does not end a message.
        assert_eq!(
            read(&[b"<1>a\0<2>forged\n", b"<3>b\0\n"]),
            ["<1>a\0<2>forged", "<3>b"]
        );
        assert_eq!(
            read(&[b"<3>b\n", b"<1>a\0", b"<2>forged\n"]),
            ["<3>b", "<1>a\0<2>forged"]
        );

        let many = b"<1>aaaaaaaaaa\0".repeat(900);
        assert_eq!(read(&[&many[..many.len() - 4], b"aa\0"]).len(), 900);
    }

    #[test]
    fn a_datagram_may_be_counted() {
        for (datagram, message) in [
            (&b"<1>a\n\0"[..], Some(&b"<1>a"[..])),
            (b"7 <1>abc\n", Some(b"<1>abc")),
            (b"12 monkeys", Some(b"12 monkeys")),
            (b"\n", None),
            (b"", None),
        ] {
            assert_eq!(datagram_message(datagram), message);
        }
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
            texts in proptest::collection::vec("[a-z0-9 <>\n]{0,40}[a-z]", 0..10),
            counted in any::<bool>(),
            size in 1_usize..50,
        ) {
            let mut stream = Vec::new();
            let mut expected = Vec::new();
            for text in &texts {
                let message = if counted {
                    format!("<13>{text}")
                } else {
                    format!("<13>{}", text.replace('\n', " "))
                };

                if counted {
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
