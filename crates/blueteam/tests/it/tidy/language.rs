//! Texts that people read are plain American English (STYLE.md).

use std::fs;
use std::path::Path;

use super::{crates, read, root, sources, string_literals};

/// Beginnings of words in British spelling.
const BRITISH: &[&str] = &[
    "organis",
    "authoris",
    "recognis",
    "normalise",
    "synchronis",
    "initialis",
    "summaris",
    "optimise",
    "behaviour",
    "catalogue",
    "licence",
    "colour",
    "honour",
    "neighbour",
    "favour",
    "labelled",
    "learnt",
    "spelt",
    "acknowledgement",
    "judgement",
    "analysed",
    "analysing",
    "data centre",
];

/// What reads as a translation, each with what to write instead.
const CALQUES: &[(&str, &str)] = &[
    ("somebody", "someone, or the passive"),
    (" told of ", "notified of"),
    ("tells of ", "reports"),
    ("for good", "permanently"),
    (" anew", "again"),
    (" is away", "is unreachable"),
    ("oftener", "more often"),
    ("is no text", "is not text"),
    ("is no url", "is not a URL"),
    ("is no number", "is not a number"),
    ("is no rule,", "is not a rule"),
    ("is no entity", "is not an entity"),
    ("is no id", "invalid ID"),
    ("has done with", "removes"),
    (" stands in ", "is in"),
    (" than we ", "than blueteam"),
    ("that we ", "that blueteam"),
    ("makes us ", "makes blueteam"),
];

/// Where a word stays: files, and the word.
const STAY: &[(&str, &str, &str)] = &[
    (
        "crates/config/src/renamed.rs",
        "colour",
        "an old key that still works",
    ),
    (
        "docs/configuration.md",
        "colour",
        "an old key that still works",
    ),
    (
        "crates/compliance/src/oscal/ssp.rs",
        "organis",
        "IDs that are made of it stay the same",
    ),
    (
        "crates/compliance/src/system.rs",
        "organis",
        "an old key that still works",
    ),
    (
        "crates/app/src/compliance/description.rs",
        "organis",
        "an old key that still works",
    ),
    ("CHANGELOG.md", "organis", "an old key that still works"),
];

/// Documents that are delivered or shown.
fn documents() -> Vec<String> {
    let mut found: Vec<String> = [
        "README.md",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "blueteam.sample.toml",
        "crates/compliance/data/system.sample.toml",
        "crates/app/src/demo/system.toml",
        "deploy/blueteam.service",
        "deploy/compose.yaml",
        "deploy/compose-slim.yaml",
        "deploy/debian/blueteam.postinst",
        "deploy/debian/blueteam.postrm",
        "deploy/debian/blueteam.preinst",
        "deploy/debian/blueteam.templates",
        "deploy/debian/control",
        "deploy/prometheus-rules.yml",
        "deploy/grafana-dashboard.json",
    ]
    .map(str::to_owned)
    .to_vec();

    for folder in ["docs", "docs/decisions"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if Path::new(&name).extension().is_some_and(|e| e == "md") {
                found.push(format!("{folder}/{name}"));
            }
        }
    }

    found
}

/// Rust files of what ships.
fn shipped() -> Vec<String> {
    crates()
        .into_iter()
        .filter(|krate| !["testkit", "scenario"].contains(&krate.as_str()))
        .flat_map(|krate| sources(&format!("crates/{krate}/src")))
        .filter(|file| !file.contains("/tests") && !file.contains("_tests.rs"))
        .collect()
}

/// The text before the tests of a file.
fn without_tests(text: &str) -> &str {
    text.split("\n#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or(text)
}

fn stays(file: &str, word: &str) -> bool {
    STAY.iter()
        .any(|(path, stem, _)| *path == file && *stem == word)
}

fn british_in(file: &str, line: usize, text: &str, found: &mut Vec<String>) {
    let text = text.to_lowercase();
    for word in BRITISH {
        if text.contains(word) && !stays(file, word) {
            found.push(format!("{file}:{line}: `{word}`"));
        }
    }
}

#[test]
fn no_text_is_spelled_the_british_way() {
    let mut found = Vec::new();
    for file in documents() {
        for (n, line) in read(&file).lines().enumerate() {
            british_in(&file, n + 1, line, &mut found);
        }
    }

    for file in shipped() {
        let text = read(&file);
        let text = without_tests(&text);
        for (line, literal) in string_literals(text) {
            british_in(&file, line, literal, &mut found);
        }
        for (n, line) in text.lines().enumerate() {
            if let Some((_, comment)) = line.split_once("// ") {
                british_in(&file, n + 1, comment, &mut found);
            }
        }
    }

    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn no_text_for_people_reads_as_a_translation() {
    let mut found = Vec::new();
    let mut look = |file: &str, line: usize, text: &str| {
        let text = text.to_lowercase();
        for (calque, instead) in CALQUES {
            if text.contains(calque) {
                found.push(format!("{file}:{line}: `{calque}`; write {instead}"));
            }
        }
    };

    // Decisions, and the histories of changes, are what they were when they were written.
    for file in documents() {
        if file.starts_with("docs/decisions/") || file == "CHANGELOG.md" {
            continue;
        }
        for (n, line) in read(&file).lines().enumerate() {
            look(&file, n + 1, line);
        }
    }

    for file in shipped() {
        let text = read(&file);
        let text = without_tests(&text);
        for (line, literal) in string_literals(text) {
            look(&file, line, literal);
        }
        // The comments of arguments are the help of a command.
        if file.starts_with("crates/blueteam/src/cli/") {
            for (n, line) in text.lines().enumerate() {
                if let Some((_, comment)) = line.split_once("/// ") {
                    look(&file, n + 1, comment);
                }
            }
        }
    }

    assert!(found.is_empty(), "{}", found.join("\n"));
}
