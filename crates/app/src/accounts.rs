//! Accounts of people: who may sign in, as what, and how they are let in and kept out.

use identity::role::{RoleChange, check_role_change, may_manage};
use identity::{Email, Role, Token, TokenKind, Username};
use model::Timestamp;
use store::accounts::{Filter, LinkPurpose, NewAccount, Which};
use store::external::{ExternalId, Method};
use store::{PgConnection, StoreError};
use uuid::Uuid;

use crate::actor::{Action, Denied, Resource};
use crate::sign_in::directory_issuer;
use crate::tenants::within_plan;
use crate::{AppError, Session};

pub use store::accounts::{AccountRow, SessionRow};

/// The longest reason, in characters.
pub const REASON_MAX: usize = 500;
/// The longest subject of a person elsewhere, in bytes.
const SUBJECT_MAX: usize = 255;
/// How close the nearest name must be to be offered.
const SIMILAR: f64 = 0.75;

/// An account to be made.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Its name, which it keeps.
    pub username: &'a str,
    /// Where mail to its person goes.
    pub email: &'a str,
    /// Its person's name.
    pub full_name: Option<&'a str>,
    /// Its role.
    pub role: Role,
    /// Until when it is given; without an end if none.
    pub expires_at: Option<Timestamp>,
}

/// A link that lets a person choose a password and a second factor. The token is not stored: this
/// is the only time that it is there.
#[derive(Debug)]
pub struct Invitation {
    /// The account.
    pub user_id: Uuid,
    /// Its name.
    pub username: String,
    /// What the person needs.
    pub token: Token,
    /// Until when it can be used.
    pub until: Timestamp,
    /// Whether it takes the place of a password and factors that are there.
    pub is_recovery: bool,
}

/// Makes an account, and the link by which its person sets it up.
pub async fn create(session: &mut Session, request: &Request<'_>) -> Result<Invitation, AppError> {
    session.require(Action::Write, Resource::Users)?;
    if let Some(rights) = session.rights() {
        let change = RoleChange {
            actor: rights.role,
            is_own: false,
            from: None,
            to: Some(request.role),
            is_last_system_admin: false,
        };
        check_role_change(&change).map_err(|error| AppError::conflict(error.to_string()))?;
    }
    let (conn, actor) = session.change(Action::Write, Resource::Users)?;
    let username = Username::parse(request.username)
        .map_err(|e| AppError::invalid(format!("the user name {:?}: {e}", request.username)))?;
    let email = Email::parse(request.email)
        .map_err(|e| AppError::invalid(format!("the email address {:?}: {e}", request.email)))?;
    check_full_name(request.full_name)?;
    if request.role == Role::SystemAdmin && request.expires_at.is_some() {
        return Err(AppError::invalid(
            "a system administrator's account has no end: give one that is disabled by hand",
        ));
    }

    for taken in [username.as_str(), email.as_str()] {
        let filter = Filter {
            name: Some(taken),
            ..Filter::default()
        };
        if let Some(other) = store::accounts::list(conn, &filter).await?.first() {
            return Err(AppError::conflict(format!(
                "{taken} belongs to the account {}; names are not given twice, also not after \
                 an account was disabled",
                other.username
            )));
        }
    }

    let account = NewAccount {
        username: username.as_str(),
        email: email.as_str(),
        full_name: request.full_name,
        role: request.role.as_str(),
        expires_at: request.expires_at,
    };
    let mut tx = store::begin(conn, actor).await?;
    let user_id = store::accounts::create(&mut tx, actor, &account)
        .await
        .map_err(within_plan)?;
    let invitation = invite(
        &mut tx,
        actor,
        user_id,
        username.as_str(),
        LinkPurpose::Enroll,
    )
    .await?;
    tx.commit().await.map_err(StoreError::from)?;
    Ok(invitation)
}

fn check_full_name(name: Option<&str>) -> Result<(), AppError> {
    let Some(name) = name else { return Ok(()) };
    if name.trim().is_empty() || name.chars().count() > 255 || name.chars().any(char::is_control) {
        return Err(AppError::invalid(
            "a person's name has from 1 to 255 characters, none of them a control character",
        ));
    }
    Ok(())
}

async fn invite(
    conn: &mut PgConnection,
    actor: &model::Actor,
    user_id: Uuid,
    username: &str,
    purpose: LinkPurpose,
) -> Result<Invitation, AppError> {
    let kind = match purpose {
        LinkPurpose::Enroll => TokenKind::Enrollment,
        LinkPurpose::Recover => TokenKind::Recovery,
    };
    let token = Token::generate(kind).map_err(anyhow::Error::new)?;
    let until =
        store::accounts::add_link(conn, actor, user_id, purpose, token.hash().as_bytes()).await?;
    Ok(Invitation {
        user_id,
        username: username.to_owned(),
        token,
        until,
        is_recovery: purpose == LinkPurpose::Recover,
    })
}

