//! The thread of a logger: moves events from the queue to the spool, and from there to the sink.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use tokio::time::{sleep, timeout};

use crate::action;
use crate::config::Builder;
use crate::event::{Category, Detail, Event, Outcome};
use crate::line::{Queued, Writer};
use crate::logger::{FIRST, Shared};
use crate::queue::QueueReader;
use crate::sink::{Sent, Sink};
use crate::spool::{Batch, Kept, Spool};

/// The most bytes of one request or statement; the ingest accepts sixteen times as much.
const BATCH_BYTES: usize = 1024 * 1024;
/// The shortest and longest pause after failed attempts.
const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Reports of losses that are remembered in case they are rejected.
const LOSS_REPORTS_MAX: usize = 1024;
/// How long a loss may stay unreported while the sink accepts events.
const REPORT_AFTER: Duration = Duration::from_secs(1);

/// The state of the thread.
pub(crate) struct Worker {
    drain: QueueDrain,
    sink: Sink,
    batch: usize,
    interval: Duration,
    /// The lines of the next batch: halved when the sink refuses one, doubled when it accepts one.
    lines: usize,
    pause: Duration,
    retry_at: Option<Instant>,
}

/// The side of the queue and the spool, which also works while a batch is being sent.
struct QueueDrain {
    shared: Arc<Shared>,
    reader: QueueReader,
    spool: Spool,
    writer: Writer,
    full: bool,
    /// All lines that were appended to the spool.
    appended: u64,
    /// The sequence numbers of the last reports of losses.
    loss_reports: VecDeque<u64>,
}

impl QueueDrain {
    /// Moves the lines of the queue to the spool.
    fn drain_queue(&mut self) {
        self.shared.read_clock();
        // In small pieces, so one failed append does not lose all lines.
        let pieces = self.reader.take_pieces(BATCH_BYTES / 2);
        self.shared
            .release_slots(pieces.iter().map(|piece| piece.lines).sum());
        let lost = self.shared.take_overflow();
        if lost > 0 {
            tracing::error!(
                events = lost,
                "the queue of audit events was full; events were dropped"
            );
            self.shared.record_loss(lost, 0);
        }

        for piece in pieces {
            self.spool_lines(piece.bytes.into(), piece.lines);
        }

        let lost = self.spool.take_lost();
        if lost > 0 {
            self.shared.record_loss(lost, 0);
        }

        self.shared.spooled.store(self.spool.lines(), Relaxed);
    }

    /// Appends as many of the lines as the spool has room for.
    fn spool_lines(&mut self, mut lines: Bytes, count: u64) {
        let full = self.spool.append(lines.clone(), count, false) == Kept::No;
        if full && count > 1 {
            let ends = memchr::memchr_iter(b'\n', &lines).nth((count / 2 - 1) as usize);
            let half = lines.split_to(ends.map_or(0, |end| end + 1));
            self.spool_lines(half, count / 2);
            self.spool_lines(lines, count - count / 2);
            return;
        }

        if full {
            self.shared.record_loss(count, 0);
        } else {
            self.appended += count;
        }

        if full && !self.full {
            tracing::error!("the audit spool is full; new events are dropped");
        }

        self.full = full;
    }

    /// Appends an event of the logger itself.
    fn append_own(&mut self, event: Event) {
        let seq = self.shared.next_seq();
        self.append_numbered(seq, event);
    }

    fn append_numbered(&mut self, seq: u64, mut event: Event) {
        let queued = &mut Queued {
            event: &mut event,
            time: SystemTime::now(),
            seq,
        };

        let mut bytes = Vec::new();
        self.writer.write_line(&mut bytes, queued);
        self.spool.append(bytes, 1, true);
        self.appended += 1;
    }

