//! What has changed between two runs, or two times.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::str::FromStr;

use ::redteam::state::{Change, Observation, State, after};
use model::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::{Finding, Posture, RUNS_LISTED_BY, Run, counts_of, findings_of, runs_of};
use crate::actor::Resource;
use crate::short_ids::pick;
use crate::{AppError, Session};

/// One of the two that are compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Side {
    /// All runs up to a time.
    Time(Timestamp),
    /// A run, by the beginning of its ID.
    Run(String),
}

impl FromStr for Side {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // The end of a day that is written alone.
        let day = text.parse::<jiff::civil::Date>().ok();
        let end = day.and_then(|day| day.tomorrow().ok());
        let end = end.and_then(|day| day.to_zoned(jiff::tz::TimeZone::UTC).ok());
        let time = match end {
            Some(end) => Some(Timestamp::from_micros(end.timestamp().as_microsecond() - 1)),
            None => Timestamp::parse(text).ok(),
        };
        Ok(time.map_or_else(|| Self::Run(text.to_owned()), Self::Time))
    }
}

/// What has changed.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// What is compared, in words.
    pub before: String,
    /// With what.
    pub after: String,
    /// The figure before.
    pub posture_before: Posture,
    /// The figure after.
    pub posture_after: Posture,
    /// What is there now and was not known.
    pub new: Vec<Finding>,
    /// What was looked for and is not there.
    pub gone: Vec<Finding>,
    /// What is there again.
    pub back: Vec<Finding>,
    /// What is there as before.
    pub still: Vec<Finding>,
    /// What was there before, and was not looked for.
    pub out_of_scope: Vec<Finding>,
}

/// Compares two runs, or two times.
pub async fn compare(
    session: &mut Session,
    before: &Side,
    after: &Side,
) -> Result<Comparison, AppError> {
    let conn = session.read(Resource::RedTeam)?;
    let runs = runs_of(conn).await?;
    let findings = findings_of(conn).await?;
    let (fates, words, times) = match (before, after) {
        (Side::Time(from), Side::Time(to)) => {
            if from > to {
                return Err(AppError::invalid(
                    "the first of two times is the earlier one",
                ));
            }
            let fates = between_times(&runs, &findings, *from, *to);
            (fates, [from.to_string(), to.to_string()], [*from, *to])
        }
        (Side::Run(before), Side::Run(after)) => {
            let find = |id: &str| pick(runs.clone(), id, |run| run.run_id, "run", RUNS_LISTED_BY);
            let (before, after) = (find(before)?, find(after)?);
            if (&before.tool, &before.target) != (&after.tool, &after.target) {
                return Err(AppError::invalid(
                    "the two runs are of different tools or targets: nothing in them is the same",
                ));
            }
            let fates = between_runs(&runs, &findings, &before, &after);
            let words = [&before, &after].map(|run| format!("{} {}", run.tool, run.ran_at));
            (fates, words, [before.ran_at, after.ran_at])
        }
        _ => return Err(AppError::invalid("compare two runs, or two times")),
    };

    let mut figures = Vec::new();
    for at in times {
        let states = states_at(&runs, &findings, at);
        let counts = |f: &&Finding| states.get(&f.finding_id).is_some_and(|s| s.counts());
        let open = findings.iter().filter(counts);
        figures.push(Posture::of(&counts_of(conn, &runs, open, at).await?));
    }
    let of = |change: Change| {
        let is_so = |f: &&Finding| fates.get(&f.finding_id) == Some(&change);
        findings.iter().filter(is_so).cloned().collect()
    };
    let [before, after] = words;
    Ok(Comparison {
        before,
        after,
        posture_before: figures[0],
        posture_after: figures[1],
        new: of(Change::New),
        gone: of(Change::Gone),
        back: of(Change::Back),
        still: of(Change::Still),
        out_of_scope: of(Change::OutOfScope),
    })
}

type Fates = HashMap<Uuid, Change>;

/// Of two runs of the same tool and target.
fn between_runs(runs: &[Run], findings: &[Finding], before: &Run, after: &Run) -> Fates {
    let known: HashSet<Uuid> = runs
        .iter()
        .filter(|run| run.ran_at < before.ran_at)
        .flat_map(|run| run.seen.iter().copied())
        .collect();
    let (was, is): (HashSet<_>, HashSet<_>) =
        (before.seen.iter().collect(), after.seen.iter().collect());
    let fate = |f: &Finding| {
        let id = &f.finding_id;
        Some(match (was.contains(id), is.contains(id)) {
            (true, true) => Change::Still,
            (false, true) if known.contains(id) => Change::Back,
            (false, true) => Change::New,
            (true, false) if after.scope.covers(&f.area, &f.group) => Change::Gone,
            (true, false) => Change::OutOfScope,
            (false, false) => return None,
        })
    };
    let fates = findings.iter().map(|f| (f.finding_id, fate(f)));
    fates.filter_map(|(id, fate)| Some((id, fate?))).collect()
}

/// Of two times: what the runs between them did.
fn between_times(runs: &[Run], findings: &[Finding], from: Timestamp, to: Timestamp) -> Fates {
    let (was, is) = (
        states_at(runs, findings, from),
        states_at(runs, findings, to),
    );
    let between: Vec<&Run> = runs
        .iter()
        .filter(|run| run.ran_at > from && run.ran_at <= to)
        .collect();
    let is_open = |states: &BTreeMap<Uuid, State>, id: &Uuid| {
        states.get(id).is_some_and(|state| *state == State::Open)
    };
    let fate = |f: &Finding| {
        let id = &f.finding_id;
        let looked = between.iter().any(|run| {
            let is_same = run.tool == f.tool && run.target == f.target;
            is_same && (run.seen.contains(id) || run.scope.covers(&f.area, &f.group))
        });
        Some(match (is_open(&was, id), is_open(&is, id)) {
            (true, true) if looked => Change::Still,
            (true, true) => Change::OutOfScope,
            (true, false) => Change::Gone,
            (false, true) if was.contains_key(id) => Change::Back,
            (false, true) => Change::New,
            (false, false) => return None,
        })
    };
    let fates = findings.iter().map(|f| (f.finding_id, fate(f)));
    fates.filter_map(|(id, fate)| Some((id, fate?))).collect()
}

/// Where the findings stood at a time, as the runs up to it say; what was closed by then is gone.
fn states_at(runs: &[Run], findings: &[Finding], at: Timestamp) -> BTreeMap<Uuid, State> {
    let mut past: Vec<&Run> = runs.iter().filter(|run| run.ran_at <= at).collect();
    past.sort_by_key(|run| (run.ran_at, run.run_id));
    let mut states: BTreeMap<Uuid, State> = BTreeMap::new();
    for run in past {
        let seen: HashSet<&Uuid> = run.seen.iter().collect();
        let of_target = |f: &&Finding| f.tool == run.tool && f.target == run.target;
        for finding in findings.iter().filter(of_target) {
            let id = finding.finding_id;
            if seen.contains(&id) {
                states.insert(id, State::Open);
            } else if let Some(state) = states.get_mut(&id)
                && run.scope.covers(&finding.area, &finding.group)
            {
                *state = after(*state, Observation::Missing).0;
            }
        }
    }
    let closed = findings
        .iter()
        .filter(|f| f.state == State::Closed && f.decided_at.is_some_and(|decided| decided <= at));
    for finding in closed {
        states.insert(finding.finding_id, State::Closed);
    }
    states
}
