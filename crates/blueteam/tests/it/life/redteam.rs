//! Reports of red teams and scanners, from the file to the plan of action and to what came back.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};
use sqlx::PgConnection;
use testkit::TestDb;
use tokio::time::sleep;

use super::daemon::{Daemon, PATIENCE};
use crate::cli::Program;

/// A report of our own format: modules with their verdicts.
fn run(day: u8, target: &str, modules: &[(&str, &str, &str)]) -> String {
    let modules: Vec<Value> = modules
        .iter()
        .map(|(name, severity, verdict)| {
            json!({ "name": name, "severity": severity, "verdict": verdict, "control_ids": ["3.5.3"],
                    "evidence": "id=1' OR '1'='1 UNION SELECT password FROM users--" })
        })
        .collect();
    json!({ "run_id": format!("run-{day}"), "tool": "eqmon-redteam", "target": target,
            "ended": format!("2026-01-{day:02}T10:00:00Z"), "modules": modules })
    .to_string()
}

const TARGET: &str = "https://eqmon.example";

fn states(program: &Program) -> Vec<(String, String)> {
    let all = program.run(&["redteam", "list", "--all", "--json"]).json();
    let mut states: Vec<(String, String)> = all
        .as_array()
        .unwrap()
        .iter()
        .map(|f| {
            let text = |key: &str| f[key].as_str().unwrap().to_owned();
            (text("title"), text("state"))
        })
        .collect();
    states.sort();
    states
}

fn is(name: &str, state: &str) -> (String, String) {
    (name.to_owned(), state.to_owned())
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one story, told in order")]
async fn a_finding_goes_comes_back_and_is_never_closed_by_a_report() {
    let db = TestDb::new().await;
    let program = Program::new(Some(&db));
    program.run(&["migrate"]).good();
    let import = |name: &str, text: &str, more: &[&str]| {
        let file = program.write(name, text);
        program.run(&[&["redteam", "import", &file][..], more].concat())
    };
    let first = run(
        1,
        TARGET,
        &[
            ("mfa_absence", "critical", "vulnerable"),
            ("session_timeout", "medium", "vulnerable"),
            ("password_policy", "low", "not_vulnerable"),
            ("audit_log_tamper", "high", "vulnerable"),
        ],
    );
    let said = import("1.json", &first, &["--open-poam"]).good();
    assert!(said.contains("4 items listed, 3 findings\n"), "{said}");
    assert!(said.contains("3 new, 0 back, 0 proposed"), "{said}");
    assert_eq!(said.matches(": 3.5.3 for 1 finding").count(), 3, "{said}");

    // The same again changes nothing, whatever it is called, and opens no second item.
    let again = import("copy.json", &first, &["--open-poam"]).good();
    assert_eq!(again.lines().count(), 1, "{again}");
    assert!(again.contains("was imported before"), "{again}");
    let items = program
        .run(&["compliance", "poam", "list", "--json"])
        .json();
    assert_eq!(items.as_array().unwrap().len(), 3);

    // Gone is what was tried and did not work; what was not tried, or could not be said, stays.
    let second = run(
        2,
        TARGET,
        &[
            ("mfa_absence", "critical", "not_vulnerable"),
            ("session_timeout", "medium", "error"),
        ],
    );
    let said = import("2.json", &second, &[]).good();
    assert!(said.contains("0 new, 0 back, 1 proposed"), "{said}");
    assert_eq!(
        states(&program),
        [
            is("audit_log_tamper", "open"),
            is("mfa_absence", "gone_proposed"),
            is("session_timeout", "open")
        ]
    );
    // Another target, and another tool, say nothing of it.
    for text in [
        run(
            3,
            "https://other.example",
            &[("session_timeout", "low", "not_vulnerable")],
        ),
        run(3, TARGET, &[("session_timeout", "low", "not_vulnerable")])
            .replace("eqmon-redteam", "other-tool"),
    ] {
        assert!(import("3.json", &text, &[]).good().contains("0 proposed"));
    }
    assert_eq!(states(&program)[2], is("session_timeout", "open"));

    // A person closes it.
    let id = |title: &str| {
        let all = program.run(&["redteam", "list", "--all", "--json"]).json();
        let all = all.as_array().unwrap().clone();
        let found = all.into_iter().find(|f| f["title"] == title).unwrap();
        found["finding_id"].as_str().unwrap().to_owned()
    };
    let mfa = id("mfa_absence");
    assert_eq!(
        program
            .run(&["redteam", "close", &mfa, "--reason", "x"])
            .code,
        2
    );
    let reason = ["--reason", "TOTP is asked for since CHG-91"];
    program
        .run(&[&["redteam", "close", &mfa][..], &reason].concat())
        .good();
    let twice = program.run(&[&["redteam", "close", &mfa][..], &reason].concat());
    assert!(
        twice.code == 1 && twice.err.contains("closed already"),
        "{}",
        twice.err
    );

    // A report of the days before is none of a regression; one of today is, and says so.
    let late = run(1, TARGET, &[("mfa_absence", "critical", "vulnerable")]);
    let said = import("late.json", &late, &[]).good();
    assert!(said.contains("0 new, 0 back, 0 proposed"), "{said}");
    let mut today: Value = serde_json::from_str(&late).unwrap();
    today.as_object_mut().unwrap().remove("ended");
    today["modules"][0]["severity"] = json!("info");
    let said = import("today.json", &today.to_string(), &["--open-poam"]).good();
    assert!(
        said.contains("REGRESSION: mfa_absence is there again"),
        "{said}"
    );
    let shown = program.run(&["redteam", "show", &mfa]).good();
    assert!(shown.contains("came back        1"), "{shown}");
    assert!(
        shown.contains("severity         critical"),
        "no report makes it milder: {shown}"
    );
    // Its item is open still, so that it needs no other.
    let items = program
        .run(&["compliance", "poam", "list", "--json"])
        .json();
    assert_eq!(items.as_array().unwrap().len(), 3);

    let compared = program
        .run(&["redteam", "compare", "2026-01-01", "2026-01-02", "--json"])
        .json();
    let count = |key: &str| compared[key].as_array().unwrap().len();
    assert_eq!((count("new"), count("gone"), count("back")), (0, 1, 0));
    assert_eq!((count("still"), count("out_of_scope")), (0, 2));
    // 10 + 5 + 2 of 10 + 5 + 2 + 1 are open, also where closing is proposed.
    assert_eq!(compared["posture_before"]["modules"], 4);
    assert_eq!(compared["posture_before"]["score"], 5.6);
    assert_eq!(compared["posture_after"]["findings"], 3);
    let runs = program.run(&["redteam", "list", "--runs", "--json"]).json();
    let run_id = |name: &str| {
        let runs = runs.as_array().unwrap();
        let run = runs.iter().find(|run| run["file_name"] == name).unwrap();
        run["run_id"].as_str().unwrap().to_owned()
    };
    let back = program
        .run(&[
            "redteam",
            "compare",
            &run_id("2.json"),
            &run_id("today.json"),
        ])
        .good();
    assert!(back.contains("\nback: 1\n"), "{back}");
    let other = program.run(&["redteam", "compare", &run_id("1.json"), "2026-01-01"]);
    assert_eq!(other.code, 2);

    // Without a file it is the newest of the folder.
    let reports = program.path("*.json").display().to_string();
    let config = program.write("own.toml", &format!("[redteam]\nreports = \"{reports}\"\n"));
    let newest = program
        .run(&["--config", &config, "redteam", "import"])
        .good();
    assert!(
        newest.starts_with("today.json was imported before"),
        "{newest}"
    );

    // Events of a source that no rule counts, whatever is in them; and who did what.
    let mut conn = db.connect().await;
    let events: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM blueteam.log_events
         WHERE source = 'redteam' AND resource_type = 'redteam_finding'",
    )
    .fetch_one(&mut conn)
    .await
    .unwrap();
    assert_eq!(events, 3 + 1 + 1, "what each run lists");
    let posture = program.run(&["report", "posture", "--json"]);
    assert!(
        posture.out.contains("open finding"),
        "{}{}",
        posture.out,
        posture.err
    );
}

