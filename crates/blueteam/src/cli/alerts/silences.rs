//! `blueteam alerts silences`: silences, maintenance windows and exceptions.

use std::process::ExitCode;

use anyhow::bail;
use clap::Subcommand;
use comfy_table::Cell;
use model::text::counted;
use model::{
    Alert, Clock as _, Mute, MuteId, MuteKind, RuleId, Scope, Severity, Span, SystemClock,
    Timestamp, Whom,
};
use serde::Serialize;
use store::PgConnection;
use store::alerts::AlertFilter;
use uuid::Uuid;

use crate::cli::out::{self, Look};
use crate::cli::session::{Globals, actor, with_database};

/// Alerts of this long ago are asked what a mute would have hidden.
const PREVIEW: Span = Span::days(30);
/// As many of them are looked at.
const PREVIEW_MAX: u32 = 100_000;
/// As many of them are shown.
const SHOWN: usize = 10;
/// A mute that ends within this is shown as to be reviewed.
const REVIEW: Span = Span::days(7);
/// As much of an id as a terminal shows. These ids begin with a time: those of one hour differ
/// late.
const ID_SHOWN: usize = 13;

/// Decide that nobody is told of something for a while, and see who decided so.
///
/// A muted alert is stored like any other, opens its incident, and is shown as muted and by what.
/// Nothing is muted for good: each mute has an end, 366 days away at most. A running daemon follows
/// within a second.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Add(AddArgs),
    Preview(PreviewArgs),
    List(ListArgs),
    End(EndArgs),
}

/// What is covered: everything that is given must agree.
#[derive(Debug, clap::Args)]
struct ScopeArgs {
    /// Alerts of this rule
    #[arg(long, value_name = "ID")]
    rule: Option<String>,
    /// Alerts from this source of events, such as audit_db or syslog
    #[arg(long)]
    source: Option<String>,
    /// Alerts whose events are all of this tenant (their instance_id)
    #[arg(long, value_name = "ID")]
    tenant: Option<Uuid>,
    /// Alerts about this entity: ip:203.0.113.7, ip:203.0.113.0/24, user:ID, session:ID
    #[arg(long)]
    entity: Option<Whom>,
}

impl ScopeArgs {
    fn scope(&self) -> anyhow::Result<Scope> {
        let scope = Scope {
            rule_id: self.rule.clone().map(|id| RuleId(id.into())),
            source: self.source.clone(),
            tenant: self.tenant,
            entity: self.entity.clone(),
        };

        if scope.is_empty() {
            out::usage!(
                "say what is covered: --rule, --source, --tenant, --entity, or several of them"
            );
        }

        Ok(scope)
    }
}

/// Silence something, announce a maintenance window, or make an exception to a rule.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  blueteam alerts silences add --entity ip:203.0.113.7 --for 4h --reason 'ordered scan' --ticket \
  SEC-12
  blueteam alerts silences add --kind maintenance --source syslog --from 2026-12-01T20:00:00Z \
  --for 2h --reason 'kernel updates'
  blueteam alerts silences add --kind maintenance --tenant 7b0c6a52-0d63-4c11-9d0a-2f4f1c1f9a10 \
  --for 2h --reason 'they are moving'
  blueteam alerts silences add --kind exception --rule after_hours --entity user:7b0c… --for 90d \
  --reason 'night shift'

Exit code: 0 done, 1 failed, 2 wrong arguments.")]
struct AddArgs {
    /// silence, maintenance, or exception (which names a rule)
    #[arg(long, default_value_t = MuteKind::Silence)]
    kind: MuteKind,
    #[command(flatten)]
    scope: ScopeArgs,
    /// How long: 30m, 4h, 14d
    #[arg(long = "for", value_name = "TIME")]
    length: Span,
    /// When it begins, with its zone; without it, now
    #[arg(long, value_parser = out::zoned, value_name = "TIME")]
    from: Option<Timestamp>,
    /// Why; somebody will ask
    #[arg(long)]
    reason: String,
    /// Where it is written up
    #[arg(long)]
    ticket: Option<String>,
    /// Who decides so; without it, the system's user name
    #[arg(long = "as", value_name = "NAME")]
    actor: Option<String>,
    /// As a JSON object
    #[arg(long)]
    json: bool,
}

