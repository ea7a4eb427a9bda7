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
mod audit_log;
mod compliance;
mod door;
mod events;
mod first_steps;
mod form;
mod incidents;
mod keys;
mod notifications;
mod operations;
mod password_policy;
mod rules;
mod sources;
mod today;
mod trends;
mod upkeep;

use std::convert::Infallible;
use std::sync::Arc;

use app::actor::{Action, Denied, Resource};
use app::console::{Console, Isolation, record_denied};
use app::preferences::{self, Preferences};
use app::sign_in::{Client, Person, SignInError};
use app::{AppError, Session};
use axum::extract::{DefaultBodyLimit, FromRequestParts, Path};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::map_response;
use axum::response::{Html, IntoResponse, Response};
use axum::{Extension, Router, routing};
use model::Timestamp;
use uuid::Uuid;

use pages::{
    Cell, ConfirmPage, Frame, ListPage, MENU, MessagePage, Notice, Pager, Template, Viewer, When,
    WorkPage, Zone,
};

use crate::api::State as Shared;
use crate::api::people::{Asking, door, no_store};
use crate::error::Problem;
use crate::percent::percent;

pub(crate) use form::Fields;

/// Under this path a page asks by itself.
const LIVE: &str = "/live/";
/// The largest form.
const FORM_MAX: usize = 64 * 1024;

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
    get "/live/alerts", Read Alerts => alerts::live;
    get "/incidents", Read Incidents => incidents::list;
    get "/incidents/{id}", Read Incidents => incidents::show;
    post "/incidents/{id}/advance", Write Incidents => incidents::advance;
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
    get "/silences", Read Silences => operations::silences;
    get "/notifications", Read Alerts => notifications::list;
    post "/notifications/resend", Write Channels => notifications::resend;
    post "/notifications/test", Write Channels => notifications::test;
    get "/monitors", Read System => operations::monitors;
    get "/advisories", Read Compliance => operations::advisories;
    get "/compliance", Read Compliance => compliance::overview;
    get "/compliance/{id}", Read Compliance => compliance::requirement_page;
    get "/compliance/evidence", Read Evidence => compliance::evidence;
    get "/compliance/poam", Read Poam => compliance::plans;
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
    get "/account", => account::show;
    post "/account/preferences", => account::save;
    post "/account/alert-filter", => account::save_alert_filter;
}

/// What the menu's entries show.
const SHOWS: [(&str, Option<Resource>); 8] = [
    ("Today", None),
    ("Alerts", Some(Resource::Alerts)),
    ("Incidents", Some(Resource::Incidents)),
    ("Events", Some(Resource::Events)),
    ("Sources", Some(Resource::Sources)),
    ("Compliance", Some(Resource::Compliance)),
    ("Rules", Some(Resource::Rules)),
    ("Admin", Some(Resource::Users)),
];

/// Every page, the door and the assets.
pub(crate) fn router() -> Router<Arc<Shared>> {
    page_routes()
        .route(
            "/sign-in",
            routing::get(door::sign_in_page).post(door::sign_in),
        )
        .route("/sign-out", routing::post(door::sign_out))
        .route("/locked", routing::get(door::locked_page))
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
    response
}

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
            Self::Door(path, back) => see_other(&format!("{path}?next={}", percent(&back))),
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

/// A table, and what is said where it has no row.
struct Table {
    columns: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
    empty: &'static str,
}

/// What every page of a person's visit shows.
struct Desk {
    viewer: Viewer,
    rights: Vec<(Action, Resource)>,
    zone: Zone,
    now: Timestamp,
    /// The context of the tokens in this session's forms.
    token_context: String,
    notice: Option<Notice>,
    /// What the reader has chosen.
    chosen: Preferences,
}

impl Desk {
    /// A time as this reader sees it.
    fn when(&self, at: Timestamp) -> When {
        When::new(at, &self.zone, self.now)
    }

