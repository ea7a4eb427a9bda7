//! What is normal for a user: addresses, agents, tenants they logged in to, exports an hour. Kept
//! in the database, so that a restart forgets nobody.

use std::net::{IpAddr, Ipv6Addr};

use model::event::{Marks, UserId};
use model::{SecurityEvent, Source, Span, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::glance::Glance;
use crate::keyed::{Key, Keyed, Names, Place, ip_bits};

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

/// A user's normal, as it is stored.
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
    pub ips: Vec<KnownIp>,
    /// Agents.
    pub agents: Vec<KnownAgent>,
    /// Logins that changed the tenant, oldest first.
    pub logins: Vec<(Timestamp, Uuid)>,
    /// Hours with exports in the last 14 days, oldest first.
    pub exports: Vec<ExportHour>,
}

/// [`KnownIp`] with the address as a number, which compares faster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    ip: [u64; 2],
    first: Timestamp,
    last: Timestamp,
}

impl Known {
    /// No address: nothing was seen at the beginning of time.
    const NOWHERE: Self = Self {
        ip: [0; 2],
        first: Timestamp::MIN,
        last: Timestamp::MIN,
    };

    fn is_somewhere(&self) -> bool {
        self.last > Timestamp::MIN
    }

    fn of(known: &KnownIp) -> Self {
        Self {
            ip: halves(known.ip),
            first: known.first,
            last: known.last,
        }
    }

    fn to_ip(self) -> KnownIp {
        let bits = u128::from(self.ip[0]) << 64 | u128::from(self.ip[1]);
        KnownIp {
            ip: IpAddr::V6(Ipv6Addr::from(bits)).to_canonical(),
            first: self.first,
            last: self.last,
        }
    }
}

fn halves(ip: IpAddr) -> [u64; 2] {
    let bits = ip_bits(ip);
    [(bits >> 64) as u64, bits as u64]
}

/// A user's normal, as it is asked of nearly every event: with the slot that it stands in, two
/// lines of a processor's cache. Somebody is nearly always where and with what they were last.
#[derive(Debug)]
pub struct Normal {
    first: Timestamp,
    last: Timestamp,
    /// `last` when it was saved.
    saved: Timestamp,
    /// The address used last, if any.
    here: Known,
    /// The tag of the agent used last.
    with: u64,
    /// When it was used last; at the beginning of time when there was none.
    with_last: Timestamp,
    successes: u32,
    dirty: bool,
    more: Box<More>,
}

impl Default for Normal {
    fn default() -> Self {
        Self {
            first: Timestamp::MIN,
            last: Timestamp::MIN,
            saved: Timestamp::MIN,
            here: Known::NOWHERE,
            with: 0,
            with_last: Timestamp::MIN,
            successes: 0,
            dirty: false,
            more: Box::default(),
        }
    }
}

/// What is asked less often.
#[derive(Debug, Default)]
struct More {
    user: Option<UserId<'static>>,
    /// Addresses but the one used last.
    ips: Vec<Known>,
    /// The agent used last.
    agent: Box<str>,
    /// Agents but that one.
    agents: Vec<KnownAgent>,
    logins: Vec<(Timestamp, Uuid)>,
    exports: Vec<ExportHour>,
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
    /// Since when the user is known at the address; none when the event was not learnt from or has
    /// no address.
    pub here_since: Option<Timestamp>,
}

/// When a user counts as known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acquaintance {
    /// Successful events needed.
    pub events: u32,
    /// Spread over at least this long.
    pub spread: Span,
}

impl Normal {
    /// When the user was first seen at an address, if ever.
    pub fn first_seen_at(&self, ip: IpAddr) -> Option<Timestamp> {
        let ip = halves(ip);
        self.ips()
            .find(|known| known.ip == ip)
            .map(|known| known.first)
    }

    /// The tenant of the latest successful login at or before `at`; the earliest known one for an
    /// event before all.
    pub fn tenant_at(&self, at: Timestamp) -> Option<Uuid> {
        let logins = &self.more.logins;
        logins
            .iter()
            .rev()
            .find(|(login, _)| *login <= at)
            .or(logins.first())
            .map(|(_, tenant)| *tenant)
    }

    /// Addresses, the one used last first.
    fn ips(&self) -> impl Iterator<Item = &Known> {
        std::iter::once(&self.here)
            .filter(|here| here.is_somewhere())
            .chain(&self.more.ips)
    }

