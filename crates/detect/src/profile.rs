//! User profiles, the normal behavior of each user: addresses, agents, tenants they logged in to,
//! exports per hour. Stored in the database, so that they survive a restart.

use std::net::{IpAddr, Ipv6Addr};

use model::event::{EventTags, UserId};
use model::{SecurityEvent, Source, Span, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::clock_cache::{ClockCache, SlotRef};
use crate::event_header::EventHeader;
use crate::keyed::{Key, KeyHasher, ip_bits};

/// Maximum number of known addresses per user.
pub(crate) const IPS_MAX: usize = 64;
/// Maximum number of known agents per user.
pub(crate) const AGENTS_MAX: usize = 32;
/// How often a profile without new facts is saved, in event time.
const SAVE_INTERVAL: Span = Span::hours(1);
/// Maximum number of remembered tenant changes.
const LOGINS_MAX: usize = 32;
/// How long exports are remembered.
const EXPORT_RETENTION: Span = Span::days(14);

/// An address from which a user was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownIp {
    /// The address.
    pub ip: IpAddr,
    /// First successful event from there.
    pub first: Timestamp,
    /// Latest successful event from there.
    pub last: Timestamp,
}

/// A client with which a user was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownAgent {
    /// `user_agent`.
    pub agent: Box<str>,
    /// Latest successful event with it.
    pub last: Timestamp,
    /// Hash of the agent by [`KeyHasher`]: compared instead of the text, which need not be fetched.
    #[serde(skip)]
    hash: u64,
}

/// A clock hour in which a user exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportHour {
    /// Start of the hour.
    pub hour: Timestamp,
    /// Number of exports.
    pub count: u32,
    /// Number of exported bytes.
    pub bytes: u64,
}

/// A user's profile in its stored form.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Profile {
    /// First successful event.
    pub first: Timestamp,
    /// Latest successful event.
    pub last: Timestamp,
    /// Number of successful events.
    pub successes: u32,
    /// Known addresses, the one used last first.
    pub ips: Vec<KnownIp>,
    /// Known agents, the one used last first.
    pub agents: Vec<KnownAgent>,
    /// Logins that changed the tenant, oldest first.
    pub logins: Vec<(Timestamp, Uuid)>,
    /// Hours with exports in the last 14 days, oldest first.
    pub exports: Vec<ExportHour>,
}

/// A [`KnownIp`] with the address as a number, which compares faster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct KnownAddress {
    ip: [u64; 2],
    first: Timestamp,
    last: Timestamp,
}

impl KnownAddress {
    /// No address: its time is before every event.
    const NONE: Self = Self {
        ip: [0; 2],
        first: Timestamp::MIN,
        last: Timestamp::MIN,
    };

    fn is_known(&self) -> bool {
        self.last > Timestamp::MIN
    }

    fn of(known: &KnownIp) -> Self {
        Self {
            ip: ip_halves(known.ip),
            first: known.first,
            last: known.last,
        }
    }

    fn to_known_ip(self) -> KnownIp {
        let bits = u128::from(self.ip[0]) << 64 | u128::from(self.ip[1]);
        KnownIp {
            ip: IpAddr::V6(Ipv6Addr::from(bits)).to_canonical(),
            first: self.first,
            last: self.last,
        }
    }
}

fn ip_halves(ip: IpAddr) -> [u64; 2] {
    let bits = ip_bits(ip);
    [(bits >> 64) as u64, bits as u64]
}

/// A user's profile as nearly every event needs it: with its slot, two cache lines. Users nearly
/// always use the same address and agent as last time.
#[derive(Debug)]
pub struct UserProfile {
    first: Timestamp,
    last: Timestamp,
    /// `last` when it was saved.
    saved: Timestamp,
    /// The address used last; [`KnownAddress::NONE`] if there is none.
    last_ip: KnownAddress,
    /// Hash of the agent used last.
    last_agent_hash: u64,
    /// When that agent was used last; `Timestamp::MIN` if there was none.
    last_agent_at: Timestamp,
    successes: u32,
    dirty: bool,
    details: Box<ProfileDetails>,
}

impl Default for UserProfile {
    fn default() -> Self {
        Self {
            first: Timestamp::MIN,
            last: Timestamp::MIN,
            saved: Timestamp::MIN,
            last_ip: KnownAddress::NONE,
            last_agent_hash: 0,
            last_agent_at: Timestamp::MIN,
            successes: 0,
            dirty: false,
            details: Box::default(),
        }
    }
}

