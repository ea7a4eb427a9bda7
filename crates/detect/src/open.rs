//! Open detections: opened when a rule's condition first holds for a key, extended while it holds,
//! closed after the cooldown.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;

use foldhash::quality::RandomState;
use hashbrown::HashMap;
use model::text::shortened;
use model::{
    Detection, DetectionUpdate, Entity, EventKey, Fingerprint, Phase, SecurityEvent, Severity,
    Source, Span, TenantId, Timestamp,
};
use sha2::{Digest, Sha256};

use crate::keyed::Key;
use crate::rule::{DESCRIPTION_BYTES_MAX, Info, TITLE_BYTES_MAX};
use crate::window::Hit;

/// How many event ids a detection names.
pub const EVENT_IDS_MAX: usize = 100;

/// Which detection: rule, key and sub-period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct OpenKey {
    /// Position of the rule in the engine.
    pub rule: u16,
    /// The rule's key.
    pub key: Key,
    /// Start of the sub-period, else 0.
    pub episode: i64,
}

/// What a rule says when its condition starts to hold.
#[derive(Debug)]
pub struct NewDetection {
    /// Who or what it is about.
    pub entity: Entity,
    /// One line.
    pub title: String,
    /// A sentence or two.
    pub description: String,
    /// The events that make the condition hold, oldest first.
    pub evidence: Vec<Hit>,
    /// Stays open at least until then, whatever the cooldown.
    pub hold_until: Option<Timestamp>,
    /// Severity of this detection, if it differs from its rule's.
    pub severity: Option<Severity>,
    /// The name of the user whose ID the entity is.
    pub entity_name: Option<String>,
    /// Writes the texts again as the detection grows.
    pub(crate) texts: Option<GrowingTexts>,
}

/// Title and description of a detection, by how many events count and within what time.
pub(crate) struct GrowingTexts(Box<dyn Fn(u64, Span) -> Texts + Send>);

/// What a detection says to people.
#[derive(Debug)]
pub(crate) struct Texts {
    /// One line.
    pub title: String,
    /// A sentence or two.
    pub description: String,
}

impl GrowingTexts {
    pub(crate) fn new(write: impl Fn(u64, Span) -> Texts + Send + 'static) -> Self {
        Self(Box::new(write))
    }

    pub(crate) fn write(&self, count: u64, within: Span) -> Texts {
        (self.0)(count, within)
    }
}

impl std::fmt::Debug for GrowingTexts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("GrowingTexts")
    }
}

/// What is known of the texts of an open detection.
#[derive(Debug)]
enum Wording {
    /// The detection was stored before a restart: the rule supplies the texts when it is extended.
    Unknown,
    /// They stay.
    Fixed,
    /// They say how many events count, and were written for this many.
    Counted(GrowingTexts, u64),
}

impl Wording {
    fn of(texts: Option<GrowingTexts>, written_for: u64) -> Self {
        texts.map_or(Self::Fixed, |texts| Self::Counted(texts, written_for))
    }
}

#[derive(Debug)]
struct Open {
    slot: OpenKey,
    detection: Detection,
    /// Its events, as a [`DetectionUpdate`] names them.
    events: Vec<EventKey>,
    cooldown: Span,
    last_extended: Timestamp,
    hold_until: Timestamp,
    fresh: bool,
    dirty: bool,
    closed: bool,
    wording: Wording,
    /// The wall clock when it closed; none in a replay.
    closed_at: Option<Timestamp>,
}

impl Open {
    fn closes_at(&self) -> Timestamp {
        self.last_extended.plus(self.cooldown).max(self.hold_until)
    }

    /// Brings the texts up to date with the events that count by now.
    fn write_texts(&mut self) {
        let detection = &mut self.detection;
        let Wording::Counted(texts, written_for) = &mut self.wording else {
            return;
        };
        if *written_for == detection.event_count {
            return;
        }

        let within = whole_minutes(detection.last_seen.since(detection.first_seen));
        let Texts { title, description } = texts.write(detection.event_count, within);
        detection.title = shortened(title, TITLE_BYTES_MAX);
        detection.description = shortened(description, DESCRIPTION_BYTES_MAX);
        *written_for = detection.event_count;
    }
}

/// A detection as it was stored, to be continued after a restart.
#[derive(Clone, Debug)]
pub struct Restored {
    /// The detection.
    pub detection: Detection,
    /// When it stays open until, whatever the cooldown.
    pub hold_until: Option<Timestamp>,
}

