//! A disk queue of entries that the database does not have yet: append-only segments, read from the
//! front and deleted once all their records are stored.
//!
//! A segment is `BTSPOOL1`, its creation time (microseconds, i64), then records: length (u32),
//! CRC-32C of length and payload (u32), payload; all little-endian. An append is one write and one
//! fsync for many records, and is undone as a whole when either fails, so nothing is half
//! acknowledged. An incomplete append that a crash left is cut and reported at the next start. The
//! read position is not saved: after a crash a segment is read again, and the table's key makes
//! that a no-op.

use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use model::Timestamp;

const MAGIC: &[u8; 8] = b"BTSPOOL1";
const HEADER: u64 = 16;
const FRAME: usize = 8;
/// A segment takes no more records at this size.
const SEGMENT_MAX: u64 = 16 * 1024 * 1024;
/// The longest record; a greater length is damage.
const MAX_RECORD: usize = 1024 * 1024;

/// Why an operation of the spool failed.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The spool has reached its size limit.
    #[error("the spool is full ({used} of {max} bytes)")]
    Full {
        /// Bytes on disk.
        used: u64,
        /// The limit in bytes.
        max: u64,
    },
    /// Reading or writing failed.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// A record that was appended as a whole is damaged.
    #[error("{} is damaged at byte {at}; it was set aside, and {lost} events in it were not \
        written", path.display())]
    Damaged {
        /// The segment under its new name.
        path: PathBuf,
        /// The offset of the damage.
        at: u64,
        /// Records from there to its end.
        lost: u64,
    },
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> SpoolError {
    let path = path.to_owned();
    move |error| SpoolError::Io { path, error }
}

/// Appends a framed record to a buffer; `payload` writes its content.
pub fn frame_record(out: &mut Vec<u8>, payload: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; FRAME]);
    payload(out);
    let length = ((out.len() - start - FRAME) as u32).to_le_bytes();
    let sum = checksum(length, &out[start + FRAME..]);
    out[start..start + 4].copy_from_slice(&length);
    out[start + 4..start + FRAME].copy_from_slice(&sum.to_le_bytes());
}

fn checksum(length: [u8; 4], payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&length), payload)
}

/// Returns the payload of the record at the start of `bytes`, if it is whole.
fn unframe_record(bytes: &[u8]) -> Option<&[u8]> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (sum, rest) = rest.split_first_chunk::<4>()?;
    let size = u32::from_le_bytes(*length) as usize;
    let payload = rest.get(..size).filter(|_| size <= MAX_RECORD)?;
    (checksum(*length, payload) == u32::from_le_bytes(*sum)).then_some(payload)
}

#[derive(Debug)]
struct Segment {
    path: PathBuf,
    since: Timestamp,
    len: u64,
    records: u64,
}

/// Bytes that were cut off a segment when the spool was opened.
#[derive(Debug, PartialEq, Eq)]
pub struct Cut {
    /// The segment's file.
    pub path: PathBuf,
    /// How many bytes were cut off.
    pub bytes: u64,
    /// The file that keeps them, if there may be whole records among them.
    pub kept: Option<PathBuf>,
}

/// Records at the front of the spool, in order.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    ranges: Vec<std::ops::Range<usize>>,
    end: u64,
}

impl Batch {
    /// Iterates over the records in order.
    pub fn payloads(&self) -> impl Iterator<Item = &[u8]> {
        self.ranges.iter().map(|range| &self.bytes[range.clone()])
    }
}

/// A bounded disk queue of records, open in one process at a time.
#[derive(Debug)]
pub struct Spool {
    dir: PathBuf,
    max_bytes: u64,
    segments: VecDeque<Segment>,
    /// The last segment, if it takes more records.
    active: Option<File>,
    /// How far the first segment was read.
    read_at: u64,
    read_records: u64,
    next: u64,
    /// Held while the spool is open: two processes would overwrite each other's records.
    lock: Option<File>,
}

impl Spool {
    /// Opens the spool and checks all segments in it.
    pub fn open(dir: &Path, max_bytes: u64) -> Result<(Self, Vec<Cut>), SpoolError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(io_error(dir))?;

