//! Pages of parts that stand below each other: facts, tables, texts and forms.

use askama::Template;

use crate::alerts::Fact;
use crate::edit::{Control, EditForm};
use crate::frame::Frame;
use crate::plain::Cell;

/// A part of a page.
#[derive(Clone, Debug)]
pub enum Block {
    /// A heading.
    Heading(String),
    /// A paragraph.
    Text(String),
    /// What must not be overlooked.
    Trouble(String),
    /// Text as it was written, line by line.
    Plain(String),
    /// Names and what they are.
    Facts(Vec<Fact>),
    /// A list.
    Items(Vec<String>),
    /// Where to go from here: path and words.
    Links(Vec<(String, String)>),
    /// A table: what it is called, its columns and rows, and what is said when there is none.
    Table(Grid),
    /// A form.
    Form(EditForm),
}

/// A table.
#[derive(Clone, Debug)]
pub struct Grid {
    /// What it is called.
    pub label: String,
    /// The names of its columns.
    pub columns: Vec<&'static str>,
    /// Its rows.
    pub rows: Vec<Vec<Cell>>,
    /// What is said when there is none.
    pub empty: String,
}

/// A page of parts.
#[derive(Debug, Template)]
#[template(path = "blocks.html")]
pub struct BlockPage {
    /// What is around it.
    pub frame: Frame,
    /// The list that it belongs to.
    pub back: Option<Back>,
    /// Its parts.
    pub blocks: Vec<Block>,
}

/// A list to go back to.
#[derive(Clone, Copy, Debug)]
pub struct Back {
    /// Its path.
    pub path: &'static str,
    /// What it is called.
    pub words: &'static str,
}
