//! `blueteam alerts verdict`.

use std::process::ExitCode;
use std::str::FromStr as _;

use app::alerts::{self, Judged};
use model::Verdict;
use model::text::sanitize;

use crate::cli::out;
use crate::cli::session::{Globals, with_session};

/// Say what an alert turned out to be.
///
/// A verdict tells rules that find attacks from rules that make noise (`upkeep show`, the console's
/// trends). The alert itself stays as it was recorded, and a later verdict replaces an earlier one:
/// true_positive (an attack, or an attempt at one), benign_positive (it did happen and was expected,
/// such as an ordered scan), false_positive (it did not happen), undetermined (takes a verdict back).
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  blueteam alerts verdict 3f2a81c0 true_positive\n  blueteam alerts \
        verdict 3f2a81c0 benign_positive --note 'quarterly scan, ticket 4711'"
)]
pub(super) struct Args {
    /// The alert's ID, or enough of its beginning
    #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
    id: String,
    /// What it turned out to be
    #[arg(value_parser = Verdict::from_str)]
    verdict: Verdict,
    /// Why, from 3 to 4000 characters; needed for all but true_positive
    #[arg(long)]
    note: Option<String>,
    /// The person for whom you act; stands beside your own account in the record
    #[arg(long, value_name = "NAME")]
    on_behalf_of: Option<String>,
}

pub(super) fn run(args: &Args, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let on_behalf_of = args.on_behalf_of.as_deref();
    let alert = with_session(globals, on_behalf_of, async |session, _| {
        Ok(alerts::judge(session, &args.id, args.verdict, args.note.as_deref()).await?)
    })?;
    out::line(format_args!(
        "{}: {} ({})",
        alert.alert_id,
        args.verdict,
        sanitize(&alert.title)
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// The verdicts on an alert.
pub(super) fn print(verdicts: &[Judged]) -> anyhow::Result<()> {
    for judged in verdicts {
        let note = judged.note.as_deref().unwrap_or("-");
        out::line(format_args!(
            "verdict      {} by {} at {}: {}",
            judged.verdict,
            sanitize(&judged.decided_by),
            out::time(judged.decided_at),
            sanitize(note)
        ))?;
    }
    Ok(())
}
