//! `/api/v1`: use cases of `app` for people who have signed in, and for their API keys.
//!
//! A route is one line of [`routes!`]: its method and path, what it does to what, the function that
//! calls one use case, and what it takes and answers. Whether the role may is asked before the body
//! is read, and once more by the use case; a refusal is 403 and a row of the audit log. Entries of
//! lists and answers are those of the commands' `--json`.

mod accounts;
mod alerts;
pub(super) mod answers;
mod compliance;
mod evidence;
mod idempotency;
mod incidents;
mod list;
pub(crate) mod openapi;
pub(super) mod operation;
mod operations;
mod redteam;
pub(crate) mod version;

use std::convert::Infallible;
use std::sync::Arc;

use app::actor::{Action, Denied, Resource};
use app::auth::AuthError;
use app::console::{Console, Isolation, record_denied};
use app::sign_in::SignInError;
use app::{AppError, Session};
use axum::extract::{DefaultBodyLimit, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router, middleware, routing};
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;

pub(crate) use self::compliance::as_file;
use self::operation::{Operation, op};
use super::State as Shared;
use super::people::{Asking, no_store, person};
use crate::error::Problem;

/// The largest body of a request.
const BODY_MAX: usize = 1024 * 1024;

/// A route, as the documentation and the tests see it.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// `get`, `post` or `patch`.
    pub method: &'static str,
    /// Its path.
    pub path: &'static str,
    /// What it does.
    pub action: Action,
    /// To what.
    pub resource: Resource,
    /// What it takes and answers.
    operation: Operation,
}

impl Route {
    /// Whether a request must say in `If-Match` which version it has seen.
    pub const fn is_versioned(&self) -> bool {
        self.operation.versioned
    }
}

macro_rules! routes {
    ($($method:ident $path:literal, $action:ident $resource:ident => $handler:path,
        $operation:expr;)*) => {
        /// Every route.
        pub const ROUTES: &[Route] = &[
            $(Route {
                method: stringify!($method),
                path: $path,
                action: Action::$action,
                resource: Resource::$resource,
                operation: $operation,
            },)*
        ];

        /// Every route, with what is around it.
        pub(super) fn router(state: &Arc<Shared>) -> Router<Arc<Shared>> {
            let once = middleware::from_fn_with_state::<_, _, (State<Arc<Shared>>, Request)>(
                Arc::clone(state),
                idempotency::once,
            );
            Router::new()$(.route(
                $path,
                routing::$method($handler)
                    .layer::<_, Infallible>(once.clone())
                    .layer(Extension(Needs(Action::$action, Resource::$resource))),
            ))*
            .layer(DefaultBodyLimit::max(BODY_MAX))
        }
    };
}

