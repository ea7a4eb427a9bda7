use std::time::{Duration, Instant};

use model::{Clock as _, Severity, SystemClock};
use serde_json::json;
use sqlx::PgConnection;
use store::redteam::{self, Decision, Finding, Import, Run, Verdict};
use testkit::TestDb;
use uuid::Uuid;

use crate::tenants::{ADD_OTHER, DEFAULT, OTHER, act_for};
use crate::{at, count, id, person, sql, try_sql};

fn run(n: u128, seen: &[Uuid]) -> Run {
    Run {
        run_id: id(n),
        format: "redteam".to_owned(),
        tool: "eqmon-redteam".to_owned(),
        version: Some("1.4".to_owned()),
        tool_run: None,
        target: "https://eqmon.example".to_owned(),
        subject: "https://eqmon.example".to_owned(),
        scope: json!({ "is_complete": true }),
        started_at: None,
        ended_at: Some(at(0)),
        ran_at: at(0),
        imported_at: at(0),
        imported_by: String::new(),
        file_name: "run.json".to_owned(),
        sha256: format!("{n:064x}"),
        items: 2,
        changes: json!({ "new": 1 }),
        seen: seen.to_vec(),
        unknown: json!(null),
    }
}

fn finding(n: u128, run: Uuid) -> Finding {
    Finding {
        finding_id: id(n),
        fingerprint: format!("{n:064x}"),
        tool: "eqmon-redteam".to_owned(),
        target: "https://eqmon.example".to_owned(),
        rule: "mfa_absence".to_owned(),
        title: "mfa_absence'); DROP TABLE x; --".to_owned(),
        severity: Severity::Critical,
        location: "https://eqmon.example".to_owned(),
        area: "https://eqmon.example".to_owned(),
        check_group: "mfa_absence".to_owned(),
        is_of_module: true,
        cwes: vec![308, 287],
        cves: vec!["CVE-2026-1234".to_owned()],
        controls: vec!["3.5.3".to_owned()],
        detail: "a \"token\" {after, the} password\\".to_owned(),
        instances: 1,
        state: "open".to_owned(),
        first_run: run,
        last_run: run,
        gone_run: None,
        came_back: 0,
        decided_by: None,
        decided_at: None,
        reason: None,
        plans: Vec::new(),
    }
}

fn verdict(run: Uuid) -> Verdict {
    Verdict {
        run_id: run,
        name: "mfa_absence".to_owned(),
        variant: String::new(),
        controls: vec!["3.5.3".to_owned()],
        severity: Severity::Critical,
        verdict: "vulnerable".to_owned(),
        evidence: "a token".to_owned(),
        requests: Some(2),
        unknown: json!({ "color": "red" }),
    }
}

fn import() -> Import {
    Import {
        run: run(1, &[id(10)]),
        verdicts: vec![verdict(id(1))],
        new: vec![finding(10, id(1))],
        changed: Vec::new(),
    }
}

