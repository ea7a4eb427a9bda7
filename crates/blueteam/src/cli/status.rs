//! `blueteam status`: how things stand.

use std::process::ExitCode;

use app::status::{
    self, Activity, AlertCount, Attention, Findings, IncidentCount, Installation, LAG_MAX, Lag,
    ListenerSpool, Login, Schema, Spool, Undelivered,
};
use clap::Args as _;
use comfy_table::Cell;
use model::Severity;
use model::text::{counted, sanitize};
use serde::Serialize;

use super::out::{self, Look};
use super::session::{Globals, with_session_if_any};
use super::{Command, parsed};

/// Exit code when something needs attention.
const ATTENTION: u8 = 3;
/// Exit code when part of it could not be read.
const PARTIAL: u8 = 4;

pub(super) const COMMAND: Command = Command {
    name: "status",
    arguments: Args::augment_args,
    run: |matches, globals| run(&parsed(matches), globals),
};

/// How things stand: database, daemon, events of each source, alerts, incidents, deliveries, rules.
///
/// Exit code: 0 all is well; 1 it cannot be told (no configuration, no database yet); 2 wrong
/// arguments; 4 part of it, or the whole database, could not be read, as the end says; 3
/// something needs attention, named at the end: the daemon is not running, the schema is behind,
/// events wait unread for more than a minute, the
/// clock cannot be believed, sources were added to the configuration or removed from it since the
/// daemon's start, high or critical alerts that nobody has acknowledged,
/// monitors over their thresholds, incidents to be reported under DFARS, messages that could not be
/// delivered, alerts that cannot be written, events that the rules cannot read, high or critical
/// alerts for which no channel is configured, events in the spool or refused by the database,
/// messages that wait in a listener's spool, certificates that expire within 30 days, or an
/// expected source that has never spoken.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  blueteam status\n  blueteam status --json | jq .attention\n  \
                        blueteam status >/dev/null || echo 'look at blueteam'"
)]
struct Args {
    /// As a JSON object
    #[arg(long)]
    json: bool,
}

/// How things stand, and what of it needs attention.
#[derive(Debug, Serialize)]
struct Status {
    #[serde(flatten)]
    status: status::Status,
    attention: Vec<String>,
}

fn run(args: &Args, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let state = globals.state()?;
    let status = with_session_if_any(globals, async |session, loaded| match session {
        Ok(session) => Ok(status::gather(session, loaded, &state).await?),
        Err(error) => {
            let why = format!("{error:#}");
            Ok(status::gather_without_database(loaded, &state, why))
        }
    })?;

    let attention: Vec<String> = status::attention(&status)
        .iter()
        .map(attention_sentence)
        .collect();
    let code = match (status.not_read.is_empty(), attention.is_empty()) {
        (false, _) => ExitCode::from(PARTIAL),
        (true, false) => ExitCode::from(ATTENTION),
        (true, true) => ExitCode::SUCCESS,
    };

    let status = Status { status, attention };
    if args.json {
        out::json(&status)?;
    } else {
        print_status(&status)?;
    }

    Ok(code)
}

