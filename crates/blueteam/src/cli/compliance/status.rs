//! `blueteam compliance status` and `gaps`: where every requirement stands.

use std::process::ExitCode;

use app::compliance::overview::{self, Listed, Overview};
use app::compliance::reminders;
use comfy_table::Color;
use compliance::Catalog;
use compliance::reminders::Reminder;
use model::{Evidence, Implementation, Standing};

use super::grid::{Bit, Grid};
use super::ids::many;
use super::standing_word;
use crate::cli::out;
use crate::cli::session::{Globals, block_on, with_session};
use app::remote::Remote;

/// As many things that are due are named.
const SHOWN: usize = 20;

/// Show all 110 requirements with their status, and what is due soon or late: evidence, the review
/// of what is logged, plans of action.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  blueteam compliance status
  blueteam compliance status --family 3.3 --status not_implemented
  blueteam compliance status --owner alice --due 30d --json

Statuses: implemented, partially_implemented, planned, not_implemented, not_applicable, \
not_assessed.")]
pub(super) struct Args {
    #[command(flatten)]
    filter: Filter,
    /// As a JSON array
    #[arg(long)]
    json: bool,
}

/// Show everything that costs points: what is not met, what nobody has decided, and what has gone
/// stale; the heaviest first.
///
/// `poam generate` writes an item for what is not met. What is not assessed or stale has to be
/// decided first (`compliance assess`): until then nobody knows what is wrong. Both commands count
/// the two apart, and count the same.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  blueteam compliance gaps\n  blueteam compliance gaps --family AC \
        --json"
)]
pub(super) struct GapsArgs {
    #[command(flatten)]
    filter: Filter,
    /// As a JSON array
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Filter {
    /// Of this family: 3.3, AU, or part of its name
    #[arg(long)]
    family: Option<String>,
    /// With this status; may be given several times
    #[arg(long)]
    status: Vec<Implementation>,
    /// That this person answers for
    #[arg(long)]
    owner: Option<String>,
    /// To be assessed within this time from now (30d)
    #[arg(long, value_name = "TIME")]
    due: Option<model::Span>,
}

impl Filter {
    fn wanted(&self) -> overview::Filter<'_> {
        overview::Filter {
            family: self.family.as_deref(),
            status: &self.status,
            owner: self.owner.as_deref(),
            due: self.due,
        }
    }
}

/// The requirements as a daemon elsewhere lists them. What is said of them together is there.
fn from_elsewhere(remote: &Remote, path: &str, filter: &Filter) -> anyhow::Result<Vec<Listed>> {
    let mut query = Vec::new();
    let mut add = |name, value: Option<String>| query.extend(value.map(|value| (name, value)));
    add("family", filter.family.clone());
    let statuses: Vec<String> = filter.status.iter().map(ToString::to_string).collect();
    add("status", (!statuses.is_empty()).then(|| statuses.join(",")));
    add("owner", filter.owner.clone());
    add("due", filter.due.map(|due| due.to_string()));
    block_on(remote.list(path, &query, u32::MAX))
}

