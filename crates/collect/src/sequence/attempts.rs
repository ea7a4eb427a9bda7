//! Counts each attempt to log in once, however many lines are about it.
//!
//! sshd writes `Failed METHOD for …` for most refused attempts, and then that line counts, at once.
//! Of the first keyboard-interactive attempts on an existing account it writes `error: PAM: …` only
//! (`auth_log` in its auth.c, `sshpam_query` in auth-pam.c). PAM's modules write a line before
//! sshd's, and in some logs those lines are the only ones. So the lines that may be followed by a
//! better one are held until it comes, until the connection ends, or for a while.

use std::collections::{HashMap, VecDeque};

use model::{SecurityEvent, Span, Timestamp};

use super::Taken;

/// What a line says of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// sshd's `Failed …`. Interactive: of the method that also writes `error: PAM: …`.
    Failed {
        /// Whether the method was keyboard-interactive.
        interactive: bool,
    },
    /// sshd's `error: PAM: …`.
    Interactive,
    /// A line of a PAM module, whose name has this hash.
    Module(u64),
    /// The attempt succeeded.
    Accepted,
    /// The connection ended.
    Ended,
}

/// Evidence of an attempt, and where it belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// What the line says.
    pub evidence: Evidence,
    /// A hash of the machine.
    pub host: u64,
    /// A hash of machine and process, if the line names the process.
    pub process: Option<u64>,
    /// A hash of machine and client, if the line names the client.
    pub client: Option<u64>,
    /// When the line was written.
    pub at: Timestamp,
}

/// How long a line is held. PAM delays the answer to a wrong password by some seconds.
const HOLD: Span = Span::secs(20);
/// Lines of two PAM modules within this time are about the same attempt, and so is a success.
const SAME_ATTEMPT: Span = Span::secs(5);
/// How long a connection may last without a login; sshd's default is 2 minutes.
const CONNECTION_MAX: Span = Span::secs(150);
/// Held lines. Beyond it, the oldest counts at once.
const HELD_MAX: usize = 10_000;
/// Lines about attempts after which a line of another machine is released: its clock may differ.
const OTHERS_MAX: u64 = 1000;
/// Held lines of one process that are looked at.
const SCAN_MAX: usize = 64;
/// Connections that are remembered.
const CONNECTIONS_MAX: usize = 65_536;

struct Held {
    event: SecurityEvent<'static>,
    attempt: Attempt,
    arrived: Option<Timestamp>,
    /// The number of lines about attempts before it.
    serial: u64,
    /// Attempts that no better line was about.
    left: u32,
}

/// Attempts of a connection that were counted and may be reported once more.
struct Counted {
    times: u32,
    at: Timestamp,
}

/// The held lines of a source.
#[derive(Default)]
pub(super) struct Attempts {
    held: VecDeque<Held>,
    /// The number of the first held line.
    first: u64,
    by_process: HashMap<u64, VecDeque<u64>>,
    /// Only lines of modules: they may be of a child of the process that writes the better line.
    by_client: HashMap<u64, VecDeque<u64>>,
    counted: HashMap<u64, Counted>,
    serial: u64,
    dropped: u64,
}

