//! Covers: what a document is about, and the CUI designation indicator.

use model::{Control, Timestamp};

use super::{ReportContext, format_day, or_missing};
use crate::document::Field;
use crate::system::System;

/// Returns the CUI designation indicator block (DoDI 5200.48, section 3.4); nothing for a system
/// whose documents are not CUI.
pub(super) fn designation(s: &System) -> Vec<Field> {
    if !s.is_cui() {
        return Vec::new();
    }

    let d = &s.designation;
    let controllers = [&d.controlled_by, &d.office]
        .into_iter()
        .filter(|text| !text.trim().is_empty())
        .cloned()
        .collect::<Vec<_>>();
    vec![
        Field::new("Controlled by", or_missing(&controllers.join(", "))),
        Field::new("CUI category", or_missing(&d.categories.join(", "))),
        Field::new("Distribution/dissemination", or_missing(&d.dissemination)),
        Field::new("Point of contact", or_missing(&d.contact)),
    ]
}

/// Returns who the document is about.
pub(super) fn subject(s: &System) -> Vec<Field> {
    vec![
        Field::new("Organization", or_missing(&s.organization.name)),
        Field::new("System", or_missing(&s.name)),
        Field::new(
            "CAGE codes",
            or_missing(&s.organization.cage_codes.join(", ")),
        ),
    ]
}

/// Returns who prepared a document: the system security officer.
pub(super) fn prepared_by(s: &System) -> Field {
    let officer = s.person("system security officer");
    let name = officer.map(|p| {
        let title = Some(p.title.as_str()).filter(|title| !title.trim().is_empty());
        format!("{}, {}", p.name, title.unwrap_or("system security officer"))
    });
    Field::new("Prepared by", or_missing(&name.unwrap_or_default()))
}

/// Returns what the cover of the assessor's report says.
pub(super) fn assessment(known: &ReportContext<'_>) -> Vec<Field> {
    let s = known.system;
    let plan = format!(
        "version {}, {}",
        or_missing(&s.version),
        or_missing(&s.plan_date().unwrap_or_default())
    );

    let mut fields = subject(s);
    fields.extend([
        Field::new("Assessment type", assessment_type(&s.assessment.level)),
        Field::new("Assessor", or_missing(assessor(s))),
        Field::new("Assessment dates", assessment_dates(known.controls)),
        Field::new("Scope", or_missing(&s.assessment.scope)),
        Field::new("System security plan", plan),
    ]);
    fields
}

/// Returns who assesses: the organization itself unless another one is named.
fn assessor(s: &System) -> &str {
    Some(s.assessment.assessor.trim())
        .filter(|name| !name.is_empty())
        .unwrap_or(&s.organization.name)
}

/// Returns the kind of assessment: a basic one is the organization's own.
fn assessment_type(level: &str) -> String {
    if level.trim().is_empty() {
        or_missing("")
    } else if level.eq_ignore_ascii_case("Basic") {
        "CMMC Level 2 self-assessment (Basic)".to_owned()
    } else {
        format!("CMMC Level 2 assessment ({level})")
    }
}

/// Returns the days of the first and the last finding.
fn assessment_dates(controls: &[Control]) -> String {
    let days = || {
        controls
            .iter()
            .flat_map(|c| &c.objectives)
            .filter_map(|o| Some(o.decision.as_ref()?.at))
    };

    let range: Option<(Timestamp, Timestamp)> = days().min().zip(days().max());
    match range.map(|(first, last)| (format_day(first), format_day(last))) {
        None => "no finding was decided".to_owned(),
        Some((first, last)) if first == last => first,
        Some((first, last)) => format!("{first} to {last}"),
    }
}
