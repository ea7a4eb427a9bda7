//! Lists of passwords that many people have (SP 800-63B-4 section 3.1.1.2; ASVS 6.2.4, 6.2.12): one
//! of some 100,000 that comes with blueteam, and files that an administrator imports.
//!
//! A list holds the first 8 bytes of each password's hash, in ascending order, so that it is small,
//! shows no password, and is searched in a few steps without being loaded:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `BTPWLIST` |
//! | 1 | version: 1 |
//! | 1 | kind: 1 is SHA-256 of folded passwords, 2 is SHA-1 of passwords as they are |
//! | 6 | zero |
//! | 8 | number of entries, little-endian |
//! | 8 each | entries, strictly ascending |
//!
//! Of 100,000 entries, one password in 2^47 is taken for one of them.

mod import;

use std::convert::Infallible;
use std::io::{self, Read, Seek, SeekFrom};

use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

pub use import::{Imported, Packer, import};

use crate::password::LONGEST_PASSWORD;

/// The list that comes with blueteam; see `data/README.md`.
const COMMON: &[u8] = include_bytes!("../data/common-passwords.bin");

const MAGIC: &[u8; 8] = b"BTPWLIST";
const VERSION: u8 = 1;
/// Bytes before the entries.
const HEADER: usize = 24;
/// Bytes of an entry.
const ENTRY: usize = 8;
/// The fewest letters of a word that counts with digits and signs around it.
const SHORTEST_STEM: usize = 5;
/// The most digits and signs around a word that are mere decoration.
const MOST_DECORATION: usize = 8;

type Entry = [u8; ENTRY];

/// What the entries of a list are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashKind {
    /// SHA-256 of passwords in lower case, and of the words in them. A list of what people choose:
    /// `Password1!` is found by `password`.
    Sha256,
    /// SHA-1 of passwords as they are, which is how breached ones are published. They are so many
    /// that nearly every word is one of them, so only whole passwords count.
    Sha1,
}

impl HashKind {
    const fn code(self) -> u8 {
        match self {
            Self::Sha256 => 1,
            Self::Sha1 => 2,
        }
    }

    fn entry(self, text: &str) -> Entry {
        let mut entry = Entry::default();
        match self {
            Self::Sha256 => entry.copy_from_slice(&Sha256::digest(text)[..ENTRY]),
            Self::Sha1 => entry.copy_from_slice(&Sha1::digest(text)[..ENTRY]),
        }
        entry
    }
}

/// Why a list is not used or not imported.
#[derive(Debug, thiserror::Error)]
pub enum BlocklistError {
    /// Reading or writing failed.
    #[error("the list cannot be read or written")]
    Io(#[from] io::Error),
    /// Not a list, or of another version.
    #[error("this is not a list of passwords that blueteam imported: import it again")]
    Header,
    /// The file is shorter or longer than its number of entries says.
    #[error("the list is incomplete: import it again")]
    Length,
    /// A line is not of the format of the others.
    #[error("line {0} is not a SHA-1 hash with a count, as the lines before it are")]
    Line(u64),
    /// Hashes that do not ascend.
    #[error("line {0} is not in order: import the version that is ordered by hash")]
    Order(u64),
    /// The hashes are of a kind that is not used.
    #[error("the list holds NTLM hashes: import the version with SHA-1 hashes")]
    Ntlm,
    /// A plain list that is too long.
    #[error("the list has more than {0} entries: import fewer, or a list of SHA-1 hashes")]
    TooMany(usize),
}

/// The list that comes with blueteam.
#[derive(Clone, Copy, Debug)]
pub struct Blocklist {
    entries: &'static [u8],
}

impl Blocklist {
    /// Returns the list.
    pub fn common() -> Self {
        Self {
            entries: COMMON.get(HEADER..).unwrap_or_default(),
        }
    }

    /// Returns the number of entries.
    pub const fn len(&self) -> usize {
        self.entries.len() / ENTRY
    }

