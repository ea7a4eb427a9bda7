//! The spool, where lines wait until the sink has accepted them: files of NDJSON in a folder, and
//! memory for lines that the disk does not accept.
//!
//! All lines go through it. While the sink is reachable, nothing is fsynced, a sent file is emptied
//! and reused, and its lines are sent from memory. The read position is not saved, because sending
//! a line again changes nothing.

mod folder;
mod recent;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use folder::Folder;
use recent::RecentLines;

/// A file takes no more lines at this size.
const SEGMENT_MAX: u64 = 4 * 1024 * 1024;
/// The most bytes in memory while the disk accepts nothing.
const MEMORY_MAX: u64 = 8 * 1024 * 1024;
/// The extension of the files.
const ENDING: &str = "ndjson";

/// Consecutive lines of the spool.
#[derive(Clone, Debug, Default)]
pub(crate) struct Batch {
    bytes: Bytes,
    /// The end of each line, including its newline.
    ends: Vec<usize>,
    from_disk: bool,
}

impl Batch {
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Iterates over the lines without their newlines.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts
            .zip(&self.ends)
            .map(|(start, end)| self.bytes.get(start..end - 1).unwrap_or_default())
    }

    /// Returns all lines as NDJSON.
    pub(crate) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Keeps only the first lines.
    pub(crate) fn truncate_lines(&mut self, lines: usize) {
        self.ends.truncate(lines);
        self.bytes.truncate(self.ends.last().copied().unwrap_or(0));
    }

    fn from_prefix(bytes: Bytes, most: usize, from_disk: bool) -> Self {
        let newlines = memchr::memchr_iter(b'\n', &bytes).map(|at| at + 1);
        let ends: Vec<usize> = newlines.take(most).collect();
        let mut batch = Self {
            bytes,
            ends,
            from_disk,
        };

        batch.truncate_lines(most);
        batch
    }
}

#[derive(Debug)]
struct Segment {
    path: PathBuf,
    len: u64,
    lines: u64,
}

/// The spool of one run.
#[derive(Debug, Default)]
pub(crate) struct Spool {
    folder: Option<Folder>,
    max_bytes: u64,
    /// Oldest first; the last is `active` while that is open.
    segments: VecDeque<Segment>,
    active: Option<File>,
    next: u64,
    /// How many bytes of the first segment were sent.
    sent: u64,
    sent_lines: u64,
    /// All unsent lines on disk, or none.
    recent: RecentLines,
    memory: VecDeque<Vec<u8>>,
    memory_bytes: u64,
    durable: bool,
    lost: u64,
}

/// Where appended lines were kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    OnDisk,
    InMemory,
    No,
}

impl Spool {
    /// Creates a spool that is only in memory.
    pub(crate) fn in_memory() -> Self {
        Self {
            max_bytes: MEMORY_MAX,
            ..Self::default()
        }
    }

    /// Opens a spool in a folder of its own below `dir`, with the lines that earlier runs left.
    /// Also returns the runs that did not end cleanly.
    pub(crate) fn open(
        dir: &Path,
        max_bytes: u64,
        producer: &str,
    ) -> io::Result<(Self, Vec<String>)> {
        let (folder, unclean) = Folder::acquire(dir, producer)?;
        let mut spool = Self {
            max_bytes,
            ..Self::default()
        };

        spool.next = folder.next_unused_id()?;
        for (_, path) in folder.list_segments()? {
            match recover_segment(&path) {
                Ok(Some(segment)) => spool.segments.push_back(segment),
                Ok(None) => drop(fs::remove_file(&path)),
                Err(error) => {
                    tracing::error!(%error, file = %path.display(), "cannot read a file of the \
                        audit spool; leaving it in place");
                }
            }
        }

        spool.folder = Some(folder);
        Ok((spool, unclean))
    }

    /// Returns whether no line is waiting.
    pub(crate) fn is_empty(&self) -> bool {
        self.lines() == 0
    }

    /// Returns how many lines are waiting.
    pub(crate) fn lines(&self) -> u64 {
        let on_disk: u64 = self.segments.iter().map(|s| s.lines).sum();
        on_disk.saturating_sub(self.sent_lines) + self.memory.len() as u64
    }

