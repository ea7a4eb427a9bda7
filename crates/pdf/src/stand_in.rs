//! Visible stand-ins for characters that no font can show, so that no single character
//! makes a document fail.
//!
//! PDF/UA rejects a document in which a single character has no glyph. Text comes from people, logs
//! and attackers, so every character that the typesetter would not find a glyph for is replaced by
//! `[U+1F680]` before it sees the text. Characters that would show something other than what they
//! are (private use, bidirectional controls) are replaced too.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};

use typst::layout::Abs;
use typst::text::{
    Font, FontBook, FontInstance, FontStretch, FontStyle, FontVariant, FontVariations, FontWeight,
};
use unicode_segmentation::UnicodeSegmentation as _;

/// The font families of running text, in order of preference.
const PROSE: [&str; 6] = [
    "libertinus serif",
    "noto sans",
    "dejavu sans",
    "noto emoji",
    "noto sans symbols2",
    "noto sans symbols",
];
/// The font families of code.
const CODE: [&str; 7] = [
    "dejavu sans mono",
    "libertinus serif",
    "noto sans",
    "dejavu sans",
    "noto emoji",
    "noto sans symbols2",
    "noto sans symbols",
];

/// The kind of font for a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Face {
    /// Paragraphs, tables and headings: regular and bold.
    Prose,
    /// Code, in a fixed width.
    Code,
}

impl Face {
    /// Returns the families, in order of preference.
    pub(crate) const fn families(self) -> &'static [&'static str] {
        match self {
            Self::Prose => &PROSE,
            Self::Code => &CODE,
        }
    }

    /// Returns the weights that the template uses.
    const fn weights(self) -> &'static [FontWeight] {
        match self {
            Self::Prose => &[FontWeight::REGULAR, FontWeight::BOLD],
            Self::Code => &[FontWeight::REGULAR],
        }
    }
}

/// Which characters may reach the typesetter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Allowed {
    /// Characters that the fonts have.
    Covered,
    /// Only ASCII: for a text that failed although the fonts have each of its characters.
    Ascii,
}

/// Replaces characters that cannot be shown.
pub(crate) struct StandIns<'a> {
    fonts: &'a [Font],
    book: &'a FontBook,
    allowed: Allowed,
    /// Cached results, because texts repeat their characters.
    known: RefCell<HashMap<(Face, String), bool>>,
    /// Instantiated fonts by their index in the book.
    open: RefCell<HashMap<usize, FontInstance>>,
    replaced: RefCell<BTreeSet<char>>,
}

impl<'a> StandIns<'a> {
    pub(crate) fn new(fonts: &'a [Font], book: &'a FontBook, allowed: Allowed) -> Self {
        Self {
            fonts,
            book,
            allowed,
            known: RefCell::default(),
            open: RefCell::default(),
            replaced: RefCell::default(),
        }
    }

    /// Returns the characters that were replaced so far.
    pub(crate) fn replaced(&self) -> BTreeSet<char> {
        self.replaced.borrow().clone()
    }