        let lock = dir.join("lock");
        let file = private_options()
            .truncate(false)
            .open(&lock)
            .map_err(io_error(&lock))?;
        rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)
            .map_err(|error| io_error(&lock)(error.into()))?;

        let mut ids = Vec::new();
        for entry in fs::read_dir(dir).map_err(io_error(dir))? {
            let name = entry.map_err(io_error(dir))?.file_name();
            let id = name
                .to_str()
                .and_then(|n| n.strip_suffix(".seg"))
                .and_then(|n| n.parse::<u64>().ok());
            ids.extend(id);
        }

        ids.sort_unstable();
        let mut spool = Self {
            dir: dir.to_owned(),
            max_bytes,
            segments: VecDeque::new(),
            active: None,
            read_at: HEADER,
            read_records: 0,
            next: ids.last().map_or(1, |last| last + 1),
            lock: Some(file),
        };

        let mut cuts = Vec::new();
        for id in ids {
            let path = spool.segment_path(id);
            let segment = scan_segment(&path, &mut cuts)?;
            match segment {
                Some(segment) => spool.segments.push_back(segment),
                None => fs::remove_file(&path).map_err(io_error(&path))?,
            }
        }

        Ok((spool, cuts))
    }

    fn segment_path(&self, id: u64) -> PathBuf {
        self.dir.join(format!("{id:020}.seg"))
    }

    /// Releases the lock for another process. The spool must not be used afterward.
    pub fn release(&mut self) {
        self.lock = None;
    }

    /// Returns whether no record is waiting.
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Returns the size on disk in bytes.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|s| s.len).sum()
    }

    /// Returns how many records are waiting.
    pub fn records(&self) -> u64 {
        self.segments
            .iter()
            .map(|s| s.records)
            .sum::<u64>()
            .saturating_sub(self.read_records)
    }

    /// Returns about when the first waiting record was appended.
    pub fn since(&self) -> Option<Timestamp> {
        self.segments.front().map(|s| s.since)
    }

    /// Appends framed records, all or none. They are on disk on return.
    pub fn append(
        &mut self,
        framed: &[u8],
        records: u64,
        now: Timestamp,
    ) -> Result<(), SpoolError> {
        let used = self.bytes();
        if used + framed.len() as u64 + HEADER > self.max_bytes {
            return Err(SpoolError::Full {
                used,
                max: self.max_bytes,
            });
        }

        if self.active.is_none() || self.segments.back().is_none_or(|s| s.len >= SEGMENT_MAX) {
            self.start_segment(now)?;
        }

        let (Some(file), Some(segment)) = (&mut self.active, self.segments.back_mut()) else {
            return Err(io_error(&self.dir)(io::Error::other("no segment")));
        };
        let written = file
            .write_all_at(framed, segment.len)
            .and_then(|()| file.sync_data());

        if let Err(error) = written {
            // After a failed fsync it is unknown what is on disk; the next records go to a new
            // segment.
            let undone = file.set_len(segment.len).and_then(|()| file.sync_data());
            if let Err(error) = undone {
                tracing::error!(%error, "cannot undo a failed append to the spool; the next \
                    start will");
            }

            let path = segment.path.clone();
            self.active = None;
            if segment.records == 0 {
                self.segments.pop_back();
                let _ = fs::remove_file(&path);
            }

            return Err(io_error(&path)(error));
        }

        segment.len += framed.len() as u64;
        segment.records += records;
        Ok(())
    }

    fn start_segment(&mut self, now: Timestamp) -> Result<(), SpoolError> {
        let path = self.segment_path(self.next);
        self.next += 1;
        let made = private_options()
            .truncate(true)
            .open(&path)
            .and_then(|file| {
                let mut header = MAGIC.to_vec();
                header.extend_from_slice(&now.as_micros().to_le_bytes());
                file.write_all_at(&header, 0)?;
                file.sync_all()?;
                File::open(&self.dir)?.sync_all()?;
                Ok(file)
            });

        match made {
            Ok(file) => {
                self.active = Some(file);
                self.segments.push_back(Segment {
                    path,
                    since: now,
                    len: HEADER,
                    records: 0,
                });
                Ok(())
            }
            Err(error) => {
                let _ = fs::remove_file(&path);
                Err(io_error(&path)(error))
            }
        }
    }

    /// Returns about `max_bytes` of records from the front without removing them; `None` when the
    /// spool is empty. Sets a damaged segment aside and returns an error.
    pub fn peek(&mut self, max_bytes: usize) -> Result<Option<Batch>, SpoolError> {
        let Some(segment) = self.segments.front() else {
            return Ok(None);
        };
        let left = (segment.len - self.read_at) as usize;
        let mut bytes = vec![0; left.min(max_bytes.max(MAX_RECORD + FRAME))];
        let file = File::open(&segment.path).map_err(io_error(&segment.path))?;
        file.read_exact_at(&mut bytes, self.read_at)
            .map_err(io_error(&segment.path))?;

        let mut batch = Batch::default();
        let mut at = 0;
        while let Some(payload) = unframe_record(&bytes[at..]) {
            let start = at + FRAME;
            at = start + payload.len();
            batch.ranges.push(start..at);
        }

        batch.end = self.read_at + at as u64;
        batch.bytes = bytes;
        if batch.ranges.is_empty() {
            return Err(self.set_aside());
        }

        Ok(Some(batch))
    }

    /// Renames the damaged first segment and returns the error that reports it.
    fn set_aside(&mut self) -> SpoolError {
        let at = self.read_at;
        let Some(segment) = self.segments.pop_front() else {
            return io_error(&self.dir)(io::Error::other("no segment"));
        };
        if self.segments.is_empty() {
            self.active = None;
        }

        let lost = segment.records.saturating_sub(self.read_records);
        (self.read_at, self.read_records) = (HEADER, 0);
        let path = segment.path.with_extension("damaged");
        match fs::rename(&segment.path, &path) {
            Ok(()) => SpoolError::Damaged { path, at, lost },
            Err(error) => io_error(&segment.path)(error),
        }
    }

    /// Removes the records of a batch from [`Spool::peek`] once they are in the database.
    pub fn advance(&mut self, batch: &Batch) -> Result<(), SpoolError> {
        self.read_at = batch.end;
        self.read_records += batch.ranges.len() as u64;
        let Some(segment) = self.segments.front() else {
            return Ok(());
        };
        if self.read_at < segment.len {
            return Ok(());
        }

        (self.read_at, self.read_records) = (HEADER, 0);
        let path = segment.path.clone();
        self.segments.pop_front();
        if self.segments.is_empty() {
            self.active = None;
        }

        fs::remove_file(&path).map_err(io_error(&path))
    }
}

