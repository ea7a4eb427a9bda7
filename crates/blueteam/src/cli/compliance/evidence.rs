//! `blueteam compliance evidence`: what findings rest on.

mod add;
pub(super) mod collect;
mod verify;

use std::process::ExitCode;

use app::compliance::evidence::{self, Filter, Listed};
use clap::Subcommand;
use model::{Evidence, Validity};

use super::grid::Grid;
use super::ids;
use crate::cli::out;
use crate::cli::session::{Globals, with_session};

/// Evidence: run the checks, or look after files and texts with their hashes, what they show, how
/// long they count, and which objectives they support.
///
/// What is taken in is kept for six years and never changed. Only what was approved counts;
/// what lapses makes the objectives that rest on it alone stale.
///
/// Without a subcommand every check runs: it looks, keeps what it saw, and proposes met or not met,
/// or says what it would need to tell. It decides nothing.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, after_help = collect::EXAMPLES)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    collect: collect::CollectArgs,
}

#[derive(Debug, Subcommand)]
enum Action {
    Add(add::Args),
    List(ListArgs),
    Show(ShowArgs),
    Approve(ApproveArgs),
    Verify(verify::VerifyArgs),
    HashList(verify::HashListArgs),
}

/// List what there is, with how long it counts.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  blueteam compliance evidence list --control 3.3.1\n  blueteam \
        compliance evidence list --validity lapsing --json"
)]
struct ListArgs {
    /// For this requirement
    #[arg(long, value_name = "ID")]
    control: Option<String>,
    /// All results of checks, not only the last of each
    #[arg(long)]
    all: bool,
    /// Only what is valid, lapsing (within 30 days), lapsed or draft; may be given several times
    #[arg(long)]
    validity: Vec<Validity>,
    /// As a JSON array
    #[arg(long)]
    json: bool,
}

/// Show one piece, with its text.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  blueteam compliance evidence show 8f2c1d7e90ab")]
struct ShowArgs {
    /// Its id, or enough of its beginning or its end
    id: String,
    /// As a JSON object
    #[arg(long)]
    json: bool,
}

/// Approve a draft: it is final from then on, and counts.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  blueteam compliance evidence approve 8f2c1d7e90ab")]
struct ApproveArgs {
    /// Its id, or enough of its beginning or its end
    id: String,
    /// The person you act for; recorded beside your own account, which is who acts
    #[arg(long, value_name = "NAME")]
    on_behalf_of: Option<String>,
    /// As a JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let Some(action) = &args.action else {
        return collect::run(&args.collect, globals);
    };
    match action {
        Action::Add(args) => add::run(args, globals),
        Action::List(args) => list_evidence(args, globals),
        Action::Show(args) => show_evidence(args, globals),
        Action::Approve(args) => approve_evidence(args, globals),
        Action::Verify(args) => verify::verify(args, globals),
        Action::HashList(args) => verify::hash_list(args, globals),
    }
}

fn list_evidence(args: &ListArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let filter = Filter {
        control: args.control.as_deref(),
        all: args.all,
        validity: &args.validity,
    };
    let state = globals.state()?;
    let listed = with_session(globals, None, async |session, _| {
        Ok(evidence::list(session, &state, &filter).await?)
    })?;

    if args.json {
        out::json(&listed)?;
    } else if listed.is_empty() {
        out::line("no evidence")?;
    } else {
        show_table(&listed)?;
    }

    Ok(ExitCode::SUCCESS)
}

fn show_table(listed: &[Listed]) -> anyhow::Result<()> {
    let mut table = Grid::new(
        &[
            "id", "kind", "counts", "until", "supports", "sha-256", "shows",
        ],
        &[5, 1, 3],
    );
    let look = table.look();

    for Listed {
        evidence: e,
        validity,
    } in listed
    {
        table.row([
            ids::shown(look, &e.evidence_id).into(),
            e.kind.into(),
            validity.into(),
            out::maybe_day(e.valid_until).into(),
            ids::objectives(&e.objectives).into(),
            look.id(&e.sha256.as_deref().unwrap_or("-"), 8).into(),
            (&e.description).into(),
        ]);
    }

    table.print()
}

