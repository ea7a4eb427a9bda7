//! Forms: fields with their labels, what was typed, and what someone else has written meanwhile.

/// What is typed or chosen in a field.
#[derive(Clone, Debug)]
pub enum Control {
    /// A line of at most so many characters.
    Line(String, u32),
    /// Several lines of at most so many characters.
    Area(String, u32),
    /// One of several: values with their words, and the chosen value.
    Choice(Vec<(String, String)>, String),
    /// A day.
    Day(String),
    /// Yes or no.
    Check(bool),
    /// A file.
    File,
}

/// A field of a form.
#[derive(Clone, Debug)]
pub struct EditField {
    /// Its name.
    pub name: String,
    /// What it asks for.
    pub label: String,
    /// What helps to fill it in; empty for nothing.
    pub hint: String,
    /// Where it is typed.
    pub control: Control,
    /// Whether it must be filled in.
    pub is_required: bool,
    /// What someone else has written there meanwhile.
    pub theirs: Option<String>,
}

impl EditField {
    /// A field that may stay empty.
    pub fn new(name: &str, label: &str, control: Control) -> Self {
        Self {
            name: name.to_owned(),
            label: label.to_owned(),
            hint: String::new(),
            control,
            is_required: false,
            theirs: None,
        }
    }

    /// The same, which must be filled in.
    #[must_use]
    pub fn required(self) -> Self {
        Self {
            is_required: true,
            ..self
        }
    }

    /// The same with what helps to fill it in.
    #[must_use]
    pub fn hint(self, hint: &str) -> Self {
        Self {
            hint: hint.to_owned(),
            ..self
        }
    }

    /// The same with what someone else has written, if that is something else.
    #[must_use]
    pub fn beside(self, theirs: Option<&str>) -> Self {
        let typed = match &self.control {
            Control::Line(text, _) | Control::Area(text, _) | Control::Day(text) => text.as_str(),
            Control::Choice(_, chosen) => chosen,
            Control::Check(_) | Control::File => "",
        };
        let theirs = theirs.filter(|theirs| *theirs != typed);
        Self {
            theirs: theirs.map(str::to_owned),
            ..self
        }
    }
}

/// A button of a form.
#[derive(Clone, Debug)]
pub struct Button {
    /// What it says.
    pub words: &'static str,
    /// Where it sends the form, if not where the form says.
    pub path: Option<String>,
}

/// A form.
#[derive(Clone, Debug)]
pub struct EditForm {
    /// Tells it from the other forms of its page.
    pub id: &'static str,
    /// Where it goes.
    pub path: String,
    /// What a form of this session carries.
    pub token: String,
    /// What it carries besides: name and value.
    pub hidden: Vec<(&'static str, String)>,
    /// Its fields.
    pub fields: Vec<EditField>,
    /// Its buttons, the first one the main one.
    pub buttons: Vec<Button>,
    /// Whether it sends a file.
    pub is_upload: bool,
}

impl EditForm {
    /// A form with one button.
    pub fn new(id: &'static str, path: String, token: &str, words: &'static str) -> Self {
        Self {
            id,
            path,
            token: token.to_owned(),
            hidden: Vec::new(),
            fields: Vec::new(),
            buttons: vec![Button { words, path: None }],
            is_upload: false,
        }
    }
}
