//! `blueteam compliance poam`: plans of action.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use clap::{Subcommand, ValueEnum};
use comfy_table::Color;
use compliance::Catalog;
use compliance::poam::close_out;
use model::{
    Clock as _, ObjectiveId, Plan, PlanId, PlanKind, PlanStatus, RiskLevel, Standing, SystemClock,
    Timestamp,
};
use serde::Serialize;
use store::PgConnection;
use uuid::Uuid;

use super::grid::{Bit, Grid};
use super::ids::{many, pick, shown};
use super::when::{actor, day};
use super::{controls, find, workbook};
use crate::cli::out::{self, Look};
use crate::cli::session::{Globals, with_database};

/// Plans of action and milestones (3.12.2; 32 CFR 170.21): what is not met, who mends it, until
/// when.
///
/// The POA&M of a conditional CMMC status holds only what the rule allows, for 180 days; everything
/// else is on the operational plan. Without a subcommand the open items are listed.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    /// As a JSON array
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Action {
    Generate(GenerateArgs),
    List(ListArgs),
    Add(AddArgs),
    Update(UpdateArgs),
    Close(CloseArgs),
    Export(ExportArgs),
}

/// Write an item for each requirement that is not met and on no open plan. An open item that is on
/// the wrong plan, because a partial score was set or taken back since, is moved.
///
/// What nobody has decided, or whose evidence has lapsed, costs points as well and is among the
/// `gaps`, but nobody knows yet what is wrong with it: it gets no item before it is decided. How
/// many these are is said.
#[derive(Debug, clap::Args)]
struct GenerateArgs {
    /// Who writes them; without it, the system's user name
    #[arg(long = "as", value_name = "NAME")]
    actor: Option<String>,
    /// As a JSON array of the items that were written or moved
    #[arg(long)]
    json: bool,
}

/// List items, the next due first.
#[derive(Debug, Default, clap::Args)]
#[command(
    after_help = "Exit code: 0 nothing is overdue, 3 something is, 1 failed, 2 wrong arguments."
)]
struct ListArgs {
    /// Closed ones too
    #[arg(long)]
    all: bool,
    /// Only those past their day, or past their 180 days
    #[arg(long)]
    overdue: bool,
    /// As a JSON array
    #[arg(long)]
    json: bool,
}

/// What may be said of an item.
#[derive(Debug, Default, clap::Args)]
struct Details {
    /// What is wrong
    #[arg(long)]
    weakness: Option<String>,
    /// What is done about it
    #[arg(long)]
    remediation: Option<String>,
    /// low, moderate, high, very_high
    #[arg(long)]
    risk: Option<RiskLevel>,
    /// poam or operational
    #[arg(long)]
    kind: Option<PlanKind>,
    /// Who answers for it
    #[arg(long)]
    owner: Option<String>,
    /// When it is to be done: 2027-01-31, a time with its zone, or a length of time from now (30d)
    #[arg(long, value_parser = day, value_name = "TIME")]
    due: Option<Timestamp>,
    /// Steps with their days: '2027-01-15 order keys; 2027-02-01 roll out'
    #[arg(long)]
    milestones: Option<String>,
    /// What it takes: money, people; funded or not
    #[arg(long)]
    resources: Option<String>,
    /// What keeps the risk down until then
    #[arg(long)]
    mitigation: Option<String>,
    /// Where the work is tracked; may be given several times, and replaces what was given before
    #[arg(long, value_name = "LINK")]
    task: Vec<String>,
    /// The day of the conditional status, from which the 180 days run
    #[arg(long, value_parser = day, value_name = "TIME")]
    conditional_since: Option<Timestamp>,
    /// Who writes it; without it, the system's user name
    #[arg(long = "as", value_name = "NAME")]
    actor: Option<String>,
    /// As a JSON object
    #[arg(long)]
    json: bool,
}

/// Add an item.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  blueteam compliance poam add 3.5.3 --kind operational --weakness \
        'no second factor for the VPN' \\\n    --remediation 'hardware keys for all' --owner bob \
        --due 2027-03-01T00:00:00Z --task https://tracker.example/SEC-7"
)]
struct AddArgs {
    /// The requirement
    control: String,
    #[command(flatten)]
    details: Details,
}

/// Change an item. A new day or new milestones are noted as a change of milestones.
#[derive(Debug, clap::Args)]
struct UpdateArgs {
    /// Its id, or enough of its beginning or its end
    id: String,
    /// open, in_progress, or accepted_risk (`close` completes it)
    #[arg(long)]
    status: Option<PlanStatus>,
    #[command(flatten)]
    details: Details,
}

