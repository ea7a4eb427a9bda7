//! `blueteam advisories`: advisories about the components in use, and the response to each
//! (3.14.3).

use std::collections::BTreeMap;
use std::process::ExitCode;

use advisories::{feeds, inventory};
use app::advisories::{
    self as cases, Advisory, Decision, Filter, Imported, Kind, Match, Request, Response,
};
use clap::builder::PossibleValuesParser;
use clap::{Args as _, Subcommand, ValueEnum};
use jiff::civil::Date;
use model::Severity;
use model::text::{counted, sanitize};
use serde_json::json;

use super::{Command, parsed};
use crate::cli::out::{self, Look};
use crate::cli::session::{Globals, with_session};

pub(super) const COMMAND: Command = Command {
    name: "advisories",
    arguments: Args::augment_args,
    run: |matches, globals| run(&parsed(matches), globals),
};

/// Security advisories: import them, see which of them concern what you run, and record the
/// response to each until its close.
///
/// Advisories come from CISA (KEV), vendors (CSAF) and OSV; what you run from an SBOM
/// (CycloneDX, SPDX), a lock file or dpkg. Feeds and inventories in `[advisories]` of
/// the configuration are read by the daemon on schedule, which alerts too.
#[derive(Debug, clap::Args)]
struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Read advisories from feeds, and show which of them concern your inventories
    #[command(after_help = "Examples:\n  blueteam advisories import \
            https://www.cisa.gov/sites/default/files/feeds/known_exploited_vulnerabilities.json\n  \
                            blueteam advisories import osv/*.json\n  \
                            blueteam advisories import rhsa-2026_1234.json --format csaf")]
    Import(ImportArgs),
    /// What runs here
    #[command(subcommand)]
    Inventory(InventoryAction),
    List(ListArgs),
    /// All that is known of a vulnerability: the advisories, and what they concern
    #[command(after_help = "Examples:\n  blueteam advisories show CVE-2024-3094")]
    Show {
        /// A CVE, or an advisory's own id
        id: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    Respond(RespondArgs),
    Remove(RemoveArgs),
    /// Where advisories and components came from, and when
    #[command(after_help = "Examples:\n  blueteam advisories sources")]
    Sources {
        /// As a JSON array
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
enum InventoryAction {
    /// Read the components of an inventory in place of the earlier ones, and show which advisories
    /// concern them
    #[command(
        after_help = "Examples:\n  blueteam advisories inventory import /var/lib/dpkg/status \
            --name web01\n  \
                            blueteam advisories inventory import Cargo.lock --name apollo"
    )]
    Import(ImportArgs),
}

#[derive(Debug, clap::Args)]
struct ImportArgs {
    /// Files, or https:// addresses
    #[arg(required = true)]
    from: Vec<String>,
    /// What the feed or inventory is called; without it, the file's name
    #[arg(long)]
    name: Option<String>,
    /// The format; detected from the text without it
    #[arg(long, value_parser = PossibleValuesParser::new(feeds::ALL.iter().map(|f| f.name).chain(inventory::ALL.iter().map(|f| f.name))))]
    format: Option<String>,
    /// The person you act for; recorded beside your own account, which is who acts
    #[arg(long, value_name = "NAME")]
    on_behalf_of: Option<String>,
    /// As a JSON array
    #[arg(long)]
    json: bool,
}

/// List the advisories that concern your inventories, the worst first.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  blueteam advisories list\n  blueteam advisories list --inventory web01 --json"
)]
struct ListArgs {
    /// Those that are closed too
    #[arg(long)]
    all: bool,
    /// Of this inventory alone
    #[arg(long)]
    inventory: Option<String>,
    /// As a JSON array
    #[arg(long)]
    json: bool,
}

/// Record what is done: every match of a vulnerability, or one by its id.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  blueteam advisories respond CVE-2024-3094 --status in-progress \
        --owner bob --due 2026-12-01\n  \
                        blueteam advisories respond CVE-2024-3094 --status fixed --reason \
                        'upgraded to 5.6.2, CHG-91'\n\n\
                        A match that is `fixed` opens again when the next list of components \
                        still has it."
)]
struct RespondArgs {
    /// A CVE, an advisory's id, or the beginning of a match's id
    id: String,
    /// What became of it
    #[arg(long, value_enum)]
    status: Status,
    /// Why; required unless it is open or in progress
    #[arg(long)]
    reason: Option<String>,
    /// Who deals with it
    #[arg(long)]
    owner: Option<String>,
    /// Until when (YYYY-MM-DD)
    #[arg(long)]
    due: Option<Date>,
    /// Where else it is tracked
    #[arg(long)]
    ticket: Option<String>,
    /// In this inventory alone
    #[arg(long)]
    inventory: Option<String>,
    /// The person you act for; recorded beside your own account, which is who acts
    #[arg(long, value_name = "NAME")]
    on_behalf_of: Option<String>,
    /// As a JSON array of the matches
    #[arg(long)]
    json: bool,
}

/// Have done with a feed or an inventory: what it listed concerns nothing any more, and stays on
/// record.
///
/// Matches that no other feed supports are closed as gone. To take it up again, import it again.
/// One in `[advisories]` of the configuration is read by the daemon: take it out there
/// first.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  blueteam advisories remove acme-csaf --reason 'we no longer use \
        their products'\n  \
                        blueteam advisories remove web01 --kind inventory --reason 'the machine \
                        is gone, CHG-92'\n\n\
                        Exit code: 0 done, 1 failed, 2 wrong arguments."
)]
struct RemoveArgs {
    /// Its name, as `advisories sources` shows it
    name: String,
    /// feed or inventory; needed where both have the name
    #[arg(long)]
    kind: Option<Kind>,
    /// Why; an assessor reads it
    #[arg(long)]
    reason: String,
    /// The person you act for; recorded beside your own account, which is who acts
    #[arg(long, value_name = "NAME")]
    on_behalf_of: Option<String>,
    /// As a JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Status {
    Open,
    InProgress,
    /// Brought to a version that is not concerned
    Fixed,
    /// Still there, and made harmless
    Mitigated,
    /// Not concerned as it is used here
    NotAffected,
    /// The risk is taken
    Accepted,
}

fn run(args: &Args, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    match &args.action {
        Action::Import(args) => import_feed(Kind::Feed, args, globals),
        Action::Inventory(InventoryAction::Import(args)) => {
            import_feed(Kind::Inventory, args, globals)
        }
        Action::List(args) => list_matches(args, globals),
        Action::Show { id, json } => show_advisory(id, *json, globals),
        Action::Respond(args) => record_response(args, globals),
        Action::Remove(args) => remove_origin(args, globals),
        Action::Sources { json } => list_origins(*json, globals),
    }
}

fn import_feed(kind: Kind, args: &ImportArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let request = Request {
        kind,
        from: &args.from,
        name: args.name.as_deref(),
        format: args.format.as_deref(),
    };
    let imported = with_session(globals, args.on_behalf_of.as_deref(), async |session, _| {
        Ok(cases::import_all(session, &request).await?)
    })?;

    if args.json {
        let rows: Vec<_> = imported
            .iter()
            .map(|Imported { name, done }| {
                json!({
                    "name": name,
                    "items": done.items,
                    "new": done.found,
                    "unchanged": done.unchanged,
                    "uncovered": done.uncovered,
                    "unmatchable": done.unmatchable,
                    "defective": done.defects.count,
                    "defects": done.defects.named.iter().map(|d| json!({
                        "entry": d.entry,
                        "reason": d.reason,
                    })).collect::<Vec<_>>(),
                })
            })
            .collect();
        out::json(&rows)?;
        return Ok(ExitCode::SUCCESS);
    }

    for one in &imported {
        out::line(describe_import(kind, one))?;
        print_uncovered(&one.done.uncovered)?;
        if one.done.defects.count > 0 {
            out::line(sanitize(&one.done.defects.to_string()))?;
        }
        match one.done.unmatchable {
            0 => {}
            1 => out::line("1 advisory names no package, so that nothing can be matched")?,
            n => out::line(format_args!(
                "{n} advisories name no package, so that nothing can be matched"
            ))?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What came of an import, in a line.
fn describe_import(kind: Kind, Imported { name, done }: &Imported) -> String {
    let name = sanitize(name);
    let found = match done.found {
        0 => "nothing new is concerned".to_owned(),
        n => format!("{n} new; `blueteam advisories list` shows them"),
    };

    if done.unchanged && done.found > 0 {
        let n = done.found;
        return format!(
            "{name}: the same as last time; {n} open again or not yet told; `blueteam advisories \
                list` shows them"
        );
    }

    if done.unchanged {
        return format!("{name}: the same as last time; {found}");
    }

    let what = match (kind, done.items) {
        (Kind::Feed, 1) => "advisory",
        (Kind::Feed, _) => "advisories",
        (Kind::Inventory, 1) => "component",
        (Kind::Inventory, _) => "components",
    };
    format!("{name}: {} {what}; {found}", done.items)
}

/// Prints how many components no feed can concern: nothing is known about them.
fn print_uncovered(uncovered: &BTreeMap<String, u64>) -> anyhow::Result<()> {
    let packages = uncovered.values().sum();
    if packages == 0 {
        return Ok(());
    }

    let parts: Vec<String> = uncovered
        .iter()
        .map(|(origin, count)| format!("{} {count}", without_url(origin)))
        .collect();
    let text = format!(
        "{} of ecosystems that no feed covers: {}",
        counted(packages, "package"),
        parts.join(", ")
    );
    out::line(sanitize(&text))
}

/// Components without a package URL have no ecosystem.
fn without_url(origin: &str) -> &str {
    if origin == "-" {
        "no package URL"
    } else {
        origin
    }
}

fn list_matches(args: &ListArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let filter = Filter {
        all: args.all,
        inventory: args.inventory.clone(),
        about: None,
    };

    let (matches, sources) = with_session(globals, None, async |session, _| {
        Ok((
            cases::list(session, &filter).await?,
            cases::sources(session).await?,
        ))
    })?;
    if args.json {
        out::json(&matches)?;
        return Ok(ExitCode::SUCCESS);
    }

    if matches.is_empty() {
        out::line(
            "no advisory waits for an answer; --all shows those that were answered, `blueteam \
                advisories sources` what was read",
        )?;
    } else {
        print_table(&matches)?;
    }

    let mut uncovered: BTreeMap<String, u64> = BTreeMap::new();
    let is_meant = |name: &str| {
        args.inventory
            .as_deref()
            .is_none_or(|wanted| wanted == name)
    };
    for source in sources.iter().filter(|source| is_meant(&source.name)) {
        for (origin, count) in &source.uncovered {
            *uncovered.entry(origin.clone()).or_default() += count;
        }
    }
    print_uncovered(&uncovered)?;

    Ok(ExitCode::SUCCESS)
}

fn print_table(matches: &[Match]) -> anyhow::Result<()> {
    let look = Look::stdout();
    let mut table = out::table(
        look,
        &[
            "severity",
            "vulnerability",
            "component",
            "version",
            "sure",
            "fixed in",
            "inventory",
            "due",
            "status",
        ],
    );

    for m in matches {
        let maybe = |text: &Option<String>| out::text(text.as_deref().unwrap_or("-"));
        let used = if m.exploited { ", exploited" } else { "" };
        let status = match (&m.resolution, &m.owner) {
            (Some(resolution), _) => resolution.replace('_', " "),
            (None, Some(owner)) => format!("{}, {owner}", m.state.replace('_', " ")),
            (None, None) => m.state.replace('_', " "),
        };

        table.add_row([
            m.severity.parse().map_or_else(
                |_| out::text(&m.severity),
                |severity| look.severity(severity),
            ),
            out::text(&m.vulnerability),
            out::text(&m.name),
            out::text(if m.version.is_empty() {
                "-"
            } else {
                &m.version
            }),
            out::text(format!("{}{used}", m.confidence)),
            maybe(&m.fixed_in),
            out::text(&m.inventory),
            maybe(&m.due),
            out::text(status),
        ]);
    }

    out::spare(look, &mut table, &[5, 7]);
    out::print(table)
}

fn show_advisory(id: &str, json: bool, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let details = with_session(globals, None, async |session, _| {
        Ok(cases::show(session, id).await?)
    })?;
    let matches = details.matches;

    if json {
        let documents: Vec<_> = details.advisories.iter().map(|a| &a.document).collect();
        out::json(&json!({ "advisories": documents, "matches": matches }))?;
        return Ok(ExitCode::SUCCESS);
    }

    for stored in &details.advisories {
        describe_advisory(&stored.advisory, stored.listed)?;
    }

    if matches.is_empty() {
        out::line("It concerns nothing in the inventories.")?;
    } else {
        print_table(&matches)?;
        for m in matches.iter().filter(|m| m.reason.is_some()) {
            let text = format!(
                "{} {}: {} ({}, {})",
                m.name,
                m.version,
                m.reason.as_deref().unwrap_or_default(),
                m.decided_by.as_deref().unwrap_or("-"),
                out::maybe_day(m.decided_at)
            );
            out::line(sanitize(&text))?;
        }
    }

    Ok(ExitCode::SUCCESS)
}

fn describe_advisory(advisory: &Advisory, listed: bool) -> anyhow::Result<()> {
    let plain = |text: &str| sanitize(text).into_owned();
    out::line(format_args!(
        "{}  {}",
        plain(&advisory.id),
        plain(&advisory.title)
    ))?;

    let rows = [
        ("from", Some(advisory.feed.clone())),
        (
            "severity",
            Some(
                advisory
                    .severity
                    .map_or("unknown", Severity::as_str)
                    .to_owned(),
            ),
        ),
        ("published", advisory.published.clone()),
        ("due", advisory.due.clone()),
        (
            "also",
            Some(advisory.aliases.join(", ")).filter(|a| !a.is_empty()),
        ),
        (
            "exploited",
            advisory.known_exploited.then(|| "yes".to_owned()),
        ),
        ("to do", advisory.action.clone()),
        (
            "withdrawn",
            (!listed).then(|| "no feed lists it any more".to_owned()),
        ),
    ];

    for (name, value) in rows {
        if let Some(value) = value {
            out::line(format_args!("  {name:<10} {}", plain(&value)))?;
        }
    }

    if !advisory.summary.is_empty() {
        out::line(format_args!("\n{}\n", plain(&advisory.summary)))?;
    }

    Ok(())
}

impl Status {
    const fn response(self) -> Response {
        match self {
            Self::Open => Response::Open,
            Self::InProgress => Response::InProgress,
            Self::Fixed => Response::Fixed,
            Self::Mitigated => Response::Mitigated,
            Self::NotAffected => Response::NotAffected,
            Self::Accepted => Response::Accepted,
        }
    }
}

fn record_response(args: &RespondArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let decision = Decision {
        about: &args.id,
        inventory: args.inventory.as_deref(),
        response: args.status.response(),
        reason: args.reason.as_deref(),
        owner: args.owner.as_deref(),
        due: args.due.map(|due| due.to_string()),
        ticket: args.ticket.as_deref(),
    };
    let decided = with_session(globals, args.on_behalf_of.as_deref(), async |session, _| {
        Ok(cases::respond(session, &decision).await?)
    })?;

    if args.json {
        out::json(&decided.matches)?;
        return Ok(ExitCode::SUCCESS);
    }

    let noted = if decided.written == 1 {
        "match is noted"
    } else {
        "matches are noted"
    };
    out::line(format_args!("{} {noted}", decided.written))?;

    Ok(ExitCode::SUCCESS)
}

fn remove_origin(args: &RemoveArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let given = args.on_behalf_of.as_deref();
    let (retired, by) = with_session(globals, given, async |session, loaded| {
        let config = &loaded.config.advisories;
        let retired = cases::retire(session, config, &args.name, args.kind, &args.reason).await?;
        Ok((retired, session.actor().to_string()))
    })?;

    if args.json {
        out::json(&json!({
            "kind": retired.kind,
            "name": retired.name,
            "retired_by": by,
            "reason": args.reason.trim(),
        }))?;
    } else {
        out::line(format_args!(
            "{} {} is retired",
            retired.kind,
            sanitize(&args.name)
        ))?;
    }

    Ok(ExitCode::SUCCESS)
}

fn list_origins(json: bool, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let origins = with_session(globals, None, async |session, _| {
        Ok(cases::sources(session).await?)
    })?;
    if json {
        out::json(&origins)?;
        return Ok(ExitCode::SUCCESS);
    }

    if origins.is_empty() {
        out::line(
            "nothing was imported; `blueteam advisories inventory import --help` has examples",
        )?;
        return Ok(ExitCode::SUCCESS);
    }

    let mut table = out::table(
        Look::stdout(),
        &["kind", "name", "items", "read", "by", "from"],
    );
    for o in &origins {
        let from = match (&o.retired_by, &o.retired_reason, &o.failed) {
            (Some(by), Some(why), _) => {
                format!(
                    "{} retired {} by {by}: {why}",
                    o.origin,
                    out::maybe_day(o.retired_at)
                )
            }
            (_, _, Some(why)) => format!("{} FAILED: {why}", o.origin),
            _ => o.origin.clone(),
        };

        table.add_row([
            out::text(&o.kind),
            out::text(&o.name),
            out::text(match o.uncovered.values().sum::<u64>() {
                0 => o.items.to_string(),
                uncovered => format!("{} ({uncovered} not covered)", o.items),
            }),
            out::text(out::time(o.imported_at)),
            out::text(&o.imported_by),
            out::text(from),
        ]);
    }

    out::print(table)?;
    Ok(ExitCode::SUCCESS)
}
