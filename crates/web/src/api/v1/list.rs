//! Lists: pages with signed cursors, totals, and the same as CSV or NDJSON by `Accept`.
//!
//! A cursor is opaque: what it holds is signed with the path and filters it belongs to, so that one
//! that was made up, or belongs to another list, is refused (400) and tells nothing.

use std::str::FromStr;
use std::sync::Arc;

use app::export::{self, Format};
use app::listing::Before;
use app::{AppError, Session};
use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::{Api, Needs};
use crate::api::State as Shared;
use crate::api::people::no_store;
use crate::error::Problem;
use crate::percent::percent;

/// The most entries of a page.
pub(super) const LIMIT_MAX: u32 = 200;
/// Entries of a page, unless it is said.
pub(super) const LIMIT: u32 = 100;
/// The longest query, in bytes.
const QUERY_MAX: usize = 8 * 1024;

/// What is wrong with a parameter.
#[derive(Debug)]
pub(super) enum Wrong {
    /// There is none of this name.
    Unknown,
    /// It is given twice.
    Twice,
    /// Its value is not one of its kind.
    Value,
}

impl Wrong {
    const fn text(&self) -> &'static str {
        match self {
            Self::Unknown => "there is no such parameter",
            Self::Twice => "given twice",
            Self::Value => "not a value of this parameter",
        }
    }
}

/// Parameters of a query.
pub(super) trait Parameters: Default + Send {
    /// Takes one of them.
    fn set(&mut self, name: &str, value: &str) -> Result<(), Wrong>;
}

/// Reads the value of a parameter.
pub(super) fn read<T: FromStr>(to: &mut Option<T>, value: &str) -> Result<(), Wrong> {
    if to.is_some() {
        return Err(Wrong::Twice);
    }
    *to = Some(value.parse().map_err(|_| Wrong::Value)?);
    Ok(())
}

/// A word that is read as it is in JSON.
pub(super) struct Word<T>(pub(super) T);

impl<T: DeserializeOwned> FromStr for Word<T> {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        let word = Value::String(text.to_owned());
        serde_json::from_value(word)
            .map(Self)
            .map_err(|_| Wrong::Value)
    }
}

/// No parameters.
#[derive(Default)]
pub(super) struct Nothing;

impl Parameters for Nothing {
    fn set(&mut self, _: &str, _: &str) -> Result<(), Wrong> {
        Err(Wrong::Unknown)
    }
}

fn wrong_parameter(name: &str, why: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "a parameter of the query is wrong")
        .kind("bad-parameter")
        .errors(json!([{ "parameter": model::text::clip(name, 100), "detail": why }]))
}

fn pairs_of(parts: &Parts) -> Result<Vec<(String, String)>, Problem> {
    if parts
        .uri
        .query()
        .is_some_and(|query| query.len() > QUERY_MAX)
    {
        return Err(wrong_parameter("", "the query is too long"));
    }
    let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
        .map_err(|_| wrong_parameter("", "the query cannot be read"))?;
    Ok(pairs)
}

/// The parameters of a route that is not a list.
pub(super) struct Asked<P>(pub(super) P);

impl<P: Parameters> FromRequestParts<Arc<Shared>> for Asked<P> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Shared>) -> Result<Self, Problem> {
        let mut asked = P::default();
        for (name, value) in pairs_of(parts)? {
            asked
                .set(&name, &value)
                .map_err(|wrong| wrong_parameter(&name, wrong.text()))?;
        }
        Ok(Self(asked))
    }
}

/// The parameters of a list, and which page of it is asked for.
pub(super) struct Listing<P> {
    pub(super) query: P,
    pub(super) page: Page,
}

/// Which page of a list is asked for, and in which form.
#[derive(Debug)]
pub(super) struct Page {
    limit: u32,
    /// What the cursor holds.
    after: Option<String>,
    pub(super) count: bool,
    format: Option<Format>,
    /// Path and filters, to which cursors belong.
    context: String,
    path: String,
    /// The filters as they were sent, for the link to the next page.
    filters: Vec<(String, String)>,
    needs: Needs,
}

