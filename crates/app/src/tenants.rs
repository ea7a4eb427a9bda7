//! Tenants: the organizations that use this installation, what each has subscribed to, and how much
//! of it they use (decisions 0049, 0054 and 0058).

use model::{Clock as _, SystemClock, TenantId, TenantName, Timestamp};
use serde::{Deserialize, Serialize};
use store::subscriptions::{Subscription, Usage};
use store::tenants::Tenant;
use store::{PgConnection, StoreError};

use crate::actor::{Action, Resource};
use crate::database::{Database, Role};
use crate::{AppError, Session, rules};

/// The longest title, in characters.
const TITLE_MAX: usize = 200;
/// The longest name of a plan, in characters.
const PLAN_MAX: usize = 63;
/// The fewest months that log events are kept: DFARS 252.204-7012 (e) asks for 90 days.
pub const RETENTION_MIN: u16 = 3;
/// The most months that a plan can ask for.
const RETENTION_MAX: u16 = 1200;
/// From which part of a limit on it is warned of, in percent.
const WARN_AT: [u8; 2] = [80, 100];

/// The constraint that refuses the next user or key.
pub(crate) const WITHIN_PLAN: &str = "within_plan";

/// An organization that uses this installation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Organization {
    /// Its id.
    pub tenant_id: TenantId,
    /// What commands and the configuration call it.
    pub name: TenantName,
    /// What documents call it.
    pub title: Option<String>,
    /// Since when it is there.
    pub created_at: Timestamp,
    /// What it has subscribed to; none without limits.
    pub subscription: Option<Limits>,
    /// How much it uses.
    pub usage: Use,
}

/// What an organization has subscribed to; a limit that is none does not exist.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// What the plan is called.
    pub plan: String,
    /// The most people who can sign in; one more is refused.
    pub max_users: Option<u32>,
    /// The most API keys in force; one more is refused.
    pub max_keys: Option<u32>,
    /// The most agents; one more is refused.
    pub max_agents: Option<u32>,
    /// Events a calendar month (UTC); more are warned of and kept.
    pub max_events: Option<u64>,
    /// Bytes of events; more are warned of and kept.
    pub max_bytes: Option<u64>,
    /// Months that log events are kept at least.
    pub retention_months: Option<u16>,
}

/// How much an organization uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Use {
    /// People who can sign in.
    pub users: u64,
    /// API keys in force.
    pub keys: u64,
    /// Events that were stored this month (UTC), as far as they are counted.
    pub events: u64,
    /// Its part of the bytes of all events, by their number; none before any was counted.
    pub bytes: Option<u64>,
}

impl From<Usage> for Use {
    fn from(usage: Usage) -> Self {
        Self {
            users: usage.users,
            keys: usage.keys,
            events: usage.events,
            bytes: usage.bytes,
        }
    }
}

impl From<Subscription> for Limits {
    fn from(row: Subscription) -> Self {
        Self {
            plan: row.plan,
            max_users: row.max_users.map(i32::unsigned_abs),
            max_keys: row.max_keys.map(i32::unsigned_abs),
            max_agents: row.max_agents.map(i32::unsigned_abs),
            max_events: row.max_events.map(i64::unsigned_abs),
            max_bytes: row.max_bytes.map(i64::unsigned_abs),
            retention_months: row.retention_months.map(i16::unsigned_abs),
        }
    }
}

impl TryFrom<&Limits> for Subscription {
    type Error = AppError;

