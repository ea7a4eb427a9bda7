//! The completeness ledger of a running program.

use std::fs::File;
use std::io::Write as _;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::time::sleep;

use super::daemon::{Daemon, PATIENCE, alert_comes};

/// What `sources` prints as JSON; the exit code with it.
fn ask(daemon: &Daemon, args: &[&str]) -> (Option<i32>, Value) {
    let output = daemon
        .command()
        .arg("sources")
        .args(args)
        .arg("--json")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let value = serde_json::from_str(&text).unwrap();

    (output.status.code(), value)
}

async fn until(what: &str, daemon: &Daemon, mut holds: impl FnMut() -> bool) {
    let since = Instant::now();
    while !holds() {
        assert!(
            since.elapsed() < PATIENCE,
            "{what} did not happen:\n{}",
            daemon.log()
        );
        sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sources_that_differ_from_the_configuration_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| {
        let path = dir.path().join(name).display().to_string();
        std::fs::write(&path, "").unwrap();
        let table = format!("[[collect.files]]\npath = \"{path}\"\nformat = \"syslog\"\n");
        (path, table)
    };
    let ((first, begins), (second, added)) = (file("first.log"), file("second.log"));
    let mut daemon = Daemon::new(&begins).await;
    let status = |daemon: &Daemon| {
        let ran = daemon.command().args(["status", "--json"]).output();
        serde_json::from_slice::<Value>(&ran.unwrap().stdout).unwrap()
    };
    assert!(status(&daemon).get("sources_not_running").is_none());

    let configuration = daemon.path("blueteam.toml");
    let text = std::fs::read_to_string(&configuration).unwrap();
    std::fs::write(&configuration, text.replace(&begins, &added)).unwrap();
    let differs = status(&daemon);
    let (first, second) = (format!("syslog:{first}"), format!("syslog:{second}"));
    assert_eq!(differs["sources_not_running"], json!([second]));
    assert_eq!(differs["sources_removed"], json!([first]));
    let names_it = format!("source {second} of the configuration is not running: restart");
    assert!(
        differs["attention"].to_string().contains(&names_it),
        "{differs:#}"
    );

    // The log says it at each reload, not only at the one that brought the change.
    for round in 1..3 {
        daemon.hang_up();
        until("the reload", &daemon, || {
            daemon
                .log()
                .matches("the configuration was reloaded")
                .count()
                == round
        })
        .await;
        assert_eq!(daemon.log().matches(&names_it).count(), round);
    }

    // A look with another configuration says nothing of it.
    let other = dir.path().join("other.toml");
    std::fs::copy(&configuration, &other).unwrap();
    let ran = std::process::Command::new(daemon.command().get_program())
        .arg("--state-dir")
        .arg(daemon.path("."))
        .arg("--config")
        .arg(&other)
        .args(["status", "--json"])
        .output();
    let elsewhere = String::from_utf8(ran.unwrap().stdout).unwrap();
    let is_silent = !elsewhere.contains("sources_not_running");
    assert!(
        elsewhere.contains("daemon_running") && is_silent,
        "{elsewhere}"
    );

    assert!(daemon.terminate().await.success(), "{}", daemon.log());
    daemon.start().await;
    assert!(status(&daemon).get("sources_not_running").is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_is_accounted_for_and_missed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("auth.log");
    let mut log = File::create(&path).unwrap();
    let files = format!(
        "[[collect.files]]\npath = \"{}\"\nformat = \"syslog\"\nevery = \"2s\"",
        path.display()
    );
    let daemon = Daemon::new(&files).await;

    let id = format!("syslog:{}", path.display());
    let lines = "2026-03-04T10:00:00Z web sshd[7]: Failed password for root from 192.0.2.9 port 4 \
        ssh2\n\
                 2026-03-04T10:00:01Z web CRON[8]: (root) CMD (true)\n\u{1}\u{2} what is this\n";
    log.write_all(lines.as_bytes()).unwrap();

    let of = |field: &str| {
        let rows = ask(&daemon, &["list"]).1;
        rows.as_array()
            .unwrap()
            .iter()
            .find(|r| r["source_id"] == id.as_str())
            .map(|r| r[field].clone())
    };

    until("the account of three lines", &daemon, || {
        of("received") == Some(json!(3))
    })
    .await;
    assert_eq!(
        (of("accepted"), of("ignored"), of("rejected")),
        (Some(json!(1)), Some(json!(1)), Some(json!(1)))
    );

    let letters = ask(&daemon, &["dead-letters", "--source", &id]).1;
    assert_eq!(letters.as_array().unwrap().len(), 1, "{letters}");
    assert_eq!(letters[0]["entry"], "\u{1}\u{2} what is this");

    until("the silence", &daemon, || {
        of("silent_since").is_some_and(|since| !since.is_null())
    })
    .await;
    assert_eq!(ask(&daemon, &["list"]).0, Some(3));

    alert_comes(
        &mut daemon.connect().await,
        "audit_log_gap",
        "blueteam collector",
        PATIENCE,
    )
    .await;

    let rules = daemon
        .command()
        .args(["alerts", "rules", "--json"])
        .output()
        .unwrap();
    let rules: Value = serde_json::from_slice(&rules.stdout).unwrap();
    let blind = |rule: &str| {
        rules
            .as_array()
            .unwrap()
            .iter()
            .find(|r| r["rule_id"] == rule)
            .unwrap()["blind_to"]
            .clone()
    };

    assert_eq!(
        (blind("brute_force"), blind("ai_abuse")),
        (json!([id]), json!(["audit_db"]))
    );

    log.write_all(
        b"2026-03-04T10:00:05Z web sshd[7]: Failed password for root from 192.0.2.9 port 4 ssh2\n",
    )
    .unwrap();

    until("the end of the silence", &daemon, || {
        ask(&daemon, &["show", &id]).1["gaps"]
            .as_array()
            .unwrap()
            .iter()
            .any(|g| !g["ended_at"].is_null())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_producer_that_counts_is_followed() {
    let daemon = Daemon::new("").await;
    let event = |n: u64| {
        json!({ "category": "access", "action": "api_request", "result": "success",
                "metadata": { "producer": "shop", "producer_seq": n } })
    };

    daemon.client().send(&[1, 2, 5].map(event)).await;
    let missing = || ask(&daemon, &["show", "producer:shop"]).1["missing_numbers"].clone();
    let known = || {
        ask(&daemon, &["list"])
            .1
            .as_array()
            .unwrap()
            .iter()
            .any(|r| r["source_id"] == "producer:shop")
    };

    until("the producer's account", &daemon, known).await;
    assert_eq!(missing(), json!(2));
    daemon.client().send(&[4].map(event)).await;
    until("the fourth", &daemon, || missing() == json!(1)).await;
    let rows = ask(&daemon, &["list"]).1;
    let table = rows
        .as_array()
        .unwrap()
        .iter()
        .find(|r| r["source_id"] == "audit_db")
        .unwrap()
        .clone();

    assert_eq!(
        (&table["received"], &table["accepted"]),
        (&json!(4), &json!(4))
    );
}

/// An entry of many lines is one event, however it is written and whoever is killed in between.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_of_many_lines_are_one_event_each() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("php.log");
    let mut log = File::create(&path).unwrap();
    let files = format!(
        "[[collect.files]]\npath = \"{}\"\nformat = \"php\"",
        path.display()
    );
    let mut daemon = Daemon::new(&files).await;

    let id = format!("php:{}", path.display());
    let accepted = |daemon: &Daemon| {
        let rows = ask(daemon, &["list"]).1;
        rows.as_array()
            .unwrap()
            .iter()
            .find(|r| r["source_id"] == id.as_str())
            .and_then(|r| r["accepted"].as_u64())
    };

    let first = "[05-Mar-2026 10:00:00 UTC] PHP Fatal error:  Uncaught Error: x in \
        /a.php:1\nStack trace:\n#0 {main}\n";
    log.write_all(first.as_bytes()).unwrap();
    until("the first entry", &daemon, || accepted(&daemon) == Some(1)).await;

    // The second is written in two pieces, with a kill between them: what was read of it is read
    // again.
    let (head, tail) = (
        "[05-Mar-2026 10:00:01 UTC] PHP Fatal error:  Uncaught Error: y in /a.php:2\n",
        "Stack trace:\n#0 {main}\n",
    );
    log.write_all(head.as_bytes()).unwrap();
    sleep(Duration::from_millis(300)).await;
    daemon.kill();
    log.write_all(tail.as_bytes()).unwrap();

    daemon.start().await;
    until("the second entry", &daemon, || accepted(&daemon) == Some(2)).await;
    let mut conn = daemon.connect().await;
    let frames: Vec<i64> = sqlx::query_scalar(
        "SELECT (metadata->>'frames')::bigint FROM blueteam.log_events WHERE source = \
            'php_error' ORDER BY timestamp",
    )
    .fetch_all(&mut conn)
    .await
    .unwrap();

    assert_eq!(frames, [1, 1]);
}

/// Two logs that begin with the same line, and clients that send a name too long for an index, or
/// one that looks like a time: every request is a row.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_client_keeps_its_request_out_of_the_record() {
    let dir = tempfile::tempdir().unwrap();
    // Nothing that compression makes short.
    let long: Vec<String> = (1..=700_u64)
        .map(|n| format!("{:x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
        .collect();
    let long = long.concat();
    let mut files = String::new();

    for (name, client) in [("a", "203.0.113.8"), ("b", "203.0.113.9")] {
        let path = dir.path().join(format!("{name}.log"));
        let mut lines = r#"10.0.0.1 - - [04/Mar/2026:10:00:00 +0000] "GET /health HTTP/1.1" 200 5"#
            .to_owned()
            + "\n";
        for user in ["-", "x [01/Jan/2020:00:00:00 +0000] y", "a\\x00b", &long] {
            lines.extend([format!(
                "{client} - {user} [04/Mar/2026:10:00:01 +0000] \"GET /.env HTTP/1.1\" 404 5\n"
            )]);
        }

        std::fs::write(&path, lines).unwrap();
        files.extend([format!(
            "[[collect.files]]\npath = \"{}\"\nformat = \"nginx\"\n",
            path.display()
        )]);
    }

    let daemon = Daemon::new(&files).await;
    let mut conn = daemon.connect().await;
    let since = Instant::now();
    loop {
        let rows: Vec<(String, i64)> = sqlx::query_as(
            "SELECT host(ip_address), count(*) FROM blueteam.log_events
              WHERE timestamp >= '2026-03-04T10:00:00Z' GROUP BY 1 ORDER BY 1",
        )
        .fetch_all(&mut conn)
        .await
        .unwrap();
        let rows: Vec<(&str, i64)> = rows.iter().map(|(ip, n)| (&**ip, *n)).collect();
        if rows == [("10.0.0.1", 2), ("203.0.113.8", 4), ("203.0.113.9", 4)] {
            return;
        }

        assert!(since.elapsed() < PATIENCE, "{rows:?}\n{}", daemon.log());
        sleep(Duration::from_millis(200)).await;
    }
}
