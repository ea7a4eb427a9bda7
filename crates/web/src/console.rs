//! The console: pages for people in a browser, under a policy that runs no text and loads nothing from
//! elsewhere.
//!
//! A page is one line of [`pages!`]: its method and path, what it does to what, and the function that
//! calls use cases of `app` and fills a view model of `pages`. What changes something is a form that
//! carries its reader's token. Whoever has no session is led to the door and back.

mod account;
mod accounts;
mod admin;
mod alerts;
mod assessor;
mod audit_log;
mod compliance;
mod desk;
mod door;
mod draft;
mod events;
mod evidence;
mod first_steps;
mod form;
mod incidents;
mod keys;
mod notifications;
mod operations;
mod password_policy;
mod plans;
mod redteam;
mod requirement;
mod rules;
mod silences;
mod sources;
mod ssp;
mod today;
mod trends;
mod upkeep;
mod upload;

use std::convert::Infallible;
use std::sync::Arc;

use app::actor::{Action, Denied, Resource, Role};
use app::console::{Console, Isolation, record_denied};
use app::idempotency::{Claim, Repeatable};
use app::preferences;
use app::sign_in::{Client, Person, SignInError};
use app::{AppError, Session};
use axum::extract::{DefaultBodyLimit, FromRequestParts, Path};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::{Html, IntoResponse, Response};
use axum::{Extension, Router, routing};
use pages::{ConfirmPage, MessagePage, Template};

use crate::api::State as Shared;
use crate::api::people::{Asking, door, no_store};
use crate::error::Problem;
use crate::percent::percent;

use desk::{Asked, Desk, ONCE, Table, desk_of, form_token};
pub(crate) use form::Fields;

/// Under this path a page asks by itself.
const LIVE: &str = "/live/";
/// The cover of a locked session.
const LOCKED: &str = "/locked";
/// The largest form.
const FORM_MAX: usize = 512 * 1024;

/// What a page does to what: a layer of each. Nothing is asked of a page that shows only what its
/// reader may see anyway.
#[derive(Clone, Copy, Debug)]
struct Needs(Option<(Action, Resource)>);

macro_rules! pages {
    ($($method:ident $path:literal, $($action:ident $resource:ident)? => $handler:path;)*) => {
        /// Every page, with what it does to what.
        pub const PAGES: &[Page] = &[
            $(Page {
                method: stringify!($method),
                path: $path,
                needs: needs!($($action $resource)?),
            },)*
        ];

        fn page_routes() -> Router<Arc<Shared>> {
            Router::new()$(.route(
                $path,
                routing::$method($handler)
                    .layer::<_, Infallible>(Extension(Needs(needs!($($action $resource)?)))),
            ))*
        }
    };
}

macro_rules! needs {
    () => {
        None
    };
    ($action:ident $resource:ident) => {
        Some((Action::$action, Resource::$resource))
    };
}

/// A page, as tests see it.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// `get` or `post`.
    pub method: &'static str,
    /// Its path.
    pub path: &'static str,
    /// What it does to what.
    pub needs: Option<(Action, Resource)>,
}

