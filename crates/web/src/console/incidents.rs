//! Incidents: the list, everything about one, and what people do with it.

mod forms;

use std::sync::Arc;

use app::actor::{Action, Resource};
use app::alerts;
use app::compliance::reports::{self, Form};
use app::incidents::{
    self, Case, Choice, Clock, Decision, Duty, Edit, Incident, NewIncident, Settle, TaskState, Told,
};
use app::listing::Before;
use app::{AppError, Config, Session};
use axum::extract::Path;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use model::{Alert, IncidentStatus, Severity, Timestamp};
use pages::{
    Due, Fact, IncidentPage, IncidentRow, IncidentsPage, Level, Mark, Notice, Pager, Step, Todo,
};

use super::form::{Done, Fields, address, plain_words};
use super::{Desk, NoPage, Visit, html, see_other};
use crate::api::v1::as_file;

/// Incidents of a page.
const ROWS: u32 = 50;
/// Alerts of an incident that are shown.
const ALERTS: u32 = 100;

fn due(desk: &Desk, clock: &Clock) -> Due {
    Due {
        name: clock.name.clone(),
        at: desk.when(clock.due_at),
        left: clock.in_words(desk.now),
        is_late: clock.runs() && clock.due_at <= desk.now,
        runs: clock.runs(),
    }
}

fn row(desk: &Desk, incident: &Incident) -> IncidentRow {
    let shown = &incident.row;
    let entity = shown.entity.as_ref();
    IncidentRow {
        id: shown.incident_id.to_string(),
        level: Level::from(shown.severity),
        title: shown.title.clone(),
        entity: entity.map_or_else(String::new, |entity| {
            format!("{} {}", entity.kind.as_str(), entity.value)
        }),
        status: shown.status.to_string(),
        detected: desk.when(shown.detected_at),
        alerts: shown.alerts,
        lead: shown.assigned_to.clone().unwrap_or_default(),
        report_due: incident.pressing().map(|clock| due(desk, clock)),
        has_cui: shown.cui_involved,
    }
}

/// `GET /incidents`.
pub(super) async fn list(visit: Visit, uri: Uri) -> Result<Response, NoPage> {
    listed(visit, &Fields::of_query(uri.query()), None).await
}

async fn listed(
    mut visit: Visit,
    fields: &Fields,
    refused: Option<&str>,
) -> Result<Response, NoPage> {
    let all = fields.get("all") == "yes";
    let context = address("/incidents", &[("all", if all { "yes" } else { "" })]);
    let before = visit.console.cursors.open(&context, fields.get("after"));
    let is_later = before.is_some();
    let before = before.and_then(|at| at.parse().ok());
    let config = Arc::clone(&visit.console.config);
    let found = incidents::page(&mut visit.session, &config, all, before, ROWS + 1).await;
    let console = Arc::clone(&visit.console);
    let (mut rows, desk) = visit.finish(found).await?;

    let has_more = rows.len() > ROWS as usize;
    rows.truncate(ROWS as usize);
    let next = rows.last().filter(|_| has_more).map(|last| {
        let at = Before {
            at: last.row.detected_at,
            id: last.row.incident_id.0,
        };
        let after = console.cursors.sign(&context, &at.to_string());
        let all = if all { "yes" } else { "" };
        address("/incidents", &[("all", all), ("after", &after)])
    });
    let mut frame = desk.frame("Incidents", "Incidents");
    if let Some(why) = refused {
        frame.notice = Some(Notice::bad(plain_words(why)));
    }
    let page = IncidentsPage {
        rows: rows.iter().map(|incident| row(&desk, incident)).collect(),
        all,
        create: desk
            .may(Action::Write, Resource::Incidents)
            .then(|| forms::create(&desk, fields)),
        create_open: refused.is_some(),
        pager: Pager {
            first: is_later.then_some(context),
            next,
        },
        frame,
    };
    let status = match refused {
        Some(_) => StatusCode::UNPROCESSABLE_ENTITY,
        None => StatusCode::OK,
    };
    Ok((status, html(&page)).into_response())
}

