//! `blueteam redteam`: reports of red teams and scanners, and what becomes of what they found.

use std::path::PathBuf;
use std::process::ExitCode;

use app::redteam::{
    self as cases, Comparison, Decision, Filter, Finding, Imported, Posture, Request, Run,
    RunDetails, Shown, Side,
};
use clap::builder::PossibleValuesParser;
use clap::{Args as _, Subcommand};
use comfy_table::Cell;
use model::Severity;
use model::text::{counted, sanitize};
use redteam::importers;
use redteam::state::State;

use super::out::{self, Look};
use super::session::{Globals, with_session};
use super::{Command, parsed};

pub(super) const COMMAND: Command = Command {
    name: "redteam",
    arguments: Args::augment_args,
    run: |matches, globals| run(&parsed(matches), globals),
};

/// Reports of red teams and scanners: import them, see what is new, gone and back, and decide about
/// each finding.
///
/// Formats: blueteam's own (docs/formats/redteam.md), SARIF, ZAP, nuclei, Burp, Nikto, nmap, trivy,
/// semgrep. A finding that a later run of the same scope does not list is proposed for closing; a
/// person closes it.
///
/// Exit code: 0 done, 1 failed, 2 wrong arguments or a report that cannot be read.
#[derive(Debug, clap::Args)]
struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Import(ImportArgs),
    List(ListArgs),
    /// All that is known of a run or a finding
    #[command(after_help = "Examples:\n  blueteam redteam show 01a2")]
    Show {
        /// The ID of the run or the finding, or its first characters
        id: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    Compare(CompareArgs),
    /// Close a finding: it is gone
    #[command(
        after_help = "Examples:\n  blueteam redteam close 01a2 --reason 'patched, CHG-91; the run \
            of Monday does not list it'"
    )]
    Close(DecisionArgs),
    /// Accept a finding: it stays, and counts on
    #[command(
        after_help = "Examples:\n  blueteam redteam accept 01a2 --reason 'the port is needed; see \
            the SSP, section 9'"
    )]
    Accept(DecisionArgs),
    /// Take back that a finding was closed, accepted or proposed for closing
    #[command(
        after_help = "Examples:\n  blueteam redteam reopen 01a2 --reason 'the scanner was blocked \
            by the firewall'"
    )]
    Reopen(DecisionArgs),
}

/// Import a report; the same file a second time changes nothing.
///
/// Without a file, the newest of `reports` in `[redteam]` of the configuration.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  blueteam redteam import\n  blueteam redteam import zap.xml \
        --open-poam\n  blueteam redteam import bandit.sarif --target eqmon\n\n\
        --target says that all of the target was looked at. SARIF and semgrep need not name a file\n\
        without findings, so that without it only files that they name are compared."
)]
struct ImportArgs {
    /// The report
    file: Option<PathBuf>,
    /// The format; detected from the content without it
    #[arg(long, value_parser = PossibleValuesParser::new(importers::ALL.iter().map(|f| f.name)))]
    format: Option<String>,
    /// What was looked at; what the report says without it
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// Open items of the plan of action for open findings of medium severity and above
    #[arg(long)]
    open_poam: bool,
    /// The person you act for; recorded beside your own account, which is who acts
    #[arg(long, value_name = "NAME")]
    on_behalf_of: Option<String>,
    /// As a JSON object
    #[arg(long)]
    json: bool,
}

/// List findings, the worst first, or runs, the newest first.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  blueteam redteam list\n  blueteam redteam list --state \
        gone_proposed\n  blueteam redteam list --severity high --json\n  blueteam redteam list --runs"
)]
struct ListArgs {
    /// Runs in place of findings
    #[arg(long, conflicts_with_all = ["all", "state", "severity"])]
    runs: bool,
    /// Closed findings too
    #[arg(long)]
    all: bool,
    /// Only findings of this state
    #[arg(long, value_parser = |text: &str| text.parse::<State>())]
    state: Option<State>,
    /// Only findings that are at least so bad
    #[arg(long, value_parser = |text: &str| text.parse::<Severity>())]
    severity: Option<Severity>,
    /// As a JSON array
    #[arg(long)]
    json: bool,
}

