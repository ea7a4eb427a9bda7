//! Follows systemd's journal into the database, by `journalctl`: its files are nobody else's to
//! read, and their form changes. Events and cursor commit together, so that a kill at any instant
//! neither loses an entry nor reads one twice.

use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use collect::follow::LINE_MAX;
use collect::parsers::journald::{FORMAT, find_cursor, line_id};
use collect::{Format, LineId};
use model::time::Calendar;
use model::{Clock, ServiceName, Span, TenantName, Timestamp};
use serde_json::{Value, json};
use store::sources::{Cause, Gap};
use store::{PgConnectOptions, PgConnection};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::context::TaskContext;
use crate::log_pipeline::{Beside, Intake};
use crate::supervisor::{Reader, SourceKind};
use crate::tenancy::{self, TenantSource};
use app::self_audit::{Component, Failures};

/// The kind.
pub const SOURCE: SourceKind = SourceKind {
    name: "systemd journals",
    start,
};

#[expect(
    clippy::unnecessary_wraps,
    reason = "the list takes starts that may fail"
)]
fn start(context: &TaskContext) -> anyhow::Result<Vec<Reader>> {
    let config = &context.loaded.config;
    let readers = config.collect.journals.iter().map(|journal| {
        let options = Options {
            database: context.database.engine.clone(),
            directory: journal.directory.clone(),
            every: journal.expected_interval,
            service: journal.service.clone(),
            tenant: journal.tenant().cloned(),
            keep_raw: config.collect.keep_raw,
            calendar: context.calendar.clone(),
            settle: config.detection.allowed_lateness,
            clock: Arc::clone(&context.clock),
            failures: context.failures.clone(),
        };

        Reader {
            source: Some(options.source()),
            run: Box::pin(run(options, context.stop.clone())),
        }
    });

    Ok(readers.collect())
}

/// Entries stored at once.
const BATCH: usize = 1000;
/// Entries that wait while others are stored; then `journalctl` waits.
const QUEUE: usize = 1000;
/// How long the first of a batch waits for the others.
const LINGER: Duration = Duration::from_millis(100);
/// How often entries that wait for others are looked at while no more come.
const HELD_CHECK: Duration = Duration::from_secs(1);
/// After a failure; doubles with each in a row.
const BACKOFF: Duration = Duration::from_millis(500);
const BACKOFF_MAX: Duration = Duration::from_mins(1);
/// Failures in a row that are news.
const NEWS: u32 = 5;
/// What is kept of what `journalctl` complains about.
const COMPLAINT_MAX: u64 = 4096;

/// Configuration of the journal follower.
pub struct Options {
    /// How to connect, as the engine's role.
    pub database: PgConnectOptions,
    /// The folder with the journal's files; none: this machine's.
    pub directory: Option<String>,
    /// How often it is configured to speak.
    pub every: Option<Span>,
    /// Whose events they are.
    pub service: Option<ServiceName>,
    /// Their tenant; none: `default`.
    pub tenant: Option<TenantName>,
    /// Business hours.
    pub calendar: Calendar,
    /// How far events may be out of order before they count as late.
    pub settle: Span,
    /// The age up to which raw lines are kept.
    pub keep_raw: Span,
    /// The present.
    pub clock: Arc<dyn Clock>,
    /// Where failures are recorded.
    pub failures: Failures,
}

impl Options {
    /// The source's name in the ledger, and the position's.
    pub fn name(&self) -> String {
        format!(
            "{}:{}",
            FORMAT.name,
            self.directory.as_deref().unwrap_or("journal")
        )
    }

    /// The source in the ledger.
    pub fn source(&self) -> TenantSource {
        TenantSource {
            tenant: self.tenant.clone(),
            name: self.name(),
        }
    }

    /// The command that prints the entries from the saved one on, itself included where the journal
    /// still has it: only so is it seen when it has not.
    fn command(&self, from: Option<&str>, dies_with_us: bool) -> Command {
        let mut command = Command::new(if dies_with_us {
            "setpriv"
        } else {
            "journalctl"
        });

        if dies_with_us {
            command.args(["--pdeathsig", "KILL", "journalctl"]);
        }

        command.args([
            "--follow",
            "--no-tail",
            "--quiet",
            "--no-pager",
            "--output=json",
            "--all",
        ]);

        // The cursor and the times are always there. What is not asked for, a hostile program need
        // not fill.
        command.arg(
            "--output-fields=MESSAGE,_COMM,_EXE,_UID,_TRANSPORT,_HOSTNAME,_PID,SYSLOG_FACILITY,\
                SYSLOG_IDENTIFIER",
        );
        command.args(
            self.directory
                .as_ref()
                .map(|directory| format!("--directory={directory}")),
        );
        command.args(from.map(|cursor| format!("--cursor={cursor}")));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);

