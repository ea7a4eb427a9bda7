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
    let config = format!(
        "[[collect.files]]\npath = \"{}\"\nformat = \"syslog\"\nservice = \"bastion\"",
        path.display()
    );
    let daemon = Daemon::new(&config).await;
    let eqmon = daemon.client_with(daemon.key_with(&["--service", "eqmon"]));

    let artemis = daemon.client_with(daemon.key_with(&["--service", "Artemis"]));
    let mut log = std::fs::File::create(&path).unwrap();
    let now = model::Clock::now(&model::SystemClock);
    for _ in 0..6 {
        // One address at three services: the table's two are one alert, the log's another.
        eqmon.send(&[failure("203.0.113.5", "root")]).await;
        artemis
            .send(&[
                failure("203.0.113.5", "root"),
                failure("203.0.113.6", "root"),
            ])
            .await;
        writeln!(
            log,
            "{now} web sshd[7]: Failed password for root from 203.0.113.5 port 4 ssh2"
        )
        .unwrap();
    }

    let mut conn = daemon.connect().await;
    for ip in ["203.0.113.5", "203.0.113.6"] {
        alert_comes(&mut conn, "brute_force", ip, PATIENCE).await;
    }

    let services = |source: &str, ip: &str| {
        let alerts = ask(&daemon, &["alerts", "list"]);
        let of = |a: &&Value| {
            a["source"] == source && a["entity"]["value"] == ip && a["rule_id"] == "brute_force"
        };
        alerts
            .as_array()
            .unwrap()
            .iter()
            .find(of)
            .map(|a| a["services"].clone())
    };

    let since = std::time::Instant::now();
    let wanted = || {
        services("audit_db", "203.0.113.5") == Some(json!(["Artemis", "eqmon"]))
            && services("audit_db", "203.0.113.6") == Some(json!(["Artemis"]))
            && services("syslog", "203.0.113.5") == Some(json!(["bastion"]))
    };

    while !wanted() {
        assert!(
            since.elapsed() < PATIENCE,
            "{}",
            ask(&daemon, &["alerts", "list"])
        );
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }

    let entities = |service: &str| -> Vec<Value> {
        let alerts = ask(
            &daemon,
            &[
                "alerts",
                "list",
                "--service",
                service,
                "--rule",
                "brute_force",
            ],
        );

        alerts
            .as_array()
            .unwrap()
            .iter()
            .map(|a| a["entity"]["value"].clone())
            .collect()
    };

    assert_eq!(entities("eqmon"), [json!("203.0.113.5")]);
    assert_eq!(entities("bastion"), [json!("203.0.113.5")]);
    assert_eq!(entities("Artemis").len(), 2);
    assert!(entities("nobody").is_empty());
    let incidents = ask(&daemon, &["incidents", "list"]);
    assert!(
        incidents
            .as_array()
            .unwrap()
            .iter()
            .any(|i| i["services"] == json!(["bastion"])),
        "{incidents}"
    );
}

