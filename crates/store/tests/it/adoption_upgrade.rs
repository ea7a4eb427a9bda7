//! Databases that an earlier version migrated, and the order in which the rows of an adopted table
//! are read.

use std::path::Path;
use std::process::Command;

use sqlx::migrate::Migrator;
use store::reader::{self, Start};
use testkit::TestDb;

use crate::{count, sql, try_sql};

const MIGRATION_030: &str = include_str!("data/030_audit_events.sql");

/// The migrations as they were before 0053.
async fn earlier() -> Migrator {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dir = tempfile::tempdir().unwrap();
    for from in [
        root.join("migrations"),
        root.join("tests/it/data/before_0053"),
    ] {
        for file in std::fs::read_dir(from).unwrap() {
            let file = file.unwrap();
            if file.file_name().to_str().unwrap() < "0053" {
                std::fs::copy(file.path(), dir.path().join(file.file_name())).unwrap();
            }
        }
    }

    Migrator::new(dir.path()).await.unwrap()
}

/// The schema as `pg_dump` writes it, line by line, without what adoption may choose.
pub(crate) fn schema(db: &TestDb) -> Vec<String> {
    let url = db.url();
    // What follows are parameters of the driver's own.
    let url = url.split('?').next().unwrap();
    let out = Command::new("pg_dump")
        .args(["--schema-only", "--dbname", url])
        .output()
        .unwrap();
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );

    let text = String::from_utf8(out.stdout).unwrap();
    // The rows of before have the seq 1. Newer pg_dump makes up a key for each dump.
    let mut lines: Vec<_> = text
        .replace("START WITH 2", "START WITH 1")
        .lines()
        .filter(|line| !line.starts_with('\\'))
        .map(str::to_owned)
        .collect();
    lines.sort();

    lines
}

#[tokio::test]
async fn an_earlier_version_s_database_is_accepted_and_has_the_same_schema() {
    let earlier = earlier().await;
    for adopted in [true, false] {
        let (old, new) = (TestDb::empty().await, TestDb::empty().await);
        for (db, by_earlier) in [(&old, true), (&new, false)] {
            let mut conn = db.connect().await;
            if adopted {
                sql(&mut conn, MIGRATION_030).await;
                sql(
                    &mut conn,
                    "INSERT INTO audit_events (category, action, result) VALUES \
                    ('auth', 'a', 'success')",
                )
                .await;
            }

            if by_earlier {
                earlier.run_direct(None, &mut conn, false).await.unwrap();
            }

            store::migrate(&mut conn).await.unwrap();
            store::migrate(&mut conn).await.unwrap();
        }

        let (old, new) = (schema(&old), schema(&new));
        assert!(new.iter().any(|line| line.contains("append_only")));
        let difference: Vec<_> = old
            .iter()
            .filter(|l| !new.contains(l))
            .chain(new.iter().filter(|l| !old.contains(l)))
            .collect();
        assert!(
            difference.is_empty() && old.len() == new.len(),
            "adopted: {adopted}: {difference:#?}"
        );
    }
}

#[tokio::test]
async fn what_an_earlier_version_left_half_done_is_mended() {
    let earlier = earlier().await;
    let insert =
        "INSERT INTO audit_events (category, action, result) VALUES ('auth', 'a', 'success')";
    for reached in 1..=8 {
        let db = TestDb::empty().await;
        let mut conn = db.connect().await;
        sql(&mut conn, MIGRATION_030).await;
        earlier
            .run_direct(Some(reached), &mut conn, false)
            .await
            .unwrap();

        let mut writer = db.connect_as("eqmon_audit_writer").await;
        assert_eq!(
            try_sql(&mut writer, insert).await.is_err(),
            (2..8).contains(&reached),
            "{reached}"
        );

        // Even a failure of what comes next gives the right back.
        sql(&mut conn, "CREATE TABLE blueteam.event_searches ()").await;
        store::migrate(&mut conn).await.unwrap_err();
        sql(&mut writer, insert).await;
        sql(&mut conn, "DROP TABLE blueteam.event_searches").await;
        store::migrate(&mut conn).await.unwrap();
        sql(&mut writer, insert).await;

        assert_eq!(
            count(
                &mut conn,
                "pg_trigger WHERE tgrelid = 'audit_events'::regclass AND NOT tgisinternal"
            )
            .await,
            3
        );
    }
}

