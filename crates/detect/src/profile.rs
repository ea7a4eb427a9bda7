//! What is normal for a user: addresses, agents, tenants they logged in to, exports an hour. Kept in the database, so that a
//! restart forgets nobody.

use std::hash::BuildHasher;
use std::net::{IpAddr, Ipv6Addr};

use foldhash::quality::RandomState;
use model::event::{Marks, UserId};
use model::{SecurityEvent, Source, Span, Timestamp};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use uuid::Uuid;

use crate::keyed::{Key, Keyed, Names, ip_bits};

/// Known addresses a user at most.
pub(crate) const IPS_MAX: usize = 64;
/// Known agents a user at most.
pub(crate) const AGENTS_MAX: usize = 32;
/// A profile that only grew older is saved this often, in event time.
const SAVE_EVERY: Span = Span::hours(1);
/// Changes of tenant remembered.
const LOGINS_MAX: usize = 32;
/// Exports are remembered for this long.
const EXPORT_MEMORY: Span = Span::days(14);

/// An address that a user has been seen at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownIp {
    /// The address.
    pub ip: IpAddr,
    /// First successful event from there.
    pub first: Timestamp,
    /// Latest one.
    pub last: Timestamp,
}

/// A client that a user has been seen with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownAgent {
    /// `user_agent`.
    pub agent: Box<str>,
    /// Latest successful event with it.
    pub last: Timestamp,
    /// The agent's [`Names`] tag: what is compared, so that the text need not be fetched.
    #[serde(skip)]
    tag: u64,
}

/// A clock hour in which a user exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportHour {
    /// Start of the hour.
    pub hour: Timestamp,
    /// Exports.
    pub count: u32,
    /// Their bytes.
    pub bytes: u64,
}

/// A user's normal.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Profile {
    /// First successful event.
    pub first: Timestamp,
    /// Latest one.
    pub last: Timestamp,
    /// How many.
    pub successes: u32,
    /// Addresses.
    pub ips: SmallVec<[Known; 2]>,
    /// Agents.
    pub agents: SmallVec<[KnownAgent; 1]>,
    /// Logins that changed the tenant, oldest first.
    pub logins: Vec<(Timestamp, Uuid)>,
    /// Hours with exports in the last 14 days, oldest first.
    pub exports: Vec<ExportHour>,
    #[serde(skip)]
    user: Option<UserId<'static>>,
    #[serde(skip)]
    dirty: bool,
    /// `last` when it was saved.
    #[serde(skip)]
    saved: Timestamp,
}

/// [`KnownIp`] with the address as a number, which compares faster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    ip: [u64; 2],
    /// First successful event from there.
    pub first: Timestamp,
    /// Latest one.
    pub last: Timestamp,
}

impl Serialize for Known {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bits = u128::from(self.ip[0]) << 64 | u128::from(self.ip[1]);
        let ip = IpAddr::V6(Ipv6Addr::from(bits)).to_canonical();
        KnownIp { ip, first: self.first, last: self.last }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Known {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let KnownIp { ip, first, last } = KnownIp::deserialize(deserializer)?;
        Ok(Self { ip: halves(ip), first, last })
    }
}

fn halves(ip: IpAddr) -> [u64; 2] {
    let bits = ip_bits(ip);
    [(bits >> 64) as u64, bits as u64]
}

/// What an event taught us of its user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Novelty {
    /// The user was known before the event.
    pub known: bool,
    /// The address is new.
    pub ip: bool,
    /// The agent is new.
    pub agent: bool,
}

/// When a user counts as known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acquaintance {
    /// Successful events needed.
    pub events: u32,
    /// Spread over at least this long.
    pub spread: Span,
}

impl Profile {
    /// When the user was first seen at an address, if ever.
    pub fn first_seen_at(&self, ip: IpAddr) -> Option<Timestamp> {
        let ip = halves(ip);
        self.ips.iter().find(|k| k.ip == ip).map(|k| k.first)
    }

    /// The tenant of the latest successful login at or before `at`; the earliest known one for an event before all.
    pub fn tenant_at(&self, at: Timestamp) -> Option<Uuid> {
        self.logins.iter().rev().find(|(login, _)| *login <= at).or(self.logins.first()).map(|(_, tenant)| *tenant)
    }

