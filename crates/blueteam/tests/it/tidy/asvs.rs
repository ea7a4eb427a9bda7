//! `docs/security/asvs.md` is whole, and each test that it names is there.

use std::collections::BTreeSet;

use super::{read, root, sources};

const DOCUMENT: &str = "docs/security/asvs.md";
/// The requirements of OWASP ASVS 5.0.0 that it covers, each with its level: numbers alone.
const NUMBERS: &str = include_str!("asvs.txt");
const STATES: [&str; 3] = ["met", "not applicable", "open"];
/// The most words in which a requirement is said.
const WORDS_MAX: usize = 12;

struct Row<'a> {
    number: &'a str,
    asks: &'a str,
    state: &'a str,
    how: &'a str,
}

fn rows(text: &str) -> Vec<Row<'_>> {
    text.lines()
        .filter(|line| line.starts_with('|') && line.contains('.'))
        .filter_map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            assert_eq!(cells.len(), 4, "{DOCUMENT}: not four cells: {line}");
            let [number, asks, state, how] = cells[..] else {
                return None;
            };
            let row = Row {
                number,
                asks,
                state,
                how,
            };
            number
                .starts_with(|c: char| c.is_ascii_digit())
                .then_some(row)
        })
        .collect()
}

/// The texts in backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Whether the file has a test of this name, an attribute of which stands at most a few lines above.
fn has_test(file: &str, name: &str) -> bool {
    let lines: Vec<&str> = file.lines().collect();
    let begins = |line: &&str| {
        let line = line.trim_start().trim_start_matches("async ");
        line.strip_prefix("fn ")
            .and_then(|rest| rest.strip_prefix(name))
            .is_some_and(|rest| rest.starts_with('('))
    };
    lines.iter().position(begins).is_some_and(|at| {
        lines[at.saturating_sub(6)..at].iter().any(|line| {
            ["#[test]", "#[tokio::test"]
                .iter()
                .any(|is| line.trim_start().starts_with(is))
        })
    })
}

#[test]
fn each_requirement_has_one_row_of_a_known_state() {
    let text = read(DOCUMENT);
    let rows = rows(&text);
    let found: BTreeSet<&str> = rows.iter().map(|row| row.number).collect();
    assert_eq!(found.len(), rows.len(), "a requirement has two rows");
    let expected: BTreeSet<&str> = NUMBERS
        .lines()
        .map(|line| {
            let (number, level) = line.split_once(' ').unwrap();
            assert!(["1", "2"].contains(&level), "{line}");
            number
        })
        .collect();
    assert_eq!(found, expected);

    for row in rows {
        let number = row.number;
        assert!(STATES.contains(&row.state), "{number}: {}", row.state);
        let words = row.asks.split_whitespace().count();
        assert!((1..=WORDS_MAX).contains(&words), "{number}: {}", row.asks);
        assert!(!row.how.is_empty(), "{number} says not how");
        // Met is what a test or a document shows.
        let is_shown = row.how.contains(".rs: ") || row.how.contains("](");
        assert!(row.state != "met" || is_shown, "{number}: {}", row.how);
    }
}

#[test]
fn each_test_that_shows_a_requirement_is_there() {
    let text = read(DOCUMENT);
    let mut tests = 0;
    for row in rows(&text) {
        for quoted in quoted(row.how) {
            let number = row.number;
            if let Some((path, name)) = quoted.split_once(".rs: ") {
                let file = read(&format!("{path}.rs"));
                assert!(
                    has_test(&file, name),
                    "{number}: no test {name} in {path}.rs"
                );
                tests += 1;
            } else if quoted.starts_with("crates/") {
                assert!(root().join(quoted).exists(), "{number}: no file {quoted}");
            }
        }
    }
    assert!(tests > 100, "{tests}");
}

/// Whoever looks for ways in looks into the documents (ASVS 6.3.4).
#[test]
fn every_route_is_documented() {
    let documents = read("docs/api.md") + &read("docs/console.md");
    let mut routes = BTreeSet::new();
    for path in sources("crates/web/src") {
        let code = read(&path);
        for verb in [
            ".route(",
            "    get ",
            "    post ",
            "    patch ",
            "    put ",
            "    delete ",
        ] {
            for (at, _) in code.match_indices(verb) {
                let rest = code[at + verb.len()..].trim_start();
                if let Some(route) = rest.strip_prefix("\"/").and_then(|r| r.split('"').next()) {
                    routes.insert(format!("/{route}"));
                }
            }
        }
    }
    assert!(routes.len() > 40, "{routes:?}");
    for route in routes {
        // Routes that belong together are written as `…/enable`.
        let short = route.rsplit_once('/').map_or("", |(_, last)| last);
        let is_listed = documents.contains(&route)
            || route.contains('}') && documents.contains(&format!("…/{short}`"))
            || route.starts_with("/ack/") && documents.contains("/ack/ALERT/EXPIRES/WHO/TAG");
        assert!(is_listed, "docs/api.md lacks {route}");
    }
}
