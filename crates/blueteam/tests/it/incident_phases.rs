//! `incidents`: a whole case at the command line, and what is refused with where it stands.

use serde_json::{Value, json};
use testkit::TestDb;

use crate::cli::{Program, Ran};

/// An incident that is open; its ID.
async fn open_incident(db: &TestDb, cui: bool) -> String {
    let sql = "INSERT INTO blueteam.security_incidents
                   (title, severity, detected_by, correlation_rule, cui_involved, dfars_reportable)
               VALUES ('Brute force: 6 failed logins', 'high', 'correlation_rule', 'brute_force', $1, $1)
               RETURNING incident_id::text";
    sqlx::query_scalar(sql)
        .bind(cui)
        .fetch_one(&mut db.connect().await)
        .await
        .unwrap()
}

/// Refused with exit code 2, and with where it stands.
fn refused(ran: &Ran, says: &[&str]) {
    assert_eq!(ran.code, 2, "{}", ran.err);
    for part in says {
        assert!(ran.err.contains(part), "{part}: {}", ran.err);
    }
}

#[tokio::test]
#[expect(
    clippy::too_many_lines,
    reason = "one case, from its beginning to its end"
)]
async fn incidents_move_with_a_reason_and_say_who_moved_them() {
    let db = TestDb::new().await;
    let id = open_incident(&db, false).await;
    let program = Program::new(Some(&db));
    let update = |phase: &str, reason: &str| {
        program.run(&["incidents", "update", &id, phase, "--reason", reason])
    };

    assert_eq!(
        program.run(&["incidents", "history", &id]).good().trim(),
        format!("nobody has moved {id} on yet")
    );
    let moved = update("contained", "account locked").good();
    assert!(
        moved.starts_with(&format!("{id}: contained, high, version 2")),
        "{moved}"
    );
    // The command of before still works.
    program
        .run(&[
            "incidents",
            "advance",
            &id,
            "eradicated",
            "--reason",
            "it is gone",
        ])
        .good();

    refused(&update("eradicated", "once more"), &["eradicated already"]);
    refused(&update("analyzing", "  "), &["--reason"]);
    refused(&update("finished", "done"), &["finished"]);
    refused(
        &update("closed", "it is over"),
        &["--root-cause", "the incident is eradicated"],
    );
    let stale = program.run(&[
        "incidents",
        "update",
        &id,
        "analyzing",
        "--reason",
        "a look",
        "--version",
        "1",
    ]);
    refused(
        &stale,
        &["someone else", "the incident is eradicated (version 3)"],
    );
    refused(
        &program.run(&["incidents", "show", "ffffffff"]),
        &["no incident begins with"],
    );
    update("analyzing", "a second account was used").good();

    let closed = program.run(&[
        "incidents",
        "close",
        &id[..13],
        "--root-cause",
        "an ordered scan",
        "--lessons",
        "announce scans",
        "--reason",
        "nothing was lost",
        "--on-behalf-of",
        "Dana Reyes",
    ]);
    closed.good();
    for ran in [
        program.run(&["incidents", "task", &id, "--add", "one more"]),
        program.run(&["incidents", "assign", &id, "--nobody"]),
        program.run(&["incidents", "update", &id, "--title", "Another title"]),
        program.run(&["incidents", "observables", &id, "--add", "ip:203.0.113.7"]),
    ] {
        refused(&ran, &["the incident is closed since", "reopens it"]);
    }
    // A note takes nothing away.
    program
        .run(&[
            "incidents",
            "note",
            &id,
            "the scanner's report is in the safe",
        ])
        .good();

    let history = program.run(&["incidents", "history", &id, "--json"]).json();
    let steps: Vec<(&Value, &Value, &Value)> = history
        .as_array()
        .unwrap()
        .iter()
        .map(|step| (&step["previous"], &step["status"], &step["reason"]))
        .collect();
    assert_eq!(
        steps,
        [
            (
                &json!("detected"),
                &json!("contained"),
                &json!("account locked")
            ),
            (
                &json!("contained"),
                &json!("eradicated"),
                &json!("it is gone")
            ),
            (
                &json!("eradicated"),
                &json!("analyzing"),
                &json!("a second account was used")
            ),
            (
                &json!("analyzing"),
                &json!("closed"),
                &json!("nothing was lost")
            ),
        ]
    );
    let by = history[3]["changed_by"].as_str().unwrap();
    assert!(by.contains("Dana Reyes") && by != "Dana Reyes", "{by}");
    assert_eq!(
        program.run(&["incidents", "list"]).good().trim(),
        "no open incidents"
    );

    update("analyzing", "it goes on").good();
    let shown = program.run(&["incidents", "show", &id]).good();
    assert!(
        shown.contains("analyzing") && shown.contains("it goes on"),
        "{shown}"
    );
}

