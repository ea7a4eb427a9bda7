//! `blueteam alerts list | show | ack`.

use std::process::ExitCode;

use anyhow::bail;
use comfy_table::Cell;
use model::{Alert, AlertId, AlertState, RuleId, Severity, Timestamp};
use store::PgConnection;
use store::alerts::AlertFilter;
use store::escalations::Escalation;

use crate::cli::out::{self, Look};
use crate::cli::session::{Globals, actor, with_database};

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
    /// Of this rule
    #[arg(long, value_name = "ID")]
    rule: Option<String>,
    /// open (may still grow) or closed
    #[arg(long, value_parser = state)]
    state: Option<AlertState>,
    /// Only those that were muted
    #[arg(long)]
    muted: bool,
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

fn state(text: &str) -> Result<AlertState, String> {
    match text {
        "open" => Ok(AlertState::Open),
        "closed" => Ok(AlertState::Closed),
        _ => Err("say open or closed".to_owned()),
    }
}

const fn word(state: AlertState) -> &'static str {
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
    let mut table =
        out::table(look, &["alert", "last seen", "severity", "rule", "state", "events", "seen by", "title"]);
    for a in alerts {
        table.add_row([
            Cell::new(look.id(&a.alert_id, ID_SHOWN)),
            Cell::new(out::time(a.last_seen)),
            look.severity(a.severity),
            out::text(a.rule_id.as_str()),
            Cell::new(if a.muted_by.is_some() { "muted" } else { word(a.state) }),
            Cell::new(a.event_count),
            out::text(a.acknowledged_by.as_deref().unwrap_or("-")),
            out::text(&a.title),
        ]);
    }
    // The title begins with the rule's name; the rest is in `show`.
    out::spare(look, &mut table, &[3, 4, 6]);
    out::print(table)
}

pub(super) fn list(args: &ListArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let filter = AlertFilter {
        severity: args.severity,
        service: args.service.clone(),
        rule_id: args.rule.clone().map(|id| RuleId(id.into())),
        state: args.state,
        acknowledged: args.unacked.then_some(false),
        since: args.since,
        incident_id: None,
        muted: args.muted.then_some(true),
    };
    let alerts = with_database(globals, async |conn, _| Ok(store::alerts::list(conn, &filter, args.limit).await?))?;
    if args.json {
        out::json(&alerts)?;
        return Ok(ExitCode::SUCCESS);
    }
    show_table(&alerts)?;
    if alerts.len() as u64 == u64::from(args.limit) {
        out::note(format_args!("the newest {}; there may be more (--limit)", args.limit));
    }
    Ok(ExitCode::SUCCESS)
}

/// Show everything about one alert.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  blueteam alerts show 3f2a81c0\n  blueteam alerts show 3f2a81c0 --json")]
pub(super) struct ShowArgs {
    /// The alert's id, or enough of its beginning
    id: String,
    /// As a JSON object
    #[arg(long)]
    json: bool,
}

/// The alert whose id begins like this.
pub(in crate::cli) async fn find(conn: &mut PgConnection, prefix: &str) -> anyhow::Result<AlertId> {
    let shown = notify::plain::neutral(prefix);
    if prefix.is_empty() {
        bail!("say at least the first digit of the alert's id");
    }
    match store::alerts::starting_with(conn, prefix, 2).await?[..] {
        [] => bail!("there is no alert `{shown}`; `blueteam alerts list` shows those that there are"),
        [id] => Ok(id),
        _ => bail!("several alerts begin with `{shown}`; say more of the id"),
    }
}

pub(super) fn show(args: &ShowArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let (alert, told) = with_database(globals, async |conn, _| {
        let id = find(conn, &args.id).await?;
        Ok((store::alerts::show(conn, id).await?, store::escalations::of_alert(conn, id).await?))
    })?;
    let Some(alert) = alert else { bail!("the alert is gone") };
    if args.json {
        out::json(&alert)?;
    } else {
        describe(&alert)?;
        escalated(&told)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn describe(a: &Alert) -> anyhow::Result<()> {
    let safe = |text: &str| notify::plain::neutral(text).into_owned();
    let controls: Vec<String> = a.nist_controls.iter().map(|c| safe(&c.0)).collect();
    let seen = match (&a.acknowledged_by, a.acknowledged_at) {
        (Some(by), at) => format!("{} at {}", safe(by), out::maybe_time(at)),
        (None, _) => "nobody yet (`blueteam alerts ack`)".to_owned(),
    };
    out::line(format_args!("{}\n\n{}\n", safe(&a.title), safe(&a.description)))?;
    let facts = [
        ("alert", a.alert_id.to_string()),
        ("severity", a.severity.to_string()),
        ("rule", safe(a.rule_id.as_str())),
        (a.entity.kind.as_str(), safe(&a.entity.value)),
        ("service", if a.services.is_empty() { "-".to_owned() } else { safe(&a.services.join(", ")) }),
        ("source", safe(&a.source)),
        ("first seen", out::time(a.first_seen)),
        ("last seen", out::time(a.last_seen)),
        ("events", a.event_count.to_string()),
        ("state", word(a.state).to_owned()),
        ("controls", controls.join(", ")),
        ("CUI touched", if a.cui_involved { "yes" } else { "no" }.to_owned()),
        ("incident", a.incident_id.map_or_else(|| "-".to_owned(), |id| id.to_string())),
        ("written", out::time(a.created_at)),
        ("seen by", seen),
        ("told", a.muted_by.map_or_else(|| "as routed".to_owned(), |by| format!("nobody: muted by {by}"))),
    ];
    for (label, value) in facts {
        out::line(format_args!("{label:<12} {value}"))?;
    }
    if !a.event_ids.is_empty() {
        out::line(format_args!("\nfirst {} events:", a.event_ids.len()))?;
        for id in &a.event_ids {
            out::line(format_args!("  {id}"))?;
        }
    }
    Ok(())
}

/// Which tiers were told of it, because nobody had acknowledged it in time.
fn escalated(told: &[Escalation]) -> anyhow::Result<()> {
    for e in told {
        let people = if e.people.is_empty() { "its readers".to_owned() } else { e.people.join(", ") };
        let (people, by) = (notify::plain::neutral(&people).into_owned(), e.channels.join(", "));
        out::line(format_args!("escalated    {} to tier {}: {people}, by {by}", out::time(e.at), e.tier))?;
    }
    Ok(())
}

/// Note that you have seen an alert. The first to see it stays on record.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  blueteam alerts ack 3f2a81c0\n  blueteam alerts ack 3f2a81c0 9b11 --as alice")]
pub(super) struct AckArgs {
    /// Ids of alerts, or enough of their beginnings
    #[arg(required = true)]
    ids: Vec<String>,
    /// Who has seen them; without it, the system's user name
    #[arg(long = "as", value_name = "NAME")]
    actor: Option<String>,
}

pub(super) fn ack(args: &AckArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let actor = actor(args.actor.as_deref());
    with_database(globals, async |conn, _| {
        // All or none is found before the first is written.
        let mut ids = Vec::with_capacity(args.ids.len());
        for prefix in &args.ids {
            ids.push(find(conn, prefix).await?);
        }
        for id in ids {
            store::alerts::ack(conn, &actor, id).await?;
            let Some(alert) = store::alerts::show(conn, id).await? else { continue };
            let by = alert.acknowledged_by.unwrap_or_default();
            let by = notify::plain::neutral(&by);
            out::line(format_args!("{id} seen by {by} at {}", out::maybe_time(alert.acknowledged_at)))?;
        }
        Ok(ExitCode::SUCCESS)
    })
}