        command
    }
}

/// Follows the journal until `stop` is cancelled; starts `journalctl` again from the saved cursor
/// when it has ended.
pub async fn run(options: Options, stop: CancellationToken) -> anyhow::Result<()> {
    let mut failures = 0_u32;
    loop {
        let mut stored = false;
        let Err(cause) = follow_journal(&options, &stop, &mut stored).await else {
            return Ok(());
        };

        // What gets on is no failure in a row.
        failures = if stored { 1 } else { failures + 1 };
        options.failures.not_stored(&options.name(), &cause);
        let message = format!(
            "{}: the journal is not read for now: {cause:#}",
            options.name()
        );
        error!("{message}");

        if failures == NEWS {
            options
                .failures
                .tell_of(Component::Collector, &options.name(), message);
        }

        tokio::select! {
            () = sleep(BACKOFF.saturating_mul(1 << failures.min(10)).min(BACKOFF_MAX)) => {}
            () = stop.cancelled() => return Ok(()),
        }
    }
}

/// Whether the system has what makes a child end with blueteam, even by `kill -9`. Without it,
/// `journalctl` ends at the next entry, which nobody takes.
async fn setpriv_works() -> bool {
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "true"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    matches!(timeout(Duration::from_secs(5), command.status()).await, Ok(Ok(status)) if status.success())
}

async fn follow_journal(
    options: &Options,
    stop: &CancellationToken,
    stored: &mut bool,
) -> anyhow::Result<()> {
    let (mut conn, _) = tenancy::connect(&options.database, options.tenant.as_ref()).await?;
    let format: &'static Format = &FORMAT;
    let calendar = options.calendar.clone();
    let intake = Intake::open(
        &mut conn,
        options.name(),
        format,
        options.every,
        calendar,
        options.settle,
    )
    .await?;
    let mut intake = intake
        .of_service(options.service.clone())
        .on_host(app::actor::hostname())
        .keeping_raw(options.keep_raw);
    let saved = store::log_events::position(&mut conn, &options.name()).await?;
    let from = saved
        .as_ref()
        .and_then(|at| at.get("cursor"))
        .and_then(Value::as_str);
    let mut resumption = from.map(str::to_owned);

    let mut child = options
        .command(from, setpriv_works().await)
        .spawn()
        .context("cannot start journalctl")?;
    let output = child.stdout.take().context("journalctl has no output")?;
    let (queue, mut lines) = mpsc::channel(QUEUE);
    let reading = tokio::spawn(read_output(output, queue));

    info!("{}: following", options.name());
    loop {
        let found = if intake.holds_events() {
            timeout(HELD_CHECK, next_batch(&mut lines, stop)).await
        } else {
            Ok(next_batch(&mut lines, stop).await)
        };

        match found {
            Ok(Some(mut batch)) => {
                let gap = resumption
                    .take()
                    .and_then(|cursor| resume_after(&cursor, &mut batch));
                if let Some(gap) = &gap {
                    error!("{}: {}", options.name(), gap.detail);
                }
                store_batch(options, &mut conn, &mut intake, &batch, gap).await?;
                options.failures.stalls().resumed(&options.name());
                *stored = true;
            }
            Ok(None) => break,
            Err(_) => {
                let now = options.clock.now();
                intake
                    .store(&mut conn, Vec::new(), Beside::default(), now)
                    .await?;
            }
        }
    }

    intake.finish(&mut conn, options.clock.now()).await?;
    if stop.is_cancelled() {
        return Ok(());
    }

    reading
        .await
        .context("the reader of journalctl ended with a bug")?
        .context("cannot read from journalctl")?;
    let (status, complaint) = end_child(child).await?;
    bail!(
        "journalctl ended ({status}): {}",
        model::text::sanitize(complaint.trim())
    )
}

/// The lines that are there, once there is one; none when there will be no more, or at a stop.
async fn next_batch(
    lines: &mut mpsc::Receiver<Vec<u8>>,
    stop: &CancellationToken,
) -> Option<Vec<Vec<u8>>> {
    let mut batch = Vec::new();
    tokio::select! {
        first = lines.recv() => batch.push(first?),
        () = stop.cancelled() => return None,
    }

    let (until, mut bytes) = (Instant::now() + LINGER, 0);
    while batch.len() < BATCH && bytes < LINE_MAX {
        match timeout_at(until, lines.recv()).await {
            Ok(Some(line)) => {
                bytes += line.len();
                batch.push(line);
            }
            Ok(None) | Err(_) => break,
        }
    }

    Some(batch)
}