/// The open detections of all rules, and what changed since the last drain.
#[derive(Debug, Default)]
pub(crate) struct Detections {
    open: HashMap<OpenKey, u32, RandomState>,
    slab: Vec<Option<Open>>,
    free: Vec<u32>,
    closing: BinaryHeap<Reverse<(Timestamp, u32)>>,
    dirty: Vec<u32>,
    /// How long a closed detection can still be extended by an event that belongs to it; zero where
    /// closed detections are printed at once.
    grace: Span,
    /// Whose detections they are.
    tenant: TenantId,
    /// Conditions that hold are not reported: set while windows are rebuilt from events that were
    /// processed before.
    pub silenced: bool,
}

impl Detections {
    /// Creates an empty set; `grace` is how long after its close a detection may still be extended.
    pub(crate) fn new(grace: Span) -> Self {
        Self {
            grace,
            ..Self::default()
        }
    }

    /// Makes them a tenant's. The same events of two tenants are not the same detection.
    pub(crate) fn set_tenant(&mut self, tenant: TenantId) {
        self.tenant = tenant;
    }

    /// Returns how many are open.
    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    /// Reports that the condition holds at `event`: extends the open detection, or opens one.
    pub(crate) fn fire(
        &mut self,
        slot: OpenKey,
        info: &'static Info,
        cooldown: Span,
        event: &SecurityEvent<'_>,
        opening: impl FnOnce() -> NewDetection,
    ) {
        if self.silenced {
            return;
        }

        let hit = Hit::of(event);
        if let Some(&i) = self.open.get(&slot) {
            let goes_on = self.slab[i as usize]
                .as_ref()
                .is_some_and(|open| hit.at < open.closes_at());
            if goes_on {
                self.extend(i, hit, event);
                if let Some(open) = self.slab[i as usize].as_mut()
                    && matches!(open.wording, Wording::Unknown)
                {
                    open.wording = Wording::of(opening().texts, 0);
                }
                return;
            }

            self.close(i);
            self.open.remove(&slot);
        }

        let opening = opening();
        let source = event.source;
        let mut open = Open::new(slot, info, cooldown, source, opening, hit);
        open.detection.cui_involved = event.cui_involved;
        open.detection.tenant = event.instance_id;
        self.insert_new(open);
    }

    /// Reports that the condition held for a period in which there is no event (a silence).
    pub(crate) fn fire_silence(
        &mut self,
        slot: OpenKey,
        info: &'static Info,
        cooldown: Span,
        opening: NewDetection,
        period: Range<Timestamp>,
    ) {
        let Range {
            start: from,
            end: to,
        } = period;
        if self.silenced {
            return;
        }

        if let Some(&i) = self.open.get(&slot) {
            if let Some(open) = self.slab[i as usize]
                .as_mut()
                .filter(|open| to < open.closes_at())
            {
                open.last_extended = open.last_extended.max(to);
                open.detection.last_seen = open.detection.last_seen.max(to);
                self.mark_dirty(i);
                return;
            }
            self.close(i);
            self.open.remove(&slot);
        }

        let mut open = Open::new(
            slot,
            info,
            cooldown,
            slot.key.origin(),
            opening,
            Hit::nothing(from),
        );
        open.detection.first_seen = from;

        open.detection.last_seen = to;
        open.last_extended = to;
        self.insert_new(open);
    }

    fn insert_new(&mut self, mut open: Open) {
        let fingerprint = &mut open.detection.fingerprint;
        *fingerprint = tenants_fingerprint(self.tenant, *fingerprint);
        self.insert(open);
    }

    fn insert(&mut self, open: Open) {
        let slot = open.slot;
        let closes_at = open.closes_at();
        let i = if let Some(i) = self.free.pop() {
            self.slab[i as usize] = Some(open);
            i
        } else {
            self.slab.push(Some(open));
            (self.slab.len() - 1) as u32
        };

        self.open.insert(slot, i);
        self.closing.push(Reverse((closes_at, i)));
        self.mark_dirty(i);
    }

