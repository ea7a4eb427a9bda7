//! What the console may take: the server's time for each page, bytes over the wire, and the first
//! paint in a browser.

use std::process::Command;
use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Executor as _};

use super::daemon::{Daemon, PATIENCE};
use super::oidc::installed;
use super::people::signed_in;

/// Events and alerts for which the figures are stated, and those of an ordinary run.
const FULL: (u32, u32) = (1_000_000, 10_000);
const SMALL: (u32, u32) = (2_000, 200);
/// Times that a page is asked for. All pages together stay below what a session may ask in a minute.
const ROUNDS: usize = 45;

/// What a page may take at p95, in milliseconds: Today, a list, and one thing.
const TODAY_MAX: Duration = Duration::from_millis(50);
const OTHER_MAX: Duration = Duration::from_millis(100);
/// Bytes over the wire: a page with all that it loads, the script, and the style.
const COLD_MAX: usize = 60 * 1024;
const SCRIPT_MAX: usize = 12 * 1024;
const STYLE_MAX: usize = 20 * 1024;
/// The first paint, in milliseconds, as the median of twenty.
const PAINT_MAX: f64 = 300.0;

const PAINT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tools/browser/paint.mjs");

/// Events of the last day and alerts of the last ten days, as the collectors and the engine write them.
async fn fill(conn: &mut sqlx::PgConnection, events: u32, alerts: u32) {
    let text = format!(
        "INSERT INTO blueteam.log_events
             (timestamp, source, category, action, result, user_name, ip_address, host, source_id)
         SELECT now() - n * interval '86 ms', 'syslog', 'auth', 'login',
                CASE n % 9 WHEN 0 THEN 'failure' ELSE 'success' END, 'user' || n % 500,
                ('198.51.' || n % 100 || '.' || n % 250)::inet, 'web' || n % 20, 'syslog:auth'
           FROM generate_series(1, {events}) AS n;
         INSERT INTO blueteam.alert_history
             (alert_id, fingerprint, rule_id, severity, title, description, entity_type, entity_value,
              source, event_count, first_seen, last_seen, created_at, acknowledged, acknowledged_by,
              acknowledged_at)
         SELECT i, i, 'brute_force', (ARRAY['low', 'medium', 'high', 'critical'])[1 + n % 4],
                'Repeated failed sign-ins from 198.51.100.' || n % 250, 'A test.', 'ip',
                '198.51.100.' || n % 250, 'syslog', 7, at, at, at, n % 3 = 0,
                CASE WHEN n % 3 = 0 THEN 'dana' END, CASE WHEN n % 3 = 0 THEN at END
           FROM (SELECT n, gen_random_uuid() AS i, now() - n * interval '86 s' AS at
                   FROM generate_series(1, {alerts}) AS n) AS made;
         ANALYZE blueteam.log_events;
         ANALYZE blueteam.alert_history"
    );
    conn.execute(sqlx::raw_sql(AssertSqlSafe(text)))
        .await
        .unwrap();
}

/// A page as it comes over the wire, compressed as a browser asks for it.
async fn bytes_of(client: &reqwest::Client, url: &str, cookie: &str) -> usize {
    let request = client
        .get(url)
        .header("cookie", format!("__Host-blueteam={cookie}"))
        .header("accept-encoding", "gzip");
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200, "{url}");
    answer.bytes().await.unwrap().len()
}

/// The assets that a page names, by their addresses.
fn assets(page: &str) -> Vec<String> {
    let ends = |c: char| c == '"' || c == '\'';
    page.match_indices("/assets/")
        .map(|(at, _)| page[at..].split(ends).next().unwrap_or_default().to_owned())
        .collect()
}

/// A line that `scripts/bench` reads.
#[expect(clippy::print_stdout, reason = "the figures are read from there")]
fn figure(what: &str, measured: impl std::fmt::Display, limit: impl std::fmt::Display) {
    println!("figure|{what}|{measured}|{limit}");
}

fn p95(mut took: Vec<Duration>) -> Duration {
    took.sort_unstable();
    took[took.len() * 95 / 100]
}

