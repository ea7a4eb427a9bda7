//! The command line against a daemon elsewhere: it says what it says on the machine itself.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::api::with_alerts;
use super::certificates::{files, issue};
use super::daemon::Daemon;
use super::people::{json_of, run};

/// A file with a key of a new person of that role.
fn key_file(daemon: &Daemon, dir: &Path, role: &str, more: &[&str]) -> PathBuf {
    let name = role.replace('_', "-");
    let email = format!("{name}@example.com");
    let args = ["users", "create", &name, "--email", &email, "--role", role];
    assert_eq!(run(daemon, &args).0, 0);
    let args = [&["keys", "create", "cli", "--owner", &name, "--json"], more].concat();
    let key = json_of(daemon, &args)["key"].as_str().unwrap().to_owned();
    let path = dir.join(format!("{name}.key"));
    std::fs::write(&path, format!("{key}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}

/// The same program on a machine that has neither database nor configuration.
fn elsewhere(daemon: &Daemon, options: &[&str], args: &[&str]) -> (i32, String, String) {
    let empty = tempfile::tempdir().unwrap();
    let out = Command::new(daemon.command().get_program())
        .env_remove("DATABASE_URL")
        .env_remove("BLUETEAM_CONFIG")
        .env("BLUETEAM_STATE_DIR", empty.path())
        .args(args)
        .args(options)
        .output()
        .unwrap();
    (
        out.status.code().unwrap(),
        String::from_utf8(out.stdout).unwrap(),
        String::from_utf8(out.stderr).unwrap(),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_says_elsewhere_what_it_says_here() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::new("").await;
    with_alerts(&daemon, 3).await;
    assert!([0, 3].contains(&run(&daemon, &["compliance", "checks", "run"]).0));
    let key = key_file(&daemon, dir.path(), "system_admin", &[]);
    let server = format!("http://127.0.0.1:{}", daemon.port);
    let key = key.to_str().unwrap();
    let options = ["--server", &server, "--key-file", key];

    for args in [
        &["alerts", "list"][..],
        &["alerts", "list", "--state", "open", "--severity", "high"],
        &["incidents", "list", "--all"],
        &["events", "search", "--ip", "192.0.2.1", "--limit", "250"],
        &["users", "list"],
        &["sources", "list"],
        &["compliance", "status", "--family", "3.3"],
        &["compliance", "gaps", "--status", "not_assessed"],
    ] {
        for json in [&[][..], &["--json"]] {
            let args = [args, json].concat();
            let (status, here, err) = run(&daemon, &args);
            assert_eq!(status, 0, "{args:?}: {err}");
            let (status, there, err) = elsewhere(&daemon, &options, &args);
            assert_eq!(status, 0, "{args:?}: {err}");
            // Uses of the key, and times of what goes on meanwhile, are not the same.
            assert_eq!(
                there.lines().count(),
                here.lines().count(),
                "{args:?}\n{here}\n{there}"
            );
            if args[0] != "sources" {
                assert_eq!(there, here, "{args:?}");
            }
        }
    }
    let (status, keys, err) = elsewhere(&daemon, &options, &["keys", "list", "--json"]);
    assert!(
        status == 0 && keys.contains("\"kind\": \"person\""),
        "{err}{keys}"
    );

    // Only what the key may, and only what is offered.
    let alerts = json_of(&daemon, &["alerts", "list", "--json"]);
    let id = alerts[0]["alert_id"].as_str().unwrap();
    let ack = ["alerts", "ack", id];
    let (status, _, err) = elsewhere(&daemon, &options, &ack);
    assert!(status == 1 && err.contains("alerts:acknowledge"), "{err}");
    let worker = key_file(
        &daemon,
        dir.path(),
        "user",
        &["--scope", "alerts:acknowledge"],
    );
    let working = ["--server", &server, "--key-file", worker.to_str().unwrap()];
    let (status, seen, err) = elsewhere(&daemon, &working, &ack);
    assert!(status == 0 && seen.contains("seen by user"), "{seen}{err}");
    for args in [
        &["doctor"][..],
        &["keys", "create", "x", "--owner", "user"],
        &["status"],
    ] {
        let (status, _, err) = elsewhere(&daemon, &options, args);
        assert!(status == 2 && err.contains("--server"), "{args:?}: {err}");
    }
    let far = ["--server", "http://192.0.2.1:8514", "--key-file", key];
    let (status, _, err) = elsewhere(&daemon, &far, &["alerts", "list"]);
    assert!(status == 1 && err.contains("https://"), "{err}");
    std::fs::set_permissions(key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let (status, _, err) = elsewhere(&daemon, &options, &["alerts", "list"]);
    assert!(status == 1 && err.contains("open to others"), "{err}");
    assert_eq!(elsewhere(&daemon, &options[..2], &["alerts", "list"]).0, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_sent_to_whom_the_authority_has_signed_alone() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    issue(dir.path(), -1, 300);
    issue(other.path(), -1, 300);
    let daemon = Daemon::with_tls(&files(dir.path()), "").await;
    let key = key_file(&daemon, dir.path(), "user", &[]);
    let server = format!("https://localhost:{}", daemon.port);
    let options = ["--server", &server, "--key-file", key.to_str().unwrap()];
    let (status, _, err) = elsewhere(&daemon, &options, &["alerts", "list"]);
    assert!(status == 1 && err.contains("cannot reach"), "{err}");
    for (dir, expected) in [(&dir, 0), (&other, 1)] {
        let authority = dir.path().join("cert.pem");
        let authority = ["--ca-file", authority.to_str().unwrap()];
        let options = [&options[..], &authority].concat();
        let (status, _, err) = elsewhere(&daemon, &options, &["alerts", "list"]);
        assert_eq!(status, expected, "{err}");
    }
}
