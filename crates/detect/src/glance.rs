//! What is worked out of an event before the engine sees it: all that the engine asks of nearly
//! every event, on a line and a half of a processor's cache, where the event itself takes eight.
//!
//! Whatever depends on the event alone is done here, by as many threads as read events; the engine,
//! which is one, is left with what depends on the events before.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::quality::RandomState;
use model::event::{Marks, UserId};
use model::{Action, Category, SecurityEvent, Source, Timestamp};

use crate::keyed::{Key, NOWHERE, Names, ip_bits};
use crate::profile::Profiles;

/// Events that are looked up together.
pub(crate) const AHEAD: usize = 32;
/// Rules that can run at once: one bit each.
pub(crate) const RULES_MAX: usize = u32::BITS as usize;

/// Says by an event alone whether it can concern a rule.
pub(crate) type Screen = Arc<dyn Fn(&SecurityEvent<'_>) -> bool + Send + Sync>;

/// What an event has.
const USER: u8 = 1;
const SESSION: u8 = 1 << 1;
const IP: u8 = 1 << 2;
const AGENT: u8 = 1 << 3;

/// An event at a glance. Good for the engine whose [`Glances`] took it, and for no other.
#[derive(Clone, Copy, Debug)]
pub struct Glance {
    /// Event time.
    pub(crate) at: Timestamp,
    pub(crate) id: [u64; 2],
    user: [u64; 2],
    session: [u64; 2],
    ip: [u64; 2],
    agent: u64,
    /// The rules that want to see the event, by their place.
    pub(crate) wanted: u32,
    /// Of the event.
    pub(crate) marks: Marks,
    /// How many times it happened.
    pub(crate) times: u32,
    /// Of the event.
    pub(crate) source: Source,
    /// Of the event.
    pub(crate) category: Category,
    /// Of the event.
    pub(crate) action: Action,
    has: u8,
}

impl Glance {
    /// At no event.
    pub(crate) const NOTHING: Self = Self {
        at: Timestamp::MIN,
        id: [0; 2],
        user: [0; 2],
        session: [0; 2],
        ip: [0; 2],
        agent: 0,
        wanted: 0,
        marks: Marks(0),
        times: 0,
        source: Source::AuditDb,
        category: Category::System,
        action: Action::Other,
        has: 0,
    };

    /// The user's key, when the event names one.
    pub(crate) fn user(&self) -> Option<Key> {
        (self.has & USER != 0).then(|| Key::from_halves(self.source, self.user))
    }

    /// The session's key, when the event names one.
    pub(crate) fn session(&self) -> Option<Key> {
        (self.has & SESSION != 0).then(|| Key::from_halves(self.source, self.session))
    }

    /// The address as a number.
    pub(crate) fn ip(&self) -> Option<[u64; 2]> {
        (self.has & IP != 0).then_some(self.ip)
    }

    /// The agent's tag.
    pub(crate) fn agent(&self) -> Option<u64> {
        (self.has & AGENT != 0).then_some(self.agent)
    }

    /// The time of an event was replaced after the glance at it.
    pub fn set_time(&mut self, at: Timestamp) {
        self.at = at;
    }
}

/// The places of rules, by their bits.
pub(crate) fn places(mut bits: u32) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let place = bits.trailing_zeros();
        bits &= bits.wrapping_sub(1);
        (place < u32::BITS).then_some(place as usize)
    })
}

/// What a rule wants to see.
#[derive(Clone)]
struct Wish {
    interest: Marks,
    screen: Option<Screen>,
}

/// Takes glances at events for one engine. Each thread that reads has its own.
#[derive(Clone)]
pub struct Glances {
    names: Names,
    tags: Tags,
    wishes: Vec<Wish>,
}

impl std::fmt::Debug for Glances {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Glances")
            .field("rules", &self.wishes.len())
            .finish_non_exhaustive()
    }
}

impl Glances {
    pub(crate) fn new(names: Names, wishes: impl Iterator<Item = (Marks, Option<Screen>)>) -> Self {
        let wishes = wishes
            .map(|(interest, screen)| Wish { interest, screen })
            .collect();
        Self {
            names,
            tags: Tags::default(),
            wishes,
        }
    }

    /// Takes a glance.
    pub fn at(&mut self, event: &SecurityEvent<'_>) -> Glance {
        let halves = |value: u128| [(value >> 64) as u64, value as u64];
        let mut has = 0;
        let mut note = |flag: u8, value: Option<u128>| {
            has |= if value.is_some() { flag } else { 0 };
            halves(value.unwrap_or(0))
        };

        let user = note(
            USER,
            event.user_id.as_ref().map(|user| match user {
                UserId::Uuid(id) => id.as_u128(),
                UserId::Name(name) => self.names.value(name),
            }),
        );
        let session = event
            .session_id
            .as_deref()
            .filter(|name| event.marks.intersects(Marks::SESSION) && !name.is_empty());

        let session = note(SESSION, session.map(|name| self.names.value(name)));
        let ip = note(IP, event.ip_address.map(ip_bits));
        let agent = event
            .user_agent
            .as_deref()
            .map(|agent| self.tags.of(agent, &self.names));
        let [_, agent] = note(AGENT, agent.map(u128::from));
        let id = halves(event.event_id.as_u128());

        let mut wanted = 0;
        for (i, wish) in self.wishes.iter().enumerate() {
            let wants = wish.interest.intersects(event.marks)
                && wish.screen.as_ref().is_none_or(|concerns| concerns(event));
            wanted |= u32::from(wants) << i;
        }

        Glance {
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
            has,
        }
    }
}

/// The tags of the agents that were asked for last. There are few agents and they are long: finding
/// one again costs a quarter of hashing it so that nobody can aim at another's tag.
#[derive(Clone, Debug, Default)]
struct Tags {
    hasher: RandomState,
    slots: Vec<(Box<str>, u64)>,
}

/// Agents whose tags are at hand; a power of two.
const TAGS: usize = 512;

impl Tags {
    fn of(&mut self, agent: &str, names: &Names) -> u64 {
        if self.slots.is_empty() {
            self.slots.resize_with(TAGS, || ("".into(), names.tag("")));
        }

        let i = self.hasher.hash_one(agent) as usize & (TAGS - 1);
        let slot = &mut self.slots[i];
        if *slot.0 != *agent {
            *slot = (agent.into(), names.tag(agent));
        }

        slot.1
    }
}

/// Where what is known of an event's user and session probably is.
///
/// What the engine remembers of thousands of users and sessions is far larger than a processor's
/// caches, so that nearly every event waits for memory, several times, one after the other. The
/// places of some events looked up together wait together: none of the look-ups needs what another
/// one finds. A hint that is out of date when its event's turn comes is noticed by the key that
/// stands in the slot.
#[derive(Clone, Copy, Debug)]
pub struct Hints {
    /// Where the user's profile probably is.
    pub(crate) user: u32,
    /// Where the session's state probably is, for the rule that keeps it.
    pub(crate) session: u32,
}

impl Hints {
    pub(crate) const NONE: Self = Self {
        user: NOWHERE,
        session: NOWHERE,
    };

    /// Finds the user's profile.
    pub(crate) fn find_user(&mut self, glance: &Glance, profiles: &Profiles) {
        self.user = glance.user().map_or(NOWHERE, |user| profiles.hint(user));
    }
}