pages! {
    get "/", => today::show;
    get "/first-steps", Read System => first_steps::show;
    get "/trends", Read Alerts => trends::show;
    get "/alerts", Read Alerts => alerts::list;
    get "/alerts/{id}", Read Alerts => alerts::show;
    post "/alerts/acknowledge", Acknowledge Alerts => alerts::acknowledge;
    post "/alerts/undo", Acknowledge Alerts => alerts::undo;
    post "/alerts/{id}/verdict", Acknowledge Alerts => alerts::judge;
    get "/live/alerts", Read Alerts => alerts::live;
    get "/incidents", Read Incidents => incidents::list;
    get "/incidents/{id}", Read Incidents => incidents::show;
    post "/incidents", Write Incidents => incidents::create;
    get "/incidents/{id}/download", Read Incidents => incidents::download;
    post "/incidents/{id}/change/{what}", Write Incidents => incidents::change;
    get "/events", Read Events => events::search;
    get "/events/counts", Read Events => events::counts;
    get "/events/export", Export Events => events::export;
    get "/sources", Read Sources => sources::list;
    get "/sources/{id}", Read Sources => sources::show;
    get "/rules", Read Rules => rules::list;
    get "/rules/{id}", Read Rules => rules::show;
    post "/rules/{id}/enable", Write Rules => rules::enable;
    post "/rules/{id}/disable", Write Rules => rules::disable;
    post "/rules/{id}/test", Write Rules => rules::test;
    post "/rules/{id}/backtest", Read Events => rules::backtest;
    get "/backtests", Read Rules => rules::backtests;
    get "/backtests/{id}", Read Rules => rules::backtest_page;
    get "/upkeep", Read System => upkeep::show;
    get "/upkeep/review/{id}", Read System => upkeep::review;
    post "/upkeep/review/{id}", Write Compliance => upkeep::sign;
    get "/silences", Read Silences => silences::list;
    get "/silences/add", Write Silences => silences::form;
    post "/silences/preview", Write Silences => silences::preview;
    post "/silences/add", Write Silences => silences::add;
    post "/silences/{id}/end", Write Silences => silences::end;
    get "/notifications", Read Alerts => notifications::list;
    post "/notifications/resend", Write Channels => notifications::resend;
    post "/notifications/test", Write Channels => notifications::test;
    get "/monitors", Read System => operations::monitors;
    get "/advisories", Read Compliance => operations::advisories;
    get "/redteam", Read RedTeam => redteam::list;
    get "/redteam/compare", Read RedTeam => redteam::compare;
    get "/redteam/{id}", Read RedTeam => redteam::show;
    get "/compliance", Read Compliance => compliance::overview;
    get "/compliance/{id}", Read Compliance => requirement::show;
    post "/compliance/{id}/decide", Write Compliance => requirement::decide;
    post "/compliance/{id}/statement", Write Compliance => requirement::state;
    post "/compliance/{id}/notes", Write AssessorNotes => requirement::note;
    get "/compliance/evidence", Read Evidence => evidence::list;
    get "/compliance/evidence/add", Write Evidence => evidence::form;
    post "/compliance/evidence/add", Write Evidence => evidence::add;
    get "/compliance/evidence/{id}", Read Evidence => evidence::show;
    get "/compliance/evidence/{id}/preview", Read Evidence => evidence::preview;
    get "/compliance/evidence/{id}/download", Export Evidence => evidence::download;
    post "/compliance/evidence/{id}/approve", Approve Evidence => evidence::approve;
    post "/compliance/evidence/{id}/refuse", Approve Evidence => evidence::refuse;
    get "/compliance/poam", Read Poam => plans::list;
    get "/compliance/poam/add", Write Poam => plans::form;
    post "/compliance/poam/add", Write Poam => plans::add;
    get "/compliance/poam/{id}", Read Poam => plans::show;
    post "/compliance/poam/{id}/update", Write Poam => plans::update;
    post "/compliance/poam/{id}/close", Write Poam => plans::close;
    get "/compliance/review", Read Compliance => plans::review;
    post "/compliance/review/sign", Write Compliance => plans::sign;
    get "/compliance/ssp", Read Compliance => ssp::list;
    get "/compliance/ssp/{section}", Read Compliance => ssp::show;
    post "/compliance/ssp/{section}/write", Write Compliance => ssp::write;
    get "/assessor", Read AssessorNotes => assessor::show;
    get "/assessor/trail", Read AssessorNotes => assessor::trail;
    get "/admin", Read Users => accounts::list;
    post "/admin/users", Write Users => accounts::create;
    get "/admin/users/{id}", Read Users => accounts::show;
    post "/admin/users/{id}/role", Write Users => accounts::set_role;
    post "/admin/users/{id}/disable", Write Users => accounts::disable;
    post "/admin/users/{id}/enable", Write Users => accounts::enable;
    post "/admin/users/{id}/unlock", Write Users => accounts::unlock;
    post "/admin/users/{id}/require-password-change", Write Users => accounts::require_password_change;
    post "/admin/users/{id}/enroll-link", Write Users => accounts::enroll_link;
    post "/admin/users/{id}/sign-out", Write Sessions => accounts::sign_out;
    get "/admin/keys", Read Keys => keys::list;
    post "/admin/keys", Write Keys => keys::create;
    post "/admin/keys/{id}/rotate", Write Keys => keys::rotate;
    post "/admin/keys/{id}/revoke", Write Keys => keys::revoke;
    get "/admin/sessions", Read Sessions => admin::sessions;
    post "/admin/sessions/{id}/end", Write Sessions => admin::end_session;
    get "/admin/policy", Read Policy => password_policy::show;
    post "/admin/policy", Write Policy => password_policy::set;
    get "/admin/log", Read AuditLog => audit_log::list;
    get "/admin/log/export", Export AuditLog => audit_log::export;
    get "/admin/certificates", Read System => admin::certificates;
    get "/about", => admin::about;
    get "/draft", => draft::show;
    post "/draft", => draft::save;
    get "/account", => account::show;
    post "/account/preferences", => account::save;
    post "/account/alert-filter", => account::save_alert_filter;
}

