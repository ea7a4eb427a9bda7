//! Where lines wait until the sink has taken them: files of NDJSON in a folder, and memory for what the disk does not take.
//!
//! Everything goes through here, also while all is well: then nothing is fsynced, and a file that was sent is emptied and used
//! again. How far it was sent is not kept, because sending a line again changes nothing.

mod folder;

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use folder::Folder;

/// A file is closed when it is so long.
const SEGMENT: u64 = 4 * 1024 * 1024;
/// What memory may hold when the disk takes nothing.
const MEMORY_MAX: u64 = 8 * 1024 * 1024;
/// The ending of the files' names.
const ENDING: &str = "ndjson";

/// Lines, one after another, as they stand in the spool.
#[derive(Clone, Debug, Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
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
        starts.zip(&self.ends).map(|(start, end)| self.bytes.get(start..end - 1).unwrap_or_default())
    }

    /// All of it: NDJSON.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The first `lines` of them.
    pub(crate) fn shorten(&mut self, lines: usize) {
        self.ends.truncate(lines);
        self.bytes.truncate(self.ends.last().copied().unwrap_or(0));
    }

    fn take(bytes: Vec<u8>, most: usize, from_disk: bool) -> Self {
        let newlines = memchr::memchr_iter(b'\n', &bytes).map(|at| at + 1);
        let ends: Vec<usize> = newlines.take(most).collect();
        let mut batch = Self { bytes, ends, from_disk };
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
        Self { max_bytes: MEMORY_MAX, ..Self::default() }
    }

    /// In a folder of its own below `dir`, with what former runs left. Also says which runs did not end as they should.
    pub(crate) fn open(dir: &Path, max_bytes: u64, producer: &str) -> io::Result<(Self, Vec<String>)> {
        let (folder, unclean) = Folder::take(dir, producer)?;
        let mut spool = Self { max_bytes, ..Self::default() };
        for (id, path) in folder.segments()? {
            spool.next = id + 1;
            match whole(&path)? {
                Some(segment) => spool.segments.push_back(segment),
                None => fs::remove_file(&path)?,
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

    /// Appends one or more whole lines. `beyond`: also when the spool is full, for the word about what was dropped.
    pub(crate) fn append(&mut self, lines: &[u8], count: u64, beyond: bool) -> Kept {
        let room = if beyond { u64::MAX } else { self.max_bytes };
        // What memory holds is younger than the disk's; nothing may get between.
        if self.memory.is_empty() && self.folder.is_some() {
            if self.bytes() + lines.len() as u64 > room {
                return Kept::No;
            }
            match self.write(lines, count) {
                Ok(()) => return Kept::OnDisk,
                Err(error) => tracing::error!(%error, "the audit spool takes nothing; events are kept in memory"),
            }
        }
        if self.memory_bytes + lines.len() as u64 > room.min(MEMORY_MAX) && !beyond {
            return Kept::No;
        }
        self.memory_bytes += lines.len() as u64;
        self.memory.extend(lines.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec));
        Kept::InMemory
    }

    fn write(&mut self, lines: &[u8], count: u64) -> io::Result<()> {
        if self.active.is_none() || self.segments.back().is_none_or(|s| s.len >= SEGMENT) {
            self.start_segment()?;
        }
        let (Some(file), Some(segment)) = (&mut self.active, self.segments.back_mut()) else { return Ok(()) };
        let durable = self.durable;
        let done = file.write_all(lines).and_then(|()| if durable { file.sync_data() } else { Ok(()) });
        if let Err(error) = done {
            // After a failed fsync nobody knows what is on disk; what follows goes to another file.
            if let Err(error) = file.set_len(segment.len) {
                tracing::error!(%error, "a failed append to the audit spool cannot be undone; a line may be sent broken");
            }
            self.active = None;
            return Err(error);
        }
        segment.len += lines.len() as u64;
        segment.lines += count;
        Ok(())
    }

    fn start_segment(&mut self) -> io::Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let path = folder.path(self.next);
        self.next += 1;
        let file = private().append(true).open(&path)?;
        if self.durable {
            folder.sync()?;
        }
        self.active = Some(file);
        self.segments.push_back(Segment { path, len: 0, lines: 0 });
        Ok(())
    }

    /// The next lines, at most so many and about so many bytes; none when nothing waits.
    pub(crate) fn peek(&mut self, lines: usize, bytes: usize) -> Option<Batch> {
        while let Some(segment) = self.segments.front() {
            if self.sent < segment.len {
                match read(segment, self.sent, bytes) {
                    Ok(bytes) => {
                        let batch = Batch::take(bytes, lines, true);
                        if batch.len() > 0 {
                            return Some(batch);
                        }
                    }
                    Err(error) => tracing::error!(%error, "a file of the audit spool cannot be read"),
                }
                self.set_aside();
                continue;
            }
            if self.segments.len() == 1 {
                break;
            }
            self.drop_first();
        }
        let mut taken = Vec::new();
        for line in self.memory.iter().take(lines) {
            if taken.len() + line.len() > bytes && !taken.is_empty() {
                break;
            }
            taken.extend_from_slice(line);
        }
        (!taken.is_empty()).then(|| Batch::take(taken, lines, false))
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
        self.sent_lines += batch.len() as u64;
        if self.segments.front().is_some_and(|s| self.sent >= s.len) {
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
                tracing::warn!(%error, "a sent file of the audit spool cannot be removed; it will be sent once more");
            }
        }
        (self.sent, self.sent_lines) = (0, 0);
    }

    /// Takes an unreadable first file out of the way without deleting it.
    fn set_aside(&mut self) {
        let Some(segment) = self.segments.pop_front() else { return };
        if self.segments.is_empty() {
            self.active = None;
        }
        self.lost += segment.lines.saturating_sub(self.sent_lines);
        (self.sent, self.sent_lines) = (0, 0);
        let aside = segment.path.with_extension("damaged");
        let done = fs::rename(&segment.path, &aside);
        tracing::error!(file = %aside.display(), moved = done.is_ok(), "a damaged file of the audit spool was set aside");
    }

    /// Lines that could not be read again since the last call.
    pub(crate) fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    /// Keeps a line that the sink refuses for good, with the reason, for a person to look at; at most 16 MiB of them.
    pub(crate) fn bury(&self, line: &[u8], why: &str) {
        let Some(folder) = &self.folder else { return };
        if let Err(error) = folder.bury(line, why) {
            tracing::error!(%error, "a refused audit event cannot be kept");
        }
    }

    /// The run ends as it should: everything is synced, and the mark that says otherwise goes.
    pub(crate) fn close(&mut self) {
        self.set_durable(true);
        let Some(folder) = self.folder.take() else { return };
        if self.segments.iter().all(|s| s.len == 0) {
            for segment in &self.segments {
                drop(fs::remove_file(&segment.path));
            }
        }
        if let Err(error) = folder.leave() {
            tracing::warn!(%error, "the audit spool's mark of this run cannot be removed");
        }
    }
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
        tracing::warn!(file = %path.display(), bytes = bytes.len() - len, "cut a half line off the audit spool");
        let file = OpenOptions::new().write(true).open(path)?;
        file.set_len(len as u64)?;
        file.sync_all()?;
    }
    let lines = memchr::memchr_iter(b'\n', &bytes).count() as u64;
    Ok((len > 0).then(|| Segment { path: path.to_owned(), len: len as u64, lines }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(batch: &Batch) -> Vec<String> {
        batch.lines().map(|line| String::from_utf8(line.to_vec()).unwrap()).collect()
    }

    fn open(dir: &Path) -> (Spool, Vec<String>) {
        Spool::open(dir, 1000, "app/1").unwrap()
    }

    #[test]
    fn lines_come_out_as_they_went_in_and_stay_until_they_are_sent() {
        let dir = tempfile::tempdir().unwrap();
        let (mut spool, unclean) = open(dir.path());
        assert!(unclean.is_empty() && spool.peek(9, 99).is_none());
        assert_eq!(spool.append(b"a\nb\n", 2, false), Kept::OnDisk);
        assert_eq!(spool.append(b"c\n", 1, false), Kept::OnDisk);
        let batch = spool.peek(2, 99).unwrap();
        assert_eq!(texts(&batch), ["a", "b"]);
        assert_eq!(texts(&spool.peek(9, 3).unwrap()), ["a"], "a line that does not fit is left");
        spool.advance(&batch);
        assert_eq!((spool.lines(), texts(&spool.peek(9, 99).unwrap())), (1, vec!["c".to_owned()]));
        let batch = spool.peek(9, 99).unwrap();
        spool.advance(&batch);
        assert!(spool.is_empty() && spool.bytes() == 0 && spool.peek(9, 99).is_none());
        spool.append(b"d\n", 1, false);
        assert_eq!(texts(&spool.peek(9, 99).unwrap()), ["d"]);
    }

    #[test]
    fn a_killed_run_is_named_and_its_lines_are_first() {
        let dir = tempfile::tempdir().unwrap();
        let (mut spool, _) = open(dir.path());
        spool.append(b"a\n", 1, false);
        spool.append(b"half", 1, false);
        drop(spool);
        let (mut spool, unclean) = open(dir.path());
        assert_eq!(unclean, ["app/1"]);
        spool.append(b"b\n", 1, false);
        let batch = spool.peek(9, 99).unwrap();
        assert_eq!(texts(&batch), ["a"]);
        spool.advance(&batch);
        assert_eq!(texts(&spool.peek(9, 99).unwrap()), ["b"]);
        spool.close();
        let (mut spool, unclean) = open(dir.path());
        assert!(unclean.is_empty());
        let batch = spool.peek(9, 99).unwrap();
        assert_eq!(texts(&batch), ["b"]);
        spool.advance(&batch);
        spool.close();
    }

    #[test]
    fn two_programs_share_a_folder_and_the_next_inherits() {
        let dir = tempfile::tempdir().unwrap();
        let (mut one, _) = open(dir.path());
        let (mut two, _) = Spool::open(dir.path(), 1000, "app/2").unwrap();
        one.append(b"1\n", 1, false);
        two.append(b"2\n", 1, false);
        assert_eq!(texts(&one.peek(9, 99).unwrap()), ["1"]);
        drop((one, two));
        let (mut next, mut unclean) = open(dir.path());
        unclean.sort();
        assert_eq!(unclean, ["app/1", "app/2"]);
        let mut found = Vec::new();
        while let Some(batch) = next.peek(9, 99) {
            found.extend(texts(&batch));
            next.advance(&batch);
        }
        assert_eq!(found, ["1", "2"]);
    }

    #[test]
    fn it_is_bounded_but_for_the_word_about_it() {
        let dir = tempfile::tempdir().unwrap();
        let (mut spool, _) = Spool::open(dir.path(), 10, "app/1").unwrap();
        assert_eq!(spool.append(b"12345678\n", 1, false), Kept::OnDisk);
        assert_eq!(spool.append(b"1\n", 1, false), Kept::No);
        assert_eq!(spool.append(b"lost one\n", 1, true), Kept::OnDisk);
        assert_eq!(spool.lines(), 2);
        let mut memory = Spool::in_memory();
        assert_eq!(memory.append(&vec![b'\n'; MEMORY_MAX as usize + 1], 1, false), Kept::No);
        assert_eq!(memory.append(b"a\n", 1, false), Kept::InMemory);
        assert_eq!(texts(&memory.peek(9, 1).unwrap()), ["a"]);
    }

    #[test]
    fn a_folder_that_vanishes_costs_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (mut spool, _) = open(dir.path());
        fs::remove_dir_all(dir.path()).unwrap();
        assert_eq!(spool.append(b"a\n", 1, false), Kept::InMemory);
        let batch = spool.peek(9, 99).unwrap();
        assert_eq!(texts(&batch), ["a"]);
        spool.advance(&batch);
        assert!(spool.is_empty());
    }
}
