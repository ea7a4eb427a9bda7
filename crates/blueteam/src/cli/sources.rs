//! `blueteam sources`: is it all there? What each source sent, when it was silent, and what could
//! not be read.

use std::process::ExitCode;

use app::sources::{self, DeadLetter, Details, Listed, Sender};
use clap::{Args as _, Subcommand};
use comfy_table::Cell;
use model::{Clock as _, Span, SystemClock, Timestamp};
use serde::Serialize;

use super::out::{self, Look};
use super::session::{Globals, list_anywhere, with_session};
use super::{Command, parsed};

/// Bytes of a dead letter in a table.
const SHOWN: usize = 120;

pub(super) const COMMAND: Command = Command {
    name: "sources",
    arguments: Args::augment_args,
    run: |matches, globals| run(&parsed(matches), globals),
};

/// Sources: what delivers events, whether it still does, and what of it could not be read.
///
/// Exit code: 0 done, 1 failed or (show) no such source, 2 wrong arguments, 3 (list) a source is
/// silent, or too many of its lines are not understood.
#[derive(Debug, clap::Args)]
struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the sources with what they sent
    ///
    /// RECEIVED counts entries; of these EVENTS became events, IGNORED were understood and mean
    /// nothing to security, REPEATED had been stored before, REJECTED could not be read (`sources
    /// dead-letters`), and DROPPED came faster than they could be kept. LATE counts events that are
    /// stored but arrived after younger ones by more than `detection.allowed_lateness`, so that
    /// rules that go by the order may not have counted them: after a start on an existing file that
    /// is nearly every line, and harmless. SKEW is how far the source's clock is from this
    /// machine's.
    #[command(
        after_help = "Examples:\n  blueteam sources list\n  blueteam sources list --json | jq \
            '.[] | select(.silent_since)'"
    )]
    List {
        /// As a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Show a source: its account, its usual pauses, its gaps
    #[command(after_help = "Examples:\n  blueteam sources show syslog:/var/log/auth.log")]
    Show {
        /// Its name, as `list` has it
        id: String,
        /// As a JSON object
        #[arg(long)]
        json: bool,
    },
    /// List what could not be read, and why, the newest first
    #[command(after_help = "Examples:\n  blueteam sources dead-letters\n  \
                            blueteam sources dead-letters --source syslog:/var/log/auth.log \
                            --json | jq -r .[].entry")]
    DeadLetters {
        /// Of this source alone
        #[arg(long, value_name = "ID")]
        source: Option<String>,
        /// At most this many
        #[arg(long, default_value_t = 100, value_name = "N")]
        limit: u32,
        /// As a JSON array
        #[arg(long)]
        json: bool,
    },
}

fn run(args: &Args, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    match &args.action {
        Action::List { json } => {
            let rows = list_anywhere(globals, "/api/v1/sources", &[], u32::MAX, || {
                with_session(globals, None, async |session, _| {
                    Ok(sources::list(session).await?)
                })
            })?;
            list_sources(&rows, *json)
        }
        Action::Show { id, json } => {
            let details = with_session(globals, None, async |session, _| {
                Ok(sources::show(session, id).await?)
            })?;
            show_source(&details, *json)
        }
        Action::DeadLetters {
            source,
            limit,
            json,
        } => {
            let kept = with_session(globals, None, async |session, _| {
                Ok(sources::dead_letters(session, source.as_deref(), *limit).await?)
            })?;
            list_letters(&kept, *json)
        }
    }
}

/// How long ago, in the largest unit that says something.
fn time_ago(at: Option<Timestamp>, now: Timestamp) -> String {
    at.map_or_else(
        || "never".to_owned(),
        |at| format!("{} ago", round_span(now.since(at))),
    )
}

fn round_span(span: Span) -> Span {
    let secs = span.as_micros() / 1_000_000;
    Span::secs(match secs {
        ..120 => secs,
        120..7200 => secs - secs % 60,
        7200..172_800 => secs - secs % 3600,
        _ => secs - secs % 86_400,
    })
}

