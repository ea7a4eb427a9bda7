//! `blueteam alerts rules`: what is looked for, with which parameters, and what came of it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Subcommand;
use comfy_table::Cell;
use detect::sigma::{Sigma, advice};
use model::{ControlId, RuleId, Severity, Source, Span, Timestamp};
use serde::Serialize;
use serde_json::{Map, Value};
use store::posture::Fired;
use store::proofs::Proof;
use store::rules::RuleSetting;
use store::sources::SourceRow;

use super::{lab, navigator, simulate};
use crate::cli::out::{self, Look};
use crate::cli::session::{Globals, actor, with_database};
use config::Config;

/// The rules that raise alerts: the built-in ones and the Sigma rules of `detection.rules_dir`.
///
/// Without a further word, lists them. Exit code: 0 done, 1 failed or (check) a rule cannot be
/// used, 2 wrong arguments.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  blueteam alerts rules
  blueteam alerts rules --json | jq '.[] | select(.alerts > 0)'
  blueteam alerts rules check ./rules.d
  blueteam alerts rules disable after_hours
  blueteam alerts rules test
  blueteam alerts rules backtest brute_force --since 30d
  blueteam alerts rules simulate brute_force

Parameters are set in the configuration file, under [rules.ID]."
)]
pub(in crate::cli) struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    /// As a JSON array, with descriptions and parameters
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the rules: what they serve and need, whether they see anything, when they last fired
    /// and were last proven
    List {
        /// As a JSON array, with descriptions and parameters
        #[arg(long)]
        json: bool,
    },
    Test(lab::TestArgs),
    Backtest(lab::BacktestArgs),
    Simulate(simulate::Args),
    /// Check Sigma rules before they are put to use
    Check {
        /// The folder; without it, the configured one
        dir: Option<PathBuf>,
        /// As a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Let a rule fire; a running daemon follows within seconds
    Enable(Switch),
    /// Keep a rule from firing; a running daemon follows within seconds
    Disable(Switch),
    /// Write a layer for MITRE's ATT&CK Navigator: what is looked for, and what is not because its
    /// rules are off or blind
    #[command(
        after_help = "Examples:\n  blueteam alerts rules navigator > layer.json   # open it at \
            https://mitre-attack.github.io/attack-navigator/"
    )]
    Navigator,
}

#[derive(Debug, clap::Args)]
struct Switch {
    /// The rule
    #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
    id: String,
    /// Who decides, for the record; without it, the system's user name
    #[arg(long = "as", value_name = "NAME")]
    actor: Option<String>,
}