/// Compare two runs of the same tool and target, or two times, and the figure at both.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  blueteam redteam compare 2026-01-01 2026-04-01\n  \
                        blueteam redteam compare 01a2 01b7 --json"
)]
struct CompareArgs {
    /// A run's ID or its first characters, a day, or an RFC 3339 time
    before: String,
    /// The same, later
    after: String,
    /// As a JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct DecisionArgs {
    /// The ID of the finding, or its first characters
    id: String,
    /// Why; an assessor reads it
    #[arg(long)]
    reason: String,
    /// The person you act for; recorded beside your own account, which is who acts
    #[arg(long, value_name = "NAME")]
    on_behalf_of: Option<String>,
}

fn run(args: &Args, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    match &args.action {
        Action::Import(args) => import(args, globals),
        Action::List(args) if args.runs => list_runs(args.json, globals),
        Action::List(args) => list_findings(args, globals),
        Action::Show { id, json } => show(id, *json, globals),
        Action::Compare(args) => compare(args, globals),
        Action::Close(args) => decide(Decision::Close, args, globals),
        Action::Accept(args) => decide(Decision::Accept, args, globals),
        Action::Reopen(args) => decide(Decision::Reopen, args, globals),
    }?;
    Ok(ExitCode::SUCCESS)
}

fn import(args: &ImportArgs, globals: Globals<'_>) -> anyhow::Result<()> {
    let behalf = args.on_behalf_of.as_deref();
    let done = with_session(globals, behalf, async |session, loaded| {
        let file = match &args.file {
            Some(file) => file.clone(),
            None => cases::newest(&loaded.config.redteam.reports)?,
        };
        let bytes = cases::read_file(&file)?;
        let request = Request {
            file_name: &file.display().to_string(),
            bytes: &bytes,
            format: args.format.as_deref(),
            target: args.target.as_deref(),
            opens_plans: args.open_poam,
        };
        Ok(cases::import(session, &request).await?)
    })?;
    if args.json {
        return out::json(&done);
    }
    describe_import(&done)
}

fn describe_import(done: &Imported) -> anyhow::Result<()> {
    let run = &done.run;
    let name = sanitize(&run.file_name);
    if done.already {
        out::line(format_args!(
            "{name} was imported before, at {} by {}; nothing has changed",
            out::time(run.imported_at),
            sanitize(&run.imported_by)
        ))?;
    } else {
        out::line(format_args!(
            "{name}: {}, {} listed, {}",
            sanitize(&run.tool),
            counted(u64::from(run.items.unsigned_abs()), "item"),
            counted(run.findings as u64, "finding")
        ))?;
        let set_aside = [
            "suppressed",
            "false_positives",
            "undecided",
            "passed",
            "absent",
        ]
        .into_iter()
        .filter_map(|name| Some((name, *done.counts.get(name)?)));
        for (what, count) in set_aside {
            out::line(format_args!(
                "  {count} {} set aside",
                what.replace('_', " ")
            ))?;
        }
        out::line(format_args!(
            "  {} new, {} back, {} proposed for closing",
            done.new.len(),
            done.back.len(),
            done.gone.len()
        ))?;
        for finding in &done.back {
            let title = sanitize(&finding.title);
            out::line(format_args!("  REGRESSION: {title} is there again"))?;
        }
        for (what, findings) in [("worse", &done.worse), ("milder", &done.milder)] {
            if !findings.is_empty() {
                let count = counted(findings.len() as u64, "finding");
                out::line(format_args!("  {count} rated {what} than before"))?;
            }
        }
        if !run.is_complete {
            out::line("  the run did not come to its end: nothing is proposed for closing")?;
        }
    }
    for opened in &done.plans {
        out::line(format_args!(
            "  {}: {} for {}",
            sanitize(&opened.item),
            opened.control,
            counted(opened.findings.len() as u64, "finding")
        ))?;
    }
    if done.plans_left > 0 {
        out::line(format_args!(
            "  {} due: correct the worst, and import it once more",
            counted(done.plans_left as u64, "more item")
        ))?;
    }
    Ok(())
}

