//! `blueteam migrate`: schema and table of rules.

use std::process::ExitCode;

use store::Connection as _;

use super::out;
use super::session::{Globals, block_on};
use app::database::{Database, Role};

/// Bring the schema up to date, and write the rules (built in and those of `detection.rules_dir`)
/// and the requirements of NIST SP 800-171 into their tables.
///
/// Safe to run at any time and as often as you like: what is up to date is left alone, what an
/// operator set for a rule stays. The daemon does the same when it starts.
///
/// Exit code: 0 done, 1 failed, 2 wrong arguments.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  blueteam migrate\n  DATABASE_URL=postgres://owner@db.example/app \
        blueteam migrate"
)]
pub(super) struct Args {}

pub(super) fn run(Args {}: &Args, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let (loaded, state) = (globals.load()?, globals.state()?);
    let sigma = config::rules::sigma(&loaded.config)?;
    block_on(async {
        let database = Database::open(&loaded, &state).await?;
        let done = async {
            let before = match database.connect(Role::Operator).await {
                Ok(mut conn) => store::posture::schema(&mut conn)
                    .await
                    .map_or(0, |schema| schema.applied),
                // No database or no roles yet: that is what we are here for.
                Err(_) => 0,
            };

            database.migrate().await?;
            let mut conn = database.connect(Role::Operator).await?;
            let after = store::posture::schema(&mut conn).await?.applied;
            let changed = app::rules::sync_rules(&mut conn, &sigma).await?;
            let requirements = app::rules::sync_catalog(&mut conn).await?;
            let rules = detect::rules::ALL.len() + sigma.infos().count();

            // Nothing hangs on a polite goodbye.
            let _ = conn.close().await;
            anyhow::Ok((before, after, changed, rules, requirements))
        };

        let done = done.await;
        database.leave().await?;
        let (before, after, changed, rules, requirements) = done?;
        if before == after {
            out::line(format_args!("schema: up to date (version {after})"))?;
        } else {
            out::line(format_args!(
                "schema: brought from version {before} to {after}"
            ))?;
        }

        let known = rules + monitors::ALL.len();
        out::line(format_args!(
            "rules and monitors: {known} known, {changed} written"
        ))?;
        let catalog = compliance::Catalog::r2();
        out::line(format_args!(
            "{}: {} requirements, {requirements} rows written",
            catalog.name(),
            catalog.requirements.len()
        ))?;

        Ok(ExitCode::SUCCESS)
    })
}
