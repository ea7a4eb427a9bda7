//! The command line as people and scripts meet it: the built program against a database of its own.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use insta::assert_snapshot;
use model::{
    Channel, ControlId, Detection, DetectionUpdate, Entity, EntityKind, EventId, Fingerprint,
    Phase, RuleId, Severity, Source, Span, Timestamp,
};
use serde_json::Value;
use store::alerts;
use testkit::TestDb;
use uuid::Uuid;

/// The program with a state directory of its own and nothing of this machine's environment.
pub(crate) struct Program {
    state: tempfile::TempDir,
    database: Option<String>,
}

/// What a run left behind.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// What it printed, if it said that all is well.
    pub(crate) fn good(self) -> String {
        assert_eq!(self.code, 0, "{}\n{}", self.out, self.err);
        self.out
    }

    pub(crate) fn json(self) -> Value {
        serde_json::from_str(&self.good()).unwrap()
    }
}

impl Program {
    pub(crate) fn new(db: Option<&TestDb>) -> Self {
        Self {
            state: tempfile::tempdir().unwrap(),
            database: db.map(TestDb::url),
        }
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.state.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_blueteam"));
        command
            .args(args)
            .env_clear()
            .env("USER", "tester")
            .env("BLUETEAM_STATE_DIR", self.state.path());

        if let Some(url) = &self.database {
            command.env("DATABASE_URL", url);
        }

        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        Ran::of(self.command(args).stdin(Stdio::null()).output().unwrap())
    }

    pub(crate) fn feed(&self, args: &[&str], input: &str) -> Ran {
        let mut command = self.command(args);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();

        Ran::of(child.wait_with_output().unwrap())
    }
}

/// Who acts in a command of these tests: root's environment is asked for a name, and no other
/// account's.
pub(crate) fn account() -> String {
    let id = |args: &[&str]| {
        let out = Command::new("/usr/bin/id")
            .args(args)
            .output()
            .unwrap()
            .stdout;
        String::from_utf8(out).unwrap().trim().to_owned()
    };

    let login = std::fs::read_to_string("/proc/self/loginuid").unwrap_or_default();
    match (id(&["-ru"]).as_str(), login.trim()) {
        ("0", "" | "4294967295") => "tester".to_owned(),
        ("0", login) => id(&["-nu", login]),
        _ => id(&["-nru"]),
    }
}

/// As records have it that alice had somebody act.
pub(crate) fn for_alice() -> String {
    format!("{}, on behalf of alice", account())
}

fn at(secs: i64) -> Timestamp {
    Timestamp::parse("2026-03-02T10:00:00Z")
        .unwrap()
        .plus(Span::secs(secs))
}

fn detection(fingerprint: u128, rule: &'static str, severity: Severity, title: &str) -> Detection {
    Detection {
        rule_id: RuleId::builtin(rule),
        severity,
        title: title.to_owned(),
        description: "What happened.".to_owned(),
        entity: Entity {
            kind: EntityKind::Ip,
            value: "203.0.113.9".to_owned(),
        },
        entity_name: None,
        first_seen: at(0),
        last_seen: at(60),
        event_count: 6,
        event_ids: (1..4).map(EventId::from_u128).collect(),
        nist_controls: vec![ControlId::known("3.1.8"), ControlId::known("3.14.6")],
        source: Source::AuditDb,
        cui_involved: severity == Severity::Critical,
        tenant: None,
        fingerprint: Fingerprint(Uuid::from_u128(fingerprint << 112)),
        episode: 0,
    }
}

