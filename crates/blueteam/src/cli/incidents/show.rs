//! `incidents show`, `timeline` and `observables`.

use std::process::ExitCode;

use app::incidents::{self, Case, Happened, ObservableKind, TaskState};
use comfy_table::Cell;
use model::text::sanitize;
use model::{Clock as _, SystemClock, Timestamp};

use super::{Behalf, say, settled};
use crate::cli::out::{self, Look, usage};
use crate::cli::session::{Globals, with_session};

/// Show everything about an incident
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  blueteam incidents show 01a2
  blueteam incidents show 01a2 --json | jq .clocks")]
pub(super) struct ShowArgs {
    /// The ID of the incident, or its first characters
    id: String,
    /// As a JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &ShowArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let case = read(&args.id, globals)?;
    if args.json {
        out::json(&case)?;
    } else {
        show(&case)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn read(id: &str, globals: Globals<'_>) -> anyhow::Result<Case> {
    with_session(globals, None, async |session, loaded| {
        settled(incidents::case(session, &loaded.config, id).await)
    })
}

fn show(case: &Case) -> anyhow::Result<()> {
    let row = &case.incident.row;
    let look = Look::stdout();
    out::line(format_args!(
        "{} {}",
        look.severity_word(row.severity).trim_end(),
        sanitize(&row.title)
    ))?;
    for (name, value) in facts(case) {
        out::line(format_args!("  {name:<12} {}", sanitize(&value)))?;
    }
    if !case.part.description.trim().is_empty() {
        out::line(format_args!("\n{}", sanitize(&case.part.description)))?;
    }

    let open: Vec<_> = case.tasks.iter().collect();
    if !open.is_empty() {
        out::line("\nTo do:")?;
        for task in open {
            let mark = match task.state {
                TaskState::Open => "[ ]",
                TaskState::Done => "[x]",
                TaskState::Dropped => "[-]",
            };
            out::line(format_args!(
                "  {mark} {:>2}  {}",
                task.number,
                sanitize(&task.task)
            ))?;
        }
    }

    if !case.indicators.is_empty() {
        out::line("\nIt can be recognized by:")?;
        for one in &case.indicators {
            out::line(format_args!("  {:<7} {}", one.kind, sanitize(&one.value)))?;
        }
    }
    out::line("\nWhat happened (the whole timeline: `incidents timeline`):")?;
    let all = case.timeline();
    let skipped = all.len().saturating_sub(SHOWN);
    show_timeline(&all[skipped..])
}

/// Entries of the timeline that stand below an incident.
const SHOWN: usize = 12;

fn facts(case: &Case) -> Vec<(&'static str, String)> {
    let (incident, row) = (&case.incident, &case.incident.row);
    let now = SystemClock.now();
    let mut facts = vec![
        ("incident", row.incident_id.to_string()),
        (
            "status",
            format!("{} (version {})", row.status, row.version),
        ),
        (
            "led by",
            row.assigned_to
                .clone()
                .unwrap_or_else(|| "nobody".to_owned()),
        ),
        ("detected", out::time(row.detected_at)),
        ("discovered", out::time(row.discovered_at)),
    ];
    if let Some(entity) = &row.entity {
        facts.push((
            "about",
            format!("{} {}", entity.kind.as_str(), entity.value),
        ));
    }
    if row.cui_involved {
        facts.push(("CUI", "events say that CUI was touched".to_owned()));
    }
    for clock in &incident.clocks {
        facts.push((
            "report",
            format!(
                "{}: {}, until {}{}",
                clock.name,
                clock.in_words(now),
                out::time(clock.due_at),
                clock
                    .number
                    .as_ref()
                    .map_or_else(String::new, |number| format!(", number {number}"))
            ),
        ));
    }
    if let Some(severity) = row.proposed_severity {
        facts.push((
            "proposed",
            format!("{severity}: an alert is worse than what was set (`incidents update`)"),
        ));
    }
    if let Some(title) = &row.proposed_title {
        facts.push(("proposed", format!("the title: {title}")));
    }
    if let Some(before) = row.follows {
        facts.push((
            "follows",
            format!("{before}, closed up to 7 days before: reopen it if this is more of the same"),
        ));
    }
    if let Some(into) = row.merged_into {
        facts.push(("part of", into.to_string()));
    }
    let measures = incident.measures();
    for (name, span) in [
        ("to detect", measures.to_detect),
        ("to contain", measures.to_contain),
        ("to recover", measures.to_recover),
    ] {
        if let Some(span) = span {
            facts.push((name, incidents::in_words(span)));
        }
    }
    if let Some(hold) = &case.hold {
        facts.push(("preserved", incidents::hold_in_words(hold)));
    }
    facts.push(("alerts", row.alerts.to_string()));
    facts
}

/// Show what happened in an incident, or write into it what happened when
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  blueteam incidents timeline 01a2
  blueteam incidents timeline 01a2 --add 'the account was locked by phone' --at 2026-11-30T14:05:00Z")]
pub(super) struct TimelineArgs {
    /// The ID of the incident, or its first characters
    id: String,
    /// What happened
    #[arg(long, value_name = "TEXT", requires = "at")]
    add: Option<String>,
    /// When it happened: a length of time ago (2h), or a time with its zone
    #[arg(long, value_name = "WHEN", requires = "add", value_parser = out::moment)]
    at: Option<Timestamp>,
    /// As a JSON array
    #[arg(long, conflicts_with = "add")]
    json: bool,
    #[command(flatten)]
    behalf: Behalf,
}

pub(super) fn timeline(args: &TimelineArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    if let (Some(text), Some(at)) = (&args.add, args.at) {
        let incident = with_session(globals, args.behalf.name(), async |session, loaded| {
            settled(incidents::write(session, &loaded.config, &args.id, Some(at), text).await)
        })?;
        return say(&incident);
    }
    let all = read(&args.id, globals)?.timeline();
    if args.json {
        out::json(&all)?;
    } else {
        show_timeline(&all)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn show_timeline(all: &[Happened]) -> anyhow::Result<()> {
    let mut table = out::table(Look::stdout(), &["when", "who", "what"]);
    for one in all {
        table.add_row([
            Cell::new(out::time(one.at)),
            out::text(one.who.as_deref().unwrap_or("logs")),
            out::text(&one.what),
        ]);
    }
    out::print(table)
}

/// Show or add what the attack can be recognized by: addresses, accounts, hosts, hashes, URLs
///
/// Those that its alerts name are there by themselves. As STIX 2.1 they go to partners and tools.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  blueteam incidents observables 01a2
  blueteam incidents observables 01a2 --add ip:203.0.113.7 --remark 'from the firewall'
  blueteam incidents observables 01a2 --stix > incident.json")]
pub(super) struct ObservablesArgs {
    /// The ID of the incident, or its first characters
    id: String,
    /// Add one, as KIND:VALUE; kinds: ip, user, host, domain, url, sha256
    #[arg(long, value_name = "KIND:VALUE", conflicts_with = "drop")]
    add: Option<String>,
    /// Take one back that someone has added
    #[arg(long, value_name = "KIND:VALUE")]
    drop: Option<String>,
    /// What is to be known of it
    #[arg(long, value_name = "TEXT", requires = "add")]
    remark: Option<String>,
    /// As a STIX 2.1 bundle
    #[arg(long, conflicts_with_all = ["add", "drop", "json"])]
    stix: bool,
    /// As a JSON array
    #[arg(long, conflicts_with_all = ["add", "drop"])]
    json: bool,
    #[command(flatten)]
    behalf: Behalf,
}

struct Named<'a> {
    kind: ObservableKind,
    value: &'a str,
}

fn named<'a>(option: &str, text: &'a str) -> anyhow::Result<Named<'a>> {
    let Some((kind, value)) = text.split_once(':') else {
        usage!("{option}: KIND:VALUE, such as ip:203.0.113.7");
    };
    match kind.parse() {
        Ok(kind) => Ok(Named { kind, value }),
        Err(why) => usage!("{option}: `{}` is not {why}", sanitize(kind)),
    }
}

pub(super) fn observables(
    args: &ObservablesArgs,
    globals: Globals<'_>,
) -> anyhow::Result<ExitCode> {
    if let Some(text) = &args.add {
        let one = named("--add", text)?;
        let incident = with_session(globals, args.behalf.name(), async |session, loaded| {
            settled(
                incidents::observe(
                    session,
                    &loaded.config,
                    &args.id,
                    one.kind,
                    one.value,
                    args.remark.as_deref(),
                )
                .await,
            )
        })?;
        return say(&incident);
    }
    if let Some(text) = &args.drop {
        let one = named("--drop", text)?;
        let incident = with_session(globals, args.behalf.name(), async |session, loaded| {
            settled(
                incidents::drop_observable(session, &loaded.config, &args.id, one.kind, one.value)
                    .await,
            )
        })?;
        return say(&incident);
    }

    let case = read(&args.id, globals)?;
    if args.stix {
        out::json(&incidents::stix(&case, SystemClock.now()))?;
    } else if args.json {
        out::json(&case.indicators)?;
    } else if case.indicators.is_empty() {
        out::line("nothing that it can be recognized by is known")?;
    } else {
        let mut table = out::table(Look::stdout(), &["kind", "value", "found by", "remark"]);
        for one in &case.indicators {
            table.add_row([
                Cell::new(one.kind),
                out::text(&one.value),
                out::text(&one.found_by),
                out::text(one.remark.as_deref().unwrap_or_default()),
            ]);
        }
        out::print(table)?;
    }
    Ok(ExitCode::SUCCESS)
}
