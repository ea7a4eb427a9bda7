//! Versions of Debian packages, `deb-version(7)`.

use std::cmp::Ordering;

use super::digits::{compare_digits, split_run};

/// Compares epoch, upstream version, and revision.
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    let a = Parts::of(a);
    let b = Parts::of(b);

    compare_digits(a.epoch, b.epoch)
        .then_with(|| compare_part(a.upstream, b.upstream))
        .then_with(|| compare_part(a.revision, b.revision))
}

struct Parts<'a> {
    epoch: &'a str,
    upstream: &'a str,
    revision: &'a str,
}

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Self {
        let text = text.trim();
        let (epoch, rest) = match text.split_once(':') {
            Some((epoch, rest)) if epoch.bytes().all(|b| b.is_ascii_digit()) => (epoch, rest),
            _ => ("", text),
        };
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, "0"));
        Self {
            epoch,
            upstream,
            revision,
        }
    }
}

/// Compares in turns the text before the next digit and the next number. In the text, `~` sorts
/// before the end, the end before letters, and letters before all other characters.
fn compare_part(mut a: &str, mut b: &str) -> Ordering {
    while !a.is_empty() || !b.is_empty() {
        let (text_a, rest_a) = split_run(a, |c| !c.is_ascii_digit());
        let (text_b, rest_b) = split_run(b, |c| !c.is_ascii_digit());
        let order = compare_text(text_a.as_bytes(), text_b.as_bytes());
        if order != Ordering::Equal {
            return order;
        }

        let (number_a, rest_a) = split_run(rest_a, u8::is_ascii_digit);
        let (number_b, rest_b) = split_run(rest_b, u8::is_ascii_digit);
        let order = compare_digits(number_a, number_b);
        if order != Ordering::Equal {
            return order;
        }

        a = rest_a;
        b = rest_b;
    }

    Ordering::Equal
}

fn compare_text(a: &[u8], b: &[u8]) -> Ordering {
    let weight = |c: Option<&u8>| match c {
        Some(b'~') => -1,
        None => 0,
        Some(c) if c.is_ascii_alphabetic() => i32::from(*c),
        Some(c) => i32::from(*c) + 256,
    };

    (0..a.len().max(b.len()))
        .map(|i| weight(a.get(i)).cmp(&weight(b.get(i))))
        .fold(Ordering::Equal, Ordering::then)
}
