//! One document for every format: reports and plans are built from blocks, and each format
//! (Markdown, HTML, PDF) renders the same blocks.
//!
//! Text in a block is plain: it is shown literally, and no markup in it takes effect. The same
//! document gives the same bytes.

mod html;
mod markdown;
mod trend;

use serde::Serialize;
pub use trend::{Point, Trend};

use crate::diagram::Image;

/// A report or plan, independent of its format.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Document {
    /// Title of the document.
    pub title: String,
    /// Lines below the title: owner and subject.
    pub subtitle: Vec<String>,
    /// The marking on every page, such as `CUI`; may be empty.
    pub marking: String,
    /// Date of the document, `YYYY-MM-DD`.
    pub date: String,
    /// What the cover says: of what, for whom, by whom.
    pub cover: Vec<Field>,
    /// The CUI designation indicator block on the first page (DoDI 5200.48, section 3.4); empty for
    /// a document without CUI.
    pub designation: Vec<Field>,
    /// Its contents.
    pub blocks: Vec<Block>,
}

/// A label and its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Field {
    /// What it says.
    pub label: String,
    /// The value.
    pub value: String,
}

impl Field {
    /// Returns a field.
    pub fn new(label: &str, value: impl Into<String>) -> Self {
        Self {
            label: label.to_owned(),
            value: value.into(),
        }
    }
}

/// A part of a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", content = "value", rename_all = "snake_case")]
pub enum Block {
    /// A heading; level 1 begins a chapter.
    Heading(u8, String),
    /// A paragraph.
    Text(String),
    /// A list of points.
    List(Vec<String>),
    /// What the document lacks, as a list. A format that cannot show something adds to it.
    Gaps(Vec<String>),
    /// A picture.
    Figure(Figure),
    /// A table; every row has as many cells as the header.
    Table(Table),
    /// Horizontal bars: a part of a whole each.
    Bars(Vec<Bar>),
    /// A value over time.
    Trend(Trend),
    /// Preformatted text.
    Code(String),
}

/// A table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Table {
    /// The column headers.
    pub header: Vec<String>,
    /// Its rows.
    pub rows: Vec<Vec<String>>,
}

/// A bar of a chart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Bar {
    /// Label of the bar.
    pub label: String,
    /// The filled part.
    pub part: usize,
    /// The whole.
    pub whole: usize,
}

/// A picture with its caption.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Figure {
    /// Title, which screen readers say in place of the picture.
    pub title: String,
    /// Text below the picture; may be empty.
    pub caption: String,
    /// The picture.
    pub image: Image,
}

impl Figure {
    /// Returns the text below the picture.
    pub fn label(&self) -> String {
        if self.caption.trim().is_empty() {
            self.title.clone()
        } else {
            format!("{}: {}", self.title, self.caption)
        }
    }
}

/// What [`Block::Gaps`] says when nothing is missing.
pub const NO_GAPS: &str = "Nothing that blueteam can detect.";

impl Document {
    /// Adds a heading.
    pub fn heading(&mut self, level: u8, text: impl Into<String>) -> &mut Self {
        self.add(Block::Heading(level, text.into()))
    }

    /// Adds a paragraph.
    pub fn text(&mut self, text: impl Into<String>) -> &mut Self {
        self.add(Block::Text(text.into()))
    }

    /// Adds a list, unless it is empty.
    pub fn list(&mut self, points: Vec<String>) -> &mut Self {
        if points.is_empty() {
            self
        } else {
            self.add(Block::List(points))
        }
    }

    /// Adds a table, or the text `None.` instead of one without rows.
    pub fn table(&mut self, header: &[&str], rows: Vec<Vec<String>>) -> &mut Self {
        debug_assert!(rows.iter().all(|row| row.len() == header.len()));
        if rows.is_empty() {
            return self.text("None.");
        }
        self.add(Block::Table(Table {
            header: header.iter().map(ToString::to_string).collect(),
            rows,
        }))
    }

    /// Adds a line to the gaps; without any so far, in a chapter of its own at the end.
    pub fn add_gap(&mut self, gap: String) {
        let gaps = self.blocks.iter_mut().find_map(|block| match block {
            Block::Gaps(gaps) => Some(gaps),
            _ => None,
        });

        if let Some(gaps) = gaps {
            gaps.push(gap);
        } else {
            self.heading(1, "Gaps in this document")
                .add(Block::Gaps(vec![gap]));
        }
    }

    /// Adds a block.
    pub fn add(&mut self, block: Block) -> &mut Self {
        self.blocks.push(block);
        self
    }

    /// Returns the document with every text replaced: code by `code`, all other text by `prose`.
    pub fn map_text(&self, prose: &dyn Fn(&str) -> String, code: &dyn Fn(&str) -> String) -> Self {
        let all = |texts: &[String]| texts.iter().map(|text| prose(text)).collect::<Vec<_>>();
        let fields = |fields: &[Field]| {
            let field = |f: &Field| Field::new(&prose(&f.label), prose(&f.value));
            fields.iter().map(field).collect()
        };
        let block = |block: &Block| match block {
            Block::Heading(level, text) => Block::Heading(*level, prose(text)),
            Block::Text(text) => Block::Text(prose(text)),
            Block::List(points) => Block::List(all(points)),
            Block::Gaps(points) => Block::Gaps(all(points)),
            Block::Figure(figure) => Block::Figure(Figure {
                title: prose(&figure.title),
                caption: prose(&figure.caption),
                image: figure.image.clone(),
            }),
            Block::Table(table) => Block::Table(Table {
                header: all(&table.header),
                rows: table.rows.iter().map(|row| all(row)).collect(),
            }),
            Block::Bars(bars) => {
                let relabel = |bar: &Bar| Bar {
                    label: prose(&bar.label),
                    ..bar.clone()
                };
                Block::Bars(bars.iter().map(relabel).collect())
            }
            Block::Trend(trend) => Block::Trend(trend.map_text(prose)),
            Block::Code(text) => Block::Code(code(text)),
        };

        Self {
            title: prose(&self.title),
            subtitle: all(&self.subtitle),
            marking: prose(&self.marking),
            date: self.date.clone(),
            cover: fields(&self.cover),
            designation: fields(&self.designation),
            blocks: self.blocks.iter().map(block).collect(),
        }
    }

