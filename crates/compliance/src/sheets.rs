//! Findings and plans of action as spreadsheets (RFC 4180, and XLSX).

pub mod findings;
pub mod plans;

use std::borrow::Cow;

/// Why a sheet cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum SheetError {
    /// There is no header to read.
    #[error("the first line is not a header")]
    Header(#[source] csv::Error),
    /// A column is missing.
    #[error("the header has no column `{0}`; `blueteam compliance export` shows the columns")]
    MissingColumn(&'static str),
    /// Rows that cannot be read: no CSV, more or fewer fields than the header, or a field that does
    /// not fit its column. Each with its line.
    #[error("{}", .0.join("\n"))]
    Rows(Vec<String>),
    /// CSV that cannot be written.
    #[error(transparent)]
    Csv(#[from] csv::Error),
    /// A workbook that cannot be written.
    #[error(transparent)]
    Workbook(#[from] rust_xlsxwriter::XlsxError),
    /// What was written cannot be taken out of its buffer.
    #[error("{0}")]
    Buffer(String),
}

/// A field for a spreadsheet. One that it would take for a formula begins with an apostrophe:
/// whoever wrote the text must not run code on the desk of whoever reads it. So does one that
/// begins with an apostrophe itself, so that it can be distinguished from the others.
pub fn no_formula(text: &str) -> Cow<'_, str> {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', ' ', '\'']) {
        Cow::Owned(format!("'{text}"))
    } else {
        Cow::Borrowed(text)
    }
}

/// Takes back what [`no_formula`] did.
pub fn plain(text: &str) -> String {
    let text = text.trim_end();
    match text.strip_prefix('\'') {
        Some(rest) if no_formula(rest) != rest => rest.to_owned(),
        _ => text.trim_start().to_owned(),
    }
}

/// The text of a file that a spreadsheet program saved: a byte order mark says which encoding it
/// is; without one it is UTF-8, or else the Windows-1252 of older programs.
fn decode(bytes: &[u8]) -> Cow<'_, str> {
    if let Some((encoding, mark)) = encoding_rs::Encoding::for_bom(bytes) {
        return encoding.decode_without_bom_handling(&bytes[mark..]).0;
    }
    std::str::from_utf8(bytes).map_or_else(
        |_| {
            encoding_rs::WINDOWS_1252
                .decode_without_bom_handling(bytes)
                .0
        },
        Cow::Borrowed,
    )
}

/// What stands between fields, by the header: in much of Europe a semicolon.
fn delimiter(text: &str) -> u8 {
    let header = text.lines().next().unwrap_or_default();
    let count = |c: char| header.matches(c).count();
    [b';', b'\t']
        .into_iter()
        .find(|c| count(char::from(*c)) > count(','))
        .unwrap_or(b',')
}

/// A writer of RFC 4180 into memory.
fn csv_writer() -> csv::Writer<Vec<u8>> {
    csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer(Vec::new())
}

/// What was written.
fn into_bytes(writer: csv::Writer<Vec<u8>>) -> Result<Vec<u8>, SheetError> {
    writer
        .into_inner()
        .map_err(|error| SheetError::Buffer(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_comes_back_as_it_was_and_none_is_a_formula() {
        for text in [
            "=1+1",
            "-2",
            "'quoted",
            "''",
            "'",
            "@SUM(A1)",
            "met by policy",
            "",
        ] {
            let field = no_formula(text);
            assert!(!field.starts_with(['=', '-', '@']), "{field}");
            assert_eq!(plain(&field), text);
        }
    }
}
