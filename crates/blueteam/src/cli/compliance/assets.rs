//! `blueteam compliance assets`: what the assessment is about.

use std::process::ExitCode;

use app::compliance::assets::{self, Asset};
use clap::Subcommand;
use clap::builder::PossibleValuesParser;
use compliance::system::CATEGORIES;

use super::grid::Grid;
use crate::cli::out;
use crate::cli::session::{Globals, with_session};

/// Assets, each in exactly one CMMC category (32 CFR 170.19(c)).
///
/// This program and its database are a security protection asset themselves.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List them
    #[command(after_help = "Examples:\n  blueteam compliance assets list")]
    List {
        /// As a JSON array
        #[arg(long)]
        json: bool,
    },
    Set(SetArgs),
    /// Take one out
    #[command(after_help = "Examples:\n  blueteam compliance assets remove fileserver")]
    Remove {
        /// Its name
        #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
        name: String,
        /// The person you act for; recorded beside your own account, which is who acts
        #[arg(long, value_name = "NAME")]
        on_behalf_of: Option<String>,
        /// As a JSON object
        #[arg(long)]
        json: bool,
    },
}

/// Add an asset, or replace what is known of it.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  blueteam compliance assets set fileserver --category cui --owner \
        alice\n  \
                        blueteam compliance assets set printer --category specialized --treatment \
                        'policy PR-2: own VLAN, no CUI'"
)]
struct SetArgs {
    /// Its name
    #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
    name: String,
    #[arg(long, value_parser = PossibleValuesParser::new(CATEGORIES))]
    category: String,
    /// Who answers for it
    #[arg(long)]
    owner: Option<String>,
    /// What it is
    #[arg(long)]
    description: Option<String>,
    /// How it is treated: the policy for risk-managed and specialized assets; for those out of
    /// scope, why
    #[arg(long)]
    treatment: Option<String>,
    /// The person you act for; recorded beside your own account, which is who acts
    #[arg(long, value_name = "NAME")]
    on_behalf_of: Option<String>,
    /// As a JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    match &args.action {
        Action::List { json } => list_assets(*json, globals),
        Action::Set(args) => set_asset(args, globals),
        Action::Remove {
            name,
            on_behalf_of,
            json,
        } => {
            let state = globals.state()?;
            with_session(globals, on_behalf_of.as_deref(), async |session, _| {
                Ok(assets::remove(session, &state, name).await?)
            })?;

            if *json {
                out::json(&serde_json::json!({ "removed": name }))?;
            } else {
                out::line("taken out")?;
            }

            Ok(ExitCode::SUCCESS)
        }
    }
}

fn list_assets(json: bool, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let state = globals.state()?;
    let assets = with_session(globals, None, async |session, _| {
        Ok(assets::list(session, &state).await?)
    })?;
    if json {
        out::json(&assets)?;
        return Ok(ExitCode::SUCCESS);
    }

    if assets.is_empty() {
        out::line("no assets")?;
        return Ok(ExitCode::SUCCESS);
    }

    let mut table = Grid::new(
        &["asset", "category", "owner", "description", "treatment"],
        &[3],
    );
    for a in &assets {
        let text = |t: &Option<String>| t.as_deref().unwrap_or("-").into();
        table.row([
            (&a.name).into(),
            a.category.replace('_', " ").into(),
            text(&a.owner),
            text(&a.description),
            text(&a.treatment),
        ]);
    }

    table.print()?;
    Ok(ExitCode::SUCCESS)
}

fn set_asset(args: &SetArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let asset = Asset {
        name: args.name.clone(),
        category: args.category.clone(),
        owner: args.owner.clone(),
        description: args.description.clone(),
        treatment: args.treatment.clone(),
    };

    with_session(globals, args.on_behalf_of.as_deref(), async |session, _| {
        Ok(assets::set(session, &asset).await?)
    })?;

    if args.json {
        out::json(&asset)?;
        return Ok(ExitCode::SUCCESS);
    }

    out::line(format_args!(
        "{} is {}",
        model::text::sanitize(&asset.name),
        asset.category.replace('_', " ")
    ))?;

    Ok(ExitCode::SUCCESS)
}