    /// Returns the size on disk in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.segments.iter().map(|s| s.len).sum()
    }

    /// Sets whether present and future lines survive a power failure.
    pub(crate) fn set_durable(&mut self, durable: bool) {
        if durable
            && !self.durable
            && let (Some(file), Some(folder)) = (&self.active, &self.folder)
            && let Err(error) = file.sync_data().and_then(|()| folder.sync_dir())
        {
            tracing::error!(%error, "cannot sync the audit spool");
        }
        self.durable = durable;
    }

    /// Appends complete lines. `beyond_limit` also appends to a full spool, for reports of losses.
    pub(crate) fn append(
        &mut self,
        lines: impl Into<Bytes>,
        count: u64,
        beyond_limit: bool,
    ) -> Kept {
        let lines = lines.into();
        let room = if beyond_limit {
            u64::MAX
        } else {
            self.max_bytes
        };

        // Lines in memory are newer than those on disk, so their order must be kept.
        if self.memory.is_empty() && self.folder.is_some() {
            if (self.bytes() - self.sent).saturating_add(lines.len() as u64) > room {
                return Kept::No;
            }

            match self.write_to_disk(lines.clone(), count) {
                Ok(()) => return Kept::OnDisk,
                Err(error) => {
                    tracing::error!(%error, "cannot write to the audit spool; keeping events in \
                        memory");
                }
            }
        }

        if self.memory_bytes + lines.len() as u64 > room.min(MEMORY_MAX) && !beyond_limit {
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

    /// Writes lines to disk. Also keeps them in memory if that has all unsent lines on disk.
    fn write_to_disk(&mut self, lines: Bytes, count: u64) -> io::Result<()> {
        let all_recent = self.recent.len() == self.bytes() - self.sent;
        self.write_segment(&lines, count)?;
        self.recent.push(lines);
        if !all_recent {
            self.recent.clear();
        }
        Ok(())
    }

    fn write_segment(&mut self, lines: &[u8], count: u64) -> io::Result<()> {
        if self.active.is_none() || self.segments.back().is_none_or(|s| s.len >= SEGMENT_MAX) {
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
            // After a failed fsync it is unknown what is on disk; the next lines go to another
            // file.
            if let Err(error) = file.set_len(segment.len) {
                tracing::error!(%error, "cannot undo a failed append to the audit spool; a \
                    truncated line may be sent");
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
        let path = folder.segment_path(self.next);
        self.next += 1;

        let file = private_options().append(true).open(&path)?;
        if self.durable {
            folder.sync_dir()?;
        }

        self.active = Some(file);
        self.segments.push_back(Segment {
            path,
            len: 0,
            lines: 0,
        });

        Ok(())
    }

    /// Writes the lines in memory to disk once that works again. Must not be called while the sink
    /// has a batch of them.
    fn flush_memory(&mut self) {
        if self.memory.is_empty() || self.folder.is_none() {
            return;
        }

        let lines: Vec<u8> = self.memory.iter().flatten().copied().collect();
        if let Err(error) = self.write_to_disk(lines.into(), self.memory.len() as u64) {
            tracing::debug!(%error, "still cannot write to the audit spool");
            return;
        }

        tracing::info!(
            lines = self.memory.len(),
            "the audit spool is writable again"
        );
        self.memory.clear();
        self.memory_bytes = 0;
    }

    /// Returns the next lines without removing them, at most `lines` and about `bytes` bytes;
    /// `None` when no line is waiting.
    pub(crate) fn peek_batch(&mut self, lines: usize, bytes: usize) -> Option<Batch> {
        self.flush_memory();
        self.drop_sent();
        if let Some(recent) = self.recent.front_piece(bytes / 2) {
            let batch = Batch::from_prefix(recent.slice(..recent.len().min(bytes)), lines, true);
            if batch.len() > 0 {
                return Some(batch);
            }
        }

        while let Some(segment) = self.segments.front() {
            if self.sent < segment.len {
                match read_range(segment, self.sent, bytes) {
                    Ok(bytes) => {
                        let batch = Batch::from_prefix(bytes.into(), lines, true);
                        if batch.len() > 0 {
                            return Some(batch);
                        }
                    }
                    Err(error) if is_damage(&error) => {
                        tracing::error!(%error, "cannot read a file of the audit spool");
                    }
                    // Temporary, such as too many open files; it is retried.
                    Err(error) => {
                        tracing::error!(%error, "cannot read a file of the audit spool; retrying");
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

        (!taken.is_empty()).then(|| Batch::from_prefix(taken.into(), lines, false))
    }

    /// Removes a batch from [`Spool::peek_batch`] that the sink has accepted.
    pub(crate) fn remove_batch(&mut self, batch: &Batch) {
        if !batch.from_disk {
            for line in self.memory.drain(..batch.len().min(self.memory.len())) {
                self.memory_bytes -= line.len() as u64;
            }
            return;
        }

        self.sent += batch.bytes.len() as u64;
        self.recent.release_front(batch.bytes.len());
        self.sent_lines += batch.len() as u64;
        // A batch from memory may span several files.
        while let Some(first) = self.segments.front()
            && self.sent >= first.len
        {
            let sent = self.sent - first.len;
            let sent_lines = self.sent_lines.saturating_sub(first.lines);
            self.drop_first();
            self.sent = sent;
            self.sent_lines = sent_lines;

            if sent == 0 {
                break;
            }
        }
    }

    fn drop_sent(&mut self) {
        while self.segments.len() > 1 && self.segments.front().is_some_and(|s| self.sent >= s.len) {
            self.drop_first();
        }
    }

    /// Removes the first file, or empties it if it is the one that is written to.
    fn drop_first(&mut self) {
        let only = self.segments.len() == 1;
        if only
            && let (Some(file), Some(segment)) = (&self.active, self.segments.front_mut())
            && file.set_len(0).is_ok()
        {
            segment.len = 0;
            segment.lines = 0;
        } else if let Some(segment) = self.segments.pop_front() {
            if only {
                self.active = None;
            }
            if let Err(error) = fs::remove_file(&segment.path) {
                tracing::warn!(%error, "cannot remove a sent file of the audit spool; it will be \
                    sent again");
            }
        }

        self.sent = 0;
        self.sent_lines = 0;
    }

    /// Renames an unreadable first file instead of deleting it.
    fn set_aside(&mut self) {
        let Some(segment) = self.segments.pop_front() else {
            return;
        };
        self.recent.clear();
        if self.segments.is_empty() {
            self.active = None;
        }

        self.lost += segment.lines.saturating_sub(self.sent_lines);
        self.sent = 0;
        self.sent_lines = 0;
        let aside = segment.path.with_extension("damaged");
        let done = fs::rename(&segment.path, &aside);
        tracing::error!(file = %aside.display(), moved = done.is_ok(), "a damaged file of the \
            audit spool was set aside");
    }

    /// Returns how many lines became unreadable since the last call.
    pub(crate) fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    /// Keeps a permanently rejected line with the reason for a person to inspect, at most 16 MiB of
    /// them.
    pub(crate) fn keep_rejected(&self, line: &[u8], why: &str) {
        let Some(folder) = &self.folder else { return };
        if let Err(error) = folder.keep_rejected(line, why) {
            tracing::error!(%error, "cannot keep a rejected audit event");
        }
    }

    /// Ends the run cleanly: syncs all lines and removes the mark of the run. Returns how many
    /// lines in memory could not be written to disk; with any, the mark stays.
    pub(crate) fn close_run(&mut self) -> u64 {
        self.flush_memory();
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
                "cannot write to the audit spool at shutdown; audit events are lost"
            );
        } else if let Err(error) = folder.remove_mark() {
            tracing::warn!(%error, "cannot remove the mark of this run from the audit spool");
        }

        left
    }
}

/// Returns whether retrying is futile.
fn is_damage(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::NotFound
    )
}

fn private_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn read_range(segment: &Segment, from: u64, most: usize) -> io::Result<Vec<u8>> {
    let left = usize::try_from(segment.len - from).unwrap_or(usize::MAX);
    let mut bytes = vec![0; left.min(most)];
    let mut file = File::open(&segment.path)?;
    file.seek(SeekFrom::Start(from))?;
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Opens a file of an earlier run and cuts off an incomplete line at its end. `None` when no line
/// is left.
fn recover_segment(path: &Path) -> io::Result<Option<Segment>> {
    let bytes = fs::read(path)?;
    let len = memchr::memrchr(b'\n', &bytes).map_or(0, |at| at + 1);
    if len < bytes.len() {
        tracing::warn!(file = %path.display(), bytes = bytes.len() - len, "cut an incomplete \
            line off the audit spool");
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
