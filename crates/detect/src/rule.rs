//! Rules: identity, parameters, state, and the context in which they see an event.

use model::event::{EventTags, UserId};
use model::person::Person;
use model::text::{KEY_BYTES_MAX, shortened};
use model::{
    ControlId, Entity, EntityKind, RuleId, SecurityEvent, Severity, Source, Span, Timestamp,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::clock_cache::SlotRef;
use crate::engine::{Counters, LATE_EVENT_GRACE};
use crate::event_header::{EventHeader, PrefetchHints, RulePredicate};
use crate::keyed::{Key, KeyHasher};
use crate::open::{Detections, GrowingTexts, NewDetection, OpenKey, Texts};
use crate::profile::{Novelty, Profiles, UserProfile};
use crate::users::Users;
use crate::window::Hit;
use model::time::Calendar;

/// The identity of a rule: name, controls, and the events it is interested in.
#[derive(Debug)]
pub struct Info {
    /// Id in the database and the configuration.
    pub id: RuleId,
    /// Display name.
    pub name: &'static str,
    /// What it detects, in a sentence.
    pub description: &'static str,
    /// Severity of its detections.
    pub severity: Severity,
    /// Controls of NIST SP 800-171 r2 that it gives evidence for.
    pub controls: &'static [ControlId],
    /// MITRE ATT&CK technique ids.
    pub attack: &'static [&'static str],
    /// The rule sees only events with one of these marks.
    pub interest: EventTags,
    /// Sources whose events can carry these marks. If they are silent, the rule is blind. Empty
    /// means any source.
    pub feeds: &'static [Source],
}

/// A built-in rule: its identity and how to build it.
#[derive(Debug)]
pub struct Definition {
    /// Identity of the rule.
    pub info: &'static Info,
    /// Returns its parameters with their defaults.
    pub defaults: fn() -> Value,
    /// Cases on which it must fire and must not fire ([`crate::fixtures`]).
    pub fixtures: &'static str,
    /// Builds it from its parameters and a cap on keys.
    pub build: fn(Value, usize) -> Result<Built, serde_json::Error>,
}

/// A rule built from its parameters.
pub struct Built {
    /// The rule itself.
    pub rule: Box<dyn Rule>,
    /// How long a detection stays open without an event, unless configured otherwise.
    pub cooldown: Span,
    /// How much of the past the rule must see again after a restart. It may need more for logins
    /// and logouts ([`Rule::login_lookback`]).
    pub lookback: Span,
}

/// A running rule: its state, and how events change it.
pub trait Rule: Send {
    /// Processes an event with one of the rule's marks.
    fn observe(&mut self, event: &SecurityEvent<'_>, cx: &mut Context<'_>);

    /// Returns a predicate that rejects events of interest by their own content. It runs on the
    /// many threads that read events, so a rejection there costs the engine thread nothing.
    fn predicate(&self) -> Option<RulePredicate> {
        None
    }

    /// Returns whether only events matter that revealed something new about a known user
    /// ([`Novelty`]).
    fn only_on_novelty(&self) -> bool {
        false
    }

    /// Returns whether [`Self::advance_watermark`] is to be called.
    fn needs_clock(&self) -> bool {
        false
    }

    /// Returns whether the rule has state to prefetch.
    fn can_prefetch(&self) -> bool {
        false
    }

    /// Finds the slots of the state that [`Self::observe`] will need for an upcoming event.
    fn find_prefetch_slots(&self, _header: &EventHeader, _hints: &mut PrefetchHints) {}

    /// Prefetches the state in the slots found by [`Self::find_prefetch_slots`]. The return value
    /// depends on all of it, which keeps the reads from being optimized away.
    fn prefetch(&self, _hints: PrefetchHints) -> u64 {
        0
    }

    /// Returns how much of past logins and logouts the rule must see again after a restart, if that
    /// is more than its general lookback: replaying a day of all events would take long.
    fn login_lookback(&self) -> Span {
        Span::ZERO
    }

    /// Advances the watermark of `source`: its event time has certainly reached `now`.
    fn advance_watermark(&mut self, _source: Source, _now: Timestamp, _cx: &mut Context<'_>) {}

    /// Decides what is still pending at the end of the input.
    fn finish(&mut self, _cx: &mut Context<'_>) {}

    /// Returns how many keys the rule tracks and has evicted.
    fn usage(&self) -> Usage {
        Usage::default()
    }
}

/// Use of a rule's bounded state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Keys tracked.
    pub keys: usize,
    /// Keys evicted at the cap.
    pub evicted: u64,
}

/// Parses parameters from JSON; missing ones have their defaults.
pub(crate) fn parse_params<P: DeserializeOwned>(value: Value) -> Result<P, serde_json::Error> {
    serde_json::from_value(value)
}

/// Returns the default parameters as JSON.
pub(crate) fn default_params<P: Default + Serialize>() -> Value {
    serde_json::to_value(P::default()).unwrap_or_default()
}

/// The context of an event: shared state that a rule may use.
#[derive(Debug)]
pub struct Context<'a> {
    pub(crate) slot: u16,
    pub(crate) info: &'static Info,
    pub(crate) cooldown: Span,
    pub(crate) detections: &'a mut Detections,
    /// Profiles of known users.
    pub profiles: &'a mut Profiles,
    /// What the event revealed about its user; only for successful events of a named user.
    pub novelty: Novelty,
    /// Business hours.
    pub calendar: &'a mut Calendar,
    /// Roles and tenants from `users.users`.
    pub users: &'a Users,
    /// Hashes names to key values.
    pub key_hasher: &'a KeyHasher,
    /// Metrics.
    pub counters: &'a mut Counters,
    /// A key without events since this time may be forgotten: the rule's lookback before the event.
    pub stale_before: Timestamp,
    /// How far events may be out of order.
    pub allowed_lateness: Span,
    /// Slot of the user's profile, for state in a side table; `None` for a user without a
    /// successful event.
    pub(crate) user_slot: Option<SlotRef>,
    /// The user's key, if the event names a user.
    pub user: Option<Key>,
    /// The event's header: enough for most events, without fetching the event itself.
    pub(crate) header: &'a EventHeader,
    /// Slots found by prefetching.
    pub(crate) hints: PrefetchHints,
}

