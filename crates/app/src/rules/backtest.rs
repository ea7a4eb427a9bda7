//! The rules over the stored events: what they would have found.

use config::Config;
use detect::{Engine, User, Users};
use model::{Clock as _, DetectionUpdate, SystemClock, Timestamp};
use store::PgConnection;

use super::Selection;
use crate::actor::Resource;
use crate::{AppError, Session};

/// How many events pass between two looks at what closed.
const BATCH: u64 = 4096;

/// Which rules run over which time.
#[derive(Clone, Copy, Debug)]
pub struct Backtest<'a> {
    rules: Selection<'a>,
    since: Timestamp,
    until: Timestamp,
}

impl<'a> Backtest<'a> {
    /// From `since` until `until`, or until now.
    pub fn new(
        rules: Selection<'a>,
        since: Timestamp,
        until: Option<Timestamp>,
    ) -> Result<Self, AppError> {
        let until = until.unwrap_or_else(|| SystemClock.now());
        if until <= since {
            return Err(AppError::invalid("--until must be later than --since"));
        }

        Ok(Self {
            rules,
            since,
            until,
        })
    }
}

/// How far a backtest is, and what it finds.
#[derive(Debug)]
pub enum Step<'a> {
    /// About so many events are stored in that time.
    Estimated(u64),
    /// So many have been read.
    Read(u64),
    /// A detection changed.
    Found(&'a DetectionUpdate),
}

/// What a backtest read.
#[derive(Debug)]
pub struct Summary {
    /// Events that the rules saw.
    pub events: u64,
    /// Events that cannot be read, in words.
    pub skipped: Option<String>,
}

/// Runs rules over stored events. Writes nothing.
pub async fn run(
    session: &mut Session,
    config: &Config,
    backtest: &Backtest<'_>,
    mut each: impl FnMut(Step<'_>) + Send,
) -> Result<Summary, AppError> {
    let conn = session.read(Resource::Rules)?;
    let Backtest {
        rules,
        since,
        until,
    } = *backtest;

    let table = store::rules::settings(conn).await?;
    let mut engine = rules.engine_with_table(config, &table)?;
    teach_users(&mut engine, conn).await?;
    each(Step::Estimated(
        store::stored_events::estimate(conn, since, until).await?,
    ));

    let mut seen = 0;
    let (events, set_aside) = store::stored_events::stream(conn, since, until, |event| {
        engine.push(event);
        seen += 1;
        if seen % BATCH == 0 {
            each(Step::Read(seen));
            engine.drain(true, |change| each(Step::Found(&change)));
        }
    })
    .await?;

    engine.finish();
    engine.drain(false, |change| each(Step::Found(&change)));

    Ok(Summary {
        events,
        skipped: (!set_aside.is_empty()).then(|| set_aside.describe()),
    })
}

/// Gives the engine the names, roles and tenants of users.
async fn teach_users(engine: &mut Engine, conn: &mut PgConnection) -> Result<(), AppError> {
    let facts = store::users::all_facts(conn).await?;
    engine.set_users(Users::new(facts.into_iter().map(|f| {
        (
            f.user_id,
            User {
                name: Some(f.username),
                role: Some(f.role),
                tenant: f.home_instance_id,
            },
        )
    })));
    Ok(())
}
