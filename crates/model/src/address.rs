//! Addresses as servers, proxies and applications write them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::network::Network;

/// Reads the client's address out of what a server or a proxy wrote: with a port, in brackets, with
/// a zone, in quotes, or a list such as `X-Forwarded-For`. An IPv4-mapped IPv6 address is its IPv4
/// address.
///
/// Each proxy appends the address that connected to it, so a list is read from its end: the client
/// can make up everything before the address that the first proxy saw. Addresses of private
/// networks at the end are trusted proxies, unless there is nothing else.
pub fn client(text: &str) -> Option<IpAddr> {
    if let Some(one) = single(text) {
        return Some(one);
    }

    if !text.contains(',') {
        return None;
    }

    let mut nearest = None;
    for hop in text.rsplit(',') {
        // What precedes an entry that is not an address was not written by a proxy.
        let Some(address) = single(hop) else { break };
        nearest = nearest.or(Some(address));
        if !is_internal(address) {
            return Some(address);
        }
    }

    nearest
}

/// The same where it is known which addresses are proxies: the client is the last address that is
/// not one of them. Without any, as [`client`].
pub fn client_behind(text: &str, proxies: &[Network]) -> Option<IpAddr> {
    if proxies.is_empty() {
        return client(text);
    }

    let mut nearest = None;
    for hop in text.rsplit(',') {
        let Some(address) = single(hop) else { break };
        nearest = Some(address);
        if !proxies.iter().any(|proxy| proxy.contains(address)) {
            break;
        }
    }

    nearest
}

/// Returns the IPv4 address that an IPv6 address stands for: mapped (RFC 4291, section 2.5.5.2),
/// behind the well-known prefix of NAT64 (RFC 6052) or of 6to4 (RFC 3056).
pub fn carried_ipv4(ip: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(v6) = ip else { return None };
    if let Some(v4) = v6.to_ipv4_mapped() {
        return Some(v4);
    }

    match v6.octets() {
        [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d]
        | [0x20, 0x02, a, b, c, d, ..] => Some(Ipv4Addr::new(a, b, c, d)),
        _ => None,
    }
}

/// A single address, with whatever may surround one.
pub fn single(text: &str) -> Option<IpAddr> {
    let text = text.trim_matches(|c: char| c.is_ascii_whitespace() || c == '"');
    let plain = |text: &str| text.parse::<IpAddr>().ok();

    // A link-local address may carry its zone, in brackets before the port.
    let zoned = |text: &str| text.split_once('%').and_then(|(ip, _)| plain(ip));
    let host = |text: &str| match text.split_once('/') {
        Some((host, "32")) if !host.contains(':') => plain(host),
        Some((host, "128")) => plain(host),
        Some(_) => None,
        None => plain(text).or_else(|| zoned(text)),
    };

    let found = host(text)
        .or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()))
        .or_else(|| {
            let (inside, port) = text.strip_prefix('[')?.split_once(']')?;
            let port = port.strip_prefix(':').unwrap_or(port);
            port.bytes()
                .all(|digit| digit.is_ascii_digit())
                .then(|| host(inside))
                .flatten()
        });

    found.map(|ip| ip.to_canonical())
}

/// Whether it is of a network that the internet does not route: loopback, private, link-local, or
/// shared by a carrier.
fn is_internal(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let shared = v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64;
            v4.is_private() || v4.is_loopback() || v4.is_link_local() || shared
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_are_read_whatever_surrounds_them() {
        for (text, expected) in [
            ("203.0.113.9", Some("203.0.113.9")),
            (" \"203.0.113.9:443\" ", Some("203.0.113.9")),
            ("203.0.113.9/32", Some("203.0.113.9")),
            ("::ffff:203.0.113.9", Some("203.0.113.9")),
            ("[2001:db8::1]:443", Some("2001:db8::1")),
            ("[2001:db8::1]", Some("2001:db8::1")),
            ("[fe80::1%eth0]:22", Some("fe80::1")),
            ("fe80::1%eth0", Some("fe80::1")),
            ("10.0.0.0/8", None),
            ("unknown", None),
            ("", None),
            ("203.0.113.9 x", None),
            ("[203.0.113.9]x", None),
        ] {
            assert_eq!(
                client(text),
                expected.map(|ip| ip.parse().unwrap()),
                "{text}"
            );
        }
    }

    #[test]
    fn a_list_is_read_from_its_end() {
        for (text, expected) in [
            ("9.9.9.9, 203.0.113.9", Some("203.0.113.9")),
            ("9.9.9.9,203.0.113.9:81, 10.0.0.1", Some("203.0.113.9")),
            ("10.0.0.2, 10.0.0.1", Some("10.0.0.1")),
            ("9.9.9.9, unknown, 10.0.0.1", Some("10.0.0.1")),
            ("9.9.9.9, unknown", None),
            (",", None),
        ] {
            assert_eq!(
                client(text),
                expected.map(|ip| ip.parse().unwrap()),
                "{text}"
            );
        }
    }

    #[test]
    fn known_proxies_are_passed_over() {
        let proxies = [
            "10.0.0.0/8".parse().unwrap(),
            "198.51.100.7".parse().unwrap(),
        ];
        for (text, expected) in [
            (
                "9.9.9.9, 203.0.113.9, 198.51.100.7, 10.0.0.1",
                Some("203.0.113.9"),
            ),
            ("9.9.9.9, 192.168.0.4, 10.0.0.1", Some("192.168.0.4")),
            ("9.9.9.9, unknown, 10.0.0.1", Some("10.0.0.1")),
            ("203.0.113.9", Some("203.0.113.9")),
            ("unknown", None),
        ] {
            assert_eq!(
                client_behind(text, &proxies),
                expected.map(|ip| ip.parse().unwrap()),
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn nothing_before_the_proxys_word_counts(claimed in "\\PC{0,40}") {
            prop_assert_eq!(client(&format!("{claimed}, 203.0.113.9")), Some("203.0.113.9".parse().unwrap()));
        }
    }
}