/// `POST /incidents`: opens one, of an alert or by hand.
pub(super) async fn create(mut visit: Visit, fields: Fields) -> Result<Response, NoPage> {
    visit.check_form(&fields)?;
    let config = Arc::clone(&visit.console.config);
    let (title, description) = (fields.written("title"), fields.written("description"));
    let alert = fields.written("alert");
    let new = NewIncident {
        title: title.as_deref(),
        severity: fields.get("severity").parse().ok(),
        description: description.as_deref(),
        alert: alert.as_deref(),
    };
    match incidents::create(&mut visit.session, &config, &new).await {
        Err(AppError::Invalid(why) | AppError::Conflict(why)) => {
            listed(visit, &fields, Some(&why)).await
        }
        made => {
            let (made, _) = visit.finish(made).await?;
            let place = format!("/incidents/{}", made.row.incident_id);
            Ok(see_other(&Done::MovedOn.at(&place)))
        }
    }
}

/// Everything that the page of an incident shows.
struct Shown {
    case: Case,
    alerts: Vec<Alert>,
    /// Who can lead it.
    people: Vec<String>,
    /// Other open incidents, with which it may be one.
    others: Vec<Incident>,
    /// Duties to report.
    duties: Vec<Duty>,
}

async fn read(session: &mut Session, config: &Config, id: &str) -> Result<Shown, AppError> {
    let case = incidents::case(session, config, id).await?;
    let filter = alerts::Filter {
        incident_id: Some(case.incident.row.incident_id),
        ..alerts::Filter::default()
    };
    let alerts = alerts::page(session, config, &filter, ALERTS).await?;
    let mut others = incidents::list(session, config, false, ROWS).await?;
    others.retain(|other| other.row.incident_id != case.incident.row.incident_id);
    Ok(Shown {
        alerts,
        people: incidents::leads(session).await?,
        others,
        duties: config.incidents.duties(),
        case,
    })
}

/// What a page shows, and what was typed into it that could not be kept.
struct Typed<'a> {
    /// The form.
    what: &'a str,
    fields: &'a Fields,
    why: String,
}

