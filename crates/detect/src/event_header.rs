//! Event headers, computed before the engine sees an event: the fields that the engine needs for
//! nearly every event, in one and a half cache lines, where the event itself takes eight.
//!
//! Work that depends on the event alone is done here, by all threads that read events. The single
//! engine thread only does the work that depends on earlier events.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::quality::RandomState;
use model::event::{EventTags, UserId};
use model::{Action, Category, SecurityEvent, Source, Timestamp};

use crate::clock_cache::NO_HINT;
use crate::keyed::{Key, KeyHasher, ip_bits};
use crate::profile::Profiles;

/// Number of events whose state is prefetched together.
pub(crate) const PREFETCH_BATCH: usize = 32;
/// Maximum number of running rules: one bit each.
pub(crate) const RULES_MAX: usize = u32::BITS as usize;

/// Decides by an event alone whether it can concern a rule.
pub(crate) type RulePredicate = Arc<dyn Fn(&SecurityEvent<'_>) -> bool + Send + Sync>;

/// Bits of [`EventHeader::present`].
const USER: u8 = 1;
const SESSION: u8 = 1 << 1;
const IP: u8 = 1 << 2;
const AGENT: u8 = 1 << 3;

/// The few fields of an event that most rules need. Valid only for the engine whose [`Prefilter`]
/// computed it.
#[derive(Clone, Copy, Debug)]
pub struct EventHeader {
    /// Event time.
    pub(crate) at: Timestamp,
    pub(crate) id: [u64; 2],
    user: [u64; 2],
    session: [u64; 2],
    ip: [u64; 2],
    agent: u64,
    /// Bit set of the rules that want to see the event.
    pub(crate) wanted: u32,
    pub(crate) marks: EventTags,
    /// Number of occurrences.
    pub(crate) times: u32,
    pub(crate) source: Source,
    pub(crate) category: Category,
    pub(crate) action: Action,
    /// Which of the optional fields the event has.
    present: u8,
}

impl EventHeader {
    /// The header of no event.
    pub(crate) const NOTHING: Self = Self {
        at: Timestamp::MIN,
        id: [0; 2],
        user: [0; 2],
        session: [0; 2],
        ip: [0; 2],
        agent: 0,
        wanted: 0,
        marks: EventTags(0),
        times: 0,
        source: Source::AuditDb,
        category: Category::System,
        action: Action::Other,
        present: 0,
    };

    /// Returns the user's key, if the event names a user.
    pub(crate) fn user_key(&self) -> Option<Key> {
        (self.present & USER != 0).then(|| Key::from_halves(self.source, self.user))
    }

    /// Returns the session's key, if the event names a session.
    pub(crate) fn session_key(&self) -> Option<Key> {
        (self.present & SESSION != 0).then(|| Key::from_halves(self.source, self.session))
    }

    /// Returns the address as a number in two halves.
    pub(crate) fn ip_halves(&self) -> Option<[u64; 2]> {
        (self.present & IP != 0).then_some(self.ip)
    }

    /// Returns the hash of the agent.
    pub(crate) fn agent_hash(&self) -> Option<u64> {
        (self.present & AGENT != 0).then_some(self.agent)
    }

    /// Whether this is the header of the event as it is: the lines around an event may give it
    /// another time, another number of occurrences or, as another one, other marks.
    pub fn is_still_of(&self, event: &SecurityEvent<'_>) -> bool {
        let id = event.event_id.as_u128();
        self.id == [(id >> 64) as u64, id as u64]
            && self.at == event.timestamp
            && self.times == event.occurrences
            && self.marks == event.marks
    }

    /// Sets the event time, if it was corrected after the header was computed.
    pub fn set_time(&mut self, at: Timestamp) {
        self.at = at;
    }
}

/// Returns the positions of the set bits, lowest first.
pub(crate) fn set_bits(mut bits: u32) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let place = bits.trailing_zeros();
        bits &= bits.wrapping_sub(1);
        (place < u32::BITS).then_some(place as usize)
    })
}

/// The events that a rule wants to see.
#[derive(Clone)]
struct RuleInterest {
    interest: EventTags,
    predicate: Option<RulePredicate>,
}

/// Computes event headers for one engine. Each reading thread has its own.
#[derive(Clone)]
pub struct Prefilter {
    key_hasher: KeyHasher,
    agent_hashes: AgentHashes,
    interests: Vec<RuleInterest>,
}