    fn extend(&mut self, i: u32, hit: Hit, event: &SecurityEvent<'_>) {
        let Some(open) = self.slab[i as usize].as_mut() else {
            return;
        };
        let detection = &mut open.detection;

        // What was pending when the program was killed is decided again, perhaps for the second
        // time. What is newer than all that was seen is not among it.
        if hit.at <= detection.last_seen && detection.event_ids.contains(&hit.event_id()) {
            return;
        }

        detection.event_count += u64::from(hit.times);
        detection.first_seen = detection.first_seen.min(hit.at);
        detection.last_seen = detection.last_seen.max(hit.at);
        detection.cui_involved |= event.cui_involved;

        if detection.event_ids.len() < EVENT_IDS_MAX {
            detection.event_ids.push(hit.event_id());
            open.events.push(hit.event_key());
        } else if event.instance_id != detection.tenant && open.events.len() <= EVENT_IDS_MAX {
            // One event of another tenant is enough to know that there are several.
            open.events.push(hit.event_key());
        }

        open.last_extended = open.last_extended.max(hit.at);
        if open.closed {
            open.closed = false;
            let closes_at = open.closes_at();
            self.closing.push(Reverse((closes_at, i)));
        }

        self.mark_dirty(i);
    }

    fn mark_dirty(&mut self, i: u32) {
        if let Some(open) = self.slab[i as usize].as_mut()
            && !open.dirty
        {
            open.dirty = true;
            self.dirty.push(i);
        }
    }

    fn close(&mut self, i: u32) {
        if let Some(open) = self.slab[i as usize].as_mut()
            && !open.closed
        {
            open.closed = true;
            self.mark_dirty(i);
        }
    }

    /// Closes what nothing has extended. `clock` gives the time that a source has certainly
    /// reached, by its own events; `now` is the wall clock, if there is one. A closed detection is
    /// forgotten by the wall clock: one event with a late time may close the others of its source,
    /// but what belongs to them still finds them.
    pub(crate) fn sweep(&mut self, clock: impl Fn(Source) -> Timestamp, wall: Option<Timestamp>) {
        // A heap of earliest possible closes: a popped entry that was extended meanwhile goes back
        // with its real time.
        let mut later = Vec::new();
        let newest = Source::ALL
            .into_iter()
            .map(&clock)
            .max()
            .unwrap_or(Timestamp::MIN);

        while let Some(&Reverse((at, i))) = self.closing.peek() {
            if at > newest {
                break;
            }

            self.closing.pop();
            let Some(open) = self.slab[i as usize].as_ref() else {
                continue;
            };
            let due = open.closes_at();
            let now = clock(open.slot.key.origin());

            if open.closed {
                let over = match (wall, open.closed_at) {
                    (Some(wall), Some(closed_at)) => closed_at.plus(self.grace) <= wall,
                    _ => due.plus(self.grace) <= now,
                };

                if over {
                    self.forget(i);
                } else {
                    later.push(Reverse((due, i)));
                }
            } else if due <= now {
                self.close(i);
                if let Some(open) = self.slab[i as usize].as_mut() {
                    open.closed_at = wall;
                }
                later.push(Reverse((due, i)));
            } else {
                later.push(Reverse((due.max(at), i)));
            }
        }

        self.closing.extend(later);
    }

    /// Drops a closed detection once its close has been drained.
    fn forget(&mut self, i: u32) {
        let Some(open) = self.slab[i as usize].as_ref() else {
            return;
        };
        if self.open.get(&open.slot) == Some(&i) {
            let slot = open.slot;
            self.open.remove(&slot);
        }

        if !open.dirty {
            self.slab[i as usize] = None;
            self.free.push(i);
        }
    }

    /// Closes everything: the end of the input.
    pub(crate) fn close_all(&mut self) {
        for i in 0..self.slab.len() as u32 {
            self.close(i);
        }
    }

