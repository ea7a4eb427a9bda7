//! Incidents.

use std::sync::Arc;

use app::actor::Resource;
use app::compliance::reports::{self, Form};
use app::incidents::{
    self, Choice, Edit, Incident, NewIncident, ObservableKind, Settle, TaskState, Told,
};
use app::listing::Before;
use app::{AppError, Config};
use axum::body::Bytes;
use axum::extract::Path;
use axum::http::HeaderMap;
use axum::response::Response;
use model::{Clock as _, IncidentStatus, Severity, SystemClock, Timestamp};

use super::alerts::AllQuery;
use super::list::{Asked, Listing, Nothing};
use super::operation::{Field, Record, Schema, body};
use super::version::Expected;
use super::{Api, answers, compliance};
use crate::api::people::read_json;
use crate::error::Problem;

const SEVERITIES: Schema = Schema::OneOf(&["low", "medium", "high", "critical"]);
const REASON: Schema = Schema::TextUpTo(4000);
const IDS: Schema = Schema::ListUpTo(&Schema::IdStart, 500);

/// The configuration, of which handlers need the duties and the playbooks.
fn config(api: &Api) -> Arc<Config> {
    Arc::clone(&api.console.config)
}

pub(super) async fn list(mut api: Api, listing: Listing<AllQuery>) -> Result<Response, Problem> {
    let Listing { query, page } = listing;
    let closed_too = query.all.unwrap_or(false);
    let config = config(&api);
    let found = async {
        let total = if page.count {
            Some(incidents::count(&mut api.session, closed_too).await?)
        } else {
            None
        };
        let limit = page.fetch();
        let found =
            incidents::page(&mut api.session, &config, closed_too, page.before(), limit).await?;
        Ok(page.fetched(found, total, |incident: &Incident| Before {
            at: incident.row.detected_at,
            id: incident.row.incident_id.0,
        }))
    };
    let found = found.await;
    api.page(page, found).await
}

pub(super) async fn show(mut api: Api, Path(id): Path<String>) -> Result<Response, Problem> {
    let config = config(&api);
    let found = incidents::show(&mut api.session, &config, &id).await;
    api.tagged(found).await
}

pub(super) async fn history(
    mut api: Api,
    Path(id): Path<String>,
    listing: Listing<Nothing>,
) -> Result<Response, Problem> {
    let page = listing.page;
    let found = incidents::history(&mut api.session, &id).await;
    let found = found
        .map(|(_, changes)| page.cut(changes, |change| change.changed_at.as_micros().to_string()));
    api.page(page, found).await
}

pub(super) async fn timeline(
    mut api: Api,
    Path(id): Path<String>,
    listing: Listing<Nothing>,
) -> Result<Response, Problem> {
    let page = listing.page;
    let config = config(&api);
    let case = incidents::case(&mut api.session, &config, &id).await;
    // Several things happen at one time.
    let found = case.map(|case| {
        page.cut(case.timeline(), |one| {
            format!("{} {}", one.at.as_micros(), one.what)
        })
    });
    api.page(page, found).await
}

pub(super) async fn tasks(
    mut api: Api,
    Path(id): Path<String>,
    listing: Listing<Nothing>,
) -> Result<Response, Problem> {
    let page = listing.page;
    let config = config(&api);
    let case = incidents::case(&mut api.session, &config, &id).await;
    let found = case.map(|case| page.cut(case.tasks, |task| task.number.to_string()));
    api.page(page, found).await
}

pub(super) async fn observables(
    mut api: Api,
    Path(id): Path<String>,
    listing: Listing<Nothing>,
) -> Result<Response, Problem> {
    let page = listing.page;
    let config = config(&api);
    let case = incidents::case(&mut api.session, &config, &id).await;
    let found =
        case.map(|case| page.cut(case.indicators, |one| format!("{} {}", one.kind, one.value)));
    api.page(page, found).await
}

pub(super) async fn report(
    mut api: Api,
    Path(id): Path<String>,
    Asked(query): Asked<compliance::FormatQuery>,
) -> Result<Response, Problem> {
    let config = config(&api);
    let state = api.console.state.clone();
    let form = query.format.unwrap_or(Form::Pdf);
    let made = async {
        let case = incidents::case(&mut api.session, &config, &id).await?;
        let session = &mut api.session;
        let now = SystemClock.now();
        let document = incidents::report(session, &config, &state, &case, now).await?;
        let incidents = Resource::Incidents;
        reports::give(session, incidents, "incident", document, form).await
    };
    let made = made.await;
    let bytes = api.checked(made).await?;
    Ok(compliance::as_file(bytes, "incident", form))
}

body! {
    /// An incident that a person opens: with a title and a severity, or about an alert.
    IncidentBody {
        /// What happened, in a line; what the alert says if it is left out.
        title: Option<String> = Schema::Maybe(&Schema::TextUpTo(300));
        /// How bad it is; as the alert says if it is left out.
        severity: Option<Severity> = Schema::Maybe(&SEVERITIES);
        /// What is known.
        description: Option<String> = Schema::Maybe(&Schema::TextUpTo(20000));
        /// The alert that it is about.
        alert: Option<String> = Schema::Maybe(&Schema::IdStart);
    }
}

