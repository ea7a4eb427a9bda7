//! OSCAL 1.2.1 documents for other tools. NIST publishes no catalog for 800-171 r2, so blueteam
//! writes one as well.
//!
//! Documents refer to each other by `trestle://` hrefs in the layout of a trestle workspace. Ids
//! are UUIDv5 of what they identify, a document's own id of its content: the same input gives the
//! same bytes. Validators do not notice dangling references; [`dangling_references`] does.

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

use crate::reports::ReportContext;

pub use import::{Described, ImportError, Imported, read};

/// The OSCAL version of the documents.
pub const VERSION: &str = "1.2.1";
/// Namespace of blueteam's own properties.
const NS: &str = "urn:blueteam:oscal";
/// Namespace of the generated ids.
const NAMESPACE: Uuid = Uuid::from_u128(0x6f1b_0a2e_58c4_4f0e_9d7a_3c51_b7e2_9a10);
/// The folder of each document in a workspace.
const NAME: &str = "blueteam";

/// A document and its path in a trestle workspace.
#[derive(Clone, Debug, PartialEq)]
pub struct File {
    /// Path relative to the workspace.
    pub path: String,
    /// The document.
    pub json: Value,
}

/// Builds every document. Without items there is no POA&M: OSCAL does not allow an empty one.
pub fn all_documents(known: &ReportContext<'_>) -> Vec<File> {
    let mut files = vec![
        wrap_document("catalogs", "catalog", catalog::catalog_document(known)),
        wrap_document("profiles", "profile", catalog::profile_document(known)),
        wrap_document(
            "component-definitions",
            "component-definition",
            component::component_document(known),
        ),
        wrap_document(
            "system-security-plans",
            "system-security-plan",
            ssp::ssp_document(known),
        ),
        wrap_document(
            "assessment-plans",
            "assessment-plan",
            plan::plan_document(known),
        ),
        wrap_document(
            "assessment-results",
            "assessment-results",
            results::results_document(known),
        ),
    ];

    files.extend(poam::poam_document(known).map(|body| {
        wrap_document(
            "plan-of-action-and-milestones",
            "plan-of-action-and-milestones",
            body,
        )
    }));

    files
}

fn wrap_document(folder: &str, root: &str, mut body: Value) -> File {
    let content = body.to_string();
    body["uuid"] = json!(stable_id(&["document", root, &content]));
    File {
        path: format!("{folder}/{NAME}/{root}.json"),
        json: json!({ root: body }),
    }
}

/// Returns the href by which one document refers to another.
fn trestle_href(folder: &str, root: &str) -> String {
    format!("trestle://{folder}/{NAME}/{root}.json")
}

/// Returns the id that these words always give.
fn stable_id(of: &[&str]) -> Uuid {
    Uuid::new_v5(&NAMESPACE, of.join("\u{1f}").as_bytes())
}

fn document_metadata(known: &ReportContext<'_>, title: &str) -> Map<String, Value> {
    let version = if known.system.version.is_empty() {
        "0"
    } else {
        &known.system.version
    };

    let meta = json!({
        "title": title,
        "last-modified": format_time(known.now),
        "version": version,
        "oscal-version": VERSION,
    });

    let Value::Object(meta) = meta else {
        return Map::new();
    };
    meta
}

/// Formats a time in whole seconds, in UTC.
fn format_time(at: Timestamp) -> String {
    at.to_jiff().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn oscal_prop(name: &str, value: impl std::fmt::Display) -> Value {
    json!({ "name": name, "ns": NS, "value": value.to_string() })
}

/// Returns the OSCAL id of a requirement: ids begin with a letter and hold no brackets.
fn oscal_control_id(id: &ControlId) -> String {
    format!("sp800-171r2-{id}")
}

fn statement_id(id: &ControlId) -> String {
    format!("{}_smt", oscal_control_id(id))
}

fn oscal_objective_id(id: &ObjectiveId) -> String {
    let letter =
        id.0.split('[')
            .nth(1)
            .unwrap_or_default()
            .trim_end_matches(']');
    format!("sp800-171r2-{}_obj.{letter}", id.control())
}

/// Returns the text, or a statement that it is missing: OSCAL requires text, and a blank would look
/// intentional.
fn text_or_not_stated(text: &str) -> String {
    if text.trim().is_empty() {
        "Not stated.".to_owned()
    } else {
        text.trim().to_owned()
    }
}

/// Inserts a list, unless it is empty: OSCAL does not allow empty lists.
fn insert_list(to: &mut Value, key: &str, list: Vec<Value>) {
    if !list.is_empty() {
        to[key] = Value::Array(list);
    }
}

/// Returns the broken references of a document: `…-uuid`, `…-uuids` and `#…` whose target is not in the
/// same document, and controls that are not in the catalog.
pub fn dangling_references(known: &ReportContext<'_>, file: &File) -> Vec<String> {
    let mut seen = Seen::default();
    seen.collect("", &file.json);
    let controls: BTreeSet<String> = known
        .catalog
        .requirements
        .iter()
        .map(|r| oscal_control_id(&r.control_id))
        .collect();

    let ids = seen
        .references
        .iter()
        .filter(|(_, id)| !seen.ids.contains(id) && !seen.names.contains(id))
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
    /// Ids that are tokens, as the parts of a control have.
    names: BTreeSet<String>,
    twice: BTreeSet<String>,
    references: Vec<(String, String)>,
    controls: BTreeSet<String>,
}

impl Seen {
    fn collect(&mut self, key: &str, value: &Value) {
        match value {
            Value::Object(map) => map.iter().for_each(|(k, v)| self.collect(k, v)),
            Value::Array(list) => list.iter().for_each(|v| self.collect(key, v)),
            Value::String(text) => match key {
                "uuid" if self.ids.insert(text.clone()) => {}
                "uuid" => {
                    self.twice.insert(text.clone());
                }
                "id" => {
                    self.names.insert(text.clone());
                }
                "control-id" => {
                    self.controls.insert(text.clone());
                }
                "href" if text.starts_with('#') => {
                    let id = text.trim_start_matches('#');
                    self.references.push((key.to_owned(), id.to_owned()));
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
