//! CISA's catalogue of known exploited vulnerabilities. It names vendors and products and no
//! versions: by itself a hint, but it says of others' advisories that attackers use what they
//! describe.

use model::Severity;
use serde_json::Value;

use super::Format;
use crate::json::{day, list, maybe, moment, text};
use crate::package::{Ecosystem, Package};
use crate::{Advisory, Affected, ReadError, SUMMARY_MAX, cut};

pub(super) const FORMAT: Format = Format {
    name: "kev",
    description: "CISA's known exploited vulnerabilities (JSON)",
    is: |document| {
        document.get("vulnerabilities").is_some() && document.get("catalogVersion").is_some()
    },
    read,
};

fn read(document: &Value) -> Result<Vec<Advisory>, ReadError> {
    let shape = |reason: &str| ReadError::Shape {
        format: "KEV catalogue",
        reason: reason.to_owned(),
    };

    if !document.get("vulnerabilities").is_some_and(Value::is_array) {
        return Err(shape("it has no list `vulnerabilities`"));
    }

    list(document, "vulnerabilities")
        .iter()
        .map(|entry| {
            let id = text(entry, "cveID");
            if !id.starts_with("CVE-") {
                return Err(shape("an entry has no `cveID`"));
            }

            let package = Package {
                ecosystem: Ecosystem::default(),
                name: text(entry, "product").to_owned(),
            };

            Ok(Advisory {
                id: id.to_owned(),
                feed: FORMAT.name.to_owned(),
                title: cut(text(entry, "vulnerabilityName"), 300),
                summary: cut(text(entry, "shortDescription"), SUMMARY_MAX),
                severity: Severity::Critical,
                aliases: Vec::new(),
                known_exploited: true,
                due: day(entry, "dueDate", "KEV catalogue")?,
                published: moment(entry, "dateAdded", "KEV catalogue")?,
                action: maybe(entry, "requiredAction"),
                affected: vec![Affected {
                    package,
                    versions: Vec::new(),
                    ranges: Vec::new(),
                }],
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_entry_is_read_whole() {
        let catalogue = serde_json::json!({
            "title": "CISA Catalog of Known Exploited \
                Vulnerabilities", "catalogVersion": "2024.01.01", "count": 1,
            "vulnerabilities": [{
                "cveID": "CVE-2021-3156", "vendorProject": "Sudo", "product": "Sudo", "vulnerabilityName": "Heap overflow",
                "dateAdded": "2022-04-06", "shortDescription": "A heap overflow.", "requiredAction": "Apply updates.",
                "dueDate": "2022-04-27", "knownRansomwareCampaignUse": "Unknown", "notes": ""
            }]
        });

        let read = crate::feeds::read(&catalogue.to_string(), None).unwrap();
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
            let mut wrong = catalogue.clone();
            wrong["vulnerabilities"][0]["dueDate"] = date.into();
            let error = crate::feeds::read(&wrong.to_string(), None)
                .unwrap_err()
                .to_string();
            assert!(error.contains("`dueDate` is no date"), "{date}: {error}");
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