/// Makes another link for an account: of a person who has never signed in, the first one; of
/// another, one that lets them choose all of it again. Earlier links end.
pub async fn make_link(session: &mut Session, name: &str) -> Result<Invitation, AppError> {
    session.require(Action::Write, Resource::Users)?;
    let account = find_person(session, name).await?;
    if !account.is_active {
        return Err(AppError::conflict(format!(
            "the account {} is disabled; `blueteam users enable {}` lets it be used again",
            account.username, account.username
        )));
    }

    let purpose = if account.has_password {
        LinkPurpose::Recover
    } else {
        LinkPurpose::Enroll
    };
    let (conn, actor) = session.change(Action::Write, Resource::Users)?;
    invite(conn, actor, account.user_id, &account.username, purpose).await
}

/// The name of the first account where that of the operating system cannot be taken.
const FIRST: &str = "administrator";

/// Invites the first administrator, as long as nobody has set an account up: makes the account, named
/// as the one of whoever acts, or another link for it.
pub async fn invite_first(session: &mut Session) -> Result<Option<Invitation>, AppError> {
    let all = list(session, Shown::default()).await?;
    let mut people = all.iter().filter(|account| !account.is_service);
    let is_set_up = |account: &AccountRow| {
        account.has_password || account.last_login.is_some() || !account.factors.is_empty()
    };
    if people.clone().any(is_set_up) {
        return Ok(None);
    }
    let is_administrator =
        |account: &&AccountRow| account.is_active && account.role == Role::SystemAdmin.as_str();
    if let Some(invited) = people.find(is_administrator) {
        let name = invited.username.clone();
        return make_link(session, &name).await.map(Some);
    }

    let own = Username::parse(&session.actor().name).map(|name| name.as_str().to_owned());
    let is_free = |name: &String| {
        let taken = |account: &AccountRow| account.username.eq_ignore_ascii_case(name);
        !all.iter().any(taken)
    };
    let name = own.ok().filter(is_free).unwrap_or_else(|| FIRST.to_owned());
    let request = Request {
        username: &name,
        email: &format!("{name}@localhost"),
        full_name: None,
        role: Role::SystemAdmin,
        expires_at: None,
    };
    create(session, &request).await.map(Some)
}

/// Which accounts [`list`] shows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shown {
    /// Only those that are locked now.
    pub locked: bool,
}

/// Accounts by name; those that own machines' keys are the last.
pub async fn list(session: &mut Session, shown: Shown) -> Result<Vec<AccountRow>, AppError> {
    let filter = Filter {
        name: None,
        locked: shown.locked,
    };
    Ok(store::accounts::list(session.read(Resource::Users)?, &filter).await?)
}

/// The account of this name or email address.
pub async fn find(session: &mut Session, name: &str) -> Result<AccountRow, AppError> {
    let conn = session.read(Resource::Users)?;
    let filter = Filter {
        name: Some(name),
        ..Filter::default()
    };
    if let Some(found) = store::accounts::list(conn, &filter)
        .await?
        .into_iter()
        .next()
    {
        return Ok(found);
    }

    let all = store::accounts::list(conn, &Filter::default()).await?;
    let nearest = all
        .iter()
        .map(|row| (strsim::jaro_winkler(&row.username, name), &row.username))
        .filter(|(likeness, _)| *likeness >= SIMILAR)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let hint = nearest.map_or_else(
        || "`blueteam users list` shows all".to_owned(),
        |(_, known)| format!("did you mean `{known}`?"),
    );
    Err(AppError::not_found(format!(
        "there is no user `{}`; {hint}",
        model::text::sanitize(name)
    )))
}

/// The account, if a person may sign in as it, and whoever asks may look after it.
async fn find_person(session: &mut Session, name: &str) -> Result<AccountRow, AppError> {
    let account = find(session, name).await?;
    guard_rank(session, &account)?;
    if account.is_service {
        return Err(AppError::invalid(format!(
            "{} owns keys of machines, and nobody signs in as it",
            account.username
        )));
    }
    Ok(account)
}

/// Refuses a person who would look after an account of a higher rank: whoever resets it takes it
/// over.
fn guard_rank(session: &Session, account: &AccountRow) -> Result<(), AppError> {
    let Some(rights) = session.rights() else {
        return Ok(());
    };
    let owner: Role = account.role.parse().map_err(anyhow::Error::new)?;
    if may_manage(rights.role, owner) {
        return Ok(());
    }
    Err(Denied::NotAllowed {
        actor: session.actor().name.clone(),
        action: Action::Write,
        resource: Resource::Users,
        because: format!("{} is {owner}", account.username),
    }
    .into())
}

