//! Reading a table of another database, with the documents' migration 030 in it and as a login that
//! may SELECT and nothing else.

use std::collections::BTreeMap;

use model::{Span, Timestamp};
use sqlx::{Connection as _, PgConnection};
use store::remote_audit::{self, Account, Position};
use testkit::TestDb;

use crate::{count, sql};

const MIGRATION_030: &str = include_str!("data/030_audit_events.sql");
const NAME: &str = "database:artemis";

/// Another database and ours.
struct Both {
    there: TestDb,
    here: TestDb,
    theirs: PgConnection,
    ours: PgConnection,
}

impl Both {
    async fn new() -> Self {
        let (there, here) = (TestDb::empty().await, TestDb::new().await);
        let mut owner = there.connect().await;
        sql(&mut owner, MIGRATION_030).await;
        let role = format!("reads_{}", std::process::id());
        sql(
            &mut owner,
            &format!(
                "DO $$ BEGIN CREATE ROLE {role}; EXCEPTION WHEN duplicate_object THEN NULL; END $$"
            ),
        )
        .await;

        sql(
            &mut owner,
            &format!("GRANT SELECT ON public.audit_events TO {role}"),
        )
        .await;

        let theirs = there.connect_as(&role).await;
        let ours = here.connect_as("blueteam_ingest").await;
        let mut engine = here.connect_as("blueteam_engine").await;
        store::sources::declare(&mut engine, NAME, model::Source::AuditDb, None)
            .await
            .unwrap();

        Self {
            there,
            here,
            theirs,
            ours,
        }
    }

    /// One reading from the saved position, as a program that has just been started.
    async fn read(&mut self, sweep: bool) -> u64 {
        let saved = remote_audit::position(&mut self.ours, NAME).await.unwrap();
        self.read_from(saved, sweep).await
    }

    async fn read_from(&mut self, saved: Option<Position>, sweep: bool) -> u64 {
        let mut pass = remote_audit::begin(
            &mut self.theirs,
            saved.as_ref(),
            sweep,
            now().minus(Span::mins(10)),
        )
        .await
        .unwrap();

        let mut found = Vec::new();
        while let Some(batch) = pass.next().await.unwrap() {
            found.extend(batch);
        }

        let (next, count) = (pass.end().await.unwrap(), found.len() as u64);
        let account = Account {
            source_id: NAME,
            now: now(),
            newest: None,
            settle: Span::secs(30),
            rhythm: None,
        };

        let service = "artemis".parse().unwrap();
        let found = found
            .into_iter()
            .map(|f| f.of(model::TenantId::DEFAULT, &service))
            .collect();
        remote_audit::keep(&mut self.ours, found, Some(&next), &account)
            .await
            .unwrap();

        count
    }

    /// Received, accepted, repeated and rejected ones, as the ledger has them.
    async fn account(&self) -> (u64, u64, u64, u64) {
        let row = store::sources::find(&mut self.here.connect().await, NAME)
            .await
            .unwrap()
            .unwrap();
        (row.received, row.accepted, row.repeated, row.rejected)
    }

    async fn stored(&self) -> i64 {
        count(
            &mut self.here.connect().await,
            "audit_events WHERE metadata ->> 'service' = 'artemis'",
        )
        .await
    }
}

fn now() -> Timestamp {
    model::Clock::now(&model::SystemClock)
}

fn event(n: u32) -> String {
    format!(
        "INSERT INTO audit_events (category, action, result, metadata) VALUES ('auth', 'login', \
            'success', '{{\"n\": {n}}}')"
    )
}

#[tokio::test]
async fn each_row_comes_once_in_whatever_order_it_is_committed() {
    let mut both = Both::new().await;
    let (mut early, mut late, mut quick) = (
        both.there.connect().await,
        both.there.connect().await,
        both.there.connect().await,
    );
    sql(&mut quick, &event(1)).await;
    assert_eq!(both.read(true).await, 1);

    // The first begins before all others, and one of its savepoints after them.
    sql(&mut early, &format!("BEGIN; {}", event(2))).await;
    sql(&mut late, &format!("BEGIN; {}", event(3))).await;
    sql(&mut quick, &event(4)).await;
    sql(
        &mut early,
        &format!("SAVEPOINT a; {}; SAVEPOINT b; {}", event(5), event(6)),
    )
    .await;

    sql(&mut quick, &event(7)).await;
    assert_eq!(both.read(false).await, 2, "4 and 7");
    assert_eq!(both.read(false).await, 0);
    sql(&mut late, "COMMIT").await;
    assert_eq!(both.read(false).await, 1, "3");
    sql(
        &mut early,
        &format!("ROLLBACK TO b; {}; RELEASE a; COMMIT", event(8)),
    )
    .await;

    assert_eq!(both.read(false).await, 3, "2, 5 and 8; 6 never was");
    assert_eq!(both.read(true).await, 0);
    assert_eq!(both.account().await, (7, 7, 0, 0));
    assert_eq!(both.stored().await, 7);
}

#[tokio::test]
async fn events_that_are_written_late_come_with_the_sweep_and_once() {
    let mut both = Both::new().await;
    let (mut writer, mut open) = (both.there.connect().await, both.there.connect().await);
    assert_eq!(both.read(true).await, 0);

    // One transaction writes old and new events, and so does one that stays open through the sweep.
    let old = |n: u32| {
        format!(
            "INSERT INTO audit_events (timestamp, category, action, result) VALUES (now() - \
                interval '{n} hours', 'auth', 'login', 'success')"
        )
    };

    sql(
        &mut writer,
        &format!("BEGIN; {}; {}; COMMIT", event(1), old(2)),
    )
    .await;
    sql(&mut open, &format!("BEGIN; {}; {}", event(2), old(3))).await;
    sql(&mut writer, &event(3)).await;
    assert_eq!(both.read(false).await, 2, "the new ones");

    assert_eq!(both.read(true).await, 1, "the old one");
    sql(&mut open, "COMMIT").await;
    assert_eq!(both.read(false).await, 1);
    assert_eq!(both.read(true).await, 1);
    assert_eq!(both.read(true).await, 0);
    assert_eq!(both.account().await, (5, 5, 0, 0));
}

