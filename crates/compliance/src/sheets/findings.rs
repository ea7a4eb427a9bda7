//! The findings as a sheet: one row an objective. Those columns that are about a requirement stand
//! in the row of its first objective.

use model::{Control, Objective, Timestamp};
use serde::Deserialize;

use super::{SheetError, csv_writer, into_bytes, no_formula};
use crate::catalog::{Catalog, ObjectiveText, Requirement};

/// The columns that are written.
const COLUMNS: [&str; 17] = [
    "control_id",
    "objective_id",
    "cmmc_practice",
    "objective",
    "finding",
    "reason",
    "methods",
    "decided_by",
    "decided_at",
    "weight",
    "partial_credit",
    "planned",
    "owner",
    "responsibility",
    "provider",
    "notes",
    "status",
];
/// The columns without which a sheet is not read.
const NEEDED: [&str; 3] = ["objective_id", "finding", "reason"];

/// The sheet of all objectives, as CSV.
pub fn csv(controls: &[Control]) -> Result<Vec<u8>, SheetError> {
    let mut writer = csv_writer();
    writer.write_record(COLUMNS)?;

    for requirement in &Catalog::r2().requirements {
        let Some(control) = controls
            .iter()
            .find(|c| c.control_id == requirement.control_id)
        else {
            continue;
        };

        for (n, (wording, objective)) in requirement
            .assessment_objectives
            .iter()
            .zip(&control.objectives)
            .enumerate()
        {
            let about = (n == 0).then_some(control);
            writer.write_record(to_record(requirement, wording, control, objective, about))?;
        }
    }

    into_bytes(writer)
}

/// A row. `about` is the requirement in the row that says something about it as a whole.
fn to_record(
    requirement: &Requirement,
    wording: &ObjectiveText,
    control: &Control,
    objective: &Objective,
    about: Option<&Control>,
) -> [String; 17] {
    let decision = objective.decision.as_ref();
    let methods: Vec<&str> = decision
        .map(|d| d.methods.iter().map(|m| m.as_str()).collect())
        .unwrap_or_default();
    let text = |text: Option<&str>| no_formula(text.unwrap_or_default()).into_owned();
    let flag = |set: bool| if set { "true" } else { "false" }.to_owned();

    [
        requirement.control_id.to_string(),
        objective.objective_id.to_string(),
        requirement.cmmc_practice.clone(),
        wording.text.clone(),
        decision.map_or_else(String::new, |d| d.finding.to_string()),
        text(decision.map(|d| d.reason.as_str())),
        methods.join(" "),
        text(decision.map(|d| d.by.as_str())),
        decision.map_or_else(String::new, |d| format_time(d.at)),
        requirement
            .dod_weight
            .map_or_else(String::new, |weight| weight.to_string()),
        flag(control.partial_credit),
        flag(control.planned),
        text(about.and_then(|c| c.owner.as_deref())),
        about.map_or_else(String::new, |c| c.responsibility.to_string()),
        text(about.and_then(|c| c.provider.as_deref())),
        text(about.and_then(|c| c.notes.as_deref())),
        objective.standing().as_str().to_owned(),
    ]
}

fn format_time(at: Timestamp) -> String {
    at.to_jiff().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A row as somebody filled it in; [`super::plain`] gives the texts in it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names of the columns")]
pub struct Row {
    pub objective_id: String,
    pub finding: String,
    #[serde(default)]
    pub reason: String,
    #[serde(default)]
    pub methods: String,
    #[serde(default)]
    pub owner: String,
    #[serde(default)]
    pub notes: String,
    #[serde(default)]
    pub partial_credit: String,
}

/// A row, and the line on which it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// From 1.
    pub number: usize,
    /// What it says.
    pub row: Row,
}

/// Reads a sheet. Columns that are not known are left out.
pub fn read(text: &[u8]) -> Result<Vec<Line>, SheetError> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let mut reader = csv::ReaderBuilder::new().flexible(false).from_reader(text);
    let headers = reader.headers().map_err(SheetError::Header)?.clone();
    for needed in NEEDED {
        if !headers.iter().any(|header| header == needed) {
            return Err(SheetError::MissingColumn(needed));
        }
    }

    let clean = |error: csv::Error| model::text::sanitize(&error.to_string()).into_owned();
    let mut lines = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| SheetError::Record(clean(error)))?;
        let number = record.position().map_or(0, |at| line_at(text, at.byte()));
        let row = record
            .deserialize(Some(&headers))
            .map_err(|error| SheetError::Field {
                line: number,
                what: clean(error),
            })?;

        lines.push(Line { number, row });
    }

    Ok(lines)
}

/// The line on which the record that is read at this byte stands: the reader counts from before the
/// blank lines that it skips.
fn line_at(text: &[u8], byte: u64) -> usize {
    let (before, after) =
        text.split_at(usize::try_from(byte).unwrap_or(usize::MAX).min(text.len()));
    let blank = after
        .iter()
        .take_while(|b| matches!(b, b'\r' | b'\n'))
        .count();
    let newlines = |bytes: &[u8]| memchr::memchr_iter(b'\n', bytes).count();
    1 + newlines(before) + newlines(&after[..blank])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_the_line_on_which_it_stands() {
        let text = b"objective_id,finding,reason\r\n\r\n\"3.1.1[a]\",met,\"two\r\nlines\"\r\n\
            3.1.1[b],met,one\r\n";
        let numbers: Vec<usize> = read(text).unwrap().iter().map(|l| l.number).collect();
        assert_eq!(numbers, [3, 5]);
    }

    #[test]
    fn a_sheet_without_a_column_is_refused() {
        let error = read(b"objective_id,finding\r\n3.1.1[a],met\r\n").unwrap_err();
        assert!(error.to_string().contains("no column `reason`"), "{error}");
    }
}