/// Whether whoever asks may look after an account: theirs is of no lower rank.
pub fn may_look_after(session: &Session, account: &AccountRow) -> bool {
    guard_rank(session, account).is_ok()
}

/// The roles that whoever asks may give to a new account.
pub fn roles_to_give(session: &Session) -> Vec<Role> {
    let may_give = |role: &Role| {
        session.rights().is_none_or(|rights| {
            let change = RoleChange {
                actor: rights.role,
                is_own: false,
                from: None,
                to: Some(*role),
                is_last_system_admin: false,
            };
            check_role_change(&change).is_ok()
        })
    };
    Role::ALL.iter().copied().filter(may_give).collect()
}

/// Gives an account another role; its sessions end. Returns the account as it was.
pub async fn set_role(
    session: &mut Session,
    name: &str,
    role: Role,
) -> Result<AccountRow, AppError> {
    session.require(Action::Write, Resource::Users)?;
    let account = find_person(session, name).await?;
    guard_role_change(session, &account, role)?;
    let (conn, actor) = session.change(Action::Write, Resource::Users)?;
    store::accounts::set_role(conn, actor, account.user_id, role.as_str())
        .await
        .map_err(|error| explain(error, &account))?;
    Ok(account)
}

/// Refuses a person who would give a role that is not theirs to give.
fn guard_role_change(session: &Session, account: &AccountRow, to: Role) -> Result<(), AppError> {
    let Some(rights) = session.rights() else {
        return Ok(());
    };
    let change = RoleChange {
        actor: rights.role,
        is_own: account.username == session.actor().name,
        from: Some(account.role.parse().map_err(anyhow::Error::new)?),
        to: Some(to),
        // The database knows, and refuses.
        is_last_system_admin: false,
    };
    check_role_change(&change).map_err(|error| AppError::conflict(error.to_string()))
}

/// Puts an account out of use: its sessions, links and keys end with it. Returns the account as it
/// was.
pub async fn disable(
    session: &mut Session,
    name: &str,
    reason: &str,
) -> Result<AccountRow, AppError> {
    session.require(Action::Write, Resource::Users)?;
    if reason.trim().is_empty() || reason.chars().count() > REASON_MAX {
        return Err(AppError::invalid(format!(
            "a reason has from 1 to {REASON_MAX} characters"
        )));
    }

    let account = find(session, name).await?;
    guard_rank(session, &account)?;
    let (conn, actor) = session.change(Action::Write, Resource::Users)?;
    store::accounts::disable(conn, actor, account.user_id, reason)
        .await
        .map_err(|error| explain(error, &account))?;
    Ok(account)
}

/// Lets an account be used again. Returns the account as it was.
pub async fn enable(session: &mut Session, name: &str) -> Result<AccountRow, AppError> {
    session.require(Action::Write, Resource::Users)?;
    let account = find(session, name).await?;
    guard_rank(session, &account)?;
    let (conn, actor) = session.change(Action::Write, Resource::Users)?;
    store::accounts::enable(conn, actor, account.user_id)
        .await
        .map_err(within_plan)?;
    Ok(account)
}

/// What the database refused, in the words of whoever asked.
fn explain(error: StoreError, account: &AccountRow) -> AppError {
    if error.constraint() == Some("users_last_system_admin") {
        return AppError::conflict(format!(
            "{} is the last system administrator: make another account one first",
            account.username
        ));
    }
    error.into()
}

/// Ends the lock of an account, or of every one; returns the names of those that were locked.
pub async fn unlock(session: &mut Session, name: Option<&str>) -> Result<Vec<String>, AppError> {
    session.require(Action::Write, Resource::Users)?;
    let user_id = match name {
        Some(name) => Some(find_person(session, name).await?.user_id),
        None => None,
    };
    let (conn, actor) = session.change(Action::Write, Resource::Users)?;
    Ok(store::accounts::unlock(conn, actor, user_id).await?)
}

/// Has an account choose a new password at its next sign-in, or every one; returns how many did not
/// have to before.
pub async fn require_password_change(
    session: &mut Session,
    name: Option<&str>,
) -> Result<u64, AppError> {
    session.require(Action::Write, Resource::Users)?;
    let user_id = match name {
        Some(name) => Some(find_person(session, name).await?.user_id),
        None => None,
    };
    let (conn, actor) = session.change(Action::Write, Resource::Users)?;
    Ok(store::accounts::require_password_change(conn, actor, user_id).await?)
}

