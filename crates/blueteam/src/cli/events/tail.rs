//! `blueteam events tail`.

use std::process::ExitCode;

use app::events::{self, Found};

use super::filter::FilterArgs;
use crate::cli::out;
use crate::cli::session::{Globals, with_session};

/// Follow events as they come, each once, in whatever order their writers commit. Ctrl-C ends it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  blueteam events tail --result denied\n  \
                        blueteam events tail --category auth --json | jq -r .user_name")]
// It begins now and ends with Ctrl-C.
#[command(mut_arg("since", |arg| arg.hide(true)), mut_arg("until", |arg| arg.hide(true)))]
pub(super) struct Args {
    #[command(flatten)]
    filter: FilterArgs,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    if args.filter.has_beginning() {
        out::usage!("tail begins now; `events search` shows what was before (--since)");
    }

    let filter = args.filter.filter();
    let mut printed = Ok(());
    with_session(globals, args.filter.asker(), async |session, _| {
        let each = |event: &Found| {
            printed = print_event(event, args.json);
            printed.is_ok()
        };
        Ok(events::tail(session, &filter, tokio::signal::ctrl_c(), each).await?)
    })?;

    printed.map(|()| ExitCode::SUCCESS)
}

fn print_event(event: &Found, json: bool) -> anyhow::Result<()> {
    if json {
        out::line(serde_json::to_string(event)?)
    } else {
        out::line(event_line(event))
    }
}

fn event_line(event: &Found) -> String {
    let user = event
        .user_name
        .clone()
        .or_else(|| event.user_id.map(|id| id.to_string()));
    let parts = [
        out::time(event.timestamp),
        event.source.clone(),
        event.place.host.clone().unwrap_or_else(|| "-".to_owned()),
        format!("{}/{}", event.category, event.action),
        event.result.clone(),
        user.unwrap_or_else(|| "-".to_owned()),
        event.ip_address.clone().unwrap_or_else(|| "-".to_owned()),
        event.target.clone().unwrap_or_default(),
        event.resource_type.clone().unwrap_or_default(),
        event.resource_id.clone().unwrap_or_default(),
        if event.cui_accessed { "[CUI]" } else { "" }.to_owned(),
    ];

    model::text::sanitize(parts.join("  ").trim_end()).into_owned()
}