    fn try_from(limits: &Limits) -> Result<Self, AppError> {
        let plan = limits.plan.as_str();
        if plan.parse::<TenantName>().is_err() {
            return Err(AppError::invalid(format!(
                "a plan's name has from 1 to {PLAN_MAX} lower-case letters, digits, `_` or `-`, and begins \
                 with a letter or a digit"
            )));
        }
        if let Some(months) = limits.retention_months
            && !(RETENTION_MIN..=RETENTION_MAX).contains(&months)
        {
            return Err(AppError::invalid(format!(
                "log events are kept from {RETENTION_MIN} to {RETENTION_MAX} months: DFARS 252.204-7012 (e) \
                 asks for 90 days"
            )));
        }
        Ok(Self {
            plan: plan.to_owned(),
            max_users: count(limits.max_users, "users")?,
            max_keys: count(limits.max_keys, "keys")?,
            max_agents: count(limits.max_agents, "agents")?,
            max_events: count(limits.max_events, "events")?,
            max_bytes: count(limits.max_bytes, "bytes")?,
            retention_months: limits
                .retention_months
                .and_then(|months| i16::try_from(months).ok()),
        })
    }
}

/// A limit as the database keeps it.
fn count<N, C>(limit: Option<N>, of: &str) -> Result<Option<C>, AppError>
where
    N: Copy + PartialEq + Default,
    C: TryFrom<N>,
{
    let Some(limit) = limit else { return Ok(None) };
    let fits = C::try_from(limit).ok().filter(|_| limit != N::default());
    let refused =
        || AppError::invalid(format!("a limit of {of} is at least 1, and not astronomic"));
    fits.map(Some).ok_or_else(refused)
}

/// A limit that is nearly reached, or passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pressure {
    /// Of what: `users`, `keys`, `events` or `bytes`.
    pub of: &'static str,
    /// How much is used.
    pub used: u64,
    /// How much the plan allows.
    pub limit: u64,
    /// Which of the marks was passed, in percent: 80 or 100.
    pub mark: u8,
}

impl Pressure {
    /// What it means, for the one who reads it.
    pub fn meaning(&self) -> &'static str {
        match self.of {
            "users" | "keys" if self.mark >= 100 => "one more is refused",
            "users" | "keys" => "what goes beyond it is refused",
            _ => "nothing is refused, dropped or delayed",
        }
    }

    /// The limit in a sentence: `850 of 1000 events this month`.
    pub fn amount(&self) -> String {
        match self.of {
            "bytes" => format!(
                "{} of {} for events",
                model::size::approximate(self.used),
                model::size::approximate(self.limit)
            ),
            "events" => format!("{} of {} events this month", self.used, self.limit),
            of => format!("{} of {} {of}", self.used, self.limit),
        }
    }
}

/// The limits of which 80 percent are used, or all.
pub fn pressures(limits: &Limits, usage: &Use) -> Vec<Pressure> {
    let all = [
        ("users", limits.max_users.map(u64::from), Some(usage.users)),
        ("keys", limits.max_keys.map(u64::from), Some(usage.keys)),
        ("events", limits.max_events, Some(usage.events)),
        ("bytes", limits.max_bytes, usage.bytes),
    ];
    all.into_iter()
        .filter_map(|(of, limit, used)| {
            let (limit, used) = (limit?, used?);
            let mark = WARN_AT
                .into_iter()
                .rev()
                .find(|mark| u128::from(used) * 100 >= u128::from(limit) * u128::from(*mark))?;
            Some(Pressure {
                of,
                used,
                limit,
                mark,
            })
        })
        .collect()
}

/// A session for whoever looks after the organizations of an installation, which no single one of
/// them may.
pub async fn open(database: &Database, actor: model::Actor) -> anyhow::Result<Session> {
    let conn = database.connect(Role::Accounts).await?;
    Ok(Session::new(conn, actor))
}

/// The organizations that a session sees: at the machine all, else one's own.
pub async fn list(session: &mut Session) -> Result<Vec<Organization>, AppError> {
    let conn = session.read(Resource::Tenants)?;
    let mut all = Vec::new();
    for tenant in store::tenants::list(conn).await? {
        all.push(describe(conn, tenant).await?);
    }
    Ok(all)
}

