//! `incidents create`, `update`, `close`, `assign`, `note` and `task`.

use std::process::ExitCode;
use std::str::FromStr as _;

use app::incidents::{self, Edit, NewIncident, Settle, TaskState};
use comfy_table::Cell;
use model::{IncidentStatus, Severity, Timestamp};

use super::{Behalf, say, settled};
use crate::cli::out::{self, Look};
use crate::cli::session::{Globals, with_session};

/// Open an incident by hand, about an alert or about something that no log says
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  blueteam incidents create --alert 3f2a
  blueteam incidents create --title 'A laptop is missing' --severity high \\
      --description 'Left in a taxi on Tuesday; its disk is encrypted'")]
pub(super) struct CreateArgs {
    /// What happened, in a line [default: what the alert says]
    #[arg(long)]
    title: Option<String>,
    /// How bad it is: critical, high, medium, low [default: as the alert says]
    #[arg(long, value_parser = Severity::from_str)]
    severity: Option<Severity>,
    /// What is known
    #[arg(long)]
    description: Option<String>,
    /// The alert that it is about: its ID, or the first characters
    #[arg(long, value_name = "ID")]
    alert: Option<String>,
    #[command(flatten)]
    behalf: Behalf,
}

pub(super) fn create(args: &CreateArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let new = NewIncident {
        title: args.title.as_deref(),
        severity: args.severity,
        description: args.description.as_deref(),
        alert: args.alert.as_deref(),
    };
    let incident = with_session(globals, args.behalf.name(), async |session, loaded| {
        settled(incidents::create(session, &loaded.config, &new).await)
    })?;
    say(&incident)
}

/// Move an incident to another phase, or change its title, severity or time of discovery
///
/// The phases are detected, analyzing, contained, eradicated, recovered, closed. Some may be
/// skipped. Going back, and reopening a closed one, is a step like any other: it says why, and what
/// was recorded before stays. Whoever gives the --version that they saw changes nothing that
/// someone else has changed meanwhile.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  blueteam incidents update 01a2 contained --reason 'account locked, sessions ended'
  blueteam incidents update 01a2 analyzing --reason 'a second account was used'
  blueteam incidents update 01a2 --severity critical --reason 'drawings were copied' --version 4
  blueteam incidents update 01a2 --discovered-at 2026-11-30T08:10:00Z --reason 'the first call'")]
pub(super) struct UpdateArgs {
    /// The ID of the incident, or its first characters
    id: String,
    /// The phase to which it goes
    #[arg(value_parser = IncidentStatus::from_str)]
    phase: Option<IncidentStatus>,
    /// Its title
    #[arg(long)]
    title: Option<String>,
    /// How bad it is: critical, high, medium, low
    #[arg(long, value_parser = Severity::from_str)]
    severity: Option<Severity>,
    /// When it was discovered, from which the law counts: a length of time ago, or a time with its
    /// zone
    #[arg(long, value_name = "WHEN", value_parser = out::moment)]
    discovered_at: Option<Timestamp>,
    /// What it came from; to close it
    #[arg(long, value_name = "TEXT", default_value = "")]
    root_cause: String,
    /// What was learned; to close it
    #[arg(long, value_name = "TEXT", default_value = "")]
    lessons: String,
    /// Why, from 3 to 4000 characters; a title alone needs none
    #[arg(long, default_value = "")]
    reason: String,
    /// The version of the incident that you saw
    #[arg(long, value_name = "N")]
    version: Option<u64>,
    #[command(flatten)]
    behalf: Behalf,
}

pub(super) fn update(args: &UpdateArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let edit = Edit {
        version: args.version,
        title: args.title.as_deref(),
        severity: args.severity,
        status: args.phase,
        discovered_at: args.discovered_at,
        root_cause: &args.root_cause,
        lessons: &args.lessons,
        reason: &args.reason,
    };
    change(&args.id, &edit, &args.behalf, globals)
}

fn change(
    id: &str,
    edit: &Edit<'_>,
    behalf: &Behalf,
    globals: Globals<'_>,
) -> anyhow::Result<ExitCode> {
    let incident = with_session(globals, behalf.name(), async |session, loaded| {
        settled(incidents::update(session, &loaded.config, id, edit).await)
    })?;
    say(&incident)
}

/// Close an incident with its root cause and what was learned
///
/// Its alerts count as seen then. Where CUI was touched, someone decides first whether it must be
/// reported (`incidents decide`).
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  blueteam incidents close 01a2 --root-cause 'a password from another breach' \\
      --lessons 'the blocklist is imported monthly now' --reason 'no further logins for a week'")]
pub(super) struct CloseArgs {
    /// The ID of the incident, or its first characters
    id: String,
    /// What it came from
    #[arg(long, value_name = "TEXT")]
    root_cause: String,
    /// What was learned
    #[arg(long, value_name = "TEXT")]
    lessons: String,
    /// Why it is over
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// The version of the incident that you saw
    #[arg(long, value_name = "N")]
    version: Option<u64>,
    #[command(flatten)]
    behalf: Behalf,
}

