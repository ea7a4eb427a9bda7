//! `incidents advance` and `incidents history`: who moves an incident on, when and why.

use serde_json::{Value, json};
use testkit::TestDb;

use crate::cli::Program;

/// An incident that is open; its ID.
async fn open_incident(db: &TestDb) -> String {
    let sql = "INSERT INTO blueteam.security_incidents (title, severity, detected_by)
               VALUES ('Brute force: 6 failed logins', 'high', 'blueteam')
               RETURNING incident_id::text";
    sqlx::query_scalar(sql)
        .fetch_one(&mut db.connect().await)
        .await
        .unwrap()
}

#[tokio::test]
async fn incidents_move_on_only_and_say_who_moved_them_and_why() {
    let db = TestDb::new().await;
    let id = open_incident(&db).await;
    let program = Program::new(Some(&db));
    let advance = |phase: &str, reason: &str| {
        program.run(&["incidents", "advance", &id, phase, "--reason", reason])
    };

    assert_eq!(
        program.run(&["incidents", "history", &id]).good().trim(),
        format!("nobody has moved {id} on yet")
    );
    let moved = advance("contained", "account locked").good();
    assert_eq!(moved.trim(), format!("{id}: from detected to contained"));

    // Back, on the spot, without a reason, and to a phase that does not exist.
    for (phase, reason, says) in [
        ("analyzing", "a second look", "moves on only"),
        ("contained", "once more", "moves on only"),
        ("closed", "  ", "--reason"),
        ("finished", "done", "finished"),
    ] {
        let refused = advance(phase, reason);
        assert!(
            refused.code != 0 && refused.err.contains(says),
            "{phase}: {}",
            refused.err
        );
    }

    let closed = program.run(&[
        "incidents",
        "advance",
        &id[..13],
        "closed",
        "--reason",
        "an ordered scan",
        "--on-behalf-of",
        "Dana Reyes",
    ]);
    closed.good();
    assert!(
        advance("closed", "again").err.contains("moves on only"),
        "a closed incident stays as it is"
    );

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
                &json!("closed"),
                &json!("an ordered scan")
            ),
        ]
    );
    let by = history[1]["changed_by"].as_str().unwrap();
    assert!(by.contains("Dana Reyes") && by != "Dana Reyes", "{by}");

    let table = program.run(&["incidents", "history", &id]).good();
    assert!(table.contains("account locked") && table.contains("an ordered scan"));
    assert_eq!(
        program.run(&["incidents", "list"]).good().trim(),
        "no open incidents"
    );
}
