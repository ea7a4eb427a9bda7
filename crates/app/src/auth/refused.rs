//! Requests without a good key: counted by the network they come from, recorded once a minute, and
//! from a network that sends too many of them answered without asking the database.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use model::address::carried_ipv4;
use model::{AuditRecord, Network, Timestamp};
use serde_json::json;

/// How long requests are counted before they are recorded.
const MINUTE: Duration = Duration::from_mins(1);
/// Networks that are told apart within a minute; requests of others are counted together.
const NETWORKS_MAX: usize = 1000;

/// What a network sent within a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The network; none for those beyond the number that is told apart.
    pub network: Option<Network>,
    /// The first address of it.
    pub address: IpAddr,
    /// Requests without a key that is in force.
    pub refused: u64,
    /// Those of them that came after too many others, and were answered unseen.
    pub unseen: u64,
    /// When the first of them came.
    pub since: Timestamp,
}

impl Refused {
    /// The event that records it.
    pub fn event(&self, now: Timestamp) -> Result<AuditRecord<'static>, serde_json::Error> {
        let network = self
            .network
            .map_or_else(|| "others".to_owned(), |network| network.to_string());
        let event = json!({
            "category": "system",
            "action": ACTION,
            "result": "denied",
            "ip_address": self.address,
            "resource_type": model::event::OURSELVES,
            "resource_id": "api_keys",
            "timestamp": now,
            "metadata": {
                "network": network,
                "refused": self.refused,
                "unseen": self.unseen,
                "since": self.since,
            },
        });

        let bytes = serde_json::to_vec(&event)?;
        AuditRecord::from_json(&bytes, model::audit::Strangers::Refuse)
            .map(AuditRecord::into_owned)
            .map_err(serde::ser::Error::custom)
    }
}

/// What the event that records refused keys is called.
pub const ACTION: &str = "api_key_refused";

#[derive(Debug)]
struct Minute {
    began: Instant,
    networks: HashMap<Network, Refused>,
    others: Option<Refused>,
}

/// Counts requests without a good key.
#[derive(Debug)]
pub(crate) struct RefusedKeys {
    /// The most of a network within a minute that are looked up.
    most: u64,
    minute: Mutex<Minute>,
}

impl RefusedKeys {
    pub(crate) fn new(most: u64) -> Self {
        Self {
            most,
            minute: Mutex::new(Minute {
                began: Instant::now(),
                networks: HashMap::new(),
                others: None,
            }),
        }
    }

    /// Whether an unknown key from this address is worth a look-up.
    pub(crate) fn may_try(&self, peer: IpAddr) -> bool {
        let minute = self.minute();
        let of_network = network(peer).and_then(|network| minute.networks.get(&network));
        let known = match of_network {
            Some(known) => Some(known),
            None if minute.networks.len() >= NETWORKS_MAX => minute.others.as_ref(),
            None => None,
        };
        known.is_none_or(|known| known.refused < self.most)
    }

    /// Counts a request; `unseen` when it was not looked up.
    pub(crate) fn note(&self, peer: IpAddr, unseen: bool, now: Timestamp) {
        let mut minute = self.minute();
        let told_apart = network(peer).filter(|network| {
            minute.networks.len() < NETWORKS_MAX || minute.networks.contains_key(network)
        });
        let first = Refused {
            network: told_apart,
            address: peer,
            refused: 0,
            unseen: 0,
            since: now,
        };

        let counted = match told_apart {
            Some(network) => minute.networks.entry(network).or_insert(first),
            None => minute.others.get_or_insert(first),
        };
        counted.refused += 1;
        counted.unseen += u64::from(unseen);
    }

    /// What was counted in the minute that has just ended; nothing before its end, unless `now`.
    pub(crate) fn take(&self, now: bool) -> Vec<Refused> {
        let mut minute = self.minute();
        if !now && minute.began.elapsed() < MINUTE {
            return Vec::new();
        }

        minute.began = Instant::now();
        let others = minute.others.take();
        let networks = std::mem::take(&mut minute.networks);
        networks.into_values().chain(others).collect()
    }

    fn minute(&self) -> MutexGuard<'_, Minute> {
        self.minute.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The network that an address counts with: the 256 around an IPv4 address, the /64 of an IPv6 one.
fn network(peer: IpAddr) -> Option<Network> {
    match carried_ipv4(peer).map_or(peer, IpAddr::V4).to_canonical() {
        v4 @ IpAddr::V4(_) => Network::new(v4, 24),
        v6 @ IpAddr::V6(_) => Network::new(v6, 64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_is_counted_once_a_minute_and_limited() {
        let (keys, at) = (RefusedKeys::new(3), Timestamp::from_secs(60));
        for peer in ["192.0.2.1", "192.0.2.200", "::ffff:192.0.2.7"] {
            assert!(keys.may_try(ip(peer)));
            keys.note(ip(peer), false, at);
        }

        assert!(!keys.may_try(ip("192.0.2.9")), "the fourth");
        keys.note(ip("192.0.2.9"), true, at);
        assert!(keys.may_try(ip("192.0.3.9")) && keys.may_try(ip("2001:db8::1")));

        assert!(keys.take(false).is_empty(), "the minute is not over");
        let [told] = keys.take(true).try_into().unwrap();
        assert_eq!((told.refused, told.unseen), (4, 1));
        assert_eq!(told.network.unwrap().to_string(), "192.0.2.0/24");
        assert!(keys.may_try(ip("192.0.2.9")) && keys.take(true).is_empty());

        let event = told.event(at).unwrap();
        assert_eq!(event.ip_address, Some(ip("192.0.2.1")));
        assert!(
            event
                .metadata
                .as_json()
                .contains(r#""network":"192.0.2.0/24""#)
        );
    }

    #[test]
    fn any_number_of_networks_takes_little_memory() {
        let (keys, at) = (RefusedKeys::new(5), Timestamp::from_secs(60));
        for n in 0..3000_u32 {
            keys.note(ip(&format!("10.{}.{}.1", n / 256, n % 256)), false, at);
        }

        assert!(!keys.may_try(ip("203.0.113.1")), "too many others");
        assert!(keys.may_try(ip("10.0.0.9")));
        let told = keys.take(true);
        assert_eq!(told.len(), NETWORKS_MAX + 1);
        assert_eq!(told.iter().map(|t| t.refused).sum::<u64>(), 3000);
        assert_eq!(told.last().unwrap().refused, 2000);
        assert!(told.last().unwrap().event(at).is_ok());
    }
}
