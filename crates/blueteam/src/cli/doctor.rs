//! `blueteam doctor`: is this installation fit for its work?

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use app::doctor::{ALL, Report, Site, Verdict, bundle};
use clap::Args as _;
use comfy_table::Cell;
use model::text::counted;

use super::out::{self, Look};
use super::session::{Globals, actor};
use super::{Command, parsed};

/// Exit code when something is wrong.
const WRONG: u8 = 3;
/// Exit code when nothing is wrong, and something is doubtful or could not be looked at.
const DOUBTFUL: u8 = 4;

pub(super) const COMMAND: Command = Command {
    name: "doctor",
    arguments: Args::augment_args,
    run: |matches, globals| run(&parsed(matches), globals),
};

/// Check this installation, part by part, and say what to do where something is wrong.
///
/// Looks at versions, configuration, permissions, the daemon, the database and its settings, disk,
/// clock, ports, mail (greets the server, sends nothing), backups, certificates, sources and rules.
/// Changes and starts nothing; takes less than three seconds. Run it as the daemon's user.
///
/// Exit code: 0 all is well; 1 it cannot be told; 2 wrong arguments; 3 something is wrong; 4
/// nothing is wrong, but something is doubtful or could not be looked at.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  blueteam doctor\n  blueteam doctor --all\n  blueteam doctor --json | jq -r \
        '.parts[] | select(.verdict == \"wrong\") | .part'\n  blueteam doctor --bundle support.zip"
)]
struct Args {
    /// Every finding, also of parts that are well
    #[arg(long)]
    all: bool,
    /// As a JSON object
    #[arg(long)]
    json: bool,
    /// Write a support archive (ZIP) to this new file: what was found, configuration, state, log;
    /// secrets are replaced
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
}

fn run(args: &Args, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let state = globals.state()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // One for each part, should it hang.
        .worker_threads(ALL.len() + 1)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let examined = runtime.block_on(async {
        let site = Arc::new(Site::reach(globals.config, state, actor(None)).await?);
        let report = site.examine().await;
        let archive = match args.bundle {
            Some(_) => Some(bundle::make(&site, &report).await?),
            None => None,
        };
        site.leave().await?;
        anyhow::Ok((report, archive))
    });
    // What hangs is not waited for.
    runtime.shutdown_background();
    let (report, archive) = examined?;

    // Written before the report, whose reader may go, and complained of after it.
    let written = match (&args.bundle, &archive) {
        (Some(path), Some(archive)) => out::new_file(path, archive),
        _ => Ok(()),
    };
    if args.json {
        out::json(&report)?;
    } else {
        print_report(&report, args.all)?;
    }
    written?;
    if let Some(path) = &args.bundle {
        out::note(format_args!(
            "wrote {}; look through it before you send it to anybody",
            path.display()
        ));
    }

    Ok(match report.verdict {
        Verdict::Ok => ExitCode::SUCCESS,
        Verdict::Unknown | Verdict::Warning => ExitCode::from(DOUBTFUL),
        Verdict::Wrong => ExitCode::from(WRONG),
    })
}

fn print_report(report: &Report, all: bool) -> anyhow::Result<()> {
    let look = Look::stdout();
    let mut table = out::table(look, &["", "part", "what is so, and what to do"]);
    for part in &report.parts {
        // What is well stands in one line; what is not, with each of its findings.
        let shown = part
            .findings
            .iter()
            .enumerate()
            .filter(|(n, finding)| all || *n == 0 || finding.verdict > Verdict::Ok);
        for (n, finding) in shown {
            table.add_row([
                look.verdict(finding.verdict),
                Cell::new(if n == 0 { part.part } else { "" }),
                out::text(&finding.says),
            ]);
            if let Some(advice) = &finding.advice {
                let cells = ["", "", &format!("-> {advice}")];
                table.add_row(cells.map(out::text));
            }
        }
    }
    out::print(table)?;

    out::line("")?;
    let seconds = report.took_ms as f64 / 1000.0;
    let parts = counted(report.parts.len() as u64, "part");
    let found: Vec<String> = [Verdict::Wrong, Verdict::Warning, Verdict::Unknown]
        .into_iter()
        .map(|verdict| (report.count(verdict), verdict.as_str()))
        .filter(|(n, _)| *n > 0)
        .map(|(n, word)| format!("{n} {word}"))
        .collect();
    let sum = if found.is_empty() {
        "all is well".to_owned()
    } else {
        found.join(", ")
    };
    out::line(format_args!("{parts} looked at in {seconds:.1} s: {sum}"))
}
