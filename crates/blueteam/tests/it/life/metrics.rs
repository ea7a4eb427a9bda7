//! `/metrics`: for who has the right, and with every number that the dashboard and the rules in
//! `deploy/` ask for.

use std::collections::BTreeSet;
use std::time::Duration;

use super::daemon::{Daemon, PATIENCE, failure};

/// The names of our metrics in a text.
fn names(text: &str) -> BTreeSet<&str> {
    let word = |c: char| !(c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit());
    text.split(word)
        .filter(|name| name.starts_with("blueteam_") && name.len() > "blueteam_".len())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_dashboard_asks_for_is_there_for_a_key_that_may() {
    let daemon = Daemon::new("[alerts]\nhigh = [\"console\"]\n").await;
    let failures: Vec<_> = (0..6).map(|_| failure("203.0.113.9", "root")).collect();
    daemon.client().send(&failures).await;
    let key = |scope: &str| {
        let made = daemon
            .command()
            .args(["keys", "create", "metrics", "--scope", scope])
            .output()
            .unwrap();
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );

        String::from_utf8(made.stdout).unwrap().trim().to_owned()
    };

    let (may, may_not) = (key("metrics:read"), key("events:write"));
    let http = reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(20))
        .build()
        .unwrap();
    let url = format!("http://127.0.0.1:{}/metrics", daemon.port);
    assert_eq!(http.get(&url).send().await.unwrap().status(), 401);

    assert_eq!(
        http.get(&url)
            .bearer_auth(&may_not)
            .send()
            .await
            .unwrap()
            .status(),
        403
    );

    let since = std::time::Instant::now();
    let text = loop {
        let text = http
            .get(&url)
            .bearer_auth(&may)
            .send()
            .await
            .unwrap()
            .error_for_status()
            .unwrap()
            .text()
            .await
            .unwrap();
        if text.contains("blueteam_alerts{severity=\"high\",state=\"open\"} 1\n")
            && text.contains("outcome=\"delivered\"} 1\n")
            // The engine is shown once a second.
            && text.contains("blueteam_rule_keys{rule=\"brute_force\"} 1\n")
            && text.contains("blueteam_monitor_state{monitor=\"connections\",state=\"ok\"} 1\n")
        {
            break text;
        }
        assert!(since.elapsed() < PATIENCE, "{text}\n{}", daemon.log());
        tokio::time::sleep(Duration::from_millis(200)).await;
    };

    // Without words that a metric begins with: what is exported has a line of its type, and a
    // sample.
    for file in [
        include_str!("../../../../../deploy/grafana-dashboard.json"),
        include_str!("../../../../../deploy/prometheus-rules.yml"),
    ] {
        let asked = names(file);
        assert!(asked.len() > 5, "{asked:?}");
        for name in asked {
            assert!(
                text.contains(&format!("# TYPE {name} ")),
                "{name} is not exported\n{text}"
            );
        }
    }

    for line in [
        "blueteam_ingest_events_total{outcome=\"accepted\"} 6\n",
        "blueteam_database_up 1\n",
        "blueteam_rule_keys{rule=\"brute_force\"} 1\n",
    ] {
        assert!(text.contains(line), "{line}{text}");
    }

    // Each line is a comment or a sample with a number.
    for line in text.lines().filter(|line| !line.starts_with("# ")) {
        let (_, value) = line.rsplit_once(' ').unwrap();
        assert!(value == "inf" || value.parse::<f64>().is_ok(), "{line}");
    }
}
