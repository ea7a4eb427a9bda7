//! The rule lab: rules are shown to work, by what they carry and by what stands beside them.

use serde_json::Value;
use sqlx::PgConnection;
use testkit::TestDb;

use crate::cli::Program;
use crate::cli_analysis::SIGMA;

async fn count(conn: &mut PgConnection, table: &str) -> i64 {
    sqlx::query_scalar(sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}")))
        .fetch_one(conn)
        .await
        .unwrap()
}

fn row<'a>(rows: &'a Value, rule: &str) -> &'a Value {
    rows.as_array()
        .unwrap()
        .iter()
        .find(|r| r["rule_id"] == rule)
        .unwrap()
}

#[tokio::test]
async fn every_rule_is_proven_and_that_is_on_record() {
    let db = TestDb::new().await;
    let program = Program::new(Some(&db));
    program.run(&["migrate"]).good();
    let before = program.run(&["alerts", "rules", "list", "--json"]).json();
    assert_eq!(row(&before, "brute_force")["last_proven"], Value::Null);
    assert_eq!(
        row(&before, "web_scanner")["needs"],
        serde_json::json!(["nginx"])
    );

    let tested = program
        .run(&["alerts", "rules", "test", "--json", "--on-behalf-of", "ann"])
        .json();
    assert_eq!(tested.as_array().unwrap().len(), 25);
    assert!(
        tested.as_array().unwrap().iter().all(|t| t["ok"] == true),
        "{tested}"
    );

    let after = program.run(&["alerts", "rules", "list", "--json"]).json();
    let proof = &row(&after, "brute_force")["last_proven"];
    assert_eq!(
        (&proof["cases"], &proof["failed"]),
        (&Value::from(10), &Value::from(0)),
        "{proof}"
    );
    assert_eq!(proof["version"], env!("CARGO_PKG_VERSION"));

    let mut conn = db.connect().await;
    assert_eq!(
        count(
            &mut conn,
            "blueteam.rule_test_results WHERE actor LIKE '%, on behalf of ann'"
        )
        .await,
        25
    );
    program
        .run(&["alerts", "rules", "test", "brute_force", "--no-record"])
        .good();

    assert_eq!(count(&mut conn, "blueteam.rule_test_results").await, 25);
    let one = program
        .run(&["alerts", "rules", "test", "brute_force"])
        .good();
    assert!(
        one.contains("ok: brute_force: five: must not fire, did not"),
        "{one}"
    );

    assert_eq!(
        program.run(&["alerts", "rules", "test", "nonsense"]).code,
        1
    );

    // The checks of compliance decide from it, and say so.
    let facts = store::facts::rules(&mut conn).await.unwrap();
    assert!(
        facts.len() == 25
            && facts
                .iter()
                .all(|r| r.last_proven.is_some() && !r.proof_failed),
        "{facts:?}"
    );
}

