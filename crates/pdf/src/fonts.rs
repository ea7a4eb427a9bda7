//! The fonts that documents are set in: bundled ones for Latin, Greek, Cyrillic, symbols and emoji,
//! and those of the system for what these do not have, such as Chinese, Japanese and Korean.
//!
//! This is the only place that reads files. The fonts of the system are read when a document has
//! characters that no bundled font shows, from folders that only an administrator writes to. Which
//! of them are taken depends on the characters and on the fonts that are there, not on the order in
//! which a folder lists its files.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use typst::foundations::Bytes;
use typst::text::{Font, FontBook, FontStyle, FontWeight};
use typst::utils::LazyHash;

/// Bundled fonts beside those of the typesetting library.
const BUNDLED: [&[u8]; 6] = [
    include_bytes!("../fonts/DejaVuSans.ttf"),
    include_bytes!("../fonts/DejaVuSans-Bold.ttf"),
    include_bytes!("../fonts/NotoEmoji-Regular.ttf"),
    include_bytes!("../fonts/NotoSansSymbols2-Regular.ttf"),
    include_bytes!("../fonts/NotoSansSymbols-Regular.ttf"),
    include_bytes!("../fonts/NotoSans-Regular.ttf"),
];

/// Where systems keep their fonts. A person's own are left out: a report looks the same whoever
/// writes it.
const SYSTEM_FOLDERS: [&str; 2] = ["/usr/share/fonts", "/usr/local/share/fonts"];

/// Larger font files are passed over. Noto CJK, the largest in common use, has 20 MiB.
const FILE_MAX: u64 = 64 << 20;
/// No more font files are looked at.
const FILES_MAX: usize = 5_000;
/// No more fonts of the system are used in one document.
const TAKEN_MAX: usize = 16;
/// Folders are not followed deeper, so that a cycle of links ends.
const DEPTH_MAX: usize = 6;

/// Fonts that the typesetter may use, and what it knows of them.
pub(crate) struct Fonts {
    pub(crate) fonts: Vec<Font>,
    pub(crate) book: LazyHash<FontBook>,
}

impl Fonts {
    fn new(fonts: Vec<Font>) -> Self {
        let book = LazyHash::new(FontBook::from_fonts(&fonts));
        Self { fonts, book }
    }

    /// Returns the fonts that every installation has.
    pub(crate) fn bundled() -> Arc<Self> {
        static FONTS: OnceLock<Arc<Fonts>> = OnceLock::new();
        let load = || {
            let fonts = typst_assets::fonts()
                .chain(BUNDLED)
                .flat_map(|data| Font::iter(Bytes::new(data)))
                .collect();
            Arc::new(Self::new(fonts))
        };
        FONTS.get_or_init(load).clone()
    }

    /// Returns these fonts and more.
    pub(crate) fn with(&self, more: Vec<Font>) -> Self {
        Self::new(self.fonts.iter().cloned().chain(more).collect())
    }
}

/// Folders with fonts for characters that no bundled font has.
#[derive(Clone, Debug)]
pub struct SystemFonts {
    folders: Vec<PathBuf>,
}

impl SystemFonts {
    /// The fonts that are installed on this machine.
    pub fn installed() -> Self {
        Self::in_folders(SYSTEM_FOLDERS.iter().map(PathBuf::from).collect())
    }

    /// The fonts in these folders and those below them.
    pub const fn in_folders(folders: Vec<PathBuf>) -> Self {
        Self { folders }
    }

    /// No fonts: the bundled ones only.
    pub const fn none() -> Self {
        Self::in_folders(Vec::new())
    }

    /// Returns fonts that have as many of the characters as possible: first the regular one that
    /// has the most of them, then the one that has the most of the rest.
    pub(crate) fn covering(&self, characters: &BTreeSet<char>) -> Vec<Font> {
        if characters.is_empty() {
            return Vec::new();
        }

        let mut candidates: Vec<Candidate> = self
            .files()
            .iter()
            .flat_map(|path| Candidate::in_file(path, characters))
            .collect();
        let mut rest = characters.clone();
        let mut taken = Vec::new();

        while taken.len() < TAKEN_MAX {
            let best = (0..candidates.len()).rev().max_by_key(|n| {
                let c = &candidates[*n];
                let found = c.has.intersection(&rest).count();
                (found > 0, c.regular, found)
            });
            let Some(best) = best.map(|n| candidates.remove(n)) else {
                break;
            };
            if best.has.is_disjoint(&rest) {
                break;
            }

            rest.retain(|c| !best.has.contains(c));
            taken.extend(best.open());
        }

        taken
    }

    /// Returns the font files by path.
    fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for folder in &self.folders {
            collect_files(folder, DEPTH_MAX, &mut files);
        }
        files.sort();
        files.dedup();

        files
    }
}

/// Adds the font files of a folder and of those below it. What cannot be read is passed over: the
/// stand-ins say which characters no font was found for.
fn collect_files(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();

    for path in paths {
        if files.len() >= FILES_MAX {
            return;
        }

        let is_font = path
            .extension()
            .and_then(|e| e.to_str())
            .is_some_and(|e| ["ttf", "otf", "ttc", "otc"].contains(&&*e.to_ascii_lowercase()));
        match fs::metadata(&path) {
            Ok(meta) if meta.is_dir() && depth > 0 => collect_files(&path, depth - 1, files),
            Ok(meta) if meta.is_file() && is_font && meta.len() <= FILE_MAX => files.push(path),
            _ => {}
        }
    }
}

/// A font of the system that has some of the characters. Its file is read again when it is taken:
/// all files at once do not fit into memory.
struct Candidate {
    path: PathBuf,
    index: u32,
    regular: bool,
    has: BTreeSet<char>,
}

impl Candidate {
    fn in_file(path: &Path, characters: &BTreeSet<char>) -> Vec<Self> {
        let Ok(data) = fs::read(path) else {
            return Vec::new();
        };

        let candidate = |font: Font| {
            let info = font.info();
            let has: BTreeSet<char> = characters
                .iter()
                .copied()
                .filter(|c| info.coverage.contains(u32::from(*c)))
                .collect();
            (!has.is_empty()).then(|| Self {
                path: path.to_owned(),
                index: font.index(),
                regular: info.variant.weight == FontWeight::REGULAR
                    && info.variant.style == FontStyle::Normal,
                has,
            })
        };
        Font::iter(Bytes::new(data)).filter_map(candidate).collect()
    }

    fn open(&self) -> Option<Font> {
        let data = fs::read(&self.path).ok()?;
        Font::new(Bytes::new(data), self.index)
    }
}
