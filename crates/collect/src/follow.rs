//! Follows a growing log file: through rotation by renaming and by copying and truncating, over
//! lines that are only half there, and from where it stopped last time, through all the pieces that
//! were rotated away meanwhile, compressed or not.
//!
//! Nothing here keeps time: the caller asks again when it likes.

mod rotated;
mod source;

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use rotated::Piece;
use source::Source;

/// Of a longer line only so much is read: memory stays bounded whatever is written.
pub const LINE_MAX: usize = 1024 * 1024;

/// Where reading stands. Saved with what was read, so that a restart goes on exactly there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The file's device.
    pub device: u64,
    /// The file itself, whatever its name is by now.
    pub inode: u64,
    /// The first byte of its text that is not read.
    pub offset: u64,
    /// A fingerprint of its first line, once that is read: finds it again when it was copied or
    /// compressed.
    #[serde(default)]
    pub head: Option<u64>,
    /// When it was last written, as far as we saw, in microseconds since 1970: what was written
    /// later is newer.
    #[serde(default)]
    pub written: Option<i64>,
    /// A fingerprint of the log's path, the same for all its pieces: tells it from a log that
    /// begins with the same line. None while reading a file that a version without it began, whose
    /// lines keep their numbers.
    #[serde(default)]
    pub log: Option<u64>,
    /// The line that begins here is the rest of one that was too long, and no line.
    #[serde(default)]
    pub within: bool,
}

impl Position {
    /// The beginning of the file as it is now; none when there is none. Kept until it is first
    /// read, it finds what was in the file meanwhile, should that be rotated away before.
    pub fn before(path: &Path) -> Option<Self> {
        let source = Source::open(path).ok()?;
        let log = Some(identity(path));
        Some(Self {
            head: source::head(path),
            written: source.written().ok(),
            log,
            ..source.start()
        })
    }

    fn is_of(&self, metadata: &Metadata) -> bool {
        (metadata.dev(), metadata.ino()) == (self.device, self.inode)
    }

    /// Goes behind a line that is `length` bytes long with its newline. Whether it is one: the rest
    /// of a line that was too long could look like any line that whoever is watched wants to be
    /// read.
    fn pass(&mut self, line: &[u8], length: usize, ends: bool) -> bool {
        let begins = !std::mem::replace(&mut self.within, !ends);
        if self.offset == 0 {
            self.head = Some(source::fingerprint(line));
        }
        self.offset += length as u64;
        begins
    }

    /// A number for the file: the same for the same text of the same log, wherever it was copied or
    /// compressed to.
    pub const fn file_number(&self) -> u32 {
        let file = match self.head {
            Some(head) => head,
            None => self.inode ^ self.device.rotate_left(32),
        };

        let file = match self.log {
            Some(log) => file ^ log.rotate_left(17),
            None => file,
        };
        (file.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32
    }
}

/// What stays the same of a log while its pieces are renamed.
fn identity(path: &Path) -> u64 {
    source::fingerprint(path.as_os_str().as_encoded_bytes())
}

/// What happened to the file, beside growing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It was renamed or removed, and a new one took its place.
    Rotated,
    /// It was cut to a shorter length and is read from its start again.
    Truncated,
    /// A compressed piece is broken from here on.
    Damaged {
        /// The position in it.
        at: Position,
    },
    /// The file that was read last is gone, and what it held beyond our position with it.
    Lost {
        /// The position in it.
        at: Position,
    },
}

/// Whole lines, in order, without their newlines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The bytes; lines are cut out of them.
    bytes: Vec<u8>,
    /// Where each line begins in the file, and its range in `bytes`.
    lines: Vec<(u64, usize, usize)>,
    /// Where reading stands after them.
    pub position: Option<Position>,
    /// What happened to the file.
    pub turns: Vec<Turn>,
}

impl Batch {
    /// The lines with the offset of their first byte in the file.
    pub fn lines(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.lines
            .iter()
            .map(|(offset, start, end)| (*offset, &self.bytes[*start..*end]))
    }

