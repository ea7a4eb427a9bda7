//! Real logs of other projects, with counts that were made independently. Skipped with a message
//! where the logs are not available.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use collect::entries::Entries;
use collect::{Format, LineId, ParseContext, Parsed};
use model::{SecurityEvent, Timestamp};
use serde_json::Value;

fn samples_folder() -> Option<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/samples");
    if path.join("truth").is_dir() {
        return Some(path);
    }
    eprintln!("SKIPPED: there are no sample logs in {}", path.display());
    None
}

/// Returns the events, the number of ignored entries, and the rejected entries.
fn read_entries(format: &str, text: &[u8]) -> (Vec<SecurityEvent<'static>>, usize, Vec<String>) {
    let format = Format::named(format).unwrap();
    let parser = (format.parser)(ParseContext::utc(
        Timestamp::parse("2026-03-05T12:00:00Z").unwrap(),
    ));
    let mut entries = Entries::of(format);
    let lines = text
        .split(|b| *b == b'\n')
        .zip(0..)
        .map(|(line, offset)| (LineId { file: 1, offset }, line));
    let mut all = entries.push(lines);

    all.extend(entries.finish());
    let mut events = Vec::new();
    let mut nothing = 0;
    let mut rejected = Vec::new();
    for (id, entry) in &all {
        match parser.parse(entry, *id) {
            Parsed::Event(event) => events.push(event.into_owned()),
            Parsed::Nothing => nothing += 1,
            Parsed::Rejected(why) => {
                rejected.push(format!("{why}: {}", String::from_utf8_lossy(entry)));
            }
        }
    }

    (events, nothing, rejected)
}

fn count_each<T: Ord>(items: impl Iterator<Item = T>) -> BTreeMap<T, u64> {
    items.fold(BTreeMap::new(), |mut counts, item| {
        *counts.entry(item).or_default() += 1;
        counts
    })
}

fn load_truth(samples: &std::path::Path, file: &str) -> Value {
    serde_json::from_slice(&std::fs::read(samples.join("truth").join(file)).unwrap()).unwrap()
}

#[test]
fn access_logs_match_the_independent_counts() {
    let Some(samples) = samples_folder() else {
        return;
    };
    let truth = load_truth(&samples, "web.json");
    for file in [
        "web/elastic/apache_logs",
        "web/lnav/logfile_shop_access_log.0",
        "web/filebeat-nginx-access/access.log",
    ] {
        let (events, nothing, rejected) =
            read_entries("nginx", &std::fs::read(samples.join(file)).unwrap());
        assert_eq!(
            (nothing, rejected),
            (1, vec![]),
            "{file}: the end of the file is the only empty line"
        );

        let expected = &truth[format!("open/{file}")];
        assert_eq!(
            Some(events.len() as u64),
            expected["parsed"].as_u64(),
            "{file}"
        );

        let statuses = count_each(
            events
                .iter()
                .map(|e| e.details.number("status").unwrap().to_string()),
        );
        assert_eq!(
            serde_json::to_value(statuses).unwrap(),
            expected["status"],
            "{file}"
        );

        let methods = count_each(
            events
                .iter()
                .map(|e| e.resource_type.clone().unwrap().to_string()),
        );
        assert_eq!(
            serde_json::to_value(methods).unwrap(),
            expected["methods"],
            "{file}"
        );

        let clients = count_each(events.iter().map(|e| e.ip_address));
        assert_eq!(
            Some(clients.len() as u64),
            expected["clients"].as_u64(),
            "{file}"
        );
    }
}

#[test]
fn php_logs_match_the_independent_counts() {
    let Some(samples) = samples_folder() else {
        return;
    };
    let truth = load_truth(&samples, "php_and_error_logs.json");
    for file in [
        "php/accio/php_errors.log",
        "php/wordpress-phpdebugbar/debug.log",
        "php/lnav/logfile_laravel.0",
    ] {
        let (events, _, rejected) =
            read_entries("php", &std::fs::read(samples.join(file)).unwrap());
        let expected = &truth[format!("open/{file}")];
        assert_eq!(
            (Some(events.len() as u64), rejected),
            (expected["entries"].as_u64(), vec![]),
            "{file}"
        );

        let level = |e: &SecurityEvent<'_>| e.details.text("level").filter(|l| !l.is_empty());
        let levels = count_each(
            events
                .iter()
                .map(|e| level(e).unwrap_or_else(|| "(none)".to_owned())),
        );
        assert_eq!(
            serde_json::to_value(levels).unwrap(),
            expected["levels"],
            "{file}"
        );

        if let Some(frames) = expected["frames"]
            .as_u64()
            .filter(|_| file.contains("wordpress"))
        {
            assert_eq!(
                events
                    .iter()
                    .filter_map(|e| e.details.number("frames"))
                    .sum::<u64>(),
                frames,
                "{file}"
            );
        }
    }
}