    /// Returns whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns whether a password is in the list, in any case and with digits and signs around it.
    pub fn contains(&self, password: &str) -> bool {
        let mut holds = |text: &str| {
            let read = |at: u64| -> Result<Entry, Infallible> {
                let start = at as usize * ENTRY;
                let bytes = self.entries.get(start..).and_then(|b| b.first_chunk());
                Ok(bytes.copied().unwrap_or_default())
            };
            search(self.len() as u64, HashKind::Sha256.entry(text), read)
        };

        match find_folded(password, &mut holds) {
            Ok(found) => found,
            Err(never) => match never {},
        }
    }
}

/// A list that was imported into a file. Each search reads some thirty entries.
#[derive(Debug)]
pub struct BlocklistFile<R> {
    file: R,
    kind: HashKind,
    len: u64,
}

impl<R: Read + Seek> BlocklistFile<R> {
    /// Takes an opened file after checking its header and length.
    pub fn open(mut file: R) -> Result<Self, BlocklistError> {
        let mut header = [0; HEADER];
        file.seek(SeekFrom::Start(0))?;
        file.read_exact(&mut header)
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => BlocklistError::Header,
                _ => BlocklistError::Io(error),
            })?;

        let (kind, len) = read_header(&header)?;
        let bytes = len
            .checked_mul(ENTRY as u64)
            .and_then(|bytes| bytes.checked_add(HEADER as u64));
        if bytes != Some(file.seek(SeekFrom::End(0))?) {
            return Err(BlocklistError::Length);
        }

        Ok(Self { file, kind, len })
    }

    /// Returns what its entries are.
    pub const fn kind(&self) -> HashKind {
        self.kind
    }

    /// Returns the number of entries.
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Returns whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns whether a password is in the list, as its kind compares.
    pub fn contains(&mut self, password: &str) -> io::Result<bool> {
        if password.len() > LONGEST_PASSWORD {
            return Ok(false);
        }

        let (kind, len, file) = (self.kind, self.len, &mut self.file);
        let mut holds = |text: &str| {
            search(len, kind.entry(text), |at| {
                let mut entry = Entry::default();
                file.seek(SeekFrom::Start(HEADER as u64 + at * ENTRY as u64))?;
                file.read_exact(&mut entry)?;
                Ok(entry)
            })
        };

        match kind {
            HashKind::Sha256 => find_folded(password, &mut holds),
            HashKind::Sha1 => holds(password),
        }
    }
}

fn read_header(header: &[u8; HEADER]) -> Result<(HashKind, u64), BlocklistError> {
    let [magic @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = header;
    let kind = match header[9] {
        1 => HashKind::Sha256,
        2 => HashKind::Sha1,
        _ => return Err(BlocklistError::Header),
    };
    if magic != MAGIC || header[8] != VERSION || header[10..16] != [0; 6] {
        return Err(BlocklistError::Header);
    }

    let len = header.last_chunk().copied().unwrap_or_default();
    Ok((kind, u64::from_le_bytes(len)))
}

fn header(kind: HashKind, len: u64) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..8].copy_from_slice(MAGIC);
    header[8] = VERSION;
    header[9] = kind.code();
    header[16..].copy_from_slice(&len.to_le_bytes());
    header
}

/// Searches an ascending list. In one that is not, it may miss, and ends as soon.
fn search<E>(
    len: u64,
    wanted: Entry,
    mut read: impl FnMut(u64) -> Result<Entry, E>,
) -> Result<bool, E> {
    let (mut from, mut to) = (0, len);
    while from < to {
        let middle = from + (to - from) / 2;
        let entry = read(middle)?;
        match entry.cmp(&wanted) {
            std::cmp::Ordering::Equal => return Ok(true),
            std::cmp::Ordering::Less => from = middle + 1,
            std::cmp::Ordering::Greater => to = middle,
        }
    }

    Ok(false)
}

