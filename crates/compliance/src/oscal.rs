//! OSCAL 1.2.1: what is known as the documents that other tools read. NIST publishes none for
//! 800-171 r2, so the catalog is ours too.
//!
//! Documents name each other by `trestle://` hrefs in the layout of a trestle workspace. Ids are
//! UUIDv5 of what they stand for, a document's own of its content: the same input gives the same
//! octets. Validators do not notice an id that points nowhere; [`dangling`] does.

mod catalog;
mod component;
mod import;
mod plan;
mod poam;
mod results;
mod ssp;

use std::collections::BTreeSet;

use model::{ControlId, ObjectiveId, Timestamp};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::reports::Known;

pub use import::{Described, ImportError, Imported, read};

/// The version that the documents follow.
pub const VERSION: &str = "1.2.1";
/// Of our own properties.
const NS: &str = "urn:blueteam:oscal";
/// Of our ids.
const NAMESPACE: Uuid = Uuid::from_u128(0x6f1b_0a2e_58c4_4f0e_9d7a_3c51_b7e2_9a10);
/// The folder of each document in a workspace.
const NAME: &str = "blueteam";

/// A document and its place in a trestle workspace.
#[derive(Clone, Debug, PartialEq)]
pub struct File {
    /// Below the workspace.
    pub path: String,
    /// The document.
    pub json: Value,
}

/// Every document. The POA&M is missing when there is no item: OSCAL has no empty one.
pub fn all(known: &Known<'_>) -> Vec<File> {
    let mut files = vec![
        file("catalogs", "catalog", catalog::catalog(known)),
        file("profiles", "profile", catalog::profile(known)),
        file(
            "component-definitions",
            "component-definition",
            component::definition(known),
        ),
        file(
            "system-security-plans",
            "system-security-plan",
            ssp::document(known),
        ),
        file("assessment-plans", "assessment-plan", plan::document(known)),
        file(
            "assessment-results",
            "assessment-results",
            results::document(known),
        ),
    ];

    files.extend(poam::document(known).map(|body| {
        file(
            "plan-of-action-and-milestones",
            "plan-of-action-and-milestones",
            body,
        )
    }));

    files
}

fn file(folder: &str, root: &str, mut body: Value) -> File {
    let content = body.to_string();
    body["uuid"] = json!(id(&["document", root, &content]));
    File {
        path: format!("{folder}/{NAME}/{root}.json"),
        json: json!({ root: body }),
    }
}

/// How one document names another.
fn href(folder: &str, root: &str) -> String {
    format!("trestle://{folder}/{NAME}/{root}.json")
}

/// The id of what these words stand for.
fn id(of: &[&str]) -> Uuid {
    Uuid::new_v5(&NAMESPACE, of.join("\u{1f}").as_bytes())
}

fn metadata(known: &Known<'_>, title: &str) -> Map<String, Value> {
    let version = if known.system.version.is_empty() {
        "0"
    } else {
        &known.system.version
    };

    let meta = json!({
        "title": title,
        "last-modified": time(known.now),
        "version": version,
        "oscal-version": VERSION,
    });

    let Value::Object(meta) = meta else {
        return Map::new();
    };
    meta
}

/// Whole seconds with a zone.
fn time(at: Timestamp) -> String {
    at.to_jiff().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn prop(name: &str, value: impl std::fmt::Display) -> Value {
    json!({ "name": name, "ns": NS, "value": value.to_string() })
}

/// Ids of OSCAL begin with a letter and hold no brackets.
fn control(id: &ControlId) -> String {
    format!("sp800-171r2-{id}")
}

fn statement(id: &ControlId) -> String {
    format!("{}_smt", control(id))
}

fn objective(id: &ObjectiveId) -> String {
    let letter =
        id.0.split('[')
            .nth(1)
            .unwrap_or_default()
            .trim_end_matches(']');
    format!("sp800-171r2-{}_obj.{letter}", id.control())
}

/// Text that may be missing: OSCAL wants some, and a blank would pass for nothing to say.
fn said(text: &str) -> String {
    if text.trim().is_empty() {
        "Not stated.".to_owned()
    } else {
        text.trim().to_owned()
    }
}

/// Puts a list in, unless it is empty: OSCAL has no empty lists.
fn put(to: &mut Value, key: &str, list: Vec<Value>) {
    if !list.is_empty() {
        to[key] = Value::Array(list);
    }
}

/// References that point nowhere: `…-uuid` and `…-uuids` without what they name in the same
/// document, and controls that the catalog has not.
pub fn dangling(known: &Known<'_>, file: &File) -> Vec<String> {
    let mut seen = Seen::default();
    seen.walk("", &file.json);
    let controls: BTreeSet<String> = known
        .catalog
        .requirements
        .iter()
        .map(|r| control(&r.control_id))
        .collect();

    let ids = seen
        .references
        .iter()
        .filter(|(_, id)| !seen.ids.contains(id))
        .map(|(key, id)| format!("{key} {id}"));
    let unknown = seen
        .controls
        .iter()
        .filter(|id| !controls.contains(*id))
        .map(|id| format!("control-id {id}"));

    let twice = seen.twice.iter().map(|id| format!("uuid {id} twice"));
    ids.chain(unknown).chain(twice).collect()
}

#[derive(Default)]
struct Seen {
    ids: BTreeSet<String>,
    twice: BTreeSet<String>,
    references: Vec<(String, String)>,
    controls: BTreeSet<String>,
}

impl Seen {
    fn walk(&mut self, key: &str, value: &Value) {
        match value {
            Value::Object(map) => map.iter().for_each(|(k, v)| self.walk(k, v)),
            Value::Array(list) => list.iter().for_each(|v| self.walk(key, v)),
            Value::String(text) => match key {
                "uuid" if self.ids.insert(text.clone()) => {}
                "uuid" => {
                    self.twice.insert(text.clone());
                }
                "control-id" => {
                    self.controls.insert(text.clone());
                }
                _ if key.ends_with("-uuid") || key.ends_with("-uuids") => {
                    self.references.push((key.to_owned(), text.clone()));
                }
                _ => {}
            },
            _ => {}
        }
    }
}
