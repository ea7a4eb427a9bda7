//! Pages of little: a message, and a table without a form of its own.

use askama::Template;

use crate::frame::Frame;
use crate::words::{Level, When};

/// A page that says one thing: what is wrong, and what to do. Without a frame, for whoever has no
/// session.
#[derive(Debug, Template)]
#[template(path = "message.html")]
pub struct MessagePage {
    /// What it is about.
    pub title: String,
    /// What is to be said.
    pub text: String,
    /// Where to go from here: path and words.
    pub way_on: Option<(String, String)>,
    /// The path of the style.
    pub style: &'static str,
}

impl MessagePage {
    /// A message.
    pub fn new(title: &str, text: &str, way_on: Option<(&str, &str)>) -> Self {
        Self {
            title: title.to_owned(),
            text: text.to_owned(),
            way_on: way_on.map(|(path, words)| (path.to_owned(), words.to_owned())),
            style: crate::assets::STYLE.path,
        }
    }
}

/// What stands in a table.
#[derive(Clone, Debug)]
pub enum Cell {
    /// Text.
    Text(String),
    /// Text that leads somewhere: path and words.
    Link(String, String),
    /// Text about what is not as it should be.
    Trouble(String),
    /// A number.
    Number(u64),
    /// A time; none is shown as nothing.
    Time(Option<When>),
    /// How pressing.
    Level(Level),
    /// A button.
    Act(Act),
}

/// A button in a table: a form of its own.
#[derive(Clone, Debug)]
pub struct Act {
    /// Where it goes.
    pub path: String,
    /// What a form of this session carries.
    pub token: String,
    /// What it says.
    pub words: &'static str,
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

/// A table: columns, and rows of cells.
#[derive(Debug, Template)]
#[template(path = "list.html")]
pub struct ListPage {
    /// What is around it.
    pub frame: Frame,
    /// What the table is about, in a sentence.
    pub about: String,
    /// The names of its columns.
    pub columns: Vec<&'static str>,
    /// Its rows.
    pub rows: Vec<Vec<Cell>>,
    /// What is said when there is none.
    pub empty: String,
    /// Pages beside it: path and words.
    pub beside: Vec<(&'static str, &'static str)>,
}
