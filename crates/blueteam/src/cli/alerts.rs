//! `blueteam alerts`: what was found, who has seen it, and the rules that find it.

pub(super) mod deliveries;
mod lab;
mod list;
pub(super) mod rules;
pub(super) mod silences;
mod simulate;
mod test;

use std::process::ExitCode;

use clap::Subcommand;

use super::session::Globals;
pub(super) use list::show_table;

/// Alerts, and the rules that raise them.
///
/// Exit code: 0 done, 1 failed (no such alert, a rule file with errors, a channel that does not
/// work), 2 wrong arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
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
    /// The rules that raise alerts (also `blueteam rules`)
    Rules(rules::Args),
    /// Send a test message through each channel, or through one (also `blueteam channels test`)
    #[command(after_help = test::EXAMPLES)]
    Test(test::Args),
}

pub(super) fn run(args: &Args, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    match &args.action {
        Action::List(args) => list::list(args, globals),
        Action::Show(args) => list::show(args, globals),
        Action::Ack(args) => list::ack(args, globals),
        Action::Rules(args) => rules::run(args, globals),
        Action::Test(args) => test::run(args, globals),
    }
}

/// The arguments of `blueteam channels`.
#[derive(Debug, clap::Args)]
pub(super) struct ChannelsArgs {
    #[command(subcommand)]
    action: ChannelsAction,
}

#[derive(Debug, Subcommand)]
enum ChannelsAction {
    /// Send a test message through each channel, or through one (also `blueteam alerts test`)
    #[command(after_help = test::EXAMPLES)]
    Test(test::Args),
}

pub(super) fn run_channels(args: &ChannelsArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let ChannelsAction::Test(args) = &args.action;
    test::run(args, globals)
}
