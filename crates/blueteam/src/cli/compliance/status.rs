//! `blueteam compliance status` and `gaps`: where every requirement stands.

use std::process::ExitCode;

use comfy_table::Color;
use compliance::claim::Claim;
use compliance::reminders::Reminder;
use compliance::{Catalog, Requirement};
use model::{Clock as _, Control, Implementation, Standing, SystemClock, Timestamp};
use serde::Serialize;

use super::grid::{Bit, Grid};
use super::ids::many;
use super::{grounds, known, word};
use crate::cli::out;
use crate::cli::session::{Globals, with_database};

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
/// decided first (`compliance set`): until then nobody knows what is wrong. Both commands count the
/// two apart, and count the same.
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
    fn takes(&self, r: &Requirement, c: &Control, now: Timestamp) -> bool {
        let family = |wanted: &String| {
            r.family_id == *wanted
                || r.domain.eq_ignore_ascii_case(wanted)
                // Two letters are a domain: AU is not "Identification and Authentication".
                || (wanted.len() > 2 && r.family.to_ascii_lowercase().contains(&wanted.to_ascii_lowercase()))
        };

        let owner = |wanted: &String| {
            c.owner
                .as_ref()
                .is_some_and(|o| o.to_lowercase().contains(&wanted.to_lowercase()))
        };

        self.family.as_ref().is_none_or(family)
            && (self.status.is_empty() || self.status.contains(&c.implementation()))
            && self.owner.as_ref().is_none_or(owner)
            && self
                .due
                .is_none_or(|within| c.due.is_some_and(|due| due <= now.plus(within)))
    }
}

/// A requirement in a list.
#[derive(Debug, Serialize)]
struct Listed<'a> {
    control_id: &'a str,
    cmmc_practice: &'a str,
    family: &'a str,
    title: &'a str,
    status: Implementation,
    finding: Standing,
    objectives: usize,
    objectives_met: usize,
    weight: Option<u8>,
    poam_eligibility: compliance::Eligibility,
    planned: bool,
    owner: Option<&'a str>,
    due: Option<Timestamp>,
}

fn listed<'a>(r: &'a Requirement, c: &'a Control) -> Listed<'a> {
    Listed {
        control_id: &r.control_id.0,
        cmmc_practice: &r.cmmc_practice,
        family: &r.family,
        title: &r.title,
        status: c.implementation(),
        finding: c.standing(),
        objectives: c.objectives.len(),
        objectives_met: c
            .objectives
            .iter()
            .filter(|o| o.standing().counts())
            .count(),
        weight: r.dod_weight,
        poam_eligibility: r.poam_eligibility,
        planned: c.planned,
        owner: c.owner.as_deref(),
        due: c.due,
    }
}

pub(super) fn run(args: &Args, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let (grounds, due) = with_database(globals, async |conn, _| {
        Ok((
            grounds(conn, globals).await?,
            app::reminders::due(conn, SystemClock.now()).await?,
        ))
    })?;

    let chosen = choose(&args.filter, &grounds.controls);
    if args.json {
        out::json(&chosen)?;
        return Ok(ExitCode::SUCCESS);
    }

    table(&chosen, true)?;
    out::note(summary(&grounds.controls, &grounds.claim()));
    remind(&due);

    Ok(ExitCode::SUCCESS)
}

/// What is due soon or late, as people are told by the daemon.
fn remind(due: &[Reminder]) {
    for reminder in due.iter().take(SHOWN) {
        out::note(app::reminders::line(reminder));
    }

    if due.len() > SHOWN {
        out::note(format_args!(
            "and {} more that are due soon",
            due.len() - SHOWN
        ));
    }
}

pub(super) fn gaps(args: &GapsArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let grounds = with_database(globals, async |conn, _| grounds(conn, globals).await)?;
    let claim = grounds.claim();
    let mut chosen = choose(&args.filter, &grounds.controls);
    chosen.retain(|l| !l.finding.counts());

    // 3.12.4 has no weight because there is no score without it.
    chosen.sort_by_key(|l| std::cmp::Reverse(l.weight.unwrap_or(u8::MAX)));
    if args.json {
        out::json(&chosen)?;
    } else if chosen.is_empty() {
        out::line("no gaps")?;
        out::note(summary(&grounds.controls, &claim));
    } else {
        table(&chosen, false)?;
        out::note(summary(&grounds.controls, &claim));
        out::note(apart(&chosen));
    }

    for caution in claim.cautions().iter().filter(|_| !args.json) {
        out::note(caution);
    }

    Ok(ExitCode::SUCCESS)
}

/// What of the gaps can be planned for, and what has to be decided before.
fn apart(chosen: &[Listed<'_>]) -> String {
    let failed: Vec<_> = chosen
        .iter()
        .filter(|l| l.finding == Standing::NotMet)
        .collect();
    let planned = failed.iter().filter(|l| l.planned).count();
    format!(
        "{}: {} not met ({planned} on an open plan of action; `poam generate` writes one for each \
            other), {} not decided or stale (decide them with `compliance set`)",
        many(chosen.len(), "gap", "gaps"),
        failed.len(),
        chosen.len() - failed.len()
    )
}

fn choose<'a>(filter: &Filter, controls: &'a [Control]) -> Vec<Listed<'a>> {
    let now = SystemClock.now();
    let pairs = Catalog::r2()
        .requirements
        .iter()
        .filter_map(|r| Some((r, known(r, controls)?)));
    pairs
        .filter(|(r, c)| filter.takes(r, c, now))
        .map(|(r, c)| listed(r, c))
        .collect()
}

/// One line a requirement, with a line before each family.
fn table(chosen: &[Listed<'_>], families: bool) -> anyhow::Result<()> {
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
            coloured(l),
            format!("{}/{}", l.objectives_met, l.objectives).into(),
            l.weight
                .map_or_else(|| "all".to_owned(), |w| w.to_string())
                .into(),
            eligible.into(),
            l.owner.unwrap_or("-").into(),
            out::maybe_day(l.due).into(),
            l.title.into(),
        ]);
    }

    table.print()
}

fn coloured(l: &Listed<'_>) -> Bit {
    let text = if l.finding == Standing::Stale {
        "stale".to_owned()
    } else {
        l.status.as_str().replace('_', " ")
    };

    let colour = match l.finding {
        Standing::Met | Standing::NotApplicable => Some(Color::Green),
        Standing::NotMet => Some(Color::Red),
        Standing::Stale => Some(Color::Yellow),
        Standing::NotAssessed => None,
    };
    Bit::coloured(text, colour)
}

fn summary(controls: &[Control], claim: &Claim) -> String {
    let count = |standing| controls.iter().filter(|c| c.standing() == standing).count();
    let counts = [
        Standing::Met,
        Standing::NotApplicable,
        Standing::NotMet,
        Standing::Stale,
        Standing::NotAssessed,
    ]
    .map(|standing| format!("{} {}", count(standing), word(standing)))
    .join(", ");

    let points = match claim.points() {
        Some(_) => format!("score {}, {}", claim.score_text(), claim.level()),
        None => format!(
            "{}, {} (`compliance score` says why)",
            "no score",
            claim.level()
        ),
    };

    format!("{}: {counts}; {points}", Catalog::r2().name())
}
