//! Findings from a sheet, and what an OSCAL plan or POA&M holds.

use std::collections::BTreeSet;

use anyhow::Context as _;
use compliance::oscal::{Described, Imported, read};
use compliance::sheets::{findings, plain};
use compliance::{Catalog, Requirement};
use config::StateDir;
use model::{
    Actor, Clock as _, Control, ControlId, Decision, Finding, Method, ObjectiveId, Plan,
    SystemClock, Timestamp,
};
use store::compliance::{Changes, NewDecision};
use store::{PgConnection, StoreError};

use super::assessment::{Decided, REASON, needs_plan, no_plan};
use super::{claims, current_controls, find_control, find_requirement};
use crate::actor::Permission;
use crate::{AppError, Session};

/// A document to be read.
#[derive(Clone, Copy, Debug)]
pub struct Document<'a> {
    /// Its name, for errors.
    pub name: &'a str,
    /// CSV, or JSON of OSCAL.
    pub text: &'a [u8],
    /// Whether only to check it and count what would change.
    pub dry_run: bool,
}

/// How much was changed, or would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// By a sheet of findings.
    Sheet {
        /// Objectives that were decided.
        findings: usize,
        /// Requirements about which something was said.
        requirements: usize,
    },
    /// By an OSCAL plan: requirements.
    Requirements(usize),
    /// By an OSCAL POA&M: items.
    Plans(usize),
}

/// Reads a document: all of it, or nothing when a part is wrong.
pub async fn import(
    session: &mut Session,
    state: &StateDir,
    document: &Document<'_>,
) -> Result<Changed, AppError> {
    let (conn, actor) = session.change(Permission::Operate)?;
    if document.text.trim_ascii_start().starts_with(b"{") {
        import_oscal(conn, actor, document).await
    } else {
        import_sheet(conn, actor, state, document).await
    }
}

async fn import_oscal(
    conn: &mut PgConnection,
    actor: &Actor,
    document: &Document<'_>,
) -> Result<Changed, AppError> {
    let now = SystemClock.now();
    let found = read(Catalog::r2(), document.text, now)
        .with_context(|| format!("{} was not imported", document.name))?;
    let before = current_controls(conn, now).await?;

    let mut tx = store::begin(conn, actor).await?;
    let changed = match found {
        Imported::Poam(plans) => Changed::Plans(add_plans(&mut tx, actor, plans, now).await?),
        Imported::Plan(described) => {
            Changed::Requirements(describe_changes(&mut tx, actor, &described, &before).await?)
        }
    };

    if !document.dry_run {
        tx.commit().await.map_err(StoreError::from)?;
    }

    Ok(changed)
}

/// Adds the items that are not there yet. Returns how many.
async fn add_plans(
    conn: &mut PgConnection,
    actor: &Actor,
    plans: Vec<Plan>,
    now: Timestamp,
) -> Result<usize, AppError> {
    let there = store::plans::list(conn).await?;
    let is_new = |plan: &Plan| !there.iter().any(|t| t.poam_id == plan.poam_id);
    let new: Vec<Plan> = plans.into_iter().filter(is_new).collect();
    if let Some(plan) = new.iter().find(|plan| plan.weakness.trim().is_empty()) {
        return Err(AppError::conflict(format!(
            "the item about {} does not say what is wrong",
            plan.control_id
        )));
    }

    store::plans::save(conn, actor, &new, now).await?;
    Ok(new.len())
}

/// Takes over how requirements are implemented and who answers for them. Returns how many changed.
async fn describe_changes(
    conn: &mut PgConnection,
    actor: &Actor,
    described: &[Described],
    before: &[Control],
) -> Result<usize, AppError> {
    let mut changed = 0;
    for (control, notes, owner) in described {
        let Some(requirement) = Catalog::r2().get(control) else {
            continue;
        };

        let now = find_control(requirement, before).ok();
        let differs =
            |new: &Option<String>, old: Option<&String>| new.clone().filter(|n| Some(n) != old);
        let changes = Changes {
            notes: differs(notes, now.and_then(|c| c.notes.as_ref())),
            owner: differs(owner, now.and_then(|c| c.owner.as_ref())),
            ..Changes::default()
        };

        if changes != Changes::default() {
            store::compliance::change(conn, actor, control, &changes).await?;
            changed += 1;
        }
    }

    Ok(changed)
}

async fn import_sheet(
    conn: &mut PgConnection,
    actor: &Actor,
    state: &StateDir,
    document: &Document<'_>,
) -> Result<Changed, AppError> {
    let now = SystemClock.now();
    let before = current_controls(conn, now).await?;
    let no_plan = no_plan(conn, state, now).await?;
    let sheet = Sheet::parse(document.text, &before, no_plan.as_deref())
        .with_context(|| format!("{} was not imported", document.name))?;

    if !document.dry_run {
        let mut tx = store::begin(conn, actor).await?;
        store::compliance::decide(&mut tx, actor, now, &sheet.decisions).await?;
        for said in &sheet.said {
            store::compliance::change(&mut tx, actor, &said.control_id, &said.changes).await?;
        }
        tx.commit().await.map_err(StoreError::from)?;
        claims::record(conn, actor, state, now).await?;
    }

    let requirements: BTreeSet<_> = sheet.said.iter().map(|s| s.control_id.order()).collect();
    Ok(Changed::Sheet {
        findings: sheet.decisions.len(),
        requirements: requirements.len(),
    })
}

/// What a row says about its requirement.
#[derive(Debug)]
struct Said {
    control_id: ControlId,
    changes: Changes,
}

/// What a sheet changes.
#[derive(Debug, Default)]
struct Sheet {
    decisions: Vec<NewDecision>,
    said: Vec<Said>,
}

