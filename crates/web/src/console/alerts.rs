//! Alerts.

use std::sync::Arc;

use app::actor::{Action, Resource};
use app::alerts::{self, BatchItem, BatchResult, Details, Filter, Notified, Progress, TakenBack};
use app::listing::Before;
use app::{AppError, events, today};
use axum::extract::Path;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use model::{Alert, AlertState, RuleId, Severity, Span, Timestamp, Verdict};
use pages::{
    AlertFilter, AlertPage, AlertRow, AlertsPage, Control, EditField, EditForm, Fact, Level,
    Notice, Pager, Step, Told,
};
use serde_json::json;

use super::form::{Done, Fields, address, kept, plain_words, wrong};
use super::{Desk, NoPage, Visit, html, see_other};

/// Alerts of a page.
const ROWS: u32 = 50;
/// Events of an alert that are shown.
const EVENTS: u32 = 50;
/// Other alerts about the same that are shown.
const OTHERS: u32 = 10;
/// The list as it is for whoever has chosen no filter.
const WAITING: &str = "/alerts?show=waiting";
/// The most that can be acknowledged at once.
const PICKED_MAX: usize = 500;
/// How long an acknowledgment is offered to be taken back; the database refuses later ones.
const TAKE_BACK_WITHIN: Span = Span::mins(10);

fn asked(fields: &Fields) -> AlertFilter {
    let show = match fields.get("show") {
        show @ ("open" | "all") => show,
        _ => "waiting",
    };
    AlertFilter {
        show: show.to_owned(),
        severity: fields.get("severity").to_owned(),
        rule: fields.get("rule").trim().to_owned(),
        service: fields.get("service").trim().to_owned(),
    }
}

fn filter_of(asked: &AlertFilter, before: Option<Before>) -> Filter {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Filter {
        severity: asked.severity.parse::<Severity>().ok(),
        service: some(&asked.service),
        rule_id: some(&asked.rule).map(|id| RuleId(id.into())),
        state: (asked.show == "open").then_some(AlertState::Open),
        acknowledged: (asked.show == "waiting").then_some(false),
        silenced: (asked.show == "waiting").then_some(false),
        before,
        ..Filter::default()
    }
}

fn address_of(asked: &AlertFilter, after: &str) -> String {
    let show = if asked.show == "waiting" {
        ""
    } else {
        &asked.show
    };
    address(
        "/alerts",
        &[
            ("show", show),
            ("severity", &asked.severity),
            ("rule", &asked.rule),
            ("service", &asked.service),
            ("after", after),
        ],
    )
}

/// The filter that a form holds, as it is kept, and the list by it.
pub(super) fn own_filter(fields: &Fields) -> (Option<String>, String) {
    let place = address_of(&asked(fields), "");
    let filter = place
        .split_once('?')
        .map(|(_, query)| query.to_owned())
        .filter(|query| query.len() <= 500);
    let place = match filter {
        Some(_) => place,
        None => WAITING.to_owned(),
    };
    (filter, place)
}

/// An alert as a row.
pub(super) fn row(desk: &Desk, alert: &Alert) -> AlertRow {
    AlertRow {
        id: alert.alert_id.to_string(),
        level: Level::from(alert.severity),
        title: alert.title.clone(),
        entity: alert.subject(),
        hosts: alert.hosts.join(", "),
        source: alert.source.clone(),
        events: alert.event_count,
        last_seen: desk.when(alert.last_seen),
        created: desk.when(alert.created_at),
        acknowledged: alert.acknowledged_by.as_ref().map(|who| {
            let at = alert.acknowledged_at.unwrap_or(alert.created_at);
            (who.clone(), desk.when(at))
        }),
        silenced: alert.muted_by.is_some(),
        is_closed: alert.state == AlertState::Closed,
        has_cui: alert.cui_involved,
    }
}