impl<P: Parameters> FromRequestParts<Arc<Shared>> for Listing<P> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<Shared>) -> Result<Self, Problem> {
        let mut query = P::default();
        let (mut limit, mut cursor, mut count) = (None::<u32>, None::<String>, None::<bool>);
        let mut filters = Vec::new();
        for (name, value) in pairs_of(parts)? {
            let taken = match name.as_str() {
                "limit" => read(&mut limit, &value),
                "cursor" => read(&mut cursor, &value),
                "count" => read(&mut count, &value),
                _ => {
                    let taken = query.set(&name, &value);
                    filters.push((name.clone(), value));
                    taken
                }
            };
            taken.map_err(|wrong| wrong_parameter(&name, wrong.text()))?;
        }
        let limit = limit.unwrap_or(LIMIT);
        if !(1..=LIMIT_MAX).contains(&limit) {
            return Err(wrong_parameter("limit", "from 1 to 200"));
        }

        let mut sorted = filters.clone();
        sorted.sort();
        let path = parts.uri.path().to_owned();
        let context = json!([path, sorted]).to_string();
        let after = match (cursor, &state.console) {
            (None, _) => None,
            (Some(cursor), Some(console)) => {
                let opened = console.cursors.open(&context, &cursor);
                Some(opened.ok_or_else(|| {
                    wrong_parameter(
                        "cursor",
                        "not a cursor of this list with these filters, or from before a restart: \
                         begin again without one",
                    )
                })?)
            }
            (Some(_), None) => return Err(wrong_parameter("cursor", "there are none here")),
        };
        let needs = parts.extensions.get::<Needs>().copied();
        let needs = needs.ok_or_else(|| Problem::unavailable("nobody knows what this needs"))?;

        Ok(Self {
            query,
            page: Page {
                limit,
                after,
                count: count.unwrap_or(false),
                format: format_of(&parts.headers),
                context,
                path,
                filters,
                needs,
            },
        })
    }
}

/// The form that `Accept` asks for; none for JSON. The first that is known counts.
fn format_of(headers: &HeaderMap) -> Option<Format> {
    let accept = headers.get(header::ACCEPT)?.to_str().ok()?;
    let kinds = accept.split(',').filter_map(|kind| kind.split(';').next());
    for kind in kinds {
        match kind.trim() {
            "text/csv" => return Some(Format::Csv),
            "application/x-ndjson" | "application/ndjson" => return Some(Format::Ndjson),
            "application/json" | "*/*" | "application/*" => return None,
            _ => {}
        }
    }
    None
}

impl Page {
    /// How many entries to fetch: one more than are shown tells whether there are more.
    pub(super) const fn fetch(&self) -> u32 {
        self.limit + 1
    }

    /// Why there is no total.
    pub(super) fn no_total() -> Problem {
        wrong_parameter("count", "this list is not counted")
    }

    pub(super) const fn limit(&self) -> usize {
        self.limit as usize
    }

    /// Where the page before ended, of a list that the database pages.
    pub(super) fn before(&self) -> Option<Before> {
        self.after.as_deref().and_then(|after| after.parse().ok())
    }

    /// The page of a list that is there as a whole: the entries after the one at which the page
    /// before ended, by its id; if that is gone, from where it stood.
    pub(super) fn cut<T>(&self, mut all: Vec<T>, id: impl Fn(&T) -> String) -> Cut<T> {
        let total = all.len() as u64;
        let position = self
            .after
            .as_deref()
            .and_then(|after| after.split_once(' '));
        let start = position.map_or(0, |(offset, last)| {
            let offset: usize = offset.parse().unwrap_or(0);
            let found = all.iter().position(|entry| id(entry) == last);
            found.map_or_else(|| offset.saturating_sub(1), |found| found + 1)
        });
        let mut items = all.split_off(start.min(all.len()));
        let more = items.len() > self.limit();
        items.truncate(self.limit());
        let next = more
            .then(|| {
                items
                    .last()
                    .map(|last| format!("{} {}", start + items.len(), id(last)))
            })
            .flatten();
        Cut {
            items,
            next,
            total: Some(total),
        }
    }

    /// The page of a list that the database pages; one entry more than are shown was fetched.
    pub(super) fn fetched<T>(
        &self,
        mut items: Vec<T>,
        total: Option<u64>,
        position: impl Fn(&T) -> Before,
    ) -> Cut<T> {
        let more = items.len() > self.limit();
        items.truncate(self.limit());
        let next = more
            .then(|| items.last().map(|last| position(last).to_string()))
            .flatten();
        Cut { items, next, total }
    }
}