async fn decide(conn: &mut PgConnection, from: &str, to: &str) -> bool {
    let decision = Decision {
        finding_id: id(10),
        from,
        to,
        reason: "patched, CHG-91",
    };
    redteam::decide(conn, &person("dana"), decision)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_file_is_imported_once_and_what_it_lists_are_events() {
    let db = TestDb::new().await;
    let mut owner = db.connect().await;
    let mut admin = db.connect_as("blueteam_admin").await;
    act_for(&mut admin, DEFAULT).await;

    for is_new in [true, false] {
        let done = redteam::import(&mut admin, &person("dana"), &import()).await;
        assert_eq!(done.unwrap(), is_new);
    }
    let runs = redteam::runs(&mut admin).await.unwrap();
    assert_eq!(runs.len(), 1);
    assert_eq!(runs[0].imported_by, "dana");
    assert_eq!(runs[0].seen, [id(10)]);
    let findings = redteam::findings(&mut admin).await.unwrap();
    assert_eq!(findings, [finding(10, id(1))]);
    let verdicts = redteam::verdicts(&mut admin, at(-1)).await.unwrap();
    assert_eq!(verdicts, [verdict(id(1))]);

    // Events, once, of a source that no rule counts; and everything on record.
    let events = "blueteam.log_events WHERE source = 'redteam' AND action = 'weakness_reported' \
        AND metadata ->> 'severity' = 'critical' AND metadata -> 'controls' = '[\"3.5.3\"]'";
    assert_eq!(count(&mut owner, events).await, 1);
    sql(
        &mut admin,
        &format!("SELECT blueteam.write_redteam_events('{}')", id(1)),
    )
    .await;
    assert_eq!(count(&mut owner, "blueteam.log_events").await, 1);
    let logged = "audit.audit_log WHERE actor = 'dana' AND action = 'CREATE'";
    assert_eq!(count(&mut owner, logged).await, 3);

    // Another tenant may import the same file, and neither sees what the other has.
    sql(&mut owner, ADD_OTHER).await;
    act_for(&mut admin, OTHER).await;
    assert!(redteam::findings(&mut admin).await.unwrap().is_empty());
    sql(
        &mut admin,
        &format!("SELECT blueteam.write_redteam_events('{}')", id(1)),
    )
    .await;
    let mut other = import();
    (other.run.run_id, other.run.seen) = (id(2), vec![id(20)]);
    other.verdicts[0].run_id = id(2);
    other.new = vec![Finding {
        finding_id: id(20),
        ..finding(10, id(2))
    }];
    assert!(
        redteam::import(&mut admin, &person("erin"), &other)
            .await
            .unwrap()
    );
    let of_other = format!("blueteam.log_events WHERE tenant_id = '{OTHER}'");
    assert_eq!(count(&mut owner, &of_other).await, 1);
    assert_eq!(redteam::runs(&mut admin).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_later_run_changes_what_it_says_of_a_finding_and_nothing_else() {
    let db = TestDb::new().await;
    let mut engine = db.connect_as("blueteam_engine").await;
    act_for(&mut engine, DEFAULT).await;
    redteam::import(&mut engine, &person("dana"), &import())
        .await
        .unwrap();
    assert!(decide(&mut engine, "open", "closed").await);
    assert!(
        !decide(&mut engine, "open", "accepted").await,
        "it is not open"
    );
    let closed = &redteam::findings(&mut engine).await.unwrap()[0];
    assert_eq!(closed.decided_by.as_deref(), Some("dana"));
    assert!(closed.decided_at.is_some());

    let back = Finding {
        state: "open".to_owned(),
        last_run: id(2),
        came_back: 1,
        severity: Severity::Low,
        cwes: Vec::new(),
        plans: vec![id(99)],
        fingerprint: "f".repeat(64),
        ..closed.clone()
    };
    let again = Import {
        run: run(2, &[id(10)]),
        verdicts: Vec::new(),
        new: Vec::new(),
        changed: vec![back.clone()],
    };
    assert!(
        redteam::import(&mut engine, &person("erin"), &again)
            .await
            .unwrap()
    );
    let found = redteam::findings(&mut engine).await.unwrap();
    // What it is stays, and so does who has decided and which plans it opened.
    let expected = Finding {
        fingerprint: closed.fingerprint.clone(),
        plans: Vec::new(),
        ..back
    };
    assert_eq!(found, [expected]);

    redteam::note_plan(&mut engine, &person("dana"), &[id(10)], id(99))
        .await
        .unwrap();
    assert_eq!(
        redteam::findings(&mut engine).await.unwrap()[0].plans,
        [id(99)]
    );
}

#[tokio::test]
async fn the_tables_refuse_what_would_hide_a_finding() {
    let db = TestDb::new().await;
    let mut admin = db.connect_as("blueteam_admin").await;
    act_for(&mut admin, DEFAULT).await;
    redteam::import(&mut admin, &person("dana"), &import())
        .await
        .unwrap();

    for refused in [
        "DELETE FROM blueteam.redteam_findings",
        "TRUNCATE blueteam.redteam_runs CASCADE",
        "UPDATE blueteam.redteam_findings SET fingerprint = repeat('0', 64)",
        "UPDATE blueteam.redteam_findings SET decided_by = 'dana'",
        "UPDATE blueteam.redteam_findings SET state = 'closed'",
        "UPDATE blueteam.redteam_runs SET seen = '{}'",
        "UPDATE blueteam.redteam_verdicts SET verdict = 'not_vulnerable'",
        "INSERT INTO blueteam.log_events (timestamp, source, category, action, result)
         VALUES (now(), 'redteam', 'system', 'weakness_reported', 'failure')",
    ] {
        assert!(try_sql(&mut admin, refused).await.is_err(), "{refused}");
    }
    let mut decided = import();
    decided.run = run(3, &[]);
    decided.new = vec![Finding {
        state: "accepted".to_owned(),
        ..finding(11, id(3))
    }];
    let done = redteam::import(&mut admin, &person("dana"), &decided).await;
    assert!(done.is_err(), "nobody decides before it is there");

    // A run of the future would be later than all that come after it, and one of long ago would show
    // that events are kept for as long.
    let now = SystemClock.now();
    for (n, ran_at) in [
        (4, now.plus(model::Span::days(400))),
        (5, at(-86_400 * 365 * 20)),
    ] {
        let mut odd = import();
        odd.run = Run {
            ran_at,
            ..run(n, &[id(10)])
        };
        (odd.verdicts, odd.new) = (Vec::new(), Vec::new());
        redteam::import(&mut admin, &person("dana"), &odd)
            .await
            .unwrap();
    }
    let runs = redteam::runs(&mut admin).await.unwrap();
    assert!(runs.iter().all(|run| run.ran_at <= run.imported_at));
    let old = "blueteam.log_events WHERE timestamp < now() - interval '10 years'";
    assert_eq!(count(&mut db.connect().await, old).await, 0);
}

#[tokio::test]
async fn the_largest_report_is_written_in_seconds() {
    let db = TestDb::new().await;
    let mut admin = db.connect_as("blueteam_admin").await;
    act_for(&mut admin, DEFAULT).await;
    let ids: Vec<u128> = (100..10_100).collect();
    let seen: Vec<Uuid> = ids.iter().map(|n| id(*n)).collect();
    let large = Import {
        run: run(1, &seen),
        verdicts: Vec::new(),
        new: ids.iter().map(|n| finding(*n, id(1))).collect(),
        changed: Vec::new(),
    };

    let began = Instant::now();
    redteam::import(&mut admin, &person("dana"), &large)
        .await
        .unwrap();
    let took = began.elapsed();
    eprintln!("10,000 findings were written in {took:?}");
    assert!(took < Duration::from_mins(1), "{took:?}");
    let events = "blueteam.log_events WHERE source = 'redteam'";
    assert_eq!(count(&mut db.connect().await, events).await, 10_000);
}
