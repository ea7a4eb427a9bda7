//! `blueteam compliance import` and `export`: findings as a spreadsheet.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use compliance::{Catalog, Requirement};
use model::{Clock as _, Control, Finding, Method, SystemClock};
use serde::Deserialize;
use store::Connection as _;
use store::compliance::{Changes, NewDecision};

use super::ids::many;
use super::set::{Decided, finding, needs_plan};
use super::when::actor;
use super::{controls, find, known};
use crate::cli::out::{self, no_formula};
use crate::cli::session::{Globals, with_database};

/// The columns of the sheet, one row an objective. Those of a requirement stand in the row of its
/// first objective.
const COLUMNS: [&str; 17] = [
    "control_id",
    "objective_id",
    "cmmc_practice",
    "objective",
    "finding",
    "reason",
    "methods",
    "decided_by",
    "decided_at",
    "weight",
    "partial_credit",
    "planned",
    "owner",
    "responsibility",
    "provider",
    "notes",
    "status",
];
/// A sheet larger than this is none of ours.
const SHEET_MAX: u64 = 16 << 20;

/// Write all findings as CSV (RFC 4180), one row an objective; or everything as OSCAL 1.2.1.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  blueteam compliance export > findings.csv
  blueteam compliance export --oscal workspace --system system.toml

The OSCAL documents lie as a trestle workspace wants them, and name each other by trestle:// \
hrefs.")]
pub(super) struct ExportArgs {
    /// To this file, which must not exist
    #[arg(long, value_name = "FILE", conflicts_with = "oscal")]
    output: Option<PathBuf>,
    /// As OSCAL documents below this folder: catalog, profile, component definition, plan,
    /// assessment plan and results, POA&M
    #[arg(long, value_name = "DIR")]
    oscal: Option<PathBuf>,
    /// The description of the system, for OSCAL [default: system.toml in the state directory]
    #[arg(long, value_name = "FILE", requires = "oscal")]
    system: Option<PathBuf>,
    /// With --oscal: the names of the files as a JSON array
    #[arg(long, requires = "oscal")]
    json: bool,
}

