//! The database of every release, with data, as `scripts/keep-schema` has kept it: it becomes the
//! schema of this program, and keeps each of its rows.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sqlx::PgConnection;
use testkit::TestDb;

use crate::adoption_upgrade::schema;
use crate::sql;

fn releases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/data/releases");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "gz"))
        .collect();
    files.sort();
    files
}

/// Restores a dump as an administrator would.
fn restore(dump: &Path, db: &TestDb) {
    let url = db.url();
    let url = url.split('?').next().unwrap();
    let mut gzip = Command::new("gzip")
        .arg("-dc")
        .arg(dump)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let restored = Command::new("psql")
        .args(["--quiet", "--no-psqlrc", "--set", "ON_ERROR_STOP=1", url])
        .stdin(gzip.stdout.take().unwrap())
        .stdout(Stdio::null())
        .output()
        .unwrap();
    assert!(gzip.wait().unwrap().success());
    assert!(
        restored.status.success(),
        "{}",
        String::from_utf8_lossy(&restored.stderr)
    );
}

/// Tables of the product, without partitions: their rows count with those of the whole.
async fn rows(conn: &mut PgConnection) -> BTreeMap<String, i64> {
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
          WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
            AND n.nspname IN ('public', 'blueteam', 'users', 'audit')
            AND c.relname <> '_sqlx_migrations'",
    )
    .fetch_all(&mut *conn)
    .await
    .unwrap();

    let mut counts = BTreeMap::new();
    for table in tables {
        let count = format!("SELECT count(*) FROM {table}");
        let count: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(count))
            .fetch_one(&mut *conn)
            .await
            .unwrap();
        counts.insert(table, count);
    }
    counts
}

/// Months differ between a database of then and one of today.
async fn drop_partitions(conn: &mut PgConnection) {
    let partitions: Vec<String> = sqlx::query_scalar(
        "SELECT oid::regclass::text FROM pg_class WHERE relispartition AND relkind = 'r'",
    )
    .fetch_all(&mut *conn)
    .await
    .unwrap();
    for partition in partitions {
        sql(conn, &format!("DROP TABLE {partition}")).await;
    }
}

/// The schema, without parentheses of constraints: a server writes those of a restored constraint
/// in another way.
fn comparable(db: &TestDb) -> Vec<String> {
    let normal = |line: String| {
        if line.contains(" CHECK ") {
            line.replace(['(', ')'], "")
        } else {
            line
        }
    };
    schema(db).into_iter().map(normal).collect()
}

#[tokio::test]
async fn the_database_of_each_release_becomes_that_of_this_program() {
    let all = releases();
    assert!(!all.is_empty());
    let fresh = TestDb::new().await;
    drop_partitions(&mut fresh.connect().await).await;
    let wanted = comparable(&fresh);

    for dump in all {
        let name = dump.file_name().unwrap().to_string_lossy().into_owned();
        let db = TestDb::empty().await;
        restore(&dump, &db);
        let mut conn = db.connect().await;
        let before = rows(&mut conn).await;
        assert!(before["audit_events"] > 1000, "{name}: {before:?}");
        for table in [
            "blueteam.alert_history",
            "blueteam.security_incidents",
            "audit.audit_log",
        ] {
            assert!(
                before.get(table).is_some_and(|rows| *rows > 0),
                "{name}: {before:?}"
            );
        }

        store::migrate(&mut conn).await.unwrap();
        let after = rows(&mut conn).await;
        for (table, rows) in before {
            // The record of changes may grow by what the migration changed.
            let kept = after.get(&table).copied().unwrap_or_default();
            assert!(
                kept >= rows,
                "{name}: {table} had {rows} rows and has {kept}"
            );
        }

        drop_partitions(&mut conn).await;
        let have = comparable(&db);
        let missing: Vec<_> = wanted.iter().filter(|line| !have.contains(line)).collect();
        let more: Vec<_> = have.iter().filter(|line| !wanted.contains(line)).collect();
        assert!(
            missing.is_empty() && more.is_empty(),
            "{name} lacks:\n{missing:#?}\nand has:\n{more:#?}"
        );
    }
}
