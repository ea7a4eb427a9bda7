//! The engine: shows each event to the rules that care, keeps the time of each source, and hands
//! out what changed.

use std::collections::BTreeMap;

use model::event::{Marks, UserId};
use model::time::{BusinessHours, BusinessHoursError, Calendar};
use model::{Change, EntityKind, Memory, RuleId, SecurityEvent, Severity, Source, Span, Timestamp};
use serde::Serialize;
use serde_json::Value;

use crate::glance::{AHEAD, Glance, Glances, Hints, RULES_MAX, places};
use crate::keyed::{Key, Names, Place};
use crate::open::{Detections, Restored, Slot};
use crate::params;
use crate::profile::{Acquaintance, Novelty, Profiles, StoredProfile};
use crate::rule::{Context, Info, ParamError, Rule, Usage, quiet_since};
use crate::rules;
use crate::sigma::Sigma;
use crate::users::Users;

/// What the engine is told before it starts.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Business hours.
    pub business_hours: BusinessHours,
    /// Parameters that differ from the defaults, by rule.
    pub rules: BTreeMap<String, Value>,
    /// Run only these rules; empty means all that are enabled.
    pub only: Vec<String>,
    /// How far events may be out of order before what depends on order is decided.
    pub settle: Span,
    /// How long after its close a detection may still be taken up by an event that belongs into it.
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
            settle: Span::secs(30),
            grace: Span::ZERO,
            users_max: KEYS_MAX,
        }
    }
}

/// How often the rules are told of the time while events come, in event time.
const SWEEP_EVERY: Span = Span::secs(5);
/// How long beyond a rule's memory a key is kept for events that come late.
pub(crate) const LATENESS: Span = Span::mins(10);

/// Default cap on the keys of a rule.
pub(crate) const KEYS_MAX: usize = 1_000_000;

/// Why the engine cannot start.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// Business hours.
    #[error("business_hours.{0}")]
    BusinessHours(#[from] BusinessHoursError),
    /// A rule's parameters.
    #[error(transparent)]
    Rule(#[from] ParamError),
    /// No such rule.
    #[error("there is no rule `{0}`; `blueteam alerts rules` lists them")]
    UnknownRule(String),
}

/// Counters for metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Events seen.
    pub events: u64,
    /// Events older than their key's window, by nothing but their number.
    pub late: u64,
    /// Admin endpoints reached by users whose role is not known.
    pub unknown_role: u64,
}

/// What a rule is doing.
#[derive(Clone, Debug, Serialize)]
pub struct RuleStatus {
    /// The rule.
    pub rule_id: RuleId,
    /// Keys tracked and given up.
    #[serde(flatten)]
    pub usage: Usage,
}

struct Running {
    info: &'static Info,
    rule: Box<dyn Rule>,
    cooldown: Span,
    memory: Span,
}

/// The time of one source.
#[derive(Clone, Copy, Debug)]
struct SourceClock {
    /// Newest event time.
    newest: Timestamp,
    /// Arrival of the latest event, on the clock that `advance` brings.
    arrived: Timestamp,
    /// What `advance` told the rules last.
    told: Timestamp,
}