async fn describe(conn: &mut PgConnection, tenant: Tenant) -> Result<Organization, StoreError> {
    let subscription = store::subscriptions::of(conn, tenant.id).await?;
    let usage = store::subscriptions::usage(conn, tenant.id, SystemClock.now()).await?;
    Ok(Organization {
        tenant_id: tenant.id,
        name: tenant.name,
        title: tenant.title,
        created_at: tenant.created_at,
        subscription: subscription.map(Limits::from),
        usage: usage.into(),
    })
}

/// The organization of that name.
pub async fn show(session: &mut Session, name: &TenantName) -> Result<Organization, AppError> {
    let all = list(session).await?;
    let names: Vec<String> = all.iter().map(|one| one.name.to_string()).collect();
    let found = all.into_iter().find(|one| one.name == *name);
    found.ok_or_else(|| no_such(name, &names))
}

/// There is none of that name.
pub(crate) fn no_such(name: &TenantName, known: &[String]) -> AppError {
    AppError::not_found(format!(
        "there is no tenant `{name}`; there is {}",
        known.join(", ")
    ))
}

/// Makes an organization, whose record begins with the requirements of NIST SP 800-171.
pub async fn create(
    database: &Database,
    session: &mut Session,
    name: &TenantName,
    title: Option<&str>,
) -> Result<Organization, AppError> {
    check_title(title)?;
    let (conn, actor) = session.change(Action::Write, Resource::Tenants)?;
    match store::tenants::create(conn, actor, name, title).await {
        Ok(Some(_)) => {}
        Ok(None) => {
            return Err(AppError::conflict(format!(
                "there is a tenant `{name}` already"
            )));
        }
        Err(error) if error.is_unsupported() => {
            return Err(AppError::conflict(
                "audit_events is the table of an application, which writes for one tenant: this database \
                 can have no second one. An installation with a database of its own can",
            ));
        }
        Err(error) => return Err(error.into()),
    }

    let mut engine = database.connect(Role::Engine).await?;
    let mut people = database.connect(Role::Operator).await?;
    rules::sync_catalogs(&mut engine, &mut people).await?;
    show(session, name).await
}

/// Gives an organization another title; an empty one takes it away.
pub async fn set_title(
    session: &mut Session,
    name: &TenantName,
    title: &str,
) -> Result<Organization, AppError> {
    let title = Some(title.trim()).filter(|title| !title.is_empty());
    check_title(title)?;
    let organization = show(session, name).await?;
    let (conn, actor) = session.change(Action::Write, Resource::Tenants)?;
    store::tenants::set_title(conn, actor, organization.tenant_id, title).await?;
    show(session, name).await
}

fn check_title(title: Option<&str>) -> Result<(), AppError> {
    let Some(title) = title else { return Ok(()) };
    let is_fine = (1..=TITLE_MAX).contains(&title.chars().count())
        && title.contains(char::is_alphanumeric)
        && !title.chars().any(char::is_control);
    if is_fine {
        return Ok(());
    }
    Err(AppError::invalid(format!(
        "a title has from 1 to {TITLE_MAX} characters, one of them a letter or digit, and no control \
         characters"
    )))
}

/// A change of what an organization has subscribed to: what is none stays as it was, and a limit
/// that is `Some(None)` ends.
#[derive(Clone, Debug, Default)]
pub struct LimitChanges {
    /// What the plan is called.
    pub plan: Option<String>,
    /// The most people who can sign in.
    pub max_users: Option<Option<u32>>,
    /// The most API keys in force.
    pub max_keys: Option<Option<u32>>,
    /// The most agents.
    pub max_agents: Option<Option<u32>>,
    /// Events a calendar month.
    pub max_events: Option<Option<u64>>,
    /// Bytes of events.
    pub max_bytes: Option<Option<u64>>,
    /// Months that log events are kept at least.
    pub retention_months: Option<Option<u16>>,
}