#[test]
fn web_server_error_logs_are_read_without_rejections() {
    let Some(samples) = samples_folder() else {
        return;
    };
    for (file, entries) in [
        ("web/loghub/Apache_2k.log", 2000),
        ("web/filebeat-nginx-error/error.log", 4),
    ] {
        let (events, _, rejected) =
            read_entries("nginx_error", &std::fs::read(samples.join(file)).unwrap());
        assert_eq!((events.len(), rejected), (entries, vec![]), "{file}");
    }
}

/// fail2ban's annotated cases. `docs/formats.md` has the numbers and the reasons for differences.
#[test]
fn cases_of_fail2ban_are_read_as_annotated() {
    let Some(samples) = samples_folder() else {
        return;
    };
    let cases = std::fs::read_to_string(samples.join("derived/fail2ban_cases.jsonl")).unwrap();
    let mut right = BTreeMap::new();
    let mut missed = Vec::new();
    let mut invented = Vec::new();
    for case in cases
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
    {
        let file = case["file"].as_str().unwrap();
        let line = case["line"].as_str().unwrap();
        let format = match file {
            "sshd" | "pam-generic" => "syslog",
            "nginx-http-auth" | "apache-auth" => "nginx_error",
            _ => continue,
        };

        let (events, _, _) = read_entries(format, line.as_bytes());
        let failed = events.iter().find(|e| e.action == "login_failed".into());
        let expected = case["expect"]["match"].as_bool().unwrap();
        let host = case["expect"]["host"]
            .as_str()
            .and_then(|h| h.parse::<std::net::IpAddr>().ok());

        match failed {
            Some(event) if expected && (host.is_none() || event.ip_address == host) => {
                *right.entry(file.to_owned()).or_insert(0) += 1;
            }
            None if !expected => *right.entry(file.to_owned()).or_insert(0) += 1,
            None => missed.push(format!("{file}: {line}")),
            // fail2ban counts it in another mode only; the specification always does.
            Some(_) if line.contains("Failed publickey") => {}
            // Nothing follows `ssh2: ` for a password, and a user name may hold anything, so the
            // end of the line decides.
            Some(_) if line.contains("58946 ssh2: from") => {}
            // Alone, a line of PAM counts: no line of sshd is about the same attempt.
            Some(_) if line.contains("pam_unix(sshd:auth): authentication failure") => {}
            // An old form that fail2ban's filter does not know, but Wazuh's cases do.
            Some(_) if line.contains("pop(pam_unix)[") => {}
            // No user name holds a colon (RFC 7617): nginx's own words come first, and a referrer
            // may hold the rest.
            Some(_) if line.contains(r#"host: "localhost:8443"": was not found in "#) => {}
            Some(event) => invented.push(format!("{file} {:?}: {line}", event.ip_address)),
        }
    }
    eprintln!(
        "right {right:?}, missed {}:\n{}\ninvented {invented:#?}",
        missed.len(),
        missed.join("\n")
    );
    assert!(invented.is_empty(), "{invented:#?}");
    assert!(
        missed.iter().all(|m| !m.contains("Failed password")),
        "{missed:#?}"
    );
}

/// Describes a line as `action/result`, `-` when it is ignored, or `rejected` when it is not of the
/// format.
fn describe_line(format: &str, line: &str) -> String {
    let (events, _, rejected) = read_entries(format, line.as_bytes());
    match events.first() {
        _ if !rejected.is_empty() => "rejected".to_owned(),
        Some(event) => format!("{}/{}", event.action, event.result.as_str()),
        None => "-".to_owned(),
    }
}

/// Wazuh's cases: its rules for failed logins, refused and successful `sudo` and `su`, and errors
/// of web servers. `docs/formats.md` has the numbers and the reasons for differences.
#[test]
fn cases_of_wazuh_are_read_as_its_rules_expect() {
    let Some(samples) = samples_folder() else {
        return;
    };
    let cases = std::fs::read_to_string(samples.join("derived/wazuh_cases.jsonl")).unwrap();
    let mut right = BTreeMap::new();
    let mut otherwise = BTreeMap::<_, Vec<String>>::new();
    for case in cases
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
    {
        let text = |key: &str| case[key].as_str().unwrap().to_owned();
        let (file, rule) = (text("file"), text("rule"));
        let format = match file.as_str() {
            "sshd.ini" | "pam.ini" | "sudo.ini" | "su.ini" | "syslog.ini" | "systemd.ini" => {
                "syslog"
            }
            "apache.ini" | "nginx.ini" | "php.ini" => "nginx_error",
            "web_rules.ini" => "nginx",
            _ => continue,
        };

        let expected: &[&str] = match rule.as_str() {
            // Failed logins of known and of unknown users.
            "5710" | "5712" | "5716" | "5760" | "5763" | "5503" | "5504" | "2502" | "31315" => {
                &["login_failed/failure"]
            }
            "5301" | "5302" => &["su/failure", "su/denied"],
            "5305" => &["su/success"],
            "5403" => &["sudo/success"],
            "5401" | "5404" | "5405" => &["sudo/failure", "sudo/denied"],
            "5718" | "5719" | "30305" => &["access_denied/denied"],
            _ if format == "nginx" => &[
                "http_request/success",
                "http_request/failure",
                "http_request/denied",
            ],
            _ if format == "nginx_error" => &["server_error/failure", "access_denied/denied"],
            // Other messages do not concern authentication.
            _ => &["-"],
        };

        for line in case["logs"].as_array().unwrap() {
            let matches = line["expect_match"].as_bool().unwrap();
            let line = line["line"].as_str().unwrap();
            let described = describe_line(format, line);
            if !matches || expected.contains(&described.as_str()) {
                *right.entry(file.clone()).or_insert(0) += 1;
            } else {
                otherwise
                    .entry(file.clone())
                    .or_default()
                    .push(format!("{rule} {described}: {line}"));
            }
        }
    }
    let known = [
        ("apache.ini", 6),
        ("nginx.ini", 5),
        ("pam.ini", 4),
        ("php.ini", 2),
        ("sshd.ini", 48),
        ("su.ini", 2),
        ("sudo.ini", 8),
        ("syslog.ini", 6),
        ("systemd.ini", 2),
        ("web_rules.ini", 6),
    ];
    assert_eq!(
        right,
        known.map(|(file, count)| (file.to_owned(), count)).into(),
        "{otherwise:#?}"
    );
}

/// CrowdSec's cases for access logs, line by line.
#[test]
fn cases_of_crowdsec_are_read_as_by_its_parsers() {
    let Some(samples) = samples_folder() else {
        return;
    };
    let cases =
        std::fs::read_to_string(samples.join("derived/crowdsec_parser_cases.jsonl")).unwrap();
    let mut right = BTreeMap::new();
    let mut otherwise = Vec::new();
    for case in cases
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
    {
        let parser = case["parser"].as_str().unwrap();
        let (parsed, meta) = (&case["parsed"], &case["meta"]);
        let (Some(line), true) = (parsed["message"].as_str(), case["success"] == true) else {
            continue;
        };
        let is_covered =
            ["crowdsecurity/nginx-logs", "crowdsecurity/apache2-logs"].contains(&parser);
        if !is_covered || meta["log_type"] != "http_access-log" {
            continue;
        }

        let (events, _, rejected) = read_entries("nginx", line.as_bytes());
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let same = rejected.is_empty()
            && events.first().is_some_and(|event| {
                event.ip_address.map(|ip| ip.to_string()) == Some(text(&meta["source_ip"]))
                    && event.details.number("status").map(|s| s.to_string())
                        == Some(text(&meta["http_status"]))
                    && event.resource_id.clone().map(|t| t.to_string())
                        == Some(text(&meta["http_path"]))
            });

        if same {
            *right.entry(parser.to_owned()).or_insert(0) += 1;
        } else {
            otherwise.push(format!(
                "{line}: {:?} {rejected:?}",
                events
                    .first()
                    .map(|e| (e.ip_address, e.resource_id.clone()))
            ));
        }
    }
    assert!(otherwise.is_empty(), "{otherwise:#?}");
    assert_eq!(right.values().sum::<i32>(), 37, "{right:?}");
}
