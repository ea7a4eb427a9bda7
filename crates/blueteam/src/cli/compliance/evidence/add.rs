//! `blueteam compliance evidence add`.

use std::path::PathBuf;
use std::process::ExitCode;

use app::compliance::evidence::{self, NewEvidence, Source};
use model::{EvidenceKind, Span, Timestamp};

use super::super::when::day;
use crate::cli::out;
use crate::cli::session::{Globals, with_session};

/// Take in a file or a text as evidence.
///
/// The file is copied below the state directory under its SHA-256. Without --final it is a draft
/// until it is approved.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  blueteam compliance evidence add policy.pdf --supports 3.1.1 --kind policy_doc --shows 'access \
  control policy 4.2' --for 365d --final
  blueteam compliance evidence add --text 'asked the two administrators; both named the \
  procedure' --supports 3.6.1a --kind test_result --shows 'interview'

Exit code: 0 done, 1 failed, 2 wrong arguments.")]
pub(super) struct Args {
    /// The file
    #[arg(required_unless_present = "text", conflicts_with = "text")]
    file: Option<PathBuf>,
    /// A text in the place of a file
    #[arg(long)]
    text: Option<String>,
    /// A requirement (all of its objectives) or an objective that it supports; may be given several
    /// times
    #[arg(long, required = true, value_name = "ID")]
    supports: Vec<String>,
    /// log_sample, config_screenshot, test_result, policy_doc, scan_result
    #[arg(long)]
    kind: EvidenceKind,
    /// What it shows, in a sentence
    #[arg(long, value_name = "SENTENCE")]
    shows: String,
    /// From when on it says so (2027-01-31, or a time with its zone); without it, now
    #[arg(long, value_parser = day, value_name = "TIME")]
    effective: Option<Timestamp>,
    /// For how long from then on it counts (365d); without it, without end
    #[arg(long = "for", value_name = "TIME")]
    length: Option<Span>,
    /// Who answers for it
    #[arg(long)]
    owner: Option<String>,
    /// It is approved: no draft and no working paper
    #[arg(long = "final")]
    approved: bool,
    /// The person you act for; recorded beside your own account, which is who acts
    #[arg(long, value_name = "NAME")]
    on_behalf_of: Option<String>,
    /// As a JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let source = match (&args.file, &args.text) {
        (Some(file), _) => Source::File(file),
        (None, text) => Source::Text(text.as_deref().unwrap_or_default()),
    };
    let new = NewEvidence {
        source,
        supports: &args.supports,
        kind: args.kind,
        shows: &args.shows,
        effective: args.effective,
        valid_for: args.length,
        owner: args.owner.as_deref(),
        approved: args.approved,
    };

    let state = globals.state()?;
    let on_behalf_of = args.on_behalf_of.as_deref();
    let evidence = with_session(globals, on_behalf_of, async |session, loaded| {
        let separate = loaded.config.compliance.separate_approver;
        Ok(evidence::add(session, &state, &new, separate).await?)
    })?;

    if args.json {
        out::json(&evidence)?;
        return Ok(ExitCode::SUCCESS);
    }

    let state = if args.approved {
        "final"
    } else {
        "a draft: approve it before it counts"
    };

    out::line(format_args!(
        "{} ({state})\nsha-256 {}",
        evidence.evidence_id,
        evidence.sha256.as_deref().unwrap_or("-")
    ))?;

    Ok(ExitCode::SUCCESS)
}
