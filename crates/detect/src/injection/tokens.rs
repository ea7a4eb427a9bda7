//! The tokens of SQL in a text that an application may have put into a statement.

/// Where in a statement a value would stand: bare, or within a string with this quotation mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Within {
    /// Bare, as a number.
    Bare,
    /// Within a string.
    Quote(u8),
}

/// A token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A number.
    Number(&'a str),
    /// A string, without its quotation marks, and whether it ends.
    Text(&'a str, bool),
    /// A name or keyword.
    Word(&'a str),
    /// `@x` or `@@x`.
    Variable,
    /// An operator.
    Operator(&'a str),
    Open,
    Close,
    Comma,
    Semicolon,
    /// A comment to the end of the line, without its mark.
    Comment(&'a str),
    /// A character that SQL does not know.
    Other,
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
    tokens: Vec<Token<'a>>,
}

/// Returns the tokens of a normalized text. Block comments are blanks, except that MySQL runs what
/// is in `/*! */`.
pub(super) fn tokenize(text: &str, within: Within) -> Vec<Token<'_>> {
    let mut scanner = Scanner {
        text,
        at: 0,
        tokens: Vec::new(),
    };
    if let Within::Quote(quote) = within {
        scanner.read_text(quote);
    }
    while scanner.at < text.len() {
        scanner.read_token();
    }

    scanner.tokens
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'.') || byte >= 0x80
}

impl<'a> Scanner<'a> {
    fn byte(&self, ahead: usize) -> u8 {
        self.text
            .as_bytes()
            .get(self.at + ahead)
            .copied()
            .unwrap_or_default()
    }

    /// Reads as long as `holds`, from `from` bytes ahead, and returns all of it.
    fn take_while(&mut self, from: usize, holds: impl Fn(u8) -> bool) -> &'a str {
        let start = self.at;
        let length = self.text.as_bytes()[start + from..]
            .iter()
            .take_while(|c| holds(**c))
            .count();
        self.at = start + from + length;
        self.text.get(start..self.at).unwrap_or_default()
    }

    /// Reads a string up to its quotation mark; a doubled or escaped one belongs to it.
    fn read_text(&mut self, quote: u8) {
        let bytes = self.text.as_bytes();
        let start = self.at;
        let mut end = start;
        let closed = loop {
            match bytes.get(end) {
                None => break false,
                Some(b'\\') if bytes.get(end + 1) == Some(&quote) && end > start => end += 2,
                Some(byte) if *byte == quote => {
                    let is_doubled = bytes.get(end + 1) == Some(&quote) && end > start;
                    if is_doubled && bytes.get(end + 2).is_some_and(|c| is_word(*c)) {
                        end += 2;
                    } else {
                        break true;
                    }
                }
                Some(_) => end += 1,
            }
        };

        let end = end.min(bytes.len());
        let text = self.text.get(start..end).unwrap_or_default();
        self.tokens.push(Token::Text(text, closed));
        self.at = (end + usize::from(closed)).min(bytes.len());
    }

    fn skip_block_comment(&mut self) {
        self.at += 2;
        if self.byte(0) == b'!' {
            self.at += 1;
            self.take_while(0, |c| c.is_ascii_digit());
            return;
        }

        let rest = &self.text[self.at..];
        if let Some(length) = rest.find("*/") {
            self.at += length + 2;
        } else {
            self.tokens.push(Token::Comment(rest));
            self.at = self.text.len();
        }
    }

    fn skip_line(&mut self) {
        let line = self.text[self.at..].split('\n').next().unwrap_or_default();
        self.at += line.len();
        self.tokens
            .push(Token::Comment(line.trim_start_matches(['-', '#'])));
    }

    fn read_number(&mut self) {
        let start = self.at;
        if self.byte(0) == b'0' && self.byte(1) == b'x' {
            self.take_while(2, |c| c.is_ascii_hexdigit());
        } else {
            self.take_while(1, |c| c.is_ascii_digit() || c == b'.');
            if self.byte(0) == b'e' && self.byte(1).is_ascii_digit() {
                self.take_while(2, |c| c.is_ascii_digit());
            }
        }
        let number = self.text.get(start..self.at).unwrap_or_default();
        self.tokens.push(Token::Number(number));
    }

    fn read_token(&mut self) {
        let single = match self.byte(0) {
            b' ' | b'\n' | 0 => None,
            b'\'' | b'"' => {
                let quote = self.byte(0);
                self.at += 1;
                return self.read_text(quote);
            }
            b'/' if self.byte(1) == b'*' => return self.skip_block_comment(),
            b'*' if self.byte(1) == b'/' => {
                self.at += 1;
                None
            }
            b'-' if self.byte(1) == b'-' => return self.skip_line(),
            // `C#` is not a comment.
            b'#' if !self.follows_word() => return self.skip_line(),
            b'0'..=b'9' => return self.read_number(),
            b'.' if self.byte(1).is_ascii_digit() => return self.read_number(),
            b'`' => {
                let name = self.take_while(1, |c| c != b'`');
                self.at = (self.at + 1).min(self.text.len());
                self.tokens.push(Token::Word(name.trim_matches('`')));
                return;
            }
            b'@' => {
                self.take_while(1, |c| is_word(c) || c == b'@' || c == b'`');
                self.tokens.push(Token::Variable);
                return;
            }
            b'(' => Some(Token::Open),
            b')' => Some(Token::Close),
            b',' => Some(Token::Comma),
            b';' => Some(Token::Semicolon),
            c if is_word(c) => {
                let word = self.take_while(0, is_word);
                self.tokens.push(Token::Word(word));
                return;
            }
            b'=' | b'<' | b'>' | b'!' | b'|' | b'&' | b'^' | b'+' | b'-' | b'*' | b'/' | b'%'
            | b'~' | b':' => {
                let length = usize::from(self.is_double_operator());
                let operator = self.text.get(self.at..=self.at + length);
                self.at += 1 + length;
                self.tokens
                    .push(Token::Operator(operator.unwrap_or_default()));
                return;
            }
            _ => Some(Token::Other),
        };

        // A character of several bytes is a word, so this one has a single byte.
        self.at += 1;
        self.tokens.extend(single);
    }

    fn is_double_operator(&self) -> bool {
        matches!(
            (self.byte(0), self.byte(1)),
            (b'<' | b'>' | b'!' | b':', b'=') | (b'<', b'>') | (b'|', b'|') | (b'&', b'&')
        )
    }

    fn follows_word(&self) -> bool {
        self.at > 0 && self.text.as_bytes()[self.at - 1].is_ascii_alphabetic()
    }
}
