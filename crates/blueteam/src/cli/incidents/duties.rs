//! `incidents decide`, `report` and `reported`: duties to report.

use std::path::PathBuf;
use std::process::ExitCode;

use app::incidents::{self, Choice, Told};
use model::{Clock as _, SystemClock, Timestamp};

use super::{Behalf, say, settled};
use crate::cli::out;
use crate::cli::report;
use crate::cli::session::{Globals, with_session};

/// Decide whether an incident must be reported
///
/// Where events saw CUI, the clock of DFARS 252.204-7012 runs until someone decides. The newest
/// decision counts, and every one stays on record. It can be decided on a closed incident as well.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  blueteam incidents decide 01a2 yes --reason 'drawings of contract N00019 were opened'
  blueteam incidents decide 01a2 no --reason 'the file was a template without CUI'
  blueteam incidents decide 01a2 yes --duty gdpr --reason 'addresses of 40 employees'")]
pub(super) struct DecideArgs {
    /// The ID of the incident, or its first characters
    id: String,
    /// Whether it must be
    answer: YesNo,
    /// The duty: dfars, or one of [incidents] clocks in the configuration
    #[arg(long, default_value = incidents::DFARS)]
    duty: String,
    /// Why
    #[arg(long)]
    reason: String,
    /// The version of the incident that you saw
    #[arg(long, value_name = "N")]
    version: Option<u64>,
    #[command(flatten)]
    behalf: Behalf,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum YesNo {
    /// It must be reported
    Yes,
    /// It need not be
    No,
}

pub(super) fn decide(args: &DecideArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let choice = Choice {
        version: args.version,
        duty: &args.duty,
        applies: matches!(args.answer, YesNo::Yes),
        reason: &args.reason,
    };
    let incident = with_session(globals, args.behalf.name(), async |session, loaded| {
        settled(incidents::decide(session, &loaded.config, &args.id, &choice).await)
    })?;
    say(&incident)
}

/// Write the report of an incident, with the worksheet for DC3 where it may have to be reported
///
/// The worksheet has the fields of DC3's portal in their order, filled from the case; it says which
/// are missing. A person types it in there: it is not a file that DC3 accepts.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  blueteam incidents report 01a2
  blueteam incidents report 01a2 --output incident.pdf
  blueteam incidents report 01a2 --worksheet --json | jq .missing")]
pub(super) struct ReportArgs {
    /// The ID of the incident, or its first characters
    id: String,
    /// To this file, which must not exist: .md, .html or .pdf [default: Markdown to standard output]
    #[arg(long, value_name = "FILE", conflicts_with = "worksheet")]
    output: Option<PathBuf>,
    /// Only the worksheet for DC3
    #[arg(long)]
    worksheet: bool,
    /// As a JSON object
    #[arg(long, conflicts_with = "output")]
    json: bool,
}

pub(super) fn report(args: &ReportArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let state = globals.state()?;
    let now = SystemClock.now();
    let (document, sheet) = with_session(globals, None, async |session, loaded| {
        let config = &loaded.config;
        let case = settled(incidents::case(session, config, &args.id).await)?;
        let sheet = incidents::worksheet(session, &state, &case).await?;
        let document = incidents::report(session, config, &state, &case, now).await?;
        Ok((document, sheet))
    })?;
    match (args.worksheet, args.json) {
        (true, true) => out::json(&sheet)?,
        (false, true) => out::json(&document)?,
        (true, false) => {
            out::line(sheet.about)?;
            out::line(format_args!("The portal: {}\n", sheet.portal))?;
            for field in &sheet.fields {
                let value = field.value.as_deref().unwrap_or("(to be filled in)");
                let value = model::text::sanitize(value);
                out::line(format_args!(
                    "{:>2}. {}: {}",
                    field.number,
                    field.name,
                    value.replace('\n', "\n    ")
                ))?;
            }
        }
        (false, false) => report::write(&document, args.output.as_deref())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Record that an incident was reported, and the number that came back
///
/// The first report ends the clock; later ones follow up. Evidence is kept for 90 days from the
/// report to DoD (DFARS 252.204-7012 (e)).
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  blueteam incidents reported 01a2 --number DC3-2026-0417
  blueteam incidents reported 01a2 --duty gdpr --at 2026-11-30T16:00:00Z --remark 'by their form'")]
pub(super) struct ReportedArgs {
    /// The ID of the incident, or its first characters
    id: String,
    /// The duty: dfars, or one of [incidents] clocks in the configuration
    #[arg(long, default_value = incidents::DFARS)]
    duty: String,
    /// When it was sent: a length of time ago, or a time with its zone [default: now]
    #[arg(long, value_name = "WHEN", value_parser = out::moment)]
    at: Option<Timestamp>,
    /// The number that came back
    #[arg(long)]
    number: Option<String>,
    /// What else is to be known of it
    #[arg(long, value_name = "TEXT")]
    remark: Option<String>,
    #[command(flatten)]
    behalf: Behalf,
}

pub(super) fn reported(args: &ReportedArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let told = Told {
        duty: &args.duty,
        sent_at: args.at.unwrap_or_else(|| SystemClock.now()),
        number: args.number.as_deref(),
        remark: args.remark.as_deref(),
    };
    let incident = with_session(globals, args.behalf.name(), async |session, loaded| {
        settled(incidents::reported(session, &loaded.config, &args.id, &told).await)
    })?;
    say(&incident)
}

/// End the hold of an incident: events that are kept for it alone go by their retention again
///
/// A hold begins with an incident that must be reported to DoD, or may have to be, and ends by itself
/// 90 days after the report (DFARS 252.204-7012 (e)).
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  blueteam incidents release 01a2 --reason 'DC3 has what it asked for, says its letter of May 4'")]
pub(super) struct ReleaseArgs {
    /// The ID of the incident, or its first characters
    id: String,
    /// Why nothing needs to be kept for it any more
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    behalf: Behalf,
}

pub(super) fn release(args: &ReleaseArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let incident = with_session(globals, args.behalf.name(), async |session, loaded| {
        settled(incidents::release(session, &loaded.config, &args.id, &args.reason).await)
    })?;
    say(&incident)
}
