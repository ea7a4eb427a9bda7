//! Bounded state per key: a CLOCK cache (second chance) over a slab with a hash index.
//!
//! All state that an attacker can grow lives in one of these, so the bound is the point: at the
//! cap, a key that has been quiet for long is evicted, and counted. Second chance finds it: a use
//! only sets a mark on the key's own cache line, where a list in exact order of use would touch
//! three others.

use std::hash::BuildHasher;
use std::ops::{Index, IndexMut};

use foldhash::quality::RandomState;
use hashbrown::HashTable;
use model::{Source, Timestamp};

use crate::keyed::Key;

/// The fields of the key are inlined, so the flags fill what would otherwise be padding.
#[derive(Debug)]
struct Slot<S> {
    hi: u64,
    lo: u64,
    /// Newest event time of the key.
    newest: Timestamp,
    /// Number of keys that had the slot before.
    generation: u32,
    source: Source,
    /// Used since the hand last passed.
    used: bool,
    state: S,
}

impl<S: Default> Slot<S> {
    fn new(key: Key, generation: u32) -> Self {
        let [hi, lo] = key.halves();
        Self {
            hi,
            lo,
            newest: Timestamp::MIN,
            generation,
            source: key.origin(),
            used: true,
            state: S::default(),
        }
    }

    fn key(&self) -> Key {
        Key::from_halves(self.source, [self.hi, self.lo])
    }
}

/// A list that grows without moving its items: doubling a table of a million slots would copy it
/// into memory that the system must clear first, while events wait.
#[derive(Debug)]
struct Slab<T> {
    /// All chunks but the last are full.
    chunks: Vec<Vec<T>>,
}

/// Binary logarithm of the number of slots in a chunk.
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
            // The first chunk grows as needed: most caches stay small.
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

/// An index entry: a key's slot, with enough of its hash to reject most other keys without reading
/// their slots, and to grow the index without reading any.
#[derive(Clone, Copy, Debug)]
struct Entry {
    slot: u32,
    hash: u32,
}

/// Expands a hash for the index, which takes its control bytes from the top and its positions from
/// the bottom.
fn index_hash(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}

/// A hint that points to no slot.
pub(crate) const NO_HINT: u32 = u32::MAX;

/// How many slots the hand probes for a stale key before a new slot is added.
const STALE_PROBES: usize = 2;

/// A bounded map from [`Key`] to `S`.
#[derive(Debug)]
pub(crate) struct ClockCache<S> {
    slots: Slab<Slot<S>>,
    index: HashTable<Entry>,
    /// Moves around the slots and clears `used`; a slot without it is evicted.
    hand: usize,
    cap: usize,
    evicted: u64,
    hasher: RandomState,
}

impl<S: Default> ClockCache<S> {
    /// Creates a cache for `cap` keys, at least one.
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

    /// Returns the number of tracked keys.
    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// Returns the number of keys evicted at the cap.
    pub(crate) fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Returns the state of a key, if there is any; does not count as a use.
    pub(crate) fn get(&self, key: Key) -> Option<&S> {
        self.find_slot(key).map(|slot| self.state_in(slot))
    }

    fn hash_key(&self, key: Key) -> u32 {
        (self.hasher.hash_one(key) >> 32) as u32
    }

    /// Returns the slot of a key, if it has one. It stays the key's until the key is evicted.
    pub(crate) fn find_slot(&self, key: Key) -> Option<u32> {
        if self.index.is_empty() {
            None
        } else {
            self.find_exact(key, self.hash_key(key))
        }
    }

    /// Returns the probable slot of a key, by its hash alone: prefetching must not wait for two
    /// dependent lookups, and the key in the slot is compared when the slot is used.
    pub(crate) fn find_hint(&self, key: Key) -> u32 {
        let hash = self.hash_key(key);
        self.index
            .find(index_hash(hash), |e| e.hash == hash)
            .map_or(NO_HINT, |e| e.slot)
    }

    fn find_exact(&self, key: Key, hash: u32) -> Option<u32> {
        let is = |e: &Entry| e.hash == hash && self.slots[e.slot as usize].key() == key;
        self.index.find(index_hash(hash), is).map(|e| e.slot)
    }

    /// Returns the state of a key, created if it is new, and the newest event time of the key,
    /// including `at`. A new key replaces one without events since `stale_before`, if the hand
    /// finds one, or an unused one at the cap.
    pub(crate) fn touch(
        &mut self,
        key: Key,
        at: Timestamp,
        stale_before: Timestamp,
    ) -> (&mut S, Timestamp) {
        let i = self.touch_slot(key, at, stale_before);
        let slot = &mut self.slots[i as usize];
        (&mut slot.state, slot.newest)
    }

    /// Like [`Self::touch`], but returns the slot.
    pub(crate) fn touch_slot(&mut self, key: Key, at: Timestamp, stale_before: Timestamp) -> u32 {
        let hash = self.hash_key(key);
        let i = self
            .find_exact(key, hash)
            .unwrap_or_else(|| self.insert_key(key, hash, stale_before));
        let slot = &mut self.slots[i as usize];
        slot.used = true;
        slot.newest = slot.newest.max(at);
        i
    }

    /// Returns the slot of a key that was found at `hint` before; looks it up if the slot has
    /// another key by now.
    pub(crate) fn find_slot_at_hint(&self, key: Key, hint: u32) -> Option<u32> {
        if self.is_at(key, hint) {
            Some(hint)
        } else {
            self.find_slot(key)
        }
    }

    fn is_at(&self, key: Key, hint: u32) -> bool {
        self.slots
            .get(hint as usize)
            .is_some_and(|slot| slot.key() == key)
    }

