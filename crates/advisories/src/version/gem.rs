//! Versions of Ruby gems, as `Gem::Version` compares them.

use std::cmp::Ordering;

use super::digits::{compare_digits, is_number, split_run};

/// Compares two versions; `None` if one is not valid.
pub(super) fn compare(a: &str, b: &str) -> Option<Ordering> {
    let a = segments(a)?;
    let b = segments(b)?;
    for i in 0..a.len().max(b.len()) {
        let a = a.get(i).map_or("0", String::as_str);
        let b = b.get(i).map_or("0", String::as_str);
        let order = match (is_number(a), is_number(b)) {
            (true, true) => compare_digits(a, b),
            // Letters mark a pre-release.
            (false, true) => Ordering::Less,
            (true, false) => Ordering::Greater,
            (false, false) => a.cmp(b),
        };
        if order != Ordering::Equal {
            return Some(order);
        }
    }

    Some(Ordering::Equal)
}

/// Returns the numbers and words of a version, without zeros at the end and before the first word.
fn segments(text: &str) -> Option<Vec<String>> {
    let text = without_platform(text.trim());
    let is_valid = text.starts_with(|c: char| c.is_ascii_digit())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'))
        && !text.split(['.', '-']).any(str::is_empty);
    if !is_valid {
        return None;
    }

    // Everything after `-` is a pre-release.
    let text = text.replace('-', ".pre.");
    let mut all = Vec::new();
    for part in text.split('.') {
        let mut rest = part;
        while !rest.is_empty() {
            let run: fn(&u8) -> bool = if rest.starts_with(|c: char| c.is_ascii_digit()) {
                u8::is_ascii_digit
            } else {
                u8::is_ascii_alphabetic
            };
            let (segment, after) = split_run(rest, run);
            all.push(segment.to_owned());
            rest = after;
        }
    }

    let first_word = all
        .iter()
        .position(|segment| !is_number(segment))
        .unwrap_or(all.len());
    let words = all.split_off(first_word);
    trim_zeros(&mut all);
    let mut words = words;
    trim_zeros(&mut words);
    all.extend(words);

    Some(all)
}

fn trim_zeros(segments: &mut Vec<String>) {
    while segments
        .last()
        .is_some_and(|last| is_number(last) && last.bytes().all(|b| b == b'0'))
    {
        segments.pop();
    }
}

/// Removes the platform that lock files append: `1.15.0-x86_64-linux`.
fn without_platform(text: &str) -> &str {
    const PLATFORMS: [&str; 10] = [
        "java",
        "jruby",
        "x86",
        "x64",
        "x86_64",
        "arm",
        "arm64",
        "aarch64",
        "universal",
        "ruby",
    ];
    let is_platform = |rest: &str| {
        let word = rest.split('-').next().unwrap_or_default();
        PLATFORMS.contains(&word) || word.starts_with("mswin") || word.starts_with("mingw")
    };
    match text.split_once('-') {
        Some((version, rest)) if is_platform(rest) => version,
        _ => text,
    }
}