/// `GET /alerts`.
pub(super) async fn list(mut visit: Visit, uri: Uri) -> Result<Response, NoPage> {
    if let (None, Some(filter)) = (uri.query(), &visit.desk.chosen.alert_filter) {
        let (_, place) = own_filter(&Fields::of_query(Some(filter)));
        return Ok(see_other(&place));
    }
    let fields = Fields::of_query(uri.query());
    let asked = asked(&fields);
    let context = address_of(&asked, "");
    let after = fields.get("after");
    let before = visit.console.cursors.open(&context, after);
    let is_later = before.is_some();
    let filter = filter_of(&asked, before.and_then(|at| at.parse().ok()));

    let config = Arc::clone(&visit.console.config);
    let found = async {
        let rows = alerts::page(&mut visit.session, &config, &filter, ROWS + 1).await?;
        let counts = today::unacknowledged(&mut visit.session).await?;
        let connected = rows.is_empty() && today::is_connected(&mut visit.session).await?;
        Ok((rows, counts, connected))
    };
    let found = match found.await {
        // A rule that does not exist is nobody's alert.
        Err(AppError::Invalid(_) | AppError::NotFound(_)) => Ok((Vec::new(), Vec::new(), true)),
        found => found,
    };
    let console = Arc::clone(&visit.console);
    let ((mut rows, counts, connected), desk) = visit.finish(found).await?;

    let has_more = rows.len() > ROWS as usize;
    rows.truncate(ROWS as usize);
    let position = rows.last().map(|alert| Before {
        at: alert.created_at,
        id: alert.alert_id.0,
    });
    let next = position.filter(|_| has_more).map(|at| {
        let after = console.cursors.sign(&context, &at.to_string());
        address_of(&asked, &after)
    });
    let is_default = context == "/alerts";
    let empty = match (is_default, connected) {
        (true, true) => "No alerts are waiting, and events are coming in.",
        (true, false) => "Nothing is connected yet, so there is nothing to detect.",
        (false, _) => "No alerts match. Clear the filter to see the others.",
    };
    let page = AlertsPage {
        rows: rows.iter().map(|alert| row(&desk, alert)).collect(),
        waiting: counts
            .iter()
            .filter(|count| count.unacknowledged > 0)
            .map(|count| (Level::from(count.severity), count.unacknowledged))
            .collect(),
        pager: Pager {
            first: is_later.then(|| context.clone()),
            next,
        },
        may_acknowledge: desk.may(Action::Acknowledge, Resource::Alerts),
        here: address_of(&asked, if is_later { after } else { "" }),
        empty: empty.to_owned(),
        is_own: desk.chosen.alert_filter.as_deref() == context.split_once('?').map(|(_, q)| q),
        filter: asked,
        frame: desk.frame("Alerts", "Alerts"),
    };
    Ok(html(&page))
}

/// `GET /live/alerts`: the ids of the newest alerts that nobody has acknowledged, for the counter.
pub(super) async fn live(mut visit: Visit) -> Result<Response, NoPage> {
    let config = Arc::clone(&visit.console.config);
    let filter = filter_of(&asked(&Fields::default()), None);
    let found = alerts::page(&mut visit.session, &config, &filter, ROWS).await;
    let (rows, _) = visit.finish(found).await?;
    let ids: Vec<String> = rows
        .iter()
        .map(|alert| alert.alert_id.to_string())
        .collect();
    Ok(super::json(json!({ "ids": ids })))
}

/// `POST /alerts/acknowledge`: those that were picked.
pub(super) async fn acknowledge(mut visit: Visit, fields: Fields) -> Result<Response, NoPage> {
    visit.check_form(&fields)?;
    let here = fields.place("here");
    let mut picked: Vec<String> = fields.all("id").map(str::to_owned).collect();
    picked.sort_unstable();
    picked.dedup();
    picked.truncate(PICKED_MAX);
    if picked.is_empty() {
        return Ok(see_other(&Done::NothingPicked.at(&here)));
    }

    let config = Arc::clone(&visit.console.config);
    let done = async {
        let items = alerts::acknowledge_each(&mut visit.session, &picked, false).await?;
        let is_done = |item: &&BatchItem| item.result == BatchResult::Acknowledged;
        let done: Vec<&BatchItem> = items.iter().filter(is_done).collect();
        // All of them have the time of this request, by which it is taken back.
        let at = match done.first() {
            Some(item) => {
                let shown = alerts::show(&mut visit.session, &config, &item.id).await?;
                shown.alert.acknowledged_at
            }
            None => None,
        };
        Ok((done.len(), items.len(), at))
    };
    let done = done.await;
    let ((done, asked, at), _) = visit.finish(done).await?;
    let mut place = Done::Acknowledged(done, asked - done).at(&here);
    if let Some(at) = at {
        place = format!("{place}&undo={}", at.as_micros());
    }
    Ok(see_other(&place))
}