/// The part of a profile that is needed less often.
#[derive(Debug, Default)]
struct ProfileDetails {
    user: Option<UserId<'static>>,
    /// Addresses except the one used last.
    ips: Vec<KnownAddress>,
    /// The agent used last.
    agent: Box<str>,
    /// Agents except the one used last.
    agents: Vec<KnownAgent>,
    logins: Vec<(Timestamp, Uuid)>,
    exports: Vec<ExportHour>,
}

/// What an event revealed about its user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Novelty {
    /// Whether the user was known before the event.
    pub known: bool,
    /// Whether the address is new.
    pub ip: bool,
    /// Whether the agent is new.
    pub agent: bool,
    /// Since when the user is known at the address; `None` if the event was not learned from or has
    /// no address.
    pub ip_known_since: Option<Timestamp>,
}

/// When a user counts as known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Familiarity {
    /// Minimum number of successful events.
    pub events: u32,
    /// Minimum time between the first and the last of them.
    pub spread: Span,
}

impl UserProfile {
    /// Returns when the user was first seen at an address, if ever.
    pub fn first_seen_at(&self, ip: IpAddr) -> Option<Timestamp> {
        let ip = ip_halves(ip);
        self.known_ips()
            .find(|known| known.ip == ip)
            .map(|known| known.first)
    }

    /// Returns the tenant of the latest successful login at or before `at`; for an event before all
    /// known logins, that of the earliest.
    pub fn tenant_at(&self, at: Timestamp) -> Option<Uuid> {
        let logins = &self.details.logins;
        logins
            .iter()
            .rev()
            .find(|(login, _)| *login <= at)
            .or(logins.first())
            .map(|(_, tenant)| *tenant)
    }

    /// Returns the known addresses, the one used last first.
    fn known_ips(&self) -> impl Iterator<Item = &KnownAddress> {
        std::iter::once(&self.last_ip)
            .filter(|last_ip| last_ip.is_known())
            .chain(&self.details.ips)
    }

    fn learn_event(
        &mut self,
        event: &SecurityEvent<'_>,
        header: &EventHeader,
        familiarity: Familiarity,
    ) -> Novelty {
        let at = header.at;
        let known = self.successes >= familiarity.events
            && self.last.since(self.first) >= familiarity.spread;

        if self.successes == 0 {
            self.first = at;
            self.last = at;
        }

        self.first = self.first.min(at);
        self.last = self.last.max(at);
        self.successes = self.successes.saturating_add(1);

        // A user's thousandth page view is not worth a write; that the user is still active is,
        // once an hour.
        self.dirty |=
            self.successes <= 2 * familiarity.events || at.since(self.saved) > SAVE_INTERVAL;
        let (mut ip, mut ip_known_since) = (false, None);
        if let Some(address) = header.ip_halves() {
            let first = self.learn_ip(address, at);
            ip = first.is_none();
            ip_known_since = Some(first.unwrap_or(at));
        }
        let agent = header
            .agent_hash()
            .is_some_and(|hash| self.learn_agent(event, hash, at));
        if header.marks.intersects(EventTags::LOGIN)
            && let Some(tenant) = event.instance_id
        {
            self.dirty |= self.details.learn_login(at, tenant);
        }
        self.dirty |= ip || agent;
        Novelty {
            known,
            ip,
            agent,
            ip_known_since,
        }
    }

    /// Learns an address; returns since when it is known, unless it is new.
    fn learn_ip(&mut self, ip: [u64; 2], at: Timestamp) -> Option<Timestamp> {
        let Self {
            last_ip, details, ..
        } = self;
        if last_ip.ip != ip || !last_ip.is_known() {
            if let Some(known) = details.ips.iter_mut().find(|known| known.ip == ip) {
                std::mem::swap(last_ip, known);
            } else {
                let before = std::mem::replace(
                    last_ip,
                    KnownAddress {
                        ip,
                        first: at,
                        last: at,
                    },
                );
                if before.is_known() {
                    push_bounded(&mut details.ips, IPS_MAX - 1, before, |known| known.last);
                }

                return None;
            }
        }

        last_ip.last = last_ip.last.max(at);
        last_ip.first = last_ip.first.min(at);
        Some(last_ip.first)
    }

    /// Learns an agent; returns whether it is new.
    fn learn_agent(&mut self, event: &SecurityEvent<'_>, hash: u64, at: Timestamp) -> bool {
        let before = (self.last_agent_hash, self.last_agent_at);
        if before.0 == hash && before.1 > Timestamp::MIN {
            self.last_agent_at = before.1.max(at);
            return false;
        }

        let ProfileDetails { agent, agents, .. } = &mut *self.details;
        let known = agents
            .iter()
            .position(|known| known.hash == hash)
            .map(|i| agents.swap_remove(i));
        let new = known.is_none();
        let (text, last) = match known {
            Some(known) => (known.agent, known.last.max(at)),
            None => (event.user_agent.as_deref().unwrap_or_default().into(), at),
        };

        (self.last_agent_hash, self.last_agent_at) = (hash, last);
        let text = std::mem::replace(agent, text);
        if before.1 > Timestamp::MIN {
            let before = KnownAgent {
                agent: text,
                last: before.1,
                hash: before.0,
            };
            push_bounded(agents, AGENTS_MAX - 1, before, |known| known.last);
        }

        new
    }

