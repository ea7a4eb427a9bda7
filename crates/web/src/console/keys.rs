//! API keys: of machines, and one's own.

use app::actor::{Action, Resource};
use app::keys::{self, GRACE, Key, Kind};
use app::{AppError, Session};
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use model::{ServiceName, Span, Timestamp};
use pages::{Cell, Field, Form, Press, SecretPage, WorkPage};

use super::form::{Done, Fields, kept, wrong};
use super::{Desk, NoPage, Table, Visit, admin, html, see_other};

/// What a new key is for: its scopes, and words.
const PURPOSES: [(&str, &str); 3] = [
    (
        "events:write",
        "an application, agent or relay sends events",
    ),
    ("metrics:read", "a monitoring system reads metrics"),
    ("read", "your own programs read what you may read"),
];

fn list_page(desk: &Desk, keys: &[Key], typed: &Fields) -> WorkPage {
    let may_write = desk.may(Action::Write, Resource::Keys);
    let table = Table {
        columns: vec![
            "Key",
            "Owner",
            "Service",
            "Prefix",
            "Scopes",
            "State",
            "Last used",
            "Expires",
            "Rotate",
            "Revoke",
        ],
        rows: keys.iter().map(|key| row(desk, key, may_write)).collect(),
        empty: "No keys yet.",
    };
    let about = "API keys of machines and people. A key is shown once, when it is made.";
    WorkPage {
        forms: Vec::from_iter(may_write.then(|| new_key(desk, typed))),
        ..admin::table(desk, "API keys", about, table)
    }
}

fn row(desk: &Desk, key: &Key, may_write: bool) -> Vec<Cell> {
    let is_over = key.expires_at.is_some_and(|end| end <= desk.now);
    let state = match (key.is_active, is_over) {
        (false, _) => Cell::Trouble("revoked".to_owned()),
        (true, true) => Cell::Trouble("expired".to_owned()),
        (true, false) => Cell::from("active"),
    };
    let press = |what: &str, words| {
        Cell::Press(Press {
            action: format!("/admin/keys/{}/{what}", key.key_id),
            words,
            to: key.name.clone(),
            hidden: vec![desk.once()],
        })
    };
    let in_force = key.is_active && !is_over;
    let is_own = key.kind == Kind::Person && key.username == desk.viewer.username;
    let nothing = || Cell::from("");
    vec![
        Cell::from(key.name.clone()),
        Cell::from(key.username.clone()),
        Cell::from(key.service.clone().unwrap_or_default()),
        Cell::from(key.prefix.clone()),
        Cell::from(key.scopes.join(", ")),
        state,
        Cell::Time(key.last_used.map(|at| desk.when(at))),
        Cell::Time(key.expires_at.map(|at| desk.when(at))),
        if may_write && in_force && is_own {
            press("rotate", "Rotate")
        } else {
            nothing()
        },
        if may_write && key.is_active {
            press("revoke", "Revoke")
        } else {
            nothing()
        },
    ]
}

fn new_key(desk: &Desk, typed: &Fields) -> Form {
    let days = Field::text("days", "Valid for days", typed.get("days"), 4).optional();
    Form {
        id: "new",
        action: "/admin/keys".to_owned(),
        title: "New key",
        about: "The next page shows it, once.".to_owned(),
        hidden: vec![desk.once()],
        fields: vec![
            Field::text("name", "Name", typed.get("name"), 100).hint("What uses it."),
            Field::choice("purpose", "For", typed.get("purpose"), PURPOSES),
            Field::text("service", "Service", typed.get("service"), 100)
                .hint("The application that sends with it. A relay, which says whose events they are, has none.")
                .optional(),
            Field::text("scopes", "Other scopes", typed.get("scopes"), 1000)
                .hint("Of a key of your own, such as alerts:acknowledge, with blanks between them.")
                .optional(),
            days.hint("A machine's key is valid until it is revoked, your own for 90 days, unless you say so."),
        ],
        button: "Make the key",
    }
}

/// `GET /admin/keys`.
pub(super) async fn list(mut visit: Visit) -> Result<Response, NoPage> {
    let found = keys::list(&mut visit.session).await;
    let (found, desk) = visit.finish(found).await?;
    Ok(html(&list_page(&desk, &found, &Fields::default())))
}

