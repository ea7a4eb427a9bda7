//! Automated evidence: gathers facts, lets the checks decide, keeps what they decided from, and
//! proposes what they found.

mod confirm;
mod host;
mod settings;
mod transport;

use std::collections::HashMap;

use anyhow::Context as _;
use compliance::Catalog;
use compliance::checks::{ALL, Check, CheckResult, Coverage, Verdict};
use config::{Config, StateDir};
use model::Actor;
use model::evidence::{Evidence, EvidenceKind, Recorded};
use model::facts::{Facts, RuleFacts};
use model::{Clock as _, ControlId, EvidenceId, Finding, Proposal, Span, SystemClock, Timestamp};
use serde::Serialize;
use store::{PgConnection, StoreError};
use uuid::Uuid;

use self::host::Host;
use super::{claims, current_controls, description, evidence_store, find_requirement};
use crate::actor::{Action, Resource};
use crate::{AppError, Session, clock_sync};

pub(super) use confirm::broken;

/// Events, alerts and deliveries of so many days are looked at.
const DAYS: u16 = 30;
/// So long a result of a check counts: it runs more often than that.
const VALID: Span = Span::days(35);

/// What a check found.
#[derive(Debug, Serialize)]
pub struct Found {
    /// The check.
    pub check_id: &'static str,
    /// The requirement.
    pub control_id: ControlId,
    /// What it looks at.
    pub title: &'static str,
    /// What its objectives must hold for.
    pub population: &'static str,
    /// How much of that it saw.
    pub coverage: Coverage,
    /// What of it cannot be seen.
    pub cannot_see: &'static str,
    /// What it says of each objective.
    pub says: Vec<CheckResult>,
    /// Where that is kept.
    pub evidence_id: EvidenceId,
    /// It was the same as before, which is confirmed and not kept a second time.
    pub confirmed: bool,
}

impl Found {
    /// Whether an objective was seen not to be met.
    pub fn is_not_met(&self) -> bool {
        self.says
            .iter()
            .any(|s| matches!(s.verdict, Verdict::NotMet { .. }))
    }
}

/// What checks look at besides the database.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// The state directory.
    pub state: &'a StateDir,
}

/// How far a run of checks is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// So many checks run, when others have ended theirs.
    Waiting {
        /// How many.
        checks: usize,
    },
    /// Facts of this kind are read.
    Reading(&'static str),
    /// This check decides.
    Deciding(&'static str),
    /// A check has decided.
    Decided,
}

/// Runs the checks of a requirement, or all, and records the score that follows. Waits for others
/// who run them.
pub async fn run(
    session: &mut Session,
    around: &Surroundings<'_>,
    control: Option<&str>,
    progress: impl Fn(Progress),
) -> Result<Vec<Found>, AppError> {
    let (conn, actor) = session.change(Action::Write, Resource::Compliance)?;
    let checks = select_checks(control)?;
    let now = SystemClock.now();
    current_controls(conn, now).await?;

    progress(Progress::Waiting {
        checks: checks.len(),
    });
    store::evidence::hold_checks(conn, true).await?;

    let facts = gather_facts(conn, around, now, |what| progress(Progress::Reading(what))).await?;
    let mut found = Vec::with_capacity(checks.len());
    for check in checks {
        progress(Progress::Deciding(check.title));
        found.push(run_checks(conn, check, &facts, actor).await?);
        progress(Progress::Decided);
    }

    claims::record(conn, actor, around.state, now).await?;
    Ok(found)
}

/// Runs the checks whose last result is at least `every` old, whoever had them run. Empty when none
/// is due, or when others run them.
pub async fn run_due(
    session: &mut Session,
    around: &Surroundings<'_>,
    every: Span,
    now: Timestamp,
) -> Result<Vec<Found>, AppError> {
    let (conn, actor) = session.change(Action::Write, Resource::Compliance)?;
    if !store::evidence::hold_checks(conn, false).await? {
        return Ok(Vec::new());
    }

    let last: HashMap<String, Timestamp> = store::evidence::last_results(conn)
        .await?
        .into_iter()
        .collect();

    // A result of the future was taken by a wrong clock, and holds nothing up.
    let is_due = |check: &&Check| {
        last.get(check.id)
            .is_none_or(|at| at.plus(every) <= now || *at > now)
    };

    let due: Vec<&'static Check> = ALL.iter().copied().filter(is_due).collect();
    if due.is_empty() {
        return Ok(Vec::new());
    }

    let facts = gather_facts(conn, around, now, |_| ()).await?;
    let mut found = Vec::with_capacity(due.len());
    for check in due {
        found.push(run_checks(conn, check, &facts, actor).await?);
    }

    Ok(found)
}

/// The checks of a requirement, or all.
fn select_checks(control: Option<&str>) -> Result<Vec<&'static Check>, AppError> {
    let Some(text) = control else {
        return Ok(ALL.to_vec());
    };

    let (requirement, _) = find_requirement(text)?;
    let checks: Vec<_> = ALL
        .iter()
        .copied()
        .filter(|check| check.control == requirement.control_id)
        .collect();
    if checks.is_empty() {
        return Err(AppError::not_found(format!(
            "no check looks at {}: nothing that software sees decides it; take in evidence with \
                `evidence add`",
            requirement.control_id
        )));
    }

    Ok(checks)
}

