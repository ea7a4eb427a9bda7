//! Reports of red teams and scanners: imported once each, held against what was known, compared,
//! and decided about (3.11.2, 3.12.1; decision 0061).

mod compare;
mod import;
mod plans;

use std::collections::{BTreeMap, HashMap, HashSet};

use ::redteam::{Scope, Verdict};
use model::posture::RedTeam;
use model::{Clock as _, Severity, Span, SystemClock, Timestamp};
use serde::Serialize;
use serde_json::Value;
use store::redteam as stored;
use store::{PgConnection, StoreError};
use uuid::Uuid;

use crate::actor::{Action, Resource};
use crate::short_ids::pick;
use crate::{AppError, Session};

pub use ::redteam::SIZE_MAX;
pub use ::redteam::importers::may_grow;
pub use ::redteam::state::State;
pub use compare::{Comparison, Side, compare};
pub use import::{Candidate, Imported, Request, candidates, import, newest, read_file};
pub use plans::{Opened, open_plans};

/// A verdict counts this long for the figure.
const VERDICTS: Span = Span::days(90);
/// The shortest and the longest reason, in characters.
const REASON: std::ops::RangeInclusive<usize> = 3..=2000;

/// A run.
#[derive(Clone, Debug, Serialize)]
pub struct Run {
    /// Its ID.
    pub run_id: Uuid,
    /// The format of the report.
    pub format: String,
    /// What wrote it.
    pub tool: String,
    /// The version of the tool.
    pub version: Option<String>,
    /// What the tool calls the run.
    pub tool_run: Option<String>,
    /// What was looked at, where it has a name.
    pub target: String,
    /// What was looked at, in words.
    pub subject: String,
    /// Whether the run came to its end, as far as the report says.
    pub is_complete: bool,
    /// When it was.
    pub ran_at: Timestamp,
    /// When the report was imported.
    pub imported_at: Timestamp,
    /// Who imported it.
    pub imported_by: String,
    /// What the file was called.
    pub file_name: String,
    /// How much the report lists.
    pub items: i32,
    /// How many findings that is.
    pub findings: usize,
    /// What it changed: how many were new, gone, back, still there, out of scope.
    pub changes: Value,
    #[serde(skip)]
    scope: Scope,
    #[serde(skip)]
    seen: Vec<Uuid>,
}

impl TryFrom<stored::Run> for Run {
    type Error = AppError;

    fn try_from(run: stored::Run) -> Result<Self, AppError> {
        let scope: Scope = serde_json::from_value(run.scope)
            .map_err(|error| corrupt("redteam_runs.scope", &error))?;
        Ok(Self {
            run_id: run.run_id,
            format: run.format,
            tool: run.tool,
            version: run.version,
            tool_run: run.tool_run,
            target: run.target,
            subject: run.subject,
            is_complete: scope.is_complete,
            ran_at: run.ran_at,
            imported_at: run.imported_at,
            imported_by: run.imported_by,
            file_name: run.file_name,
            items: run.items,
            findings: run.seen.len(),
            changes: run.changes,
            scope,
            seen: run.seen,
        })
    }
}

/// A finding.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// Its ID.
    pub finding_id: Uuid,
    /// What makes it the same in another run.
    pub fingerprint: String,
    /// What found it.
    pub tool: String,
    /// In what, where that has a name.
    pub target: String,
    /// The rule, template, plugin or module.
    pub rule: String,
    /// In one line.
    pub title: String,
    /// How bad it is.
    pub severity: Severity,
    /// Where it is.
    pub location: String,
    /// CWE numbers.
    pub cwes: Vec<i32>,
    /// CVE IDs.
    pub cves: Vec<String>,
    /// Requirements that it concerns.
    pub controls: Vec<String>,
    /// The explanation of the tool, or what proves it.
    pub detail: String,
    /// How often the last run lists it.
    pub instances: i32,
    /// Where it stands.
    pub state: State,
    /// How often it came back.
    pub came_back: i32,
    /// The run that first listed it.
    pub first_run: Uuid,
    /// The run that last listed it.
    pub last_run: Uuid,
    /// The run that looked for it and did not list it.
    pub gone_run: Option<Uuid>,
    /// Who closed or accepted it.
    pub decided_by: Option<String>,
    /// When that was.
    pub decided_at: Option<Timestamp>,
    /// Why.
    pub reason: Option<String>,
    /// The plans of action that it opened.
    pub plans: Vec<Uuid>,
    #[serde(skip)]
    area: String,
    #[serde(skip)]
    group: String,
    #[serde(skip)]
    is_of_module: bool,
}