/// Events in, detections out.
pub struct Engine {
    rules: Vec<Running>,
    /// Those that look ahead, that wait for news, and that keep time, by their places.
    ahead: u32,
    news: u32,
    timed: u32,
    glances: Glances,
    sigma: Sigma,
    detections: Detections,
    profiles: Profiles,
    calendar: Calendar,
    users: Users,
    names: Names,
    counters: Counters,
    clocks: [SourceClock; Source::ALL.len()],
    settle: Span,
    memory: Memory,
    /// Sources that have never spoken, until they do.
    unheard: Vec<Source>,
    /// The wall clock of the last `advance`; none in a replay.
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

const _: () = assert!(rules::ALL.len() <= RULES_MAX, "a glance has no more bits");

/// The rules of which something holds, a bit for each by its place.
fn bits(rules: &[Running], holds: impl Fn(&dyn Rule) -> bool) -> u32 {
    rules.iter().enumerate().fold(0, |bits, (i, running)| {
        bits | u32::from(holds(running.rule.as_ref())) << i
    })
}

impl Engine {
    /// An engine with all rules that the settings want.
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
                running.push(Running {
                    info,
                    rule: built.rule,
                    cooldown,
                    memory: built.memory,
                });
            }
        }

        let acquaintance: Acquaintance =
            rules::acquaintance(settings.rules.get("anomalous_access"))?;
        let all = running
            .iter()
            .map(|r| r.memory)
            .max()
            .unwrap_or(Span::ZERO)
            .max(Span::hours(1));
        let logins = running
            .iter()
            .map(|r| r.rule.remembers_logins())
            .max()
            .unwrap_or(Span::ZERO)
            .max(all);

        let clock = SourceClock {
            newest: Timestamp::MIN,
            arrived: Timestamp::MIN,
            told: Timestamp::MIN,
        };

        let names = Names::random();
        let glances = Glances::new(
            names.clone(),
            running.iter().map(|r| (r.info.interest, r.rule.screen())),
        );
        Ok(Self {
            ahead: bits(&running, |rule| rule.looks_ahead()),
            news: bits(&running, |rule| rule.waits_for_news()),
            timed: bits(&running, |rule| rule.keeps_time()),
            glances,
            rules: running,
            sigma: Sigma::default(),
            detections: Detections::new(settings.grace),
            profiles: Profiles::new(settings.users_max, acquaintance),
            calendar,
            users: Users::default(),
            names,
            counters: Counters::default(),
            clocks: [clock; Source::ALL.len()],
            settle: settings.settle,
            memory: Memory { all, logins },
            unheard: Vec::new(),
            now: None,
            next_sweep: Timestamp::MIN,
        })
    }

    /// Sets what `users.users` knows.
    pub fn set_users(&mut self, users: Users) {
        self.users = users;
    }

    /// Sets the custom rules.
    pub fn set_sigma(&mut self, sigma: Sigma) {
        self.memory.all = self.memory.all.max(sigma.memory());
        self.memory.logins = self.memory.logins.max(self.memory.all);
        self.sigma = sigma;
    }

    /// How much of the past the engine must see again after a restart.
    pub fn memory(&self) -> Memory {
        self.memory
    }

    /// What takes glances at events for this engine, where they are read.
    pub fn glances(&self) -> Glances {
        self.glances.clone()
    }

    /// Shows an event to the rules.
    pub fn push(&mut self, event: &SecurityEvent<'_>) {
        let glance = self.glances.at(event);
        self.show(event, &glance, Hints::NONE);
    }

    /// Shows events to the rules, one after the other, as [`Self::push`] does, but faster: they
    /// wait for memory together. `glances` are this engine's, one of each event.
    pub fn push_all(&mut self, events: &[SecurityEvent<'_>], glances: &[Glance]) {
        for (events, glances) in events.chunks(AHEAD).zip(glances.chunks(AHEAD)) {
            let mut hints = [Hints::NONE; AHEAD];
            self.look_ahead(glances, &mut hints);
            for ((event, glance), hints) in events.iter().zip(glances).zip(hints) {
                self.show(event, glance, hints);
            }
        }
    }

    /// Step by step for all of them: each step reads where the one before has found something.
    fn look_ahead(&self, glances: &[Glance], hints: &mut [Hints; AHEAD]) {
        for (glance, hints) in glances.iter().zip(hints.iter_mut()) {
            hints.find_user(glance, &self.profiles);
            for rule in places(self.ahead) {
                self.rules[rule].rule.find_ahead(glance, hints);
            }
        }

        let mut read = 0;
        for hints in hints.iter().take(glances.len()) {
            read ^= self.profiles.look_ahead(hints.user);
            for rule in places(self.ahead) {
                read ^= self.rules[rule].rule.read_ahead(*hints);
            }
        }

        // Nobody needs it but the caches.
        std::hint::black_box(read);
    }

    fn show(&mut self, event: &SecurityEvent<'_>, glance: &Glance, hints: Hints) {
        self.counters.events += 1;
        let clock = &mut self.clocks[glance.source as usize];

        // What we say of ourselves comes amid whatever the source delivers, and says nothing of how
        // far the source is.
        if !glance.marks.intersects(Marks::OWN_FAILURE) {
            clock.newest = clock.newest.max(glance.at);
            if let Some(now) = self.now {
                clock.arrived = now;
            }
        }

        // Live too: a backlog is hours of events at once, and must be decided as it would have been
        // one by one.
        if clock.newest >= self.next_sweep {
            self.next_sweep = clock.newest.plus(SWEEP_EVERY);
            self.pass_time();
        }

        let user = glance.user();
        let (novelty, user_place) = self.learn(event, glance, user, hints);
        let news = novelty.known && (novelty.ip || novelty.agent);
        let wanted = if news {
            glance.wanted
        } else {
            glance.wanted & !self.news
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
            names: &self.names,
            counters: &mut self.counters,
            stale: Timestamp::MIN,
            settle: self.settle,
            user,
            user_place,
            glance,
            hints,
        };

        for i in places(wanted) {
            let running = &mut self.rules[i];
            cx.slot = i as u16;
            cx.info = running.info;
            cx.cooldown = running.cooldown;
            // By the event's own time: one event from the present must not make the past of others
            // forgettable.
            cx.stale = quiet_since(glance.at, running.memory);
            running.rule.observe(event, &mut cx);
        }

        if !self.sigma.is_empty() {
            self.sigma.observe(event, self.rules.len() as u16, &mut cx);
        }
    }

    /// What the event teaches of its user, and where the profile is.
    fn learn(
        &mut self,
        event: &SecurityEvent<'_>,
        glance: &Glance,
        user: Option<Key>,
        hints: Hints,
    ) -> (Novelty, Option<Place>) {
        match user {
            Some(user) if glance.marks.intersects(Marks::USER_SUCCESS) => {
                self.profiles.learn((user, hints.user), event, glance)
            }
            Some(user) if glance.marks.intersects(Marks::SESSION) => (
                Novelty::default(),
                Some(self.profiles.place((user, hints.user), glance.at)),
            ),
            _ => (Novelty::default(), None),
        }
    }

    /// Shows an event that has been processed before a restart: windows take it in, nothing is
    /// told. `learnt` says that the stored profiles know it already.
    pub fn rebuild(&mut self, event: &SecurityEvent<'_>, learnt: bool) {
        self.detections.muted = true;
        self.profiles.learning = !learnt;
        self.push(event);
        self.detections.muted = false;
        self.profiles.learning = true;
    }

    fn key_of(&self, source: Source, user: &UserId<'_>) -> Key {
        match user {
            UserId::Uuid(id) => Key::new(source, id.as_u128()),
            UserId::Name(name) => Key::new(source, self.names.value(name)),
        }
    }

    /// Says which sources have never spoken at all: nothing has ended, so that their silence is
    /// none until their first event.
    pub fn set_unheard(&mut self, unheard: Vec<Source>) {
        self.unheard = unheard;
    }

    /// Goes on live at `now` after a restart: sources that have a past may be about to deliver more
    /// of it, so that their time is that of their events until they have been quiet for the
    /// settling time.
    pub fn resume(&mut self, now: Timestamp) {
        // What the past has decided is not decided again.
        self.detections.muted = true;
        self.pass_time();
        self.detections.muted = false;
        self.now = Some(now);
        for clock in self
            .clocks
            .iter_mut()
            .filter(|clock| clock.newest > Timestamp::MIN)
        {
            clock.arrived = now;
        }
    }

    /// The wall clock has reached `now`. Sources that have been quiet for the settling time have
    /// certainly reached it too; one that is still delivering its past goes by its own events.
    pub fn advance(&mut self, now: Timestamp) {
        self.now = Some(now);
        self.pass_time();
    }

    /// The time that a source has certainly reached.
    fn reached(&self, source: Source) -> Timestamp {
        let clock = self.clocks[source as usize];
        match self.now {
            Some(now) if clock.arrived.plus(self.settle) <= now => {
                now.max(clock.newest.minus(self.settle))
            }
            _ => clock.newest.minus(self.settle),
        }
    }

    fn pass_time(&mut self) {
        for source in Source::ALL {
            let now = self.reached(source);
            let clock = &mut self.clocks[source as usize];
            // Backwards too: a source that was quiet goes by its own events again once it delivers
            // its past. Live always: what is pending may be older than a time that was reached long
            // ago.
            let spoke = clock.newest > Timestamp::MIN;
            if (self.now.is_some() && (spoke || !self.unheard.contains(&source)))
                || (now != clock.told && spoke)
            {
                clock.told = now;
                self.each_rule(self.timed, |rule, cx| rule.advance(source, now, cx));
            }
        }

        let reached = Source::ALL.map(|s| self.reached(s));
        self.detections
            .sweep(|source| reached[source as usize], self.now);
    }

    fn each_rule(&mut self, which: u32, mut f: impl FnMut(&mut dyn Rule, &mut Context<'_>)) {
        for i in places(which) {
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
                names: &self.names,
                counters: &mut self.counters,
                stale: Timestamp::MIN,
                settle: self.settle,
                user: None,
                user_place: None,
                glance: &Glance::NOTHING,
                hints: Hints::NONE,
            };

            f(running.rule.as_mut(), &mut cx);
        }
    }

    /// The input has ended: decides what was pending and closes everything.
    pub fn finish(&mut self) {
        self.each_rule(bits(&self.rules, |_| true), |rule, cx| rule.finish(cx));
        self.detections.close_all();
    }

    /// Hands out what changed since the last drain, each detection once. With `settled_only`, mere
    /// extensions wait.
    pub fn drain(&mut self, settled_only: bool, tell: impl FnMut(Change)) {
        self.detections.drain(settled_only, tell);
    }

    /// Whether there is anything to hand out.
    pub fn has_changes(&self) -> bool {
        self.detections.has_changes()
    }

    /// Takes up an open detection from the store. False when its rule no longer runs.
    pub fn restore(&mut self, mut restored: Restored) -> bool {
        let detection = &restored.detection;
        if detection.episode != 0 && restored.hold_until.is_none() {
            // Off-hours detections stay open until the period ends.
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
                self.names.value(&detection.entity.value),
            )),
            EntityKind::Session => Some(Key::new(
                detection.source,
                self.names.value(&detection.entity.value),
            )),
            EntityKind::User => Some(match uuid::Uuid::try_parse(&detection.entity.value) {
                Ok(id) => Key::new(detection.source, id.as_u128()),
                Err(_) => Key::new(detection.source, self.names.value(&detection.entity.value)),
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
                Slot {
                    rule: rule as u16,
                    key,
                    episode,
                },
                self.rules[rule].cooldown,
            )
        } else {
            let Some((rule, cooldown)) = self.sigma.position(&detection.rule_id) else {
                return false;
            };
            let entity = &detection.entity;
            let key = Sigma::key(detection.source, entity.kind, &entity.value, &self.names);

            (
                Slot {
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

    /// The profiles that changed since the last call.
    pub fn take_dirty_profiles(&mut self) -> Vec<StoredProfile> {
        self.profiles.take_dirty()
    }

    /// Takes up a stored profile.
    pub fn restore_profile(&mut self, stored: StoredProfile) {
        let key = self.key_of(stored.source, &stored.user);
        self.profiles.restore(key, stored, &self.names);
    }

    /// Counters for metrics.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Open detections.
    pub fn open_detections(&self) -> usize {
        self.detections.len()
    }

    /// What each rule is doing.
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

    /// Severity of a rule, built in or custom.
    pub fn severity_of(&self, rule: &RuleId) -> Option<Severity> {
        self.rules
            .iter()
            .find(|r| r.info.id == *rule)
            .map(|r| r.info.severity)
    }
}
