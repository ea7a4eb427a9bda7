//! Notifications: what was sent through which channel, what failed, and whether a channel works.

use std::sync::Arc;

use app::actor::{Action, Resource};
use app::channels::{self, Receipt, SendError};
use app::notifications::{self, Entry, Filter};
use axum::response::Response;
use model::{Channel, Severity};
use pages::{Cell, Field, Form, Press, RecordPage, Section};
use uuid::Uuid;

use super::form::{Done, Fields, wrong};
use super::{Desk, NoPage, Table, Visit, html, see_other};

/// Notifications that are shown: what people look for are the latest.
const SHOWN: u32 = 200;
/// Each channel that is configured.
const EACH: &str = "each";

fn row(desk: &Desk, entry: &Entry, may_resend: bool) -> Vec<Cell> {
    let title = match &entry.alert_id {
        Some(id) => Cell::Link(format!("/alerts/{id}"), entry.title.clone()),
        None => Cell::from(entry.title.clone()),
    };
    let is_dead = entry.state == "dead";
    let state = if is_dead {
        Cell::Trouble("failed".to_owned())
    } else {
        Cell::from(entry.state.clone())
    };
    let again = Press {
        action: "/notifications/resend".to_owned(),
        words: "Send again",
        to: format!("{} by {}", entry.title, entry.channel),
        hidden: vec![("id", entry.delivery_id.to_string())],
    };
    vec![
        title,
        Cell::from(entry.channel.to_string()),
        Cell::from(entry.kind.clone()),
        state,
        Cell::Number(u64::from(entry.attempts)),
        Cell::Time(Some(desk.when(entry.created_at))),
        Cell::Time(entry.delivered_at.map(|at| desk.when(at))),
        Cell::from(entry.last_error.clone().unwrap_or_default()),
        if is_dead && may_resend {
            Cell::Press(again)
        } else {
            Cell::from("")
        },
    ]
}

/// `GET /notifications`.
pub(super) async fn list(mut visit: Visit) -> Result<Response, NoPage> {
    let configured = visit.console.channels.configured();
    let found = notifications::list(&mut visit.session, &Filter::default(), SHOWN).await;
    let (found, desk) = visit.finish(found).await?;
    let may_write = desk.may(Action::Write, Resource::Channels);
    let table = Table {
        columns: vec![
            "About",
            "Channel",
            "Kind",
            "State",
            "Attempts",
            "Written",
            "Delivered",
            "Error",
            "Do",
        ],
        rows: found
            .iter()
            .map(|entry| row(&desk, entry, may_write))
            .collect(),
        empty: "No notifications yet.",
    };
    let about = "Who was notified, through which channel, and whether it arrived: the latest 200.";
    let mut page = desk.work("Notifications", "Alerts", about, table);
    if may_write {
        let is_dead = |entry: &Entry| entry.state == "dead";
        page.forms
            .extend(found.iter().any(is_dead).then(resend_all));
        page.forms.push(test_form(&configured));
    }
    Ok(html(&page))
}

fn resend_all() -> Form {
    Form {
        id: "all",
        action: "/notifications/resend".to_owned(),
        title: "Send again",
        about: "Every notification that was given up is tried again from its first attempt on."
            .to_owned(),
        button: "Send all that failed again",
        ..Form::default()
    }
}

fn test_form(configured: &[Channel]) -> Form {
    if configured.is_empty() {
        return Form {
            id: "test",
            action: "/notifications/test".to_owned(),
            title: "Test a channel",
            about: "No channel is configured yet; [channels] in blueteam.toml names them."
                .to_owned(),
            button: "Try again",
            ..Form::default()
        };
    }
    let each = [(EACH.to_owned(), "each that is configured".to_owned())];
    let names = configured
        .iter()
        .map(|channel| (channel.to_string(), channel.to_string()));
    let among = pages::FieldKind::Choice(each.into_iter().chain(names).collect());
    Form {
        id: "test",
        action: "/notifications/test".to_owned(),
        title: "Test a channel",
        about:
            "Sends a message that says that it is a test. The next page says what the other side \
                answered."
                .to_owned(),
        fields: vec![Field::new("channel", "Channel", EACH, among)],
        button: "Send a test",
        ..Form::default()
    }
}

/// `POST /notifications/resend`: one that was given up, or all.
pub(super) async fn resend(mut visit: Visit, fields: Fields) -> Result<Response, NoPage> {
    visit.check_form(&fields)?;
    let id = fields.get("id").parse::<Uuid>().ok();
    let ids: Option<Vec<Uuid>> = id.map(|id| vec![id]);
    let done = notifications::resend(&mut visit.session, ids.as_deref()).await;
    let (sent, _) = visit.finish_form(&fields, done).await?;
    Ok(see_other(&Done::Resent(sent).at("/notifications")))
}

/// `POST /notifications/test`.
pub(super) async fn test(visit: Visit, fields: Fields) -> Result<Response, NoPage> {
    visit.check_form(&fields)?;
    let console = Arc::clone(&visit.console);
    let only = match fields.get("channel") {
        "" | EACH => None,
        name => Some(
            console
                .channels
                .configured()
                .into_iter()
                .find(|channel| channel.as_str() == name),
        ),
    };
    let permit = channels::permit_test(&visit.session);
    // Nothing waits in the database for the other side.
    let (permit, desk) = visit.finish_form(&fields, permit).await?;

    let mut rows = Vec::new();
    let result = match only {
        Some(None) => Err("This channel is not configured.".to_owned()),
        only => {
            let each = |channel: Channel, answer| rows.push(answered(&channel, answer));
            let channels = &console.channels;
            let sent =
                channels::send_permitted(permit, channels, only.flatten(), Severity::Info, each);
            sent.await.map_err(|error| error.to_string())
        }
    };
    let mut frame = desk.frame("Test of channels", "Alerts");
    if let Err(why) = result {
        frame.notice = Some(wrong(why));
    }
    let page = RecordPage {
        back: Some(("/notifications".to_owned(), "Notifications")),
        about: String::new(),
        beside: Vec::new(),
        facts: Vec::new(),
        sections: vec![Section {
            title: "Answers",
            columns: vec!["Channel", "Result", "Advice"],
            rows,
            empty: "Nothing was sent.",
            ..Section::default()
        }],
        forms: Vec::new(),
        frame,
    };
    Ok(html(&page))
}

fn answered(channel: &Channel, answer: Result<Receipt, SendError>) -> Vec<Cell> {
    let name = Cell::from(channel.to_string());
    match answer {
        Ok(receipt) => vec![
            name,
            Cell::from(format!("sent ({})", receipt.detail)),
            Cell::from(""),
        ],
        Err(error) => vec![
            name,
            Cell::Trouble(format!("failed: {}", error.what)),
            Cell::from(error.advice),
        ],
    }
}