impl TryFrom<stored::Finding> for Finding {
    type Error = AppError;

    fn try_from(f: stored::Finding) -> Result<Self, AppError> {
        Ok(Self {
            state: f
                .state
                .parse()
                .map_err(|error| corrupt("redteam_findings.state", &error))?,
            finding_id: f.finding_id,
            fingerprint: f.fingerprint,
            tool: f.tool,
            target: f.target,
            rule: f.rule,
            title: f.title,
            severity: f.severity,
            location: f.location,
            cwes: f.cwes,
            cves: f.cves,
            controls: f.controls,
            detail: f.detail,
            instances: f.instances,
            came_back: f.came_back,
            first_run: f.first_run,
            last_run: f.last_run,
            gone_run: f.gone_run,
            decided_by: f.decided_by,
            decided_at: f.decided_at,
            reason: f.reason,
            plans: f.plans,
            area: f.area,
            group: f.check_group,
            is_of_module: f.is_of_module,
        })
    }
}

/// What came of a module of a run.
#[derive(Clone, Debug, Serialize)]
pub struct ModuleVerdict {
    /// The module.
    pub name: String,
    /// Its variant; empty without one.
    pub variant: String,
    /// How bad it is where it is vulnerable.
    pub severity: Severity,
    /// What came of it.
    pub verdict: String,
    /// Requirements that it tests.
    pub controls: Vec<String>,
    /// What proves it.
    pub evidence: String,
    /// How many requests it made.
    pub requests: Option<i64>,
}

/// A row that this version did not write.
fn corrupt(what: &'static str, why: &dyn std::fmt::Display) -> AppError {
    let why = why.to_string();
    StoreError::Corrupt { what, why }.into()
}

async fn runs_of(conn: &mut PgConnection) -> Result<Vec<Run>, AppError> {
    let rows = stored::runs(conn).await?;
    rows.into_iter().map(Run::try_from).collect()
}

async fn findings_of(conn: &mut PgConnection) -> Result<Vec<Finding>, AppError> {
    let rows = stored::findings(conn).await?;
    rows.into_iter().map(Finding::try_from).collect()
}

/// The runs, the newest first.
pub async fn runs(session: &mut Session) -> Result<Vec<Run>, AppError> {
    runs_of(session.read(Resource::RedTeam)?).await
}

/// Which findings are listed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filter {
    /// Closed ones too.
    pub closed: bool,
    /// Only those of this state.
    pub state: Option<State>,
    /// Only those that are at least so bad.
    pub severity: Option<Severity>,
}

/// The findings that are asked for, the worst first.
pub async fn findings(session: &mut Session, filter: Filter) -> Result<Vec<Finding>, AppError> {
    let mut all = findings_of(session.read(Resource::RedTeam)?).await?;
    all.retain(|f| match filter.state {
        Some(state) => f.state == state,
        None => filter.closed || f.state.counts(),
    });
    all.retain(|f| filter.severity.is_none_or(|least| f.severity >= least));
    all.sort_by_key(|f| (std::cmp::Reverse(f.severity), f.finding_id));
    Ok(all)
}

/// A run with all that belongs to it.
#[derive(Clone, Debug, Serialize)]
pub struct RunDetails {
    /// The run.
    pub run: Run,
    /// What came of its modules.
    pub modules: Vec<ModuleVerdict>,
    /// What it lists, as it stands now.
    pub listed: Vec<Finding>,
}

