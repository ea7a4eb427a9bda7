//! Bounded state per key: a slab with a hash index and a list in order of last use.
//!
//! Everything an attacker can make us remember lives in one of these, so the bound is the point: at the cap, the key that has
//! been quiet the longest goes, and is counted.

use std::hash::{BuildHasher, Hasher};
use std::net::IpAddr;

use foldhash::quality::RandomState;
use hashbrown::HashTable;
use model::{Source, Timestamp};
use siphasher::sip128::{Hasher128, SipHasher13};

/// What keys a rule: a value within a source. Addresses and UUIDs are stored as they are; names by a 128-bit hash keyed with
/// this process's randomness, which nobody outside can aim at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    hi: u64,
    lo: u64,
    source: Source,
}

impl Key {
    /// A 128-bit value within a source.
    pub const fn new(source: Source, value: u128) -> Self {
        Self { hi: (value >> 64) as u64, lo: value as u64, source }
    }

    /// An address within a source.
    pub fn ip(source: Source, ip: IpAddr) -> Self {
        Self::new(source, ip_bits(ip))
    }

    /// The source itself.
    pub const fn source(source: Source) -> Self {
        Self::new(source, 0)
    }

    /// Where the key's events come from.
    pub const fn origin(self) -> Source {
        self.source
    }
}

/// An address as a number, IPv4 in its IPv6-mapped form.
pub(crate) fn ip_bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(v4) => u128::from(v4.to_ipv6_mapped()),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

/// Turns names into key values.
#[derive(Clone, Debug)]
pub struct Names {
    seed: (u64, u64),
}

impl Names {
    /// A fresh seed per process.
    pub fn random() -> Self {
        let random = RandomState::default();
        Self { seed: (random.hash_one(1_u8), random.hash_one(2_u8)) }
    }

    /// The value of a name.
    pub fn value(&self, name: &str) -> u128 {
        let mut hasher = SipHasher13::new_with_keys(self.seed.0, self.seed.1);
        hasher.write(name.as_bytes());
        hasher.finish128().as_u128()
    }
}

const NONE: u32 = u32::MAX;

#[derive(Debug)]
struct Slot<S> {
    key: Key,
    /// Newest event time seen for the key.
    newest: Timestamp,
    newer: u32,
    older: u32,
    state: S,
}

/// A map from [`Key`] to `S`, bounded, in order of last use.
#[derive(Debug)]
pub(crate) struct Keyed<S> {
    slots: Vec<Slot<S>>,
    index: HashTable<u32>,
    /// Most recently used, and least.
    head: u32,
    tail: u32,
    cap: usize,
    evicted: u64,
    hasher: RandomState,
}

impl<S: Default> Keyed<S> {
    /// Room for `cap` keys, at least one.
    pub(crate) fn new(cap: usize) -> Self {
        Self {
            slots: Vec::new(),
            index: HashTable::new(),
            head: NONE,
            tail: NONE,
            cap: cap.clamp(1, NONE as usize - 1),
            evicted: 0,
            hasher: RandomState::default(),
        }
    }

    /// How many keys are tracked.
    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// How many keys were given up because the cap was reached.
    pub(crate) fn evicted(&self) -> u64 {
        self.evicted
    }

    /// The state of a key, if there is one; does not count as a use.
    pub(crate) fn get(&self, key: Key) -> Option<&S> {
        self.find(key).map(|at| &self.slots[at as usize].state)
    }

    fn find(&self, key: Key) -> Option<u32> {
        let hash = self.hasher.hash_one(key);
        self.index.find(hash, |at| self.slots[*at as usize].key == key).copied()
    }

    /// The state of a key and the newest time seen for it, `at` included; made when it is new. A new key takes the place of
    /// the quietest one when that has seen nothing since `stale`, or when the cap is reached.
    pub(crate) fn touch(&mut self, key: Key, at: Timestamp, stale: Timestamp) -> (&mut S, Timestamp) {
        let hash = self.hasher.hash_one(key);
        let found = self.index.find(hash, |i| self.slots[*i as usize].key == key).copied();
        let i = match found {
            Some(i) => {
                self.move_to_head(i);
                i
            }
            None => self.insert(key, hash, stale),
        };
        let slot = &mut self.slots[i as usize];
        slot.newest = slot.newest.max(at);
        (&mut slot.state, slot.newest)
    }