pub(super) fn close(args: &CloseArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let edit = Edit {
        version: args.version,
        status: Some(IncidentStatus::Closed),
        root_cause: &args.root_cause,
        lessons: &args.lessons,
        reason: &args.reason,
        ..Edit::default()
    };
    change(&args.id, &edit, &args.behalf, globals)
}

/// Give an incident to someone who leads it
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  blueteam incidents assign 01a2 dana
  blueteam incidents assign 01a2 --nobody")]
pub(super) struct AssignArgs {
    /// The ID of the incident, or its first characters
    id: String,
    /// The account (`blueteam users list`)
    #[arg(required_unless_present = "nobody", conflicts_with = "nobody")]
    account: Option<String>,
    /// Take it from whoever leads it
    #[arg(long)]
    nobody: bool,
    /// The version of the incident that you saw
    #[arg(long, value_name = "N")]
    version: Option<u64>,
    #[command(flatten)]
    behalf: Behalf,
}

pub(super) fn assign(args: &AssignArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let account = args.account.as_deref();
    let incident = with_session(globals, args.behalf.name(), async |session, loaded| {
        let config = &loaded.config;
        settled(incidents::assign(session, config, &args.id, args.version, account).await)
    })?;
    say(&incident)
}

/// Write a note; also to a closed incident
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  blueteam incidents note 01a2 'called the account owner, who was on vacation'")]
pub(super) struct NoteArgs {
    /// The ID of the incident, or its first characters
    id: String,
    /// The note
    text: String,
    #[command(flatten)]
    behalf: Behalf,
}

pub(super) fn note(args: &NoteArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let incident = with_session(globals, args.behalf.name(), async |session, loaded| {
        settled(incidents::write(session, &loaded.config, &args.id, None, &args.text).await)
    })?;
    say(&incident)
}

/// List what is to be done, add to it, or say what became of a task
///
/// The first tasks come from the playbook of the rule ([incidents] playbooks in the configuration).
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  blueteam incidents task 01a2
  blueteam incidents task 01a2 --add 'ask the provider for the proxy log'
  blueteam incidents task 01a2 --done 3 --remark 'two accounts locked'
  blueteam incidents task 01a2 --drop 4 --remark 'there is no such host'")]
pub(super) struct TaskArgs {
    /// The ID of the incident, or its first characters
    id: String,
    /// Add a task
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["done", "drop", "reopen"])]
    add: Option<String>,
    /// The task of this number is done
    #[arg(long, value_name = "NUMBER", conflicts_with_all = ["drop", "reopen"])]
    done: Option<u32>,
    /// The task of this number is not to be done; needs --remark
    #[arg(long, value_name = "NUMBER", conflicts_with = "reopen")]
    drop: Option<u32>,
    /// The task of this number is to be done after all
    #[arg(long, value_name = "NUMBER")]
    reopen: Option<u32>,
    /// What came of it
    #[arg(long, value_name = "TEXT")]
    remark: Option<String>,
    /// The list as a JSON array
    #[arg(long, conflicts_with_all = ["add", "done", "drop", "reopen"])]
    json: bool,
    #[command(flatten)]
    behalf: Behalf,
}

pub(super) fn task(args: &TaskArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    if let Some(text) = &args.add {
        let incident = with_session(globals, args.behalf.name(), async |session, loaded| {
            settled(incidents::task(session, &loaded.config, &args.id, text).await)
        })?;
        return say(&incident);
    }
    let settle = [
        (args.done, TaskState::Done),
        (args.drop, TaskState::Dropped),
        (args.reopen, TaskState::Open),
    ]
    .into_iter()
    .find_map(|(number, state)| {
        Some(Settle {
            number: number?,
            state,
            remark: args.remark.as_deref(),
        })
    });
    if let Some(settle) = settle {
        let incident = with_session(globals, args.behalf.name(), async |session, loaded| {
            settled(incidents::settle(session, &loaded.config, &args.id, &settle).await)
        })?;
        return say(&incident);
    }

    let case = with_session(globals, None, async |session, loaded| {
        settled(incidents::case(session, &loaded.config, &args.id).await)
    })?;
    if args.json {
        out::json(&case.tasks)?;
    } else if case.tasks.is_empty() {
        out::line("nothing is to be done")?;
    } else {
        let mut table = out::table(Look::stdout(), &["no.", "state", "by", "task", "remark"]);
        for task in &case.tasks {
            table.add_row([
                Cell::new(task.number),
                Cell::new(task.state),
                out::text(task.settled_by.as_deref().unwrap_or("-")),
                out::text(&task.task),
                out::text(task.remark.as_deref().unwrap_or_default()),
            ]);
        }
        out::print(table)?;
    }
    Ok(ExitCode::SUCCESS)
}
