//! One's own account: factors, sessions, and what one has chosen.

use app::preferences::{self, Preferences};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use pages::{AccountPage, FactorRow, Field, FieldKind, Form, Notice, SessionRow};

use super::form::{Done, Fields, kept, wrong};
use super::{Desk, NoPage, Visit, alerts, html, see_other};
use crate::error::Problem;

/// What the page shows of its person.
struct Own {
    factors: Vec<FactorRow>,
    sessions: Vec<SessionRow>,
    may_add_passkey: bool,
}

async fn read(visit: &Visit) -> Result<Own, NoPage> {
    let (door, desk) = (&visit.console.door, &visit.desk);
    let factors = door.own_factors(&visit.person).await;
    let sessions = door.own_sessions(&visit.person).await;
    Ok(Own {
        factors: factors
            .map_err(Problem::from)?
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
            .map_err(Problem::from)?
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
    })
}

fn page(desk: &Desk, own: Own, zone: &str, notice: Option<Notice>) -> AccountPage {
    let mut frame = desk.frame("My account", "");
    if notice.is_some() {
        frame.notice = notice;
    }
    AccountPage {
        factors: own.factors,
        sessions: own.sessions,
        may_add_passkey: own.may_add_passkey,
        preferences: form(desk, zone),
        frame,
    }
}

fn form(desk: &Desk, zone: &str) -> Form {
    let keys = if desk.chosen.keyboard_shortcuts {
        "yes"
    } else {
        ""
    };
    let mut fields = vec![
        Field::text("time_zone", "Time zone", zone, 100)
            .hint("Such as America/New_York. Empty: that of the business hours.")
            .optional(),
        Field::new(
            "shortcuts",
            "Single keys do something",
            keys,
            FieldKind::Yes,
        ),
    ];
    if desk.chosen.alert_filter.is_some() {
        let label = "The list of alerts opens with my filter";
        fields.push(Field::new("filter", label, "yes", FieldKind::Yes));
    }
    Form {
        id: "preferences",
        action: "/account/preferences".to_owned(),
        title: "Preferences",
        about: "Times are shown in your zone, with UTC under the pointer. A filter of your own is saved \
                on the page of alerts."
            .to_owned(),
        fields,
        button: "Save",
        ..Form::default()
    }
}

/// `GET /account`.
pub(super) async fn show(visit: Visit) -> Result<Response, NoPage> {
    let own = read(&visit).await?;
    let ((), desk) = visit.finish(Ok(())).await?;
    let zone = desk.chosen.time_zone.clone().unwrap_or_default();
    Ok(html(&page(&desk, own, &zone, None)))
}

/// `POST /account/preferences`.
pub(super) async fn save(mut visit: Visit, fields: Fields) -> Result<Response, NoPage> {
    visit.check_form(&fields)?;
    let own = read(&visit).await?;
    let zone = fields.get("time_zone").trim().to_owned();
    let before = visit.desk.chosen.alert_filter.clone();
    let chosen = Preferences {
        time_zone: Some(zone.clone()).filter(|zone| !zone.is_empty()),
        keyboard_shortcuts: fields.get("shortcuts") == "yes",
        alert_filter: before.filter(|_| fields.get("filter") == "yes"),
    };
    let person = visit.person.clone();
    let done = preferences::save(&mut visit.session, &person, &chosen).await;
    let (done, desk) = visit.finish(kept(done)).await?;
    match done {
        Ok(()) => Ok(see_other(&Done::Changed.at("/account"))),
        Err(why) => {
            let page = page(&desk, own, &zone, Some(wrong(why)));
            Ok((StatusCode::UNPROCESSABLE_ENTITY, html(&page)).into_response())
        }
    }
}

/// `POST /account/alert-filter`: the filter with which one's list of alerts opens, or none.
pub(super) async fn save_alert_filter(
    mut visit: Visit,
    fields: Fields,
) -> Result<Response, NoPage> {
    visit.check_form(&fields)?;
    let (filter, place) = alerts::own_filter(&fields);
    let chosen = Preferences {
        alert_filter: filter,
        ..visit.desk.chosen.clone()
    };
    let person = visit.person.clone();
    let done = preferences::save(&mut visit.session, &person, &chosen).await;
    let ((), _) = visit.finish(done).await?;
    Ok(see_other(&Done::Changed.at(&place)))
}