/// What needs attention, in a sentence without its end.
fn attention_sentence(what: &Attention<'_>) -> String {
    match what {
        Attention::ReportsDue { incidents, first } => format!(
            "incidents to be reported to the DoD: {incidents}, the first by {}",
            out::time(*first)
        ),
        Attention::Unacknowledged { severity, alerts } => {
            format!("{severity} alerts that nobody has acknowledged: {alerts}")
        }
        Attention::SchemaBehind(schema) => format!(
            "the schema is at version {} of {}: run `blueteam migrate`",
            schema.applied, schema.known
        ),
        Attention::DaemonNotRunning => {
            "the daemon is not running here: nothing is detected".to_owned()
        }
        Attention::StateReadOnly(dir) => format!(
            "the file system of the state directory {dir} takes no writes: nothing can be spooled, \
                and the daemon cannot be started again"
        ),
        Attention::Clock(doubt) => {
            format!(
                "{} (since {})",
                sanitize(&doubt.why),
                out::time(doubt.since)
            )
        }
        Attention::Unread(since) => format!("events wait unread since {}", out::time(*since)),
        Attention::UnwrittenAlerts(pending) => format!(
            "{} not written since {}: {}",
            counted(pending.alerts, "alert"),
            out::time(pending.since),
            sanitize(&pending.reason)
        ),
        Attention::UnreadableRows(unreadable) => format!(
            "{} of {} not seen by the rules: {}",
            counted(unreadable.rows, "row"),
            unreadable.table,
            sanitize(&unreadable.reason)
        ),
        Attention::Unheard(source) => format!(
            "nothing has ever come from {source}, which is expected (detection.expected_sources)"
        ),
        Attention::NoChannel(severities) => no_channel(severities),
        Attention::Certificate(warning) => warning.clone(),
        Attention::SourceChanged(what) => sanitize(what).into_owned(),
        Attention::RefusedRows(refused) => format!(
            "events of {} that the database refused within a week: {}, the last at {} (`blueteam \
                sources dead-letters`)",
            sanitize(&refused.source_id),
            refused.events,
            out::time(refused.last)
        ),
        Attention::Spool(spool) => spool_sentence(spool),
        Attention::ListenerSpool(spool) => held_by_listener(spool),
        Attention::OverThreshold(over) => format!(
            "{} (since {}; `blueteam monitors show {}`)",
            over.says,
            out::time(over.since),
            over.monitor
        ),
        Attention::Undelivered(notifications) => format!(
            "messages that could not be delivered: {notifications} (`blueteam notifications \
                list --state dead`)"
        ),
        Attention::NotRead(part) => {
            format!("{} cannot be read: {}", part.what, sanitize(&part.why))
        }
    }
}

fn no_channel(severities: &[Severity]) -> String {
    let which: Vec<&str> = severities.iter().map(|s| s.as_str()).collect();
    format!(
        "nobody is notified of {} alerts: no channel is configured for them (`blueteam config \
            check`)",
        which.join(" and ")
    )
}

fn spool_sentence(what: &Spool<'_>) -> String {
    match what {
        Spool::RefusedFull(file) => format!(
            "{} is full, and until it is moved away further events that the database refuses are \
                only counted",
            file.display()
        ),
        Spool::Refused(file) => format!(
            "events of the spool that the database refused permanently: look into {}, then move it \
                away",
            file.display()
        ),
        Spool::Waiting { bytes, since } => format!(
            "{bytes} bytes of events wait in the spool for the database since {}",
            out::maybe_time(*since)
        ),
        Spool::Conflicting(bytes) => format!(
            "{bytes} bytes of events conflict with an open transaction in the database and wait \
                for its end"
        ),
        Spool::ConflictingFull(bytes) => format!(
            "{bytes} bytes of events conflict with an open transaction in the database, and there \
                is no room for more: further ones are refused until that transaction ends"
        ),
        Spool::Damaged(file) => format!(
            "a damaged piece of the spool was set aside: {}",
            file.display()
        ),
    }
}

fn held_by_listener(what: &ListenerSpool<'_>) -> String {
    match what {
        ListenerSpool::Damaged { held, file } => format!(
            "a damaged piece of the spool of {} was set aside: {}",
            held.source,
            file.display()
        ),
        ListenerSpool::Waiting { held, since } => format!(
            "{} bytes of messages of {} wait for the database since {since}",
            held.waiting_bytes, held.source
        ),
    }
}

fn print_label(name: &str, value: impl std::fmt::Display) -> anyhow::Result<()> {
    out::line(format_args!("{name:<12} {value}"))
}