/// `BLUETEAM_TEST_FIGURES` asks for the figures, of a release build (`BLUETEAM_TEST_PROGRAM`) that has
/// the machine to itself. Without it sizes are held, and times are only printed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_take_no_longer_and_weigh_no_more_than_they_may() {
    let wants_figures = std::env::var_os("BLUETEAM_TEST_FIGURES").is_some();
    let (events, alerts) = if wants_figures { FULL } else { SMALL };
    let daemon = Daemon::new("").await;
    let mut conn = daemon.connect().await;
    fill(&mut conn, events, alerts).await;
    let browser = signed_in(&daemon, "system_admin").await;
    let cookie = browser.cookie.clone().unwrap();
    if wants_figures {
        // The rules read them first.
        tokio::time::sleep(PATIENCE).await;
    }

    let one: uuid::Uuid = sqlx::query_scalar("SELECT alert_id FROM blueteam.alert_history LIMIT 1")
        .fetch_one(&mut conn)
        .await
        .unwrap();
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(PATIENCE)
        .build()
        .unwrap();
    let base = format!("http://127.0.0.1:{}", daemon.port);
    let alert = format!("/alerts/{one}");
    let pages = [
        ("/", TODAY_MAX),
        ("/alerts", OTHER_MAX),
        ("/alerts?show=all&severity=high", OTHER_MAX),
        ("/incidents", OTHER_MAX),
        ("/events?since=1h&user=user7", OTHER_MAX),
        ("/sources", OTHER_MAX),
        ("/compliance", OTHER_MAX),
        ("/compliance/3.3.1", OTHER_MAX),
        (alert.as_str(), OTHER_MAX),
        ("/rules", OTHER_MAX),
    ];
    let mut late = Vec::new();
    for (page, most) in pages {
        let url = format!("{base}{page}");
        bytes_of(&client, &url, &cookie).await;
        let mut took = Vec::new();
        for _ in 0..ROUNDS {
            let began = Instant::now();
            bytes_of(&client, &url, &cookie).await;
            took.push(began.elapsed());
        }
        let slowest = p95(took);
        let (ms, most_ms) = (slowest.as_secs_f64() * 1e3, most.as_millis());
        figure(
            &format!("{page}, p95 of the server, ms"),
            format!("{ms:.1}"),
            most_ms,
        );
        if slowest > most {
            late.push(format!("{page}: {slowest:?}"));
        }
    }
    assert!(!wants_figures || late.is_empty(), "{late:?}");

    let mut cold = bytes_of(&client, &format!("{base}/"), &cookie).await;
    let text = client
        .get(format!("{base}/"))
        .header("cookie", format!("__Host-blueteam={cookie}"))
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let loaded = assets(&text);
    assert!(loaded.len() >= 3, "{loaded:?}");
    for asset in &loaded {
        let bytes = bytes_of(&client, &format!("{base}{asset}"), &cookie).await;
        cold += bytes;
        let most = match asset.rsplit('.').next() {
            Some("js") => SCRIPT_MAX,
            Some("css") => STYLE_MAX,
            _ => COLD_MAX,
        };
        figure(&format!("{asset}, bytes over the wire"), bytes, most);
        assert!(bytes <= most, "{asset}: {bytes}");
    }
    figure("/ with all it loads, bytes over the wire", cold, COLD_MAX);
    assert!(cold <= COLD_MAX, "{cold}");

    first_paint(&base, &cookie, wants_figures).await;
}

#[expect(clippy::print_stderr, reason = "what was not looked at is said")]
async fn first_paint(base: &str, cookie: &str, wants_figures: bool) {
    let chromium = std::env::var("CHROMIUM").unwrap_or_else(|_| "/usr/bin/chromium".to_owned());
    let (Some(folder), true) = (
        installed("browser"),
        std::path::Path::new(&chromium).exists(),
    ) else {
        eprintln!(
            "SKIPPED: Chromium or playwright-core is not installed: nobody has seen the first paint"
        );
        return;
    };
    let script = folder.join("paint.mjs");
    std::fs::copy(PAINT, &script).unwrap();
    let (base, cookie) = (base.replace("127.0.0.1", "localhost"), cookie.to_owned());
    let times = if wants_figures { "20" } else { "3" };
    let run = tokio::task::spawn_blocking(move || {
        Command::new("node")
            .arg(script)
            .args([&base, &cookie, times])
            .env("CHROMIUM", chromium)
            .output()
            .unwrap()
    });
    let output = run.await.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said["shift"], 0, "{said}");
    let paint = said["paint_ms"].as_f64().unwrap();
    figure(
        "/, first contentful paint, ms",
        format!("{paint:.0}"),
        PAINT_MAX,
    );
    assert!(!wants_figures || paint <= PAINT_MAX, "{said}");
}
