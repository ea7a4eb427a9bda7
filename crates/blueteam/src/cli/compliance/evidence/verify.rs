//! `blueteam compliance evidence verify` and `hash-list`.

use std::path::PathBuf;
use std::process::ExitCode;

use app::compliance::evidence_store::sha256;
use app::compliance::integrity;
use compliance::evidence::{csv, sums};

use super::super::grid::Grid;
use super::super::ids::many;
use crate::cli::out;
use crate::cli::session::{Globals, with_session};

/// Hash every piece again and name those that are not what was taken in.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  blueteam compliance evidence verify\n\nExit code: 0 all is as it was, 3 something is not, 1 failed, 2 wrong arguments."
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
  blueteam compliance evidence hash-list --sha256sum > hashes.txt
  unzip -q cmmc.zip -d cmmc && cd cmmc/evidence && sha256sum -c ../../hashes.txt

The list is of what the package of `report assessor` holds in evidence/: of each check the last
result.")]
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

pub(super) fn verify(args: &VerifyArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let state = globals.state()?;
    let verified = with_session(globals, None, async |session, _| {
        Ok(integrity::verify(session, &state).await?)
    })?;

    let wrong = &verified.altered;
    let code = if wrong.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(3)
    };

    if args.json {
        out::json(wrong)?;
        return Ok(code);
    }

    if !wrong.is_empty() {
        let mut table = Grid::new(&["id", "artifact", "problem"], &[]);
        for w in wrong {
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
        many(verified.pieces, "piece", "pieces"),
        wrong.len()
    ));

    Ok(code)
}

pub(super) fn hash_list(args: &HashListArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let list = with_session(globals, None, async |session, _| {
        Ok(integrity::hash_list(session).await?)
    })?;

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
            sha256(text.as_bytes()),
            path.display()
        ))?;
    }

    Ok(ExitCode::SUCCESS)
}