#[rustfmt::skip]
routes! {
    get "/api/v1/alerts", Read Alerts => alerts::list,
        op("Lists alerts, the newest first")
            .query(alerts::AlertQuery::RECORD)
            .lists(&answers::ALERT);
    get "/api/v1/alerts/{id}", Read Alerts => alerts::show,
        op("Shows an alert").gives(&answers::ALERT).tagged();
    post "/api/v1/alerts/{id}/acknowledge", Acknowledge Alerts => alerts::acknowledge,
        op("Acknowledges an alert").gives(&answers::ALERT).may_expect();
    post "/api/v1/alerts:batch", Acknowledge Alerts => alerts::batch,
        op("Acknowledges many alerts").body(alerts::BatchBody::RECORD).gives(&answers::BATCH);
    get "/api/v1/alerts/{id}/verdicts", Read Alerts => alerts::verdicts,
        op("Lists what people made of an alert, the newest first").lists(&answers::VERDICT);
    post "/api/v1/alerts/{id}/verdict", Acknowledge Alerts => alerts::judge,
        op("Says what an alert turned out to be")
            .body(alerts::VerdictBody::RECORD)
            .gives(&answers::ALERT);
    get "/api/v1/notifications", Read Alerts => alerts::notifications,
        op("Lists notifications, the newest first")
            .query(alerts::NotificationQuery::RECORD)
            .lists(&answers::NOTIFICATION);
    get "/api/v1/silences", Read Silences => alerts::silences,
        op("Lists silences").query(alerts::AllQuery::RECORD).lists(&answers::SILENCE);
    post "/api/v1/silences", Write Silences => alerts::create_silence,
        op("Makes a silence").body(alerts::SilenceBody::RECORD).gives(&answers::SILENCE);
    post "/api/v1/silences/{id}/expire", Write Silences => alerts::expire_silence,
        op("Ends a silence");
    get "/api/v1/incidents", Read Incidents => incidents::list,
        op("Lists incidents, the newest first")
            .query(alerts::AllQuery::RECORD)
            .lists(&answers::INCIDENT);
    post "/api/v1/incidents", Write Incidents => incidents::create,
        op("Opens an incident").body(incidents::IncidentBody::RECORD).gives(&answers::INCIDENT).tagged();
    get "/api/v1/incidents/{id}", Read Incidents => incidents::show,
        op("Shows an incident").gives(&answers::INCIDENT).tagged();
    patch "/api/v1/incidents/{id}", Write Incidents => incidents::change,
        op("Changes title, severity or time of discovery of an incident")
            .body(incidents::IncidentChange::RECORD)
            .gives(&answers::INCIDENT)
            .tagged()
            .versioned();
    get "/api/v1/incidents/{id}/history", Read Incidents => incidents::history,
        op("Lists the changes of an incident's status").lists(&answers::STATUS_CHANGE);
    get "/api/v1/incidents/{id}/timeline", Read Incidents => incidents::timeline,
        op("Lists what happened in an incident, the earliest first").lists(&answers::HAPPENED);
    get "/api/v1/incidents/{id}/observables", Read Incidents => incidents::observables,
        op("Lists what the attack can be recognized by").lists(&answers::INDICATOR);
    post "/api/v1/incidents/{id}/observables", Write Incidents => incidents::observe,
        op("Adds what the attack can be recognized by")
            .body(incidents::ObservableBody::RECORD)
            .gives(&answers::INCIDENT)
            .tagged();
    get "/api/v1/incidents/{id}/tasks", Read Incidents => incidents::tasks,
        op("Lists what is to be done about an incident").lists(&answers::TASK);
    post "/api/v1/incidents/{id}/tasks", Write Incidents => incidents::add_task,
        op("Adds a task").body(incidents::TaskBody::RECORD).gives(&answers::INCIDENT).tagged();
    post "/api/v1/incidents/{id}/tasks/{number}", Write Incidents => incidents::settle_task,
        op("Says what became of a task")
            .body(incidents::SettleBody::RECORD)
            .gives(&answers::INCIDENT)
            .tagged();
    post "/api/v1/incidents/{id}/status", Write Incidents => incidents::step,
        op("Moves an incident to another phase")
            .body(incidents::StatusBody::RECORD)
            .gives(&answers::INCIDENT)
            .tagged()
            .versioned();
    post "/api/v1/incidents/{id}/assign", Write Incidents => incidents::assign,
        op("Gives an incident to someone who leads it")
            .body(incidents::AssignBody::RECORD)
            .gives(&answers::INCIDENT)
            .tagged()
            .versioned();
    post "/api/v1/incidents/{id}/notes", Write Incidents => incidents::note,
        op("Writes a note, or what happened when")
            .body(incidents::NoteBody::RECORD)
            .gives(&answers::INCIDENT)
            .tagged();
    post "/api/v1/incidents/{id}/link", Write Incidents => incidents::link,
        op("Puts alerts into an incident")
            .body(incidents::LinkBody::RECORD)
            .gives(&answers::INCIDENT)
            .tagged();
    post "/api/v1/incidents/{id}/unlink", Write Incidents => incidents::unlink,
        op("Takes alerts out of an incident")
            .body(incidents::LinkBody::RECORD)
            .gives(&answers::INCIDENT)
            .tagged();
    post "/api/v1/incidents/{id}/split", Write Incidents => incidents::split,
        op("Gives some alerts of an incident one of their own, and shows that")
            .body(incidents::SplitBody::RECORD)
            .gives(&answers::INCIDENT)
            .tagged();
    post "/api/v1/incidents/{id}/merge", Write Incidents => incidents::merge,
        op("Makes an incident part of another one, or takes that back")
            .body(incidents::MergeBody::RECORD)
            .gives(&answers::MERGED);
    post "/api/v1/incidents/{id}/decide", Write Incidents => incidents::decide,
        op("Decides whether an incident must be reported")
            .body(incidents::DecisionBody::RECORD)
            .gives(&answers::INCIDENT)
            .tagged()
            .versioned();
    get "/api/v1/incidents/{id}/evidence", Read Incidents => evidence::list,
        op("Lists the evidence of an incident, with what happened to it")
            .lists(&answers::INCIDENT_EVIDENCE);
    get "/api/v1/incidents/{id}/evidence/{item}/file", Export Incidents => evidence::file,
        op("Writes an item of evidence as a file, which is recorded; malware as the encrypted one")
            .file(FILES);
    get "/api/v1/incidents/{id}/report", Read Incidents => incidents::report,
        op("Writes the report of an incident")
            .query(compliance::FormatQuery::RECORD)
            .file(DOCUMENTS);
    post "/api/v1/incidents/{id}/reported", Write Incidents => incidents::reported,
        op("Records that an incident was reported")
            .body(incidents::ReportBody::RECORD)
            .gives(&answers::INCIDENT)
            .tagged();
    post "/api/v1/incidents/{id}/release", Write Incidents => incidents::release,
        op("Ends the preservation of an incident")
            .body(incidents::WhyBody::RECORD)
            .gives(&answers::INCIDENT)
            .tagged();
    get "/api/v1/events", Read Events => alerts::events,
        op("Searches events, the newest first; the search is recorded")
            .query(alerts::EventQuery::RECORD)
            .lists(&answers::EVENT);
    get "/api/v1/rules", Read Rules => operations::rules,
        op("Lists detection rules").lists(&answers::RULE);
    post "/api/v1/rules/{id}/enable", Write Rules => operations::enable_rule,
        op("Puts a rule in force");
    post "/api/v1/rules/{id}/disable", Write Rules => operations::disable_rule,
        op("Puts a rule out of force");
    get "/api/v1/sources", Read Sources => operations::sources,
        op("Lists sources of events").lists(&answers::SOURCE);
    get "/api/v1/sources/{id}", Read Sources => operations::source,
        op("Shows a source").gives(&answers::SOURCE).tagged();
    get "/api/v1/monitors", Read System => operations::monitors,
        op("Lists monitors").lists(&answers::MONITOR);
    get "/api/v1/tenants", Read Tenants => operations::tenants,
        op("Lists organizations: your own, with its plan and how much of it is used")
            .lists(&answers::TENANT);
    get "/api/v1/upkeep", Read System => operations::upkeep,
        op("Shows how blueteam is looked after").gives(&answers::UPKEEP);
    get "/api/v1/advisories", Read Compliance => compliance::advisories,
        op("Lists vulnerable packages that are installed")
            .query(alerts::AllQuery::RECORD)
            .lists(&answers::ADVISORY_MATCH);
    get "/api/v1/redteam/runs", Read RedTeam => redteam::runs,
        op("Lists runs of red teams and scanners, the newest first")
            .lists(&answers::REDTEAM_RUN);
    get "/api/v1/redteam/runs/{id}", Read RedTeam => redteam::run,
        op("Shows a run, what came of its modules and what it lists")
            .gives(&answers::REDTEAM_RUN_DETAILS);
    get "/api/v1/redteam/findings", Read RedTeam => redteam::findings,
        op("Lists what red teams and scanners found, the worst first")
            .query(redteam::FindingQuery::RECORD)
            .lists(&answers::REDTEAM_FINDING);
    get "/api/v1/redteam/findings/{id}", Read RedTeam => redteam::finding,
        op("Shows a finding").gives(&answers::REDTEAM_FINDING);
    get "/api/v1/redteam/compare", Read RedTeam => redteam::compare,
        op("Compares two runs or two times")
            .query(redteam::CompareQuery::RECORD)
            .gives(&answers::REDTEAM_COMPARISON);
    get "/api/v1/compliance/status", Read Compliance => compliance::status,
        op("Lists requirements and how they stand")
            .query(compliance::RequirementQuery::RECORD)
            .lists(&answers::REQUIREMENT);
    get "/api/v1/compliance/gaps", Read Compliance => compliance::gaps,
        op("Lists requirements that are not met, the heaviest first")
            .query(compliance::RequirementQuery::RECORD)
            .lists(&answers::REQUIREMENT);
    get "/api/v1/compliance/scores", Read Compliance => compliance::scores,
        op("Lists scores as they were counted").lists(&answers::SCORE);
    get "/api/v1/compliance/poam", Read Poam => compliance::plans,
        op("Lists the plan of action").query(alerts::AllQuery::RECORD).lists(&answers::PLAN);
    post "/api/v1/compliance/poam", Write Poam => compliance::create_plan,
        op("Adds an item to the plan of action")
            .body(compliance::PlanBody::RECORD)
            .gives(&answers::PLAN)
            .tagged();
    get "/api/v1/compliance/poam/{id}", Read Poam => compliance::plan,
        op("Shows an item of the plan of action").gives(&answers::PLAN).tagged();
    patch "/api/v1/compliance/poam/{id}", Write Poam => compliance::change_plan,
        op("Changes an item of the plan of action")
            .body(compliance::PlanChange::RECORD)
            .gives(&answers::PLAN)
            .tagged()
            .versioned();
    get "/api/v1/compliance/evidence", Read Evidence => compliance::evidence,
        op("Lists evidence").query(alerts::AllQuery::RECORD).lists(&answers::EVIDENCE);
    post "/api/v1/compliance/evidence", Write Evidence => compliance::create_evidence,
        op("Takes a piece of evidence in, as a draft")
            .body(compliance::EvidenceBody::RECORD)
            .gives(&answers::EVIDENCE)
            .tagged();
    get "/api/v1/compliance/evidence/{id}", Read Evidence => compliance::piece,
        op("Shows a piece of evidence").gives(&answers::EVIDENCE).tagged();
    post "/api/v1/compliance/evidence/{id}/approve", Approve Evidence =>
        compliance::approve_evidence,
        op("Approves a piece of evidence").gives(&answers::EVIDENCE).versioned();
    get "/api/v1/reports/ssp", Export Reports => compliance::ssp,
        op("Writes the system security plan")
            .query(compliance::FormatQuery::RECORD)
            .file(DOCUMENTS);
    get "/api/v1/reports/assessor", Export Reports => compliance::assessor,
        op("Writes the report for the assessor")
            .query(compliance::FormatQuery::RECORD)
            .file(DOCUMENTS);
    get "/api/v1/reports/poam", Export Poam => compliance::poam_report,
        op("Writes the plan of action").query(compliance::FormatQuery::RECORD).file(SHEETS);
    get "/api/v1/keys", Read Keys => accounts::keys,
        op("Lists API keys, the newest first").lists(&answers::KEY);
    post "/api/v1/keys", Write Keys => accounts::create_key,
        op("Makes an API key: of a machine, or one's own")
            .body(accounts::KeyBody::RECORD)
            .gives(&answers::NEW_KEY)
            .secret();
    post "/api/v1/keys/{id}/revoke", Write Keys => accounts::revoke_key,
        op("Revokes an API key").gives(&answers::REVOKED_KEY);
    post "/api/v1/keys/{id}/rotate", Write Keys => accounts::rotate_key,
        op("Gives one's own API key another secret")
            .body(accounts::RotateBody::RECORD)
            .gives(&answers::ROTATED_KEY)
            .secret();
    get "/api/v1/users", Read Users => accounts::users,
        op("Lists accounts").query(accounts::UserQuery::RECORD).lists(&answers::USER);
    post "/api/v1/users", Write Users => accounts::create_user,
        op("Makes an account")
            .body(accounts::UserBody::RECORD)
            .gives(&answers::INVITATION)
            .secret();
    get "/api/v1/users/{name}", Read Users => accounts::user,
        op("Shows an account").gives(&answers::USER).tagged();
    post "/api/v1/users/{name}/enroll-link", Write Users => accounts::enroll_link,
        op("Makes another enrollment code").gives(&answers::INVITATION).secret().may_expect();
    post "/api/v1/users/{name}/role", Write Users => accounts::set_role,
        op("Gives an account another role")
            .body(accounts::RoleBody::RECORD)
            .gives(&answers::USER)
            .tagged()
            .versioned();
    post "/api/v1/users/{name}/disable", Write Users => accounts::disable_user,
        op("Disables an account")
            .body(accounts::ReasonBody::RECORD)
            .gives(&answers::USER)
            .tagged()
            .versioned();
    post "/api/v1/users/{name}/enable", Write Users => accounts::enable_user,
        op("Enables an account").gives(&answers::USER).tagged().versioned();
    post "/api/v1/users/{name}/unlock", Write Users => accounts::unlock_user,
        op("Ends the lock of an account").may_expect();
    post "/api/v1/users/{name}/require-password-change", Write Users => accounts::require_change,
        op("Asks for a new password at the next sign-in").may_expect();
    get "/api/v1/sessions", Read Sessions => accounts::sessions,
        op("Lists sessions").lists(&answers::SESSION);
    post "/api/v1/sessions/{id}/revoke", Write Sessions => accounts::revoke_session,
        op("Ends a session");
    get "/api/v1/permissions", Read Permissions => accounts::permissions,
        op("Lists what each role may do").lists(&answers::PERMISSION);
    post "/api/v1/permissions", Write Permissions => accounts::set_permission,
        op("Lets a role do something, or not").body(accounts::PermissionBody::RECORD);
    get "/api/v1/policy", Read Policy => accounts::policy,
        op("Shows the policy for passwords").gives(&answers::POLICY).tagged();
}

