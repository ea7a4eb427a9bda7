//! Where lines wait until the sink has taken them: files of NDJSON in a folder, and memory for what
//! the disk does not take.
//!
//! Everything goes through here, also while all is well: then nothing is fsynced, and a file that
//! was sent is emptied and used again; what it holds is sent from memory. How far it was sent is
//! not kept, because sending a line again changes nothing.

mod folder;
mod held;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use folder::Folder;
use held::Held;

/// A file is closed when it is so long.
const SEGMENT: u64 = 4 * 1024 * 1024;
/// What memory may hold when the disk takes nothing.
const MEMORY_MAX: u64 = 8 * 1024 * 1024;
/// The ending of the files' names.
const ENDING: &str = "ndjson";

/// Lines, one after another, as they stand in the spool.
#[derive(Clone, Debug, Default)]
pub(crate) struct Batch {
    bytes: Bytes,
    /// Where each line ends, its newline included.
    ends: Vec<usize>,
    from_disk: bool,
}

impl Batch {
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The lines, without their newlines.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts
            .zip(&self.ends)
            .map(|(start, end)| self.bytes.get(start..end - 1).unwrap_or_default())
    }

    /// All of it: NDJSON.
    pub(crate) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The first `lines` of them.
    pub(crate) fn shorten(&mut self, lines: usize) {
        self.ends.truncate(lines);
        self.bytes.truncate(self.ends.last().copied().unwrap_or(0));
    }

    fn take(bytes: Bytes, most: usize, from_disk: bool) -> Self {
        let newlines = memchr::memchr_iter(b'\n', &bytes).map(|at| at + 1);
        let ends: Vec<usize> = newlines.take(most).collect();
        let mut batch = Self {
            bytes,
            ends,
            from_disk,
        };

        batch.shorten(most);
        batch
    }
}

#[derive(Debug)]
struct Segment {
    path: PathBuf,
    len: u64,
    lines: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Spool {
    folder: Option<Folder>,
    max_bytes: u64,
    /// Oldest first; the last is `active` while that is open.
    segments: VecDeque<Segment>,
    active: Option<File>,
    next: u64,
    /// How far the first one was sent.
    sent: u64,
    sent_lines: u64,
    /// What the disk has beyond that: all of it or nothing.
    held: Held,
    memory: VecDeque<Vec<u8>>,
    memory_bytes: u64,
    durable: bool,
    lost: u64,
}

/// What became of a line that was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    OnDisk,
    InMemory,
    No,
}

impl Spool {
    /// In memory alone.
    pub(crate) fn in_memory() -> Self {
        Self {
            max_bytes: MEMORY_MAX,
            ..Self::default()
        }
    }

    /// In a folder of its own below `dir`, with what former runs left. Also says which runs did not
    /// end as they should.
    pub(crate) fn open(
        dir: &Path,
        max_bytes: u64,
        producer: &str,
    ) -> io::Result<(Self, Vec<String>)> {
        let (folder, unclean) = Folder::take(dir, producer)?;
        let mut spool = Self {
            max_bytes,
            ..Self::default()
        };

        spool.next = folder.unused()?;
        for (_, path) in folder.segments()? {
            match whole(&path) {
                Ok(Some(segment)) => spool.segments.push_back(segment),
                Ok(None) => drop(fs::remove_file(&path)),
                Err(error) => {
                    tracing::error!(%error, file = %path.display(), "a file of the audit spool \
                        cannot be read and stays where it is");
                }
            }
        }

        spool.folder = Some(folder);
        Ok((spool, unclean))
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.lines() == 0
    }

    /// Lines that wait.
    pub(crate) fn lines(&self) -> u64 {
        let on_disk: u64 = self.segments.iter().map(|s| s.lines).sum();
        on_disk.saturating_sub(self.sent_lines) + self.memory.len() as u64
    }

    /// Bytes on disk.
    pub(crate) fn bytes(&self) -> u64 {
        self.segments.iter().map(|s| s.len).sum()
    }

    /// From now on what is appended stays through a loss of power, and what is there does too.
    pub(crate) fn set_durable(&mut self, durable: bool) {
        if durable
            && !self.durable
            && let (Some(file), Some(folder)) = (&self.active, &self.folder)
            && let Err(error) = file.sync_data().and_then(|()| folder.sync())
        {
            tracing::error!(%error, "the audit spool cannot be synced");
        }
        self.durable = durable;
    }