#[tokio::test]
async fn another_program_s_migrations_are_refused() {
    let db = TestDb::new().await;
    let mut conn = db.connect().await;
    for (change, expect) in [
        (
            "UPDATE _sqlx_migrations SET checksum = '\\x00' WHERE version = 2",
            "migration 2",
        ),
        (
            "INSERT INTO _sqlx_migrations SELECT 9999, 'newer', now(), true, '\\x00', 0",
            "the database has migration 9999, and this is blueteam ",
        ),
    ] {
        sql(&mut conn, &format!("BEGIN; {change}")).await;
        let error = store::migrate(&mut conn).await.unwrap_err().to_string();
        assert!(error.contains(expect), "{error}");
        sql(&mut conn, "ROLLBACK").await;
    }
}

#[tokio::test]
async fn tables_that_cannot_be_adopted_are_refused_untouched() {
    for (table, expect) in [
        (
            "CREATE TABLE audit_events (timestamp timestamptz) PARTITION BY RANGE (timestamp)",
            "partitioned",
        ),
        (
            "CREATE VIEW audit_events AS SELECT 1 AS event_id",
            "not a table",
        ),
        (
            "CREATE TABLE audit_events (event_id uuid, seq integer)",
            "seq",
        ),
    ] {
        let db = TestDb::empty().await;
        let mut conn = db.connect().await;
        sql(&mut conn, table).await;
        let error = store::migrate(&mut conn).await.unwrap_err().to_string();
        assert!(
            error.contains(expect) && error.contains("nothing was changed"),
            "{table}: {error}"
        );

        assert_eq!(
            count(
                &mut conn,
                "pg_namespace WHERE nspname IN ('blueteam', 'users', 'audit')"
            )
            .await,
            0
        );
    }
}

#[tokio::test]
async fn rows_of_before_are_read_in_order_of_their_times_and_once() {
    let db = TestDb::empty().await;
    let mut conn = db.connect().await;
    sql(&mut conn, MIGRATION_030).await;

    // A heap whose order is not that of time: small rows fill what larger ones left on earlier
    // pages.
    sql(
        &mut conn,
        "INSERT INTO audit_events (timestamp, created_at, category, action, result)
                    SELECT at, at, 'auth', 'old', 'success'
                      FROM generate_series(1, 2000) AS n, LATERAL (SELECT now() - n * interval '1 \
                      minute' AS at) AS t
                     ORDER BY md5(n::text)",
    )
    .await;

    store::migrate(&mut conn).await.unwrap();
    sql(
        &mut conn,
        "INSERT INTO audit_events (timestamp, category, action, result)
                    VALUES (now() - interval '1 year', 'auth', 'new', 'success'),
                           (now() - interval '2 years', 'auth', 'new', 'success')",
    )
    .await;

    let cursor = reader::initialize(&mut conn, "test", Start::Beginning)
        .await
        .unwrap();

    // Cut short before it was saved, a reading starts over: the same rows in the same order.
    let mut readings = Vec::new();
    let mut saved = None;
    for _ in 0..2 {
        let mut seen = Vec::new();
        saved = Some(
            reader::poll(&mut conn, &cursor, |e| {
                seen.push((e.action.to_string(), e.timestamp));
            })
            .await
            .unwrap(),
        );

        readings.push(seen);
    }

    let seen = &readings[0];
    assert_eq!(seen, &readings[1]);
    assert_eq!(seen.len(), 2002);
    assert!(
        seen[..2000].is_sorted_by_key(|(_, at)| *at)
            && seen[..2000].iter().all(|(action, _)| action == "old")
    );
    assert!(seen[2000].1 > seen[2001].1, "new rows come as they arrived");

    let cursor = reader::save(&mut conn, saved.unwrap().cursor)
        .await
        .unwrap();
    let again = reader::poll(&mut conn, &cursor, |_| {}).await.unwrap();
    assert_eq!(again.events, 0);

    // In another cluster nothing that was read is unread, and what came since is.
    sql(
        &mut conn,
        "INSERT INTO audit_events (category, action, result) VALUES ('auth', 'newer', 'success')",
    )
    .await;
    sql(&mut conn, "BEGIN").await;

    let moved = reader::rebase(&mut conn, &cursor, |e| {
        assert_eq!(e.action.to_string(), "newer");
    })
    .await
    .unwrap();
    assert_eq!(moved.events, 1);
    sql(&mut conn, "ROLLBACK").await;
}