/// The formats of documents, by the value of `format`.
const DOCUMENTS: &[&str] = &[
    "application/pdf",
    "text/html",
    "text/markdown",
    "application/json",
];
/// What is evidence has no type that a program would open by itself.
const FILES: &[&str] = &["application/octet-stream"];
/// Those of the plan of action.
const SHEETS: &[&str] = &[
    "application/pdf",
    "text/html",
    "text/markdown",
    "application/json",
    "text/csv",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
];

/// A person, and what they work with.
struct Api {
    console: Arc<Console>,
    session: Session,
    /// Its place among the reports that are being written.
    report: Option<OwnedSemaphorePermit>,
}

/// What a route does to what: a layer of each.
#[derive(Clone, Copy, Debug)]
struct Needs(Action, Resource);

/// A session of whoever asks: by the key in `Authorization`, if there is such a header, else by the
/// cookie. A header that is wrong is not made up for by a cookie.
async fn session_of(
    state: &Shared,
    console: &Console,
    asking: &Asking,
    authorization: Option<&HeaderValue>,
    isolation: Isolation,
) -> Result<Session, Problem> {
    let Some(header) = authorization else {
        let person = person(state, asking).await?;
        return Ok(console
            .session_of(&person, &asking.client, isolation)
            .await?);
    };
    let header = header.to_str().unwrap_or_default();
    let holder = console.door.keys().resolve(header, asking.client.address);
    let holder = holder.await.map_err(|error| match error {
        AuthError::Unknown | AuthError::Scope => Problem::unauthorized_person(),
        AuthError::TooMany => Problem::too_many_refused(),
        AuthError::Away => Problem::unavailable("API keys cannot be checked now"),
    })?;
    let counted = console.count_request(holder.key_id);
    counted.map_err(Problem::too_fast)?;
    Ok(console
        .session_of_key(&holder, &asking.client, isolation)
        .await?)
}

