//! `blueteam compliance poam`: plans of action.

use std::path::PathBuf;
use std::process::ExitCode;

use app::compliance::poam::{self, Filter, Form, Listed};
use clap::{Subcommand, ValueEnum};
use comfy_table::Color;
use model::{Plan, PlanKind, PlanStatus, RiskLevel, Timestamp};

use super::grid::{Bit, Grid};
use super::ids::many;
use super::when::day;
use crate::cli::out::{self, Look};
use crate::cli::session::{Globals, with_session};

/// Plans of action and milestones (3.12.2; 32 CFR 170.21): what is not met, who mends it, until
/// when.
///
/// The POA&M of a conditional CMMC status holds only what the rule allows, for 180 days; everything
/// else is on the operational plan. Without a subcommand the open items are listed.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  blueteam compliance poam\n  blueteam compliance poam generate"
)]
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
#[command(
    after_help = "Examples:\n  blueteam compliance poam generate\n  blueteam compliance poam generate --json | jq -r .[].control_id"
)]
struct GenerateArgs {
    /// The person you act for; recorded beside your own account, which is who acts
    #[arg(long, value_name = "NAME")]
    on_behalf_of: Option<String>,
    /// As a JSON array of the items that were written or moved
    #[arg(long)]
    json: bool,
}

/// List items, the next due first.
#[derive(Debug, Default, clap::Args)]
#[command(
    after_help = "Examples:\n  blueteam compliance poam list\n  blueteam compliance poam list \
        --overdue\n\nExit code: 0 nothing is overdue, 3 something is, 1 failed, 2 wrong arguments."
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
    /// How likely it is used against the system: low, moderate, high, very_high
    #[arg(long)]
    likelihood: Option<RiskLevel>,
    /// How bad that would be: low, moderate, high, very_high [default: as its risk]
    #[arg(long)]
    impact: Option<RiskLevel>,
    /// What remains of the risk once it is mitigated as planned: low, moderate, high, very_high
    #[arg(long)]
    residual_risk: Option<RiskLevel>,
    /// poam or operational [default: where the requirement belongs]
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
    /// The person you act for; recorded beside your own account, which is who acts
    #[arg(long, value_name = "NAME")]
    on_behalf_of: Option<String>,
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
#[command(
    after_help = "Examples:\n  blueteam compliance poam update POAM-2026-003 --status in_progress --owner bob\n  blueteam compliance poam update POAM-2026-003 --due 2027-03-01"
)]
struct UpdateArgs {
    /// Its number (POAM-2026-003), or its id or enough of its beginning or its end
    id: String,
    /// open, in_progress, or accepted_risk (`close` completes it)
    #[arg(long)]
    status: Option<PlanStatus>,
    #[command(flatten)]
    details: Details,
}

/// Close an item: it is done. Then decide the requirement's findings with `compliance assess`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  blueteam compliance poam close POAM-2026-003 --evidence 8f2c1d7e90ab"
)]
struct CloseArgs {
    /// Its number (POAM-2026-003), or its id or enough of its beginning or its end
    id: String,
    /// The evidence that shows it: its id, or enough of its beginning or its end
    #[arg(long, value_name = "ID")]
    evidence: String,
    /// The person you act for; recorded beside your own account, which is who acts
    #[arg(long, value_name = "NAME")]
    on_behalf_of: Option<String>,
    /// As a JSON object
    #[arg(long)]
    json: bool,
}

impl Details {
    fn said(&self, status: Option<PlanStatus>) -> poam::Details {
        poam::Details {
            weakness: self.weakness.clone(),
            remediation: self.remediation.clone(),
            risk: self.risk,
            likelihood: self.likelihood,
            impact: self.impact,
            residual_risk: self.residual_risk,
            kind: self.kind,
            status,
            owner: self.owner.clone(),
            due: self.due,
            milestones: self.milestones.clone(),
            resources: self.resources.clone(),
            mitigation: self.mitigation.clone(),
            tasks: self.task.clone(),
            conditional_since: self.conditional_since,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// The columns of the eMASS template, RFC 4180
    Csv,
    /// The same as a workbook
    Xlsx,
    /// For people
    Markdown,
    /// The same, as a page
    Html,
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
        None => list_items(
            &ListArgs {
                json: args.json,
                ..ListArgs::default()
            },
            globals,
        ),
        Some(Action::Generate(args)) => generate_items(args, globals),
        Some(Action::List(args)) => list_items(args, globals),
        Some(Action::Add(args)) => add_item(args, globals),
        Some(Action::Update(args)) => update_item(args, globals),
        Some(Action::Close(args)) => close_item(args, globals),
        Some(Action::Export(args)) => export_items(args, globals),
    }
}

fn generate_items(args: &GenerateArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let state = globals.state()?;
    let written = with_session(globals, args.on_behalf_of.as_deref(), async |session, _| {
        Ok(poam::generate(session, &state).await?)
    })?;
    let (generated, undecided) = (written.items, written.undecided);

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
                plan.name(),
                plan.control_id
            ))?;
        }
    }

    if undecided > 0 {
        out::note(format_args!(
            "{} not decided or stale, and got no item: decide them with `compliance assess`; \
                `compliance gaps` lists them",
            many(undecided, "requirement is", "requirements are")
        ));
    }

    Ok(ExitCode::SUCCESS)
}

