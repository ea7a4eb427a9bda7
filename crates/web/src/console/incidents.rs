//! Incidents.

use std::sync::Arc;

use app::AppError;
use app::actor::{Action, Resource};
use app::alerts;
use app::incidents::{self, Incident, StatusChange};
use app::listing::Before;
use axum::extract::Path;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use model::{Alert, IncidentStatus, Span};
use pages::{Fact, IncidentPage, IncidentRow, IncidentsPage, Level, Notice, Pager, Step};

use super::form::{Done, Fields, address, version_of};
use super::{Desk, NoPage, Visit, html, see_other};

/// Incidents of a page.
const ROWS: u32 = 50;
/// Alerts of an incident that are shown.
const ALERTS: u32 = 100;
/// How long after its discovery an incident must be reported (DFARS 252.204-7012).
const REPORT_WITHIN: Span = Span::hours(72);

fn row(desk: &Desk, incident: &Incident) -> IncidentRow {
    let entity = incident.entity.as_ref();
    let due = incident.detected_at.plus(REPORT_WITHIN);
    let is_due = incident.dfars_reportable && incident.status != IncidentStatus::Closed;
    IncidentRow {
        id: incident.incident_id.to_string(),
        level: Level::from(incident.severity),
        title: incident.title.clone(),
        entity: entity.map_or_else(String::new, |entity| {
            format!("{} {}", entity.kind.as_str(), entity.value)
        }),
        status: incident.status.to_string(),
        detected: desk.when(incident.detected_at),
        alerts: incident.alerts,
        report_due: is_due.then(|| (desk.when(due), due < desk.now)),
        has_cui: incident.cui_involved,
    }
}

/// `GET /incidents`.
pub(super) async fn list(mut visit: Visit, uri: Uri) -> Result<Response, NoPage> {
    let fields = Fields::of_query(uri.query());
    let all = fields.get("all") == "yes";
    let context = address("/incidents", &[("all", if all { "yes" } else { "" })]);
    let before = visit.console.cursors.open(&context, fields.get("after"));
    let is_later = before.is_some();
    let before = before.and_then(|at| at.parse().ok());
    let found = incidents::page(&mut visit.session, all, before, ROWS + 1).await;
    let console = Arc::clone(&visit.console);
    let (mut rows, desk) = visit.finish(found).await?;

    let has_more = rows.len() > ROWS as usize;
    rows.truncate(ROWS as usize);
    let next = rows.last().filter(|_| has_more).map(|last| {
        let at = Before {
            at: last.detected_at,
            id: last.incident_id.0,
        };
        let after = console.cursors.sign(&context, &at.to_string());
        let all = if all { "yes" } else { "" };
        address("/incidents", &[("all", all), ("after", &after)])
    });
    let page = IncidentsPage {
        rows: rows.iter().map(|incident| row(&desk, incident)).collect(),
        all,
        pager: Pager {
            first: is_later.then_some(context),
            next,
        },
        frame: desk.frame("Incidents", "Incidents"),
    };
    Ok(html(&page))
}

/// Everything that the page of an incident shows.
struct Shown {
    incident: Incident,
    steps: Vec<StatusChange>,
    alerts: Vec<Alert>,
}

async fn read(visit: &mut Visit, id: &str) -> Result<Shown, AppError> {
    let config = Arc::clone(&visit.console.config);
    let incident = incidents::show(&mut visit.session, id).await?;
    let (_, steps) = incidents::history(&mut visit.session, id).await?;
    let filter = alerts::Filter {
        incident_id: Some(incident.incident_id),
        ..alerts::Filter::default()
    };
    let alerts = alerts::page(&mut visit.session, &config, &filter, ALERTS).await?;
    Ok(Shown {
        incident,
        steps,
        alerts,
    })
}

/// The version of what a page showed: whoever changes it must have seen it.
fn version(incident: &Incident) -> String {
    let seen = format!(
        "{} {} {}",
        incident.incident_id, incident.status, incident.severity
    );
    version_of(&seen)
}

fn page(desk: &Desk, shown: &Shown, typed: &str, notice: Option<Notice>) -> IncidentPage {
    let incident = &shown.incident;
    let phases: Vec<(&'static str, bool)> = IncidentStatus::ALL
        .iter()
        .map(|phase| (phase.as_str(), *phase <= incident.status))
        .collect();
    let next = IncidentStatus::ALL
        .iter()
        .filter(|phase| **phase > incident.status)
        .map(ToString::to_string)
        .collect();
    let fact = |name, value: String| Fact {
        name,
        value,
        link: None,
    };
    let mut facts = vec![
        fact("About", row(desk, incident).entity),
        fact("Detected by", incident.detected_by.replace('_', " ")),
        fact(
            "Rule",
            incident.correlation_rule.clone().unwrap_or_default(),
        ),
        fact("Source", incident.source.clone().unwrap_or_default()),
        fact("Services", incident.services.join(", ")),
    ];
    facts.retain(|fact| !fact.value.is_empty());

    let mut frame = desk.frame(&incident.title, "Incidents");
    if notice.is_some() {
        frame.notice = notice;
    }
    IncidentPage {
        row: row(desk, incident),
        facts,
        phases,
        next,
        version: version(incident),
        typed: typed.to_owned(),
        steps: shown
            .steps
            .iter()
            .map(|step| Step {
                at: desk.when(step.changed_at),
                what: format!("{} to {}", step.previous, step.status),
                who: step.changed_by.clone(),
                reason: step.reason.clone(),
            })
            .collect(),
        alerts: shown
            .alerts
            .iter()
            .map(|alert| super::alerts::row(desk, alert))
            .collect(),
        may_write: desk.may(Action::Write, Resource::Incidents),
        frame,
    }
}

/// `GET /incidents/{id}`.
pub(super) async fn show(mut visit: Visit, Path(id): Path<String>) -> Result<Response, NoPage> {
    let found = read(&mut visit, &id).await;
    let (shown, desk) = visit.finish(found).await?;
    Ok(html(&page(&desk, &shown, "", None)))
}

/// `POST /incidents/{id}/advance`. Whoever did not see the newest state gets it, with what they typed.
pub(super) async fn advance(
    mut visit: Visit,
    Path(id): Path<String>,
    fields: Fields,
) -> Result<Response, NoPage> {
    visit.check_form(&fields)?;
    let typed = fields.get("reason").to_owned();
    let done = async {
        let shown = read(&mut visit, &id).await?;
        if fields.get("version") != version(&shown.incident) {
            return Ok(Err((shown, "Someone else has changed this incident since you opened the page. Your text is still here; check the history first.".to_owned())));
        }
        let status = fields.get("status").parse::<IncidentStatus>();
        let Ok(status) = status else {
            return Ok(Err((shown, "Choose a status.".to_owned())));
        };
        match incidents::advance(&mut visit.session, &id, status, &typed).await {
            Ok(_) => Ok(Ok(())),
            Err(AppError::Invalid(_)) => Ok(Err((
                shown,
                "Describe what was found or done, in 3 to 4,000 characters.".to_owned(),
            ))),
            Err(AppError::Conflict(why)) => Ok(Err((shown, why))),
            Err(error) => Err(error),
        }
    };
    let done = done.await;
    let (done, desk) = visit.finish(done).await?;
    match done {
        Ok(()) => Ok(see_other(&Done::MovedOn.at(&format!("/incidents/{id}")))),
        Err((shown, why)) => {
            let page = page(&desk, &shown, &typed, Some(Notice::bad(why)));
            Ok((StatusCode::CONFLICT, html(&page)).into_response())
        }
    }
}