/// Cuts the output into lines. What is longer than [`LINE_MAX`] is cut, and is then a dead letter.
async fn read_output(output: ChildStdout, queue: mpsc::Sender<Vec<u8>>) -> std::io::Result<()> {
    let mut output = BufReader::with_capacity(64 * 1024, output);
    let mut within = false;
    loop {
        let mut line = Vec::new();
        if (&mut output)
            .take(LINE_MAX as u64)
            .read_until(b'\n', &mut line)
            .await?
            == 0
        {
            return Ok(());
        }
        let (rest, ends) = (within, line.ends_with(b"\n"));
        within = !ends;
        // At its end, an unfinished line is what a killed `journalctl` had begun; its entry comes
        // again.
        if rest || (!ends && line.len() < LINE_MAX) {
            continue;
        }
        if queue.send(line).await.is_err() {
            return Ok(());
        }
    }
}

/// Takes the entry that was read last from the front of what comes after a start. Where another
/// stands there, the journal has been vacuumed: returns what is missing.
fn resume_after(saved: &str, batch: &mut Vec<Vec<u8>>) -> Option<Gap> {
    let first = find_cursor(batch.first()?)?.into_owned();
    // The same entry may be in another file, under another number.
    if line_id(&first) == line_id(saved) {
        batch.remove(0);
        return None;
    }

    let number = |cursor: &str, key: &str| {
        let part = cursor.split(';').find_map(|part| part.strip_prefix(key))?;
        u64::from_str_radix(part, 16).ok()
    };
    let time = |cursor: &str| {
        let micros = i64::try_from(number(cursor, "t=")?).ok()?;
        Some(Timestamp::from_micros(micros))
    };
    let sequence = |cursor: &str| {
        cursor
            .split(';')
            .find(|part| part.starts_with("s="))
            .map(str::to_owned)
    };

    // Numbers count within one sequence of files.
    let lost = (sequence(saved) == sequence(&first))
        .then(|| {
            number(&first, "i=")?
                .checked_sub(number(saved, "i=")?)?
                .checked_sub(1)
        })
        .flatten();
    if lost == Some(0) {
        return None;
    }

    let ended_at = time(&first);
    let started_at = time(saved).or(ended_at)?;
    let entries = lost.map_or_else(String::new, |lost| format!("{lost} entries of "));
    Some(Gap {
        cause: Cause::Rotation,
        started_at: started_at.min(ended_at.unwrap_or(started_at)),
        ended_at,
        lost,
        detail: format!(
            "{entries}the journal were removed (vacuumed) before they were read; raise \
                SystemMaxUse in journald.conf"
        ),
    })
}

async fn store_batch(
    options: &Options,
    conn: &mut PgConnection,
    intake: &mut Intake,
    batch: &[Vec<u8>],
    gap: Option<Gap>,
) -> anyhow::Result<()> {
    let last = batch.iter().rev().find_map(|line| find_cursor(line));
    let position = last.map(|cursor| store::log_events::Position {
        collector: options.name(),
        at: json!({ "cursor": cursor }),
    });

    let unknown = LineId { file: 0, offset: 0 };
    let entries = batch.iter().map(|line| {
        let id = find_cursor(line).map_or(unknown, |cursor| line_id(&cursor));
        (id, line.strip_suffix(b"\n").unwrap_or(line).into())
    });

    let beside = Beside {
        position,
        gaps: gap.into_iter().collect(),
    };

    intake
        .store(conn, entries.collect(), beside, options.clock.now())
        .await
}

/// How it ended, and what it complained about.
async fn end_child(mut child: Child) -> anyhow::Result<(ExitStatus, String)> {
    let mut complaint = Vec::new();
    if let Some(errors) = child.stderr.take() {
        // A child of its own may hold the pipe open.
        let _ = timeout(
            Duration::from_secs(1),
            errors.take(COMPLAINT_MAX).read_to_end(&mut complaint),
        )
        .await;
    }

    let status = if let Ok(status) = timeout(Duration::from_secs(5), child.wait()).await {
        status?
    } else {
        // It has closed its output, and does not go.
        child.kill().await?;
        child.wait().await?
    };

    Ok((status, String::from_utf8_lossy(&complaint).into_owned()))
}