/// Reads everything that checks decide from. `step` is called with what is read next.
async fn gather_facts(
    conn: &mut PgConnection,
    around: &Surroundings<'_>,
    now: Timestamp,
    step: impl Fn(&'static str),
) -> anyhow::Result<Facts> {
    let since = now.minus(Span::days(i64::from(DAYS)));
    let mut facts = Facts::none(now, DAYS);
    step("events");
    facts.events = Some(
        store::facts::events(conn, since)
            .await
            .context("cannot read the events")?,
    );

    step("sources");
    facts.sources = Some(store::facts::sources(conn, since).await?);
    facts.daemon = Some(store::facts::daemon(conn, store::reader::LIVE_CURSOR).await?);
    step("database");
    facts.database = Some(store::facts::database(conn).await?);
    step("accounts");
    facts.accounts = Some(store::facts::accounts(conn, now).await?);
    step("rules");

    facts.rules = Some(rule_facts(conn, around.config).await?);
    step("alerts");
    let mut alerts = store::facts::alerts(conn, since).await?;
    alerts.to_people = Some(transport::to_people());
    facts.alerts = Some(alerts);
    facts.incidents = Some(store::facts::incidents(conn).await?);
    step("programme");
    facts.programme = Some(store::facts::programme(conn, now, since).await?);
    facts.advisories = Some(store::facts::advisories(conn, now, since).await?);
    facts.transport = Some(transport::read(around.config));

    let mut inventory = store::facts::inventory(conn, now, since).await?;
    inventory.this_host = Some(crate::actor::hostname());
    inventory.in_scope = assets_in_scope(conn, around.state).await?;
    facts.inventory = Some(inventory);

    step("machine");
    let mut host = Host::here().read(around.state.path());
    host.clock_synchronised = clock_sync::synchronized();
    host.drift = approved_baseline(conn)
        .await?
        .map(|baseline| baseline_drift(&baseline, &host));
    facts.host = Some(host);

    Ok(facts)
}

/// The check whose results are compared with an approved baseline.
pub(super) const BASELINE: &str = "cm_3_4_1";

/// The rules, each with what it does not see.
pub(crate) async fn rule_facts(
    conn: &mut PgConnection,
    config: &Config,
) -> anyhow::Result<Vec<RuleFacts>> {
    let mut rules = store::facts::rules(conn).await?;
    let sources = store::sources::list(conn).await?;
    let senders = store::senders::list(conn, None).await?;
    let now = SystemClock.now();
    for rule in &mut rules {
        let off = config
            .rules
            .get(&rule.rule_id)
            .and_then(|own| own.get("enabled"))
            .and_then(serde_json::Value::as_bool);
        rule.enabled &= off != Some(false);

        let builtin = detect::rules::ALL
            .iter()
            .find(|d| d.info.id.as_str() == rule.rule_id);
        rule.changed_parameters = builtin.map_or_else(Vec::new, |definition| {
            changed_parameters(config, &rule.rule_id, &(definition.defaults)())
        });

        // A custom rule looks at every source.
        let feeds = builtin.map_or(&[][..], |definition| definition.info.feeds);
        rule.blind_to = Some(crate::rules::blind_to(feeds, &sources));
        rule.partly_blind_to = crate::rules::partly_blind_to(feeds, &sources, &senders, now);
    }

    // A rule without a row in the table has never been in force.
    let absent = detect::rules::ALL.iter().filter(|definition| {
        !rules
            .iter()
            .any(|rule| rule.rule_id == definition.info.id.as_str())
    });
    let absent: Vec<RuleFacts> = absent
        .map(|definition| RuleFacts {
            rule_id: definition.info.id.as_str().to_owned(),
            enabled: false,
            controls: Vec::new(),
            last_fired: None,
            last_proven: None,
            proof_failed: false,
            blind_to: None,
            partly_blind_to: Vec::new(),
            changed_parameters: Vec::new(),
        })
        .collect();
    rules.extend(absent);

    Ok(rules)
}

/// The parameters of a built-in rule that the configuration sets to another value than the default.
fn changed_parameters(config: &Config, rule_id: &str, defaults: &serde_json::Value) -> Vec<String> {
    let own = config
        .rules
        .get(rule_id)
        .and_then(serde_json::Value::as_object);
    let mut changed: Vec<String> = own
        .into_iter()
        .flatten()
        // Whether it is off is told apart.
        .filter(|(key, value)| *key != "enabled" && defaults.get(*key) != Some(*value))
        .map(|(key, _)| key.clone())
        .collect();
    changed.sort_unstable();
    changed
}

/// The assets of the one inventory, those out of scope apart. A description that cannot be read
/// adds none.
async fn assets_in_scope(conn: &mut PgConnection, state: &StateDir) -> anyhow::Result<Vec<String>> {
    let system = description::read(conn, None, state)
        .await
        .unwrap_or_default();
    let mut names: Vec<String> = description::inventory(conn, &system)
        .await?
        .into_iter()
        .filter(|asset| asset.category != "out_of_scope")
        .map(|asset| asset.name)
        .collect();
    names.sort_unstable();
    Ok(names)
}

/// The machine as it was when somebody last approved it.
async fn approved_baseline(
    conn: &mut PgConnection,
) -> anyhow::Result<Option<model::facts::HostFacts>> {
    let approved = store::evidence::baseline(conn, BASELINE).await?;
    let facts: Option<Facts> = approved.and_then(|facts| serde_json::from_value(facts).ok());
    Ok(facts.and_then(|facts| facts.host))
}

/// What differs from a baseline.
fn baseline_drift(before: &model::facts::HostFacts, now: &model::facts::HostFacts) -> Vec<String> {
    let mut found = Vec::new();
    let mut differs = |what: &str, same: bool| {
        if !same {
            found.push(what.to_owned());
        }
    };

    differs("operating system", before.os == now.os);
    differs("packages", before.packages_sha256 == now.packages_sha256);
    differs("open ports", before.open_ports == now.open_ports);
    differs("SSH server", before.sshd == now.sshd);
    differs(
        "password rules",
        (&before.pwquality, before.remembered, before.lock_after)
            == (&now.pwquality, now.remembered, now.lock_after),
    );

    differs("FIPS mode", before.fips == now.fips);
    differs(
        "disk encryption",
        before.data_encrypted == now.data_encrypted,
    );
    differs(
        "services",
        before.services.is_none() || now.services.is_none() || before.services == now.services,
    );

    let kernel = settings::differing(before.kernel.as_ref(), now.kernel.as_ref());
    let files = settings::differing(before.files.as_ref(), now.files.as_ref());
    found.extend(kernel.iter().map(|name| format!("kernel setting {name}")));
    found.extend(files.iter().map(|path| format!("file {path}")));

    found
}

/// Lets a check decide, keeps its facts and its words as evidence or confirms that they are the
/// same as before, and proposes its findings.
async fn run_checks(
    conn: &mut PgConnection,
    check: &'static Check,
    facts: &Facts,
    actor: &Actor,
) -> anyhow::Result<Found> {
    let own = check.narrow(facts);
    let says = check.run(&own);
    let mut tx = store::begin(conn, actor).await?;
    let again = confirm::again(&mut tx, check, &own, &says, actor).await?;
    let confirmed = again.is_some();

    let evidence_id = if let Some(id) = again {
        id
    } else {
        let evidence = to_evidence(check, &own, &says)?;
        store::evidence::add(&mut tx, actor, &evidence).await?;
        evidence.evidence_id
    };

    for s in &says {
        if let Some(finding) = s.verdict.finding() {
            let proposal = Proposal {
                finding,
                reason: s.verdict.text(),
                by: check.id.to_owned(),
                at: facts.taken_at,
            };
            store::compliance::propose(&mut tx, &s.objective_id(&check.control), &proposal).await?;
        } else {
            store::compliance::withdraw(&mut tx, &s.objective_id(&check.control), check.id).await?;
        }
    }

    tx.commit().await.map_err(StoreError::from)?;
    Ok(Found {
        check_id: check.id,
        control_id: check.control.clone(),
        title: check.title,
        population: check.scope.population,
        coverage: check.coverage(&own),
        cannot_see: check.scope.cannot_see,
        says,
        evidence_id,
        confirmed,
    })
}

/// The record of a decision: final, because a machine wrote down what it saw; it supports what it
/// found to be met.
fn to_evidence(check: &Check, own: &Facts, says: &[CheckResult]) -> anyhow::Result<Evidence> {
    let facts = serde_json::to_value(own)?;
    let content = evidence_text(check, own, says);
    let met = says
        .iter()
        .filter(|s| s.verdict.finding() == Some(Finding::Met));
    let (id, now) = (EvidenceId(Uuid::now_v7()), own.taken_at);

    Ok(Evidence {
        objectives: met.map(|s| s.objective_id(&check.control)).collect(),
        description: check.title.to_owned(),
        size_bytes: Some(content.len() as u64),
        sha256: Some(evidence_store::sha256(content.as_bytes())),
        content: Some(content),
        valid_until: Some(now.plus(VALID)),
        approved_by: Some(format!("check {}", check.id)),
        approved_at: Some(now),
        recorded: Some(Recorded {
            check_id: check.id.to_owned(),
            facts,
            facts_sha256: Some(confirm::digest(own, says)?),
        }),
        ..Evidence::draft(
            id,
            check.control.clone(),
            EvidenceKind::AutomatedCheck,
            check.id,
            now,
        )
    })
}

/// What a person reads: the verdicts, then the facts.
fn evidence_text(check: &Check, own: &Facts, says: &[CheckResult]) -> String {
    use std::fmt::Write as _;
    let mut text = format!(
        "{} ({}), {}\n\nMust hold for: {}\nCoverage: {}\nCannot be seen: {}\n\n",
        check.title,
        check.id,
        own.taken_at,
        check.scope.population,
        check.coverage(own),
        check.scope.cannot_see
    );
    let requirement = Catalog::r2().get(&check.control);
    for s in says {
        let id = s.objective_id(&check.control);
        let wording = requirement.and_then(|r| r.assessment_objectives.iter().find(|o| o.id == id));
        let verdict = match s.verdict {
            Verdict::Met { .. } => "met",
            Verdict::NotMet { .. } => "NOT MET",
            Verdict::CantTell { .. } => "can't tell",
        };

        let _ = writeln!(
            text,
            "{id} {verdict}: {}\n  ({})",
            s.verdict.text(),
            wording.map_or("", |w| &w.text)
        );
    }

    let _ = write!(
        text,
        "\nFacts:\n{}",
        serde_json::to_string_pretty(own).unwrap_or_default()
    );

    text
}

/// Whether a check decides from its recorded facts what it decided then.
#[derive(Debug, Serialize)]
pub struct Replayed {
    /// The evidence.
    pub evidence_id: EvidenceId,
    /// The requirement.
    #[serde(skip)]
    pub control_id: ControlId,
    /// The check.
    pub check_id: String,
    /// What it says today.
    pub says: Vec<CheckResult>,
    /// Whether that is what was kept.
    pub same: bool,
}

/// Has a check decide again from recorded facts.
pub(super) fn replay(evidence: &Evidence) -> anyhow::Result<Replayed> {
    let recorded = evidence
        .recorded
        .as_ref()
        .context("it was not taken in by a check, so there is nothing to decide again")?;
    let check = compliance::checks::find(&recorded.check_id).with_context(|| {
        format!(
            "this version has no check `{}`",
            model::text::sanitize(&recorded.check_id)
        )
    })?;

    let facts: Facts = serde_json::from_value(recorded.facts.clone())
        .context("the recorded facts cannot be read")?;
    let says = check.run(&facts);
    let same = evidence.content.as_deref() == Some(&evidence_text(check, &facts, &says));

    Ok(Replayed {
        evidence_id: evidence.evidence_id,
        control_id: evidence.control_id.clone(),
        check_id: check.id.to_owned(),
        says,
        same,
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn rules_that_monitoring_needs_are_built_in() {
        for id in compliance::checks::ATTACK_RULES {
            assert!(
                detect::rules::ALL.iter().any(|d| d.info.id.as_str() == id),
                "{id} is not a rule"
            );
        }
    }
}