fn list_sources(rows: &[Listed], json: bool) -> anyhow::Result<ExitCode> {
    let needs_attention = |r: &Listed| r.row.silent_since.is_some() || !r.partly_unread.is_empty();
    let code = if rows.iter().any(needs_attention) {
        ExitCode::from(3)
    } else {
        ExitCode::SUCCESS
    };

    if json {
        out::json(&rows)?;
        return Ok(code);
    }

    let (look, now) = (Look::stdout(), SystemClock.now());
    let mut table = out::table(
        look,
        &[
            "source", "hosts", "state", "last", "received", "events", "ignored", "repeated",
            "late", "rejected", "dropped", "skew",
        ],
    );

    for listed in rows {
        let r = &listed.row;
        let state = match r.silent_since {
            Some(since) => format!("SILENT since {}", out::time(since)),
            None if !listed.partly_unread.is_empty() => partly_unread(listed),
            None if r.gone_at.is_some() => "gone".to_owned(),
            None if r.last_received_at.is_none() => "waiting".to_owned(),
            None => "ok".to_owned(),
        };

        let numbers = [
            r.received, r.accepted, r.ignored, r.repeated, r.late, r.rejected, r.dropped,
        ];
        let mut cells = vec![
            out::text(&r.source_id),
            out::text(few_hosts(&listed.hosts)),
            out::text(state),
            Cell::new(time_ago(r.last_received_at, now)),
        ];
        cells.extend(numbers.iter().map(Cell::new));

        // Less than this is the way a line takes.
        let skew = r
            .skew
            .filter(|s| s.as_micros().abs() >= 1_000_000)
            .map(|s| round_span(s).to_string());
        cells.push(Cell::new(skew.unwrap_or_default()));
        table.add_row(cells);
    }

    out::spare(look, &mut table, &[1, 5, 6, 7, 8, 11]);
    out::print(table)?;
    if let Some(synchronized) = app::clock_sync::synchronized() {
        out::line(if synchronized {
            "this machine's clock is synchronized"
        } else {
            "this machine's clock is NOT synchronized (3.3.7)"
        })?;
    }

    Ok(code)
}

/// Says how much of a source is not understood, and from whom.
fn partly_unread(listed: &Listed) -> String {
    let parts = listed.partly_unread.iter().map(|part| {
        let from = if part.peer.is_empty() {
            String::new()
        } else {
            format!(" from {}", part.peer)
        };
        let unread = part.unread;
        format!("{} of {} lines{from}", unread.unparsed, unread.lines)
    });
    let parts: Vec<String> = parts.take(3).collect();
    format!("NOT UNDERSTOOD: {}", parts.join(", "))
}

/// The machines of a source, as far as a cell has room.
fn few_hosts(hosts: &[String]) -> String {
    match hosts {
        [] => "-".to_owned(),
        [first, second, _, ..] => format!("{first}, {second}, and {} more", hosts.len() - 2),
        few => few.join(", "),
    }
}

fn show_senders(senders: &[Sender]) -> anyhow::Result<()> {
    let mut table = out::table(
        Look::stdout(),
        &["peer", "host", "last", "lines", "events", "not understood"],
    );
    let now = SystemClock.now();
    for sender in senders {
        let named = |text: &str| out::text(if text.is_empty() { "-" } else { text });
        table.add_row([
            named(&sender.key.peer),
            named(&sender.key.host),
            Cell::new(time_ago(Some(sender.last_seen_at), now)),
            Cell::new(sender.lines),
            Cell::new(sender.events),
            Cell::new(sender.unparsed),
        ]);
    }
    out::print(table)
}

