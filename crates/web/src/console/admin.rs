//! What administration pages share, sessions, certificates, and what runs here.

use std::sync::Arc;

use app::accounts::{self, Revoke, SessionRow};
use app::actor::{Action, Resource};
use app::{about, certificates};
use axum::extract::Path;
use axum::response::Response;
use pages::{Cell, Press, RecordPage, WorkPage};
use uuid::Uuid;

use super::form::{Done, Fields};
use super::{Desk, NoPage, Table, Visit, html, see_other};
/// The pages of administration, and what they show.
const BESIDE: [(&str, &str, Resource); 7] = [
    ("/admin", "Accounts", Resource::Users),
    ("/admin/keys", "API keys", Resource::Keys),
    ("/admin/sessions", "Sessions", Resource::Sessions),
    ("/admin/policy", "Policy", Resource::Policy),
    ("/admin/log", "Audit log", Resource::AuditLog),
    ("/admin/certificates", "Certificates", Resource::System),
    ("/upkeep", "Upkeep", Resource::System),
];

/// The pages of administration that the reader may open.
pub(super) fn beside(desk: &Desk) -> Vec<(&'static str, &'static str)> {
    let mut beside: Vec<_> = BESIDE
        .iter()
        .filter(|(_, _, resource)| desk.may(Action::Read, *resource))
        .map(|(path, words, _)| (*path, *words))
        .collect();
    beside.push(("/about", "About"));
    beside
}

/// A page of administration of one table.
pub(super) fn table(desk: &Desk, title: &str, about: &str, table: Table) -> WorkPage {
    WorkPage {
        beside: beside(desk),
        ..desk.work(title, "Admin", about, table)
    }
}

/// The columns of [`session_rows`].
pub(super) const SESSION_COLUMNS: [&str; 7] = [
    "Who",
    "From",
    "With",
    "Signed in by",
    "Since",
    "Last used",
    "Do",
];

/// Sessions, each with a button that ends it and leads to `back`.
pub(super) fn session_rows(desk: &Desk, sessions: &[SessionRow], back: &str) -> Vec<Vec<Cell>> {
    let may_end = desk.may(Action::Write, Resource::Sessions);
    sessions
        .iter()
        .map(|session| {
            let end = Press {
                action: format!("/admin/sessions/{}/end", session.session_id),
                words: "End",
                to: format!("the session of {}", session.username),
                hidden: vec![("here", back.to_owned())],
            };
            vec![
                Cell::from(session.username.clone()),
                Cell::from(session.ip_address.clone().unwrap_or_default()),
                Cell::from(session.user_agent.clone().unwrap_or_default()),
                Cell::from(session.factors.join(", ")),
                Cell::Time(Some(desk.when(session.created_at))),
                Cell::Time(Some(desk.when(session.seen_at))),
                if may_end {
                    Cell::Press(end)
                } else {
                    Cell::from("")
                },
            ]
        })
        .collect()
}

/// `GET /admin/sessions`.
pub(super) async fn sessions(mut visit: Visit) -> Result<Response, NoPage> {
    let found = accounts::sessions(&mut visit.session, None).await;
    let (found, desk) = visit.finish(found).await?;
    let table_of = Table {
        columns: SESSION_COLUMNS.to_vec(),
        rows: session_rows(&desk, &found, "/admin/sessions"),
        empty: "Nobody is signed in.",
    };
    let about = "Who is signed in. An account's page ends all of its sessions.";
    Ok(html(&table(&desk, "Sessions", about, table_of)))
}

/// `POST /admin/sessions/{id}/end`.
pub(super) async fn end_session(
    mut visit: Visit,
    Path(id): Path<String>,
    fields: Fields,
) -> Result<Response, NoPage> {
    visit.check_form(&fields)?;
    // What is not an ID is nobody's.
    let id = id.parse::<Uuid>().unwrap_or_default();
    let here = fields.place("here");
    let done = accounts::revoke_sessions(&mut visit.session, Revoke::Session(id)).await;
    let (ended, _) = visit.finish_form(&fields, done).await?;
    Ok(see_other(&Done::SignedOut(ended).at(&here)))
}

/// `GET /admin/certificates`.
pub(super) async fn certificates(visit: Visit) -> Result<Response, NoPage> {
    let config = Arc::clone(&visit.console.config);
    let found = certificates::list(&visit.session, &config).await;
    let (found, desk) = visit.finish(found).await?;
    let rows = found
        .iter()
        .map(|one| {
            let expiry = &one.expiry;
            let left = match (expiry.days_left(desk.now), &expiry.problem) {
                (_, Some(problem)) => Cell::Trouble(problem.clone()),
                (Some(days), None) if expiry.warning(desk.now).is_some() => {
                    Cell::Trouble(pages::count_of(days, "day"))
                }
                (Some(days), None) => Cell::from(pages::count_of(days, "day")),
                (None, None) => Cell::Trouble("expired, or not valid yet".to_owned()),
            };
            vec![
                Cell::from(expiry.key.clone()),
                Cell::from(one.names.join(", ")),
                left,
                Cell::Time(expiry.not_before.map(|at| desk.when(at))),
                Cell::Time(expiry.not_after.map(|at| desk.when(at))),
                Cell::from(expiry.file.display().to_string()),
            ]
        })
        .collect();
    let table_of = Table {
        columns: vec![
            "Used by",
            "Names",
            "Left",
            "Valid from",
            "Valid until",
            "File",
        ],
        rows,
        empty: "None is configured. `blueteam tls issue` makes one by an authority of your own; \
                ingest.tls_cert_file names one of another authority.",
    };
    let about = "The certificates that blueteam presents. Put a new one in the place of the old; it is \
                 taken within 20 seconds, without a restart.";
    Ok(html(&table(&desk, "Certificates", about, table_of)))
}

/// `GET /about`.
pub(super) async fn about(mut visit: Visit) -> Result<Response, NoPage> {
    let found = about::show(&mut visit.session).await;
    let (found, desk) = visit.finish(found).await?;
    let migration = if found.schema.applied == found.schema.known {
        Cell::from(found.schema.applied.to_string())
    } else {
        Cell::Trouble(format!(
            "{}; this program knows {}",
            found.schema.applied, found.schema.known
        ))
    };
    let page = RecordPage {
        back: None,
        about: String::new(),
        beside: beside(&desk),
        facts: vec![
            ("Version", Cell::from(found.version)),
            ("Migration of the database", migration),
            ("PostgreSQL", Cell::from(found.postgres)),
            ("License", Cell::from("Apache License 2.0")),
            (
                "Licenses of what is linked in",
                Cell::from(
                    "THIRD-PARTY-LICENSES.gz and blueteam.cdx.json (SBOM) of the package, in /usr/share/doc/blueteam",
                ),
            ),
        ],
        sections: Vec::new(),
        forms: Vec::new(),
        frame: desk.frame("About blueteam", "Admin"),
    };
    Ok(html(&page))
}