    fn insert(&mut self, key: Key, hash: u64, stale: Timestamp) -> u32 {
        let full = self.slots.len() >= self.cap;
        let reusable = self.tail != NONE && (full || self.slots[self.tail as usize].newest < stale);
        let i = if reusable {
            let i = self.tail;
            let slot = &self.slots[i as usize];
            self.evicted += u64::from(slot.newest >= stale);
            let old = self.hasher.hash_one(slot.key);
            if let Ok(entry) = self.index.find_entry(old, |other| *other == i) {
                entry.remove();
            }
            self.unlink(i);
            let slot = &mut self.slots[i as usize];
            slot.key = key;
            slot.newest = Timestamp::MIN;
            slot.state = S::default();
            i
        } else {
            let slot = Slot { key, newest: Timestamp::MIN, newer: NONE, older: NONE, state: S::default() };
            self.slots.push(slot);
            (self.slots.len() - 1) as u32
        };
        let (slots, hasher) = (&self.slots, &self.hasher);
        self.index.insert_unique(hash, i, |other| hasher.hash_one(slots[*other as usize].key));
        self.link_at_head(i);
        i
    }

    fn move_to_head(&mut self, i: u32) {
        if self.head != i {
            self.unlink(i);
            self.link_at_head(i);
        }
    }

    fn unlink(&mut self, i: u32) {
        let Slot { newer, older, .. } = self.slots[i as usize];
        match newer {
            NONE => self.head = older,
            n => self.slots[n as usize].older = older,
        }
        match older {
            NONE => self.tail = newer,
            o => self.slots[o as usize].newer = newer,
        }
    }

    fn link_at_head(&mut self, i: u32) {
        let old = self.head;
        let slot = &mut self.slots[i as usize];
        slot.newer = NONE;
        slot.older = old;
        match old {
            NONE => self.tail = i,
            o => self.slots[o as usize].newer = i,
        }
        self.head = i;
    }

    /// Every key's state, in no order; does not count as a use.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (Key, &mut S)> {
        self.slots.iter_mut().map(|slot| (slot.key, &mut slot.state))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(n: u8) -> Key {
        Key::new(Source::AuditDb, n.into())
    }

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    #[test]
    fn at_the_cap_the_quietest_goes_and_is_counted() {
        let mut keyed = Keyed::<u32>::new(2);
        *keyed.touch(key(1), at(1), at(0)).0 = 10;
        *keyed.touch(key(2), at(2), at(0)).0 = 20;
        keyed.touch(key(1), at(3), at(0));
        *keyed.touch(key(3), at(4), at(0)).0 = 30;
        assert_eq!((keyed.get(key(1)), keyed.get(key(2)), keyed.get(key(3))), (Some(&10), None, Some(&30)));
        assert_eq!((keyed.len(), keyed.evicted()), (2, 1));
    }

    #[test]
    fn a_stale_key_makes_room_without_being_an_eviction() {
        let mut keyed = Keyed::<u32>::new(10);
        keyed.touch(key(1), at(1), at(0));
        keyed.touch(key(2), at(500), at(200));
        assert_eq!((keyed.len(), keyed.evicted()), (1, 0));
        assert_eq!(keyed.get(key(1)), None);
    }

    #[test]
    fn one_host_in_two_spellings_is_one_key() {
        let v4 = Key::ip(Source::Syslog, "192.0.2.1".parse().unwrap());
        assert_eq!(v4, Key::ip(Source::Syslog, "::ffff:192.0.2.1".parse().unwrap()));
        assert_ne!(v4, Key::ip(Source::AuditDb, "192.0.2.1".parse().unwrap()));
    }

    proptest! {
        #[test]
        fn behaves_like_a_list_in_order_of_use(cap in 1_usize..8, uses in proptest::collection::vec(0_u8..12, 0..200)) {
            let mut keyed = Keyed::<u64>::new(cap);
            let mut model: Vec<(u8, u64)> = Vec::new();
            for n in uses {
                *keyed.touch(key(n), at(1), at(0)).0 += 1;
                let count = match model.iter().position(|(k, _)| *k == n) {
                    Some(i) => model.remove(i).1,
                    None => { if model.len() == cap { model.remove(0); } 0 }
                };
                model.push((n, count + 1));
                prop_assert_eq!(keyed.len(), model.len());
                for (k, count) in &model {
                    prop_assert_eq!(keyed.get(key(*k)), Some(count));
                }
            }
        }
    }
}
