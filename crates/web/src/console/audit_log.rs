//! The audit log: who changed what.

use std::sync::Arc;

use app::AppError;
use app::actor::{Action, Resource};
use app::audit_log::{self, Entry, Filter};
use app::export::Format;
use app::listing::Before;
use axum::http::{HeaderValue, Uri, header};
use axum::response::{IntoResponse, Response};
use model::{Span, Timestamp};
use pages::{Cell, Field, FieldKind, Form, Pager, WorkPage};

use super::form::{Fields, address};
use super::{Desk, NoPage, Table, Visit, admin, html};

/// Entries of a page.
const ROWS: u32 = 100;
/// What there is to filter by.
const FIELDS: [&str; 5] = ["actor", "table", "action", "since", "until"];
/// What is done, as the log names it.
const ACTIONS: [(&str, &str); 10] = [
    ("", "any"),
    ("CREATE", "create"),
    ("UPDATE", "update"),
    ("DELETE", "delete"),
    ("LOGIN", "sign-in"),
    ("LOGOUT", "sign-out"),
    ("EXPORT", "export"),
    ("PERMISSION_DENIED", "refused"),
    ("PASSWORD_CHANGE", "password"),
    ("ROLE_CHANGE", "role"),
];

/// The beginning of a day, in UTC.
fn day(name: &str, text: &str) -> Result<Option<Timestamp>, AppError> {
    if text.is_empty() {
        return Ok(None);
    }
    Timestamp::parse(&format!("{text}T00:00:00Z"))
        .map(Some)
        .map_err(|_| AppError::invalid(format!("{name}: a day such as 2026-11-30")))
}

fn filter_of(fields: &Fields) -> Result<Filter, AppError> {
    let some =
        |name: &str| Some(fields.get(name).trim().to_owned()).filter(|text| !text.is_empty());
    Ok(Filter {
        actor: some("actor"),
        table: some("table"),
        action: some("action"),
        since: day("From", fields.get("since"))?,
        // The day that is named is in.
        until: day("To", fields.get("until"))?.map(|at| at.plus(Span::days(1))),
    })
}

/// A value in a line: times in it as people write them.
fn plain(value: &str) -> String {
    let bytes = value.as_bytes();
    let is_time = |at: usize| {
        let is_digit = |place: usize| bytes.get(place).is_some_and(u8::is_ascii_digit);
        let dash = |place: usize| bytes.get(place) == Some(&b'-');
        at >= 10 && is_digit(at + 1) && is_digit(at - 1) && dash(at - 3) && dash(at - 6)
    };
    let places = value.char_indices();
    places
        .map(|(at, c)| if c == 'T' && is_time(at) { ' ' } else { c })
        .collect()
}

/// What changed, in a line.
fn changed(entry: &Entry) -> String {
    let parts: Vec<String> = entry
        .changes
        .iter()
        .map(|change| match (&change.before, &change.after) {
            (Some(before), Some(after)) => {
                let (before, after) = (plain(before), plain(after));
                format!("{}: {before} \u{2192} {after}", change.field)
            }
            (None, Some(value)) | (Some(value), None) => {
                format!("{}: {}", change.field, plain(value))
            }
            (None, None) => change.field.clone(),
        })
        .collect();
    parts.join("; ")
}

fn row(desk: &Desk, entry: &Entry) -> Vec<Cell> {
    let who = match &entry.on_behalf_of {
        Some(person) => format!("{} for {person}", entry.actor),
        None => entry.actor.clone(),
    };
    let action = ACTIONS
        .iter()
        .find(|(name, _)| *name == entry.action)
        .map_or(entry.action.as_str(), |(_, words)| words);
    let from = [entry.via.as_deref(), entry.address.as_deref()];
    let from: Vec<&str> = from.into_iter().flatten().collect();
    vec![
        Cell::Time(Some(desk.when(entry.at))),
        Cell::from(who),
        Cell::from(action),
        Cell::from(entry.what.clone()),
        Cell::from(entry.resource_id.clone().unwrap_or_default()),
        Cell::from(changed(entry)),
        Cell::from(from.join(", ")),
    ]
}