fn list_runs(json: bool, globals: Globals<'_>) -> anyhow::Result<()> {
    let runs = with_session(globals, None, async |session, _| {
        Ok(cases::runs(session).await?)
    })?;
    if json {
        return out::json(&runs);
    }
    if runs.is_empty() {
        return out::line("no report has been imported");
    }

    let look = Look::stdout();
    let mut table = out::table(
        look,
        &["run", "ran", "tool", "of", "findings", "ended", "file"],
    );
    for run in &runs {
        table.add_row([
            Cell::new(look.id(&run.run_id, 13)),
            Cell::new(out::time(run.ran_at)),
            out::text(&run.tool),
            out::text(&run.subject),
            Cell::new(run.findings),
            Cell::new(if run.is_complete { "yes" } else { "no" }),
            out::text(&run.file_name),
        ]);
    }
    out::spare(look, &mut table, &[3, 6]);
    out::print(table)
}

fn list_findings(args: &ListArgs, globals: Globals<'_>) -> anyhow::Result<()> {
    let filter = Filter {
        closed: args.all,
        state: args.state,
        severity: args.severity,
    };
    let (findings, posture) = with_session(globals, None, async |session, _| {
        let findings = cases::findings(session, filter).await?;
        Ok((findings, cases::posture(session).await?))
    })?;
    if args.json {
        return out::json(&findings);
    }
    if findings.is_empty() {
        out::line("no findings")?;
    } else {
        print_findings(&findings)?;
    }
    out::line(format_args!("red team: {}", figure(posture)))?;
    Ok(())
}

fn print_findings<'a>(findings: impl IntoIterator<Item = &'a Finding>) -> anyhow::Result<()> {
    let look = Look::stdout();
    let mut table = out::table(
        look,
        &["finding", "severity", "state", "controls", "title", "where"],
    );
    for f in findings {
        let state = if f.came_back > 0 && f.state == State::Open {
            "back".to_owned()
        } else {
            f.state.to_string()
        };
        table.add_row([
            Cell::new(look.id(&f.finding_id, 13)),
            look.severity(f.severity),
            Cell::new(state),
            Cell::new(f.controls.join(" ")),
            out::text(&f.title),
            out::text(&f.location),
        ]);
    }
    out::spare(look, &mut table, &[4, 5]);
    out::print(table)
}

/// The figure, or that there is none.
fn figure(posture: Posture) -> String {
    let counts = format!(
        "{} of modules open, {} with a verdict in 90 days",
        counted(posture.findings, "finding"),
        counted(posture.modules, "module")
    );
    match posture.score {
        Some(score) => format!("{score:.0} of 100 ({counts})"),
        None => format!("unknown ({counts})"),
    }
}

fn show(id: &str, json: bool, globals: Globals<'_>) -> anyhow::Result<()> {
    let shown = with_session(globals, None, async |session, _| {
        Ok(cases::show(session, id).await?)
    })?;
    if json {
        return out::json(&shown);
    }
    match shown {
        Shown::Run(details) => show_run(&details),
        Shown::Finding(finding) => show_finding(&finding),
    }
}