fn page(desk: &Desk, shown: &Shown, typed: Option<&Typed<'_>>) -> IncidentPage {
    let case = &shown.case;
    let incident = &case.incident;
    let phases: Vec<(&'static str, bool)> = IncidentStatus::ALL
        .iter()
        .map(|phase| (phase.as_str(), *phase <= incident.row.status))
        .collect();
    let may_write = desk.may(Action::Write, Resource::Incidents);
    let mut frame = desk.frame(&incident.row.title, "Incidents");
    if let Some(typed) = typed {
        frame.notice = Some(Notice::bad(plain_words(&typed.why)));
    }
    let mut timeline: Vec<Step> = case
        .timeline()
        .into_iter()
        .map(|one| Step {
            at: desk.when(one.at),
            what: one.what,
            who: one.who.unwrap_or_else(|| "logs".to_owned()),
            reason: String::new(),
        })
        .collect();
    timeline.reverse();
    let none = Fields::default();
    let typed_in = |what: &str| match typed {
        Some(typed) if typed.what == what => typed.fields,
        _ => &none,
    };
    IncidentPage {
        row: row(desk, incident),
        story: case.part.description.clone(),
        clocks: incident
            .clocks
            .iter()
            .map(|clock| due(desk, clock))
            .collect(),
        proposals: proposals(incident),
        facts: facts(desk, case),
        phases,
        next: (may_write && incident.row.merged_into.is_none())
            .then(|| forms::step(desk, case, typed_in("step"))),
        may_write: may_write && incident.row.status != IncidentStatus::Closed,
        tasks: case
            .tasks
            .iter()
            .map(|task| Todo {
                number: task.number,
                task: task.task.clone(),
                state: task.state.to_string(),
                outcome: match (&task.remark, &task.settled_by) {
                    (Some(remark), Some(who)) => format!("{remark} ({who})"),
                    (None, Some(who)) => who.clone(),
                    _ => String::new(),
                },
            })
            .collect(),
        version: incident.row.version.to_string(),
        folded: if may_write {
            forms::folded(desk, shown, typed)
        } else {
            Vec::new()
        },
        timeline,
        marks: case
            .indicators
            .iter()
            .map(|one| Mark {
                kind: one.kind.to_string(),
                value: one.value.clone(),
                found_by: one.found_by.clone(),
            })
            .collect(),
        alerts: shown
            .alerts
            .iter()
            .map(|alert| super::alerts::row(desk, alert))
            .collect(),
        frame,
    }
}

fn proposals(incident: &Incident) -> Vec<Fact> {
    let row = &incident.row;
    let mut proposals = Vec::new();
    if let Some(severity) = row.proposed_severity {
        proposals.push(Fact {
            name: "A worse alert",
            value: format!("Its severity is {severity}. Raise the severity, or leave it as it is."),
            link: None,
        });
    }
    if let Some(title) = &row.proposed_title {
        proposals.push(Fact {
            name: "Another title",
            value: title.clone(),
            link: None,
        });
    }
    if let Some(before) = row.follows {
        proposals.push(Fact {
            name: "More of the same",
            value: "An incident about the same was closed up to 7 days before. Reopen it if this \
                    is more of it; then this one becomes part of it."
                .to_owned(),
            link: Some(format!("/incidents/{before}")),
        });
    }
    if let Some(into) = row.merged_into {
        proposals.push(Fact {
            name: "Part of another incident",
            value: "Go to it".to_owned(),
            link: Some(format!("/incidents/{into}")),
        });
    }
    let is_undecided = |clock: &Clock| clock.decision == Decision::Undecided;
    if incident.clocks.iter().any(is_undecided) {
        proposals.push(Fact {
            name: "Undecided",
            value: "Events say that CUI was touched. Decide below whether it must be reported."
                .to_owned(),
            link: None,
        });
    }
    proposals
}

fn facts(desk: &Desk, case: &Case) -> Vec<Fact> {
    let (incident, shown) = (&case.incident, &case.incident.row);
    let fact = |name, value: String| Fact {
        name,
        value,
        link: None,
    };
    let measures = incident.measures();
    let span = |span: Option<model::Span>| span.map_or_else(String::new, incidents::in_words);
    let mut facts = vec![
        fact(
            "Led by",
            shown
                .assigned_to
                .clone()
                .unwrap_or_else(|| "Nobody".to_owned()),
        ),
        fact("About", row(desk, incident).entity),
        fact("Detected by", shown.detected_by.replace('_', " ")),
        fact("Opened by", shown.opened_by.clone().unwrap_or_default()),
        fact("Rule", shown.correlation_rule.clone().unwrap_or_default()),
        fact("Source", shown.source.clone().unwrap_or_default()),
        fact("Services", shown.services.join(", ")),
        fact("Requirements", case.part.nist_controls.join(", ")),
        fact("Root cause", case.part.root_cause.clone()),
        fact("Lessons learned", case.part.lessons_learned.clone()),
        fact("Time to detect", span(measures.to_detect)),
        fact("Time to contain", span(measures.to_contain)),
        fact("Time to recover", span(measures.to_recover)),
        fact(
            "Preservation",
            case.hold
                .as_ref()
                .map_or_else(String::new, incidents::hold_in_words),
        ),
    ];
    facts.retain(|fact| !fact.value.is_empty());
    facts
}

/// `GET /incidents/{id}`.
pub(super) async fn show(mut visit: Visit, Path(id): Path<String>) -> Result<Response, NoPage> {
    let config = Arc::clone(&visit.console.config);
    let found = read(&mut visit.session, &config, &id).await;
    let (shown, desk) = visit.finish(found).await?;
    Ok(html(&page(&desk, &shown, None)))
}

/// `GET /incidents/{id}/download`.
pub(super) async fn download(mut visit: Visit, Path(id): Path<String>) -> Result<Response, NoPage> {
    let config = Arc::clone(&visit.console.config);
    let state = visit.console.state.clone();
    let now = visit.desk.now;
    let session = &mut visit.session;
    let made = async {
        let case = incidents::case(session, &config, &id).await?;
        let document = incidents::report(session, &config, &state, &case, now).await?;
        reports::give(
            session,
            Resource::Incidents,
            "incident",
            document,
            Form::Pdf,
        )
        .await
    };
    let made = made.await;
    let (bytes, _) = visit.finish(made).await?;
    Ok(as_file(bytes, "incident", Form::Pdf))
}

/// `POST /incidents/{id}/change/{what}`. Whoever did not see the newest state gets it, with what
/// they typed.
pub(super) async fn change(
    mut visit: Visit,
    Path((id, what)): Path<(String, String)>,
    fields: Fields,
) -> Result<Response, NoPage> {
    visit.check_form(&fields)?;
    let config = Arc::clone(&visit.console.config);
    let now = visit.desk.now;
    let done = async {
        let asked = Asked {
            id: &id,
            what: &what,
            fields: &fields,
            now,
        };
        let why = match asked.apply(&mut visit.session, &config).await {
            Ok(to) => return Ok(Ok(to)),
            Err(AppError::Invalid(why) | AppError::Conflict(why)) => why,
            Err(error) => return Err(error),
        };
        let shown = read(&mut visit.session, &config, &id).await?;
        Ok(Err((shown, why)))
    };
    let done = done.await;
    let (done, desk) = visit.finish(done).await?;
    match done {
        Ok(to) => Ok(see_other(&Done::MovedOn.at(&format!("/incidents/{to}")))),
        Err((shown, why)) => {
            let typed = Typed {
                what: &what,
                fields: &fields,
                why,
            };
            let page = page(&desk, &shown, Some(&typed));
            Ok((StatusCode::CONFLICT, html(&page)).into_response())
        }
    }
}

/// A change that a form asks for.
struct Asked<'a> {
    id: &'a str,
    what: &'a str,
    fields: &'a Fields,
    now: Timestamp,
}

