//! `blueteam alerts rules`: what is looked for, with which parameters, and what came of it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use app::rules::{self, Proof, Row};
use clap::{Args as _, Subcommand};
use comfy_table::Cell;
use model::Source;
use model::text::{counted, sanitize};
use serde_json::{Value, json};

use super::{lab, simulate};
use crate::cli::out::{self, Look};
use crate::cli::session::{Globals, with_session};
use crate::cli::{Command, parsed};

pub(in crate::cli) const COMMAND: Command = Command {
    name: "rules",
    arguments: |command| {
        let about = "The rules that raise alerts (also `alerts rules`)";
        Args::augment_args(command)
            .about(about)
            .long_about(None::<&str>)
    },
    run: |matches, globals| run(&parsed(matches), globals),
};

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
    #[command(after_help = "Examples:\n  blueteam rules list")]
    List {
        /// As a JSON array, with descriptions and parameters
        #[arg(long)]
        json: bool,
    },
    Test(lab::TestArgs),
    Backtest(lab::BacktestArgs),
    Simulate(simulate::Args),
    /// Check Sigma rules before they are put to use
    #[command(
        after_help = "Examples:\n  blueteam rules check ./rules.d\n  blueteam rules check \
        ./rules.d/sudo_group.yml"
    )]
    Check {
        /// The folder or file; without it, the configured folder
        dir: Option<PathBuf>,
        /// As a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Let a rule fire; a running daemon follows within seconds
    #[command(after_help = "Examples:\n  blueteam rules enable after_hours")]
    Enable(Switch),
    /// Keep a rule from firing; a running daemon follows within seconds
    #[command(after_help = "Examples:\n  blueteam rules disable after_hours")]
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
    /// The person you act for; recorded beside your own account, which is who acts
    #[arg(long, value_name = "NAME")]
    on_behalf_of: Option<String>,
}

pub(in crate::cli) fn run(args: &Args, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    match &args.action {
        None => list_rules(args.json, globals),
        Some(Action::List { json }) => list_rules(*json, globals),
        Some(Action::Test(args)) => lab::test(args, globals),
        Some(Action::Backtest(args)) => lab::backtest(args, globals),
        Some(Action::Simulate(args)) => simulate::run(args, globals),
        Some(Action::Check { dir, json }) => check_rules(dir.as_deref(), *json, globals),
        Some(Action::Enable(s)) => enable_rule(s, globals),
        Some(Action::Disable(s)) => disable_rule(s, globals),
        Some(Action::Navigator) => {
            out::json(&rules::navigator_layer(&read_rules(globals)?))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// A built-in rule by its ID, a custom one by its title.
fn rule_name(row: &Row) -> String {
    /// As much of a UUID as names the rule in other commands.
    const ID_SHOWN: usize = 8;

    let id = row.rule_id.as_str();
    match uuid::Uuid::try_parse(id) {
        Ok(_) => format!("{} ({}…)", row.name, &id[..ID_SHOWN.min(id.len())]),
        Err(_) => id.to_owned(),
    }
}

/// The rules as they run now.
fn read_rules(globals: Globals<'_>) -> anyhow::Result<Vec<Row>> {
    with_session(globals, None, async |session, loaded| {
        Ok(rules::list(session, &loaded.config).await?)
    })
}

fn list_rules(json: bool, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let rows = read_rules(globals)?;
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
            out::text(rule_name(r)),
            look.severity(r.severity),
            Cell::new(match (r.enabled, r.blind_to.is_empty()) {
                (false, _) => "NO",
                _ if r.cannot_fire.is_some() => "NEVER",
                (true, false) => "BLIND",
                (true, true) if !r.partly_blind_to.is_empty() => "PARTLY",
                (true, true) => "yes",
            }),
            out::text(controls.join(" ")),
            out::text(r.attack.join(" ")),
            Cell::new(needed_sources(&r.needs)),
            Cell::new(out::maybe_time(r.last_fired)),
            Cell::new(describe_proof(r.last_proven.as_ref())),
        ]);
    }

    out::spare(look, &mut table, &[3, 4, 5]);
    out::print(table)?;
    let silent: std::collections::BTreeSet<&String> =
        rows.iter().flat_map(|r| &r.blind_to).collect();
    for source in silent {
        let safe = sanitize(source);
        out::line(match source.parse::<Source>() {
            Ok(kind) => format!("BLIND: nothing comes from {kind}; see `blueteam sources list`"),
            Err(_) => format!("BLIND: {safe} is silent; see `blueteam sources show {safe}`"),
        })?;
    }

    let partly: std::collections::BTreeSet<&String> =
        rows.iter().flat_map(|r| &r.partly_blind_to).collect();
    for source in partly {
        out::line(format_args!(
            "PARTLY BLIND: {} were not understood; see `blueteam sources dead-letters`",
            sanitize(source)
        ))?;
    }

    for r in &rows {
        if let Some(why) = &r.cannot_fire {
            let rule = format!("{} ({})", r.name, r.rule_id);
            out::line(format_args!(
                "NEVER: {} cannot fire: {}",
                sanitize(&rule),
                sanitize(why)
            ))?;
        }
    }

    Ok(ExitCode::SUCCESS)
}

