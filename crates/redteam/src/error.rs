//! Why a report cannot be read.

/// Why a report cannot be read: what is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// There is nothing in it.
    #[error(
        "is empty; a scanner that found nothing writes no more than that: name the format with \
         --format to take it as a run without findings"
    )]
    Empty,
    /// It is larger than is read.
    #[error("is larger than {} MiB, the most that is read", .0 >> 20)]
    TooLarge(usize),
    /// It lists more than is read.
    #[error("lists more than {0} {1}, the most that is read")]
    TooMany(usize, &'static str),
    /// Its findings hold more text than is kept.
    #[error("has findings with more than {} MiB of text, the most that is kept", .0 >> 20)]
    TooMuchText(usize),
    /// It is compressed.
    #[error("is compressed with {0}: unpack it first")]
    Compressed(&'static str),
    /// It declares entities of its own.
    #[error(
        "declares XML entities in line {0}, which no scanner needs and attackers use: it is not read"
    )]
    Entities(usize),
    /// The text does not have the syntax of the format.
    #[error("is not valid {syntax}: {reason}")]
    Syntax {
        /// JSON or XML.
        syntax: &'static str,
        /// What is wrong, and where.
        reason: String,
    },
    /// The text has the syntax, but not the content of the format.
    #[error("is not a {format} report that can be read: {reason}")]
    Shape {
        /// The format.
        format: &'static str,
        /// What is missing or wrong, and where.
        reason: String,
    },
    /// The text is in no known format.
    #[error("is in no known format ({0}); known are {1}")]
    Unknown(String, String),
}

impl ReadError {
    /// Says what is missing or wrong in a report.
    pub(crate) fn shape(format: &'static str, reason: impl Into<String>) -> Self {
        Self::Shape {
            format,
            reason: reason.into(),
        }
    }
}
