//! The thread behind a logger: queue to spool, spool to sink.

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
use crate::queue::Takings;
use crate::sink::{Sent, Sink};
use crate::spool::{Batch, Kept, Spool};

/// The most bytes of one request or statement; the ingest takes sixteen times as much.
const BATCH_BYTES: usize = 1024 * 1024;
/// The pauses after failed attempts.
const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Words about losses that are remembered, in case they are refused.
const WORDS: usize = 1024;
/// How long a loss may stay untold while the sink takes events.
const TELL_AFTER: Duration = Duration::from_secs(1);

/// See the module.
pub(crate) struct Worker {
    intake: Intake,
    sink: Sink,
    batch: usize,
    interval: Duration,
    /// As many lines as the sink takes at once; halved when it refuses, doubled when it does not.
    lines: usize,
    pause: Duration,
    retry_at: Option<Instant>,
}

/// What goes on while a batch is on its way.
struct Intake {
    shared: Arc<Shared>,
    takings: Takings,
    spool: Spool,
    writer: Writer,
    full: bool,
    /// Lines that the spool took, in all.
    kept: u64,
    /// The numbers of the last words about losses.
    words: VecDeque<u64>,
}

impl Intake {
    /// Brings what the queue holds into the spool.
    fn take(&mut self) {
        self.shared.read_clock();
        // Not too much at once, so that one failed append does not cost all.
        let pieces = self.takings.take(BATCH_BYTES / 2);
        self.shared
            .have_gone(pieces.iter().map(|piece| piece.lines).sum());
        let lost = self.shared.take_overflow();
        if lost > 0 {
            tracing::error!(
                events = lost,
                "the queue of audit events was full; they are lost"
            );
            self.shared.lose(lost, 0);
        }

        for piece in pieces {
            self.keep(piece.bytes.into(), piece.lines);
        }

        let lost = self.spool.take_lost();
        if lost > 0 {
            self.shared.lose(lost, 0);
        }

        self.shared.spooled.store(self.spool.lines(), Relaxed);
    }

    /// As much of it as the spool has room for.
    fn keep(&mut self, mut lines: Bytes, count: u64) {
        let full = self.spool.append(lines.clone(), count, false) == Kept::No;
        if full && count > 1 {
            let ends = memchr::memchr_iter(b'\n', &lines).nth((count / 2 - 1) as usize);
            let half = lines.split_to(ends.map_or(0, |end| end + 1));
            self.keep(half, count / 2);
            self.keep(lines, count - count / 2);
            return;
        }

        if full {
            self.shared.lose(count, 0);
        } else {
            self.kept += count;
        }

        if full && !self.full {
            tracing::error!("the audit spool is full; from now on events are lost");
        }

        self.full = full;
    }

    /// An event of the logger's own.
    fn tell(&mut self, event: Event) {
        let seq = self.shared.next_seq();
        self.tell_as(seq, event);
    }

    fn tell_as(&mut self, seq: u64, mut event: Event) {
        let queued = &mut Queued {
            event: &mut event,
            time: SystemTime::now(),
            seq,
        };

        let mut bytes = Vec::new();
        self.writer.write(&mut bytes, queued);
        self.spool.append(bytes, 1, true);
        self.kept += 1;
    }

    /// Tells what was lost, if anything was.
    fn tell_losses(&mut self) {
        let losses = self.shared.take_losses();
        if losses.dropped + losses.rejected == 0 {
            return;
        }

        let mut event = Event::new(Category::System, action::AUDIT_FAILURE, Outcome::Failure)
            .detail("reason", "events were lost on their way to the audit log");
        event.put("dropped".into(), Detail::Number(losses.dropped));
        event.put("rejected".into(), Detail::Number(losses.rejected));
        if let Some(since) = losses.since.and_then(|since| since.elapsed().ok()) {
            event.put("for_seconds".into(), Detail::Number(since.as_secs()));
        }

        let seq = self.shared.next_seq();
        self.words.truncate(WORDS - 1);
        self.words.push_front(seq);
        self.tell_as(seq, event);
    }

    /// Whether a line is a word of this run about losses. Others may say `audit_failure` too, and
    /// theirs count.
    fn is_word(&self, line: &[u8]) -> bool {
        let line: serde_json::Value = serde_json::from_slice(line).unwrap_or_default();
        let seq = line["metadata"]["producer_seq"].as_u64();
        line["metadata"]["producer"] == *self.shared.producer
            && seq.is_some_and(|seq| self.words.contains(&seq))
    }
}

impl Worker {
    pub(crate) fn new(
        config: &Builder,
        shared: Arc<Shared>,
        takings: Takings,
        spool: Spool,
        sink: Sink,
    ) -> Self {
        let writer = takings.writer();
        Self {
            intake: Intake {
                shared,
                takings,
                spool,
                writer,
                full: false,
                kept: 0,
                words: VecDeque::new(),
            },
            sink,
            batch: config.batch,
            interval: config.interval,
            lines: config.batch,
            pause: PAUSE_MIN,
            retry_at: None,
        }
    }