/// A database with a critical alert whose title an attacker chose, and a closed medium one.
pub(crate) async fn with_alerts() -> (TestDb, Program) {
    let db = TestDb::new().await;
    let program = Program::new(Some(&db));
    let changes = [
        (
            Phase::Opened,
            detection(
                1,
                "credential_stuffing",
                Severity::Critical,
                "eve\u{1b}[2J\u{202e} was here",
            ),
        ),
        (
            Phase::Closed,
            detection(2, "rate_limit_surge", Severity::Medium, "Rate limit surge"),
        ),
    ]
    .map(|(phase, detection)| DetectionUpdate {
        opened: true,
        phase,
        detection,
        events: Vec::new(),
    });

    let mut conn = db.connect().await;
    for change in changes {
        testkit::apply_alerts(&mut conn, &[change], |_| {
            vec![Channel::named("console")].into()
        })
        .await;
    }

    hear(&mut conn).await;
    (db, program)
}

/// An application has spoken once, and no log.
async fn hear(conn: &mut store::PgConnection) {
    let intake = store::sources::Intake {
        accepted: 1,
        ..Default::default()
    };

    store::sources::book(
        conn,
        "audit_db",
        Source::AuditDb,
        &intake,
        model::Clock::now(&model::SystemClock),
    )
    .await
    .unwrap();
}

/// Ids that are made on the way are named in their order; times of now are `[now]`.
fn steady(text: &str) -> String {
    let (mut ids, mut out) = (Vec::new(), Vec::new());
    let schema = store::MIGRATOR.iter().map(|m| m.version).max().unwrap();
    for line in text
        .replace(&format!("version {schema},"), "version [newest],")
        .lines()
    {
        let mut line = line.to_owned();
        for word in line
            .clone()
            .split(|c: char| !(c.is_alphanumeric() || "-:.".contains(c)))
        {
            if word.len() == 36 && Uuid::try_parse(word).is_ok_and(|id| id.get_version_num() == 7) {
                if !ids.contains(&word.to_owned()) {
                    ids.push(word.to_owned());
                }
                let n = ids.iter().position(|id| id == word).unwrap();
                line = line.replace(word, &format!("[id {n}]{}", " ".repeat(30)));
            } else if word.len() > 19 && Timestamp::parse(word).is_ok_and(|t| t > at(86_400 * 30)) {
                line = line.replace(word, &format!("{:<1$}", "[now]", word.len()));
            }
        }
        out.push(line.trim_end().to_owned());
    }
    out.join("\n")
}

#[tokio::test]
async fn migrate_makes_the_schema_and_the_table_of_rules_once() {
    let db = TestDb::empty().await;
    let program = Program::new(Some(&db));
    let first = program.run(&["migrate"]).good();
    assert!(
        first.contains("schema: brought from version 0 to "),
        "{first}"
    );
    assert!(
        first.contains("rules and monitors: 37 known, 37 written"),
        "{first}"
    );

    let second = program.run(&["migrate"]).good();
    assert!(
        second.contains("up to date") && second.contains("37 known, 0 written"),
        "{second}"
    );
}

