//! Lines into entries: some logs spread one entry over many lines, and only the beginning of the
//! next one ends it.

use std::borrow::Cow;

use crate::parsers::{Lines, OpenEntry};
use crate::{Format, LineId};

/// An entry longer than this is cut.
pub const ENTRY_MAX: usize = 256 * 1024;

/// Puts lines together as their format wants it. Lines of formats whose entries are lines pass
/// through untouched.
#[derive(Debug)]
pub struct Entries {
    lines: Option<Lines>,
    open: OpenEntry,
    held: Option<(LineId, Vec<u8>)>,
}

/// An entry, and where it begins.
pub type Entry<'a> = (LineId, Cow<'a, [u8]>);

impl Entries {
    /// For a format.
    pub fn of(format: &Format) -> Self {
        Self {
            lines: format.lines,
            open: OpenEntry::default(),
            held: None,
        }
    }

    /// Where the entry begins that may not be complete yet; what was read is only safe up to there.
    pub fn open_since(&self) -> Option<u64> {
        self.held.as_ref().map(|(id, _)| id.offset)
    }

    /// Takes lines in; hands out the entries that are complete.
    pub fn push<'a>(&mut self, lines: impl Iterator<Item = (LineId, &'a [u8])>) -> Vec<Entry<'a>> {
        let Some(rules) = self.lines else {
            return lines.map(|(id, line)| (id, Cow::Borrowed(line))).collect();
        };
        let mut complete = Vec::new();
        for (id, line) in lines {
            let begins = self.open.next(&rules, line);
            match &mut self.held {
                Some((_, entry)) if !begins => {
                    if entry.len() + line.len() < ENTRY_MAX {
                        entry.push(b'\n');
                        entry.extend_from_slice(line);
                    }
                }
                held => complete.extend(
                    held.replace((id, line.to_vec()))
                        .map(|(id, entry)| (id, Cow::Owned(entry))),
                ),
            }
        }

        complete
    }

    /// Nothing more of the open entry will come: the file was rotated, or has been quiet.
    pub fn finish(&mut self) -> Option<Entry<'static>> {
        self.open = OpenEntry::default();
        self.held.take().map(|(id, entry)| (id, Cow::Owned(entry)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BRACKETS: Lines = Lines {
        begins: |line| line.starts_with(b"["),
        goes_on: None,
    };

    fn lines<'a>(text: &'a [&'a str]) -> impl Iterator<Item = (LineId, &'a [u8])> {
        text.iter()
            .zip(0..)
            .map(|(line, offset)| (LineId { file: 1, offset }, line.as_bytes()))
    }

    fn texts(entries: &[Entry<'_>]) -> Vec<(u64, String)> {
        entries
            .iter()
            .map(|(id, e)| (id.offset, String::from_utf8_lossy(e).into_owned()))
            .collect()
    }

    #[test]
    fn an_entry_ends_where_the_next_begins() {
        let mut entries = Entries {
            lines: Some(BRACKETS),
            open: OpenEntry::default(),
            held: None,
        };

        let done = entries.push(lines(&["left over", "[1] a", " more", "[2] b"]));
        assert_eq!(
            texts(&done),
            [(0, "left over".to_owned()), (1, "[1] a\n more".to_owned())]
        );
        assert_eq!(entries.open_since(), Some(3));
        assert_eq!(texts(&entries.push(lines(&["  and on"]))), []);
        assert_eq!(
            texts(&entries.finish().into_iter().collect::<Vec<_>>()),
            [(3, "[2] b\n  and on".to_owned())]
        );

        assert_eq!((entries.finish(), entries.open_since()), (None, None));
    }

    #[test]
    fn an_endless_entry_is_cut() {
        let mut entries = Entries {
            lines: Some(BRACKETS),
            open: OpenEntry::default(),
            held: None,
        };

        let long = "x".repeat(1000);
        let many: Vec<&str> = std::iter::once("[1]")
            .chain(std::iter::repeat_n(&*long, 1000))
            .collect();
        assert_eq!(entries.push(lines(&many)), []);
        assert!(entries.finish().is_some_and(|(_, e)| e.len() < ENTRY_MAX));
    }
}