/// Returns whether a list of folded passwords holds this one: as a whole, as a word with little
/// around it, or as a word and something that are both in the list (`password1234567890`).
fn find_folded<E>(
    password: &str,
    holds: &mut impl FnMut(&str) -> Result<bool, E>,
) -> Result<bool, E> {
    if password.len() > LONGEST_PASSWORD {
        return Ok(false);
    }

    let folded = Zeroizing::new(password.to_lowercase());
    if holds(&folded)? {
        return Ok(true);
    }

    let stem = stem_of(&folded);
    if stem.chars().count() < SHORTEST_STEM || stem.len() == folded.len() || !holds(stem)? {
        return Ok(false);
    }

    let decoration = folded.chars().count() - stem.chars().count();
    if decoration <= MOST_DECORATION {
        return Ok(true);
    }

    // `split` cannot miss what was just cut out of it.
    let (before, after) = folded.split_once(stem).unwrap_or_default();
    for part in [before, after] {
        if !part.is_empty() && holds(part)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Returns a text without the digits and signs around its letters.
fn stem_of(folded: &str) -> &str {
    folded.trim_matches(|c: char| !c.is_alphabetic())
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_common_list_is_whole_and_ascends() {
        let list = Blocklist::common();
        let (kind, len) = read_header(COMMON.first_chunk().unwrap()).unwrap();
        assert_eq!((kind, len), (HashKind::Sha256, list.len() as u64));
        assert_eq!(list.entries.len() % ENTRY, 0);
        assert!(list.entries.chunks(ENTRY).is_sorted_by(|a, b| a < b));
        assert!(list.len() > 90_000, "{}", list.len());
        assert!(COMMON.len() <= 800_000);
    }

    #[test]
    fn common_passwords_are_found_in_disguise() {
        for password in [
            "password",
            "Password1!",
            "PASSWORD2026",
            "!!password!!",
            "P@ssw0rd",
            "qwerty123456",
            "1234567890",
            "Football#99",
            "password1234567890",
            "iloveyou",
        ] {
            assert!(Blocklist::common().contains(password), "{password}");
        }
    }

    #[test]
    fn other_passwords_are_not_found() {
        for password in [
            "",
            "correct horse battery staple",
            "tr0ub4dor and three more",
            "dragon83920571836405",
            "x8#kPq2!vLmz9",
            "ein langer Satz über Käse",
            &"x".repeat(LONGEST_PASSWORD + 1),
        ] {
            assert!(!Blocklist::common().contains(password), "{password}");
        }
    }

    fn packed(words: &[&str]) -> Vec<u8> {
        let mut packer = Packer::default();
        for word in words {
            packer.add(word);
        }
        let mut file = Cursor::new(Vec::new());
        packer.write(&mut file).unwrap();
        file.into_inner()
    }

    #[test]
    fn a_packed_list_finds_its_words() {
        let bytes = packed(&["Winterthur2025", "kaesekuchen"]);
        let mut list = BlocklistFile::open(Cursor::new(bytes)).unwrap();
        for (password, expected) in [
            ("winterthur2025", true),
            ("WINTERTHUR!", true),
            ("Kaesekuchen99", true),
            ("kaesekuchens", false),
        ] {
            assert_eq!(list.contains(password).unwrap(), expected, "{password}");
        }
    }

    #[test]
    fn damaged_files_are_refused() {
        let good = packed(&["kaesekuchen", "winterthur"]);
        assert!(BlocklistFile::open(Cursor::new(good.clone())).is_ok());

        for (at, byte) in [(0, b'X'), (8, 2), (9, 3), (10, 1)] {
            let mut bad = good.clone();
            bad[at] = byte;
            let opened = BlocklistFile::open(Cursor::new(bad));
            assert!(matches!(opened, Err(BlocklistError::Header)), "{at}");
        }

        for len in [1, HEADER, good.len() - 1, good.len() - ENTRY] {
            assert!(BlocklistFile::open(Cursor::new(&good[..len])).is_err());
        }
        let mut huge = good.clone();
        huge[16..24].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(matches!(
            BlocklistFile::open(Cursor::new(huge)),
            Err(BlocklistError::Length)
        ));
    }

    #[test]
    fn a_list_out_of_order_ends_as_soon() {
        let mut bytes = header(HashKind::Sha256, 1000).to_vec();
        bytes.extend((0..1000_u64).rev().flat_map(u64::to_be_bytes));
        let mut list = BlocklistFile::open(Cursor::new(bytes)).unwrap();
        assert!(!list.contains("kaesekuchen").unwrap());
    }

    proptest! {
        #[test]
        fn every_packed_word_is_found(words in proptest::collection::vec("[ -~]{8,20}", 1..30)) {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let mut list = BlocklistFile::open(Cursor::new(packed(&words))).unwrap();
            for word in words {
                prop_assert!(list.contains(word).unwrap());
                prop_assert!(list.contains(&word.to_uppercase()).unwrap());
            }
        }

        #[test]
        fn any_password_is_searched_without_panic(password in any::<String>()) {
            Blocklist::common().contains(&password);
        }

        #[test]
        fn any_file_is_opened_without_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..80)
        ) {
            let _ = BlocklistFile::open(Cursor::new(bytes));
        }
    }
}
