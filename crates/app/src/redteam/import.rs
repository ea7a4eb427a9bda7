//! Taking a report in.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use ::redteam::importers::{self, Hints, Importer};
use ::redteam::state::{Change, Observation, State, after};
use ::redteam::{Module, Report, SIZE_MAX};
use model::text::{clip, sanitize};
use model::{Actor, Clock as _, SystemClock, Timestamp};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use store::PgConnection;
use store::redteam as stored;
use uuid::Uuid;

use super::plans::{Opened, open_plans};
use super::{Finding, Run, corrupt, findings_of, runs_of};
use crate::actor::{Action, Resource};
use crate::{AppError, Session};

/// The longest name of a file, in bytes.
const FILE_NAME_MAX: usize = 300;

/// A report to be imported.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// What the file is called.
    pub file_name: &'a str,
    /// What is in it.
    pub bytes: &'a [u8],
    /// The format; found by the content without it.
    pub format: Option<&'a str>,
    /// What was looked at; what the report says without it.
    pub target: Option<&'a str>,
    /// Whether findings of medium severity and above open plans of action.
    pub opens_plans: bool,
}

/// What came of an import.
#[derive(Clone, Debug, Serialize)]
pub struct Imported {
    /// The run.
    pub run: Run,
    /// Whether the same file was imported before, so that nothing was done.
    pub already: bool,
    /// What the report counts, by the format's names.
    pub counts: BTreeMap<&'static str, usize>,
    /// What was new.
    pub new: Vec<Finding>,
    /// What is proposed for closing.
    pub gone: Vec<Finding>,
    /// What came back.
    pub back: Vec<Finding>,
    /// What the tool rates worse than before.
    pub worse: Vec<Finding>,
    /// What the tool rates milder than before.
    pub milder: Vec<Finding>,
    /// The plans of action that were opened.
    pub plans: Vec<Opened>,
    /// How many more are due: so many at once are a matter for a person.
    pub plans_left: usize,
}

/// Reads a file that holds no more than a report may.
pub fn read_file(path: &Path) -> Result<Vec<u8>, AppError> {
    use std::io::Read as _;

    let failed = |error: std::io::Error| {
        AppError::Failed(anyhow::anyhow!("cannot read {}: {error}", path.display()))
    };
    // A pipe would be waited for.
    if !path.metadata().map_err(failed)?.is_file() {
        return Err(AppError::invalid(format!(
            "{} is not a regular file",
            path.display()
        )));
    }
    let file = std::fs::File::open(path).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(AppError::invalid(format!(
            "{} is not a regular file",
            path.display()
        )));
    }
    let mut bytes = Vec::new();
    let mut limited = file.take(SIZE_MAX as u64 + 1);
    limited.read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// A file that may be a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Where it is.
    pub path: PathBuf,
    /// When it was last written.
    pub written: SystemTime,
    /// How large it is.
    pub bytes: u64,
}

/// Returns the files of a pattern, the one that was written first first.
pub fn candidates(pattern: &str) -> Result<Vec<Candidate>, AppError> {
    let paths = glob::glob(pattern)
        .map_err(|error| AppError::invalid(format!("redteam.reports: {error}")))?;
    let dated = paths.filter_map(|path| {
        let path = path.ok()?;
        let data = path.metadata().ok().filter(std::fs::Metadata::is_file)?;
        Some(Candidate {
            written: data.modified().ok()?,
            bytes: data.len(),
            path,
        })
    });
    let mut all: Vec<Candidate> = dated.collect();
    all.sort_by(|a, b| (a.written, &a.path).cmp(&(b.written, &b.path)));
    Ok(all)
}

/// Returns the newest file of the pattern that is configured, by when it was last written.
pub fn newest(pattern: &str) -> Result<PathBuf, AppError> {
    if pattern.is_empty() {
        return Err(AppError::invalid(
            "name a file, or set `reports` in [redteam] of the configuration",
        ));
    }
    let newest = candidates(pattern)?.pop();
    newest
        .map(|candidate| candidate.path)
        .ok_or_else(|| AppError::not_found(format!("no file matches {}", sanitize(pattern))))
}

