//! Readers of reports, a file per format. Which one reads a report is found by its content: what a
//! file is called says nothing.

mod burp;
mod nikto_json;
mod nikto_xml;
mod nmap;
mod nuclei;
mod own;
mod sarif;
mod semgrep;
mod trivy;
mod zap_json;
mod zap_xml;

use std::collections::BTreeSet;

use roxmltree::Document;
use serde_json::Value;

use crate::drafts::{Drafts, finish};
use crate::json::{self, Documents};
use crate::report::Scope;
use crate::{ReadError, Report, text, xml};

/// A format of reports.
pub struct Importer {
    /// Its name, as `--format` takes it.
    pub name: &'static str,
    /// What it is, in words.
    pub title: &'static str,
    /// Whether a file without anything in it is what the tool writes when it finds nothing.
    may_be_empty: bool,
    reader: Reader,
}

enum Reader {
    Json {
        recognizes: fn(&Value) -> bool,
        read: fn(&Value, &mut Drafts) -> Result<Report, ReadError>,
    },
    Xml {
        root: &'static [&'static str],
        read: fn(&Document<'_>, &mut Drafts) -> Result<Report, ReadError>,
    },
}

/// All formats. Those of JSON are asked in this order.
pub const ALL: &[Importer] = &[
    own::IMPORTER,
    sarif::IMPORTER,
    zap_json::IMPORTER,
    zap_xml::IMPORTER,
    nuclei::IMPORTER,
    burp::IMPORTER,
    nikto_json::IMPORTER,
    nikto_xml::IMPORTER,
    nmap::IMPORTER,
    trivy::IMPORTER,
    semgrep::IMPORTER,
];

/// What whoever imports a report knows about it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hints<'a> {
    /// The format; found by the content without it.
    pub format: Option<&'static Importer>,
    /// What was looked at; what the report says without it.
    pub target: Option<&'a str>,
}

impl std::fmt::Debug for Importer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// Returns the format of a name.
pub fn named(name: &str) -> Option<&'static Importer> {
    ALL.iter().find(|importer| importer.name == name)
}

/// Reads a report.
pub fn read(bytes: &[u8], hints: Hints<'_>) -> Result<Report, ReadError> {
    let text = text::decode(bytes)?;
    let start = text.trim_start();
    let mut drafts = Drafts::default();

    let report = if start.is_empty() || matches!(start.trim_end(), "[]" | "null") {
        let format = hints.format.filter(|format| format.may_be_empty);
        new_report(format.ok_or(ReadError::Empty)?)
    } else if start.starts_with('<') {
        read_xml(start, hints.format, &mut drafts)?
    } else {
        read_json(start, hints.format, &mut drafts)?
    };

    finish(report, drafts, hints.target)
}

/// Returns whether a file is lines of which each is complete by itself, so that it cannot be seen
/// whether its tool is still writing.
pub fn may_grow(bytes: &[u8]) -> bool {
    let text = bytes.trim_ascii_start();
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = std::str::from_utf8(line).ok();
    let value = line.and_then(|line| json::line(line.trim()));
    value.is_some_and(|value| nuclei::recognizes(&value))
}

fn read_json(
    text: &str,
    format: Option<&Importer>,
    drafts: &mut Drafts,
) -> Result<Report, ReadError> {
    if !text.starts_with(['{', '[']) {
        return Err(unknown("it is neither JSON nor XML"));
    }
    // A list and lines are the same to a format that has both.
    let document = match json::documents(text)? {
        Documents::One(value) => value,
        Documents::Lines(values) => Value::Array(values),
    };
    let readers = ALL.iter().filter_map(|importer| match &importer.reader {
        Reader::Json { recognizes, read } => Some((importer, recognizes, read)),
        Reader::Xml { .. } => None,
    });

    for (importer, recognizes, read) in readers {
        let is_meant = match format {
            Some(format) => format.name == importer.name,
            None => recognizes(&document),
        };
        if is_meant {
            return read(&document, drafts);
        }
    }
    Err(unknown("JSON of another kind"))
}

fn read_xml(
    text: &str,
    format: Option<&Importer>,
    drafts: &mut Drafts,
) -> Result<Report, ReadError> {
    if text
        .get(..14)
        .is_some_and(|start| start.eq_ignore_ascii_case("<!doctype html"))
        || text
            .get(..5)
            .is_some_and(|start| start.eq_ignore_ascii_case("<html"))
    {
        return Err(unknown("a web page"));
    }

    let text = xml::prepare(text)?;
    let document = xml::parse(&text)?;
    let name = document.root_element().tag_name().name();
    let readers = ALL.iter().filter_map(|importer| match &importer.reader {
        Reader::Xml { root, read } => Some((importer, root, read)),
        Reader::Json { .. } => None,
    });
    for (importer, root, read) in readers {
        let is_meant = format.is_none_or(|format| format.name == importer.name);
        if is_meant && root.contains(&name) {
            return read(&document, drafts);
        }
    }
    Err(unknown(&format!("XML whose root is `{name}`")))
}

fn unknown(what: &str) -> ReadError {
    let names: Vec<&str> = ALL.iter().map(|importer| importer.name).collect();
    ReadError::Unknown(text::clean(what, 100), names.join(", "))
}

/// A report of which nothing is known but its format.
fn new_report(importer: &Importer) -> Report {
    Report {
        format: importer.name,
        tool: importer
            .name
            .split('-')
            .next()
            .unwrap_or_default()
            .to_owned(),
        version: None,
        run_id: None,
        started: None,
        ended: None,
        target: String::new(),
        scope: Scope::of_areas(BTreeSet::new()),
        modules: Vec::new(),
        findings: Vec::new(),
        set_aside: BTreeSet::new(),
        counts: crate::Counts::default(),
        unknown: Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_format_has_a_name_of_its_own() {
        let names: BTreeSet<&str> = ALL.iter().map(|importer| importer.name).collect();

        assert_eq!(names.len(), ALL.len());
        assert!(named("sarif").is_some() && named("gitlab").is_none());
    }

    #[test]
    fn a_file_of_lines_may_grow() {
        assert!(may_grow(b"{\"template-id\":\"a\"}\n{\"templ"));
        assert!(!may_grow(b"{\"version\":\"2.1.0\",\"runs\":[]}") && !may_grow(b"<a/>"));
        assert!(!may_grow(b"[\n{\"template-id\":\"a\"}]") && !may_grow(b""));
    }

    #[test]
    fn a_web_page_is_no_report() {
        let page = read(b"<!doctype html><title>404</title>", Hints::default());

        assert!(page.is_err_and(|error| error.to_string().contains("a web page")));
    }

    #[test]
    fn nothing_is_a_report_only_of_a_named_format() {
        let nuclei = Hints {
            format: named("nuclei"),
            target: None,
        };

        assert_eq!(read(b" \n", Hints::default()).err(), Some(ReadError::Empty));
        assert!(read(b"", nuclei).is_ok_and(|report| report.findings.is_empty()));
    }
}
