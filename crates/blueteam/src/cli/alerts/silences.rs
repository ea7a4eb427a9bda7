//! `blueteam silences`: silences, maintenance windows and exceptions.

use std::process::ExitCode;

use app::silences::{self, Phase, Request, Which};
use clap::{Args as _, Subcommand};
use comfy_table::Cell;
use model::text::counted;
use model::{Alert, RuleId, Severity, SilenceKind, SilenceScope, SilenceTarget, Span, Timestamp};
use uuid::Uuid;

use crate::cli::out::{self, Look};
use crate::cli::session::{Globals, with_session};
use crate::cli::{Command, parsed};

/// Alerts of a preview that are shown.
const SHOWN: usize = 10;
/// As much of an id as a terminal shows. These ids begin with a time: those of one hour differ
/// late.
const ID_SHOWN: usize = 13;

pub(in crate::cli) const COMMAND: Command = Command {
    name: "silences",
    arguments: Args::augment_args,
    run: |matches, globals| run(&parsed(matches), globals),
};

/// Suppress notifications for a while, on the record.
///
/// A silenced alert is stored like any other, opens its incident, and is shown with what silenced
/// it. Every silence has an end, 366 days away at most. A running daemon follows within a second.
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
    Expire(ExpireArgs),
}

/// What is covered: everything that is given must agree.
#[derive(Debug, clap::Args)]
struct ScopeArgs {
    /// Alerts of this rule: its ID, or the title or file of a custom one
    #[arg(long, value_name = "ID")]
    rule: Option<String>,
    /// Alerts from this source of events: audit_db, syslog, nginx, php_error, postgres, agent
    #[arg(long)]
    source: Option<String>,
    /// Alerts whose events are all of this tenant of an application (their instance_id)
    #[arg(long, value_name = "ID")]
    instance: Option<Uuid>,
    /// Alerts about this entity: ip:203.0.113.7, ip:203.0.113.0/24, user:jsmith, user:ID,
    /// session:ID
    #[arg(long)]
    entity: Option<SilenceTarget>,
}

impl ScopeArgs {
    fn scope(&self) -> SilenceScope {
        SilenceScope {
            rule_id: self.rule.clone().map(|id| RuleId(id.into())),
            source: self.source.clone(),
            tenant: self.instance,
            entity: self.entity.clone(),
        }
    }
}

/// Silence something, announce a maintenance window, or make an exception to a rule.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  blueteam silences add --entity ip:203.0.113.7 --for 4h --reason 'ordered scan' --ticket \
  SEC-12
  blueteam silences add --kind maintenance --source syslog --from 2026-12-01T20:00:00Z \
  --for 2h --reason 'kernel updates'
  blueteam silences add --kind maintenance --instance 7b0c6a52-0d63-4c11-9d0a-2f4f1c1f9a10 \
  --for 2h --reason 'they are moving'
  blueteam silences add --kind exception --rule after_hours --entity user:jsmith --for 90d \
  --reason 'night shift'

Exit code: 0 done, 1 failed, 2 wrong arguments.")]
struct AddArgs {
    /// silence, maintenance, or exception (which names a rule)
    #[arg(long, default_value_t = SilenceKind::Silence)]
    kind: SilenceKind,
    #[command(flatten)]
    scope: ScopeArgs,
    /// How long: 30m, 4h, 14d
    #[arg(long = "for", value_name = "TIME")]
    length: Span,
    /// When it begins, with its zone; without it, now
    #[arg(long, value_parser = out::zoned, value_name = "TIME")]
    from: Option<Timestamp>,
    /// Why: shown wherever the silence is
    #[arg(long)]
    reason: String,
    /// Where it is written up
    #[arg(long)]
    ticket: Option<String>,
    /// Also if nothing of that name has been seen so far
    #[arg(long)]
    allow_unknown: bool,
    /// The person you act for; recorded beside your own account, which is who acts
    #[arg(long, value_name = "NAME")]
    on_behalf_of: Option<String>,
    /// As a JSON object
    #[arg(long)]
    json: bool,
}

/// Show what a silence would have silenced in the last 30 days, without making it.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  blueteam silences preview --rule after_hours --entity \
        ip:198.51.100.0/24"
)]
struct PreviewArgs {
    #[command(flatten)]
    scope: ScopeArgs,
    /// As a JSON array of alerts
    #[arg(long)]
    json: bool,
}

