//! `doctor` says what is wrong with an installation, and its archive keeps the secrets.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;

use serde_json::Value;

use super::daemon::{Daemon, failure};
use super::spools::Server;

/// The verdict of a part, and all that it says.
pub(super) fn part(report: &Value, name: &str) -> (String, String) {
    let parts = report["parts"].as_array().unwrap();
    let part = parts.iter().find(|part| part["part"] == name).unwrap();
    let findings = part["findings"].as_array().unwrap();
    let says: Vec<_> = findings
        .iter()
        .map(|finding| finding["says"].as_str().unwrap())
        .collect();
    (
        part["verdict"].as_str().unwrap().to_owned(),
        says.join("\n"),
    )
}

pub(super) fn doctor(daemon: &Daemon) -> (Output, Value) {
    let ran = daemon
        .command()
        .args(["doctor", "--json"])
        .output()
        .unwrap();
    let report = serde_json::from_slice(&ran.stdout).map_err(|error| format!("{error}: {ran:?}"));
    (ran, report.unwrap())
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A web server that serves something else.
fn impostor() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 1024]).unwrap();
            stream
                .write_all(b"HTTP/1.1 200 OK\r\n\r\nIt works!\n")
                .unwrap();
        }
    });
    at
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_named_and_the_rest_is_looked_at() {
    let mut server = Server::new().await;
    let url = server.url_file();
    let backups = tempfile::tempdir().unwrap();
    fs::write(backups.path().join("today.dump"), "PGDMP and so on").unwrap();
    let mut daemon = Daemon::new(&format!(
        "[database]\nurl_file = \"{url}\"\n[monitors]\nbackup_files = [\"{}/*.dump\"]\n",
        backups.path().display()
    ))
    .await;
    let client = daemon.client();
    client.answers(&[failure("192.0.2.79", "root")], 200).await;

    let (ran, report) = doctor(&daemon);
    // The tests' server trades safety for speed, and that is said.
    let (verdict, says) = part(&report, "database");
    assert!(
        verdict == "wrong" && says.contains("fsync is off"),
        "{report:#}"
    );
    assert_eq!(ran.status.code(), Some(3));
    for name in ["versions", "permissions", "daemon", "ports", "backup"] {
        assert_ne!(part(&report, name).0, "wrong", "{report:#}");
    }
    assert_eq!(part(&report, "daemon").0, "ok", "{report:#}");
    assert_eq!(part(&report, "ports").0, "ok", "{report:#}");
    assert!(report["took_ms"].as_u64().unwrap() < 3000, "{report:#}");

    // A daemon of another version is not the one that this program speaks of.
    fs::write(daemon.path("daemon.lock"), r#"{"version":"0.0.1"}"#).unwrap();
    let (verdict, says) = part(&doctor(&daemon).1, "versions");
    assert!(verdict == "wrong" && says.contains("0.0.1"), "{says}");

    // What answers at the configured port is not the daemon.
    let file = daemon.path("blueteam.toml");
    let text = fs::read_to_string(&file).unwrap();
    let impostor = impostor();
    let own = format!("listen = \"127.0.0.1:{}\"", daemon.port);
    fs::write(
        &file,
        text.replace(&own, &format!("listen = \"{impostor}\"")),
    )
    .unwrap();
    let (verdict, says) = part(&doctor(&daemon).1, "ports");
    assert!(
        verdict == "wrong" && says.contains("answer to GET /healthz is not blueteam's"),
        "{says}"
    );
    fs::write(&file, &text).unwrap();

    // The group may change what is watched.
    set_mode(&file, 0o660);
    let (verdict, says) = part(&doctor(&daemon).1, "permissions");
    assert!(
        verdict == "wrong" && says.contains("may write to the configuration file"),
        "{says}"
    );
    set_mode(&file, 0o600);

    // A dump that failed leaves an empty file.
    let failed = backups.path().join("failed.dump");
    fs::write(&failed, "").unwrap();
    let (verdict, says) = part(&doctor(&daemon).1, "backup");
    assert!(
        verdict == "wrong" && says.contains("failed.dump, is empty"),
        "{says}"
    );
    fs::write(&failed, "no dump at all").unwrap();
    let (verdict, says) = part(&doctor(&daemon).1, "backup");
    assert!(
        verdict == "warning" && says.contains("14 B, of an unknown kind"),
        "{says}"
    );
    fs::remove_file(&failed).unwrap();

    // Stopped, with its port taken, its backup of last week and its state open to everybody.
    assert!(daemon.terminate().await.success(), "{}", daemon.log());
    let held = TcpListener::bind(("127.0.0.1", daemon.port)).unwrap();
    let week = std::time::Duration::from_hours(7 * 24);
    fs::File::options()
        .write(true)
        .open(backups.path().join("today.dump"))
        .unwrap()
        .set_modified(std::time::SystemTime::now() - week)
        .unwrap();
    set_mode(&daemon.path("."), 0o777);
    let (ran, report) = doctor(&daemon);
    assert_eq!(ran.status.code(), Some(3));
    for (name, what) in [
        ("daemon", "nothing is detected"),
        ("ports", "another program is at"),
        ("backup", "168 h old"),
        ("permissions", "not the daemon's own"),
    ] {
        let (verdict, says) = part(&report, name);
        assert!(verdict == "wrong" && says.contains(what), "{name}: {says}");
    }
    drop(held);
    set_mode(&daemon.path("."), 0o711);

    // Without the database, and with a configuration that is wrong, the rest is still told.
    server.stop().await;
    let (verdict, _) = part(&doctor(&daemon).1, "database");
    assert_eq!(verdict, "wrong");
    fs::write(&file, format!("{text}\n[ingest]\nlisten = 7\n")).unwrap();
    let (ran, report) = doctor(&daemon);
    assert_eq!(ran.status.code(), Some(3));
    let (verdict, says) = part(&report, "configuration");
    assert!(
        verdict == "wrong" && says.contains("blueteam.toml"),
        "{says}"
    );
    assert_eq!(part(&report, "disk").0, "unknown");
    assert_eq!(part(&report, "permissions").0, "ok");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_archive_holds_no_secret() {
    let secrets = tempfile::tempdir().unwrap();
    let plant = |name: &str, text: &str| {
        let path = secrets.path().join(name);
        fs::write(&path, text).unwrap();
        set_mode(&path, 0o600);
        path.display().to_string()
    };
    let smtp = plant("smtp", "Planted-smtp-7aQ\n");
    let hook = plant("hook", "https://hooks.example/services/Planted-hook-9xZ");
    let sign = plant("sign", "Planted-sign-3kL-and-more-of-it");
    let watchdog = plant("watchdog", "https://ping.example/Planted-watchdog-5pR");
    let mut server = Server::new().await;
    let url = server.url_file();
    // The password is in the URL, whether or not the server asks for it.
    let with_password = fs::read_to_string(&url).unwrap();
    let mut daemon = Daemon::new(&format!(
        "[database]\nurl_file = \"{url}\"\n\
         [watchdog]\nurl_file = \"{watchdog}\"\n\
         [channels.email]\nhost = \"127.0.0.1\"\nport = 9\nsecurity = \"plain\"\n\
         from = \"a@example.com\"\nto = [\"b@example.com\"]\nusername = \"alerts\"\n\
         password_file = \"{smtp}\"\n\
         [channels.slack]\nurl_file = \"{hook}\"\n\
         [channels.webhook]\nurl = \"https://siem.example/in\"\nsecret_file = \"{sign}\"\n"
    ))
    .await;
    let key = daemon.key();
    let client = daemon.client_with(key.clone());
    let mut event = failure("192.0.2.80", "root");
    event["metadata"]["password"] = Value::from("Planted-event-8mN");
    client.answers(&[event], 200).await;

    // A secret in place of its file, which a variable makes up for; and one that another program
    // wrote down in base64, as `alerts:Planted-variable-2vT`.
    let file = daemon.path("blueteam.toml");
    let text = fs::read_to_string(&file).unwrap();
    let typed = text.replace(&smtp, "Planted-typed-4kW")
        + "[[collect.files]]\npath = \"/nowhere/YWxlcnRzOlBsYW50ZWQtdmFyaWFibGUtMnZU\"\n\
        format = \"nginx\"\n";
    fs::write(&file, typed).unwrap();

    let archive = daemon.path("support.zip");
    let mut command = daemon.command();
    command.args(["doctor", "--bundle"]).arg(&archive);
    command.env("BLUETEAM_CHANNELS__EMAIL__PASSWORD", "Planted-variable-2vT");
    let ran = command.output().unwrap();
    let told = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(told.contains("look through it"), "{told}");
    assert_eq!(
        fs::metadata(&archive).unwrap().permissions().mode() & 0o077,
        0
    );

    let mut zip = zip::ZipArchive::new(fs::File::open(&archive).unwrap()).unwrap();
    let mut names = Vec::new();
    for n in 0..zip.len() {
        let mut file = zip.by_index(n).unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        let name = file.name().unwrap().into_owned();
        assert!(
            !text.trim().is_empty() || name.ends_with("environment.txt"),
            "{name} is empty"
        );
        let password = with_password
            .trim()
            .split_once("://")
            .and_then(|(_, rest)| rest.rsplit_once('@'))
            .and_then(|(login, _)| login.split_once(':'))
            .map(|(_, password)| password);
        for secret in ["Planted", "50ZWQtdmFyaWFibG", key.as_str()]
            .into_iter()
            .chain(password)
        {
            assert!(!text.contains(secret), "{name} holds {secret}:\n{text}");
        }
        names.push(name);
    }
    for name in [
        "config.toml",
        "doctor.json",
        "rules.json",
        "status.json",
        "system.txt",
    ] {
        assert!(
            names.contains(&format!("blueteam-support/{name}")),
            "{names:?}"
        );
    }

    // Without the variable nothing can be read, and no error quotes what was typed.
    for args in [
        &["doctor", "--json"] as &[&str],
        &["config", "check"],
        &["serve"],
    ] {
        let ran = daemon.command().args(args).output().unwrap();
        let told = String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned();
        let names_it = told.contains("channels.email.password_file: the file that it names");
        assert!(names_it && !told.contains("Planted"), "{args:?}: {told}");
    }
    fs::write(&file, text).unwrap();
    assert!(daemon.terminate().await.success(), "{}", daemon.log());
    server.stop().await;
}
