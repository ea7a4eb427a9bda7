//! The engine: passes each event to the interested rules, tracks the watermark of each source, and
//! returns the detections that changed.

use std::collections::BTreeMap;

use model::event::{EventTags, UserId};
use model::time::{BusinessHours, BusinessHoursError, Calendar};
use model::{
    DetectionUpdate, EntityKind, Lookback, RuleId, SecurityEvent, Severity, Source, Span, TenantId,
    Timestamp,
};
use serde::Serialize;
use serde_json::Value;

use crate::clock_cache::SlotRef;
use crate::event_header::{
    EventHeader, PREFETCH_BATCH, PrefetchHints, Prefilter, RULES_MAX, set_bits,
};
use crate::keyed::{Key, KeyHasher};
use crate::open::{Detections, OpenKey, Restored};
use crate::params;
use crate::profile::{Familiarity, Novelty, Profiles, StoredProfile};
use crate::rule::{Context, Info, ParamError, Rule, Usage, quiet_since};
use crate::rules;
use crate::sigma::Sigma;
use crate::users::Users;

/// Configuration of the engine.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Business hours.
    pub business_hours: BusinessHours,
    /// Parameters by rule, over the defaults.
    pub rules: BTreeMap<String, Value>,
    /// Run only these rules; empty means all that are enabled.
    pub only: Vec<String>,
    /// How far events may be out of order: decisions that depend on order wait this long.
    pub allowed_lateness: Span,
    /// How long after its close a detection may still be extended by an event that belongs to it.
    pub grace: Span,
    /// Cap on known users.
    pub users_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            business_hours: BusinessHours::default(),
            rules: BTreeMap::new(),
            only: Vec::new(),
            allowed_lateness: Span::secs(30),
            grace: Span::ZERO,
            users_max: KEYS_MAX,
        }
    }
}

/// How often watermarks are propagated while events arrive, in event time.
const SWEEP_INTERVAL: Span = Span::secs(5);
/// How long beyond a rule's lookback a key is kept for late events.
pub(crate) const LATE_EVENT_GRACE: Span = Span::mins(10);

/// Default cap on the keys of a rule.
pub(crate) const KEYS_MAX: usize = 1_000_000;

/// Why the engine cannot start.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The business hours are invalid.
    #[error("business_hours: {0}")]
    BusinessHours(#[from] BusinessHoursError),
    /// A parameter of a rule is invalid.
    #[error(transparent)]
    Rule(#[from] ParamError),
    /// There is no rule with this id.
    #[error("there is no rule `{0}`; `blueteam alerts rules` lists them")]
    UnknownRule(String),
}

/// Counters for metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Events seen.
    pub events: u64,
    /// Events that were older than their key's window, and so did not count.
    pub late: u64,
    /// Requests to admin endpoints by users whose role is not known.
    pub unknown_role: u64,
}

/// Status of a rule.
#[derive(Clone, Debug, Serialize)]
pub struct RuleStatus {
    /// The rule.
    pub rule_id: RuleId,
    /// Keys tracked and evicted.
    #[serde(flatten)]
    pub usage: Usage,
}

struct RunningRule {
    info: &'static Info,
    rule: Box<dyn Rule>,
    cooldown: Span,
    lookback: Span,
}

/// The clock of one source.
#[derive(Clone, Copy, Debug)]
struct SourceClock {
    /// Newest event time.
    newest: Timestamp,
    /// Arrival of the latest event, by the clock of `advance_clock`.
    arrived: Timestamp,
    /// The watermark that the rules were given last.
    announced: Timestamp,
}

