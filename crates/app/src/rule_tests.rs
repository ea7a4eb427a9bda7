//! Rule tests: the fixtures of the rules, and whether the rules pass them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
pub use detect::fixtures::Verdict;
use detect::fixtures::{self, Case};
use detect::sigma::Sigma;
use detect::{Engine, Settings};
use model::text::sanitize;
use model::{Actor, RuleId};
use serde::Serialize;
use store::{PgConnection, StoreError};
use tracing::{error, warn};

use config::Config;

use crate::actor::{Action, Resource};
use crate::{AppError, Session};

/// This version of the program.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Fixtures, and the rules that they are for: those of one file have them in common.
pub struct Fixtures {
    /// The ids of those rules.
    pub rules: Vec<String>,
    builtin: bool,
    /// What must fire, and what must not.
    pub cases: Vec<Case>,
}

/// All fixtures that there are: of the built-in rules, and of the Sigma rules of the configured
/// folder that have some.
pub fn all(config: &Config) -> anyhow::Result<Vec<Fixtures>> {
    let mut found = Vec::new();
    for definition in detect::rules::ALL {
        let id = definition.info.id.to_string();
        let cases = fixtures::parse(definition.fixtures)
            .with_context(|| format!("the fixtures of {id}"))?;
        found.push(Fixtures {
            rules: vec![id],
            builtin: true,
            cases,
        });
    }

    if config.detection.rules_dir.is_empty() {
        return Ok(found);
    }

    for file in config::rules::read_rules(Path::new(&config.detection.rules_dir))? {
        let beside = fixtures_of(Path::new(&file.0));
        if !beside.exists() {
            continue;
        }

        let text = std::fs::read_to_string(&beside)
            .with_context(|| format!("cannot read {}", beside.display()))?;
        let cases = fixtures::parse(&text).with_context(|| beside.display().to_string())?;
        let rules: Vec<String> = Sigma::load(&[file], config.detection.rule_limits())
            .0
            .infos()
            .map(|info| info.id.to_string())
            .collect();

        if rules.is_empty() {
            bail!(
                "{}: its rules cannot be tested by themselves, because they refer to other files",
                beside.display()
            );
        }

        found.push(Fixtures {
            rules,
            builtin: false,
            cases,
        });
    }

    Ok(found)
}

/// `rules/x.yml` has `rules/tests/x.ndjson`.
fn fixtures_of(rule: &Path) -> PathBuf {
    let name = rule.file_stem().unwrap_or_default().to_string_lossy();
    rule.parent()
        .unwrap_or_else(|| Path::new(""))
        .join("tests")
        .join(format!("{name}.ndjson"))
}

/// What came of a rule's fixtures.
#[derive(Debug, Serialize)]
pub struct Tested {
    /// The rule.
    pub rule_id: RuleId,
    /// Whether every case passed.
    pub ok: bool,
    /// What came of each.
    pub cases: Vec<Verdict>,
}

/// Runs them, each rule in an engine of its own.
pub fn run(fixtures: &[Fixtures], config: &Config) -> anyhow::Result<Vec<Tested>> {
    let mut tested = Vec::new();
    for f in fixtures {
        let ids: Vec<&str> = f.rules.iter().map(String::as_str).collect();
        let cases = if f.builtin {
            fixtures::run(&f.cases, &ids, || fixtures::single_rule_engine(&f.rules[0]))?
        } else {
            let sigma = || config::rules::sigma(config);
            fixtures::run(&f.cases, &ids, || custom_rules_engine(sigma()?, &f.rules))?
        };

        let ok = cases.iter().all(|case| case.ok);
        tested.extend(f.rules.iter().map(|id| Tested {
            rule_id: RuleId(id.clone().into()),
            ok,
            cases: cases.clone(),
        }));
    }

    Ok(tested)
}

/// An engine of some custom rules and nothing else.
fn custom_rules_engine(mut sigma: Sigma, rules: &[String]) -> anyhow::Result<Engine> {
    let off = |d: &&detect::Definition| {
        (
            d.info.id.to_string(),
            serde_json::json!({ "enabled": false }),
        )
    };

    let mut engine = Engine::new(Settings {
        rules: detect::rules::ALL.iter().map(off).collect(),
        ..Settings::default()
    })?;

    sigma.retain(|id| rules.iter().any(|rule| rule == id.as_str()));
    engine.set_sigma(sigma);
    Ok(engine)
}