pub(super) async fn create(
    mut api: Api,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let body: IncidentBody = read_json(&headers, &body)?;
    let config = config(&api);
    let new = NewIncident {
        title: body.title.as_deref(),
        severity: body.severity,
        description: body.description.as_deref(),
        alert: body.alert.as_deref(),
    };
    let made = incidents::create(&mut api.session, &config, &new).await;
    api.tagged(made).await
}

/// Changes an incident that is still as the request expects it.
async fn changed(
    api: Api,
    id: &str,
    expected: &Expected,
    work: impl AsyncFnOnce(&mut Api, &Config) -> Result<Incident, AppError>,
) -> Result<Response, Problem> {
    let config = config(&api);
    let _turn = expected.turn().await;
    let mut api = api;
    let current = incidents::show(&mut api.session, &config, id).await;
    let mut api = api.unchanged(expected, current).await?;
    let now = work(&mut api, &config).await;
    api.tagged(now).await
}

body! {
    /// Where an incident stands now.
    StatusBody {
        /// The phase, also an earlier one.
        status: IncidentStatus = Schema::OneOf(answers::INCIDENT_STATUSES);
        /// Why.
        reason: String = REASON;
        /// What it came from; to close it.
        root_cause: Option<String> = Schema::Maybe(&REASON);
        /// What was learned; to close it.
        lessons_learned: Option<String> = Schema::Maybe(&REASON);
    }
}

pub(super) async fn step(
    api: Api,
    Path(id): Path<String>,
    expected: Expected,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let body: StatusBody = read_json(&headers, &body)?;
    changed(api, &id, &expected, async |api, config| {
        let edit = Edit {
            status: Some(body.status),
            reason: &body.reason,
            root_cause: body.root_cause.as_deref().unwrap_or_default(),
            lessons: body.lessons_learned.as_deref().unwrap_or_default(),
            ..Edit::default()
        };
        incidents::update(&mut api.session, config, &id, &edit).await
    })
    .await
}

body! {
    /// What is changed of an incident.
    IncidentChange {
        /// Its title.
        title: Option<String> = Schema::Maybe(&Schema::TextUpTo(300));
        /// How bad it is.
        severity: Option<Severity> = Schema::Maybe(&SEVERITIES);
        /// From when the law counts.
        discovered_at: Option<Timestamp> = Schema::Maybe(&Schema::Time);
        /// Why; a title alone needs no reason.
        reason: Option<String> = Schema::Maybe(&REASON);
    }
}

pub(super) async fn change(
    api: Api,
    Path(id): Path<String>,
    expected: Expected,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let body: IncidentChange = read_json(&headers, &body)?;
    changed(api, &id, &expected, async |api, config| {
        let edit = Edit {
            title: body.title.as_deref(),
            severity: body.severity,
            discovered_at: body.discovered_at,
            reason: body.reason.as_deref().unwrap_or_default(),
            ..Edit::default()
        };
        incidents::update(&mut api.session, config, &id, &edit).await
    })
    .await
}

body! {
    /// Who leads an incident.
    AssignBody {
        /// The account; `null` for nobody.
        account: Option<String> = Schema::Maybe(&Schema::TextUpTo(200));
    }
}

pub(super) async fn assign(
    api: Api,
    Path(id): Path<String>,
    expected: Expected,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let body: AssignBody = read_json(&headers, &body)?;
    changed(api, &id, &expected, async |api, config| {
        let account = body.account.as_deref();
        incidents::assign(&mut api.session, config, &id, None, account).await
    })
    .await
}

body! {
    /// What someone writes down about an incident.
    NoteBody {
        /// What it says.
        text: String = Schema::TextUpTo(20000);
        /// When what it says happened; then it stands in the timeline.
        happened_at: Option<Timestamp> = Schema::Maybe(&Schema::Time);
    }
}

pub(super) async fn note(
    mut api: Api,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let body: NoteBody = read_json(&headers, &body)?;
    let config = config(&api);
    let (at, text) = (body.happened_at, body.text.as_str());
    let done = incidents::write(&mut api.session, &config, &id, at, text).await;
    api.tagged(done).await
}

body! {
    /// Something to do about an incident.
    TaskBody {
        /// What to do.
        task: String = Schema::TextUpTo(500);
    }
}

pub(super) async fn add_task(
    mut api: Api,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let body: TaskBody = read_json(&headers, &body)?;
    let config = config(&api);
    let done = incidents::task(&mut api.session, &config, &id, &body.task).await;
    api.tagged(done).await
}

body! {
    /// What became of a task.
    SettleBody {
        /// How far it is.
        state: TaskState = Schema::OneOf(answers::TASK_STATES);
        /// What came of it; needed for `dropped`.
        remark: Option<String> = Schema::Maybe(&REASON);
    }
}

pub(super) async fn settle_task(
    mut api: Api,
    Path((id, number)): Path<(String, u32)>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let body: SettleBody = read_json(&headers, &body)?;
    let config = config(&api);
    let settle = Settle {
        number,
        state: body.state,
        remark: body.remark.as_deref(),
    };
    let done = incidents::settle(&mut api.session, &config, &id, &settle).await;
    api.tagged(done).await
}

