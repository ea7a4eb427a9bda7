//! Compares versions by the rules of their ecosystem. Does not guess where the rules are not
//! implemented.

use std::cmp::Ordering;

use crate::package::Ecosystem;

/// Compares two versions by their ecosystem's rules; `None` if those are not implemented or a
/// version is not valid.
pub fn compare_versions(ecosystem: &Ecosystem, a: &str, b: &str) -> Option<Ordering> {
    match ecosystem.0.as_str() {
        "deb" => Some(compare_debian(a, b)),
        // Composer's `v1.2` equals `1.2`; Go always writes the `v`.
        "cargo" | "npm" | "composer" | "golang" => compare_semantic(a, b),
        _ => None,
    }
}

/// Compares by Semantic Versioning 2.0.0, section 11, with any count of numbers. `None` when one is
/// not such a version.
fn compare_semantic(a: &str, b: &str) -> Option<Ordering> {
    let a = Semantic::parse(a)?;
    let b = Semantic::parse(b)?;
    let places = a.numbers.len().max(b.numbers.len());
    let number = |numbers: &[u64], i: usize| numbers.get(i).copied().unwrap_or(0);
    let numbers = (0..places).map(|i| number(&a.numbers, i).cmp(&number(&b.numbers, i)));
    let order = numbers.fold(Ordering::Equal, Ordering::then);

    Some(order.then_with(|| match (a.prerelease, b.prerelease) {
        (None, None) => Ordering::Equal,
        // A pre-release is older than its release.
        (None, Some(_)) => Ordering::Greater,
        (Some(_), None) => Ordering::Less,
        (Some(a), Some(b)) => compare_identifiers(a, b),
    }))
}

struct Semantic<'a> {
    numbers: Vec<u64>,
    prerelease: Option<&'a str>,
}

impl<'a> Semantic<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let text = text.strip_prefix(['v', 'V']).unwrap_or(text);
        let text = text.split('+').next()?;
        let (numbers, prerelease) = match text.split_once('-') {
            Some((numbers, prerelease)) => (numbers, Some(prerelease)),
            None => (text, None),
        };

        let numbers = numbers
            .split('.')
            .map(|n| n.parse().ok())
            .collect::<Option<Vec<u64>>>()?;
        Some(Self {
            numbers,
            prerelease,
        })
    }
}

fn compare_identifiers(a: &str, b: &str) -> Ordering {
    let mut a = a.split('.');
    let mut b = b.split('.');
    loop {
        let order = match (a.next(), b.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(a), Some(b)) => match (a.parse::<u64>(), b.parse::<u64>()) {
                (Ok(a), Ok(b)) => a.cmp(&b),
                (Ok(_), Err(_)) => Ordering::Less,
                (Err(_), Ok(_)) => Ordering::Greater,
                (Err(_), Err(_)) => a.cmp(b),
            },
        };

        if order != Ordering::Equal {
            return order;
        }
    }
}

/// Compares by `deb-version(7)`: epoch, upstream version, revision.
fn compare_debian(a: &str, b: &str) -> Ordering {
    let parts = |text: &'_ str| -> (u64, String, String) {
        let (epoch, rest) = text.split_once(':').unwrap_or(("0", text));
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, "0"));
        (
            epoch.parse().unwrap_or(0),
            upstream.to_owned(),
            revision.to_owned(),
        )
    };

    let a = parts(a);
    let b = parts(b);

    a.0.cmp(&b.0)
        .then_with(|| compare_debian_part(&a.1, &b.1))
        .then_with(|| compare_debian_part(&a.2, &b.2))
}