pub(in crate::cli) fn run(args: &Args, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    match &args.action {
        None => list(args.json, globals),
        Some(Action::List { json }) => list(*json, globals),
        Some(Action::Test(args)) => lab::test(args, globals),
        Some(Action::Backtest(args)) => lab::backtest(args, globals),
        Some(Action::Simulate(args)) => simulate::run(args, globals),
        Some(Action::Check { dir, json }) => check(dir.as_deref(), *json, globals),
        Some(Action::Enable(s)) => switch(s, true, globals),
        Some(Action::Disable(s)) => switch(s, false, globals),
        Some(Action::Navigator) => {
            out::json(&navigator::layer(&read(globals)?))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// A rule as it runs.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub(super) rule_id: RuleId,
    name: String,
    kind: &'static str,
    severity: Severity,
    pub(super) enabled: bool,
    nist_controls: Vec<ControlId>,
    pub(super) attack: Vec<String>,
    description: String,
    parameters: Value,
    alerts: u64,
    last_fired: Option<Timestamp>,
    /// Sources whose events it looks at; none: of any.
    needs: Vec<Source>,
    /// What came of its fixtures when they were last run.
    last_proven: Option<Proof>,
    /// Silent sources that it needs; where none of what it needs has ever spoken, the kinds of
    /// source.
    pub(super) blind_to: Vec<String>,
}

/// The rules with what file and table of rules make of them.
fn rows(
    config: &Config,
    sigma: &Sigma,
    table: &[RuleSetting],
    (fired, proofs): (&[Fired], &[Proof]),
    sources: &[SourceRow],
) -> Vec<Row> {
    let set = app::rules::engine_with_table(config, Vec::new(), Span::ZERO, table);
    let allowed = |id: &RuleId| table.iter().all(|row| row.rule_id != *id || row.enabled);
    let row = |info: &detect::Info, kind, enabled, parameters| {
        let count = fired.iter().find(|f| f.rule_id == info.id);
        Row {
            rule_id: info.id.clone(),
            name: info.name.to_owned(),
            kind,
            severity: info.severity,
            enabled,
            nist_controls: info.controls.to_vec(),
            attack: info.attack.iter().map(|a| (*a).to_owned()).collect(),
            description: info.description.to_owned(),
            parameters,
            alerts: count.map_or(0, |c| c.alerts),
            last_fired: count.and_then(|c| c.last),
            needs: info.feeds.to_vec(),
            last_proven: proofs.iter().find(|p| p.rule_id == info.id).cloned(),
            blind_to: app::rules::blind_to(info.feeds, sources),
        }
    };

    let builtin = detect::rules::ALL.iter().map(|definition| {
        let mut parameters = match (definition.defaults)() {
            Value::Object(defaults) => defaults,
            _ => Map::new(),
        };

        if let Some(Value::Object(own)) = set.rules.get(definition.info.id.as_str()) {
            parameters.extend(own.clone());
        }

        let enabled = parameters
            .remove("enabled")
            .and_then(|e| e.as_bool())
            .unwrap_or(true);
        row(
            definition.info,
            "built-in",
            enabled,
            Value::Object(parameters),
        )
    });

    let custom = sigma
        .infos()
        .map(|info| row(info, "sigma", allowed(&info.id), Value::Object(Map::new())));
    builtin.chain(custom).collect()
}

/// The rules as they run now.
fn read(globals: Globals<'_>) -> anyhow::Result<Vec<Row>> {
    with_database(globals, async |conn, loaded| {
        let (table, fired) = (
            store::rules::settings(conn).await?,
            store::posture::fired(conn).await?,
        );
        let (proofs, sources) = (
            store::proofs::latest(conn).await?,
            store::sources::list(conn).await?,
        );
        Ok(rows(
            &loaded.config,
            &config::rules::sigma(&loaded.config)?,
            &table,
            (&fired, &proofs),
            &sources,
        ))
    })
}

fn list(json: bool, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let rows = read(globals)?;
    if json {
        out::json(&rows)?;
        return Ok(ExitCode::SUCCESS);
    }

    let look = Look::stdout();
    let header = [
        "rule",
        "severity",
        "on",
        "controls",
        "att&ck",
        "needs",
        "last fired",
        "last proven",
    ];

    let mut table = out::table(look, &header);
    for r in &rows {
        let controls: Vec<&str> = r.nist_controls.iter().map(|c| &*c.0).collect();
        table.add_row([
            out::text(r.rule_id.as_str()),
            look.severity(r.severity),
            Cell::new(match (r.enabled, r.blind_to.is_empty()) {
                (false, _) => "NO",
                (true, false) => "BLIND",
                (true, true) => "yes",
            }),
            out::text(controls.join(" ")),
            out::text(r.attack.join(" ")),
            Cell::new(needs(&r.needs)),
            Cell::new(out::maybe_time(r.last_fired)),
            Cell::new(proven(r.last_proven.as_ref())),
        ]);
    }

    out::spare(look, &mut table, &[3, 4, 5]);
    out::print(table)?;
    let silent: std::collections::BTreeSet<&String> =
        rows.iter().flat_map(|r| &r.blind_to).collect();
    for source in silent {
        let safe = model::text::sanitize(source);
        out::line(match source.parse::<Source>() {
            Ok(kind) => format!("BLIND: nothing comes from {kind}; see `blueteam sources list`"),
            Err(_) => format!("BLIND: {safe} is silent; see `blueteam sources show {safe}`"),
        })?;
    }

    Ok(ExitCode::SUCCESS)
}

/// The sources that a rule looks at.
fn needs(sources: &[Source]) -> String {
    if sources.is_empty() {
        "any".to_owned()
    } else {
        sources
            .iter()
            .map(|s| s.as_str())
            .collect::<Vec<_>>()
            .join(" ")
    }
}

/// When a rule was last proven, or that it failed.
fn proven(proof: Option<&Proof>) -> String {
    match proof {
        None => "never".to_owned(),
        Some(p) if p.failed > 0 => format!("FAILED {}", out::maybe_day(Some(p.at))),
        Some(p) => out::maybe_day(Some(p.at)),
    }
}

fn check(dir: Option<&Path>, json: bool, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let dir = if let Some(dir) = dir {
        dir.to_owned()
    } else {
        let configured = globals.load()?.config.detection.rules_dir;
        if configured.is_empty() {
            out::usage!("say which folder, or set detection.rules_dir");
        }
        PathBuf::from(configured)
    };

    let files = config::rules::read_rules(&dir)?;
    let (sigma, errors) = Sigma::load(&files);
    let advice: Vec<_> = files
        .iter()
        .flat_map(|(file, text)| advice(file, text))
        .collect();
    let code = if errors.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    };

    let rules = sigma.infos().count();
    if json {
        let errors: Vec<Value> = errors
            .iter()
            .map(|e| serde_json::json!({ "file": e.file, "message": e.message }))
            .collect();
        out::json(
            &serde_json::json!({ "files": files.len(), "rules": rules, "errors": errors, "advice": advice }),
        )?;
        return Ok(code);
    }

    let safe = model::text::sanitize;
    for a in &advice {
        let line = a.line.map_or_else(String::new, |line| format!(":{line}"));
        out::line(format_args!(
            "{}{line}: {} [{}]: {}",
            safe(&a.file),
            a.level,
            a.code,
            safe(&a.message)
        ))?;
    }

    for e in &errors {
        out::line(format_args!(
            "{}: CANNOT BE USED: {}",
            safe(&e.file),
            safe(&e.message)
        ))?;
    }

    out::line(format_args!(
        "{} files, {rules} rules that can be used, {} errors",
        files.len(),
        errors.len()
    ))?;

    Ok(code)
}

fn switch(args: &Switch, enabled: bool, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let (id, actor) = (RuleId(args.id.clone().into()), actor(args.actor.as_deref()));
    with_database(globals, async |conn, loaded| {
        let word = if enabled { "enabled" } else { "disabled" };
        if !store::rules::set_enabled(conn, &actor, &id, enabled).await? {
            // A rule that the program has and the table does not: nobody has migrated since it
            // came.
            let sigma = config::rules::sigma(&loaded.config)?;
            app::rules::sync_rules(conn, &sigma).await?;
            let found = store::rules::set_enabled(conn, &actor, &id, enabled).await?;
            found.then_some(()).with_context(|| {
                format!(
                    "there is no rule `{}`; `blueteam alerts rules` lists them",
                    model::text::sanitize(&args.id)
                )
            })?;
        }

        out::line(format_args!(
            "{word} {}",
            model::text::sanitize(id.as_str())
        ))?;

        let file = loaded
            .config
            .rules
            .get(id.as_str())
            .and_then(|rule| rule.get("enabled"))
            .and_then(Value::as_bool);
        if enabled && file == Some(false) {
            out::note("the configuration file disables it still ([rules] enabled = false)");
        }

        out::note("a running daemon follows within seconds");
        Ok(ExitCode::SUCCESS)
    })
}