    /// Appends a report of losses, if there are any.
    fn report_losses(&mut self) {
        let losses = self.shared.take_losses();
        if losses.dropped + losses.rejected == 0 {
            return;
        }

        let mut event = Event::new(Category::System, action::AUDIT_FAILURE, Outcome::Failure)
            .detail("reason", "events were lost on their way to the audit log");
        event.put_detail("dropped".into(), Detail::Number(losses.dropped));
        event.put_detail("rejected".into(), Detail::Number(losses.rejected));
        if let Some(since) = losses.since.and_then(|since| since.elapsed().ok()) {
            event.put_detail("for_seconds".into(), Detail::Number(since.as_secs()));
        }

        let seq = self.shared.next_seq();
        self.loss_reports.truncate(LOSS_REPORTS_MAX - 1);
        self.loss_reports.push_front(seq);
        self.append_numbered(seq, event);
    }

    /// Returns whether a line is a report of losses of this run. Others may log `audit_failure`
    /// too, and losing theirs counts.
    fn is_loss_report(&self, line: &[u8]) -> bool {
        let line: serde_json::Value = serde_json::from_slice(line).unwrap_or_default();
        let seq = line["metadata"]["producer_seq"].as_u64();
        line["metadata"]["producer"] == *self.shared.producer
            && seq.is_some_and(|seq| self.loss_reports.contains(&seq))
    }
}

impl Worker {
    pub(crate) fn new(
        config: &Builder,
        shared: Arc<Shared>,
        reader: QueueReader,
        spool: Spool,
        sink: Sink,
    ) -> Self {
        let writer = reader.writer();

        Self {
            drain: QueueDrain {
                shared,
                reader,
                spool,
                writer,
                full: false,
                appended: 0,
                loss_reports: VecDeque::new(),
            },
            sink,
            batch: config.batch,
            interval: config.interval,
            lines: config.batch,
            pause: PAUSE_MIN,
            retry_at: None,
        }
    }

    /// Runs until the logger is closed. `unclean` names earlier runs that did not end cleanly.
    pub(crate) async fn run(mut self, unclean: Vec<String>) {
        let mut start = Event::new(Category::System, action::AUDIT_START, Outcome::Success);
        if !unclean.is_empty() {
            start = start.detail("unclean_end_of", unclean);
        }

        self.drain.appended = self.drain.spool.lines();
        self.drain.append_numbered(FIRST, start);
        let shared = Arc::clone(&self.drain.shared);

        // The current flush, and how many lines must be sent for it; later lines do not count.
        let mut flush: Option<(u64, u64)> = None;
        let deadline = loop {
            let flushes = shared.requested_flushes();
            let closing = shared.closing_deadline();
            self.drain.drain_queue();
            if let Some(deadline) = closing {
                break deadline;
            }

            if flush.is_none() && *shared.flushed.borrow() < flushes {
                flush = Some((flushes, self.drain.appended));
            }

            if self.is_due() {
                self.send_batch().await;
            }

            let gone = self.drain.appended.saturating_sub(self.drain.spool.lines());
            if let Some((flushes, _)) =
                flush.take_if(|(_, lines)| gone >= *lines || self.retry_at.is_some())
            {
                self.drain.spool.set_durable(self.retry_at.is_some());
                shared.flushed.send_replace(flushes);
            }

            if self.drain.spool.is_empty() || self.retry_at.is_some() {
                // The queue is checked by the clock and not for every event, so logging needs no
                // system call.
                drop(timeout(self.interval, shared.wake.notified()).await);
            }
        };

        self.shut_down(deadline).await;
    }

    fn is_due(&self) -> bool {
        !self.drain.spool.is_empty() && self.retry_at.is_none_or(|at| at <= Instant::now())
    }

