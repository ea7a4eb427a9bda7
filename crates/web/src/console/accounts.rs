//! Accounts of people: who has one, and what an administrator does to one.

use std::sync::Arc;

use app::accounts::{self, AccountRow, Invitation, Revoke, SessionRow, Shown};
use app::actor::{Action, Resource, Role};
use app::{AppError, Session, recovery};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use model::TenantId;
use pages::{Cell, Field, FieldKind, Form, Notice, RecordPage, SecretPage, Section, WorkPage};

use super::admin::{self, SESSION_COLUMNS};
use super::form::{Done, Fields, kept, version_of, wrong};
use super::{Desk, NoPage, Table, Visit, html, see_other};
use crate::api::State as Shared;
use crate::api::people::record;
use crate::percent::percent;
use crate::turn::turn;

const COLUMNS: [&str; 7] = [
    "Name",
    "Person",
    "Role",
    "State",
    "Second factors",
    "Last sign-in",
    "Created",
];

/// Where an account is.
fn path_of(name: &str) -> String {
    format!("/admin/users/{}", percent(name))
}

/// How an account stands.
fn state_of(desk: &Desk, account: &AccountRow) -> Cell {
    match (&account.disabled_reason, account.is_active) {
        (Some(reason), false) => Cell::Trouble(format!("disabled: {reason}")),
        (None, false) => Cell::Trouble("disabled".to_owned()),
        _ if is_locked(desk, account) => Cell::Trouble("locked".to_owned()),
        _ if account.is_service => Cell::from("service"),
        _ if account.factors.is_empty() => Cell::Trouble("not set up".to_owned()),
        _ => Cell::from("in use"),
    }
}

fn is_locked(desk: &Desk, account: &AccountRow) -> bool {
    account.locked_until.is_some_and(|until| until > desk.now)
}

/// Everything that the list shows.
struct Everyone {
    accounts: Vec<AccountRow>,
    roles: Vec<Role>,
}

async fn read_all(session: &mut Session) -> Result<Everyone, AppError> {
    Ok(Everyone {
        accounts: accounts::list(session, Shown::default()).await?,
        roles: accounts::roles_to_give(session),
    })
}

fn list_page(desk: &Desk, everyone: &Everyone, typed: &Fields) -> WorkPage {
    let rows = everyone
        .accounts
        .iter()
        .map(|account| {
            vec![
                Cell::Link(path_of(&account.username), account.username.clone()),
                Cell::from(account.full_name.clone().unwrap_or_default()),
                Cell::from(account.role.replace('_', " ")),
                state_of(desk, account),
                Cell::from(account.factors.join(", ")),
                Cell::Time(account.last_login.map(|at| desk.when(at))),
                Cell::Time(Some(desk.when(account.created_at))),
            ]
        })
        .collect();
    let may_write = desk.may(Action::Write, Resource::Users);
    WorkPage {
        forms: Vec::from_iter(may_write.then(|| new_account(&everyone.roles, typed))),
        ..admin::table(
            desk,
            "Accounts",
            "Accounts of people and services. A name is never given twice.",
            Table {
                columns: COLUMNS.to_vec(),
                rows,
                empty: "None.",
            },
        )
    }
}

fn new_account(roles: &[Role], typed: &Fields) -> Form {
    let role = match typed.get("role") {
        "" => Role::User.as_str(),
        role => role,
    };
    Form {
        id: "new",
        action: "/admin/users".to_owned(),
        title: "New account",
        about: "No password is set here: the next page shows a code, once, with which the person chooses \
                a password and a second factor within a day."
            .to_owned(),
        fields: vec![
            Field::text("username", "Name", typed.get("username"), 50)
                .hint("Letters, digits, dots, dashes and underscores. It stays."),
            Field::text("email", "Email", typed.get("email"), 254),
            Field::text("full_name", "Person", typed.get("full_name"), 255).optional(),
            role_field(roles, role),
        ],
        button: "Create the account",
        ..Form::default()
    }
}

fn role_field(roles: &[Role], role: &str) -> Field {
    let among = roles
        .iter()
        .map(|role| (role.as_str().to_owned(), role.as_str().replace('_', " ")));
    Field::new("role", "Role", role, FieldKind::Choice(among.collect()))
}

