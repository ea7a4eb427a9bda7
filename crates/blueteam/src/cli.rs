//! The command line. One file per command: its arguments and its `run`.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod config;

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
enum Command {
    /// Check or show the configuration
    Config(config::Args),
}

/// Runs the command that the arguments name; 2 is a usage error, as clap has it, 1 is every other failure.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Command::Config(args) => config::run(&args, cli.config.as_deref()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing can be done about a standard error that is gone.
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
