//! Events: what applications and logs said (3.3.6). Every question is recorded with who asked it,
//! before it is answered.

use std::pin::pin;
use std::time::Duration;

use model::{Clock as _, Span, SystemClock};
use serde_json::{Value, json};
use store::PgConnection;
use store::search::{self, Command, Order, Tail};

use crate::actor::Resource;
use crate::{AppError, Session, alerts, names};

pub use store::search::{Asked, Count, FIELDS, Field, Filter, Found, Measure, Range};

/// A question that names no beginning goes back this far.
const REACH: Span = Span::hours(24);
/// The events of an alert may lie this far outside its first and last times: events come out of
/// order.
const AROUND: Span = Span::hours(24);
/// How far events may be dated ahead of the present and still head a search. A wrong clock may be
/// that far off; what lies beyond would hide everything that happens until then.
const AHEAD: Span = Span::hours(24);
/// How many events beyond that are counted.
const AHEAD_MAX: u32 = 1000;
/// How often the database is asked for new events.
const EVERY: Duration = Duration::from_millis(500);

/// A question about the past.
#[derive(Clone, Debug)]
pub struct Question(Filter);

impl Question {
    /// Asks for what matches `filter`: of the last 24 hours where it names no beginning. Events
    /// that are named are found wherever they lie.
    pub fn new(mut filter: Filter) -> Result<Self, AppError> {
        let since = filter
            .since
            .unwrap_or_else(|| SystemClock.now().minus(REACH));
        if filter.until.is_some_and(|until| until <= since) {
            return Err(AppError::invalid("--until must be later than --since"));
        }

        if filter.ids.is_empty() {
            filter.since = Some(since);
        }
        filter.source = known_source(filter.source.as_deref())?;
        Ok(Self(filter))
    }

    /// Returns what is probably wrong with a question that found nothing: the name of the user.
    pub async fn hint(&self, session: &mut Session) -> Result<Option<String>, AppError> {
        match &self.0.user {
            Some(user) => names::user_hint(session.read(Resource::Events)?, user).await,
            None => Ok(None),
        }
    }

    /// Asks for the events of an alert instead of those of a time. Returns how many events the
    /// alert has beyond those that it keeps.
    async fn narrow(&mut self, conn: &mut PgConnection, alert: &str) -> Result<Kept, AppError> {
        let id = alerts::find(conn, alert).await?;
        let alert = store::alerts::show(conn, id)
            .await?
            .ok_or_else(|| AppError::not_found("the alert is gone"))?;
        if alert.event_ids.is_empty() {
            return Err(AppError::conflict(
                "the alert rests on no event: something was missing",
            ));
        }

        self.0.since = Some(alert.first_seen.minus(AROUND));
        self.0.until = Some(alert.last_seen.plus(AROUND));
        self.0.ids = alert.event_ids.iter().map(|id| id.0).collect();

        Ok(Kept {
            kept: self.0.ids.len(),
            all: alert.event_count,
        })
    }
}

/// How many of an alert's events its record names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Those that it names: the first ones.
    pub kept: usize,
    /// Those that it rests on.
    pub all: u64,
}

/// A few events.
#[derive(Clone, Debug)]
pub struct Search<'a> {
    /// Which.
    pub question: Question,
    /// Those of the alert whose ID begins like this.
    pub alert: Option<&'a str>,
    /// The oldest first.
    pub timeline: bool,
    /// At most this many.
    pub limit: u32,
}

/// What a search found.
#[derive(Debug)]
pub struct Answer {
    /// The events.
    pub events: Vec<Found>,
    /// How many events the alert names, of a search by alert.
    pub kept: Option<Kept>,
    /// Matching events that are dated more than a day ahead, which a search without an end leaves
    /// out: 1,000 are that many or more.
    pub ahead: u64,
}

/// Searches events.
pub async fn search(session: &mut Session, mut search: Search<'_>) -> Result<Answer, AppError> {
    let asker = session.actor().clone();
    let conn = session.read(Resource::Events)?;
    let kept = match search.alert {
        Some(alert) => Some(search.question.narrow(conn, alert).await?),
        None => None,
    };

    let filter = &search.question.0;
    let asked = asked_for(
        filter,
        &json!({ "timeline": search.timeline, "limit": search.limit }),
    )?;
    let query = search::record(conn, &asker, Command::Search, &asked).await?;

    let limit = SystemClock.now().plus(AHEAD);
    let mut filter = filter.clone();
    let open_end = filter.until.is_none() && filter.ids.is_empty();
    if open_end {
        filter.until = Some(limit);
    }
    let order = if search.timeline {
        Order::Oldest
    } else {
        Order::Newest
    };
    let mut events = Vec::new();
    search::events(conn, &filter, order, Some(search.limit), |event| {
        events.push(event);
        true
    })
    .await?;
    let ahead = if open_end {
        search::count_from(conn, &filter, limit, AHEAD_MAX).await?
    } else {
        0
    };
    search::answered(conn, query, events.len() as u64).await?;

    Ok(Answer {
        events,
        kept,
        ahead,
    })
}