    /// Whether there is nothing to save.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.turns.is_empty()
    }
}

struct Open {
    source: Source,
    position: Position,
}

/// A followed file.
pub struct Follower {
    path: PathBuf,
    open: Option<Open>,
    /// Where to go on in a file that is not open yet.
    resume: Option<Position>,
    /// Bytes of a line whose end is yet to come, from `position` on.
    rest: Vec<u8>,
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follower")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Follower {
    /// Follows `path` from a saved position, or from the beginning of the file.
    pub fn new(path: impl Into<PathBuf>, saved: Option<Position>) -> Self {
        Self {
            path: path.into(),
            open: None,
            resume: saved,
            rest: Vec::new(),
        }
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads up to about `limit` bytes of whole lines, of one file. An empty batch means that there
    /// is nothing new; a file that does not exist has nothing new.
    pub fn read(&mut self, limit: usize) -> io::Result<Batch> {
        let mut batch = Batch::default();
        if self.open.is_none() && !self.find(&mut batch)? {
            return Ok(batch);
        }

        let before = self.offset();
        self.read_open(limit, &mut batch)?;

        // Only at the end of a file can something else have happened to it.
        if batch.lines.is_empty() && self.offset() == before {
            self.turn(limit, &mut batch)?;
        }

        batch.position = self.open.as_ref().map(|open| open.position);
        Ok(batch)
    }

    /// How far the open file was read.
    fn offset(&self) -> Option<u64> {
        self.open.as_ref().map(|open| open.position.offset)
    }

    /// Opens the file that was read last, under whatever name, or else the oldest one that is
    /// newer.
    fn find(&mut self, batch: &mut Batch) -> io::Result<bool> {
        let Some(saved) = self.resume else {
            let source = match Source::open(&self.path) {
                Ok(source) => source,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
                Err(error) => return Err(error),
            };
            self.start(source);
            return Ok(true);
        };

        let pieces = rotated::pieces(&self.path)?;
        if let Some(source) = resumed(&pieces, &saved) {
            self.start(source);
            if let Some(open) = &mut self.open {
                let Position {
                    device,
                    inode,
                    written,
                    ..
                } = open.position;

                open.position = Position {
                    device,
                    inode,
                    written,
                    ..saved
                };
            }

            return Ok(true);
        }

        let newer = rotated::newer(&pieces, None, &saved);
        let log = pieces
            .iter()
            .find(|piece| piece.path.file_name() == self.path.file_name());
        let Some(piece) = newer.first().or(log) else {
            return Ok(false);
        };
        let source = Source::open(&piece.path)?;

        let cut = log.is_some_and(|log| log.is(&saved));
        batch.turns.push(if cut {
            Turn::Truncated
        } else {
            Turn::Lost { at: saved }
        });

        self.start(source);
        Ok(true)
    }

    fn start(&mut self, source: Source) {
        self.resume = None;
        self.rest.clear();
        let position = Position {
            log: Some(identity(&self.path)),
            ..source.start()
        };
        self.open = Some(Open { source, position });
    }

    fn read_open(&mut self, limit: usize, batch: &mut Batch) -> io::Result<()> {
        if self.fill(limit, batch)? || !self.find(batch)? {
            return Ok(());
        }
        self.fill(limit, batch).map(|_| ())
    }

    /// Reads lines of the open file; false when it was cut, and where we were is to be found again.
    fn fill(&mut self, limit: usize, batch: &mut Batch) -> io::Result<bool> {
        let Some(open) = &mut self.open else {
            return Ok(true);
        };

        // Before reading: what is written afterwards is written later.
        open.position.written = Some(open.source.written()?);
        let mut bytes = std::mem::take(&mut self.rest);
        let seen = bytes.len();
        if !open.source.read(limit, &mut bytes)? {
            batch.turns.push(Turn::Damaged { at: open.position });
        }

        // After reading: then what was read is certainly of the text that we know. What was written
        // between our last read and a cut is in the copy, if there is one.
        if open.source.was_cut(
            open.position.head,
            open.position.offset + bytes.len() as u64,
        )? {
            self.resume = Some(open.position);
            self.open = None;
            return Ok(false);
        }

        let mut start = 0;
        let mut search = seen.min(bytes.len());
        loop {
            let newline = memchr::memchr(b'\n', &bytes[search..]).map(|i| search + i);
            let (end, next) = match newline {
                Some(end) => (end, end + 1),
                None if bytes.len() - start >= LINE_MAX => (start + LINE_MAX, start + LINE_MAX),
                None => break,
            };
            let at = open.position.offset;
            if open
                .position
                .pass(&bytes[start..end], next - start, newline.is_some())
            {
                batch.lines.push((at, start, end));
            }
            start = next;
            search = next;
        }

        self.rest = bytes.split_off(start);
        batch.bytes = bytes;
        Ok(true)
    }

    /// At the end of the file: has another taken its place? Then reads on there.
    fn turn(&mut self, limit: usize, batch: &mut Batch) -> io::Result<()> {
        let Some(next) = self.next()? else {
            return Ok(());
        };
        let next = match Source::open(&next.path) {
            Ok(next) => next,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };

        // Something may have been written between our last read and the turn.
        let (before, offset) = (self.rest.len(), self.offset());
        self.read_open(limit, batch)?;
        if !batch.lines.is_empty() || self.rest.len() > before || self.offset() != offset {
            return Ok(());
        }

        let Some(open) = &mut self.open else {
            return Ok(());
        };

        // The last line of the old file may have no newline; it is a line all the same.
        if !self.rest.is_empty() {
            let rest = std::mem::take(&mut self.rest);
            let at = open.position.offset;
            if open.position.pass(&rest, rest.len(), true) {
                batch.lines.push((at, 0, rest.len()));
            }
            batch.bytes = rest;
            return Ok(());
        }

        batch.turns.push(Turn::Rotated);
        self.start(next);
        self.read_open(limit, batch)
    }

    /// The file that comes after the open one, once there is something in it: who writes the log
    /// may write on in the old file after the new one was made, until it is told to change.
    fn next(&self) -> io::Result<Option<Piece>> {
        let Some(open) = &self.open else {
            return Ok(None);
        };
        match std::fs::metadata(&self.path) {
            Ok(there) if open.position.is_of(&there) => return Ok(None),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }

        let pieces = rotated::pieces(&self.path)?;
        // Compressed under our eyes, it is another file with the same text.
        let copy = |piece: &&Piece| {
            piece.is_piece() && open.position.head.is_some_and(|h| piece.begins_with(h))
        };
        let here = pieces
            .iter()
            .find(|piece| piece.is(&open.position))
            .or_else(|| pieces.iter().find(copy));
        let next = rotated::newer(&pieces, here, &open.position)
            .into_iter()
            .next();

        Ok(next.or_else(|| rotated::live(&pieces).cloned()))
    }
}

/// The file of a saved position, where it goes on: by its inode if it is still the same text, else
/// by its text.
fn resumed(pieces: &[Piece], saved: &Position) -> Option<Source> {
    let same_text = |piece: &&Piece| saved.head.is_none_or(|head| piece.begins_with(head));
    let (same, others): (Vec<&Piece>, Vec<&Piece>) =
        pieces.iter().partition(|piece| piece.is(saved));
    let mut others: Vec<&Piece> = others
        .into_iter()
        .filter(|piece| saved.head.is_some() && piece.is_piece())
        .collect();

    // Where all pieces begin with the same line, the newest is the likeliest.
    others.sort_by(|a, b| b.age(a));
    same.into_iter()
        .chain(others)
        .filter(same_text)
        .find_map(|piece| {
            let mut source = Source::open(&piece.path).ok()?;
            // A broken piece, or one that was cut, is not it.
            source
                .skip(saved.offset)
                .is_ok_and(|there| there)
                .then_some(source)
        })
}

#[cfg(test)]
mod tests;
