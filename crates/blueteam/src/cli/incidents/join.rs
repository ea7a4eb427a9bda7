//! `incidents link`, `unlink`, `split` and `merge`.

use std::process::ExitCode;

use app::incidents;

use super::{Behalf, say, settled};
use crate::cli::session::{Globals, with_session};

/// Put alerts into an incident
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  blueteam incidents link 01a2 3f2a 77c0 --reason 'the same password list'")]
pub(super) struct LinkArgs {
    /// The ID of the incident, or its first characters
    id: String,
    /// The alerts: their IDs, or the first characters
    #[arg(required = true)]
    alerts: Vec<String>,
    /// Why they belong to it
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    behalf: Behalf,
}

pub(super) fn link(args: &LinkArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let incident = with_session(globals, args.behalf.name(), async |session, loaded| {
        let config = &loaded.config;
        settled(incidents::link(session, config, &args.id, &args.alerts, &args.reason).await)
    })?;
    say(&incident)
}

/// Take alerts out of an incident; they do not go back by themselves
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  blueteam incidents unlink 01a2 77c0 --reason 'our own scanner'")]
pub(super) struct UnlinkArgs {
    /// The ID of the incident, or its first characters
    id: String,
    /// The alerts: their IDs, or the first characters
    #[arg(required = true)]
    alerts: Vec<String>,
    /// Why they do not belong to it
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    behalf: Behalf,
}

pub(super) fn unlink(args: &UnlinkArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let incident = with_session(globals, args.behalf.name(), async |session, loaded| {
        let config = &loaded.config;
        settled(incidents::unlink(session, config, &args.id, &args.alerts, &args.reason).await)
    })?;
    say(&incident)
}

/// Give some alerts of an incident one of their own
///
/// It counts as discovered when the first one was: splitting gains no time.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  blueteam incidents split 01a2 77c0 --title 'Scan of the web shop' --reason 'another attacker'")]
pub(super) struct SplitArgs {
    /// The ID of the incident, or its first characters
    id: String,
    /// The alerts: their IDs, or the first characters
    #[arg(required = true)]
    alerts: Vec<String>,
    /// The title of the new one
    #[arg(long)]
    title: String,
    /// Why they are another incident
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    behalf: Behalf,
}

pub(super) fn split(args: &SplitArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let incident = with_session(globals, args.behalf.name(), async |session, loaded| {
        settled(
            incidents::split(
                session,
                &loaded.config,
                &args.id,
                &args.alerts,
                &args.title,
                &args.reason,
            )
            .await,
        )
    })?;
    say(&incident)
}

/// Make an incident part of another one, or take that back
///
/// The earliest discovery of both counts, and the shortest clock.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  blueteam incidents merge 01a2 01b7 --reason 'one attacker, two accounts'
  blueteam incidents merge 01a2 --undo --reason 'they are two after all'")]
pub(super) struct MergeArgs {
    /// The incident that becomes part of the other: its ID, or the first characters
    id: String,
    /// The other one
    #[arg(required_unless_present = "undo", conflicts_with = "undo")]
    into: Option<String>,
    /// Take it out again: it stands where it stood, with its alerts
    #[arg(long)]
    undo: bool,
    /// Why
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    behalf: Behalf,
}

pub(super) fn merge(args: &MergeArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let merged = with_session(globals, args.behalf.name(), async |session, loaded| {
        let (config, reason) = (&loaded.config, args.reason.as_str());
        settled(match &args.into {
            Some(into) => incidents::merge(session, config, &args.id, into, reason).await,
            None => incidents::undo_merge(session, config, &args.id, reason).await,
        })
    })?;
    say(&merged.from)?;
    say(&merged.into)
}
