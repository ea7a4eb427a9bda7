//! Packs plain lists, and files of breached passwords as "Have I Been Pwned" publishes them.

use std::io::{self, BufRead, Read as _, Seek, SeekFrom, Write};

use super::{BlocklistError, Entry, HashKind, SHORTEST_STEM, header, stem_of};
use crate::password::LONGEST_PASSWORD;

/// The shortest password that a policy allows: shorter ones need no entry.
const SHORTEST_PASSWORD: usize = 8;
/// The most entries of a plain list, which is sorted in memory: 80 MB.
const MOST_PLAIN: usize = 10_000_000;
/// The longest line that is read whole.
const LONGEST_LINE: usize = LONGEST_PASSWORD + 2;

/// What was imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Imported {
    /// Of which kind the list was.
    pub kind: HashKind,
    /// Entries that were written.
    pub entries: u64,
    /// Lines that no password can be: too long, or not UTF-8.
    pub skipped: u64,
}

/// Packs plain passwords into a list of folded ones.
#[derive(Debug, Default)]
pub struct Packer {
    entries: Vec<Entry>,
}

impl Packer {
    /// Adds a password, and the word in it if there is one.
    pub fn add(&mut self, password: &str) {
        let folded = password.to_lowercase();
        if folded.chars().count() >= SHORTEST_PASSWORD {
            self.entries.push(HashKind::Sha256.entry(&folded));
        }

        let stem = stem_of(&folded);
        if stem.chars().count() >= SHORTEST_STEM {
            self.entries.push(HashKind::Sha256.entry(stem));
        }
    }

    /// Returns the number of different entries.
    pub fn count(&mut self) -> usize {
        self.entries.sort_unstable();
        self.entries.dedup();
        self.entries.len()
    }

    /// Writes the list; returns the number of entries.
    pub fn write(mut self, out: &mut impl Write) -> io::Result<u64> {
        let count = self.count() as u64;
        out.write_all(&header(HashKind::Sha256, count))?;
        out.write_all(self.entries.as_flattened())?;
        out.flush()?;
        Ok(count)
    }
}

/// Imports a list into `out`, an empty file: one password per line, or lines such as
/// `000000005AD76BD555C1D6D771DE417A4B87E4B4:10` in ascending order. Which of them it is, the first
/// line says. Lists of hashes are passed through, so they may be of any size; until they have been
/// read to the end, the file does not open.
pub fn import(
    list: &mut impl BufRead,
    out: &mut (impl Write + Seek),
) -> Result<Imported, BlocklistError> {
    let mut lines = Lines {
        list,
        number: 0,
        line: Vec::new(),
    };
    if lines.advance()?.is_none() {
        return import_plain(lines, out);
    }

    match read_hash_line(&lines.line) {
        HashLine::Sha1(_) => import_hashes(lines, out),
        HashLine::Ntlm => Err(BlocklistError::Ntlm),
        HashLine::Other => import_plain(lines, out),
    }
}

/// Packs plain lines, of which the first has been read.
fn import_plain(
    mut lines: Lines<'_, impl BufRead>,
    out: &mut impl Write,
) -> Result<Imported, BlocklistError> {
    let (mut packer, mut skipped) = (Packer::default(), 0);
    while lines.number > 0 {
        match std::str::from_utf8(&lines.line) {
            Ok(password) if password.len() <= LONGEST_PASSWORD => packer.add(password),
            _ => skipped += 1,
        }
        // Sorted now and then, so that repetitions do not count.
        if packer.entries.len() > MOST_PLAIN && packer.count() > MOST_PLAIN / 2 {
            return Err(BlocklistError::TooMany(MOST_PLAIN / 2));
        }
        if lines.advance()?.is_none() {
            break;
        }
    }

    Ok(Imported {
        kind: HashKind::Sha256,
        entries: packer.write(out)?,
        skipped,
    })
}

/// Passes hashes through, of which the first has been read.
fn import_hashes(
    mut lines: Lines<'_, impl BufRead>,
    out: &mut (impl Write + Seek),
) -> Result<Imported, BlocklistError> {
    // A number of entries that no file has, until all are written.
    out.write_all(&header(HashKind::Sha1, u64::MAX))?;

    let (mut last, mut entries) = (None, 0);
    loop {
        // A blank line at the end does not count.
        if !lines.line.is_empty() {
            let HashLine::Sha1(entry) = read_hash_line(&lines.line) else {
                return Err(BlocklistError::Line(lines.number));
            };
            if last > Some(entry) {
                return Err(BlocklistError::Order(lines.number));
            }
            if last != Some(entry) {
                out.write_all(&entry)?;
                entries += 1;
                last = Some(entry);
            }
        }
        if lines.advance()?.is_none() {
            break;
        }
    }

    out.seek(SeekFrom::Start(0))?;
    out.write_all(&header(HashKind::Sha1, entries))?;
    out.flush()?;
    Ok(Imported {
        kind: HashKind::Sha1,
        entries,
        skipped: 0,
    })
}

enum HashLine {
    Sha1(Entry),
    Ntlm,
    Other,
}