/// Read findings from a CSV file, or a system security plan or POA&M of OSCAL (.json).
///
/// A CSV file has the columns that `export` writes; all of it is read, or nothing when a row is
/// wrong. As with `set`, 3.12.4 can be met only when an approved system security plan is among its
/// evidence. Needed are objective_id and finding, and a reason for each finding. You decide what it
/// says: your name stands behind what changes. An empty finding leaves an objective alone, and so
/// does one that is there already. Of an OSCAL plan, how requirements are implemented and who
/// answers for them is taken; of a POA&M, its items. Neither decides a finding.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  blueteam compliance import findings.csv --as alice\n  blueteam \
        compliance import findings.csv --dry-run"
)]
pub(super) struct ImportArgs {
    /// The file; `-` is standard input
    pub(super) file: PathBuf,
    /// Check it and say what would change
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Who decides so; without it, the system's user name
    #[arg(long = "as", value_name = "NAME")]
    actor: Option<String>,
    /// As a JSON object: how much was, or would be, changed
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn export(args: &ExportArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    if let Some(folder) = &args.oscal {
        return super::oscal::export(folder, args.system.as_deref(), args.json, globals);
    }
    let controls = with_database(globals, async |conn, _| controls(conn).await)?;
    let text = csv(&controls)?;
    out::deliver(args.output.as_deref(), &text)?;
    Ok(ExitCode::SUCCESS)
}

/// The sheet of all objectives.
pub(in crate::cli) fn csv(controls: &[Control]) -> anyhow::Result<Vec<u8>> {
    let mut writer = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer(Vec::new());
    writer.write_record(COLUMNS)?;

    for r in &Catalog::r2().requirements {
        let Some(c) = known(r, controls) else {
            continue;
        };
        for (n, (text, o)) in r
            .assessment_objectives
            .iter()
            .zip(&c.objectives)
            .enumerate()
        {
            let d = o.decision.as_ref();
            let of_control = |value: Option<&str>| {
                if n == 0 {
                    value.unwrap_or_default().to_owned()
                } else {
                    String::new()
                }
            };

            let methods: Vec<&str> = d
                .map(|d| d.methods.iter().map(|m| m.as_str()).collect())
                .unwrap_or_default();
            writer.write_record([
                r.control_id.0.as_ref(),
                o.objective_id.0.as_str(),
                &r.cmmc_practice,
                &text.text,
                d.map_or("", |d| d.finding.as_str()),
                &no_formula(d.map_or("", |d| &d.reason)),
                &methods.join(" "),
                &no_formula(d.map_or("", |d| &d.by)),
                &d.map_or_else(String::new, |d| out::time(d.at)),
                &r.dod_weight.map_or_else(String::new, |w| w.to_string()),
                if c.partial_credit { "true" } else { "false" },
                if c.planned { "true" } else { "false" },
                &no_formula(&of_control(c.owner.as_deref())),
                &of_control(Some(c.responsibility.as_str())),
                &no_formula(&of_control(c.provider.as_deref())),
                &no_formula(&of_control(c.notes.as_deref())),
                o.standing().as_str(),
            ])?;
        }
    }

    writer.into_inner().map_err(|e| anyhow::anyhow!("{e}"))
}

/// Takes back what [`out::no_formula`] did.
fn plain(text: &str) -> String {
    let text = text.trim_end();
    match text.strip_prefix('\'') {
        Some(rest) if no_formula(rest) != rest => rest.to_owned(),
        _ => text.trim_start().to_owned(),
    }
}

#[derive(Debug, Deserialize)]
struct Row {
    objective_id: String,
    finding: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    methods: String,
    #[serde(default)]
    owner: String,
    #[serde(default)]
    notes: String,
    #[serde(default)]
    partial_credit: String,
}

pub(super) fn import(args: &ImportArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let text = read(&args.file)?;
    let who = actor(args.actor.as_deref())?;
    if text.trim_ascii_start().starts_with(b"{") {
        return super::oscal::import(&text, args, &who, globals);
    }

    let (decided, changed) = with_database(globals, async |conn, _| {
        let before = controls(conn).await?;
        let no_plan = super::set::no_plan(conn, globals).await?;
        let (decisions, changes) = parse(&text, &before, no_plan.as_deref())
            .with_context(|| format!("{} was not imported", args.file.display()))?;
        if !args.dry_run {
            let mut tx = conn.begin().await?;
            store::compliance::decide(&mut tx, &who, SystemClock.now(), &decisions).await?;
            for (control, changes) in &changes {
                store::compliance::change(&mut tx, &who, control, changes).await?;
            }
            tx.commit().await?;
            super::note_score(conn, &who, globals).await?;
        }

        let changed: BTreeSet<_> = changes.iter().map(|(control, _)| control.order()).collect();
        Ok((decisions.len(), changed.len()))
    })?;

    if args.json {
        out::json(
            &serde_json::json!({ "dry_run": args.dry_run, "findings": decided, "requirements": changed }),
        )?;
        return Ok(ExitCode::SUCCESS);
    }

    let verb = if args.dry_run {
        "would change"
    } else {
        "changed"
    };

    out::line(format_args!(
        "{verb} {} and {}",
        many(decided, "finding", "findings"),
        many(changed, "requirement", "requirements")
    ))?;

    Ok(ExitCode::SUCCESS)
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut text = Vec::new();
    let source: Box<dyn std::io::Read> = if path.as_os_str() == "-" {
        Box::new(std::io::stdin().lock())
    } else {
        // A pipe is as good as a file; a folder is not.
        Box::new(
            std::fs::File::open(path).with_context(|| format!("cannot open {}", path.display()))?,
        )
    };

    source
        .take(SHEET_MAX + 1)
        .read_to_end(&mut text)
        .with_context(|| format!("cannot read {}", path.display()))?;
    if text.len() as u64 > SHEET_MAX {
        bail!("{} is larger than 16 MiB", path.display());
    }

    if text.contains(&0) {
        bail!("{} is no text: it holds NUL", path.display());
    }

    Ok(text)
}

type Sheet = (Vec<NewDecision>, Vec<(model::ControlId, Changes)>);
type Change = (Option<NewDecision>, Option<(model::ControlId, Changes)>);

/// What a sheet changes. Every wrong row is named, by line and column.
///
/// `no_plan` says why 3.12.4 cannot be met, if it cannot: each row that decides so is wrong, as it
/// is for `set`.
fn parse(text: &[u8], before: &[Control], no_plan: Option<&str>) -> anyhow::Result<Sheet> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let mut reader = csv::ReaderBuilder::new().flexible(false).from_reader(text);
    let headers = reader
        .headers()
        .context("the first line is not a header")?
        .clone();

    for needed in ["objective_id", "finding", "reason"] {
        if !headers.iter().any(|h| h == needed) {
            bail!(
                "the header has no column `{needed}`; `blueteam compliance export` shows the \
                    columns"
            );
        }
    }

    let (mut decisions, mut changes, mut wrong) = (Vec::new(), Vec::new(), Vec::new());
    let mut planless = false;
    for record in reader.records() {
        let record =
            record.map_err(|e| anyhow::anyhow!("{}", model::text::sanitize(&e.to_string())))?;
        let line = record.position().map_or(0, |at| line_at(text, at.byte()));
        let row: Row = record.deserialize(Some(&headers)).map_err(|e| {
            anyhow::anyhow!("line {line}: {}", model::text::sanitize(&e.to_string()))
        })?;

        match one(&row, before) {
            Ok((Some(decision), _)) if no_plan.is_some() && needs_plan(&decision) => {
                planless = true;
                wrong.push(format!(
                    "line {line}: {} cannot be met without an approved plan",
                    decision.objective_id
                ));
            }
            Ok((decision, change)) => {
                decisions.extend(decision);
                changes.extend(change);
            }
            Err(error) => wrong.push(format!(
                "line {line}: {}",
                model::text::sanitize(&error.to_string())
            )),
        }
    }

