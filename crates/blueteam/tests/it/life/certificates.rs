//! Certificates and SIGHUP: replaced without a restart, checked before they count, told of before
//! they expire.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use rustix::process::{Pid, Signal, kill_process};
use rustls::pki_types::CertificateDer;
use serde_json::Value;
use tokio::time::sleep;

use super::daemon::{Daemon, PATIENCE};
use super::doctor::{doctor, part};
use super::spools::{Tls, tls_stream};

/// Writes a certificate that is valid from and for so many days from now, and its key. Returns it.
pub(super) fn issue(dir: &Path, from_days: i64, for_days: i64) -> CertificateDer<'static> {
    let at = |days: i64| {
        let day = Duration::from_hours(24);
        let (days, past) = (u32::try_from(days.abs()).unwrap(), days < 0);
        if past {
            SystemTime::now() - day * days
        } else {
            SystemTime::now() + day * days
        }
    };

    let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.not_before = at(from_days).into();
    params.not_after = at(for_days).into();
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    std::fs::write(dir.join("cert.pem"), certificate.pem()).unwrap();
    std::fs::write(dir.join("key.pem"), key.serialize_pem()).unwrap();

    certificate.der().clone()
}

pub(super) fn files(dir: &Path) -> String {
    let path = |name| dir.join(name).display().to_string();
    format!(
        "tls_cert_file = \"{}\"\ntls_key_file = \"{}\"\n",
        path("cert.pem"),
        path("key.pem")
    )
}

/// What the server presents to somebody who would take that certificate alone.
fn presents(port: u16, certificate: &CertificateDer<'static>) -> bool {
    let mut stream = tls_stream(port, certificate);
    stream.conn.complete_io(&mut stream.sock).is_ok()
}

/// Asks for `/healthz` on a connection that stays open.
fn is_served(stream: &mut Tls) -> bool {
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    let mut answer = [0; 4096];
    let length = stream.read(&mut answer).unwrap();
    answer[..length].starts_with(b"HTTP/1.1 200")
}

async fn until(what: &str, daemon: &Daemon, mut holds: impl FnMut() -> bool) {
    let since = Instant::now();
    while !holds() {
        assert!(
            since.elapsed() < PATIENCE,
            "{what} did not happen:\n{}",
            daemon.log()
        );
        sleep(Duration::from_millis(100)).await;
    }
}

