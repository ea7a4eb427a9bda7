//! Events.

use std::sync::Arc;

use app::actor::{Action, Resource};
use app::events::{self, Filter, Found, Question, Search};
use app::export::{self, Exported, Format};
use app::listing::Before;
use app::{AppError, today};
use axum::http::Uri;
use axum::response::Response;
use model::{Span, Timestamp};
use pages::{Cell, EventQuestion, EventRow, EventsPage, Field, Form, Pager};

use super::audit_log::file;
use super::form::{Fields, address};
use super::{Desk, NoPage, Table, Visit, html};

/// Events of a page.
const ROWS: u32 = 100;

/// An event as a row.
pub(super) fn row(desk: &Desk, event: &Found) -> EventRow {
    let parts = [&event.resource_type, &event.resource_id];
    let resource: Vec<&str> = parts.iter().filter_map(|part| part.as_deref()).collect();
    let user = event.user_name.clone();
    let user_id = event.user_id.map(|id| id.to_string());
    EventRow {
        at: desk.when(event.timestamp),
        what: format!("{} {}", event.category, event.action),
        result: event.result.clone(),
        user: user.or(user_id).unwrap_or_default(),
        address: event.ip_address.clone().unwrap_or_default(),
        target: event.target.clone().unwrap_or_else(|| resource.join(" ")),
        place: event
            .place
            .host
            .clone()
            .unwrap_or_else(|| event.source.clone()),
        has_cui: event.cui_accessed,
    }
}

const FIELDS: [&str; 10] = [
    "since", "until", "user", "ip", "category", "action", "result", "service", "host", "text",
];

fn asked(fields: &Fields) -> EventQuestion {
    let get = |name| fields.get(name).trim().to_owned();
    EventQuestion {
        since: get("since"),
        until: get("until"),
        user: get("user"),
        ip: get("ip"),
        category: get("category"),
        action: get("action"),
        result: get("result"),
        service: get("service"),
        host: get("host"),
        text: get("text"),
    }
}

/// A time, or a length of time before now.
fn time_of(name: &str, text: &str, now: Timestamp) -> Result<Option<Timestamp>, AppError> {
    if text.is_empty() {
        return Ok(None);
    }
    if let Ok(span) = text.parse::<Span>() {
        return Ok(Some(now.minus(span)));
    }
    let padded = match text.len() {
        10 => format!("{text}T00:00:00Z"),
        16 => format!("{}:00Z", text.replace(' ', "T")),
        _ => text.replace(' ', "T"),
    };
    Timestamp::parse(&padded).map(Some).map_err(|_| {
        AppError::invalid(format!(
            "{name}: a length of time such as 24h, a day such as 2026-11-30, or a time in UTC such as \
             2026-11-30 14:05"
        ))
    })
}

fn filter_of(asked: &EventQuestion, now: Timestamp) -> Result<Filter, AppError> {
    fn word<T: std::str::FromStr>(name: &str, text: &str) -> Result<Option<T>, AppError> {
        if text.is_empty() {
            return Ok(None);
        }
        let value = text
            .parse()
            .map_err(|_| AppError::invalid(format!("{name}: `{text}` is not one of its kind")));
        value.map(Some)
    }
    fn choice<T: serde::de::DeserializeOwned>(
        name: &str,
        text: &str,
    ) -> Result<Option<T>, AppError> {
        if text.is_empty() {
            return Ok(None);
        }
        let value = serde_json::from_value(serde_json::Value::String(text.to_owned()));
        value
            .map(Some)
            .map_err(|_| AppError::invalid(format!("{name}: `{text}` is not one of its kind")))
    }
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Ok(Filter {
        since: time_of("Since", &asked.since, now)?,
        until: time_of("Until", &asked.until, now)?,
        user: some(&asked.user),
        ip: word("Address or network", &asked.ip)?,
        category: choice("Category", &asked.category)?,
        action: some(&asked.action),
        result: choice("Result", &asked.result)?,
        service: some(&asked.service),
        host: some(&asked.host),
        text: some(&asked.text),
        ..Filter::default()
    })
}