/// Events in, detections out.
pub struct Engine {
    rules: Vec<RunningRule>,
    /// Bit sets of rules, by position: those that prefetch, that run only on novelty, and that need
    /// the clock.
    prefetching: u32,
    novelty_only: u32,
    clocked: u32,
    prefilter: Prefilter,
    sigma: Sigma,
    detections: Detections,
    profiles: Profiles,
    calendar: Calendar,
    users: Users,
    key_hasher: KeyHasher,
    counters: Counters,
    clocks: [SourceClock; Source::ALL.len()],
    allowed_lateness: Span,
    lookback: Lookback,
    /// Sources that have never sent an event so far.
    never_heard: Vec<Source>,
    /// The wall clock of the last `advance_clock`; `None` in a replay.
    now: Option<Timestamp>,
    next_sweep: Timestamp,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

const _: () = assert!(
    rules::ALL.len() <= RULES_MAX,
    "an event header has no more bits"
);

/// Returns a bit set of the rules for which `holds` is true, by position.
fn rule_bits(rules: &[RunningRule], holds: impl Fn(&dyn Rule) -> bool) -> u32 {
    rules.iter().enumerate().fold(0, |bits, (i, running)| {
        bits | u32::from(holds(running.rule.as_ref())) << i
    })
}

impl Engine {
    /// Creates an engine with all rules that the settings enable.
    pub fn new(settings: Settings) -> Result<Self, SettingsError> {
        let calendar = Calendar::new(settings.business_hours)?;
        for id in settings.only.iter().chain(settings.rules.keys()) {
            if !rules::ALL.iter().any(|d| d.info.id.as_str() == id) {
                return Err(SettingsError::UnknownRule(id.clone()));
            }
        }

        let mut running = Vec::new();
        for definition in rules::ALL {
            let id = definition.info.id.as_str();
            let (info, common, built) = params::build(id, settings.rules.get(id))?;
            let wanted = if settings.only.is_empty() {
                common.enabled
            } else {
                settings.only.iter().any(|o| o == id)
            };

            if wanted {
                let cooldown = common.cooldown.unwrap_or(built.cooldown);
                running.push(RunningRule {
                    info,
                    rule: built.rule,
                    cooldown,
                    lookback: built.lookback,
                });
            }
        }

        let familiarity: Familiarity = rules::familiarity(settings.rules.get("anomalous_access"))?;
        let all = running
            .iter()
            .map(|r| r.lookback)
            .max()
            .unwrap_or(Span::ZERO)
            .max(Span::hours(1));
        let logins = running
            .iter()
            .map(|r| r.rule.login_lookback())
            .max()
            .unwrap_or(Span::ZERO)
            .max(all);

        let clock = SourceClock {
            newest: Timestamp::MIN,
            arrived: Timestamp::MIN,
            announced: Timestamp::MIN,
        };

        let key_hasher = KeyHasher::random();
        let prefilter = Prefilter::new(
            key_hasher.clone(),
            running
                .iter()
                .map(|r| (r.info.interest, r.rule.predicate())),
        );
        Ok(Self {
            prefetching: rule_bits(&running, |rule| rule.can_prefetch()),
            novelty_only: rule_bits(&running, |rule| rule.only_on_novelty()),
            clocked: rule_bits(&running, |rule| rule.needs_clock()),
            prefilter,
            rules: running,
            sigma: Sigma::default(),
            detections: Detections::new(settings.grace),
            profiles: Profiles::new(settings.users_max, familiarity),
            calendar,
            users: Users::default(),
            key_hasher,
            counters: Counters::default(),
            clocks: [clock; Source::ALL.len()],
            allowed_lateness: settings.allowed_lateness,
            lookback: Lookback { all, logins },
            never_heard: Vec::new(),
            now: None,
            next_sweep: Timestamp::MIN,
        })
    }

    /// Makes the engine a tenant's: it is to see that tenant's events alone.
    #[must_use]
    pub fn of_tenant(mut self, tenant: TenantId) -> Self {
        self.detections.set_tenant(tenant);
        self
    }

    /// Sets the roles and tenants from `users.users`.
    pub fn set_users(&mut self, users: Users) {
        self.users = users;
    }

    /// Sets the custom rules.
    pub fn set_sigma(&mut self, sigma: Sigma) {
        self.lookback.all = self.lookback.all.max(sigma.lookback());
        self.lookback.logins = self.lookback.logins.max(self.lookback.all);
        self.sigma = sigma;
    }

    /// Returns how much of the past the engine must see again after a restart.
    pub fn lookback(&self) -> Lookback {
        self.lookback
    }

    /// Returns the prefilter that computes event headers for this engine, for each reading thread.
    pub fn prefilter(&self) -> Prefilter {
        self.prefilter.clone()
    }