    fn to_profile(&self) -> Profile {
        let ProfileDetails {
            agent,
            agents,
            logins,
            exports,
            ..
        } = &*self.details;
        let last_agent = KnownAgent {
            agent: agent.clone(),
            last: self.last_agent_at,
            hash: self.last_agent_hash,
        };

        let last_agent = Some(last_agent).filter(|known| known.last > Timestamp::MIN);
        Profile {
            first: self.first,
            last: self.last,
            successes: self.successes,
            ips: self.known_ips().map(|known| known.to_known_ip()).collect(),
            agents: last_agent
                .into_iter()
                .chain(agents.iter().cloned())
                .collect(),
            logins: logins.clone(),
            exports: exports.clone(),
        }
    }

    fn from_stored(
        StoredProfile { user, profile, .. }: StoredProfile,
        key_hasher: &KeyHasher,
    ) -> Self {
        let Profile {
            first,
            last,
            successes,
            ips,
            agents,
            logins,
            exports,
        } = profile;

        let mut ips = ips.iter().take(IPS_MAX).map(KnownAddress::of);
        let mut agents = agents.into_iter().take(AGENTS_MAX);
        let (last_ip, last_agent) = (ips.next(), agents.next());
        let tagged = |known: KnownAgent| KnownAgent {
            hash: key_hasher.short_hash(&known.agent),
            ..known
        };

        let last_agent = last_agent.map(tagged);
        Self {
            first,
            last,
            saved: last,
            last_ip: last_ip.unwrap_or(KnownAddress::NONE),
            last_agent_hash: last_agent.as_ref().map_or(0, |known| known.hash),
            last_agent_at: last_agent
                .as_ref()
                .map_or(Timestamp::MIN, |known| known.last),
            successes,
            dirty: false,
            details: Box::new(ProfileDetails {
                user: Some(user),
                ips: ips.collect(),
                agent: last_agent.map(|known| known.agent).unwrap_or_default(),
                agents: agents.map(tagged).collect(),
                logins,
                exports,
            }),
        }
    }
}

/// Adds to a list of at most `max` items; replaces the one used longest ago.
fn push_bounded<T>(list: &mut Vec<T>, max: usize, item: T, last: impl Fn(&T) -> Timestamp) {
    if list.len() >= max
        && let Some((oldest, _)) = list.iter().enumerate().min_by_key(|(_, known)| last(known))
    {
        list.swap_remove(oldest);
    }
    list.push(item);
}

impl ProfileDetails {
    /// Records a login if the tenant changed there. Keeps time order, whatever the order of
    /// arrival.
    fn learn_login(&mut self, at: Timestamp, tenant: Uuid) -> bool {
        let place = self.logins.partition_point(|(login, _)| *login <= at);
        let before = place.checked_sub(1).map(|i| self.logins[i].1);
        if before == Some(tenant) {
            return false;
        }
        self.logins.insert(place, (at, tenant));
        if self
            .logins
            .get(place + 1)
            .is_some_and(|(_, next)| *next == tenant)
        {
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
        self.exports
            .retain(|e| e.hour > newest.minus(EXPORT_RETENTION));
    }

    /// Returns the user's hourly mean (count, bytes) over the hours with exports that ended before
    /// `before`.
    fn mean_exports(&self, before: Timestamp) -> (f64, f64) {
        let (mut hours, mut counts, mut sum) = (0.0, 0.0, 0.0);
        for e in self
            .exports
            .iter()
            .filter(|e| e.hour.plus(Span::hours(1)) <= before)
        {
            hours += 1.0;
            counts += f64::from(e.count);
            sum += e.bytes as f64;
        }
        if hours == 0.0 {
            (0.0, 0.0)
        } else {
            (counts / hours, sum / hours)
        }
    }
}

/// A profile as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredProfile {
    /// Source of the user's events.
    pub source: Source,
    /// The user.
    pub user: UserId<'static>,
    /// Profile of the user.
    pub profile: Profile,
}