impl LimitChanges {
    /// Whether nothing is to be changed.
    pub fn is_empty(&self) -> bool {
        self.plan.is_none()
            && [
                self.max_users.is_none(),
                self.max_keys.is_none(),
                self.max_agents.is_none(),
                self.max_events.is_none(),
                self.max_bytes.is_none(),
                self.retention_months.is_none(),
            ]
            .iter()
            .all(|left| *left)
    }
}

/// Changes what an organization has subscribed to. What it has beyond a new limit stays.
pub async fn set_limits(
    session: &mut Session,
    name: &TenantName,
    changes: &LimitChanges,
) -> Result<Organization, AppError> {
    let organization = show(session, name).await?;
    let before = organization.subscription.unwrap_or_else(|| Limits {
        plan: "custom".to_owned(),
        ..Limits::default()
    });
    let limits = Limits {
        plan: changes.plan.clone().unwrap_or(before.plan),
        max_users: changes.max_users.unwrap_or(before.max_users),
        max_keys: changes.max_keys.unwrap_or(before.max_keys),
        max_agents: changes.max_agents.unwrap_or(before.max_agents),
        max_events: changes.max_events.unwrap_or(before.max_events),
        max_bytes: changes.max_bytes.unwrap_or(before.max_bytes),
        retention_months: changes.retention_months.unwrap_or(before.retention_months),
    };
    let subscription = Subscription::try_from(&limits)?;
    let (conn, actor) = session.change(Action::Write, Resource::Tenants)?;
    store::subscriptions::set(conn, actor, organization.tenant_id, &subscription).await?;
    show(session, name).await
}

/// What the database refused because of the plan, in words; other errors as they are.
pub(crate) fn within_plan(error: StoreError) -> AppError {
    if error.constraint() == Some(WITHIN_PLAN) {
        let what = error.database_message().unwrap_or_default();
        return AppError::conflict(format!(
            "{what}: disable or revoke one that is not needed, or have the limit raised (`blueteam tenants \
             limits`)"
        ));
    }
    error.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_warned_of_at_80_and_100_percent() {
        let limits = Limits {
            plan: "small".to_owned(),
            max_users: Some(10),
            max_keys: Some(1),
            max_events: Some(u64::MAX),
            max_bytes: Some(1000),
            ..Limits::default()
        };
        let marks = |users, keys, events, bytes| -> Vec<(&'static str, u8)> {
            let usage = Use {
                users,
                keys,
                events,
                bytes,
            };
            let found = pressures(&limits, &usage);
            found.into_iter().map(|p| (p.of, p.mark)).collect()
        };

        assert_eq!(marks(7, 0, 0, None), []);
        assert_eq!(marks(8, 0, 0, Some(799)), [("users", 80)]);
        assert_eq!(
            marks(10, 1, 0, Some(800)),
            [("users", 100), ("keys", 100), ("bytes", 80)]
        );
        assert_eq!(
            marks(0, 0, u64::MAX, Some(u64::MAX)),
            [("events", 100), ("bytes", 100)]
        );
        assert_eq!(
            pressures(
                &Limits::default(),
                &Use {
                    users: 5,
                    ..Use::default()
                }
            ),
            []
        );
    }

    #[test]
    fn what_no_limit_can_be_is_refused() {
        let of = |change: fn(&mut Limits)| {
            let mut limits = Limits {
                plan: "small".to_owned(),
                ..Limits::default()
            };
            change(&mut limits);
            Subscription::try_from(&limits)
        };
        assert!(of(|_| {}).is_ok());
        assert!(of(|l| l.max_events = Some(10_000_000)).is_ok());
        for wrong in [
            (|l| l.max_users = Some(0)) as fn(&mut Limits),
            |l| l.max_users = Some(u32::MAX),
            |l| l.max_events = Some(u64::MAX),
            |l| l.retention_months = Some(2),
            |l| l.retention_months = Some(1201),
            |l| l.plan = String::new(),
            |l| l.plan = "A Plan".to_owned(),
        ] {
            assert!(of(wrong).is_err());
        }
    }
}
