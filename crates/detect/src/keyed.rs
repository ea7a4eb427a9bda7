//! Bounded state per key: a slab with a hash index and a list in order of last use.
//!
//! Everything an attacker can make us remember lives in one of these, so the bound is the point: at
//! the cap, a key that has been quiet for long goes, and is counted. Which one is found by second
//! chance: a use only sets a mark on the key's own cache line, where a list in exact order of use
//! would touch three others.

use std::hash::BuildHasher;
use std::net::IpAddr;
use std::ops::{Index, IndexMut};

use foldhash::quality::RandomState;
use hashbrown::HashTable;
use model::{Source, Timestamp};
use siphasher::sip128::SipHasher13;

/// What keys a rule: a value within a source. Addresses and UUIDs are stored as they are; names by
/// a 128-bit hash keyed with this process's randomness, which nobody outside can aim at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    hi: u64,
    lo: u64,
    source: Source,
}

impl Key {
    /// A 128-bit value within a source.
    pub const fn new(source: Source, value: u128) -> Self {
        Self {
            hi: (value >> 64) as u64,
            lo: value as u64,
            source,
        }
    }

    /// An address within a source.
    pub fn ip(source: Source, ip: IpAddr) -> Self {
        Self::new(source, ip_bits(ip))
    }

    /// The source itself.
    pub const fn source(source: Source) -> Self {
        Self::new(source, 0)
    }

    /// A 128-bit value in two halves, within a source.
    pub(crate) const fn from_halves(source: Source, [hi, lo]: [u64; 2]) -> Self {
        Self { hi, lo, source }
    }

    /// The value in two halves.
    pub(crate) const fn halves(self) -> [u64; 2] {
        [self.hi, self.lo]
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
        Self {
            seed: (random.hash_one(1_u8), random.hash_one(2_u8)),
        }
    }

    /// Half a value: enough to tell the few texts that one key knows from each other.
    pub fn tag(&self, name: &str) -> u64 {
        self.value(name) as u64
    }

    /// The value of a name.
    pub fn value(&self, name: &str) -> u128 {
        SipHasher13::new_with_keys(self.seed.0, self.seed.1)
            .hash(name.as_bytes())
            .as_u128()
    }
}

/// The key's parts lie flat, so that the marks fill what would else be padding.
#[derive(Debug)]
struct Slot<S> {
    hi: u64,
    lo: u64,
    /// Newest event time seen for the key.
    newest: Timestamp,
    /// How many keys had the slot before.
    generation: u32,
    source: Source,
    /// Used since the hand last came by.
    used: bool,
    state: S,
}

impl<S: Default> Slot<S> {
    fn new(key: Key, generation: u32) -> Self {
        let Key { hi, lo, source } = key;
        Self {
            hi,
            lo,
            newest: Timestamp::MIN,
            generation,
            source,
            used: true,
            state: S::default(),
        }
    }

    fn key(&self) -> Key {
        Key {
            hi: self.hi,
            lo: self.lo,
            source: self.source,
        }
    }
}

/// A list that grows without moving what it holds: doubling a table of a million slots copies it,
/// into memory that the system must clear first, and all of it while events wait.
#[derive(Debug)]
struct Slab<T> {
    /// All but the last are full.
    chunks: Vec<Vec<T>>,
}

/// Slots in a piece of a slab, as a power of two.
const CHUNK_BITS: u32 = 12;
const CHUNK: usize = 1 << CHUNK_BITS;

impl<T> Slab<T> {
    const fn new() -> Self {
        Self { chunks: Vec::new() }
    }

    fn len(&self) -> usize {
        self.chunks
            .last()
            .map_or(0, |last| (self.chunks.len() - 1) * CHUNK + last.len())
    }

    fn push(&mut self, item: T) {
        match self.chunks.last_mut() {
            Some(last) if last.len() < CHUNK => last.push(item),
            // The first piece grows as needed: most maps stay small.
            None => self.chunks.push(vec![item]),
            Some(_) => {
                let mut chunk = Vec::with_capacity(CHUNK);
                chunk.push(item);
                self.chunks.push(chunk);
            }
        }
    }

    fn get(&self, i: usize) -> Option<&T> {
        self.chunks.get(i >> CHUNK_BITS)?.get(i & (CHUNK - 1))
    }

    fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flatten()
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.chunks.iter_mut().flatten()
    }
}

impl<T> Index<usize> for Slab<T> {
    type Output = T;
    fn index(&self, i: usize) -> &T {
        &self.chunks[i >> CHUNK_BITS][i & (CHUNK - 1)]
    }
}

impl<T> IndexMut<usize> for Slab<T> {
    fn index_mut(&mut self, i: usize) -> &mut T {
        &mut self.chunks[i >> CHUNK_BITS][i & (CHUNK - 1)]
    }
}

