//! `blueteam incidents`: from what alerts or people opened to its close.

mod duties;
mod evidence;
mod join;
mod lead;
mod show;

use std::process::ExitCode;

use app::AppError;
use app::incidents::{Incident, StatusChange};
use clap::{Args as _, Subcommand};
use comfy_table::Cell;
use model::{Clock as _, IncidentId, SystemClock};

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
/// An incident goes from detected through analyzing, contained, eradicated and recovered to closed
/// (NIST SP 800-61). Where CUI was touched, DFARS 252.204-7012 wants a report within 72 hours of
/// the discovery: that clock, and those of other duties, stand in every list.
///
/// Exit code: 0 done, 1 failed, 2 wrong arguments, or nothing was changed because of where the
/// incident stands, which the message says.
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
    Show(show::ShowArgs),
    Timeline(show::TimelineArgs),
    Create(lead::CreateArgs),
    Update(lead::UpdateArgs),
    Close(lead::CloseArgs),
    Assign(lead::AssignArgs),
    Note(lead::NoteArgs),
    Task(lead::TaskArgs),
    Observables(show::ObservablesArgs),
    Link(join::LinkArgs),
    Unlink(join::UnlinkArgs),
    Split(join::SplitArgs),
    Merge(join::MergeArgs),
    Decide(duties::DecideArgs),
    Report(duties::ReportArgs),
    Reported(duties::ReportedArgs),
    Release(duties::ReleaseArgs),
    /// Show who moved an incident to which phase, when and why
    #[command(after_help = "Examples:\n  blueteam incidents history 01a2")]
    History {
        /// The ID of the incident, or its first characters
        id: String,
        /// As a JSON array
        #[arg(long)]
        json: bool,
    },
    Evidence(evidence::Args),
    Verify(evidence::VerifyArgs),
    Export(evidence::PackageArgs),
}

/// The person for whom someone acts.
#[derive(Debug, clap::Args)]
struct Behalf {
    /// The person for whom you act; stands beside your own account in the record
    #[arg(long, value_name = "NAME")]
    on_behalf_of: Option<String>,
}

impl Behalf {
    fn name(&self) -> Option<&str> {
        self.on_behalf_of.as_deref()
    }
}

fn run(args: &Args, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    match &args.action {
        Action::Evidence(args) => evidence::run(args, globals),
        Action::Verify(args) => evidence::verify(args, globals),
        Action::Export(args) => evidence::export_package(args, globals),
        Action::List { all, limit, json } => list(*all, *limit, *json, globals),
        Action::Show(args) => show::run(args, globals),
        Action::Timeline(args) => show::timeline(args, globals),
        Action::Create(args) => lead::create(args, globals),
        Action::Update(args) => lead::update(args, globals),
        Action::Close(args) => lead::close(args, globals),
        Action::Assign(args) => lead::assign(args, globals),
        Action::Note(args) => lead::note(args, globals),
        Action::Task(args) => lead::task(args, globals),
        Action::Observables(args) => show::observables(args, globals),
        Action::Link(args) => join::link(args, globals),
        Action::Unlink(args) => join::unlink(args, globals),
        Action::Split(args) => join::split(args, globals),
        Action::Merge(args) => join::merge(args, globals),
        Action::Decide(args) => duties::decide(args, globals),
        Action::Report(args) => duties::report(args, globals),
        Action::Reported(args) => duties::reported(args, globals),
        Action::Release(args) => duties::release(args, globals),
        Action::History { id, json } => {
            let (incident, changes) = with_session(globals, None, async |session, _| {
                settled(app::incidents::history(session, id).await)
            })?;
            show_history(incident, &changes, *json)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// What a use case gave. That there is no such incident, and that it stands elsewhere, are wrong
/// arguments: the exit code tells scripts so.
fn settled<T>(result: Result<T, AppError>) -> anyhow::Result<T> {
    result.map_err(|error| match error {
        AppError::NotFound(why) | AppError::Conflict(why) => anyhow::Error::new(out::Usage(why)),
        other => other.into(),
    })
}

/// Says where an incident stands after a change.
fn say(incident: &Incident) -> anyhow::Result<ExitCode> {
    let row = &incident.row;
    let lead = match &row.assigned_to {
        Some(name) => format!(", led by {}", model::text::sanitize(name)),
        None => String::new(),
    };
    out::line(format_args!(
        "{}: {}, {}, version {}{lead}",
        row.incident_id, row.status, row.severity, row.version
    ))?;
    let now = SystemClock.now();
    for clock in incident.clocks.iter().filter(|clock| clock.runs()) {
        out::line(format_args!(
            "  {}: {}, until {}",
            model::text::sanitize(&clock.name),
            clock.in_words(now),
            out::time(clock.due_at)
        ))?;
    }
    Ok(ExitCode::SUCCESS)
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
        with_session(globals, None, async |session, loaded| {
            Ok(app::incidents::list(session, &loaded.config, all, limit).await?)
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
    let now = SystemClock.now();
    let mut table = out::table(
        look,
        &[
            "incident", "detected", "severity", "status", "report", "alerts", "led by", "title",
        ],
    );

    for incident in incidents {
        let row = &incident.row;
        let clock = incident.pressing().or(incident.clocks.first());
        let report = match clock {
            Some(clock) => format!("{} {}", clock.duty, clock.in_words(now)),
            None if row.cui_involved => "CUI".to_owned(),
            None => String::new(),
        };
        table.add_row([
            Cell::new(look.id(&row.incident_id, 13)),
            Cell::new(out::time(row.detected_at)),
            look.severity(row.severity),
            Cell::new(row.status),
            out::text(&report),
            Cell::new(row.alerts),
            out::text(row.assigned_to.as_deref().unwrap_or("-")),
            out::text(&row.title),
        ]);
    }

    out::spare(look, &mut table, &[6, 3, 5]);
    out::print(table)
}
