//! `blueteam alerts test`: does the message arrive?

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::bail;
use model::{Channel, Clock as _, Content, Notice, Severity, SystemClock, Topic};
use notify::{Channels, Kind, Notification};
use uuid::Uuid;

use crate::cli::out::{self, Look};
use crate::cli::session::{Globals, actor, block_on};

pub(super) const EXAMPLES: &str = "Examples:
  blueteam alerts test
  blueteam alerts test email --severity critical

Exit code: 0 every channel took the message, 1 one did not, 2 wrong arguments.";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// console, syslog, email, webhook, slack, teams, pagerduty, ocsf or cef; without it, each one
    /// that is configured
    channel: Option<Channel>,
    /// The severity that the message carries
    #[arg(long, default_value_t = Severity::Info)]
    severity: Severity,
}

pub(super) fn run(args: &Args, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let loaded = globals.load()?;
    let uname = rustix::system::uname();
    let hostname = uname.nodename().to_string_lossy();
    let stdout = Box::new(std::io::stdout());
    let settings = loaded.channel_settings(stdout, Look::stdout().colour, &hostname)?;
    let channels = Channels::open(settings)?;
    let wanted = match args.channel {
        Some(channel) => vec![channel],
        None => channels.configured(),
    };

    if wanted.is_empty() {
        bail!("no channel is configured; see [channels] in `blueteam config sample`");
    }

    let message = message(args.severity, &actor(None), &hostname);
    let failed = block_on(async {
        let mut failed = 0;
        for channel in wanted {
            match channels.send(channel, &message).await {
                Ok(receipt) => out::line(format_args!("{channel}: sent ({})", receipt.detail))?,
                Err(error) => {
                    failed += 1;
                    out::line(format_args!(
                        "{channel}: FAILED: {}\n  advice: {}",
                        error.what, error.advice
                    ))?;
                }
            }
        }

        std::io::stdout().flush()?;
        anyhow::Ok(failed)
    })?;

    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn message(severity: Severity, actor: &model::Actor, hostname: &str) -> Notification {
    let now = SystemClock.now();
    // A test of its own each time: a receiver must not take the second for a repetition of the
    // first.
    let id = Uuid::now_v7();
    let notice = Notice {
        id,
        topic: Topic::Test,
        severity,
        title: format!("Test of the alert channel from {hostname}"),
        body: format!("{actor} on {hostname} checks that alerts arrive. Nothing has happened."),
        about: hostname.to_owned(),
        from: now,
        to: now,
        count: 0,
        lasts: false,
    };

    Notification {
        content: Content::Notice(notice),
        delivery_id: id,
        kind: Kind::Test,
        sent_at: now,
        people: Vec::new(),
        ack_url: None,
        within: None,
    }
}
