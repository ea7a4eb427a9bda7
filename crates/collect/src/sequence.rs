//! What a line means only together with the lines around it: an hour that clocks show twice, a
//! message that was repeated, and several lines about one attempt to log in.
//!
//! Parsers are stateless and attach a [`Note`] to such lines. A [`Sequencer`] reads the notes in
//! the order of the lines.

mod attempts;

use std::collections::HashMap;

use model::civil::Readings;
use model::{SecurityEvent, Span, Timestamp};

pub use attempts::{Attempt, Evidence};

use crate::{LineId, Parsed};
use attempts::Attempts;

/// A line as its parser understood it.
#[derive(Debug, PartialEq)]
pub struct Line<'a> {
    /// What it means by itself.
    pub parsed: Parsed<'a>,
    /// What it means to the lines around it.
    pub note: Option<Note>,
}

impl<'a> Line<'a> {
    /// A line that stands for itself, except for its time.
    pub(crate) fn at(parsed: Parsed<'a>, readings: Option<Readings>) -> Self {
        let note = readings
            .filter(|readings| readings.second.is_some())
            .map(|readings| Note::new(0, Some(readings), Kind::Plain));
        Self { parsed, note }
    }

    /// Names the machine that logged the line.
    pub(crate) fn of_host(mut self, host: &[u8]) -> Self {
        if let Some(note) = &mut self.note {
            note.host = hash_parts(&[host]);
        }
        self
    }
}

impl<'a> From<Parsed<'a>> for Line<'a> {
    fn from(parsed: Parsed<'a>) -> Self {
        Self { parsed, note: None }
    }
}

/// What a line means to the lines around it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Note {
    /// A hash of the machine that logged it, or 0.
    host: u64,
    /// When it was written; `None` where the sender had no clock.
    readings: Option<Readings>,
    kind: Kind,
}

/// The kind of a note.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    /// Only its time concerns other lines.
    Plain,
    /// The line before was repeated so many times.
    Repeated(u32),
    /// It is evidence of an attempt to log in.
    Attempt(Attempt),
}

impl Note {
    pub(crate) const fn new(host: u64, readings: Option<Readings>, kind: Kind) -> Self {
        Self {
            host,
            readings,
            kind,
        }
    }
}

/// Returns a hash (FNV-1a) of texts that identify a machine, a process or a client.
pub(crate) fn hash_parts(parts: &[&[u8]]) -> u64 {
    parts.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, part| {
        let hash = part.iter().fold(hash, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        // Keeps `ab`, `c` apart from `a`, `bc`.
        (hash ^ 0x1ff).wrapping_mul(0x0100_0000_01b3)
    })
}

/// How a line that has been pushed is to be counted.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is an event, which was pushed.
    Event,
    /// It means nothing, or repeats what other lines say.
    Ignored,
    /// It may be an event. Other lines will tell.
    Held,
    /// It was not understood, for this reason.
    Rejected(String),
}

/// The place of a line among all lines of its source.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Its number. Lines that follow one another differ by one.
    pub number: u64,
    /// Makes the ID of its event.
    pub id: LineId,
    /// When it arrived; `None` in a replay.
    pub arrived: Option<Timestamp>,
}

/// The last line about an attempt to log in.
struct Last {
    number: u64,
    host: u64,
    event: LastEvent,
    attempt: Attempt,
}

/// The event of the last line, should the next one say that it is repeated.
enum LastEvent {
    Copy(Box<SecurityEvent<'static>>),
    /// It is in the list of the batch, at this place. A copy of each event that is nearly never
    /// repeated costs more than to parse its line.
    Listed(usize),
}

/// How the last event is kept.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keep {
    Copy,
    Place,
}

/// Reads the lines of a source in order.
#[derive(Default)]
pub struct Sequencer {
    clock: FoldClock,
    attempts: Attempts,
    last: Option<Last>,
}

impl std::fmt::Debug for Sequencer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sequencer").finish_non_exhaustive()
    }
}

impl Sequencer {
    /// Continues a file whose newest event has this time.
    pub fn of_file(newest: Option<Timestamp>) -> Self {
        Self {
            clock: FoldClock {
                floor: newest.unwrap_or(Timestamp::MIN),
                ..FoldClock::default()
            },
            ..Self::default()
        }
    }

    /// Reads lines that are sent when they are written.
    pub fn of_socket() -> Self {
        Self {
            clock: FoldClock {
                by_arrival: true,
                ..FoldClock::default()
            },
            ..Self::default()
        }
    }

    /// Begins another file of the same log: its lines may be older.
    pub fn begin_file(&mut self) {
        self.clock.newest.clear();
        self.last = None;
    }

