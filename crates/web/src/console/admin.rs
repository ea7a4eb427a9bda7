//! Accounts, keys, sessions, and one's own.

use std::sync::Arc;

use app::{accounts, keys};
use axum::response::Response;
use pages::{AccountPage, Cell, FactorRow, ListPage, SessionRow};

use super::{Desk, NoPage, Table, Visit, html};
use crate::error::Problem;

/// The pages of administration.
const BESIDE: [(&str, &str); 3] = [
    ("/admin", "Accounts"),
    ("/admin/keys", "API keys"),
    ("/admin/sessions", "Sessions"),
];

fn table(
    desk: &Desk,
    title: &str,
    about: &str,
    columns: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
) -> ListPage {
    let empty = "None.";
    let table = Table {
        columns,
        rows,
        empty,
    };
    ListPage {
        beside: BESIDE.to_vec(),
        ..desk.table(title, "Admin", about, table)
    }
}

/// `GET /admin`.
pub(super) async fn users(mut visit: Visit) -> Result<Response, NoPage> {
    let found = accounts::list(&mut visit.session, accounts::Shown::default()).await;
    let (found, desk) = visit.finish(found).await?;
    let rows = found
        .iter()
        .map(|account| {
            let state = match (&account.disabled_reason, account.is_active) {
                (Some(reason), false) => Cell::Trouble(format!("disabled: {reason}")),
                (None, false) => Cell::Trouble("disabled".to_owned()),
                _ if account.locked_until.is_some_and(|until| until > desk.now) => {
                    Cell::Trouble("locked".to_owned())
                }
                _ if account.is_service => Cell::from("service"),
                _ if account.factors.is_empty() => Cell::Trouble("not set up".to_owned()),
                _ => Cell::from("in use"),
            };
            vec![
                Cell::from(account.username.clone()),
                Cell::from(account.full_name.clone().unwrap_or_default()),
                Cell::from(account.role.replace('_', " ")),
                state,
                Cell::from(account.factors.join(", ")),
                Cell::Time(account.last_login.map(|at| desk.when(at))),
                Cell::Time(Some(desk.when(account.created_at))),
            ]
        })
        .collect();
    let columns = vec![
        "Name",
        "Person",
        "Role",
        "State",
        "Second factors",
        "Last sign-in",
        "Created",
    ];
    let about =
        "Accounts of people and services. Use `blueteam users` to create, change or disable them.";
    Ok(html(&table(&desk, "Accounts", about, columns, rows)))
}

/// `GET /admin/keys`.
pub(super) async fn keys(mut visit: Visit) -> Result<Response, NoPage> {
    let found = keys::list(&mut visit.session).await;
    let (found, desk) = visit.finish(found).await?;
    let rows = found
        .iter()
        .map(|key| {
            let is_over = key.expires_at.is_some_and(|end| end <= desk.now);
            let state = match (key.is_active, is_over) {
                (false, _) => Cell::Trouble("revoked".to_owned()),
                (true, true) => Cell::Trouble("expired".to_owned()),
                (true, false) => Cell::from("active"),
            };
            vec![
                Cell::from(key.name.clone()),
                Cell::from(key.username.clone()),
                Cell::from(key.service.clone().unwrap_or_default()),
                Cell::from(key.prefix.clone()),
                Cell::from(key.scopes.join(", ")),
                state,
                Cell::Time(key.last_used.map(|at| desk.when(at))),
                Cell::Time(key.expires_at.map(|at| desk.when(at))),
            ]
        })
        .collect();
    let columns = vec![
        "Key",
        "Owner",
        "Service",
        "Prefix",
        "Scopes",
        "State",
        "Last used",
        "Expires",
    ];
    let about =
        "API keys of machines and people. Use `blueteam keys` to create, rotate or revoke them.";
    Ok(html(&table(&desk, "API keys", about, columns, rows)))
}

fn session_rows(desk: &Desk, sessions: &[accounts::SessionRow]) -> Vec<Vec<Cell>> {
    sessions
        .iter()
        .map(|session| {
            vec![
                Cell::from(session.username.clone()),
                Cell::from(session.ip_address.clone().unwrap_or_default()),
                Cell::from(session.user_agent.clone().unwrap_or_default()),
                Cell::from(session.factors.join(", ")),
                Cell::Time(Some(desk.when(session.created_at))),
                Cell::Time(Some(desk.when(session.seen_at))),
            ]
        })
        .collect()
}

const SESSION_COLUMNS: [&str; 6] = ["Who", "From", "With", "Signed in by", "Since", "Last used"];

/// `GET /admin/sessions`.
pub(super) async fn sessions(mut visit: Visit) -> Result<Response, NoPage> {
    let found = accounts::sessions(&mut visit.session, None).await;
    let (found, desk) = visit.finish(found).await?;
    let rows = session_rows(&desk, &found);
    let about = "Who is signed in. Use `blueteam sessions revoke` to end a session.";
    Ok(html(&table(
        &desk,
        "Sessions",
        about,
        SESSION_COLUMNS.to_vec(),
        rows,
    )))
}

/// `GET /account`: one's own factors and sessions.
pub(super) async fn account(visit: Visit) -> Result<Response, NoPage> {
    let person = visit.person.clone();
    let console = Arc::clone(&visit.console);
    let ((), desk) = visit.finish(Ok(())).await?;
    let door = &console.door;
    let factors = door.own_factors(&person).await.map_err(Problem::from)?;
    let sessions = door.own_sessions(&person).await.map_err(Problem::from)?;
    let page = AccountPage {
        factors: factors
            .iter()
            .map(|factor| FactorRow {
                name: factor.name.clone(),
                kind: match factor.kind.as_str() {
                    "passkey" => "passkey",
                    _ => "authenticator app",
                },
                added: desk.when(factor.created_at),
                last_used: factor.last_used.map(|at| desk.when(at)),
            })
            .collect(),
        sessions: sessions
            .iter()
            .map(|session| SessionRow {
                from: session.ip_address.clone().unwrap_or_default(),
                with: session.user_agent.clone().unwrap_or_default(),
                by: session.factors.join(", "),
                since: desk.when(session.created_at),
                last_used: desk.when(session.seen_at),
            })
            .collect(),
        may_add_passkey: door.has_passkeys(),
        frame: desk.frame("My account", ""),
    };
    Ok(html(&page))
}