fn print_status(Status { status, attention }: &Status) -> anyhow::Result<()> {
    let (here, findings) = (&status.installation, &status.findings);
    print_label("database", describe_database(here))?;
    print_label("login", known(here.login.as_ref(), describe_login))?;
    print_label(
        "daemon",
        if here.daemon_running {
            "running"
        } else {
            "not running"
        },
    )?;

    let reader = if status.lacks("reader") {
        NOT_READ.to_owned()
    } else {
        describe_reader(findings.reader)
    };
    print_label("reader", reader)?;
    let incidents = |incidents: &IncidentCount| describe_incidents(incidents, findings);
    print_label("incidents", known(findings.incidents.as_ref(), incidents))?;
    let deliveries =
        |those: &Undelivered| format!("{} waiting, {} given up", those.waiting, those.dead);
    print_label(
        "deliveries",
        known(findings.deliveries.as_ref(), deliveries),
    )?;

    if let Some(refused) = findings.refused_keys
        && refused.requests > 0
    {
        print_label(
            "keys refused",
            format_args!(
                "{} within 24 h (`blueteam events search --action api_key_refused`)",
                counted(refused.requests, "request")
            ),
        )?;
    }

    if !findings.disabled_rules.is_empty() {
        print_label("rules off", sanitize(&findings.disabled_rules.join(", ")))?;
    }

    out::line("")?;
    match &findings.sources {
        Some(sources) => print_sources(sources)?,
        None => print_label("events", NOT_READ)?,
    }
    out::line("")?;
    match &findings.alerts {
        Some(alerts) => print_alerts(alerts)?,
        None => print_label("alerts", NOT_READ)?,
    }

    out::line("")?;
    if attention.is_empty() {
        return out::line("all is well");
    }

    out::line("needs attention:")?;
    for what in attention {
        out::line(format_args!("  {what}"))?;
    }

    Ok(())
}

/// In place of what could not be read.
const NOT_READ: &str = "could not be read";

fn known<T>(read: Option<&T>, describe: impl Fn(&T) -> String) -> String {
    read.map_or_else(|| NOT_READ.to_owned(), describe)
}

fn describe_database(here: &Installation) -> String {
    let Some(Schema { applied, known }) = here.schema else {
        return format!("{} (schema {NOT_READ})", here.database);
    };
    let schema = if applied == known {
        format!("version {applied}, up to date")
    } else {
        format!("version {applied}, the program knows {known}")
    };
    let unchecked = here
        .database_unchecked
        .map_or_else(String::new, |what| format!("; of its server {what}"));
    format!("{} (schema {schema}){unchecked}", here.database)
}

fn describe_login(login: &Login) -> String {
    let name = sanitize(&login.name);
    let slower = if login.copies_log_events {
        ""
    } else {
        "; log events are written without COPY, because blueteam_engine has no BYPASSRLS"
    };
    if !login.may_rewrite_records() {
        return format!("{name}, which owns no table{slower}");
    }

    let why = if login.superuser {
        "is a superuser".to_owned()
    } else {
        format!("owns {}", counted(login.owned_tables, "table"))
    };
    format!(
        "{name}, which {why}: it can switch off what keeps records append-only (docs/operations.md, \
            \"A login that owns nothing\"){slower}"
    )
}

fn describe_reader(lag: Option<Lag>) -> String {
    match lag {
        None => "has never run".to_owned(),
        Some(Lag { unread: 0, .. }) => "up to date".to_owned(),
        Some(Lag { unread, oldest }) => {
            let more = if unread >= LAG_MAX { "at least " } else { "" };
            format!(
                "{more}{unread} events unread, the first since {}",
                out::maybe_time(oldest)
            )
        }
    }
}

fn describe_incidents(i: &IncidentCount, findings: &Findings) -> String {
    let due = findings.dfars_report_due.map_or_else(String::new, |due| {
        format!(", the first by {}", out::time(due))
    });
    format!(
        "{} open, {} with CUI, {} to report{due}",
        i.open, i.cui, i.dfars_unreported
    )
}

fn print_sources(sources: &[Activity]) -> anyhow::Result<()> {
    if sources.is_empty() {
        return out::line("no events within a week");
    }

    let header = ["source", "last hour", "last 24 h", "newest"];
    let mut table = out::table(Look::stdout(), &header);
    for a in sources {
        table.add_row([
            Cell::new(a.source),
            Cell::new(a.last_hour),
            Cell::new(a.last_day),
            Cell::new(out::maybe_time(a.newest)),
        ]);
    }

    out::print(table)
}

fn print_alerts(counts: &[AlertCount]) -> anyhow::Result<()> {
    if counts.is_empty() {
        return out::line("no alerts wait");
    }

    let look = Look::stdout();
    let mut table = out::table(look, &["alerts", "open", "unacknowledged"]);
    for a in counts {
        table.add_row([
            look.severity(a.severity),
            Cell::new(a.open),
            Cell::new(a.unacknowledged),
        ]);
    }

    out::print(table)
}
