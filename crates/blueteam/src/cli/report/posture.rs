//! `blueteam report posture`.

use std::path::PathBuf;
use std::process::ExitCode;

use app::posture::{self, Report};
use comfy_table::Cell;
use compliance::reports::{self, change_text, score_text};
use model::posture::Posture;
use model::{Clock as _, Span, SystemClock, Timestamp};
use serde::Serialize;

use crate::cli::out::{self, Look};
use crate::cli::session::{Globals, with_session};

/// Show the security posture: compliance, red team, monitoring, incidents.
///
/// Each part is from 0 to 100, or unknown where what it needs is not there: it is never guessed. The
/// posture is kept once a day, and compared with an earlier one.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  blueteam report posture
  blueteam report posture --earlier 2026-06-30 --output posture.pdf
  blueteam report posture --json | jq .now.overall

Exit code: 0 done, 1 failed, 2 wrong arguments.")]
pub(super) struct Args {
    /// Compare with what was kept at this time or before: a length of time ago (30d) or a date
    #[arg(long, value_name = "WHEN", value_parser = out::moment)]
    earlier: Option<Timestamp>,
    /// To this file, which must not exist: .md, .html or .pdf
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// As a JSON object
    #[arg(long, conflicts_with = "output")]
    json: bool,
}

/// What is compared, as JSON.
#[derive(Serialize)]
struct Compared<'a> {
    now: &'a Posture,
    earlier: Option<&'a Posture>,
}

pub(super) fn run(args: &Args, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let state = globals.state()?;
    let report = with_session(globals, None, async |session, loaded| {
        let now = SystemClock.now();
        let earlier = args.earlier.unwrap_or_else(|| now.minus(Span::days(30)));
        Ok(posture::report(session, &loaded.config, &state, now, earlier).await?)
    })?;

    if args.json {
        out::json(&Compared {
            now: &report.now,
            earlier: report.earlier.as_ref(),
        })?;
    } else if args.output.is_some() {
        super::write(&reports::posture(&report.known()), args.output.as_deref())?;
    } else {
        show(&report)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn show(report: &Report) -> anyhow::Result<()> {
    let since = report
        .earlier
        .as_ref()
        .map_or_else(|| "earlier".to_owned(), |then| out::time(then.at));
    let header = ["part", "score", since.as_str(), "change", "counted from"];
    let mut table = out::table(Look::stdout(), &header);
    let then = report.earlier.as_ref().map(Posture::parts);
    for (n, (name, part)) in report.now.parts().into_iter().enumerate() {
        let before = then.and_then(|parts| parts[n].1.score);
        table.add_row([
            Cell::new(name),
            Cell::new(score_text(part.score)),
            Cell::new(then.map_or_else(|| "-".to_owned(), |_| score_text(before))),
            Cell::new(change_text(part.score, before)),
            out::text(&part.basis),
        ]);
    }
    out::print(table)?;
    out::line(reports::posture_summary(&report.now))
}
