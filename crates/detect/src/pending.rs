//! Events about which a rule decides later, because an event that would excuse them may still
//! arrive.

use std::collections::VecDeque;

use model::{SecurityEvent, Source, Span, Timestamp};

use crate::keyed::Key;
use crate::rule::Context;

/// Events that wait at most; beyond, the oldest is decided early.
const PENDING_MAX: usize = 10_000;

/// Events that wait, oldest first.
#[derive(Debug)]
pub(crate) struct Pending {
    /// How long each waits.
    patience: Span,
    events: VecDeque<(Key, SecurityEvent<'static>)>,
}

impl Pending {
    pub(crate) const fn new(patience: Span) -> Self {
        Self {
            patience,
            events: VecDeque::new(),
        }
    }

    /// Adds an event. Returns the oldest if there are too many.
    pub(crate) fn push(
        &mut self,
        key: Key,
        event: &SecurityEvent<'_>,
    ) -> Option<(Key, SecurityEvent<'static>)> {
        self.events.push_back((key, event.clone().into_owned()));
        (self.events.len() > PENDING_MAX)
            .then(|| self.events.pop_front())
            .flatten()
    }

    /// Removes the events that are excused.
    pub(crate) fn excuse(&mut self, is_excused: impl Fn(Key, &SecurityEvent<'_>) -> bool) {
        self.events.retain(|(key, event)| !is_excused(*key, event));
    }

    /// Takes the events that have waited long enough, now that the event time of `source` has
    /// reached `now`. While windows are rebuilt they are dropped: they were decided before the
    /// restart.
    pub(crate) fn take_due(
        &mut self,
        source: Source,
        now: Timestamp,
        cx: &Context<'_>,
    ) -> Vec<(Key, SecurityEvent<'static>)> {
        if self.events.is_empty() {
            return Vec::new();
        }

        let patience = self.patience;
        let (due, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.events)
                .into_iter()
                .partition(|(_, event)| {
                    event.source == source && event.timestamp.plus(patience) <= now
                });
        self.events = rest.into();
        if cx.is_rebuilding() { Vec::new() } else { due }
    }

    /// Returns how many wait.
    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }
}