/// A page.
pub(super) struct Cut<T> {
    items: Vec<T>,
    /// What the next page begins after.
    next: Option<String>,
    total: Option<u64>,
}

impl Api {
    /// Answers a page.
    pub(super) async fn page<T: Serialize>(
        mut self,
        page: Page,
        result: Result<Cut<T>, AppError>,
    ) -> Result<Response, Problem> {
        let rendered = match result {
            Ok(cut) => render(&mut self.session, &self.console.cursors, &page, cut).await,
            Err(error) => Err(error),
        };
        self.checked(rendered).await
    }
}

async fn render<T: Serialize>(
    session: &mut Session,
    cursors: &app::listing::CursorKey,
    page: &Page,
    cut: Cut<T>,
) -> Result<Response, AppError> {
    let next = cut.next.map(|after| cursors.sign(&page.context, &after));
    let items: Vec<Value> = cut
        .items
        .iter()
        .map(serde_json::to_value)
        .collect::<Result<_, _>>()
        .map_err(AppError::unwritable)?;
    let Some(format) = page.format else {
        let mut body = Map::new();
        body.insert("items".to_owned(), Value::Array(items));
        body.insert("next".to_owned(), json!(next));
        if page.count {
            body.insert("total".to_owned(), json!(cut.total));
        }
        return Ok(no_store(axum::Json(Value::Object(body)).into_response()));
    };

    // Before it is handed out: what cannot be recorded does not leave.
    let exported = export::Exported {
        what: &page.path,
        filters: &page.filters,
        format: format.name(),
        count: items.len() as u64,
    };
    export::list(session, page.needs.1, &exported).await?;
    let text = export::render(format, &items)?;
    let kind = HeaderValue::from_static(format.media_type());
    let mut response = no_store(([(header::CONTENT_TYPE, kind)], text).into_response());
    if let Some(link) = next.and_then(|next| next_link(page, &next)) {
        response.headers_mut().insert(header::LINK, link);
    }
    if let Some(total) = cut.total.filter(|_| page.count) {
        let name = header::HeaderName::from_static("total-count");
        response
            .headers_mut()
            .insert(name, HeaderValue::from(total));
    }
    Ok(response)
}

/// The link to the next page (RFC 8288), for forms that have no place for a cursor.
fn next_link(page: &Page, next: &str) -> Option<HeaderValue> {
    let mut link = format!("<{}?limit={}&cursor={next}", page.path, page.limit);
    for (name, value) in &page.filters {
        link.push('&');
        link.push_str(&percent(name));
        link.push('=');
        link.push_str(&percent(value));
    }
    link.push_str(">; rel=\"next\"");
    HeaderValue::from_str(&link).ok()
}

#[cfg(test)]
mod tests {
    use app::actor::{Action, Resource};

    use super::*;

    fn page(limit: u32, after: Option<&str>) -> Page {
        Page {
            limit,
            after: after.map(str::to_owned),
            count: false,
            format: None,
            context: String::new(),
            path: "/api/v1/rules".to_owned(),
            filters: vec![("q".to_owned(), "a b&c>".to_owned())],
            needs: Needs(Action::Read, Resource::Rules),
        }
    }

    #[test]
    fn pages_neither_skip_nor_repeat_also_where_the_last_entry_is_gone() {
        let id = |n: &u32| n.to_string();
        let all: Vec<u32> = (0..7).collect();
        let mut seen = Vec::new();
        let mut after = None;
        loop {
            let cut = page(3, after.as_deref()).cut(all.clone(), id);
            assert_eq!(cut.total, Some(7));
            seen.extend(cut.items);
            after = cut.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(seen, all);

        let gone: Vec<u32> = all.iter().copied().filter(|n| *n != 2).collect();
        let cut = page(3, Some("3 2")).cut(gone, id);
        assert_eq!(cut.items, [3, 4, 5]);
        let cut = page(3, Some("900 99")).cut(all, id);
        assert!(cut.items.is_empty() && cut.next.is_none());
    }

    #[test]
    fn a_filter_does_not_break_out_of_the_link() {
        let link = next_link(&page(3, None), "abc").unwrap();
        assert_eq!(
            link.to_str().unwrap(),
            "</api/v1/rules?limit=3&cursor=abc&q=a%20b%26c%3E>; rel=\"next\""
        );
    }
}