async fn make(session: &mut Session, fields: &Fields) -> Result<keys::Created, AppError> {
    let scopes: Vec<String> = match fields.get("scopes").trim() {
        "" => vec![fields.get("purpose").to_owned()],
        scopes => scopes.split_whitespace().map(str::to_owned).collect(),
    };
    let service = match fields.get("service").trim() {
        "" => None,
        name => Some(
            name.parse::<ServiceName>()
                .map_err(|error| AppError::invalid(format!("service: {error}")))?,
        ),
    };
    let valid_for = match fields.get("days").trim() {
        "" => None,
        days => Some(
            days.parse::<u16>()
                .map(|days| Span::days(days.into()))
                .map_err(|_| AppError::invalid("Valid for days: a whole number"))?,
        ),
    };
    let request = keys::Request {
        name: fields.get("name").trim(),
        scopes: &scopes,
        service: service.as_ref(),
        valid_for,
        owner: None,
    };
    keys::create(session, &request).await
}

/// `POST /admin/keys`.
pub(super) async fn create(mut visit: Visit, fields: Fields) -> Result<Response, NoPage> {
    visit.check_form(&fields)?;
    let done = async {
        let made = match visit.claim(&fields).await {
            Ok(()) => make(&mut visit.session, &fields).await,
            Err(sent_before) => Err(sent_before),
        };
        match kept(made)? {
            Ok(made) => Ok(Ok(made)),
            Err(why) => Ok(Err((why, keys::list(&mut visit.session).await?))),
        }
    };
    let done = done.await;
    let (done, desk) = visit.finish_form(&fields, done).await?;
    match done {
        Ok(made) => {
            let mut facts = vec![("Scopes", Cell::from(made.scopes.join(", ")))];
            facts.extend(expiry(&desk, made.expires_at));
            if let Some(prefix) = made.namesake {
                let text =
                    format!("{prefix}, which is active too: revoke it when this one is in use");
                facts.push(("Of the same name", Cell::Trouble(text)));
            }
            let title = format!("Key {}", fields.get("name").trim());
            Ok(html(&secret(&desk, &title, made.secret, facts)))
        }
        Err((why, found)) => {
            let mut page = list_page(&desk, &found, &fields);
            page.frame.notice = Some(wrong(why));
            Ok((StatusCode::UNPROCESSABLE_ENTITY, html(&page)).into_response())
        }
    }
}

fn expiry(desk: &Desk, at: Option<Timestamp>) -> Option<(&'static str, Cell)> {
    Some(("Expires", Cell::Time(Some(desk.when(at?)))))
}

fn secret(desk: &Desk, title: &str, key: String, facts: Vec<(&'static str, Cell)>) -> SecretPage {
    SecretPage {
        about: "Programs send it with each request: Authorization: Bearer KEY.".to_owned(),
        label: "API key",
        secret: key,
        facts,
        next: ("/admin/keys".to_owned(), "Go to the keys"),
        frame: desk.frame(title, "Admin"),
    }
}

/// `POST /admin/keys/{id}/rotate`.
pub(super) async fn rotate(
    mut visit: Visit,
    Path(id): Path<String>,
    fields: Fields,
) -> Result<Response, NoPage> {
    visit.check_form(&fields)?;
    let done = match visit.claim(&fields).await {
        Ok(()) => keys::rotate(&mut visit.session, &id, GRACE).await,
        Err(sent_before) => Err(sent_before),
    };
    let (rotated, desk) = visit.finish_form(&fields, done).await?;
    let mut facts = vec![(
        "The old secret counts until",
        Cell::Time(Some(desk.when(rotated.former_until))),
    )];
    facts.extend(expiry(&desk, Some(rotated.expires_at)));
    let title = format!("Key {}", rotated.key.name);
    Ok(html(&secret(&desk, &title, rotated.secret, facts)))
}

/// `POST /admin/keys/{id}/revoke`.
pub(super) async fn revoke(
    mut visit: Visit,
    Path(id): Path<String>,
    fields: Fields,
) -> Result<Response, NoPage> {
    visit.check_form(&fields)?;
    let done = keys::revoke(&mut visit.session, &id).await;
    let ((_, _), _) = visit.finish_form(&fields, done).await?;
    Ok(see_other(&Done::Revoked.at("/admin/keys")))
}