impl FromRequestParts<Arc<Shared>> for Api {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<Shared>) -> Result<Self, Problem> {
        let asking = Asking::from_request_parts(parts, state).await?;
        let console = state.console.clone().ok_or(SignInError::NoSession)?;
        let authorization = parts.headers.get(header::AUTHORIZATION);
        // What only reads sees one moment.
        let isolation = if parts.method.is_safe() {
            Isolation::Snapshot
        } else {
            Isolation::ReadCommitted
        };
        let session = session_of(state, &console, &asking, authorization, isolation).await?;
        let is_report = matches!(
            parts.extensions.get::<Needs>(),
            Some(Needs(Action::Export, _))
        );
        let report = is_report.then(|| console.begin_report());
        let api = Self {
            console,
            session,
            report: report.flatten(),
        };
        if is_report && api.report.is_none() {
            api.session.close().await;
            return Err(Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "other reports are being written: try again after Retry-After",
            )
            .kind("busy")
            .retry_after(5));
        }
        // Before the body is read: whoever may not learns nothing about what it should be.
        match parts.extensions.get::<Needs>() {
            Some(Needs(action, resource)) => {
                let may = api.session.require(*action, *resource);
                api.allowed(may.map_err(AppError::from)).await
            }
            None => Err(Problem::unavailable("nobody knows what this needs")),
        }
    }
}