    fn learn(
        &mut self,
        event: &SecurityEvent<'_>,
        acquaintance: Acquaintance,
        tag: impl FnOnce(&str) -> u64,
    ) -> Novelty {
        let at = event.timestamp;
        let known = self.successes >= acquaintance.events && self.last.since(self.first) >= acquaintance.spread;
        if self.successes == 0 {
            self.first = at;
            self.last = at;
        }
        self.first = self.first.min(at);
        self.last = self.last.max(at);
        self.successes = self.successes.saturating_add(1);
        // A user's thousandth view of a page is no news worth a write; that they are still around is, once an hour.
        self.dirty |= self.successes <= 2 * acquaintance.events || at.since(self.saved) > SAVE_EVERY;
        let ip = event.ip_address.is_some_and(|ip| self.learn_ip(halves(ip), at));
        let agent = event.user_agent.as_deref().is_some_and(|agent| self.learn_agent(agent, tag(agent), at));
        if event.marks.meets(Marks::LOGIN)
            && let Some(tenant) = event.instance_id
        {
            self.dirty |= self.learn_login(at, tenant);
        }
        self.dirty |= ip || agent;
        Novelty { known, ip, agent }
    }

    fn learn_ip(&mut self, ip: [u64; 2], at: Timestamp) -> bool {
        if let Some(known) = self.ips.iter_mut().find(|k| k.ip == ip) {
            known.last = known.last.max(at);
            known.first = known.first.min(at);
            return false;
        }
        if self.ips.len() >= IPS_MAX
            && let Some((oldest, _)) = self.ips.iter().enumerate().min_by_key(|(_, k)| k.last)
        {
            self.ips.swap_remove(oldest);
        }
        self.ips.push(Known { ip, first: at, last: at });
        true
    }

    fn learn_agent(&mut self, agent: &str, tag: u64, at: Timestamp) -> bool {
        if let Some(known) = self.agents.iter_mut().find(|k| k.tag == tag) {
            known.last = known.last.max(at);
            return false;
        }
        if self.agents.len() >= AGENTS_MAX
            && let Some((oldest, _)) = self.agents.iter().enumerate().min_by_key(|(_, k)| k.last)
        {
            self.agents.swap_remove(oldest);
        }
        self.agents.push(KnownAgent { agent: agent.into(), last: at, tag });
        true
    }

    /// Keeps the logins at which the tenant changed, in time order, whatever order they come in.
    fn learn_login(&mut self, at: Timestamp, tenant: Uuid) -> bool {
        let place = self.logins.partition_point(|(login, _)| *login <= at);
        let before = place.checked_sub(1).map(|i| self.logins[i].1);
        if before == Some(tenant) {
            return false;
        }
        self.logins.insert(place, (at, tenant));
        if self.logins.get(place + 1).is_some_and(|(_, next)| *next == tenant) {
            self.logins.remove(place + 1);
        }
        if self.logins.len() > LOGINS_MAX {
            self.logins.remove(0);
        }
        true
    }

    fn learn_export(&mut self, at: Timestamp, count: u32, bytes: u64) {
        const HOUR: i64 = 3_600_000_000;
        let hour = Timestamp::from_micros(at.as_micros().div_euclid(HOUR) * HOUR);
        match self.exports.binary_search_by_key(&hour, |e| e.hour) {
            Ok(i) => {
                self.exports[i].count = self.exports[i].count.saturating_add(count);
                self.exports[i].bytes = self.exports[i].bytes.saturating_add(bytes);
            }
            Err(i) => self.exports.insert(i, ExportHour { hour, count, bytes }),
        }
        let newest = self.exports.last().map_or(hour, |e| e.hour);
        self.exports.retain(|e| e.hour > newest.minus(EXPORT_MEMORY));
        self.dirty = true;
    }

    /// The user's mean an hour (count, bytes) over the hours with exports that ended before `before`.
    fn mean_exports(&self, before: Timestamp) -> (f64, f64) {
        let (mut hours, mut counts, mut sum) = (0.0, 0.0, 0.0);
        for e in self.exports.iter().filter(|e| e.hour.plus(Span::hours(1)) <= before) {
            hours += 1.0;
            counts += f64::from(e.count);
            sum += e.bytes as f64;
        }
        if hours == 0.0 { (0.0, 0.0) } else { (counts / hours, sum / hours) }
    }
}

/// A profile as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredProfile {
    /// Where the user's events come from.
    pub source: Source,
    /// The user.
    pub user: UserId<'static>,
    /// Their normal.
    pub profile: Profile,
}

/// The tags of the agents that were asked for last. There are few agents and they are long: finding one again costs a quarter of
/// hashing it so that nobody can aim at another's tag.
#[derive(Debug, Default)]
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

