//! One document for every form: reports and plans are put together as blocks, and each form
//! (Markdown, HTML, PDF) draws the same blocks.
//!
//! Text in a block is plain: whatever stands in it is shown, and nothing in it acts. The same
//! document gives the same octets.

mod html;
mod markdown;
mod trend;

use serde::Serialize;
pub use trend::{Point, Trend};

/// A document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Document {
    /// Its title.
    pub title: String,
    /// Lines below the title: whose it is, what it is about.
    pub subtitle: Vec<String>,
    /// The line on every page: `CUI`, when it is.
    pub marking: String,
    /// The day that it is of, `YYYY-MM-DD`.
    pub date: String,
    /// Its content.
    pub blocks: Vec<Block>,
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
    /// A table; every row has as many cells as the header.
    Table(Table),
    /// Horizontal bars: how much of how much.
    Bars(Vec<Bar>),
    /// A value over time.
    Trend(Trend),
    /// Text as it stands, in a fixed width.
    Code(String),
}

/// A table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Table {
    /// The heads of its columns.
    pub header: Vec<String>,
    /// Its rows.
    pub rows: Vec<Vec<String>>,
}

/// A bar of a chart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Bar {
    /// What it is about.
    pub label: String,
    /// How much of it is filled.
    pub part: usize,
    /// How much there is.
    pub whole: usize,
}

impl Document {
    /// Adds a heading.
    pub fn heading(&mut self, level: u8, text: impl Into<String>) -> &mut Self {
        self.add(Block::Heading(level, text.into()))
    }

    /// Adds a paragraph.
    pub fn text(&mut self, text: impl Into<String>) -> &mut Self {
        self.add(Block::Text(text.into()))
    }

    /// Adds a list, unless there is nothing in it.
    pub fn list(&mut self, points: Vec<String>) -> &mut Self {
        if points.is_empty() {
            self
        } else {
            self.add(Block::List(points))
        }
    }

    /// Adds a table. One without rows says so.
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

    /// Adds a block.
    pub fn add(&mut self, block: Block) -> &mut Self {
        self.blocks.push(block);
        self
    }

    /// The same document with other text: code by `code`, everything else by `prose`.
    pub fn map_text(&self, prose: &dyn Fn(&str) -> String, code: &dyn Fn(&str) -> String) -> Self {
        let all = |texts: &[String]| texts.iter().map(|text| prose(text)).collect::<Vec<_>>();
        let block = |block: &Block| match block {
            Block::Heading(level, text) => Block::Heading(*level, prose(text)),
            Block::Text(text) => Block::Text(prose(text)),
            Block::List(points) => Block::List(all(points)),
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
            blocks: self.blocks.iter().map(block).collect(),
        }
    }

    /// As Markdown (CommonMark with tables).
    pub fn markdown(&self) -> String {
        markdown::draw(self)
    }

    /// As one HTML page that needs nothing else and runs nothing.
    pub fn html(&self) -> String {
        html::draw(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hostile() -> Document {
        let mut doc = Document {
            title: "A <b>title</b>".to_owned(),
            subtitle: vec!["of *somebody*".to_owned()],
            marking: "CUI".to_owned(),
            date: "2026-11-24".to_owned(),
            blocks: Vec::new(),
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
                (88, "<b>mark</b>".to_owned()),
            )))
            .add(Block::Code("```\nfence\n````".to_owned()));

        doc
    }

    #[test]
    fn nothing_that_stands_in_a_document_acts() {
        let html = hostile().html();
        assert!(
            !html.contains("<script>") && !html.contains("<img") && !html.contains("<b>"),
            "{html}"
        );

        let markdown = hostile().markdown();
        assert!(!markdown.contains("[two](http"), "{markdown}");
        assert!(!markdown.contains("<script>"), "{markdown}");
        assert!(!markdown.contains("\n- nor a point"), "{markdown}");
        let row = markdown.lines().find(|l| l.contains("x\\|y")).unwrap();
        assert_eq!(
            row.matches('|').count() - row.matches("\\|").count(),
            3,
            "{row}"
        );

        assert_eq!(markdown, hostile().markdown());
    }
}