/// Show what a mute would have kept quiet in the last 30 days, without making it.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  blueteam alerts silences preview --rule after_hours --entity \
        ip:198.51.100.0/24"
)]
struct PreviewArgs {
    #[command(flatten)]
    scope: ScopeArgs,
    /// As a JSON array of alerts
    #[arg(long)]
    json: bool,
}

/// List those that count now or later.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  blueteam alerts silences list\n  blueteam alerts silences list \
        --ending 7d\n  \
                        blueteam alerts silences list --all --json"
)]
struct ListArgs {
    /// Only those that end within this time: to be reviewed
    #[arg(long, value_name = "TIME")]
    ending: Option<Span>,
    /// Those that are over as well
    #[arg(long, conflicts_with = "ending")]
    all: bool,
    /// As a JSON array
    #[arg(long)]
    json: bool,
}

/// End one before its time.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  blueteam alerts silences end 0199f3a2-1c44")]
struct EndArgs {
    /// Its id, or enough of its beginning
    #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
    id: String,
    /// Who ends it; without it, the system's user name
    #[arg(long = "as", value_name = "NAME")]
    actor: Option<String>,
}

pub(in crate::cli) fn run(args: &Args, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    match &args.action {
        Action::Add(args) => add(args, globals),
        Action::Preview(args) => preview(args, globals),
        Action::List(args) => list(args, globals),
        Action::End(args) => end(args, globals),
    }
}

fn add(args: &AddArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let now = SystemClock.now();
    let who = actor(args.actor.as_deref());
    let starts_at = args.from.unwrap_or(now);
    let mute = Mute {
        mute_id: MuteId(Uuid::now_v7()),
        kind: args.kind,
        scope: args.scope.scope()?,
        author: who.name.clone(),
        reason: args.reason.trim().to_owned(),
        ticket: args.ticket.clone(),
        starts_at,
        ends_at: starts_at.plus(args.length),
        ended_by: None,
    };

    check(&mute, now)?;
    let hidden = with_database(globals, async |conn, _| {
        known_rule(conn, &mute.scope).await?;
        let hidden = hidden(conn, &mute.scope, now).await?;
        store::mutes::add(conn, &who, &mute).await?;
        Ok(hidden)
    })?;

    if args.json {
        out::json(&mute)?;
        return Ok(ExitCode::SUCCESS);
    }

    out::line(format_args!(
        "{} {} until {}",
        mute.kind,
        mute.mute_id,
        out::time(mute.ends_at)
    ))?;
    out::note(in_the_past(&hidden));

    Ok(ExitCode::SUCCESS)
}

/// What the database would refuse, in words.
fn check(mute: &Mute, now: Timestamp) -> anyhow::Result<()> {
    if mute.ends_at <= now || mute.ends_at <= mute.starts_at {
        out::usage!("--for and --from: it would be over already");
    }

    if mute.ends_at > mute.starts_at.plus(Span::days(366)) {
        out::usage!("--for: 366 days at most; nothing is muted for good");
    }

    if !(3..=1000).contains(&mute.reason.chars().count()) {
        out::usage!("--reason: from 3 to 1000 characters, for whoever asks why nobody was told");
    }

    if mute.kind == MuteKind::Exception && mute.scope.rule_id.is_none() {
        out::usage!("an exception is one to a rule: add --rule");
    }

    Ok(())
}

/// A rule that is misspelt mutes nothing, and nobody would notice before it is too late.
async fn known_rule(conn: &mut PgConnection, scope: &Scope) -> anyhow::Result<()> {
    let Some(rule) = &scope.rule_id else {
        return Ok(());
    };
    if notify::mutes::NEVER.contains(&rule.as_str()) {
        bail!("{rule} cannot be muted: whoever tampers with the record would begin with that");
    }

    let known = store::rules::settings(conn).await?;
    if known.iter().any(|k| k.rule_id == *rule) {
        return Ok(());
    }

    let shown = model::text::sanitize(rule.as_str());
    bail!("there is no rule `{shown}`; `blueteam alerts rules` lists those that there are")
}

/// The alerts of the last 30 days that a scope covers, the newest first.
async fn hidden(
    conn: &mut PgConnection,
    scope: &Scope,
    now: Timestamp,
) -> anyhow::Result<Vec<Alert>> {
    let filter = AlertFilter {
        since: Some(now.minus(PREVIEW)),
        rule_id: scope.rule_id.clone(),
        tenant: scope.tenant,
        ..AlertFilter::default()
    };

    let mut alerts = store::alerts::list(conn, &filter, PREVIEW_MAX).await?;
    alerts.retain(|alert| scope.covers(alert));
    Ok(alerts)
}

