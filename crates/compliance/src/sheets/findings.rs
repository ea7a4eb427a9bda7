//! The findings as a sheet: one row an objective. Those columns that are about a requirement stand
//! in the row of its first objective.

use model::{Control, Objective, Timestamp};
use serde::Deserialize;

use super::{SheetError, csv_writer, decode, delimiter, into_bytes, no_formula};
use crate::catalog::{Catalog, ObjectiveText, Requirement};

/// The columns that are written.
const COLUMNS: [&str; 22] = [
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
    "provider_duties",
    "customer_duties",
    "due",
    "evidence_type",
    "assessor_notes",
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
) -> [String; 22] {
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
        text(about.and_then(|c| c.provider_duties.as_deref())),
        text(about.and_then(|c| c.customer_duties.as_deref())),
        about
            .and_then(|c| c.due)
            .map_or_else(String::new, format_time),
        about
            .and_then(|c| c.evidence_type)
            .map_or_else(String::new, |kind| kind.to_string()),
        text(about.and_then(|c| c.assessor_notes.as_deref())),
    ]
}

fn format_time(at: Timestamp) -> String {
    at.to_jiff().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A row as a person filled it in; [`super::plain`] gives the texts in it.
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
    #[serde(default)]
    pub responsibility: String,
    #[serde(default)]
    pub provider: String,
    #[serde(default)]
    pub provider_duties: String,
    #[serde(default)]
    pub customer_duties: String,
    #[serde(default)]
    pub due: String,
    #[serde(default)]
    pub evidence_type: String,
    #[serde(default)]
    pub assessor_notes: String,
}

/// A row, and the line on which it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// From 1.
    pub number: usize,
    /// What it says.
    pub row: Row,
}

/// Reads a sheet as spreadsheet programs save it: UTF-8, UTF-16 or Windows-1252, with commas,
/// semicolons or tabs between fields, and empty rows anywhere. Columns that are not known are left
/// out. The error names every row that cannot be read.
pub fn read(bytes: &[u8]) -> Result<Vec<Line>, SheetError> {
    let text = decode(bytes);
    let delimiter = delimiter(&text);
    if let Some(line) = unclosed_quote(&text, delimiter) {
        let wrong = format!("line {line}: a quotation mark is opened and never closed");
        return Err(SheetError::Rows(vec![wrong]));
    }

    let mut reader = csv::ReaderBuilder::new()
        .flexible(true)
        .delimiter(delimiter)
        .from_reader(text.as_bytes());
    let headers = reader.headers().map_err(SheetError::Header)?.clone();
    for needed in NEEDED {
        if !headers.iter().any(|header| header == needed) {
            return Err(SheetError::MissingColumn(needed));
        }
    }

    let (mut lines, mut wrong) = (Vec::new(), Vec::new());
    for record in reader.records() {
        let record = record.map_err(|error| SheetError::Rows(vec![describe_error(&error)]))?;
        if record.iter().all(|field| field.trim().is_empty()) {
            continue;
        }

        let number = record
            .position()
            .map_or(0, |at| line_at(text.as_bytes(), at.byte()));
        if record.len() != headers.len() {
            wrong.push(format!(
                "line {number}: {} fields, but the header has {}",
                record.len(),
                headers.len()
            ));
            continue;
        }
        match record.deserialize(Some(&headers)) {
            Ok(row) => lines.push(Line { number, row }),
            Err(error) => wrong.push(format!("line {number}: {}", describe_error(&error))),
        }
    }

    if wrong.is_empty() {
        Ok(lines)
    } else {
        Err(SheetError::Rows(wrong))
    }
}

/// Returns the line on which a quoted field begins that the end of the text cuts off. The reader
/// would take all rows after it for its content.
fn unclosed_quote(text: &str, delimiter: u8) -> Option<usize> {
    let (mut line, mut opened, mut at_start) = (1, None, true);
    for byte in text.trim_start_matches('\u{feff}').bytes() {
        match byte {
            b'"' if opened.is_some() => opened = None,
            // Behind a field's beginning, a mark counts only where one was just closed: `""`.
            b'"' if at_start => opened = Some(line),
            _ => {}
        }
        at_start = byte == b'"' || byte == delimiter || matches!(byte, b'\r' | b'\n');
        line += usize::from(byte == b'\n');
    }
    opened
}

fn describe_error(error: &csv::Error) -> String {
    model::text::sanitize(&error.to_string()).into_owned()
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
    fn a_quotation_mark_that_is_never_closed_swallows_no_rows() {
        let head = "objective_id,finding,reason\n3.1.1[a],met,\"one \"\"two\"\"\nlines\"\n";
        assert_eq!(read(head.as_bytes()).unwrap().len(), 1);
        // Within a field that is not quoted, a mark is a character.
        let inches = format!("{head}3.1.1[b],met,a 19\" rack\n3.1.1[c],met,\"\"\n");
        assert_eq!(read(inches.as_bytes()).unwrap().len(), 3);

        let torn = format!("{head}3.1.1[b],met,\"one\n3.1.1[c],not met,two\n");
        let error = read(torn.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("line 4"), "{error}");
    }

    #[test]
    fn rows_are_read_as_spreadsheets_save_them() {
        let rows = "objective_id;finding;reason\r\n3.1.1[a];met;\"Zoë; and others\"\r\n";
        let utf16: Vec<u8> = rows.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let latin: Vec<u8> = rows.chars().map(|c| c as u8).collect();
        for (how, bytes) in [
            ("Europe's", rows.as_bytes().to_vec()),
            ("UTF-16", [b"\xff\xfe".to_vec(), utf16].concat()),
            ("Windows-1252", latin),
            (
                "tabs",
                rows.replace(';', "\t")
                    .replace("\t and", "; and")
                    .into_bytes(),
            ),
        ] {
            let lines = read(&bytes).unwrap();
            assert_eq!(lines.len(), 1, "{how}");
            assert_eq!(lines[0].row.reason, "Zoë; and others", "{how}");
        }
    }

    #[test]
    fn empty_rows_are_passed_over_and_all_wrong_ones_are_named() {
        let head = "objective_id,finding,reason\n";
        let lines = read(format!("{head},,\n3.1.1[a],met,x\n,,,\n \n").as_bytes()).unwrap();
        assert_eq!(lines.iter().map(|l| l.number).collect::<Vec<_>>(), [3]);

        let error = read(format!("{head}a,b\n3.1.1[a],met,x\nc,d,e,f\n").as_bytes());
        let text = error.unwrap_err().to_string();
        assert!(
            text.contains("line 2: 2 fields") && text.contains("line 4: 4 fields"),
            "{text}"
        );
    }

    #[test]
    fn a_sheet_without_a_column_is_refused() {
        let error = read(b"objective_id,finding\r\n3.1.1[a],met\r\n").unwrap_err();
        assert!(error.to_string().contains("no column `reason`"), "{error}");
    }
}