/// List those that are in force now or later.
///
/// UNTIL is followed by `(not yet)` before the beginning, `(review)` in the last seven days: decide
/// whether it is still wanted, and `(over)` after the end. ALERTS is how many it has silenced.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  blueteam silences list\n  blueteam silences list \
        --ending 7d\n  \
                        blueteam silences list --all --json"
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
#[command(after_help = "Examples:\n  blueteam silences expire 0199f3a2-1c44")]
struct ExpireArgs {
    /// Its id, or enough of its beginning
    #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
    id: String,
    /// The person you act for; recorded beside your own account, which is who acts
    #[arg(long, value_name = "NAME")]
    on_behalf_of: Option<String>,
}

pub(in crate::cli) fn run(args: &Args, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    match &args.action {
        Action::Add(args) => add_silence(args, globals),
        Action::Preview(args) => preview_silence(args, globals),
        Action::List(args) => list_silences(args, globals),
        Action::Expire(args) => expire_silence(args, globals),
    }
}

fn add_silence(args: &AddArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let request = Request {
        kind: args.kind,
        scope: args.scope.scope(),
        from: args.from,
        length: args.length,
        reason: &args.reason,
        ticket: args.ticket.as_deref(),
        allow_unknown: args.allow_unknown,
    };
    let added = with_session(
        globals,
        args.on_behalf_of.as_deref(),
        async |session, loaded| Ok(silences::add(session, &loaded.config, &request).await?),
    )?;

    let silence = &added.silence;
    if args.json {
        out::json(silence)?;
        return Ok(ExitCode::SUCCESS);
    }

    out::line(format_args!(
        "{} {} until {}",
        silence.kind,
        silence.mute_id,
        out::time(silence.ends_at)
    ))?;
    out::note(in_the_past(&added.covered));

    Ok(ExitCode::SUCCESS)
}

fn in_the_past(hidden: &[Alert]) -> String {
    let count = |severity| hidden.iter().filter(|a| a.severity == severity).count();
    let (critical, high) = (count(Severity::Critical), count(Severity::High));
    match hidden.len() {
        0 => "in the last 30 days it would have silenced no alert".to_owned(),
        n => format!(
            "in the last 30 days it would have silenced {}, {critical} critical and {high} high",
            counted(n as u64, "alert")
        ),
    }
}

fn preview_silence(args: &PreviewArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let scope = args.scope.scope();
    let hidden = with_session(globals, None, async |session, loaded| {
        Ok(silences::preview(session, &loaded.config, &scope).await?)
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

fn list_silences(args: &ListArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let which = match args.ending {
        Some(within) => Which::EndingWithin(within),
        None if args.all => Which::All,
        None => Which::Unended,
    };
    let listed = with_session(globals, None, async |session, _| {
        Ok(silences::list(session, which).await?)
    })?;

    if args.json {
        out::json(&listed)?;
        return Ok(ExitCode::SUCCESS);
    }

    if listed.is_empty() {
        out::line("nothing is silenced")?;
        return Ok(ExitCode::SUCCESS);
    }

    let look = Look::stdout();
    let mut table = out::table(
        look,
        &[
            "silence", "kind", "covers", "from", "until", "alerts", "by", "ticket", "reason",
        ],
    );

    for l in &listed {
        let until = out::time(l.silence.ends_at);
        let phase = match l.phase {
            Phase::Over => " (over)",
            Phase::Upcoming => " (not yet)",
            Phase::Ending => " (review)",
            Phase::InForce => "",
        };

        table.add_row([
            Cell::new(look.id(&l.silence.mute_id, ID_SHOWN)),
            Cell::new(l.silence.kind),
            out::text(l.silence.scope.to_string()),
            Cell::new(out::time(l.silence.starts_at)),
            Cell::new(format!("{until}{phase}")),
            Cell::new(l.muted_alerts),
            out::text(&l.silence.author),
            out::text(l.silence.ticket.as_deref().unwrap_or("-")),
            out::text(&l.silence.reason),
        ]);
    }

    out::spare(look, &mut table, &[1, 3, 6, 7]);
    out::print(table)?;
    Ok(ExitCode::SUCCESS)
}

fn expire_silence(args: &ExpireArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let ended = with_session(globals, args.on_behalf_of.as_deref(), async |session, _| {
        Ok(silences::expire(session, &args.id).await?)
    })?;

    out::line(format_args!(
        "{} {} ended at {}",
        ended.silence.kind,
        ended.silence.mute_id,
        out::time(ended.at)
    ))?;
    Ok(ExitCode::SUCCESS)
}