impl Sheet {
    /// Every wrong row is named, by line and column.
    ///
    /// `no_plan` says why 3.12.4 cannot be met, if it cannot: each row that decides so is wrong, as
    /// it is for a single decision.
    fn parse(text: &[u8], before: &[Control], no_plan: Option<&str>) -> anyhow::Result<Self> {
        let (mut sheet, mut wrong) = (Self::default(), Vec::new());
        let mut planless = false;
        for findings::Line { number, row } in findings::read(text)? {
            match Change::of(&row, before) {
                Ok(change) => match change.decision {
                    Some(decision) if no_plan.is_some() && needs_plan(&decision) => {
                        planless = true;
                        wrong.push(format!(
                            "line {number}: {} cannot be met without an approved plan",
                            decision.objective_id
                        ));
                    }
                    decision => {
                        sheet.decisions.extend(decision);
                        sheet.said.extend(change.said);
                    }
                },
                Err(error) => wrong.push(format!(
                    "line {number}: {}",
                    model::text::sanitize(&error.to_string())
                )),
            }
        }

        wrong.extend(no_plan.filter(|_| planless).map(str::to_owned));
        wrong.extend(sheet.contradictions());
        if wrong.is_empty() {
            return Ok(sheet);
        }

        anyhow::bail!("{}", wrong.join("\n"))
    }

    /// What rows say in different ways.
    fn contradictions(&self) -> Vec<String> {
        let mut found = Vec::new();
        let partial = |said: &Said| Some((said.control_id.order(), said.changes.partial_credit?));
        let partial: BTreeSet<_> = self.said.iter().filter_map(partial).collect();
        let controls: BTreeSet<_> = partial.iter().map(|(control, _)| control).collect();
        if controls.len() < partial.len() {
            found.push("partial_credit: rows of one requirement contradict each other".to_owned());
        }

        let decided: BTreeSet<_> = self.decisions.iter().map(|d| &d.objective_id).collect();
        if decided.len() < self.decisions.len() {
            found.push("an objective is decided in two rows".to_owned());
        }

        found
    }
}

/// What one row changes.
#[derive(Debug)]
struct Change {
    decision: Option<NewDecision>,
    said: Option<Said>,
}

impl Change {
    fn of(row: &findings::Row, before: &[Control]) -> anyhow::Result<Self> {
        let (requirement, objective) = find_requirement(&row.objective_id)?;
        let objective = objective.with_context(|| {
            format!(
                "objective_id: `{}` is a requirement, not an objective",
                row.objective_id
            )
        })?;

        let control = find_control(requirement, before)?;
        let now = control
            .objectives
            .iter()
            .find(|o| o.objective_id == objective.id)
            .and_then(|o| o.decision.as_ref());

        Ok(Self {
            said: stated_finding(row, requirement, control)?,
            decision: to_decision(row, &objective.id, now)?,
        })
    }
}

/// What a row says about its requirement that is not there yet.
fn stated_finding(
    row: &findings::Row,
    requirement: &Requirement,
    control: &Control,
) -> anyhow::Result<Option<Said>> {
    let new = |text: String, old: Option<&String>| {
        (!text.is_empty() && Some(&text) != old).then_some(text)
    };
    let partial = partial_credit(row, requirement)?;
    let changes = Changes {
        owner: new(plain(&row.owner), control.owner.as_ref()),
        notes: new(plain(&row.notes), control.notes.as_ref()),
        partial_credit: partial.filter(|said| *said != control.partial_credit),
        ..Changes::default()
    };

    Ok((changes != Changes::default()).then(|| Said {
        control_id: requirement.control_id.clone(),
        changes,
    }))
}

/// Whether the partial score is taken, by a row that says so of a requirement that has one.
fn partial_credit(row: &findings::Row, requirement: &Requirement) -> anyhow::Result<Option<bool>> {
    let said = match row.partial_credit.trim().to_ascii_lowercase().as_str() {
        "" => return Ok(None),
        "true" | "yes" => true,
        "false" | "no" => false,
        other => anyhow::bail!("partial_credit: `{other}` is neither true nor false"),
    };

    if said && requirement.partial_weight.is_none() {
        anyhow::bail!("partial_credit: only 3.5.3 and 3.13.11 have a partial score");
    }

    Ok(requirement.partial_weight.is_some().then_some(said))
}

/// What a row decides; `None` when it leaves the objective as it stands `now`.
fn to_decision(
    row: &findings::Row,
    objective: &ObjectiveId,
    now: Option<&Decision>,
) -> anyhow::Result<Option<NewDecision>> {
    if row.finding.trim().is_empty() {
        return Ok(None);
    }

    let Decided(finding) = (row.finding.trim().parse())
        .map_err(|e: model::ids::UnknownWord| anyhow::anyhow!("finding: {e}"))?;
    let reason = plain(&row.reason);
    let words = row.methods.split([' ', ',', ';']).filter(|w| !w.is_empty());
    let mut methods = words
        .map(str::parse)
        .collect::<Result<Vec<Method>, _>>()
        .map_err(|e| anyhow::anyhow!("methods: {e}"))?;
    if methods.is_empty() && finding == Some(Finding::Met) {
        methods.push(Method::Examine);
    }

    let stays = match now {
        Some(now) => finding == Some(now.finding) && reason == now.reason && methods == now.methods,
        None => finding.is_none(),
    };
    if stays {
        return Ok(None);
    }

    if !REASON.contains(&reason.chars().count()) {
        anyhow::bail!(
            "reason: from {} to {} characters",
            REASON.start(),
            REASON.end()
        );
    }

    Ok(Some(NewDecision {
        objective_id: objective.clone(),
        finding,
        reason,
        methods,
    }))
}
