//! Numbers of any length, and splitting at them.

use std::cmp::Ordering;

/// Compares two numbers written in digits, of any length.
pub(super) fn compare_digits(a: &str, b: &str) -> Ordering {
    let a = a.trim_start_matches('0');
    let b = b.trim_start_matches('0');
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

/// Returns whether a text is a number.
pub(super) fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// Splits a text after the digits or ASCII letters at its start, as `matches` says.
pub(super) fn split_run(text: &str, matches: fn(&u8) -> bool) -> (&str, &str) {
    let length = text.bytes().take_while(matches).count();
    text.split_at(length)
}
