//! `/metrics`: for who has the right, and with every number that the dashboard and the rules in
//! `deploy/` ask for.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::daemon::{Daemon, PATIENCE, failure};

/// The names of our metrics in a text.
fn names(text: &str) -> BTreeSet<&str> {
    let word = |c: char| !(c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit());
    text.split(word)
        .filter(|name| name.starts_with("blueteam_") && name.len() > "blueteam_".len())
        .collect()
}

/// A Prometheus that scrapes the daemon each second and has the rules of `deploy/`.
struct Prometheus {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    fn start(daemon: &Daemon, key: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/prometheus-rules.yml");
        let config = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\n\
             rule_files: [\"{}\"]\n\
             scrape_configs:\n\
             - job_name: blueteam\n  \
               authorization: {{ credentials: \"{key}\" }}\n  \
               static_configs: [{{ targets: [\"127.0.0.1:{}\"] }}]\n",
            rules.display(),
            daemon.port
        );
        let file = folder.path().join("prometheus.yml");
        std::fs::write(&file, config).unwrap();

        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.path().join("data").display()
            ))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        assert!(
            child.is_ok(),
            "prometheus: {child:?}; scripts/setup --tests installs it"
        );

        Self {
            child: child.unwrap(),
            port,
            _folder: folder,
        }
    }

    /// What the API answers; `None` while the server does not.
    async fn ask(&self, http: &reqwest::Client, path: &str, expr: &str) -> Option<Value> {
        let base = format!("http://127.0.0.1:{}/api/v1/{path}", self.port);
        let url = reqwest::Url::parse_with_params(&base, [("query", expr)]).unwrap();
        let text = http.get(url).send().await.ok()?.text().await.ok()?;
        let answer: Value = serde_json::from_str(&text).ok()?;
        assert_eq!(answer["status"], "success", "{expr}: {answer}");
        Some(answer["data"].clone())
    }

    /// What an instant query finds.
    async fn query(&self, http: &reqwest::Client, expr: &str) -> Option<Vec<Value>> {
        let data = self.ask(http, "query", expr).await?;
        data["result"].as_array().cloned()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The expressions of the dashboard's panels.
fn dashboard_expressions() -> Vec<String> {
    let text = include_str!("../../../../../deploy/grafana-dashboard.json");
    let dashboard: Value = serde_json::from_str(text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    panels
        .filter_map(|panel| panel["targets"].as_array())
        .flatten()
        .filter_map(|target| target["expr"].as_str())
        .map(str::to_owned)
        .collect()
}

/// What has no sample while nothing of the kind has happened.
const MAY_BE_EMPTY: [&str; 5] = [
    "blueteam_spool_bytes",
    "blueteam_source_silence_seconds",
    "blueteam_deliveries_waiting",
    "blueteam_open_detections",
    "blueteam_monitor_state",
];

/// A real Prometheus evaluates each expression of `deploy/` over what the daemon exports.
async fn assert_expressions_work(daemon: &Daemon, key: &str, http: &reqwest::Client) {
    let prometheus = Prometheus::start(daemon, key);
    let since = Instant::now();
    // A rate takes two scrapes.
    let scrapes = "count_over_time(up{job=\"blueteam\"}[1m]) > 3";
    while prometheus
        .query(http, scrapes)
        .await
        .is_none_or(|found| found.is_empty())
    {
        assert!(since.elapsed() < PATIENCE, "it is not scraped");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }

    for expr in dashboard_expressions() {
        let found = prometheus.query(http, &expr).await.unwrap();
        let may_be_empty = MAY_BE_EMPTY.iter().any(|name| expr.contains(name));
        assert!(may_be_empty || !found.is_empty(), "{expr} finds nothing");
    }

    loop {
        let answer = prometheus.ask(http, "rules", "").await.unwrap();
        let rules: Vec<&Value> = answer["groups"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|group| group["rules"].as_array())
            .flatten()
            .collect();
        assert!(rules.len() >= 10, "{answer}");
        if rules.iter().all(|rule| rule["health"] == "ok") {
            // Nothing of the daemon is wrong, so none of its alerts is firing.
            let firing: Vec<_> = rules.iter().filter(|r| r["state"] == "firing").collect();
            assert!(firing.is_empty(), "{firing:?}");
            return;
        }
        assert!(since.elapsed() < PATIENCE, "{answer}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// `docs/metrics.md` lists what is exported, with its type.
fn assert_documented(text: &str) {
    let exported: BTreeSet<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .map(str::to_owned)
        .collect();
    let documented: BTreeSet<String> = include_str!("../../../../../docs/metrics.md")
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "))
        .filter_map(|(name, rest)| Some(format!("{name} {}", rest.split_once(" |")?.0)))
        .collect();

    let differs: Vec<_> = exported.symmetric_difference(&documented).collect();
    assert!(differs.is_empty(), "docs/metrics.md: {differs:?}");
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

    let since = Instant::now();
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

    assert_documented(&text);

    // Each line is a comment or a sample with a number.
    for line in text.lines().filter(|line| !line.starts_with("# ")) {
        let (_, value) = line.rsplit_once(' ').unwrap();
        assert!(value == "inf" || value.parse::<f64>().is_ok(), "{line}");
    }

    assert_expressions_work(&daemon, &may, &http).await;
}