/// Imports a report. The same file a second time is no error, and changes nothing.
pub async fn import(session: &mut Session, request: &Request<'_>) -> Result<Imported, AppError> {
    session.require(Action::Write, Resource::RedTeam)?;
    if request.opens_plans {
        session.require(Action::Write, Resource::Poam)?;
    }
    let hints = hints(request)?;
    let (conn, actor) = session.change(Action::Write, Resource::RedTeam)?;
    let sha256 = hash(request.bytes);
    let known = stored::runs(conn).await?;
    let mut done = if let Some(run) = known.into_iter().find(|run| run.sha256 == sha256) {
        already(Run::try_from(run)?)
    } else {
        let report = read(request, hints).await?;
        take_in(conn, actor, request, &report, sha256).await?
    };

    if request.opens_plans {
        let seen: HashSet<Uuid> = done.run.seen.iter().copied().collect();
        let is_meant = |finding: &Finding| seen.contains(&finding.finding_id);
        (done.plans, done.plans_left) = open_plans(session, is_meant).await?;
    }
    Ok(done)
}

fn hints<'a>(request: &Request<'a>) -> Result<Hints<'a>, AppError> {
    let known = |name: &str| -> Result<&'static Importer, AppError> {
        importers::named(name).ok_or_else(|| {
            let names: Vec<&str> = importers::ALL.iter().map(|format| format.name).collect();
            AppError::invalid(format!("--format: must be one of {}", names.join(", ")))
        })
    };
    let target = request.target.map(str::trim);
    if target.is_some_and(|target| target.is_empty() || target.len() > 300) {
        return Err(AppError::invalid("--target: from 1 to 300 bytes"));
    }
    Ok(Hints {
        format: request.format.map(known).transpose()?,
        target,
    })
}

/// Reads a report: not where everything else waits for its turn, as a large one takes seconds.
async fn read(request: &Request<'_>, hints: Hints<'_>) -> Result<Report, AppError> {
    let bytes = request.bytes.to_vec();
    let (format, target) = (hints.format, hints.target.map(str::to_owned));
    let reading = tokio::task::spawn_blocking(move || {
        let target = target.as_deref();
        importers::read(&bytes, Hints { format, target })
    });
    let read = reading
        .await
        .map_err(|error| AppError::Failed(error.into()))?;
    read.map_err(|error| AppError::invalid(format!("{}: {error}", sanitize(request.file_name))))
}

fn hash(bytes: &[u8]) -> String {
    use std::fmt::Write as _;

    let mut text = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn already(run: Run) -> Imported {
    Imported {
        run,
        already: true,
        counts: BTreeMap::new(),
        new: Vec::new(),
        gone: Vec::new(),
        back: Vec::new(),
        worse: Vec::new(),
        milder: Vec::new(),
        plans: Vec::new(),
        plans_left: 0,
    }
}

async fn take_in(
    conn: &mut PgConnection,
    actor: &Actor,
    request: &Request<'_>,
    report: &Report,
    sha256: String,
) -> Result<Imported, AppError> {
    let mut tx = store::begin(conn, actor).await?;
    stored::lock(&mut tx).await?;
    let now = SystemClock.now();
    let ran_at = report.ended.or(report.started).unwrap_or(now).min(now);
    let run_id = Uuid::now_v7();

    let of_target = |tool: &str, target: &str| tool == report.tool && target == report.target;
    let runs = runs_of(&mut tx).await?;
    let later = runs
        .into_iter()
        .filter(|run| of_target(&run.tool, &run.target) && run.ran_at > ran_at);
    let known = stored::findings(&mut tx).await?;
    let known: Vec<_> = known
        .into_iter()
        .filter(|f| of_target(&f.tool, &f.target))
        .collect();
    let taken = Taken {
        run_id,
        ran_at,
        report,
        later: later.map(LaterRun::of).collect(),
    };
    let mut merged = Merged::of(&taken, known)?;

    let changes = serde_json::to_value(&merged.counts).map_err(AppError::unwritable)?;
    let mut run = stored_run(request, &taken, sha256)?;
    run.changes = changes;
    run.seen = std::mem::take(&mut merged.seen);
    let verdicts = report.modules.iter().map(|m| verdict(run_id, m)).collect();
    let import = stored::Import {
        run,
        verdicts,
        new: merged.new,
        changed: merged.changed,
    };
    let sha256 = import.run.sha256.clone();
    let is_done = stored::import(&mut tx, actor, &import).await?;
    let stored_run = stored::runs(&mut tx).await?;
    let run = stored_run.into_iter().find(|run| run.sha256 == sha256);
    let run = run.ok_or_else(|| AppError::conflict("the run is gone"))?;
    let run = Run::try_from(run)?;
    if !is_done {
        return Ok(already(run));
    }
    let all = findings_of(&mut tx).await?;
    tx.commit().await.map_err(store::StoreError::from)?;

    let of = |change: Change| {
        let is_so = |f: &&Finding| merged.fates.get(&f.finding_id) == Some(&change);
        all.iter().filter(is_so).cloned().collect()
    };
    let rated = |ids: &[Uuid]| {
        let ids: HashSet<&Uuid> = ids.iter().collect();
        let is_so = |f: &&Finding| ids.contains(&f.finding_id);
        all.iter().filter(is_so).cloned().collect()
    };
    Ok(Imported {
        run,
        already: false,
        counts: report.counts.details.clone(),
        new: of(Change::New),
        gone: of(Change::Gone),
        back: of(Change::Back),
        worse: rated(&merged.worse),
        milder: rated(&merged.milder),
        plans: Vec::new(),
        plans_left: 0,
    })
}

fn stored_run(
    request: &Request<'_>,
    taken: &Taken<'_>,
    sha256: String,
) -> Result<stored::Run, AppError> {
    let name = Path::new(request.file_name).file_name();
    let name = name.map(|name| name.to_string_lossy().into_owned());
    let name = sanitize(name.as_deref().unwrap_or("report")).into_owned();
    let report = taken.report;
    Ok(stored::Run {
        run_id: taken.run_id,
        format: report.format.to_owned(),
        tool: report.tool.clone(),
        version: report.version.clone(),
        tool_run: report.run_id.clone(),
        target: report.target.clone(),
        subject: report.subject(),
        scope: serde_json::to_value(&report.scope).map_err(AppError::unwritable)?,
        started_at: report.started,
        ended_at: report.ended,
        ran_at: taken.ran_at,
        imported_at: taken.ran_at,
        imported_by: String::new(),
        file_name: clip(&name, FILE_NAME_MAX).into_owned(),
        sha256,
        items: i32::try_from(report.counts.items).unwrap_or(i32::MAX),
        changes: serde_json::Value::Null,
        seen: Vec::new(),
        unknown: report.unknown.clone(),
    })
}

fn verdict(run_id: Uuid, module: &Module) -> stored::Verdict {
    stored::Verdict {
        run_id,
        name: module.name.clone(),
        variant: module.variant.clone(),
        controls: module.controls.clone(),
        severity: module.severity,
        verdict: module.verdict.as_str().to_owned(),
        evidence: module.evidence.clone(),
        requests: module.requests.and_then(|count| i64::try_from(count).ok()),
        unknown: module.unknown.clone(),
    }
}

/// A report as it is taken in.
struct Taken<'a> {
    run_id: Uuid,
    ran_at: Timestamp,
    report: &'a Report,
    /// Runs of the same tool and target that were later and are known already.
    later: Vec<LaterRun>,
}

