//! `blueteam incidents`: what alerts opened, and moving it on.

use std::process::ExitCode;
use std::str::FromStr as _;

use app::incidents::{Incident, StatusChange};
use clap::{Args as _, Subcommand};
use comfy_table::Cell;
use model::{IncidentId, IncidentStatus};

use super::out::{self, Look};
use super::session::{Globals, list_anywhere, with_session};
use super::{Command, parsed};

pub(super) const COMMAND: Command = Command {
    name: "incidents",
    arguments: Args::augment_args,
    run: |matches, globals| run(&parsed(matches), globals),
};

/// Incidents: one attack is one incident, however many rules saw it.
///
/// Exit code: 0 done, 1 failed, 2 wrong arguments.
#[derive(Debug, clap::Args)]
struct Args {
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
    /// Move an incident on to a later phase, or close it
    ///
    /// The phases are detected, analyzing, contained, eradicated, recovered, closed. Some may be
    /// skipped; none is gone back to, and a closed incident stays as it is. Who moved it on, when
    /// and why is kept (`incidents history`).
    #[command(
        after_help = "Examples:\n  blueteam incidents advance 01a2 contained --reason 'account \
            locked, sessions ended'\n  blueteam incidents advance 01a2 closed --reason 'false \
            alarm: an ordered scan' --on-behalf-of 'Dana Reyes'"
    )]
    Advance {
        /// The ID of the incident, or its first characters
        id: String,
        /// The phase
        #[arg(value_parser = IncidentStatus::from_str)]
        phase: IncidentStatus,
        /// Why, from 3 to 4000 characters
        #[arg(long)]
        reason: String,
        /// The person for whom you act; stands beside your own account in the record
        #[arg(long, value_name = "NAME")]
        on_behalf_of: Option<String>,
    },
    /// Show who moved an incident on, when and why
    #[command(after_help = "Examples:\n  blueteam incidents history 01a2")]
    History {
        /// The ID of the incident, or its first characters
        id: String,
        /// As a JSON array
        #[arg(long)]
        json: bool,
    },
}

fn run(args: &Args, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    match &args.action {
        Action::List { all, limit, json } => list(*all, *limit, *json, globals),
        Action::Advance {
            id,
            phase,
            reason,
            on_behalf_of,
        } => {
            let done = with_session(globals, on_behalf_of.as_deref(), async |session, _| {
                Ok(app::incidents::advance(session, id, *phase, reason).await?)
            })?;
            out::line(format_args!(
                "{}: from {} to {}",
                done.before.incident_id, done.before.status, done.status
            ))?;
            Ok(ExitCode::SUCCESS)
        }
        Action::History { id, json } => {
            let (incident, changes) = with_session(globals, None, async |session, _| {
                Ok(app::incidents::history(session, id).await?)
            })?;
            show_history(incident, &changes, *json)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn show_history(incident: IncidentId, changes: &[StatusChange], json: bool) -> anyhow::Result<()> {
    if json {
        return out::json(&changes);
    }
    if changes.is_empty() {
        return out::line(format_args!("nobody has moved {incident} on yet"));
    }

    let header = ["when", "from", "to", "by", "reason"];
    let mut table = out::table(Look::stdout(), &header);
    for change in changes {
        table.add_row([
            Cell::new(out::time(change.changed_at)),
            Cell::new(change.previous),
            Cell::new(change.status),
            out::text(&change.changed_by),
            out::text(&change.reason),
        ]);
    }
    out::print(table)
}

fn list(all: bool, limit: u32, json: bool, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let query = [("all", all.to_string())];
    let incidents = list_anywhere(globals, "/api/v1/incidents", &query, limit, || {
        with_session(globals, None, async |session, _| {
            Ok(app::incidents::list(session, all, limit).await?)
        })
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
