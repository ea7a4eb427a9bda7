//! `blueteam compliance evidence add`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use model::{
    Clock as _, Evidence, EvidenceId, EvidenceKind, ObjectiveId, Span, SystemClock, Timestamp,
};
use uuid::Uuid;

use super::super::find;
use super::super::when::{actor, day};
use crate::cli::out;
use crate::cli::session::{Globals, with_database};
use app::evidence_store::{self, EvidenceStore};

/// Take in a file or a text as evidence.
///
/// The file is copied below the state directory under its SHA-256. Without --final it is a draft
/// until somebody approves it.
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
    /// For how long from then on it counts (365d); without it, for good
    #[arg(long = "for", value_name = "TIME")]
    length: Option<Span>,
    /// Who answers for it
    #[arg(long)]
    owner: Option<String>,
    /// It is approved: no draft and no working paper
    #[arg(long = "final")]
    approved: bool,
    /// Who takes it in, and with --final approves it; without it, the system's user name
    #[arg(long = "as", value_name = "NAME")]
    actor: Option<String>,
    /// As a JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let now = SystemClock.now();
    let who = actor(args.actor.as_deref())?;
    let mut evidence = piece(args, &who, now)?;
    let state = globals.state()?;
    state.create()?;

    match (&args.file, &args.text) {
        (Some(file), _) => {
            evidence.file_name = Some(file_name(file)?);
            let kept = EvidenceStore::new(state.path()).take(file)?;
            (evidence.file_path, evidence.size_bytes, evidence.sha256) =
                (Some(kept.path), Some(kept.size), Some(kept.sha256));
        }
        (None, text) => {
            let text = text.clone().unwrap_or_default();
            if text.trim().is_empty() || text.len() > 1 << 20 {
                out::usage!("--text: from one character to 1 MiB");
            }
            evidence.size_bytes = Some(text.len() as u64);
            evidence.sha256 = Some(evidence_store::sha256(text.as_bytes()));
            evidence.content = Some(text);
        }
    }

    with_database(globals, async |conn, _| {
        Ok(store::evidence::add(conn, &who, &evidence).await?)
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

/// The piece without its content.
fn piece(args: &Args, who: &str, now: Timestamp) -> anyhow::Result<Evidence> {
    let mut objectives: Vec<ObjectiveId> = Vec::new();
    let mut first = None;
    for id in &args.supports {
        let (requirement, objective) = find(id)?;
        first.get_or_insert_with(|| requirement.control_id.clone());
        match objective {
            Some(o) => objectives.push(o.id.clone()),
            None => objectives.extend(
                requirement
                    .assessment_objectives
                    .iter()
                    .map(|o| o.id.clone()),
            ),
        }
    }

    objectives.sort();
    objectives.dedup();
    if !(3..=500).contains(&args.shows.trim().chars().count()) {
        out::usage!("--shows: from 3 to 500 characters");
    }

    let effective = args.effective.unwrap_or(now);
    let control = first.context("--supports: name a requirement or an objective")?;
    Ok(Evidence {
        objectives,
        description: args.shows.trim().to_owned(),
        effective_at: Some(effective),
        valid_until: args.length.map(|length| effective.plus(length)),
        owner: args.owner.clone(),
        approved_by: args.approved.then(|| who.to_owned()),
        approved_at: args.approved.then_some(now),
        ..Evidence::draft(EvidenceId(Uuid::now_v7()), control, args.kind, who, now)
    })
}

/// The name that the file had, if a list of hashes can hold it.
fn file_name(file: &std::path::Path) -> anyhow::Result<String> {
    let name = file
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let unfit = |c: char| c.is_control() || c == '\\' || c == '/';
    if name.is_empty() || name.len() > 255 || name.contains(unfit) {
        bail!(
            "the name of the file must be UTF-8 without control characters and backslashes; \
                rename it"
        );
    }

    Ok(name.to_owned())
}
