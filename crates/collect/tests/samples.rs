//! Real logs that nobody here wrote, with counts that were made by other means. Skips loudly where they are not at hand.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use collect::entries::Entries;
use collect::{Format, LineId, Parsed, Reference};
use model::{SecurityEvent, Timestamp};
use serde_json::Value;

fn samples() -> Option<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/samples");
    if path.join("truth").is_dir() {
        return Some(path);
    }
    eprintln!("SKIPPED: there are no sample logs in {}", path.display());
    None
}

/// Events, entries that are nothing, and entries that were rejected.
fn read(format: &str, text: &[u8]) -> (Vec<SecurityEvent<'static>>, usize, Vec<String>) {
    let format = Format::named(format).unwrap();
    let parser = (format.parser)(Reference::utc(Timestamp::parse("2026-03-05T12:00:00Z").unwrap()));
    let mut entries = Entries::of(format);
    let lines = text.split(|b| *b == b'\n').zip(0..).map(|(line, offset)| (LineId { file: 1, offset }, line));
    let mut all = entries.push(lines);
    all.extend(entries.finish());
    let (mut events, mut nothing, mut rejected) = (Vec::new(), 0, Vec::new());
    for (id, entry) in &all {
        match parser.parse(entry, *id) {
            Parsed::Event(event) => events.push(event.into_owned()),
            Parsed::Nothing => nothing += 1,
            Parsed::Rejected(why) => rejected.push(format!("{why}: {}", String::from_utf8_lossy(entry))),
        }
    }
    (events, nothing, rejected)
}

fn counted<T: Ord>(items: impl Iterator<Item = T>) -> BTreeMap<T, u64> {
    items.fold(BTreeMap::new(), |mut counts, item| {
        *counts.entry(item).or_default() += 1;
        counts
    })
}

fn truth(samples: &std::path::Path, file: &str) -> Value {
    serde_json::from_slice(&std::fs::read(samples.join("truth").join(file)).unwrap()).unwrap()
}

#[test]
fn access_logs_give_the_requests_that_the_truth_counts() {
    let Some(samples) = samples() else { return };
    let truth = truth(&samples, "web.json");
    for file in
        ["web/elastic/apache_logs", "web/lnav/logfile_shop_access_log.0", "web/filebeat-nginx-access/access.log"]
    {
        let (events, nothing, rejected) = read("nginx", &std::fs::read(samples.join(file)).unwrap());
        assert_eq!((nothing, rejected), (1, vec![]), "{file}: the end of the file is the only empty line");
        let expected = &truth[format!("open/{file}")];
        assert_eq!(Some(events.len() as u64), expected["parsed"].as_u64(), "{file}");
        let statuses = counted(events.iter().map(|e| e.details.number("status").unwrap().to_string()));
        assert_eq!(serde_json::to_value(statuses).unwrap(), expected["status"], "{file}");
        let methods = counted(events.iter().map(|e| e.resource_type.clone().unwrap().to_string()));
        assert_eq!(serde_json::to_value(methods).unwrap(), expected["methods"], "{file}");
        let clients = counted(events.iter().map(|e| e.ip_address));
        assert_eq!(Some(clients.len() as u64), expected["clients"].as_u64(), "{file}");
    }
}

#[test]
fn php_logs_give_the_entries_that_the_truth_counts() {
    let Some(samples) = samples() else { return };
    let truth = truth(&samples, "php_and_error_logs.json");
    for file in ["php/accio/php_errors.log", "php/wordpress-phpdebugbar/debug.log", "php/lnav/logfile_laravel.0"] {
        let (events, _, rejected) = read("php", &std::fs::read(samples.join(file)).unwrap());
        let expected = &truth[format!("open/{file}")];
        assert_eq!((Some(events.len() as u64), rejected), (expected["entries"].as_u64(), vec![]), "{file}");
        let level = |e: &SecurityEvent<'_>| e.details.text("level").filter(|l| !l.is_empty());
        let levels = counted(events.iter().map(|e| level(e).unwrap_or_else(|| "(none)".to_owned())));
        assert_eq!(serde_json::to_value(levels).unwrap(), expected["levels"], "{file}");
        if let Some(frames) = expected["frames"].as_u64().filter(|_| file.contains("wordpress")) {
            assert_eq!(events.iter().filter_map(|e| e.details.number("frames")).sum::<u64>(), frames, "{file}");
        }
    }
}

#[test]
fn error_logs_of_web_servers_are_read_to_the_last_line() {
    let Some(samples) = samples() else { return };
    for (file, entries) in [("web/loghub/Apache_2k.log", 2000), ("web/filebeat-nginx-error/error.log", 4)] {
        let (events, _, rejected) = read("nginx_error", &std::fs::read(samples.join(file)).unwrap());
        assert_eq!((events.len(), rejected), (entries, vec![]), "{file}");
    }
}

/// What annotated cases of others say and what we read of them. `docs/formats.md` has the numbers, and why the rest is otherwise.
#[test]
fn annotated_lines_are_failures_where_they_are_said_to_be() {
    let Some(samples) = samples() else { return };
    let cases = std::fs::read_to_string(samples.join("derived/fail2ban_cases.jsonl")).unwrap();
    let (mut right, mut missed, mut invented) = (BTreeMap::new(), Vec::new(), Vec::new());
    for case in cases.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        let (file, line) = (case["file"].as_str().unwrap(), case["line"].as_str().unwrap());
        let format = match file {
            "sshd" | "pam-generic" => "syslog",
            "nginx-http-auth" | "apache-auth" => "nginx_error",
            _ => continue,
        };
        let (events, _, _) = read(format, line.as_bytes());
        let failed = events.iter().find(|e| e.action == "login_failed".into());
        let expected = case["expect"]["match"].as_bool().unwrap();
        let host = case["expect"]["host"].as_str().and_then(|h| h.parse::<std::net::IpAddr>().ok());
        match failed {
            Some(event) if expected && (host.is_none() || event.ip_address == host) => {
                *right.entry(file.to_owned()).or_insert(0) += 1;
            }
            None if !expected => *right.entry(file.to_owned()).or_insert(0) += 1,
            None => missed.push(format!("{file}: {line}")),
            // They count it in another mode; detection.md counts it always.
            Some(_) if line.contains("Failed publickey") => {}
            // A password has no particulars after `ssh2: `; a user's name may hold anything. The end of the line decides.
            Some(_) if line.contains("58946 ssh2: from") => {}
            Some(event) => invented.push(format!("{file} {:?}: {line}", event.ip_address)),
        }
    }
    eprintln!("right {right:?}, missed {}:\n{}\ninvented {invented:#?}", missed.len(), missed.join("\n"));
    assert!(invented.is_empty(), "{invented:#?}");
    assert!(missed.iter().all(|m| !m.contains("Failed password")), "{missed:#?}");
}
