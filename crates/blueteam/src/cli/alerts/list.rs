//! `blueteam alerts list | show | ack`.

use std::process::ExitCode;

use app::alerts::{self, Details, Escalation, Judged, Notification, Notified, Progress};
use comfy_table::Cell;
use model::{Alert, AlertState, Channel, RuleId, Severity, Timestamp};
use serde::Serialize;
use uuid::Uuid;

use crate::cli::out::{self, Look};
use crate::cli::session::{Globals, block_on, list_anywhere, with_session};
use app::remote::Remote;

pub(super) const EXAMPLES: &str = "Examples:
  blueteam alerts list --severity high --since 24h
  blueteam alerts list --unacked --rule brute_force
  blueteam alerts list --json | jq -r '.[].entity.value' | sort | uniq -c";

#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    /// This severity and worse: info, low, medium, high, critical
    #[arg(long)]
    severity: Option<Severity>,
    /// Made of events of this service
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// Whose events are all of this tenant of an application (their instance_id)
    #[arg(long, value_name = "ID")]
    instance: Option<Uuid>,
    /// Of this rule
    #[arg(long, value_name = "ID")]
    rule: Option<String>,
    /// open (may still grow) or closed
    #[arg(long, value_parser = parse_state)]
    state: Option<AlertState>,
    /// Only those that were silenced
    #[arg(long, alias = "muted")]
    silenced: bool,
    /// Only those that nobody has acknowledged
    #[arg(long)]
    unacked: bool,
    /// Written since: a length of time ago (24h, 30d) or a time (2026-03-05T14:00:00Z)
    #[arg(long, value_parser = out::moment)]
    since: Option<Timestamp>,
    /// At most this many
    #[arg(long, default_value_t = 50, value_name = "N")]
    limit: u32,
    /// As a JSON array
    #[arg(long)]
    json: bool,
}

fn parse_state(text: &str) -> Result<AlertState, String> {
    match text {
        "open" => Ok(AlertState::Open),
        "closed" => Ok(AlertState::Closed),
        _ => Err("say open or closed".to_owned()),
    }
}

const fn state_word(state: AlertState) -> &'static str {
    match state {
        AlertState::Open => "open",
        AlertState::Closed => "closed",
    }
}

/// How much of an id a terminal shows: ids are hashes, so that few digits tell them apart.
const ID_SHOWN: usize = 8;

/// Alerts as a table.
pub(in crate::cli) fn show_table(alerts: &[Alert]) -> anyhow::Result<()> {
    if alerts.is_empty() {
        return out::line("no alerts");
    }

    let look = Look::stdout();
    let mut table = out::table(
        look,
        &[
            "alert",
            "last seen",
            "severity",
            "rule",
            "state",
            "events",
            "seen by",
            "title",
        ],
    );

    for a in alerts {
        table.add_row([
            Cell::new(look.id(&a.alert_id, ID_SHOWN)),
            Cell::new(out::time(a.last_seen)),
            look.severity(a.severity),
            out::text(a.rule_title()),
            Cell::new(if a.muted_by.is_some() {
                "silenced"
            } else {
                state_word(a.state)
            }),
            Cell::new(a.event_count),
            out::text(a.acknowledged_by.as_deref().unwrap_or("-")),
            out::text(&a.title),
        ]);
    }

    // The title begins with the rule's name; the rest is in `show`.
    out::spare(look, &mut table, &[3, 4, 6]);
    out::print(table)
}

impl ListArgs {
    /// As the API is asked.
    fn query(&self) -> Vec<(&'static str, String)> {
        let mut query = Vec::new();
        let mut add = |name, value: Option<String>| query.extend(value.map(|value| (name, value)));
        add("all", self.state.is_none().then(|| "true".to_owned()));
        add(
            "state",
            self.state.map(|state| state_word(state).to_owned()),
        );
        add(
            "severity",
            self.severity.map(|severity| severity.as_str().to_owned()),
        );
        add("service", self.service.clone());
        add("tenant", self.instance.map(|id| id.to_string()));
        add("rule_id", self.rule.clone());
        add("acknowledged", self.unacked.then(|| "false".to_owned()));
        add("since", self.since.map(|since| since.to_string()));
        add("silenced", self.silenced.then(|| "true".to_owned()));
        query
    }
}

