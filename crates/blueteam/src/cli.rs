//! The command line. One file per command: its arguments and its `run`.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue};
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory as _, FromArgMatches, Parser};
use model::TenantName;

mod advisories;
mod alerts;
mod analysis;
mod backtest;
mod completions;
mod compliance;
mod config;
mod demo;
mod doctor;
mod events;
mod incidents;
mod keys;
mod man_pages;
mod migrate;
mod monitors;
mod out;
mod policy;
mod redteam;
mod reference;
mod renamed;
mod replay;
mod report;
mod serve;
mod session;
mod sessions;
mod sources;
mod status;
mod tenants;
mod tls;
mod upkeep;
mod users;

pub use reference::reference;
use session::Globals;

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
    /// The organization that the command is about, where several use this installation; `default`
    /// without it
    #[arg(long, global = true, env = "BLUETEAM_TENANT", value_name = "NAME")]
    tenant: Option<TenantName>,
    /// Ask the API of a daemon elsewhere instead of the database here: lists of alerts, incidents,
    /// users, keys, tenants and sources, `events search`, `compliance status` and `gaps`, and `alerts
    /// ack`. https:// beyond this machine
    #[arg(long, global = true, value_name = "URL", requires = "key_file")]
    server: Option<String>,
    /// The file with your API key for --server, which nobody else may read
    #[arg(
        long,
        global = true,
        env = "BLUETEAM_API_KEY_FILE",
        value_name = "FILE"
    )]
    key_file: Option<PathBuf>,
    /// The certificate of the authority that signed that of --server; without it those of the
    /// system count
    #[arg(long, global = true, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

impl Cli {
    /// The daemon that is asked instead of the database.
    fn remote(&self) -> Option<app::remote::Target<'_>> {
        Some(app::remote::Target {
            server: self.server.as_deref()?,
            key_file: self.key_file.as_deref()?,
            ca_file: self.ca_file.as_deref(),
        })
    }
}

/// A command: one file, and its line in [`ALL`].
struct Command {
    /// The word after `blueteam`.
    name: &'static str,
    /// Adds its arguments, and the help that their doc comments are.
    arguments: fn(clap::Command) -> clap::Command,
    run: fn(&ArgMatches, Globals<'_>) -> anyhow::Result<ExitCode>,
}

/// Every command, in the order of `--help`.
const ALL: &[&Command] = &[
    &serve::SERVE,
    &serve::MONITOR,
    &migrate::COMMAND,
    &status::COMMAND,
    &doctor::COMMAND,
    &alerts::COMMAND,
    &alerts::rules::COMMAND,
    &alerts::silences::COMMAND,
    &alerts::deliveries::COMMAND,
    &alerts::CHANNELS,
    &advisories::COMMAND,
    &redteam::COMMAND,
    &incidents::COMMAND,
    &events::COMMAND,
    &sources::COMMAND,
    &monitors::COMMAND,
    &upkeep::COMMAND,
    &compliance::COMMAND,
    &report::COMMAND,
    &users::COMMAND,
    &sessions::COMMAND,
    &policy::COMMAND,
    &keys::COMMAND,
    &tenants::COMMAND,
    &tls::COMMAND,
    &replay::COMMAND,
    &backtest::COMMAND,
    &demo::COMMAND,
    &config::COMMAND,
    &completions::COMMAND,
    &man_pages::COMMAND,
];

/// Commands of which some ask a daemon elsewhere. The others, and what these have besides, are refused
/// with `--server`: nobody should take what is here for what is there.
const ELSEWHERE: &[&Command] = &[
    &alerts::COMMAND,
    &incidents::COMMAND,
    &events::COMMAND,
    &sources::COMMAND,
    &compliance::COMMAND,
    &users::COMMAND,
    &keys::COMMAND,
    &tenants::COMMAND,
];

/// The program with its commands, as clap has it.
fn program() -> clap::Command {
    let commands = ALL
        .iter()
        .map(|command| (command.arguments)(clap::Command::new(command.name)));
    Cli::command()
        .subcommands(commands)
        .subcommand_required(true)
        .arg_required_else_help(true)
}

/// The arguments of a command. clap has checked them by now.
fn parsed<A: FromArgMatches>(matches: &ArgMatches) -> A {
    A::from_arg_matches(matches).unwrap_or_else(|error| error.exit())
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

    let matches = program().try_get_matches_from(args);
    let matches = matches.unwrap_or_else(|error| plainer(error).exit());
    let cli: Cli = parsed(&matches);
    let is_given = matches.value_source("state_dir") == Some(ValueSource::CommandLine);
    let state_dir = cli.state_dir.as_deref();
    let config = session::config_file(cli.config.clone(), state_dir);
    let globals = Globals {
        config: config.as_deref(),
        state_dir,
        given_state_dir: state_dir.filter(|_| is_given),
        remote: cli.remote(),
        tenant: cli.tenant.as_ref(),
    };

    let result = run(&matches, globals);
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

/// An error of the arguments without what misleads. The usage that it shows names options that a
/// variable has set, as if they were required; and of several commands that may be meant, the most
/// similar is the last.
fn plainer(mut error: clap::Error) -> clap::Error {
    if let Some(ContextValue::StyledStr(usage)) = error.get(ContextKind::Usage) {
        let usage = usage.to_string().replace(" --state-dir <DIR>", "");
        let usage = usage.replace(" --config <FILE>", "");
        let usage = usage.replace(" --key-file <FILE>", "");
        error.insert(ContextKind::Usage, ContextValue::StyledStr(usage.into()));
    }

    if let Some(ContextValue::Strings(names)) = error.get(ContextKind::SuggestedSubcommand) {
        let names = names.iter().rev().cloned().collect();
        error.insert(
            ContextKind::SuggestedSubcommand,
            ContextValue::Strings(names),
        );
    }
    error
}

fn run(matches: &ArgMatches, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let Some((name, arguments)) = matches.subcommand() else {
        out::usage!("which command? `blueteam --help` lists them");
    };
    let Some(command) = ALL.iter().find(|command| command.name == name) else {
        out::usage!("there is no command `{name}`");
    };

    let asks_elsewhere = ELSEWHERE.iter().any(|other| other.name == command.name);
    if globals.remote.is_some() && !asks_elsewhere {
        out::usage!("--server: `blueteam {name}` works on the machine itself");
    }

    (command.run)(arguments, globals)
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
        without_examples(&mut super::program(), "blueteam", &mut found);
        assert!(found.is_empty(), "no examples: {found:?}");
    }

    #[test]
    fn arguments_do_not_contradict_each_other() {
        super::program().debug_assert();
    }
}
