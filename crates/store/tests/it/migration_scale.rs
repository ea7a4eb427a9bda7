//! Migrations of a large database, timed and cut short.
//!
//! BLUETEAM_TEST_MIGRATE_ROWS sets how many rows there are (100,000), BLUETEAM_TEST_MIGRATE_KILLS
//! how often the migration is killed (2).

use std::path::Path;
use std::time::{Duration, Instant};

use sqlx::PgConnection;
use sqlx::migrate::Migrator;
use testkit::TestDb;

use crate::{count, sql, try_sql};

/// The last migration before tables were renamed.
const BEFORE: &str = "0067";
/// What the migrations since then may take together, at ten million rows.
const LIMIT: Duration = Duration::from_secs(5);

fn setting(name: &str, default: u32) -> u32 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// A database as it was before tables were renamed, half of its rows in each table of events.
async fn old_database() -> TestDb {
    let dir = tempfile::tempdir().unwrap();
    let migrations = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    for file in std::fs::read_dir(migrations).unwrap() {
        let file = file.unwrap();
        if file.file_name().to_str().unwrap() < BEFORE {
            std::fs::copy(file.path(), dir.path().join(file.file_name())).unwrap();
        }
    }

    let db = TestDb::empty().await;
    let mut conn = db.connect().await;
    let earlier = Migrator::new(dir.path()).await.unwrap();
    earlier.run_direct(None, &mut conn, false).await.unwrap();

    let half = setting("BLUETEAM_TEST_MIGRATE_ROWS", 100_000) / 2;
    sql(
        &mut conn,
        &format!(
            "INSERT INTO audit_events (timestamp, category, action, result)
             SELECT now() - n * interval '1 second', 'access', 'page_view', 'success'
               FROM generate_series(1, {half}) AS n;
             INSERT INTO blueteam.collected_events (timestamp, source, category, action, result, ip_address)
             SELECT now() - n * interval '1 second', 'nginx', 'access', 'request', 'success', '192.0.2.7'
               FROM generate_series(1, {half}) AS n;"
        ),
    )
    .await;

    db
}

async fn applied(conn: &mut PgConnection) -> i64 {
    let sql = "SELECT max(version) FROM _sqlx_migrations";
    sqlx::query_scalar(sql).fetch_one(conn).await.unwrap()
}

/// Each migration is in the database as a whole or not at all, and applications can write.
async fn assert_whole(db: &TestDb) {
    let mut conn = db.connect().await;
    let (renamed, version) = (
        count(&mut conn, "pg_class WHERE relname = 'log_events'").await,
        applied(&mut conn).await,
    );
    assert_eq!(renamed == 1, version >= 67, "{version}");
    let provenance = "pg_attribute WHERE attrelid = to_regclass('blueteam.log_events') AND \
        attname = 'raw' AND NOT attisdropped";
    assert_eq!(
        count(&mut conn, provenance).await == 1,
        version >= 69,
        "{version}"
    );

    let mut writer = db.connect_as("eqmon_audit_writer").await;
    let insert =
        "INSERT INTO audit_events (category, action, result) VALUES ('auth', 'a', 'success')";
    try_sql(&mut writer, insert).await.unwrap();
}

#[tokio::test]
async fn migrations_of_many_rows_take_seconds_and_are_whole_or_not_there() {
    let db = old_database().await;
    let kills = setting("BLUETEAM_TEST_MIGRATE_KILLS", 2);
    for n in 0..kills {
        let mut conn = db.connect().await;
        let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
            .fetch_one(&mut conn)
            .await
            .unwrap();
        let migrating = tokio::spawn(async move { store::migrate(&mut conn).await });

        // From the first instant on, in steps that grow to what all of them take.
        tokio::time::sleep(Duration::from_millis(u64::from(5 + n * n))).await;
        let mut killer = db.connect().await;
        let kill = format!("SELECT pg_terminate_backend({pid})");
        sql(&mut killer, &kill).await;
        // It may have come to its end before.
        let _ = migrating.await.unwrap();
        assert_whole(&db).await;
    }

    let mut conn = db.connect().await;
    let (from, since) = (applied(&mut conn).await, Instant::now());
    store::migrate(&mut conn).await.unwrap();
    let took = since.elapsed();
    eprintln!("from migration {from} on: {took:?}");
    assert!(took < LIMIT, "{took:?}");
    assert_whole(&db).await;
}

/// The same without a kill, so that all migrations since then are in the time.
#[tokio::test]
async fn migrations_of_many_rows_at_once_take_seconds() {
    let db = old_database().await;
    let mut conn = db.connect().await;
    let since = Instant::now();
    store::migrate(&mut conn).await.unwrap();
    let took = since.elapsed();
    eprintln!("all since {BEFORE}: {took:?}");
    assert!(took < LIMIT, "{took:?}");
    assert_whole(&db).await;
}
