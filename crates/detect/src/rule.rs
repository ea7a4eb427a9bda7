//! What a rule is: identity, parameters, state.

use model::event::Marks;
use model::text::{KEY_BYTES_MAX, shortened};
use model::{
    ControlId, Entity, EntityKind, RuleId, SecurityEvent, Severity, Source, Span, Timestamp,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::engine::{Counters, LATENESS};
use crate::glance::{Glance, Hints, Screen};
use crate::keyed::{Key, Names, Place};
use crate::open::{Detections, Opening, Slot};
use crate::profile::{Normal, Novelty, Profiles};
use crate::users::Users;
use crate::window::Hit;
use model::time::Calendar;

/// A rule's identity: what it is called, what it evidences, what it wants to see.
#[derive(Debug)]
pub struct Info {
    /// Its id in the database and the configuration.
    pub id: RuleId,
    /// A name for people.
    pub name: &'static str,
    /// What it detects, in a sentence.
    pub description: &'static str,
    /// How bad a detection is.
    pub severity: Severity,
    /// Controls of NIST SP 800-171 r2 that it gives evidence for.
    pub controls: &'static [ControlId],
    /// MITRE ATT&CK technique ids.
    pub attack: &'static [&'static str],
    /// It is shown the events that carry one of these marks.
    pub interest: Marks,
    /// Sources whose events can carry them: silent, they make the rule blind. Empty: whatever there
    /// is.
    pub feeds: &'static [Source],
}

/// A built-in rule: its identity and how to make it.
#[derive(Debug)]
pub struct Definition {
    /// Who it is.
    pub info: &'static Info,
    /// Its parameters with their defaults.
    pub defaults: fn() -> Value,
    /// On what it must fire and on what not ([`crate::fixtures`]).
    pub fixtures: &'static str,
    /// Makes it from its parameters.
    pub build: fn(Value, usize) -> Result<Built, serde_json::Error>,
}

/// A rule ready to run.
pub struct Built {
    /// The rule.
    pub rule: Box<dyn Rule>,
    /// How long a detection stays open when nothing extends it, unless the configuration says
    /// otherwise.
    pub cooldown: Span,
    /// How much of the past it must see again after a restart; of logins and logouts it may want
    /// more ([`Rule::remembers_logins`]).
    pub memory: Span,
}

/// A rule that runs: state, and what an event does to it.
pub trait Rule: Send {
    /// An event with one of the rule's marks.
    fn observe(&mut self, event: &SecurityEvent<'_>, cx: &mut Context<'_>);

    /// Whether an event that is of interest can concern the rule at all, by what stands in the
    /// event alone. Asked where events are read, by many threads: what is settled there costs the
    /// engine nothing.
    fn screen(&self) -> Option<Screen> {
        None
    }

    /// Whether only events matter that taught something new of a known user ([`Novelty`]).
    fn waits_for_news(&self) -> bool {
        false
    }

    /// Whether it wants to hear of time by [`Self::advance`].
    fn keeps_time(&self) -> bool {
        false
    }

    /// Whether it has something to look up ahead.
    fn looks_ahead(&self) -> bool {
        false
    }

    /// Looks up what [`Self::observe`] will need of an event that comes soon.
    fn find_ahead(&self, _glance: &Glance, _hints: &mut Hints) {}

    /// Reads what was found, so that it is at hand by then. Gives something that depends on all
    /// that was read.
    fn read_ahead(&self, _hints: Hints) -> u64 {
        0
    }

    /// How much of the past of logins and logouts it must see again after a restart, where that is
    /// more than of the rest: a day of everything is a long start.
    fn remembers_logins(&self) -> Span {
        Span::ZERO
    }