    /// Appends one or more whole lines. `beyond`: also when the spool is full, for the word about
    /// what was dropped.
    pub(crate) fn append(&mut self, lines: impl Into<Bytes>, count: u64, beyond: bool) -> Kept {
        let lines = lines.into();
        let room = if beyond { u64::MAX } else { self.max_bytes };

        // What memory holds is younger than the disk's; nothing may get between.
        if self.memory.is_empty() && self.folder.is_some() {
            if (self.bytes() - self.sent).saturating_add(lines.len() as u64) > room {
                return Kept::No;
            }

            match self.put(lines.clone(), count) {
                Ok(()) => return Kept::OnDisk,
                Err(error) => {
                    tracing::error!(%error, "the audit spool takes nothing; events are kept in \
                        memory");
                }
            }
        }

        if self.memory_bytes + lines.len() as u64 > room.min(MEMORY_MAX) && !beyond {
            return Kept::No;
        }

        self.memory_bytes += lines.len() as u64;
        self.memory.extend(
            lines
                .split_inclusive(|byte| *byte == b'\n')
                .map(<[u8]>::to_vec),
        );

        Kept::InMemory
    }

    /// Writes them to the disk, and holds them when all that waits there is held.
    fn put(&mut self, lines: Bytes, count: u64) -> io::Result<()> {
        let all_held = self.held.len() == self.bytes() - self.sent;
        self.write(&lines, count)?;
        self.held.push(lines);
        if !all_held {
            self.held.clear();
        }
        Ok(())
    }

    fn write(&mut self, lines: &[u8], count: u64) -> io::Result<()> {
        if self.active.is_none() || self.segments.back().is_none_or(|s| s.len >= SEGMENT) {
            self.start_segment()?;
        }

        let (Some(file), Some(segment)) = (&mut self.active, self.segments.back_mut()) else {
            return Ok(());
        };
        let durable = self.durable;
        let done = file
            .write_all(lines)
            .and_then(|()| if durable { file.sync_data() } else { Ok(()) });

        if let Err(error) = done {
            // After a failed fsync nobody knows what is on disk; what follows goes to another file.
            if let Err(error) = file.set_len(segment.len) {
                tracing::error!(%error, "a failed append to the audit spool cannot be undone; a \
                    line may be sent broken");
            }
            self.active = None;
            return Err(error);
        }

        segment.len += lines.len() as u64;
        segment.lines += count;
        Ok(())
    }

    fn start_segment(&mut self) -> io::Result<()> {
        let Some(folder) = &self.folder else {
            return Ok(());
        };
        let path = folder.path(self.next);
        self.next += 1;

        let file = private().append(true).open(&path)?;
        if self.durable {
            folder.sync()?;
        }

        self.active = Some(file);
        self.segments.push_back(Segment {
            path,
            len: 0,
            lines: 0,
        });

        Ok(())
    }

    /// Brings to the disk what memory holds, when the disk takes something again. Not while the
    /// sink has a batch of it.
    fn unload(&mut self) {
        if self.memory.is_empty() || self.folder.is_none() {
            return;
        }

        let lines: Vec<u8> = self.memory.iter().flatten().copied().collect();
        if let Err(error) = self.put(lines.into(), self.memory.len() as u64) {
            tracing::debug!(%error, "the audit spool still takes nothing");
            return;
        }

        tracing::info!(
            lines = self.memory.len(),
            "the audit spool takes events again"
        );
        self.memory.clear();
        self.memory_bytes = 0;
    }

    /// The next lines, at most so many and about so many bytes; none when nothing waits.
    pub(crate) fn peek(&mut self, lines: usize, bytes: usize) -> Option<Batch> {
        self.unload();
        self.drop_sent();
        if let Some(held) = self.held.first(bytes / 2) {
            let batch = Batch::take(held.slice(..held.len().min(bytes)), lines, true);
            if batch.len() > 0 {
                return Some(batch);
            }
        }

        while let Some(segment) = self.segments.front() {
            if self.sent < segment.len {
                match read(segment, self.sent, bytes) {
                    Ok(bytes) => {
                        let batch = Batch::take(bytes.into(), lines, true);
                        if batch.len() > 0 {
                            return Some(batch);
                        }
                    }
                    Err(error) if is_damage(&error) => {
                        tracing::error!(%error, "a file of the audit spool cannot be read");
                    }
                    // Too many open files, or a disk that falters: it is there yet, and is tried
                    // again.
                    Err(error) => {
                        tracing::error!(%error, "a file of the audit spool cannot be read for now");
                        return None;
                    }
                }

                self.set_aside();
                self.drop_sent();
                continue;
            }

            break;
        }

        let mut taken = Vec::new();
        for line in self.memory.iter().take(lines) {
            if taken.len() + line.len() > bytes && !taken.is_empty() {
                break;
            }
            taken.extend_from_slice(line);
        }

        (!taken.is_empty()).then(|| Batch::take(taken.into(), lines, false))
    }