impl std::fmt::Debug for Prefilter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prefilter")
            .field("rules", &self.interests.len())
            .finish_non_exhaustive()
    }
}

impl Prefilter {
    pub(crate) fn new(
        key_hasher: KeyHasher,
        interests: impl Iterator<Item = (EventTags, Option<RulePredicate>)>,
    ) -> Self {
        let interests = interests
            .map(|(interest, predicate)| RuleInterest {
                interest,
                predicate,
            })
            .collect();
        Self {
            key_hasher,
            agent_hashes: AgentHashes::default(),
            interests,
        }
    }

    /// Computes the header of an event.
    pub fn header_of(&mut self, event: &SecurityEvent<'_>) -> EventHeader {
        let halves = |value: u128| [(value >> 64) as u64, value as u64];
        let mut present = 0;
        let mut split = |flag: u8, value: Option<u128>| {
            present |= if value.is_some() { flag } else { 0 };
            halves(value.unwrap_or(0))
        };

        let user = split(
            USER,
            event.user_id.as_ref().map(|user| match user {
                UserId::Uuid(id) => id.as_u128(),
                UserId::Name(name) => self.key_hasher.hash_name(name),
            }),
        );
        let session = event
            .session_id
            .as_deref()
            .filter(|name| event.marks.intersects(EventTags::SESSION) && !name.is_empty());

        let session = split(SESSION, session.map(|name| self.key_hasher.hash_name(name)));
        let ip = split(IP, event.ip_address.map(ip_bits));
        let agent = event
            .user_agent
            .as_deref()
            .map(|agent| self.agent_hashes.hash_of(agent, &self.key_hasher));
        let [_, agent] = split(AGENT, agent.map(u128::from));
        let id = halves(event.event_id.as_u128());

        let mut wanted = 0;
        for (i, interest) in self.interests.iter().enumerate() {
            let wants = interest.interest.intersects(event.marks)
                && interest
                    .predicate
                    .as_ref()
                    .is_none_or(|concerns| concerns(event));
            wanted |= u32::from(wants) << i;
        }

        EventHeader {
            at: event.timestamp,
            id,
            user,
            session,
            ip,
            agent,
            wanted,
            marks: event.marks,
            times: event.occurrences.max(1),
            source: event.source,
            category: event.category,
            action: event.action_kind,
            present,
        }
    }
}

/// A cache of agent hashes. There are few agents and their texts are long: a lookup costs a quarter
/// of the keyed hash, which keeps an attacker from choosing a colliding agent.
#[derive(Clone, Debug, Default)]
struct AgentHashes {
    hasher: RandomState,
    slots: Vec<(Box<str>, u64)>,
}

/// Number of cached agent hashes; a power of two.
const AGENTS_CACHED: usize = 512;

impl AgentHashes {
    fn hash_of(&mut self, agent: &str, key_hasher: &KeyHasher) -> u64 {
        if self.slots.is_empty() {
            self.slots
                .resize_with(AGENTS_CACHED, || ("".into(), key_hasher.short_hash("")));
        }

        let i = self.hasher.hash_one(agent) as usize & (AGENTS_CACHED - 1);
        let slot = &mut self.slots[i];
        if *slot.0 != *agent {
            *slot = (agent.into(), key_hasher.short_hash(agent));
        }

        slot.1
    }
}

/// Probable slots of the state of an event's user and session.
///
/// The state of thousands of users and sessions is far larger than the processor's caches, so
/// nearly every event waits for memory several times. The lookups of a batch of events are
/// independent of each other, so their waits overlap. An outdated hint is noticed by the key in the
/// slot.
#[derive(Clone, Copy, Debug)]
pub struct PrefetchHints {
    /// Probable slot of the user's profile.
    pub(crate) user: u32,
    /// Probable slot of the session's state, for the rule that keeps it.
    pub(crate) session: u32,
}

impl PrefetchHints {
    pub(crate) const NONE: Self = Self {
        user: NO_HINT,
        session: NO_HINT,
    };

    /// Finds the slot of the user's profile.
    pub(crate) fn find_user(&mut self, header: &EventHeader, profiles: &Profiles) {
        self.user = header
            .user_key()
            .map_or(NO_HINT, |user| profiles.find_hint(user));
    }
}