/// Sessions that have not ended: of an account, or of all.
pub async fn sessions(
    session: &mut Session,
    name: Option<&str>,
) -> Result<Vec<SessionRow>, AppError> {
    let user_id = match name {
        Some(name) => Some(find(session, name).await?.user_id),
        None => None,
    };
    Ok(store::accounts::sessions(session.read(Resource::Sessions)?, user_id).await?)
}

/// Which sessions [`revoke_sessions`] ends.
#[derive(Clone, Copy, Debug)]
pub enum Revoke<'a> {
    /// The one of this id.
    Session(Uuid),
    /// All of the account of this name.
    Account(&'a str),
    /// All.
    All,
}

/// Ends sessions; returns how many.
pub async fn revoke_sessions(session: &mut Session, which: Revoke<'_>) -> Result<u64, AppError> {
    session.require(Action::Write, Resource::Sessions)?;
    let which = match which {
        Revoke::Session(id) => Which::Session(id),
        Revoke::Account(name) => Which::Account(find(session, name).await?.user_id),
        Revoke::All => Which::All,
    };
    let (conn, actor) = session.change(Action::Write, Resource::Sessions)?;
    let ended = store::accounts::revoke_sessions(conn, actor, which).await?;
    if let (0, Which::Session(id)) = (ended, which) {
        return Err(AppError::not_found(format!(
            "there is no session {id} that has not ended; `blueteam sessions list` shows all"
        )));
    }
    Ok(ended)
}

/// Who a person is elsewhere.
#[derive(Clone, Copy, Debug)]
pub enum Elsewhere<'a> {
    /// Their subject at the OpenID Connect provider.
    Oidc(&'a str),
    /// The id of their entry in the directory.
    Ldap(&'a str),
}

/// Links an account to who its person is to the provider or the directory, so that they sign in as
/// it. Whoever that is there has the account then: make sure that it is them.
pub async fn link(
    session: &mut Session,
    config: &config::Config,
    name: &str,
    who: Elsewhere<'_>,
) -> Result<AccountRow, AppError> {
    session.require(Action::Write, Resource::Users)?;
    let account = find_person(session, name).await?;
    guard_rank(session, &account)?;
    let (method, issuer, subject) = match who {
        Elsewhere::Oidc(subject) => (Method::Oidc, config.console.oidc.issuer.clone(), subject),
        Elsewhere::Ldap(id) => (Method::Ldap, directory_issuer(&config.console.ldap), id),
    };
    if issuer.is_empty() {
        return Err(AppError::invalid(
            "there is nothing to link to: set console.oidc.issuer or console.ldap.base",
        ));
    }
    if subject.is_empty() || subject.len() > SUBJECT_MAX || subject.chars().any(char::is_control) {
        return Err(AppError::invalid(format!(
            "a subject has from 1 to {SUBJECT_MAX} bytes, none of them a control character"
        )));
    }

    let id = ExternalId {
        method,
        issuer: &issuer,
        subject,
    };
    let (conn, actor) = session.change(Action::Write, Resource::Users)?;
    if !store::external::link(conn, actor, account.user_id, id).await? {
        return Err(AppError::conflict(format!(
            "an account is linked to {subject} already; `blueteam users unlink` ends that"
        )));
    }
    Ok(account)
}

/// Ends every link of an account to who its person is elsewhere, and its sessions. Returns how many
/// links there were.
pub async fn unlink(session: &mut Session, name: &str) -> Result<u64, AppError> {
    session.require(Action::Write, Resource::Users)?;
    let account = find_person(session, name).await?;
    guard_rank(session, &account)?;
    let (conn, actor) = session.change(Action::Write, Resource::Users)?;
    let ended = store::external::unlink(conn, actor, account.user_id).await?;
    store::accounts::revoke_sessions(conn, actor, Which::Account(account.user_id)).await?;
    Ok(ended)
}

/// Where people enter their enrollment codes.
pub fn enrollment_page(config: &config::Config) -> String {
    format!("{}/enroll", public_url(config))
}

/// Where people reach their part of the HTTP server, without a slash at its end.
pub fn public_url(config: &config::Config) -> String {
    let public = config.escalation.public_url.trim_end_matches('/');
    if !public.is_empty() {
        return public.to_owned();
    }

    let listen = config.console.address().unwrap_or(config.ingest.listen);
    let port = listen.port();
    if listen.ip().is_loopback() {
        // By its name: browsers take it for as safe as TLS, which an address is not to all.
        format!("http://localhost:{port}")
    } else {
        format!("https://{}:{port}", crate::actor::hostname())
    }
}
