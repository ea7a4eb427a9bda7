//! The XML of ZAP, the web scanner, of all versions.

use std::collections::BTreeSet;

use model::Severity;
use roxmltree::Document;

use super::{Importer, Reader, new_report};
use crate::controls::Kind;
use crate::drafts::{Draft, Drafts, cwe};
use crate::report::Scope;
use crate::text::without_markup;
use crate::xml::{attribute, children, text_in};
use crate::{ReadError, Report, times};

pub(super) const IMPORTER: Importer = Importer {
    name: "zap-xml",
    title: "ZAP, XML",
    may_be_empty: false,
    reader: Reader::Xml {
        root: &["OWASPZAPReport", "ZAPReport"],
        read,
    },
};

fn read(document: &Document<'_>, drafts: &mut Drafts) -> Result<Report, ReadError> {
    let root = document.root_element();
    let mut report = new_report(&IMPORTER);
    report.version = Some(attribute(root, "version").to_owned());
    report.ended = times::read(attribute(root, "generated"));

    let mut areas = BTreeSet::new();
    for site in children(root, "site") {
        drafts.counts.add("sites");
        let site_name = attribute(site, "name");
        areas.insert(site_name.to_owned());
        let alerts = children(site, "alerts").flat_map(|alerts| children(alerts, "alertitem"));
        for alert in alerts {
            let instances = || {
                let lists = children(alert, "instances");
                lists.flat_map(|list| children(list, "instance"))
            };
            // Versions before 2.4 have one item for each place.
            let uri = instances()
                .next()
                .map_or_else(|| text_in(alert, "uri"), |first| text_in(first, "uri"));
            let name = text_in(alert, "name");
            push_alert(
                drafts,
                &Alert {
                    site: site_name,
                    plugin: &text_in(alert, "pluginid"),
                    name: &Some(name)
                        .filter(|name| !name.is_empty())
                        .unwrap_or_else(|| text_in(alert, "alert")),
                    risk: &text_in(alert, "riskcode"),
                    confidence: &text_in(alert, "confidence"),
                    description: &text_in(alert, "desc"),
                    cwe: &text_in(alert, "cweid"),
                    uri: &uri,
                    instances: instances().count(),
                },
            )?;
        }
    }
    report.scope = Scope::of_areas(areas);
    Ok(report)
}

/// An alert of ZAP, in either notation.
pub(super) struct Alert<'a> {
    pub(super) site: &'a str,
    pub(super) plugin: &'a str,
    pub(super) name: &'a str,
    pub(super) risk: &'a str,
    pub(super) confidence: &'a str,
    pub(super) description: &'a str,
    pub(super) cwe: &'a str,
    pub(super) uri: &'a str,
    pub(super) instances: usize,
}

/// Takes in an alert: one finding of its site, with as many instances as places.
pub(super) fn push_alert(drafts: &mut Drafts, alert: &Alert<'_>) -> Result<(), ReadError> {
    drafts.item()?;
    drafts.counts.add("alerts");
    *drafts.counts.details.entry("instances").or_default() += alert.instances;
    let plugin = alert.plugin.trim();
    let draft = Draft {
        title: alert.name.to_owned(),
        severity: match alert.risk.trim() {
            "3" => Severity::High,
            "2" => Severity::Medium,
            "1" => Severity::Low,
            _ => Severity::Info,
        },
        location: if alert.uri.is_empty() {
            alert.site
        } else {
            alert.uri
        }
        .to_owned(),
        area: alert.site.to_owned(),
        cwes: cwe(alert.cwe).into_iter().collect(),
        detail: without_markup(alert.description).into_owned(),
        instances: u32::try_from(alert.instances).unwrap_or(u32::MAX),
        identity: vec![alert.site.to_owned(), alert.name.trim().to_owned()],
        ..Draft::of(
            if plugin.is_empty() { "alert" } else { plugin },
            Kind::Other,
        )
    };
    // A person marked it as a false positive in the tool.
    if alert.confidence.trim() == "0" {
        drafts.counts.add("false_positives");
        drafts.set_aside(&draft);
        return Ok(());
    }
    drafts.push(draft)
}
