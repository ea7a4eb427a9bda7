//! `blueteam advisories`: what publishers say of what we run, and what was done about it (3.14.3).

use std::path::PathBuf;
use std::process::ExitCode;

use advisories::{Advisory, feeds, inventory};
use anyhow::bail;
use clap::builder::PossibleValuesParser;
use clap::{Subcommand, ValueEnum};
use jiff::civil::Date;
use model::Severity;
use serde_json::json;
use store::advisories::{Decision, Filter, Match};

use crate::cli::out::{self, Look};
use crate::cli::session::{Globals, actor, with_database};
use app::advisories::{Kind, fetch, import, retire as retire_it};

/// Security advisories: import them, see which of them concern what you run, and record the
/// response to each until its close.
///
/// Advisories come from CISA (KEV), vendors (CSAF 2.0) and OSV; what you run from an SBOM
/// (CycloneDX, SPDX), a lock file or dpkg. Feeds and inventories that stand in `[advisories]` of
/// the configuration are read by the daemon on schedule, which alerts too.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Import advisories from feeds, and show which of them concern what you run
    #[command(after_help = "Examples:\n  blueteam advisories import \
            https://www.cisa.gov/sites/default/files/feeds/known_exploited_vulnerabilities.json\n  \
                            blueteam advisories import osv/*.json\n  \
                            blueteam advisories import rhsa-2026_1234.json --format csaf")]
    Import(ImportArgs),
    /// Replace the components of an inventory, and show which advisories concern them
    #[command(
        after_help = "Examples:\n  blueteam advisories components /var/lib/dpkg/status --name \
            web01\n  \
                            blueteam advisories components Cargo.lock --name apollo"
    )]
    Components(ImportArgs),
    List(ListArgs),
    /// All that is known of a vulnerability: the advisories, and what they concern
    Show {
        /// A CVE, or an advisory's own id
        id: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    Respond(RespondArgs),
    Retire(RetireArgs),
    /// Where advisories and components came from, and when
    Sources {
        /// As a JSON array
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, clap::Args)]
struct ImportArgs {
    /// Files, or https:// addresses
    #[arg(required = true)]
    from: Vec<String>,
    /// What the feed or inventory is called; without it, the file's name
    #[arg(long)]
    name: Option<String>,
    /// The format; told from the text without it
    #[arg(long, value_parser = PossibleValuesParser::new(feeds::ALL.iter().map(|f| f.name).chain(inventory::ALL.iter().map(|f| f.name))))]
    format: Option<String>,
    /// Who does so; without it, the system's user name
    #[arg(long = "as", value_name = "NAME")]
    actor: Option<String>,
    /// As a JSON array
    #[arg(long)]
    json: bool,
}

/// Which advisories concern what we run, the worst first.
#[derive(Debug, clap::Args)]
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
    /// Who says so; without it, the system's user name
    #[arg(long = "as", value_name = "NAME")]
    actor: Option<String>,
    /// As a JSON array of the matches
    #[arg(long)]
    json: bool,
}

/// Have done with a feed or an inventory: what it listed concerns nothing any more, and stays on
/// record.
///
/// Matches that no other feed supports are closed as gone. To take it up again, import it again.
/// One that stands in `[advisories]` of the configuration is read by the daemon: take it out there
/// first.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  blueteam advisories retire acme-csaf --reason 'we no longer use \
        their products'\n  \
                        blueteam advisories retire web01 --kind inventory --reason 'the machine \
                        is gone, CHG-92'\n\n\
                        Exit code: 0 done, 1 failed, 2 wrong arguments."
)]
struct RetireArgs {
    /// Its name, as `advisories sources` shows it
    name: String,
    /// feed or inventory; needed where both have the name
    #[arg(long)]
    kind: Option<Kind>,
    /// Why; an assessor reads it
    #[arg(long)]
    reason: String,
    /// Who says so; without it, the system's user name
    #[arg(long = "as", value_name = "NAME")]
    actor: Option<String>,
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

pub(super) fn run(args: &Args, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    match &args.action {
        Action::Import(args) => bring(Kind::Feed, args, globals),
        Action::Components(args) => bring(Kind::Inventory, args, globals),
        Action::List(args) => list(args, globals),
        Action::Show { id, json } => show(id, *json, globals),
        Action::Respond(args) => respond(args, globals),
        Action::Retire(args) => retire(args, globals),
        Action::Sources { json } => sources(*json, globals),
    }
}

/// A name for what comes from a file or an address.
fn name_of(from: &str) -> String {
    let path = from
        .split(['?', '#'])
        .next()
        .unwrap_or(from)
        .trim_end_matches('/');
    PathBuf::from(path).file_name().map_or_else(
        || from.to_owned(),
        |name| name.to_string_lossy().into_owned(),
    )
}

fn bring(kind: Kind, args: &ImportArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    if args.from.len() > 1 && args.name.is_some() {
        out::usage!(
            "--name: each list replaces what was there under the name before; import one, or give \
                each a name of its own"
        );
    }

    let known = match kind {
        Kind::Feed => feeds::ALL
            .iter()
            .any(|f| Some(f.name) == args.format.as_deref()),
        Kind::Inventory => inventory::ALL
            .iter()
            .any(|f| Some(f.name) == args.format.as_deref()),
    };

    if !known && args.format.is_some() {
        out::usage!(
            "--format: `import` reads kev, csaf and osv; `components` reads cyclonedx, spdx, \
                composer, cargo and dpkg"
        );
    }

    let who = actor(args.actor.as_deref());
    let done = with_database(globals, async |conn, _| {
        let mut all = Vec::new();
        for from in &args.from {
            let text = fetch(from).await?;
            let name = args.name.clone().unwrap_or_else(|| name_of(from));
            let done = import(
                conn,
                kind,
                (&name, from, &who),
                args.format.as_deref(),
                &text,
            )
            .await?;

            all.push((name, done));
        }

        Ok(all)
    })?;

    if args.json {
        let done: Vec<_> = done
            .iter()
            .map(|(name, done)| json!({ "name": name, "items": done.items, "new": done.found, "unchanged": done.unchanged }))
            .collect();
        out::json(&done)?;
        return Ok(ExitCode::SUCCESS);
    }

    let what = |n: usize| match (kind == Kind::Feed, n) {
        (true, 1) => "advisory",
        (true, _) => "advisories",
        (false, 1) => "component",
        (false, _) => "components",
    };

    for (name, done) in done {
        let name = model::text::sanitize(&name).into_owned();
        let found = match done.found {
            0 => "nothing new is concerned".to_owned(),
            n => format!("{n} new; `blueteam advisories list` shows them"),
        };

        if done.unchanged && done.found > 0 {
            let n = done.found;
            out::line(format_args!(
                "{name}: the same as last time; {n} open again or not yet told; `blueteam \
                    advisories list` shows them"
            ))?;
        } else if done.unchanged {
            out::line(format_args!("{name}: the same as last time; {found}"))?;
        } else {
            out::line(format_args!(
                "{name}: {} {}; {found}",
                done.items,
                what(done.items)
            ))?;
        }
    }

    Ok(ExitCode::SUCCESS)
}

fn list(args: &ListArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let filter = Filter {
        all: args.all,
        inventory: args.inventory.clone(),
        about: None,
    };

    let matches = with_database(globals, async |conn, _| {
        Ok(store::advisories::matches(conn, &filter).await?)
    })?;
    if args.json {
        out::json(&matches)?;
    } else if matches.is_empty() {
        out::line(
            "no advisory waits for an answer; --all shows those that were answered, `blueteam \
                advisories sources` what was read",
        )?;
    } else {
        table(&matches)?;
    }

    Ok(ExitCode::SUCCESS)
}

fn table(matches: &[Match]) -> anyhow::Result<()> {
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
            look.severity(m.severity.parse().unwrap_or(Severity::Medium)),
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

fn show(id: &str, json: bool, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let filter = Filter {
        all: true,
        inventory: None,
        about: Some(id.to_owned()),
    };

    let (advisories, matches) = with_database(globals, async |conn, _| {
        let stored = store::advisories::about(conn, id).await?;
        Ok((stored, store::advisories::matches(conn, &filter).await?))
    })?;

    if advisories.is_empty() {
        bail!(
            "there is no advisory `{}`; `blueteam advisories list` shows those that concern you",
            model::text::sanitize(id)
        );
    }

    if json {
        let documents: Vec<_> = advisories.iter().map(|a| &a.document).collect();
        out::json(&json!({ "advisories": documents, "matches": matches }))?;
        return Ok(ExitCode::SUCCESS);
    }

    for stored in &advisories {
        let advisory: Advisory = serde_json::from_value(stored.document.clone())?;
        describe(&advisory, stored.listed)?;
    }

    if matches.is_empty() {
        out::line("It concerns nothing in the inventories.")?;
    } else {
        table(&matches)?;
        for m in matches.iter().filter(|m| m.reason.is_some()) {
            let text = format!(
                "{} {}: {} ({}, {})",
                m.name,
                m.version,
                m.reason.as_deref().unwrap_or_default(),
                m.decided_by.as_deref().unwrap_or("-"),
                out::maybe_day(m.decided_at)
            );
            out::line(model::text::sanitize(&text))?;
        }
    }

    Ok(ExitCode::SUCCESS)
}

fn describe(advisory: &Advisory, listed: bool) -> anyhow::Result<()> {
    let plain = |text: &str| model::text::sanitize(text).into_owned();
    out::line(format_args!(
        "{}  {}",
        plain(&advisory.id),
        plain(&advisory.title)
    ))?;

    let rows = [
        ("from", Some(advisory.feed.clone())),
        ("severity", Some(advisory.severity.to_string())),
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

fn respond(args: &RespondArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let (state, resolution) = match args.status {
        Status::Open => ("open", None),
        Status::InProgress => ("in_progress", None),
        Status::Fixed => ("closed", Some("fixed")),
        Status::Mitigated => ("closed", Some("mitigated")),
        Status::NotAffected => ("closed", Some("not_affected")),
        Status::Accepted => ("closed", Some("accepted")),
    };
    if resolution.is_some()
        && args
            .reason
            .as_deref()
            .is_none_or(|r| r.trim().chars().count() < 3)
    {
        out::usage!("--reason: say in a sentence why it is closed; an assessor reads it");
    }
    let decision = Decision {
        state: state.to_owned(),
        resolution: resolution.map(str::to_owned),
        reason: args.reason.clone(),
        owner: args.owner.clone(),
        due: args.due.map(|d| d.to_string()),
        ticket: args.ticket.clone(),
    };
    let filter = Filter {
        all: true,
        inventory: args.inventory.clone(),
        about: Some(args.id.clone()),
    };
    let who = actor(args.actor.as_deref());
    let written = with_database(globals, async |conn, _| {
        let ids: Vec<_> = store::advisories::matches(conn, &filter)
            .await?
            .iter()
            .map(|m| m.match_id)
            .collect();
        if ids.is_empty() {
            bail!(
                "nothing in the inventories is concerned by `{}`",
                model::text::sanitize(&args.id)
            );
        }

        let written = store::advisories::decide(conn, &who, &ids, &decision).await?;
        let mut now = store::advisories::matches(conn, &filter).await?;
        now.retain(|m| ids.contains(&m.match_id));

        Ok((written, now))
    })?;
    let (written, now) = written;
    if args.json {
        out::json(&now)?;
        return Ok(ExitCode::SUCCESS);
    }
    out::line(format_args!(
        "{written} {}",
        if written == 1 {
            "match is noted"
        } else {
            "matches are noted"
        }
    ))?;
    Ok(ExitCode::SUCCESS)
}

fn retire(args: &RetireArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    if args.reason.trim().chars().count() < 3 {
        out::usage!("--reason: say in a sentence why; an assessor reads it");
    }

    let who = actor(args.actor.as_deref());
    let shown = model::text::sanitize(&args.name).into_owned();
    let retired = with_database(globals, async |conn, loaded| {
        let mut known = store::advisories::origins(conn).await?;
        known.retain(|o| {
            o.name == args.name && args.kind.is_none_or(|kind| kind.as_str() == o.kind)
        });
        let origin = match &known[..] {
            [one] => one.clone(),
            [] => bail!(
                "there is no feed or inventory `{shown}`; `blueteam advisories sources` shows \
                    those that there are"
            ),
            _ => out::usage!("both a feed and an inventory are called `{shown}`; say --kind"),
        };
        let kind: Kind = origin.kind.parse()?;
        if app::advisories::inputs(&loaded.config.advisories)
            .iter()
            .any(|input| input.kind == kind && input.name == args.name)
        {
            bail!(
                "`{shown}` stands in [advisories] of the configuration, so that the daemon would \
                    read it again; take it out there first"
            );
        }
        if !retire_it(conn, (kind, &args.name), (&who, args.reason.trim())).await? {
            bail!("`{shown}` is retired already");
        }
        Ok(origin)
    })?;

    if args.json {
        out::json(
            &json!({ "kind": retired.kind, "name": retired.name, "retired_by": who, "reason": args.reason.trim() }),
        )?;
    } else {
        out::line(format_args!("{} {shown} is retired", retired.kind))?;
    }

    Ok(ExitCode::SUCCESS)
}

fn sources(json: bool, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let origins = with_database(globals, async |conn, _| {
        Ok(store::advisories::origins(conn).await?)
    })?;
    if json {
        out::json(&origins)?;
        return Ok(ExitCode::SUCCESS);
    }

    if origins.is_empty() {
        out::line("nothing was imported; `blueteam advisories components --help` has examples")?;
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
            out::text(o.items.to_string()),
            out::text(out::time(o.imported_at)),
            out::text(&o.imported_by),
            out::text(from),
        ]);
    }

    out::print(table)?;
    Ok(ExitCode::SUCCESS)
}
