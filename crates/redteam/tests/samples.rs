//! Reports that real tools wrote, with counts that others counted, and files of attackers with what
//! must happen. The samples are not part of this repository; without them the tests say so and pass.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use redteam::importers::{self, Hints};
use redteam::{ReadError, Report};
use serde_json::Value;

fn samples() -> Option<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/samples");
    if path.join("scans").is_dir() {
        return Some(path);
    }

    eprintln!("SKIPPED: there are no sample reports in {}", path.display());
    None
}

fn truth(samples: &Path, name: &str) -> BTreeMap<String, Value> {
    let text = std::fs::read_to_string(samples.join("truth").join(name)).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn read(samples: &Path, file: &str, format: Option<&str>) -> Result<Report, ReadError> {
    let bytes = std::fs::read(samples.join(file)).unwrap();
    let hints = Hints {
        format: format.map(|name| importers::named(name).unwrap()),
        target: None,
    };
    importers::read(&bytes, hints)
}

/// The format of the truth, as ours is called; `None` for one that is not read.
fn format_of(expected: &Value) -> Option<&'static str> {
    let name = expected["format"].as_str().unwrap();
    Some(match name {
        "burp-xml" => "burp",
        "nikto-json" => "nikto-json",
        "nikto-xml" => "nikto-xml",
        "nmap-xml" => "nmap",
        "sarif" => "sarif",
        "semgrep" => "semgrep",
        "trivy" => "trivy",
        "zap-json" => "zap-json",
        "zap-xml" => "zap-xml",
        _ if name.starts_with("nuclei") => "nuclei",
        _ => return None,
    })
}

/// The counts of the truth, as ours are called.
const COUNTS: &[(&str, &str)] = &[
    ("hosts", "hosts"),
    ("ports", "ports"),
    ("open_ports", "open_ports"),
    ("scripts", "scripts"),
    ("up", "up"),
    ("sites", "sites"),
    ("alerts", "alerts"),
    ("instances", "instances"),
    ("runs", "runs"),
    ("suppressed", "suppressed"),
    ("matched", "matched"),
    ("vulnerabilities", "vulnerabilities"),
    ("misconfigurations", "misconfigurations"),
    ("secrets", "secrets"),
];

fn differences(file: &str, expected: &Value, report: &Report) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut check = |what: &str, expected: Option<u64>, found: usize| {
        if expected.is_some_and(|expected| expected != found as u64) {
            wrong.push(format!(
                "{file}: {what}: {found}, not {}",
                expected.unwrap_or(0)
            ));
        }
    };

    for (key, ours) in COUNTS {
        check(key, expected[*key].as_u64(), report.counts.of(ours));
    }
    for key in ["results", "items", "issues", "findings", "lines"] {
        check(key, expected[key].as_u64(), report.counts.items);
    }
    check(
        "distinct",
        expected["distinct_matched"].as_u64(),
        report.findings.len(),
    );
    let listed: u32 = report
        .findings
        .iter()
        .map(|finding| finding.instances)
        .sum();
    let taken = report.counts.items
        - [
            "suppressed",
            "absent",
            "passed",
            "undecided",
            "unmatched",
            "false_positives",
        ]
        .map(|name| report.counts.of(name))
        .iter()
        .sum::<usize>();
    // Each thing that is listed is in one finding. Those of ZAP count their places instead, those
    // of nmap's scripts come on top.
    if !matches!(report.format, "zap-xml" | "zap-json" | "nmap") {
        check("instances of findings", Some(u64::from(listed)), taken);
    }
    wrong
}

#[test]
fn counts_are_those_of_the_truth() {
    let Some(samples) = samples() else { return };
    let mut wrong = Vec::new();
    let mut count = 0;
    for (file, expected) in truth(&samples, "scans.json")
        .into_iter()
        .chain(truth(&samples, "scans2.json"))
        .filter(|(file, _)| file != "hostile")
    {
        // Some of the files that were counted are kept elsewhere.
        let Ok(bytes) = std::fs::read(samples.join(&file)) else {
            continue;
        };
        let Some(format) = format_of(&expected) else {
            if let Ok(report) = read(&samples, &file, None) {
                wrong.push(format!("{file}: read as {}", report.format));
            }
            continue;
        };
        count += 1;
        let is_bare = matches!(bytes.trim_ascii(), b"" | b"[]" | b"null");
        match read(&samples, &file, is_bare.then_some(format)) {
            Ok(report) if report.format != format => {
                wrong.push(format!("{file}: read as {}, not {format}", report.format));
            }
            Ok(report) => wrong.extend(differences(&file, &expected, &report)),
            // An obsolete version is refused with a text that names it.
            Err(error) if expected["version"] == "2.0.0" => {
                assert!(error.to_string().contains("2.0.0"), "{error}");
            }
            Err(error) => wrong.push(format!("{file}: {error}")),
        }
    }

    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(count > 90, "only {count} files were read");
}

