//! Ranges of versions, from the events of OSV and from the constraints of CSAF.

use std::cmp::Ordering;

use model::text::percent_decode;
use serde::{Deserialize, Serialize};

use crate::package::Ecosystem;
use crate::version::compare_versions;

/// A range of versions from `introduced` (inclusive; `None` for the first version) to `fixed`
/// (exclusive) or `last_affected` (inclusive). Without either there is no fix.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// The first affected version.
    pub introduced: Option<String>,
    /// The first version with the fix.
    pub fixed: Option<String>,
    /// The last affected version.
    pub last_affected: Option<String>,
}

impl Range {
    /// Creates the range that holds one version.
    pub(crate) fn exactly(version: &str) -> Self {
        Self {
            introduced: Some(version.to_owned()),
            fixed: None,
            last_affected: Some(version.to_owned()),
        }
    }

    /// Creates the range of everything before a fixed version.
    pub(crate) fn before(fixed: &str) -> Self {
        Self {
            introduced: None,
            fixed: Some(fixed.to_owned()),
            last_affected: None,
        }
    }

    /// Returns whether the range has a start and no end.
    fn is_open(&self) -> bool {
        self.introduced.is_some() && self.fixed.is_none() && self.last_affected.is_none()
    }

    /// Returns whether a version lies in the range; `None` when it cannot be compared.
    pub(crate) fn contains(&self, ecosystem: &Ecosystem, version: &str) -> Option<bool> {
        if version.is_empty() {
            return None;
        }

        let against = |bound: &str| compare_bound(ecosystem, version, bound);
        // A bound that cannot be compared does not matter where the other one excludes the version.
        let after_start = match self.introduced.as_deref().filter(|v| *v != "0") {
            Some(introduced) => against(introduced).map(|order| order != Ordering::Less),
            None => Some(true),
        };
        let before_fix = match &self.fixed {
            Some(fixed) => against(fixed).map(|order| order == Ordering::Less),
            None => Some(true),
        };
        let before_end = match &self.last_affected {
            Some(last) => against(last).map(|order| order != Ordering::Greater),
            None => Some(true),
        };

        let sides = [after_start, before_fix, before_end];
        if sides.contains(&Some(false)) {
            return Some(false);
        }
        sides.iter().all(Option::is_some).then_some(true)
    }
}

/// Compares a version with a bound; texts that are equal are equal in any order.
fn compare_bound(ecosystem: &Ecosystem, version: &str, bound: &str) -> Option<Ordering> {
    if version == bound {
        return Some(Ordering::Equal);
    }
    compare_versions(ecosystem, version, bound)
}

/// What changes at a version, going up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Introduced(String),
    Fixed(String),
    LastAffected(String),
    /// Where the statement ends without a fix.
    Limit(String),
}

impl Event {
    fn version(&self) -> &str {
        match self {
            Self::Introduced(version)
            | Self::Fixed(version)
            | Self::LastAffected(version)
            | Self::Limit(version) => version,
        }
    }
}

/// Converts the events of a range, in any order, to ranges of affected versions.
pub(crate) fn ranges_of_events(ecosystem: &Ecosystem, mut events: Vec<Event>) -> Vec<Range> {
    sort_events(ecosystem, &mut events);

    let mut ranges: Vec<Range> = Vec::new();
    let mut is_open = false;
    for event in events {
        match event {
            Event::Introduced(version) => {
                // Within an open range it says nothing new.
                if !is_open {
                    ranges.push(Range {
                        introduced: Some(version),
                        ..Range::default()
                    });
                }
                is_open = true;
            }
            end => {
                if let Some(open) = ranges.last_mut().filter(|_| is_open) {
                    match end {
                        Event::Fixed(version) => open.fixed = Some(version),
                        Event::LastAffected(version) => open.last_affected = Some(version),
                        // A limit excludes itself, as a fix does; nothing is known of a fix.
                        Event::Limit(version) | Event::Introduced(version) => {
                            open.fixed = Some(version);
                        }
                    }
                }
                is_open = false;
            }
        }
    }

    ranges
}

