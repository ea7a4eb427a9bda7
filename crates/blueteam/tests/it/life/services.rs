//! Several applications on one daemon: what each sends is its own, and alerts say whose it is.

use std::io::Write as _;

use serde_json::{Value, json};

use super::daemon::{Daemon, PATIENCE, alert_comes, failure};

fn ask(daemon: &Daemon, args: &[&str]) -> Value {
    let output = daemon.command().args(args).arg("--json").output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alerts_and_incidents_say_whose_events_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("auth.log");
    let config =
        format!("[[collect.files]]\npath = \"{}\"\nformat = \"syslog\"\nservice = \"bastion\"", path.display());
    let daemon = Daemon::new(&config).await;
    let eqmon = daemon.client_with(daemon.key_with(&["--service", "eqmon"]));
    let artemis = daemon.client_with(daemon.key_with(&["--service", "Artemis"]));
    let mut log = std::fs::File::create(&path).unwrap();
    let now = model::Clock::now(&model::SystemClock);
    for _ in 0..6 {
        // One address at three services: the table's two are one alert, the log's another.
        eqmon.send(&[failure("203.0.113.5", "root")]).await;
        artemis.send(&[failure("203.0.113.5", "root"), failure("203.0.113.6", "root")]).await;
        writeln!(log, "{now} web sshd[7]: Failed password for root from 203.0.113.5 port 4 ssh2").unwrap();
    }
    let mut conn = daemon.connect().await;
    for ip in ["203.0.113.5", "203.0.113.6"] {
        alert_comes(&mut conn, "brute_force", ip, PATIENCE).await;
    }
    let services = |source: &str, ip: &str| {
        let alerts = ask(&daemon, &["alerts", "list"]);
        let of = |a: &&Value| a["source"] == source && a["entity"]["value"] == ip && a["rule_id"] == "brute_force";
        alerts.as_array().unwrap().iter().find(of).map(|a| a["services"].clone())
    };
    let since = std::time::Instant::now();
    let wanted = || {
        services("audit_db", "203.0.113.5") == Some(json!(["Artemis", "eqmon"]))
            && services("audit_db", "203.0.113.6") == Some(json!(["Artemis"]))
            && services("syslog", "203.0.113.5") == Some(json!(["bastion"]))
    };
    while !wanted() {
        assert!(since.elapsed() < PATIENCE, "{}", ask(&daemon, &["alerts", "list"]));
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    let entities = |service: &str| -> Vec<Value> {
        let alerts = ask(&daemon, &["alerts", "list", "--service", service, "--rule", "brute_force"]);
        alerts.as_array().unwrap().iter().map(|a| a["entity"]["value"].clone()).collect()
    };
    assert_eq!(entities("eqmon"), [json!("203.0.113.5")]);
    assert_eq!(entities("bastion"), [json!("203.0.113.5")]);
    assert_eq!(entities("Artemis").len(), 2);
    assert!(entities("nobody").is_empty());
    let incidents = ask(&daemon, &["incidents", "list"]);
    assert!(incidents.as_array().unwrap().iter().any(|i| i["services"] == json!(["bastion"])), "{incidents}");
}