impl Asked<'_> {
    fn time(&self, name: &str) -> Result<Option<Timestamp>, AppError> {
        let Some(text) = self.fields.written(name) else {
            return Ok(None);
        };
        let at = Timestamp::parse(&text);
        at.map(Some).map_err(|_| {
            AppError::invalid(format!(
                "`{}` is no time with its zone, such as 2026-11-30T14:05:00Z",
                model::text::sanitize(&text)
            ))
        })
    }

    /// Does it, and says which incident is shown then.
    async fn apply(&self, session: &mut Session, config: &Config) -> Result<String, AppError> {
        let Self { id, fields, .. } = *self;
        let version = fields.get("version").parse::<u64>().ok();
        let reason = fields.get("reason");
        let (value, remark) = (fields.get("value"), fields.written("remark"));
        let incident = match self.what {
            "step" => {
                let edit = Edit {
                    version,
                    status: fields.get("status").parse().ok(),
                    reason,
                    root_cause: fields.get("root_cause"),
                    lessons: fields.get("lessons"),
                    ..Edit::default()
                };
                incidents::update(session, config, id, &edit).await?
            }
            "edit" => {
                let (title, discovered_at) = (fields.written("title"), self.time("discovered_at")?);
                let shown = incidents::show(session, config, id).await?;
                let new = fields.get("severity").parse::<Severity>().ok();
                let edit = Edit {
                    version,
                    title: title
                        .as_deref()
                        .filter(|title| *title != shown.row.title.as_str()),
                    severity: new.filter(|new| *new != shown.row.severity),
                    discovered_at,
                    reason,
                    ..Edit::default()
                };
                incidents::update(session, config, id, &edit).await?
            }
            "lead" => {
                let account = fields.written("account");
                incidents::assign(session, config, id, version, account.as_deref()).await?
            }
            "note" => {
                let at = self.time("happened_at")?;
                incidents::write(session, config, id, at, value).await?
            }
            "task" => incidents::task(session, config, id, value).await?,
            "settle" => {
                let settle = Settle {
                    number: fields.get("number").parse().unwrap_or(0),
                    state: fields.get("state").parse().unwrap_or(TaskState::Open),
                    remark: remark.as_deref(),
                };
                incidents::settle(session, config, id, &settle).await?
            }
            "decide" => {
                let choice = Choice {
                    version,
                    duty: fields.get("duty"),
                    applies: fields.get("applies") == "yes",
                    reason,
                };
                incidents::decide(session, config, id, &choice).await?
            }
            "reported" => {
                let number = fields.written("number");
                let told = Told {
                    duty: fields.get("duty"),
                    sent_at: self.time("sent_at")?.unwrap_or(self.now),
                    number: number.as_deref(),
                    remark: remark.as_deref(),
                };
                incidents::reported(session, config, id, &told).await?
            }
            "release" => incidents::release(session, config, id, reason).await?,
            "observe" => {
                let kind = fields.get("kind").parse();
                let kind = kind.map_err(|why| AppError::invalid(format!("kind: {why}")))?;
                incidents::observe(session, config, id, kind, value, remark.as_deref()).await?
            }
            "link" => {
                let alerts: Vec<String> = value.split_whitespace().map(str::to_owned).collect();
                incidents::link(session, config, id, &alerts, reason).await?
            }
            "unlink" => {
                let alerts: Vec<String> = fields.all("alert").map(str::to_owned).collect();
                incidents::unlink(session, config, id, &alerts, reason).await?
            }
            "merge" => {
                incidents::merge(session, config, id, fields.get("into"), reason)
                    .await?
                    .into
            }
            "unmerge" => {
                incidents::undo_merge(session, config, id, reason)
                    .await?
                    .from
            }
            _ => return Err(AppError::not_found("there is no such change")),
        };
        Ok(incident.row.incident_id.to_string())
    }
}