/// `POST /alerts/undo`: takes back what was just acknowledged.
pub(super) async fn undo(mut visit: Visit, fields: Fields) -> Result<Response, NoPage> {
    visit.check_form(&fields)?;
    let here = fields.place("here");
    let Ok(at) = fields.get("at").parse::<i64>() else {
        return Ok(see_other(&Done::TooLate.at(&here)));
    };
    let done = alerts::take_back(&mut visit.session, Timestamp::from_micros(at)).await;
    let (done, _) = visit.finish(done).await?;
    let taken = done.iter().filter(|(_, what)| *what == TakenBack::Done);
    let word = match taken.count() {
        0 => Done::TooLate,
        number => Done::TookBack(number),
    };
    Ok(see_other(&word.at(&here)))
}

/// Everything that the page of an alert shows.
struct Shown {
    details: Details,
    events: Vec<events::Found>,
    others: Vec<Alert>,
}

async fn read(visit: &mut Visit, id: &str) -> Result<Shown, AppError> {
    let config = Arc::clone(&visit.console.config);
    let may_see_events = visit.desk.may(Action::Read, Resource::Events);
    let details = alerts::show(&mut visit.session, &config, id).await?;
    let events = if may_see_events && !details.alert.event_ids.is_empty() {
        let search = events::Search {
            question: events::Question::new(events::Filter::default())?,
            alert: Some(id),
            timeline: true,
            limit: EVENTS,
        };
        events::search(&mut visit.session, search).await?.events
    } else {
        Vec::new()
    };
    let same = Filter {
        entity: Some(details.alert.entity.clone()),
        ..Filter::default()
    };
    let mut others = alerts::page(&mut visit.session, &config, &same, OTHERS + 1).await?;
    others.retain(|other| other.alert_id != details.alert.alert_id);
    others.truncate(OTHERS as usize);
    Ok(Shown {
        details,
        events,
        others,
    })
}

fn page(desk: &Desk, shown: &Shown, typed: &Fields, notice: Option<Notice>) -> AlertPage {
    let details = &shown.details;
    let alert = &details.alert;
    let (told, not_told) = told(details);
    let may_acknowledge = desk.may(Action::Acknowledge, Resource::Alerts);
    let mut frame = desk.frame(&alert.title, "Alerts");
    if notice.is_some() {
        frame.notice = notice;
    }
    AlertPage {
        row: row(desk, alert),
        story: alert.description.clone(),
        facts: facts(alert),
        first_seen: desk.when(alert.first_seen),
        told,
        not_told,
        events: shown
            .events
            .iter()
            .map(|event| super::events::row(desk, event))
            .collect(),
        others: shown.others.iter().map(|other| row(desk, other)).collect(),
        may_acknowledge,
        take_back: takes_back(desk, alert),
        verdicts: details
            .verdicts
            .iter()
            .map(|judged| Step {
                at: desk.when(judged.decided_at),
                what: verdict_words(judged.verdict).to_owned(),
                who: judged.decided_by.clone(),
                reason: judged.note.clone().unwrap_or_default(),
            })
            .collect(),
        judge: may_acknowledge.then(|| verdict_form(desk, details, typed)),
        opens_incident: alert.incident_id.is_none() && desk.may(Action::Write, Resource::Incidents),
        silence: desk
            .may(Action::Write, Resource::Silences)
            .then(|| super::silences::like(alert)),
        back: "/alerts".to_owned(),
        frame,
    }
}

const fn verdict_words(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::TruePositive => "An attack, or an attempt at one",
        Verdict::BenignPositive => "It happened and was expected",
        Verdict::FalsePositive => "It did not happen",
        Verdict::Undetermined => "Not known",
    }
}

fn verdict_form(desk: &Desk, details: &Details, typed: &Fields) -> EditForm {
    let current = details.verdicts.first();
    let chosen = typed.written("verdict");
    let chosen = chosen.unwrap_or_else(|| {
        let verdict = current.map_or(Verdict::TruePositive, |judged| judged.verdict);
        verdict.to_string()
    });
    let among = Verdict::ALL
        .iter()
        .map(|verdict| (verdict.to_string(), verdict_words(*verdict).to_owned()))
        .collect();
    let path = format!("/alerts/{}/verdict", details.alert.alert_id);
    let mut form = desk.form("verdict", path, "Save verdict");
    let note = Control::Area(typed.get("note").to_owned(), 4000);
    form.fields = vec![
        EditField::new("verdict", "It was", Control::Choice(among, chosen)),
        EditField::new("note", "Why", note)
            .hint("Needed unless it was an attack. It stays on record."),
    ];
    form
}