/// `GET /admin/log`.
pub(super) async fn list(mut visit: Visit, uri: Uri) -> Result<Response, NoPage> {
    let fields = Fields::of_query(uri.query());
    let given: Vec<(&str, &str)> = FIELDS
        .iter()
        .map(|name| (*name, fields.get(name).trim()))
        .collect();
    let context = address("/admin/log", &given);
    let before = visit.console.cursors.open(&context, fields.get("after"));
    let is_later = before.is_some();
    let before = before.and_then(|at| at.parse::<Before>().ok());

    let found = async {
        let filter = filter_of(&fields)?;
        audit_log::page(&mut visit.session, &filter, before, ROWS + 1).await
    };
    let (found, error) = match found.await {
        Err(AppError::Invalid(text)) => (Ok(Vec::new()), Some(text)),
        found => (found, None),
    };
    let console = Arc::clone(&visit.console);
    let (mut entries, desk) = visit.finish(found).await?;

    let has_more = entries.len() > ROWS as usize;
    entries.truncate(ROWS as usize);
    let next = entries.last().filter(|_| has_more).map(|last| {
        let at = Before {
            at: last.at,
            id: last.id,
        };
        let after = console.cursors.sign(&context, &at.to_string());
        let mut given = given.clone();
        given.push(("after", &after));
        address("/admin/log", &given)
    });
    let (csv, ndjson) = (export_of(&given, "csv"), export_of(&given, "ndjson"));
    let table_of = Table {
        columns: vec!["When", "Who", "What", "Of", "Which", "Changed", "From"],
        rows: entries.iter().map(|entry| row(&desk, entry)).collect(),
        empty: "No entries match.",
    };
    let about = "Who changed what. Nobody can change or delete an entry; values of secrets are not in it. \
                 Days are in UTC.";
    let mut page = WorkPage {
        filter: Some(filter_form(&fields)),
        pager: Pager {
            first: is_later.then(|| context.clone()),
            next,
        },
        ..admin::table(&desk, "Audit log", about, table_of)
    };
    if desk.may(Action::Export, Resource::AuditLog) {
        page.files = vec![(csv, "Save as CSV"), (ndjson, "Save as NDJSON")];
    }
    if let Some(error) = error {
        page.frame.notice = Some(super::form::wrong(error));
    }
    Ok(html(&page))
}

fn filter_form(fields: &Fields) -> Form {
    let text = |name, label| Field::text(name, label, fields.get(name), 100);
    let day = |name, label| Field::new(name, label, fields.get(name), FieldKind::Day);
    Form {
        action: "/admin/log".to_owned(),
        fields: vec![
            text("actor", "Who"),
            text("table", "Table"),
            Field::choice("action", "What", fields.get("action"), ACTIONS),
            day("since", "From"),
            day("until", "To"),
        ],
        button: "Apply",
        ..Form::default()
    }
}

fn export_of(given: &[(&str, &str)], format: &str) -> String {
    let mut given = given.to_vec();
    given.push(("format", format));
    address("/admin/log/export", &given)
}

/// `GET /admin/log/export`.
pub(super) async fn export(mut visit: Visit, uri: Uri) -> Result<Response, NoPage> {
    let fields = Fields::of_query(uri.query());
    let format = match fields.get("format") {
        "ndjson" => Format::Ndjson,
        _ => Format::Csv,
    };
    let made = async {
        let filter = filter_of(&fields)?;
        audit_log::export(&mut visit.session, &filter, format).await
    };
    let made = made.await;
    let (text, desk) = visit.finish(made).await?;
    Ok(file(&desk, "audit-log", format, text))
}

/// A file to keep, named for what it is and the time.
pub(super) fn file(desk: &Desk, name: &str, format: Format, text: String) -> Response {
    let at = desk.now.to_string();
    let at: String = at
        .chars()
        .take(19)
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    let disposition = format!(
        "attachment; filename=\"blueteam-{name}-{at}.{}\"",
        format.name()
    );
    let disposition = HeaderValue::from_str(&disposition)
        .unwrap_or_else(|_| HeaderValue::from_static("attachment"));
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static(format.media_type()),
        ),
        (header::CONTENT_DISPOSITION, disposition),
    ];
    (headers, text).into_response()
}