    /// Like [`Self::touch_slot`], with a hint.
    pub(crate) fn touch_at_hint(
        &mut self,
        key: Key,
        hint: u32,
        at: Timestamp,
        stale_before: Timestamp,
    ) -> u32 {
        if !self.is_at(key, hint) {
            return self.touch_slot(key, at, stale_before);
        }
        let slot = &mut self.slots[hint as usize];
        slot.used = true;
        slot.newest = slot.newest.max(at);
        hint
    }

    /// Returns the state at a hint, whichever key has the slot by now.
    pub(crate) fn state_at_hint(&self, hint: u32) -> Option<&S> {
        self.slots.get(hint as usize).map(|slot| &slot.state)
    }

    /// Returns a reference to a slot that is valid for its current key only.
    pub(crate) fn slot_ref(&self, slot: u32) -> SlotRef {
        SlotRef {
            slot,
            generation: self.slots[slot as usize].generation,
        }
    }

    /// Returns the state in a slot; does not count as a use.
    pub(crate) fn state_in(&self, slot: u32) -> &S {
        &self.slots[slot as usize].state
    }

    /// Returns the state in a slot for changes; does not count as a use.
    pub(crate) fn at_slot(&mut self, slot: u32) -> &mut S {
        &mut self.slots[slot as usize].state
    }

    fn insert_key(&mut self, key: Key, hash: u32, stale_before: Timestamp) -> u32 {
        let slot = if let Some(i) = self.find_replaceable(stale_before) {
            let old = &self.slots[i];
            self.evicted += u64::from(old.newest >= stale_before);
            let old = self.hash_key(old.key());
            if let Ok(entry) = self
                .index
                .find_entry(index_hash(old), |e| e.slot as usize == i)
            {
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
            .insert_unique(index_hash(hash), Entry { slot, hash }, |e| {
                index_hash(e.hash)
            });
        slot
    }

    /// Finds a slot to reuse: a stale one at the hand, or at the cap the first unused one.
    fn find_replaceable(&mut self, stale_before: Timestamp) -> Option<usize> {
        let full = self.slots.len() >= self.cap;
        // The first round clears every `used`, so the second must find a slot.
        let looks = if full {
            2 * self.slots.len() + 1
        } else {
            STALE_PROBES.min(self.slots.len())
        };

        for _ in 0..looks {
            let i = self.hand;
            self.hand = (self.hand + 1) % self.slots.len();
            let slot = &mut self.slots[i];
            if slot.newest < stale_before || (full && !slot.used) {
                return Some(i);
            }

            if full {
                slot.used = false;
            }
        }

        None
    }

    /// Returns every key with its state, in no order; does not count as a use.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (Key, &mut S)> {
        self.slots
            .iter_mut()
            .map(|slot| (slot.key(), &mut slot.state))
    }
}

/// A slot together with the generation of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SlotRef {
    pub(crate) slot: u32,
    generation: u32,
}

/// State that knows the generation of its key.
pub(crate) trait Generational: Default {
    /// Returns the generation of the key that the state belongs to.
    fn generation(&mut self) -> &mut u32;
}

/// Additional state of the keys of a cache, found by their slot there without a second lookup.
#[derive(Debug)]
pub(crate) struct SideTable<S> {
    states: Slab<S>,
}

impl<S> Default for SideTable<S> {
    fn default() -> Self {
        Self {
            states: Slab::new(),
        }
    }
}

impl<S: Generational> SideTable<S> {
    /// Returns the state of the key that has this slot, empty if it is new.
    pub(crate) fn touch(&mut self, place: SlotRef) -> &mut S {
        let i = place.slot as usize;
        while self.states.len() <= i {
            self.states.push(S::default());
        }

        let state = &mut self.states[i];
        // The slot belonged to another key.
        if *state.generation() != place.generation {
            *state = S::default();
            *state.generation() = place.generation;
        }

        state
    }

    /// Returns the state in a slot, whichever key has it.
    pub(crate) fn state_at_hint(&self, slot: u32) -> Option<&S> {
        self.states.get(slot as usize)
    }

    /// Returns all states.
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

    fn secs(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    #[test]
    fn quiet_key_is_evicted_at_the_cap_and_counted() {
        let mut keyed = ClockCache::<u32>::new(3);
        for n in 1..=3 {
            *keyed.touch(key(n), secs(1), secs(0)).0 = 10 * u32::from(n);
        }

        // The first key over the cap clears every `used` and evicts the first key.
        keyed.touch(key(4), secs(2), secs(0));
        keyed.touch(key(2), secs(3), secs(0));
        keyed.touch(key(5), secs(4), secs(0));
        assert_eq!(
            (keyed.get(key(1)), keyed.get(key(2)), keyed.get(key(3))),
            (None, Some(&20), None)
        );
        assert_eq!((keyed.len(), keyed.evicted()), (3, 2));
    }

    #[test]
    fn stale_key_is_replaced_without_counting_as_eviction() {
        let mut keyed = ClockCache::<u32>::new(10);
        keyed.touch(key(1), secs(1), secs(0));
        keyed.touch(key(2), secs(500), secs(200));
        assert_eq!((keyed.len(), keyed.evicted()), (1, 0));
        assert_eq!(keyed.get(key(1)), None);
    }

    proptest! {
        #[test]
        fn only_evicted_keys_are_forgotten(cap in 1_usize..8, uses in proptest::collection::vec(0_u8..12, 0..200)) {
            let mut keyed = ClockCache::<u64>::new(cap);
            let mut counts = std::collections::HashMap::new();
            for n in uses {
                let before = keyed.evicted();
                *keyed.touch(key(n), secs(1), secs(0)).0 += 1;
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
