//! `blueteam compliance history`: who decided what, when and why.

use std::process::ExitCode;

use comfy_table::Cell;

use super::find;
use crate::cli::out::{self, Look};
use crate::cli::session::{Globals, with_database};

/// Show every decision there ever was, the oldest first.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  blueteam compliance history\n  blueteam compliance history 3.5.3 --json")]
pub(super) struct Args {
    /// Of this requirement alone
    id: Option<String>,
    /// As a JSON array
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let control = args.id.as_deref().map(find).transpose()?.map(|(r, _)| &r.control_id);
    let changes = with_database(globals, async |conn, _| Ok(store::compliance::history(conn, control).await?))?;
    if args.json {
        out::json(&changes)?;
        return Ok(ExitCode::SUCCESS);
    }
    if changes.is_empty() {
        out::line("nobody has decided anything yet")?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = out::table(Look::stdout(), &["at", "objective", "from", "to", "by", "login", "reason"]);
    for c in &changes {
        table.add_row([
            Cell::new(out::time(c.at)),
            Cell::new(&c.objective_id),
            Cell::new(c.previous.replace('_', " ")),
            Cell::new(c.finding.replace('_', " ")),
            out::text(c.by.as_deref().unwrap_or("-")),
            out::text(&c.login),
            out::text(c.reason.as_deref().unwrap_or("-")),
        ]);
    }
    out::spare(Look::stdout(), &mut table, &[5]);
    out::print(table)?;
    Ok(ExitCode::SUCCESS)
}
