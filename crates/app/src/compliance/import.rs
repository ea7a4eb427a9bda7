//! Findings from a sheet, and what an OSCAL plan or POA&M holds.

use std::collections::BTreeSet;

use anyhow::Context as _;
use compliance::oscal::{Described, Imported, read};
use compliance::sheets::{findings, plain};
use compliance::{Catalog, Requirement};
use config::StateDir;
use model::ids::UnknownWord;
use model::{
    Actor, Clock as _, Control, ControlId, Decision, Finding, Method, ObjectiveId, Plan,
    Responsibility, SystemClock, Timestamp,
};
use store::compliance::{Changes, NewDecision};
use store::{PgConnection, StoreError};

use super::assessment::{Decided, REASON, needs_plan, no_plan};
use super::{claims, current_controls, find_control, find_requirement};
use crate::actor::{Action, Resource};
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
    let (conn, actor) = session.change(Action::Write, Resource::Compliance)?;
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
    let mut new: Vec<Plan> = plans.into_iter().filter(is_new).collect();
    if let Some(plan) = new.iter().find(|plan| plan.weakness.trim().is_empty()) {
        return Err(AppError::conflict(format!(
            "the item about {} does not say what is wrong",
            plan.control_id
        )));
    }

    store::plans::save(conn, actor, &mut new, now).await?;
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
    for d in described {
        let Some(requirement) = Catalog::r2().get(&d.control_id) else {
            continue;
        };

        let now = find_control(requirement, before).ok();
        let differs =
            |new: &Option<String>, old: Option<&String>| new.clone().filter(|n| Some(n) != old);
        let changes = Changes {
            notes: differs(&d.notes, now.and_then(|c| c.notes.as_ref())),
            owner: differs(&d.owner, now.and_then(|c| c.owner.as_ref())),
            due: d.due.filter(|due| now.and_then(|c| c.due) != Some(*due)),
            partial_credit: d
                .partial_credit
                .filter(|_| requirement.partial_weight.is_some())
                .filter(|said| now.is_none_or(|c| c.partial_credit != *said)),
            ..Changes::default()
        };

        if changes != Changes::default() {
            store::compliance::change(conn, actor, &d.control_id, &changes).await?;
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
    let not_imported = || format!("{} was not imported", document.name);
    let mut sheet = Sheet::parse(document.text, &before).with_context(not_imported)?;
    if !sheet.needing_plan.is_empty() {
        // What the sheet itself says of requirements counts for the plan.
        let after = sheet.applied_to(&before, actor, now);
        let why = no_plan(conn, state, &after, now).await?;
        sheet.refuse_plan(why);
    }

    let sheet = sheet.checked().with_context(not_imported)?;

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
    /// Lines that meet an objective of 3.12.4, which takes a plan, and what to say if there is
    /// none.
    needing_plan: Vec<String>,
    /// What is wrong, by line and column.
    wrong: Vec<String>,
}

impl Sheet {
    /// Reads every row, and notes those that are wrong.
    fn parse(text: &[u8], before: &[Control]) -> anyhow::Result<Self> {
        let mut sheet = Self::default();
        for findings::Line { number, row } in findings::read(text)? {
            match Change::of(&row, before) {
                Ok(change) => {
                    let planned = change.decision.iter().filter(|d| needs_plan(d));
                    sheet.needing_plan.extend(planned.map(|d| {
                        format!(
                            "line {number}: {} cannot be met without an approved plan",
                            d.objective_id
                        )
                    }));
                    sheet.decisions.extend(change.decision);
                    sheet.said.extend(change.said);
                }
                Err(error) => sheet.wrong.push(format!(
                    "line {number}: {}",
                    model::text::sanitize(&error.to_string())
                )),
            }
        }

        Ok(sheet)
    }

    /// The requirements as the sheet leaves them.
    fn applied_to(&self, before: &[Control], actor: &Actor, now: Timestamp) -> Vec<Control> {
        let mut after = before.to_vec();
        for decided in &self.decisions {
            let objectives = after.iter_mut().flat_map(|c| &mut c.objectives);
            for o in objectives.filter(|o| o.objective_id == decided.objective_id) {
                o.decision = decided.finding.map(|finding| Decision {
                    finding,
                    reason: decided.reason.clone(),
                    methods: decided.methods.clone(),
                    by: actor.to_string(),
                    at: now,
                });
            }
        }

        for said in &self.said {
            for c in after.iter_mut().filter(|c| c.control_id == said.control_id) {
                let keep = |new: &Option<String>, old: Option<String>| new.clone().or(old);
                c.notes = keep(&said.changes.notes, c.notes.take());
                c.provider_duties = keep(&said.changes.provider_duties, c.provider_duties.take());
            }
        }

        after
    }

    /// Makes each row that needs a plan wrong, as a single decision would be, and says why.
    fn refuse_plan(&mut self, why: Option<String>) {
        if let Some(why) = why {
            self.wrong.append(&mut self.needing_plan);
            self.wrong.push(why);
        }
    }

    /// Every wrong row is an error, and nothing of the sheet counts.
    fn checked(mut self) -> anyhow::Result<Self> {
        let contradictions = self.contradictions();
        self.wrong.extend(contradictions);
        if self.wrong.is_empty() {
            return Ok(self);
        }

        anyhow::bail!("{}", self.wrong.join("\n"))
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
        due: due(&row.due)?
            .filter(|said| control.due.is_none_or(|due| !is_same_second(due, *said))),
        responsibility: word("responsibility", &row.responsibility)?
            .filter(|said| *said != control.responsibility),
        provider: new(plain(&row.provider), control.provider.as_ref()),
        provider_duties: new(
            plain(&row.provider_duties),
            control.provider_duties.as_ref(),
        ),
        customer_duties: new(
            plain(&row.customer_duties),
            control.customer_duties.as_ref(),
        ),
        evidence_type: word("evidence_type", &row.evidence_type)?
            .filter(|said| control.evidence_type != Some(*said)),
        assessor_notes: new(plain(&row.assessor_notes), control.assessor_notes.as_ref()),
    };
    let shared = changes
        .responsibility
        .is_some_and(|r| r != Responsibility::Own);
    if shared && changes.provider.is_none() && control.provider.is_none() {
        anyhow::bail!("provider: what is inherited or shared has one");
    }

    Ok((changes != Changes::default()).then(|| Said {
        control_id: requirement.control_id.clone(),
        changes,
    }))
}

/// A word of a closed set; none where the field is empty.
fn word<T: std::str::FromStr<Err = UnknownWord>>(
    column: &str,
    text: &str,
) -> anyhow::Result<Option<T>> {
    let text = text.trim().to_ascii_lowercase();
    if text.is_empty() {
        return Ok(None);
    }

    text.parse()
        .map(Some)
        .map_err(|e| anyhow::anyhow!("{column}: {e}"))
}

/// A day, or a time with its zone.
fn due(text: &str) -> anyhow::Result<Option<Timestamp>> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }

    let midnight = || Timestamp::parse(&format!("{text}T00:00:00Z"));
    let at = Timestamp::parse(text).or_else(|_| midnight());
    at.map(Some).map_err(|_| {
        anyhow::anyhow!("due: `{text}` is neither a day (2027-01-31) nor a time with its zone")
    })
}

/// Sheets hold whole seconds.
fn is_same_second(a: Timestamp, b: Timestamp) -> bool {
    a.as_micros().div_euclid(1_000_000) == b.as_micros().div_euclid(1_000_000)
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

    let Decided(finding) =
        (row.finding.trim().parse()).map_err(|e: UnknownWord| anyhow::anyhow!("finding: {e}"))?;
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
