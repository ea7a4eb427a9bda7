//! The worksheet for a report to DC3: the fields of its Incident Collection Format in their order,
//! filled from the case as far as it goes. A person types or pastes it into the portal. It is not a
//! file that DC3 takes: that format is not public, and the portal makes it.

use model::Timestamp;
use serde::Serialize;

/// Where reports are made, and as of when that is known.
pub const PORTAL: &str = "https://icf.dcise.cert.org";
/// The day on which the portal and the fields were looked up.
pub const AS_OF: &str = "2026-11-22";

/// What stands above every worksheet.
pub const ABOUT: &str = "A worksheet to type from, in the order of DC3's Incident Collection Format \
    as it was known on 2026-11-22. It is not a file that DC3 accepts. A person with a DoD-approved \
    medium assurance certificate submits the report at the portal, within 72 hours of discovery, \
    with what is known by then; unknown fields may stay unknown and follow later.";

/// What the case and the description of the system say.
#[derive(Clone, Debug, Default)]
pub struct Case {
    /// The number of the first report, where this one follows up.
    pub first_number: Option<String>,
    /// The company.
    pub company: String,
    /// Its CAGE codes.
    pub cages: Vec<String>,
    /// Its people for this: name, position, telephone, mail, in a line each.
    pub contacts: Vec<String>,
    /// When it was discovered.
    pub discovered_at: Timestamp,
    /// Who decided that, and why; none where it is when the incident was recorded.
    pub discovery: Option<String>,
    /// The earliest event of its alerts, by the clock of whoever logged it.
    pub first_event_at: Option<Timestamp>,
    /// The system.
    pub system: String,
    /// Machines, addresses and services.
    pub places: Vec<String>,
    /// What was done to it: the alerts' titles.
    pub techniques: Vec<String>,
    /// Whether CUI was touched, as far as events say.
    pub cui_involved: bool,
    /// Whether a person has decided that it must be reported.
    pub is_decided: bool,
    /// The root cause.
    pub root_cause: String,
    /// What happened, in the order of time.
    pub chronology: Vec<String>,
}

/// A field of the worksheet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Field {
    /// Its number here.
    pub number: u8,
    /// What it belongs to.
    pub group: &'static str,
    /// What is asked.
    pub name: &'static str,
    /// What the case says; none where a person has to.
    pub value: Option<String>,
}

/// The worksheet.
#[derive(Clone, Debug, Serialize)]
pub struct Worksheet {
    /// What it is, and what it is not.
    pub about: &'static str,
    /// Where it is typed in.
    pub portal: &'static str,
    /// Its fields.
    pub fields: Vec<Field>,
    /// The names of those that nobody has filled in.
    pub missing: Vec<&'static str>,
}

/// Fills the worksheet.
#[expect(
    clippy::too_many_lines,
    reason = "a line for each field of the form, in its order"
)]
pub fn fill(case: &Case) -> Worksheet {
    let text = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    let lines = |lines: &[String]| text(&lines.join("\n"));
    let follows = case.first_number.as_deref();
    let submission = if follows.is_some() {
        "follow-on report"
    } else {
        "initial mandatory report"
    };
    let discovered = match &case.discovery {
        Some(why) => format!("{} ({why})", case.discovered_at),
        None => format!("{} (when it was recorded here)", case.discovered_at),
    };
    let first_event = case
        .first_event_at
        .map(|at| format!("{at} (the first event, by the clock of the machine that logged it)"));
    let compromise = (!case.root_cause.trim().is_empty())
        .then(|| format!("to be chosen; root cause: {}", case.root_cause.trim()));
    let impact = match (case.cui_involved, case.is_decided) {
        (true, true) => Some("CUI was involved; categories and volume are to be named"),
        (true, false) => Some("events say that CUI was involved; nobody has decided on it yet"),
        (false, _) => None,
    };
    let values: [(&str, &str, Option<String>); 27] = [
        ("report", "Submission type", text(submission)),
        (
            "report",
            "Number of the report that is updated",
            Some(follows.unwrap_or("not applicable").to_owned()),
        ),
        ("company", "Company name", text(&case.company)),
        ("company", "Company identifier (UEI)", None),
        ("company", "Company CAGE code", text(&case.cages.join(", "))),
        ("company", "Facility CAGE code", None),
        ("company", "Facility clearance level", None),
        (
            "company",
            "Company points of contact",
            lines(&case.contacts),
        ),
        (
            "contract",
            "Contract numbers affected or potentially affected",
            None,
        ),
        ("contract", "Contract clearance level", None),
        ("contract", "Contracting officer", None),
        ("contract", "Government program manager", None),
        (
            "contract",
            "Prime contractor and its contact, if a subcontractor",
            None,
        ),
        ("incident", "Date and time discovered", text(&discovered)),
        ("incident", "Date occurred, if known", first_event),
        ("incident", "Locations of compromise", lines(&case.places)),
        ("incident", "Incident location CAGE code", None),
        (
            "incident",
            "DoD programs, platforms or systems involved",
            text(&case.system),
        ),
        ("incident", "Type of compromise", compromise),
        (
            "incident",
            "Description of technique or method used",
            lines(&case.techniques),
        ),
        ("incident", "Incident outcome", None),
        (
            "impact",
            "Impact to covered defense information",
            impact.map(ToOwned::to_owned),
        ),
        ("impact", "Impact on operationally critical support", None),
        ("narrative", "Narrative", lines(&case.chronology)),
        (
            "related",
            "Reported to other agencies, with their numbers",
            None,
        ),
        (
            "malware",
            "Malware found, isolated, sent to DC3; hashes",
            None,
        ),
        ("other", "Anything else", None),
    ];
    let fields: Vec<Field> = (1..)
        .zip(values)
        .map(|(number, (group, name, value))| Field {
            number,
            group,
            name,
            value,
        })
        .collect();
    let missing = fields
        .iter()
        .filter(|field| field.value.is_none())
        .map(|field| field.name)
        .collect();
    Worksheet {
        about: ABOUT,
        portal: PORTAL,
        fields,
        missing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_case_says_is_filled_in_and_the_rest_is_named() {
        let empty = fill(&Case::default());
        assert_eq!(empty.fields.len(), 27);
        assert_eq!(empty.fields[26].number, 27);
        let filled = fill(&Case {
            company: "Acme Marine LLC".to_owned(),
            cages: vec!["1ABC2".to_owned()],
            first_number: Some("DC3-77".to_owned()),
            places: vec!["203.0.113.7".to_owned(), "web1".to_owned()],
            cui_involved: true,
            ..Case::default()
        });
        assert_eq!(empty.missing.len() - filled.missing.len(), 4);
        assert!(filled.missing.contains(&"Contracting officer"));
        assert_eq!(filled.fields[0].value.as_deref(), Some("follow-on report"));
        assert_eq!(filled.fields[1].value.as_deref(), Some("DC3-77"));
        let value = |number: usize| filled.fields[number - 1].value.clone().unwrap();
        assert_eq!(value(16), "203.0.113.7\nweb1");
        assert!(value(22).contains("nobody has decided"), "{}", value(22));
    }

    #[test]
    fn it_claims_to_be_no_format_of_dc3() {
        assert!(ABOUT.contains("not a file that DC3 accepts"));
        assert!(ABOUT.contains(AS_OF));
    }
}
