//! `incidents evidence`, `incidents verify` and `incidents export`: the chain of evidence, with the
//! built program.

mod tampering;

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use sqlx::{AssertSqlSafe, PgConnection};
use testkit::TestDb;

use crate::cli::{Program, Ran};

/// A recipient of age's documentation, whose other half nobody here has.
const RECIPIENT: &str = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";

async fn run_sql(conn: &mut PgConnection, text: &str) {
    use sqlx::Executor as _;
    conn.execute(sqlx::raw_sql(AssertSqlSafe(text.to_owned())))
        .await
        .map_err(|error| format!("{text}: {error}"))
        .unwrap();
}

async fn value(conn: &mut PgConnection, text: &str) -> Option<String> {
    sqlx::query_scalar(AssertSqlSafe(text.to_owned()))
        .fetch_one(conn)
        .await
        .unwrap()
}

/// An incident that is open; its ID.
async fn open_incident(db: &TestDb) -> String {
    let text = "INSERT INTO blueteam.security_incidents (title, severity, detected_by)
                VALUES ('Brute force: 6 failed logins', 'high', 'blueteam') RETURNING incident_id::text";
    value(&mut db.connect().await, text).await.unwrap()
}

fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(bytes)
        .iter()
        .fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").unwrap();
            hex
        })
}

/// The files that evidence is kept in.
fn kept(program: &Program) -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.file_name().unwrap() != ".lock" {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&program.path("evidence"), &mut found);
    found.sort();
    found
}

fn evidence(program: &Program, args: &[&str]) -> Ran {
    program.run(&[&["incidents", "evidence"], args].concat())
}

