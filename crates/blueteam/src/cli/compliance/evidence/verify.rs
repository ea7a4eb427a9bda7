//! `blueteam compliance evidence verify` and `hash-list`.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::ExitCode;

use compliance::evidence::{Artifact, CONFIRMATIONS, artifacts, confirmations, csv, sums};
use model::evidence::Confirmation;
use model::{Evidence, EvidenceId};
use serde::Serialize;
use store::PgConnection;
use store::evidence::{EvidenceFilter, PAGE};

use super::super::grid::Grid;
use super::super::ids::many;
use crate::cli::out;
use crate::cli::session::{Globals, with_database};
use app::evidence_store::{self, EvidenceStore};

/// Hash every piece again and name those that are not what was taken in.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit code: 0 all is as it was, 3 something is not, 1 failed, 2 wrong arguments."
)]
pub(super) struct VerifyArgs {
    /// As a JSON array of what is wrong
    #[arg(long)]
    json: bool,
}

/// Write the list of hashes that an assessor takes along: artifact name, hash value, algorithm (32
/// CFR 170.17(c)(4)).
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
    /// As a JSON array
    #[arg(long, conflicts_with_all = ["sha256sum", "output"])]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Wrong {
    evidence_id: EvidenceId,
    artifact: String,
    problem: String,
}

pub(super) fn verify(args: &VerifyArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let vault = EvidenceStore::new(globals.state()?.path());
    let (mut wrong, mut seen) = (Vec::new(), 0);
    with_database(globals, async |conn, _| {
        let confirmed = by_piece(store::evidence::confirmations(conn, None).await?);
        each_page(conn, false, |e| {
            seen += 1;
            let own = confirmed.get(&e.evidence_id).map_or(&[][..], Vec::as_slice);
            if let Some(problem) = problem(&e, &vault).or_else(|| app::evidence::broken(&e, own)) {
                wrong.push(Wrong {
                    evidence_id: e.evidence_id,
                    artifact: e.artifact(),
                    problem,
                });
            }
            Ok(())
        })
        .await
    })?;

    let code = if wrong.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(3)
    };

    if args.json {
        out::json(&wrong)?;
        return Ok(code);
    }

    if !wrong.is_empty() {
        let mut table = Grid::new(&["id", "artifact", "problem"], &[]);
        for w in &wrong {
            table.row([
                w.evidence_id.into(),
                (&w.artifact).into(),
                (&w.problem).into(),
            ]);
        }

        table.print()?;
    }

    out::note(format_args!(
        "{}, {} not as taken in",
        many(seen, "piece", "pieces"),
        wrong.len()
    ));

    Ok(code)
}

fn by_piece(all: Vec<Confirmation>) -> HashMap<EvidenceId, Vec<Confirmation>> {
    let mut found: HashMap<EvidenceId, Vec<Confirmation>> = HashMap::new();
    for c in all {
        found.entry(c.evidence_id).or_default().push(c);
    }
    found
}

/// Shows every piece to `look`, a page at a time.
async fn each_page(
    conn: &mut PgConnection,
    bare: bool,
    mut look: impl FnMut(Evidence) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut after = EvidenceId(uuid::Uuid::nil());
    loop {
        let filter = EvidenceFilter {
            after: Some(after),
            bare,
            ..EvidenceFilter::default()
        };

        let page = store::evidence::list(conn, &filter).await?;
        let full = page.len() == PAGE;
        after = page.last().map_or(after, |e| e.evidence_id);
        page.into_iter().try_for_each(&mut look)?;
        if !full {
            return Ok(());
        }
    }
}

/// What is wrong with a piece.
fn problem(e: &Evidence, vault: &EvidenceStore) -> Option<String> {
    let Some(taken) = &e.sha256 else {
        return Some("has no hash: it was taken in before this program".to_owned());
    };
    let now = match (&e.file_path, &e.content) {
        (Some(path), _) => match vault.hash(path) {
            Ok(hash) => hash,
            Err(error) => return Some(format!("{error:#}")),
        },
        (None, content) => content
            .as_ref()
            .map(|text| evidence_store::sha256(text.as_bytes())),
    };

    match now {
        None => Some("is gone".to_owned()),
        Some(now) if now != *taken => {
            Some(format!("was changed: its hash is {now}, and was {taken}"))
        }
        Some(_) => None,
    }
}

pub(super) fn hash_list(args: &HashListArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let (all, confirmed) = with_database(globals, async |conn, _| {
        let mut all = Vec::new();
        each_page(conn, true, |e| {
            all.push(e);
            Ok(())
        })
        .await?;
        Ok((all, store::evidence::confirmations(conn, None).await?))
    })?;

    let mut list: Vec<_> = artifacts(&all)
        .into_iter()
        .map(|(artifact, _)| artifact)
        .collect();
    let confirmed = confirmations(&confirmed);
    if !confirmed.is_empty() {
        list.push(Artifact {
            name: CONFIRMATIONS.to_owned(),
            sha256: evidence_store::sha256(confirmed.as_bytes()),
        });
    }

    if args.json {
        out::json(&list)?;
        return Ok(ExitCode::SUCCESS);
    }

    let text = if args.sha256sum {
        sums(&list)
    } else {
        csv(&list)
    };

    out::deliver(args.output.as_deref(), text.as_bytes())?;
    if let Some(path) = &args.output {
        out::line(format_args!(
            "{}  {}",
            evidence_store::sha256(text.as_bytes()),
            path.display()
        ))?;
    }

    Ok(ExitCode::SUCCESS)
}