    /// Renders the document as Markdown (CommonMark with tables).
    pub fn markdown(&self) -> String {
        markdown::render_document(self)
    }

    /// Renders the document as one HTML page without external resources or scripts.
    pub fn html(&self) -> String {
        html::render_page(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hostile_document() -> Document {
        let mut doc = Document {
            title: "A <b>title</b>".to_owned(),
            subtitle: vec!["of *somebody*".to_owned()],
            marking: "CUI".to_owned(),
            date: "2026-11-24".to_owned(),
            cover: vec![Field::new("<b>Scope", "a | b\n# c")],
            designation: vec![Field::new("Controlled by", "<script>alert(1)</script>")],
            ..Document::default()
        };

        doc.heading(1, "One & [two](http://evil.example)")
            .text(
                "<script>alert(1)</script> # not a heading\n- nor a point | nor a cell `nor code`",
            )
            .list(vec!["a_b_c".to_owned(), "1. x".to_owned()])
            .table(
                &["a", "b"],
                vec![vec![
                    "x|y\nz".to_owned(),
                    "<img src=x onerror=y>".to_owned(),
                ]],
            )
            .add(Block::Bars(vec![Bar {
                label: "Access <Control>".to_owned(),
                part: 1,
                whole: 4,
            }]))
            .add(Block::Trend(Trend::new(
                "a \"><b>score</b>".to_owned(),
                vec![
                    Point {
                        at: 0,
                        day: "<b>1</b>".to_owned(),
                        value: Some(1),
                    },
                    Point {
                        at: 9,
                        day: "2 | 3".to_owned(),
                        value: None,
                    },
                ],
                110,
                88,
                "<b>mark</b>".to_owned(),
            )))
            .add(Block::Code("```\nfence\n````".to_owned()));

        doc
    }

    #[test]
    fn pictures_are_in_the_page_and_nothing_else_is_loaded() {
        let svg = "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 4 3'/>";
        let mut doc = hostile_document();
        assert!(
            !doc.html().contains("img-src"),
            "only where there is a picture"
        );
        doc.add(Block::Figure(Figure {
            title: "\"><script>".to_owned(),
            caption: "<b>of</b> the network".to_owned(),
            image: Image::read(svg.as_bytes()).unwrap(),
        }));

        let html = doc.html();
        assert!(html.contains("default-src 'none'; style-src 'unsafe-inline'; img-src data:\""));
        assert!(
            html.contains("src=\"data:image/svg+xml;base64,PHN2Zy"),
            "{html}"
        );
        assert!(!html.contains("<script>") && !html.contains("<b>"));
        assert!(doc.markdown().contains("(SVG, 4 x 3)"));
    }

    #[test]
    fn words_in_tables_break_only_where_no_column_is_wide_enough() {
        let cells = [
            "3.1.13[a]",
            "not assessed",
            &"0123456789abcdef".repeat(4),
            "2026-11-30",
        ];
        let mut doc = Document::default();
        doc.table(
            &["Finding", "Result", "SHA-256", "Day"],
            vec![cells.iter().map(ToString::to_string).collect()],
        );

        let html = doc.html();
        for whole in [
            ">3.1.13[a]<",
            ">not assessed<",
            ">Finding<",
            "\"one\">2026-11-30<",
        ] {
            assert!(html.contains(whole), "{whole}");
        }
        assert_eq!(html.matches("<wbr>").count(), 5, "of the hash");
    }

    #[test]
    fn gaps_are_added_where_the_document_has_them() {
        let mut doc = Document::default();
        doc.add_gap("one".to_owned());
        doc.add_gap("two".to_owned());
        let gaps = vec!["one".to_owned(), "two".to_owned()];
        assert_eq!(
            doc.blocks,
            [
                Block::Heading(1, "Gaps in this document".to_owned()),
                Block::Gaps(gaps)
            ]
        );
    }

    #[test]
    fn text_cannot_inject_html_or_markdown() {
        let html = hostile_document().html();
        assert!(
            !html.contains("<script>") && !html.contains("<img") && !html.contains("<b>"),
            "{html}"
        );

        let markdown = hostile_document().markdown();
        assert!(!markdown.contains("[two](http"), "{markdown}");
        assert!(!markdown.contains("<script>"), "{markdown}");
        assert!(!markdown.contains("\n- nor a point"), "{markdown}");
        let row = markdown.lines().find(|l| l.contains("x\\|y")).unwrap();
        assert_eq!(
            row.matches('|').count() - row.matches("\\|").count(),
            3,
            "{row}"
        );

        assert_eq!(markdown, hostile_document().markdown());
    }
}
