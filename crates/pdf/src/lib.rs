//! Renders documents as PDF with a table of contents, page numbers, the marking on every page,
//! tables across pages, and tags for screen readers.
//!
//! Invariant: a document's text reaches the typesetter as data and never as code. The same document
//! and the same fonts give the same bytes. Any text can be rendered: see [`stand_in`].

mod fonts;
mod stand_in;

use std::collections::BTreeSet;
use std::sync::Arc;

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

use fonts::Fonts;
pub use fonts::SystemFonts;
use stand_in::{Allowed, Face, StandIns, is_never_shown, leading_stand_in};

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

/// Renders a document as PDF/UA-1, with the fonts of this machine for characters that no bundled
/// font has. Characters without a font appear as `[U+1F680]`, and the document's gaps list them.
pub fn render(document: &Document) -> Result<Vec<u8>, TypesetError> {
    render_with(document, &SystemFonts::installed())
}

/// Renders a document with certain fonts of the system.
pub fn render_with(document: &Document, system: &SystemFonts) -> Result<Vec<u8>, TypesetError> {
    let bundled = Fonts::bundled();
    let missing = Shown::with(document, &bundled, Allowed::Covered).missing();
    let more = system.covering(&missing);
    let mut attempts = vec![
        (bundled.clone(), Allowed::Covered),
        // Shaping can fail even if the fonts have every character. A document in ASCII is better
        // than none.
        (bundled.clone(), Allowed::Ascii),
    ];
    if !more.is_empty() {
        attempts.insert(0, (Arc::new(bundled.with(more)), Allowed::Covered));
    }

    let mut failed = None;
    for (fonts, allowed) in attempts {
        match typeset_document(document, &fonts, allowed) {
            Err(error @ TypesetError::Refused(_)) => failed = Some(error),
            done => return done,
        }
    }

    // A picture can be more than the typesetter manages, although it was checked.
    let (text, figures) = without_figures(document);
    if figures == 0 {
        return Err(failed.unwrap_or_else(|| TypesetError::Refused(String::new())));
    }
    typeset_document(&text, &bundled, Allowed::Covered)
        .or_else(|_| typeset_document(&text, &bundled, Allowed::Ascii))
}

/// Returns the document with each figure replaced by a line that names it, and how many there were.
fn without_figures(document: &Document) -> (Document, usize) {
    let mut document = document.clone();
    let mut titles = Vec::new();
    for block in &mut document.blocks {
        if let Block::Figure(figure) = block {
            titles.push(figure.title.clone());
            *block = Block::Text(format!("Figure: {} (not shown)", figure.label()));
        }
    }

    for title in &titles {
        document.add_gap(format!("the figure \"{title}\" cannot be shown in a PDF"));
    }

    (document, titles.len())
}

