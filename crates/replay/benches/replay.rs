//! Replay against a parse-only floor and rsigma, and the engine alone. See `make bench`.
//!
//! `replay floor FILE`, `replay engine FILE`, `replay full FILE [THREADS]`; `replay workload
//! EVENTS` and `replay storm EVENTS`, which print events; and `replay memory ADDRESSES`, which
//! prints bytes per key, peak megabytes, keys tracked and keys evicted.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark prints its results and stops when it cannot run"
)]

use std::collections::HashMap;
use std::time::Instant;

use collect::{Format, LineId, ParseContext, Parsed};
use detect::{Engine, Settings};
use model::{Clock, Span, SystemClock};
use replay::{Input, Options, run};
use serde::Deserialize;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The minimum work per event: parse it into a struct and look up one field.
#[derive(Deserialize)]
struct Floor<'a> {
    event_id: &'a str,
    timestamp: &'a str,
    category: &'a str,
    action: &'a str,
    result: &'a str,
    user_id: Option<&'a str>,
    session_id: Option<&'a str>,
    ip_address: Option<&'a str>,
    user_agent: Option<&'a str>,
    resource_type: Option<&'a str>,
    resource_id: Option<&'a str>,
    instance_id: Option<&'a str>,
    cui_accessed: bool,
    #[serde(borrow)]
    metadata: sonic_rs::LazyValue<'a>,
}

fn run_floor(data: &[u8]) -> u64 {
    let mut counts: HashMap<&str, u64> = HashMap::new();
    let mut bytes = 0;
    let mut start = 0;
    for end in memchr::memchr_iter(b'\n', data) {
        let line = &data[std::mem::replace(&mut start, end + 1)..end];
        let e: Floor<'_> = sonic_rs::from_slice(line).expect("the workload is valid");
        let texts = [
            e.session_id,
            e.ip_address,
            e.user_agent,
            e.resource_type,
            e.resource_id,
            e.instance_id,
        ];

        bytes += texts.into_iter().flatten().map(str::len).sum::<usize>()
            + e.event_id.len()
            + e.timestamp.len();
        bytes += e.category.len()
            + e.action.len()
            + e.result.len()
            + usize::from(e.cui_accessed)
            + e.metadata.as_raw_str().len();

        *counts.entry(e.user_id.unwrap_or_default()).or_default() += 1;
    }

    std::hint::black_box(bytes);
    counts.values().sum()
}

/// Times the engine alone. Events are parsed some thousands at a time, with their headers, outside
/// of the timed part: in a replay they come from the cache too.
fn run_engine(data: &[u8]) -> (u64, f64) {
    const AT_ONCE: usize = 2048;
    let parser =
        (Format::named("audit").expect("known").parser)(ParseContext::utc(SystemClock.now()));
    let lines: Vec<&[u8]> = data
        .split(|b| *b == b'\n')
        .filter(|line| !line.is_empty())
        .collect();
    let mut runs: Vec<f64> = (0..3)
        .map(|_| {
            let mut engine = Engine::new(Settings::default()).expect("the defaults are valid");
            let mut prefilter = engine.prefilter();
            let mut spent = std::time::Duration::ZERO;
            for lines in lines.chunks(AT_ONCE) {
                let events: Vec<_> = lines
                    .iter()
                    .filter_map(
                        |line| match parser.parse(line, LineId { file: 0, offset: 0 }) {
                            Parsed::Event(event) => Some(event),
                            _ => None,
                        },
                    )
                    .collect();
                let headers: Vec<_> = events
                    .iter()
                    .map(|event| prefilter.header_of(event))
                    .collect();

                let began = Instant::now();
                engine.push_all(&events, &headers);
                spent += began.elapsed();
                engine.drain(true, |change| drop(std::hint::black_box(change)));
            }

            spent.as_secs_f64()
        })
        .collect();

    runs.sort_by(f64::total_cmp);
    eprintln!("engine runs: {runs:?}");
    (lines.len() as u64, runs[1])
}

fn run_full(file: &str, threads: usize) -> u64 {
    let now = SystemClock.now();
    let parser = (Format::named("audit").expect("known").parser)(ParseContext::utc(now));
    let mut engine = Engine::new(Settings::default()).expect("the defaults are valid");
    let options = Options {
        parser: parser.as_ref(),
        entry_rules: None,
        threads,
        now,
        max_clock_ahead: Span::mins(5),
    };

    let report = run(
        &[Input::File(file.into())],
        &options,
        &mut engine,
        |change| drop(std::hint::black_box(change)),
    );
    report.expect("the workload can be read").events
}

