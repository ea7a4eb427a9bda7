//! Upkeep (SecureGuard, Maintenance Procedures and Key Performance Indicators): what must be looked
//! at daily, weekly and monthly, and the statistics that are taken weekly.

mod growth;
pub mod review;

use config::{Loaded, StateDir};
use model::evidence::UpkeepReview;
use model::{Actor, Clock as _, Span, SystemClock, Timestamp};
use rustix::fs::statvfs;
use secrecy::ExposeSecret as _;
use serde::Serialize;
use store::PgConnection;
use store::upkeep::StatementTotals;

use crate::actor::{Action, Resource};
use crate::{AppError, Session};

pub use growth::Growth;
pub use store::upkeep::{
    AnalyzeRun, Disk, FailureRow, RuleRecord, Statement, TableSize, UnusedIndex,
};

/// Statistics are taken this often.
const ANALYZE_EVERY: Span = Span::days(7);
/// Sign-ins are looked at over these days.
const SIGN_IN_DAYS: i64 = 7;
/// Rules are judged over these days.
const RULE_DAYS: i64 = 30;
/// Growth is judged over these days.
const GROWTH_DAYS: i64 = 60;
/// Accounts and addresses that are named.
const NAMED: u32 = 10;
/// Statements, indexes and tables that are named.
const LISTED: u32 = 20;

/// How blueteam is looked after.
#[derive(Clone, Debug, Serialize)]
pub struct Upkeep {
    /// When this was read.
    pub at: Timestamp,
    /// Failed sign-ins and lockouts of everything that is watched.
    pub sign_ins: SignIns,
    /// The last backup.
    pub backup: Backup,
    /// Slow statements.
    pub statements: Statements,
    /// Indexes that nothing uses.
    pub indexes: Indexes,
    /// Size and growth.
    pub storage: Storage,
    /// Accounts against the password policy.
    pub passwords: Passwords,
    /// Rules by what became of their alerts, over 30 days.
    pub rules: Vec<RuleRecord>,
    /// Key performance indicators of the server.
    pub server: Server,
    /// When the statistics of tables were last taken.
    pub analyzed: Option<AnalyzeRun>,
    /// The reviews that a person signs.
    pub reviews: Vec<Signing>,
}

/// Failed sign-ins and lockouts over a week.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SignIns {
    /// Failed sign-ins.
    pub failed: Failures,
    /// Accounts that were locked.
    pub locked: Failures,
}

/// One of both.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Failures {
    /// Of them, today (UTC).
    pub today: u64,
    /// In 7 days.
    pub week: u64,
    /// Different accounts in 7 days.
    pub accounts: u64,
    /// The accounts with most of them: many addresses of one account are distributed guessing.
    pub by_account: Vec<FailureRow>,
    /// The addresses with most of them: many accounts of one address are password spraying.
    pub by_address: Vec<FailureRow>,
}

/// The last backup, as the monitor saw it.
#[derive(Clone, Debug, Serialize)]
pub struct Backup {
    /// Whether somebody looks for backups.
    pub watched: bool,
    /// Age of the newest one at `measured_at`, in hours.
    pub age_hours: Option<f64>,
    /// What was seen, or why nothing is looked for.
    pub detail: String,
    /// When.
    pub measured_at: Option<Timestamp>,
}

/// Slow statements.
#[derive(Clone, Debug, Serialize)]
pub struct Statements {
    /// What saw them: `pg_stat_statements`, or `samples` of the monitor `slow_queries`.
    pub seen_by: &'static str,
    /// Why the extension did not.
    pub because: Option<String>,
    /// Since when it counts.
    pub since: Option<Timestamp>,
    /// Statements that it may not show.
    pub hidden: u64,
    /// Those that take longest on average.
    pub slowest: Vec<Statement>,
    /// What samples saw in 7 days; statements between two samples are missed.
    pub samples: Option<Samples>,
}

/// What the monitor `slow_queries` saw.
#[derive(Clone, Debug, Serialize)]
pub struct Samples {
    /// The longest time that a statement was seen to run, in seconds.
    pub longest_s: Option<f64>,
    /// Hours in which there were samples.
    pub hours: usize,
    /// Hours with a statement over the threshold.
    pub hours_over: usize,
}

/// Indexes that no statement used since the statistics began.
#[derive(Clone, Debug, Serialize)]
pub struct Indexes {
    /// Since when; none: since the database was made, or the server's last crash.
    pub since: Option<Timestamp>,
    /// Those that only cost.
    pub unused: Vec<UnusedIndex>,
    /// Those that keep rows unique, for which they need not be read.
    pub unused_unique: Vec<UnusedIndex>,
}

/// Size and growth.
#[derive(Clone, Debug, Serialize)]
pub struct Storage {
    /// The database.
    pub database_bytes: u64,
    /// The largest tables, with indexes and partitions.
    pub largest: Vec<TableSize>,
    /// How it grows.
    #[serde(flatten)]
    pub growth: Growth,
}