    /// Sends one batch. Keeps emptying the queue in the meantime, however long it takes.
    async fn send_batch(&mut self) {
        let Some(mut batch) = self.drain.spool.peek_batch(self.lines, BATCH_BYTES) else {
            if !self.drain.spool.is_empty() {
                self.retry_at = Some(Instant::now() + self.pause);
                self.pause = (self.pause * 2).min(PAUSE_MAX);
            }
            return;
        };

        let sent = {
            let Self {
                sink,
                drain,
                interval,
                ..
            } = self;
            let sending = sink.send(&batch);
            tokio::pin!(sending);

            loop {
                tokio::select! {
                    sent = &mut sending => break sent,
                    () = sleep(*interval) => drain.drain_queue(),
                    () = drain.shared.wake.notified() => drain.drain_queue(),
                }
                if drain
                    .shared
                    .closing_deadline()
                    .is_some_and(|at| at <= Instant::now())
                {
                    break Sent::Later(None, "the program is shutting down".to_owned());
                }
            }
        };

        match sent {
            Sent::Done(rejected) => self.complete_batch(&batch, &rejected),
            Sent::Refused(why) if batch.len() > 1 => {
                tracing::debug!(
                    why,
                    lines = batch.len(),
                    "audit batch refused as a whole; retrying with fewer events"
                );
                self.lines = batch.len() / 2;
            }
            Sent::Refused(why) => {
                batch.truncate_lines(1);
                self.complete_batch(&batch, &[(0, why)]);
            }
            Sent::Later(wait, why) => self.schedule_retry(wait, &why),
        }
    }

    fn complete_batch(&mut self, batch: &Batch, rejected: &[(usize, String)]) {
        let rejected_count = rejected.len();
        let lost = rejected
            .iter()
            .filter(|(at, why)| self.keep_rejected(batch, *at, why))
            .count();
        let QueueDrain { shared, spool, .. } = &mut self.drain;
        spool.remove_batch(batch);
        shared
            .sent
            .fetch_add(batch.len().saturating_sub(rejected_count) as u64, Relaxed);

        shared.spooled.store(spool.lines(), Relaxed);
        if shared.away.swap(false, Relaxed) {
            tracing::info!(spooled = spool.lines(), "audit events are accepted again");
        }

        spool.set_durable(false);
        if lost > 0 {
            shared.record_loss(0, lost as u64);
        }

        // One report of many losses: at the end of a backlog, or once a second during it.
        if self.drain.spool.is_empty() || self.drain.shared.unreported_for() > REPORT_AFTER {
            self.drain.report_losses();
        }

        self.lines = (self.lines * 2).min(self.batch);
        self.pause = PAUSE_MIN;
        self.retry_at = None;
    }

    /// Keeps a permanently rejected line for a person to inspect. Returns whether that is a loss to
    /// report: a rejected report of losses is not, or reports would follow each other forever.
    fn keep_rejected(&self, batch: &Batch, at: usize, why: &str) -> bool {
        let Some(line) = batch.lines().nth(at) else {
            return false;
        };
        tracing::error!(why, "an audit event was permanently rejected");
        self.drain.spool.keep_rejected(line, why);
        !self.drain.is_loss_report(line)
    }

    fn schedule_retry(&mut self, wait: Option<Duration>, why: &str) {
        let shared = &self.drain.shared;
        if shared.away.swap(true, Relaxed) {
            tracing::debug!(why, "audit sink still unreachable");
        } else {
            tracing::error!(why, "cannot send audit events; spooling and retrying");
        }

        self.drain.spool.set_durable(true);
        // Vary the pause by a quarter, so not all clients retry at once.
        let jitter = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.subsec_nanos() % 1000);
        let pause = self.pause.mul_f64(0.75 + f64::from(jitter) / 2000.0);
        self.retry_at = Some(Instant::now() + wait.map_or(pause, |wait| wait.max(pause)));
        self.pause = (self.pause * 2).min(PAUSE_MAX);
    }

    /// Appends the last event of this run and sends all that can be sent until the deadline.
    async fn shut_down(mut self, deadline: Instant) {
        self.drain.reader.close_buffers();
        self.drain.drain_queue();
        self.drain.report_losses();
        self.drain.append_own(Event::new(
            Category::System,
            action::AUDIT_STOP,
            Outcome::Success,
        ));

        self.retry_at = None;
        while !self.drain.spool.is_empty() && self.retry_at.is_none() && Instant::now() < deadline {
            self.send_batch().await;
        }

        let QueueDrain { shared, spool, .. } = &mut self.drain;
        let left = spool.close_run();
        shared
            .spooled
            .store(spool.lines().saturating_sub(left), Relaxed);
        if left > 0 {
            shared.record_loss(left, 0);
        }
    }
}