    /// Forgets what [`Spool::peek`] gave: the sink has it.
    pub(crate) fn advance(&mut self, batch: &Batch) {
        if !batch.from_disk {
            for line in self.memory.drain(..batch.len().min(self.memory.len())) {
                self.memory_bytes -= line.len() as u64;
            }
            return;
        }
        self.sent += batch.bytes.len() as u64;
        self.held.release(batch.bytes.len());
        self.sent_lines += batch.len() as u64;
        // What is held is not cut where a file ends.
        while let Some(first) = self.segments.front()
            && self.sent >= first.len
        {
            let left = (
                self.sent - first.len,
                self.sent_lines.saturating_sub(first.lines),
            );
            self.drop_first();
            (self.sent, self.sent_lines) = left;

            if left.0 == 0 {
                break;
            }
        }
    }

    fn drop_sent(&mut self) {
        while self.segments.len() > 1 && self.segments.front().is_some_and(|s| self.sent >= s.len) {
            self.drop_first();
        }
    }

    /// Takes the first file out of the way: empties it when it is the one that is written to.
    fn drop_first(&mut self) {
        let only = self.segments.len() == 1;
        if only
            && let (Some(file), Some(segment)) = (&self.active, self.segments.front_mut())
            && file.set_len(0).is_ok()
        {
            (segment.len, segment.lines) = (0, 0);
        } else if let Some(segment) = self.segments.pop_front() {
            if only {
                self.active = None;
            }
            if let Err(error) = fs::remove_file(&segment.path) {
                tracing::warn!(%error, "a sent file of the audit spool cannot be removed; it will \
                    be sent once more");
            }
        }
        (self.sent, self.sent_lines) = (0, 0);
    }

    /// Takes an unreadable first file out of the way without deleting it.
    fn set_aside(&mut self) {
        let Some(segment) = self.segments.pop_front() else {
            return;
        };
        self.held.clear();
        if self.segments.is_empty() {
            self.active = None;
        }

        self.lost += segment.lines.saturating_sub(self.sent_lines);
        (self.sent, self.sent_lines) = (0, 0);
        let aside = segment.path.with_extension("damaged");
        let done = fs::rename(&segment.path, &aside);
        tracing::error!(file = %aside.display(), moved = done.is_ok(), "a damaged file of the \
            audit spool was set aside");
    }

    /// Lines that could not be read again since the last call.
    pub(crate) fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    /// Keeps a line that the sink refuses for good, with the reason, for a person to look at; at
    /// most 16 MiB of them.
    pub(crate) fn bury(&self, line: &[u8], why: &str) {
        let Some(folder) = &self.folder else { return };
        if let Err(error) = folder.bury(line, why) {
            tracing::error!(%error, "a refused audit event cannot be kept");
        }
    }

    /// The run ends as it should: everything is synced, and the mark that says otherwise goes.
    /// Gives how many lines memory held that the disk did not take; then the mark stays.
    pub(crate) fn close(&mut self) -> u64 {
        self.unload();
        self.set_durable(true);
        let left = self.memory.len() as u64;
        let Some(folder) = self.folder.take() else {
            return left;
        };

        if self.segments.iter().all(|s| s.len == 0) {
            for segment in &self.segments {
                drop(fs::remove_file(&segment.path));
            }
        }

        if left > 0 {
            tracing::error!(
                lines = left,
                "the audit spool takes nothing at the end of the program; audit events are lost"
            );
        } else if let Err(error) = folder.leave() {
            tracing::warn!(%error, "the audit spool's mark of this run cannot be removed");
        }

        left
    }
}

/// Whether it will be no better another time.
fn is_damage(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::NotFound
    )
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn read(segment: &Segment, from: u64, most: usize) -> io::Result<Vec<u8>> {
    let left = usize::try_from(segment.len - from).unwrap_or(usize::MAX);
    let mut bytes = vec![0; left.min(most)];
    let mut file = File::open(&segment.path)?;
    file.seek(SeekFrom::Start(from))?;
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// What a former run left, without the half line at its end. None when nothing is left.
fn whole(path: &Path) -> io::Result<Option<Segment>> {
    let bytes = fs::read(path)?;
    let len = memchr::memrchr(b'\n', &bytes).map_or(0, |at| at + 1);
    if len < bytes.len() {
        tracing::warn!(file = %path.display(), bytes = bytes.len() - len, "cut a half line off \
            the audit spool");
        let file = OpenOptions::new().write(true).open(path)?;
        file.set_len(len as u64)?;
        file.sync_all()?;
    }

    let lines = memchr::memchr_iter(b'\n', &bytes).count() as u64;
    Ok((len > 0).then(|| Segment {
        path: path.to_owned(),
        len: len as u64,
        lines,
    }))
}
