//! Follows a growing log file: through rotation by renaming and by copying and truncating, over lines that are only half there,
//! and from where it stopped last time.
//!
//! Nothing here keeps time: the caller asks again when it likes.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// A line longer than this is cut into pieces of this size: memory stays bounded whatever is written.
pub const LINE_MAX: usize = 1024 * 1024;

/// Where reading stands. Saved with what was read, so that a restart goes on exactly there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The file's device.
    pub device: u64,
    /// The file itself, whatever its name is by now.
    pub inode: u64,
    /// The first byte that is not read.
    pub offset: u64,
}

impl Position {
    /// A number for the file: the same as long as the file is.
    pub const fn file_number(&self) -> u32 {
        let mixed = (self.inode ^ self.device.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 32) as u32
    }
}

/// What happened to the file, beside growing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It was renamed or removed, and a new one took its place.
    Rotated,
    /// It was cut to a shorter length and is read from its start again.
    Truncated,
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
        self.lines.iter().map(|(offset, start, end)| (*offset, &self.bytes[*start..*end]))
    }

    /// Whether there is nothing to save.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.turns.is_empty()
    }
}

struct Open {
    file: File,
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
        f.debug_struct("Follower").field("path", &self.path).finish_non_exhaustive()
    }
}

fn position_of(file: &File) -> io::Result<Position> {
    let metadata = file.metadata()?;
    Ok(Position { device: metadata.dev(), inode: metadata.ino(), offset: 0 })
}

fn same_file(a: &Position, b: &Position) -> bool {
    (a.device, a.inode) == (b.device, b.inode)
}

impl Follower {
    /// Follows `path` from a saved position, or from the beginning of the file.
    pub fn new(path: impl Into<PathBuf>, saved: Option<Position>) -> Self {
        Self { path: path.into(), open: None, resume: saved, rest: Vec::new() }
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads up to about `limit` bytes of whole lines. An empty batch means that there is nothing new; a file that does not
    /// exist has nothing new.
    pub fn read(&mut self, limit: usize) -> io::Result<Batch> {
        let mut batch = Batch::default();
        if self.open.is_none() && !self.find(&mut batch)? {
            return Ok(batch);
        }
        self.read_open(limit, &mut batch)?;
        // Only at the end of a file can something else have happened to it.
        if batch.lines.is_empty() && self.turn(&mut batch)? {
            self.read_open(limit, &mut batch)?;
        }
        batch.position = self.open.as_ref().map(|open| open.position);
        Ok(batch)
    }

    /// Opens the file that was read last, under whatever name, or else the one at the path.
    fn find(&mut self, batch: &mut Batch) -> io::Result<bool> {
        if let Some(saved) = self.resume
            && let Some(file) = self.renamed(&saved)?
        {
            self.resume = None;
            return self.start(file, saved.offset, batch).map(|()| true);
        }
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        if let Some(at) = self.resume.take() {
            batch.turns.push(Turn::Lost { at });
        }
        self.start(file, 0, batch).map(|()| true)
    }

    /// The file of a saved position, at the path or beside it.
    fn renamed(&self, saved: &Position) -> io::Result<Option<File>> {
        let folder = self.path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let entries = match std::fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let name = self.path.file_name().unwrap_or_default();
        for entry in entries {
            let entry = entry?;
            let ours = entry.file_name().as_encoded_bytes().starts_with(name.as_encoded_bytes());
            // A file may go away while we look.
            let Ok(metadata) = entry.metadata() else { continue };
            if ours && (metadata.dev(), metadata.ino()) == (saved.device, saved.inode) {
                return File::open(entry.path()).map(Some);
            }
        }
        Ok(None)
    }

    fn start(&mut self, mut file: File, offset: u64, batch: &mut Batch) -> io::Result<()> {
        let mut position = position_of(&file)?;
        let offset = if file.metadata()?.len() < offset {
            batch.turns.push(Turn::Truncated);
            0
        } else {
            offset
        };
        file.seek(SeekFrom::Start(offset))?;
        position.offset = offset;
        self.rest.clear();
        self.open = Some(Open { file, position });
        Ok(())
    }

    fn read_open(&mut self, limit: usize, batch: &mut Batch) -> io::Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        let mut bytes = std::mem::take(&mut self.rest);
        let seen = bytes.len();
        open.file.by_ref().take(limit as u64).read_to_end(&mut bytes)?;
        let mut start = 0;
        let mut search = seen.min(bytes.len());
        loop {
            let newline = memchr::memchr(b'\n', &bytes[search..]).map(|i| search + i);
            let (end, next) = match newline {
                Some(end) => (end, end + 1),
                None if bytes.len() - start >= LINE_MAX => (start + LINE_MAX, start + LINE_MAX),
                None => break,
            };
            batch.lines.push((open.position.offset, start, end));
            open.position.offset += (next - start) as u64;
            start = next;
            search = next;
        }
        self.rest = bytes.split_off(start);
        batch.bytes = bytes;
        Ok(())
    }

