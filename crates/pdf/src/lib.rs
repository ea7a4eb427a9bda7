//! Renders documents as PDF with a table of contents, page numbers, the marking on every page,
//! tables across pages, and tags for screen readers.
//!
//! Invariant: a document's text reaches the typesetter as data and never as code. The same document
//! gives the same bytes. Any text can be rendered: see [`stand_in`].

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

/// The template of all documents.
const TEMPLATE: &str = include_str!("template.typ");

/// Why a document cannot be rendered.
#[derive(Debug, thiserror::Error)]
pub enum TypesetError {
    /// The document cannot be serialized for the typesetter.
    #[error("cannot serialize the document: {0}")]
    Json(#[from] serde_json::Error),
    /// The typesetter returned an error.
    #[error("cannot typeset the document: {0}")]
    Refused(String),
}

/// Renders a document as PDF/UA-1. Characters without a glyph appear as `[U+1F680]`.
pub fn render(document: &Document) -> Result<Vec<u8>, TypesetError> {
    match typeset_document(document, Allowed::Covered) {
        // Shaping can fail even if the fonts have every character. A document in ASCII is better
        // than none.
        Err(TypesetError::Refused(_)) => typeset_document(document, Allowed::Ascii),
        done => done,
    }
}

fn typeset_document(document: &Document, allowed: Allowed) -> Result<Vec<u8>, TypesetError> {
    let world = DocumentWorld::new(&with_stand_ins(document, allowed))?;
    let pages = typst::compile(&world)
        .output
        .map_err(|e| refused_error(&e))?;
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

    let pdf = typst_pdf::pdf(&pages, &options).map_err(|e| refused_error(&e));
    // The library's cache would only grow between documents.
    typst::comemo::evict(0);

    pdf
}

/// Returns the document with stand-ins for characters that cannot be shown.
fn with_stand_ins(document: &Document, allowed: Allowed) -> Document {
    let Fonts { fonts, book } = bundled_fonts();
    let stand_ins = &StandIns::new(fonts, book, allowed);
    let face = |face| move |text: &str| stand_ins.apply(text, face).into_owned();
    document.map_text(&face(Face::Prose), &face(Face::Code))
}

fn refused_error(errors: &[SourceDiagnostic]) -> TypesetError {
    TypesetError::Refused(
        errors
            .first()
            .map(|e| e.message.to_string())
            .unwrap_or_default(),
    )
}

/// Everything that the typesetter can access: template, document and fonts, but no files, no
/// network and no clock.
struct DocumentWorld {
    language: LazyHash<Library>,
    main: Source,
    data: Bytes,
}

struct Fonts {
    fonts: Vec<Font>,
    book: LazyHash<FontBook>,
}

fn bundled_fonts() -> &'static Fonts {
    static FONTS: OnceLock<Fonts> = OnceLock::new();
    FONTS.get_or_init(|| {
        let fonts: Vec<Font> = typst_assets::fonts()
            .flat_map(|data| Font::iter(Bytes::new(data)))
            .collect();
        let book = LazyHash::new(FontBook::from_fonts(&fonts));
        Fonts { fonts, book }
    })
}

impl DocumentWorld {
    fn new(document: &Document) -> Result<Self, TypesetError> {
        let mut data = serde_json::to_value(document)?;
        if let Some(blocks) = data.get_mut("blocks").and_then(Value::as_array_mut) {
            for (out, block) in blocks.iter_mut().zip(&document.blocks) {
                if let Block::Table(table) = block {
                    let rows: Vec<Vec<String>> = table
                        .rows
                        .iter()
                        .map(|row| row.iter().map(|c| with_break_points(c)).collect())
                        .collect();
                    out["value"] = json!({
                        "header": table.header,
                        "rows": rows,
                        "widths": column_widths(table),
                    });
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

/// Returns the relative widths of the columns: by a power of the mean text length, so long columns
/// leave room for short ones, but no less than the longest word needs.
fn column_widths(table: &Table) -> Vec<f64> {
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

            mean.powf(0.7)
                .max(longest.min(UNBROKEN_WORD_MAX) as f64 * 0.7)
                .max(2.0)
        })
        .collect()
}

/// The longest word that is not broken; a longer one may break anywhere.
const UNBROKEN_WORD_MAX: usize = 18;

/// Adds break points to long words such as hashes and URLs. Letters with their marks, and
/// stand-ins, stay whole.
fn with_break_points(text: &str) -> String {
    if text
        .split_whitespace()
        .all(|w| w.chars().count() <= UNBROKEN_WORD_MAX)
    {
        return text.to_owned();
    }

    let mut out = String::with_capacity(text.len() * 2);
    let mut run = 0;
    let mut rest = text;
    while let Some(letter) = rest.graphemes(true).next() {
        let (piece, after) = rest.split_at(leading_stand_in(rest).max(letter.len()));
        run = if piece.chars().all(char::is_whitespace) {
            0
        } else {
            run + piece.chars().count()
        };

        if run > UNBROKEN_WORD_MAX / 2 && !out.ends_with(char::is_whitespace) && !out.is_empty() {
            out.push('\u{200b}');
            run = piece.chars().count();
        }

        out.push_str(piece);
        rest = after;
    }

    out
}

impl World for DocumentWorld {
    fn library(&self) -> &LazyHash<Library> {
        &self.language
    }

    fn book(&self) -> &LazyHash<FontBook> {
        &bundled_fonts().book
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
        bundled_fonts().fonts.get(index).cloned()
    }

    fn today(&self, _: Option<Duration>) -> Option<Datetime> {
        None
    }
}

#[cfg(test)]
mod tests;
