//! The report of one incident: for whoever must know what happened, and for DC3 what to type in.

use model::Timestamp;
use respond::worksheet::Worksheet;

use super::{cover, format_day};
use crate::document::Document;
use crate::system::System;

/// What the report is written from: rows of text, as people read them.
#[derive(Clone, Debug)]
pub struct IncidentReport<'a> {
    /// The description of the system.
    pub system: &'a System,
    /// What the incident is called.
    pub title: &'a str,
    /// What happened.
    pub story: &'a str,
    /// What there is to know: name and value.
    pub facts: Vec<(String, String)>,
    /// Duties to report: duty, from, until, left, number.
    pub clocks: Vec<Vec<String>>,
    /// What happened: when, who, what.
    pub timeline: Vec<Vec<String>>,
    /// What was to be done: number, task, state, who, remark.
    pub tasks: Vec<Vec<String>>,
    /// What the attack can be recognized by: kind, value, found by, remark.
    pub indicators: Vec<Vec<String>>,
    /// What it came from; may be empty.
    pub root_cause: &'a str,
    /// What was learned; may be empty.
    pub lessons: &'a str,
    /// What DC3's portal asks for, where it must be reported there or may have to be.
    pub worksheet: Option<&'a Worksheet>,
    /// The time of the report.
    pub now: Timestamp,
}

/// Builds the report.
pub fn build_report(known: &IncidentReport<'_>) -> Document {
    let system = known.system;
    let mut doc = Document {
        title: "Incident Report".to_owned(),
        subtitle: vec![known.title.to_owned()],
        marking: system.marking.clone(),
        date: format_day(known.now),
        cover: cover::subject(system),
        designation: cover::designation(system),
        blocks: Vec::new(),
    };

    doc.heading(1, "What happened");
    doc.text(or(known.story, "Nobody has described it."));
    let facts = known.facts.iter();
    doc.table(
        &["What", "Value"],
        facts
            .map(|(name, value)| vec![name.clone(), value.clone()])
            .collect(),
    );
    doc.heading(1, "Duties to report");
    if known.clocks.is_empty() {
        doc.text("None runs: nothing says that CUI was touched, and nobody has decided otherwise.");
    } else {
        doc.table(
            &["Duty", "From", "Until", "Left", "Number"],
            known.clocks.clone(),
        );
    }
    doc.heading(1, "Root cause and lessons learned");
    doc.text(format!(
        "Root cause: {}",
        or(known.root_cause, "not known yet")
    ));
    doc.text(format!(
        "Lessons learned: {}",
        or(known.lessons, "not written down yet")
    ));
    doc.heading(1, "Timeline");
    doc.text(
        "In UTC. Times of events are those of the machines that logged them; all others are the \
         database's.",
    );
    doc.table(&["When", "Who", "What"], known.timeline.clone());
    table(
        &mut doc,
        "Tasks",
        &["No.", "Task", "State", "By", "Remark"],
        &known.tasks,
    );
    table(
        &mut doc,
        "What it can be recognized by",
        &["Kind", "Value", "Found by", "Remark"],
        &known.indicators,
    );
    if let Some(sheet) = known.worksheet {
        worksheet(&mut doc, sheet);
    }
    doc
}

fn or(text: &str, missing: &str) -> String {
    let text = text.trim();
    let text = if text.is_empty() { missing } else { text };
    text.to_owned()
}

fn table(doc: &mut Document, title: &str, header: &[&str], rows: &[Vec<String>]) {
    doc.heading(1, title);
    if rows.is_empty() {
        doc.text("None.");
    } else {
        doc.table(header, rows.to_vec());
    }
}

fn worksheet(doc: &mut Document, sheet: &Worksheet) {
    doc.heading(1, "Worksheet for DC3");
    doc.text(sheet.about);
    doc.text(format!("The portal: {}", sheet.portal));
    let rows = sheet.fields.iter().map(|field| {
        let value = field.value.clone();
        vec![
            field.number.to_string(),
            field.name.to_owned(),
            value.unwrap_or_else(|| "to be filled in".to_owned()),
        ]
    });
    doc.table(&["No.", "Field", "Value"], rows.collect());
    doc.heading(2, "Missing");
    if sheet.missing.is_empty() {
        doc.text("Nothing.");
    } else {
        doc.list(
            sheet
                .missing
                .iter()
                .map(|name| (*name).to_owned())
                .collect(),
        );
    }
}

#[cfg(test)]
mod tests {
    use respond::worksheet;

    use super::*;

    #[test]
    fn what_is_not_known_is_said_and_markup_of_others_takes_no_effect() {
        let sheet = worksheet::fill(&worksheet::Case::default());
        let system = System::default();
        let document = build_report(&IncidentReport {
            system: &system,
            title: "<script>alert(1)</script> | # heading",
            story: "",
            facts: vec![("Status".to_owned(), "detected".to_owned())],
            clocks: Vec::new(),
            timeline: vec![vec![
                "2026-11-01 00:00 UTC".to_owned(),
                "logs".to_owned(),
                "First event: | x | <b>".to_owned(),
            ]],
            tasks: Vec::new(),
            indicators: Vec::new(),
            root_cause: " ",
            lessons: "",
            worksheet: Some(&sheet),
            now: Timestamp::from_secs(1_790_000_000),
        });
        let html = document.html();
        assert!(
            !html.contains("<script>alert") && !html.contains("| <b>"),
            "{html}"
        );
        let text = document.markdown();
        for said in [
            "Nobody has described it.",
            "Root cause: not known yet",
            "not a file that DC3 accepts",
            "Contracting officer",
        ] {
            assert!(text.contains(said), "{said}: {text}");
        }
    }
}
