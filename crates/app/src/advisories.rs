//! Security advisories (3.14.3): imports advisories and component inventories, matches them, and
//! records the response to each match.

mod fetch;
mod import;

use std::path::Path;

use advisories::{feeds, inventory};
use model::text::sanitize;
use model::{Span, TenantId, TenantName};
use store::{PgConnection, StoreError};

use crate::actor::{Action, Resource};
use crate::{AppError, Session};

pub use ::advisories::Advisory;
pub use fetch::fetch;
pub use import::{Defects, Done, Source, import, read_file, refresh_all};
pub use store::advisories::{Filter, Match, Origin};

/// The largest text that is read, in bytes: the largest export that a publisher offers as JSON is
/// about half of it.
pub const TEXT_MAX: u64 = 256 * 1024 * 1024;
/// The shortest reason, in characters.
const REASON_MIN: usize = 3;

/// What is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Advisories.
    Feed,
    /// Components.
    Inventory,
}

impl Kind {
    /// Its name in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Feed => "feed",
            Self::Inventory => "inventory",
        }
    }
}

impl std::str::FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        [Self::Feed, Self::Inventory]
            .into_iter()
            .find(|kind| kind.as_str() == name)
            .ok_or(UnknownKind)
    }
}

/// A name that is neither kind.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("must be feed or inventory")]
pub struct UnknownKind;

/// A feed or inventory that is imported on a schedule.
#[derive(Clone, Debug)]
pub struct Input {
    /// What it holds.
    pub kind: Kind,
    /// Under which name.
    pub name: String,
    /// The file or address.
    pub origin: String,
    /// The format; detected from the text when it is `None`.
    pub format: Option<String>,
    /// How often.
    pub every: Span,
    /// Of an inventory, whose it is; none: `default`'s.
    pub tenant: Option<TenantName>,
}

/// Returns what the configuration asks to import, inventories first: advisories are then matched at
/// once.
pub fn inputs(config: &config::Advisories) -> Vec<Input> {
    let input = |kind: Kind| {
        move |entry: &config::advisories::Entry| Input {
            kind,
            name: entry.name.clone(),
            origin: entry.from.clone(),
            format: entry.format.clone(),
            every: entry.interval,
            tenant: entry.tenant().cloned(),
        }
    };

    config
        .inventories
        .iter()
        .map(input(Kind::Inventory))
        .chain(config.feeds.iter().map(input(Kind::Feed)))
        .collect()
}

/// Files or addresses to be imported.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// What they hold.
    pub kind: Kind,
    /// Files, or addresses.
    pub from: &'a [String],
    /// The feed's or inventory's name; without it, that of the file.
    pub name: Option<&'a str>,
    /// The format; detected from the text when it is `None`.
    pub format: Option<&'a str>,
}

impl Request<'_> {
    fn check(&self) -> Result<(), AppError> {
        if self.from.len() > 1 && self.name.is_some() {
            return Err(AppError::invalid(
                "--name: each list replaces what was there under the name before; import one, or \
                    give each a name of its own",
            ));
        }

        let is_known = |format: &str| match self.kind {
            Kind::Feed => feeds::ALL.iter().any(|f| f.name == format),
            Kind::Inventory => inventory::ALL.iter().any(|f| f.name == format),
        };
        if self.format.is_some_and(|format| !is_known(format)) {
            return Err(AppError::invalid(
                "--format: `import` reads kev, csaf and osv; `inventory import` reads cyclonedx, spdx, \
                    composer, cargo and dpkg",
            ));
        }

        Ok(())
    }
}

/// What came of one of several imports.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The name of the feed or inventory.
    pub name: String,
    /// What came of it.
    pub done: Done,
}

/// Reads files and addresses and imports them one after the other.
pub async fn import_all(
    session: &mut Session,
    request: &Request<'_>,
) -> Result<Vec<Imported>, AppError> {
    let (conn, actor) = session.change(Action::Write, Resource::Compliance)?;
    request.check()?;
    check_whose(conn, request.kind).await?;

    let mut all = Vec::with_capacity(request.from.len());
    for origin in request.from {
        let text = fetch(origin).await?;
        let name = request.name.map_or_else(|| name_of(origin), str::to_owned);
        let source = Source {
            kind: request.kind,
            name: &name,
            origin,
            format: request.format,
        };

        let done = import(conn, actor, source, &text).await?;
        all.push(Imported { name, done });
    }

    Ok(all)
}

