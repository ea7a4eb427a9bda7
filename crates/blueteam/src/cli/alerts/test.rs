//! `blueteam alerts test`: does the message arrive?

use std::io::Write as _;
use std::process::ExitCode;

use app::channels::{Receipt, SendError, send_test};
use model::{Channel, Severity};

use crate::cli::out::{self, Look};
use crate::cli::session::{Globals, actor, block_on};

pub(super) const EXAMPLES: &str = "Examples:
  blueteam alerts test
  blueteam alerts test email --severity critical

Exit code: 0 every channel took the message, 1 one did not, 2 wrong arguments.";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[arg(value_parser = notify::channels::parse, help = channel_help())]
    channel: Option<Channel>,
    /// The severity that the message carries
    #[arg(long, default_value_t = Severity::Info)]
    severity: Severity,
}

/// Names every channel that there is.
fn channel_help() -> String {
    let mut names = notify::channels::names();
    let last = names.pop().unwrap_or_default();
    format!(
        "{} or {last}; without it, each one that is configured",
        names.join(", ")
    )
}

pub(super) fn run(args: &Args, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let loaded = globals.load()?;
    let hostname = app::actor::hostname();
    let stdout = Box::new(std::io::stdout());
    let channels = loaded.open_channels(stdout, Look::stdout().color, &hostname)?;

    let mut failed = 0;
    let mut printed = Ok(());
    let each = |channel, answer: Result<Receipt, SendError>| {
        failed += u32::from(answer.is_err());
        let line = print_answer(channel, answer);
        if printed.is_ok() {
            printed = line;
        }
    };

    let actor = actor(None);
    block_on(async { Ok(send_test(&actor, &channels, args.channel, args.severity, each).await?) })?;
    printed?;
    std::io::stdout().flush()?;

    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn print_answer(channel: Channel, answer: Result<Receipt, SendError>) -> anyhow::Result<()> {
    match answer {
        Ok(receipt) => out::line(format_args!("{channel}: sent ({})", receipt.detail)),
        Err(error) => out::line(format_args!(
            "{channel}: FAILED: {}\n  advice: {}",
            error.what, error.advice
        )),
    }
}
