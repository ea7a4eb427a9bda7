//! What a file of rules may hold: the parser takes time that grows with the square of it.

/// What a file may hold at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes.
    pub bytes: u64,
    /// Rules.
    pub rules: u64,
    /// Brackets.
    pub brackets: u64,
    /// Brackets inside each other on a line.
    pub depth: u64,
}

impl Default for Limits {
    /// What the parser reads within a second or so.
    fn default() -> Self {
        Self {
            bytes: 1024 * 1024,
            rules: 500,
            brackets: 10_000,
            depth: 100,
        }
    }
}

impl Limits {
    /// What a file has too much of; none when it may be read.
    pub(super) fn excess(self, text: &str) -> Option<String> {
        let Self {
            bytes,
            rules,
            brackets,
            depth,
        } = self;
        if text.len() as u64 > bytes {
            return Some(format!(
                "is larger than {bytes} bytes; split it, or raise detection.rule_file_max_size"
            ));
        }

        let held = text.lines().filter(|line| line.starts_with("---")).count() + 1;
        if held as u64 > rules {
            return Some(format!(
                "holds more than {rules} rules; put them into several files, or raise \
                    detection.rule_file_max_rules"
            ));
        }

        let opens = |line: &str| line.matches(['[', '{']).count() as u64;
        let opened: u64 = text.lines().map(opens).sum();
        let is_deep = |line| is_deeper(line, depth);
        if opened > brackets || text.lines().any(is_deep) {
            return Some(format!(
                "has more than {brackets} brackets, or more than {depth} inside each other \
                    (detection.rule_file_max_brackets, rule_file_max_depth)"
            ));
        }
        None
    }
}

/// Whether brackets of a line are too many inside each other.
fn is_deeper(line: &str, depth_max: u64) -> bool {
    let mut depth = 0_u64;
    line.chars().any(|c| {
        match c {
            '[' | '{' => depth += 1,
            ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth > depth_max
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_that_take_the_parser_minutes_are_refused() {
        let excess = |text: &str| Limits::default().excess(text);
        let rule = "title: x\ndetection:\n  a: {re: '[a-z]{3}[0-9]'}\n  condition: a\n";
        assert_eq!(excess(rule), None);
        assert_eq!(excess(&vec![rule; 500].join("---\n")), None);

        for bad in [
            vec![rule; 4000].join("---\n"),
            "[".repeat(100_000),
            "[\n".repeat(100_000),
            format!("a: {}", "[".repeat(101)),
            "a".repeat(1024 * 1024 + 1),
        ] {
            assert!(excess(&bad).is_some(), "{bad:.20}");
        }
    }

    #[test]
    fn other_limits_count_in_place_of_these() {
        let two = "title: x\n---\ntitle: y {[]}\n";
        let strict = Limits {
            rules: 1,
            ..Limits::default()
        };
        let why = strict.excess(two).unwrap_or_default();
        assert!(why.contains("detection.rule_file_max_rules"), "{why}");
        let strict = Limits {
            depth: 1,
            ..Limits::default()
        };
        assert!(strict.excess(two).is_some());
        let lax = Limits {
            bytes: u64::MAX,
            ..Limits::default()
        };
        assert_eq!(lax.excess(&"a".repeat(2_000_000)), None);
    }
}