/// `GET /admin`.
pub(super) async fn list(mut visit: Visit) -> Result<Response, NoPage> {
    let found = read_all(&mut visit.session).await;
    let (everyone, desk) = visit.finish(found).await?;
    Ok(html(&list_page(&desk, &everyone, &Fields::default())))
}

/// `POST /admin/users`.
pub(super) async fn create(mut visit: Visit, fields: Fields) -> Result<Response, NoPage> {
    visit.check_form(&fields)?;
    let full_name = fields.get("full_name").trim();
    let done = async {
        let session = &mut visit.session;
        let Ok(role) = fields.get("role").parse() else {
            return Ok(Err(("Choose a role.".to_owned(), read_all(session).await?)));
        };
        let request = accounts::Request {
            username: fields.get("username").trim(),
            email: fields.get("email").trim(),
            full_name: (!full_name.is_empty()).then_some(full_name),
            role,
            expires_at: None,
        };
        match kept(accounts::create(session, &request).await)? {
            Ok(made) => Ok(Ok(made)),
            Err(why) => Ok(Err((why, read_all(session).await?))),
        }
    };
    let done = done.await;
    let place = accounts::enrollment_page(&visit.console.config);
    let (done, desk) = visit.finish_form(&fields, done).await?;
    match done {
        Ok(made) => Ok(html(&invitation(&desk, place, &made))),
        Err((why, everyone)) => {
            let mut page = list_page(&desk, &everyone, &fields);
            page.frame.notice = Some(wrong(why));
            Ok((StatusCode::UNPROCESSABLE_ENTITY, html(&page)).into_response())
        }
    }
}

/// The code by which a person sets their account up, once.
fn invitation(desk: &Desk, place: String, made: &Invitation) -> SecretPage {
    let about = if made.is_recovery {
        "With this code its person chooses a new password and a new second factor. What they have now \
         works until then."
    } else {
        "With this code its person chooses a password and a second factor. Give it to them in private."
    };
    SecretPage {
        about: about.to_owned(),
        label: "Enrollment code",
        secret: made.token.expose().to_owned(),
        facts: vec![
            ("Account", Cell::from(made.username.clone())),
            ("To enter at", Cell::Link(place.clone(), place)),
            ("Can be used until", Cell::Time(Some(desk.when(made.until)))),
        ],
        next: (path_of(&made.username), "Go to the account"),
        frame: desk.frame(&format!("Enrollment code of {}", made.username), "Admin"),
    }
}

/// Everything that the page of an account shows.
struct One {
    account: AccountRow,
    sessions: Vec<SessionRow>,
    roles: Vec<Role>,
    may_change: bool,
}

async fn read(visit: &mut Visit, name: &str) -> Result<One, AppError> {
    let may_see_sessions = visit.desk.may(Action::Read, Resource::Sessions);
    let may_write = visit.desk.may(Action::Write, Resource::Users);
    let session = &mut visit.session;
    let account = accounts::find(session, name).await?;
    let sessions = if may_see_sessions {
        accounts::sessions(session, Some(name)).await?
    } else {
        Vec::new()
    };
    Ok(One {
        sessions,
        roles: accounts::roles_to_give(session),
        may_change: may_write && accounts::may_look_after(session, &account),
        account,
    })
}

/// What of an account others change: whoever changes it must have seen it.
fn version(account: &AccountRow) -> String {
    version_of(&format!(
        "{} {} {} {:?} {}",
        account.user_id,
        account.role,
        account.is_active,
        account.disabled_reason,
        account.must_change_password
    ))
}