fn list_items(args: &ListArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let filter = Filter {
        closed: args.all,
        overdue: args.overdue,
    };
    let listed = with_session(globals, None, async |session, _| {
        Ok(poam::list(session, filter).await?)
    })?;

    let code = if listed.iter().any(|l| l.overdue) {
        ExitCode::from(3)
    } else {
        ExitCode::SUCCESS
    };

    if args.json {
        out::json(&listed)?;
    } else if listed.is_empty() {
        out::line(
            "no plans of action; `compliance poam generate` writes one for each requirement that \
                is not met",
        )?;
    } else {
        show_table(&listed)?;
    }

    Ok(code)
}

fn show_table(listed: &[Listed]) -> anyhow::Result<()> {
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

    for Listed {
        plan: p,
        overdue,
        due_too_late,
        close_out_by,
    } in listed
    {
        let late = match (overdue, due_too_late) {
            (true, _) => " OVERDUE",
            (false, true) => " LATE",
            (false, false) => "",
        };
        table.row([
            p.name().into(),
            (&p.control_id).into(),
            p.kind.into(),
            p.risk.as_str().replace('_', " ").into(),
            p.status.as_str().replace('_', " ").into(),
            Bit::colored(
                format!("{}{late}", out::maybe_day(p.due)),
                (*overdue || *due_too_late).then_some(Color::Red),
            ),
            out::maybe_day(*close_out_by).into(),
            p.owner.as_deref().unwrap_or("-").into(),
            (&p.weakness).into(),
        ]);
    }

    table.print()
}

fn add_item(args: &AddArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let (given, details) = (
        args.details.on_behalf_of.as_deref(),
        args.details.said(None),
    );
    let saved = with_session(globals, given, async |session, _| {
        Ok(poam::add(session, &args.control, &details).await?)
    })?;

    saved.notes.iter().for_each(out::note);
    let plan = &saved.plan;
    report_change(
        plan,
        args.details.json,
        format_args!("{} for {}", plan.name(), plan.control_id),
    )
}

/// Says what became of an item.
fn report_change(
    plan: &Plan,
    json: bool,
    what: std::fmt::Arguments<'_>,
) -> anyhow::Result<ExitCode> {
    if json {
        out::json(plan)?;
    } else {
        out::line(what)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn update_item(args: &UpdateArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let (given, details) = (
        args.details.on_behalf_of.as_deref(),
        args.details.said(args.status),
    );
    let saved = with_session(globals, given, async |session, _| {
        Ok(poam::update(session, &args.id, &details).await?)
    })?;

    saved.notes.iter().for_each(out::note);
    let plan = &saved.plan;
    report_change(
        plan,
        args.details.json,
        format_args!("changed {}", plan.name()),
    )
}

fn close_item(args: &CloseArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let plan = with_session(globals, args.on_behalf_of.as_deref(), async |session, _| {
        Ok(poam::close(session, &args.id, &args.evidence).await?)
    })?;

    report_change(
        &plan,
        args.json,
        format_args!(
            "closed {}; now decide {} with `compliance assess`",
            plan.name(),
            plan.control_id
        ),
    )
}

fn export_items(args: &ExportArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let form = export_form(args)?;
    if args.output.is_none() && Look::stdout().terminal && matches!(form, Form::Xlsx | Form::Pdf) {
        out::usage!("--output: this format is not for a terminal; name a file");
    }

    let state = globals.state()?;
    let text = with_session(globals, None, async |session, _| {
        Ok(poam::export(session, &state, form).await?)
    })?;
    out::deliver(args.output.as_deref(), &text)?;
    Ok(ExitCode::SUCCESS)
}

/// The form that is asked for, by name or by the file's ending.
fn export_form(args: &ExportArgs) -> anyhow::Result<Form> {
    let ending = args
        .output
        .as_ref()
        .and_then(|path| path.extension())
        .and_then(|ending| ending.to_str());

    Ok(match (args.format, ending) {
        (Some(Format::Csv), _) | (None, None | Some("csv")) => Form::Csv,
        (Some(Format::Xlsx), _) | (None, Some("xlsx")) => Form::Xlsx,
        (Some(Format::Markdown), _) | (None, Some("md")) => Form::Markdown,
        (Some(Format::Html), _) | (None, Some("html")) => Form::Html,
        (Some(Format::Pdf), _) | (None, Some("pdf")) => Form::Pdf,
        (None, Some(other)) => {
            out::usage!(
                "--output: nobody knows what `.{other}` is; say --format csv, xlsx, markdown, html or pdf"
            )
        }
    })
}