#[test]
fn custom_rules_have_fixtures_beside_them() {
    let program = Program::new(None);
    let rules = program.path("rules");
    let config = program.write(
        "blueteam.toml",
        &format!("[detection]\nrules_dir = \"{}\"\n", rules.display()),
    );

    program.write("rules/shell.yml", SIGMA);
    let run = |more: &[&str]| {
        program.run(&[&["--config", &config, "alerts", "rules", "test"], more].concat())
    };
    let id = "0b6f0ea4-3f6c-4b0a-9d8e-1d2c3b4a5f60";
    let none = run(&[]).good();
    assert!(none.contains(&format!("{id}: has no fixtures")), "{none}");
    assert_eq!(run(&[id]).code, 1);

    let case = |fires: bool, action: &str| {
        format!(
            "{{\"case\": \"{action}\", \"fires\": {fires}}}\n{{\"timestamp\": \"2026-03-02T10:00:00Z\", \"category\": \"admin\", \
             \"action\": \"{action}\", \"result\": \"success\"}}\n"
        )
    };

    std::fs::create_dir_all(rules.join("tests")).unwrap();
    program.write(
        "rules/tests/shell.ndjson",
        &(case(true, "open_shell") + &case(false, "close_shell")),
    );

    let ran = run(&[id]);
    assert!(
        ran.err.contains("not recorded"),
        "there is no database, and none is made: {}",
        ran.err
    );
    assert!(!program.path("postgres").exists());

    let good = ran.good();
    assert!(
        good.contains("open_shell: must fire, fired")
            && good.contains("close_shell: must not fire, did not"),
        "{good}"
    );
    program.write("rules/tests/shell.ndjson", &case(false, "open_shell"));

    let bad = run(&[]);
    assert_eq!(bad.code, 1);
    assert!(
        bad.out
            .contains(&format!("FAILED: {id}: open_shell: must not fire, fired")),
        "{}",
        bad.out
    );

    program.write("rules/tests/shell.ndjson", "{\"timestamp\": 1}");
    assert!(run(&[]).err.contains("shell.ndjson: line 1: "));
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one story, told in order")]
async fn a_simulation_shows_what_would_be_and_leaves_nothing() {
    let db = TestDb::new().await;
    let program = Program::new(Some(&db));
    program.run(&["migrate"]).good();
    let config = program.write(
        "blueteam.toml",
        "[alerts]\nhigh = [\"console\"]\noff_hours = {}\n",
    );
    let simulate = |rule: &str, more: &[&str]| {
        program.run(
            &[
                &[
                    "--config",
                    config.as_str(),
                    "alerts",
                    "rules",
                    "simulate",
                    rule,
                ],
                more,
            ]
            .concat(),
        )
    };
    let would = simulate("brute_force", &["--json"]).json();
    let alert = &would["alerts"][0];
    assert_eq!(alert["alert"]["rule_id"], "brute_force", "{would}");
    assert_eq!(
        (&alert["new_incident"], &alert["channels"]),
        (&Value::from(true), &serde_json::json!(["console"]))
    );
    let text = simulate("brute_force", &[]).good();
    assert!(
        text.contains("a new one") && text.contains("nothing was kept"),
        "{text}"
    );
    // Every rule would fire.
    for rule in program
        .run(&["alerts", "rules", "list", "--json"])
        .json()
        .as_array()
        .unwrap()
    {
        simulate(rule["rule_id"].as_str().unwrap(), &[]).good();
    }
    // A silence that covers it, and parameters that its fixture does not reach.
    let silence = [
        "silences",
        "add",
        "--rule",
        "brute_force",
        "--reason",
        "test",
        "--for",
        "1h",
        "--on-behalf-of",
        "ann",
    ];
    program.run(&silence).good();
    let text = simulate("brute_force", &[]).good();
    assert!(text.contains("nobody: silenced by"), "{text}");
    let strict = program.write("strict.toml", "[rules.brute_force]\nthreshold = 100\n");
    let ran = program.run(&[
        "--config",
        &strict,
        "alerts",
        "rules",
        "simulate",
        "brute_force",
    ]);
    assert!(
        ran.code == 1 && ran.out.contains("it does not fire"),
        "{}{}",
        ran.out,
        ran.err
    );
    let mut conn = db.connect().await;
    for table in [
        "blueteam.alert_history",
        "blueteam.security_incidents",
        "blueteam.notifications",
    ] {
        assert_eq!(count(&mut conn, table).await, 0, "{table}");
    }
    // A backtest of one rule sees the stored events, here none.
    assert_eq!(
        program
            .run(&[
                "alerts",
                "rules",
                "backtest",
                "brute_force",
                "--since",
                "30d",
                "--json"
            ])
            .good(),
        ""
    );
    assert_eq!(
        program
            .run(&["alerts", "rules", "backtest", "nonsense", "--since", "30d"])
            .code,
        1
    );
}
