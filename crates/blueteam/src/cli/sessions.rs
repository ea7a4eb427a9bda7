//! `blueteam sessions`: who is signed in.

use std::process::ExitCode;

use app::accounts::{self, Revoke};
use clap::{Args as _, Subcommand};
use comfy_table::Cell;
use uuid::Uuid;

use super::out::{self, Look};
use super::session::{Globals, with_session};
use super::{Command, parsed};

pub(super) const COMMAND: Command = Command {
    name: "sessions",
    arguments: Args::augment_args,
    run: |matches, globals| run(&parsed(matches), globals),
};

/// Sessions of people: who is signed in, from where, since when.
///
/// A session locks after 15 minutes without activity (3.1.10) and ends after an hour without, or
/// twelve hours in all (3.1.11). It also ends when its account is disabled, or gets another role or
/// password.
///
/// Exit code: 0 done, 1 failed (no such session or user), 2 wrong arguments.
#[derive(Debug, clap::Args)]
struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List sessions that have not ended, the newest first
    #[command(
        after_help = "Examples:\n  blueteam sessions list\n  blueteam sessions list dana --json"
    )]
    List {
        /// Only those of this user
        name: Option<String>,
        /// As a JSON array
        #[arg(long)]
        json: bool,
    },
    /// End sessions: whoever has one must sign in again
    #[command(
        after_help = "Examples:\n  blueteam sessions revoke 0199c2d4-7a10-7000-8000-5b1f3c2d4e5f\
            \n  blueteam sessions revoke --user dana\n  blueteam sessions revoke --all"
    )]
    Revoke {
        #[command(flatten)]
        which: Which,
        /// The person you act for; recorded beside your own account, which is who acts
        #[arg(long, value_name = "NAME")]
        on_behalf_of: Option<String>,
    },
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// The session's ID
    id: Option<Uuid>,
    /// All of a user
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Every one
    #[arg(long)]
    all: bool,
}

fn run(args: &Args, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    match &args.action {
        Action::List { name, json } => list_sessions(name.as_deref(), *json, globals),
        Action::Revoke {
            which,
            on_behalf_of,
        } => {
            let which = match (which.id, &which.user) {
                (Some(id), _) => Revoke::Session(id),
                (None, Some(name)) => Revoke::Account(name),
                (None, None) => Revoke::All,
            };
            let ended = with_session(globals, on_behalf_of.as_deref(), async |session, _| {
                Ok(accounts::revoke_sessions(session, which).await?)
            })?;
            out::line(match ended {
                0 => "nobody was signed in".to_owned(),
                1 => "1 session has ended".to_owned(),
                n => format!("{n} sessions have ended"),
            })?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn list_sessions(name: Option<&str>, json: bool, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let sessions = with_session(globals, None, async |session, _| {
        Ok(accounts::sessions(session, name).await?)
    })?;
    if json {
        out::json(&sessions)?;
        return Ok(ExitCode::SUCCESS);
    }
    if sessions.is_empty() {
        out::line("nobody is signed in")?;
        return Ok(ExitCode::SUCCESS);
    }

    let header = [
        "session",
        "user",
        "by",
        "from",
        "with",
        "since",
        "last used",
    ];
    let mut table = out::table(Look::stdout(), &header);
    for session in &sessions {
        table.add_row([
            Cell::new(session.session_id),
            out::text(&session.username),
            out::text(session.factors.join(" + ")),
            out::text(session.ip_address.as_deref().unwrap_or("-")),
            out::text(session.user_agent.as_deref().unwrap_or("-")),
            Cell::new(out::time(session.created_at)),
            Cell::new(out::time(session.seen_at)),
        ]);
    }
    out::print(table)?;
    Ok(ExitCode::SUCCESS)
}
