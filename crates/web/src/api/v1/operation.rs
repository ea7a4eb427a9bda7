//! What a route takes and answers, as its caller sees it: of this the `OpenAPI` document is made,
//! and by this a list knows its columns.
//!
//! Answers are described here and not by a trait of the types that are answered: those belong to
//! crates that know no HTTP. A test holds each description to the answers of a running program.

/// A value.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Schema {
    /// Text.
    Text,
    /// Text of at most so many characters.
    TextUpTo(u32),
    /// A UUID.
    Id,
    /// A UUID, or its first characters.
    IdStart,
    /// A time, RFC 3339 in UTC.
    Time,
    /// A length of time, such as `90d`.
    Span,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// Yes or no.
    Boolean,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// Several.
    List(&'static Self),
    /// From 1 to so many.
    ListUpTo(&'static Self, u32),
    /// It, or `null`.
    Maybe(&'static Self),
    /// An object.
    Object(&'static Record),
    /// An object with keys that are not known beforehand, or anything else.
    Any,
}

/// A field of a record, or a parameter of a query.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) schema: Schema,
    /// Whether it is always there.
    pub(crate) required: bool,
    pub(crate) about: &'static str,
}

/// An object with known fields.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    /// Its name in the document.
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) fields: &'static [Field],
}

/// What is answered when it went well.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    /// Nothing (204).
    Empty,
    /// A page of a list.
    List(&'static Record),
    /// An object.
    One(&'static Record),
    /// All objects of a short list.
    All(&'static Record),
    /// Another address (303), or a page that asks first.
    Redirect,
    /// A file, of one of these media types.
    File(&'static [&'static str]),
}

/// What a route takes and answers.
#[derive(Clone, Copy, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is about another header or field, and said by its name"
)]
pub(crate) struct Operation {
    pub(crate) summary: &'static str,
    /// Parameters of the query, those of a list apart.
    pub(crate) query: Option<&'static Record>,
    pub(crate) body: Option<&'static Record>,
    pub(crate) answer: Answer,
    /// Whether `If-Match` is needed.
    pub(crate) versioned: bool,
    /// Whether it counts where it is sent.
    pub(crate) may_expect: bool,
    /// Whether the answer has an `ETag`.
    pub(crate) tagged: bool,
    /// Whether the answer has a secret, which is shown once.
    pub(crate) secret: bool,
}

/// An operation that answers nothing.
pub(crate) const fn op(summary: &'static str) -> Operation {
    Operation {
        summary,
        query: None,
        body: None,
        answer: Answer::Empty,
        versioned: false,
        may_expect: false,
        tagged: false,
        secret: false,
    }
}

impl Operation {
    pub(crate) const fn query(mut self, query: &'static Record) -> Self {
        self.query = Some(query);
        self
    }

    pub(crate) const fn body(mut self, body: &'static Record) -> Self {
        self.body = Some(body);
        self
    }

    pub(crate) const fn lists(mut self, record: &'static Record) -> Self {
        self.answer = Answer::List(record);
        self
    }

    pub(crate) const fn gives(mut self, record: &'static Record) -> Self {
        self.answer = Answer::One(record);
        self
    }

    pub(crate) const fn gives_all(mut self, record: &'static Record) -> Self {
        self.answer = Answer::All(record);
        self
    }

    pub(crate) const fn redirects(mut self) -> Self {
        self.answer = Answer::Redirect;
        self
    }

    pub(crate) const fn file(mut self, formats: &'static [&'static str]) -> Self {
        self.answer = Answer::File(formats);
        self
    }

    pub(crate) const fn versioned(mut self) -> Self {
        self.versioned = true;
        self
    }

    pub(crate) const fn may_expect(mut self) -> Self {
        self.may_expect = true;
        self
    }

    pub(crate) const fn tagged(mut self) -> Self {
        self.tagged = true;
        self
    }

    pub(crate) const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }
}

/// Describes an object of an answer.
macro_rules! record {
    ($(#[doc = $about:literal])+ $name:ident = $title:literal {
        $($field:ident $(? $optional:tt)? : $schema:expr, $what:literal;)+
    }) => {
        pub(crate) const $name: Record = Record {
            name: $title,
            about: concat!($($about),+),
            fields: &[$(Field {
                name: stringify!($field),
                schema: $schema,
                required: true $(&& record!(@$optional))?,
                about: $what,
            },)+],
        };
    };
    (@always) => { true };
    (@sometimes) => { false };
}

/// A body of a request: a struct that is read from JSON, and its description. What is an `Option`
/// may be left out; anything else that is not named is refused.
macro_rules! body {
    ($(#[doc = $about:literal])+ $name:ident {
        $($(#[doc = $what:literal])+ $field:ident : $type:ty = $schema:expr;)+
    }) => {
        $(#[doc = $about])+
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(super) struct $name {
            $($(#[doc = $what])+ pub(super) $field: $type,)+
        }

        impl $name {
            pub(super) const RECORD: &'static Record = &Record {
                name: stringify!($name),
                about: concat!($($about),+),
                fields: &[$(Field {
                    name: stringify!($field),
                    schema: $schema,
                    required: !matches!($schema, Schema::Maybe(_)),
                    about: concat!($($what),+),
                },)+],
            };
        }
    };
}

/// The parameters of a query, and their description. All may be left out.
macro_rules! query {
    ($(#[doc = $about:literal])+ $name:ident {
        $($(#[doc = $what:literal])+ $field:ident : $type:ty = $schema:expr;)*
    }) => {
        $(#[doc = $about])+
        #[derive(Default)]
        pub(super) struct $name {
            $($(#[doc = $what])+ pub(super) $field: Option<$type>,)*
        }

        impl $name {
            pub(super) const RECORD: &'static Record = &Record {
                name: stringify!($name),
                about: concat!($($about),+),
                fields: &[$(Field {
                    name: stringify!($field),
                    schema: $schema,
                    required: false,
                    about: concat!($($what),+),
                },)*],
            };
        }

        impl super::list::Parameters for $name {
            fn set(&mut self, name: &str, value: &str) -> Result<(), super::list::Wrong> {
                match name {
                    $(stringify!($field) => {
                        super::list::read(&mut self.$field, value)
                    })*
                    _ => Err(super::list::Wrong::Unknown),
                }
            }
        }
    };
}

pub(crate) use {body, query, record};