    /// Processes an event.
    pub fn push(&mut self, event: &SecurityEvent<'_>) {
        let header = self.prefilter.header_of(event);
        self.process_event(event, &header, PrefetchHints::NONE);
    }

    /// Processes events in order, as [`Self::push`] does, but faster: their memory accesses
    /// overlap. `headers` holds the header of each event, computed by this engine's prefilter.
    pub fn push_all(&mut self, events: &[SecurityEvent<'_>], headers: &[EventHeader]) {
        for (events, headers) in events
            .chunks(PREFETCH_BATCH)
            .zip(headers.chunks(PREFETCH_BATCH))
        {
            let mut hints = [PrefetchHints::NONE; PREFETCH_BATCH];
            self.prefetch_batch(headers, &mut hints);
            for ((event, header), hints) in events.iter().zip(headers).zip(hints) {
                self.process_event(event, header, hints);
            }
        }
    }

    /// Prefetches the state of a batch in two steps: find the slots of all events, then read them.
    fn prefetch_batch(&self, headers: &[EventHeader], hints: &mut [PrefetchHints; PREFETCH_BATCH]) {
        for (header, hints) in headers.iter().zip(hints.iter_mut()) {
            hints.find_user(header, &self.profiles);
            for rule in set_bits(self.prefetching) {
                self.rules[rule].rule.find_prefetch_slots(header, hints);
            }
        }

        let mut read = 0;
        for hints in hints.iter().take(headers.len()) {
            read ^= self.profiles.prefetch(hints.user);
            for rule in set_bits(self.prefetching) {
                read ^= self.rules[rule].rule.prefetch(*hints);
            }
        }

        // Keeps the reads, which only fill the caches, from being optimized away.
        std::hint::black_box(read);
    }

    fn process_event(
        &mut self,
        event: &SecurityEvent<'_>,
        header: &EventHeader,
        hints: PrefetchHints,
    ) {
        self.counters.events += 1;

        // A report tells of weaknesses, in the words of an attack: nothing of it has happened, and it
        // says nothing about how far any source has come.
        if header.source == Source::Redteam {
            return;
        }
        let clock = &mut self.clocks[header.source as usize];

        // blueteam's own failure events arrive amid the events of a source, and show nothing about
        // how far that source has come.
        if !header.marks.intersects(EventTags::OWN_FAILURE) {
            clock.newest = clock.newest.max(header.at);
            if let Some(now) = self.now {
                clock.arrived = now;
            }
        }

        // Live as well: a backlog is hours of events at once, and must lead to the same decisions
        // as if they had arrived one by one.
        if clock.newest >= self.next_sweep {
            self.next_sweep = clock.newest.plus(SWEEP_INTERVAL);
            self.propagate_watermarks();
        }

        let user = header.user_key();
        let (novelty, user_slot) = self.learn_from_event(event, header, user, hints);
        let taught_something = novelty.known && (novelty.ip || novelty.agent);
        let wanted = if taught_something {
            header.wanted
        } else {
            header.wanted & !self.novelty_only
        };

        let mut cx = Context {
            slot: 0,
            info: rules::ALL[0].info,
            cooldown: Span::ZERO,
            detections: &mut self.detections,
            profiles: &mut self.profiles,
            novelty,
            calendar: &mut self.calendar,
            users: &self.users,
            key_hasher: &self.key_hasher,
            counters: &mut self.counters,
            stale_before: Timestamp::MIN,
            allowed_lateness: self.allowed_lateness,
            user,
            user_slot,
            header,
            hints,
        };

        for i in set_bits(wanted) {
            let running = &mut self.rules[i];
            cx.slot = i as u16;
            cx.info = running.info;
            cx.cooldown = running.cooldown;
            // By the event's own time: one recent event must not expire the keys of older ones.
            cx.stale_before = quiet_since(header.at, running.lookback);
            running.rule.observe(event, &mut cx);
        }

        if !self.sigma.is_empty() {
            self.sigma.observe(event, self.rules.len() as u16, &mut cx);
        }
    }

    /// Updates the user's profile from the event; returns what was new, and the slot of the
    /// profile.
    fn learn_from_event(
        &mut self,
        event: &SecurityEvent<'_>,
        header: &EventHeader,
        user: Option<Key>,
        hints: PrefetchHints,
    ) -> (Novelty, Option<SlotRef>) {
        match user {
            Some(user) if header.marks.intersects(EventTags::USER_SUCCESS) => {
                self.profiles.learn_event(user, hints.user, event, header)
            }
            Some(user) if header.marks.intersects(EventTags::SESSION) => (
                Novelty::default(),
                Some(self.profiles.touch_slot_ref(user, hints.user, header.at)),
            ),
            _ => (Novelty::default(), None),
        }
    }

    /// Processes an event again that was processed before a restart: windows are rebuilt, no
    /// detection is reported. `learned` means that the stored profiles include it already.
    pub fn rebuild(&mut self, event: &SecurityEvent<'_>, learned: bool) {
        self.detections.silenced = true;
        self.profiles.learning = !learned;
        self.push(event);
        self.detections.silenced = false;
        self.profiles.learning = true;
    }

    fn user_key_of(&self, source: Source, user: &UserId<'_>) -> Key {
        match user {
            UserId::Uuid(id) => Key::new(source, id.as_u128()),
            UserId::Name(name) => Key::new(source, self.key_hasher.hash_name(name)),
        }
    }

    /// Sets the sources that have never sent an event: their silence is not reported before their
    /// first event.
    pub fn set_unheard(&mut self, never_heard: Vec<Source>) {
        self.never_heard = never_heard;
    }

    /// Continues live at `now` after a restart. Sources with a past may still deliver more of it,
    /// so their watermark follows their events until they have been quiet for the allowed lateness.
    pub fn resume(&mut self, now: Timestamp) {
        // What was decided before the restart is not decided again.
        self.detections.silenced = true;
        self.propagate_watermarks();
        self.detections.silenced = false;
        self.now = Some(now);
        for clock in self
            .clocks
            .iter_mut()
            .filter(|clock| clock.newest > Timestamp::MIN)
        {
            clock.arrived = now;
        }
    }

    /// Advances the wall clock to `now`. Sources that have been quiet for the allowed lateness have
    /// certainly reached it too; the watermark of one that still delivers its past follows its
    /// events.
    pub fn advance_clock(&mut self, now: Timestamp) {
        self.now = Some(now);
        self.propagate_watermarks();
    }

    /// Returns the time that a source has certainly reached.
    fn watermark(&self, source: Source) -> Timestamp {
        let clock = self.clocks[source as usize];
        match self.now {
            Some(now) if clock.arrived.plus(self.allowed_lateness) <= now => {
                now.max(clock.newest.minus(self.allowed_lateness))
            }
            _ => clock.newest.minus(self.allowed_lateness),
        }
    }

    fn propagate_watermarks(&mut self) {
        for source in Source::ALL {
            let now = self.watermark(source);
            let clock = &mut self.clocks[source as usize];
            // The watermark may move backward: a quiet source follows its own events again once it
            // delivers its past. Live, always announce it: pending events may be older than a
            // watermark that was announced long ago.
            let heard = clock.newest > Timestamp::MIN;
            if (self.now.is_some() && (heard || !self.never_heard.contains(&source)))
                || (now != clock.announced && heard)
            {
                clock.announced = now;
                self.for_each_rule(self.clocked, |rule, cx| {
                    rule.advance_watermark(source, now, cx);
                });
            }
        }

        let watermarks = Source::ALL.map(|s| self.watermark(s));
        self.detections
            .sweep(|source| watermarks[source as usize], self.now);
    }

    fn for_each_rule(&mut self, which: u32, mut f: impl FnMut(&mut dyn Rule, &mut Context<'_>)) {
        for i in set_bits(which) {
            let running = &mut self.rules[i];
            let mut cx = Context {
                slot: i as u16,
                info: running.info,
                cooldown: running.cooldown,
                detections: &mut self.detections,
                profiles: &mut self.profiles,
                novelty: Novelty::default(),
                calendar: &mut self.calendar,
                users: &self.users,
                key_hasher: &self.key_hasher,
                counters: &mut self.counters,
                stale_before: Timestamp::MIN,
                allowed_lateness: self.allowed_lateness,
                user: None,
                user_slot: None,
                header: &EventHeader::NOTHING,
                hints: PrefetchHints::NONE,
            };

            f(running.rule.as_mut(), &mut cx);
        }
    }

    /// Ends the input: decides what is pending and closes every detection.
    pub fn finish(&mut self) {
        self.for_each_rule(rule_bits(&self.rules, |_| true), |rule, cx| rule.finish(cx));
        self.detections.close_all();
    }

    /// Passes on what changed since the last drain, each detection once. With `settled_only`,
    /// detections that were merely extended wait.
    pub fn drain(&mut self, settled_only: bool, report: impl FnMut(DetectionUpdate)) {
        self.detections.drain(settled_only, report);
    }

    /// Returns whether any detection has changed since the last drain.
    pub fn has_changes(&self) -> bool {
        self.detections.has_changes()
    }

    /// Restores an open detection from the store. Returns false if its rule no longer runs.
    pub fn restore(&mut self, mut restored: Restored) -> bool {
        let detection = &restored.detection;
        if detection.episode != 0 && restored.hold_until.is_none() {
            // Off-hours detections stay open until their period ends.
            let period = self
                .calendar
                .period(Timestamp::from_micros(detection.episode));
            restored.hold_until = (!period.open).then_some(period.end);
        }

        let detection = &restored.detection;
        let key = match detection.entity.kind {
            EntityKind::Ip => detection
                .entity
                .value
                .parse()
                .ok()
                .map(|ip| Key::ip(detection.source, ip)),
            EntityKind::Source if detection.entity.value == detection.source.as_str() => {
                Some(Key::source(detection.source))
            }
            EntityKind::Source => Some(Key::new(
                detection.source,
                self.key_hasher.hash_name(&detection.entity.value),
            )),
            EntityKind::Session => Some(Key::new(
                detection.source,
                self.key_hasher.hash_name(&detection.entity.value),
            )),
            EntityKind::User => Some(match uuid::Uuid::try_parse(&detection.entity.value) {
                Ok(id) => Key::new(detection.source, id.as_u128()),
                Err(_) => Key::new(
                    detection.source,
                    self.key_hasher.hash_name(&detection.entity.value),
                ),
            }),
        };
        let (Some(key), episode) = (key, detection.episode) else {
            return false;
        };

        let (slot, cooldown) = if let Some(rule) = self
            .rules
            .iter()
            .position(|r| r.info.id == detection.rule_id)
        {
            (
                OpenKey {
                    rule: rule as u16,
                    key,
                    episode,
                },
                self.rules[rule].cooldown,
            )
        } else {
            let Some((rule, cooldown)) = self.sigma.find_rule(&detection.rule_id) else {
                return false;
            };
            let entity = &detection.entity;
            let key = Sigma::entity_key(
                detection.source,
                entity.kind,
                &entity.value,
                &self.key_hasher,
            );

            (
                OpenKey {
                    rule: (self.rules.len() + rule) as u16,
                    key,
                    episode,
                },
                cooldown,
            )
        };

        self.detections.restore(slot, cooldown, restored);
        true
    }

    /// Returns the profiles that changed since the last call.
    pub fn take_dirty_profiles(&mut self) -> Vec<StoredProfile> {
        self.profiles.take_dirty()
    }

    /// Restores a stored profile.
    pub fn restore_profile(&mut self, stored: StoredProfile) {
        let key = self.user_key_of(stored.source, &stored.user);
        self.profiles.restore(key, stored, &self.key_hasher);
    }

    /// Returns the counters for metrics.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Returns the number of open detections.
    pub fn open_detections(&self) -> usize {
        self.detections.len()
    }

    /// Returns the status of each rule.
    pub fn status(&self) -> Vec<RuleStatus> {
        let rules = self.rules.iter().map(|r| RuleStatus {
            rule_id: r.info.id.clone(),
            usage: r.rule.usage(),
        });

        rules
            .chain([RuleStatus {
                rule_id: RuleId::builtin("user_profiles"),
                usage: self.profiles.usage(),
            }])
            .collect()
    }

    /// Returns the severity of a built-in rule.
    pub fn severity_of(&self, rule: &RuleId) -> Option<Severity> {
        self.rules
            .iter()
            .find(|r| r.info.id == *rule)
            .map(|r| r.info.severity)
    }
}