/// What else can be done with a search: path and words.
fn more(given: &[(&str, &str)], may_export: bool) -> Vec<(String, &'static str)> {
    let with = |path: &str, name, value| {
        let mut given = given.to_vec();
        given.push((name, value));
        address(path, &given)
    };
    let mut more = vec![
        (
            with("/events", "order", "oldest"),
            "As a timeline, the oldest first",
        ),
        (with("/events/counts", "by", "user"), "Count them"),
    ];
    if may_export {
        more.push((with("/events/export", "format", "csv"), "Save as CSV"));
        more.push((with("/events/export", "format", "ndjson"), "Save as NDJSON"));
    }
    more
}

/// The most events that leave as one file.
const EXPORT_MAX: usize = 50_000;

/// `GET /events/export`: the events of a search as a file, the oldest first.
pub(super) async fn export(mut visit: Visit, uri: Uri) -> Result<Response, NoPage> {
    let fields = Fields::of_query(uri.query());
    let format = match fields.get("format") {
        "ndjson" => Format::Ndjson,
        _ => Format::Csv,
    };
    let (asked, now) = (asked(&fields), visit.desk.now);
    let made = async {
        let question = Question::new(filter_of(&asked, now)?)?;
        let (mut items, mut unwritable) = (Vec::new(), None);
        let each = |event: Found| match serde_json::to_value(&event) {
            Ok(item) => {
                items.push(item);
                items.len() < EXPORT_MAX
            }
            Err(error) => {
                unwritable = Some(error);
                false
            }
        };
        events::export(&mut visit.session, &question, format.name(), each).await?;
        if let Some(error) = unwritable {
            return Err(AppError::unwritable(error));
        }
        let filters: Vec<(String, String)> = FIELDS
            .iter()
            .map(|name| ((*name).to_owned(), fields.get(name).trim().to_owned()))
            .filter(|(_, value)| !value.is_empty())
            .collect();
        let exported = Exported {
            what: "events",
            filters: &filters,
            format: format.name(),
            count: items.len() as u64,
        };
        export::list(&mut visit.session, Resource::Events, &exported).await?;
        export::render(format, &items)
    };
    let made = made.await;
    let (text, desk) = visit.finish(made).await?;
    Ok(file(&desk, "events", format, text))
}

/// What events are counted by on the page.
const COUNTED_BY: [&str; 6] = ["user", "ip", "action", "result", "service", "host"];
/// Values that are shown of each.
const COUNTED: u32 = 50;

/// `GET /events/counts`: how many events of a search there are by one of their fields.
pub(super) async fn counts(mut visit: Visit, uri: Uri) -> Result<Response, NoPage> {
    let fields = Fields::of_query(uri.query());
    let (asked, now) = (asked(&fields), visit.desk.now);
    let by = COUNTED_BY
        .iter()
        .find(|name| **name == fields.get("by"))
        .unwrap_or(&"user");
    let given: Vec<(&str, &str)> = FIELDS
        .iter()
        .map(|name| (*name, fields.get(name).trim()))
        .collect();
    let counted = async {
        let question = Question::new(filter_of(&asked, now)?)?;
        let field = events::FIELDS.iter().find(|field| field.name == *by);
        let field = field.ok_or_else(|| AppError::invalid("not a field to count by"))?;
        events::stats(&mut visit.session, &question, &[*field], None, COUNTED).await
    };
    let counted = counted.await;
    let (counted, desk) = visit.finish(counted).await?;
    let rows = counted
        .iter()
        .map(|count| {
            let value = count.values.first().cloned().flatten().unwrap_or_default();
            let mut narrowed: Vec<(&str, &str)> = given
                .iter()
                .copied()
                .filter(|(name, _)| name != by)
                .collect();
            narrowed.push((*by, &value));
            let link = address("/events", &narrowed);
            let words = if value.is_empty() { "none" } else { &value };
            vec![
                Cell::Link(link, words.to_owned()),
                Cell::Number(count.events.unsigned_abs()),
            ]
        })
        .collect();
    let table = Table {
        columns: vec!["Value", "Events"],
        rows,
        empty: "No events match.",
    };
    let about =
        "How many events of the search there are, by one of their fields; those with most first.";
    let mut page = desk.work("Counts of events", "Events", about, table);
    page.filter = Some(Form {
        action: "/events/counts".to_owned(),
        fields: FIELDS
            .iter()
            .map(|name| Field::text(name, name, fields.get(name).trim(), 200))
            .chain([Field::choice(
                "by",
                "Count by",
                by,
                COUNTED_BY.map(|name| (name, name)),
            )])
            .collect(),
        button: "Count",
        ..Form::default()
    });
    page.beside = vec![("/events", "Events")];
    Ok(html(&page))
}

