//! `blueteam events search`.

use std::process::ExitCode;

use app::events::{self, Found, Question, Search};
use comfy_table::{Cell, Table};

use super::filter::FilterArgs;
use crate::cli::out::{self, Look};
use crate::cli::session::{Globals, block_on, with_session};

/// Search events, the newest first; or, as a timeline, one user's or session's, as they happened.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  blueteam events search --ip 203.0.113.0/24 --since 7d
  blueteam events search --user alice --timeline --since 2026-03-05T00:00:00Z --until \
  2026-03-06T00:00:00Z
  blueteam events search --alert 3f2a81c0 --timeline
  blueteam events search --host web01 --text backdoor --raw
  blueteam events search --cui --result denied --json | jq -r .[].user_name | sort | uniq -c")]
pub(super) struct Args {
    #[command(flatten)]
    filter: FilterArgs,
    /// Those that this alert rests on: its id, or enough of its beginning
    #[arg(long, value_name = "ALERT", conflicts_with_all = ["since", "until", "id"])]
    alert: Option<String>,
    /// The chain of one user's, one session's or one alert's actions, the oldest first
    #[arg(long)]
    timeline: bool,
    /// The lines of the logs as they were read, with secrets masked
    #[arg(long, conflicts_with = "json")]
    raw: bool,
    /// At most this many
    #[arg(long, default_value_t = 100, value_name = "N")]
    limit: u32,
    /// As a JSON array
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    if args.timeline && args.alert.is_none() && !args.filter.is_about_somebody() {
        out::usage!(
            "--timeline is of one person, session or alert: add --user, --session or --alert"
        );
    }

    let question = Question::new(args.filter.filter())?;
    let search = Search {
        question: question.clone(),
        alert: args.alert.as_deref(),
        timeline: args.timeline,
        limit: args.limit,
    };
    if let Some(remote) = globals.remote()? {
        if args.timeline {
            out::usage!("--timeline: not with --server");
        }
        let mut query = args.filter.query()?;
        query.extend(args.alert.clone().map(|alert| ("alert", alert)));
        let events = block_on(remote.list("/api/v1/events", &query, args.limit))?;
        return show(args, &events, None);
    }
    let (answer, hint) = with_session(globals, args.filter.asker(), async |session, _| {
        let answer = events::search(session, search).await?;
        let hint = if answer.events.is_empty() {
            question.hint(session).await?
        } else {
            None
        };
        Ok((answer, hint))
    })?;

    if let Some(kept) = answer.kept
        && kept.all > kept.kept as u64
    {
        out::note(format_args!(
            "the alert keeps the first {} of its {} events; search for the others by what it is \
                about",
            kept.kept, kept.all
        ));
    }

    if answer.ahead > 0 {
        out::note(format_args!(
            "{} matching {} dated more than a day ahead; --until 9999-12-31 shows them too",
            answer.ahead,
            if answer.ahead == 1 {
                "event is"
            } else {
                "events are"
            },
        ));
    }

    show(args, &answer.events, hint)
}

fn show(args: &Args, events: &[Found], hint: Option<String>) -> anyhow::Result<ExitCode> {
    if args.json {
        out::json(&events)?;
    } else if events.is_empty() {
        let when = if args.alert.is_none() && args.filter.is_of_the_last_day() {
            " of the last 24 hours (--since)"
        } else {
            ""
        };
        out::line(format_args!("no events{when}"))?;
        if let Some(hint) = hint {
            out::note(hint);
        }
    } else if args.raw {
        print_raw(events)?;
    } else {
        let look = Look::stdout();
        let mut table = header(look);
        for event in events {
            add(&mut table, event);
        }
        out::spare(look, &mut table, &[1, 2, 3, 6]);
        out::print(table)?;
    }

    if events.len() as u64 == u64::from(args.limit) {
        let which = if args.timeline { "oldest" } else { "newest" };
        out::note(format_args!(
            "the {which} {}; there may be more (--limit)",
            args.limit
        ));
    }

    Ok(ExitCode::SUCCESS)
}

/// Prints the lines from which the events were made. What an application reported has none.
fn print_raw(events: &[Found]) -> anyhow::Result<()> {
    for event in events {
        let Some(raw) = &event.place.raw else {
            continue;
        };
        let host = event.place.host.as_deref().unwrap_or("-");
        let line = format!("{}  {host}  {raw}", out::time(event.timestamp));
        out::line(model::text::sanitize(&line))?;
    }

    let without = events.iter().filter(|event| event.place.raw.is_none());
    match without.count() {
        0 => {}
        count => out::note(format_args!("{count} more events have no raw line")),
    }
    Ok(())
}

pub(super) fn header(look: Look) -> Table {
    out::table(
        look,
        &[
            "time", "source", "host", "category", "action", "result", "user", "address", "to what",
        ],
    )
}

pub(super) fn add(table: &mut Table, event: &Found) {
    let user = event
        .user_name
        .clone()
        .or_else(|| event.user_id.map(|id| id.to_string()));
    let parts = [event.resource_type.as_deref(), event.resource_id.as_deref()];
    let mut what = parts.into_iter().flatten().collect::<Vec<_>>().join(" ");
    if let Some(target) = &event.target {
        what = format!("{target}: {what}");
    }
    if event.cui_accessed {
        what.push_str(" [CUI]");
    }

    table.add_row([
        Cell::new(out::time(event.timestamp)),
        out::text(&event.source),
        out::text(event.place.host.as_deref().unwrap_or("-")),
        out::text(&event.category),
        out::text(&event.action),
        out::text(&event.result),
        out::text(user.as_deref().unwrap_or("-")),
        out::text(event.ip_address.as_deref().unwrap_or("-")),
        out::text(what.trim()),
    ]);
}
