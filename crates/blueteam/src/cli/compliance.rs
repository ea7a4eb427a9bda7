//! `blueteam compliance`: the requirements of NIST SP 800-171, what was found about them, and what
//! follows.

mod assets;
mod evidence;
mod grid;
mod history;
mod ids;
mod oscal;
mod poam;
mod review;
mod score;
mod set;
mod sheet;
mod show;
mod ssp;
mod status;
mod when;
mod workbook;

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Subcommand;
use compliance::catalog::ObjectiveText;
use compliance::{Catalog, Requirement};
use model::{Clock as _, Control, Standing, SystemClock};
use store::PgConnection;

use super::session::Globals;
use app::claims::{self, Grounds};
pub(super) use sheet::csv as findings_sheet;
pub(super) use workbook::{csv as plans_sheet, xlsx as plans_workbook};

/// The 110 requirements of NIST SP 800-171 Rev. 2 (CMMC Level 2), objective by objective: what was
/// found, who decided so, and the score.
///
/// Checks propose a finding; a named person decides it with `set`. What nobody has decided counts
/// as not met.
///
/// Exit code: 0 done, 1 failed, 2 wrong arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Status(status::Args),
    Gaps(status::GapsArgs),
    Show(show::Args),
    Set(set::Args),
    Evidence(evidence::Args),
    Poam(poam::Args),
    Ssp(ssp::Args),
    Assets(assets::Args),
    Review(review::Args),
    Score(score::Args),
    History(history::Args),
    Import(sheet::ImportArgs),
    Export(sheet::ExportArgs),
}

pub(super) fn run(args: &Args, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    match &args.action {
        Action::Status(args) => status::run(args, globals),
        Action::Gaps(args) => status::gaps(args, globals),
        Action::Show(args) => show::run(args, globals),
        Action::Set(args) => set::run(args, globals),
        Action::Evidence(args) => evidence::run(args, globals),
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

/// Every requirement as it stands now; an error when the requirements were never loaded.
async fn controls(conn: &mut PgConnection) -> anyhow::Result<Vec<Control>> {
    let controls = store::compliance::all(conn, SystemClock.now()).await?;
    loaded(&controls)?;
    Ok(controls)
}

fn loaded(controls: &[Control]) -> anyhow::Result<()> {
    if controls.is_empty() {
        bail!("the requirements are not in the database yet; run `blueteam migrate`");
    }
    Ok(())
}

/// Notes the score after something changed, for its history.
async fn note_score(
    conn: &mut PgConnection,
    actor: &str,
    globals: Globals<'_>,
) -> anyhow::Result<()> {
    claims::note_score(conn, actor, &globals.state()?, SystemClock.now()).await
}

/// What may be claimed today, by the description of the system in the state directory.
async fn grounds(conn: &mut PgConnection, globals: Globals<'_>) -> anyhow::Result<Grounds> {
    let system = claims::description(&globals.state()?);
    let grounds = Grounds::read(conn, system, SystemClock.now()).await?;
    loaded(&grounds.controls)?;
    Ok(grounds)
}

/// What `3.1.1` or `3.1.1[a]` means.
fn find(text: &str) -> anyhow::Result<(&'static Requirement, Option<&'static ObjectiveText>)> {
    let shown = model::text::sanitize(text);
    Catalog::r2().find(text).with_context(|| {
        format!(
            "there is no `{shown}`; write a requirement (3.1.1, AC.L2-3.1.1) or an objective \
            (3.1.1[a] or 3.1.1a)"
        )
    })
}

/// The word that people read.
const fn word(standing: Standing) -> &'static str {
    match standing {
        Standing::Met => "MET",
        Standing::NotMet => "NOT MET",
        Standing::NotApplicable => "N/A",
        Standing::Stale => "stale",
        Standing::NotAssessed => "not assessed",
    }
}

/// A catalog entry and what is known of it.
fn known<'a>(requirement: &Requirement, controls: &'a [Control]) -> Option<&'a Control> {
    controls
        .iter()
        .find(|c| c.control_id == requirement.control_id)
}