/// Compares in turns the text before the next digit and the next number. In the text, `~` sorts
/// before the end, the end before letters, and letters before all other characters.
fn compare_debian_part(a: &str, b: &str) -> Ordering {
    let weight = |c: Option<&u8>| match c {
        Some(b'~') => -1,
        None => 0,
        Some(c) if c.is_ascii_digit() => 0,
        Some(c) if c.is_ascii_alphabetic() => i32::from(*c),
        Some(c) => i32::from(*c) + 256,
    };

    let mut a = a.as_bytes();
    let mut b = b.as_bytes();
    let number = |text: &[u8]| text.iter().take_while(|c| c.is_ascii_digit()).count();
    while !a.is_empty() || !b.is_empty() {
        while a.first().is_some_and(|c| !c.is_ascii_digit())
            || b.first().is_some_and(|c| !c.is_ascii_digit())
        {
            let order = weight(a.first()).cmp(&weight(b.first()));
            if order != Ordering::Equal {
                return order;
            }

            a = a.get(1..).unwrap_or_default();
            b = b.get(1..).unwrap_or_default();
        }

        let (x, rest_a) = a.split_at(number(a));
        let (y, rest_b) = b.split_at(number(b));
        let strip = |digits: &'_ [u8]| {
            digits
                .iter()
                .copied()
                .skip_while(|c| *c == b'0')
                .collect::<Vec<_>>()
        };

        // Numbers may be of any length, so they are compared as text.
        let x = strip(x);
        let y = strip(y);
        let order = x.len().cmp(&y.len()).then_with(|| x.cmp(&y));
        if order != Ordering::Equal {
            return order;
        }

        a = rest_a;
        b = rest_b;
    }

    Ordering::Equal
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn assert_ascending(ecosystem: &str, versions: &[&str]) {
        let ecosystem = Ecosystem(ecosystem.to_owned());
        for pair in versions.windows(2) {
            assert_eq!(
                compare_versions(&ecosystem, pair[0], pair[1]),
                Some(Ordering::Less),
                "{pair:?}"
            );
            assert_eq!(
                compare_versions(&ecosystem, pair[1], pair[0]),
                Some(Ordering::Greater),
                "{pair:?}"
            );

            assert_eq!(
                compare_versions(&ecosystem, pair[0], pair[0]),
                Some(Ordering::Equal),
                "{pair:?}"
            );
        }
    }

    #[test]
    fn semantic_versions_are_ordered_by_their_standard() {
        assert_ascending(
            "cargo",
            &[
                "1.0.0-alpha",
                "1.0.0-alpha.1",
                "1.0.0-alpha.beta",
                "1.0.0-beta",
                "1.0.0-beta.2",
                "1.0.0-beta.11",
                "1.0.0-rc.1",
                "1.0.0",
                "1.0.1",
                "1.2",
                "1.10.0",
                "2",
            ],
        );

        assert_eq!(
            compare_versions(&Ecosystem("composer".to_owned()), "v6.4.0", "6.4.0+build"),
            Some(Ordering::Equal)
        );
        assert_eq!(
            compare_versions(&Ecosystem("composer".to_owned()), "dev-main", "6.4.0"),
            None
        );

        assert_eq!(
            compare_versions(&Ecosystem("pypi".to_owned()), "1.0", "2.0"),
            None
        );
    }

    #[test]
    fn debian_versions_are_ordered_as_dpkg_does() {
        assert_ascending(
            "deb",
            &[
                "1.0~rc1-1",
                "1.0-1~bpo12+1",
                "1.0-1",
                "1.0-1+deb12u1",
                "1.0-1+deb12u2",
                "1.0-1+deb12u10",
                "1.0a-1",
                "1.0+b-1",
                "1.0.1-1",
                "1:0.5-1",
            ],
        );

        assert_eq!(compare_debian("1.00-01", "1.0-1"), Ordering::Equal);
        assert_eq!(compare_debian("7.6p2-4", "7.6-0"), Ordering::Greater);
    }

    proptest! {
        #[test]
        fn the_order_is_antisymmetric_and_transitive(
            a in "[0-9a-z.~+:-]{0,9}",
            b in "[0-9a-z.~+:-]{0,9}",
            c in "[0-9a-z.~+:-]{0,9}",
        ) {
            for ecosystem in ["deb", "cargo"] {
                let compare = |a: &str, b: &str| compare_versions(&Ecosystem(ecosystem.to_owned()), a, b);
                prop_assert_eq!(compare(&a, &b), compare(&b, &a).map(Ordering::reverse));
                let less = Some(Ordering::Less);
                if compare(&a, &b) == less && compare(&b, &c) == less {
                    prop_assert_eq!(compare(&a, &c), less);
                }
            }
        }
    }
}