/// What publishers say concerns every tenant, so that `default` alone changes it.
async fn check_whose(conn: &mut PgConnection, kind: Kind) -> Result<(), AppError> {
    let is_default = store::tenants::acting(conn).await? == Some(TenantId::DEFAULT);
    if kind == Kind::Feed && !is_default {
        return Err(AppError::conflict(
            "feeds concern every tenant, and are changed for `default` alone; inventories are a \
                tenant's own",
        ));
    }
    Ok(())
}

/// A name for what comes from a file or an address.
fn name_of(from: &str) -> String {
    let path = from
        .split(['?', '#'])
        .next()
        .unwrap_or(from)
        .trim_end_matches('/');
    Path::new(path).file_name().map_or_else(
        || from.to_owned(),
        |name| name.to_string_lossy().into_owned(),
    )
}

/// Returns where advisories concern what runs here, the worst first.
pub async fn list(session: &mut Session, filter: &Filter) -> Result<Vec<Match>, AppError> {
    Ok(store::advisories::matches(session.read(Resource::Compliance)?, filter).await?)
}

/// What is known of a vulnerability.
#[derive(Debug)]
pub struct Details {
    /// The advisories about it.
    pub advisories: Vec<Stored>,
    /// What it concerns.
    pub matches: Vec<Match>,
}

/// An advisory as it was imported.
#[derive(Debug)]
pub struct Stored {
    /// The advisory.
    pub advisory: Advisory,
    /// All of it, as it is stored.
    pub document: serde_json::Value,
    /// Whether a feed still lists it.
    pub listed: bool,
}

/// Returns everything that is known of a vulnerability: by its CVE, or an advisory's own ID.
pub async fn show(session: &mut Session, id: &str) -> Result<Details, AppError> {
    let conn = session.read(Resource::Compliance)?;
    let stored = store::advisories::about(conn, id).await?;
    if stored.is_empty() {
        return Err(AppError::not_found(format!(
            "there is no advisory `{}`; `blueteam advisories list` shows those that concern you",
            sanitize(id)
        )));
    }

    let advisories = stored
        .into_iter()
        .map(|row| {
            Ok(Stored {
                advisory: serde_json::from_value(row.document.clone())?,
                document: row.document,
                listed: row.listed,
            })
        })
        .collect::<anyhow::Result<_>>()?;
    let filter = Filter {
        all: true,
        inventory: None,
        about: Some(id.to_owned()),
    };

    Ok(Details {
        advisories,
        matches: store::advisories::matches(conn, &filter).await?,
    })
}

/// What becomes of a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Response {
    /// Nothing yet.
    Open,
    /// Someone works on it.
    InProgress,
    /// Upgraded to a version that is not affected.
    Fixed,
    /// Still there, and made harmless.
    Mitigated,
    /// Not affected as it is used here.
    NotAffected,
    /// The risk is taken.
    Accepted,
}

impl Response {
    const fn state(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::InProgress => "in_progress",
            Self::Fixed | Self::Mitigated | Self::NotAffected | Self::Accepted => "closed",
        }
    }

    const fn resolution(self) -> Option<&'static str> {
        match self {
            Self::Open | Self::InProgress => None,
            Self::Fixed => Some("fixed"),
            Self::Mitigated => Some("mitigated"),
            Self::NotAffected => Some("not_affected"),
            Self::Accepted => Some("accepted"),
        }
    }
}

/// What is decided about matches.
#[derive(Clone, Debug)]
pub struct Decision<'a> {
    /// A CVE, an advisory's ID, or the beginning of a match's ID.
    pub about: &'a str,
    /// In this inventory alone.
    pub inventory: Option<&'a str>,
    /// What becomes of them.
    pub response: Response,
    /// Why; required of a response that closes them.
    pub reason: Option<&'a str>,
    /// Who deals with them.
    pub owner: Option<&'a str>,
    /// Until when, as `YYYY-MM-DD`.
    pub due: Option<String>,
    /// Where else they are tracked.
    pub ticket: Option<&'a str>,
}