    /// Pushes the next line. Events are appended to `events`: the line's, or those of earlier
    /// lines, once it is certain that they are events.
    pub fn push<'a>(
        &mut self,
        line: Line<'a>,
        place: Place,
        events: &mut Vec<SecurityEvent<'a>>,
    ) -> Taken {
        self.take(line, place, events, Keep::Copy)
    }

    /// The same for lines of a batch, whose `events` stay as they are until [`Self::end_batch`].
    pub fn push_in_batch<'a>(
        &mut self,
        line: Line<'a>,
        place: Place,
        events: &mut Vec<SecurityEvent<'a>>,
    ) -> Taken {
        self.take(line, place, events, Keep::Place)
    }

    /// Ends a batch: what the next one may ask for is copied.
    pub fn end_batch(&mut self, events: &[SecurityEvent<'_>]) {
        self.last = self.last.take().and_then(|last| {
            let event = match last.event {
                LastEvent::Listed(place) => {
                    LastEvent::Copy(Box::new(events.get(place)?.clone().into_owned()))
                }
                copy @ LastEvent::Copy(_) => copy,
            };
            Some(Last { event, ..last })
        });
    }

    fn take<'a>(
        &mut self,
        line: Line<'a>,
        place: Place,
        events: &mut Vec<SecurityEvent<'a>>,
        keep: Keep,
    ) -> Taken {
        let mut event = match line.parsed {
            Parsed::Event(event) => Some(event),
            Parsed::Nothing => None,
            Parsed::Rejected(reason) => return Taken::Rejected(reason),
        };

        let Some(note) = line.note else {
            let taken = if event.is_some() {
                Taken::Event
            } else {
                Taken::Ignored
            };
            events.extend(event);
            return taken;
        };

        let at = match note.kind {
            Kind::Repeated(_) => None,
            Kind::Plain | Kind::Attempt(_) => note
                .readings
                .filter(|readings| readings.second.is_some())
                .map(|readings| self.clock.resolve(note.host, readings, place.arrived)),
        };
        if let (Some(at), Some(event)) = (at, &mut event) {
            set_time(event, at, place.id);
        }

        match note.kind {
            Kind::Plain => {
                let taken = if event.is_some() {
                    Taken::Event
                } else {
                    Taken::Ignored
                };
                events.extend(event);
                taken
            }
            Kind::Attempt(attempt) => {
                let attempt = Attempt {
                    at: at.unwrap_or(attempt.at),
                    ..attempt
                };
                let id = event.as_ref().map(|event| event.event_id);
                // An event that is held for other lines is in no list yet.
                let is_listed = keep == Keep::Place
                    && matches!(
                        attempt.evidence,
                        Evidence::Failed { .. } | Evidence::Accepted
                    );
                let copy = event
                    .as_ref()
                    .filter(|_| !is_listed)
                    .map(|event| LastEvent::Copy(Box::new(event.clone().into_owned())));
                let taken = self.attempts.push(attempt, event, place.arrived, events);
                let listed = || {
                    events
                        .last()
                        .filter(|event| Some(event.event_id) == id)
                        .map(|_| LastEvent::Listed(events.len() - 1))
                };
                self.last = copy.or_else(listed).map(|event| Last {
                    number: place.number,
                    host: note.host,
                    event,
                    attempt,
                });
                taken
            }
            Kind::Repeated(times) => self.repeat(times, note, place, events),
        }
    }

    /// Repeats the event of the line before, if it was one.
    fn repeat(
        &mut self,
        times: u32,
        note: Note,
        place: Place,
        events: &mut Vec<SecurityEvent<'_>>,
    ) -> Taken {
        let before = self.last.take().filter(|last| {
            let same_host = note.host == 0 || last.host == note.host;
            same_host && last.number.wrapping_add(1) == place.number
        });
        let (Some(before), true) = (before, times > 0) else {
            return Taken::Ignored;
        };

        let mut event = match before.event {
            LastEvent::Copy(event) => *event,
            LastEvent::Listed(place) => match events.get(place) {
                Some(event) => event.clone().into_owned(),
                None => return Taken::Ignored,
            },
        };
        event.occurrences = event.occurrences.max(1).saturating_mul(times);
        let at = match note.readings {
            Some(readings) => self.clock.resolve(before.host, readings, place.arrived),
            None => event.timestamp,
        };
        set_time(&mut event, at, place.id);
        let attempt = Attempt {
            at,
            ..before.attempt
        };
        self.attempts
            .push(attempt, Some(event), place.arrived, events)
    }

    /// Appends the held events whose lines arrived too long before `now` for another line to say
    /// the same.
    pub fn flush(&mut self, now: Timestamp, events: &mut Vec<SecurityEvent<'_>>) {
        self.attempts.flush(now, events);
    }

    /// Appends all held events. Call it at the end of the source.
    pub fn finish(&mut self, events: &mut Vec<SecurityEvent<'_>>) {
        self.attempts.finish(events);
    }

    /// Returns whether events are held.
    pub fn holds_events(&self) -> bool {
        self.attempts.holds_events()
    }

    /// Returns how many held lines turned out to repeat others since the last call.
    pub fn take_dropped(&mut self) -> u64 {
        self.attempts.take_dropped()
    }
}

fn set_time(event: &mut SecurityEvent<'_>, at: Timestamp, id: LineId) {
    event.timestamp = at;
    event.event_id = id.event_id(at);
}

/// Tells apart the two passes of an hour that clocks show twice.
#[derive(Default)]
struct FoldClock {
    /// Whether lines arrive when they are written.
    by_arrival: bool,
    /// The newest time before the first line.
    floor: Timestamp,
    /// The newest such time of each machine.
    newest: HashMap<u64, Timestamp>,
}

impl FoldClock {
    /// Lines that are older than those before them by less than this are only out of order.
    const DISORDER: Span = Span::mins(1);
    /// Machines that are remembered.
    const HOSTS_MAX: usize = 4096;

    /// Returns the time of a line: the one that is nearer to its arrival, otherwise the earlier one
    /// unless lines before it are newer.
    fn resolve(&mut self, host: u64, readings: Readings, arrived: Option<Timestamp>) -> Timestamp {
        let Readings { first, second } = readings;
        let Some(second) = second else { return first };
        if let Some(arrived) = arrived.filter(|_| self.by_arrival) {
            let middle = first.plus(Span::micros(second.since(first).as_micros() / 2));
            return if arrived < middle { first } else { second };
        }

        if self.newest.len() >= Self::HOSTS_MAX && !self.newest.contains_key(&host) {
            self.newest.clear();
        }
        let newest = self.newest.entry(host).or_insert(self.floor);
        let at = if first < newest.minus(Self::DISORDER) {
            second
        } else {
            first
        };
        *newest = at.max(*newest);
        at
    }
}

#[cfg(test)]
mod tests;