/// A run or a finding.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Shown {
    /// A run.
    Run(Box<RunDetails>),
    /// A finding.
    Finding(Box<Finding>),
}

const LISTED_BY: &str = "blueteam redteam list";
const RUNS_LISTED_BY: &str = "blueteam redteam list --runs";

/// The run or the finding whose ID begins so.
pub async fn show(session: &mut Session, id: &str) -> Result<Shown, AppError> {
    let conn = session.read(Resource::RedTeam)?;
    let all = findings_of(conn).await?;
    let found = pick(all.clone(), id, |f| f.finding_id, "finding", LISTED_BY);
    let run = pick(
        runs_of(conn).await?,
        id,
        |r| r.run_id,
        "run",
        RUNS_LISTED_BY,
    );
    match (found, run) {
        (Ok(_), Ok(_)) => Err(AppError::invalid(format!(
            "a run and a finding begin with `{}`; give more of the ID",
            model::text::sanitize(id)
        ))),
        (Ok(finding), Err(AppError::NotFound(_))) => Ok(Shown::Finding(Box::new(finding))),
        (Err(AppError::NotFound(_)), run) => {
            let details = details_of(conn, run?, all).await?;
            Ok(Shown::Run(Box::new(details)))
        }
        (Err(error), _) | (_, Err(error)) => Err(error),
    }
}

/// The run whose ID begins so.
pub async fn show_run(session: &mut Session, id: &str) -> Result<RunDetails, AppError> {
    let conn = session.read(Resource::RedTeam)?;
    let runs = runs_of(conn).await?;
    let run = pick(runs, id, |r| r.run_id, "run", RUNS_LISTED_BY)?;
    let all = findings_of(conn).await?;
    details_of(conn, run, all).await
}

/// The finding whose ID begins so.
pub async fn show_finding(session: &mut Session, id: &str) -> Result<Finding, AppError> {
    let all = findings_of(session.read(Resource::RedTeam)?).await?;
    pick(all, id, |f| f.finding_id, "finding", LISTED_BY)
}

async fn details_of(
    conn: &mut PgConnection,
    run: Run,
    all: Vec<Finding>,
) -> Result<RunDetails, AppError> {
    let verdicts = stored::verdicts(conn, run.ran_at).await?;
    let modules = verdicts.into_iter().filter(|v| v.run_id == run.run_id);
    let modules = modules
        .map(|v| ModuleVerdict {
            name: v.name,
            variant: v.variant,
            severity: v.severity,
            verdict: v.verdict,
            controls: v.controls,
            evidence: v.evidence,
            requests: v.requests,
        })
        .collect();
    let seen: HashSet<Uuid> = run.seen.iter().copied().collect();
    let listed = all.into_iter().filter(|f| seen.contains(&f.finding_id));
    Ok(RunDetails {
        listed: listed.collect(),
        modules,
        run,
    })
}

/// What a person decides about a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is gone.
    Close,
    /// It stays.
    Accept,
    /// It counts again.
    Reopen,
}

/// Decides about the finding whose ID begins so.
pub async fn decide(
    session: &mut Session,
    id: &str,
    decision: Decision,
    reason: &str,
) -> Result<Finding, AppError> {
    let (conn, actor) = session.change(Action::Approve, Resource::RedTeam)?;
    let reason = reason.trim();
    if !REASON.contains(&reason.chars().count()) {
        return Err(AppError::invalid(
            "--reason: from 3 to 2000 characters; an assessor reads it",
        ));
    }

    let all = findings_of(conn).await?;
    let mut finding = pick(all, id, |f| f.finding_id, "finding", LISTED_BY)?;
    let to = match decision {
        Decision::Close => State::Closed,
        Decision::Accept => State::Accepted,
        Decision::Reopen => State::Open,
    };
    if finding.state == to {
        return Err(AppError::conflict(format!("the finding is {to} already")));
    }
    let done = stored::decide(
        conn,
        actor,
        stored::Decision {
            finding_id: finding.finding_id,
            from: finding.state.as_str(),
            to: to.as_str(),
            reason,
        },
    );
    if !done.await? {
        return Err(AppError::conflict(
            "the finding was changed meanwhile; look at it again",
        ));
    }
    finding.state = to;
    finding.reason = Some(reason.to_owned());
    Ok(finding)
}

