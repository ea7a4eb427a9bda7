//! `blueteam incidents`: what alerts opened.

use std::process::ExitCode;

use app::incidents::Incident;
use clap::Subcommand;
use comfy_table::Cell;

use super::out::{self, Look};
use super::session::{Globals, with_session};

/// Incidents: one attack is one incident, however many rules saw it.
///
/// Exit code: 0 done, 1 failed, 2 wrong arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List incidents, the newest first
    #[command(
        after_help = "Examples:\n  blueteam incidents list\n  blueteam incidents list --all \
            --json | jq '.[] | select(.dfars_reportable)'"
    )]
    List {
        /// Closed ones too
        #[arg(long)]
        all: bool,
        /// At most this many
        #[arg(long, default_value_t = 100, value_name = "N")]
        limit: u32,
        /// As a JSON array
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(args: &Args, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let Action::List { all, limit, json } = args.action;
    let incidents = with_session(globals, None, async |session, _| {
        Ok(app::incidents::list(session, all, limit).await?)
    })?;

    if json {
        out::json(&incidents)?;
    } else if incidents.is_empty() {
        out::line(if all {
            "no incidents"
        } else {
            "no open incidents"
        })?;
    } else {
        show_table(&incidents)?;
    }

    Ok(ExitCode::SUCCESS)
}

/// Incidents as a table.
pub(super) fn show_table(incidents: &[Incident]) -> anyhow::Result<()> {
    let look = Look::stdout();
    let mut table = out::table(
        look,
        &[
            "incident", "detected", "severity", "status", "flags", "alerts", "title",
        ],
    );

    for i in incidents {
        let flags: Vec<&str> = [(i.cui_involved, "CUI"), (i.dfars_reportable, "DFARS")]
            .into_iter()
            .filter_map(|(on, f)| on.then_some(f))
            .collect();
        table.add_row([
            Cell::new(look.id(&i.incident_id, 13)),
            Cell::new(out::time(i.detected_at)),
            look.severity(i.severity),
            Cell::new(i.status),
            Cell::new(flags.join(" ")),
            Cell::new(i.alerts),
            out::text(&i.title),
        ]);
    }

    out::spare(look, &mut table, &[3, 5]);
    out::print(table)
}
