//! Places for connections: so many in all, and of one peer so many less, so that nobody takes those
//! of all others.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Connections at once.
const ALL: usize = 256;
/// Of them, of one peer. A relay that many machines send through needs some.
const OF_ONE: usize = 64;

/// The places of a listener.
#[derive(Clone, Default)]
pub(super) struct Places(Arc<Mutex<Vec<Held>>>);

/// A place that is taken.
struct Held {
    peer: Peer,
    /// Tells this one from others; also says when it has said something.
    life: Arc<Life>,
}

struct Life {
    last: Mutex<Instant>,
    given_up: CancellationToken,
}

impl Life {
    fn silent_since(&self) -> Instant {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Peer {
    /// A machine.
    Address(IpAddr),
    /// A user of this machine.
    User(u32),
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::User(id) => write!(f, "user {id}"),
        }
    }
}

/// One place, until it is dropped.
pub(super) struct Place {
    peer: Peer,
    places: Places,
    life: Arc<Life>,
}

impl Place {
    /// Returns the address of its peer; none of a local socket.
    pub(super) fn address(&self) -> Option<IpAddr> {
        match self.peer {
            Peer::Address(address) => Some(address.to_canonical()),
            Peer::User(_) => None,
        }
    }

    /// Notes that its connection has said something.
    pub(super) fn touch(&self) {
        *self
            .life
            .last
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Returns when the place is needed for another peer.
    pub(super) async fn given_up(&self) {
        self.life.given_up.cancelled().await;
    }
}

impl Peer {
    /// Whoever has one IPv6 address has the 2^64 beside it.
    fn whole(self) -> Self {
        let Self::Address(address) = self else {
            return self;
        };
        Self::Address(match address.to_canonical() {
            IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from(u128::from(ip) >> 64 << 64)),
            ip @ IpAddr::V4(_) => ip,
        })
    }
}

impl Places {
    /// A place for that peer; else why there is none. When all are taken, whoever holds the most
    /// gives up the one that has been silent the longest, if the newcomer holds fewer.
    pub(super) fn take(&self, peer: Peer) -> Result<Place, String> {
        let peer = peer.whole();
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |held: &[Held], peer: Peer| held.iter().filter(|h| h.peer == peer).count();
        let own = of(&held, peer);
        if own >= OF_ONE {
            return Err(format!(
                "{peer} has {OF_ONE} connections open; more of it are refused"
            ));
        }

        if held.len() >= ALL {
            let most = held.iter().map(|h| of(&held, h.peer)).max().unwrap_or(0);
            let longest_silent = held
                .iter()
                .enumerate()
                .filter(|(_, h)| of(&held, h.peer) == most)
                .min_by_key(|(_, h)| h.life.silent_since())
                .map(|(i, _)| i);
            match longest_silent {
                Some(i) if most > own + 1 => held.swap_remove(i).life.given_up.cancel(),
                _ => return Err(format!("{ALL} connections are open; more are refused")),
            }
        }

        let life = Arc::new(Life {
            last: Mutex::new(Instant::now()),
            given_up: CancellationToken::new(),
        });
        held.push(Held {
            peer,
            life: Arc::clone(&life),
        });
        Ok(Place {
            peer,
            places: self.clone(),
            life,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|h| !Arc::ptr_eq(&h.life, &self.life));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_leave_places_for_others() {
        let places = Places::default();
        let take = |address: &str| places.take(Peer::Address(address.parse().unwrap()));
        let mut held: Vec<_> = (0..OF_ONE)
            .map(|n| take(&format!("2001:db8::{n:x}")).unwrap())
            .collect();

        assert!(take("2001:db8::ffff").is_err());
        for other in 1..=3 {
            held.extend((0..OF_ONE).map(|_| take(&format!("192.0.2.{other}")).unwrap()));
        }

        assert!(take("::ffff:192.0.2.1").is_err(), "the same peer");

        // Five that hold all places shut nobody out: whoever has been silent the longest gives up.
        held[1].touch();
        let newcomer = take("192.0.2.9").unwrap();
        assert!(held[0].life.given_up.is_cancelled());
        assert!(!held[1].life.given_up.is_cancelled() && !newcomer.life.given_up.is_cancelled());
        assert_eq!(places.0.lock().unwrap().len(), ALL);

        drop(newcomer);
        held.clear();
        assert!(places.0.lock().unwrap().is_empty());
    }
}
