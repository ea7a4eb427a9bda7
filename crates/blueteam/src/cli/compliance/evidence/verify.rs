//! `blueteam compliance evidence verify` and `hash-list`.

use std::path::PathBuf;
use std::process::ExitCode;

use comfy_table::Cell;
use comply::evidence::{artifacts, csv, sums};
use model::Evidence;
use serde::Serialize;
use store::evidence::EvidenceFilter;

use crate::cli::out::{self, Look};
use crate::cli::session::{Globals, with_database};
use crate::vault::{self, Vault};

/// Hash every piece again and name those that are not what was taken in.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit code: 0 all is as it was, 3 something is not, 1 failed, 2 wrong arguments.")]
pub(super) struct VerifyArgs {
    /// As a JSON array of what is wrong
    #[arg(long)]
    json: bool,
}

/// Write the list of hashes that an assessor takes along: artifact name, hash value, algorithm (32 CFR 170.17(c)(4)).
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  blueteam compliance evidence hash-list --output hashes.csv
  blueteam compliance evidence hash-list --sha256sum > SHA256SUMS && sha256sum -c SHA256SUMS")]
pub(super) struct HashListArgs {
    /// As `sha256sum -c` reads it, in the place of CSV
    #[arg(long)]
    sha256sum: bool,
    /// To this file, which must not exist; the list's own hash is printed
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Wrong {
    evidence_id: model::EvidenceId,
    artifact: String,
    problem: String,
}

pub(super) fn verify(args: &VerifyArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let all =
        with_database(globals, async |conn, _| Ok(store::evidence::list(conn, &EvidenceFilter::default()).await?))?;
    let vault = Vault::new(globals.state()?.path());
    let mut wrong = Vec::new();
    for e in &all {
        if let Some(problem) = problem(e, &vault)? {
            wrong.push(Wrong { evidence_id: e.evidence_id, artifact: e.artifact(), problem });
        }
    }
    let code = if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(3) };
    if args.json {
        out::json(&wrong)?;
        return Ok(code);
    }
    if !wrong.is_empty() {
        let mut table = out::table(Look::stdout(), &["id", "artifact", "problem"]);
        for w in &wrong {
            table.add_row([Cell::new(w.evidence_id), out::text(&w.artifact), out::text(&w.problem)]);
        }
        out::print(table)?;
    }
    out::note(format_args!("{} pieces, {} not as they were taken in", all.len(), wrong.len()));
    Ok(code)
}

/// What is wrong with a piece.
fn problem(e: &Evidence, vault: &Vault) -> anyhow::Result<Option<String>> {
    let Some(taken) = &e.sha256 else {
        return Ok(Some("has no hash: it was taken in before this program".to_owned()));
    };
    let now = match (&e.file_path, &e.content) {
        (Some(path), _) => vault.hash(path)?,
        (None, content) => content.as_ref().map(|text| vault::sha256(text.as_bytes())),
    };
    Ok(match now {
        None => Some("is gone".to_owned()),
        Some(now) if now != *taken => Some(format!("was changed: its hash is {now}, and was {taken}")),
        Some(_) => None,
    })
}

pub(super) fn hash_list(args: &HashListArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let all =
        with_database(globals, async |conn, _| Ok(store::evidence::list(conn, &EvidenceFilter::default()).await?))?;
    let list: Vec<_> = artifacts(&all).into_iter().map(|(artifact, _)| artifact).collect();
    let text = if args.sha256sum { sums(&list) } else { csv(&list) };
    out::deliver(args.output.as_deref(), text.as_bytes())?;
    if let Some(path) = &args.output {
        out::line(format_args!("{}  {}", vault::sha256(text.as_bytes()), path.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}
