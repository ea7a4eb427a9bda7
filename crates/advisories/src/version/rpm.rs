//! Versions of RPM packages, as `rpmvercmp` compares them.

use std::cmp::Ordering;

use super::digits::{compare_digits, split_run};

/// Compares epoch, version, and release. A missing epoch is 0, a missing release the oldest.
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    let a = Parts::of(a);
    let b = Parts::of(b);

    compare_digits(a.epoch, b.epoch)
        .then_with(|| compare_part(a.version, b.version))
        .then_with(|| match (a.release, b.release) {
            (Some(a), Some(b)) => compare_part(a, b),
            (a, b) => a.is_some().cmp(&b.is_some()),
        })
}

struct Parts<'a> {
    epoch: &'a str,
    version: &'a str,
    release: Option<&'a str>,
}

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Self {
        let text = text.trim();
        let (epoch, rest) = match text.split_once(':') {
            Some((epoch, rest)) if epoch.bytes().all(|b| b.is_ascii_digit()) => (epoch, rest),
            _ => ("", text),
        };
        let (version, release) = match rest.rsplit_once('-') {
            Some((version, release)) => (version, Some(release)),
            None => (rest, None),
        };
        Self {
            epoch,
            version,
            release,
        }
    }
}

/// Compares runs of digits and runs of letters in turns; what lies between only separates them. `~`
/// sorts before the end, and `^` after the end but before all else.
fn compare_part(mut a: &str, mut b: &str) -> Ordering {
    let separates = |c: char| !c.is_ascii_alphanumeric() && c != '~' && c != '^';
    'runs: loop {
        a = a.trim_start_matches(separates);
        b = b.trim_start_matches(separates);

        for mark in ['~', '^'] {
            let order = match (a.strip_prefix(mark), b.strip_prefix(mark)) {
                (None, None) => continue,
                (Some(rest_a), Some(rest_b)) => {
                    a = rest_a;
                    b = rest_b;
                    continue 'runs;
                }
                // Before the end, or (`^`) only before what follows.
                (Some(_), None) if mark == '~' || !b.is_empty() => Ordering::Less,
                (None, Some(_)) if mark == '~' || !a.is_empty() => Ordering::Greater,
                (Some(_), None) => Ordering::Greater,
                (None, Some(_)) => Ordering::Less,
            };
            return order;
        }

        if a.is_empty() || b.is_empty() {
            return b.is_empty().cmp(&a.is_empty());
        }

        let is_numeric = a.starts_with(|c: char| c.is_ascii_digit());
        let run: fn(&u8) -> bool = if is_numeric {
            u8::is_ascii_digit
        } else {
            u8::is_ascii_alphabetic
        };
        let (run_a, rest_a) = split_run(a, run);
        let (run_b, rest_b) = split_run(b, run);
        let order = match (is_numeric, run_b.is_empty()) {
            // Numbers are newer than letters.
            (true, true) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (true, false) => compare_digits(run_a, run_b),
            (false, false) => run_a.cmp(run_b),
        };
        if order != Ordering::Equal {
            return order;
        }

        a = rest_a;
        b = rest_b;
    }
}
