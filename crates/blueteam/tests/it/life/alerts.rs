//! From the commit of events to the alert and beyond.

use std::fmt::Write as _;
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use sqlx::{Connection as _, PgConnection};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::daemon::{Daemon, PATIENCE, alert_comes, failure, has_alert};

const SOON: Duration = Duration::from_secs(2);

/// Failed logins as the documents' application writes them: straight into the table.
async fn insert(conn: &mut PgConnection, ip: &str, times: i32) {
    let sql = "INSERT INTO audit_events (timestamp, category, action, result, ip_address, metadata)
               SELECT now(), 'auth', 'login_failed', 'failure', $1::inet, \
               '{\"username\": \"root\"}' FROM generate_series(1, $2)";
    sqlx::query(sql)
        .bind(ip)
        .bind(times)
        .execute(conn)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_are_read_in_whatever_order_they_commit() {
    let daemon = Daemon::new("").await;
    let (mut held, mut first) = (daemon.connect().await, daemon.connect().await);
    let (mut second, mut conn) = (daemon.connect().await, daemon.connect().await);
    let mut held = held.begin().await.unwrap();
    insert(&mut held, "192.0.2.1", 6).await;

    let mut first = first.begin().await.unwrap();
    insert(&mut first, "192.0.2.2", 6).await;
    let mut second = second.begin().await.unwrap();
    insert(&mut second, "192.0.2.3", 6).await;
    second.commit().await.unwrap();
    alert_comes(&mut conn, "brute_force", "192.0.2.3", SOON).await;
    first.commit().await.unwrap();
    alert_comes(&mut conn, "brute_force", "192.0.2.2", SOON).await;

    assert!(!has_alert(&mut conn, "brute_force", "192.0.2.1").await);
    held.commit().await.unwrap();
    alert_comes(&mut conn, "brute_force", "192.0.2.1", SOON).await;
}

/// One transaction is open for all of a stream of others, through a restart too: it delays none of
/// them, and its own events are read when it commits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_held_open_delays_nobody() {
    let mut daemon = Daemon::new("").await;
    let (mut held, mut writer) = (daemon.connect().await, daemon.connect().await);
    let mut conn = daemon.connect().await;
    let mut held = held.begin().await.unwrap();
    insert(&mut held, "198.51.100.1", 6).await;
    let mut last = Duration::ZERO;
    for n in 1..=100 {
        if n == 50 {
            // Its server lives on, and with it the transaction.
            daemon.kill();
            daemon.start().await;
        }
        let ip = format!("192.0.2.{n}");
        insert(&mut writer, &ip, 6).await;
        last = last.max(alert_comes(&mut conn, "brute_force", &ip, SOON).await);
    }
    println!("the slowest alert beside an open transaction came after {last:?}");
    assert!(!has_alert(&mut conn, "brute_force", "198.51.100.1").await);
    insert(&mut held, "198.51.100.1", 1).await;
    held.commit().await.unwrap();
    alert_comes(&mut conn, "brute_force", "198.51.100.1", SOON).await;
    let count =
        "SELECT event_count FROM blueteam.alert_history WHERE entity_value = '198.51.100.1'";
    let since = std::time::Instant::now();
    while sqlx::query_scalar::<_, i64>(count)
        .fetch_one(&mut conn)
        .await
        .unwrap()
        != 7
    {
        assert!(since.elapsed() < SOON);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_alert_follows_the_sixth_failure_at_once() {
    let daemon = Daemon::new("").await;
    let (mut writer, mut conn) = (daemon.connect().await, daemon.connect().await);
    let mut took = Vec::new();
    for n in 1..=20 {
        let ip = format!("192.0.2.{n}");
        insert(&mut writer, &ip, 5).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        insert(&mut writer, &ip, 1).await;
        took.push(alert_comes(&mut conn, "brute_force", &ip, SOON).await);
    }

    took.sort();
    println!(
        "commit of the sixth failure to commit of its alert: p50 {:?}, worst {:?}",
        took[10], took[19]
    );
    assert!(took[10] < Duration::from_millis(250), "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_audit_failure_is_an_audit_log_gap() {
    let daemon = Daemon::new("").await;
    let event = json!({"category": "system", "action": "audit_failure", "result": "failure", "metadata": {"message": "disk full"}});
    daemon.client().send(&[event]).await;
    alert_comes(
        &mut daemon.connect().await,
        "audit_log_gap",
        "audit_db",
        SOON,
    )
    .await;
}

/// The record stays whole: the alert and its incident are there, only nobody is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silence_counts_within_a_second_while_the_daemon_runs() {
    let daemon = Daemon::new("").await;
    let (mut writer, mut conn) = (daemon.connect().await, daemon.connect().await);
    let add = [
        "silences",
        "add",
        "--entity",
        "ip:192.0.2.0/30",
        "--for",
        "1h",
        "--reason",
        "ordered scan",
    ];

    assert!(
        daemon
            .command()
            .args(add)
            .stdout(std::process::Stdio::null())
            .status()
            .unwrap()
            .success()
    );

    tokio::time::sleep(Duration::from_millis(1500)).await;
    for ip in ["192.0.2.1", "192.0.2.9"] {
        insert(&mut writer, ip, 6).await;
        alert_comes(&mut conn, "brute_force", ip, SOON).await;
    }

    let told = "SELECT entity_value, muted_by_mute IS NULL, incident_id IS NOT NULL,
                       EXISTS (SELECT FROM blueteam.notifications d WHERE d.alert_id = a.alert_id)
                  FROM blueteam.alert_history a WHERE rule_id = 'brute_force' ORDER BY 1";
    let told: Vec<(String, bool, bool, bool)> =
        sqlx::query_as(told).fetch_all(&mut conn).await.unwrap();
    let delivered = told[1].3;
    assert_eq!(
        told,
        [
            ("192.0.2.1".to_owned(), false, true, false),
            ("192.0.2.9".to_owned(), true, true, delivered)
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_is_switched_off_and_on_while_the_daemon_runs() {
    let daemon = Daemon::new("").await;
    let mut conn = daemon.connect().await;
    let switch = |word: &str| {
        let done = daemon
            .command()
            .args(["alerts", "rules", word, "brute_force"])
            .status()
            .unwrap();
        assert!(done.success());
    };

    let followed = async |times: usize| {
        let since = std::time::Instant::now();
        while daemon.log().matches("starting the engine again").count() < times
            || daemon.log().matches(" monitoring").count() < times + 1
        {
            assert!(since.elapsed() < PATIENCE, "{}", daemon.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };

    insert(&mut conn, "192.0.2.1", 5).await;
    switch("disable");
    followed(1).await;
    insert(&mut conn, "192.0.2.2", 11).await;
    insert(&mut conn, "192.0.2.1", 1).await;

    // Another rule's alert says that all of it was read.
    insert_guesses(&mut conn, "192.0.2.2").await;
    alert_comes(&mut conn, "credential_stuffing", "192.0.2.2", PATIENCE).await;
    assert!(
        !has_alert(&mut conn, "brute_force", "192.0.2.1").await
            && !has_alert(&mut conn, "brute_force", "192.0.2.2").await
    );
    switch("enable");
    followed(2).await;

    insert(&mut conn, "192.0.2.1", 1).await;
    alert_comes(&mut conn, "brute_force", "192.0.2.1", PATIENCE).await;
    assert!(
        !daemon.log().contains("another daemon reads"),
        "{}",
        daemon.log()
    );
}

/// Failed logins on eleven accounts.
async fn insert_guesses(conn: &mut PgConnection, ip: &str) {
    let sql = "INSERT INTO audit_events (timestamp, category, action, result, ip_address, metadata)
               SELECT now(), 'auth', 'login_failed', 'failure', $1::inet, \
               jsonb_build_object('username', n::text) FROM generate_series(1, 11) n";
    sqlx::query(sql).bind(ip).execute(conn).await.unwrap();
}

/// Answers every request with 204 and hands its head and body on.
async fn receive(listener: TcpListener, told: mpsc::Sender<(String, Vec<u8>)>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let told = told.clone();
        tokio::spawn(async move {
            while let Some(request) = request(&mut stream).await {
                stream
                    .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
                    .await
                    .unwrap();
                told.send(request).await.unwrap();
            }
        });
    }
}

pub(super) async fn request(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8(bytes[..end].to_vec())
                .unwrap()
                .to_ascii_lowercase();
            let length: usize = header(&head, "content-length").parse().unwrap();
            if bytes.len() >= end + 4 + length {
                return Some((head, bytes[end + 4..].to_vec()));
            }
        }

        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

fn header(head: &str, name: &str) -> String {
    head.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        .unwrap_or_default()
        .to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_critical_alert_reaches_the_webhook_once_and_signed() {
    const SECRET: &str = "a secret of the test's own";
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, SECRET).unwrap();

    let (url, file) = (
        format!("http://{}/hook", listener.local_addr().unwrap()),
        secret.display(),
    );
    let (tell, mut told) = mpsc::channel(64);
    tokio::spawn(receive(listener, tell));

    let daemon = Daemon::new(&format!(
        "[channels.webhook]\nurl = \"{url}\"\nsecret_file = \"{file}\"\n"
    ))
    .await;
    let guesses: Vec<Value> = (0..11)
        .map(|n| failure("203.0.113.9", &format!("guess{n}")))
        .collect();
    daemon.client().send(&guesses).await;

    let mut critical = 0;
    let mut wait = PATIENCE;

    // After the first, a second would come soon.
    while let Ok(Some((head, body))) = tokio::time::timeout(wait, told.recv()).await {
        let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
        mac.update(format!("{}.", header(&head, "blueteam-timestamp")).as_bytes());
        mac.update(&body);
        let signature =
            mac.finalize()
                .into_bytes()
                .iter()
                .fold("v1=".to_owned(), |mut text, byte| {
                    write!(text, "{byte:02x}").unwrap();
                    text
                });

        assert_eq!(header(&head, "blueteam-signature"), signature);
        let message: Value = serde_json::from_slice(&body).unwrap();
        if message["alert"]["rule_id"] == "credential_stuffing" {
            assert_eq!(message["alert"]["severity"], "critical");
            critical += 1;
            wait = SOON;
        }
    }

    assert_eq!(critical, 1, "{}", daemon.log());
    // The ledger has what the sink answered.
    let ask = |args: &[&str]| {
        let ran = daemon
            .command()
            .args(["notifications"])
            .args(args)
            .arg("--json")
            .output()
            .unwrap();
        serde_json::from_slice::<Value>(&ran.stdout).unwrap()
    };

    let delivered = ask(&["list", "--channel", "webhook", "--state", "delivered"]);
    let one = delivered[0]["delivery_id"].as_str().unwrap();
    let story = ask(&["show", one]);
    assert_eq!(story["attempts"][0]["outcome"], "delivered", "{story}");

    assert!(
        story["attempts"][0]["detail"]
            .as_str()
            .unwrap()
            .starts_with("answered 20"),
        "{story}"
    );

    let resend = daemon
        .command()
        .args(["notifications", "resend", one])
        .output()
        .unwrap();
    assert!(
        !resend.status.success()
            && String::from_utf8_lossy(&resend.stderr).contains("were not given up")
    );
}

/// What ends with us cannot be told by us: a service outside hears from us until then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watchdog_hears_from_us_until_we_are_gone() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("url");
    std::fs::write(
        &file,
        format!("http://{}/ping/token", listener.local_addr().unwrap()),
    )
    .unwrap();

    let (tell, mut told) = mpsc::channel(64);
    tokio::spawn(receive(listener, tell));
    let mut daemon = Daemon::new(&format!(
        "[watchdog]\nurl_file = \"{}\"\nevery = \"1s\"\n",
        file.display()
    ))
    .await;

    for _ in 0..2 {
        let (head, body) = tokio::time::timeout(PATIENCE, told.recv())
            .await
            .unwrap()
            .unwrap();
        assert!(head.starts_with("post /ping/token http/1.1"), "{head}");
        assert_eq!(
            serde_json::from_slice::<Value>(&body).unwrap(),
            json!({"program": "blueteam", "status": "watching"})
        );
    }

    assert!(!daemon.log().contains("token"), "{}", daemon.log());
    daemon.kill();
    while told.try_recv().is_ok() {}
    assert!(
        tokio::time::timeout(SOON, told.recv()).await.is_err(),
        "a dead daemon says that it lives"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_way_out_that_hangs_delays_no_other() {
    // It takes connections and never answers.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "a secret of the test's own").unwrap();

    let file = secret.display();
    let daemon = Daemon::new(&format!(
        "[channels.webhook]\nurl = \"{url}\"\nsecret_file = \"{file}\"\n"
    ))
    .await;
    let mut conn = daemon.connect().await;

    // More than there are places at once, and one more when all of them hang.
    for batch in [1..=20, 21..=21] {
        let last = format!("192.0.2.{}", batch.end());
        for n in batch {
            insert_guesses(&mut conn, &format!("192.0.2.{n}")).await;
        }
        alert_comes(&mut conn, "credential_stuffing", &last, PATIENCE).await;
        let since = std::time::Instant::now();
        let waiting = "SELECT count(*) FROM blueteam.notifications WHERE channel = 'console' AND \
            state <> 'delivered'";
        while sqlx::query_scalar::<_, i64>(waiting)
            .fetch_one(&mut conn)
            .await
            .unwrap()
            > 0
        {
            assert!(since.elapsed() < Duration::from_secs(4), "{}", daemon.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Business hours on no day: it is always outside of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hour_and_the_rule_say_who_is_told() {
    let daemon = Daemon::new(
        "[business_hours]\ndays = []\n[alerts]\nhigh = []\n[alerts.off_hours]\nhigh = \
            [\"console\"]\n\
         [alerts.rules.credential_stuffing]\nchannels = []\n",
    )
    .await;
    let mut conn = daemon.connect().await;
    insert_guesses(&mut conn, "192.0.2.1").await;

    alert_comes(&mut conn, "credential_stuffing", "192.0.2.1", PATIENCE).await;
    alert_comes(&mut conn, "brute_force", "192.0.2.1", PATIENCE).await;
    let told = "SELECT a.rule_id::text, d.channel FROM blueteam.notifications d JOIN \
        blueteam.alert_history a USING (alert_id)";
    let told: Vec<(String, String)> = sqlx::query_as(told).fetch_all(&mut conn).await.unwrap();
    assert_eq!(told, [("brute_force".to_owned(), "console".to_owned())]);
}

/// One alert goes through both tiers, another stops where somebody acknowledges it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alert_that_nobody_acknowledges_goes_to_the_next_tier() {
    let daemon = Daemon::new(
        "[escalation]\ncritical = \"1h\"\nhigh = \"3s\"\ntiers = [{ channels = [\"console\"] }, \
            { channels = [\"console\"] }]\n\
         [alerts]\nhigh = [\"console\"]\n",
    )
    .await;
    let mut conn = daemon.connect().await;
    for ip in ["192.0.2.1", "192.0.2.2"] {
        insert(&mut conn, ip, 6).await;
        alert_comes(&mut conn, "brute_force", ip, PATIENCE).await;
    }
    let id = "SELECT alert_id FROM blueteam.alert_history WHERE entity_value = '192.0.2.2'";
    let id: uuid::Uuid = sqlx::query_scalar(id).fetch_one(&mut conn).await.unwrap();
    let ack = daemon
        .command()
        .args(["alerts", "ack", &id.to_string(), "--on-behalf-of", "ann"])
        .output()
        .unwrap();
    assert!(
        ack.status.success(),
        "{}",
        String::from_utf8_lossy(&ack.stderr)
    );
    let told =
        "SELECT count(*) FROM blueteam.notifications d JOIN blueteam.alert_history a USING (alert_id)
                 WHERE d.kind = 'escalated' AND d.state = 'delivered' AND a.entity_value = $1";
    let since = std::time::Instant::now();
    while sqlx::query_scalar::<_, i64>(told)
        .bind("192.0.2.1")
        .fetch_one(&mut conn)
        .await
        .unwrap()
        < 2
    {
        assert!(since.elapsed() < PATIENCE, "{}", daemon.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let late =
        "SELECT count(*) FROM blueteam.escalations e JOIN blueteam.alert_history a USING (alert_id)
                 WHERE a.entity_value = '192.0.2.2' AND e.at > a.acknowledged_at";
    assert_eq!(
        sqlx::query_scalar::<_, i64>(late)
            .fetch_one(&mut conn)
            .await
            .unwrap(),
        0
    );
    let first = "SELECT alert_id FROM blueteam.alert_history WHERE entity_value = '192.0.2.1'";
    let first: uuid::Uuid = sqlx::query_scalar(first)
        .fetch_one(&mut conn)
        .await
        .unwrap();
    let shown = daemon
        .command()
        .args(["alerts", "show", &first.to_string()])
        .output()
        .unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(
        shown.contains("to tier 1: its readers, by console") && shown.contains("to tier 2"),
        "{shown}"
    );
}

/// Rule, entity, first and last event, and how many, of each detection.
fn told(found: impl IntoIterator<Item = Value>) -> Vec<[String; 5]> {
    let of = |d: Value| {
        [
            &d["rule_id"],
            &d["entity"]["value"],
            &d["first_seen"],
            &d["last_seen"],
            &d["event_count"],
        ]
        .map(Value::to_string)
    };

    let mut all: Vec<_> = found.into_iter().map(of).collect();
    all.sort();
    all
}

/// Through three deaths of the program, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_told_live_is_what_a_replay_finds() {
    let mut lines = Vec::new();
    scenario::write_workload(&mut lines, 6000, 40, 11).unwrap();

    // The door takes what is younger than a month.
    let day = model::Clock::now(&model::SystemClock)
        .minus(model::Span::days(2))
        .to_string();
    let lines = String::from_utf8(lines)
        .unwrap()
        .replace("2026-03-04", &day[..10]);
    let mut events: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();

    // One stolen session, used three times, hours after the same logout; and somebody whose home
    // only their login tells, abroad.
    let id = |n: u32| format!("019c0000-0000-7000-8000-0000000000{n:02}");
    for (n, at, action) in [
        (1, "05:00", "logout"),
        (2, "07:00", "view"),
        (3, "11:00", "view"),
        (4, "16:00", "view"),
    ] {
        let category = if action == "logout" { "auth" } else { "data" };
        events.push(json!({"event_id": id(n), "timestamp": format!("{}T{at}:00Z", &day[..10]), "category": category, "action": action,
                           "result": "success", "user_id": id(99), "session_id": "stolen", "ip_address": "192.0.2.77"}));
    }

    let abroad = [2, 5]
        .into_iter()
        .chain(9..20)
        .flat_map(|hour| [(hour, 0), (hour, 30)]);
    for (n, (hour, minute)) in std::iter::once((1, 0)).chain(abroad).enumerate() {
        let (category, action, tenant) = if n == 0 {
            ("auth", "login", 50)
        } else {
            ("data", "view", 51)
        };

        events.push(
            json!({"event_id": id(10 + n as u32), "timestamp": format!("{}T{hour:02}:{minute:02}:00Z", &day[..10]),
                           "category": category, "action": action, "result": "success", "user_id": id(98),
                           "instance_id": id(tenant), "ip_address": "192.0.2.78"}),
        );
    }

    events.sort_by_key(|event| event["timestamp"].as_str().unwrap().to_owned());
    let mut daemon = Daemon::new("").await;
    let file = daemon.path("events.ndjson");
    std::fs::write(
        &file,
        events
            .iter()
            .map(|event| format!("{event}\n"))
            .collect::<Vec<_>>()
            .concat(),
    )
    .unwrap();

    let client = daemon.client();
    for (n, some) in events.chunks(701).enumerate() {
        client.send(some).await;
        if n % 3 == 1 {
            daemon.kill();
            daemon.start().await;
        }
    }

    let ask = |args: &[&str]| daemon.command().args(args).output().unwrap().stdout;
    let replay = ask(&["replay", "--json", file.to_str().unwrap()]);
    let found = told(
        replay
            .split(|byte| *byte == b'\n')
            .filter_map(|line| serde_json::from_slice(line).ok()),
    );
    let about = |what: &str| found.iter().filter(|d| d[1].contains(what)).count();
    assert_eq!((about("stolen"), about(&id(98))), (3, 3));

    let since = std::time::Instant::now();
    loop {
        let alerts = ask(&["alerts", "list", "--limit", "100000", "--json"]);
        let alerts = told(serde_json::from_slice::<Vec<Value>>(&alerts).unwrap());
        if alerts == found {
            break;
        }

        assert!(
            since.elapsed() < PATIENCE,
            "{} alerts, {} in a replay",
            alerts.len(),
            found.len()
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
