//! The text of a log file, compressed or not, and its fingerprint.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use rustix::fs::{Mode, OFlags, ResolveFlags};

use super::Position;

/// Bytes of the first line that identify a file.
const HEAD_MAX: usize = 1024;
const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Which links on the way to a file are followed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Trust<'a> {
    /// All: an administrator named the file.
    Named,
    /// None below this folder: other users may write to it, and a link would let them have any file
    /// on the machine read and shown.
    Within(&'a Path),
}

impl Trust<'_> {
    /// Opens a regular file to read. Never waits, as opening a pipe would.
    pub(super) fn open(self, path: &Path) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file: File = match self {
            Self::Named => rustix::fs::open(path, flags, Mode::empty())?.into(),
            Self::Within(folder) => {
                let inner = path.strip_prefix(folder).map_err(io::Error::other)?;
                let folder = rustix::fs::open(
                    folder,
                    OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
                    Mode::empty(),
                )?;
                let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH;
                rustix::fs::openat2(folder, inner, flags, Mode::empty(), resolve)?.into()
            }
        };

        if file.metadata()?.is_file() {
            Ok(file)
        } else {
            Err(io::Error::other("it is not a regular file"))
        }
    }
}

/// An open file.
pub(super) struct Source {
    reader: Reader,
    device: u64,
    inode: u64,
    /// Whether the compressed data is damaged, so reading cannot continue.
    damaged: bool,
}

enum Reader {
    Plain(File),
    Gzip(Box<MultiGzDecoder<BufReader<File>>>),
    Zstd(Box<zstd::Decoder<'static, BufReader<File>>>),
}

impl Source {
    /// Opens a file at its start. Its first bytes tell whether it is compressed.
    pub(super) fn open(path: &Path, trust: Trust<'_>) -> io::Result<Self> {
        let mut file = trust.open(path)?;
        let metadata = file.metadata()?;
        let mut magic = Vec::new();
        file.by_ref().take(4).read_to_end(&mut magic)?;
        file.seek(SeekFrom::Start(0))?;

        let reader = if magic.starts_with(&GZIP) {
            Reader::Gzip(Box::new(MultiGzDecoder::new(BufReader::new(file))))
        } else if magic.starts_with(&ZSTD) {
            Reader::Zstd(Box::new(zstd::Decoder::new(file)?))
        } else {
            Reader::Plain(file)
        };

        Ok(Self {
            reader,
            device: metadata.dev(),
            inode: metadata.ino(),
            damaged: false,
        })
    }

    /// Moves to an offset in the text. Returns `false` if the text ends before it.
    pub(super) fn seek_text(&mut self, offset: u64) -> io::Result<bool> {
        match &mut self.reader {
            Reader::Plain(file) => {
                let long_enough = file.metadata()?.len() >= offset;
                file.seek(SeekFrom::Start(offset))?;
                Ok(long_enough)
            }
            compressed => Ok(io::copy(&mut compressed.take(offset), &mut io::sink())? == offset),
        }
    }

    /// Appends up to `limit` bytes of text to `bytes`. Returns `false` once, where the compressed
    /// data is damaged.
    pub(super) fn read_text(&mut self, limit: usize, bytes: &mut Vec<u8>) -> io::Result<bool> {
        if self.damaged {
            return Ok(true);
        }

        match (&mut self.reader).take(limit as u64).read_to_end(bytes) {
            Ok(_) => Ok(true),
            Err(error) if matches!(self.reader, Reader::Plain(_)) => Err(error),
            Err(_) => {
                self.damaged = true;
                Ok(false)
            }
        }
    }

    /// Returns whether the file is now shorter than `length` or begins with another line.
    pub(super) fn was_cut(&self, head: Option<u64>, length: u64) -> io::Result<bool> {
        // Programs do not write to compressed files.
        let Reader::Plain(file) = &self.reader else {
            return Ok(false);
        };
        if file.metadata()?.len() < length {
            return Ok(true);
        }

        let Some(head) = head else { return Ok(false) };
        let mut bytes = [0; HEAD_MAX];
        let mut there = 0;
        while let Some(free @ [_, ..]) = bytes.get_mut(there..) {
            match file.read_at(free, there as u64)? {
                0 => break,
                read => there += read,
            }
        }

        Ok(fingerprint_of_start(&bytes[..there]) != Some(head))
    }

    /// Returns when the file was last modified, in microseconds since 1970.
    pub(super) fn modified_at(&self) -> io::Result<i64> {
        let metadata = match &self.reader {
            Reader::Plain(file) => file.metadata()?,
            Reader::Gzip(decoder) => decoder.get_ref().get_ref().metadata()?,
            Reader::Zstd(decoder) => decoder.get_ref().get_ref().metadata()?,
        };
        Ok(modified_micros(&metadata))
    }

    /// Returns the position of its start.
    pub(super) fn start_position(&self) -> Position {
        Position {
            device: self.device,
            inode: self.inode,
            offset: 0,
            head: None,
            written: None,
            log: None,
            within: false,
        }
    }
}

impl Read for Reader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.read(buf),
            Self::Gzip(decoder) => decoder.read(buf),
            Self::Zstd(decoder) => decoder.read(buf),
        }
    }
}

/// Returns when a file was last modified, in microseconds since 1970.
pub(super) fn modified_micros(metadata: &std::fs::Metadata) -> i64 {
    metadata
        .mtime()
        .saturating_mul(1_000_000)
        .saturating_add(metadata.mtime_nsec() / 1000)
}

/// Returns the fingerprint of a file that begins with this line: FNV-1a, because it is stored and
/// must stay the same across versions.
pub(super) fn fingerprint(line: &[u8]) -> u64 {
    line.iter()
        .take(HEAD_MAX)
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        })
}

fn fingerprint_of_start(bytes: &[u8]) -> Option<u64> {
    let line = bytes
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    (!bytes.is_empty()).then(|| fingerprint(line))
}

/// Returns the fingerprint of a file's text; `None` if it is empty or cannot be read.
pub(super) fn read_fingerprint(path: &Path, trust: Trust<'_>) -> Option<u64> {
    let mut bytes = Vec::new();
    Source::open(path, trust)
        .ok()?
        .read_text(HEAD_MAX, &mut bytes)
        .ok()?;
    fingerprint_of_start(&bytes)
}