fn item(program: &Program, args: &[&str]) -> Value {
    evidence(program, &[args, &["--json"]].concat()).json()
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one story, told in order")]
async fn evidence_is_taken_in_shown_and_handed_on() {
    let db = TestDb::new().await;
    let program = Program::new(Some(&db));
    let id = open_incident(&db).await;
    let hostile = program.write("in/..\u{202e}gnp.exe; rm -rf", "traffic \u{1b}[2J\n");
    let file = item(
        &program,
        &[
            "add",
            &id[..23],
            &hostile,
            "--type",
            "pcap",
            "--shows",
            "traffic of web01",
            "--from",
            "Dana Reyes, IT",
        ],
    );
    assert_eq!(file["number"], 1);
    assert_eq!(file["evidence_type"], "network_capture");
    assert_eq!(file["file_name"], "gnp.exe_ rm -rf");
    assert_eq!(file["original_name"], "..<U+202E>gnp.exe; rm -rf");
    assert_eq!(file["sha256"], sha256("traffic \u{1b}[2J\n".as_bytes()));
    assert_eq!(file["media_type"], "application/octet-stream");
    let note = item(
        &program,
        &[
            "add",
            &id,
            "--text",
            "called alice\nshe was on leave",
            "--shows",
            "a call",
        ],
    );
    assert_eq!(
        (&note["number"], &note["evidence_type"]),
        (&json!(3), &json!("note"))
    );

    // What is no text is not shown; what is, is shown to whom is recorded.
    let refused = evidence(&program, &["show", &id, "1", "--content"]);
    assert_eq!(refused.code, 2, "{}", refused.err);
    let shown = evidence(&program, &["show", &id, "3", "--content"]).good();
    assert_eq!(shown, "called alice\nshe was on leave");
    let to = [
        "transfer",
        &id,
        "1",
        "--to",
        "DC3, by courier",
        "--remark",
        "receipt 4711",
    ];
    evidence(&program, &to).good();
    let out = program.path("out.bin");
    let out = out.to_str().unwrap();
    let exported = evidence(&program, &["export", &id, "1", "--output", out]).good();
    assert!(exported.starts_with(file["sha256"].as_str().unwrap()));
    assert_eq!(fs::read(out).unwrap(), "traffic \u{1b}[2J\n".as_bytes());
    assert_eq!(
        evidence(&program, &["export", &id, "1", "--output", out]).code,
        2
    );

    let events = |number: &str| -> Vec<Value> {
        let item = item(&program, &["show", &id, number]);
        let custody = item["custody"].as_array().unwrap();
        custody.iter().map(|entry| entry["event"].clone()).collect()
    };
    assert_eq!(events("1"), ["collected", "transferred", "exported"]);
    assert_eq!(events("3"), ["collected", "viewed"]);
    let listing = item(&program, &["list", &id]);
    assert_eq!(
        (
            &listing["records"],
            listing["items"].as_array().unwrap().len()
        ),
        (&json!(7), 2)
    );
    let first = &item(
        &program,
        &["show", &id, file["evidence_id"].as_str().unwrap()],
    )["custody"][0];
    assert_eq!(first["party"], "Dana Reyes, IT");
    assert!(
        first["remark"]
            .as_str()
            .unwrap()
            .contains("<U+202E>gnp.exe"),
        "{first}"
    );
    program.run(&["incidents", "verify", &id]).good();

    let long = "x".repeat(501);
    for (incident, what, says) in [
        (
            "ffff",
            ["--text", "x", "--shows", "abc"],
            "no incident begins with",
        ),
        (&id, ["--text", "x", "--shows", "ab"], "--shows"),
        (&id, ["--text", "x", "--shows", &long], "--shows"),
        (&id, ["--text", " ", "--shows", "abc"], "--text"),
        (
            &id,
            ["/dev/zero", "--shows", "abc", "--json"],
            "it is no file",
        ),
    ] {
        let refused = evidence(&program, &[&["add", incident], &what[..]].concat());
        assert!(
            refused.code != 0 && refused.err.contains(says),
            "{}",
            refused.err
        );
    }
}

#[tokio::test]
async fn a_closed_incident_takes_no_more_evidence() {
    let db = TestDb::new().await;
    let program = Program::new(Some(&db));
    let id = open_incident(&db).await;
    let add = ["add", &id, "--text", "a call", "--shows", "a call"];
    evidence(&program, &add).good();
    let close = "UPDATE blueteam.security_incidents SET status = 'closed', closed_at = now()";
    run_sql(&mut db.connect().await, close).await;
    let refused = evidence(&program, &add);
    assert_eq!(refused.code, 2);
    assert!(
        refused
            .err
            .contains("is closed, and takes no more evidence"),
        "{}",
        refused.err
    );
    evidence(&program, &["show", &id, "1", "--content"]).good();
    program.run(&["incidents", "verify"]).good();
}

#[tokio::test]
async fn excerpts_keep_the_query_and_say_what_the_limit_cut() {
    let db = TestDb::new().await;
    let program = Program::new(Some(&db));
    let id = open_incident(&db).await;
    let events = "INSERT INTO audit_events (timestamp, category, action, result, ip_address)
                  SELECT now() - n * interval '1 minute', 'auth', 'login', 'failure',
                         CASE WHEN n % 2 = 0 THEN '203.0.113.7' ELSE '203.0.113.8' END::inet
                    FROM generate_series(1, 20) n";
    run_sql(&mut db.connect().await, events).await;

    let all = item(
        &program,
        &["excerpt", &id, "--ip", "203.0.113.7", "--since", "1d"],
    );
    assert_eq!(all["query"]["found"], 10);
    assert_eq!(all["query"]["cut"], false);
    assert_eq!(all["query"]["filter"]["ip"], "203.0.113.7/32");
    assert_eq!(
        (&all["evidence_type"], &all["file_name"]),
        (&json!("log_excerpt"), &json!("events.ndjson"))
    );
    let text = evidence(&program, &["show", &id, "1", "--content"]).good();
    let times: Vec<String> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["timestamp"].to_string())
        .collect();
    assert!(times.len() == 10 && times.is_sorted(), "{times:?}");

    let cut = evidence(&program, &["excerpt", &id, "--since", "1d", "--limit", "5"]);
    assert!(cut.err.contains("the limit left out others"), "{}", cut.err);
    cut.good();
    let cut = item(&program, &["show", &id, "4"]);
    assert_eq!(
        (&cut["query"]["found"], &cut["query"]["cut"]),
        (&json!(5), &json!(true))
    );
    let exact = item(
        &program,
        &["excerpt", &id, "--since", "1d", "--limit", "20"],
    );
    assert_eq!(exact["query"]["cut"], false);
    program.run(&["incidents", "verify", &id]).good();
}

