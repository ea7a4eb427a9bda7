//! Backtests that people begin in the console: they run on when the page is left, one at a time.

use std::sync::Arc;

use model::{Clock as _, Span, SystemClock};
use tokio::sync::OwnedSemaphorePermit;
use uuid::Uuid;

use crate::actor::{Action, Resource};
use crate::console::{Console, Isolation};
use crate::rules::Selection;
use crate::rules::backtest::{self, Backtest};
use crate::rules::jobs::Job;
use crate::sign_in::{Client, Person};
use crate::{AppError, Session};

/// The longest time that a backtest looks back.
const REACH_MAX: Span = Span::days(90);

/// Begins a backtest of one rule, or of all, over so much of the past. `session` says whether its person
/// may.
pub fn begin(
    console: &Arc<Console>,
    session: &Session,
    person: &Person,
    client: &Client,
    wanted: Wanted,
) -> Result<Uuid, AppError> {
    session.require(Action::Read, Resource::Rules)?;
    session.require(Action::Read, Resource::Events)?;
    if let Some(rule) = &wanted.rule {
        crate::names::rule(&console.config, rule)?;
    }
    if wanted.span <= Span::ZERO || wanted.span > REACH_MAX {
        return Err(AppError::invalid("a backtest looks back 90 days at most"));
    }
    let turn = console.backtests.take_turn()?;

    let until = SystemClock.now();
    let since = until.minus(wanted.span);
    let job = Arc::new(Job::new(person.user_id, wanted.rule, since, until));
    console.backtests.keep(&job);
    let id = job.id;
    tokio::spawn(run(
        Arc::clone(console),
        job,
        person.clone(),
        client.clone(),
        turn,
    ));
    Ok(id)
}

/// What is to be tested.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The rule; none for all.
    pub rule: Option<String>,
    /// How far back.
    pub span: Span,
}

async fn run(
    console: Arc<Console>,
    job: Arc<Job>,
    person: Person,
    client: Client,
    turn: OwnedSemaphorePermit,
) {
    let result = async {
        let mut session = console
            .session_of(&person, &client, Isolation::Snapshot)
            .await?;
        let rules: Vec<String> = job.rule.iter().cloned().collect();
        let selection = Selection {
            rules: &rules,
            rules_dir: None,
        };
        let backtest = Backtest::new(selection, job.since, Some(job.until))?;
        let done = backtest::run(&mut session, &console.config, &backtest, |step| {
            job.note(&step);
        });
        let done = done.await;
        session.close().await;
        done
    };
    let result = result.await;
    if let Err(error) = &result {
        tracing::warn!("a backtest failed: {error}");
    }
    job.end(result);
    drop(turn);
}
