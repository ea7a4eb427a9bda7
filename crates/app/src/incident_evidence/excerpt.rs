//! Excerpts: events that a query finds, kept with the query.

use model::{Clock as _, EvidenceItem, IncidentEvidenceKind, SystemClock};
use serde_json::json;

use super::files::Incoming;
use super::{ItemView, Keeping, described, open_incident, take_in, with_file};
use crate::actor::{Action, Resource};
use crate::events::{self, Question};
use crate::{AppError, Session};

/// The most events of an excerpt.
pub const LIMIT_MAX: u32 = 1_000_000;

/// An excerpt to be taken in.
#[derive(Clone, Debug)]
pub struct Excerpt<'a> {
    /// The incident, or the first characters of its ID.
    pub incident: &'a str,
    /// Which events.
    pub question: Question,
    /// At most this many, the oldest first.
    pub limit: u32,
    /// What it shows, in a sentence; without it, that it is an excerpt.
    pub shows: Option<&'a str>,
}

/// An excerpt that was taken in.
#[derive(Clone, Debug)]
pub struct Excerpted {
    /// The item.
    pub item: ItemView,
    /// How many events it has.
    pub found: u64,
    /// Whether there are more that match, which the limit left out.
    pub is_cut: bool,
}

/// Keeps the events that a query finds as evidence, the oldest first, one JSON object a line; with
/// the query, how many they are, and whether the limit cut them.
pub async fn excerpt(
    session: &mut Session,
    keeping: Keeping<'_>,
    wanted: &Excerpt<'_>,
) -> Result<Excerpted, AppError> {
    session.require(Action::Write, Resource::Incidents)?;
    if !(1..=LIMIT_MAX).contains(&wanted.limit) {
        return Err(AppError::invalid(format!(
            "--limit: from 1 to {LIMIT_MAX} events"
        )));
    }
    let shows = wanted.shows.map(described).transpose()?;
    let (incident, tenant) = open_incident(session, wanted.incident).await?;

    let mut incoming = Incoming::begin(keeping.state, tenant, None)?;
    let mut found: u64 = 0;
    let mut is_cut = false;
    let mut failed: Result<(), AppError> = Ok(());
    let limit = u64::from(wanted.limit);
    let asked_at = SystemClock.now();
    let asked = events::excerpt(session, &wanted.question, wanted.limit + 1, |event| {
        // One more is asked for, and says that there is more.
        if found == limit {
            is_cut = true;
            return false;
        }
        found += 1;
        failed = serde_json::to_string(&event)
            .map_err(AppError::unwritable)
            .and_then(|line| incoming.write((line + "\n").as_bytes()));
        failed.is_ok()
    })
    .await?;
    failed?;

    let query = json!({
        "filter": asked,
        "order": "oldest first",
        "limit": wanted.limit,
        "found": found,
        "cut": is_cut,
        "asked_at": asked_at,
    });
    let shows = shows.unwrap_or_else(|| {
        let more = if is_cut {
            ", and more that the limit left out"
        } else {
            ""
        };
        format!("{found} events that a query found{more}")
    });
    let item = EvidenceItem {
        kind: IncidentEvidenceKind::LogExcerpt.as_str().to_owned(),
        description: shows,
        query: Some(query.to_string()),
        ..EvidenceItem::default()
    };
    let item = with_file(item, incoming.end()?, "events.ndjson");
    let remark = "found by the query among the stored events".to_owned();
    let record = take_in(session, incident, item, None, Some(remark)).await?;
    Ok(Excerpted {
        item: ItemView::of(&record, &[]),
        found,
        is_cut,
    })
}
