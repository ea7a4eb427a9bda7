//! `blueteam events`: what applications and logs said (3.3.6), asked by people, who are recorded.

mod export;
pub(super) mod filter;
mod search;
mod stats;
mod tail;

use std::process::ExitCode;

use clap::{Args as _, Subcommand};
use comfy_table::Cell;

use super::out::{self, Look};
use super::session::{Globals, with_session};
use super::{Command, parsed};

pub(super) const COMMAND: Command = Command {
    name: "events",
    arguments: Args::augment_args,
    run: |matches, globals| run(&parsed(matches), globals),
};

/// Events: search, follow, count and export what applications and logs said.
///
/// Every question is recorded with who asked it; `events audit` lists them. Times are UTC.
/// Without --since, the last 24 hours are asked.
///
/// Exit code: 0 done, whether or not something was found; 1 failed; 2 wrong arguments.
#[derive(Debug, clap::Args)]
struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Search(search::Args),
    Tail(tail::Args),
    Stats(stats::Args),
    Export(export::Args),
    Audit(AuditArgs),
}

/// List who asked the events what, the newest first.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  blueteam events audit\n  blueteam events audit --limit 500 --json | jq -r .[].actor | sort | uniq -c"
)]
struct AuditArgs {
    /// At most this many
    #[arg(long, default_value_t = 50, value_name = "N")]
    limit: u32,
    /// As a JSON array
    #[arg(long)]
    json: bool,
}

fn run(args: &Args, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    match &args.action {
        Action::Search(args) => search::run(args, globals),
        Action::Tail(args) => tail::run(args, globals),
        Action::Stats(args) => stats::run(args, globals),
        Action::Export(args) => export::run(args, globals),
        Action::Audit(args) => show_audit(args, globals),
    }
}

/// What was asked for, as options are written.
fn describe_filter(filter: &serde_json::Value) -> String {
    let shown = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let parts = filter.as_object().into_iter().flatten();
    let parts: Vec<String> = parts
        .map(|(key, value)| format!("{key}={}", shown(value)))
        .collect();

    parts.join(" ")
}

fn show_audit(args: &AuditArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let asked = with_session(globals, None, async |session, _| {
        Ok(app::events::questions(session, args.limit).await?)
    })?;
    if args.json {
        out::json(&asked)?;
        return Ok(ExitCode::SUCCESS);
    }

    let mut table = out::table(
        Look::stdout(),
        &["asked", "by", "login", "command", "rows", "for"],
    );
    for a in &asked {
        table.add_row([
            Cell::new(out::time(a.asked_at)),
            out::text(&a.actor),
            out::text(&a.login),
            Cell::new(&a.command),
            Cell::new(
                a.rows
                    .map_or_else(|| "-".to_owned(), |rows| rows.to_string()),
            ),
            out::text(describe_filter(&a.filter)),
        ]);
    }

    out::print(table)?;
    Ok(ExitCode::SUCCESS)
}