/// Reads a line of the form `hash:count`.
fn read_hash_line(line: &[u8]) -> HashLine {
    let Some(colon) = line.iter().position(|b| *b == b':') else {
        return HashLine::Other;
    };
    let (hash, count) = (&line[..colon], &line[colon + 1..]);
    let is_count = !count.is_empty() && count.iter().all(u8::is_ascii_digit);
    if !is_count || !hash.iter().all(u8::is_ascii_hexdigit) {
        return HashLine::Other;
    }

    match hash.len() {
        40 => {
            let mut entry = Entry::default();
            for (byte, pair) in entry.iter_mut().zip(hash.chunks(2)) {
                *byte = pair.iter().fold(0, |value, digit| {
                    let digit = char::from(*digit).to_digit(16).unwrap_or(0);
                    value << 4 | digit as u8
                });
            }
            HashLine::Sha1(entry)
        }
        32 => HashLine::Ntlm,
        _ => HashLine::Other,
    }
}

/// Lines without what ends them, of bounded length.
struct Lines<'a, R> {
    list: &'a mut R,
    number: u64,
    line: Vec<u8>,
}

impl<R: BufRead> Lines<'_, R> {
    /// Reads the next line into `line`; `None` at the end. Of a line that is too long the rest is
    /// passed over.
    fn advance(&mut self) -> io::Result<Option<()>> {
        self.line.clear();
        let mut bounded = self.list.take(LONGEST_LINE as u64);
        if bounded.read_until(b'\n', &mut self.line)? == 0 {
            return Ok(None);
        }

        self.number += 1;
        if self.line.len() == LONGEST_LINE && !self.line.ends_with(b"\n") {
            self.list.skip_until(b'\n')?;
            return Ok(Some(()));
        }
        for end in [b'\n', b'\r'] {
            if self.line.last() == Some(&end) {
                self.line.pop();
            }
        }
        Ok(Some(()))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::super::BlocklistFile;
    use super::*;

    fn imported(list: &[u8]) -> (Result<Imported, BlocklistError>, Vec<u8>) {
        let mut out = Cursor::new(Vec::new());
        let result = import(&mut Cursor::new(list), &mut out);
        (result, out.into_inner())
    }

    const BREACHED: &str = "5BAA61E4C9B93F3F0682250B6CF8331B7EE68FD8:10434004\r\n\
         7C4A8D09CA3762AF61E59520943DC26494F8941B:42542807\r\n";

    #[test]
    fn breached_passwords_are_compared_as_they_are() {
        let (result, file) = imported(BREACHED.as_bytes());
        assert_eq!(
            result.unwrap(),
            Imported {
                kind: HashKind::Sha1,
                entries: 2,
                skipped: 0
            }
        );

        let mut list = BlocklistFile::open(Cursor::new(file)).unwrap();
        assert!(list.contains("password").unwrap());
        assert!(list.contains("123456").unwrap());
        assert!(!list.contains("Password").unwrap());
        assert!(!list.contains("password1").unwrap());
    }

    #[test]
    fn hashes_out_of_order_leave_a_file_that_does_not_open() {
        let reversed: Vec<&str> = BREACHED.lines().rev().collect();
        let (result, file) = imported(reversed.join("\n").as_bytes());
        assert!(matches!(result, Err(BlocklistError::Order(2))));
        assert!(BlocklistFile::open(Cursor::new(file)).is_err());
    }

    #[test]
    fn lines_of_another_format_are_refused() {
        let (result, _) = imported(format!("{BREACHED}password\n").as_bytes());
        assert!(matches!(result, Err(BlocklistError::Line(3))));

        let (result, _) = imported(b"0123456789ABCDEF0123456789ABCDEF:3\n");
        assert!(matches!(result, Err(BlocklistError::Ntlm)));
    }

    #[test]
    fn plain_lists_may_hold_anything() {
        let mut list = b"kaesekuchen\r\nwinterthur\n\n\xff\xfe\nshort\n".to_vec();
        list.extend(b"x".repeat(1 << 20));
        list.extend(b"\nwinterthur");
        let (result, file) = imported(&list);
        assert_eq!(
            result.unwrap(),
            Imported {
                kind: HashKind::Sha256,
                entries: 3,
                skipped: 2
            }
        );

        let mut list = BlocklistFile::open(Cursor::new(file)).unwrap();
        assert!(list.contains("Winterthur!").unwrap());
        assert!(list.contains("short123").unwrap());
    }

    #[test]
    fn an_empty_list_is_one_without_entries() {
        let (result, file) = imported(b"");
        assert_eq!(result.unwrap().entries, 0);
        let mut list = BlocklistFile::open(Cursor::new(file)).unwrap();
        assert!(list.is_empty() && !list.contains("password").unwrap());
    }

    proptest! {
        #[test]
        fn whatever_is_imported_opens(list in proptest::collection::vec(any::<u8>(), 0..200)) {
            let (result, file) = imported(&list);
            prop_assert!(result.is_err() || BlocklistFile::open(Cursor::new(file)).is_ok());
        }

        #[test]
        fn hashes_in_order_are_all_found(mut words in proptest::collection::vec(".{1,12}", 1..20)) {
            use sha1::{Digest as _, Sha1};
            use std::fmt::Write as _;
            let mut hashes: Vec<String> = words.iter().map(|word| {
                Sha1::digest(word).iter().fold(String::new(), |mut hex, byte| {
                    write!(hex, "{byte:02X}").unwrap();
                    hex
                })
            }).collect();
            hashes.sort();
            let (result, file) = imported((hashes.join(":1\n") + ":1\n").as_bytes());
            result.unwrap();
            let mut list = BlocklistFile::open(Cursor::new(file)).unwrap();
            for word in words.drain(..) {
                prop_assert!(list.contains(&word).unwrap());
            }
        }
    }
}