fn in_the_past(hidden: &[Alert]) -> String {
    let count = |severity| hidden.iter().filter(|a| a.severity == severity).count();
    let (critical, high) = (count(Severity::Critical), count(Severity::High));
    match hidden.len() {
        0 => "in the last 30 days it would have kept no alert quiet".to_owned(),
        n => format!(
            "in the last 30 days it would have kept {} quiet, {critical} critical and {high} high",
            counted(n as u64, "alert")
        ),
    }
}

fn preview(args: &PreviewArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let scope = args.scope.scope()?;
    let hidden = with_database(globals, async |conn, _| {
        known_rule(conn, &scope).await?;
        hidden(conn, &scope, SystemClock.now()).await
    })?;

    if args.json {
        out::json(&hidden)?;
        return Ok(ExitCode::SUCCESS);
    }

    out::line(in_the_past(&hidden))?;
    if !hidden.is_empty() {
        super::show_table(&hidden[..hidden.len().min(SHOWN)])?;
    }

    if hidden.len() > SHOWN {
        out::note(format_args!("the newest {SHOWN}; --json has all"));
    }

    Ok(ExitCode::SUCCESS)
}

/// A mute and what it did.
#[derive(Debug, Serialize)]
struct Listed {
    #[serde(flatten)]
    mute: Mute,
    /// Alerts that it kept quiet.
    muted_alerts: u64,
    /// It ends soon: is it still wanted?
    review: bool,
}

fn list(args: &ListArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let now = SystemClock.now();
    let since = if args.all {
        Timestamp::from_secs(0)
    } else {
        now
    };

    let listed = with_database(globals, async |conn, _| {
        let mut listed = Vec::new();
        for mute in store::mutes::ending_after(conn, since).await? {
            if args
                .ending
                .is_some_and(|within| mute.ends_at > now.plus(within))
            {
                continue;
            }
            let muted_alerts = store::mutes::muted_alerts(conn, mute.mute_id).await?;
            let review = mute.ends_at > now && mute.ends_at <= now.plus(REVIEW);
            listed.push(Listed {
                mute,
                muted_alerts,
                review,
            });
        }

        Ok(listed)
    })?;

    if args.json {
        out::json(&listed)?;
        return Ok(ExitCode::SUCCESS);
    }

    if listed.is_empty() {
        out::line("nothing is muted")?;
        return Ok(ExitCode::SUCCESS);
    }

    let look = Look::stdout();
    let mut table = out::table(
        look,
        &[
            "mute", "kind", "covers", "until", "alerts", "by", "ticket", "reason",
        ],
    );

    for l in &listed {
        let until = out::time(l.mute.ends_at);
        let state = if l.mute.ends_at <= now {
            " (over)"
        } else if l.mute.starts_at > now {
            " (not yet)"
        } else if l.review {
            " (review)"
        } else {
            ""
        };

        table.add_row([
            Cell::new(look.id(&l.mute.mute_id, ID_SHOWN)),
            Cell::new(l.mute.kind),
            out::text(l.mute.scope.to_string()),
            Cell::new(format!("{until}{state}")),
            Cell::new(l.muted_alerts),
            out::text(&l.mute.author),
            out::text(l.mute.ticket.as_deref().unwrap_or("-")),
            out::text(&l.mute.reason),
        ]);
    }

    out::spare(look, &mut table, &[1, 5, 6]);
    out::print(table)?;
    Ok(ExitCode::SUCCESS)
}

fn end(args: &EndArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let (now, actor) = (SystemClock.now(), actor(args.actor.as_deref()));
    with_database(globals, async |conn, _| {
        let all = store::mutes::ending_after(conn, now).await?;
        let mute = out::pick(
            all,
            &args.id,
            |mute| mute.mute_id.0,
            ("mute that still counts", "blueteam alerts silences list"),
        )?;
        if !store::mutes::end(conn, &actor, mute.mute_id, now).await? {
            bail!("somebody else has just ended it");
        }

        out::line(format_args!(
            "{} {} ended at {}",
            mute.kind,
            mute.mute_id,
            out::time(now)
        ))?;

        Ok(ExitCode::SUCCESS)
    })
}
