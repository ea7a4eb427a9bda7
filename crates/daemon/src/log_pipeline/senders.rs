//! Who sends the lines of a source: its account by peer and by machine.
//!
//! The lines of one peer never count as those of another: a sender of garbage makes itself the one
//! that needs attention. Lines that were not understood name no machine, so they are counted by
//! peer alone.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;

use model::SecurityEvent;
use store::senders::{SENDERS_MAX, SenderIntake, SenderKey};

/// What the senders of a source sent since it was last taken.
#[derive(Debug, Default)]
pub(super) struct Senders {
    /// Those with an account. Beyond [`SENDERS_MAX`], others are counted together.
    known: HashSet<SenderKey>,
    counts: BTreeMap<SenderKey, SenderIntake>,
}

impl Senders {
    /// Continues the accounts of these.
    pub(super) fn of(known: impl Iterator<Item = SenderKey>) -> Self {
        Self {
            known: known.collect(),
            counts: BTreeMap::new(),
        }
    }

    /// Counts a line, and whether it was understood.
    pub(super) fn note_line(&mut self, peer: Option<IpAddr>, understood: bool) {
        let count = self.count(SenderKey {
            peer: peer_text(peer),
            host: String::new(),
        });
        count.lines += 1;
        if understood {
            count.unparsed_in_a_row = 0;
            count.understood_any = true;
        } else {
            count.unparsed += 1;
            count.unparsed_in_a_row += 1;
        }
    }

    /// Counts an event for its peer and its machine.
    pub(super) fn note_event(&mut self, event: &SecurityEvent<'_>) {
        let Some(provenance) = &event.provenance else {
            return;
        };
        let peer = peer_text(provenance.peer);
        if let Some(host) = &provenance.host {
            let host = host.to_ascii_lowercase();
            let key = SenderKey {
                peer: peer.clone(),
                host,
            };
            let count = self.count(key);
            count.lines += 1;
            count.events += 1;
            count.understood_any = true;
        }

        let host = String::new();
        self.count(SenderKey { peer, host }).events += 1;
    }

    fn count(&mut self, key: SenderKey) -> &mut SenderIntake {
        let is_new = !self.known.contains(&key);
        let key = if is_new && self.known.len() >= SENDERS_MAX {
            SenderKey::default()
        } else {
            if is_new {
                self.known.insert(key.clone());
            }
            key
        };
        self.counts.entry(key).or_default()
    }

    /// Takes what was counted, in the order of its keys.
    pub(super) fn take(&mut self) -> Vec<(SenderKey, SenderIntake)> {
        std::mem::take(&mut self.counts).into_iter().collect()
    }
}

fn peer_text(peer: Option<IpAddr>) -> String {
    peer.map(|peer| peer.to_canonical().to_string())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_one_peer_do_not_mark_another() {
        let (good, bad) = (Some([192, 0, 2, 1].into()), Some([192, 0, 2, 2].into()));
        let mut senders = Senders::default();
        for _ in 0..3 {
            senders.note_line(bad, false);
            senders.note_line(good, true);
        }

        let counts: Vec<_> = senders
            .take()
            .into_iter()
            .map(|(key, count)| (key.peer, count.unparsed, count.unparsed_in_a_row))
            .collect();
        assert_eq!(
            counts,
            [
                ("192.0.2.1".to_owned(), 0, 0),
                ("192.0.2.2".to_owned(), 3, 3)
            ]
        );
    }

    #[test]
    fn senders_beyond_the_limit_are_counted_together() {
        let mut senders = Senders::default();
        for number in 0..2000_u16 {
            let [high, low] = number.to_be_bytes();
            senders.note_line(Some([10, 0, high, low].into()), true);
        }

        let counts = senders.take();
        assert_eq!(counts.len(), SENDERS_MAX + 1);
        assert_eq!(counts[0].0, SenderKey::default());
        assert_eq!(counts[0].1.lines, (2000 - SENDERS_MAX) as u64);
    }
}
