//! Input in pieces of whole lines.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use anyhow::{Context as _, bail};

use collect::parsers::{Lines, OpenEntry};

use super::{CHUNK, Input};

/// A line longer than this is rejected.
const LINE_MAX: usize = 16 * 1024 * 1024;

/// The inputs in order, handed out in chunks.
pub(super) struct Chunks<'a> {
    inputs: &'a [Input],
    lines: Option<Lines>,
    counter: &'a Arc<AtomicU64>,
    file: u32,
    current: Option<Box<dyn Read + Send>>,
    offset: u64,
    /// The beginning of a line whose end is yet to come.
    rest: Vec<u8>,
    ticket: u64,
}

/// Whole lines of one file.
pub(super) struct Chunk {
    /// Its place among all.
    pub(super) ticket: u64,
    /// Which file.
    pub(super) file: u32,
    /// Where in the file it begins.
    pub(super) offset: u64,
    /// How much of the buffer they take.
    pub(super) len: usize,
}

/// The end of an entry whose first line begins at `start` and ends at `end`.
pub(super) fn entry_end(text: &[u8], (start, mut end): (usize, usize), lines: &Lines) -> usize {
    let mut open = OpenEntry::default();
    open.next(lines, &text[start..end]);
    while end < text.len() {
        let next = memchr::memchr(b'\n', &text[end + 1..]).map_or(text.len(), |i| end + 1 + i);
        if open.next(lines, &text[end + 1..next]) {
            break;
        }
        end = next;
    }

    // A newline at the very end is no empty line.
    if end == text.len() && text.ends_with(b"\n") {
        end - 1
    } else {
        end
    }
}

/// Where the last entry begins that may not be complete; none when it is the first.
fn last_beginning(text: &[u8], lines: Option<&Lines>) -> Option<usize> {
    let Some(lines) = lines else {
        return memchr::memrchr(b'\n', text).map(|at| at + 1);
    };

    // From the start: what a line is may depend on all before it.
    let (mut open, mut at, mut last) = (OpenEntry::default(), 0, None);
    for line in text.split(|b| *b == b'\n') {
        if open.next(lines, line) && at > 0 {
            last = Some(at);
        }
        at += line.len() + 1;
    }

    last
}

/// Reads until the buffer is full or the input ends.
fn fill(reader: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
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
        lines: Option<Lines>,
        counter: &'a Arc<AtomicU64>,
    ) -> Self {
        Self {
            inputs,
            lines,
            counter,
            file: 0,
            current: None,
            offset: 0,
            rest: Vec::new(),
            ticket: 0,
        }
    }

    /// Whether there is nothing left.
    pub(super) fn ended(&self) -> bool {
        self.inputs.len() <= self.file as usize
    }

    /// How many chunks were handed out.
    pub(super) fn tickets(&self) -> u64 {
        self.ticket
    }

    /// Fills `buffer` with the next whole lines. None at the end of the last input.
    pub(super) fn next(&mut self, buffer: &mut Vec<u8>) -> anyhow::Result<Option<Chunk>> {
        loop {
            let Some(input) = self.inputs.get(self.file as usize) else {
                return Ok(None);
            };
            let reader = match &mut self.current {
                Some(reader) => reader,
                None => self.current.insert(input.open(self.counter)?),
            };

            buffer.clear();
            let mut filled = self.rest.len();

            // Longer than what is in it, so that it is cleared once and not before each read.
            buffer.resize(buffer.len().max(filled + CHUNK), 0);
            buffer[..filled].copy_from_slice(&self.rest);
            let mut ended = false;
            let end = loop {
                buffer.resize(buffer.len().max(filled + CHUNK), 0);
                let read = fill(reader, &mut buffer[filled..][..CHUNK])
                    .with_context(|| format!("cannot read {}", input.name()))?;
                if read == 0 {
                    ended = true;
                    break filled;
                }

                let start = filled;
                filled += read;

                // Where entries have many lines, they are only told apart with all before them at
                // hand.
                let from = if self.lines.is_some() { 0 } else { start };
                if let Some(end) = last_beginning(&buffer[from..filled], self.lines.as_ref()) {
                    break from + end;
                }

                if filled > LINE_MAX {
                    bail!(
                        "{}: a line of more than {LINE_MAX} bytes at byte {}",
                        input.name(),
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