    fn learn(
        &mut self,
        event: &SecurityEvent<'_>,
        glance: &Glance,
        acquaintance: Acquaintance,
    ) -> Novelty {
        let at = glance.at;
        let known = self.successes >= acquaintance.events
            && self.last.since(self.first) >= acquaintance.spread;
        if self.successes == 0 {
            self.first = at;
            self.last = at;
        }
        self.first = self.first.min(at);
        self.last = self.last.max(at);
        self.successes = self.successes.saturating_add(1);
        // A user's thousandth view of a page is no news worth a write; that they are still around
        // is, once an hour.
        self.dirty |=
            self.successes <= 2 * acquaintance.events || at.since(self.saved) > SAVE_EVERY;
        let (mut ip, mut here_since) = (false, None);
        if let Some(address) = glance.ip() {
            let first = self.learn_ip(address, at);
            ip = first.is_none();
            here_since = Some(first.unwrap_or(at));
        }
        let agent = glance
            .agent()
            .is_some_and(|tag| self.learn_agent(event, tag, at));
        if glance.marks.intersects(Marks::LOGIN)
            && let Some(tenant) = event.instance_id
        {
            self.dirty |= self.more.learn_login(at, tenant);
        }
        self.dirty |= ip || agent;
        Novelty {
            known,
            ip,
            agent,
            here_since,
        }
    }

    /// Gives since when the address is known, unless it is new.
    fn learn_ip(&mut self, ip: [u64; 2], at: Timestamp) -> Option<Timestamp> {
        let Self { here, more, .. } = self;
        if here.ip != ip || !here.is_somewhere() {
            if let Some(elsewhere) = more.ips.iter_mut().find(|known| known.ip == ip) {
                std::mem::swap(here, elsewhere);
            } else {
                let before = std::mem::replace(
                    here,
                    Known {
                        ip,
                        first: at,
                        last: at,
                    },
                );
                if before.is_somewhere() {
                    push_bounded(&mut more.ips, IPS_MAX - 1, before, |known| known.last);
                }

                return None;
            }
        }

        here.last = here.last.max(at);
        here.first = here.first.min(at);
        Some(here.first)
    }

    /// Whether the agent is new.
    fn learn_agent(&mut self, event: &SecurityEvent<'_>, tag: u64, at: Timestamp) -> bool {
        let before = (self.with, self.with_last);
        if before.0 == tag && before.1 > Timestamp::MIN {
            self.with_last = before.1.max(at);
            return false;
        }

        let More { agent, agents, .. } = &mut *self.more;
        let known = agents
            .iter()
            .position(|known| known.tag == tag)
            .map(|i| agents.swap_remove(i));
        let new = known.is_none();
        let (text, last) = match known {
            Some(known) => (known.agent, known.last.max(at)),
            None => (event.user_agent.as_deref().unwrap_or_default().into(), at),
        };

        (self.with, self.with_last) = (tag, last);
        let text = std::mem::replace(agent, text);
        if before.1 > Timestamp::MIN {
            let before = KnownAgent {
                agent: text,
                last: before.1,
                tag: before.0,
            };
            push_bounded(agents, AGENTS_MAX - 1, before, |known| known.last);
        }

        new
    }

    fn to_profile(&self) -> Profile {
        let More {
            agent,
            agents,
            logins,
            exports,
            ..
        } = &*self.more;
        let with = KnownAgent {
            agent: agent.clone(),
            last: self.with_last,
            tag: self.with,
        };

        let with = Some(with).filter(|known| known.last > Timestamp::MIN);
        Profile {
            first: self.first,
            last: self.last,
            successes: self.successes,
            ips: self.ips().map(|known| known.to_ip()).collect(),
            agents: with.into_iter().chain(agents.iter().cloned()).collect(),
            logins: logins.clone(),
            exports: exports.clone(),
        }
    }

    fn from_stored(StoredProfile { user, profile, .. }: StoredProfile, names: &Names) -> Self {
        let Profile {
            first,
            last,
            successes,
            ips,
            agents,
            logins,
            exports,
        } = profile;

        let mut ips = ips.iter().take(IPS_MAX).map(Known::of);
        let mut agents = agents.into_iter().take(AGENTS_MAX);
        let (here, with) = (ips.next(), agents.next());
        let tagged = |known: KnownAgent| KnownAgent {
            tag: names.tag(&known.agent),
            ..known
        };

        let with = with.map(tagged);
        Self {
            first,
            last,
            saved: last,
            here: here.unwrap_or(Known::NOWHERE),
            with: with.as_ref().map_or(0, |known| known.tag),
            with_last: with.as_ref().map_or(Timestamp::MIN, |known| known.last),
            successes,
            dirty: false,
            more: Box::new(More {
                user: Some(user),
                ips: ips.collect(),
                agent: with.map(|known| known.agent).unwrap_or_default(),
                agents: agents.map(tagged).collect(),
                logins,
                exports,
            }),
        }
    }
}

/// Adds to a list that holds `max` at most; what was used longest ago makes room.
fn push_bounded<T>(list: &mut Vec<T>, max: usize, item: T, last: impl Fn(&T) -> Timestamp) {
    if list.len() >= max
        && let Some((oldest, _)) = list.iter().enumerate().min_by_key(|(_, known)| last(known))
    {
        list.swap_remove(oldest);
    }
    list.push(item);
}

