//! `replay` and `backtest` as people and scripts meet them.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use insta::assert_snapshot;
use serde_json::Value;
use testkit::TestDb;

use crate::cli::Program;

pub(crate) const SIGMA: &str = "title: Shell on a server
id: 0b6f0ea4-3f6c-4b0a-9d8e-1d2c3b4a5f60
status: experimental
description: Somebody opened a shell.
author: Tests
date: 2026-01-01
logsource:
    product: blueteam
    category: application
detection:
    selection:
        action: open_shell
    condition: selection
level: high
";

/// Failed logins from one address, a second apart, and one opened shell.
fn events(failures: usize) -> String {
    let mut text = String::new();
    for n in 0..failures {
        writeln!(
            text,
            r#"{{"event_id":"00000000-0000-4000-8000-{n:012}","timestamp":"2026-03-02T10:00:{n:02}Z","category":"auth","action":"login_failed","result":"failure","ip_address":"203.0.113.9","metadata":{{"username":"root"}}}}"#
        )
        .unwrap();
    }

    writeln!(
        text,
        r#"{{"event_id":"00000000-0000-4000-8000-000000000099","timestamp":"2026-03-02T10:01:00Z","category":"admin","action":"open_shell","result":"success"}}"#
    )
    .unwrap();

    text
}

