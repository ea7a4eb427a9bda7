//! Versions of Alpine packages, as apk-tools compares them:
//! `1.2.3b_rc1_p2-r4`, numbers, a letter, suffixes with numbers, and a revision.

use std::cmp::Ordering;

use super::digits::{compare_digits, split_run};

/// Compares two versions; `None` if one is not valid.
pub(super) fn compare(a: &str, b: &str) -> Option<Ordering> {
    let a = parse(a.trim())?;
    let b = parse(b.trim())?;

    for pair in a.iter().zip(&b) {
        let order = pair.0.compare(pair.1);
        if order != Ordering::Equal {
            return Some(order);
        }
    }

    // Where one ends, the other is newer, unless it continues as a pre-release.
    let rest = |longer: &[Part<'_>], from: usize| match longer.get(from) {
        None => Ordering::Equal,
        Some(Part::Suffix(rank, _)) if *rank < 0 => Ordering::Less,
        Some(_) => Ordering::Greater,
    };
    Some(if a.len() >= b.len() {
        rest(&a, b.len())
    } else {
        rest(&b, a.len()).reverse()
    })
}

#[derive(Debug)]
enum Part<'a> {
    /// A number after the first; with zeros in front it is a decimal fraction.
    Number {
        digits: &'a str,
        is_first: bool,
    },
    Letter(u8),
    /// The rank of a suffix, negative before the release, and its number.
    Suffix(i8, &'a str),
    /// The commit of a build, which says nothing about its age, but apk-tools compares it.
    Commit(&'a str),
    Revision(&'a str),
}

impl Part<'_> {
    fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (
                Part::Number {
                    digits: a,
                    is_first,
                },
                Part::Number { digits: b, .. },
            ) => {
                let is_fraction = !is_first && (a.starts_with('0') || b.starts_with('0'));
                if is_fraction {
                    a.cmp(b)
                } else {
                    compare_digits(a, b)
                }
            }
            (Part::Letter(a), Part::Letter(b)) => a.cmp(b),
            (Part::Suffix(a, number_a), Part::Suffix(b, number_b)) => {
                a.cmp(b).then_with(|| compare_digits(number_a, number_b))
            }
            (Part::Commit(a), Part::Commit(b)) => a.cmp(b),
            (Part::Revision(a), Part::Revision(b)) => compare_digits(a, b),
            // What continues with an earlier kind of part is newer: `1.2.1` > `1.2b` > `1.2-r1`,
            // except for a pre-release.
            (Part::Suffix(rank, _), _) if *rank < 0 => Ordering::Less,
            (_, Part::Suffix(rank, _)) if *rank < 0 => Ordering::Greater,
            _ => other.kind().cmp(&self.kind()),
        }
    }

    fn kind(&self) -> u8 {
        match self {
            Part::Number { .. } => 0,
            Part::Letter(_) => 1,
            Part::Suffix(..) => 2,
            Part::Commit(_) => 3,
            Part::Revision(_) => 4,
        }
    }
}

/// The suffixes in their order; the release lies before `cvs`.
const SUFFIXES: [(&str, i8); 9] = [
    ("alpha", -4),
    ("beta", -3),
    ("pre", -2),
    ("rc", -1),
    ("cvs", 1),
    ("svn", 2),
    ("git", 3),
    ("hg", 4),
    ("p", 5),
];

fn parse(text: &str) -> Option<Vec<Part<'_>>> {
    let mut parts = Vec::new();
    let (digits, mut rest) = split_run(text, u8::is_ascii_digit);
    if digits.is_empty() {
        return None;
    }
    parts.push(Part::Number {
        digits,
        is_first: true,
    });

    while let Some(after) = rest.strip_prefix('.') {
        let (digits, after) = split_run(after, u8::is_ascii_digit);
        if digits.is_empty() {
            return None;
        }
        parts.push(Part::Number {
            digits,
            is_first: false,
        });
        rest = after;
    }

    if let Some(letter) = rest.bytes().next().filter(u8::is_ascii_lowercase) {
        parts.push(Part::Letter(letter));
        rest = rest.get(1..)?;
    }

    while let Some(after) = rest.strip_prefix('_') {
        let (name, after) = split_run(after, u8::is_ascii_lowercase);
        let (_, rank) = SUFFIXES.iter().find(|(suffix, _)| *suffix == name)?;
        let (number, after) = split_run(after, u8::is_ascii_digit);
        parts.push(Part::Suffix(*rank, number));
        rest = after;
    }

    if let Some(after) = rest.strip_prefix('~') {
        let (commit, after) = split_run(after, u8::is_ascii_hexdigit);
        parts.push(Part::Commit(commit));
        rest = after;
    }

    if let Some(revision) = rest.strip_prefix("-r") {
        let (digits, after) = split_run(revision, u8::is_ascii_digit);
        if digits.is_empty() {
            return None;
        }
        parts.push(Part::Revision(digits));
        rest = after;
    }

    rest.is_empty().then_some(parts)
}