    /// Returns whether anything changed since the last drain.
    pub(crate) fn has_changes(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Passes on what changed since the last drain, each detection once, as it is now. With
    /// `settled_only`, detections that were merely extended are kept for a later drain: a storm
    /// must not become a write per event.
    pub(crate) fn drain(&mut self, settled_only: bool, mut report: impl FnMut(DetectionUpdate)) {
        let mut kept = Vec::new();
        for i in std::mem::take(&mut self.dirty) {
            let Some(open) = self.slab[i as usize].as_mut() else {
                continue;
            };
            if settled_only && !open.fresh && !open.closed {
                kept.push(i);
                continue;
            }

            open.write_texts();
            let phase = match (open.closed, open.fresh) {
                (true, _) => Phase::Closed,
                (false, true) => Phase::Opened,
                (false, false) => Phase::Extended,
            };

            let change = DetectionUpdate {
                opened: open.fresh,
                phase,
                detection: open.detection.clone(),
                events: open.events.clone(),
            };

            open.fresh = false;
            open.dirty = false;
            let gone = open.closed && self.open.get(&open.slot) != Some(&i);
            report(change);

            if gone {
                self.slab[i as usize] = None;
                self.free.push(i);
            }
        }

        self.dirty = kept;
    }

    /// Adds a stored open detection.
    pub(crate) fn restore(&mut self, slot: OpenKey, cooldown: Span, restored: Restored) {
        let open = Open {
            slot,
            cooldown,
            last_extended: restored.detection.last_seen,
            hold_until: restored.hold_until.unwrap_or(Timestamp::MIN),
            detection: restored.detection,
            events: Vec::new(),
            fresh: false,
            dirty: false,
            closed: false,
            wording: Wording::Unknown,
            closed_at: None,
        };
        self.insert(open);
        // It is as stored, so there is no change to report.
        if let Some(i) = self.dirty.pop()
            && let Some(open) = self.slab[i as usize].as_mut()
        {
            open.dirty = false;
        }
    }
}

impl Open {
    fn new(
        slot: OpenKey,
        info: &'static Info,
        cooldown: Span,
        source: Source,
        opening: NewDetection,
        hit: Hit,
    ) -> Self {
        let evidence = if opening.evidence.is_empty() {
            vec![hit]
        } else {
            opening.evidence
        };

        let first = evidence.iter().min().copied().unwrap_or(hit);
        let last_seen = evidence
            .iter()
            .map(|h| h.at)
            .max()
            .unwrap_or(hit.at)
            .max(hit.at);

        let fingerprint = detection_fingerprint(
            info.id.as_str(),
            &opening.entity,
            source,
            slot.episode,
            first.event_id(),
            first.at,
        );

        let named = evidence.iter().filter(|h| h.times > 0).take(EVENT_IDS_MAX);
        let events: Vec<EventKey> = named.map(Hit::event_key).collect();
        let detection = Detection {
            rule_id: info.id.clone(),
            severity: opening.severity.unwrap_or(info.severity),
            title: opening.title,
            description: opening.description,
            entity: opening.entity,
            entity_name: opening.entity_name,
            first_seen: first.at,
            last_seen,
            event_count: evidence.iter().map(|h| u64::from(h.times)).sum(),
            event_ids: events.iter().map(|e| e.event_id).collect(),
            nist_controls: info.controls.to_vec(),
            source,
            cui_involved: false,
            tenant: None,
            fingerprint,
            episode: slot.episode,
        };

        Self {
            wording: Wording::of(opening.texts, detection.event_count),
            slot,
            detection,
            events,
            cooldown,
            last_extended: hit.at,
            hold_until: opening.hold_until.unwrap_or(Timestamp::MIN),
            fresh: true,
            dirty: false,
            closed: false,
            closed_at: None,
        }
    }
}

/// Rounds a time up to whole minutes: the seconds of a lasting attack do not matter.
fn whole_minutes(span: Span) -> Span {
    const MINUTE: i64 = Span::mins(1).as_micros();
    Span::mins((span.as_micros() + MINUTE - 1) / MINUTE)
}

/// A detection's id as that of a tenant. What was written when there was one tenant stays as it is.
fn tenants_fingerprint(tenant: TenantId, of_events: Fingerprint) -> Fingerprint {
    if tenant == TenantId::DEFAULT {
        return of_events;
    }

    let mut hash = Sha256::new();
    hash.update(tenant.0.as_bytes());
    hash.update(of_events.0.as_bytes());
    first_bytes(hash)
}

/// Combines rule, key and first event into one id. A cryptographic hash, because event ids come
/// from the watched programs: no one may craft a second event whose alert is taken for that of the
/// first.
fn detection_fingerprint(
    rule: &str,
    entity: &Entity,
    source: Source,
    episode: i64,
    first: model::EventId,
    at: Timestamp,
) -> Fingerprint {
    let mut hash = Sha256::new();
    for part in [rule, source.as_str(), entity.kind.as_str(), &entity.value] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }

    hash.update(episode.to_be_bytes());
    hash.update(first.as_u128().to_be_bytes());

    // Ids are unique per timestamp in the table, not by themselves.
    hash.update(at.as_micros().to_be_bytes());
    first_bytes(hash)
}

fn first_bytes(hash: Sha256) -> Fingerprint {
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(hash.finalize()) {
        *to = from;
    }

    Fingerprint(uuid::Builder::from_custom_bytes(bytes).into_uuid())
}