fn said(daemon: &Daemon, text: &str) -> usize {
    daemon.log().matches(text).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_asks_for_the_configured_certificate() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    issue(dir.path(), -1, 300);
    issue(other.path(), -1, 300);
    let mut daemon = Daemon::with_tls(&files(dir.path()), "").await;
    let (verdict, says) = part(&doctor(&daemon).1, "ports");
    assert!(
        verdict == "ok" && says.contains("with the configured certificate"),
        "{says}"
    );

    let file = daemon.path("blueteam.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let text = text.replace(&files(dir.path()), &files(other.path()));
    std::fs::write(&file, text).unwrap();
    let (verdict, says) = part(&doctor(&daemon).1, "ports");
    assert!(
        verdict == "wrong" && says.contains("not the daemon as it is configured"),
        "{says}"
    );
    assert!(daemon.terminate().await.success(), "{}", daemon.log());
}

/// Which of the monitors of certificates have an open alert.
async fn alarmed(daemon: &Daemon) -> Vec<String> {
    let sql = "SELECT rule_id::text FROM blueteam.alert_history WHERE rule_id LIKE \
        'monitor_certificates%'
                  AND state = 'open' ORDER BY 1";
    sqlx::query_scalar(sql)
        .fetch_all(&mut daemon.connect().await)
        .await
        .unwrap()
}

async fn until_alarmed(daemon: &Daemon, expected: &[&str]) {
    let since = Instant::now();
    loop {
        let found = alarmed(daemon).await;
        if found == expected {
            return;
        }

        assert!(
            since.elapsed() < PATIENCE,
            "{found:?}, not {expected:?}\n{}",
            daemon.log()
        );
        sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::too_many_lines, reason = "one story, told in order")]
async fn sighup_replaces_certificates_and_rules_and_refuses_what_is_wrong() {
    let (dir, rules) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = issue(dir.path(), -1, 3);
    let tls = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let all = "[\"console\"]";
    let more = format!(
        "rules_dir = \"{}\"\n[alerts]\nhigh = {all}\n[monitors]\nevery = \"1s\"\nclear_after = \
            \"1s\"\n\
         [[collect.listeners]]\naddress = \"tls:127.0.0.1:{tls}\"\n{}",
        rules.path().display(),
        files(dir.path())
    );

    let daemon = Daemon::with_tls(&files(dir.path()), &more).await;
    until("listening", &daemon, || {
        std::net::TcpStream::connect(("127.0.0.1", tls)).is_ok()
    })
    .await;
    assert!(presents(tls, &first));
    until_alarmed(
        &daemon,
        &["monitor_certificates", "monitor_certificates_7_days"],
    )
    .await;

    let status = daemon
        .command()
        .args(["status", "--json"])
        .output()
        .unwrap();
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    assert!(
        status["attention"].to_string().contains("expires on"),
        "{status}"
    );

    assert_eq!(status["certificates"].as_array().unwrap().len(), 2);

    // A new certificate and a new rule.
    let second = issue(dir.path(), -1, 400);
    std::fs::write(rules.path().join("one.yml"), crate::cli_analysis::SIGMA).unwrap();
    let mut open = tls_stream(daemon.port, &first);
    assert!(is_served(&mut open));
    daemon.hang_up();
    until("the reload", &daemon, || {
        said(&daemon, "the configuration was reloaded") == 1
    })
    .await;

    assert!(is_served(&mut open), "connections stay open");
    assert!(presents(daemon.port, &second) && presents(tls, &second));
    assert!(!presents(daemon.port, &first));
    until_alarmed(&daemon, &[]).await;
    let listed = daemon
        .command()
        .args(["alerts", "rules", "list", "--json"])
        .output()
        .unwrap();
    assert!(
        String::from_utf8_lossy(&listed.stdout).contains("Shell on a server"),
        "{listed:?}"
    );

    // A key of another certificate, a rule that is none, a key of the configuration that is none.
    let good = std::fs::read(dir.path().join("key.pem")).unwrap();
    std::fs::write(
        dir.path().join("key.pem"),
        rcgen::KeyPair::generate().unwrap().serialize_pem(),
    )
    .unwrap();
    daemon.hang_up();
    until("the refusal", &daemon, || said(&daemon, "key.pem: ") >= 1).await;

    assert!(
        daemon.log().contains("not reloaded: ") && daemon.log().contains("does not belong"),
        "{}",
        daemon.log()
    );
    assert!(presents(daemon.port, &second));
    std::fs::write(dir.path().join("key.pem"), good).unwrap();
    std::fs::write(rules.path().join("two.yml"), "title: [").unwrap();

    daemon.hang_up();
    until("the refusal", &daemon, || said(&daemon, "two.yml") >= 1).await;
    std::fs::remove_file(rules.path().join("two.yml")).unwrap();
    let config = std::fs::read_to_string(daemon.path("blueteam.toml")).unwrap();
    std::fs::write(
        daemon.path("blueteam.toml"),
        format!("{config}\n[digest]\ntyme = \"07:00\"\n"),
    )
    .unwrap();

    daemon.hang_up();
    let place = format!("blueteam.toml:{}", config.lines().count() + 3);
    until("the refusal", &daemon, || daemon.log().contains(&place)).await;
    std::fs::write(daemon.path("blueteam.toml"), config).unwrap();
    let sql = "SELECT count(*) FROM audit_events WHERE action = 'audit_failure' AND metadata ->> \
        'component' = 'configuration'";
    let told: i64 = sqlx::query_scalar(sql)
        .fetch_one(&mut daemon.connect().await)
        .await
        .unwrap();

    assert!(told >= 1, "people are told");

    // Without a signal.
    let third = issue(dir.path(), -1, 500);
    until("taking up new files", &daemon, || {
        presents(daemon.port, &third) && presents(tls, &third)
    })
    .await;

    // Again, as often as anybody likes.
    let before = said(&daemon, "the configuration was reloaded");
    daemon.hang_up();
    until("the reload", &daemon, || {
        said(&daemon, "the configuration was reloaded") > before
    })
    .await;
}

/// Nobody sends a signal here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_that_change_on_disk_are_taken_up_and_broken_ones_are_not() {
    let rules = tempfile::tempdir().unwrap();
    let more = format!("rules_dir = \"{}\"\n", rules.path().display());
    let daemon = Daemon::new(&more).await;
    let listed = || {
        let args = ["alerts", "rules", "list", "--json"];
        let output = daemon.command().args(args).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(!listed().contains("Shell on a server"));

    let folder = rules.path().join("web/own");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("one.yml"), crate::cli_analysis::SIGMA).unwrap();
    until("taking up a rule", &daemon, || {
        said(&daemon, "the configuration was reloaded") == 1
    })
    .await;
    assert!(listed().contains("Shell on a server"));

    std::fs::write(folder.join("two.yml"), "title: [").unwrap();
    until("the refusal", &daemon, || {
        said(&daemon, "web/own/two.yml") >= 1
    })
    .await;
    let sql = "SELECT count(*) FROM audit_events WHERE action = 'audit_failure' AND \
        metadata ->> 'component' = 'configuration' AND metadata ->> 'message' LIKE '%two.yml%'";
    let since = Instant::now();
    loop {
        let told: i64 = sqlx::query_scalar(sql)
            .fetch_one(&mut daemon.connect().await)
            .await
            .unwrap();
        if told > 0 {
            break;
        }
        assert!(
            since.elapsed() < PATIENCE,
            "people are told\n{}",
            daemon.log()
        );
        sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sighup_ends_neither_the_monitor_nor_a_daemon_that_expired() {
    let dir = tempfile::tempdir().unwrap();
    issue(dir.path(), -9, -1);
    let mut daemon = Daemon::with_tls(&files(dir.path()), "").await;
    assert!(daemon.log().contains("expired on"), "{}", daemon.log());
    assert!(daemon.terminate().await.success(), "{}", daemon.log());

    let log = std::fs::File::create(daemon.path("monitor.log")).unwrap();
    let mut command = daemon.command();
    let mut monitor = command
        .arg("monitor")
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    let log = || std::fs::read_to_string(daemon.path("monitor.log")).unwrap();

    let pid = Pid::from_child(&monitor);
    let since = Instant::now();
    while !log().contains("monitoring") {
        assert!(since.elapsed() < PATIENCE, "{}", log());
        sleep(Duration::from_millis(50)).await;
    }

    for n in 1..=2 {
        kill_process(pid, Signal::HUP).unwrap();
        while log().matches("the configuration was reloaded").count() < n {
            assert!(since.elapsed() < PATIENCE, "{}", log());
            assert_eq!(monitor.try_wait().unwrap(), None, "{}", log());
            sleep(Duration::from_millis(50)).await;
        }
    }

    kill_process(pid, Signal::TERM).unwrap();
    assert!(monitor.wait().unwrap().success(), "{}", log());
}

#[test]
fn config_check_reads_certificates_as_the_daemon_does() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let config = |section: &str| {
        std::fs::write(
            path("blueteam.toml"),
            format!("{section}{}", files(dir.path())),
        )
        .unwrap();

        let mut command = Command::new(env!("CARGO_BIN_EXE_blueteam"));
        command
            .args(["config", "check", "--json", "--config"])
            .arg(path("blueteam.toml"));
        let out = command.env_remove("DATABASE_URL").output().unwrap();

        (out.status.success(), String::from_utf8(out.stdout).unwrap())
    };

    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let door = "[ingest]\nlisten = \"0.0.0.0:8514\"\n";
    let listener = "[[collect.listeners]]\naddress = \"tls:127.0.0.1:6514\"\n";
    for (section, key) in [(door, "ingest."), (listener, "collect.listeners[0].")] {
        issue(dir.path(), -1, 400);
        let (right, said) = config(section);
        assert!(right && !said.contains("certificate"), "{said}");

        for (file, content, expected) in [
            ("key.pem", Some(encrypted.to_owned()), "encrypted"),
            ("key.pem", Some(String::new()), "is empty"),
            (
                "key.pem",
                Some(rcgen::KeyPair::generate().unwrap().serialize_pem()),
                "does not belong",
            ),
            ("key.pem", None, "cannot be read"),
            ("cert.pem", Some(String::new()), "is empty"),
            ("cert.pem", Some("x".to_owned()), "holds no certificate"),
            ("cert.pem", None, "cannot be read"),
        ] {
            issue(dir.path(), -1, 400);
            match content {
                Some(content) => std::fs::write(path(file), content).unwrap(),
                None => std::fs::remove_file(path(file)).unwrap(),
            }

            let (right, said) = config(section);
            let named = if file == "key.pem" {
                "tls_key_file"
            } else {
                "tls_cert_file"
            };

            assert!(
                !right && said.contains(expected) && said.contains(&format!("{key}{named}")),
                "{file}: {said}"
            );
        }

        for (from, until, expected) in [
            (-9, -1, "expired on"),
            (1, 400, "is not valid before"),
            (-1, 20, "in 19 days"),
        ] {
            issue(dir.path(), from, until);
            let (right, said) = config(section);
            assert!(right && said.contains(expected), "{said}");
        }
    }
}