pub(super) fn run(args: &Args, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    if let Some(remote) = globals.remote()? {
        let found = from_elsewhere(&remote, "/api/v1/compliance/status", &args.filter)?;
        if args.json {
            out::json(&found)?;
        } else {
            print_table(&found, true)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let state = globals.state()?;
    let overview = with_session(globals, None, async |session, _| {
        Ok(overview::status(session, &state, &args.filter.wanted()).await?)
    })?;
    if args.json {
        out::json(&overview.requirements)?;
        return Ok(ExitCode::SUCCESS);
    }

    print_table(&overview.requirements, true)?;
    out::note(describe_totals(&overview));
    overview.claim.cautions().iter().for_each(out::note);
    print_tampered(&overview.tampered);
    print_reminders(&overview.due);

    Ok(ExitCode::SUCCESS)
}

/// The evidence that is not what was taken in.
fn print_tampered(tampered: &[Evidence]) {
    for piece in tampered {
        out::note(format_args!(
            "TAMPERED WITH  evidence {} ({}); `blueteam compliance evidence verify` says how",
            piece.evidence_id,
            model::text::sanitize(&piece.artifact())
        ));
    }
}

/// Returns what is due soon or late, in the words of the daemon's reminders.
fn print_reminders(due: &[Reminder]) {
    for reminder in due.iter().take(SHOWN) {
        out::note(reminders::line(reminder));
    }

    if due.len() > SHOWN {
        out::note(format_args!(
            "and {} more that are due soon",
            due.len() - SHOWN
        ));
    }
}

pub(super) fn gaps(args: &GapsArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    if let Some(remote) = globals.remote()? {
        let gaps = from_elsewhere(&remote, "/api/v1/compliance/gaps", &args.filter)?;
        if args.json {
            out::json(&gaps)?;
        } else if gaps.is_empty() {
            out::line("no requirement costs points")?;
        } else {
            print_table(&gaps, false)?;
            out::note(describe_apart(&gaps));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let state = globals.state()?;
    let overview = with_session(globals, None, async |session, _| {
        Ok(overview::gaps(session, &state, &args.filter.wanted()).await?)
    })?;

    let gaps = &overview.requirements;
    if args.json {
        out::json(gaps)?;
        return Ok(ExitCode::SUCCESS);
    }

    if gaps.is_empty() {
        out::line("no requirement costs points")?;
    } else {
        print_table(gaps, false)?;
    }

    // An assessor will ask about these as about any gap.
    for caution in overview.claim.cautions() {
        out::line(caution)?;
    }

    out::note(describe_totals(&overview));
    if !gaps.is_empty() {
        out::note(describe_apart(gaps));
    }

    Ok(ExitCode::SUCCESS)
}

/// What of the gaps can be planned for, and what has to be decided before.
fn describe_apart(chosen: &[Listed]) -> String {
    let failed: Vec<_> = chosen
        .iter()
        .filter(|l| l.finding == Standing::NotMet)
        .collect();
    let planned = failed.iter().filter(|l| l.planned).count();
    format!(
        "{}: {} not met ({planned} on an open plan of action; `poam generate` writes one for each \
            other), {} not decided or stale (decide them with `compliance assess`)",
        many(chosen.len(), "gap", "gaps"),
        failed.len(),
        chosen.len() - failed.len()
    )
}

/// Prints one line per requirement, with a line before each family.
fn print_table(chosen: &[Listed], families: bool) -> anyhow::Result<()> {
    let mut table = Grid::new(
        &[
            "id",
            "status",
            "met",
            "pts",
            "poa&m",
            "owner",
            "due",
            "requirement",
        ],
        &[4, 6, 5, 3],
    );

    let mut family = "";
    for l in chosen {
        if families && l.family != family {
            family = l.family;
            table.row(["", "", "", "", "", "", "", &family.to_ascii_uppercase()].map(Bit::from));
        }

        let eligible = match l.poam_eligibility {
            _ if l.planned => "planned",
            compliance::Eligibility::Allowed => "may",
            compliance::Eligibility::Conditional => "if FIPS",
            _ => "no",
        };

        table.row([
            l.control_id.into(),
            colored_standing(l),
            format!("{}/{}", l.objectives_met, l.objectives).into(),
            l.weight
                .map_or_else(|| "all".to_owned(), |w| w.to_string())
                .into(),
            eligible.into(),
            l.owner.as_deref().unwrap_or("-").into(),
            out::maybe_day(l.due).into(),
            l.title.into(),
        ]);
    }

    table.print()
}

fn colored_standing(l: &Listed) -> Bit {
    let text = if l.finding == Standing::Stale {
        "stale".to_owned()
    } else {
        l.status.as_str().replace('_', " ")
    };

    let color = match l.finding {
        Standing::Met | Standing::NotApplicable => Some(Color::Green),
        Standing::NotMet => Some(Color::Red),
        Standing::Stale => Some(Color::Yellow),
        Standing::NotAssessed => None,
    };
    Bit::colored(text, color)
}

fn describe_totals(overview: &Overview) -> String {
    let count = |standing| {
        overview
            .standings
            .iter()
            .filter(|s| **s == standing)
            .count()
    };
    let counts = [
        Standing::Met,
        Standing::NotApplicable,
        Standing::NotMet,
        Standing::Stale,
        Standing::NotAssessed,
    ]
    .map(|standing| format!("{} {}", count(standing), standing_word(standing)))
    .join(", ");

    let claim = &overview.claim;
    let points = match claim.points() {
        Some(_) => format!("score {}, {}", claim.score_text(), claim.level()),
        None => format!("no score, {} (`compliance score` says why)", claim.level()),
    };

    format!("{}: {counts}; {points}", Catalog::r2().name())
}
