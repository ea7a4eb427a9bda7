//! Forms that change something, and what they leave: a secret, or a question who it is.

use askama::Template;

use crate::frame::{Frame, Pager};
use crate::plain::Cell;

/// A form that changes something. It carries its reader's token.
#[derive(Clone, Debug, Default)]
pub struct Form {
    /// What tells its fields from those of other forms of the page.
    pub id: &'static str,
    /// Where it is sent.
    pub action: String,
    /// Its heading.
    pub title: &'static str,
    /// What it does, in a sentence.
    pub about: String,
    /// What it carries without showing it.
    pub hidden: Vec<(&'static str, String)>,
    /// What is typed or chosen.
    pub fields: Vec<Field>,
    /// The words of its button.
    pub button: &'static str,
}

/// A field of a form.
#[derive(Clone, Debug)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What it is, in words.
    pub label: &'static str,
    /// What to know about it.
    pub hint: &'static str,
    /// What is in it.
    pub value: String,
    /// Whether it may stay empty.
    pub is_optional: bool,
    /// What is typed or chosen in it.
    pub kind: FieldKind,
}

/// What is typed or chosen in a field.
#[derive(Clone, Debug)]
pub enum FieldKind {
    /// A line of text of so many characters at most.
    Text(u32),
    /// Several lines of so many characters at most.
    Lines(u32),
    /// A number from this one to that one.
    Number(u32, u32),
    /// A day.
    Day,
    /// One of several: value and words.
    Choice(Vec<(String, String)>),
    /// Yes or no.
    Yes,
    /// Any number of several: value, words, and whether it is chosen.
    Several(Vec<(String, String, bool)>),
}

impl Field {
    /// A line of text.
    pub fn text(name: &'static str, label: &'static str, value: &str, max: u32) -> Self {
        Self::new(name, label, value, FieldKind::Text(max))
    }

    /// A number from `from` to `to`.
    pub fn number(name: &'static str, label: &'static str, value: u32, from: u32, to: u32) -> Self {
        let kind = FieldKind::Number(from, to);
        Self::new(name, label, &value.to_string(), kind)
    }

    /// One of several.
    pub fn choice<'a>(
        name: &'static str,
        label: &'static str,
        value: &str,
        among: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        let among = among
            .into_iter()
            .map(|(value, words)| (value.to_owned(), words.to_owned()))
            .collect();
        Self::new(name, label, value, FieldKind::Choice(among))
    }

    /// Any field.
    pub fn new(name: &'static str, label: &'static str, value: &str, kind: FieldKind) -> Self {
        Self {
            name,
            label,
            hint: "",
            value: value.to_owned(),
            is_optional: false,
            kind,
        }
    }

    /// With what to know about it.
    #[must_use]
    pub fn hint(self, hint: &'static str) -> Self {
        Self { hint, ..self }
    }

    /// It may stay empty.
    #[must_use]
    pub fn optional(self) -> Self {
        Self {
            is_optional: true,
            ..self
        }
    }
}

/// A table of a page.
#[derive(Clone, Debug, Default)]
pub struct Section {
    /// Its heading.
    pub title: &'static str,
    /// What it is about.
    pub about: String,
    /// The names of its columns.
    pub columns: Vec<&'static str>,
    /// Its rows.
    pub rows: Vec<Vec<Cell>>,
    /// What is said when there is none.
    pub empty: &'static str,
}

/// A page about one thing: facts, tables, and what can be done to it.
#[derive(Debug, Template)]
#[template(path = "record.html")]
pub struct RecordPage {
    /// What is around it.
    pub frame: Frame,
    /// The list that it belongs to: path and words.
    pub back: Option<(String, &'static str)>,
    /// What it is about.
    pub about: String,
    /// Pages beside it: path and words.
    pub beside: Vec<(&'static str, &'static str)>,
    /// What is known of it.
    pub facts: Vec<(&'static str, Cell)>,
    /// Its tables.
    pub sections: Vec<Section>,
    /// What can be done.
    pub forms: Vec<Form>,
}

/// A table that can be narrowed, goes on, leaves as a file, or whose rows something is done to.
#[derive(Debug, Template)]
#[template(path = "work.html")]
pub struct WorkPage {
    /// What is around it.
    pub frame: Frame,
    /// What the table is about, in a sentence.
    pub about: String,
    /// The names of its columns.
    pub columns: Vec<&'static str>,
    /// Its rows.
    pub rows: Vec<Vec<Cell>>,
    /// What is said when there is none.
    pub empty: &'static str,
    /// Pages beside it: path and words.
    pub beside: Vec<(&'static str, &'static str)>,
    /// What narrows it.
    pub filter: Option<Form>,
    /// The same as files: path and words.
    pub files: Vec<(String, &'static str)>,
    /// Where it goes on.
    pub pager: Pager,
    /// What can be done.
    pub forms: Vec<Form>,
}

/// What is shown once, and never again.
#[derive(Debug, Template)]
#[template(path = "secret.html")]
pub struct SecretPage {
    /// What is around it.
    pub frame: Frame,
    /// What it is, and what to do with it.
    pub about: String,
    /// What the secret is called.
    pub label: &'static str,
    /// The secret.
    pub secret: String,
    /// What else is to be known.
    pub facts: Vec<(&'static str, Cell)>,
    /// Where to go afterwards: path and words.
    pub next: (String, &'static str),
}

/// Who it is, asked once more before something dangerous (ASVS 7.5.1), with what is to be done then.
#[derive(Debug, Template)]
#[template(path = "confirm.html")]
pub struct ConfirmPage {
    /// What was wrong with the attempt before.
    pub error: Option<String>,
    /// Where what is to be done is sent.
    pub action: String,
    /// What it carries.
    pub fields: Vec<(String, String)>,
    /// The path of the style.
    pub style: &'static str,
}

/// What is to be done, now that it is known who asks: one press away.
#[derive(Debug, Template)]
#[template(path = "resume.html")]
pub struct ResumePage {
    /// Where it is sent.
    pub action: String,
    /// What it carries.
    pub fields: Vec<(String, String)>,
    /// The token of the session that has begun.
    pub form_token: String,
    /// The path of the style.
    pub style: &'static str,
}

/// The fields that a reader has filled in: what is to be done, in their own words.
fn shown(fields: &[(String, String)]) -> impl Iterator<Item = (String, &String)> {
    fields
        .iter()
        .filter(|(name, value)| !["version", "once"].contains(&name.as_str()) && !value.is_empty())
        .map(|(name, value)| (name.replace(['_', '-'], " "), value))
}