struct LaterRun {
    run: Run,
    seen: HashSet<Uuid>,
}

impl LaterRun {
    fn of(run: Run) -> Self {
        let seen = run.seen.iter().copied().collect();
        Self { run, seen }
    }
}

impl Taken<'_> {
    /// Whether a later run has said where the finding stands, or a person has closed it since: this
    /// one changes nothing then. A later run that did not look for it says nothing.
    fn is_outdated(&self, finding: &stored::Finding) -> bool {
        let is_closed = finding.state == State::Closed.as_str();
        let says_so = |later: &LaterRun| {
            let scope = &later.run.scope;
            later.seen.contains(&finding.finding_id)
                || scope.covers(&finding.area, &finding.check_group)
        };
        is_closed && finding.decided_at.is_some_and(|at| at > self.ran_at)
            || self.later.iter().any(says_so)
    }

    /// The later run that has looked in vain for a finding that was not known.
    fn gone_in(&self, found: &::redteam::Finding) -> Option<Uuid> {
        let later = self.later.iter();
        let mut gone = later.filter(|later| later.run.scope.covers(&found.area, &found.group));
        gone.next().map(|later| later.run.run_id)
    }
}

/// A report held against what was known.
struct Merged {
    new: Vec<stored::Finding>,
    changed: Vec<stored::Finding>,
    /// The findings that the report lists.
    seen: Vec<Uuid>,
    fates: HashMap<Uuid, Change>,
    worse: Vec<Uuid>,
    milder: Vec<Uuid>,
    counts: BTreeMap<&'static str, usize>,
}

impl Merged {
    fn of(taken: &Taken<'_>, known: Vec<stored::Finding>) -> Result<Self, AppError> {
        let mut merged = Self {
            new: Vec::new(),
            changed: Vec::new(),
            seen: Vec::new(),
            fates: HashMap::new(),
            worse: Vec::new(),
            milder: Vec::new(),
            counts: BTreeMap::new(),
        };
        let mut known: HashMap<String, stored::Finding> = known
            .into_iter()
            .map(|finding| (finding.fingerprint.clone(), finding))
            .collect();

        for found in &taken.report.findings {
            match known.remove(&found.fingerprint) {
                Some(there) => merged.see(taken, found, there)?,
                None => merged.add(taken, found),
            }
        }
        for there in known.into_values() {
            merged.miss(taken, there)?;
        }
        for (name, ids) in [("worse", &merged.worse), ("milder", &merged.milder)] {
            if !ids.is_empty() {
                merged.counts.insert(name, ids.len());
            }
        }
        Ok(merged)
    }

