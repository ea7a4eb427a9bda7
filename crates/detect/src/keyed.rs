//! What rules count by: keys, and the hashing of names to key values.

use std::hash::BuildHasher;
use std::net::IpAddr;

use foldhash::quality::RandomState;
use model::Source;
use siphasher::sip128::SipHasher13;

/// A key that a rule counts by: a value within a source. Addresses and UUIDs are stored as they
/// are; names as a 128-bit hash with a random key of this process, so an attacker cannot cause
/// collisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    hi: u64,
    lo: u64,
    source: Source,
}

impl Key {
    /// Creates a key from a 128-bit value within a source.
    pub const fn new(source: Source, value: u128) -> Self {
        Self {
            hi: (value >> 64) as u64,
            lo: value as u64,
            source,
        }
    }

    /// Creates the key of whoever has an address, within a source: whoever has one IPv6 address
    /// has all of its /64, so these count as one (RFC 6177). Addresses that only carry an IPv4
    /// address count as that one.
    pub fn ip(source: Source, ip: IpAddr) -> Self {
        let holder = match model::address::carried_ipv4(ip) {
            Some(v4) => IpAddr::V4(v4),
            None => ip,
        };
        Self::new(
            source,
            match holder.to_canonical() {
                IpAddr::V4(v4) => ip_bits(v4.into()),
                IpAddr::V6(v6) => u128::from(v6) >> 64 << 64,
            },
        )
    }

    /// Creates the key of the source itself.
    pub const fn source(source: Source) -> Self {
        Self::new(source, 0)
    }

    /// Creates a key from a 128-bit value in two halves.
    pub(crate) const fn from_halves(source: Source, [hi, lo]: [u64; 2]) -> Self {
        Self { hi, lo, source }
    }

    /// Returns the value in two halves.
    pub(crate) const fn halves(self) -> [u64; 2] {
        [self.hi, self.lo]
    }

    /// Returns the source of the key's events.
    pub const fn origin(self) -> Source {
        self.source
    }
}

/// Returns an address as a number, IPv4 in its IPv6-mapped form.
pub(crate) fn ip_bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(v4) => u128::from(v4.to_ipv6_mapped()),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

/// Hashes names to key values.
#[derive(Clone, Debug)]
pub struct KeyHasher {
    seed: (u64, u64),
}

impl KeyHasher {
    /// Creates a hasher with a random seed.
    pub fn random() -> Self {
        let random = RandomState::default();
        Self {
            seed: (random.hash_one(1_u8), random.hash_one(2_u8)),
        }
    }

    /// Returns half of the hash: enough to tell the few texts of one key apart.
    pub fn short_hash(&self, name: &str) -> u64 {
        self.hash_name(name) as u64
    }

    /// Returns the 128-bit hash of a name.
    pub fn hash_name(&self, name: &str) -> u128 {
        SipHasher13::new_with_keys(self.seed.0, self.seed.1)
            .hash(name.as_bytes())
            .as_u128()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapped_and_plain_ipv4_addresses_are_one_key() {
        let v4 = Key::ip(Source::Syslog, "192.0.2.1".parse().unwrap());
        assert_eq!(
            v4,
            Key::ip(Source::Syslog, "::ffff:192.0.2.1".parse().unwrap())
        );
        assert_ne!(v4, Key::ip(Source::AuditDb, "192.0.2.1".parse().unwrap()));
    }

    #[test]
    fn addresses_of_one_holder_are_one_key() {
        let key = |ip: &str| Key::ip(Source::Syslog, ip.parse().unwrap());
        assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:2:ffff::9"));
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
        // NAT64 and 6to4.
        assert_eq!(key("64:ff9b::192.0.2.1"), key("192.0.2.1"));
        assert_eq!(key("2002:c000:201:5::1"), key("192.0.2.1"));
    }
}
