//! Documents as PDF: contents, page numbers, the marking on every page, tables that go on over pages, tags for screen readers.
//!
//! Invariant: a document's text reaches the typesetter as data and never as its language. The same document gives the same octets.

use std::sync::OnceLock;

use comply::document::{Block, Document, Table};
use serde_json::{Value, json};
use typst::diag::{FileError, FileResult, SourceDiagnostic};
use typst::foundations::{Bytes, Datetime, Duration, Smart};
use typst::syntax::{FileId, RootedPath, Source, VirtualPath, VirtualRoot};
use typst::text::{Font, FontBook};
use typst::utils::LazyHash;
use typst::{Library, LibraryExt as _, World};
use typst_pdf::{PdfOptions, PdfStandard, PdfStandards};

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

/// Sets a document as PDF/UA-1.
pub fn pdf(document: &Document) -> Result<Vec<u8>, TypesetError> {
    let desk = Desk::new(document)?;
    let pages = typst::compile(&desk).output.map_err(|e| refused(&e))?;
    let standards =
        PdfStandards::new(&[PdfStandard::Ua_1]).map_err(|e| TypesetError::Refused(e.message().to_string()))?;
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

fn refused(errors: &[SourceDiagnostic]) -> TypesetError {
    TypesetError::Refused(errors.first().map(|e| e.message.to_string()).unwrap_or_default())
}

/// All that the typesetter may see: the template, the document, the fonts. No files, no network, no clock.
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
        let fonts: Vec<Font> = typst_assets::fonts().flat_map(|data| Font::iter(Bytes::new(data))).collect();
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
                    let rows: Vec<Vec<String>> =
                        table.rows.iter().map(|row| row.iter().map(|c| breakable(c)).collect()).collect();
                    out["value"] = json!({ "header": table.header, "rows": rows, "widths": widths(table) });
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

/// How wide each column is, in parts: by a power of its text, so that a long column does not starve the short ones, and no less than its
/// longest word needs.
fn widths(table: &Table) -> Vec<f64> {
    let columns = table.header.len();
    (0..columns)
        .map(|n| {
            let cells = || table.rows.iter().filter_map(|row| row.get(n)).chain(table.header.get(n));
            let count = cells().count().max(1);
            let mean = cells().map(|c| c.chars().count()).sum::<usize>() as f64 / count as f64;
            let longest = cells().flat_map(|c| c.split_whitespace()).map(|w| w.chars().count()).max().unwrap_or(1);
            mean.powf(0.7).max(longest.min(WORD) as f64 * 0.7).max(2.0)
        })
        .collect()
}

/// A word longer than this may be broken anywhere.
const WORD: usize = 18;

/// Lets a hash or a URL go on in the next line.
fn breakable(text: &str) -> String {
    if text.split_whitespace().all(|w| w.chars().count() <= WORD) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() * 2);
    let mut run = 0;
    for c in text.chars() {
        run = if c.is_whitespace() { 0 } else { run + 1 };
        if run > WORD / 2 {
            out.push('\u{200b}');
            run = 1;
        }
        out.push(c);
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
        if id == self.main.id() { Ok(self.main.clone()) } else { Err(FileError::AccessDenied) }
    }

    fn file(&self, id: FileId) -> FileResult<Bytes> {
        let known = VirtualPath::new("document.json").map(|path| RootedPath::new(VirtualRoot::Project, path).intern());
        if known.is_ok_and(|known| known == id) { Ok(self.data.clone()) } else { Err(FileError::AccessDenied) }
    }

    fn font(&self, index: usize) -> Option<Font> {
        fonts().fonts.get(index).cloned()
    }

    fn today(&self, _: Option<Duration>) -> Option<Datetime> {
        None
    }
}

#[cfg(test)]
mod tests {
    use comply::document::{Bar, Point, Trend};

    use super::*;

    fn document() -> Document {
        let mut doc = Document {
            title: "A #title $with$ *marks*".to_owned(),
            subtitle: vec!["of #panic(\"nobody\")".to_owned()],
            marking: "CUI".to_owned(),
            date: "2026-11-24".to_owned(),
            blocks: Vec::new(),
        };
        doc.heading(1, "One").text("#read(\"/etc/passwd\") <label> @ref").list(vec!["a".to_owned()]);
        doc.table(&["id", "hash"], vec![vec!["1".to_owned(), "0123456789abcdef".repeat(4)]; 200]);
        doc.add(Block::Bars(vec![Bar { label: "b".to_owned(), part: 1, whole: 3 }]))
            .add(Block::Code("x = 1".to_owned()));
        let point = |at, value| Point { at, day: format!("#day {at}"), value };
        let points = vec![point(0, Some(-203)), point(5, None), point(7, Some(90)), point(9, Some(110))];
        doc.add(Block::Trend(Trend::new("#score".to_owned(), points, 110, (88, "#mark".to_owned()))));
        doc
    }

    #[test]
    fn text_is_set_and_not_run_and_the_same_each_time() {
        let first = pdf(&document()).unwrap();
        assert!(first.starts_with(b"%PDF-"));
        assert!(first == pdf(&document()).unwrap(), "the same document gives the same octets");
    }

    #[test]
    fn a_long_word_may_break_and_a_short_one_may_not() {
        assert_eq!(breakable("short words only"), "short words only");
        assert_eq!(breakable(&"a".repeat(40)).matches('\u{200b}').count(), 4);
    }
}
