//! `blueteam compliance`: the requirements of NIST SP 800-171, what was found about them, and what
//! follows.

mod assess;
mod assets;
mod evidence;
mod grid;
mod history;
mod ids;
mod poam;
mod review;
mod score;
mod sheet;
mod show;
mod ssp;
mod status;
mod when;

use std::process::ExitCode;

use clap::{Args as _, Subcommand};
use model::Standing;

use super::session::Globals;
use super::{Command, parsed};

pub(super) const COMMAND: Command = Command {
    name: "compliance",
    arguments: Args::augment_args,
    run: |matches, globals| run(&parsed(matches), globals),
};

/// The 110 requirements of NIST SP 800-171 Rev. 2 (CMMC Level 2), objective by objective: what was
/// found, who decided so, and the score.
///
/// Checks propose a finding; a named person decides it with `assess`. What nobody has decided
/// counts as not met.
///
/// Exit code: 0 done, 1 failed, 2 wrong arguments.
#[derive(Debug, clap::Args)]
struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Status(status::Args),
    Gaps(status::GapsArgs),
    Show(show::Args),
    Assess(assess::Args),
    Evidence(evidence::Args),
    Checks(evidence::ChecksArgs),
    Baseline(evidence::BaselineArgs),
    Poam(poam::Args),
    Ssp(ssp::Args),
    Assets(assets::Args),
    Review(review::Args),
    Score(score::Args),
    History(history::Args),
    Import(sheet::ImportArgs),
    Export(sheet::ExportArgs),
}

fn run(args: &Args, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    match &args.action {
        Action::Status(args) => status::run(args, globals),
        Action::Gaps(args) => status::gaps(args, globals),
        Action::Show(args) => show::run(args, globals),
        Action::Assess(args) => assess::run(args, globals),
        Action::Evidence(args) => evidence::run(args, globals),
        Action::Checks(args) => evidence::run_checks(args, globals),
        Action::Baseline(args) => evidence::run_baseline(args, globals),
        Action::Poam(args) => poam::run(args, globals),
        Action::Ssp(args) => ssp::run(args, globals),
        Action::Assets(args) => assets::run(args, globals),
        Action::Review(args) => review::run(args, globals),
        Action::Score(args) => score::run(args, globals),
        Action::History(args) => history::run(args, globals),
        Action::Import(args) => sheet::import(args, globals),
        Action::Export(args) => sheet::export(args, globals),
    }
}

/// The word that people read.
const fn standing_word(standing: Standing) -> &'static str {
    match standing {
        Standing::Met => "MET",
        Standing::NotMet => "NOT MET",
        Standing::NotApplicable => "N/A",
        Standing::Stale => "stale",
        Standing::NotAssessed => "not assessed",
    }
}