    /// Runs until the logger is closed. `unclean`: runs before this one that did not end as they
    /// should.
    pub(crate) async fn run(mut self, unclean: Vec<String>) {
        let mut start = Event::new(Category::System, action::AUDIT_START, Outcome::Success);
        if !unclean.is_empty() {
            start = start.detail("unclean_end_of", unclean);
        }

        self.intake.kept = self.intake.spool.lines();
        self.intake.tell_as(FIRST, start);
        let shared = Arc::clone(&self.intake.shared);

        // The flush under way, and how many lines are to be gone for it: others may come for ever.
        let mut flush: Option<(u64, u64)> = None;
        let deadline = loop {
            let flushes = shared.flushes();
            let closing = shared.deadline();
            self.intake.take();
            if let Some(deadline) = closing {
                break deadline;
            }
            if flush.is_none() && *shared.flushed.borrow() < flushes {
                flush = Some((flushes, self.intake.kept));
            }
            if self.is_due() {
                self.send().await;
            }
            let gone = self.intake.kept.saturating_sub(self.intake.spool.lines());
            if let Some((flushes, _)) =
                flush.take_if(|(_, lines)| gone >= *lines || self.retry_at.is_some())
            {
                self.intake.spool.set_durable(self.retry_at.is_some());
                shared.flushed.send_replace(flushes);
            }
            if self.intake.spool.is_empty() || self.retry_at.is_some() {
                // The queue is looked at by the clock and not at every event: so logging costs its
                // caller no system call.
                drop(timeout(self.interval, shared.wake.notified()).await);
            }
        };

        self.end(deadline).await;
    }

    fn is_due(&self) -> bool {
        !self.intake.spool.is_empty() && self.retry_at.is_none_or(|at| at <= Instant::now())
    }

    /// Sends one batch. The queue is emptied meanwhile, however long it takes.
    async fn send(&mut self) {
        let Some(mut batch) = self.intake.spool.peek(self.lines, BATCH_BYTES) else {
            if !self.intake.spool.is_empty() {
                self.retry_at = Some(Instant::now() + self.pause);
                self.pause = (self.pause * 2).min(PAUSE_MAX);
            }
            return;
        };

        let sent = {
            let Self {
                sink,
                intake,
                interval,
                ..
            } = self;
            let sending = sink.send(&batch);
            tokio::pin!(sending);

            loop {
                tokio::select! {
                    sent = &mut sending => break sent,
                    () = sleep(*interval) => intake.take(),
                    () = intake.shared.wake.notified() => intake.take(),
                }
                if intake
                    .shared
                    .deadline()
                    .is_some_and(|at| at <= Instant::now())
                {
                    break Sent::Later(None, "the program ends".to_owned());
                }
            }
        };

        match sent {
            Sent::Done(rejected) => self.is_done(&batch, &rejected),
            Sent::Refused(why) if batch.len() > 1 => {
                tracing::debug!(
                    why,
                    lines = batch.len(),
                    "audit events are refused as a whole; sending fewer at once"
                );
                self.lines = batch.len() / 2;
            }
            Sent::Refused(why) => {
                batch.shorten(1);
                self.is_done(&batch, &[(0, why)]);
            }
            Sent::Later(wait, why) => self.is_away(wait, &why),
        }
    }

    fn is_done(&mut self, batch: &Batch, rejected: &[(usize, String)]) {
        let told = rejected.len();
        let lost = rejected
            .iter()
            .filter(|(at, why)| self.bury(batch, *at, why))
            .count();
        let Intake { shared, spool, .. } = &mut self.intake;
        spool.advance(batch);
        shared
            .sent
            .fetch_add(batch.len().saturating_sub(told) as u64, Relaxed);

        shared.spooled.store(spool.lines(), Relaxed);
        if shared.away.swap(false, Relaxed) {
            tracing::info!(spooled = spool.lines(), "audit events are taken again");
        }

        spool.set_durable(false);
        if lost > 0 {
            shared.lose(0, lost as u64);
        }

        // One word about many losses: at the end of a backlog, or once a second in it.
        if self.intake.spool.is_empty() || self.intake.shared.lost_for() > TELL_AFTER {
            self.intake.tell_losses();
        }

        self.lines = (self.lines * 2).min(self.batch);
        self.pause = PAUSE_MIN;
        self.retry_at = None;
    }

    /// Puts a line that is refused for good where a person finds it. Whether that is a loss to be
    /// told: a refused word about losses is not, or one would follow the other for ever.
    fn bury(&self, batch: &Batch, at: usize, why: &str) -> bool {
        let Some(line) = batch.lines().nth(at) else {
            return false;
        };
        tracing::error!(why, "an audit event is refused for good");
        self.intake.spool.bury(line, why);
        !self.intake.is_word(line)
    }

    fn is_away(&mut self, wait: Option<Duration>, why: &str) {
        let shared = &self.intake.shared;
        if shared.away.swap(true, Relaxed) {
            tracing::debug!(why, "audit events are still not taken");
        } else {
            tracing::error!(why, "audit events are not taken; they are spooled");
        }

        self.intake.spool.set_durable(true);
        // A quarter more or less, so that not all come back at once.
        let odd = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.subsec_nanos() % 1000);
        let pause = self.pause.mul_f64(0.75 + f64::from(odd) / 2000.0);
        self.retry_at = Some(Instant::now() + wait.map_or(pause, |wait| wait.max(pause)));
        self.pause = (self.pause * 2).min(PAUSE_MAX);
    }

    /// The last word of this run, and all that can be sent until then.
    async fn end(mut self, deadline: Instant) {
        self.intake.takings.close();
        self.intake.take();
        self.intake.tell_losses();
        self.intake.tell(Event::new(
            Category::System,
            action::AUDIT_STOP,
            Outcome::Success,
        ));
        self.retry_at = None;
        while !self.intake.spool.is_empty() && self.retry_at.is_none() && Instant::now() < deadline
        {
            self.send().await;
        }
        let Intake { shared, spool, .. } = &mut self.intake;
        let left = spool.close();
        shared
            .spooled
            .store(spool.lines().saturating_sub(left), Relaxed);
        if left > 0 {
            shared.lose(left, 0);
        }
    }
}
