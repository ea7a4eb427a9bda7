//! Finds the address of a request's client.

use std::net::IpAddr;
use std::str::FromStr;

use http::HeaderMap;

/// A text that is neither an address nor a network such as `10.0.0.0/8`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an address or a network such as 10.0.0.0/8")]
pub struct NotANetwork(String);

/// A network: `10.0.0.0/8`, `2001:db8::/32`, or a single address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    start: IpAddr,
    bits: u8,
}

impl Network {
    /// Returns whether the network contains an address. An IPv4-mapped IPv6 address counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.start, address.to_canonical()) {
            (IpAddr::V4(start), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
                (start.to_bits() ^ address.to_bits()) & mask == 0
            }
            (IpAddr::V6(start), IpAddr::V6(address)) => {
                let mask = u128::MAX
                    .checked_shl(128 - u32::from(self.bits))
                    .unwrap_or(0);
                (start.to_bits() ^ address.to_bits()) & mask == 0
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let bad = || NotANetwork(text.to_owned());
        let (start, bits) = text
            .split_once('/')
            .map_or((text, None), |(start, bits)| (start, Some(bits)));
        let start: IpAddr = start.parse().map_err(|_| bad())?;
        let most = if start.is_ipv4() { 32 } else { 128 };

        let bits = bits.map_or(Ok(most), str::parse).map_err(|_| bad())?;
        if bits > most {
            Err(bad())
        } else {
            Ok(Self { start, bits })
        }
    }
}

/// Returns the client behind the trusted proxies. Each of them appends its peer to
/// `X-Forwarded-For`; the first untrusted address may have forged everything before it.
pub(super) fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let trusts = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut client = peer.to_canonical();
    if !trusts(client) {
        return client;
    }

    for header in headers.get_all("x-forwarded-for").iter().rev() {
        for hop in header.as_bytes().rsplit(|byte| *byte == b',') {
            let Some(address) = std::str::from_utf8(hop).ok().and_then(parse_hop) else {
                return client;
            };
            client = address;
            if !trusts(client) {
                return client;
            }
        }
    }

    client
}

/// Parses an address as proxies write it: with a port, in brackets, or plain.
fn parse_hop(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let plain = text.parse().or_else(|_| {
        text.parse::<std::net::SocketAddr>()
            .map(|address| address.ip())
    });

    plain
        .or_else(|_| text.trim_start_matches('[').trim_end_matches(']').parse())
        .map(|ip: IpAddr| ip.to_canonical())
        .ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[track_caller]
    fn assert_client(peer: &str, forwarded: &[&str], expect: &str) {
        let trusted =
            ["10.0.0.0/8", "2001:db8::/32", "192.0.2.7"].map(|text| text.parse().unwrap());
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(
                "x-forwarded-for",
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            );
        }

        assert_eq!(
            client_address(peer.parse().unwrap(), &headers, &trusted).to_string(),
            expect
        );
    }

    #[test]
    fn only_trusted_proxies_forward_an_address() {
        assert_client("203.0.113.1", &[], "203.0.113.1");
        assert_client("203.0.113.1", &["198.51.100.1"], "203.0.113.1");
        assert_client("10.1.2.3", &["198.51.100.1"], "198.51.100.1");
        assert_client("::ffff:10.1.2.3", &["198.51.100.1"], "198.51.100.1");
        assert_client("10.1.2.3", &[], "10.1.2.3");

        // The client forged the header; the proxy appended its address.
        assert_client("10.1.2.3", &["1.1.1.1, 198.51.100.1"], "198.51.100.1");
        assert_client(
            "10.1.2.3",
            &["1.1.1.1", "198.51.100.1,10.9.9.9"],
            "198.51.100.1",
        );
        assert_client(
            "192.0.2.7",
            &["198.51.100.1, 192.0.2.8, 10.0.0.1"],
            "192.0.2.8",
        );

        assert_client("10.1.2.3", &["10.0.0.1"], "10.0.0.1");
        // An invalid hop ends the search at the last trusted one.
        assert_client("10.1.2.3", &["unknown, 10.0.0.1"], "10.0.0.1");
        assert_client("10.1.2.3", &["\u{fc}"], "10.1.2.3");
        assert_client("2001:db8::1", &["[2001:db9::5]:4711"], "2001:db9::5");
        assert_client("2001:db8::1", &["198.51.100.1:99"], "198.51.100.1");
        assert_client("2001:db8::1", &["[2001:db9::5]"], "2001:db9::5");
    }

    #[test]
    fn networks_are_parsed_and_contain_their_addresses() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("0.0.0.0/0", "255.1.1.1", "::1"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("10.1.2.3/31", "10.1.2.2", "10.1.2.4"),
            ("2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::1"),
            ("::/0", "::1", "10.0.0.1"),
        ] {
            let network: Network = network.parse().unwrap();
            assert!(
                network.contains(inside.parse().unwrap())
                    && !network.contains(outside.parse().unwrap()),
                "{network:?}"
            );
        }

        for bad in [
            "",
            "10.0.0.0/33",
            "::/129",
            "10.0.0/8",
            "10.0.0.0/",
            "10.0.0.0/-1",
            "host",
        ] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }
}