/// What came of the fixtures of the rules, or of one rule.
#[derive(Debug)]
pub struct Report {
    /// The rules that have fixtures.
    pub tested: Vec<Tested>,
    /// Custom rules that have none.
    pub without_fixtures: Vec<String>,
}

/// Runs the fixtures of every rule, or of `only` one.
pub fn test(config: &Config, only: Option<&str>) -> Result<Report, AppError> {
    let mut fixtures = all(config)?;
    let mut without_fixtures: Vec<String> = config::rules::sigma(config)?
        .infos()
        .map(|info| info.id.to_string())
        .collect();
    without_fixtures.retain(|id| fixtures.iter().all(|f| !f.rules.contains(id)));

    let only = only
        .map(|name| crate::names::rule(config, name))
        .transpose()?;
    let only = only.as_ref().map(RuleId::as_str);
    let is_wanted = |id: &str| only.is_none_or(|only| id == only);
    if let Some(id) = only {
        fixtures.retain(|f| f.rules.iter().any(|rule| rule == id));
        check_has_fixtures(id, &fixtures, &without_fixtures)?;
    }

    let mut tested = run(&fixtures, config)?;
    tested.retain(|t| is_wanted(t.rule_id.as_str()));
    without_fixtures.retain(|id| is_wanted(id));

    Ok(Report {
        tested,
        without_fixtures,
    })
}

/// The same for one rule, on a thread that nobody waits for.
pub async fn test_aside(config: &Arc<Config>, only: &str) -> Result<Report, AppError> {
    let (config, only) = (Arc::clone(config), only.to_owned());
    let tested = tokio::task::spawn_blocking(move || test(&config, Some(&only)));
    tested.await.map_err(anyhow::Error::from)?
}

fn check_has_fixtures(
    id: &str,
    fixtures: &[Fixtures],
    without_fixtures: &[String],
) -> Result<(), AppError> {
    if without_fixtures.iter().any(|other| other == id) {
        return Err(AppError::not_found(format!(
            "`{}` has no fixtures; `blueteam alerts rules test --help` says where they stand",
            sanitize(id)
        )));
    }

    if fixtures.is_empty() {
        return Err(AppError::not_found(format!(
            "there is no rule `{}`; `blueteam alerts rules` lists them",
            sanitize(id)
        )));
    }

    Ok(())
}

/// Records what came of the fixtures.
pub async fn record(session: &mut Session, tested: &[Tested]) -> Result<(), AppError> {
    let (conn, actor) = session.change(Action::Write, Resource::Rules)?;
    Ok(write_results(conn, actor, tested).await?)
}

async fn write_results(
    conn: &mut PgConnection,
    actor: &Actor,
    tested: &[Tested],
) -> Result<(), StoreError> {
    let mut tx = store::begin(conn, actor).await?;
    for t in tested.iter().filter(|t| !t.cases.is_empty()) {
        let failed = t.cases.iter().filter(|case| !case.ok).count();
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let cases = count(t.cases.len());
        store::rule_proofs::note(&mut tx, actor, VERSION, &t.rule_id, cases, count(failed)).await?;
    }

    tx.commit().await.map_err(StoreError::from)
}

/// Tests the rules where they run, and records the results: the built-in ones once for each version
/// of the program; custom ones, which may have changed, each time. A rule that fails is logged and
/// still runs: it may detect something.
pub async fn prove(conn: &mut PgConnection, config: &Config) {
    if let Err(cause) = prove_due(conn, config).await {
        warn!("cannot test the rules: {cause:#}");
    }
}

async fn prove_due(conn: &mut PgConnection, config: &Config) -> anyhow::Result<()> {
    let known = store::rule_proofs::latest(conn).await?;
    let fixtures = all(config)?;
    let proven = |rule: &String| {
        known
            .iter()
            .any(|p| p.rule_id.as_str() == rule && p.version == VERSION && p.failed == 0)
    };

    let due: Vec<Fixtures> = fixtures
        .into_iter()
        .filter(|f| !f.builtin || !f.rules.iter().all(proven))
        .collect();
    let tested = run(&due, config)?;
    for t in tested.iter().filter(|t| !t.ok) {
        error!(rule.id = %t.rule_id, "the rule does not pass its fixtures; see `blueteam alerts \
            rules test {}`", t.rule_id);
    }

    write_results(conn, &Actor::task("blueteam"), &tested).await?;
    Ok(())
}
