//! Documents as PDF: contents, page numbers, the marking on every page, tables that go on over
//! pages, tags for screen readers.
//!
//! Invariant: a document's text reaches the typesetter as data and never as its language. The same
//! document gives the same octets. Any text can be set: see [`stand_in`].

mod stand_in;

use std::sync::OnceLock;

use compliance::document::{Block, Document, Table};
use serde_json::{Value, json};
use typst::diag::{FileError, FileResult, SourceDiagnostic};
use typst::foundations::{Bytes, Datetime, Duration, Smart};
use typst::syntax::{FileId, RootedPath, Source, VirtualPath, VirtualRoot};
use typst::text::{Font, FontBook};
use typst::utils::LazyHash;
use typst::{Library, LibraryExt as _, World};
use typst_pdf::{PdfOptions, PdfStandard, PdfStandards};
use unicode_segmentation::UnicodeSegmentation as _;

use stand_in::{Allowed, Face, StandIns, leading_stand_in};

/// The form of every document.
const TEMPLATE: &str = include_str!("template.typ");

/// Why there is no PDF.
#[derive(Debug, thiserror::Error)]
pub enum TypesetError {
    /// The document cannot be handed over.
    #[error("the document cannot be written down: {0}")]
    Json(#[from] serde_json::Error),
    /// The typesetter refused.
    #[error("the document cannot be set: {0}")]
    Refused(String),
}

/// Sets a document as PDF/UA-1. What the fonts cannot show appears as `[U+1F680]`.
pub fn render(document: &Document) -> Result<Vec<u8>, TypesetError> {
    match set(document, Allowed::Covered) {
        // Shaping can fail although the fonts have every character. A document in plain letters is
        // better than none.
        Err(TypesetError::Refused(_)) => set(document, Allowed::Ascii),
        done => done,
    }
}

fn set(document: &Document, allowed: Allowed) -> Result<Vec<u8>, TypesetError> {
    let desk = Desk::new(&settable(document, allowed))?;
    let pages = typst::compile(&desk).output.map_err(|e| refused(&e))?;
    let standards = PdfStandards::new(&[PdfStandard::Ua_1])
        .map_err(|e| TypesetError::Refused(e.message().to_string()))?;
    let options = PdfOptions {
        ident: Smart::Auto,
        creator: Smart::Custom(Some("blueteam".to_owned())),
        timestamp: None,
        page_ranges: None,
        standards,
        tagged: true,
        pretty: false,
    };

    let pdf = typst_pdf::pdf(&pages, &options).map_err(|e| refused(&e));
    // What the library remembers between documents would only grow.
    typst::comemo::evict(0);
    pdf
}

/// The document with stand-ins for what cannot be shown.
fn settable(document: &Document, allowed: Allowed) -> Document {
    let Fonts { fonts, book } = fonts();
    let stand_ins = &StandIns::new(fonts, book, allowed);
    let face = |face| move |text: &str| stand_ins.apply(text, face).into_owned();
    document.map_text(&face(Face::Prose), &face(Face::Code))
}

fn refused(errors: &[SourceDiagnostic]) -> TypesetError {
    TypesetError::Refused(
        errors
            .first()
            .map(|e| e.message.to_string())
            .unwrap_or_default(),
    )
}

/// All that the typesetter may see: the template, the document, the fonts. No files, no network, no
/// clock.
struct Desk {
    language: LazyHash<Library>,
    main: Source,
    data: Bytes,
}

struct Fonts {
    fonts: Vec<Font>,
    book: LazyHash<FontBook>,
}

fn fonts() -> &'static Fonts {
    static FONTS: OnceLock<Fonts> = OnceLock::new();
    FONTS.get_or_init(|| {
        let fonts: Vec<Font> = typst_assets::fonts()
            .flat_map(|data| Font::iter(Bytes::new(data)))
            .collect();
        let book = LazyHash::new(FontBook::from_fonts(&fonts));
        Fonts { fonts, book }
    })
}

impl Desk {
    fn new(document: &Document) -> Result<Self, TypesetError> {
        let mut data = serde_json::to_value(document)?;
        if let Some(blocks) = data.get_mut("blocks").and_then(Value::as_array_mut) {
            for (out, block) in blocks.iter_mut().zip(&document.blocks) {
                if let Block::Table(table) = block {
                    let rows: Vec<Vec<String>> = table
                        .rows
                        .iter()
                        .map(|row| row.iter().map(|c| breakable(c)).collect())
                        .collect();
                    out["value"] =
                        json!({ "header": table.header, "rows": rows, "widths": widths(table) });
                }
            }
        }

        Ok(Self {
            language: LazyHash::new(Library::default()),
            main: Source::detached(TEMPLATE),
            data: Bytes::from_string(data.to_string()),
        })
    }
}

/// How wide each column is, in parts: by a power of its text, so that a long column does not starve
/// the short ones, and no less than its longest word needs.
fn widths(table: &Table) -> Vec<f64> {
    let columns = table.header.len();
    (0..columns)
        .map(|n| {
            let cells = || {
                table
                    .rows
                    .iter()
                    .filter_map(|row| row.get(n))
                    .chain(table.header.get(n))
            };

            let count = cells().count().max(1);
            let mean = cells().map(|c| c.chars().count()).sum::<usize>() as f64 / count as f64;
            let longest = cells()
                .flat_map(|c| c.split_whitespace())
                .map(|w| w.chars().count())
                .max()
                .unwrap_or(1);

            mean.powf(0.7).max(longest.min(WORD) as f64 * 0.7).max(2.0)
        })
        .collect()
}

/// A word longer than this may be broken anywhere.
const WORD: usize = 18;

/// Lets a hash or a URL go on in the next line. Letters with their marks, and stand-ins, stay
/// whole.
fn breakable(text: &str) -> String {
    if text.split_whitespace().all(|w| w.chars().count() <= WORD) {
        return text.to_owned();
    }

    let mut out = String::with_capacity(text.len() * 2);
    let (mut run, mut rest) = (0, text);
    while let Some(letter) = rest.graphemes(true).next() {
        let (piece, after) = rest.split_at(leading_stand_in(rest).max(letter.len()));
        run = if piece.chars().all(char::is_whitespace) {
            0
        } else {
            run + piece.chars().count()
        };

        if run > WORD / 2 && !out.ends_with(char::is_whitespace) && !out.is_empty() {
            out.push('\u{200b}');
            run = piece.chars().count();
        }

        out.push_str(piece);
        rest = after;
    }

    out
}

impl World for Desk {
    fn library(&self) -> &LazyHash<Library> {
        &self.language
    }

    fn book(&self) -> &LazyHash<FontBook> {
        &fonts().book
    }

    fn main(&self) -> FileId {
        self.main.id()
    }

    fn source(&self, id: FileId) -> FileResult<Source> {
        if id == self.main.id() {
            Ok(self.main.clone())
        } else {
            Err(FileError::AccessDenied)
        }
    }

    fn file(&self, id: FileId) -> FileResult<Bytes> {
        let known = VirtualPath::new("document.json")
            .map(|path| RootedPath::new(VirtualRoot::Project, path).intern());
        if known.is_ok_and(|known| known == id) {
            Ok(self.data.clone())
        } else {
            Err(FileError::AccessDenied)
        }
    }

    fn font(&self, index: usize) -> Option<Font> {
        fonts().fonts.get(index).cloned()
    }

    fn today(&self, _: Option<Duration>) -> Option<Datetime> {
        None
    }
}

#[cfg(test)]
mod tests;