/// `GET /events`. Without a question nothing is asked, and nothing recorded.
pub(super) async fn search(mut visit: Visit, uri: Uri) -> Result<Response, NoPage> {
    let fields = Fields::of_query(uri.query());
    let asked = asked(&fields);
    let oldest = fields.get("order") == "oldest";
    let mut given: Vec<(&str, &str)> = FIELDS
        .iter()
        .map(|name| (*name, fields.get(name).trim()))
        .collect();
    let is_asked = given.iter().any(|(_, value)| !value.is_empty());
    let more = is_asked.then(|| more(&given, visit.desk.may(Action::Export, Resource::Events)));
    if oldest {
        given.push(("order", "oldest"));
    }
    let context = address("/events", &given);
    let before = visit.console.cursors.open(&context, fields.get("after"));
    let is_later = before.is_some();
    let now = visit.desk.now;

    let found = async {
        if !is_asked {
            return Ok(None);
        }
        let mut filter = filter_of(&asked, now)?;
        filter.before = before.and_then(|at| at.parse::<Before>().ok());
        let question = Question::new(filter)?;
        let hint = question.clone();
        let search = Search {
            question,
            alert: None,
            timeline: oldest,
            limit: ROWS + 1,
        };
        let answer = events::search(&mut visit.session, search).await?;
        let empty = if answer.events.is_empty() {
            match hint.hint(&mut visit.session).await? {
                Some(hint) => hint,
                None if today::is_connected(&mut visit.session).await? => {
                    "No events match. A search without a start time covers the last 24 hours."
                        .to_owned()
                }
                None => "Nothing is connected yet, so there are no events.".to_owned(),
            }
        } else {
            String::new()
        };
        Ok(Some((answer.events, empty)))
    };
    let (found, error) = match found.await {
        Err(AppError::Invalid(text)) => (Ok(None), Some(text)),
        found => (found, None),
    };
    let console = Arc::clone(&visit.console);
    let (found, desk) = visit.finish(found).await?;

    let mut pager = Pager {
        first: is_later.then(|| context.clone()),
        next: None,
    };
    let (rows, empty) = match found {
        Some((mut events, empty)) => {
            let has_more = events.len() > ROWS as usize;
            events.truncate(ROWS as usize);
            // A timeline is the beginning of what there is.
            if let Some(last) = events.last().filter(|_| has_more && !oldest) {
                let at = Before {
                    at: last.timestamp,
                    id: last.event_id,
                };
                let after = console.cursors.sign(&context, &at.to_string());
                pager.next = Some(format!("{context}&after={after}"));
            }
            let rows = events.iter().map(|event| row(&desk, event)).collect();
            (Some(rows), empty)
        }
        None => (None, String::new()),
    };
    let page = EventsPage {
        question: asked,
        error,
        rows,
        pager,
        empty,
        more: more.unwrap_or_default(),
        frame: desk.frame("Events", "Events"),
    };
    Ok(html(&page))
}