body! {
    /// What an attack can be recognized by.
    ObservableBody {
        /// What it is.
        kind: ObservableKind = Schema::OneOf(answers::OBSERVABLES);
        /// The address, name or hash.
        value: String = Schema::TextUpTo(2000);
        /// What is to be known of it.
        remark: Option<String> = Schema::Maybe(&REASON);
    }
}

pub(super) async fn observe(
    mut api: Api,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let body: ObservableBody = read_json(&headers, &body)?;
    let config = config(&api);
    let remark = body.remark.as_deref();
    let session = &mut api.session;
    let done = incidents::observe(session, &config, &id, body.kind, &body.value, remark).await;
    api.tagged(done).await
}

body! {
    /// Alerts that belong to an incident, or do not.
    LinkBody {
        /// Their ids, whole or their first characters.
        alerts: Vec<String> = IDS;
        /// Why.
        reason: String = REASON;
    }
}

pub(super) async fn link(
    mut api: Api,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let body: LinkBody = read_json(&headers, &body)?;
    let config = config(&api);
    let session = &mut api.session;
    let done = incidents::link(session, &config, &id, &body.alerts, &body.reason).await;
    api.tagged(done).await
}

pub(super) async fn unlink(
    mut api: Api,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let body: LinkBody = read_json(&headers, &body)?;
    let config = config(&api);
    let session = &mut api.session;
    let done = incidents::unlink(session, &config, &id, &body.alerts, &body.reason).await;
    api.tagged(done).await
}

body! {
    /// Alerts of an incident that get one of their own.
    SplitBody {
        /// Their ids, whole or their first characters.
        alerts: Vec<String> = IDS;
        /// The title of the new incident.
        title: String = Schema::TextUpTo(300);
        /// Why they are another incident.
        reason: String = REASON;
    }
}

pub(super) async fn split(
    mut api: Api,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let body: SplitBody = read_json(&headers, &body)?;
    let config = config(&api);
    let (alerts, title) = (body.alerts.as_slice(), body.title.as_str());
    let session = &mut api.session;
    let done = incidents::split(session, &config, &id, alerts, title, &body.reason).await;
    api.tagged(done).await
}

body! {
    /// That an incident is part of another one, or is not any more.
    MergeBody {
        /// The other one; `null` takes the merge back.
        into: Option<String> = Schema::Maybe(&Schema::IdStart);
        /// Why.
        reason: String = REASON;
    }
}

pub(super) async fn merge(
    mut api: Api,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let body: MergeBody = read_json(&headers, &body)?;
    let config = config(&api);
    let session = &mut api.session;
    let done = match &body.into {
        Some(into) => incidents::merge(session, &config, &id, into, &body.reason).await,
        None => incidents::undo_merge(session, &config, &id, &body.reason).await,
    };
    api.answer(done).await
}

body! {
    /// Whether an incident must be reported.
    DecisionBody {
        /// The duty; `dfars` if it is left out.
        duty: Option<String> = Schema::Maybe(&Schema::TextUpTo(40));
        /// Whether it applies.
        applies: bool = Schema::Boolean;
        /// Why.
        reason: String = REASON;
    }
}

pub(super) async fn decide(
    api: Api,
    Path(id): Path<String>,
    expected: Expected,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let body: DecisionBody = read_json(&headers, &body)?;
    changed(api, &id, &expected, async |api, config| {
        let choice = Choice {
            version: None,
            duty: body.duty.as_deref().unwrap_or(incidents::DFARS),
            applies: body.applies,
            reason: &body.reason,
        };
        incidents::decide(&mut api.session, config, &id, &choice).await
    })
    .await
}

body! {
    /// A report that was sent.
    ReportBody {
        /// The duty that it fulfills; `dfars` if it is left out.
        duty: Option<String> = Schema::Maybe(&Schema::TextUpTo(40));
        /// When it was sent; now if it is left out.
        sent_at: Option<Timestamp> = Schema::Maybe(&Schema::Time);
        /// The number that came back.
        number: Option<String> = Schema::Maybe(&Schema::TextUpTo(200));
        /// What else is to be known of it.
        remark: Option<String> = Schema::Maybe(&REASON);
    }
}

pub(super) async fn reported(
    mut api: Api,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let body: ReportBody = read_json(&headers, &body)?;
    let config = config(&api);
    let told = Told {
        duty: body.duty.as_deref().unwrap_or(incidents::DFARS),
        sent_at: body.sent_at.unwrap_or_else(|| SystemClock.now()),
        number: body.number.as_deref(),
        remark: body.remark.as_deref(),
    };
    let done = incidents::reported(&mut api.session, &config, &id, &told).await;
    api.tagged(done).await
}

body! {
    /// Why something is done.
    WhyBody {
        /// Why.
        reason: String = REASON;
    }
}

pub(super) async fn release(
    mut api: Api,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let body: WhyBody = read_json(&headers, &body)?;
    let config = config(&api);
    let done = incidents::release(&mut api.session, &config, &id, &body.reason).await;
    api.tagged(done).await
}
