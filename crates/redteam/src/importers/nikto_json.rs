//! The JSON of Nikto, the web server scanner: an object per host, or a list of them.

use std::collections::BTreeSet;

use serde_json::Value;

use super::nikto_xml::{Item, push_item};
use super::{Importer, Reader, new_report};
use crate::drafts::Drafts;
use crate::json::{list_of, text_of, word_of};
use crate::report::Scope;
use crate::{ReadError, Report};

pub(super) const IMPORTER: Importer = Importer {
    name: "nikto-json",
    title: "Nikto, JSON",
    may_be_empty: true,
    reader: Reader::Json { recognizes, read },
};

fn recognizes(document: &Value) -> bool {
    let first = document
        .as_array()
        .map_or(Some(document), |items| items.first());
    first.is_some_and(|first| {
        first.get("vulnerabilities").is_some()
            && (first.get("host").is_some() || first.get("ip").is_some())
    })
}

fn read(document: &Value, drafts: &mut Drafts) -> Result<Report, ReadError> {
    let hosts = document
        .as_array()
        .map_or(std::slice::from_ref(document), Vec::as_slice);
    let mut areas = BTreeSet::new();
    for host in hosts {
        drafts.counts.add("hosts");
        let name = [text_of(host, "host"), text_of(host, "ip")]
            .into_iter()
            .find(|name| !name.is_empty())
            .unwrap_or_default();
        let area = format!("{name}:{}", word_of(host, "port"));
        areas.insert(area.clone());
        for item in list_of(host, "vulnerabilities", IMPORTER.name)? {
            push_item(
                drafts,
                &Item {
                    area: &area,
                    rule: &word_of(item, "id"),
                    method: text_of(item, "method"),
                    url: text_of(item, "url"),
                    message: text_of(item, "msg"),
                },
            )?;
        }
    }
    Ok(Report {
        scope: Scope::of_areas(areas),
        ..new_report(&IMPORTER)
    })
}