fn page(desk: &Desk, one: &One, typed: &Fields, notice: Option<Notice>) -> RecordPage {
    let account = &one.account;
    let mut facts = vec![
        (
            "Person",
            Cell::from(account.full_name.clone().unwrap_or_default()),
        ),
        ("Email", Cell::from(account.email.clone())),
        ("Role", Cell::from(account.role.replace('_', " "))),
        ("State", state_of(desk, account)),
        ("Second factors", Cell::from(account.factors.join(", "))),
        (
            "Password chosen",
            Cell::Time(account.password_last_changed.map(|at| desk.when(at))),
        ),
        (
            "Locked until",
            Cell::Time(
                account
                    .locked_until
                    .filter(|until| *until > desk.now)
                    .map(|at| desk.when(at)),
            ),
        ),
        (
            "Enrollment code until",
            Cell::Time(account.invited_until.map(|at| desk.when(at))),
        ),
        (
            "Ends",
            Cell::Time(account.expires_at.map(|at| desk.when(at))),
        ),
        (
            "Last sign-in",
            Cell::Time(account.last_login.map(|at| desk.when(at))),
        ),
        ("Created", Cell::Time(Some(desk.when(account.created_at)))),
    ];
    if account.must_change_password {
        let due = "A new password at the next sign-in";
        facts.push(("Required", Cell::from(due)));
    }
    facts.retain(|(_, value)| match value {
        Cell::Text(text) => !text.is_empty(),
        Cell::Time(at) => at.is_some(),
        _ => true,
    });

    let sessions = desk.may(Action::Read, Resource::Sessions).then(|| Section {
        title: "Sessions",
        columns: SESSION_COLUMNS.to_vec(),
        rows: admin::session_rows(desk, &one.sessions, &path_of(&account.username)),
        empty: "Not signed in.",
        ..Section::default()
    });
    let mut frame = desk.frame(&account.username, "Admin");
    if notice.is_some() {
        frame.notice = notice;
    }
    RecordPage {
        back: Some(("/admin".to_owned(), "Accounts")),
        about: String::new(),
        beside: Vec::new(),
        facts,
        sections: Vec::from_iter(sessions),
        forms: forms(desk, one, typed),
        frame,
    }
}

/// What can be done to an account as it is.
fn forms(desk: &Desk, one: &One, typed: &Fields) -> Vec<Form> {
    let account = &one.account;
    let path = path_of(&account.username);
    let form = |id: &'static str, title: &'static str, about: &str, button: &'static str| Form {
        id,
        action: format!("{path}/{id}"),
        title,
        about: about.to_owned(),
        hidden: vec![("version", version(account))],
        fields: Vec::new(),
        button,
    };
    let mut forms = Vec::new();
    if desk.may(Action::Write, Resource::Sessions) && !one.sessions.is_empty() {
        let about = "Ends all sessions of this account.";
        forms.push(form("sign-out", "Sign out", about, "End all sessions"));
    }
    if !one.may_change {
        return forms;
    }
    if !account.is_active {
        let about = "The account can be used again, as it was.";
        forms.push(form("enable", "Enable", about, "Enable the account"));
        return forms;
    }

    if is_locked(desk, account) {
        let about = "Ends the lock that too many wrong attempts have caused.";
        forms.push(form("unlock", "Unlock", about, "Unlock the account"));
    }
    if !account.is_service {
        let about = "Its sessions end, so that the new role counts at once.";
        forms.push(Form {
            fields: vec![role_field(&one.roles, &account.role)],
            ..form("role", "Role", about, "Change the role")
        });
        if !account.must_change_password && account.has_password {
            let about = "The next sign-in asks for a new password.";
            let (title, button) = ("Password", "Require a new password");
            forms.push(form("require-password-change", title, about, button));
        }
        let (title, about, button) = if account.has_password {
            (
                "Recover",
                "Makes a code with which its person chooses a new password and second factor, after \
                 losing them. Make sure that it is them who asks.",
                "Make a recovery code",
            )
        } else {
            (
                "Enrollment",
                "Makes another code to set the account up with; an earlier one ends.",
                "Make an enrollment code",
            )
        };
        forms.push(form("enroll-link", title, about, button));
    }
    let about = "Ends its sessions, codes and keys. What it did stays on record.";
    forms.push(Form {
        fields: vec![Field::new(
            "reason",
            "Why",
            typed.get("reason"),
            FieldKind::Lines(500),
        )],
        ..form("disable", "Disable", about, "Disable the account")
    });
    forms
}

/// `GET /admin/users/{id}`.
pub(super) async fn show(mut visit: Visit, Path(name): Path<String>) -> Result<Response, NoPage> {
    let found = read(&mut visit, &name).await;
    let (one, desk) = visit.finish(found).await?;
    Ok(html(&page(&desk, &one, &Fields::default(), None)))
}

/// What is done to an account.
#[derive(Clone, Copy)]
enum Change {
    Role,
    Disable,
    Enable,
    Unlock,
    NewPassword,
    SignOut,
}

