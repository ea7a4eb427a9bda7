//! `blueteam upkeep`, on a real database.

use serde_json::Value;

use crate::cli::{account, with_alerts};

/// The headings of what is shown.
fn headings(text: &str) -> Vec<&str> {
    text.lines()
        .filter(|line| line.starts_with(|c: char| c.is_uppercase() || c == '8'))
        .filter_map(|line| line.split_once(": ").map(|(heading, _)| heading))
        .collect()
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one story, told in order")]
async fn upkeep_is_shown_done_and_signed() {
    let (db, program) = with_alerts().await;
    program.run(&["migrate"]).good();
    let mut owner = db.connect().await;
    sqlx::raw_sql(
        "INSERT INTO audit_events (category, action, result, ip_address, metadata)
         VALUES ('auth', 'login_failed', 'failure', '203.0.113.9',
                 jsonb_build_object('username', E'eve\\nBackups:\\n  all well\\u001b[2J'))",
    )
    .execute(&mut owner)
    .await
    .unwrap();

    let ran = program.run(&["upkeep", "run", "--json"]).json();
    assert_eq!(ran["sampled"], true);
    assert_eq!(ran["analyzed"]["done_by"], account().as_str());
    assert!(
        program
            .run(&["upkeep", "run"])
            .good()
            .contains("were kept already")
    );

    let shown = program.run(&["upkeep", "show"]).good();
    assert!(!shown.contains('\u{1b}'), "{shown}");
    assert_eq!(
        headings(&shown),
        [
            "Failed sign-ins",
            "Lockouts",
            "Last backup",
            "Slow statements",
            "Server",
            "Unused indexes",
            "Of them, those that keep rows unique",
            "Database",
            "Growth a day",
            "85 % of the disk in use on",
            "Password policy",
            "Rules in 30 days",
            "Statistics of tables taken",
            "Review, weekly",
            "Review, monthly",
        ]
    );
    let shown = program.run(&["upkeep", "show", "--json"]).json();
    assert_eq!(shown["statements"]["seen_by"], "samples");
    // One sample says nothing about growth.
    assert_eq!(
        (
            &shown["storage"]["bytes_a_day"],
            &shown["storage"]["full_on"]
        ),
        (&Value::Null, &Value::Null)
    );
    assert!(shown["storage"]["no_day_because"].is_string());
    assert!(shown["sign_ins"]["failed"]["week"].as_u64() >= Some(1));
    assert_eq!(shown["reviews"][0]["signed_at"], Value::Null);

    // Whoever tries to sign in writes no line of the review.
    let text = program.run(&["upkeep", "review", "--weekly"]).good();
    assert_eq!(
        text.lines()
            .filter(|line| line.starts_with("Backups:"))
            .count(),
        1,
        "{text}"
    );
    assert!(text.contains("not signed; --conclusion signs it"));
    let wrong = [
        &["upkeep", "review"][..],
        &["upkeep", "review", "--weekly", "--monthly"],
    ];
    for args in wrong {
        assert_eq!(program.run(args).code, 2);
    }
    let short = ["upkeep", "review", "--weekly", "--conclusion", " x "];
    assert_eq!(program.run(&short).code, 2);

    for (period, control) in [("weekly", "3.3.5"), ("monthly", "3.1.7")] {
        let option = format!("--{period}");
        let args = [
            "upkeep",
            "review",
            &option,
            "--conclusion",
            "looked at it",
            "--json",
        ];
        let signed = program.run(&args).json();
        let list = [
            "compliance",
            "evidence",
            "list",
            "--control",
            control,
            "--json",
        ];
        let list = program.run(&list).json();
        let kept = list
            .as_array()
            .unwrap()
            .iter()
            .find(|e| e["evidence_id"] == signed["evidence_id"]);
        let kept = kept.unwrap();
        assert_eq!(
            (&kept["review"], &kept["upkeep"]),
            (&Value::from(true), &Value::from(period))
        );
        assert_eq!(kept["approved_by"], account().as_str());
    }

    let shown = program.run(&["upkeep", "show", "--json"]).json();
    assert!(shown["reviews"][0]["signed_at"].is_string() && shown["reviews"][1]["due"].is_string());
    // They are not the review of what is logged (3.3.3).
    let (form, text) = (
        "review",
        "SELECT count(*) FROM blueteam.compliance_evidence WHERE form = $1",
    );
    let events: i64 = sqlx::query_scalar(text)
        .bind(form)
        .fetch_one(&mut owner)
        .await
        .unwrap();
    assert_eq!(events, 0);
}