fn private_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).mode(0o600);
    options
}

/// Checks a segment and cuts off an incomplete end. `None` when no whole record is left.
fn scan_segment(path: &Path, cuts: &mut Vec<Cut>) -> Result<Option<Segment>, SpoolError> {
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .map_err(io_error(path))?;
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))
        .and_then(|_| file.read_to_end(&mut bytes))
        .map_err(io_error(path))?;

    let since = bytes
        .strip_prefix(MAGIC)
        .and_then(|rest| rest.first_chunk::<8>());
    let mut at = HEADER as usize;
    let mut records = 0;
    while let Some(payload) = since.and_then(|_| unframe_record(bytes.get(at..)?)) {
        at += FRAME + payload.len();
        records += 1;
    }

    let whole = if since.is_some() {
        at.min(bytes.len())
    } else {
        0
    };

    if whole < bytes.len() {
        let rest = &bytes[whole..];
        let kept = if holds_records(rest) {
            let kept = path.with_extension(format!("cut-{whole}"));
            fs::write(&kept, rest).map_err(io_error(&kept))?;
            Some(kept)
        } else {
            None
        };

        file.set_len(whole as u64)
            .and_then(|()| file.sync_all())
            .map_err(io_error(path))?;
        cuts.push(Cut {
            path: path.to_owned(),
            bytes: rest.len() as u64,
            kept,
        });
    }

    let Some(since) = since.filter(|_| records > 0) else {
        return Ok(None);
    };
    let since = Timestamp::from_micros(i64::from_le_bytes(*since));
    Ok(Some(Segment {
        path: path.to_owned(),
        since,
        len: whole as u64,
        records,
    }))
}

/// Returns whether a whole record follows the broken one in `rest`. If so, acknowledged records are
/// damaged; otherwise `rest` is the torn end of an append.
fn holds_records(rest: &[u8]) -> bool {
    let Some(length) = rest.first_chunk::<4>() else {
        return false;
    };
    let next = FRAME.saturating_add(u32::from_le_bytes(*length) as usize);
    rest.get(next..)
        .is_some_and(|rest| unframe_record(rest).is_some_and(|payload| !payload.is_empty()))
}

#[cfg(test)]
#[path = "spool_tests.rs"]
mod tests;
