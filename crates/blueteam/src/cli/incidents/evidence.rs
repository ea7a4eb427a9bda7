//! `blueteam incidents evidence`: what an incident's findings rest on, and what happened to it.

mod check;

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use app::AppError;
use app::events::Question;
use app::incident_evidence::{
    self as evidence, CustodyView, Excerpt, ItemView, Keeping, Listing, NewItem, Source,
};
use clap::Subcommand;
use comfy_table::Cell;
use config::Loaded;
use model::IncidentEvidenceKind;
use model::text::sanitize;

use crate::cli::events::filter::FilterArgs;
use crate::cli::out::{self, Look};
use crate::cli::session::{Globals, with_session};

pub(super) use check::{PackageArgs, VerifyArgs, export_package, verify};

/// Evidence: take in files and texts, pull excerpts from stored events, show, hand on, export, verify
///
/// Each item is hashed, and each record covers the one before it, so that nothing is changed, taken
/// out or put in without being noticed. What happens to an item (collected, viewed, exported,
/// transferred) is a record of the same chain. An item is named by its incident and its number in
/// that chain, or by its ID.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  blueteam incidents evidence add 01a2 capture.pcap --type pcap --shows 'traffic of web01 during \
  the attack'
  blueteam incidents evidence list 01a2")]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Add(AddArgs),
    List(ListArgs),
    Show(ShowArgs),
    Excerpt(Box<ExcerptArgs>),
    Transfer(TransferArgs),
    Export(ExportArgs),
    /// Check the chain of an incident, or of all, with every file
    Verify(VerifyArgs),
    Key(KeyArgs),
}

/// Take in a file or a text
///
/// The file is copied below the state directory under its SHA-256, and is whole and on disk before
/// there is a record of it. A closed incident takes no more evidence. A sample of malware is
/// encrypted as it is copied (`malware_recipient` of [incidents]), and is never shown.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  blueteam incidents evidence add 01a2 capture.pcap --type pcap --shows 'traffic of web01 during \
  the attack' --from 'Dana Reyes, IT'
  blueteam incidents evidence add 01a2 --text 'called the owner of the account; she was on leave' \
  --shows 'conversation with alice'
  blueteam incidents evidence add 01a2 dropper.exe --malware --shows 'found in /tmp of web01'")]
struct AddArgs {
    /// The ID of the incident, or its first characters
    incident: String,
    /// The file, of at most 2 GiB
    #[arg(required_unless_present = "text", conflicts_with = "text")]
    file: Option<PathBuf>,
    /// A text in the place of a file
    #[arg(long)]
    text: Option<String>,
    /// log_excerpt, screenshot, config, timeline, network_capture (or pcap), file, note; without it,
    /// file, or note for a text
    #[arg(long = "type", value_name = "TYPE", value_parser = IncidentEvidenceKind::named)]
    kind: Option<IncidentEvidenceKind>,
    /// What it shows, in a sentence
    #[arg(long, value_name = "SENTENCE")]
    shows: String,
    /// Who handed it over
    #[arg(long, value_name = "NAME")]
    from: Option<String>,
    /// It is a sample of malware
    #[arg(long)]
    malware: bool,
    /// The person you act for; recorded beside your own account, which is who acts
    #[arg(long, value_name = "NAME")]
    on_behalf_of: Option<String>,
    /// As a JSON object
    #[arg(long)]
    json: bool,
}

/// List the evidence of an incident
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  blueteam incidents evidence list 01a2\n  blueteam incidents evidence \
        list 01a2 --json | jq -r '.items[] | .sha256 + \"  \" + .file_name'"
)]
struct ListArgs {
    /// The ID of the incident, or its first characters
    incident: String,
    /// As a JSON object
    #[arg(long)]
    json: bool,
}