fn rules_of(out: &str) -> Vec<String> {
    out.lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["rule_id"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect()
}

#[test]
fn replay_prints_an_object_a_line() {
    let program = Program::new(None);
    let file = program.write("events.ndjson", &events(6));
    let ran = program.run(&["replay", "--json", &file]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert_snapshot!("replay_json", ran.out);
    assert_eq!(
        program.feed(&["replay", "--json"], &events(6)).good(),
        ran.out,
        "standard input"
    );

    assert_eq!(
        program.feed(&["replay", "--json", "-"], &events(6)).good(),
        ran.out
    );
    assert_eq!(
        program.run(&["replay", "--threads", "3", &file]).good(),
        ran.out,
        "a pipe gets JSON"
    );

    assert_eq!(
        program.feed(&["replay"], &events(5)).good(),
        "",
        "five failures are none too many"
    );
}

#[test]
fn rejected_lines_are_named_and_the_rest_counts() {
    let program = Program::new(None);
    let text = events(6).replacen('\n', "\nnot json\n{\"category\":\"auth\"}\n", 1);
    let ran = program.feed(&["replay", "--json"], &text);
    assert_eq!(
        (ran.code, rules_of(&ran.out)),
        (0, vec!["brute_force".to_owned()])
    );
    assert!(
        ran.err.contains("standard input:2: ") && ran.err.contains("standard input:3: "),
        "{}",
        ran.err
    );

    assert!(ran.err.contains("2 rejected"), "{}", ran.err);
    let ran = program.feed(&["replay"], "one\ntwo\n");
    assert_eq!(ran.code, 1);
    assert!(
        ran.err.contains("none of 2 lines is of the format `audit`"),
        "{}",
        ran.err
    );

    assert_eq!(program.run(&["replay", "/nowhere"]).code, 1);
    assert_eq!(
        program.run(&["replay", "--format", "nonsense", "x"]).code,
        2
    );
}

#[test]
fn rules_can_be_chosen_built_in_and_custom() {
    let program = Program::new(None);
    program.write("rules/shell.yml", SIGMA);
    let dir = program.path("rules").display().to_string();
    let custom = "0b6f0ea4-3f6c-4b0a-9d8e-1d2c3b4a5f60";

    let run = |rules: Option<&str>| {
        let mut args = vec!["replay", "--rules-dir", &dir];
        args.extend(rules.into_iter().flat_map(|r| ["--rules", r]));
        let mut found = rules_of(&program.feed(&args, &events(6)).good());
        found.sort();
        found
    };

    assert_eq!(run(None), [custom, "brute_force"]);
    assert_eq!(run(Some("brute_force")), ["brute_force"]);
    assert_eq!(run(Some(custom)), [custom]);
    assert_eq!(run(Some("ai_abuse")), [] as [&str; 0]);
    assert_eq!(program.feed(&["replay", "--rules", "nonsense"], "").code, 1);

    let file = program.write("blueteam.toml", "[rules.brute_force]\nthreshold = 9\n");
    assert_eq!(
        program
            .feed(&["--config", &file, "replay"], &events(6))
            .good(),
        "",
        "thresholds from the file"
    );
}

/// Real sshd logs with the sources that exceed five failures in five minutes, counted by other
/// means.
#[test]
fn real_logs_give_the_sources_that_the_truth_names() {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/samples");
    let Ok(truth) = std::fs::read_to_string(samples.join("truth/auth.json")) else {
        eprintln!("SKIPPED: there are no sample logs in {}", samples.display());
        return;
    };

    let truth: Value = serde_json::from_str(&truth).unwrap();
    let program = Program::new(None);
    for file in [
        "auth/elastic/auth.log",
        "auth/loghub/OpenSSH_2k.log",
        "auth/filebeat-system-auth/secure-rhel7.log",
    ] {
        let path = samples.join(file).display().to_string();
        let out = program
            .run(&[
                "replay",
                "--format",
                "syslog",
                "--rules",
                "brute_force",
                &path,
            ])
            .good();

        let found: BTreeSet<String> = out
            .lines()
            .map(|l| {
                serde_json::from_str::<Value>(l).unwrap()["entity"]["value"]
                    .as_str()
                    .unwrap()
                    .to_owned()
            })
            .collect();

        let brute = &truth[format!("open/{file}")]["A"]["brute"];
        let expected: BTreeSet<String> = brute.as_object().unwrap().keys().cloned().collect();
        assert!(
            !expected.is_empty() && found == expected,
            "{file}: {found:?} instead of {expected:?}"
        );

        // The truth knows one login right after guesses, and no source that tries many accounts
        // slowly.
        let rules = ["--rules", "success_after_brute_force,slow_spray"];
        let out = program
            .run(
                &[
                    &["replay", "--format", "syslog"],
                    &rules[..],
                    &[path.as_str()],
                ]
                .concat(),
            )
            .good();

        let found: Vec<String> = out
            .lines()
            .map(|l| serde_json::from_str::<Value>(l).unwrap())
            .map(|d| {
                format!(
                    "{} {}",
                    d["rule_id"].as_str().unwrap(),
                    d["entity"]["value"].as_str().unwrap()
                )
            })
            .collect();

        let guessed =
            &truth[format!("open/{file}")]["success_after_over_5_failures_in_5min_detail"];
        let expected: Vec<String> = guessed
            .as_array()
            .into_iter()
            .flatten()
            .map(|hit| format!("success_after_brute_force {}", hit[1].as_str().unwrap()))
            .collect();
        assert_eq!(found, expected, "{file}");
    }
}

/// Real access logs of quiet sites: what is counted by other means is found, and nothing is made
/// up.
#[test]
fn real_access_logs_give_no_false_alarm() {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/samples/web");
    if !samples.is_dir() {
        eprintln!("SKIPPED: there are no sample logs in {}", samples.display());
        return;
    }

    let program = Program::new(None);
    let rules = [
        "--rules",
        "web_scanner,injection_attempt,cross_source_attack",
    ];
    for file in ["elastic/apache_logs", "lnav/logfile_shop_access_log.0"] {
        let path = samples.join(file).display().to_string();
        let out = program
            .run(
                &[
                    &["replay", "--format", "nginx"],
                    &rules[..],
                    &[path.as_str()],
                ]
                .concat(),
            )
            .good();

        assert_eq!(
            out, "",
            "{file}: no client exceeds 20 errors a minute, none sends code"
        );
    }
}

#[tokio::test]
async fn backtest_finds_what_replay_finds() {
    let db = TestDb::new().await;
    let program = Program::new(Some(&db));
    let mut conn = db.connect().await;
    for line in events(6).lines() {
        sqlx::query(
            "INSERT INTO public.audit_events (event_id, timestamp, category, action, result, \
                ip_address, metadata)
             SELECT event_id, timestamp, category, action, result, ip_address, coalesce(metadata, \
             '{}')
               FROM jsonb_populate_record(NULL::public.audit_events, $1::text::jsonb)",
        )
        .bind(line)
        .execute(&mut conn)
        .await
        .unwrap();
    }

    let range = [
        "--since",
        "2026-03-01T00:00:00Z",
        "--until",
        "2026-03-03T00:00:00Z",
        "--json",
    ];
    let found = program.run(&[&["backtest"], &range[..]].concat()).good();
    assert_eq!(
        found,
        program.feed(&["replay", "--json"], &events(6)).good()
    );

    // What is switched off in the table of rules stays silent, unless it is named.
    program
        .run(&["alerts", "rules", "disable", "brute_force"])
        .good();
    assert_eq!(
        program.run(&[&["backtest"], &range[..]].concat()).good(),
        ""
    );

    assert_eq!(
        program
            .run(&[&["backtest", "--rules", "brute_force"], &range[..]].concat())
            .good(),
        found
    );
    assert_eq!(program.run(&["backtest", "--since", "soon"]).code, 2);

    assert_eq!(
        program
            .run(&["backtest", "--since", "1h", "--until", "2h"])
            .code,
        2
    );
}
