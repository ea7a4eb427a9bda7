//! `blueteam upkeep`: what must be looked after daily, weekly and monthly.

use std::process::ExitCode;

use app::upkeep::{self, Failures, UnusedIndex, Upkeep, review};
use clap::{Args as _, Subcommand};
use comfy_table::Cell;
use model::evidence::UpkeepReview;
use model::text::{counted, sanitize};

use super::out::{self, Look};
use super::session::{Globals, with_session};
use super::{Command, parsed};

pub(super) const COMMAND: Command = Command {
    name: "upkeep",
    arguments: Args::augment_args,
    run: |matches, globals| run(&parsed(matches), globals),
};

/// Upkeep: failed sign-ins, backups, slow statements, unused indexes, growth, password compliance,
/// rules by what became of their alerts, and the reviews that a person signs.
///
/// Exit code: 0 done, 1 failed, 2 wrong arguments.
#[derive(Debug, clap::Args)]
struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show how blueteam is looked after
    #[command(after_help = "Examples:
  blueteam upkeep show
  blueteam upkeep show --json | jq .storage.full_on")]
    Show {
        /// As a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Take today's sizes and the statistics of blueteam's tables (ANALYZE) now; the daemon does it
    /// daily and weekly
    #[command(after_help = "Examples:\n  blueteam upkeep run")]
    Run {
        /// The person you act for; recorded beside your own account, which is who acts
        #[arg(long, value_name = "NAME")]
        on_behalf_of: Option<String>,
        /// As a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Prepare the weekly or monthly review, or sign it with a conclusion: then it is kept as
    /// evidence (3.3.5 and 3.1.7)
    #[command(after_help = "Examples:
  blueteam upkeep review --weekly
  blueteam upkeep review --monthly --conclusion 'two accounts have no second factor; told them'")]
    Review(ReviewArgs),
}

#[derive(Debug, clap::Args)]
struct ReviewArgs {
    /// Failed sign-ins, lockouts, slow statements, detections, backups
    #[arg(long, required_unless_present = "monthly", conflicts_with = "monthly")]
    weekly: bool,
    /// Password policy, unused indexes, the audit log by action and actor
    #[arg(long)]
    monthly: bool,
    /// Sign it under your name, with what follows from it
    #[arg(long, value_name = "TEXT")]
    conclusion: Option<String>,
    /// The person you act for; recorded beside your own account, which is who acts
    #[arg(long, value_name = "NAME")]
    on_behalf_of: Option<String>,
    /// As a JSON object
    #[arg(long)]
    json: bool,
}

fn run(args: &Args, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    match &args.action {
        Action::Show { json } => show(*json, globals)?,
        Action::Run { on_behalf_of, json } => run_now(on_behalf_of.as_deref(), *json, globals)?,
        Action::Review(args) => review_period(args, globals)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn run_now(on_behalf_of: Option<&str>, json: bool, globals: Globals<'_>) -> anyhow::Result<()> {
    let state = globals.state()?;
    let done = with_session(globals, on_behalf_of, async |session, loaded| {
        let disk = upkeep::disk_of_database(loaded, &state);
        Ok(upkeep::run(session, disk).await?)
    })?;
    if json {
        return out::json(&done);
    }

    out::line(if done.sampled {
        "kept today's sizes"
    } else {
        "today's sizes were kept already"
    })?;
    if let Some(run) = &done.analyzed {
        let skipped = match run.skipped.as_slice() {
            [] => String::new(),
            names => format!("; locked, or another owner's: {}", names.join(", ")),
        };
        let tables = counted(run.analyzed, "table");
        out::line(format_args!("took the statistics of {tables}{skipped}"))?;
    }

    Ok(())
}

fn review_period(args: &ReviewArgs, globals: Globals<'_>) -> anyhow::Result<()> {
    let period = if args.weekly {
        UpkeepReview::Weekly
    } else {
        UpkeepReview::Monthly
    };
    let (text, signed) =
        with_session(globals, args.on_behalf_of.as_deref(), async |session, _| {
            let Some(conclusion) = args.conclusion.as_deref() else {
                return Ok((review::prepare(session, period).await?, None));
            };
            let signed = review::sign(session, period, conclusion).await?;
            Ok((signed.text, Some((signed.evidence_id, signed.by))))
        })?;

    if args.json {
        return out::json(&serde_json::json!({
            "review": period,
            "text": text,
            "evidence_id": signed.map(|(id, _)| id),
        }));
    }

    let lines: Vec<_> = text.lines().map(sanitize).collect();
    out::line(lines.join("\n"))?;
    match signed {
        Some((id, by)) => out::line(format_args!(
            "\nsigned by {} and kept as {id}",
            sanitize(&by)
        )),
        None => out::line("\nnot signed; --conclusion signs it"),
    }
}

fn show(json: bool, globals: Globals<'_>) -> anyhow::Result<()> {
    let upkeep = with_session(globals, None, async |session, _| {
        Ok(upkeep::show(session).await?)
    })?;
    if json {
        return out::json(&upkeep);
    }

    show_sign_ins("Failed sign-ins", &upkeep.sign_ins.failed)?;
    show_sign_ins("Lockouts", &upkeep.sign_ins.locked)?;
    show_backup(&upkeep)?;
    show_statements(&upkeep)?;
    show_server(&upkeep)?;
    show_indexes(&upkeep)?;
    show_storage(&upkeep)?;
    show_passwords(&upkeep)?;
    show_rules(&upkeep)?;
    show_reviews(&upkeep)
}

/// Two of a kind in a line: `3 today, 12 in 7 days`.
fn show_sign_ins(title: &str, failures: &Failures) -> anyhow::Result<()> {
    heading(
        title,
        format_args!("{} today, {} in 7 days", failures.today, failures.week),
    )?;
    if failures.by_account.is_empty() && failures.by_address.is_empty() {
        return Ok(());
    }

    let look = Look::stdout();
    let header = ["by", "name", "today", "7 days", "from or of"];
    let mut table = out::table(look, &header);
    for row in failures.by_account.iter().chain(&failures.by_address) {
        let others = if row.by == "account" {
            format!("addresses: {}", row.others)
        } else {
            format!("accounts: {}", row.others)
        };
        table.add_row([
            out::text(&row.by),
            out::text(row.name.as_deref().unwrap_or_default()),
            Cell::new(row.today),
            Cell::new(row.week),
            Cell::new(others),
        ]);
    }
    out::print(table)
}

fn heading(title: &str, text: impl std::fmt::Display) -> anyhow::Result<()> {
    out::line(format_args!("\n{title}: {text}"))
}

fn show_backup(upkeep: &Upkeep) -> anyhow::Result<()> {
    let backup = &upkeep.backup;
    let age = backup
        .age_hours
        .map_or_else(String::new, |hours| format!("{hours:.0} h old: "));
    heading(
        "Last backup",
        format_args!("{age}{}", sanitize(&backup.detail)),
    )
}

fn show_statements(upkeep: &Upkeep) -> anyhow::Result<()> {
    let statements = &upkeep.statements;
    if let Some(samples) = &statements.samples {
        let longest = samples.longest_s.map_or_else(
            || "nothing was sampled yet".to_owned(),
            |longest| format!("the longest ran for {longest:.1} s"),
        );
        return heading(
            "Slow statements",
            format_args!(
                "by samples, because {}; {longest}, {} of {} hours had one over the threshold",
                sanitize(statements.because.as_deref().unwrap_or_default()),
                samples.hours_over,
                samples.hours
            ),
        );
    }

    let hidden = match statements.hidden {
        0 => String::new(),
        n => format!("; {n} that the owner of the schema blueteam may not see"),
    };
    heading(
        "Slow statements",
        format_args!(
            "by pg_stat_statements since {}{hidden}",
            out::maybe_time(statements.since)
        ),
    )?;
    let mut table = out::table(
        Look::stdout(),
        &["mean ms", "longest ms", "calls", "statement"],
    );
    for row in &statements.slowest {
        table.add_row([
            Cell::new(format!("{:.1}", row.mean_ms)),
            Cell::new(format!("{:.1}", row.max_ms)),
            Cell::new(row.calls),
            out::text(&row.statement),
        ]);
    }
    out::print(table)
}

fn show_server(upkeep: &Upkeep) -> anyhow::Result<()> {
    let server = &upkeep.server;
    let mean = match (server.mean_statement_ms, &server.no_mean_because) {
        (Some(mean), _) => format!("{mean:.1} ms"),
        (None, why) => format!("not known: {}", why.as_deref().unwrap_or_default()),
    };
    heading(
        "Server",
        format_args!(
            "{} of {} connections; mean statement {}",
            server.connections,
            server.connections_max,
            sanitize(&mean)
        ),
    )
}

fn show_indexes(upkeep: &Upkeep) -> anyhow::Result<()> {
    let indexes = &upkeep.indexes;
    let since = indexes.since.map_or_else(
        || "the database was made, or the server crashed".to_owned(),
        out::time,
    );
    heading("Unused indexes", format_args!("since {since}"))?;
    index_table(&indexes.unused)?;
    heading(
        "Of them, those that keep rows unique",
        indexes.unused_unique.len(),
    )?;
    index_table(&indexes.unused_unique)
}

fn index_table(indexes: &[UnusedIndex]) -> anyhow::Result<()> {
    if indexes.is_empty() {
        return Ok(());
    }

    let mut table = out::table(Look::stdout(), &["index", "table", "size"]);
    for index in indexes {
        table.add_row([
            out::text(&index.name),
            out::text(&index.table),
            Cell::new(bytes(index.bytes as f64)),
        ]);
    }
    out::print(table)
}

fn show_storage(upkeep: &Upkeep) -> anyhow::Result<()> {
    let storage = &upkeep.storage;
    heading("Database", bytes(storage.database_bytes as f64))?;
    let mut table = out::table(Look::stdout(), &["table", "size"]);
    for size in &storage.largest {
        table.add_row([out::text(&size.name), Cell::new(bytes(size.bytes as f64))]);
    }
    out::print(table)?;

    let growth = &storage.growth;
    let unknown = |why: &Option<String>| {
        let why = why.as_deref().unwrap_or_default();
        format!("not known: {}", sanitize(why))
    };
    let a_day = growth
        .bytes_a_day
        .map_or_else(|| unknown(&growth.no_growth_because), bytes);
    heading("Growth a day", a_day)?;
    let day = growth.full_on.clone();
    let day = day.unwrap_or_else(|| unknown(&growth.no_day_because));
    heading("85 % of the disk in use on", day)
}

fn show_passwords(upkeep: &Upkeep) -> anyhow::Result<()> {
    let passwords = &upkeep.passwords;
    let accounts = counted(passwords.accounts, "account");
    heading(
        "Password policy",
        format_args!("{} of {accounts} comply", passwords.compliant),
    )?;
    for (what, names) in [
        ("past their age", &passwords.past_age),
        ("without a second factor", &passwords.without_factor),
        ("must change their password", &passwords.must_change),
    ] {
        if !names.is_empty() {
            out::line(format_args!("  {what}: {}", sanitize(&names.join(", "))))?;
        }
    }

    Ok(())
}

fn show_rules(upkeep: &Upkeep) -> anyhow::Result<()> {
    heading(
        "Rules in 30 days",
        counted(upkeep.rules.len() as u64, "rule"),
    )?;
    if upkeep.rules.is_empty() {
        return Ok(());
    }

    let header = [
        "rule",
        "alerts",
        "acknowledged",
        "silenced",
        "in incidents",
        "attacks",
        "noise",
    ];
    let mut table = out::table(Look::stdout(), &header);
    for rule in &upkeep.rules {
        table.add_row([
            out::text(&rule.rule_id),
            Cell::new(rule.alerts),
            Cell::new(rule.acknowledged),
            Cell::new(rule.silenced),
            Cell::new(rule.in_incidents),
            Cell::new(rule.true_positives),
            Cell::new(rule.noise),
        ]);
    }
    out::print(table)
}

fn show_reviews(upkeep: &Upkeep) -> anyhow::Result<()> {
    let analyzed = upkeep.analyzed.as_ref().map_or_else(
        || "never".to_owned(),
        |run| format!("{} by {}", out::time(run.at), sanitize(&run.done_by)),
    );
    heading("Statistics of tables taken", analyzed)?;
    for signing in &upkeep.reviews {
        heading(
            &format!("Review, {}", signing.review),
            signing.signed_at.map_or_else(
                || "never signed".to_owned(),
                |at| {
                    let due = out::maybe_time(signing.due);
                    format!("signed {}, the next one until {due}", out::time(at))
                },
            ),
        )?;
    }

    Ok(())
}

/// A number of bytes for people.
fn bytes(bytes: f64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (bytes, "B");
    for next in UNITS {
        if value.abs() < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }

    if unit == "B" {
        format!("{value:.0} B")
    } else {
        format!("{value:.1} {unit}")
    }
}