/// Everybody's normal.
#[derive(Debug)]
pub struct Profiles {
    profiles: Keyed<Profile>,
    tags: Tags,
    acquaintance: Acquaintance,
    /// Whether successful events are learnt; off while windows are rebuilt from events that the stored profiles know.
    pub learning: bool,
}

impl Profiles {
    /// Room for `cap` users.
    pub fn new(cap: usize, acquaintance: Acquaintance) -> Self {
        Self { profiles: Keyed::new(cap), tags: Tags::default(), acquaintance, learning: true }
    }

    /// How many users, and how many were given up.
    pub fn usage(&self) -> crate::rule::Usage {
        crate::rule::Usage { keys: self.profiles.len(), evicted: self.profiles.evicted() }
    }

    /// A user's normal.
    pub fn get(&self, user: Key) -> Option<&Profile> {
        self.profiles.get(user)
    }

    /// A user's normal, made when it is new.
    pub fn touch(&mut self, user: Key, event: &SecurityEvent<'_>) -> &mut Profile {
        let (profile, _) = self.profiles.touch(user, event.timestamp, Timestamp::MIN);
        if profile.user.is_none() {
            profile.user = event.user_id.clone().map(UserId::into_owned);
        }
        profile
    }

    /// The slot of a user's profile, if there is one.
    pub(crate) fn slot(&self, user: Key) -> Option<u32> {
        self.profiles.slot(user)
    }

    /// The same, where it was found at `hint` before.
    pub(crate) fn slot_near(&self, user: Key, hint: u32) -> Option<u32> {
        self.profiles.slot_near(user, hint)
    }

    /// The profile in a slot.
    pub(crate) fn at(&self, slot: u32) -> &Profile {
        self.profiles.state(slot)
    }

    /// Reads what [`Self::learn`] will need of a profile.
    pub(crate) fn look_ahead(&self, hint: u32) -> u64 {
        let Some(profile) = self.profiles.near(hint) else { return 0 };
        let ip = profile.ips.first().map_or(0, |known| known.ip[1]);
        let agent = profile.agents.first().map_or(0, |known| known.tag);
        let times = profile.last.as_micros() ^ profile.saved.as_micros();
        ip ^ agent ^ times as u64 ^ u64::from(profile.successes) ^ u64::from(profile.user.is_some())
    }

    /// Learns from a successful event of a named user; gives the profile's slot, too.
    pub(crate) fn learn(
        &mut self,
        (user, hint): (Key, u32),
        event: &SecurityEvent<'_>,
        names: &Names,
    ) -> (Novelty, Option<u32>) {
        if !self.learning {
            return (Novelty::default(), self.slot_near(user, hint));
        }
        let slot = self.profiles.touch_near(user, hint, event.timestamp, Timestamp::MIN);
        let profile = self.profiles.at_slot(slot);
        if profile.user.is_none() {
            profile.user = event.user_id.clone().map(UserId::into_owned);
        }
        let tags = &mut self.tags;
        (profile.learn(event, self.acquaintance, |agent| tags.of(agent, names)), Some(slot))
    }

    /// Learns an export and gives the user's mean an hour (count, bytes) over the hours with exports that ended before
    /// `before`.
    pub fn learn_export(&mut self, user: Key, event: &SecurityEvent<'_>, bytes: u64, before: Timestamp) -> (f64, f64) {
        let learning = self.learning;
        let profile = self.touch(user, event);
        if learning {
            profile.learn_export(event.timestamp, event.occurrences, bytes);
        }
        profile.mean_exports(before)
    }

    /// The profiles that changed since the last call.
    pub fn take_dirty(&mut self) -> Vec<StoredProfile> {
        let mut out = Vec::new();
        for (key, profile) in self.profiles.iter_mut().filter(|(_, p)| p.dirty) {
            profile.dirty = false;
            profile.saved = profile.last;
            if let Some(user) = profile.user.clone() {
                out.push(StoredProfile { source: key.origin(), user, profile: profile.clone() });
            }
        }
        out
    }

    /// Takes up a stored profile.
    pub fn restore(&mut self, key: Key, mut stored: StoredProfile, names: &Names) {
        for known in &mut stored.profile.agents {
            known.tag = names.tag(&known.agent);
        }
        let last = stored.profile.last;
        let (profile, _) = self.profiles.touch(key, last, Timestamp::MIN);
        *profile = stored.profile;
        profile.user = Some(stored.user);
        profile.dirty = false;
        profile.saved = profile.last;
    }
}