#[tokio::test]
async fn a_table_that_was_made_anew_is_read_whole_and_known_events_are_passed_over() {
    let mut both = Both::new().await;
    let mut owner = both.there.connect().await;
    for n in 0..5 {
        sql(&mut owner, &event(n)).await;
    }

    assert_eq!(both.read(true).await, 5);
    // As a dump that is restored does.
    sql(
        &mut owner,
        "CREATE TABLE copy AS TABLE audit_events; DROP TABLE audit_events; ALTER \
        TABLE copy RENAME TO audit_events; GRANT SELECT ON audit_events TO PUBLIC",
    )
    .await;

    sql(
        &mut owner,
        "INSERT INTO audit_events (event_id, timestamp, category, action, result) \
        VALUES (gen_random_uuid(), now(), 'auth', 'login', 'success')",
    )
    .await;
    assert_eq!(both.read(false).await, 6);
    assert_eq!(both.account().await, (11, 6, 5, 0));

    assert_eq!(both.stored().await, 6);
    // A crash between a batch and the position: it is read again, and is there once.
    assert_eq!(both.read_from(None, true).await, 6);
    assert_eq!(
        (both.account().await, both.stored().await),
        ((17, 6, 11, 0), 6)
    );
}

#[tokio::test]
async fn what_somebody_writes_to_hide_an_event_hides_none() {
    let mut both = Both::new().await;
    let mut owner = both.there.connect().await;

    // The design's table has no checks.
    sql(
        &mut owner,
        "ALTER TABLE audit_events DROP CONSTRAINT audit_events_category_check, ALTER \
        user_agent TYPE text",
    )
    .await;

    let insert = |category: &str, metadata: &str| {
        format!(
            "INSERT INTO audit_events (category, action, result, user_agent, resource_id, \
                metadata, cui_accessed) VALUES ('{category}', 'login', 'success', repeat('é', \
                9000), repeat('x', 90000), {metadata}, NULL)"
        )
    };

    for metadata in [
        "NULL",
        "'[1]'",
        r#"'{"service": "eqmon", "a": 1}'"#,
        "jsonb_build_object('a', repeat('x', 70000))",
        "(SELECT jsonb_agg('1e130000'::jsonb) FROM generate_series(1, 2000))",
        // As deep as that server takes it, and deeper than it can search.
        "(repeat('{\"\":', 10500) || '1' || repeat('}', 10500))::jsonb",
    ] {
        sql(&mut owner, &insert("auth", metadata)).await;
    }

    sql(&mut owner, &insert("network", "'{}'")).await;
    assert_eq!(both.read(true).await, 7);
    assert_eq!(both.account().await, (7, 6, 0, 1));
    assert_eq!(both.stored().await, 6, "none is another service's");
    let mut conn = both.here.connect().await;
    let rows: Vec<(String, i64)> =
        sqlx::query_as("SELECT metadata::text, count(*) FROM audit_events GROUP BY 1")
            .fetch_all(&mut conn)
            .await
            .unwrap();

    let rows: BTreeMap<_, _> = rows.into_iter().collect();
    let kept = [
        r#"{"service": "artemis"}"#,
        r#"{"value": [1], "service": "artemis"}"#,
        r#"{"a": 1, "service": "artemis"}"#,
        r#"{"service": "artemis", "metadata_withheld": "size"}"#,
        r#"{"service": "artemis", "metadata_withheld": "numbers"}"#,
        r#"{"service": "artemis", "metadata_withheld": "depth"}"#,
    ];
    assert_eq!(
        rows,
        kept.into_iter().map(|text| (text.to_owned(), 1)).collect()
    );

    let letters = store::sources::dead_letters(&mut conn, Some(NAME), 10)
        .await
        .unwrap();
    assert_eq!(
        letters[0].letter.reason,
        "category: is not one of auth, access, admin, data, ai, system"
    );
}

#[tokio::test]
async fn a_login_that_may_only_select_can_do_nothing_else_and_one_that_may_not_says_so() {
    let mut both = Both::new().await;
    for text in [
        event(1),
        "UPDATE audit_events SET action = 'x'".to_owned(),
        "DELETE FROM audit_events".to_owned(),
    ] {
        assert!(
            crate::try_sql(&mut both.theirs, &text).await.is_err(),
            "{text}"
        );
    }

    sql(&mut both.there.connect().await, &event(1)).await;
    assert_eq!(both.read(true).await, 1);
    sql(
        &mut both.there.connect().await,
        "REVOKE ALL ON audit_events FROM PUBLIC",
    )
    .await;

    let role = format!("reads_{}", std::process::id());
    sql(
        &mut both.there.connect().await,
        &format!("REVOKE ALL ON audit_events FROM {role}"),
    )
    .await;

    let mut pass = remote_audit::begin(&mut both.theirs, None, true, now())
        .await
        .unwrap();
    let error = pass.next().await.unwrap_err();
    assert!(error.to_string().contains("permission denied"), "{error}");
    drop(pass);
    both.theirs.close().await.unwrap();
}
