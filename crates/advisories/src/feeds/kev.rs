//! CISA's catalog of known exploited vulnerabilities. It names vendors and products without
//! versions, so a match is only a hint, but it tells which vulnerabilities of other advisories are
//! exploited.

use model::Severity;
use serde_json::Value;

use super::{Format, Reading};
use crate::json::{checked_day, checked_time, items_of, non_empty, text_of};
use crate::package::Package;
use crate::{Advisory, Affected, ReadError, SUMMARY_MAX, cut_text};

pub(super) const FORMAT: Format = Format {
    name: "kev",
    description: "CISA's known exploited vulnerabilities (JSON)",
    recognizes: |document| {
        document.get("vulnerabilities").is_some() && document.get("catalogVersion").is_some()
    },
    read: parse_catalog,
};

fn parse_catalog(document: &Value) -> Result<Reading, ReadError> {
    const CATALOG: &str = "KEV catalog";
    let shape = |reason: &str| ReadError::Shape {
        format: CATALOG,
        reason: reason.to_owned(),
    };

    if !document.get("vulnerabilities").is_some_and(Value::is_array) {
        return Err(shape("it has no list `vulnerabilities`"));
    }

    let mut reading = Reading::default();
    for (place, entry) in (1..).zip(items_of(document, "vulnerabilities")) {
        let id = text_of(entry, "cveID");
        if !id.starts_with("CVE-") {
            reading.add_defect(&format!("entry {place}"), &shape("it has no `cveID`"));
            continue;
        }

        let package = Package::new("", text_of(entry, "product"));
        let advisory = Advisory {
            id: id.to_owned(),
            feed: FORMAT.name.to_owned(),
            title: cut_text(text_of(entry, "vulnerabilityName"), 300),
            summary: cut_text(text_of(entry, "shortDescription"), SUMMARY_MAX),
            severity: Some(Severity::Critical),
            aliases: Vec::new(),
            related: Vec::new(),
            known_exploited: true,
            due: reading.optional(id, checked_day(entry, "dueDate", CATALOG)),
            published: reading.optional(id, checked_time(entry, "dateAdded", CATALOG)),
            action: non_empty(entry, "requiredAction"),
            affected: vec![Affected::new(package)],
            unnamed: 0,
        };
        reading.advisories.push(advisory);
    }

    Ok(reading)
}

#[cfg(test)]
mod tests {
    #[test]
    fn entries_are_read_and_invalid_dates_left_out() {
        let catalog = serde_json::json!({
            "title": "CISA Catalog of Known Exploited Vulnerabilities",
            "catalogVersion": "2024.01.01",
            "count": 1,
            "vulnerabilities": [{
                "cveID": "CVE-2021-3156",
                "vendorProject": "Sudo",
                "product": "Sudo",
                "vulnerabilityName": "Heap overflow",
                "dateAdded": "2022-04-06",
                "shortDescription": "A heap overflow.",
                "requiredAction": "Apply updates.",
                "dueDate": "2022-04-27",
                "knownRansomwareCampaignUse": "Unknown",
                "notes": ""
            }]
        });

        let read = crate::feeds::read(&catalog.to_string(), None)
            .unwrap()
            .advisories;
        assert_eq!(read.len(), 1);
        assert_eq!(
            (read[0].vulnerability(), read[0].due.as_deref()),
            ("CVE-2021-3156", Some("2022-04-27"))
        );
        assert!(read[0].known_exploited);

        for date in [
            "infinity",
            "-infinity",
            "99999-01-01",
            "+099999-01-01",
            "2022-02-30",
            "tomorrow",
            "-000001-01-01",
        ] {
            let mut wrong = catalog.clone();
            wrong["vulnerabilities"][0]["dueDate"] = date.into();
            let reading = crate::feeds::read(&wrong.to_string(), None).unwrap();
            assert_eq!(reading.advisories[0].due, None, "{date}");
            let defect = &reading.defects[0];
            assert_eq!(defect.entry, "CVE-2021-3156");
            assert!(
                defect.reason.contains("`dueDate` is not a date"),
                "{date}: {defect:?}"
            );
        }

        let wrong = serde_json::json!({ "catalogVersion": "1", "vulnerabilities": [{}] });
        assert!(
            crate::feeds::read(&wrong.to_string(), None)
                .unwrap_err()
                .to_string()
                .contains("cveID")
        );
    }
}