/// Returns the time since which a key must have had no events to be forgotten by a rule with this
/// lookback.
pub(crate) fn quiet_since(at: Timestamp, lookback: Span) -> Timestamp {
    at.minus(lookback).minus(LATE_EVENT_GRACE)
}

impl Context<'_> {
    /// Returns the profile of the event's user, if there is one.
    pub(crate) fn user_profile(&self) -> Option<&UserProfile> {
        match self.user_slot {
            Some(place) => Some(self.profiles.profile_at(place)),
            None => self.profiles.get(self.user?),
        }
    }

    /// Returns whether windows are being rebuilt from events that were processed before a restart.
    pub(crate) fn is_rebuilding(&self) -> bool {
        self.detections.silenced
    }

    /// Reports that the condition holds for `key` at `event`: opens a detection or extends the open
    /// one.
    pub fn fire(
        &mut self,
        key: Key,
        event: &SecurityEvent<'_>,
        opening: impl FnOnce() -> NewDetection,
    ) {
        self.fire_episode(key, 0, event, opening);
    }

    /// Like [`Self::fire`], within a sub-period of the key.
    pub fn fire_episode(
        &mut self,
        key: Key,
        episode: i64,
        event: &SecurityEvent<'_>,
        opening: impl FnOnce() -> NewDetection,
    ) {
        self.detections.fire(
            OpenKey {
                rule: self.slot,
                key,
                episode,
            },
            self.info,
            self.cooldown,
            event,
            opening,
        );
    }

    /// Reports that the condition held for `key` from `from` to `to` without an event.
    pub fn fire_silence(
        &mut self,
        key: Key,
        episode: i64,
        from: Timestamp,
        to: Timestamp,
        opening: NewDetection,
    ) {
        let slot = OpenKey {
            rule: self.slot,
            key,
            episode,
        };
        self.detections
            .fire_silence(slot, self.info, self.cooldown, opening, from..to);
    }
}

/// Maximum length of an alert's title in bytes.
pub(crate) const TITLE_BYTES_MAX: usize = 1_500;
/// Maximum length of an alert's description in bytes.
pub(crate) const DESCRIPTION_BYTES_MAX: usize = 8_000;

impl NewDetection {
    /// Creates an opening about an entity. Texts are shortened: rows may hold values of many
    /// megabytes, and alerts are sent by email.
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
            severity: None,
            entity_name: None,
            texts: None,
        }
    }

    /// Creates an opening whose texts say how many events count, and within what time. They are
    /// written again as the detection grows; the time is at least the rule's window.
    pub(crate) fn counting(
        kind: EntityKind,
        value: impl std::fmt::Display,
        hits: &[Hit],
        window: Span,
        write: impl Fn(u64, Span) -> Texts + Send + 'static,
    ) -> Self {
        let count = hits.iter().map(|hit| u64::from(hit.times)).sum();
        let Texts { title, description } = write(count, window);
        let texts = GrowingTexts::new(move |count, within| write(count, within.max(window)));

        Self {
            texts: Some(texts),
            ..Self::new(kind, value, title, description)
        }
        .with_evidence(hits.iter().copied())
    }

    /// Creates an opening about a user.
    pub(crate) fn about_user(
        id: &UserId<'_>,
        person: &Person,
        title: String,
        description: String,
    ) -> Self {
        Self::new(EntityKind::User, id, title, description).named(person)
    }

    /// Sets the name of the user whose ID the entity is.
    pub(crate) fn named(mut self, person: &Person) -> Self {
        self.entity_name = person.name().map(str::to_owned);
        self
    }

    /// Sets a severity other than the rule's.
    pub fn with_severity(mut self, severity: Severity) -> Self {
        self.severity = Some(severity);
        self
    }

    /// Sets the events that make the condition hold.
    pub fn with_evidence(mut self, hits: impl IntoIterator<Item = Hit>) -> Self {
        self.evidence = hits.into_iter().collect();
        self
    }
}

/// An invalid parameter of a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rules.{rule}{}: {message}", .key.as_ref().map(|k| format!(".{k}")).unwrap_or_default())]
pub struct ParamError {
    /// The rule.
    pub rule: String,
    /// The parameter, if known.
    pub key: Option<String>,
    /// What is wrong.
    pub message: String,
}