impl Api {
    /// The answer of a use case. A refusal is recorded first.
    async fn answer<T: Serialize>(self, result: Result<T, AppError>) -> Result<Response, Problem> {
        let value = self.checked(result).await?;
        Ok(no_store(axum::Json(value).into_response()))
    }

    /// The same where there is nothing to tell.
    async fn done<T>(self, result: Result<T, AppError>) -> Result<Response, Problem> {
        self.checked(result).await?;
        Ok(StatusCode::NO_CONTENT.into_response())
    }

    /// Goes on if the role may.
    async fn allowed(self, may: Result<(), AppError>) -> Result<Self, Problem> {
        match may {
            Ok(()) => Ok(self),
            Err(error) => Err(match self.checked(Err::<(), _>(error)).await {
                Ok(()) => Problem::unavailable("nobody knows what this needs"),
                Err(problem) => problem,
            }),
        }
    }

    async fn checked<T>(self, result: Result<T, AppError>) -> Result<T, Problem> {
        match result {
            Ok(value) => {
                self.session.commit().await.map_err(AppError::from)?;
                Ok(value)
            }
            Err(error) => {
                if let AppError::Denied(denied) = &error {
                    self.record_denied(denied).await;
                }
                Err(error.into())
            }
        }
    }

    async fn record_denied(mut self, denied: &Denied) {
        let recorded = record_denied(&mut self.session, denied).await;
        let kept = match recorded {
            Ok(()) => self.session.commit().await,
            Err(error) => Err(error),
        };
        if let Err(error) = kept {
            tracing::warn!("a refusal cannot be recorded: {error}");
        }
    }
}