/// Show an item, with what happened to it
///
/// With --content its text is shown, too, which is recorded. A sample of malware is never shown.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  blueteam incidents evidence show 01a2 3\n  blueteam incidents evidence \
        show 01a2 3 --content"
)]
struct ShowArgs {
    /// The ID of the incident, or its first characters
    incident: String,
    /// The number of the item, or its ID
    item: String,
    /// Show its text; who did is recorded
    #[arg(long, conflicts_with = "json")]
    content: bool,
    /// The person you act for; recorded beside your own account, which is who acts
    #[arg(long, value_name = "NAME", requires = "content")]
    on_behalf_of: Option<String>,
    /// As a JSON object
    #[arg(long)]
    json: bool,
}

/// Keep the events that a query finds as evidence, with the query
///
/// The events are kept as they are stored, the oldest first, one JSON object a line. The query, how
/// many it found, and whether the limit cut them are part of the record.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  blueteam incidents evidence excerpt 01a2 --ip 203.0.113.7 --since 2026-03-05T00:00:00Z --until \
  2026-03-06T00:00:00Z
  blueteam incidents evidence excerpt 01a2 --user alice --since 7d --shows 'what the account did'")]
struct ExcerptArgs {
    /// The ID of the incident, or its first characters
    incident: String,
    #[command(flatten)]
    filter: FilterArgs,
    /// At most this many events, the oldest first
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    limit: u32,
    /// What it shows, in a sentence
    #[arg(long, value_name = "SENTENCE")]
    shows: Option<String>,
    /// As a JSON object
    #[arg(long)]
    json: bool,
}

/// Record that an item, or a copy of it, was handed to someone
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  blueteam incidents evidence transfer 01a2 3 --to 'DC3, by courier' \
        --remark 'disk image, receipt 4711'"
)]
struct TransferArgs {
    /// The ID of the incident, or its first characters
    incident: String,
    /// The number of the item, or its ID
    item: String,
    /// To whom
    #[arg(long, value_name = "NAME")]
    to: String,
    /// More about it
    #[arg(long, value_name = "TEXT")]
    remark: Option<String>,
    /// The person you act for; recorded beside your own account, which is who acts
    #[arg(long, value_name = "NAME")]
    on_behalf_of: Option<String>,
    /// As a JSON object
    #[arg(long)]
    json: bool,
}

/// Write an item to a file, which is recorded
///
/// It must still be what was taken in. Of a sample of malware the encrypted file is written
/// (`age --decrypt` opens it). `incidents export` writes all of an incident, signed.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  blueteam incidents evidence export 01a2 3 --output capture.pcap"
)]
struct ExportArgs {
    /// The ID of the incident, or its first characters
    incident: String,
    /// The number of the item, or its ID
    item: String,
    /// To this file, which must not exist
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// The person you act for; recorded beside your own account, which is who acts
    #[arg(long, value_name = "NAME")]
    on_behalf_of: Option<String>,
}

/// Show the public key that exported evidence is signed with, and its fingerprint
///
/// The key is made when it is first needed, outside of the database. Hand the fingerprint to whoever
/// checks packages by another way than the package.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  blueteam incidents evidence key\n  blueteam incidents evidence key \
        --json | jq -r .key > evidence.pub"
)]
struct KeyArgs {
    /// As a JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    match &args.action {
        Action::Add(args) => add(args, globals),
        Action::List(args) => list(args, globals),
        Action::Show(args) => show(args, globals),
        Action::Excerpt(args) => excerpt(args, globals),
        Action::Transfer(args) => transfer(args, globals),
        Action::Export(args) => export(args, globals),
        Action::Verify(args) => verify(args, globals),
        Action::Key(args) => key(args, globals),
    }
}

/// What a use case gave. That there is no such incident or item is a wrong argument.
fn found<T>(result: Result<T, AppError>) -> anyhow::Result<T> {
    result.map_err(|error| match error {
        AppError::NotFound(why) => anyhow::Error::new(out::Usage(why)),
        other => other.into(),
    })
}

/// What evidence is kept with.
fn keeping<'a>(state: &'a config::StateDir, loaded: &'a Loaded) -> Keeping<'a> {
    Keeping {
        state,
        config: &loaded.config.incidents,
    }
}