    wrong.extend(no_plan.filter(|_| planless).map(str::to_owned));
    if contradicts(&changes) {
        wrong.push("partial_credit: rows of one requirement contradict each other".to_owned());
    }

    let seen: BTreeSet<_> = decisions
        .iter()
        .map(|d: &NewDecision| &d.objective_id)
        .collect();
    if seen.len() < decisions.len() {
        wrong.push("an objective is decided in two rows".to_owned());
    }

    if wrong.is_empty() {
        Ok((decisions, changes))
    } else {
        bail!("{}", wrong.join("\n"))
    }
}

/// Whether two rows of a requirement say different things of its partial score.
fn contradicts(changes: &[(model::ControlId, Changes)]) -> bool {
    let said =
        |(control, c): &(model::ControlId, Changes)| Some((control.order(), c.partial_credit?));
    let said: BTreeSet<_> = changes.iter().filter_map(said).collect();
    let controls: BTreeSet<_> = said.iter().map(|(control, _)| control).collect();
    controls.len() < said.len()
}

/// The line on which the record that is read at this byte stands: the reader counts from before the
/// blank lines that it skips.
fn line_at(text: &[u8], byte: u64) -> usize {
    let (before, after) =
        text.split_at(usize::try_from(byte).unwrap_or(usize::MAX).min(text.len()));
    let blank = after
        .iter()
        .take_while(|b| matches!(b, b'\r' | b'\n'))
        .count();
    let newlines = |bytes: &[u8]| memchr::memchr_iter(b'\n', bytes).count();
    1 + newlines(before) + newlines(&after[..blank])
}

/// Whether the partial score is taken, by a row that says so of a requirement that has one.
fn partial(row: &Row, requirement: &Requirement) -> anyhow::Result<Option<bool>> {
    let said = match row.partial_credit.trim().to_ascii_lowercase().as_str() {
        "" => return Ok(None),
        "true" | "yes" => true,
        "false" | "no" => false,
        other => bail!("partial_credit: `{other}` is neither true nor false"),
    };

    if said && requirement.partial_weight.is_none() {
        bail!("partial_credit: only 3.5.3 and 3.13.11 have a partial score");
    }

    Ok(requirement.partial_weight.is_some().then_some(said))
}

/// What one row changes.
fn one(row: &Row, before: &[Control]) -> anyhow::Result<Change> {
    let (requirement, objective) = find(&row.objective_id)?;
    let objective = objective.with_context(|| {
        format!(
            "objective_id: `{}` is a requirement, not an objective",
            row.objective_id
        )
    })?;
    let control = known(requirement, before).context("the database has no such requirement")?;
    let now = control
        .objectives
        .iter()
        .find(|o| o.objective_id == objective.id)
        .and_then(|o| o.decision.as_ref());
    let (owner, notes) = (plain(&row.owner), plain(&row.notes));
    let new = |text: String, old: Option<&String>| {
        (!text.is_empty() && Some(&text) != old).then_some(text)
    };
    let changes = Changes {
        owner: new(owner, control.owner.as_ref()),
        notes: new(notes, control.notes.as_ref()),
        partial_credit: partial(row, requirement)?.filter(|said| *said != control.partial_credit),
        ..Changes::default()
    };
    let changes =
        (changes != Changes::default()).then(|| (requirement.control_id.clone(), changes));
    if row.finding.trim().is_empty() {
        return Ok((None, changes));
    }
    let Decided(finding) =
        finding(row.finding.trim()).map_err(|e| anyhow::anyhow!("finding: {e}"))?;
    let reason = plain(&row.reason);
    let words = row.methods.split([' ', ',', ';']).filter(|w| !w.is_empty());
    let mut methods = words
        .map(str::parse)
        .collect::<Result<Vec<Method>, _>>()
        .map_err(|e| anyhow::anyhow!("methods: {e}"))?;
    if methods.is_empty() && finding == Some(Finding::Met) {
        methods.push(Method::Examine);
    }
    if now.map(|d| (Some(d.finding), &d.reason, &d.methods)) == Some((finding, &reason, &methods))
        || (now.is_none() && finding.is_none())
    {
        return Ok((None, changes));
    }
    if !(3..=4000).contains(&reason.chars().count()) {
        bail!("reason: from 3 to 4000 characters");
    }
    Ok((
        Some(NewDecision {
            objective_id: objective.id.clone(),
            finding,
            reason,
            methods,
        }),
        changes,
    ))
}