/// Close an item: it is done. Then decide the requirement's findings with `compliance set`.
#[derive(Debug, clap::Args)]
struct CloseArgs {
    /// Its id, or enough of its beginning or its end
    id: String,
    /// The evidence that shows it: its id, or enough of its beginning or its end
    #[arg(long, value_name = "ID")]
    evidence: String,
    /// Who closes it; without it, the system's user name
    #[arg(long = "as", value_name = "NAME")]
    actor: Option<String>,
    /// As a JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// The columns of the eMASS template, RFC 4180
    Csv,
    /// The same as a workbook
    Xlsx,
    /// For people
    Markdown,
    /// The same, typeset
    Pdf,
}

/// Write all items for others.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  blueteam compliance poam export --format xlsx --output poam.xlsx"
)]
struct ExportArgs {
    /// Without it, what the file's ending says, and CSV on standard output
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// To this file, which must not exist
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(super) fn run(args: &Args, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    match &args.action {
        None => list(
            &ListArgs {
                json: args.json,
                ..ListArgs::default()
            },
            globals,
        ),
        Some(Action::Generate(args)) => generate(args, globals),
        Some(Action::List(args)) => list(args, globals),
        Some(Action::Add(args)) => add(args, globals),
        Some(Action::Update(args)) => update(args, globals),
        Some(Action::Close(args)) => close(args, globals),
        Some(Action::Export(args)) => export(args, globals),
    }
}

fn generate(args: &GenerateArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let (who, now) = (actor(args.actor.as_deref())?, SystemClock.now());
    let (generated, undecided) = with_database(globals, async |conn, _| {
        let controls = controls(conn).await?;
        let there = store::plans::list(conn).await?;
        let open =
            |c: &&model::Control| matches!(c.standing(), Standing::NotAssessed | Standing::Stale);
        let undecided = controls.iter().filter(open).count();
        let generated = compliance::poam::generate(Catalog::r2(), &controls, &there, now, || {
            // Told apart by their first letters, although they are made at once.
            PlanId(Uuid::new_v5(&Uuid::now_v7(), b"plan"))
        });

        let changed = [&generated.new[..], &generated.moved].concat();
        store::plans::save(conn, &who, &changed, now).await?;

        // What is on no plan costs 3.12.2 as well.
        super::note_score(conn, &who, globals).await?;
        Ok((generated, undecided))
    })?;

    if args.json {
        out::json(&[&generated.new[..], &generated.moved].concat())?;
    } else {
        out::line(format_args!(
            "{} written; give each an owner, milestones and a day with `poam update`",
            many(generated.new.len(), "item", "items")
        ))?;

        for plan in &generated.moved {
            let to = if plan.kind == PlanKind::Poam {
                "the POA&M"
            } else {
                "the operational plan of action"
            };

            out::line(format_args!(
                "{} for {} moved to {to}",
                plan.poam_id, plan.control_id
            ))?;
        }
    }

    if undecided > 0 {
        out::note(format_args!(
            "{} not decided or stale, and got no item: decide them with `compliance set`; \
                `compliance gaps` lists them",
            many(undecided, "requirement is", "requirements are")
        ));
    }

    Ok(ExitCode::SUCCESS)
}

#[derive(Debug, Serialize)]
struct Listed {
    #[serde(flatten)]
    plan: Plan,
    overdue: bool,
    close_out_by: Option<Timestamp>,
}

fn list(args: &ListArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let now = SystemClock.now();
    let plans = with_database(globals, async |conn, _| Ok(store::plans::list(conn).await?))?;
    let mut listed: Vec<Listed> = plans
        .into_iter()
        .map(|plan| {
            let close_out_by = close_out(&plan);
            let late = close_out_by.is_some_and(|at| plan.status.is_open() && at < now);
            Listed {
                overdue: plan.is_overdue(now) || late,
                close_out_by,
                plan,
            }
        })
        .filter(|l| (args.all || l.plan.status.is_open()) && (!args.overdue || l.overdue))
        .collect();
    listed.sort_by_key(|l| (l.plan.due.is_none(), l.plan.due, l.plan.control_id.order()));
    let code = if listed.iter().any(|l| l.overdue) {
        ExitCode::from(3)
    } else {
        ExitCode::SUCCESS
    };
    if args.json {
        out::json(&listed)?;
        return Ok(code);
    }
    if listed.is_empty() {
        out::line(
            "no plans of action; `compliance poam generate` writes one for each requirement that \
                is not met",
        )?;
        return Ok(code);
    }
    let header = [
        "item",
        "id",
        "plan",
        "risk",
        "status",
        "due",
        "close out",
        "owner",
        "weakness",
    ];
    let mut table = Grid::new(&header, &[2, 6, 3, 4]);
    let look = table.look();
    for Listed {
        plan: p,
        overdue,
        close_out_by,
    } in &listed
    {
        let late = if *overdue { " OVERDUE" } else { "" };
        table.row([
            shown(look, &p.poam_id).into(),
            (&p.control_id).into(),
            p.kind.into(),
            p.risk.as_str().replace('_', " ").into(),
            p.status.as_str().replace('_', " ").into(),
            Bit::coloured(
                format!("{}{late}", out::maybe_day(p.due)),
                overdue.then_some(Color::Red),
            ),
            out::maybe_day(*close_out_by).into(),
            p.owner.as_deref().unwrap_or("-").into(),
            (&p.weakness).into(),
        ]);
    }
    table.print()?;
    Ok(code)
}

/// Puts what is given into an item.
fn put(plan: &mut Plan, d: &Details, now: Timestamp, who: &model::Actor) {
    let before = (plan.due, plan.milestones.clone());
    let set = |to: &mut Option<String>, from: &Option<String>| {
        if from.is_some() {
            to.clone_from(from);
        }
    };

    set(&mut plan.milestones, &d.milestones);
    set(&mut plan.owner, &d.owner);
    set(&mut plan.resources, &d.resources);
    set(&mut plan.mitigation, &d.mitigation);
    plan.due = d.due.or(plan.due);
    plan.conditional_since = d.conditional_since.or(plan.conditional_since);
    plan.risk = d.risk.unwrap_or(plan.risk);
    plan.kind = d.kind.unwrap_or(plan.kind);

    if let Some(text) = &d.weakness {
        plan.weakness.clone_from(text);
    }

    if let Some(text) = &d.remediation {
        plan.remediation.clone_from(text);
    }

    if !d.task.is_empty() {
        plan.tasks.clone_from(&d.task);
    }

    if before != (plan.due, plan.milestones.clone()) && (before.0.is_some() || before.1.is_some()) {
        let (due, milestones) = before;
        let was = format!(
            "{} {who}: was due {}, {}",
            out::time(now),
            out::maybe_time(due),
            milestones.as_deref().unwrap_or("no milestones")
        );
        let gap = if plan.milestone_changes.is_empty() {
            ""
        } else {
            "; "
        };

        plan.milestone_changes = format!("{}{gap}{was}", plan.milestone_changes);
    }
}

fn check(plan: &Plan, now: Timestamp) -> anyhow::Result<()> {
    if plan.weakness.trim().is_empty() || plan.remediation.trim().is_empty() {
        out::usage!("--weakness and --remediation: say what is wrong and what is done about it");
    }
    let eligible = Catalog::r2()
        .get(&plan.control_id)
        .is_some_and(|r| r.poam_eligibility.allows(true));
    if plan.kind == PlanKind::Poam && !eligible {
        out::usage!(
            "{} may not be on the POA&M of a conditional status (32 CFR 170.21(a)(2)); use --kind \
                operational",
            plan.control_id
        );
    }
    if plan.conditional_since.is_some_and(|since| since > now) {
        out::usage!("--conditional-since: the day of a conditional status is not in the future");
    }
    if let (Some(due), Some(by)) = (plan.due, close_out(plan))
        && due > by
    {
        out::note(format_args!(
            "due {}, after the conditional status has expired: {} must be closed out by {} (32 \
                CFR 170.21(b))",
            out::maybe_day(Some(due)),
            plan.control_id,
            out::maybe_day(Some(by))
        ));
    }
    Ok(())
}

fn add(args: &AddArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let (requirement, _) = find(&args.control)?;
    let (who, now) = (actor(args.details.actor.as_deref())?, SystemClock.now());
    let id = PlanId(Uuid::now_v7());
    let risk = RiskLevel::of_weight(requirement.dod_weight);
    let mut plan = Plan {
        identified_by: Some(format!("{who}, by hand")),
        ..Plan::new(id, requirement.control_id.clone(), risk, now)
    };

    put(&mut plan, &args.details, now, &who);
    check(&plan, now)?;
    with_database(globals, async |conn, _| {
        controls(conn).await?;
        Ok(store::plans::save(conn, &who, std::slice::from_ref(&plan), now).await?)
    })?;

    told(
        &plan,
        args.details.json,
        format_args!("{} for {}", plan.poam_id, plan.control_id),
    )
}

/// Says what became of an item.
fn told(plan: &Plan, json: bool, what: std::fmt::Arguments<'_>) -> anyhow::Result<ExitCode> {
    if json {
        out::json(plan)?;
    } else {
        out::line(what)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The one item whose id begins or ends like this.
async fn one(conn: &mut PgConnection, id: &str) -> anyhow::Result<Plan> {
    let all = store::plans::list(conn).await?;
    pick(
        all,
        id,
        |p| p.poam_id.0,
        ("item", "blueteam compliance poam list --all"),
    )
}

fn update(args: &UpdateArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let (who, now) = (actor(args.details.actor.as_deref())?, SystemClock.now());
    if args.status == Some(PlanStatus::Completed) {
        out::usage!(
            "--status: `compliance poam close` completes an item, with the evidence that shows it"
        );
    }

    let plan = with_database(globals, async |conn, _| {
        let mut plan = one(conn, &args.id).await?;
        if plan.status == PlanStatus::Completed {
            bail!(
                "{} is completed, by {}",
                plan.poam_id,
                plan.closed_by.as_deref().unwrap_or("-")
            );
        }

        put(&mut plan, &args.details, now, &who);
        plan.status = args.status.unwrap_or(plan.status);
        check(&plan, now)?;
        store::plans::save(conn, &who, std::slice::from_ref(&plan), now).await?;

        Ok(plan)
    })?;

    told(
        &plan,
        args.details.json,
        format_args!("changed {}", plan.poam_id),
    )
}

fn close(args: &CloseArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let (who, now) = (actor(args.actor.as_deref())?, SystemClock.now());
    let plan = with_database(globals, async |conn, _| {
        let mut plan = one(conn, &args.id).await?;
        if plan.status == PlanStatus::Completed {
            bail!(
                "{} is completed already, by {}",
                plan.poam_id,
                plan.closed_by.as_deref().unwrap_or("-")
            );
        }

        let evidence = super::evidence::one(conn, &args.evidence).await?;
        if evidence.approved_at.is_none() {
            bail!("{} is a draft; approve it first", evidence.evidence_id);
        }

        let of_it = |objective: &ObjectiveId| objective.control() == &*plan.control_id.0;
        if evidence.control_id != plan.control_id && !evidence.objectives.iter().any(of_it) {
            bail!(
                "{} does not support {}; add a file that shows the closure: `compliance evidence \
                    add FILE --supports {} --kind \
                 config_export --shows 'what it shows' --final`",
                evidence.evidence_id,
                plan.control_id,
                plan.control_id
            );
        }

        (plan.status, plan.completed) = (PlanStatus::Completed, Some(now));
        (plan.closed_by, plan.closing_evidence) =
            (Some(who.name.clone()), Some(evidence.evidence_id));
        store::plans::save(conn, &who, std::slice::from_ref(&plan), now).await?;

        Ok(plan)
    })?;

    told(
        &plan,
        args.json,
        format_args!(
            "closed {}; now decide {} with `compliance set`",
            plan.poam_id, plan.control_id
        ),
    )
}

fn export(args: &ExportArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let plans = with_database(globals, async |conn, _| Ok(store::plans::list(conn).await?))?;
    let ending = args
        .output
        .as_ref()
        .and_then(|path| path.extension())
        .and_then(|ending| ending.to_str());
    let format = match (args.format, ending) {
        (Some(format), _) => format,
        (None, Some("xlsx")) => Format::Xlsx,
        (None, Some("md")) => Format::Markdown,
        (None, Some("pdf")) => Format::Pdf,
        (None, None | Some("csv")) => Format::Csv,
        (None, Some(other)) => {
            out::usage!(
                "--output: nobody knows what `.{other}` is; say --format csv, xlsx, markdown or pdf"
            )
        }
    };
    if args.output.is_none()
        && Look::stdout().terminal
        && matches!(format, Format::Xlsx | Format::Pdf)
    {
        out::usage!("--output: this is no text for a terminal; name a file");
    }
    let text = match format {
        Format::Csv => workbook::csv(&plans)?,
        Format::Xlsx => workbook::xlsx(&plans, SystemClock.now())?,
        Format::Markdown => compliance::reports::poam(Catalog::r2(), &plans, SystemClock.now())
            .markdown()
            .into_bytes(),
        Format::Pdf => pdf::render(&compliance::reports::poam(
            Catalog::r2(),
            &plans,
            SystemClock.now(),
        ))?,
    };
    out::deliver(args.output.as_deref(), &text)?;
    Ok(ExitCode::SUCCESS)
}