#[tokio::test]
async fn what_cannot_be_read_exits_2_and_names_file_and_place() {
    let db = TestDb::new().await;
    let program = Program::new(Some(&db));
    program.run(&["migrate"]).good();
    let bomb = "<!DOCTYPE nmaprun [\n<!ENTITY a 'b'>]><nmaprun>&a;</nmaprun>";
    for (name, text, place) in [
        (
            "cut.json",
            "{\"run_id\":\"r\",\n\"modules\":[{",
            "line 2 column 12",
        ),
        (
            "twice.sarif",
            "{\"version\":\"2.1.0\",\n\"runs\":[],\"runs\":[]}",
            "line 2",
        ),
        ("bomb.xml", bomb, "line 2"),
        ("open.xml", "<nmaprun>\n<host>\n</nmaprun>", "3:"),
        (
            "lines.jsonl",
            "{\"template-id\":\"a\"}\n{\"template-id\":}\n",
            "line 2: ",
        ),
        (
            "nameless.json",
            "{\"run_id\":\"r\",\"modules\":[{\"verdict\":\"error\"}]}",
            "module 1",
        ),
        ("old.sarif", "{\"version\":\"2.0.0\",\"runs\":[]}", "2.0.0"),
        (
            "page.json",
            "<!doctype html><title>Sign in</title>",
            "a web page",
        ),
        ("empty.json", "", "--format"),
        ("\u{1b}[2J.json", "no", "<U+001B>"),
    ] {
        let file = program.write(name, text);
        let ran = program.run(&["redteam", "import", &file]);
        assert_eq!(ran.code, 2, "{name}: {}", ran.err);
        let shown = name.replace('\u{1b}', "<U+001B>");
        assert!(
            ran.err.contains(&shown) && ran.err.contains(place),
            "{name}: {}",
            ran.err
        );
        assert!(!ran.err.contains('\u{1b}') && ran.out.is_empty(), "{name}");
    }
    for args in [
        &["redteam", "import", "/dev/zero"][..],
        &["redteam", "import"],
        &["redteam", "import", "x", "--format", "gitlab"],
    ] {
        let ran = program.run(args);
        assert_eq!(ran.code, 2, "{args:?}: {}", ran.err);
    }
    assert_eq!(program.run(&["redteam", "import", "/nowhere/x"]).code, 1);
    let runs = program.run(&["redteam", "list", "--runs", "--json"]).json();
    assert_eq!(runs, json!([]));
}