/// `GET /alerts/{id}`.
pub(super) async fn show(mut visit: Visit, Path(id): Path<String>) -> Result<Response, NoPage> {
    let found = read(&mut visit, &id).await;
    let (shown, desk) = visit.finish(found).await?;
    Ok(html(&page(&desk, &shown, &Fields::default(), None)))
}

/// `POST /alerts/{id}/verdict`.
pub(super) async fn judge(
    mut visit: Visit,
    Path(id): Path<String>,
    fields: Fields,
) -> Result<Response, NoPage> {
    visit.check_form(&fields)?;
    let done = async {
        let shown = read(&mut visit, &id).await?;
        let Ok(verdict) = fields.get("verdict").parse::<Verdict>() else {
            return Ok(Err((shown, "Choose what it was.".to_owned())));
        };
        let note = fields.written("note");
        let judged = alerts::judge(&mut visit.session, &id, verdict, note.as_deref()).await;
        Ok(kept(judged)?.map(drop).map_err(|why| (shown, why)))
    };
    let done = done.await;
    let (done, desk) = visit.finish(done).await?;
    Ok(match done {
        Ok(()) => see_other(&Done::Saved.at(&format!("/alerts/{id}"))),
        Err((shown, why)) => {
            let page = page(&desk, &shown, &fields, Some(wrong(plain_words(&why))));
            (StatusCode::UNPROCESSABLE_ENTITY, html(&page)).into_response()
        }
    })
}

/// By which time a reader can take back that they have acknowledged an alert.
fn takes_back(desk: &Desk, alert: &Alert) -> Option<String> {
    let is_own = alert.acknowledged_by.as_deref() == Some(desk.viewer.username.as_str());
    let at = alert.acknowledged_at.filter(|_| is_own)?;
    let is_recent = desk.now.since(at) < TAKE_BACK_WITHIN;
    is_recent.then(|| at.as_micros().to_string())
}

fn facts(alert: &Alert) -> Vec<Fact> {
    let fact = |name, value: String| Fact {
        name,
        value,
        link: None,
    };
    let controls: Vec<&str> = alert.nist_controls.iter().map(|c| &*c.0).collect();
    let mut facts = vec![
        Fact {
            name: "About",
            value: alert.subject(),
            link: event_link(alert),
        },
        fact("Rule", alert.rule_title().to_owned()),
        fact("Events", alert.event_count.to_string()),
        fact("Source", alert.source.clone()),
        fact("Machines", alert.hosts.join(", ")),
        fact("Services", alert.services.join(", ")),
        fact("Accounts that were tried", alert.accounts.join(", ")),
        fact("Requirements", controls.join(", ")),
    ];
    if let Some(incident) = alert.incident_id {
        facts.push(Fact {
            name: "Incident",
            value: "the incident that it belongs to".to_owned(),
            link: Some(format!("/incidents/{incident}")),
        });
    }
    facts.retain(|fact| !fact.value.is_empty());
    facts
}

/// The events of the address or user that an alert is about, of the day around it.
fn event_link(alert: &Alert) -> Option<String> {
    let field = match alert.entity.kind.as_str() {
        "ip" => "ip",
        "user" => "user",
        _ => return None,
    };
    let since = alert.first_seen.minus(Span::hours(12)).to_string();
    let until = alert.last_seen.plus(Span::hours(12)).to_string();
    Some(address(
        "/events",
        &[
            (field, &alert.entity.value),
            ("since", &since),
            ("until", &until),
        ],
    ))
}

fn told(details: &Details) -> (Vec<Told>, Option<String>) {
    let why = match &details.notified {
        Notified::Through(through) => {
            let told = through
                .iter()
                .map(|one| Told {
                    channel: one.channel.to_string(),
                    progress: match one.progress {
                        Progress::Delivered => "delivered",
                        Progress::GivenUp => "failed",
                        Progress::Pending => "pending",
                        Progress::Folded => "in a summary of many alerts",
                    },
                })
                .collect();
            return (told, None);
        }
        Notified::Muted(by) => format!("No one was notified: it was silenced by {by}."),
        Notified::NoChannel => {
            "No one was notified: no channel is configured for this severity.".to_owned()
        }
        Notified::InDigest => {
            "It is in the daily digest; no one was notified right away.".to_owned()
        }
        Notified::NotRouted => {
            "No one was notified: no channel applied, or it was too old when it was found."
                .to_owned()
        }
    };
    (Vec::new(), Some(why))
}