/// Sorts events by version, `0` first. Where a version cannot be compared, the order in which the
/// publisher wrote all of them is kept.
fn sort_events(ecosystem: &Ecosystem, events: &mut [Event]) {
    let compare = |a: &Event, b: &Event| match (a.version(), b.version()) {
        ("0", "0") => Some(Ordering::Equal),
        ("0", _) => Some(Ordering::Less),
        (_, "0") => Some(Ordering::Greater),
        (a, b) => compare_bound(ecosystem, a, b),
    };

    let is_comparable = events
        .iter()
        .all(|a| events.first().is_none_or(|b| compare(a, b).is_some()))
        && events
            .windows(2)
            .all(|pair| compare(&pair[0], &pair[1]).is_some());
    if is_comparable {
        events.sort_by(|a, b| compare(a, b).unwrap_or(Ordering::Equal));
    }
}

/// Parses the constraints of a range of versions, a `vers` URI or the comparators alone:
/// `vers:generic/>=1.0|<=2.3`, `< V4.0`, `>= 7.80 < 9.30`, `0 < 8.0.1`, `8.1 and prior`. `None`
/// if it is none, as `All versions with module X`.
pub(crate) fn parse_constraints(text: &str) -> Option<Vec<Range>> {
    let text = text.trim();
    let constraints = match text.strip_prefix("vers:") {
        Some(vers) => vers.split_once('/')?.1,
        None => text,
    };
    let lower = constraints.trim().to_lowercase();
    if matches!(lower.as_str(), "*" | "all" | "all versions" | "vers:all/*") {
        return Some(vec![Range::default()]);
    }

    let parsed = split_comparators(&lower_words(constraints))?;
    let mut ranges: Vec<Range> = Vec::new();
    for (comparator, version) in parsed {
        match comparator {
            Comparator::Equal => ranges.push(Range::exactly(&version)),
            // `>` begins after a version, which is close enough to decide about others.
            Comparator::From => ranges.push(Range {
                introduced: Some(version),
                ..Range::default()
            }),
            end => {
                if !ranges.last().is_some_and(Range::is_open) {
                    ranges.push(Range::default());
                }
                if let Some(range) = ranges.last_mut() {
                    if end == Comparator::Before {
                        range.fixed = Some(version);
                    } else {
                        range.last_affected = Some(version);
                    }
                }
            }
        }
    }

    (!ranges.is_empty()).then_some(ranges)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparator {
    Equal,
    From,
    Before,
    UpTo,
}

/// Replaces the words of vendors with comparators.
fn lower_words(text: &str) -> String {
    let lower = text.to_lowercase();
    let stripped = ["all versions", "versions", "version"]
        .iter()
        .find_map(|words| lower.strip_prefix(words).map(|_| text.get(words.len()..)))
        .flatten()
        .unwrap_or(text)
        .trim();

    for suffix in [" and prior", " and earlier", " or earlier", " and below"] {
        let cut = stripped.len().saturating_sub(suffix.len());
        if let (Some(version), Some(end)) = (stripped.get(..cut), stripped.get(cut..))
            && end.eq_ignore_ascii_case(suffix)
            && !version.starts_with(['<', '>', '='])
        {
            return format!("<={version}");
        }
    }
    for prefix in ["prior to ", "before "] {
        let start = stripped.get(..prefix.len()).unwrap_or_default();
        if start.eq_ignore_ascii_case(prefix) {
            let rest = stripped.get(prefix.len()..).unwrap_or_default();
            return format!("<{rest}");
        }
    }

    stripped.to_owned()
}

/// Splits `>=1.0|<=2.3` into its comparators and versions.
fn split_comparators(text: &str) -> Option<Vec<(Comparator, String)>> {
    let mut found = Vec::new();
    let mut rest = text.trim();
    if !rest.contains(['<', '>', '=']) {
        return None;
    }

    while !rest.is_empty() {
        let signs = rest
            .find(|c: char| !matches!(c, '<' | '>' | '=' | '!'))
            .unwrap_or(rest.len());
        let (sign, after) = rest.split_at(signs);
        let after = after.trim_start();
        let end = after.find(['|', ',', '<', '>', '=']).unwrap_or(after.len());
        let (version, next) = after.split_at(end);
        let version = percent_decode(version.trim());

        let comparator = match sign {
            "=" => Comparator::Equal,
            // `0 < 8.0.1` begins with the version from which on it holds.
            "" | ">" | ">=" => Comparator::From,
            "<" => Comparator::Before,
            "<=" => Comparator::UpTo,
            _ => return None,
        };
        if version.is_empty() || version.contains(char::is_whitespace) && version.len() > 40 {
            return None;
        }

        let is_listed = sign.is_empty() && next.starts_with('|');
        found.push((
            if is_listed {
                Comparator::Equal
            } else {
                comparator
            },
            version,
        ));
        rest = next.trim_start_matches(['|', ',', ' ']);
    }

    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn describe(ranges: &[Range]) -> Vec<String> {
        ranges
            .iter()
            .map(|range| {
                let text = |bound: &Option<String>| bound.clone().unwrap_or_else(|| "-".to_owned());
                format!(
                    "{} {} {}",
                    text(&range.introduced),
                    text(&range.fixed),
                    text(&range.last_affected)
                )
            })
            .collect()
    }

    #[test]
    fn events_are_sorted_before_they_become_ranges() {
        let npm = Ecosystem("npm".to_owned());
        let introduced = |v: &str| Event::Introduced(v.to_owned());
        let fixed = |v: &str| Event::Fixed(v.to_owned());

        let ranges = ranges_of_events(
            &npm,
            vec![
                fixed("2.5.0"),
                introduced("2.0.0"),
                fixed("1.5.0"),
                introduced("0"),
            ],
        );
        assert_eq!(describe(&ranges), ["0 1.5.0 -", "2.0.0 2.5.0 -"]);

        // A second start within a range says nothing, and an end without a start neither.
        let ranges = ranges_of_events(
            &npm,
            vec![
                introduced("1.0.0"),
                introduced("1.2.0"),
                fixed("1.5.0"),
                fixed("1.6.0"),
            ],
        );
        assert_eq!(describe(&ranges), ["1.0.0 1.5.0 -"]);

        // Of two at the same version, the publisher's order counts.
        let ranges = ranges_of_events(
            &npm,
            vec![
                introduced("1.0.0"),
                fixed("2.0.0"),
                introduced("2.0.0"),
                fixed("3.0.0"),
            ],
        );
        assert_eq!(describe(&ranges), ["1.0.0 2.0.0 -", "2.0.0 3.0.0 -"]);
    }

    #[test]
    fn constraints_of_vendors_are_parsed() {
        let cases: &[(&str, &[&str])] = &[
            ("vers:generic/>=1.0|<=2.3", &["1.0 - 2.3"]),
            ("vers:all/<V1.9.5", &["- V1.9.5 -"]),
            ("vers:all/*", &["- - -"]),
            ("All versions", &["- - -"]),
            ("vers:npm/1.0|>=2.0|<3.0", &["1.0 - 1.0", "2.0 3.0 -"]),
            (">2.1.0|<4.2.0", &["2.1.0 4.2.0 -"]),
            (">= V8.70 < V9.30", &["V8.70 V9.30 -"]),
            ("0 < 8.0.1", &["0 8.0.1 -"]),
            ("<= 8.1", &["- - 8.1"]),
            ("All versions < V6.0.8", &["- V6.0.8 -"]),
            ("Version 8.1 and prior", &["- - 8.1"]),
            ("Versions prior to 5.7.1", &["- 5.7.1 -"]),
        ];
        for (text, expected) in cases {
            let ranges = parse_constraints(text).unwrap();
            assert_eq!(describe(&ranges), *expected, "{text}");
        }

        for text in ["4.70", "HEW4PER2B", "All versions with module X", ""] {
            assert_eq!(parse_constraints(text), None, "{text}");
        }
    }
}
