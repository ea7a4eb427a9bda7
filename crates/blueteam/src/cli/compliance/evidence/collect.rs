//! `blueteam compliance evidence`, bare: run the checks. And have them decide again from what they
//! recorded.

use std::process::ExitCode;
use std::time::Duration;

use app::compliance::checks::{self, Found, Progress, Surroundings};
use app::compliance::evidence;
use comfy_table::Color;
use compliance::checks::{CheckResult, Verdict};
use indicatif::{ProgressBar, ProgressStyle};

use super::super::grid::{Bit, Grid};
use super::super::ids::many;
use crate::cli::out;
use crate::cli::session::{Globals, with_session};

/// So many kinds of facts are read before the checks decide.
const FACTS: u64 = 8;

pub(super) const EXAMPLES: &str = "Examples:
  blueteam compliance evidence
  blueteam compliance evidence --control 3.3.8
  blueteam compliance evidence list --validity lapsing

Exit code: 0 no check found something not met, 3 one did, 1 failed, 2 wrong arguments.";

/// Which checks run.
#[derive(Debug, clap::Args)]
pub(super) struct CollectArgs {
    /// Only the checks of this requirement
    #[arg(long, value_name = "ID")]
    control: Option<String>,
    /// Only what was found, met or not met; leave out what a check can't tell
    #[arg(long)]
    found: bool,
    /// As a JSON array
    #[arg(long)]
    json: bool,
}

/// Have a check decide again from the facts that it recorded.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  blueteam compliance checks replay 8f2c1d7e90ab\n\nExit code: 0 it says the same, 3 it does not, 1 failed, 2 wrong arguments."
)]
pub(super) struct ReplayArgs {
    /// The evidence's id, or enough of its beginning or its end
    #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
    id: String,
    /// As a JSON object
    #[arg(long)]
    json: bool,
}

/// Make a check's result the approved baseline that later ones are compared with (3.4.1).
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  blueteam compliance evidence --control 3.4.1\n  blueteam \
        compliance baseline approve 8f2c1d7e90ab"
)]
pub(super) struct BaselineArgs {
    /// The evidence's id, or enough of its beginning or its end
    #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
    id: String,
    /// The person you act for; recorded beside your own account, which is who acts
    #[arg(long, value_name = "NAME")]
    on_behalf_of: Option<String>,
    /// As a JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &CollectArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let state = globals.state()?;

    // Drawn on a terminal only, which indicatif sees to.
    let bar = ProgressBar::new(FACTS);
    bar.set_style(ProgressStyle::with_template(
        "{spinner} {pos}/{len} {wide_msg}",
    )?);
    bar.enable_steady_tick(Duration::from_millis(100));

    let control = args.control.as_deref();
    let found = with_session(globals, None, async |session, loaded| {
        let around = Surroundings {
            config: &loaded.config,
            state: &state,
        };
        Ok(checks::run(session, &around, control, |progress| {
            draw_progress(&bar, progress);
        })
        .await?)
    });

    bar.finish_and_clear();
    let found = found?;
    let bad = found.iter().any(Found::is_not_met);
    let code = if bad {
        ExitCode::from(3)
    } else {
        ExitCode::SUCCESS
    };

    if args.json {
        out::json(&found)?;
        return Ok(code);
    }

    print_results(&found, args.found)?;
    Ok(code)
}

fn draw_progress(bar: &ProgressBar, progress: Progress) {
    match progress {
        Progress::Waiting { checks } => {
            bar.set_length(FACTS + checks as u64);
            bar.set_message("waiting for others who run the checks");
        }
        Progress::Reading(what) => {
            bar.set_message(format!("reading {what}"));
            bar.inc(1);
        }
        Progress::Deciding(title) => bar.set_message(title),
        Progress::Decided => bar.inc(1),
    }
}

fn print_results(found: &[Found], only_found: bool) -> anyhow::Result<()> {
    let mut table = Grid::new(&["objective", "proposed", "by what was seen"], &[]);
    let mut counts = [0_usize; 3];
    for f in found {
        for s in &f.says {
            let (n, word, color) = shown(s);
            counts[n] += 1;
            if only_found && n == 2 {
                continue;
            }

            table.row([
                s.objective_id(&f.control_id).into(),
                Bit::colored(word, color),
                s.verdict.text().into(),
            ]);
        }
    }

    table.print()?;
    let [met, not_met, open] = counts;
    let same = found.iter().filter(|f| f.confirmed).count();
    out::note(format_args!(
        "{}: {} seen to be met, {not_met} not met, {open} that they can't tell; `compliance assess` \
            decides",
        many(found.len(), "check", "checks"),
        many(met, "objective", "objectives"),
    ));

    if same > 0 {
        out::note(format_args!(
            "{} the same as before, which is confirmed",
            many(same, "result is", "results are")
        ));
    }

    Ok(())
}

pub(in crate::cli::compliance) const fn shown(
    s: &CheckResult,
) -> (usize, &'static str, Option<Color>) {
    match s.verdict {
        Verdict::Met { .. } => (0, "met", Some(Color::Green)),
        Verdict::NotMet { .. } => (1, "NOT MET", Some(Color::Red)),
        Verdict::CantTell { .. } => (2, "can't tell", None),
    }
}

pub(super) fn replay(args: &ReplayArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let replayed = with_session(globals, None, async |session, _| {
        Ok(evidence::replay(session, &args.id).await?)
    })?;
    let code = if replayed.same {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(3)
    };

    if args.json {
        out::json(&replayed)?;
        return Ok(code);
    }

    for s in &replayed.says {
        out::line(format_args!(
            "{} {}: {}",
            s.objective_id(&replayed.control_id),
            shown(s).1,
            model::text::sanitize(&s.verdict.text())
        ))?;
    }

    out::line(if replayed.same {
        "the same as was kept"
    } else {
        "NOT what was kept: the check or the record has changed"
    })?;

    Ok(code)
}

pub(super) fn baseline(args: &BaselineArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let baseline = with_session(globals, args.on_behalf_of.as_deref(), async |session, _| {
        Ok(evidence::make_baseline(session, &args.id).await?)
    })?;

    if args.json {
        out::json(&serde_json::json!({
            "baseline": baseline.evidence_id,
            "approved_by": baseline.approved_by,
        }))?;
        return Ok(ExitCode::SUCCESS);
    }

    out::line(format_args!(
        "{} is the baseline, approved by {}",
        baseline.evidence_id,
        model::text::sanitize(&baseline.approved_by)
    ))?;

    Ok(ExitCode::SUCCESS)
}
