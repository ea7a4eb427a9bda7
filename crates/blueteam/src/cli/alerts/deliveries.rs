//! `blueteam notifications`: who was notified of what.

use std::process::ExitCode;

use anyhow::bail;
use app::notifications::{self, Entry, Filter};
use clap::{Args as _, Subcommand};
use comfy_table::Cell;
use model::{Channel, Timestamp};
use uuid::Uuid;

use crate::cli::out::{self, Look};
use crate::cli::session::{Globals, with_session};
use crate::cli::{Command, parsed};

/// As much of an id as a terminal shows. These ids begin with a time: those of one hour differ
/// late.
const ID_SHOWN: usize = 18;

pub(in crate::cli) const COMMAND: Command = Command {
    name: "notifications",
    arguments: Args::augment_args,
    run: |matches, globals| run(&parsed(matches), globals),
};

/// Show notifications: each message, each attempt, and what the other side answered.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    List(ListArgs),
    Show(ShowArgs),
    Resend(ResendArgs),
}

/// List messages, the newest first.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  blueteam notifications list --state dead\n  \
                        blueteam notifications list --alert 3f2a81c0 --json\n  \
                        blueteam notifications list --channel email --since 24h"
)]
struct ListArgs {
    /// pending, delivered, or dead (given up)
    #[arg(long, value_parser = ["pending", "delivered", "dead"])]
    state: Option<String>,
    /// By this way
    #[arg(long, value_parser = notify::channels::parse)]
    channel: Option<Channel>,
    /// Of this alert: its id, or enough of its beginning
    #[arg(long, value_name = "ID")]
    alert: Option<String>,
    /// Written since: a length of time ago (24h, 30d) or a time
    #[arg(long, value_parser = out::moment)]
    since: Option<Timestamp>,
    /// At most this many
    #[arg(long, default_value_t = 50, value_name = "N")]
    limit: u32,
    /// As a JSON array
    #[arg(long)]
    json: bool,
}

/// Show every attempt of one message.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  blueteam notifications show 0199f3a2-1c44-7a10\n  blueteam notifications show 0199f3a2-1c44-7a10 --json | jq '.[-1]'"
)]
struct ShowArgs {
    /// Its id, or enough of its beginning
    #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
    id: String,
    /// As a JSON array of attempts
    #[arg(long)]
    json: bool,
}

/// Have messages that were given up tried again. A receiver that has seen one before knows it by
/// its id.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  blueteam notifications resend \
        0199f3a2-1c44-7d10-9a51-000000000001\n  \
                        blueteam notifications resend --all")]
struct ResendArgs {
    /// Their ids
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    ids: Vec<Uuid>,
    /// All that were given up
    #[arg(long)]
    all: bool,
    /// The person you act for; recorded beside your own account, which is who acts
    #[arg(long, value_name = "NAME")]
    on_behalf_of: Option<String>,
}

pub(in crate::cli) fn run(args: &Args, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    match &args.action {
        Action::List(args) => list_deliveries(args, globals),
        Action::Show(args) => show_delivery(args, globals),
        Action::Resend(args) => resend_deliveries(args, globals),
    }
}

fn list_deliveries(args: &ListArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let filter = Filter {
        state: args.state.as_deref(),
        channel: args.channel,
        alert: args.alert.as_deref(),
        since: args.since,
        before: None,
    };
    let entries = with_session(globals, None, async |session, _| {
        Ok(notifications::list(session, &filter, args.limit).await?)
    })?;

    if args.json {
        out::json(&entries)?;
        return Ok(ExitCode::SUCCESS);
    }

    print_table(&entries)?;
    if entries.len() as u64 == u64::from(args.limit) {
        out::note(format_args!(
            "the newest {}; there may be more (--limit)",
            args.limit
        ));
    }

    Ok(ExitCode::SUCCESS)
}

fn print_table(entries: &[Entry]) -> anyhow::Result<()> {
    if entries.is_empty() {
        return out::line("no messages");
    }

    let look = Look::stdout();
    let mut table = out::table(
        look,
        &[
            "message", "written", "channel", "tells", "state", "tries", "arrived", "alert",
        ],
    );

    for e in entries {
        table.add_row([
            Cell::new(look.id(&e.delivery_id, ID_SHOWN)),
            Cell::new(out::time(e.created_at)),
            Cell::new(e.channel),
            out::text(&e.kind),
            Cell::new(&e.state),
            Cell::new(e.attempts),
            Cell::new(out::maybe_time(e.delivered_at)),
            out::text(e.last_error.as_deref().unwrap_or(&e.title)),
        ]);
    }

    out::spare(look, &mut table, &[3, 5, 6]);
    out::print(table)
}

fn show_delivery(args: &ShowArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let history = with_session(globals, None, async |session, _| {
        Ok(notifications::show(session, &args.id).await?)
    })?;

    if args.json {
        out::json(&history)?;
        return Ok(ExitCode::SUCCESS);
    }

    if history.attempts.is_empty() {
        bail!(
            "nothing was tried yet for {}, or there is no such message; see `blueteam alerts \
                deliveries list`",
            history.delivery_id
        );
    }

    let mut table = out::table(
        Look::stdout(),
        &["at", "try", "outcome", "what the other side said"],
    );
    for a in &history.attempts {
        table.add_row([
            Cell::new(out::time(a.at)),
            Cell::new(a.attempt),
            Cell::new(&a.outcome),
            out::text(&a.detail),
        ]);
    }

    out::print(table)?;
    Ok(ExitCode::SUCCESS)
}

fn resend_deliveries(args: &ResendArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let ids = (!args.all).then_some(&args.ids[..]);
    let resent = with_session(globals, args.on_behalf_of.as_deref(), async |session, _| {
        Ok(notifications::resend(session, ids).await?)
    })?;

    out::line(format_args!("{resent} are tried again"))?;
    Ok(ExitCode::SUCCESS)
}