#[test]
fn every_file_is_survived() {
    let Some(samples) = samples() else { return };
    let mut folders = vec![samples.join("scans")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = std::fs::read(&path).unwrap();
            let began = Instant::now();
            let report = importers::read(&bytes, Hints::default());
            let took = began.elapsed();
            assert!(
                took < Duration::from_secs(5),
                "{}: {took:?}",
                path.display()
            );
            for finding in report.iter().flat_map(|report| &report.findings) {
                check_texts(&path, finding);
            }
        }
    }
}

fn check_texts(path: &Path, finding: &redteam::Finding) {
    let texts = [
        &finding.rule,
        &finding.title,
        &finding.location,
        &finding.area,
        &finding.group,
        &finding.detail,
    ];
    for text in texts {
        assert!(text.len() <= 2_000, "{}", path.display());
        assert!(!text.chars().any(char::is_control), "{}", path.display());
    }
    assert!(!finding.detail.contains("root:x:0:0"), "{}", path.display());
    assert!(!finding.title.is_empty(), "{}", path.display());
}

#[test]
fn hostile_files_do_what_they_must() {
    let Some(samples) = samples() else { return };
    let hostile = |name: &str| read(&samples, &format!("scans/hostile/{name}"), None);
    let findings = |name: &str| hostile(name).map(|report| report.findings.len());

    for name in [
        "xxe-file.xml",
        "xxe-http.xml",
        "billion-laughs.xml",
        "deep-xml.xml",
        "duplicate-attribute.xml",
        "deep-json.json",
        "nan.json",
        "duplicate-keys.sarif",
        "trailing-garbage.sarif",
        "cut.sarif",
        "blank.json",
        "wrong-type-results.sarif",
        "html.json",
        "broken-middle.jsonl",
        "report.sarif.gz",
        "bomb.json.gz",
        "version-2.0.0.sarif",
    ] {
        assert!(hostile(name).is_err(), "{name} was read");
    }
    for (name, count) in [
        ("xinclude.xml", 1),
        ("burp-internal-dtd.xml", 1),
        ("huge-string.sarif", 1),
        ("invalid-utf8.sarif", 1),
        ("nul.sarif", 1),
        ("suppressed.sarif", 2),
        ("kinds.sarif", 1),
        ("level-from-rule.sarif", 1),
        ("base-id-loop.sarif", 1),
        ("path-traversal.sarif", 4),
        ("sql.jsonl", 1),
        ("crlf.jsonl", 2),
        ("no-newline.jsonl", 1),
        ("odd-dates.jsonl", 7),
        ("future-date.jsonl", 1),
        ("long-url.jsonl", 1),
        ("ids-collide.json", 2),
    ] {
        assert_eq!(findings(name), Ok(count), "{name}");
    }

    let broken = hostile("broken-middle.jsonl").unwrap_err().to_string();
    assert!(broken.contains("line 2"), "{broken}");
    for name in ["results-null.sarif", "invocation-failed.sarif"] {
        let mut scope = hostile(name).unwrap().scope;
        scope.is_whole = true;
        assert!(!scope.covers("src/a.py", ""), "{name}");
    }
    let mut empty = hostile("results-empty.sarif").unwrap().scope;
    empty.is_whole = true;
    assert!(empty.covers("src/a.py", ""));
    let high = &hostile("level-from-rule.sarif").unwrap().findings[0];
    assert_eq!(high.severity, model::Severity::High);
}

#[test]
fn the_same_target_twice_keeps_what_is_the_same() {
    let Some(samples) = samples() else { return };
    let both = |first: &str, second: &str| {
        let read = |file: &str| read(&samples, &format!("scans/own-runs/{file}"), None).unwrap();
        let (first, second) = (read(first), read(second));
        let is_in = |report: &Report, print: &str| {
            report
                .findings
                .iter()
                .any(|finding| finding.fingerprint == print)
        };
        let gone = first
            .findings
            .iter()
            .filter(|f| !is_in(&second, &f.fingerprint));
        let covered = gone
            .filter(|f| second.scope.covers(&f.area, &f.group))
            .count();
        let new = second
            .findings
            .iter()
            .filter(|f| !is_in(&first, &f.fingerprint));
        (covered, new.count())
    };

    assert_eq!(both("nmap-1.xml", "nmap-2.xml"), (1, 0));
    assert_eq!(both("nuclei.jsonl", "nuclei-array.json"), (0, 0));
    assert_eq!(both("nikto-2.5-object.json", "nikto-2.5-list.json"), (0, 0));
    assert_eq!(both("bandit-1.sarif", "bandit-2.sarif"), (2, 1));
}