/// Routing, silences and lists by tenant; an alert that grows by another tenant's event, however
/// late, is no longer one tenant's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenants_alerts_go_their_own_way_and_can_be_silenced() {
    let [apollo, hermes, artemis] = [1_u128, 2, 3].map(|n| uuid::Uuid::from_u128(n).to_string());
    let daemon = Daemon::new(&format!(
        "[alerts]\nhigh = []\n[alerts.tenants.\"{apollo}\"]\nchannels = [\"console\"]\n"
    ))
    .await;
    let client = daemon.client();

    let silenced = daemon
        .command()
        .args([
            "silences",
            "add",
            "--kind",
            "maintenance",
            "--tenant",
            &hermes,
            "--for",
            "1h",
        ])
        .args(["--reason", "they are moving"])
        .output()
        .unwrap();

    assert!(
        silenced.status.success(),
        "{}",
        String::from_utf8_lossy(&silenced.stderr)
    );

    // A running daemon follows within a second.
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let of = |ip: &str, tenant: Option<&str>| {
        let mut event = failure(ip, "root");
        event["instance_id"] = tenant.into();
        event
    };

    let mut events = Vec::new();
    for _ in 0..6 {
        events.extend([
            of("203.0.113.1", Some(&apollo)),
            of("203.0.113.2", Some(&hermes)),
        ]);
        events.extend([of("203.0.113.3", Some(&artemis)), of("203.0.113.4", None)]);
    }

    client.send(&events).await;
    let mut conn = daemon.connect().await;
    for n in 1..=4 {
        alert_comes(
            &mut conn,
            "brute_force",
            &format!("203.0.113.{n}"),
            PATIENCE,
        )
        .await;
    }

    let list = |args: &[&str]| -> Vec<Value> {
        let alerts = ask(
            &daemon,
            &[&["alerts", "list", "--rule", "brute_force"], args].concat(),
        );
        alerts.as_array().unwrap().clone()
    };

    let mine = list(&["--tenant", &apollo]);
    assert_eq!(
        (mine.len(), &mine[0]["entity"]["value"]),
        (1, &json!("203.0.113.1"))
    );

    let silenced = list(&["--muted"]);
    assert_eq!(
        (silenced.len(), &silenced[0]["tenant"]),
        (1, &json!(hermes))
    );
    let told = "SELECT entity_value FROM blueteam.notifications JOIN blueteam.alert_history USING \
        (alert_id) WHERE rule_id = 'brute_force'";
    let told: Vec<String> = sqlx::query_scalar(told).fetch_all(&mut conn).await.unwrap();
    assert_eq!(told, ["203.0.113.1"]);

    // A hundred more of its own, and then one of another's.
    client
        .send(
            &(0..110)
                .map(|_| of("203.0.113.1", Some(&apollo)))
                .collect::<Vec<_>>(),
        )
        .await;

    let grown = async |least: i64| {
        let sql = "SELECT event_count >= $1 FROM blueteam.alert_history WHERE entity_value = \
            '203.0.113.1'";
        let since = std::time::Instant::now();
        let mut conn = daemon.connect().await;
        while !sqlx::query_scalar::<_, bool>(sql)
            .bind(least)
            .fetch_one(&mut conn)
            .await
            .unwrap()
        {
            assert!(since.elapsed() < PATIENCE, "{}", daemon.log());
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };

    grown(116).await;
    assert_eq!(list(&["--tenant", &apollo]).len(), 1);
    client.send(&[of("203.0.113.1", Some(&artemis))]).await;
    grown(117).await;
    assert!(list(&["--tenant", &apollo]).is_empty(), "{:?}", list(&[]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_falls_silent_is_reported_while_others_speak() {
    // Business hours are all but a minute of the week, so that the silence counts whenever the test
    // runs.
    let config = "[business_hours]\ndays = [\"mon\", \"tue\", \"wed\", \"thu\", \"fri\", \"sat\", \
        \"sun\"]\nstart = \"00:00\"\nend = \"23:59\"\n[rules.audit_log_gap]\nsilence = \"20s\"\n";
    let daemon = Daemon::expecting(
        "[detection]\nexpected_services = { nightly = \"0s\", rare = \"6s\" }\n",
        config,
    )
    .await;
    let service = |name: &str| daemon.client_with(daemon.key_with(&["--service", name]));
    let (eqmon, artemis) = (service("eqmon"), service("artemis"));
    let (nightly, rare) = (service("nightly"), service("rare"));
    rare.send(&[failure("203.0.113.5", "root")]).await;

    let pause = std::time::Duration::from_millis(1100);
    for _ in 0..12 {
        for client in [&eqmon, &artemis, &nightly] {
            client.send(&[failure("203.0.113.5", "root")]).await;
        }
        tokio::time::sleep(pause).await;
    }

    // Only artemis goes on.
    let silent = || -> Vec<String> {
        let rows = ask(&daemon, &["sources", "list"]);
        let is_silent = |r: &&Value| !r["silent_since"].is_null();
        let rows = rows.as_array().unwrap().iter().filter(is_silent);
        rows.map(|r| r["source_id"].as_str().unwrap().to_owned())
            .collect()
    };
    let since = std::time::Instant::now();
    while silent() != ["service:eqmon", "service:rare"] {
        assert!(
            since.elapsed() < PATIENCE,
            "{:?}\n{}",
            silent(),
            daemon.log()
        );
        artemis.send(&[failure("203.0.113.5", "root")]).await;
        tokio::time::sleep(pause).await;
    }

    let mut conn = daemon.connect().await;
    alert_comes(&mut conn, "audit_log_gap", "blueteam collector", PATIENCE).await;
    let told = "SELECT count(*) FROM audit_events WHERE action = 'audit_failure'
        AND metadata ->> 'message' LIKE 'service:eqmon: has been silent for %'";
    let told: i64 = sqlx::query_scalar(told).fetch_one(&mut conn).await.unwrap();
    assert_eq!(told, 1);

    // It speaks again.
    eqmon.send(&[failure("203.0.113.5", "root")]).await;
    while silent() != ["service:rare"] {
        assert!(since.elapsed() < 2 * PATIENCE, "{:?}", silent());
        tokio::time::sleep(pause).await;
    }
}
