//! Places for connections: so many in all, and of one peer so many less, so that nobody takes those
//! of all others.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// Connections at once.
const ALL: usize = 256;
/// Of them, of one peer. A relay that many machines send through needs some.
const OF_ONE: usize = 64;

/// The places of a listener.
#[derive(Clone, Default)]
pub(super) struct Places(Arc<Mutex<HashMap<Peer, usize>>>);

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
    places: Places,
    peer: Peer,
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
    /// A place for that peer; else why there is none.
    pub(super) fn take(&self, peer: Peer) -> Result<Place, String> {
        let peer = peer.whole();
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if open.values().sum::<usize>() >= ALL {
            return Err(format!("{ALL} connections are open; more are refused"));
        }

        let of_peer = open.entry(peer).or_default();
        if *of_peer >= OF_ONE {
            return Err(format!(
                "{peer} has {OF_ONE} connections open; more of it are refused"
            ));
        }

        *of_peer += 1;
        Ok(Place {
            places: self.clone(),
            peer,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_peer) = open.get_mut(&self.peer) {
            *of_peer -= 1;
            if *of_peer == 0 {
                open.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_peer_leaves_places_for_others() {
        let places = Places::default();
        let take = |address: &str| places.take(Peer::Address(address.parse().unwrap()));
        let mut held: Vec<_> = (0..OF_ONE)
            .map(|n| take(&format!("2001:db8::{n:x}")).unwrap())
            .collect();

        assert!(take("2001:db8::ffff").is_err());
        for other in 1..=3 {
            held.extend((0..OF_ONE).map(|_| take(&format!("192.0.2.{other}")).unwrap()));
        }

        assert!(take("192.0.2.9").is_err(), "none is left at all");
        held.remove(0);
        assert!(take("::ffff:192.0.2.1").is_err(), "the same peer");
        assert!(take("2001:db8::ffff").is_ok());
        held.clear();
        assert!(places.0.lock().unwrap().is_empty());
    }
}