pub(super) fn list(args: &ListArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let filter = alerts::Filter {
        severity: args.severity,
        service: args.service.clone(),
        tenant: args.instance,
        rule_id: args.rule.clone().map(|id| RuleId(id.into())),
        state: args.state,
        acknowledged: args.unacked.then_some(false),
        since: args.since,
        incident_id: None,
        silenced: args.silenced.then_some(true),
        entity: None,
        before: None,
    };

    let mut alerts = list_anywhere(globals, "/api/v1/alerts", &args.query(), args.limit, || {
        with_session(globals, None, async |session, loaded| {
            Ok(alerts::list(session, &loaded.config, &filter, args.limit).await?)
        })
    })?;
    alerts::sort(&mut alerts);

    if args.json {
        out::json(&alerts)?;
        return Ok(ExitCode::SUCCESS);
    }

    show_table(&alerts)?;
    if alerts.len() as u64 == u64::from(args.limit) {
        out::note(format_args!(
            "the newest {}; there may be more (--limit)",
            args.limit
        ));
    }

    Ok(ExitCode::SUCCESS)
}

/// Show everything about one alert.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  blueteam alerts show 3f2a81c0\n  blueteam alerts show 3f2a81c0 \
        --json"
)]
pub(super) struct ShowArgs {
    /// The alert's id, or enough of its beginning
    #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
    id: String,
    /// As a JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn show(args: &ShowArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let details = with_session(globals, None, async |session, loaded| {
        Ok(alerts::show(session, &loaded.config, &args.id).await?)
    })?;

    if args.json {
        out::json(&Shown::of(&details))?;
    } else {
        describe_alert(&details.alert, &describe_notified(&details))?;
        super::verdict::print(&details.verdicts)?;
        print_escalations(&details.escalations)?;
    }

    Ok(ExitCode::SUCCESS)
}

/// An alert and who was notified.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    alert: &'a Alert,
    told: &'a [Channel],
    folded: &'a [Channel],
    verdicts: &'a [Judged],
}

impl<'a> Shown<'a> {
    fn of(details: &'a Details) -> Self {
        Self {
            alert: &details.alert,
            told: &details.channels,
            folded: &details.folded,
            verdicts: &details.verdicts,
        }
    }
}

/// Returns who was notified, or why no one was.
fn describe_notified(details: &Details) -> String {
    match &details.notified {
        Notified::Muted(by) => {
            format!("nobody: silenced by {by} (`blueteam silences list --all`)")
        }
        Notified::Through(notifications) => {
            let by: Vec<String> = notifications
                .iter()
                .copied()
                .map(describe_notification)
                .collect();
            format!("by {}", by.join(", "))
        }
        Notified::NoChannel => format!(
            "nobody: no channel is configured for {} alerts (`blueteam config check`)",
            details.alert.severity
        ),
        Notified::InDigest => "nobody at once; the daily digest names it".to_owned(),
        Notified::NotRouted => {
            "nobody: by the routing of that time, or because it was of the past when it was found"
                .to_owned()
        }
    }
}

fn describe_notification(notification: Notification) -> String {
    let channel = notification.channel;
    match notification.progress {
        Progress::Delivered => channel.to_string(),
        Progress::GivenUp => format!("{channel} (given up)"),
        Progress::Pending => format!("{channel} (under way)"),
        Progress::Folded => format!("{channel} (in a summary of many)"),
    }
}