/// Accounts of people against the password policy.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Passwords {
    /// Accounts that can be used.
    pub accounts: u64,
    /// Of them, those that meet all of it.
    pub compliant: u64,
    /// Names with a password that is older than the policy allows.
    pub past_age: Vec<String>,
    /// Names without a second factor.
    pub without_factor: Vec<String>,
    /// Names that must change their password at the next sign-in.
    pub must_change: Vec<String>,
}

/// Key performance indicators of the server.
#[derive(Clone, Debug, Serialize)]
pub struct Server {
    /// Sessions.
    pub connections: u64,
    /// The most there may be.
    pub connections_max: u64,
    /// Mean time of a statement in milliseconds.
    pub mean_statement_ms: Option<f64>,
    /// Why that is not known.
    pub no_mean_because: Option<String>,
}

/// When a review was signed.
#[derive(Clone, Debug, Serialize)]
pub struct Signing {
    /// Which.
    pub review: UpkeepReview,
    /// When it was last signed.
    pub signed_at: Option<Timestamp>,
    /// Until when the next one must be.
    pub due: Option<Timestamp>,
}

/// Reads how blueteam is looked after. It names accounts: whoever may not read those, may not read
/// this, such as a key that is for the state of the installation alone.
pub async fn show(session: &mut Session) -> Result<Upkeep, AppError> {
    session.require(Action::Read, Resource::Users)?;
    let conn = session.read(Resource::System)?;
    read(conn, SystemClock.now()).await
}

async fn read(conn: &mut PgConnection, now: Timestamp) -> Result<Upkeep, AppError> {
    let totals = store::upkeep::statement_totals(conn).await?;
    let (connections, connections_max) = store::monitors::connections(conn).await?;
    let since = now.minus(Span::days(RULE_DAYS));
    Ok(Upkeep {
        at: now,
        sign_ins: sign_ins(conn, now).await?,
        backup: backup(conn).await?,
        statements: statements(conn, &totals, now).await?,
        indexes: indexes(conn).await?,
        storage: storage(conn, now).await?,
        passwords: passwords(conn, now).await?,
        rules: store::upkeep::rules(conn, since).await?,
        server: Server {
            connections,
            connections_max,
            mean_statement_ms: totals.mean_ms,
            no_mean_because: totals.mean_ms.is_none().then(|| {
                let none = "no statement was counted yet".to_owned();
                totals.why.clone().unwrap_or(none)
            }),
        },
        analyzed: store::upkeep::last_analyze(conn).await?,
        reviews: signings(conn).await?,
    })
}

async fn sign_ins(conn: &mut PgConnection, now: Timestamp) -> Result<SignIns, AppError> {
    let day = Span::days(1).as_micros();
    let today = Timestamp::from_micros(now.as_micros().div_euclid(day) * day);
    let since = now.minus(Span::days(SIGN_IN_DAYS));
    let rows = store::upkeep::sign_in_failures(conn, since, today, NAMED).await?;
    let mut found = SignIns::default();
    for row in rows {
        let failures = if row.kind == "locked" {
            &mut found.locked
        } else {
            &mut found.failed
        };
        match row.by.as_str() {
            "account" => failures.by_account.push(row),
            "address" => failures.by_address.push(row),
            _ => {
                failures.today = row.today;
                failures.week = row.week;
                failures.accounts = row.others;
            }
        }
    }

    Ok(found)
}

async fn backup(conn: &mut PgConnection) -> Result<Backup, AppError> {
    let monitors = store::monitors::list(conn).await?;
    let seen = monitors.into_iter().find(|m| m.name == "backups");
    Ok(seen.map_or_else(
        || Backup {
            watched: false,
            age_hours: None,
            detail: "the daemon has not looked yet".to_owned(),
            measured_at: None,
        },
        |m| Backup {
            watched: m.watched,
            age_hours: m.value,
            detail: m.detail,
            measured_at: Some(m.measured_at),
        },
    ))
}

async fn statements(
    conn: &mut PgConnection,
    totals: &StatementTotals,
    now: Timestamp,
) -> Result<Statements, AppError> {
    if totals.why.is_none() {
        let most = i32::try_from(LISTED).unwrap_or(i32::MAX);
        return Ok(Statements {
            seen_by: "pg_stat_statements",
            because: None,
            since: totals.since,
            hidden: totals.hidden,
            slowest: store::upkeep::slow_statements(conn, most).await?,
            samples: None,
        });
    }

    let since = now.minus(Span::days(SIGN_IN_DAYS));
    let values = store::monitors::history(conn, "slow_queries", since, Span::hours(1)).await?;
    Ok(Statements {
        seen_by: "samples",
        because: totals.why.clone(),
        since: values.first().map(|value| value.at),
        hidden: 0,
        slowest: Vec::new(),
        samples: Some(Samples {
            longest_s: values.iter().filter_map(|v| v.value).reduce(f64::max),
            hours: values.len(),
            hours_over: values.iter().filter(|v| v.over).count(),
        }),
    })
}