/// The sources that a rule looks at.
fn needed_sources(sources: &[Source]) -> String {
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
fn describe_proof(proof: Option<&Proof>) -> String {
    match proof {
        None => "never".to_owned(),
        Some(p) if p.failed > 0 => format!("FAILED {}", out::maybe_day(Some(p.at))),
        Some(p) => out::maybe_day(Some(p.at)),
    }
}

fn check_rules(dir: Option<&Path>, json: bool, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let checked = if let Some(dir) = dir {
        // Rules can be checked where there is no configuration, or a wrong one.
        let config = globals.load().map(|loaded| loaded.config);
        rules::check(dir, config.unwrap_or_default().detection.rule_limits())?
    } else {
        let config = globals.load()?.config;
        let dir = rules::configured_dir(&config)?;
        rules::check(&dir, config.detection.rule_limits())?
    };
    let code = if checked.errors.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    };

    let (files, rules) = (checked.files, checked.rules);
    if json {
        let errors: Vec<Value> = checked
            .errors
            .iter()
            .map(|e| json!({ "file": e.file, "message": e.message }))
            .collect();
        out::json(&json!({
            "files": files,
            "rules": rules,
            "errors": errors,
            "cannot_fire": checked.cannot_fire,
            "advice": checked.advice,
        }))?;
        return Ok(code);
    }

    for a in &checked.advice {
        let line = a.line.map_or_else(String::new, |line| format!(":{line}"));
        out::line(format_args!(
            "{}{line}: {} [{}]: {}",
            sanitize(&a.file),
            a.level,
            a.code,
            sanitize(&a.message)
        ))?;
    }

    for c in &checked.cannot_fire {
        out::line(format_args!(
            "CANNOT FIRE: {}: {}",
            sanitize(&c.rule),
            sanitize(&c.why)
        ))?;
    }

    for e in &checked.errors {
        out::line(format_args!(
            "{}: CANNOT BE USED: {}",
            sanitize(&e.file),
            sanitize(&e.message)
        ))?;
    }

    out::line(format_args!(
        "{}, {} that can be used, {}",
        counted(files as u64, "file"),
        counted(rules as u64, "rule"),
        counted(checked.errors.len() as u64, "error")
    ))?;

    Ok(code)
}

fn enable_rule(args: &Switch, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let disabled_in_file = with_session(
        globals,
        args.on_behalf_of.as_deref(),
        async |session, loaded| Ok(rules::enable(session, &loaded.config, &args.id).await?),
    )?;

    out::line(format_args!("enabled {}", sanitize(&args.id)))?;
    if disabled_in_file {
        out::note("the configuration file disables it still ([rules] enabled = false)");
    }
    out::note("a running daemon follows within seconds");

    Ok(ExitCode::SUCCESS)
}

fn disable_rule(args: &Switch, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    with_session(
        globals,
        args.on_behalf_of.as_deref(),
        async |session, loaded| Ok(rules::disable(session, &loaded.config, &args.id).await?),
    )?;

    out::line(format_args!("disabled {}", sanitize(&args.id)))?;
    out::note("a running daemon follows within seconds");

    Ok(ExitCode::SUCCESS)
}
