//! Splits input into chunks of complete lines.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use anyhow::{Context as _, bail};

use collect::parsers::{EntryRules, OpenEntry};

use super::{CHUNK, Input};

/// A line longer than this is rejected.
const LINE_MAX: usize = 16 * 1024 * 1024;

/// Reads the inputs in order, in chunks.
pub(super) struct Chunks<'a> {
    inputs: &'a [Input],
    rules: Option<EntryRules>,
    counter: &'a Arc<AtomicU64>,
    file: u32,
    current: Option<Box<dyn Read + Send>>,
    offset: u64,
    /// The beginning of an incomplete line.
    rest: Vec<u8>,
    ticket: u64,
}

/// Complete lines of one file.
pub(super) struct Chunk {
    /// Its sequence number among all chunks.
    pub(super) ticket: u64,
    /// The index of the file.
    pub(super) file: u32,
    /// Its offset in the file.
    pub(super) offset: u64,
    /// Its length in the buffer.
    pub(super) len: usize,
}

/// Returns the end of the entry whose first line is `first_line`. `before` is the state before it,
/// and then that before the next entry.
pub(super) fn entry_end(
    text: &[u8],
    first_line: Range<usize>,
    rules: &EntryRules,
    before: &mut OpenEntry,
) -> usize {
    let mut end = first_line.end;
    let mut open = *before;
    open.push_line(rules, &text[first_line]);
    *before = open;

    while end < text.len() {
        let next = memchr::memchr(b'\n', &text[end + 1..]).map_or(text.len(), |i| end + 1 + i);
        if open.push_line(rules, &text[end + 1..next]) {
            break;
        }
        end = next;
        *before = open;
    }

    // A newline at the very end does not begin an empty line.
    if end == text.len() && text.ends_with(b"\n") {
        end - 1
    } else {
        end
    }
}

/// Returns the start of the last entry, which may be incomplete; `None` when it is the first one.
fn last_entry_start(text: &[u8], rules: Option<&EntryRules>) -> Option<usize> {
    let Some(rules) = rules else {
        return memchr::memrchr(b'\n', text).map(|at| at + 1);
    };

    // From the start, because a line may depend on all lines before it.
    let mut open = OpenEntry::default();
    let mut at = 0;
    let mut last = None;
    for line in text.split(|b| *b == b'\n') {
        if open.push_line(rules, line) && at > 0 {
            last = Some(at);
        }
        at += line.len() + 1;
    }

    last
}

/// Reads until the buffer is full or the input ends.
fn fill_buffer(reader: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }

    Ok(filled)
}

impl<'a> Chunks<'a> {
    pub(super) fn new(
        inputs: &'a [Input],
        rules: Option<EntryRules>,
        counter: &'a Arc<AtomicU64>,
    ) -> Self {
        Self {
            inputs,
            rules,
            counter,
            file: 0,
            current: None,
            offset: 0,
            rest: Vec::new(),
            ticket: 0,
        }
    }

    /// Returns whether all inputs were read.
    pub(super) fn is_at_end(&self) -> bool {
        self.inputs.len() <= self.file as usize
    }

    /// Returns how many chunks were issued.
    pub(super) fn chunks_issued(&self) -> u64 {
        self.ticket
    }

    /// Fills `buffer` with the next complete lines. `None` at the end of the last input.
    pub(super) fn next_chunk(&mut self, buffer: &mut Vec<u8>) -> anyhow::Result<Option<Chunk>> {
        loop {
            let Some(input) = self.inputs.get(self.file as usize) else {
                return Ok(None);
            };
            let reader = match &mut self.current {
                Some(reader) => reader,
                None => self.current.insert(input.open_reader(self.counter)?),
            };

            buffer.clear();
            let mut filled = self.rest.len();

            // Longer than its content, so that it is zeroed once and not before each read.
            buffer.resize(buffer.len().max(filled + CHUNK), 0);
            buffer[..filled].copy_from_slice(&self.rest);
            let mut ended = false;
            let end = loop {
                buffer.resize(buffer.len().max(filled + CHUNK), 0);
                let read = fill_buffer(reader, &mut buffer[filled..][..CHUNK])
                    .with_context(|| format!("cannot read {}", input.display_name()))?;
                if read == 0 {
                    ended = true;
                    break filled;
                }

                let start = filled;
                filled += read;

                // Entries of many lines can only be told apart from the start of the text.
                let from = if self.rules.is_some() { 0 } else { start };
                if let Some(end) = last_entry_start(&buffer[from..filled], self.rules.as_ref()) {
                    break from + end;
                }

                if filled > LINE_MAX {
                    bail!(
                        "{}: a line of more than {LINE_MAX} bytes at byte {}",
                        input.display_name(),
                        self.offset
                    );
                }
            };

            self.rest.clear();
            self.rest.extend_from_slice(&buffer[end..filled]);
            let chunk = Chunk {
                ticket: self.ticket,
                file: self.file,
                offset: self.offset,
                len: end,
            };

            self.offset += end as u64;
            if ended {
                self.current = None;
                self.file += 1;
                self.offset = 0;
            }

            if chunk.len > 0 {
                self.ticket += 1;
                return Ok(Some(chunk));
            }
        }
    }
}
