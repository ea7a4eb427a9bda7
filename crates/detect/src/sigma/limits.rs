//! What a file of rules may hold: the parser takes time that grows with the square of it.

/// The most rules in a file.
const RULES_MAX: usize = 500;
/// The most bytes of a file.
const BYTES_MAX: usize = 1024 * 1024;
/// The most brackets in a file, and one inside the other on a line.
const BRACKETS_MAX: usize = 10_000;
const DEPTH_MAX: usize = 100;

/// What a file has too much of; none when it may be read.
pub(super) fn excess(text: &str) -> Option<String> {
    if text.len() > BYTES_MAX {
        return Some(format!("is larger than {BYTES_MAX} bytes; split it"));
    }

    let rules = text.lines().filter(|line| line.starts_with("---")).count() + 1;
    if rules > RULES_MAX {
        return Some(format!(
            "holds more than {RULES_MAX} rules; put them into several files"
        ));
    }

    let opens = |line: &str| line.matches(['[', '{']).count();
    if text.lines().map(opens).sum::<usize>() > BRACKETS_MAX || text.lines().any(is_deep) {
        return Some(format!(
            "has more than {BRACKETS_MAX} brackets, or more than {DEPTH_MAX} inside each other"
        ));
    }
    None
}

/// Whether brackets of a line are too many inside each other.
fn is_deep(line: &str) -> bool {
    let mut depth = 0_usize;
    line.chars().any(|c| {
        match c {
            '[' | '{' => depth += 1,
            ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth > DEPTH_MAX
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_that_take_the_parser_minutes_are_refused() {
        let rule = "title: x\ndetection:\n  a: {re: '[a-z]{3}[0-9]'}\n  condition: a\n";
        assert_eq!(excess(rule), None);
        assert_eq!(excess(&vec![rule; 500].join("---\n")), None);

        for bad in [
            vec![rule; 4000].join("---\n"),
            "[".repeat(100_000),
            "[\n".repeat(100_000),
            format!("a: {}", "[".repeat(101)),
            "a".repeat(BYTES_MAX + 1),
        ] {
            assert!(excess(&bad).is_some(), "{bad:.20}");
        }
    }
}