#[tokio::test]
async fn a_report_opens_no_thousand_plans() {
    let db = TestDb::new().await;
    let program = Program::new(Some(&db));
    program.run(&["migrate"]).good();
    let names: Vec<String> = (0..150).map(|n| format!("module_{n}")).collect();
    let modules: Vec<(&str, &str, &str)> = names
        .iter()
        .enumerate()
        .map(|(n, name)| {
            let severity = if n == 149 { "critical" } else { "medium" };
            (name.as_str(), severity, "vulnerable")
        })
        .collect();
    let file = program.write("many.json", &run(1, TARGET, &modules));

    let said = program
        .run(&["redteam", "import", &file, "--open-poam"])
        .good();

    assert!(said.contains("50 more items due"), "{said}");
    let items = program
        .run(&["compliance", "poam", "list", "--json"])
        .json();
    assert_eq!(items.as_array().unwrap().len(), 100);
    assert!(
        items.to_string().contains("module_149"),
        "the worst come first"
    );
}

async fn runs(conn: &mut PgConnection) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT file_name FROM blueteam.redteam_runs ORDER BY imported_at, file_name",
    )
    .fetch_all(conn)
    .await
    .unwrap()
}

async fn has_runs(daemon: &Daemon, expected: &[&str]) {
    let began = Instant::now();
    loop {
        let found = runs(&mut daemon.connect().await).await;
        if found == expected {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{found:?}\n{}", daemon.log());
        sleep(Duration::from_millis(200)).await;
    }
}

/// Writes a file as if it had rested for so long.
fn write_aged(path: &Path, text: &str, age: Duration) {
    std::fs::write(path, text).unwrap();
    let file = File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - age).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_new_report_of_the_folder_is_imported_once() {
    const HOUR: Duration = Duration::from_hours(1);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let found = |name: &str| run(1, TARGET, &[(name, "high", "vulnerable")]);
    let nuclei = "{\"template-id\":\"a\",\"host\":\"h\"}\n";
    write_aged(&path("a.json"), &found("a"), HOUR);
    write_aged(&path("broken.json"), "{\"run_id\":", HOUR);
    write_aged(&path("soon.json"), "{\"run_id\":", Duration::from_mins(1));
    write_aged(&path("growing.json"), nuclei, Duration::from_mins(1));
    std::fs::write(path("a.txt"), found("b")).unwrap();

    let mut daemon = Daemon::monitor(&format!(
        "[redteam]\nreports = \"{}\"\n",
        path("*.json").display()
    ))
    .await;
    has_runs(&daemon, &["a.json"]).await;

    // A clock that is ahead hides none; a file that is being written is waited for, and one that
    // cannot be read does not keep the others from being imported.
    std::fs::write(path("b.json"), found("b")).unwrap();
    let file = File::options().write(true).open(path("b.json")).unwrap();
    file.set_modified(SystemTime::now() + HOUR).unwrap();
    let whole = found("c");
    let half = whole.len() / 2;
    std::fs::write(path("c.json"), &whole[..half]).unwrap();
    has_runs(&daemon, &["a.json", "b.json"]).await;
    std::fs::write(path("c.json"), &whole).unwrap();
    has_runs(&daemon, &["a.json", "b.json", "c.json"]).await;
    let log = daemon.log();
    assert!(
        log.contains("cannot import") && log.contains("broken.json"),
        "{log}"
    );
    assert!(
        !log.contains("soon.json") && !log.contains("c.json: "),
        "{log}"
    );

    // Killed and started again it imports none twice, and what came meanwhile.
    daemon.kill();
    write_aged(&path("d.json"), &found("d"), HOUR);
    daemon.start().await;
    has_runs(&daemon, &["a.json", "b.json", "c.json", "d.json"]).await;

    // What the reports hold looks like an attack, and raises no alert.
    let mut conn = daemon.connect().await;
    let events: i64 =
        sqlx::query_scalar("SELECT count(*) FROM blueteam.log_events WHERE source = 'redteam'")
            .fetch_one(&mut conn)
            .await
            .unwrap();
    assert_eq!(events, 4);
    sleep(Duration::from_secs(3)).await;
    let alerts: i64 = sqlx::query_scalar("SELECT count(*) FROM blueteam.alert_history")
        .fetch_one(&mut conn)
        .await
        .unwrap();
    assert_eq!(alerts, 0);
}