fn add(args: &AddArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let (source, usual) = match (&args.file, &args.text) {
        (Some(file), _) => (Source::File(file), IncidentEvidenceKind::File),
        (None, text) => (
            Source::Text(text.as_deref().unwrap_or_default()),
            IncidentEvidenceKind::Note,
        ),
    };
    let new = NewItem {
        incident: &args.incident,
        source,
        kind: args.kind.unwrap_or(usual),
        shows: &args.shows,
        from: args.from.as_deref(),
        is_malware: args.malware,
    };
    let state = globals.state()?;
    let on_behalf_of = args.on_behalf_of.as_deref();
    let item = with_session(globals, on_behalf_of, async |session, loaded| {
        found(evidence::add(session, keeping(&state, loaded), &new).await)
    })?;
    show_added(&item, args.json)
}

fn show_added(item: &ItemView, json: bool) -> anyhow::Result<ExitCode> {
    if json {
        out::json(item)?;
        return Ok(ExitCode::SUCCESS);
    }
    out::line(format_args!(
        "{} is item {} of incident {}\nsha-256 {}",
        item.evidence_id,
        item.number,
        item.incident_id,
        item.sha256.as_deref().unwrap_or("-")
    ))?;
    if item.is_malware {
        out::note(format_args!(
            "it is kept encrypted; the sample's own SHA-256 is {}",
            item.sample_sha256.as_deref().unwrap_or("-")
        ));
    }
    Ok(ExitCode::SUCCESS)
}