    /// Returns the text with stand-ins; unchanged text is borrowed.
    pub(crate) fn apply<'t>(&self, text: &'t str, face: Face) -> Cow<'t, str> {
        if text.bytes().all(|b| matches!(b, b' '..=b'~' | b'\n')) {
            return Cow::Borrowed(text);
        }

        // A mark that stood alone joins the `]` of the stand-in before it, and no font may have the
        // two. Each pass replaces at least one character, so the passes end.
        let mut out = self.pass(text, face);
        while let next = self.pass(&out, face)
            && next != out
        {
            out = next;
        }

        Cow::Owned(out)
    }

    /// Replaces the clusters of the text that cannot be shown.
    fn pass(&self, text: &str, face: Face) -> String {
        let mut out = String::with_capacity(text.len() + 16);
        for cluster in text.graphemes(true) {
            match cluster {
                "\n" | "\r\n" | "\r" | "\u{85}" | "\u{2028}" | "\u{2029}" => out.push('\n'),
                // The typesetter expands tabs in code only.
                "\t" if face == Face::Code => out.push('\t'),
                "\t" => out.push(' '),
                _ if self.can_show(cluster, face) => out.push_str(cluster),
                _ => self.push_by_character(cluster, face, &mut out),
            }
        }

        out
    }

    /// Writes a cluster that no font has as a whole: its letter if a font has it, and stand-ins for
    /// the rest.
    fn push_by_character(&self, cluster: &str, face: Face, out: &mut String) {
        for (n, c) in cluster.chars().enumerate() {
            if n == 0 && self.can_show(c.encode_utf8(&mut [0; 4]), face) {
                out.push(c);
            } else {
                out.push_str(&stand_in(c));
                self.replaced.borrow_mut().insert(c);
            }
        }
    }

    fn can_show(&self, cluster: &str, face: Face) -> bool {
        if cluster.bytes().all(|b| matches!(b, b' '..=b'~')) {
            return true;
        }

        if self.allowed == Allowed::Ascii || cluster.chars().any(is_never_shown) {
            return false;
        }

        let key = (face, cluster.to_owned());
        if let Some(known) = self.known.borrow().get(&key) {
            return *known;
        }

        let shown = face
            .weights()
            .iter()
            .all(|weight| self.has_font_for(cluster, face.families(), *weight));
        self.known.borrow_mut().insert(key, shown);

        shown
    }

    /// Returns whether the typesetter would find a font for the whole cluster: it tries the
    /// families of the text, then the font that its book names for the first character, and no
    /// other.
    fn has_font_for(&self, cluster: &str, families: &[&str], weight: FontWeight) -> bool {
        let variant = FontVariant::new(FontStyle::Normal, weight, FontStretch::NORMAL);
        let own: Vec<usize> = families
            .iter()
            .filter_map(|family| self.book.select(family, variant))
            .collect();
        let like = own
            .first()
            .and_then(|index| self.fonts.get(*index))
            .map(Font::info);
        let fallback = self.book.select_fallback(like, variant, cluster);

        own.into_iter()
            .chain(fallback)
            .any(|index| self.font_covers(index, cluster))
    }

    /// Returns whether the font itself has all glyphs. The book also lists characters that a font
    /// maps to its glyph for missing ones.
    fn font_covers(&self, index: usize, cluster: &str) -> bool {
        let Some(font) = self.fonts.get(index) else {
            return false;
        };
        let mut open = self.open.borrow_mut();
        let face = open.entry(index).or_insert_with(|| {
            font.clone().instantiate(
                font.info().variant,
                Abs::pt(10.0),
                &FontVariations::default(),
            )
        });

        let has_glyph = |c: char| face.ttf().glyph_index(c).is_some_and(|glyph| glyph.0 != 0);
        cluster.chars().filter(|c| !is_invisible(*c)).all(has_glyph)
    }
}

/// Characters without a glyph of their own that join, break or select: the shaper removes them.
const fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{fe00}'..='\u{fe0f}')
}

/// Characters that are replaced even where a font has a glyph: controls; those that change the
/// order in which a reader sees the others; and private use, where every font means something else.
pub(crate) fn is_never_shown(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}'
                | '\u{200e}' | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2066}'..='\u{206f}'
                | '\u{e000}'..='\u{f8ff}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{f0000}'..='\u{10ffff}'
        )
        // The last two of each plane are not characters.
        || u32::from(c) & 0xfffe == 0xfffe
}

pub(crate) fn stand_in(c: char) -> String {
    format!("[U+{:04X}]", u32::from(c))
}

/// Returns the length in bytes of a stand-in at the start of the text, or 0 if there is none.
pub(crate) fn leading_stand_in(text: &str) -> usize {
    let Some(rest) = text.strip_prefix("[U+") else {
        return 0;
    };
    let digits = rest
        .bytes()
        .take_while(|b| matches!(b, b'0'..=b'9' | b'A'..=b'F'))
        .count();

    if (4..=6).contains(&digits) && rest[digits..].starts_with(']') {
        digits + 4
    } else {
        0
    }
}
