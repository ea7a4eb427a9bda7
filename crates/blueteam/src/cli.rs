//! The command line. One file per command: its arguments and its `run`.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::parser::ValueSource;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use daemon::Parts;

mod advisories;
mod alerts;
mod analysis;
mod backtest;
mod compliance;
mod config;
mod demo;
mod events;
mod incidents;
mod keys;
mod migrate;
mod monitors;
mod out;
mod reference;
mod renamed;
mod replay;
mod report;
mod serve;
mod session;
mod sources;
mod status;

pub use reference::reference;

/// Audit events in, attacks detected, alerts out.
#[derive(Debug, Parser)]
#[command(name = "blueteam", version)]
struct Cli {
    /// Where everything that must survive a restart is kept
    #[arg(long, global = true, env = "BLUETEAM_STATE_DIR", value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// The configuration file
    #[arg(long, global = true, env = "BLUETEAM_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
// What a command does is said at its arguments.
enum Command {
    /// Run everything: HTTP server, collectors, detection and alerts
    Serve(serve::Args),
    /// Run collectors, detection and alerts without the HTTP server
    Monitor(serve::Args),
    Migrate(migrate::Args),
    Status(status::Args),
    Alerts(alerts::Args),
    /// The rules that raise alerts (also `alerts rules`)
    Rules(alerts::rules::Args),
    Silences(alerts::silences::Args),
    Notifications(alerts::deliveries::Args),
    /// The ways by which alerts reach people
    Channels(alerts::ChannelsArgs),
    Advisories(advisories::Args),
    Incidents(incidents::Args),
    Events(events::Args),
    Sources(sources::Args),
    Monitors(monitors::Args),
    Compliance(compliance::Args),
    Report(report::Args),
    Keys(keys::Args),
    Replay(replay::Args),
    Backtest(backtest::Args),
    /// Show what it does, on made-up activity and a throw-away state directory
    Demo(demo::Args),
    /// Check or show the configuration
    Config(config::Args),
}

/// The exit code of arguments that are wrong, as clap has it.
const USAGE: u8 = 2;

/// Runs the command that the arguments name. Returns 2 for wrong arguments and 1 for other
/// failures.
pub fn main() -> ExitCode {
    let (args, warnings) = renamed::present(std::env::args_os().collect());
    for warning in warnings {
        out::note(warning);
    }

    let matches = Cli::command().get_matches_from(args);
    // A demonstration must not use the state directory that the environment names for the daemon.
    let is_given = matches.value_source("state_dir") == Some(ValueSource::CommandLine);
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let globals = session::Globals {
        config: cli.config.as_deref(),
        state_dir: cli.state_dir.as_deref(),
    };

    let result = match cli.command {
        Command::Serve(serve::Args {}) => serve::run(
            Parts::Everything,
            cli.config.as_deref(),
            cli.state_dir.as_deref(),
        )
        .map(|()| ExitCode::SUCCESS),
        Command::Monitor(serve::Args {}) => serve::run(
            Parts::Monitor,
            cli.config.as_deref(),
            cli.state_dir.as_deref(),
        )
        .map(|()| ExitCode::SUCCESS),
        Command::Migrate(args) => migrate::run(&args, globals),
        Command::Status(args) => status::run(&args, globals),
        Command::Alerts(args) => alerts::run(&args, globals),
        Command::Rules(args) => alerts::rules::run(&args, globals),
        Command::Silences(args) => alerts::silences::run(&args, globals),
        Command::Notifications(args) => alerts::deliveries::run(&args, globals),
        Command::Channels(args) => alerts::run_channels(&args, globals),
        Command::Advisories(args) => advisories::run(&args, globals),
        Command::Incidents(args) => incidents::run(&args, globals),
        Command::Events(args) => events::run(&args, globals),
        Command::Sources(args) => sources::run(&args, globals),
        Command::Monitors(args) => monitors::run(&args, globals),
        Command::Compliance(args) => compliance::run(&args, globals),
        Command::Report(args) => report::run(&args, globals),
        Command::Keys(args) => keys::run(&args, globals),
        Command::Replay(args) => replay::run(&args, globals),
        Command::Backtest(args) => backtest::run(&args, globals),
        Command::Demo(args) => demo::run(&args, cli.state_dir.as_deref().filter(|_| is_given)),
        Command::Config(args) => {
            config::run(&args, cli.config.as_deref()).map(|()| ExitCode::SUCCESS)
        }
    };

    match result {
        Ok(code) => code,
        // `blueteam alerts list | head` got what it wanted.
        Err(error) if out::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing can be done about a standard error that is gone. It may quote a file or an
            // answer from outside, so only the message's own line ends are kept.
            let text = format!("{error:#}");
            let lines: Vec<_> = text.lines().map(model::text::sanitize).collect();
            let _ = writeln!(std::io::stderr(), "error: {}", lines.join("\n"));

            if is_usage(&error) {
                ExitCode::from(USAGE)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

/// Whether the arguments are to blame.
fn is_usage(error: &anyhow::Error) -> bool {
    error.is::<out::Usage>()
        || matches!(
            error.downcast_ref::<app::AppError>(),
            Some(app::AppError::Invalid(_))
        )
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    /// Names the commands below one whose help has no examples.
    fn without_examples(command: &mut clap::Command, path: &str, found: &mut Vec<String>) {
        let help = command.render_long_help().to_string();
        let runs = !command.has_subcommands() || !command.is_subcommand_required_set();
        if runs && !help.contains("Examples:") {
            found.push(path.to_owned());
        }

        for below in command
            .get_subcommands_mut()
            .filter(|c| c.get_name() != "help")
        {
            let path = format!("{path} {}", below.get_name());
            without_examples(below, &path, found);
        }
    }

    #[test]
    fn the_help_of_every_command_has_examples() {
        let mut found = Vec::new();
        without_examples(&mut super::Cli::command(), "blueteam", &mut found);
        assert!(found.is_empty(), "no examples: {found:?}");
    }

    #[test]
    fn arguments_do_not_contradict_each_other() {
        super::Cli::command().debug_assert();
    }
}