fn typeset_document(
    document: &Document,
    fonts: &Arc<Fonts>,
    allowed: Allowed,
) -> Result<Vec<u8>, TypesetError> {
    let shown = Shown::with(document, fonts, allowed);
    let world = DocumentWorld::new(&shown.with_gap(), fonts.clone())?;
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

/// A document in which every character can be shown.
struct Shown {
    document: Document,
    /// The characters that stand-ins replace.
    replaced: BTreeSet<char>,
}

impl Shown {
    fn with(document: &Document, fonts: &Fonts, allowed: Allowed) -> Self {
        let stand_ins = &StandIns::new(&fonts.fonts, &fonts.book, allowed);
        let face = |face| move |text: &str| stand_ins.apply(text, face).into_owned();
        let mut document = document.map_text(&face(Face::Prose), &face(Face::Code));
        document.date = stand_ins.apply(&document.date, Face::Prose).into_owned();
        // PDF/UA wants a title.
        if document.title.trim().is_empty() {
            "Document".clone_into(&mut document.title);
        }

        Self {
            document,
            replaced: stand_ins.replaced(),
        }
    }

    /// Returns the characters that another font might show.
    fn missing(&self) -> BTreeSet<char> {
        let may_be_shown = |c: &char| !is_never_shown(*c);
        self.replaced.iter().copied().filter(may_be_shown).collect()
    }

    /// Returns the document with a line in its gaps about the stand-ins.
    fn with_gap(mut self) -> Document {
        if let Some(first) = self.replaced.first() {
            let count = self.replaced.len();
            let are = if count == 1 {
                "1 character has"
            } else {
                "characters have"
            };
            let number = if count == 1 {
                String::new()
            } else {
                format!("{count} ")
            };
            let example = stand_in::stand_in(*first);
            self.document.add_gap(format!(
                "{number}{are} no glyph in any installed font and can be read by code point only, \
                    as in {example}"
            ));
        }

        self.document
    }
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
    /// The pictures of the document, in the order of its figures.
    pictures: Vec<Bytes>,
    fonts: Arc<Fonts>,
}

impl DocumentWorld {
    fn new(document: &Document, fonts: Arc<Fonts>) -> Result<Self, TypesetError> {
        let mut data = serde_json::to_value(document)?;
        data["fonts"] = json!({
            "prose": Face::Prose.families(),
            "code": Face::Code.families(),
        });

        data["day"] = json!(calendar_day(&document.date));
        data["contents_depth"] = json!(contents_depth(document));
        data["breaks"] = json!(page_breaks(document));

        let mut pictures = Vec::new();
        if let Some(blocks) = data.get_mut("blocks").and_then(Value::as_array_mut) {
            for (out, block) in blocks.iter_mut().zip(&document.blocks) {
                match block {
                    Block::Table(table) => out["value"] = table_value(table),
                    Block::Figure(figure) => {
                        out["value"] = json!({
                            "path": picture_name(pictures.len()),
                            "format": figure.image.form(),
                            "ratio": figure.image.ratio(),
                            "title": figure.title,
                            "label": figure.label(),
                        });
                        pictures.push(Bytes::new(figure.image.bytes().to_vec()));
                    }
                    _ => {}
                }
            }
        }

        Ok(Self {
            language: LazyHash::new(Library::default()),
            main: Source::detached(TEMPLATE),
            data: Bytes::from_string(data.to_string()),
            pictures,
            fonts,
        })
    }
}

/// A table of contents has no more lines of the second level: four pages of contents are read by
/// nobody, and a reader of the PDF has its bookmarks.
const CONTENTS_MAX: usize = 60;
/// A document with no more headings than this is found through without one.
const CONTENTS_FROM: usize = 8;
/// About as many lines as half a page has.
const HALF_PAGE: usize = 25;

/// Returns how many levels of headings the table of contents has; 0: there is none.
fn contents_depth(document: &Document) -> u8 {
    let headings = document
        .blocks
        .iter()
        .filter(|b| matches!(b, Block::Heading(..)));
    if headings.count() <= CONTENTS_FROM {
        return 0;
    }
    let sections = document
        .blocks
        .iter()
        .filter(|b| matches!(b, Block::Heading(2, _)));
    if sections.count() > CONTENTS_MAX {
        1
    } else {
        2
    }
}

/// Returns for each block whether it begins on a new page: a chapter of half a page or more, after
/// as much on the page before. Shorter ones follow what is before them. Chapters on pages of their
/// own are also laid out side by side, on as many cores as there are.
fn page_breaks(document: &Document) -> Vec<bool> {
    let is_chapter = |block: &Block| matches!(block, Block::Heading(1, _));
    let mut breaks = vec![false; document.blocks.len()];
    let mut on_page = 0;
    for (n, block) in document.blocks.iter().enumerate() {
        if is_chapter(block) {
            let rest = document.blocks[n + 1..].iter();
            let lines: usize = rest
                .take_while(|b| !is_chapter(b))
                .map(estimated_lines)
                .sum();
            if lines >= HALF_PAGE && on_page >= HALF_PAGE {
                breaks[n] = true;
                on_page = 0;
            }
        }

        on_page += estimated_lines(block);
    }

    breaks
}

/// Returns about how many lines a block takes.
fn estimated_lines(block: &Block) -> usize {
    let wrapped = |text: &String| 1 + text.len() / 100;
    match block {
        Block::Heading(..) => 2,
        Block::Text(text) => 1 + wrapped(text),
        Block::List(points) | Block::Gaps(points) => 1 + points.iter().map(wrapped).sum::<usize>(),
        Block::Table(table) => 2 + table.rows.len(),
        Block::Bars(bars) => bars.len(),
        Block::Trend(_) | Block::Figure(_) => 15,
        Block::Code(text) => text.lines().count(),
    }
}

/// Returns year, month and day of a date; `None` for any other text.
fn calendar_day(date: &str) -> Option<[i32; 3]> {
    let mut parts = date.splitn(3, '-').map(str::parse::<i32>);
    let (year, month, day) = (
        parts.next()?.ok()?,
        parts.next()?.ok()?,
        parts.next()?.ok()?,
    );
    let fits = (1..=9999).contains(&year);
    Datetime::from_ymd(year, u8::try_from(month).ok()?, u8::try_from(day).ok()?)
        .filter(|_| fits)
        .map(|_| [year, month, day])
}

/// The name under which the template finds a picture.
fn picture_name(n: usize) -> String {
    format!("picture-{n}")
}

/// Returns the id of a file that the template may read.
fn file_id(name: &str) -> Option<FileId> {
    let path = VirtualPath::new(name).ok()?;
    Some(RootedPath::new(VirtualRoot::Project, path).intern())
}

fn table_value(table: &Table) -> Value {
    let rows: Vec<Vec<String>> = table
        .rows
        .iter()
        .map(|row| row.iter().map(|c| with_break_points(c)).collect())
        .collect();
    json!({
        "header": table.header,
        "rows": rows,
        "widths": column_widths(table),
    })
}

/// Returns the relative widths of the columns: by a power of the mean text length, so long columns
/// leave room for short ones, but no less than the longest word needs. A header is in bold.
fn column_widths(table: &Table) -> Vec<f64> {
    let longest_word = |texts: &mut dyn Iterator<Item = &String>| {
        texts
            .flat_map(|c| c.split_whitespace())
            .map(word_width)
            .fold(0.7, f64::max)
    };

    let columns = table.header.len();
    (0..columns)
        .map(|n| {
            let cells = || table.rows.iter().filter_map(|row| row.get(n));
            let all = || cells().chain(table.header.get(n));

            let count = all().count().max(1);
            let mean = all().map(|c| c.chars().count()).sum::<usize>() as f64 / count as f64;
            let word = longest_word(&mut cells());
            let header = longest_word(&mut table.header.get(n).into_iter()) * 1.2;

            mean.powf(0.7).max(word).max(header + 0.8).max(2.0)
        })
        .collect()
}

/// Returns about how wide a word is, as far as it is not broken: capitals are wider than other
/// letters.
fn word_width(word: &str) -> f64 {
    let widths = word.chars().take(UNBROKEN_WORD_MAX);
    widths
        .map(|c| if c.is_uppercase() { 0.95 } else { 0.7 })
        .sum()
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
        &self.fonts.book
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
        if file_id("document.json") == Some(id) {
            return Ok(self.data.clone());
        }

        self.pictures
            .iter()
            .enumerate()
            .find(|(n, _)| file_id(&picture_name(*n)) == Some(id))
            .map(|(_, picture)| picture.clone())
            .ok_or(FileError::AccessDenied)
    }

    fn font(&self, index: usize) -> Option<Font> {
        self.fonts.fonts.get(index).cloned()
    }

    fn today(&self, _: Option<Duration>) -> Option<Datetime> {
        None
    }
}

#[cfg(test)]
mod tests;