/// Writes failed logins from 1,000 addresses, one per millisecond. Every rule about them fires for
/// every address.
fn write_storm(out: &mut impl std::io::Write, events: u64) -> std::io::Result<()> {
    let start = SystemClock.now().minus(Span::hours(2));
    for n in 0..events {
        let at = start.plus(Span::micros(n as i64 * 1000));
        let from = n % 1000;
        let account = n % 50_000;
        writeln!(
            out,
            "{{\"event_id\":\"019c0000-0000-7000-8000-{n:012x}\",\"timestamp\":\"{at}\",\
             \"category\":\"auth\",\"action\":\"login_failed\",\
             \"result\":\"failure\",\"ip_address\":\"198.51.{}.{}\",\"user_agent\":\"Mozilla/5.0 \
             (X11; Linux x86_64) Chrome/120.0.0.0\",\
             \"resource_type\":\"/login\",\"metadata\":{{\"username\":\"user{account}\"}}}}",
            from / 250,
            from % 250
        )?;
    }

    Ok(())
}

/// Returns the peak memory of this process in bytes.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .expect("Linux");
    line.trim()
        .trim_end_matches(" kB")
        .parse::<u64>()
        .expect("a number")
        * 1024
}

/// Prints the memory of `brute_force` per key when `addresses` fail once each within its window.
fn print_memory_per_key(addresses: u32) {
    let settings = Settings {
        only: vec!["brute_force".to_owned()],
        ..Settings::default()
    };

    let mut engine = Engine::new(settings).expect("the defaults are valid");
    let parser =
        (Format::named("audit").expect("known").parser)(ParseContext::utc(SystemClock.now()));
    let line = "{\"event_id\":\"019c0000-0000-7000-8000-000000000001\",\
                \"timestamp\":\"2026-03-04T00:00:00Z\",\"category\":\"auth\",\"action\":\"login_failed\",\"result\":\"failure\"}";
    let Parsed::Event(event) = parser.parse(line.as_bytes(), LineId { file: 0, offset: 0 }) else {
        unreachable!("the line is an event")
    };
    let before = peak_memory();

    for n in 0..addresses {
        // All within a minute, so that no key becomes stale.
        let at = event.timestamp.plus(Span::micros(
            i64::from(n) * 60_000_000 / i64::from(addresses),
        ));
        let ip = Some(std::net::Ipv4Addr::from(0x0a00_0000 + n).into());
        engine.push(&model::SecurityEvent {
            timestamp: at,
            ip_address: ip,
            ..event.clone()
        });
    }

    let usage = engine
        .status()
        .into_iter()
        .find(|s| s.rule_id.as_str() == "brute_force")
        .expect("it runs")
        .usage;
    let grown = peak_memory() - before;
    println!(
        "{} {} {} {}",
        grown / usage.keys.max(1) as u64,
        peak_memory() / 1_000_000,
        usage.keys,
        usage.evicted
    );
}

fn main() {
    // Cargo adds --bench.
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let began = Instant::now();
    let (events, secs) = match args.as_slice() {
        ["workload", events] => {
            let mut out = std::io::BufWriter::with_capacity(1 << 20, std::io::stdout().lock());
            scenario::write_workload(&mut out, events.parse().expect("a number"), 20_000, 7)
                .expect("written");
            return;
        }
        ["storm", events] => {
            let mut out = std::io::BufWriter::with_capacity(1 << 20, std::io::stdout().lock());
            return write_storm(&mut out, events.parse().expect("a number")).expect("written");
        }
        ["memory", addresses] => return print_memory_per_key(addresses.parse().expect("a number")),
        ["floor", file] => {
            let data = std::fs::read(file).expect("readable");
            let began = Instant::now();
            (run_floor(&data), began.elapsed().as_secs_f64())
        }
        ["engine", file] => run_engine(&std::fs::read(file).expect("readable")),
        ["full", file] => (run_full(file, 1), began.elapsed().as_secs_f64()),
        ["full", file, threads] => (
            run_full(file, threads.parse().expect("a number")),
            began.elapsed().as_secs_f64(),
        ),
        _ => {
            eprintln!(
                "usage: replay (floor|engine|full) FILE, workload EVENTS, or memory ADDRESSES; \
                    `make bench` runs all"
            );
            return;
        }
    };

    println!("{:.0}", events as f64 / secs);
}
