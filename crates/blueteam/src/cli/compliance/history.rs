//! `blueteam compliance history`: who decided what, when and why.

use std::process::ExitCode;

use app::compliance::assessment;

use super::grid::Grid;
use crate::cli::out;
use crate::cli::session::{Globals, with_session};

/// Show every decision there ever was, the oldest first.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  blueteam compliance history\n  blueteam compliance history 3.5.3 \
        --json"
)]
pub(super) struct Args {
    /// Of this requirement alone
    id: Option<String>,
    /// As a JSON array
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let changes = with_session(globals, None, async |session, _| {
        Ok(assessment::history(session, args.id.as_deref()).await?)
    })?;

    if args.json {
        out::json(&changes)?;
        return Ok(ExitCode::SUCCESS);
    }

    if changes.is_empty() {
        out::line("nobody has decided anything yet")?;
        return Ok(ExitCode::SUCCESS);
    }

    let mut table = Grid::new(
        &["at", "objective", "from", "to", "by", "login", "reason"],
        &[5, 2],
    );
    for c in &changes {
        table.row([
            out::time(c.at).into(),
            (&c.objective_id).into(),
            c.previous.replace('_', " ").into(),
            c.finding.replace('_', " ").into(),
            c.by.as_deref().unwrap_or("-").into(),
            (&c.login).into(),
            c.reason.as_deref().unwrap_or("-").into(),
        ]);
    }

    table.print()?;
    Ok(ExitCode::SUCCESS)
}