#[tokio::test]
async fn malware_is_kept_encrypted_and_never_shown() {
    let db = TestDb::new().await;
    let program = Program::new(Some(&db));
    let id = open_incident(&db).await;
    let sample = program.write("in/dropper.txt", "a sample that must not be on the disk");
    let add = ["add", &id, &sample, "--malware", "--shows", "found in /tmp"];
    let refused = evidence(&program, &add);
    assert_eq!(refused.code, 2);
    assert!(refused.err.contains("malware_recipient"), "{}", refused.err);
    assert_eq!(kept(&program), [] as [PathBuf; 0]);

    let config = format!("[incidents]\nmalware_recipient = \"{RECIPIENT}\"\n");
    let config = program.write("blueteam.toml", &config);
    let with = |args: &[&str]| program.run(&[&["--config", &config, "incidents"], args].concat());
    let added = with(&[&["evidence"], &add[..], &["--json"]].concat()).json();
    assert_eq!(
        added["sample_sha256"],
        sha256(b"a sample that must not be on the disk")
    );
    assert_eq!(added["sealed_to"], RECIPIENT);
    let files = kept(&program);
    assert_eq!(files.len(), 1);
    let stored = fs::read(&files[0]).unwrap();
    assert!(stored.starts_with(b"age-encryption.org/v1\n"));
    assert!(!stored.windows(8).any(|part| part == b"a sample"));

    let refused = with(&["evidence", "show", &id, "1", "--content"]);
    assert!(
        refused.code == 2 && refused.err.contains("never shown"),
        "{}",
        refused.err
    );
    let out = program.path("out.age");
    let out = out.to_str().unwrap();
    with(&["evidence", "export", &id, "1", "--output", out]).good();
    assert_eq!(fs::read(out).unwrap(), stored);
    with(&["verify"]).good();
}

