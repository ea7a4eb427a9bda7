//! `blueteam alerts rules simulate`: what would happen if a rule fired now.

use std::process::ExitCode;

use app::rules::simulate::{self, Outcome};
use model::SilencedBy;
use model::text::sanitize;

use crate::cli::out;
use crate::cli::session::{Globals, with_session};

/// Show what would happen if a rule fired now: which alert, which incident, who is notified.
/// Nothing is kept and nothing is sent.
///
/// The rule's first fixture that must fire goes through the engine as it is configured; alert,
/// incident and messages are written as the daemon writes them, and the transaction is taken back.
/// A disabled rule is simulated, too.
///
/// Exit code: 0 it fires; 1 it does not (its parameters may be stricter than its fixture), or
/// failed; 2 wrong arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  blueteam alerts rules simulate brute_force")]
pub(super) struct Args {
    /// The rule
    rule: String,
    /// As a JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let outcome = with_session(globals, None, async |session, loaded| {
        Ok(simulate::run(session, &loaded.config, &args.rule).await?)
    })?;
    if args.json {
        out::json(&outcome)?;
    } else {
        print_outcome(&outcome)?;
    }

    Ok(if outcome.alerts.is_empty() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn print_outcome(outcome: &Outcome) -> anyhow::Result<()> {
    let label =
        |name: &str, value: String| out::line(format_args!("{name:<10} {}", sanitize(&value)));
    label(
        "case",
        format!("{} ({} events)", outcome.case, outcome.events),
    )?;

    for would in &outcome.alerts {
        let a = &would.alert;
        label(
            "alert",
            format!("{} {}", a.severity.as_str().to_ascii_uppercase(), a.title),
        )?;
        label("about", format!("{} in {}", a.entity, a.source))?;

        label(
            "incident",
            match (a.incident_id, would.new_incident) {
                (None, false) => "none: its severity opens none".to_owned(),
                (_, true) => "a new one".to_owned(),
                (Some(id), false) => format!("joins {id}, which is open"),
            },
        )?;

        let hours = if outcome.business_hours {
            "business hours"
        } else {
            "outside of business hours"
        };

        let told = match would.muted_by {
            Some(SilencedBy::Silence(id)) => {
                format!("nobody: silenced by {id} (`blueteam silences list`)")
            }
            Some(SilencedBy::Alert(id)) => {
                format!("nobody: the critical alert {id} about the same is open")
            }
            None if would.channels.is_empty() => {
                format!("nobody: no channel is configured for it ({hours})")
            }
            None => {
                let channels: Vec<&str> =
                    would.channels.iter().map(model::Channel::as_str).collect();
                format!("by {} ({hours})", channels.join(", "))
            }
        };

        label("told", told)?;
    }

    if outcome.alerts.is_empty() {
        let set = outcome.set_here.join(", ");
        let why = if set.is_empty() {
            String::new()
        } else {
            format!(". Its fixture knows nothing of: {}", sanitize(&set))
        };

        out::line(format_args!(
            "it does not fire with the parameters that it has here; no alert{why}"
        ))?;
    }

    if !outcome.rule_enabled {
        out::line("the rule is switched off: as things are, none of this happens")?;
    }

    out::line("nothing was kept, and nobody was told")
}
