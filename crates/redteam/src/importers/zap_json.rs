//! The JSON of ZAP, the web scanner: an object per site with its alerts.

use std::collections::BTreeSet;

use serde_json::Value;

use super::zap_xml::{Alert, push_alert};
use super::{Importer, Reader, new_report};
use crate::drafts::Drafts;
use crate::json::{list_of, text_of, word_of};
use crate::report::Scope;
use crate::{ReadError, Report, times};

pub(super) const IMPORTER: Importer = Importer {
    name: "zap-json",
    title: "ZAP, JSON",
    may_be_empty: false,
    reader: Reader::Json { recognizes, read },
};

const NAME: &str = "zap-json";

fn recognizes(document: &Value) -> bool {
    document.get("site").is_some()
        && ["@version", "@programName", "@generated"]
            .iter()
            .any(|key| document.get(key).is_some())
}

fn read(document: &Value, drafts: &mut Drafts) -> Result<Report, ReadError> {
    let mut report = new_report(&IMPORTER);
    report.version = Some(word_of(document, "@version"));
    report.ended = times::read(text_of(document, "@generated"));

    let one;
    let sites = match document.get("site") {
        // A single site stands alone in some versions.
        Some(site @ Value::Object(_)) => {
            one = [site.clone()];
            &one[..]
        }
        _ => list_of(document, "site", NAME)?,
    };
    let mut areas = BTreeSet::new();
    for site in sites {
        drafts.counts.add("sites");
        let site_name = text_of(site, "@name");
        areas.insert(site_name.to_owned());
        for alert in list_of(site, "alerts", NAME)? {
            let instances = list_of(alert, "instances", NAME)?;
            let uri = instances.first().map(|first| word_of(first, "uri"));
            push_alert(
                drafts,
                &Alert {
                    site: site_name,
                    plugin: &word_of(alert, "pluginid"),
                    name: Some(text_of(alert, "name"))
                        .filter(|name| !name.is_empty())
                        .unwrap_or_else(|| text_of(alert, "alert")),
                    risk: &word_of(alert, "riskcode"),
                    confidence: &word_of(alert, "confidence"),
                    description: text_of(alert, "desc"),
                    cwe: &word_of(alert, "cweid"),
                    uri: uri.as_deref().unwrap_or_default(),
                    instances: instances.len(),
                },
            )?;
        }
    }
    report.scope = Scope::of_areas(areas);
    Ok(report)
}