/// Hands every event that matches to `each`, the oldest first, until it returns `false`. `format`
/// is recorded with the question.
pub async fn export(
    session: &mut Session,
    question: &Question,
    format: &str,
    each: impl FnMut(Found) -> bool,
) -> Result<(), AppError> {
    let asker = session.actor().clone();
    let conn = session.export(Resource::Events)?;
    let asked = asked_for(&question.0, &json!({ "format": format }))?;
    let query = search::record(conn, &asker, Command::Export, &asked).await?;

    let rows = search::events(conn, &question.0, Order::Oldest, None, each).await?;
    search::answered(conn, query, rows).await?;

    Ok(())
}

/// Hands at most `limit` events that match to `each`, the oldest first, until it returns `false`, to
/// be kept as evidence. Returns what was asked, as it is recorded.
pub(crate) async fn excerpt(
    session: &mut Session,
    question: &Question,
    limit: u32,
    each: impl FnMut(Found) -> bool,
) -> Result<Value, AppError> {
    let asker = session.actor().clone();
    let conn = session.read(Resource::Events)?;
    let filter = asked_for(&question.0, &json!({}))?;
    let asked = asked_for(&question.0, &json!({ "evidence": true, "limit": limit }))?;
    let query = search::record(conn, &asker, Command::Search, &asked).await?;

    let rows = search::events(conn, &question.0, Order::Oldest, Some(limit), each).await?;
    search::answered(conn, query, rows).await?;

    Ok(filter)
}

/// Counts events by these fields, the most frequent values first, or those with the largest sum of
/// `measure`.
pub async fn stats(
    session: &mut Session,
    question: &Question,
    by: &[Field],
    measure: Option<Measure>,
    limit: u32,
) -> Result<Vec<Count>, AppError> {
    let asker = session.actor().clone();
    let conn = session.read(Resource::Events)?;
    let names: Vec<&str> = by.iter().map(|field| field.name).collect();
    let asked = asked_for(
        &question.0,
        &json!({ "by": names, "of": measure.map(Measure::name) }),
    )?;
    let query = search::record(conn, &asker, Command::Stats, &asked).await?;

    let counts = search::stats(conn, &question.0, by, measure, limit).await?;
    search::answered(conn, query, counts.len() as u64).await?;

    Ok(counts)
}

/// Hands each event that matches to `each` as it comes, once, in whatever order writers commit,
/// until `each` returns `false` or `stop` is ready.
pub async fn tail(
    session: &mut Session,
    filter: &Filter,
    stop: impl Future,
    mut each: impl FnMut(&Found) -> bool,
) -> Result<(), AppError> {
    let filter = &Filter {
        source: known_source(filter.source.as_deref())?,
        ..filter.clone()
    };
    let asker = session.actor().clone();
    let conn = session.read(Resource::Events)?;
    let asked = asked_for(filter, &json!({}))?;
    let query = search::record(conn, &asker, Command::Tail, &asked).await?;

    let mut tail = Tail::begin(conn).await?;
    let mut stop = pin!(stop);
    let mut rows = 0;
    loop {
        tokio::select! {
            _ = &mut stop => {
                search::answered(conn, query, rows).await?;
                return Ok(());
            }
            () = tokio::time::sleep(EVERY) => {}
        }

        let mut wants_more = true;
        tail.next(conn, filter, |event| {
            rows += 1;
            wants_more = each(&event);
            wants_more
        })
        .await?;

        // Nobody saw the end: the question stays unanswered in the record.
        if !wants_more {
            return Ok(());
        }
    }
}

/// Returns who asked what, the newest first, at most `limit`.
pub async fn questions(session: &mut Session, limit: u32) -> Result<Vec<Asked>, AppError> {
    Ok(search::asked(session.read(Resource::Events)?, limit).await?)
}

/// Returns a source by the name that its events have.
fn known_source(name: Option<&str>) -> Result<Option<String>, AppError> {
    name.map(|name| names::source(name).map(|source| source.to_string()))
        .transpose()
}

/// What is recorded of a question.
fn asked_for(filter: &Filter, more: &Value) -> Result<Value, AppError> {
    let mut asked = serde_json::to_value(filter).map_err(anyhow::Error::from)?;
    if let (Some(asked), Some(more)) = (asked.as_object_mut(), more.as_object()) {
        asked.extend(more.clone());
        asked.retain(|_, value| *value != json!(false));
    }
    Ok(asked)
}
