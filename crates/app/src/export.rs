//! What leaves as a file: lists as CSV or NDJSON, and reports. Each is `EXPORT` in the audit log,
//! before it is handed out.

use std::borrow::Cow;

use compliance::sheets::no_formula;
use identity::role::is_possible;
use serde_json::{Value, json};

use crate::actor::{Action, Resource};
use crate::{AppError, Session};

/// A form of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated values (RFC 4180), safe to open in a spreadsheet.
    Csv,
    /// A JSON object per line.
    Ndjson,
}

impl Format {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
        }
    }

    /// Its media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Ndjson => "application/x-ndjson",
        }
    }
}

/// What leaves.
#[derive(Clone, Copy, Debug)]
pub struct Exported<'a> {
    /// The path of the list, or the name of the report.
    pub what: &'a str,
    /// By which filters.
    pub filters: &'a [(String, String)],
    /// As what.
    pub format: &'a str,
    /// How many entries.
    pub count: u64,
}

/// Lets a list leave, and records it. Where something can be exported at all, that is a right of
/// its own; everything else leaves as it is read.
pub async fn list(
    session: &mut Session,
    resource: Resource,
    exported: &Exported<'_>,
) -> Result<(), AppError> {
    let action = if is_possible(Action::Export, resource) {
        Action::Export
    } else {
        Action::Read
    };
    session.require(action, resource)?;
    record(session, resource, exported).await
}

/// Records that something leaves.
pub(crate) async fn record(
    session: &mut Session,
    resource: Resource,
    exported: &Exported<'_>,
) -> Result<(), AppError> {
    let what = json!({
        "what": exported.what,
        "filters": exported.filters,
        "format": exported.format,
        "count": exported.count,
    });
    let (conn, actor) = session.parts();
    store::api_requests::record_export(conn, actor, resource.as_str(), &what).await?;
    Ok(())
}

/// Writes the entries of a list.
pub fn render(format: Format, items: &[Value]) -> Result<String, AppError> {
    match format {
        Format::Csv => Ok(csv(items)),
        Format::Ndjson => {
            let mut text = String::new();
            for item in items {
                text.push_str(&item.to_string());
                text.push('\n');
            }
            Ok(text)
        }
    }
}

/// The columns are the fields of the entries; what is not text or a number is JSON.
fn csv(items: &[Value]) -> String {
    let mut columns: Vec<&str> = Vec::new();
    for key in items
        .iter()
        .filter_map(Value::as_object)
        .flat_map(|item| item.keys())
    {
        if !columns.contains(&key.as_str()) {
            columns.push(key);
        }
    }
    if columns.is_empty() {
        return String::new();
    }

    let mut text = String::new();
    push_row(&mut text, columns.iter().map(|name| Cow::Borrowed(*name)));
    for item in items {
        push_row(&mut text, columns.iter().map(|name| cell(item.get(name))));
    }
    text
}

fn cell(value: Option<&Value>) -> Cow<'_, str> {
    match value {
        None | Some(Value::Null) => Cow::Borrowed(""),
        // A spreadsheet must not run what a stranger has sent.
        Some(Value::String(text)) => no_formula(text),
        Some(other) => Cow::Owned(other.to_string()),
    }
}

fn push_row<'a>(text: &mut String, cells: impl Iterator<Item = Cow<'a, str>>) {
    for (n, cell) in cells.enumerate() {
        if n > 0 {
            text.push(',');
        }
        if cell.contains([',', '"', '\n', '\r']) {
            text.push('"');
            text.push_str(&cell.replace('"', "\"\""));
            text.push('"');
        } else {
            text.push_str(&cell);
        }
    }
    text.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_stranger_has_sent_is_a_cell_and_no_formula() {
        let items = [
            json!({"a": "=HYPERLINK(\"http://x\")", "b": -5, "c": null}),
            json!({"a": "x,\"y\"\nz", "d": ["@SUM(A1)"], "b": "+1"}),
        ];
        assert_eq!(
            csv(&items),
            "a,b,c,d\r\n\"'=HYPERLINK(\"\"http://x\"\")\",-5,,\r\n\"x,\"\"y\"\"\nz\",'+1,,\
             \"[\"\"@SUM(A1)\"\"]\"\r\n"
        );
        assert_eq!(csv(&[]), "");
    }
}
