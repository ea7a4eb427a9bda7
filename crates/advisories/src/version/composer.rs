//! Versions of Composer packages: normalized as composer/semver does, and compared as PHP's
//! `version_compare`.

use std::cmp::Ordering;

use super::digits::{compare_digits, is_number, split_run};

/// Compares two versions; `None` if one is not a version but a branch.
pub(super) fn compare(a: &str, b: &str) -> Option<Ordering> {
    let a = Normalized::parse(a)?;
    let b = Normalized::parse(b)?;

    let places = a.numbers.len().max(b.numbers.len());
    let number = |version: &Normalized, i: usize| {
        version
            .numbers
            .get(i)
            .cloned()
            .unwrap_or_else(|| "0".to_owned())
    };
    for i in 0..places {
        let order = compare_digits(&number(&a, i), &number(&b, i));
        if order != Ordering::Equal {
            return Some(order);
        }
    }

    let order = a.stability.cmp(&b.stability).then_with(|| {
        let longest = a.stability_numbers.len().max(b.stability_numbers.len());
        let at = |numbers: &[String], i: usize| numbers.get(i).cloned();
        (0..longest)
            .map(
                |i| match (at(&a.stability_numbers, i), at(&b.stability_numbers, i)) {
                    (Some(a), Some(b)) => compare_digits(&a, &b),
                    // `beta` is older than `beta1`, even than `beta0`.
                    (a, b) => a.is_some().cmp(&b.is_some()),
                },
            )
            .fold(Ordering::Equal, Ordering::then)
    });
    Some(order.then_with(|| b.is_dev.cmp(&a.is_dev)))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stability {
    Dev,
    Alpha,
    Beta,
    Candidate,
    Stable,
    Patch,
}

struct Normalized {
    numbers: Vec<String>,
    stability: Stability,
    stability_numbers: Vec<String>,
    /// The state of a branch on the way to the version.
    is_dev: bool,
}

impl Normalized {
    fn parse(text: &str) -> Option<Self> {
        // `dev-main as 1.0`, `1.0@beta`, `1.0#commit`, `1.0+build`
        let text = text.split(" as ").next()?.trim();
        let text = text.split(['@', '#', '+']).next()?.to_ascii_lowercase();
        let text = text.strip_prefix('v').unwrap_or(&text);

        let (numbers, rest) = Self::split_numbers(text)?;
        let (rest, is_branch) = match rest.strip_suffix("dev") {
            Some(rest) => (rest.trim_end_matches(['.', '-', '_']), true),
            None => (rest, false),
        };

        let rest = rest.trim_start_matches(['.', '-', '_']);
        let (word, tail) = split_run(rest, u8::is_ascii_alphabetic);
        let mut stability = match word {
            "" | "stable" if is_branch && tail.is_empty() => Stability::Dev,
            "" | "stable" if tail.is_empty() => Stability::Stable,
            "alpha" | "a" => Stability::Alpha,
            "beta" | "b" => Stability::Beta,
            "rc" => Stability::Candidate,
            "patch" | "pl" | "p" => Stability::Patch,
            _ => return None,
        };
        if word.is_empty() && is_branch {
            stability = Stability::Dev;
        }

        let stability_numbers: Vec<String> = tail
            .split(['.', '-'])
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect();
        stability_numbers
            .iter()
            .all(|part| is_number(part))
            .then_some(Self {
                numbers,
                stability,
                stability_numbers,
                is_dev: is_branch && !word.is_empty(),
            })
    }

    /// Splits off the numbers at the start, as many as there are: `1.2.3`, also dates.
    fn split_numbers(text: &str) -> Option<(Vec<String>, &str)> {
        let (first, mut rest) = split_run(text, u8::is_ascii_digit);
        if first.is_empty() {
            return None;
        }

        let mut numbers = vec![first.to_owned()];
        loop {
            // `1.x-dev` is the newest of 1.
            let wildcard = rest.strip_prefix(".x").or_else(|| rest.strip_prefix(".*"));
            if let Some(after) = wildcard {
                numbers.push("9999999".to_owned());
                rest = after;
                continue;
            }

            let Some(after) = rest.strip_prefix(['.', '-', ':']) else {
                break;
            };
            let (digits, after) = split_run(after, u8::is_ascii_digit);
            if digits.is_empty() {
                break;
            }
            numbers.push(digits.to_owned());
            rest = after;
        }

        Some((numbers, rest))
    }
}