/// The figure, and what it is made of.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Posture {
    /// From 0 to 100; none where no module gave a verdict.
    pub score: Option<f64>,
    /// How many findings of modules count.
    pub findings: u64,
    /// How many modules gave a verdict in the 90 days before.
    pub modules: u64,
}

impl Posture {
    fn of(counts: &RedTeam) -> Self {
        let sum = |counts: &[(Severity, u64)]| counts.iter().map(|(_, count)| count).sum();
        Self {
            score: compliance::posture::redteam(Some(counts)).score,
            findings: sum(&counts.open),
            modules: sum(&counts.modules),
        }
    }
}

/// The figure now.
pub async fn posture(session: &mut Session) -> Result<Posture, AppError> {
    let conn = session.read(Resource::RedTeam)?;
    let counts = counts_now(conn, SystemClock.now()).await?;
    Ok(Posture::of(&counts.unwrap_or_default()))
}

/// What the figure is counted from; none where no report was imported.
pub(crate) async fn counts_now(
    conn: &mut PgConnection,
    now: Timestamp,
) -> Result<Option<RedTeam>, AppError> {
    let runs = runs_of(conn).await?;
    if runs.is_empty() {
        return Ok(None);
    }
    let all = findings_of(conn).await?;
    let open = all.iter().filter(|f| f.state.counts());
    counts_of(conn, &runs, open, now).await.map(Some)
}

/// What the figure is counted from at a time, of what was open then.
async fn counts_of<'a>(
    conn: &mut PgConnection,
    runs: &[Run],
    open: impl Iterator<Item = &'a Finding>,
    at: Timestamp,
) -> Result<RedTeam, AppError> {
    let past: HashMap<Uuid, &Run> = runs
        .iter()
        .filter(|run| run.ran_at <= at)
        .map(|run| (run.run_id, run))
        .collect();
    let mut modules: BTreeMap<(&str, &str, String, String), Severity> = BTreeMap::new();
    for verdict in stored::verdicts(conn, at.minus(VERDICTS)).await? {
        let Some(run) = past.get(&verdict.run_id) else {
            continue;
        };
        if verdict.verdict.parse().is_ok_and(Verdict::is_conclusive) {
            let key = (&*run.tool, &*run.target, verdict.name, verdict.variant);
            // No report makes a module milder than another one did.
            let worst = modules.entry(key).or_insert(verdict.severity);
            *worst = verdict.severity.max(*worst);
        }
    }
    let open: Vec<&Finding> = open.filter(|finding| finding.is_of_module).collect();
    // A finding does not say of which variant of a module it is.
    let mut variants: BTreeMap<(&str, &str, String), u64> = BTreeMap::new();
    for (tool, target, name, _) in modules.keys() {
        *variants.entry((tool, target, name.clone())).or_default() += 1;
    }
    for ((tool, target, name, _), worst) in &mut modules {
        if variants.get(&(*tool, *target, name.clone())) != Some(&1) {
            continue;
        }
        let is_its =
            |one: &&&Finding| one.tool == *tool && one.target == *target && one.rule == *name;
        let found = open.iter().filter(is_its).map(|one| one.severity).max();
        *worst = found.unwrap_or(*worst).max(*worst);
    }
    Ok(RedTeam {
        open: by_severity(open.iter().map(|finding| finding.severity)),
        modules: by_severity(modules.into_values()),
    })
}

fn by_severity(severities: impl Iterator<Item = Severity>) -> Vec<(Severity, u64)> {
    let mut counts: BTreeMap<Severity, u64> = BTreeMap::new();
    for severity in severities {
        *counts.entry(severity).or_default() += 1;
    }
    counts.into_iter().rev().collect()
}
