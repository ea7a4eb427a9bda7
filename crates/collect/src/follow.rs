//! Follows a growing log file through rotation by renaming and by copying and truncating. Waits for
//! the end of incomplete lines, and resumes at a saved position, through all files that were
//! rotated in the meantime, compressed or not.
//!
//! Nothing here reads a clock: the caller decides when to read.

mod rotated;
mod source;

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use rotated::LogFile;
use source::{Source, Trust};

/// The longest line; the rest of a longer one is skipped, so memory stays bounded.
pub const LINE_MAX: usize = 1024 * 1024;

/// A position in a log. Saved with the lines before it, so a restart resumes exactly there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The file's device.
    pub device: u64,
    /// The file's inode, which stays the same when it is renamed.
    pub inode: u64,
    /// The offset in its text of the first byte that was not read.
    pub offset: u64,
    /// A fingerprint of its first line once that was read. Finds the file again after it was copied
    /// or compressed.
    #[serde(default)]
    pub head: Option<u64>,
    /// When it was last modified before the last read, in microseconds since 1970. Files that were
    /// modified later are newer.
    #[serde(default)]
    pub written: Option<i64>,
    /// A fingerprint of the log's path, the same for all its files. Tells it from a log that begins
    /// with the same line. `None` for a file that an older version began to read, so that its lines
    /// keep their IDs.
    #[serde(default)]
    pub log: Option<u64>,
    /// Whether the text from here to the next newline is the rest of a line that was too long.
    #[serde(default)]
    pub within: bool,
}

impl Position {
    /// Returns the start of the file as it is now; `None` if it does not exist. Followed from
    /// there, the file is read even if it is rotated before the first read.
    ///
    /// `within` is the folder in which the file was found; none if an administrator named it.
    pub fn at_start_of(path: &Path, within: Option<&Path>) -> Option<Self> {
        let trust = within.map_or(Trust::Named, Trust::Within);
        let source = Source::open(path, trust).ok()?;
        let log = Some(log_fingerprint(path));
        Some(Self {
            head: source::read_fingerprint(path, trust),
            written: source.modified_at().ok(),
            log,
            ..source.start_position()
        })
    }

    fn is_of(&self, metadata: &Metadata) -> bool {
        (metadata.dev(), metadata.ino()) == (self.device, self.inode)
    }

    /// Moves past a line that is `length` bytes long with its newline. Returns whether it is a line
    /// rather than the rest of one that was too long: a monitored user could make that look like
    /// any line.
    fn advance_past(&mut self, line: &[u8], length: usize, ends: bool) -> bool {
        let is_line = !std::mem::replace(&mut self.within, !ends);
        if self.offset == 0 {
            self.head = Some(source::fingerprint(line));
        }
        self.offset += length as u64;
        is_line
    }

    /// Returns a number for the file that stays the same for the same text of the same log when it
    /// is copied or compressed.
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

/// Returns the fingerprint of a log's path, which stays the same while its files are renamed.
fn log_fingerprint(path: &Path) -> u64 {
    source::fingerprint(path.as_os_str().as_encoded_bytes())
}

/// A change of the file other than growth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileEvent {
    /// It was renamed or removed, and a new file replaced it.
    Rotated,
    /// It was truncated and is read from its start again.
    Truncated,
    /// A compressed file is damaged.
    Damaged {
        /// Where the damage begins.
        at: Position,
    },
    /// The file that was read last is gone with its unread lines.
    Lost {
        /// Up to where it was read.
        at: Position,
    },
}

/// Complete lines in order, without their newlines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The text that `lines` refers to.
    bytes: Vec<u8>,
    /// For each line its offset in the file and its range in `bytes`.
    lines: Vec<(u64, usize, usize)>,
    /// The position after the lines.
    pub position: Option<Position>,
    /// Changes of the file since the last batch.
    pub file_events: Vec<FileEvent>,
}

