//! Nobody but the daemon decides what becomes of its state directory.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};

use serde_json::Value;

use super::daemon::{Daemon, private_mounts};
use super::spools::Server;

/// A local user who could open the file could hold the lock, and keep the daemon from starting.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_other_user_can_hold_the_daemons_lock() {
    let daemon = Daemon::new("").await;
    let lock = daemon.path("daemon.lock");
    let mode = fs::metadata(&lock).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "{mode:o}");

    if rustix::process::geteuid().is_root() {
        let stranger = Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
            .args(["flock", "--nonblock"])
            .arg(&lock)
            .arg("true")
            .output()
            .unwrap();
        let why = String::from_utf8_lossy(&stranger.stderr).into_owned();
        assert!(why.contains("Permission denied"), "{stranger:?}");
    }
}

/// Whoever looks while the daemon starts its database again must not take it away afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_does_not_end_the_daemons_database() {
    let daemon = Daemon::new("").await;
    let log = || fs::read_to_string(daemon.path("postgres/server.log")).unwrap();
    // What it was made from was shut down.
    let before = log().matches("shutdown request").count();
    for command in ["status", "doctor", "status"] {
        let postmaster = daemon.postmaster().unwrap();
        rustix::process::kill_process(postmaster, rustix::process::Signal::KILL).unwrap();
        let ran = daemon.command().arg(command).output().unwrap();
        assert!(ran.status.code().is_some_and(|code| code != 2), "{ran:?}");
        // Until the daemon has noticed, too.
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    }

    let log = log();
    assert_eq!(log.matches("shutdown request").count(), before, "{log}");
    assert!(
        daemon
            .command()
            .arg("status")
            .output()
            .unwrap()
            .status
            .code()
            != Some(1)
    );
}

/// A pipe in the place of a file holds nobody up.
#[test]
fn a_look_waits_for_no_file() {
    let daemon = Daemon::stopped("");
    for name in ["daemon.lock", "clock.json", "blueteam.toml"] {
        let path = daemon.path(name);
        let _ = fs::remove_file(&path);
        assert!(
            Command::new("mkfifo")
                .arg(&path)
                .status()
                .unwrap()
                .success()
        );
        let ran = Command::new("timeout")
            .arg("10")
            .arg(daemon.command().get_program())
            .args(daemon.command().get_args())
            .arg("doctor")
            .output()
            .unwrap();
        assert_ne!(ran.status.code(), Some(124), "{name}: {ran:?}");
    }
}

/// Runs a command where the state directory takes no writes.
fn on_read_only_disk(daemon: &Daemon, command: &str) -> Output {
    let script =
        "mount --bind \"$1\" \"$1\" && mount -o remount,bind,ro \"$1\" && shift && exec \"$@\"";
    let inner = daemon.command();
    private_mounts()
        .args(["sh", "-c", script, "sh"])
        .arg(daemon.path("."))
        .arg(inner.get_program())
        .args(inner.get_args())
        .arg(command)
        .output()
        .unwrap()
}

/// Whoever asks may ask because something is broken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_says_what_it_can_and_what_it_cannot_read() {
    let mut daemon = Daemon::new("").await;
    let mut other = daemon.connect().await;
    sqlx::raw_sql("BEGIN; LOCK TABLE blueteam.alert_history")
        .execute(&mut other)
        .await
        .unwrap();

    let ran = daemon
        .command()
        .args(["status", "--json"])
        .output()
        .unwrap();
    assert_eq!(ran.status.code(), Some(4), "{ran:?}");
    let status: Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert!(
        status["alerts"].is_null() && status["schema"].is_object(),
        "{status:#}"
    );
    let not_read = status["not_read"].as_array().unwrap();
    let alerts = not_read
        .iter()
        .find(|part| part["what"] == "alerts")
        .unwrap();
    let why = alerts["why"].as_str().unwrap();
    assert!(why.contains("lock timeout"), "{status:#}");
    let ran = daemon.command().arg("status").output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(said.contains("alerts       could not be read\n"), "{said}");
    assert!(said.contains("\n  alerts cannot be read: "), "{said}");
    drop(other);

    // On a disk that an error made read-only the database goes on.
    let ran = on_read_only_disk(&daemon, "status");
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert_eq!(ran.status.code(), Some(3), "{ran:?}");
    assert!(
        said.contains("up to date)") && said.contains("takes no writes"),
        "{said}"
    );

    // Once it is stopped, nothing can start it again.
    assert!(daemon.terminate().await.success(), "{}", daemon.log());
    let ran = on_read_only_disk(&daemon, "status");
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert_eq!(ran.status.code(), Some(4), "{ran:?}");
    let says = [
        "database cannot be read: ",
        "daemon is not running",
        "takes no writes",
    ];
    assert!(says.iter().all(|what| said.contains(what)), "{said}");
}

/// A file system that an error made read-only is said, not found out at the next restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_directory_that_takes_no_writes_needs_attention() {
    let server = Server::new().await;
    let url = server.url_file();
    let daemon = Daemon::new(&format!("[database]\nurl_file = \"{url}\"\n")).await;
    for (command, code, says) in [
        ("status", 3, "takes no writes"),
        ("doctor", 3, "nothing can be written"),
    ] {
        let ran = on_read_only_disk(&daemon, command);
        let said = String::from_utf8_lossy(&ran.stdout).into_owned();
        assert!(said.contains(says), "{ran:?}");
        assert_eq!(ran.status.code(), Some(code), "{said}");
    }
}
