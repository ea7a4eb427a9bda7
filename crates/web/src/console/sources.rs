//! Sources: the account of each, and of one its gaps, its senders, and what of it could not be read.

use std::sync::Arc;

use app::machine::{self, About};
use app::sources::{self, DeadLetter, Details, Gap, Listed, Sender};
use axum::extract::Path;
use axum::response::Response;
use pages::{Cell, Frame, RecordPage, Section, SourceRow, SourcesPage};

use super::today::banners;
use super::{Desk, NoPage, Visit, html};
use crate::percent::percent;

/// Entries that could not be read that are shown of a source.
const LETTERS: u32 = 50;
/// The most of an entry that is shown, in bytes.
const SAMPLE_MAX: usize = 500;

/// `GET /sources`.
pub(super) async fn list(mut visit: Visit) -> Result<Response, NoPage> {
    let console = Arc::clone(&visit.console);
    let found = async {
        let found = sources::list(&mut visit.session).await?;
        let warnings = machine::warnings(&visit.session, &console.config, &console.state).await?;
        Ok((found, warnings))
    };
    let found = found.await;
    let ((found, warnings), desk) = visit.finish(found).await?;
    let page = SourcesPage {
        rows: found.iter().map(|listed| row(&desk, listed)).collect(),
        frame: Frame {
            banners: banners(&warnings, Some(About::Spool)),
            ..desk.frame("Sources", "Sources")
        },
    };
    Ok(html(&page))
}

fn row(desk: &Desk, listed: &Listed) -> SourceRow {
    let row = &listed.row;
    let mut trouble = Vec::new();
    if row.rejected > 0 {
        trouble.push(format!("entries that could not be read: {}", row.rejected));
    }
    if !listed.partly_unread.is_empty() {
        trouble.push("some senders' lines are not understood".to_owned());
    }
    SourceRow {
        id: row.source_id.clone(),
        path: format!("/sources/{}", percent(&row.source_id)),
        kind: row.kind.to_string(),
        hosts: listed.hosts.join(", "),
        last: row.last_received_at.map(|at| desk.when(at)),
        account: [
            row.received,
            row.accepted,
            row.ignored,
            row.repeated,
            row.rejected,
        ],
        trouble: trouble.join("; "),
    }
}

/// `GET /sources/{id}`.
pub(super) async fn show(mut visit: Visit, Path(id): Path<String>) -> Result<Response, NoPage> {
    let found = async {
        let details = sources::show(&mut visit.session, &id).await?;
        let letters = sources::dead_letters(&mut visit.session, Some(&id), LETTERS).await?;
        Ok((details, letters))
    };
    let found = found.await;
    let ((details, letters), desk) = visit.finish(found).await?;
    let page = RecordPage {
        back: Some(("/sources".to_owned(), "Sources")),
        about: String::new(),
        beside: Vec::new(),
        facts: facts(&desk, &details),
        sections: vec![
            gaps(&desk, &details.gaps),
            unread(&desk, &letters),
            senders(&desk, &details.senders),
        ],
        forms: Vec::new(),
        frame: desk.frame(&details.row.source_id, "Sources"),
    };
    Ok(html(&page))
}

fn facts(desk: &Desk, details: &Details) -> Vec<(&'static str, Cell)> {
    let row = &details.row;
    let when = |at: Option<model::Timestamp>| Cell::Time(at.map(|at| desk.when(at)));
    let span = |span: Option<model::Span>| {
        Cell::from(span.map_or_else(String::new, |span| span.to_string()))
    };
    let mut facts = vec![
        ("Kind", Cell::from(row.kind.to_string())),
        ("Known since", when(Some(row.first_seen_at))),
        ("Last heard", when(row.last_received_at)),
        ("Newest event", when(row.last_event_at)),
        ("Expected every", span(row.expected_every)),
        (
            "Usual pause in business hours",
            span(details.usual_pause_open),
        ),
        ("Usual pause otherwise", span(details.usual_pause_closed)),
        ("Received", Cell::Number(row.received)),
        ("Accepted", Cell::Number(row.accepted)),
        ("Ignored", Cell::Number(row.ignored)),
        ("Repeated", Cell::Number(row.repeated)),
        ("Rejected", Cell::Number(row.rejected)),
        ("Dropped", Cell::Number(row.dropped)),
    ];
    if let Some(missing) = details.missing_numbers.filter(|missing| *missing > 0) {
        let text = format!("{missing} are missing");
        facts.push(("Numbers of its sequence", Cell::Trouble(text)));
    }
    if row.silent_since.is_some() {
        facts.push(("Silent since", when(row.silent_since)));
    }
    facts.retain(|(_, value)| match value {
        Cell::Text(text) => !text.is_empty(),
        Cell::Time(at) => at.is_some(),
        _ => true,
    });
    facts
}

fn gaps(desk: &Desk, gaps: &[Gap]) -> Section {
    let row = |gap: &Gap| {
        vec![
            Cell::from(gap.cause.as_str()),
            Cell::Time(Some(desk.when(gap.started_at))),
            match gap.ended_at {
                Some(at) => Cell::Time(Some(desk.when(at))),
                None => Cell::Trouble("still lasts".to_owned()),
            },
            gap.lost.map_or_else(|| Cell::from(""), Cell::Number),
            Cell::from(gap.detail.clone()),
        ]
    };
    Section {
        title: "Gaps",
        about: "Times in which something of it is missing, and why.".to_owned(),
        columns: vec!["Cause", "From", "Until", "Lost", "What is known"],
        rows: gaps.iter().map(row).collect(),
        empty: "No gaps.",
    }
}

fn unread(desk: &Desk, letters: &[DeadLetter]) -> Section {
    let row = |kept: &DeadLetter| {
        let letter = &kept.letter;
        vec![
            Cell::Time(Some(desk.when(kept.received_at))),
            Cell::from(letter.reason.clone()),
            Cell::from(letter.place.clone()),
            Cell::from(
                model::text::shorten(&String::from_utf8_lossy(&letter.entry), SAMPLE_MAX)
                    .into_owned(),
            ),
        ]
    };
    Section {
        title: "What could not be read",
        about: "The newest entries of it that no event could be made of, with their beginnings."
            .to_owned(),
        columns: vec!["When", "Why", "Where", "Beginning"],
        rows: letters.iter().map(row).collect(),
        empty: "Everything could be read.",
    }
}

fn senders(desk: &Desk, senders: &[Sender]) -> Section {
    let row = |sender: &Sender| {
        let unparsed = if sender.unread(desk.now).is_some() {
            Cell::Trouble(sender.unparsed.to_string())
        } else {
            Cell::Number(sender.unparsed)
        };
        vec![
            Cell::from(sender.key.peer.clone()),
            Cell::from(sender.key.host.clone()),
            Cell::Number(sender.lines),
            Cell::Number(sender.events),
            unparsed,
            Cell::Time(Some(desk.when(sender.first_seen_at))),
            Cell::Time(Some(desk.when(sender.last_seen_at))),
        ]
    };
    Section {
        title: "Senders",
        about: "Who sends it, and the machines that its lines name.".to_owned(),
        columns: vec![
            "Address",
            "Machine",
            "Lines",
            "Events",
            "Not understood",
            "First heard",
            "Last heard",
        ],
        rows: senders.iter().map(row).collect(),
        empty: "Nobody is known by name or address.",
    }
}
