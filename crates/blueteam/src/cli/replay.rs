//! `blueteam replay`: the rules over files, without a database.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::bail;
use clap::Args as _;
use collect::{Format, ParseContext};
use indicatif::ProgressBar;
use model::Network;
use model::civil::Zone;
use model::text::{clip, sanitize};
use model::{Clock as _, SystemClock};

use super::analysis::{Printer, RuleArgs, bar};
use super::out;
use super::session::Globals;
use super::{Command, parsed};
use replay::{Input, Options, Report};

pub(super) const COMMAND: Command = Command {
    name: "replay",
    arguments: Args::augment_args,
    run: |matches, globals| run(&parsed(matches), globals),
};

/// Run the detection rules over log files or standard input and show what they find. Needs no
/// database, writes nothing.
///
/// Business hours, thresholds and custom rules come from the configuration file, as for the daemon.
/// Files may be compressed with gzip or zstd; several are read in the order of their first events.
/// Output: one JSON object a line with --json or into a pipe, readable lines on a terminal; each
/// detection when it closes. Lines that were not understood are summed up on standard error.
///
/// Exit code: 0 done, whether or not something was found; 1 the input cannot be read; 2 wrong
/// arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  blueteam replay events.ndjson
  blueteam replay --format syslog /var/log/auth.log /var/log/auth.log.*.gz
  blueteam replay --format nginx /var/log/nginx/access.log
  journalctl -u ssh | blueteam replay --format syslog --rules brute_force
  blueteam replay events.ndjson.zst | jq -r '[.rule_id, .entity.value] | @tsv'")]
struct Args {
    /// Files; `-` or none is standard input
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// What a line is
    #[arg(long, default_value = "audit", value_parser = parse_format)]
    format: &'static Format,
    /// The zone of times that name none, such as America/New_York
    #[arg(long, default_value = "UTC", value_parser = parse_zone, value_name = "ZONE")]
    time_zone: Zone,
    /// A proxy, or a network of proxies, that is trusted to name the client, such as 10.0.0.0/8
    #[arg(long = "trusted-proxy", value_parser = trusted_proxy, value_name = "NETWORK")]
    trusted_proxies: Vec<Network>,
    #[command(flatten)]
    rules: RuleArgs,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    /// How many threads read lines; without it, one for each processor
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

/// More threads than this only wait for each other.
const THREADS_MAX: usize = 64;

fn parse_format(name: &str) -> Result<&'static Format, String> {
    Format::named(name).ok_or_else(|| {
        let known: Vec<&str> = collect::parsers::ALL.iter().map(|f| f.name).collect();
        format!("say one of {}", known.join(", "))
    })
}

fn parse_zone(name: &str) -> Result<Zone, String> {
    Zone::named(name).ok_or_else(|| "is not a known IANA time zone".to_owned())
}

fn trusted_proxy(text: &str) -> Result<Network, String> {
    text.parse()
        .map_err(|_| "is not an address or a network such as 10.0.0.0/8".to_owned())
}

fn run(args: &Args, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let loaded = globals.load()?;
    let now = SystemClock.now();
    let parser = (args.format.parser)(ParseContext {
        latest: now,
        zone: args.time_zone.clone(),
        arrived: None,
        trusted_proxies: args.trusted_proxies.clone(),
    });

    let mut engine = args.rules.selection().engine(&loaded.config)?;
    let inputs = replay::in_order_of_time(to_inputs(&args.files), parser.as_ref())?;
    let threads = args
        .threads
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, Into::into));
    let options = Options {
        parser: parser.as_ref(),
        entry_rules: args.format.entry_rules,
        threads: threads.clamp(1, THREADS_MAX),
        now,
        max_clock_ahead: loaded.config.ingest.max_clock_ahead,
    };

    let (read, progress) = (Arc::new(AtomicU64::new(0)), progress_bar(&inputs));
    let mut printer = Printer::new(args.json, progress.clone());
    let report = std::thread::scope(|scope| {
        let done = watch_progress(scope, &progress, &read);
        let report = replay::run_counting(
            &inputs,
            &options,
            &mut engine,
            |change| printer.show(&change),
            &read,
        );

        drop(done);
        report
    })?;

    let found = printer.finish()?;
    print_summary(&report, found, args)?;
    Ok(ExitCode::SUCCESS)
}

fn to_inputs(files: &[PathBuf]) -> Vec<Input> {
    if files.is_empty() {
        return vec![Input::Stdin];
    }

    let input = |file: &PathBuf| {
        if file == Path::new("-") {
            Input::Stdin
        } else {
            Input::File(file.clone())
        }
    };
    files.iter().map(input).collect()
}

/// A bar over the bytes of the files; for a pipe, whose length is unknown, a count.
fn progress_bar(inputs: &[Input]) -> ProgressBar {
    let size = |input: &Input| match input {
        Input::File(path) => std::fs::metadata(path).map_or(0, |m| m.len()),
        Input::Stdin => 0,
    };

    let total = inputs.iter().map(size).sum();
    if total == 0 || inputs.contains(&Input::Stdin) {
        return bar(0, "{spinner} {bytes} read  {bytes_per_sec}");
    }

    bar(
        total,
        "{bar:40} {bytes} of {total_bytes}  {bytes_per_sec}  {eta} left",
    )
}

/// Moves the bar until what it returns is dropped; the readers do no more than count.
fn watch_progress<'scope>(
    scope: &'scope std::thread::Scope<'scope, '_>,
    progress: &ProgressBar,
    read: &Arc<AtomicU64>,
) -> std::sync::mpsc::Sender<()> {
    let (done, ended) = std::sync::mpsc::channel();
    if !progress.is_hidden() {
        let (progress, read) = (progress.clone(), Arc::clone(read));
        scope.spawn(move || {
            while ended.recv_timeout(Duration::from_millis(200))
                == Err(std::sync::mpsc::RecvTimeoutError::Timeout)
            {
                progress.set_position(read.load(Ordering::Relaxed));
            }
        });
    }

    done
}

/// Says on standard error what was read, and what was not understood.
fn print_summary(report: &Report, found: u64, args: &Args) -> anyhow::Result<()> {
    for r in &report.rejects {
        out::note(format_args!(
            "{}:{}: {}",
            sanitize(&r.input),
            r.line,
            sanitize(&clip(&r.reason, 300))
        ));
    }

    let more = report.rejected.saturating_sub(report.rejects.len() as u64);
    if more > 0 {
        out::note(format_args!(
            "and {more} more lines that were not understood"
        ));
    }

    if report.events == 0 && report.rejected > 0 {
        let lines = report.rejected;
        let known: Vec<&str> = collect::parsers::ALL.iter().map(|f| f.name).collect();
        bail!(
            "none of {lines} lines is of the format `{}`; --format knows {}",
            args.format.name,
            known.join(", ")
        );
    }

    if report.clock_skew > 0 {
        out::note(format_args!(
            "{} events lay in the future; their time was replaced",
            report.clock_skew
        ));
    }

    if !args.json || report.rejected > 0 {
        let (lines, events, rejected) = (report.lines, report.events, report.rejected);
        let n = |n: u64, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
        let (lines, events, found) = (n(lines, "line"), n(events, "event"), n(found, "detection"));
        out::note(format_args!(
            "{lines}, {events}, {rejected} rejected, {found}"
        ));
    }

    Ok(())
}
