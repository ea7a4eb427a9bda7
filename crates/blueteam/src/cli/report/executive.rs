//! `blueteam report executive`.

use std::path::PathBuf;
use std::process::ExitCode;

use app::posture;
use compliance::reports;
use model::{Clock as _, Span, SystemClock, Timestamp};

use crate::cli::out;
use crate::cli::session::{Globals, with_session};

/// Write two pages for whoever decides on money and people: what happened, what it means, what changed,
/// what is needed, what it costs to do nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  blueteam report executive
  blueteam report executive --since 90d --output quarter.pdf

Exit code: 0 done, 1 failed, 2 wrong arguments.")]
pub(super) struct Args {
    /// From when: a length of time ago (90d) or a date [default: 30 days ago]
    #[arg(long, value_name = "WHEN", value_parser = out::moment)]
    since: Option<Timestamp>,
    /// To this file, which must not exist: .md, .html or .pdf [default: Markdown to standard output]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(super) fn run(args: &Args, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let state = globals.state()?;
    let report = with_session(globals, None, async |session, loaded| {
        let now = SystemClock.now();
        let since = args.since.unwrap_or_else(|| now.minus(Span::days(30)));
        Ok(posture::executive(session, &loaded.config, &state, now, since).await?)
    })?;
    super::write(&reports::executive(&report.known()), args.output.as_deref())?;
    Ok(ExitCode::SUCCESS)
}
