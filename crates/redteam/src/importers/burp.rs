//! The XML of Burp Suite: an element per issue.

use std::collections::BTreeSet;

use roxmltree::Document;

use super::{Importer, Reader, new_report};
use crate::controls::Kind;
use crate::drafts::{Draft, Drafts, cwe, severity};
use crate::report::Scope;
use crate::text::without_markup;
use crate::xml::{attribute, children, text_in};
use crate::{ReadError, Report, times};

pub(super) const IMPORTER: Importer = Importer {
    name: "burp",
    title: "Burp Suite, XML",
    may_be_empty: false,
    reader: Reader::Xml {
        root: &["issues"],
        read,
    },
};

fn read(document: &Document<'_>, drafts: &mut Drafts) -> Result<Report, ReadError> {
    let root = document.root_element();
    let mut report = new_report(&IMPORTER);
    report.version = Some(attribute(root, "burpVersion").to_owned());
    report.ended = times::read(attribute(root, "exportTime"));

    let mut areas = BTreeSet::new();
    for issue in children(root, "issue") {
        drafts.item()?;
        drafts.counts.add("issues");
        let host = text_in(issue, "host").trim().to_owned();
        areas.insert(host.clone());
        let word = text_in(issue, "severity");
        let name = text_in(issue, "name");
        let path = text_in(issue, "path");
        let location = text_in(issue, "location");
        let kind = text_in(issue, "type");
        let classes = text_in(issue, "vulnerabilityClassifications");
        let detail = [
            text_in(issue, "issueDetail"),
            text_in(issue, "issueBackground"),
        ]
        .into_iter()
        .find(|text| !text.trim().is_empty());
        let draft = Draft {
            title: name.clone(),
            severity: severity(&word),
            location: format!("{host}{}", path.trim()),
            area: host.clone(),
            cwes: classes
                .split("CWE-")
                .skip(1)
                .filter_map(|text| cwe(&format!("CWE-{text}")))
                .collect(),
            detail: without_markup(&detail.unwrap_or_default()).into_owned(),
            // The serial number is another one in the next scan.
            identity: vec![host, path, location, name],
            ..Draft::of(kind.trim(), Kind::Other)
        };
        // A person marked it as a false positive in the tool.
        if word.trim().eq_ignore_ascii_case("false positive") {
            drafts.counts.add("false_positives");
            drafts.set_aside(&draft);
            continue;
        }
        drafts.push(draft)?;
    }
    // What has no issue is not in it, so that only sites with another one are known to be looked at.
    report.scope = Scope::of_areas(areas);
    Ok(report)
}