impl Attempts {
    /// Takes the next line. `event` is what it is if it counts.
    pub(super) fn push<'a>(
        &mut self,
        attempt: Attempt,
        event: Option<SecurityEvent<'a>>,
        arrived: Option<Timestamp>,
        events: &mut Vec<SecurityEvent<'a>>,
    ) -> Taken {
        self.serial += 1;
        self.release_old(&attempt, events);
        let times = event.as_ref().map_or(0, |event| event.occurrences.max(1));
        match (attempt.evidence, event) {
            (Evidence::Failed { interactive }, Some(event)) => {
                self.settle(&attempt, times, interactive);
                events.push(event);
                Taken::Event
            }
            (Evidence::Accepted, event) => {
                self.forget_last(&attempt);
                let taken = if event.is_some() {
                    Taken::Event
                } else {
                    Taken::Ignored
                };
                events.extend(event);
                taken
            }
            (Evidence::Interactive, Some(event)) => {
                self.drop_modules(&attempt, times);
                self.hold(attempt, event, arrived, events)
            }
            (Evidence::Module(module), Some(event)) => {
                let left = times - self.take_counted(&attempt, times);
                if left == 0 || self.is_of_held_attempt(&attempt, module) {
                    return Taken::Ignored;
                }
                let event = SecurityEvent {
                    occurrences: left,
                    ..event
                };
                self.hold(attempt, event, arrived, events)
            }
            (Evidence::Ended, _) => {
                self.end_connection(&attempt, events);
                Taken::Ignored
            }
            (_, None) => Taken::Ignored,
        }
    }

    fn hold<'a>(
        &mut self,
        attempt: Attempt,
        event: SecurityEvent<'a>,
        arrived: Option<Timestamp>,
        events: &mut Vec<SecurityEvent<'a>>,
    ) -> Taken {
        let number = self.first + self.held.len() as u64;
        if let Some(process) = attempt.process {
            self.by_process
                .entry(process)
                .or_default()
                .push_back(number);
        }
        if let (Some(client), Evidence::Module(_)) = (attempt.client, attempt.evidence) {
            self.by_client.entry(client).or_default().push_back(number);
        }

        self.held.push_back(Held {
            left: event.occurrences.max(1),
            event: event.into_owned(),
            attempt,
            arrived,
            serial: self.serial,
        });
        if self.held.len() > HELD_MAX {
            self.release_first(events);
        }

        Taken::Held
    }

    /// Accounts for attempts that sshd itself reported.
    fn settle(&mut self, attempt: &Attempt, times: u32, interactive: bool) {
        let mut left = times;
        if interactive {
            left -=
                self.drop_of_process(attempt, left, |evidence| evidence == Evidence::Interactive);
        }
        left -= self.drop_modules(attempt, left);

        let Some(process) = attempt.process.filter(|_| left > 0) else {
            return;
        };
        if self.counted.len() >= CONNECTIONS_MAX {
            let since = attempt.at.minus(CONNECTION_MAX);
            self.counted.retain(|_, counted| counted.at >= since);
            if self.counted.len() >= CONNECTIONS_MAX {
                self.counted.clear();
            }
        }

        let counted = self.counted.entry(process).or_insert(Counted {
            times: 0,
            at: attempt.at,
        });
        if attempt.at.since(counted.at) > CONNECTION_MAX {
            counted.times = 0;
        }
        counted.times = counted.times.saturating_add(left);
        counted.at = attempt.at;
    }

    /// Returns how many of these attempts were counted before.
    fn take_counted(&mut self, attempt: &Attempt, times: u32) -> u32 {
        let counted = attempt
            .process
            .and_then(|process| self.counted.get_mut(&process))
            .filter(|counted| attempt.at.since(counted.at) <= CONNECTION_MAX);
        let Some(counted) = counted else { return 0 };
        let taken = counted.times.min(times);
        counted.times -= taken;
        taken
    }

    /// Drops up to `times` attempts that modules reported: of the same process, then of the same
    /// client.
    fn drop_modules(&mut self, attempt: &Attempt, times: u32) -> u32 {
        let is_module = |evidence| matches!(evidence, Evidence::Module(_));
        let mut gone = self.drop_of_process(attempt, times, is_module);
        let Some(client) = attempt.client else {
            return gone;
        };

        while gone < times {
            let Some(number) = self
                .by_client
                .get(&client)
                .and_then(|numbers| numbers.front().copied())
            else {
                break;
            };
            gone += self.drop_held(number, times - gone);
            if !self.is_live(number)
                && let Some(numbers) = self.by_client.get_mut(&client)
            {
                numbers.pop_front();
            }
        }

        if self.by_client.get(&client).is_some_and(VecDeque::is_empty) {
            self.by_client.remove(&client);
        }
        gone
    }

    fn drop_of_process(
        &mut self,
        attempt: &Attempt,
        times: u32,
        matches: impl Fn(Evidence) -> bool,
    ) -> u32 {
        let mut gone = 0;
        for number in self.numbers_of(attempt.process) {
            if gone == times {
                break;
            }
            if self
                .get(number)
                .is_some_and(|held| matches(held.attempt.evidence))
            {
                gone += self.drop_held(number, times - gone);
            }
        }

        gone
    }

    /// Drops the attempt that has just succeeded: one module refused it before another let it pass.
    fn forget_last(&mut self, attempt: &Attempt) {
        let numbers = self.numbers_of(attempt.process);
        let last = numbers.into_iter().rev().find(|number| {
            self.get(*number)
                .is_some_and(|held| held.left > 0 && is_near(held.attempt.at, attempt.at))
        });
        if let Some(number) = last {
            self.drop_held(number, 1);
        }
    }

    /// Returns whether another module has reported the same attempt.
    fn is_of_held_attempt(&self, attempt: &Attempt, module: u64) -> bool {
        self.numbers_of(attempt.process).into_iter().any(|number| {
            self.get(number).is_some_and(|held| {
                let other = matches!(held.attempt.evidence, Evidence::Module(m) if m != module);
                other && held.left > 0 && is_near(held.attempt.at, attempt.at)
            })
        })
    }

    fn end_connection(&mut self, attempt: &Attempt, events: &mut Vec<SecurityEvent<'_>>) {
        for number in self.numbers_of(attempt.process) {
            let index = number.checked_sub(self.first).map(|index| index as usize);
            if let Some(held) = index.and_then(|index| self.held.get_mut(index))
                && held.left > 0
            {
                events.push(SecurityEvent {
                    occurrences: std::mem::take(&mut held.left),
                    ..held.event.clone()
                });
            }
        }

        if let Some(process) = attempt.process {
            // Its counted attempts stay: a module may still report their sum.
            self.by_process.remove(&process);
        }
    }

    fn numbers_of(&self, process: Option<u64>) -> Vec<u64> {
        process
            .and_then(|process| self.by_process.get(&process))
            .map(|numbers| numbers.iter().copied().take(SCAN_MAX).collect())
            .unwrap_or_default()
    }

    fn get(&self, number: u64) -> Option<&Held> {
        self.held.get(number.checked_sub(self.first)? as usize)
    }

    fn is_live(&self, number: u64) -> bool {
        self.get(number).is_some_and(|held| held.left > 0)
    }

    /// Drops up to `times` attempts of a held line and returns how many.
    fn drop_held(&mut self, number: u64, times: u32) -> u32 {
        let index = number.checked_sub(self.first).map(|index| index as usize);
        let Some(held) = index.and_then(|index| self.held.get_mut(index)) else {
            return 0;
        };
        let gone = held.left.min(times);
        held.left -= gone;
        self.dropped += u64::from(gone > 0 && held.left == 0);
        gone
    }

    fn release_first(&mut self, events: &mut Vec<SecurityEvent<'_>>) {
        let Some(held) = self.held.pop_front() else {
            return;
        };
        let number = self.first;
        self.first += 1;
        forget_number(&mut self.by_process, held.attempt.process, number);
        forget_number(&mut self.by_client, held.attempt.client, number);
        if held.left > 0 {
            events.push(SecurityEvent {
                occurrences: held.left,
                ..held.event
            });
        }
    }

    /// Releases the oldest lines once a line was written long enough after them.
    fn release_old(&mut self, newer: &Attempt, events: &mut Vec<SecurityEvent<'_>>) {
        while self.held.front().is_some_and(|held| {
            let old = held.attempt.at <= newer.at.minus(HOLD);
            let comparable =
                held.attempt.host == newer.host || held.serial + OTHERS_MAX < self.serial;
            held.left == 0 || (old && comparable)
        }) {
            self.release_first(events);
        }
    }

    pub(super) fn flush(&mut self, now: Timestamp, events: &mut Vec<SecurityEvent<'_>>) {
        while self.held.front().is_some_and(|held| {
            let since = held.arrived.unwrap_or(held.attempt.at);
            held.left == 0 || since <= now.minus(HOLD)
        }) {
            self.release_first(events);
        }
    }

    pub(super) fn finish(&mut self, events: &mut Vec<SecurityEvent<'_>>) {
        while !self.held.is_empty() {
            self.release_first(events);
        }
    }

    pub(super) fn holds_events(&self) -> bool {
        self.held.iter().any(|held| held.left > 0)
    }

    pub(super) fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }
}

fn is_near(one: Timestamp, other: Timestamp) -> bool {
    other.since(one) <= SAME_ATTEMPT && one.since(other) <= SAME_ATTEMPT
}

/// Removes the number of a released line, which is the oldest of its key.
fn forget_number(numbers: &mut HashMap<u64, VecDeque<u64>>, key: Option<u64>, number: u64) {
    let Some(key) = key else { return };
    if let Some(of_key) = numbers.get_mut(&key) {
        while of_key.front().is_some_and(|first| *first <= number) {
            of_key.pop_front();
        }
        if of_key.is_empty() {
            numbers.remove(&key);
        }
    }
}