    /// Time has passed: the clock of `source` has certainly reached `now`.
    fn advance(&mut self, _source: Source, _now: Timestamp, _cx: &mut Context<'_>) {}

    /// The input has ended.
    fn finish(&mut self, _cx: &mut Context<'_>) {}

    /// How many keys it tracks and how many it gave up.
    fn usage(&self) -> Usage {
        Usage::default()
    }
}

/// What a rule holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Keys tracked.
    pub keys: usize,
    /// Keys given up at the cap.
    pub evicted: u64,
}

/// Parameters from JSON, over their defaults.
pub(crate) fn params<P: DeserializeOwned>(value: Value) -> Result<P, serde_json::Error> {
    serde_json::from_value(value)
}

/// Default parameters as JSON.
pub(crate) fn defaults<P: Default + Serialize>() -> Value {
    serde_json::to_value(P::default()).unwrap_or_default()
}

/// What a rule is given beside the event.
#[derive(Debug)]
pub struct Context<'a> {
    pub(crate) slot: u16,
    pub(crate) info: &'static Info,
    pub(crate) cooldown: Span,
    pub(crate) detections: &'a mut Detections,
    /// What is known of users.
    pub profiles: &'a mut Profiles,
    /// What the event taught us of its user; for successful events of a named user.
    pub novelty: Novelty,
    /// Business hours.
    pub calendar: &'a mut Calendar,
    /// Roles and tenants from `users.users`.
    pub users: &'a Users,
    /// Turns names into key values.
    pub names: &'a Names,
    /// Metrics.
    pub counters: &'a mut Counters,
    /// A key of the event's source that has been quiet since then may be forgotten: the rule's
    /// memory before the event.
    pub stale: Timestamp,
    /// How far events may be out of order.
    pub settle: Span,
    /// The place of the user's profile, for state that lives beside it; none for a user who never
    /// succeeded in anything.
    pub(crate) user_place: Option<Place>,
    /// The user's key, when the event names one.
    pub user: Option<Key>,
    /// The event at a glance: enough for what a rule asks of most events, without fetching the
    /// event itself.
    pub(crate) glance: &'a Glance,
    /// What was found ahead.
    pub(crate) hints: Hints,
}

/// Since when a key must have been quiet to be forgotten, at an event, by a rule that remembers so
/// much.
pub(crate) fn quiet_since(at: Timestamp, memory: Span) -> Timestamp {
    at.minus(memory).minus(LATENESS)
}

impl Context<'_> {
    /// What is normal for the event's user, when anything is known.
    pub(crate) fn normal(&self) -> Option<&Normal> {
        match self.user_place {
            Some(place) => Some(self.profiles.at(place)),
            None => self.profiles.get(self.user?),
        }
    }

    /// Whether windows are being rebuilt from a past that has been told.
    pub(crate) fn is_muted(&self) -> bool {
        self.detections.muted
    }

    /// The condition holds for `key` at `event`.
    pub fn fire(&mut self, key: Key, event: &SecurityEvent<'_>, opening: impl FnOnce() -> Opening) {
        self.fire_episode(key, 0, event, opening);
    }

    /// The same, within a sub-period of the key.
    pub fn fire_episode(
        &mut self,
        key: Key,
        episode: i64,
        event: &SecurityEvent<'_>,
        opening: impl FnOnce() -> Opening,
    ) {
        self.detections.fire(
            Slot {
                rule: self.slot,
                key,
                episode,
            },
            (self.info, self.cooldown),
            event,
            opening,
        );
    }

    /// The condition held for `key` from `from` to `to` without an event.
    pub fn fire_silence(
        &mut self,
        key: Key,
        episode: i64,
        from: Timestamp,
        to: Timestamp,
        opening: Opening,
    ) {
        let slot = Slot {
            rule: self.slot,
            key,
            episode,
        };
        self.detections
            .fire_silence(slot, (self.info, self.cooldown), opening, from, to);
    }
}

/// The most bytes of an alert's title.
const TITLE_BYTES_MAX: usize = 1_500;
/// The most bytes of an alert's description.
const DESCRIPTION_BYTES_MAX: usize = 8_000;

impl Opening {
    /// An opening about an entity. Texts are shortened: rows may hold values of many megabytes, and
    /// what an alert says goes out by mail.
    pub fn new(
        kind: EntityKind,
        value: impl std::fmt::Display,
        title: String,
        description: String,
    ) -> Self {
        Self {
            entity: Entity {
                kind,
                value: shortened(value.to_string(), KEY_BYTES_MAX),
            },
            title: shortened(title, TITLE_BYTES_MAX),
            description: shortened(description, DESCRIPTION_BYTES_MAX),
            evidence: Vec::new(),
            hold_until: None,
        }
    }

    /// With the events that make the condition hold.
    pub fn evidence(mut self, hits: impl IntoIterator<Item = Hit>) -> Self {
        self.evidence = hits.into_iter().collect();
        self
    }
}

/// A rule's parameter that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rules.{rule}{}: {message}", .key.as_ref().map(|k| format!(".{k}")).unwrap_or_default())]
pub struct ParamError {
    /// The rule.
    pub rule: String,
    /// The parameter, where it is known.
    pub key: Option<String>,
    /// What is wrong.
    pub message: String,
}