fn show_source(shown: &Details, json: bool) -> anyhow::Result<ExitCode> {
    if json {
        out::json(shown)?;
        return Ok(ExitCode::SUCCESS);
    }

    let (row, now) = (&shown.row, SystemClock.now());
    let span =
        |span: Option<Span>| span.map_or_else(|| "not known yet".to_owned(), |s| s.to_string());
    out::line(format_args!(
        "{} ({})",
        model::text::sanitize(&row.source_id),
        row.kind
    ))?;

    out::line(format_args!(
        "  known since    {}",
        out::time(row.first_seen_at)
    ))?;
    out::line(format_args!(
        "  last received  {}",
        time_ago(row.last_received_at, now)
    ))?;

    out::line(format_args!(
        "  newest event   {}",
        row.last_event_at
            .map_or_else(|| "none".to_owned(), out::time)
    ))?;
    out::line(format_args!(
        "  received       {} = {} events + {} ignored + {} repeated + {} rejected; {} of the \
            events late",
        row.received, row.accepted, row.ignored, row.repeated, row.rejected, row.late
    ))?;

    out::line(format_args!(
        "  usual pause    {} by day, {} else",
        span(shown.usual_pause_open),
        span(shown.usual_pause_closed)
    ))?;

    if let Some(every) = row.expected_every {
        out::line(format_args!("  configured     to speak every {every}"))?;
    }

    if let Some(missing) = shown.missing_numbers {
        out::line(format_args!("  missing        {missing} of its numbers"))?;
    }

    if row.dropped > 0 {
        out::line(format_args!(
            "  dropped        {} messages came faster than they could be taken",
            row.dropped
        ))?;
    }

    if !shown.senders.is_empty() {
        show_senders(&shown.senders)?;
    }

    if shown.gaps.is_empty() {
        out::line("  gaps           none")?;
        return Ok(ExitCode::SUCCESS);
    }

    let look = Look::stdout();
    let mut table = out::table(look, &["from", "to", "cause", "lost", "what"]);
    for gap in &shown.gaps {
        table.add_row([
            Cell::new(out::time(gap.started_at)),
            Cell::new(gap.ended_at.map_or_else(|| "still".to_owned(), out::time)),
            Cell::new(gap.cause.as_str()),
            Cell::new(gap.lost.map(|n| n.to_string()).unwrap_or_default()),
            out::text(&gap.detail),
        ]);
    }

    out::print(table)?;
    Ok(ExitCode::SUCCESS)
}

/// A dead letter as JSON: bytes that are not text are replaced.
#[derive(Serialize)]
struct Letter<'a> {
    letter_id: i64,
    source_id: &'a str,
    received_at: Timestamp,
    place: &'a str,
    reason: &'a str,
    entry: std::borrow::Cow<'a, str>,
    length: u64,
}

fn list_letters(kept: &[DeadLetter], json: bool) -> anyhow::Result<ExitCode> {
    let letters: Vec<Letter<'_>> = kept
        .iter()
        .map(|k| Letter {
            letter_id: k.letter_id,
            source_id: &k.source_id,
            received_at: k.received_at,
            place: &k.letter.place,
            reason: &k.letter.reason,
            entry: String::from_utf8_lossy(&k.letter.entry),
            length: k.letter.length,
        })
        .collect();

    if json {
        out::json(&letters)?;
        return Ok(ExitCode::SUCCESS);
    }

    if letters.is_empty() {
        out::line("no dead letters: everything that came could be read")?;
        return Ok(ExitCode::SUCCESS);
    }

    let look = Look::stdout();
    let mut table = out::table(look, &["received", "source", "place", "reason", "entry"]);
    for letter in &letters {
        let entry: String = letter
            .entry
            .chars()
            .take(if look.terminal { SHOWN } else { usize::MAX })
            .collect();
        table.add_row([
            Cell::new(out::time(letter.received_at)),
            out::text(letter.source_id),
            Cell::new(letter.place),
            out::text(letter.reason),
            out::text(&entry),
        ]);
    }

    out::print(table)?;
    Ok(ExitCode::SUCCESS)
}
