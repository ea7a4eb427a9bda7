//! Versions that are only numbers with separators.

use std::cmp::Ordering;

use super::digits::{compare_digits, is_number, split_run};

/// Compares number by number; of two that agree as far as they go, the shorter is older, as in R
/// and Haskell. `None` if there is anything but numbers and separators.
pub(super) fn compare_numbers(a: &str, b: &str, separators: &[char]) -> Option<Ordering> {
    let parts = |text: &str| {
        let parts: Vec<String> = text.trim().split(separators).map(str::to_owned).collect();
        parts.iter().all(|part| is_number(part)).then_some(parts)
    };
    let a = parts(a)?;
    let b = parts(b)?;
    let order = a
        .iter()
        .zip(&b)
        .map(|(a, b)| compare_digits(a, b))
        .fold(Ordering::Equal, Ordering::then);

    Some(order.then(a.len().cmp(&b.len())))
}

/// Compares numbers with letters behind them, as C libraries count: `1.1.1q`. Missing numbers are
/// 0. `None` if there is anything else.
pub(super) fn compare_lettered(a: &str, b: &str) -> Option<Ordering> {
    let a = lettered_parts(a)?;
    let b = lettered_parts(b)?;
    let at = |parts: &[(String, String)], i: usize| {
        parts
            .get(i)
            .cloned()
            .unwrap_or_else(|| ("0".to_owned(), String::new()))
    };
    let order = (0..a.len().max(b.len()))
        .map(|i| {
            let (number_a, letters_a) = at(&a, i);
            let (number_b, letters_b) = at(&b, i);
            compare_digits(&number_a, &number_b).then_with(|| letters_a.cmp(&letters_b))
        })
        .fold(Ordering::Equal, Ordering::then);

    Some(order)
}

fn lettered_parts(text: &str) -> Option<Vec<(String, String)>> {
    text.trim()
        .trim_start_matches(['v', 'V'])
        .split('.')
        .map(|part| {
            let (number, letters) = split_run(part, u8::is_ascii_digit);
            let fits = !number.is_empty() && letters.bytes().all(|b| b.is_ascii_alphabetic());
            fits.then(|| (number.to_owned(), letters.to_ascii_lowercase()))
        })
        .collect()
}