fn list(args: &ListArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let listing = with_session(globals, None, async |session, _| {
        found(evidence::list(session, &args.incident).await)
    })?;
    if args.json {
        out::json(&listing)?;
    } else if listing.items.is_empty() {
        out::line("no evidence")?;
    } else {
        show_listing(&listing)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn show_listing(listing: &Listing) -> anyhow::Result<()> {
    let look = Look::stdout();
    let header = [
        "item",
        "type",
        "collected",
        "by",
        "size",
        "sha-256",
        "last",
        "shows",
    ];
    let mut table = out::table(look, &header);
    for item in &listing.items {
        let kind = if item.is_malware {
            "malware"
        } else {
            &item.evidence_type
        };
        let last = item
            .custody
            .last()
            .map_or("-", |entry| entry.event.as_str());
        table.add_row([
            Cell::new(item.number),
            out::text(kind),
            Cell::new(out::time(item.collected_at)),
            out::text(&item.collected_by),
            Cell::new(size(item.size_bytes)),
            Cell::new(look.id(&item.sha256.as_deref().unwrap_or("-"), 8)),
            out::text(last),
            out::text(&item.description),
        ]);
    }
    out::spare(look, &mut table, &[5, 3, 6]);
    out::print(table)?;
    out::note(format_args!(
        "the chain has {} records; the last hash is {}",
        listing.records,
        listing.head.as_deref().unwrap_or("-")
    ));
    Ok(())
}

fn size(bytes: Option<i64>) -> String {
    bytes.map_or_else(
        || "-".to_owned(),
        |bytes| model::size::approximate(bytes.unsigned_abs()),
    )
}

fn show(args: &ShowArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let state = globals.state()?;
    let on_behalf_of = args.on_behalf_of.as_deref();
    if args.content {
        let content = with_session(globals, on_behalf_of, async |session, _| {
            found(evidence::view(session, &state, &args.incident, &args.item).await)
        })?;
        let mut out = std::io::stdout().lock();
        if out.is_terminal() {
            for line in content.text.lines() {
                writeln!(out, "{}", sanitize(line))?;
            }
        } else {
            out.write_all(content.text.as_bytes())?;
        }
        if content.is_cut {
            out::note("there is more; `incidents evidence export` writes all of it");
        }
        return Ok(ExitCode::SUCCESS);
    }

    let item = with_session(globals, None, async |session, _| {
        found(evidence::show(session, &args.incident, &args.item).await)
    })?;
    if args.json {
        out::json(&item)?;
    } else {
        show_item(&item)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn show_item(item: &ItemView) -> anyhow::Result<()> {
    let text = |text: &Option<String>| sanitize(text.as_deref().unwrap_or("-")).into_owned();
    let query = item.query.as_ref().map(ToString::to_string);
    let lines = [
        (
            "item",
            format!("{} of incident {}", item.number, item.incident_id),
        ),
        ("id", item.evidence_id.to_string()),
        ("type", item.evidence_type.clone()),
        ("shows", sanitize(&item.description).into_owned()),
        ("file", text(&item.file_name)),
        ("was called", text(&item.original_name)),
        ("content", text(&item.media_type)),
        ("size", size(item.size_bytes)),
        ("sha-256", text(&item.sha256)),
        ("query", text(&query)),
        ("encrypted to", text(&item.sealed_to)),
        ("sample", text(&item.sample_sha256)),
        ("record", item.record_hash.clone()),
    ];
    for (name, value) in lines.iter().filter(|(_, value)| value != "-") {
        out::line(format_args!("{name:<13}{value}"))?;
    }
    out::line("")?;
    show_custody(&item.custody)
}

fn show_custody(custody: &[CustodyView]) -> anyhow::Result<()> {
    let look = Look::stdout();
    let header = ["record", "when", "event", "by", "from or to", "remark"];
    let mut table = out::table(look, &header);
    for entry in custody {
        table.add_row([
            Cell::new(entry.number),
            Cell::new(out::time(entry.at)),
            out::text(&entry.event),
            out::text(&entry.by),
            out::text(entry.party.as_deref().unwrap_or("-")),
            out::text(entry.remark.as_deref().unwrap_or("-")),
        ]);
    }
    out::spare(look, &mut table, &[5, 4]);
    out::print(table)
}

fn excerpt(args: &ExcerptArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let wanted = Excerpt {
        incident: &args.incident,
        question: Question::new(args.filter.filter())?,
        limit: args.limit,
        shows: args.shows.as_deref(),
    };
    let state = globals.state()?;
    let done = with_session(globals, args.filter.asker(), async |session, loaded| {
        found(evidence::excerpt(session, keeping(&state, loaded), &wanted).await)
    })?;
    show_added(&done.item, args.json)?;
    let when = if args.filter.is_of_the_last_day() {
        " of the last 24 hours (--since)"
    } else {
        ""
    };
    if done.is_cut {
        out::note(format_args!(
            "the oldest {} events{when}; the limit left out others (--limit), which the record says",
            done.found
        ));
    } else {
        out::note(format_args!("{} events{when}, all that match", done.found));
    }
    Ok(ExitCode::SUCCESS)
}

fn transfer(args: &TransferArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let on_behalf_of = args.on_behalf_of.as_deref();
    let item = with_session(globals, on_behalf_of, async |session, _| {
        let why = args.remark.as_deref();
        found(evidence::transfer(session, &args.incident, &args.item, &args.to, why).await)
    })?;
    if args.json {
        out::json(&item)?;
    } else {
        out::line(format_args!(
            "item {} of incident {}: transferred to {}",
            item.number,
            item.incident_id,
            sanitize(&args.to)
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn export(args: &ExportArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let state = globals.state()?;
    let on_behalf_of = args.on_behalf_of.as_deref();
    let done = with_session(globals, on_behalf_of, async |session, _| {
        let (incident, item) = (&args.incident, &args.item);
        found(evidence::export_file(session, &state, incident, item, &args.output).await)
    })?;
    out::line(format_args!(
        "{}  {}",
        done.item.sha256.as_deref().unwrap_or("-"),
        args.output.display()
    ))?;
    if done.item.is_malware {
        out::note("it is a sample of malware, encrypted with age; open it in a laboratory only");
    }
    Ok(ExitCode::SUCCESS)
}

fn key(args: &KeyArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let loaded = globals.load()?;
    let about = evidence::about_key(&globals.state()?, &loaded.config.incidents)?;
    if args.json {
        out::json(&about)?;
    } else {
        out::line(format_args!(
            "key number   {}\npublic key   {}\nfingerprint  {}",
            about.id, about.key, about.fingerprint
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}
