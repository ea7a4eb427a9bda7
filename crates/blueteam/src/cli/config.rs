//! `blueteam config`: is the file right, and what may it hold?

use std::io::Write as _;
use std::path::Path;

use clap::Subcommand;
use model::{Clock as _, SystemClock};
use serde_json::{Value, json};

use app::certificates;

/// What to do.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Check the file and the environment, and say what is wrong where
    Check {
        /// As a JSON object: whether it is right, and what is wrong at which place
        #[arg(long)]
        json: bool,
    },
    /// Print a sample with every key, its default and what it means
    Sample,
}

/// All that a start would refuse, and what it would warn of.
fn check_file(file: Option<&Path>) -> anyhow::Result<Vec<String>> {
    let loaded = config::load(file, config::environment())?;
    config::rules::sigma(&loaded.config)?;
    certificates::read_all(&loaded.config)?;

    // Some ways out want a runtime when they are opened; none speaks to anybody yet.
    super::session::block_on(async {
        let settings = loaded.channel_settings(Box::new(std::io::sink()), false, "localhost")?;
        Ok(notify::Channels::open(settings).map(|_| ())?)
    })?;

    let now = SystemClock.now();
    let certificates = certificates::expiries(&loaded.config);
    let soon = certificates
        .iter()
        .filter_map(|certificate| certificate.warning(now));

    Ok(loaded.config.warnings().into_iter().chain(soon).collect())
}

/// What is wrong, for a program: each with its place, as `file:line:column` or `environment
/// variable NAME`.
fn problem_values(error: &anyhow::Error) -> Vec<Value> {
    match error.downcast_ref::<config::ConfigErrors>() {
        Some(errors) => errors
            .0
            .iter()
            .map(|e| json!({ "place": e.place.to_string(), "key": e.key, "message": e.message }))
            .collect(),
        None => vec![json!({ "place": null, "key": "", "message": format!("{error:#}") })],
    }
}

pub(super) fn run(args: &Args, file: Option<&Path>) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match args.action {
        Action::Check { json } => {
            let checked = check_file(file);
            let warnings = checked.as_ref().map(Vec::as_slice).unwrap_or_default();
            if json {
                let problems = checked
                    .as_ref()
                    .err()
                    .map(problem_values)
                    .unwrap_or_default();
                let found =
                    json!({ "ok": checked.is_ok(), "problems": problems, "warnings": warnings });
                serde_json::to_writer_pretty(&mut out, &found)?;
                writeln!(out)?;
            } else if checked.is_ok() {
                for warning in warnings {
                    super::out::note(format_args!("warning: {warning}"));
                }
                writeln!(out, "the configuration is right")?;
            }

            checked?;
        }
        Action::Sample => out.write_all(config::SAMPLE.as_bytes())?,
    }

    Ok(())
}