impl More {
    /// Keeps the logins at which the tenant changed, in time order, whatever order they come in.
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
            .retain(|e| e.hour > newest.minus(EXPORT_MEMORY));
    }

    /// The user's mean an hour (count, bytes) over the hours with exports that ended before
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
    /// Where the user's events come from.
    pub source: Source,
    /// The user.
    pub user: UserId<'static>,
    /// Their normal.
    pub profile: Profile,
}

/// Everybody's normal.
#[derive(Debug)]
pub struct Profiles {
    profiles: Keyed<Normal>,
    acquaintance: Acquaintance,
    /// Whether successful events are learnt; off while windows are rebuilt from events that the
    /// stored profiles know.
    pub learning: bool,
}

impl Profiles {
    /// Room for `cap` users.
    pub fn new(cap: usize, acquaintance: Acquaintance) -> Self {
        Self {
            profiles: Keyed::new(cap),
            acquaintance,
            learning: true,
        }
    }

    /// How many users, and how many were given up.
    pub fn usage(&self) -> crate::rule::Usage {
        crate::rule::Usage {
            keys: self.profiles.len(),
            evicted: self.profiles.evicted(),
        }
    }

    /// A user's normal.
    pub fn get(&self, user: Key) -> Option<&Normal> {
        self.profiles.get(user)
    }

    /// Where a user's profile probably is.
    pub(crate) fn hint(&self, user: Key) -> u32 {
        self.profiles.hint(user)
    }

    /// The place of a user's profile, if there is one, which was found at `hint` before.
    pub(crate) fn place_near(&self, user: Key, hint: u32) -> Option<Place> {
        self.profiles
            .slot_near(user, hint)
            .map(|slot| self.profiles.place(slot))
    }

    /// The place of a user's profile, which is an empty one for whom nothing is known of yet.
    pub(crate) fn place(&mut self, (user, hint): (Key, u32), at: Timestamp) -> Place {
        let slot = self.profiles.touch_near(user, hint, at, Timestamp::MIN);
        self.profiles.place(slot)
    }

    /// The profile in a place.
    pub(crate) fn at(&self, place: Place) -> &Normal {
        self.profiles.state(place.slot)
    }

    /// Reads what [`Self::learn`] will need of a profile.
    pub(crate) fn look_ahead(&self, hint: u32) -> u64 {
        let Some(normal) = self.profiles.near(hint) else {
            return 0;
        };
        normal.here.ip[1] ^ normal.saved.as_micros() as u64 ^ u64::from(normal.successes)
    }

    /// Learns from a successful event of a named user; gives the profile's place, too.
    pub(crate) fn learn(
        &mut self,
        (user, hint): (Key, u32),
        event: &SecurityEvent<'_>,
        glance: &Glance,
    ) -> (Novelty, Option<Place>) {
        if !self.learning {
            return (Novelty::default(), self.place_near(user, hint));
        }

        let slot = self
            .profiles
            .touch_near(user, hint, glance.at, Timestamp::MIN);
        let place = self.profiles.place(slot);
        let normal = self.profiles.at_slot(slot);
        if normal.successes == 0 && normal.more.user.is_none() {
            normal.more.user = event.user_id.clone().map(UserId::into_owned);
        }

        (normal.learn(event, glance, self.acquaintance), Some(place))
    }

    /// Learns an export and gives the user's mean an hour (count, bytes) over the hours with
    /// exports that ended before `before`.
    pub fn learn_export(
        &mut self,
        user: Key,
        event: &SecurityEvent<'_>,
        bytes: u64,
        before: Timestamp,
    ) -> (f64, f64) {
        let learning = self.learning;
        let (normal, _) = self.profiles.touch(user, event.timestamp, Timestamp::MIN);
        if normal.more.user.is_none() {
            normal.more.user = event.user_id.clone().map(UserId::into_owned);
        }

        if learning {
            normal
                .more
                .learn_export(event.timestamp, event.occurrences, bytes);
            normal.dirty = true;
        }

        normal.more.mean_exports(before)
    }

    /// The profiles that changed since the last call.
    pub fn take_dirty(&mut self) -> Vec<StoredProfile> {
        let mut out = Vec::new();
        for (key, normal) in self.profiles.iter_mut().filter(|(_, p)| p.dirty) {
            normal.dirty = false;
            normal.saved = normal.last;
            if let Some(user) = normal.more.user.clone() {
                out.push(StoredProfile {
                    source: key.origin(),
                    user,
                    profile: normal.to_profile(),
                });
            }
        }

        out
    }

    /// Takes up a stored profile.
    pub fn restore(&mut self, key: Key, stored: StoredProfile, names: &Names) {
        let (normal, _) = self
            .profiles
            .touch(key, stored.profile.last, Timestamp::MIN);
        *normal = Normal::from_stored(stored, names);
    }
}