fn show_evidence(args: &ShowArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let state = globals.state()?;
    let listed = with_session(globals, None, async |session, _| {
        Ok(evidence::show(session, &state, &args.id).await?)
    })?;
    if args.json {
        out::json(&listed)?;
    } else {
        show_piece(&listed.evidence, listed.validity)?;
    }

    Ok(ExitCode::SUCCESS)
}

fn show_piece(e: &Evidence, validity: Validity) -> anyhow::Result<()> {
    out::line(format_args!(
        "{}  {}  {}\n",
        e.evidence_id,
        e.kind,
        model::text::sanitize(&e.description)
    ))?;
    out::line(format_args!(
        "counts      {validity}, until {}",
        out::maybe_time(e.valid_until)
    ))?;

    out::line(format_args!(
        "supports    {}",
        ids::objectives(&e.objectives)
    ))?;
    out::line(format_args!(
        "effective   {}",
        out::maybe_time(e.effective_at)
    ))?;

    out::line(format_args!(
        "taken in    {} by {}",
        out::time(e.collected_at),
        model::text::sanitize(e.collected_by.as_deref().unwrap_or("-"))
    ))?;
    out::line(format_args!(
        "approved    {} by {}{}",
        out::maybe_time(e.approved_at),
        model::text::sanitize(e.approved_by.as_deref().unwrap_or("-")),
        if e.is_self_approved() {
            ", who also collected it"
        } else {
            ""
        }
    ))?;

    if e.confirmed_at.is_some() {
        out::line(format_args!(
            "confirmed   {} by its check: it saw the same again",
            out::maybe_time(e.confirmed_at)
        ))?;
    }

    out::line(format_args!(
        "owner       {}",
        model::text::sanitize(e.owner.as_deref().unwrap_or("-"))
    ))?;
    out::line(format_args!("kept until  {}", out::time(e.retain_until)))?;
    out::line(format_args!(
        "file        {}",
        model::text::sanitize(e.file_name.as_deref().unwrap_or("-"))
    ))?;

    out::line(format_args!(
        "sha-256     {}",
        e.sha256.as_deref().unwrap_or("-")
    ))?;

    if let Some(content) = &e.content {
        let lines: Vec<_> = content.lines().map(model::text::sanitize).collect();
        out::line(format_args!("\n{}", lines.join("\n")))?;
    }

    Ok(())
}

fn approve_evidence(args: &ApproveArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let on_behalf_of = args.on_behalf_of.as_deref();
    let listed = with_session(globals, on_behalf_of, async |session, loaded| {
        Ok(evidence::approve(
            session,
            &args.id,
            loaded.config.compliance.separate_approver,
        )
        .await?)
    })?;
    if args.json {
        out::json(&listed)?;
        return Ok(ExitCode::SUCCESS);
    }

    out::line(format_args!(
        "{} is final, by {}",
        listed.evidence.evidence_id,
        model::text::sanitize(listed.evidence.approved_by.as_deref().unwrap_or("-"))
    ))?;

    Ok(ExitCode::SUCCESS)
}

/// The automated checks: run them, or have their results decided again.
#[derive(Debug, clap::Args)]
pub(super) struct ChecksArgs {
    #[command(subcommand)]
    action: ChecksAction,
}

#[derive(Debug, Subcommand)]
enum ChecksAction {
    /// Run every check (also `blueteam compliance evidence`)
    #[command(after_help = collect::EXAMPLES)]
    Run(collect::CollectArgs),
    Replay(collect::ReplayArgs),
}

pub(super) fn run_checks(args: &ChecksArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    match &args.action {
        ChecksAction::Run(args) => collect::run(args, globals),
        ChecksAction::Replay(args) => collect::replay(args, globals),
    }
}

/// The approved state that later results of checks are compared with.
#[derive(Debug, clap::Args)]
pub(super) struct BaselineArgs {
    #[command(subcommand)]
    action: BaselineAction,
}

#[derive(Debug, Subcommand)]
enum BaselineAction {
    Approve(collect::BaselineArgs),
}

pub(super) fn run_baseline(args: &BaselineArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let BaselineAction::Approve(args) = &args.action;
    collect::baseline(args, globals)
}