fn show_run(details: &RunDetails) -> anyhow::Result<()> {
    let run: &Run = &details.run;
    let version = run.version.as_deref().unwrap_or_default();
    for (name, text) in [
        ("run", run.run_id.to_string()),
        ("tool", format!("{} {version}", run.tool)),
        ("of", run.subject.clone()),
        ("ran", out::time(run.ran_at)),
        (
            "came to its end",
            if run.is_complete { "yes" } else { "no" }.to_owned(),
        ),
        ("file", format!("{} ({})", run.file_name, run.format)),
        (
            "imported",
            format!("{} by {}", out::time(run.imported_at), run.imported_by),
        ),
        (
            "listed",
            format!("{} items, {} findings", run.items, run.findings),
        ),
    ] {
        out::line(format_args!("{name:<16} {}", sanitize(text.trim())))?;
    }

    let look = Look::stdout();
    if !details.modules.is_empty() {
        let mut table = out::table(
            look,
            &["module", "variant", "severity", "verdict", "controls"],
        );
        for module in &details.modules {
            table.add_row([
                out::text(&module.name),
                out::text(&module.variant),
                look.severity(module.severity),
                Cell::new(&module.verdict),
                Cell::new(module.controls.join(" ")),
            ]);
        }
        out::print(table)?;
        let conclusive = details
            .modules
            .iter()
            .filter(|module| matches!(module.verdict.as_str(), "vulnerable" | "not_vulnerable"));
        if conclusive.count() * 2 < details.modules.len() {
            out::line("more than half of the modules are inconclusive: the run proves little")?;
        }
    }
    if !details.listed.is_empty() {
        print_findings(&details.listed)?;
    }
    Ok(())
}

fn show_finding(f: &Finding) -> anyhow::Result<()> {
    let cwes: Vec<String> = f
        .cwes
        .iter()
        .map(|number| format!("CWE-{number}"))
        .collect();
    let plans: Vec<String> = f.plans.iter().map(ToString::to_string).collect();
    let decided = match (&f.decided_by, f.decided_at, &f.reason) {
        (Some(by), Some(at), Some(reason)) => format!("{} by {by}: {reason}", out::time(at)),
        _ => String::new(),
    };
    for (name, text) in [
        ("finding", f.finding_id.to_string()),
        ("title", f.title.clone()),
        ("severity", f.severity.to_string()),
        ("state", f.state.to_string()),
        (
            "came back",
            if f.came_back > 0 {
                f.came_back.to_string()
            } else {
                String::new()
            },
        ),
        ("where", f.location.clone()),
        (
            "listed",
            counted(u64::from(f.instances.unsigned_abs()), "time"),
        ),
        ("rule", format!("{} of {}", f.rule, f.tool)),
        ("references", [cwes.join(" "), f.cves.join(" ")].join(" ")),
        ("controls", f.controls.join(" ")),
        ("plans", plans.join(" ")),
        ("first run", f.first_run.to_string()),
        ("last run", f.last_run.to_string()),
        ("decided", decided),
        ("detail", f.detail.clone()),
    ] {
        if !text.trim().is_empty() {
            out::line(format_args!("{name:<16} {}", sanitize(text.trim())))?;
        }
    }
    Ok(())
}

fn compare(args: &CompareArgs, globals: Globals<'_>) -> anyhow::Result<()> {
    let side = |text: &str| text.parse::<Side>().unwrap_or_else(|never| match never {});
    let done = with_session(globals, None, async |session, _| {
        Ok(cases::compare(session, &side(&args.before), &side(&args.after)).await?)
    })?;
    if args.json {
        return out::json(&done);
    }

    let Comparison {
        before,
        after,
        posture_before,
        posture_after,
        ..
    } = &done;
    out::line(format_args!(
        "{}: {}",
        sanitize(before),
        figure(*posture_before)
    ))?;
    out::line(format_args!(
        "{}: {}",
        sanitize(after),
        figure(*posture_after)
    ))?;
    for (name, findings) in [
        ("new", &done.new),
        ("back", &done.back),
        ("gone", &done.gone),
        ("out of scope", &done.out_of_scope),
        ("as before", &done.still),
    ] {
        out::line(format_args!("{name}: {}", findings.len()))?;
        if !findings.is_empty() && name != "as before" {
            print_findings(findings)?;
        }
    }
    Ok(())
}

fn decide(decision: Decision, args: &DecisionArgs, globals: Globals<'_>) -> anyhow::Result<()> {
    let behalf = args.on_behalf_of.as_deref();
    let finding = with_session(globals, behalf, async |session, _| {
        Ok(cases::decide(session, &args.id, decision, &args.reason).await?)
    })?;
    out::line(format_args!(
        "{}: {} is {}",
        finding.finding_id,
        sanitize(&finding.title),
        finding.state
    ))?;
    Ok(())
}
