//! Semantic Versioning 2.0.0, section 11, with any count of numbers, as Cargo, npm, Go, Hex, Swift,
//! Pub and NuGet have it, each with its own differences.

use std::cmp::Ordering;

use super::digits::{compare_digits, is_number};

/// How an ecosystem differs from the standard.
#[derive(Clone, Copy, Default)]
pub(super) struct Dialect {
    /// Pre-releases do not differ by case (NuGet).
    pub(super) ignores_case: bool,
    /// Build metadata counts (Pub).
    pub(super) orders_builds: bool,
}

/// Compares two versions; `None` when one is not such a version.
pub(super) fn compare(a: &str, b: &str, dialect: Dialect) -> Option<Ordering> {
    let a = Semantic::parse(a)?;
    let b = Semantic::parse(b)?;
    let places = a.numbers.len().max(b.numbers.len());
    let number = |numbers: &[&str], i: usize| numbers.get(i).map_or("0", |n| *n).to_owned();
    let numbers =
        (0..places).map(|i| compare_digits(&number(&a.numbers, i), &number(&b.numbers, i)));
    let order = numbers.fold(Ordering::Equal, Ordering::then);

    let order = order.then_with(|| match (a.prerelease, b.prerelease) {
        (None, None) => Ordering::Equal,
        // A pre-release is older than its release.
        (None, Some(_)) => Ordering::Greater,
        (Some(_), None) => Ordering::Less,
        (Some(a), Some(b)) if dialect.ignores_case => {
            compare_identifiers(&a.to_ascii_lowercase(), &b.to_ascii_lowercase())
        }
        (Some(a), Some(b)) => compare_identifiers(a, b),
    });

    Some(order.then_with(|| match (a.build, b.build) {
        (Some(a), Some(b)) if dialect.orders_builds => compare_identifiers(a, b),
        (a, b) if dialect.orders_builds => a.is_some().cmp(&b.is_some()),
        _ => Ordering::Equal,
    }))
}

struct Semantic<'a> {
    numbers: Vec<&'a str>,
    prerelease: Option<&'a str>,
    build: Option<&'a str>,
}

impl<'a> Semantic<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let text = text.trim();
        // Go's releases of itself: `go1.21rc2`.
        let text = text.strip_prefix("go").unwrap_or(text);
        let text = text.strip_prefix(['v', 'V', '=']).unwrap_or(text);
        let (text, build) = match text.split_once('+') {
            Some((text, build)) => (text, Some(build)),
            None => (text, None),
        };

        let (numbers, prerelease) = match text.split_once('-') {
            Some((numbers, prerelease)) => (numbers, Some(prerelease)),
            None => match text.find("rc").or_else(|| text.find("beta")) {
                Some(at) if text[..at].ends_with(|c: char| c.is_ascii_digit()) => {
                    (&text[..at], Some(&text[at..]))
                }
                _ => (text, None),
            },
        };

        let numbers: Vec<&str> = numbers.split('.').collect();
        numbers.iter().all(|n| is_number(n)).then_some(Self {
            numbers,
            prerelease,
            build,
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
            (Some(a), Some(b)) => match (is_number(a), is_number(b)) {
                (true, true) => compare_digits(a, b),
                (true, false) => Ordering::Less,
                (false, true) => Ordering::Greater,
                (false, false) => a.cmp(b),
            },
        };

        if order != Ordering::Equal {
            return order;
        }
    }
}