    fn note(&mut self, finding: Uuid, change: Change) {
        self.fates.insert(finding, change);
        *self.counts.entry(change.as_str()).or_default() += 1;
    }

    fn see(
        &mut self,
        taken: &Taken<'_>,
        found: &::redteam::Finding,
        mut there: stored::Finding,
    ) -> Result<(), AppError> {
        self.seen.push(there.finding_id);
        if taken.is_outdated(&there) {
            self.note(there.finding_id, Change::Still);
            return Ok(());
        }

        let state = state_of(&there)?;
        let (mut next, change) = after(state, Observation::Seen);
        if change == Change::Back {
            there.came_back = there.came_back.saturating_add(1);
            there.gone_run = None;
        }
        there.last_run = taken.run_id;
        let before = there.severity;
        describe(&mut there, found);
        if there.severity > before {
            self.worse.push(there.finding_id);
            // Whoever accepted it accepted less.
            if state == State::Accepted {
                next = State::Open;
            }
        } else if there.severity < before {
            self.milder.push(there.finding_id);
        }
        next.as_str().clone_into(&mut there.state);
        self.note(there.finding_id, change);
        self.changed.push(there);
        Ok(())
    }

    /// A finding that is known and not listed.
    fn miss(&mut self, taken: &Taken<'_>, mut there: stored::Finding) -> Result<(), AppError> {
        let scope = &taken.report.scope;
        let is_set_aside = taken.report.set_aside.contains(&there.fingerprint);
        let observation = if is_set_aside || taken.is_outdated(&there) {
            Observation::OutOfScope
        } else {
            scope.observation_of_missing(&there.area, &there.check_group)
        };
        let state = state_of(&there)?;
        let (next, change) = after(state, observation);
        if next != state {
            next.as_str().clone_into(&mut there.state);
            there.gone_run = Some(taken.run_id);
            self.note(there.finding_id, change);
            self.changed.push(there);
        } else if state.counts() && change == Change::OutOfScope {
            self.note(there.finding_id, change);
        }
        Ok(())
    }

    fn add(&mut self, taken: &Taken<'_>, found: &::redteam::Finding) {
        // What a later run has looked for in vain is gone already.
        let gone_run = taken.gone_in(found);
        let state = if gone_run.is_some() {
            State::GoneProposed
        } else {
            State::Open
        };
        let mut finding = stored::Finding {
            finding_id: Uuid::now_v7(),
            fingerprint: found.fingerprint.clone(),
            tool: taken.report.tool.clone(),
            target: taken.report.target.clone(),
            rule: found.rule.clone(),
            title: String::new(),
            severity: found.severity,
            location: String::new(),
            area: String::new(),
            check_group: String::new(),
            is_of_module: found.is_of_module,
            cwes: Vec::new(),
            cves: Vec::new(),
            controls: Vec::new(),
            detail: String::new(),
            instances: 1,
            state: state.as_str().to_owned(),
            first_run: taken.run_id,
            last_run: taken.run_id,
            gone_run,
            came_back: 0,
            decided_by: None,
            decided_at: None,
            reason: None,
            plans: Vec::new(),
        };
        describe(&mut finding, found);
        self.seen.push(finding.finding_id);
        self.note(finding.finding_id, Change::New);
        self.new.push(finding);
    }
}

fn state_of(finding: &stored::Finding) -> Result<State, AppError> {
    let state = finding.state.parse();
    state.map_err(|error| corrupt("redteam_findings.state", &error))
}

/// Takes over what the last report says of a finding. A module stays as bad as it was called once:
/// the figure counts by it, and no report makes that better without a person.
fn describe(there: &mut stored::Finding, found: &::redteam::Finding) {
    there.title.clone_from(&found.title);
    there.severity = if there.is_of_module {
        there.severity.max(found.severity)
    } else {
        found.severity
    };
    there.location.clone_from(&found.location);
    there.area.clone_from(&found.area);
    there.check_group.clone_from(&found.group);
    there.cwes = found
        .cwes
        .iter()
        .filter_map(|number| i32::try_from(*number).ok())
        .collect();
    there.cves.clone_from(&found.cves);
    there.controls.clone_from(&found.controls);
    there.detail.clone_from(&found.detail);
    there.instances = i32::try_from(found.instances).unwrap_or(i32::MAX);
}