/// Where a key's slot is, with enough of its hash to tell most others without a look at theirs, and
/// to grow the index without a look at any.
#[derive(Clone, Copy, Debug)]
struct Entry {
    slot: u32,
    hash: u32,
}

/// The hash that the index works with: its control bytes are taken from the top, its places from
/// the bottom.
fn spread(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}

/// A hint that leads nowhere.
pub(crate) const NOWHERE: u32 = u32::MAX;

/// How many slots the hand looks at for a stale key before a new slot is made.
const LOOKS: usize = 2;

/// A map from [`Key`] to `S`, bounded.
#[derive(Debug)]
pub(crate) struct Keyed<S> {
    slots: Slab<Slot<S>>,
    index: HashTable<Entry>,
    /// Goes round the slots, taking marks away; a slot without one is given up.
    hand: usize,
    cap: usize,
    evicted: u64,
    hasher: RandomState,
}

impl<S: Default> Keyed<S> {
    /// Room for `cap` keys, at least one.
    pub(crate) fn new(cap: usize) -> Self {
        Self {
            slots: Slab::new(),
            index: HashTable::new(),
            hand: 0,
            cap: cap.clamp(1, u32::MAX as usize - 1),
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
        self.slot(key).map(|slot| self.state(slot))
    }

    fn hash(&self, key: Key) -> u32 {
        (self.hasher.hash_one(key) >> 32) as u32
    }

    /// The slot of a key, if it has one. It is the key's until the key is given up.
    pub(crate) fn slot(&self, key: Key) -> Option<u32> {
        if self.index.is_empty() {
            None
        } else {
            self.find(key, self.hash(key))
        }
    }

    /// Where the key's slot probably is: what is asked ahead must not wait for two look-ups one
    /// after the other, and whose slot it is, is looked at when its time has come.
    pub(crate) fn hint(&self, key: Key) -> u32 {
        let hash = self.hash(key);
        self.index
            .find(spread(hash), |e| e.hash == hash)
            .map_or(NOWHERE, |e| e.slot)
    }

    fn find(&self, key: Key, hash: u32) -> Option<u32> {
        let is = |e: &Entry| e.hash == hash && self.slots[e.slot as usize].key() == key;
        self.index.find(spread(hash), is).map(|e| e.slot)
    }

    /// The state of a key and the newest time seen for it, `at` included; made when it is new. A
    /// new key takes the place of one that has seen nothing since `stale`, when the hand comes by
    /// one, or of a quiet one when the cap is reached.
    pub(crate) fn touch(
        &mut self,
        key: Key,
        at: Timestamp,
        stale: Timestamp,
    ) -> (&mut S, Timestamp) {
        let i = self.touch_slot(key, at, stale);
        let slot = &mut self.slots[i as usize];
        (&mut slot.state, slot.newest)
    }

    /// The same, giving the slot.
    pub(crate) fn touch_slot(&mut self, key: Key, at: Timestamp, stale: Timestamp) -> u32 {
        let hash = self.hash(key);
        let i = self
            .find(key, hash)
            .unwrap_or_else(|| self.insert(key, hash, stale));
        let slot = &mut self.slots[i as usize];
        slot.used = true;
        slot.newest = slot.newest.max(at);
        i
    }

    /// The slot of a key that was found at `hint` before, perhaps long ago; looked up where it is
    /// another's by now.
    pub(crate) fn slot_near(&self, key: Key, hint: u32) -> Option<u32> {
        if self.is_at(key, hint) {
            Some(hint)
        } else {
            self.slot(key)
        }
    }

    fn is_at(&self, key: Key, hint: u32) -> bool {
        self.slots
            .get(hint as usize)
            .is_some_and(|slot| slot.key() == key)
    }

    /// As [`Self::touch_slot`], with a hint.
    pub(crate) fn touch_near(
        &mut self,
        key: Key,
        hint: u32,
        at: Timestamp,
        stale: Timestamp,
    ) -> u32 {
        if !self.is_at(key, hint) {
            return self.touch_slot(key, at, stale);
        }
        let slot = &mut self.slots[hint as usize];
        slot.used = true;
        slot.newest = slot.newest.max(at);
        hint
    }

    /// The state at a hint, whosever it is by now.
    pub(crate) fn near(&self, hint: u32) -> Option<&S> {
        self.slots.get(hint as usize).map(|slot| &slot.state)
    }

    /// A slot as the key's that has it now.
    pub(crate) fn place(&self, slot: u32) -> Place {
        Place {
            slot,
            generation: self.slots[slot as usize].generation,
        }
    }

    /// The state in a slot; does not count as a use.
    pub(crate) fn state(&self, slot: u32) -> &S {
        &self.slots[slot as usize].state
    }

    /// The state in a slot.
    pub(crate) fn at_slot(&mut self, slot: u32) -> &mut S {
        &mut self.slots[slot as usize].state
    }

    fn insert(&mut self, key: Key, hash: u32, stale: Timestamp) -> u32 {
        let slot = if let Some(i) = self.replaceable(stale) {
            let old = &self.slots[i];
            self.evicted += u64::from(old.newest >= stale);
            let old = self.hash(old.key());
            if let Ok(entry) = self.index.find_entry(spread(old), |e| e.slot as usize == i) {
                entry.remove();
            }

            let generation = self.slots[i].generation.wrapping_add(1);
            self.slots[i] = Slot::new(key, generation);
            i as u32
        } else {
            self.slots.push(Slot::new(key, 0));
            (self.slots.len() - 1) as u32
        };

        self.index
            .insert_unique(spread(hash), Entry { slot, hash }, |e| spread(e.hash));
        slot
    }

    /// A slot to use again: a stale one under the hand, or at the cap the first one without a mark.
    fn replaceable(&mut self, stale: Timestamp) -> Option<usize> {
        let full = self.slots.len() >= self.cap;
        // After one round every mark is gone, so that the second must find one.
        let looks = if full {
            2 * self.slots.len() + 1
        } else {
            LOOKS.min(self.slots.len())
        };

        for _ in 0..looks {
            let i = self.hand;
            self.hand = (self.hand + 1) % self.slots.len();
            let slot = &mut self.slots[i];
            if slot.newest < stale || (full && !slot.used) {
                return Some(i);
            }

            if full {
                slot.used = false;
            }
        }

        None
    }

    /// Every key's state, in no order; does not count as a use.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (Key, &mut S)> {
        self.slots
            .iter_mut()
            .map(|slot| (slot.key(), &mut slot.state))
    }
}