#[tokio::test]
async fn many_that_add_at_once_make_one_chain() {
    let db = TestDb::new().await;
    let program = Program::new(Some(&db));
    let id = open_incident(&db).await;
    let shared = program.write("shared.log", "the same content for all");
    let running: Vec<_> = (0..12)
        .map(|number| {
            let own = program.write(&format!("{number}.log"), &format!("content {number}"));
            let path = if number % 3 == 0 { &shared } else { &own };
            program
                .command(&[
                    "incidents",
                    "evidence",
                    "add",
                    &id,
                    path,
                    "--shows",
                    "a log",
                ])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for child in running {
        let done = child.wait_with_output().unwrap();
        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
    }
    let listing = item(&program, &["list", &id]);
    assert_eq!(
        (
            &listing["records"],
            listing["items"].as_array().unwrap().len()
        ),
        (&json!(24), 12)
    );
    assert_eq!(kept(&program).len(), 9);
    program.run(&["incidents", "verify"]).good();
}

#[tokio::test]
async fn an_add_that_is_killed_leaves_no_record_and_no_file() {
    let db = TestDb::new().await;
    let program = Program::new(Some(&db));
    let id = open_incident(&db).await;
    let large = program.path("disk.img");
    fs::File::create(&large)
        .unwrap()
        .set_len(200 << 20)
        .unwrap();
    let large = large.to_str().unwrap();
    let add = [
        "incidents",
        "evidence",
        "add",
        &id,
        large,
        "--shows",
        "a disk",
    ];
    let mut child = program
        .command(&add)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let started = Instant::now();
    let half = loop {
        let incoming = kept(&program)
            .into_iter()
            .find(|path| fs::metadata(path).is_ok_and(|about| about.len() > 10 << 20));
        if let Some(path) = incoming {
            break path;
        }
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "nothing is written"
        );
        std::thread::sleep(Duration::from_millis(2));
    };
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(
        half.file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .starts_with(".incoming-")
    );
    assert!(
        fs::metadata(&half).unwrap().len() < 200 << 20,
        "it was too fast"
    );

    assert_eq!(
        evidence(&program, &["list", &id]).good().trim(),
        "no evidence"
    );
    program.run(&["incidents", "verify"]).good();
    program.run(&add).good();
    assert!(!half.exists());
    assert_eq!(kept(&program).len(), 1);
    program.run(&["incidents", "verify", &id]).good();
}

/// A file of a ZIP.
fn unpacked(zip: &Path, name: &str) -> Vec<u8> {
    let mut zip = zip::ZipArchive::new(fs::File::open(zip).unwrap()).unwrap();
    let mut content = Vec::new();
    zip.by_name(name)
        .unwrap()
        .read_to_end(&mut content)
        .unwrap();
    content
}

#[tokio::test]
async fn an_export_is_checked_without_blueteam() {
    let db = TestDb::new().await;
    let program = Program::new(Some(&db));
    let id = open_incident(&db).await;
    let capture = program.write("web01.pcap", "traffic");
    evidence(&program, &["add", &id, &capture, "--shows", "traffic"]).good();
    evidence(
        &program,
        &["add", &id, "--text", "a call", "--shows", "a call"],
    )
    .good();
    let key = item(&program, &["key"]);
    let out = program.path("case.zip");
    let export = [
        "incidents",
        "export",
        &id,
        "--output",
        out.to_str().unwrap(),
        "--json",
    ];
    let written = program.run(&export).json();
    assert_eq!(written["key"], key);
    assert_eq!(written["records"], 5);
    assert_eq!(program.run(&export).code, 2);

    let manifest = unpacked(&out, "manifest.json");
    let signature = String::from_utf8(unpacked(&out, "manifest.json.minisig")).unwrap();
    let public = key["key"].as_str().unwrap();
    let comment = respond::signing::check(public, &manifest, &signature).unwrap();
    assert!(comment.contains("records:5 head:"), "{comment}");
    let parsed: Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(parsed["incident"]["incident_id"], id.as_str());
    assert_eq!(parsed["files"][0]["name"], "evidence/0001-web01.pcap");
    assert_eq!(unpacked(&out, "evidence/0001-web01.pcap"), b"traffic");
    assert_eq!(unpacked(&out, "evidence/0003-text.txt"), b"a call");

    // The last record is that of the export.
    let records = String::from_utf8(unpacked(&out, "records.ndjson")).unwrap();
    let last: Value = serde_json::from_str(records.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&last["event"], &last["sequence"]),
        (&json!("exported"), &json!("5"))
    );
    assert_eq!(last["record_hash"], written["head"]);

    // As a stranger does it, with the programs that VERIFY.txt names, where they are.
    let folder = program.path("case");
    fs::create_dir(&folder).unwrap();
    zip::ZipArchive::new(fs::File::open(&out).unwrap())
        .unwrap()
        .extract(&folder)
        .unwrap();
    for (command, args) in [
        ("minisign", vec!["-Vm", "manifest.json", "-P", public]),
        ("minisign", vec!["-Vm", "SHA256SUMS", "-P", public]),
        (
            "minisign",
            vec!["-Vm", "manifest.json", "-p", "minisign.pub"],
        ),
        ("sha256sum", vec!["--check", "--strict", "SHA256SUMS"]),
        ("python3", vec!["check_chain.py"]),
    ] {
        let done = Command::new(command)
            .args(&args)
            .current_dir(&folder)
            .output();
        match done {
            Ok(done) => assert!(done.status.success(), "{command} {args:?}: {done:?}"),
            Err(_) => println!("SKIPPED: no {command}"),
        }
    }

    // What was changed goes along, and is named.
    let stored = &kept(&program)[0];
    fs::write(stored, "Traffic").unwrap();
    let second = program.path("changed.zip");
    let changed = program.run(&[
        "incidents",
        "export",
        &id,
        "--output",
        second.to_str().unwrap(),
    ]);
    assert_eq!(changed.code, 1);
    assert!(
        changed
            .out
            .contains("evidence/0001-web01.pcap is not what was taken in"),
        "{}",
        changed.out
    );
    let single = program.path("single.pcap");
    let single = evidence(
        &program,
        &["export", &id, "1", "--output", single.to_str().unwrap()],
    );
    assert!(
        single.code == 1 && single.err.contains("not what was taken in"),
        "{}",
        single.err
    );
}