async fn indexes(conn: &mut PgConnection) -> Result<Indexes, AppError> {
    let all = store::upkeep::unused_indexes(conn, 1000).await?;
    let (mut unique, mut others): (Vec<_>, Vec<_>) = all.into_iter().partition(|i| i.constrains);
    unique.truncate(LISTED as usize);
    others.truncate(LISTED as usize);
    Ok(Indexes {
        since: store::upkeep::statistics_since(conn).await?,
        unused: others,
        unused_unique: unique,
    })
}

async fn storage(conn: &mut PgConnection, now: Timestamp) -> Result<Storage, AppError> {
    let samples = store::upkeep::samples(conn, now.minus(Span::days(GROWTH_DAYS))).await?;
    Ok(Storage {
        database_bytes: store::upkeep::database_bytes(conn).await?,
        largest: store::upkeep::largest_tables(conn, NAMED).await?,
        growth: Growth::of(&samples),
    })
}

async fn passwords(conn: &mut PgConnection, now: Timestamp) -> Result<Passwords, AppError> {
    let mut found = Passwords::default();
    for state in store::upkeep::password_states(conn, now).await? {
        found.accounts += 1;
        if !(state.is_past_age || state.has_no_factor || state.must_change) {
            found.compliant += 1;
        }

        let lists = [
            (state.is_past_age, &mut found.past_age),
            (state.has_no_factor, &mut found.without_factor),
            (state.must_change, &mut found.must_change),
        ];
        for (is_so, list) in lists {
            if is_so {
                list.push(state.username.clone());
            }
        }
    }

    Ok(found)
}

async fn signings(conn: &mut PgConnection) -> Result<Vec<Signing>, AppError> {
    let mut all = Vec::new();
    for review in UpkeepReview::ALL.iter().copied() {
        let signed_at = store::upkeep::last_signed(conn, review.form()).await?;
        all.push(Signing {
            review,
            signed_at,
            due: signed_at.map(|at| at.plus(compliance::upkeep::valid(review))),
        });
    }

    Ok(all)
}

/// What was done.
#[derive(Clone, Debug, Serialize)]
pub struct Done {
    /// Whether today's sizes were kept; else they were already.
    pub sampled: bool,
    /// The statistics that were taken.
    pub analyzed: Option<AnalyzeRun>,
}

/// Takes today's sizes and the statistics of blueteam's tables now, for a person.
pub async fn run(session: &mut Session, disk: Option<Disk>) -> Result<Done, AppError> {
    let (conn, actor) = session.change(Action::Write, Resource::System)?;
    let sampled = store::upkeep::add_sample(conn, SystemClock.now(), disk).await?;
    store::upkeep::analyze(conn, actor).await?;
    Ok(Done {
        sampled,
        analyzed: store::upkeep::last_analyze(conn).await?,
    })
}

/// Does what is due: today's sizes, and statistics that are older than a week. For the daemon, as
/// the engine's role.
pub async fn run_due(
    conn: &mut PgConnection,
    actor: &Actor,
    disk: Option<Disk>,
    now: Timestamp,
) -> Result<Done, AppError> {
    let sampled = store::upkeep::add_sample(conn, now, disk).await?;
    if sampled {
        store::upkeep::forget_samples(conn, now).await?;
    }

    let last = store::upkeep::last_analyze(conn).await?;
    let is_due = last.is_none_or(|run| now.since(run.at) >= ANALYZE_EVERY);
    if !is_due {
        return Ok(Done {
            sampled,
            analyzed: None,
        });
    }

    store::upkeep::analyze(conn, actor).await?;
    Ok(Done {
        sampled,
        analyzed: store::upkeep::last_analyze(conn).await?,
    })
}

/// How full the disk of the database is, where that is known: blueteam's own cluster is in the state
/// directory, and of a server on this machine the configuration names the disk. Nothing here says
/// how full a disk elsewhere is.
pub fn disk_of_database(loaded: &Loaded, state: &StateDir) -> Option<Disk> {
    let named = loaded.config.monitors.storage_paths.as_slice();
    let path = match (&loaded.secrets.database_url, named) {
        (None, _) => state.path().to_owned(),
        (Some(url), [path]) => {
            let options = store::parse_url(url.expose_secret()).ok()?;
            store::is_local(&options).then(|| path.into())?
        }
        (Some(_), _) => return None,
    };

    // As `df` counts: what is reserved for the superuser is neither in use nor free.
    let stat = statvfs(&path).ok()?;
    let used = stat.f_blocks.saturating_sub(stat.f_bfree);
    let size = used.saturating_add(stat.f_bavail);
    (size > 0).then(|| Disk {
        used: used.saturating_mul(stat.f_frsize),
        size: size.saturating_mul(stat.f_frsize),
    })
}
