//! Whoever changes something from the command line is on record with where and how.

use sqlx::Connection as _;
use testkit::TestDb;

use super::cli::{Program, with_alerts};

/// The tables whose rows the commands of operations change.
const CHANGED: [&str; 7] = [
    "blueteam.advisory_matches",
    "blueteam.advisory_sources",
    "blueteam.alert_history",
    "blueteam.alert_rules",
    "blueteam.silences",
    "users.api_keys",
    "users.users",
];

#[tokio::test]
async fn every_change_of_operations_says_who_where_and_how() {
    let (db, program) = with_alerts().await;
    program.run(&["migrate"]).good();
    give_up_deliveries(&db).await;
    change_alerts_and_rules(&program);
    change_keys(&program);
    change_advisories(&program);
    ask(&program);

    let mut conn = db.connect().await;
    let lacking: Vec<(String, String)> = sqlx::query_as(
        "SELECT metadata ->> 'table', coalesce(resource_id, '-') FROM audit.audit_log
          WHERE metadata ->> 'on_behalf_of' = 'Dana'
            AND (ip_address IS NULL OR user_agent IS NULL OR metadata ->> 'host' IS NULL
                 OR metadata ->> 'via' IS NULL OR metadata ->> 'account' IS NULL)",
    )
    .fetch_all(&mut conn)
    .await
    .unwrap();
    assert!(lacking.is_empty(), "{lacking:?}");

    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT DISTINCT metadata ->> 'table' FROM audit.audit_log
          WHERE metadata ->> 'on_behalf_of' = 'Dana' AND actor <> 'Dana' ORDER BY 1",
    )
    .fetch_all(&mut conn)
    .await
    .unwrap();
    assert_eq!(tables, CHANGED);

    // Machines write these tables too; what people do to them is recorded in them.
    for (what, statement) in [
        (
            "resend",
            "SELECT count(*) FROM blueteam.notification_attempts WHERE detail LIKE 'by %, on behalf of Dana'",
        ),
        (
            "test",
            "SELECT count(*) FROM blueteam.rule_test_results WHERE actor LIKE '%, on behalf of Dana'",
        ),
        (
            "search",
            "SELECT count(*) FROM blueteam.event_searches WHERE actor LIKE '%, on behalf of Dana'",
        ),
    ] {
        let rows: i64 = sqlx::query_scalar(statement)
            .fetch_one(&mut conn)
            .await
            .unwrap();
        assert!(rows > 0, "{what}");
    }

    conn.close().await.unwrap();
}

fn as_dana(program: &Program, args: &[&str]) -> String {
    program
        .run(&[args, &["--on-behalf-of", "Dana"]].concat())
        .good()
}

async fn give_up_deliveries(db: &TestDb) {
    let mut conn = db.connect().await;
    let done = sqlx::query("UPDATE blueteam.notifications SET state = 'dead'")
        .execute(&mut conn)
        .await
        .unwrap();
    assert!(done.rows_affected() > 0);
    conn.close().await.unwrap();
}

fn change_alerts_and_rules(program: &Program) {
    let alerts = program.run(&["alerts", "list", "--json"]).json();
    let alert = alerts[0]["alert_id"].as_str().unwrap();
    as_dana(program, &["alerts", "ack", alert]);
    as_dana(program, &["notifications", "resend", "--all"]);

    let scope = [
        "--rule",
        "after_hours",
        "--for",
        "4h",
        "--reason",
        "a drill",
        "--json",
    ];
    let added = as_dana(program, &[&["silences", "add"], &scope[..]].concat());
    let added: serde_json::Value = serde_json::from_str(&added).unwrap();
    let silence = added["mute_id"].as_str().unwrap();
    as_dana(program, &["silences", "expire", silence]);

    as_dana(program, &["rules", "disable", "after_hours"]);
    as_dana(program, &["rules", "enable", "after_hours"]);
    as_dana(program, &["rules", "test", "brute_force"]);
}

fn change_keys(program: &Program) {
    let scope = ["--scope", "events:write"];
    let key = as_dana(program, &[&["keys", "create", "shop"], &scope[..]].concat());
    as_dana(program, &["keys", "revoke", &key.trim()[..10]]);
}

fn change_advisories(program: &Program) {
    let lock = program.write(
        "Cargo.lock",
        "version = 4\n\n[[package]]\nname = \"left-pad\"\nversion = \"1.2.0\"\nsource = \
            \"registry+https://example.com\"\n",
    );
    let feed = program.write(
        "osv.json",
        r#"{"id": "GHSA-1", "aliases": ["CVE-2026-0001"], "modified": "2026-03-01T00:00:00Z",
            "summary": "Pads with anything",
            "affected": [{"package": {"ecosystem": "crates.io", "name": "left-pad"},
                          "ranges": [{"type": "SEMVER",
                                      "events": [{"introduced": "0"}, {"fixed": "1.3.0"}]}]}]}"#,
    );

    let inventory = ["advisories", "inventory", "import", &lock, "--name", "shop"];
    as_dana(program, &inventory);
    let found = as_dana(program, &["advisories", "import", &feed, "--name", "osv"]);
    assert!(found.contains("1 new"), "{found}");

    let fixed = ["--status", "fixed", "--reason", "upgraded to 1.3.0"];
    let respond = [&["advisories", "respond", "CVE-2026-0001"], &fixed[..]].concat();
    as_dana(program, &respond);
    let reason = ["--reason", "no longer used"];
    as_dana(
        program,
        &[&["advisories", "remove", "osv"], &reason[..]].concat(),
    );
}

fn ask(program: &Program) {
    as_dana(program, &["events", "search", "--since", "30d"]);
}