#[tokio::test]
#[expect(
    clippy::too_many_lines,
    reason = "one case, from its beginning to its end"
)]
async fn a_case_is_led_from_its_detection_to_its_report() {
    let db = TestDb::new().await;
    let id = open_incident(&db, true).await;
    let program = Program::new(Some(&db));
    let run = |args: &[&str]| {
        let mut all = vec!["incidents"];
        all.extend(args);
        program.run(&all)
    };

    // Events saw CUI: the clock runs, and nobody closes the case before someone has decided.
    let listed = run(&["list"]).good();
    assert!(
        listed.contains("dfars") && listed.contains("undecided"),
        "{listed}"
    );
    let close = [
        "close",
        &id,
        "--root-cause",
        "a guessed password",
        "--lessons",
        "longer ones",
        "--reason",
        "all sessions ended",
    ];
    refused(&run(&close), &["decide first", "DFARS 252.204-7012"]);

    run(&["task", &id, "--add", "ask the prime"]).good();
    run(&["task", &id, "--done", "1", "--remark", "they know"]).good();
    refused(&run(&["task", &id, "--done", "9"]), &["no such task"]);
    refused(&run(&["task", &id, "--drop", "1"]), &["--remark"]);
    let at = "2026-11-30T08:10:00Z";
    run(&[
        "update",
        &id,
        "--discovered-at",
        at,
        "--reason",
        "the first call",
    ])
    .good();
    refused(
        &run(&[
            "update",
            &id,
            "--discovered-at",
            "2126-01-01",
            "--reason",
            "later",
        ]),
        &["future"],
    );
    run(&[
        "timeline",
        &id,
        "--add",
        "the account was locked by phone",
        "--at",
        "2026-11-30T08:20:00Z",
    ])
    .good();
    run(&[
        "observables",
        &id,
        "--add",
        "ip:203.0.113.7",
        "--remark",
        "from the firewall",
    ])
    .good();
    refused(
        &run(&["observables", &id, "--add", "ip:here"]),
        &["address"],
    );
    refused(&run(&["observables", &id, "--add", "sha256:abc"]), &["64"]);

    let early = run(&[
        "reported",
        &id,
        "--at",
        "2026-11-29T00:00:00Z",
        "--number",
        "X",
    ]);
    refused(&early, &["before the discovery"]);
    refused(
        &run(&["decide", &id, "yes", "--duty", "gpdr", "--reason", "typo"]),
        &["gpdr", "dfars"],
    );
    let decided = run(&["decide", &id, "yes", "--reason", "drawings of a contract"]).good();
    assert!(
        decided.contains("DFARS 252.204-7012") && !decided.contains("undecided"),
        "{decided}"
    );
    let sheet = run(&["report", &id, "--worksheet", "--json"]).json();
    let field = |number: usize| sheet["fields"][number - 1]["value"].clone();
    assert!(
        field(14).as_str().unwrap().contains("2026-11-30T08:10"),
        "{}",
        field(14)
    );
    assert!(field(14).as_str().unwrap().contains("the first call"));
    assert!(
        sheet["missing"]
            .as_array()
            .unwrap()
            .contains(&json!("Contracting officer"))
    );
    assert!(
        field(24).as_str().unwrap().contains("locked by phone"),
        "{}",
        field(24)
    );

    run(&["reported", &id, "--number", "DC3-2026-0417"]).good();
    run(&close).good();
    let report = run(&["report", &id]).good();
    for part in [
        "DC3-2026-0417",
        "a guessed password",
        "203.0.113.7",
        "they know",
        "not a file that DC3 accepts",
    ] {
        assert!(report.contains(part), "{part}: {report}");
    }
    // Whoever finds out later follows up.
    run(&[
        "reported",
        &id,
        "--number",
        "DC3-2026-0500",
        "--remark",
        "two more hosts",
    ])
    .good();
    let sheet = run(&["report", &id, "--worksheet", "--json"]).json();
    assert_eq!(sheet["fields"][0]["value"], "follow-on report");
    assert_eq!(sheet["fields"][1]["value"], "DC3-2026-0417");

    let stix = run(&["observables", &id, "--stix"]).json();
    let kinds: Vec<&str> = stix["objects"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|object| object["type"].as_str())
        .collect();
    assert!(
        kinds.contains(&"ipv4-addr") && kinds.contains(&"incident"),
        "{kinds:?}"
    );
}

#[tokio::test]
async fn an_incident_is_opened_by_hand_and_merged_and_taken_apart() {
    let db = TestDb::new().await;
    let program = Program::new(Some(&db));
    let run = |args: &[&str]| {
        let mut all = vec!["incidents"];
        all.extend(args);
        program.run(&all)
    };
    refused(&run(&["create"]), &["--title"]);
    refused(
        &run(&["create", "--title", "A laptop is missing"]),
        &["--severity"],
    );
    refused(
        &run(&["create", "--title", "A laptop", "--severity", "info"]),
        &["critical, high, medium or low"],
    );
    let create = |title: &str| {
        let made = run(&["create", "--title", title, "--severity", "high"]).good();
        made.split(':').next().unwrap().to_owned()
    };
    let (first, second) = (create("A laptop is missing"), create("A phone is missing"));
    // The built-in playbook says the first things to do.
    let tasks = run(&["task", &first, "--json"]).json();
    assert_eq!(tasks.as_array().unwrap().len(), 5, "{tasks}");
    assert_eq!(tasks[0]["playbook"], "default");

    refused(
        &run(&["merge", &first, &first, "--reason", "one bag"]),
        &["two incidents"],
    );
    run(&["merge", &first, &second, "--reason", "one bag"]).good();
    refused(
        &run(&["update", &first, "contained", "--reason", "found"]),
        &["it is part of", &second],
    );
    let shown = run(&["show", &second]).good();
    assert!(shown.contains("Merged: A laptop is missing"), "{shown}");
    run(&["merge", &first, "--undo", "--reason", "two bags"]).good();
    refused(
        &run(&["merge", &first, "--undo", "--reason", "again"]),
        &["part of no other one", "the incident is detected"],
    );
    refused(
        &run(&["link", &first, "ffffffff", "--reason", "it belongs here"]),
        &["there is no alert"],
    );
    refused(
        &run(&["assign", &first, "nobody-of-this-name"]),
        &["no such account"],
    );
}