/// The profiles of all users.
#[derive(Debug)]
pub struct Profiles {
    profiles: ClockCache<UserProfile>,
    familiarity: Familiarity,
    /// Whether profiles learn from events; off while windows are rebuilt from events that the
    /// stored profiles include.
    pub learning: bool,
}

impl Profiles {
    /// Creates an empty set of profiles for `cap` users.
    pub fn new(cap: usize, familiarity: Familiarity) -> Self {
        Self {
            profiles: ClockCache::new(cap),
            familiarity,
            learning: true,
        }
    }

    /// Returns the number of known and evicted users.
    pub fn usage(&self) -> crate::rule::Usage {
        crate::rule::Usage {
            keys: self.profiles.len(),
            evicted: self.profiles.evicted(),
        }
    }

    /// Returns a user's profile.
    pub fn get(&self, user: Key) -> Option<&UserProfile> {
        self.profiles.get(user)
    }

    /// Returns the probable slot of a user's profile.
    pub(crate) fn find_hint(&self, user: Key) -> u32 {
        self.profiles.find_hint(user)
    }

    /// Returns the slot of a user's profile, if there is one, that was found at `hint` before.
    pub(crate) fn find_slot_ref(&self, user: Key, hint: u32) -> Option<SlotRef> {
        self.profiles
            .find_slot_at_hint(user, hint)
            .map(|slot| self.profiles.slot_ref(slot))
    }

    /// Returns the slot of a user's profile; adds an empty one for a new user.
    pub(crate) fn touch_slot_ref(&mut self, user: Key, hint: u32, at: Timestamp) -> SlotRef {
        let slot = self.profiles.touch_at_hint(user, hint, at, Timestamp::MIN);
        self.profiles.slot_ref(slot)
    }

    /// Returns the profile in a slot.
    pub(crate) fn profile_at(&self, place: SlotRef) -> &UserProfile {
        self.profiles.state_in(place.slot)
    }

    /// Prefetches what [`Self::learn_event`] will need of a profile. The return value keeps the
    /// reads from being optimized away.
    pub(crate) fn prefetch(&self, hint: u32) -> u64 {
        let Some(normal) = self.profiles.state_at_hint(hint) else {
            return 0;
        };
        normal.last_ip.ip[1] ^ normal.saved.as_micros() as u64 ^ u64::from(normal.successes)
    }

    /// Learns from a successful event of a named user; returns what was new, and the profile's
    /// slot.
    pub(crate) fn learn_event(
        &mut self,
        user: Key,
        hint: u32,
        event: &SecurityEvent<'_>,
        header: &EventHeader,
    ) -> (Novelty, Option<SlotRef>) {
        if !self.learning {
            return (Novelty::default(), self.find_slot_ref(user, hint));
        }

        let slot = self
            .profiles
            .touch_at_hint(user, hint, header.at, Timestamp::MIN);
        let place = self.profiles.slot_ref(slot);
        let normal = self.profiles.at_slot(slot);
        if normal.successes == 0 && normal.details.user.is_none() {
            normal.details.user = event.user_id.clone().map(UserId::into_owned);
        }

        (
            normal.learn_event(event, header, self.familiarity),
            Some(place),
        )
    }

    /// Learns an export; returns the user's hourly mean (count, bytes) over the hours with exports
    /// that ended before `before`.
    pub fn learn_export(
        &mut self,
        user: Key,
        event: &SecurityEvent<'_>,
        bytes: u64,
        before: Timestamp,
    ) -> (f64, f64) {
        let learning = self.learning;
        let (normal, _) = self.profiles.touch(user, event.timestamp, Timestamp::MIN);
        if normal.details.user.is_none() {
            normal.details.user = event.user_id.clone().map(UserId::into_owned);
        }

        if learning {
            normal
                .details
                .learn_export(event.timestamp, event.occurrences, bytes);
            normal.dirty = true;
        }

        normal.details.mean_exports(before)
    }

    /// Returns the profiles that changed since the last call.
    pub fn take_dirty(&mut self) -> Vec<StoredProfile> {
        let mut out = Vec::new();
        for (key, normal) in self.profiles.iter_mut().filter(|(_, p)| p.dirty) {
            normal.dirty = false;
            normal.saved = normal.last;
            if let Some(user) = normal.details.user.clone() {
                out.push(StoredProfile {
                    source: key.origin(),
                    user,
                    profile: normal.to_profile(),
                });
            }
        }

        out
    }

    /// Restores a stored profile.
    pub fn restore(&mut self, key: Key, stored: StoredProfile, key_hasher: &KeyHasher) {
        let (normal, _) = self
            .profiles
            .touch(key, stored.profile.last, Timestamp::MIN);
        *normal = UserProfile::from_stored(stored, key_hasher);
    }
}
