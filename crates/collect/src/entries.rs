//! Assembles entries from lines. Some logs spread an entry over many lines, and only the first line
//! of the next entry ends it.

use std::borrow::Cow;

use crate::parsers::{EntryRules, OpenEntry};
use crate::{Format, LineId};

/// An entry longer than this is cut.
pub const ENTRY_MAX: usize = 256 * 1024;

/// Joins lines to entries by the rules of their format. Where each line is an entry, lines pass
/// through unchanged.
#[derive(Debug)]
pub struct Entries {
    rules: Option<EntryRules>,
    open: OpenEntry,
    held: Option<(LineId, Vec<u8>)>,
}

/// An entry and where it begins.
pub type Entry<'a> = (LineId, Cow<'a, [u8]>);

impl Entries {
    /// Creates an assembler for the entries of a format.
    pub fn of(format: &Format) -> Self {
        Self {
            rules: format.entry_rules,
            open: OpenEntry::default(),
            held: None,
        }
    }

    /// Returns the offset of the entry that may not be complete yet. A saved position must not be
    /// beyond it.
    pub fn open_since(&self) -> Option<u64> {
        self.held.as_ref().map(|(id, _)| id.offset)
    }

    /// Adds lines and returns the entries that they complete.
    pub fn push<'a>(&mut self, lines: impl Iterator<Item = (LineId, &'a [u8])>) -> Vec<Entry<'a>> {
        let Some(rules) = self.rules else {
            return lines.map(|(id, line)| (id, Cow::Borrowed(line))).collect();
        };
        let mut complete = Vec::new();
        for (id, line) in lines {
            let is_start = self.open.push_line(&rules, line);
            match &mut self.held {
                Some((_, entry)) if !is_start => {
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

    /// Returns the open entry as complete: the file was rotated, or has been quiet.
    pub fn finish(&mut self) -> Option<Entry<'static>> {
        self.open = OpenEntry::default();
        self.held.take().map(|(id, entry)| (id, Cow::Owned(entry)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BRACKETS: EntryRules = EntryRules {
        is_entry_start: |line| line.starts_with(b"["),
        continues: None,
        is_certain_start: None,
        quotes: None,
    };

    fn numbered_lines<'a>(text: &'a [&'a str]) -> impl Iterator<Item = (LineId, &'a [u8])> {
        text.iter()
            .zip(0..)
            .map(|(line, offset)| (LineId { file: 1, offset }, line.as_bytes()))
    }

    fn offsets_and_texts(entries: &[Entry<'_>]) -> Vec<(u64, String)> {
        entries
            .iter()
            .map(|(id, e)| (id.offset, String::from_utf8_lossy(e).into_owned()))
            .collect()
    }

    #[test]
    fn an_entry_ends_where_the_next_begins() {
        let mut entries = Entries {
            rules: Some(BRACKETS),
            open: OpenEntry::default(),
            held: None,
        };

        let done = entries.push(numbered_lines(&["left over", "[1] a", " more", "[2] b"]));
        assert_eq!(
            offsets_and_texts(&done),
            [(0, "left over".to_owned()), (1, "[1] a\n more".to_owned())]
        );
        assert_eq!(entries.open_since(), Some(3));
        assert_eq!(
            offsets_and_texts(&entries.push(numbered_lines(&["  and on"]))),
            []
        );
        assert_eq!(
            offsets_and_texts(&entries.finish().into_iter().collect::<Vec<_>>()),
            [(3, "[2] b\n  and on".to_owned())]
        );

        assert_eq!((entries.finish(), entries.open_since()), (None, None));
    }

    #[test]
    fn an_endless_entry_is_cut() {
        let mut entries = Entries {
            rules: Some(BRACKETS),
            open: OpenEntry::default(),
            held: None,
        };

        let long = "x".repeat(1000);
        let many: Vec<&str> = std::iter::once("[1]")
            .chain(std::iter::repeat_n(&*long, 1000))
            .collect();
        assert_eq!(entries.push(numbered_lines(&many)), []);
        assert!(entries.finish().is_some_and(|(_, e)| e.len() < ENTRY_MAX));
    }
}
