//! `blueteam alerts`: what was found, who has seen it, and the rules that find it.

pub(super) mod deliveries;
mod lab;
mod list;
pub(super) mod rules;
pub(super) mod silences;
mod simulate;
mod test;
mod verdict;

use std::process::ExitCode;

use clap::{Args as _, Subcommand};

use super::session::Globals;
use super::{Command, parsed};
pub(super) use list::show_table;

pub(super) const COMMAND: Command = Command {
    name: "alerts",
    arguments: Args::augment_args,
    run: |matches, globals| run(&parsed(matches), globals),
};

/// Alerts, and the rules that raise them.
///
/// Exit code: 0 done, 1 failed (no such alert, a rule file with errors, a channel that does not
/// work), 2 wrong arguments.
#[derive(Debug, clap::Args)]
struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List alerts, the newest first
    #[command(after_help = list::EXAMPLES)]
    List(list::ListArgs),
    Show(list::ShowArgs),
    Ack(list::AckArgs),
    Verdict(verdict::Args),
    /// The rules that raise alerts (also `blueteam rules`)
    Rules(rules::Args),
    /// Send a test message through each channel, or through one (also `blueteam channels test`)
    #[command(after_help = test::EXAMPLES)]
    Test(test::Args),
}

fn run(args: &Args, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    match &args.action {
        Action::List(args) => list::list(args, globals),
        Action::Show(args) => list::show(args, globals),
        Action::Ack(args) => list::ack(args, globals),
        Action::Verdict(args) => verdict::run(args, globals),
        Action::Rules(args) => rules::run(args, globals),
        Action::Test(args) => test::run(args, globals),
    }
}

pub(super) const CHANNELS: Command = Command {
    name: "channels",
    arguments: ChannelsArgs::augment_args,
    run: |matches, globals| run_channels(&parsed(matches), globals),
};

/// The ways by which alerts reach people
#[derive(Debug, clap::Args)]
struct ChannelsArgs {
    #[command(subcommand)]
    action: ChannelsAction,
}

#[derive(Debug, Subcommand)]
enum ChannelsAction {
    /// Send a test message through each channel, or through one (also `blueteam alerts test`)
    #[command(after_help = test::EXAMPLES)]
    Test(test::Args),
}

fn run_channels(args: &ChannelsArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let ChannelsAction::Test(args) = &args.action;
    test::run(args, globals)
}