impl From<AppError> for Problem {
    fn from(error: AppError) -> Self {
        let text = error.to_string();
        match error {
            AppError::Denied(Denied::NotAllowed { .. }) => {
                Self::new(StatusCode::FORBIDDEN, text).kind("denied")
            }
            AppError::Denied(Denied::NotByKey { .. }) => {
                Self::new(StatusCode::FORBIDDEN, text).kind("not-by-key")
            }
            AppError::Denied(Denied::ProofNeeded { .. }) => {
                Self::new(StatusCode::FORBIDDEN, text).kind("proof-needed")
            }
            AppError::Invalid(_) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, text).kind("invalid")
            }
            AppError::NotFound(_) => Self::new(StatusCode::NOT_FOUND, text).kind("not-found"),
            AppError::Conflict(_) => Self::new(StatusCode::CONFLICT, text).kind("conflict"),
            AppError::Store(error) if error.is_outage() || error.is_conflict() => {
                Self::unavailable("the database does not answer now")
            }
            // Nothing of the inside goes out (ASVS 16.5.1).
            AppError::Store(_) | AppError::Failed(_) => {
                tracing::warn!("a request of the API failed: {text}");
                let detail = "this cannot be done now; the log says why";
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, detail).kind("failed")
            }
        }
    }
}