impl Batch {
    /// Iterates over the lines with their offsets in the file.
    pub fn lines(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.lines
            .iter()
            .map(|(offset, start, end)| (*offset, &self.bytes[*start..*end]))
    }

    /// Returns whether there is nothing to store.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.file_events.is_empty()
    }
}

struct OpenFile {
    source: Source,
    position: Position,
}

/// Returns whether a path leads to a regular file without any link from `folder` on. A file that
/// may not be read is one.
pub fn is_plain_file(path: &Path, folder: &Path) -> bool {
    match Trust::Within(folder).open(path) {
        Ok(_) => true,
        Err(error) => error.kind() == io::ErrorKind::PermissionDenied,
    }
}

/// A followed file.
pub struct Follower {
    path: PathBuf,
    /// The folder from which on no link is followed.
    within: Option<PathBuf>,
    open: Option<OpenFile>,
    /// Where to resume in a file that is not open yet.
    resume: Option<Position>,
    /// The bytes of an incomplete line at `position`.
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
            within: None,
            open: None,
            resume: saved,
            rest: Vec::new(),
        }
    }

    /// Follows no link from this folder on, because the file was found in it rather than named.
    #[must_use]
    pub fn within(mut self, folder: Option<PathBuf>) -> Self {
        self.within = folder;
        self
    }

    /// Returns which links to the log itself are followed.
    fn trust(&self) -> Trust<'_> {
        self.within.as_deref().map_or(Trust::Named, Trust::Within)
    }

    /// Returns the file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads complete lines of one file, up to about `limit` bytes. Returns an empty batch if there
    /// is nothing new or the file does not exist.
    pub fn read_batch(&mut self, limit: usize) -> io::Result<Batch> {
        let mut batch = Batch::default();
        if self.open.is_none() && !self.find_source(&mut batch)? {
            return Ok(batch);
        }

        let before = self.read_offset();
        self.read_open(limit, &mut batch)?;

        // Other changes are only checked at the end of the file.
        if batch.lines.is_empty() && self.read_offset() == before {
            self.follow_rotation(limit, &mut batch)?;
        }

        batch.position = self.open.as_ref().map(|open| open.position);
        Ok(batch)
    }

    /// Returns how far the open file was read.
    fn read_offset(&self) -> Option<u64> {
        self.open.as_ref().map(|open| open.position.offset)
    }

    /// Opens the file that was read last under its present name, otherwise the oldest newer one.
    fn find_source(&mut self, batch: &mut Batch) -> io::Result<bool> {
        let Some(saved) = self.resume else {
            let source = match Source::open(&self.path, self.trust()) {
                Ok(source) => source,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
                Err(error) => return Err(error),
            };
            self.start_reading(source);
            return Ok(true);
        };

        let files = rotated::list_files(&self.path, self.within.as_deref())?;
        if let Some(source) = reopen_saved(&files, &saved) {
            self.start_reading(source);
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

        let newer = rotated::newer_files(&files, None, &saved);
        let log = files
            .iter()
            .find(|file| file.path.file_name() == self.path.file_name());
        let Some(file) = newer.first().or(log) else {
            return Ok(false);
        };
        let source = Source::open(&file.path, file.trust())?;

        let cut = log.is_some_and(|log| log.is_at(&saved));
        batch.file_events.push(if cut {
            FileEvent::Truncated
        } else {
            FileEvent::Lost { at: saved }
        });

        self.start_reading(source);
        Ok(true)
    }

    fn start_reading(&mut self, source: Source) {
        self.resume = None;
        self.rest.clear();
        let position = Position {
            log: Some(log_fingerprint(&self.path)),
            ..source.start_position()
        };
        self.open = Some(OpenFile { source, position });
    }

    fn read_open(&mut self, limit: usize, batch: &mut Batch) -> io::Result<()> {
        if self.fill_batch(limit, batch)? || !self.find_source(batch)? {
            return Ok(());
        }
        self.fill_batch(limit, batch).map(|_| ())
    }

    /// Reads lines of the open file. Returns `false` if it was truncated and the saved position
    /// must be found again.
    fn fill_batch(&mut self, limit: usize, batch: &mut Batch) -> io::Result<bool> {
        let Some(open) = &mut self.open else {
            return Ok(true);
        };

        // Taken before reading, because later writes must count as newer.
        open.position.written = Some(open.source.modified_at()?);
        let mut bytes = std::mem::take(&mut self.rest);
        let seen = bytes.len();
        if !open.source.read_text(limit, &mut bytes)? {
            batch
                .file_events
                .push(FileEvent::Damaged { at: open.position });
        }

        // Checked after reading, so the bytes certainly belong to the known text. Lines that were
        // written between the last read and a truncation are in the copy, if there is one.
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
                .advance_past(&bytes[start..end], next - start, newline.is_some())
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

    /// Continues with the next file if the open one is at its end and was replaced.
    fn follow_rotation(&mut self, limit: usize, batch: &mut Batch) -> io::Result<()> {
        let Some(next) = self.next_file()? else {
            return Ok(());
        };
        let next = match Source::open(&next.path, next.trust()) {
            Ok(next) => next,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };

        // Lines may have been written between the last read and the rotation.
        let before = self.rest.len();
        let offset = self.read_offset();
        self.read_open(limit, batch)?;
        if !batch.lines.is_empty() || self.rest.len() > before || self.read_offset() != offset {
            return Ok(());
        }

        let Some(open) = &mut self.open else {
            return Ok(());
        };

        // The last line of the old file is a line even without a newline.
        if !self.rest.is_empty() {
            let rest = std::mem::take(&mut self.rest);
            let at = open.position.offset;
            if open.position.advance_past(&rest, rest.len(), true) {
                batch.lines.push((at, 0, rest.len()));
            }
            batch.bytes = rest;
            return Ok(());
        }

        batch.file_events.push(FileEvent::Rotated);
        self.start_reading(next);
        self.read_open(limit, batch)
    }

    /// Returns the file after the open one once it is not empty. The writer may continue with the
    /// old file for a while after the new one was created.
    fn next_file(&self) -> io::Result<Option<LogFile>> {
        let Some(open) = &self.open else {
            return Ok(None);
        };
        match std::fs::metadata(&self.path) {
            Ok(there) if open.position.is_of(&there) => return Ok(None),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }

        let files = rotated::list_files(&self.path, self.within.as_deref())?;

        // A file that was compressed in the meantime is another file with the same text.
        let copy = |file: &&LogFile| {
            file.is_rotated() && open.position.head.is_some_and(|h| file.begins_with(h))
        };
        let here = files
            .iter()
            .find(|file| file.is_at(&open.position))
            .or_else(|| files.iter().find(copy));
        let next = rotated::newer_files(&files, here, &open.position)
            .into_iter()
            .next();

        Ok(next.or_else(|| rotated::live_file(&files).cloned()))
    }
}

/// Opens the file of a saved position at that position: found by its inode if it has the same text,
/// otherwise by its text.
fn reopen_saved(files: &[LogFile], saved: &Position) -> Option<Source> {
    let same_text = |file: &&LogFile| saved.head.is_none_or(|head| file.begins_with(head));
    let same_inode = files.iter().filter(|file| file.is_at(saved));
    let mut others: Vec<&LogFile> = files
        .iter()
        .filter(|file| !file.is_at(saved) && saved.head.is_some() && file.is_rotated())
        .collect();

    // If all files begin with the same line, the newest is the most likely one.
    others.sort_by(|a, b| b.compare_age(a));
    same_inode.chain(others).filter(same_text).find_map(|file| {
        let mut source = Source::open(&file.path, file.trust()).ok()?;
        // A damaged or truncated file is not the one.
        source
            .seek_text(saved.offset)
            .is_ok_and(|there| there)
            .then_some(source)
    })
}

#[cfg(test)]
mod tests;