    /// Whether the reader's role may do something.
    fn may(&self, action: Action, resource: Resource) -> bool {
        self.rights.contains(&(action, resource))
    }

    /// A page of one table.
    fn table(&self, title: &str, active: &'static str, about: &str, table: Table) -> ListPage {
        ListPage {
            about: about.to_owned(),
            columns: table.columns,
            rows: table.rows,
            empty: table.empty.to_owned(),
            beside: Vec::new(),
            frame: self.frame(title, active),
        }
    }

    /// A page of one table in which something is done.
    fn work(&self, title: &str, active: &'static str, about: &str, table: Table) -> WorkPage {
        WorkPage {
            about: about.to_owned(),
            columns: table.columns,
            rows: table.rows,
            empty: table.empty,
            beside: Vec::new(),
            filter: None,
            files: Vec::new(),
            pager: Pager::default(),
            forms: Vec::new(),
            frame: self.frame(title, active),
        }
    }

    /// What is around a page.
    fn frame(&self, title: &str, active: &'static str) -> Frame {
        Frame {
            title: title.to_owned(),
            active,
            viewer: self.viewer.clone(),
            notice: self.notice.clone(),
            banners: Vec::new(),
            zone: self.zone.clone(),
            as_of: self.when(self.now),
        }
    }
}

impl FromRequestParts<Arc<Shared>> for Visit {
    type Rejection = NoPage;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<Shared>) -> Result<Self, NoPage> {
        let asking = Asking::from_request_parts(parts, state).await?;
        let back = if parts.method.is_safe() {
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
            Err(SignInError::Locked) => return Err(NoPage::Door("/locked", back.to_owned())),
            Err(SignInError::NoSession) => return Err(NoPage::Door("/sign-in", back.to_owned())),
            Err(error) => return Err(Problem::from(error).into()),
        };

        let isolation = if parts.method.is_safe() {
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
        let asked = Asked {
            now: state.clock.now(),
            query: parts.uri.query(),
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

/// The context of the tokens of a session's forms.
fn token_context(session: Uuid) -> String {
    format!("form {session}")
}

/// The token of a session's forms.
fn form_token(console: &Console, session: Uuid) -> String {
    console.cursors.sign(&token_context(session), "")
}

/// What is asked, and when.
struct Asked<'a> {
    now: Timestamp,
    query: Option<&'a str>,
}

fn desk_of(
    console: &Console,
    session: &Session,
    person: &Person,
    chosen: Preferences,
    asked: &Asked<'_>,
) -> Desk {
    // What asks for both factors once more is offered all the same.
    let may = |action, resource| {
        matches!(
            session.require(action, resource),
            Ok(()) | Err(Denied::ProofNeeded { .. })
        )
    };
    let rights: Vec<(Action, Resource)> = Resource::ALL
        .iter()
        .flat_map(|resource| Action::ALL.iter().map(|action| (*action, *resource)))
        .filter(|(action, resource)| may(*action, *resource))
        .collect();
    let menu = MENU
        .iter()
        .map(|entry| entry.name)
        .filter(|name| {
            SHOWS.iter().any(|(shown, resource)| {
                shown == name
                    && resource.is_none_or(|resource| rights.contains(&(Action::Read, resource)))
            })
        })
        .collect();

    let of_house = &console.config.business_hours.time_zone;
    let token_context = token_context(person.session_id);
    let lock_after = console.door.session_settings().lock_after;
    Desk {
        viewer: Viewer {
            username: person.username.clone(),
            role: person.role.replace('_', " "),
            form_token: form_token(console, person.session_id),
            menu,
            locks_after: u32::try_from(lock_after.as_micros() / 1_000_000).unwrap_or(900),
            has_shortcuts: chosen.keyboard_shortcuts,
        },
        rights,
        zone: Zone::named(chosen.time_zone.as_deref().unwrap_or(of_house)),
        now: asked.now,
        token_context,
        notice: form::notice_of(asked.query),
        chosen,
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
