//! The audit log: who changed what, when, from where and for whom (3.3.2). It is read, never written to.

use model::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::actor::{Action, Resource};
use crate::export::{self, Exported, Format};
use crate::listing::Before;
use crate::{AppError, Session};

pub use store::audit_log::Filter;

/// The most entries that leave as one file.
pub const EXPORT_MAX: u32 = 50_000;
/// The longest text of a value that a list shows, in bytes.
const VALUE_MAX: usize = 200;

/// An entry of the log.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// The entry.
    pub id: uuid::Uuid,
    /// When.
    pub at: Timestamp,
    /// Who acted.
    pub actor: String,
    /// For whom, where they acted for someone.
    pub on_behalf_of: Option<String>,
    /// What was done.
    pub action: String,
    /// To what: the table, else the kind of thing.
    pub what: String,
    /// To which.
    pub resource_id: Option<String>,
    /// What changed: fields with their values before and after.
    pub changes: Vec<Change>,
    /// By which way.
    pub via: Option<String>,
    /// From where.
    pub address: Option<String>,
}

/// A field that changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The field.
    pub field: String,
    /// Its value before; none where there was no row.
    pub before: Option<String>,
    /// Its value after; none where there is no row.
    pub after: Option<String>,
}

impl From<store::audit_log::Entry> for Entry {
    fn from(entry: store::audit_log::Entry) -> Self {
        let text = |name: &str| {
            let value = entry.metadata.get(name).and_then(Value::as_str);
            value.map(str::to_owned)
        };
        Self {
            id: entry.id,
            at: entry.created_at,
            on_behalf_of: text("on_behalf_of"),
            what: text("table")
                .or_else(|| text("resource"))
                .unwrap_or_else(|| entry.resource_type.to_lowercase()),
            via: text("via"),
            changes: changes(entry.old_value.as_ref(), entry.new_value.as_ref()),
            actor: entry.actor,
            action: entry.action,
            resource_id: entry.resource_id,
            address: entry.address,
        }
    }
}

/// What differs between a row before and after; of a new or a deleted one what is not empty.
fn changes(before: Option<&Value>, after: Option<&Value>) -> Vec<Change> {
    let none = Map::new();
    let fields = |value: Option<&Value>| value.and_then(Value::as_object).cloned();
    let (old, new) = (fields(before), fields(after));
    let (old, new) = (old.as_ref(), new.as_ref());
    let names = old.unwrap_or(&none).keys().chain(
        new.unwrap_or(&none)
            .keys()
            .filter(|name| !old.is_some_and(|old| old.contains_key(*name))),
    );
    let value = |row: Option<&Map<String, Value>>, name: &str| {
        let value = row?.get(name)?;
        Some(match value {
            Value::Null => String::new(),
            Value::String(text) => model::text::clip(text, VALUE_MAX).into_owned(),
            other => model::text::clip(&other.to_string(), VALUE_MAX).into_owned(),
        })
    };
    names
        .map(|name| Change {
            field: name.clone(),
            before: value(old, name),
            after: value(new, name),
        })
        .filter(|change| {
            let empty = |value: &Option<String>| value.as_deref().is_none_or(str::is_empty);
            change.before != change.after && !(empty(&change.before) && empty(&change.after))
        })
        .collect()
}

/// The newest entries after `before`, at most `limit`.
pub async fn page(
    session: &mut Session,
    filter: &Filter,
    before: Option<Before>,
    limit: u32,
) -> Result<Vec<Entry>, AppError> {
    let conn = session.read(Resource::AuditLog)?;
    let rows = store::audit_log::page(conn, filter, before, limit).await?;
    Ok(rows.into_iter().map(Entry::from).collect())
}

/// Hands entries out as a file, the newest first; that this was done is an entry, too.
pub async fn export(
    session: &mut Session,
    filter: &Filter,
    format: Format,
) -> Result<String, AppError> {
    session.require(Action::Export, Resource::AuditLog)?;
    let entries = page(session, filter, None, EXPORT_MAX).await?;
    let filters: Vec<(String, String)> = [
        ("actor", filter.actor.clone()),
        ("table", filter.table.clone()),
        ("action", filter.action.clone()),
        ("since", filter.since.map(|at| at.to_string())),
        ("until", filter.until.map(|at| at.to_string())),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name.to_owned(), value?)))
    .collect();
    let exported = Exported {
        what: "audit log",
        filters: &filters,
        format: format.name(),
        count: entries.len() as u64,
    };
    export::list(session, Resource::AuditLog, &exported).await?;

    let items: Result<Vec<Value>, _> = entries.iter().map(serde_json::to_value).collect();
    export::render(format, &items.map_err(AppError::unwritable)?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_shows_what_differs_and_nothing_else() {
        let (old, new) = (
            json!({"role": "user", "email": "a@b", "gone": null}),
            json!({"role": "admin", "email": "a@b", "gone": null}),
        );
        let change = |field: &str, before: Option<&str>, after: Option<&str>| Change {
            field: field.to_owned(),
            before: before.map(str::to_owned),
            after: after.map(str::to_owned),
        };
        assert_eq!(
            changes(Some(&old), Some(&new)),
            [change("role", Some("user"), Some("admin"))]
        );
        assert_eq!(
            changes(None, Some(&new)),
            [
                change("email", None, Some("a@b")),
                change("role", None, Some("admin")),
            ]
        );
        assert_eq!(changes(None, None), []);
    }
}