/// Every page, the door and the assets.
pub(crate) fn router(state: &Arc<Shared>) -> Router<Arc<Shared>> {
    let keep = from_fn_with_state(Arc::clone(state), draft::keep_what_was_sent);
    page_routes()
        .layer(keep)
        .route(
            "/sign-in",
            routing::get(door::sign_in_page).post(door::sign_in),
        )
        .route("/sign-out", routing::post(door::sign_out))
        .route(LOCKED, routing::get(door::locked_page))
        .route("/unlock", routing::post(door::unlock))
        .route("/confirm", routing::post(door::confirm))
        .layer(DefaultBodyLimit::max(FORM_MAX))
        .layer(map_response(with_policy))
        .route("/assets/{name}", routing::get(asset))
}

/// The policy of every page (ASVS 3.4): nothing but our own files, no text that becomes code, no frame
/// around it, nothing kept by the browser.
async fn with_policy(mut response: Response) -> Response {
    const HEADERS: [(HeaderName, &str); 6] = [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; \
             connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'; \
             require-trusted-types-for 'script'; trusted-types default blueteam",
        ),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ];
    for (name, value) in HEADERS {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    if let Some(OwnPolicy(policy)) = response.extensions_mut().remove::<OwnPolicy>() {
        let policy = HeaderValue::from_static(policy);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// The policy of an answer that is not one of our pages, such as a file that someone uploaded.
#[derive(Clone, Copy, Debug)]
struct OwnPolicy(&'static str);

/// A file of ours, by the name that its content gives it.
async fn asset(Path(name): Path<String>) -> Response {
    let wanted = format!("/assets/{name}");
    let found = pages::assets::ALL.iter().find(|asset| asset.path == wanted);
    let Some(asset) = found else {
        return Problem::new(StatusCode::NOT_FOUND, "there is nothing here").into_response();
    };
    let headers = [
        (header::CONTENT_TYPE, asset.media_type),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, asset.content).into_response()
}

/// Why there is no page.
#[derive(Debug)]
pub(crate) enum NoPage {
    /// Whoever asks has no session, or none that is open: to this door, and back to there.
    Door(&'static str, String),
    /// What is to be done asks for both factors once more: what was typed goes along.
    Proof(Box<ConfirmPage>),
    /// Anything else: a page that says so.
    Message(StatusCode, &'static str, String),
}

impl NoPage {
    fn message(status: StatusCode, title: &'static str, text: impl Into<String>) -> Self {
        Self::Message(status, title, text.into())
    }
}

impl IntoResponse for NoPage {
    fn into_response(self) -> Response {
        match self {
            Self::Door(path, back) => {
                let mut response = see_other(&format!("{path}?next={}", percent(&back)));
                if path == LOCKED {
                    response.extensions_mut().insert(draft::Covered);
                }
                response
            }
            Self::Proof(page) => (StatusCode::UNAUTHORIZED, html(&*page)).into_response(),
            Self::Message(status, title, text) => {
                let page = MessagePage::new(title, &text, Some(("/", "Go to Today")));
                (status, html(&page)).into_response()
            }
        }
    }
}

impl From<Problem> for NoPage {
    fn from(problem: Problem) -> Self {
        Self::message(problem.status(), "This could not be done", problem.detail())
    }
}

impl From<AppError> for NoPage {
    fn from(error: AppError) -> Self {
        match error {
            AppError::Denied(denied) => Self::message(
                StatusCode::FORBIDDEN,
                "You don't have access",
                denied.to_string(),
            ),
            AppError::NotFound(text) => Self::message(StatusCode::NOT_FOUND, "Not found", text),
            other => Problem::from(other).into(),
        }
    }
}

/// A page as a response; one that cannot be made is a short text.
fn html(page: &impl Template) -> Response {
    match pages::render(page) {
        Ok(text) => Html(text).into_response(),
        Err(error) => {
            tracing::error!("a page cannot be made: {error}");
            let text = "this page cannot be made; the log says why";
            (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
        }
    }
}

/// Sends a browser on to another page by GET.
fn see_other(path: &str) -> Response {
    let place = HeaderValue::from_str(path).unwrap_or(HeaderValue::from_static("/"));
    (StatusCode::SEE_OTHER, [(header::LOCATION, place)]).into_response()
}

/// A person at a page, with what they work with.
pub(crate) struct Visit {
    console: Arc<Console>,
    session: Session,
    person: Person,
    client: Client,
    desk: Desk,
    /// The path that was asked for.
    path: String,
}

impl FromRequestParts<Arc<Shared>> for Visit {
    type Rejection = NoPage;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<Shared>) -> Result<Self, NoPage> {
        let asking = Asking::from_request_parts(parts, state).await?;
        let is_safe = parts.method.is_safe();
        let back = if is_safe {
            parts.uri.path_and_query().map_or("/", |path| path.as_str())
        } else {
            "/"
        };
        let console = state.console.clone().ok_or_else(|| {
            NoPage::message(
                StatusCode::NOT_FOUND,
                "No console here",
                "Nobody signs in at this address.",
            )
        })?;
        let Some(token) = asking.token.as_deref() else {
            return Err(NoPage::Door("/sign-in", back.to_owned()));
        };
        let door = door(state)?;
        let resolved = if parts.uri.path().starts_with(LIVE) {
            door.resolve_idle(token, &asking.client).await
        } else {
            door.resolve(token, &asking.client).await
        };
        let person = match resolved {
            Ok(person) => person,
            Err(SignInError::Locked) => return Err(NoPage::Door(LOCKED, back.to_owned())),
            Err(SignInError::NoSession) => return Err(NoPage::Door("/sign-in", back.to_owned())),
            Err(error) => return Err(Problem::from(error).into()),
        };

        let isolation = if is_safe {
            Isolation::Snapshot
        } else {
            Isolation::ReadCommitted
        };
        let counted = console.count_request(person.session_id);
        counted.map_err(Problem::too_fast)?;
        let mut session = console
            .session_of(&person, &asking.client, isolation)
            .await?;
        let chosen = preferences::of(&mut session, &person).await?;
        // Who comes from outside leaves a trail.
        let is_assessor = person.role == Role::Assessor.as_str();
        if is_assessor && is_safe && !parts.uri.path().starts_with(LIVE) {
            app::trail::record(&mut session, back).await?;
        }
        let asked = Asked {
            now: state.clock.now(),
            uri: &parts.uri,
        };
        let desk = desk_of(&console, &session, &person, chosen, &asked);
        let visit = Self {
            console,
            session,
            person,
            client: asking.client,
            desk,
            path: parts.uri.path().to_owned(),
        };
        match parts.extensions.get::<Needs>() {
            Some(Needs(None)) => Ok(visit),
            Some(Needs(Some((action, resource)))) => {
                match visit.session.require(*action, *resource) {
                    // Whoever only looks need not prove anything; what changes something asks
                    // again, when it has what was typed.
                    Ok(()) | Err(Denied::ProofNeeded { .. }) => Ok(visit),
                    Err(denied) => Err(visit.refused(denied).await),
                }
            }
            None => Err(Problem::unavailable("nobody knows what this needs").into()),
        }
    }
}

impl Visit {
    /// Checks that a form is one of this session's own pages (ASVS 3.5.1).
    fn check_form(&self, fields: &Fields) -> Result<(), NoPage> {
        let token = fields.get("form_token");
        match self.console.cursors.open(&self.desk.token_context, token) {
            Some(_) => Ok(()),
            None => Err(NoPage::message(
                StatusCode::FORBIDDEN,
                "Please try again",
                "This form came from an earlier session or from another site. Nothing was changed.",
            )),
        }
    }

    /// Refuses a form that was sent before, as when a page that shows a secret is loaded again.
    /// Claimed in the transaction of what is done: what fails can be sent again.
    async fn claim(&mut self, fields: &Fields) -> Result<(), AppError> {
        let key = fields.get(ONCE);
        if key.is_empty() {
            return Ok(());
        }
        let route = format!("form {}", self.path);
        let body = app::listing::digest(route.as_bytes());
        let request = Repeatable {
            person: &self.person.username,
            route: &route,
            key,
            body_sha256: &body,
        };
        match app::idempotency::claim(&mut self.session, &request).await? {
            Claim::New => Ok(()),
            Claim::TooMany => Err(AppError::conflict("Too many forms within a day.")),
            Claim::InFlight | Claim::Other | Claim::Answered(_) => Err(AppError::conflict(
                "This form was sent before, and is not done twice. What it showed then was shown \
                 once; the list has what it made.",
            )),
        }
    }

    /// Ends the work with the database: keeps what was done, or records why it was refused.
    async fn finish<T>(self, result: Result<T, AppError>) -> Result<(T, Desk), NoPage> {
        match result {
            Ok(value) => {
                self.session.commit().await.map_err(AppError::from)?;
                Ok((value, self.desk))
            }
            Err(AppError::Denied(denied)) => Err(self.refused(denied).await),
            Err(error) => Err(error.into()),
        }
    }

    /// The same for a form. Where both factors are asked for once more, it goes on after that with
    /// what was typed.
    async fn finish_form<T>(
        self,
        fields: &Fields,
        result: Result<T, AppError>,
    ) -> Result<(T, Desk), NoPage> {
        if let Err(AppError::Denied(Denied::ProofNeeded { .. })) = &result {
            let page = door::confirm_page(None, self.path.clone(), fields.typed());
            self.session.close().await;
            return Err(NoPage::Proof(Box::new(page)));
        }
        self.finish(result).await
    }

    /// Ends the work with the database: keeps what was done, or keeps nothing and says why. Where both
    /// factors are asked for once more, it goes on after that with what was typed.
    async fn tried_form<T>(
        self,
        fields: &Fields,
        result: Result<T, AppError>,
    ) -> Result<(Result<T, String>, Desk), NoPage> {
        match result {
            Err(AppError::Denied(Denied::ProofNeeded { .. })) => {
                let (value, desk) = self.finish_form(fields, result).await?;
                Ok((Ok(value), desk))
            }
            other => self.tried(other).await,
        }
    }

    /// The same where nothing was typed that could go on later.
    async fn tried<T>(
        self,
        result: Result<T, AppError>,
    ) -> Result<(Result<T, String>, Desk), NoPage> {
        match result {
            Err(AppError::Invalid(why) | AppError::Conflict(why) | AppError::NotFound(why)) => {
                self.session.close().await;
                Ok((Err(form::plain_words(&why)), self.desk))
            }
            other => {
                let (value, desk) = self.finish(other).await?;
                Ok((Ok(value), desk))
            }
        }
    }

    /// Gives up, and says why.
    async fn failed(self, error: AppError) -> NoPage {
        match error {
            AppError::Denied(denied) => self.refused(denied).await,
            error => error.into(),
        }
    }

    /// Gives up what was done so far, to show what there is instead.
    async fn leave(self) -> Desk {
        self.session.close().await;
        self.desk
    }

    async fn refused(mut self, denied: Denied) -> NoPage {
        let kept = match record_denied(&mut self.session, &denied).await {
            Ok(()) => self.session.commit().await,
            Err(error) => Err(error),
        };
        if let Err(error) = kept {
            tracing::warn!("a refusal cannot be recorded: {error}");
        }
        AppError::Denied(denied).into()
    }
}

/// An answer for the script: nobody keeps it.
fn json(value: serde_json::Value) -> Response {
    no_store(axum::Json(value).into_response())
}