fn describe_alert(a: &Alert, told: &str) -> anyhow::Result<()> {
    let safe = |text: &str| model::text::sanitize(text).into_owned();
    let controls: Vec<String> = a.nist_controls.iter().map(|c| safe(&c.0)).collect();
    let seen = match (&a.acknowledged_by, a.acknowledged_at) {
        (Some(by), at) => format!("{} at {}", safe(by), out::maybe_time(at)),
        (None, _) => "nobody yet (`blueteam alerts ack`)".to_owned(),
    };

    out::line(format_args!(
        "{}\n\n{}\n",
        safe(&a.title),
        safe(&a.description)
    ))?;

    let facts = [
        ("alert", a.alert_id.to_string()),
        ("severity", a.severity.to_string()),
        (
            "rule",
            match &a.rule_name {
                Some(name) => safe(&format!("{name} ({})", a.rule_id)),
                None => safe(a.rule_id.as_str()),
            },
        ),
        ("about", safe(&a.subject())),
        (
            "accounts",
            if a.accounts.is_empty() {
                "-".to_owned()
            } else {
                safe(&a.accounts.join(", "))
            },
        ),
        (
            "host",
            if a.hosts.is_empty() {
                "-".to_owned()
            } else {
                safe(&a.hosts.join(", "))
            },
        ),
        (
            "service",
            if a.services.is_empty() {
                "-".to_owned()
            } else {
                safe(&a.services.join(", "))
            },
        ),
        (
            "tenant",
            a.tenant.map_or_else(|| "-".to_owned(), |id| id.to_string()),
        ),
        ("source", safe(&a.source)),
        ("first seen", out::time(a.first_seen)),
        ("last seen", out::time(a.last_seen)),
        ("events", a.event_count.to_string()),
        ("state", state_word(a.state).to_owned()),
        ("controls", controls.join(", ")),
        (
            "CUI touched",
            if a.cui_involved { "yes" } else { "no" }.to_owned(),
        ),
        (
            "incident",
            a.incident_id
                .map_or_else(|| "-".to_owned(), |id| id.to_string()),
        ),
        ("written", out::time(a.created_at)),
        ("seen by", seen),
        ("told", told.to_owned()),
    ];

    for (label, value) in facts {
        out::line(format_args!("{label:<12} {value}"))?;
    }

    if !a.event_ids.is_empty() {
        out::line(format_args!(
            "\nfirst {} events (`blueteam events search --alert {}` shows them):",
            a.event_ids.len(),
            &a.alert_id.to_string()[..8]
        ))?;
        for id in &a.event_ids {
            out::line(format_args!("  {id}"))?;
        }
    }

    Ok(())
}

/// Prints the tiers that were notified because the alert was not acknowledged in time.
fn print_escalations(told: &[Escalation]) -> anyhow::Result<()> {
    for e in told {
        let people = if e.people.is_empty() {
            "its readers".to_owned()
        } else {
            e.people.join(", ")
        };

        let (people, by) = (
            model::text::sanitize(&people).into_owned(),
            e.channels.join(", "),
        );
        out::line(format_args!(
            "escalated    {} to tier {}: {people}, by {by}",
            out::time(e.at),
            e.tier
        ))?;
    }

    Ok(())
}

/// Note that you have seen an alert. The first to see it stays on record.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  blueteam alerts ack 3f2a81c0\n  blueteam alerts ack 3f2a81c0 9b11 \
       "
)]
pub(super) struct AckArgs {
    /// Ids of alerts, or enough of their beginnings
    #[arg(required = true, value_parser = clap::builder::NonEmptyStringValueParser::new())]
    ids: Vec<String>,
    /// The person you act for; recorded beside your own account, which is who acts
    #[arg(long, value_name = "NAME")]
    on_behalf_of: Option<String>,
    /// As a JSON array of the alerts
    #[arg(long)]
    json: bool,
}

/// Acknowledges alerts one after the other; what was done stays done if a later one is not there.
async fn acknowledge_remotely(remote: &Remote, ids: &[String]) -> anyhow::Result<Vec<Alert>> {
    let mut seen = Vec::with_capacity(ids.len());
    for id in ids {
        let path = ["api", "v1", "alerts", id, "acknowledge"];
        seen.push(remote.post(&path).await?);
    }
    Ok(seen)
}

pub(super) fn ack(args: &AckArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let seen = match globals.remote()? {
        Some(_) if args.on_behalf_of.is_some() => {
            out::usage!("--on-behalf-of: with --server it is the owner of the key who acts");
        }
        Some(remote) => block_on(acknowledge_remotely(&remote, &args.ids))?,
        None => with_session(globals, args.on_behalf_of.as_deref(), async |session, _| {
            Ok(alerts::acknowledge_all(session, &args.ids).await?)
        })?,
    };

    if args.json {
        out::json(&seen)?;
        return Ok(ExitCode::SUCCESS);
    }

    for alert in seen {
        let by = alert.acknowledged_by.unwrap_or_default();
        out::line(format_args!(
            "{} seen by {} at {}",
            alert.alert_id,
            model::text::sanitize(&by),
            out::maybe_time(alert.acknowledged_at)
        ))?;
    }

    Ok(ExitCode::SUCCESS)
}