#[tokio::test]
async fn alerts_are_listed_shown_and_acknowledged() {
    let (_db, program) = with_alerts().await;
    assert_snapshot!(
        "alerts_list",
        steady(&program.run(&["alerts", "list"]).good())
    );

    let listed = program
        .run(&["alerts", "list", "--severity", "high", "--json"])
        .json();
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
    let id = listed[0]["alert_id"].as_str().unwrap();
    assert_snapshot!(
        "alerts_show",
        steady(&program.run(&["alerts", "show", &id[..8]]).good())
    );

    assert_eq!(
        program.run(&["alerts", "show", id, "--json"]).json()["alert_id"],
        id
    );

    let seen = program
        .run(&["alerts", "ack", &id[..6], "--on-behalf-of", "alice"])
        .good();
    assert!(
        seen.contains(&format!("seen by {}, on behalf of alice at 20", account())),
        "{seen}"
    );
    let again = program.run(&["alerts", "ack", id]).good();
    assert!(
        again.contains(&format!("seen by {}, on behalf of alice", account())),
        "the first stays on record: {again}"
    );

    let noise = ["alerts", "verdict", id, "false_positive"];
    let refused = program.run(&noise);
    assert_eq!(refused.code, 2, "noise needs a reason: {}", refused.err);
    let judged = program
        .run(&[&noise[..], &["--note", "a test of the door"]].concat())
        .good();
    assert!(judged.contains("false_positive"), "{judged}");
    let shown = program.run(&["alerts", "show", id]).good();
    assert!(shown.contains("a test of the door"), "{shown}");

    let again = program.run(&["alerts", "ack", id, "--json"]).json();
    assert_eq!(
        (&again[0]["alert_id"], &again[0]["acknowledged_by"]),
        (&Value::from(id), &Value::from(for_alice()))
    );

    let unacked = program
        .run(&["alerts", "list", "--unacked", "--json"])
        .json();
    assert_eq!(unacked[0]["rule_id"], "rate_limit_surge");

    let count = |args: &[&str]| {
        program
            .run(&[&["alerts", "list", "--json"], args].concat())
            .json()
            .as_array()
            .unwrap()
            .len()
    };

    assert_eq!(count(&["--state", "open"]), 1);
    assert_eq!(count(&["--rule", "rate_limit_surge"]), 1);
    assert_eq!(count(&["--since", "1h"]), 2);
    assert_eq!(count(&["--since", "2999-01-01T00:00:00Z"]), 0);
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one story, told in order")]
async fn a_silence_is_previewed_made_listed_and_ended() {
    let (_db, program) = with_alerts().await;
    let silences = |args: &[&str]| program.run(&[&["silences"], args].concat());
    let preview = silences(&["preview", "--entity", "ip:203.0.113.0/24"]).good();
    assert!(
        preview.starts_with(
            "in the last 30 days it would have silenced 2 alerts, 1 critical and 0 high"
        ),
        "{preview}"
    );

    assert_eq!(
        silences(&["preview", "--entity", "ip:203.0.112.0/24", "--json"])
            .json()
            .as_array()
            .unwrap()
            .len(),
        0
    );

    let add = [
        "add",
        "--rule",
        "rate_limit_surge",
        "--entity",
        "ip:203.0.113.9",
        "--for",
        "4h",
        "--reason",
    ];

    let made = silences(
        &[
            &add[..],
            &[
                "ordered scan",
                "--ticket",
                "SEC-12",
                "--on-behalf-of",
                "alice",
                "--json",
            ],
        ]
        .concat(),
    )
    .json();

    let listed = silences(&["list", "--json"]).json();
    assert_eq!(
        (
            &listed[0]["author"],
            &listed[0]["entity"],
            &listed[0]["review"]
        ),
        (&for_alice().into(), &"ip:203.0.113.9".into(), &true.into())
    );

    assert_snapshot!("silences_list", steady(&silences(&["list"]).good()));
    assert_eq!(
        silences(&["list", "--ending", "1h", "--json"])
            .json()
            .as_array()
            .unwrap()
            .len(),
        0
    );

    let id = made["mute_id"].as_str().unwrap();
    assert!(
        silences(&["end", &id[..20], "--on-behalf-of", "bob"])
            .good()
            .contains("ended at 20")
    );
    assert_eq!(silences(&["list"]).good(), "nothing is silenced\n");

    for (args, said) in [
        (
            &[&add[..], &["x"]].concat()[..],
            "from 3 to 1000 characters",
        ),
        (
            &["add", "--for", "4h", "--reason", "because"],
            "say what is covered",
        ),
        (
            &[
                "add",
                "--rule",
                "brute_farce",
                "--for",
                "4h",
                "--reason",
                "because",
            ],
            "there is no rule `brute_farce`",
        ),
        (
            &[
                "add",
                "--rule",
                "audit_tampering",
                "--for",
                "4h",
                "--reason",
                "because",
            ],
            "cannot be silenced",
        ),
        (
            &[
                "add",
                "--rule",
                "brute_force",
                "--for",
                "367d",
                "--reason",
                "because",
            ],
            "366 days at most",
        ),
        (
            &[
                "add",
                "--kind",
                "exception",
                "--source",
                "syslog",
                "--for",
                "1d",
                "--reason",
                "because",
            ],
            "add --rule",
        ),
        (&["end", id], "no silence that still counts"),
    ] {
        let ran = silences(args);
        // What makes no sense by itself is a wrong argument; what is not there is not.
        let code = if said.contains("cannot be silenced") || said.contains("no silence") {
            1
        } else {
            2
        };
        assert_eq!(ran.code, code, "{args:?}");
        assert!(ran.err.contains(said), "{args:?}: {}", ran.err);
    }
}

#[tokio::test]
async fn events_are_searched_counted_and_exported_and_who_asked_is_known() {
    let db = TestDb::new().await;
    let program = Program::new(Some(&db));
    let insert = "INSERT INTO audit_events (timestamp, category, action, result, ip_address, \
        resource_id, cui_accessed, metadata)
        SELECT '2026-03-02T10:00:00Z'::timestamptz + n * interval '1 minute', 'data', \
        'export_data', 'success', '203.0.113.9', '=1+' || n, n = 2,
               jsonb_build_object('username', 'eve' || chr(27)) FROM generate_series(1, 2) AS n";
    sqlx::query(insert)
        .execute(&mut db.connect().await)
        .await
        .unwrap();

    let events = |args: &[&str]| program.run(&[&["events"], args].concat());
    let since = ["--since", "2026-03-01T00:00:00Z"];
    assert_snapshot!(
        "events_search",
        events(&[&["search"], &since[..]].concat()).good()
    );

    let chain = events(
        &[
            &["search", "--user", "eve\u{1b}", "--timeline", "--json"],
            &since[..],
        ]
        .concat(),
    )
    .json();
    assert_eq!(chain[1]["cui_accessed"], true, "the oldest first: {chain}");
    assert_eq!(chain[1]["cui"], true, "by its earlier name: {chain}");

    assert_snapshot!(
        "events_stats",
        events(&[&["stats", "--by", "action,cui"], &since[..]].concat()).good()
    );
    let csv = events(
        &[
            &["export", "--format", "csv", "--on-behalf-of", "alice"],
            &since[..],
        ]
        .concat(),
    )
    .good();
    assert!(csv.lines().nth(1).unwrap().contains(",\"'=1+1\","), "{csv}");

    let lines = events(&[&["export"], &since[..]].concat()).good();
    assert_eq!(
        lines
            .lines()
            .filter(|l| serde_json::from_str::<Value>(l).is_ok())
            .count(),
        2
    );

    assert_eq!(
        events(&["search"]).good(),
        "no events of the last 24 hours (--since)\n"
    );
    let asked = events(&["queries", "--json"]).json();
    let commands: Vec<&str> = asked
        .as_array()
        .unwrap()
        .iter()
        .map(|a| a["command"].as_str().unwrap())
        .collect();

    assert_eq!(
        commands,
        ["search", "export", "export", "stats", "search", "search"]
    );
    assert_eq!(
        (&asked[2]["actor"], &asked[2]["filter"]["format"]),
        (&for_alice().into(), &"csv".into())
    );

    for (args, code, said) in [
        (
            &["search", "--timeline"][..],
            2,
            "add --user, --session or --alert",
        ),
        (
            &["search", "--ip", "10.0.0"],
            2,
            "neither an address nor a network",
        ),
        (&["stats", "--by", "color"], 2, "known fields: hour, day"),
        (&["tail", "--since", "1h"], 2, "tail begins now"),
        (
            &["search", "--alert", "0", "--since", "1h"],
            2,
            "cannot be used with",
        ),
        (&["search", "--alert", "zz"], 1, "there is no alert `zz`"),
    ] {
        let ran = events(args);
        assert_eq!(ran.code, code, "{args:?}");
        assert!(ran.err.contains(said), "{args:?}: {}", ran.err);
    }
}

#[tokio::test]
async fn the_navigator_shows_what_is_no_longer_looked_for() {
    let db = TestDb::new().await;
    let program = Program::new(Some(&db));
    program.run(&["migrate"]).good();
    hear(&mut db.connect().await).await;

    let score = |technique: &str| {
        let layer = program.run(&["alerts", "rules", "navigator"]).json();
        assert_eq!(
            (&layer["versions"]["layer"], &layer["domain"]),
            (&"4.5".into(), &"enterprise-attack".into())
        );

        let all = layer["techniques"].as_array().unwrap().clone();
        all.into_iter()
            .find(|t| t["techniqueID"] == technique)
            .unwrap()
    };

    assert_eq!(score("T1499")["score"], 1);
    program
        .run(&["alerts", "rules", "disable", "rate_limit_surge"])
        .good();
    let off = score("T1499");
    assert_eq!(
        (&off["score"], &off["comment"]),
        (&0.into(), &"rate_limit_surge (off)".into())
    );
}

#[tokio::test]
async fn an_id_that_is_none_or_several_is_an_error() {
    let (db, program) = with_alerts().await;
    for (args, code, said) in [
        (["alerts", "show", "zz"], 1, "there is no alert `zz`"),
        (["alerts", "show", "%"], 1, "there is no alert"),
        (
            ["alerts", "ack", ""],
            2,
            "a value is required for '<IDS>...'",
        ),
        (["alerts", "show", &"0".repeat(40)], 1, "there is no alert"),
    ] {
        let ran = program.run(&args);
        assert_eq!((ran.code, ran.out.as_str()), (code, ""), "{args:?}");
        assert!(ran.err.contains(said), "{args:?}: {}", ran.err);
    }

    let mut conn = db.connect().await;
    for n in 0..17 {
        let change = DetectionUpdate {
            opened: true,
            phase: Phase::Opened,
            detection: detection(9 + n, "ai_abuse", Severity::Low, "x"),
            events: Vec::new(),
        };

        testkit::apply_alerts(&mut conn, &[change], |_| alerts::Route::default()).await;
    }

    // Nineteen ids and sixteen digits.
    let some_digit_is_ambiguous = (0..16).any(|d| {
        program
            .run(&["alerts", "show", &format!("{d:x}")])
            .err
            .contains("several alerts begin with")
    });

    assert!(some_digit_is_ambiguous);
}

#[test]
fn wrong_arguments_are_answered_with_what_is_missing() {
    let program = Program::new(None);
    let run = |args: &[&str]| {
        let plain = Command::new(program.command(&[]).get_program())
            .env("BLUETEAM_STATE_DIR", program.path("state"))
            .env("BLUETEAM_CONFIG", program.path("blueteam.toml"))
            .args(args)
            .output();
        String::from_utf8(plain.unwrap().stderr).unwrap()
    };
    let said = run(&["alerts", "show"]);
    assert!(
        said.contains("Usage: blueteam alerts show <ID>\n"),
        "{said}"
    );
    let said = run(&["alert"]);
    assert!(said.contains("exist: 'alerts', 'report'"), "{said}");
}

#[tokio::test]
async fn incidents_carry_their_flags() {
    let (_db, program) = with_alerts().await;
    assert_snapshot!(
        "incidents_list",
        steady(&program.run(&["incidents", "list"]).good())
    );
    assert_eq!(
        program.run(&["incidents", "list", "--json"]).json()[0]["cui_involved"],
        true
    );
}

#[tokio::test]
async fn status_says_what_needs_attention_and_exits_3() {
    let (db, program) = with_alerts().await;
    let ran = program.run(&["status"]);
    assert_eq!(ran.code, 3, "{}", ran.err);
    assert_snapshot!("status_attention", steady(&ran.out));
    let ran = program.run(&["status", "--json"]);
    let status: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(
        (ran.code, &status["incidents"]["open"]),
        (3, &Value::from(1))
    );

    // With a daemon at work and nothing waiting, all is well.
    let quiet = TestDb::new().await;
    let program = Program::new(Some(&quiet));
    hear(&mut quiet.connect().await).await;
    let lock = std::fs::File::create(program.path("daemon.lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();

    // High alerts would be told to nobody: that is worth a look.
    let ran = program.run(&["status"]);
    assert!(
        ran.code == 3 && ran.out.contains("nobody is notified of high alerts"),
        "{}",
        ran.out
    );

    let file = program.write(
        "blueteam.toml",
        "[channels.syslog]\ntarget = \"udp:127.0.0.1:9\"\n",
    );
    assert_snapshot!(
        "status_well",
        steady(&program.run(&["--config", &file, "status"]).good())
    );

    drop(db);

    // What stands in the spool, and what the database refused of it.
    let spool = program.path("spool");
    std::fs::create_dir(&spool).unwrap();
    std::fs::write(spool.join("00000000000000000001.seg"), [0; 300]).unwrap();
    std::fs::write(spool.join("dead-letter.ndjson"), "{}\n").unwrap();
    let ran = program.run(&["--config", &file, "status"]);
    assert_eq!(ran.code, 3);

    assert!(
        ran.out.contains("300 bytes of events wait in the spool")
            && ran.out.contains("refused permanently: look into"),
        "{}",
        ran.out
    );

    let full = std::fs::OpenOptions::new()
        .write(true)
        .open(spool.join("dead-letter.ndjson"))
        .unwrap();
    full.set_len(64 * 1024 * 1024).unwrap();

    let ran = program.run(&["--config", &file, "status"]);
    assert!(
        ran.out
            .contains("dead-letter.ndjson is full, and until it is moved away"),
        "{}",
        ran.out
    );
}

#[tokio::test]
async fn a_silence_covers_what_exists_and_users_by_name() {
    let (db, program) = with_alerts().await;
    let id = "7b0c6a52-0d63-4c11-9d0a-2f4f1c1f9a10";
    sqlx::query(
        "INSERT INTO users.users (user_id, username, email, password_hash)
         VALUES ($1::uuid, 'carla', 'carla@example.com', '!')",
    )
    .bind(id)
    .execute(&mut db.connect().await)
    .await
    .unwrap();

    let add = |what: &[&str]| {
        let rest = ["--for", "1h", "--reason", "known", "--json"];
        program.run(&[&["silences", "add"], what, &rest].concat())
    };
    assert_eq!(
        add(&["--entity", "user:carla"]).json()["entity"],
        format!("user:{id}")
    );
    assert_eq!(add(&["--source", "php"]).json()["source"], "php_error");

    for (what, said) in [
        (
            ["--entity", "user:carlo"],
            "no user is called `carlo`; did you mean `carla`?",
        ),
        (
            ["--source", "syslg"],
            "there is no source `syslg`. Did you mean `syslog`?",
        ),
        (
            ["--rule", "brute_farce"],
            "there is no rule `brute_farce`; did you mean `brute_force`?",
        ),
        (
            ["--entity", "source:nowhere"],
            "no alert has been about source `nowhere`",
        ),
    ] {
        let ran = add(&what);
        assert!(
            ran.code == 2 && ran.err.contains(said),
            "{what:?}: {}",
            ran.err
        );
        assert!(ran.err.contains("--allow-unknown"), "{}", ran.err);
    }
    assert_eq!(add(&["--entity", "user:carlo", "--allow-unknown"]).code, 0);
}

#[tokio::test]
async fn a_misspelled_name_in_a_search_is_said() {
    let (_db, program) = with_alerts().await;
    let search = |args: &[&str]| program.run(&[&["events", "search"], args].concat());

    let source = search(&["--source", "syslg"]);
    assert!(
        source.code == 2 && source.err.contains("Did you mean `syslog`?"),
        "{}",
        source.err
    );
    assert_eq!(search(&["--source", "php"]).code, 0);
    let user = search(&["--user", "nobody-here"]);
    assert!(
        user.code == 0 && user.err.contains("no user is called `nobody-here`"),
        "{}",
        user.err
    );

    let rule = program.run(&["alerts", "list", "--rule", "credential_stufing"]);
    assert!(
        rule.code == 1 && rule.err.contains("did you mean `credential_stuffing`?"),
        "{}",
        rule.err
    );
}

#[tokio::test]
async fn a_key_is_shown_once_and_can_be_revoked() {
    let db = TestDb::new().await;
    let program = Program::new(Some(&db));
    let made = program.run(&[
        "keys",
        "create",
        "web-shop",
        "--scope",
        "events:write",
        "--expires",
        "90d",
    ]);

    assert!(
        made.err.contains("shown once") && !made.err.contains("bt_"),
        "the secret stands on standard output alone"
    );
    let secret = made.good();
    let secret = secret.trim_end();
    assert!(secret.starts_with("bt_") && secret.len() == 46, "{secret}");

    let hash: String = sqlx::query_scalar("SELECT encode(sha256($1), 'hex')")
        .bind(secret.as_bytes())
        .fetch_one(&mut db.connect().await)
        .await
        .unwrap();
    let known = store::keys::authenticate(&mut db.connect().await, &hash)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(known.scopes, ["events:write"]);
    let second = program.run(&["keys", "create", "web-shop", "--scope", "events:write"]);
    assert!(
        second
            .err
            .contains("another active key is called `web-shop` as well: bt_"),
        "{}",
        second.err
    );

    let listed = program.run(&["keys", "list", "--json"]).good();
    assert!(!listed.contains(secret) && listed.contains(&secret[..10]));
    let actor: Option<String> = sqlx::query_scalar(
        "SELECT changed_by FROM audit.audit_log WHERE table_name LIKE '%api_keys' LIMIT 1",
    )
    .fetch_optional(&mut db.connect().await)
    .await
    .unwrap_or_default();
    assert!(actor.is_none_or(|actor| actor == account()));

    assert_eq!(
        program.run(&["keys", "revoke", "bt_"]).code,
        2,
        "too little to mean one"
    );

    assert!(
        program
            .run(&["keys", "revoke", &secret[..10]])
            .good()
            .starts_with("revoked ")
    );

    assert!(
        store::keys::authenticate(&mut db.connect().await, &hash)
            .await
            .unwrap()
            .is_none()
    );
    assert!(program.run(&["keys", "list"]).good().contains("revoked"));

    assert_eq!(
        program
            .run(&["keys", "create", "x", "--scope", "everything"])
            .code,
        2
    );

    let ran = program.run(&[
        "keys",
        "create",
        "x",
        "--scope",
        "events:write",
        "--owner",
        "nobody",
    ]);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
}

#[tokio::test]
async fn rules_are_listed_and_switched() {
    let (_db, program) = with_alerts().await;
    program.run(&["migrate"]).good();
    program
        .run(&["alerts", "rules", "disable", "after_hours"])
        .good();

    let listed = program.run(&["alerts", "rules"]).good();
    assert_snapshot!("alerts_rules", listed);
    let rules = program.run(&["alerts", "rules", "--json"]).json();
    let rule = |id: &str| {
        rules
            .as_array()
            .unwrap()
            .iter()
            .find(|r| r["rule_id"] == id)
            .unwrap()
            .clone()
    };

    assert_eq!(rule("after_hours")["enabled"], false);
    assert_eq!(rule("brute_force")["parameters"]["threshold"], 5);
    assert_eq!(rule("credential_stuffing")["alerts"], 1);
    program
        .run(&["alerts", "rules", "enable", "after_hours"])
        .good();
    assert_eq!(
        program.run(&["alerts", "rules", "enable", "nonsense"]).code,
        1
    );
}

#[test]
fn rule_files_are_checked_with_all_their_errors() {
    let program = Program::new(None);
    program.write("rules/good.yml", super::cli_analysis::SIGMA);
    let dir = program.path("rules").display().to_string();
    let good = program.run(&["alerts", "rules", "check", &dir]).good();
    assert!(
        good.contains("1 file, 1 rule that can be used, 0 errors"),
        "{good}"
    );

    program.write("rules/bad.yml", "title: [");
    program.write(
        "rules/worse.yaml",
        "title: No detection\nlogsource: {product: x}\n",
    );

    let ran = program.run(&["alerts", "rules", "check", &dir]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.out.contains("bad.yml: CANNOT BE USED")
            && ran.out.contains("worse.yaml: CANNOT BE USED"),
        "{}",
        ran.out
    );

    assert_eq!(
        program.run(&["alerts", "rules", "check"]).code,
        2,
        "no folder is configured"
    );
}

#[test]
fn a_test_message_says_which_channel_works() {
    let program = Program::new(None);
    let well = program.run(&["alerts", "test"]).good();
    assert!(
        well.starts_with("TEST ") && well.contains("console: sent"),
        "{well}"
    );

    let file = program.write(
        "blueteam.toml",
        "[channels.syslog]\ntarget = \"unix:/nowhere/log\"\n",
    );
    let ran = program.run(&["--config", &file, "alerts", "test"]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.out.contains("syslog: FAILED") && ran.out.contains("advice: "),
        "{}",
        ran.out
    );

    assert_eq!(
        program.run(&["alerts", "test", "email"]).code,
        1,
        "not configured"
    );
}

#[tokio::test]
async fn a_reader_that_goes_away_is_no_error() {
    let (_db, program) = with_alerts().await;
    let mut child = program
        .command(&["alerts", "list"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());

    let output = child.wait_with_output().unwrap();
    assert_eq!(
        (output.status.code(), output.stderr.len()),
        (Some(0), 0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn a_users_own_rules_may_be_routed_and_what_reaches_nobody_is_a_warning() {
    let program = Program::new(None);
    program.write("rules/shell.yml", super::cli_analysis::SIGMA);
    let dir = program.path("rules").display().to_string();
    let config = |id: &str| {
        let text = format!(
            "[detection]\nrules_dir = \"{dir}\"\n[alerts.rules.\"{id}\"]\nchannels = \
                [\"console\"]\n"
        );
        program.write("blueteam.toml", &text)
    };

    let ran = program.run(&[
        "--config",
        &config("0b6f0ea4-3f6c-4b0a-9d8e-1d2c3b4a5f60"),
        "config",
        "check",
    ]);
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (0, "the configuration is right\n"),
        "{}",
        ran.err
    );

    assert!(
        ran.err
            .contains("warning: nobody is notified of high and medium alerts"),
        "{}",
        ran.err
    );
    assert!(
        ran.err.contains("warning: nobody gets the daily digest"),
        "{}",
        ran.err
    );

    let ran = program.run(&[
        "--config",
        &config("0b6f0ea4-3f6c-4b0a-9d8e-1d2c3b4a5f61"),
        "config",
        "check",
    ]);
    let wanted = "there is no such rule; did you mean `0b6f0ea4-3f6c-4b0a-9d8e-1d2c3b4a5f60`?";
    assert!(
        ran.code == 1 && ran.err.contains("blueteam.toml:3:15:") && ran.err.contains(wanted),
        "{}",
        ran.err
    );
}

#[test]
fn an_error_shows_what_it_quotes_and_does_not_act_it_out() {
    let program = Program::new(None);
    let file = program.write(
        "blueteam.toml",
        "[rules.brute_force]\n\"\\u001b[2Jx\" = 1\n",
    );
    let ran = program.run(&["--config", &file, "config", "check"]);
    assert_eq!(ran.code, 1);

    assert!(
        ran.err
            .contains("rules.brute_force.<U+001B>[2Jx: this rule has no such parameter"),
        "{}",
        ran.err
    );
    assert!(!ran.err.contains('\u{1b}'));
}
