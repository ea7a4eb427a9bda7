//! `blueteam config`: is the file right, and what may it hold?

use std::io::Write as _;
use std::path::Path;

use clap::Subcommand;

use crate::{config, settings};

/// What to do.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Check the file and the environment, and say what is wrong where
    Check,
    /// Print a sample with every key, its default and what it means
    Sample,
}

pub(super) fn run(args: &Args, file: Option<&Path>) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match args.action {
        Action::Check => {
            let loaded = settings::load(file)?;
            settings::sigma(&loaded.config)?;
            for warning in loaded.config.warnings() {
                super::out::note(format_args!("warning: {warning}"));
            }
            writeln!(out, "the configuration is right")?;
        }
        Action::Sample => out.write_all(config::SAMPLE.as_bytes())?,
    }
    Ok(())
}