    /// At the end of the file: was it cut, or has another taken its place? True when there is a file to read on in.
    fn turn(&mut self, batch: &mut Batch) -> io::Result<bool> {
        let Some(open) = &mut self.open else { return Ok(false) };
        if open.file.metadata()?.len() < open.position.offset + self.rest.len() as u64 {
            batch.turns.push(Turn::Truncated);
            open.file.seek(SeekFrom::Start(0))?;
            open.position.offset = 0;
            self.rest.clear();
            return Ok(true);
        }
        let there = match File::open(&self.path) {
            Ok(file) => file,
            // Between the renaming and the new file.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        if same_file(&position_of(&there)?, &open.position) {
            return Ok(false);
        }
        // Something may have been written between our last read and the renaming.
        let mut late = Vec::new();
        open.file.by_ref().take(1).read_to_end(&mut late)?;
        if !late.is_empty() {
            open.file.seek(SeekFrom::Current(-1))?;
            return Ok(true);
        }
        // The last line of the old file may have no newline; it is a line all the same.
        if !self.rest.is_empty() {
            let rest = std::mem::take(&mut self.rest);
            batch.lines.push((open.position.offset, 0, rest.len()));
            open.position.offset += rest.len() as u64;
            batch.bytes = rest;
            return Ok(false);
        }
        batch.turns.push(Turn::Rotated);
        self.start(there, 0, batch)?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    struct Log {
        _folder: tempfile::TempDir,
        path: PathBuf,
    }

    impl Log {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            Self { path: folder.path().join("auth.log"), _folder: folder }
        }

        fn write(&self, text: &str) {
            OpenOptions::new().create(true).append(true).open(&self.path).unwrap().write_all(text.as_bytes()).unwrap();
        }

        fn rename(&self) {
            std::fs::rename(&self.path, self.path.with_extension("log.1")).unwrap();
        }

        fn follow(&self, saved: Option<Position>) -> Follower {
            Follower::new(&self.path, saved)
        }
    }

    /// Everything there is to read now.
    fn drain(follower: &mut Follower) -> Vec<String> {
        let mut lines = Vec::new();
        for _ in 0..20 {
            let batch = follower.read(1 << 16).unwrap();
            lines.extend(batch.lines().map(|(_, line)| String::from_utf8_lossy(line).into_owned()));
        }
        lines
    }

    #[test]
    fn half_lines_wait_for_their_end() {
        let log = Log::new();
        let mut follower = log.follow(None);
        assert!(drain(&mut follower).is_empty(), "a file that is not there yet has no lines");
        log.write("one\ntw");
        assert_eq!(drain(&mut follower), ["one"]);
        log.write("o\n");
        assert_eq!(drain(&mut follower), ["two"]);
    }

    #[test]
    fn a_renamed_file_is_read_to_its_end_first() {
        let log = Log::new();
        let mut follower = log.follow(None);
        log.write("one\n");
        assert_eq!(drain(&mut follower), ["one"]);
        log.write("two\nthree without end");
        log.rename();
        log.write("four\n");
        assert_eq!(drain(&mut follower), ["two", "three without end", "four"]);
    }

    #[test]
    fn a_truncated_file_is_read_from_its_start() {
        let log = Log::new();
        let mut follower = log.follow(None);
        log.write("one\ntwo\n");
        assert_eq!(drain(&mut follower), ["one", "two"]);
        std::fs::write(&log.path, "three\n").unwrap();
        assert_eq!(drain(&mut follower), ["three"]);
    }

    #[test]
    fn a_restart_goes_on_where_it_stopped_also_after_a_rotation() {
        let log = Log::new();
        log.write("one\ntwo\n");
        let mut follower = log.follow(None);
        let position = follower.read(1 << 16).unwrap().position;
        log.write("three\n");
        log.rename();
        log.write("four\n");
        assert_eq!(drain(&mut log.follow(position)), ["three", "four"]);
    }

    #[test]
    fn a_file_that_is_gone_is_said_to_be() {
        let log = Log::new();
        log.write("one\n");
        let position = log.follow(None).read(1 << 16).unwrap().position;
        log.rename();
        log.write("two\n");
        std::fs::remove_file(log.path.with_extension("log.1")).unwrap();
        let batch = log.follow(position).read(1 << 16).unwrap();
        assert_eq!(batch.turns, [Turn::Lost { at: position.unwrap() }]);
        assert_eq!(batch.lines().count(), 1);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Write(u8, bool),
        Rename,
        Read,
        Restart,
    }

    proptest! {
        /// Whatever the order of writing, rotating, reading and restarting from the saved position: every line once, in order.
        #[test]
        fn no_line_is_lost_or_read_twice(steps in proptest::collection::vec(prop_oneof![
            4 => (1_u8..5, any::<bool>()).prop_map(|(n, whole)| Step::Write(n, whole)),
            1 => Just(Step::Rename),
            3 => Just(Step::Read),
            1 => Just(Step::Restart),
        ], 0..40)) {
            let log = Log::new();
            let mut follower = log.follow(None);
            let (mut saved, mut written, mut read, mut half, mut n) = (None, Vec::new(), Vec::new(), false, 0_u32);
            let mut rotations = 0;
            let mut take = |follower: &mut Follower, saved: &mut Option<Position>| {
                let batch = follower.read(64).unwrap();
                read.extend(batch.lines().map(|(_, line)| String::from_utf8_lossy(line).into_owned()));
                *saved = batch.position.or(*saved);
            };
            log.write("");
            for step in steps {
                match step {
                    Step::Write(count, whole) => for _ in 0..count {
                        if half { log.write("end\n"); half = false; }
                        n += 1;
                        written.push(format!("line {n} end"));
                        if whole { log.write(&format!("line {n} end\n")); } else { log.write(&format!("line {n} ")); half = true; }
                    },
                    Step::Rename if half => {}
                    Step::Rename => {
                        // Everything is read before the next rotation, as logrotate's pace allows.
                        for _ in 0..200 { take(&mut follower, &mut saved); }
                        rotations += 1;
                        std::fs::rename(&log.path, log.path.with_extension(format!("log.{rotations}"))).unwrap();
                        log.write("");
                    }
                    Step::Read => take(&mut follower, &mut saved),
                    Step::Restart => follower = log.follow(saved),
                }
            }
            if half { log.write("end\n"); }
            for _ in 0..400 { take(&mut follower, &mut saved); }
            prop_assert_eq!(read, written);
        }
    }
}
