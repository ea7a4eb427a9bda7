//! `blueteam config`: is the file right, and what may it hold?

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use clap::{Args as _, Subcommand};
use model::{Clock as _, SystemClock};
use serde_json::{Value, json};

use super::session::Globals;
use super::{Command, parsed};
use app::certificates;

pub(super) const COMMAND: Command = Command {
    name: "config",
    arguments: Args::augment_args,
    run: |matches, globals| run(&parsed(matches), globals),
};

/// Check or show the configuration
#[derive(Debug, clap::Args)]
struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Check the file and the environment, and say what is wrong where
    #[command(
        after_help = "Examples:\n  blueteam --config /etc/blueteam.toml config check\n  \
        blueteam config check --json | jq -r '.problems[].message'"
    )]
    Check {
        /// As a JSON object: whether it is right, and what is wrong at which place
        #[arg(long)]
        json: bool,
    },
    /// Print a sample with every key, its default and what it means
    #[command(after_help = "Examples:\n  blueteam config sample > blueteam.toml")]
    Sample,
}

/// What the configuration is like.
#[derive(Default)]
struct Checked {
    /// What a start would refuse.
    problems: Vec<Problem>,
    /// What it would warn of, and what is probably not meant.
    warnings: Vec<String>,
}

/// One thing that is wrong, and where: `file:line:column` or `environment variable NAME`.
struct Problem {
    place: Option<String>,
    key: String,
    message: String,
}

impl Problem {
    fn of_errors(errors: config::ConfigErrors) -> Vec<Self> {
        let of = |error: config::ConfigError| Self {
            place: Some(error.place.to_string()),
            key: error.key,
            message: error.message,
        };
        errors.0.into_iter().map(of).collect()
    }

    fn elsewhere(error: &anyhow::Error) -> Self {
        Self {
            place: None,
            key: String::new(),
            message: format!("{error:#}"),
        }
    }

    fn line(&self) -> String {
        let parts = [
            self.place.as_deref().unwrap_or_default(),
            &self.key,
            &self.message,
        ];
        parts
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join(": ")
    }
}

fn check_file(file: Option<&Path>) -> Checked {
    let loaded = match config::load(file, config::environment()) {
        Ok(loaded) => loaded,
        Err(errors) => {
            return Checked {
                problems: Problem::of_errors(errors),
                warnings: Vec::new(),
            };
        }
    };

    // Some channels need a runtime when they are opened; none connects yet.
    let channels = super::session::block_on(async {
        let stdout = Box::new(std::io::sink());
        loaded.open_channels(stdout, false, "localhost").map(|_| ())
    });
    let mut problems =
        certificates::read_all(&loaded.config).map_or_else(Problem::of_errors, |_| Vec::new());
    let rules = config::rules::sigma_or_all_errors(&loaded.config).map(|_| ());
    let outcomes = [rules, channels].into_iter().filter_map(Result::err);
    problems.extend(outcomes.map(|error| Problem::elsewhere(&error)));

    let now = SystemClock.now();
    let certificates = certificates::expiries(&loaded.config);
    let soon = certificates
        .iter()
        .filter_map(|certificate| certificate.warning(now));
    Checked {
        problems,
        warnings: loaded
            .renamed
            .iter()
            .cloned()
            .chain(loaded.doubts.clone())
            .chain(loaded.config.warnings())
            .chain(soon)
            .collect(),
    }
}

fn run(args: &Args, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let file = globals.config;
    let mut out = std::io::stdout().lock();
    match args.action {
        Action::Check { json } => {
            let Checked { problems, warnings } = check_file(file);
            if json {
                let shown: Vec<Value> = problems
                    .iter()
                    .map(|p| json!({ "place": p.place, "key": p.key, "message": p.message }))
                    .collect();
                let found =
                    json!({ "ok": problems.is_empty(), "problems": shown, "warnings": warnings });
                serde_json::to_writer_pretty(&mut out, &found)?;
                writeln!(out)?;
            }
            for warning in warnings.iter().filter(|_| !json) {
                super::out::note(format_args!("warning: {warning}"));
            }

            if !problems.is_empty() {
                let lines: Vec<String> = problems.iter().map(Problem::line).collect();
                anyhow::bail!("{}", lines.join("\n"));
            }
            if !json {
                writeln!(out, "the configuration is right")?;
            }
        }
        Action::Sample => out.write_all(config::SAMPLE.as_bytes())?,
    }

    Ok(ExitCode::SUCCESS)
}