/// A slot, and which of the keys that had it one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) slot: u32,
    generation: u32,
}

/// State that knows whose it is.
pub(crate) trait Owned: Default {
    /// Which of the slot's keys it belongs to.
    fn generation(&mut self) -> &mut u32;
}

/// State of users beside their profile, found by the profile's slot: no second look-up for what is
/// asked of every event.
#[derive(Debug)]
pub(crate) struct Beside<S> {
    states: Slab<S>,
}

impl<S> Default for Beside<S> {
    fn default() -> Self {
        Self {
            states: Slab::new(),
        }
    }
}

impl<S: Owned> Beside<S> {
    /// The state of the key that has this place.
    pub(crate) fn touch(&mut self, place: Place) -> &mut S {
        let i = place.slot as usize;
        while self.states.len() <= i {
            self.states.push(S::default());
        }

        let state = &mut self.states[i];
        // The slot was another key's.
        if *state.generation() != place.generation {
            *state = S::default();
            *state.generation() = place.generation;
        }

        state
    }

    /// The state in a slot, whosever it is.
    pub(crate) fn near(&self, slot: u32) -> Option<&S> {
        self.states.get(slot as usize)
    }

    /// Every state, whosever it is.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &S> {
        self.states.iter()
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
    fn at_the_cap_a_quiet_key_goes_and_is_counted() {
        let mut keyed = Keyed::<u32>::new(3);
        for n in 1..=3 {
            *keyed.touch(key(n), at(1), at(0)).0 = 10 * u32::from(n);
        }

        // The first to go over the cap takes every mark away and the first key.
        keyed.touch(key(4), at(2), at(0));
        keyed.touch(key(2), at(3), at(0));
        keyed.touch(key(5), at(4), at(0));
        assert_eq!(
            (keyed.get(key(1)), keyed.get(key(2)), keyed.get(key(3))),
            (None, Some(&20), None)
        );
        assert_eq!((keyed.len(), keyed.evicted()), (3, 2));
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
        assert_eq!(
            v4,
            Key::ip(Source::Syslog, "::ffff:192.0.2.1".parse().unwrap())
        );
        assert_ne!(v4, Key::ip(Source::AuditDb, "192.0.2.1".parse().unwrap()));
    }

    proptest! {
        #[test]
        fn never_forgets_a_key_it_has_not_given_up(cap in 1_usize..8, uses in proptest::collection::vec(0_u8..12, 0..200)) {
            let mut keyed = Keyed::<u64>::new(cap);
            let mut counts = std::collections::HashMap::new();
            for n in uses {
                let before = keyed.evicted();
                *keyed.touch(key(n), at(1), at(0)).0 += 1;
                *counts.entry(n).or_insert(0_u64) += 1;

                if keyed.evicted() > before || keyed.len() < counts.len() {
                    counts.retain(|k, _| keyed.get(key(*k)).is_some());
                    counts.insert(n, *keyed.get(key(n)).unwrap());
                }

                prop_assert!(keyed.len() <= cap);
                prop_assert_eq!(keyed.len(), counts.len());
                for (k, count) in &counts {
                    prop_assert_eq!(keyed.get(key(*k)), Some(count));
                }
            }
        }
    }
}