/// Matches that were decided about.
#[derive(Debug)]
pub struct Decided {
    /// How many changed.
    pub written: u64,
    /// All that the decision is about, as they are now.
    pub matches: Vec<Match>,
}

/// Records what is done about matches.
pub async fn respond(session: &mut Session, decision: &Decision<'_>) -> Result<Decided, AppError> {
    let (conn, actor) = session.change(Action::Write, Resource::Compliance)?;
    let resolution = decision.response.resolution();
    if resolution.is_some() && !decision.reason.is_some_and(is_reason) {
        return Err(AppError::invalid(
            "--reason: say in a sentence why it is closed; an assessor reads it",
        ));
    }

    let filter = Filter {
        all: true,
        inventory: decision.inventory.map(str::to_owned),
        about: Some(decision.about.to_owned()),
    };
    let concerned = store::advisories::matches(conn, &filter).await?;
    if concerned.is_empty() {
        return Err(AppError::not_found(format!(
            "nothing in the inventories is concerned by `{}`",
            sanitize(decision.about)
        )));
    }

    let ids: Vec<_> = concerned.iter().map(|m| m.match_id).collect();
    let row = store::advisories::Decision {
        state: decision.response.state().to_owned(),
        resolution: resolution.map(str::to_owned),
        reason: decision.reason.map(str::to_owned),
        owner: decision.owner.map(str::to_owned),
        due: decision.due.clone(),
        ticket: decision.ticket.map(str::to_owned),
    };
    let written = store::advisories::decide(conn, actor, &ids, &row).await?;

    let mut matches = store::advisories::matches(conn, &filter).await?;
    matches.retain(|m| ids.contains(&m.match_id));
    Ok(Decided { written, matches })
}

fn is_reason(text: &str) -> bool {
    text.trim().chars().count() >= REASON_MIN
}

/// Returns the feeds and inventories that were imported.
pub async fn sources(session: &mut Session) -> Result<Vec<Origin>, AppError> {
    Ok(store::advisories::origins(session.read(Resource::Compliance)?).await?)
}

/// Takes a feed or an inventory out of use: its matches are closed, and stay on record. `kind` is
/// needed where a feed and an inventory have the same name.
pub async fn retire(
    session: &mut Session,
    config: &config::Advisories,
    name: &str,
    kind: Option<Kind>,
    reason: &str,
) -> Result<Origin, AppError> {
    let (conn, actor) = session.change(Action::Write, Resource::Compliance)?;
    if !is_reason(reason) {
        return Err(AppError::invalid(
            "--reason: say in a sentence why; an assessor reads it",
        ));
    }

    let origin = select_origin(store::advisories::origins(conn).await?, name, kind)?;
    let kind: Kind = origin.kind.parse().map_err(anyhow::Error::from)?;
    check_whose(conn, kind).await?;
    let shown = sanitize(name);
    let acting = store::tenants::acting_name(conn).await?;
    let tenant = acting.filter(|name| !name.is_default());
    let is_configured = inputs(config)
        .iter()
        .any(|input| input.kind == kind && input.name == name && input.tenant == tenant);
    if is_configured {
        return Err(AppError::conflict(format!(
            "`{shown}` is in [advisories] of the configuration, so that the daemon would read \
                it again; take it out there first"
        )));
    }

    let mut tx = store::begin(conn, actor).await?;
    if !store::advisories::retire(&mut tx, actor, kind.as_str(), name, reason.trim()).await? {
        return Err(AppError::conflict(format!("`{shown}` is retired already")));
    }
    import::refresh(&mut tx, actor).await?;
    tx.commit().await.map_err(StoreError::from)?;

    Ok(origin)
}

/// Returns the one origin of this name.
fn select_origin(
    mut origins: Vec<Origin>,
    name: &str,
    kind: Option<Kind>,
) -> Result<Origin, AppError> {
    origins.retain(|o| o.name == name && kind.is_none_or(|kind| kind.as_str() == o.kind));

    let shown = sanitize(name);
    match origins.pop() {
        Some(one) if origins.is_empty() => Ok(one),
        Some(_) => Err(AppError::invalid(format!(
            "both a feed and an inventory are called `{shown}`; say --kind"
        ))),
        None => Err(AppError::not_found(format!(
            "there is no feed or inventory `{shown}`; `blueteam advisories sources` shows those \
                that there are"
        ))),
    }
}
