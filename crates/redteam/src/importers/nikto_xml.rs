//! The XML of Nikto, the web server scanner.

use std::collections::BTreeSet;

use model::Severity;
use roxmltree::Document;

use super::{Importer, Reader, new_report};
use crate::controls::Kind;
use crate::drafts::{Draft, Drafts, cves_in};
use crate::report::Scope;
use crate::xml::{attribute, children, text_in};
use crate::{ReadError, Report, times};

pub(super) const IMPORTER: Importer = Importer {
    name: "nikto-xml",
    title: "Nikto, XML",
    may_be_empty: false,
    reader: Reader::Xml {
        root: &["niktoscan", "niktoscans"],
        read,
    },
};

fn read(document: &Document<'_>, drafts: &mut Drafts) -> Result<Report, ReadError> {
    let mut report = new_report(&IMPORTER);
    let mut areas = BTreeSet::new();
    // It writes a root within a root.
    for scan in document
        .descendants()
        .filter(|node| node.has_tag_name("niktoscan"))
    {
        let version = attribute(scan, "version");
        if report.version.is_none() && !version.is_empty() {
            report.version = Some(version.to_owned());
        }
        for host in children(scan, "scandetails") {
            drafts.counts.add("hosts");
            let name = [
                attribute(host, "targethostname"),
                attribute(host, "targetip"),
            ]
            .into_iter()
            .find(|name| !name.is_empty())
            .unwrap_or_default();
            let area = format!("{name}:{}", attribute(host, "targetport"));
            let statistics = children(host, "statistics").next();
            let started = times::read(attribute(host, "starttime"));
            let ended = statistics.and_then(|s| times::read(attribute(s, "endtime")));
            report.started = [report.started, started].into_iter().flatten().min();
            report.ended = [report.ended, ended].into_iter().flatten().max();
            // Without its last line the scan of this host was broken off.
            areas.extend(statistics.map(|_| area.clone()));
            for item in children(host, "item") {
                push_item(
                    drafts,
                    &Item {
                        area: &area,
                        rule: attribute(item, "id"),
                        method: attribute(item, "method"),
                        url: &text_in(item, "uri"),
                        message: &text_in(item, "description"),
                    },
                )?;
            }
        }
    }
    report.scope = Scope::of_areas(areas);
    Ok(report)
}

/// An item of Nikto, in either notation.
pub(super) struct Item<'a> {
    pub(super) area: &'a str,
    pub(super) rule: &'a str,
    pub(super) method: &'a str,
    pub(super) url: &'a str,
    pub(super) message: &'a str,
}

/// Takes in an item. Nikto rates nothing, and most of it is of little weight.
pub(super) fn push_item(drafts: &mut Drafts, item: &Item<'_>) -> Result<(), ReadError> {
    drafts.item()?;
    drafts.counts.add("items");
    let rule = if item.rule.is_empty() {
        "item"
    } else {
        item.rule
    };
    let is_header = item.message.to_ascii_lowercase().contains("header");
    drafts.push(Draft {
        title: item.message.to_owned(),
        severity: Severity::Low,
        location: format!("{}{}", item.area, item.url),
        area: item.area.to_owned(),
        cves: cves_in(item.message),
        detail: format!("{} {}: {}", item.method, item.url, item.message),
        identity: [item.area, item.method, item.url, item.message]
            .map(|text| text.trim().to_owned())
            .to_vec(),
        ..Draft::of(
            rule,
            if is_header {
                Kind::Setting
            } else {
                Kind::Other
            },
        )
    })
}