async fn apply(
    session: &mut Session,
    name: &str,
    change: Change,
    fields: &Fields,
) -> Result<Done, AppError> {
    match change {
        Change::Role => {
            let role = fields.get("role").parse();
            let role = role.map_err(|_| AppError::invalid("Choose a role."))?;
            accounts::set_role(session, name, role).await?;
        }
        Change::Disable => {
            accounts::disable(session, name, fields.get("reason")).await?;
        }
        Change::Enable => {
            accounts::enable(session, name).await?;
        }
        Change::Unlock => {
            accounts::unlock(session, Some(name)).await?;
            return Ok(Done::Unlocked);
        }
        Change::NewPassword => {
            accounts::require_password_change(session, Some(name)).await?;
        }
        Change::SignOut => {
            let ended = accounts::revoke_sessions(session, Revoke::Account(name)).await?;
            return Ok(Done::SignedOut(ended));
        }
    }
    Ok(Done::Changed)
}

/// What is said to whoever would change what they have not seen.
const CHANGED: &str = "Someone else has changed this account since you opened the page. Nothing was \
                       done: look at it as it is now, and try again.";

/// Changes an account, if it is still what its page showed.
async fn change(
    mut visit: Visit,
    name: &str,
    fields: &Fields,
    change: Change,
) -> Result<Response, NoPage> {
    visit.check_form(fields)?;
    let _turn = turn().await;
    let done = async {
        let one = read(&mut visit, name).await?;
        if fields.get("version") != version(&one.account) {
            return Ok(Err((CHANGED.to_owned(), one)));
        }
        let done = kept(apply(&mut visit.session, name, change, fields).await)?;
        Ok(done.map_err(|why| (why, one)))
    };
    let done = done.await;
    let (done, desk) = visit.finish_form(fields, done).await?;
    match done {
        Ok(done) => Ok(see_other(&done.at(&path_of(name)))),
        Err((why, one)) => {
            let page = page(&desk, &one, fields, Some(wrong(why)));
            Ok((StatusCode::CONFLICT, html(&page)).into_response())
        }
    }
}

macro_rules! changes {
    ($($(#[$doc:meta])* $function:ident => $change:ident;)*) => {
        $($(#[$doc])*
        pub(super) async fn $function(
            visit: Visit,
            Path(name): Path<String>,
            fields: Fields,
        ) -> Result<Response, NoPage> {
            change(visit, &name, &fields, Change::$change).await
        })*
    };
}

changes! {
    /// `POST /admin/users/{id}/role`.
    set_role => Role;
    /// `POST /admin/users/{id}/disable`.
    disable => Disable;
    /// `POST /admin/users/{id}/enable`.
    enable => Enable;
    /// `POST /admin/users/{id}/unlock`.
    unlock => Unlock;
    /// `POST /admin/users/{id}/require-password-change`.
    require_password_change => NewPassword;
    /// `POST /admin/users/{id}/sign-out`.
    sign_out => SignOut;
}

/// `POST /admin/users/{id}/enroll-link`: another code, shown once. One that lets a person back in is an
/// event of its own, which makes an alert.
pub(super) async fn enroll_link(
    State(state): State<Arc<Shared>>,
    mut visit: Visit,
    Path(name): Path<String>,
    fields: Fields,
) -> Result<Response, NoPage> {
    visit.check_form(&fields)?;
    let _turn = turn().await;
    let done = async {
        let one = read(&mut visit, &name).await?;
        if fields.get("version") != version(&one.account) {
            return Ok(Err((CHANGED.to_owned(), one)));
        }
        match kept(accounts::make_link(&mut visit.session, &name).await)? {
            Ok(made) => {
                let event = recovery::event(&made, visit.session.actor())?;
                Ok(Ok((made, event)))
            }
            Err(why) => Ok(Err((why, one))),
        }
    };
    let done = done.await;
    if let Ok(Ok((_, Some(event)))) = &done {
        // What cannot be recorded is not done: the session is not kept.
        let tenant = visit.session.actor().tenant.map(TenantId);
        record(&state, event.clone(), tenant.unwrap_or_default()).await?;
    }
    let place = accounts::enrollment_page(&visit.console.config);
    let (done, desk) = visit.finish_form(&fields, done).await?;
    match done {
        Ok((made, _)) => Ok(html(&invitation(&desk, place, &made))),
        Err((why, one)) => {
            let page = page(&desk, &one, &fields, Some(wrong(why)));
            Ok((StatusCode::CONFLICT, html(&page)).into_response())
        }
    }
}
