//! Wrong attempts of the last minutes, by network and by account: who has too many is refused
//! before anything is hashed (ASVS 6.3.1).

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use model::Network;
use model::address::carried_ipv4;

/// How long a wrong attempt counts.
const MINUTE: Duration = Duration::from_mins(1);
/// Attempts of a network within a minute that are looked at.
const OF_NETWORK: u32 = 20;
/// Attempts at an account within a minute that are looked at. Its lock does the rest; this bounds
/// what arrives at once, before the first of them is counted.
const OF_ACCOUNT: u32 = 10;
/// Networks and accounts that are told apart.
const KEPT_MAX: usize = 10_000;
/// The prefix of IPv6 that one holder has.
const HOLDER_PREFIX: u8 = 64;

#[derive(Clone, Copy, Debug)]
struct Count {
    since: Instant,
    times: u32,
}

/// Counts of things within a minute, bounded in number.
#[derive(Debug)]
struct Counts<K> {
    kept: HashMap<K, Count>,
    /// When it was last looked through for what counts no longer.
    looked_through: Option<Instant>,
}

impl<K> Default for Counts<K> {
    fn default() -> Self {
        Self {
            kept: HashMap::new(),
            looked_through: None,
        }
    }
}

impl<K: Eq + Hash> Counts<K> {
    fn of(&self, key: &K, now: Instant) -> u32 {
        self.kept
            .get(key)
            .filter(|count| now.duration_since(count.since) < MINUTE)
            .map_or(0, |count| count.times)
    }

    fn add(&mut self, key: K, now: Instant) {
        let is_full = self.kept.len() >= KEPT_MAX && !self.kept.contains_key(&key);
        // Once a second: a flood of names would have it all looked through for each of them.
        let is_due = |at: Instant| now.duration_since(at) >= Duration::from_secs(1);
        if is_full && self.looked_through.is_none_or(is_due) {
            self.kept
                .retain(|_, count| now.duration_since(count.since) < MINUTE);
            self.looked_through = Some(now);
        }
        // Beyond the bound nothing is counted, and the database's locks are what holds.
        if self.kept.len() >= KEPT_MAX && !self.kept.contains_key(&key) {
            return;
        }

        let count = self.kept.entry(key).or_insert(Count {
            since: now,
            times: 0,
        });
        if now.duration_since(count.since) >= MINUTE {
            *count = Count {
                since: now,
                times: 0,
            };
        }
        count.times = count.times.saturating_add(1);
    }

    fn take_back(&mut self, key: &K) {
        if let Some(count) = self.kept.get_mut(key) {
            count.times = count.times.saturating_sub(1);
        }
    }
}

#[derive(Debug, Default)]
struct Both {
    networks: Counts<Network>,
    /// By a hash: a name may be as long as a request.
    accounts: Counts<u64>,
}

/// What counts attempts.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    both: Mutex<Both>,
    hasher: RandomState,
}

/// The network that an address's holder has: a /64 of IPv6.
pub(crate) fn holder_of(address: IpAddr) -> Option<Network> {
    let address = carried_ipv4(address).map_or(address, IpAddr::V4);
    let prefix = if address.is_ipv4() { 32 } else { HOLDER_PREFIX };
    Network::new(address, prefix)
}

impl Attempts {
    /// Counts an attempt before it is looked at. Returns how many its network had before, or how
    /// long to wait when it, or the account, had too many. One that turns out right is taken back.
    pub(super) fn begin(
        &self,
        address: IpAddr,
        account: &str,
        now: Instant,
    ) -> Result<u32, Duration> {
        let mut both = self.both.lock().unwrap_or_else(PoisonError::into_inner);
        let network = holder_of(address);
        let failures = network.map_or(0, |network| both.networks.of(&network, now));
        let account = self.hasher.hash_one(account.to_lowercase());
        if failures >= OF_NETWORK || both.accounts.of(&account, now) >= OF_ACCOUNT {
            return Err(MINUTE);
        }

        if let Some(network) = network {
            both.networks.add(network, now);
        }
        both.accounts.add(account, now);
        Ok(failures)
    }

    /// Takes an attempt back that was right.
    pub(super) fn succeeded(&self, address: IpAddr, account: &str) {
        let mut both = self.both.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(network) = holder_of(address) {
            both.networks.take_back(&network);
        }
        both.accounts
            .take_back(&self.hasher.hash_one(account.to_lowercase()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_of_a_network_or_at_an_account_are_refused_for_a_minute() {
        let attempts = Attempts::default();
        let now = Instant::now();
        let one: IpAddr = "2001:db8::1".parse().expect("an address");
        let same_holder: IpAddr = "2001:db8::ffff".parse().expect("an address");
        for n in 0..OF_NETWORK {
            let address = if n % 2 == 0 { one } else { same_holder };
            assert_eq!(attempts.begin(address, &format!("user{n}"), now), Ok(n));
        }
        assert!(attempts.begin(one, "another", now).is_err());

        // Another person is not concerned, until they ask for one account too often.
        for n in 0..OF_ACCOUNT {
            let address = IpAddr::from([192, 0, 2, n as u8]);
            assert!(attempts.begin(address, "Dana", now).is_ok());
        }
        let other = IpAddr::from([198, 51, 100, 7]);
        assert!(attempts.begin(other, "dana", now).is_err());

        let later = now + MINUTE;
        assert_eq!(attempts.begin(one, "dana", later), Ok(0));
    }

    #[test]
    fn who_signs_in_is_not_counted() {
        let attempts = Attempts::default();
        let address = IpAddr::from([192, 0, 2, 1]);
        for _ in 0..3 * OF_NETWORK {
            assert_eq!(attempts.begin(address, "dana", Instant::now()), Ok(0));
            attempts.succeeded(address, "dana");
        }
    }

    #[test]
    fn made_up_names_do_not_fill_the_memory() {
        let attempts = Attempts::default();
        for n in 0..2 * KEPT_MAX as u32 {
            let address = IpAddr::from(n.to_be_bytes());
            assert!(
                attempts
                    .begin(address, &format!("u{n}"), Instant::now())
                    .is_ok()
            );
        }
        let both = attempts.both.lock().expect("no test panics");
        assert!(both.networks.kept.len() <= KEPT_MAX && both.accounts.kept.len() <= KEPT_MAX);
    }
}
