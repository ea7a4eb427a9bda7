//! The first account: its code is shown at a terminal, and nowhere else (decision 0059).

use std::fs::File;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::daemon::{Daemon, PATIENCE};
use super::people::{Browser, json_of, set_up};

/// Who may sign in, or could.
fn people(daemon: &Daemon) -> Vec<String> {
    let users = json_of(daemon, &["users", "list", "--json"]);
    let people = users.as_array().unwrap().iter();
    people
        .filter(|user| user["is_service"] == false)
        .map(|user| user["username"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_code_is_shown_at_a_terminal_alone() {
    // What a service prints goes to a journal.
    let daemon = Daemon::new("").await;
    let out = std::fs::read_to_string(daemon.path("out.1")).unwrap();
    assert!(out.contains("users create YOUR-NAME"), "{out}");
    assert!(!out.contains("bt_enroll_") && !daemon.log().contains("bt_enroll_"));
    assert_eq!(people(&daemon), Vec::<String>::new());
    drop(daemon);

    let daemon = Daemon::stopped("");
    let serve = daemon.command();
    let mut line = serve.get_program().to_string_lossy().into_owned();
    for arg in serve.get_args() {
        line = format!("{line} {}", arg.to_string_lossy());
    }
    let shown = daemon.path("terminal");
    let mut terminal = Command::new("script")
        .env_remove("DATABASE_URL")
        .args(["-qec", &format!("exec {line} serve"), "/dev/null"])
        .stdin(Stdio::null())
        .stdout(File::create(&shown).unwrap())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let since = Instant::now();
    let text = loop {
        let text = std::fs::read_to_string(&shown).unwrap_or_default();
        if text.contains("users enroll-link") {
            break text;
        }
        assert!(since.elapsed() < PATIENCE, "{text}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert!(
        text.contains(&format!("http://localhost:{}/enroll", daemon.port)),
        "{text}"
    );
    let code = text
        .split_whitespace()
        .find(|word| word.starts_with("bt_enroll_"))
        .unwrap();
    let people = people(&daemon);
    assert_eq!(people.len(), 1, "{people:?}");
    let mut browser = Browser::of(&daemon);
    set_up(&mut browser, code).await;
    assert_eq!(browser.me().await.status, 200);
    let users = json_of(&daemon, &["users", "list", "--json"]);
    assert_eq!(users[0]["role"], "system_admin", "{users}");

    let pid = terminal.id();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let ended = Command::new("kill")
        .args(children.split_whitespace())
        .status();
    assert!(ended.unwrap().success());
    terminal.wait().unwrap();
}
