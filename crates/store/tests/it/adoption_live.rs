//! Adopting a database while its application writes.
//!
//! BLUETEAM_TEST_ADOPT_ROWS sets how many rows there are (20,000), BLUETEAM_TEST_ADOPT_ROUNDS how
//! often each case is run (1).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, PgConnection};
use store::{MigrationError, Patience, StoreError};
use tokio::task::JoinHandle;

use crate::servers::{Server, binaries};
use crate::{count, sql, try_sql};

const MIGRATION_030: &str = include_str!("data/030_audit_events.sql");

/// No insert may wait longer than this, and what the machine itself takes.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// The same on a machine that other tests keep busy, unless the figure is what is tested.
fn longest_wait() -> Duration {
    if std::env::var_os("BLUETEAM_TEST_ADOPT_ROUNDS").is_some() {
        LONGEST_WAIT
    } else {
        2 * LONGEST_WAIT
    }
}

fn setting(name: &str, default: u32) -> u32 {
    std::env::var(name)
        .ok()
        .map_or(default, |value| value.parse().unwrap())
}

/// Who owns what migration 030 made.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Owner {
    Superuser,
    /// All of it.
    Plain,
    /// The database and the table of events, and a superuser the rest.
    PlainInPart,
}

/// A database with an application on it, in a cluster of its own.
struct App {
    server: Server,
    owner: Owner,
}

impl App {
    async fn new(bin: &std::path::Path, owner: Owner) -> Self {
        Self::on(Server::start(bin).await, owner).await
    }

    async fn on(server: Server, owner: Owner) -> Self {
        let app = Self { server, owner };
        let mut admin = app
            .server
            .options("postgres", "postgres")
            .connect()
            .await
            .unwrap();
        sql(&mut admin, "CREATE ROLE owner LOGIN CREATEROLE").await;

        sql(&mut admin, "CREATE DATABASE app OWNER owner").await;
        let mut conn = app.superuser().await;
        if owner == Owner::Plain {
            // The roles are made by whoever runs 030, so it may grant them.
            sql(&mut conn, "SET SESSION AUTHORIZATION owner").await;
        }

        sql(&mut conn, MIGRATION_030).await;
        sql(
            &mut conn,
            "RESET SESSION AUTHORIZATION; CREATE ROLE webapp LOGIN IN ROLE eqmon_audit_writer",
        )
        .await;

        if owner == Owner::PlainInPart {
            sql(&mut conn, "ALTER TABLE audit_events OWNER TO owner").await;
        }

        let rows = setting("BLUETEAM_TEST_ADOPT_ROWS", 20_000);
        // In another order than that of their times, as a heap that is filled, emptied and filled
        // again would hold them.
        let old = format!(
            "INSERT INTO audit_events (timestamp, created_at, category, action, result)
             SELECT at, at, 'access', 'page_view', 'success'
               FROM generate_series(1, {rows}) AS n, LATERAL (SELECT now() - interval '1 day' - n \
               * interval '1 minute' AS at) AS t
              ORDER BY md5(n::text)"
        );
        sql(&mut conn, &old).await;

        app
    }

    fn options(&self, login: &str) -> PgConnectOptions {
        self.server.options(login, "app")
    }

    async fn superuser(&self) -> PgConnection {
        self.options("postgres").connect().await.unwrap()
    }

    /// The login that migrates.
    async fn migrator(&self) -> PgConnection {
        let login = if self.owner == Owner::Superuser {
            "postgres"
        } else {
            "owner"
        };

        self.options(login)
            .application_name("migrator")
            .connect()
            .await
            .unwrap()
    }

    async fn assert_inserts_work(&self, what: &str) {
        let mut conn = self.options("webapp").connect().await.unwrap();
        let insert = "INSERT INTO audit_events (category, action, result) VALUES ('auth', \
            'probe', 'success')";
        if let Err(error) = try_sql(&mut conn, insert).await {
            panic!("{what}: {error}");
        }
    }
}

/// What six writers met.
#[derive(Debug, Default)]
struct Seen {
    written: i64,
    longest: Duration,
    refused: Vec<String>,
}

struct Writers {
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<Seen>>,
}

impl Writers {
    async fn start(app: &App) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = Vec::new();
        for style in 0..6 {
            let mut conn = app.options("webapp").connect().await.unwrap();
            let stop = stop.clone();
            tasks.push(tokio::spawn(async move {
                let mut seen = Seen::default();
                while !stop.load(Ordering::Relaxed) {
                    let since = Instant::now();
                    match write(&mut conn, style).await {
                        Ok(rows) => seen.written += rows,
                        Err(error) => seen.refused.push(error.to_string()),
                    }
                    seen.longest = seen.longest.max(since.elapsed());
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }

                seen
            }));
        }

        Self { stop, tasks }
    }

    async fn stop(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Seen::default();
        for task in self.tasks {
            let seen = task.await.unwrap();
            all.written += seen.written;
            all.longest = all.longest.max(seen.longest);
            all.refused.extend(seen.refused);
        }

        all
    }

    /// Stops, and holds to it that nobody noticed.
    async fn assert_undisturbed(self, what: &str, quiet: Duration) -> i64 {
        let seen = self.stop().await;
        assert!(
            seen.refused.is_empty(),
            "{what}: {} refused: {:?}",
            seen.refused.len(),
            &seen.refused[..1]
        );
        assert!(
            seen.longest < longest_wait() + quiet,
            "{what}: an insert waited for {:?}",
            seen.longest
        );

        eprintln!(
            "{what}: {} rows, longest wait {:?} (quiet {quiet:?})",
            seen.written, seen.longest
        );

        seen.written
    }
}

/// One insert, as drivers do it: prepared, unprepared, in a transaction, many rows, COPY, with an
/// id of its own.
async fn write(conn: &mut PgConnection, style: u8) -> Result<i64, sqlx::Error> {
    let insert =
        "INSERT INTO audit_events (category, action, result) VALUES ('auth', 'live', 'success')";
    match style {
        0 => sqlx::query("INSERT INTO audit_events (category, action, result) VALUES ($1, $2, $3)")
            .bind("auth")
            .bind("live")
            .bind("success")
            .execute(conn)
            .await
            .map(|_| 1),
        1 => conn.execute(insert).await.map(|_| 1),
        2 => {
            let mut tx = conn.begin().await?;
            (&mut *tx).execute(insert).await?;
            (&mut *tx).execute(insert).await?;
            tx.commit().await.map(|()| 2)
        }
        3 => {
            let two = "INSERT INTO audit_events (category, action, result)
                       VALUES ('auth', 'live', 'success'), ('data', 'live', 'denied')";
            conn.execute(two).await.map(|_| 2)
        }
        4 => {
            let mut copy = conn
                .copy_in_raw("COPY audit_events (category, action, result) FROM STDIN")
                .await?;
            copy.send(b"ai\tlive\tsuccess\n".as_slice()).await?;
            copy.finish().await.map(|_| 1)
        }
        _ => sqlx::query(
            "INSERT INTO audit_events (event_id, timestamp, category, action, result) \
             VALUES (gen_random_uuid(), now(), 'auth', 'live', 'failure') ON CONFLICT DO NOTHING",
        )
        .execute(conn)
        .await
        .map(|_| 1),
    }
}

/// The longest wait of the same writers while nothing else goes on: what the machine takes.
async fn quiet(app: &App) -> (Duration, i64) {
    let writers = Writers::start(app).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    let seen = writers.stop().await;
    assert!(seen.refused.is_empty(), "{:?}", seen.refused);
    (seen.longest, seen.written)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_do_not_notice_an_adoption() {
    for bin in binaries() {
        for owner in [Owner::Superuser, Owner::Plain] {
            for _ in 0..setting("BLUETEAM_TEST_ADOPT_ROUNDS", 1) {
                let app = App::new(&bin, owner).await;
                let what = format!("{} as {owner:?}", bin.display());
                let (quiet, before) = quiet(&app).await;
                let mut conn = app.superuser().await;
                let file = "pg_class WHERE oid = 'audit_events'::regclass AND relfilenode = ";
                let node: i64 =
                    sqlx::query_scalar("SELECT pg_relation_filenode('audit_events')::bigint")
                        .fetch_one(&mut conn)
                        .await
                        .unwrap();

                let writers = Writers::start(&app).await;
                let since = Instant::now();
                store::migrate(&mut app.migrator().await)
                    .await
                    .unwrap_or_else(|error| panic!("{what}: {error}"));
                eprintln!("{what}: migrated in {:?}", since.elapsed());
                tokio::time::sleep(Duration::from_millis(300)).await;

                let during = writers.assert_undisturbed(&what, quiet).await;

                assert_eq!(
                    count(&mut conn, &format!("{file}{node}")).await,
                    1,
                    "{what}: the table was rewritten"
                );
                assert_eq!(
                    count(&mut conn, "audit_events WHERE action = 'live'").await,
                    before + during,
                    "{what}"
                );

                let index = "pg_index WHERE indexrelid = 'idx_audit_xact'::regclass AND \
                    indisvalid AND indisready";
                assert_eq!(count(&mut conn, index).await, 1, "{what}");
                let mut webapp = app.options("webapp").connect().await.unwrap();
                for (column, value) in [("seq", "1"), ("xact_id", "'1'"), ("created_at", "now()")] {
                    let text = format!(
                        "INSERT INTO audit_events (category, action, result, {column}) OVERRIDING \
                            SYSTEM VALUE \
                         VALUES ('auth', 'forged', 'success', {value})"
                    );
                    assert!(
                        try_sql(&mut webapp, &text).await.is_err(),
                        "{what}: {column}"
                    );
                }

                assert!(
                    try_sql(&mut conn, "DELETE FROM audit_events")
                        .await
                        .is_err(),
                    "{what}"
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_transaction_delays_the_adoption_and_no_writer() {
    let app = App::new(&binaries()[0], Owner::Superuser).await;
    let (quiet, _) = quiet(&app).await;
    let mut reader = app
        .options("postgres")
        .application_name("a report")
        .connect()
        .await
        .unwrap();
    sql(&mut reader, "BEGIN; SELECT count(*) FROM audit_events").await;

    let writers = Writers::start(&app).await;

    let error = store::migrate_within(
        &mut app.migrator().await,
        Patience(Duration::from_secs(4)),
        &mut |_| {},
    )
    .await
    .unwrap_err();
    let text = error.to_string();
    let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
        .fetch_one(&mut reader)
        .await
        .unwrap();

    for expect in [
        &*format!("pid {pid} "),
        "\"postgres\"",
        "\"a report\"",
        "since 20",
        "audit_events",
        "blueteam migrate",
    ] {
        assert!(text.contains(expect), "{expect}: {text}");
    }

    let StoreError::Migration(error) = error else {
        panic!("{text}")
    };
    assert!(matches!(&*error, MigrationError::Blocked(_)), "{text}");

    // The same, and this time the reader ends.
    let mut migrator = app.migrator().await;
    let adoption = tokio::spawn(async move { store::migrate(&mut migrator).await });
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(!adoption.is_finished());
    sql(&mut reader, "COMMIT").await;
    adoption.await.unwrap().unwrap();
    writers.assert_undisturbed("beside a reader", quiet).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vacuum_gives_way_to_the_adoption() {
    // A vacuum that takes minutes, as one of a large table does.
    let slow = [
        "autovacuum_naptime=1s",
        "autovacuum_vacuum_cost_delay=100ms",
        "autovacuum_vacuum_cost_limit=1",
    ];
    let server = Server::start_with(&binaries()[0], &slow).await;
    let app = App::on(server, Owner::Plain).await;
    let (quiet, _) = quiet(&app).await;
    let mut conn = app.superuser().await;
    let since = Instant::now();
    while count(
        &mut conn,
        "pg_stat_progress_vacuum WHERE relid = 'audit_events'::regclass",
    )
    .await
        == 0
    {
        assert!(since.elapsed() < Duration::from_mins(1), "no vacuum begins");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let writers = Writers::start(&app).await;
    store::migrate_within(
        &mut app.migrator().await,
        Patience(Duration::from_secs(30)),
        &mut |_| {},
    )
    .await
    .unwrap();
    writers.assert_undisturbed("beside a vacuum", quiet).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_build_waits_for_old_transactions_and_is_taken_up_again() {
    let app = App::new(&binaries()[0], Owner::Superuser).await;
    let (quiet, _) = quiet(&app).await;

    // Sees the table as it is now, and holds no lock on it.
    let mut reader = app.superuser().await;
    sql(&mut reader, "CREATE TABLE other ()").await;
    sql(
        &mut reader,
        "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM other",
    )
    .await;

    let writers = Writers::start(&app).await;
    let error = store::migrate_within(
        &mut app.migrator().await,
        Patience(Duration::from_secs(6)),
        &mut |_| {},
    )
    .await
    .unwrap_err();
    assert!(error.to_string().contains("building the index"), "{error}");
    sql(&mut reader, "COMMIT").await;
    store::migrate(&mut app.migrator().await).await.unwrap();
    writers
        .assert_undisturbed("beside an old snapshot", quiet)
        .await;

    let index = "pg_index WHERE indrelid = 'audit_events'::regclass AND indexrelid = \
        'idx_audit_xact'::regclass AND indisvalid";
    assert_eq!(count(&mut app.superuser().await, index).await, 1);
    assert_eq!(
        count(&mut app.superuser().await, "pg_index WHERE NOT indisvalid").await,
        0
    );
}

#[tokio::test]
async fn a_migration_that_fails_leaves_rights_as_they_were() {
    let app = App::new(&binaries()[0], Owner::Superuser).await;
    let mut conn = app.superuser().await;
    let rights = "SELECT relacl::text FROM pg_class WHERE oid = 'audit_events'::regclass";
    let before: String = sqlx::query_scalar(rights)
        .fetch_one(&mut conn)
        .await
        .unwrap();

    // The product's tables of these names collide with what is there.
    for (table, version) in [
        ("blueteam.ssp_sections", 3),
        ("audit.audit_log", 6),
        ("blueteam.mutes", 13),
        ("blueteam.database_positions", 33),
    ] {
        sql(
            &mut conn,
            &format!("CREATE SCHEMA IF NOT EXISTS audit; CREATE TABLE {table} (other text)"),
        )
        .await;

        let error = store::migrate(&mut app.migrator().await)
            .await
            .unwrap_err()
            .to_string();
        for expect in [
            &*format!("migration {version} "),
            "as before",
            "run `blueteam migrate` again",
        ] {
            assert!(error.contains(expect), "{table}: {error}");
        }

        app.assert_inserts_work(table).await;
        let now: String = sqlx::query_scalar(rights)
            .fetch_one(&mut conn)
            .await
            .unwrap();
        assert!(
            now.starts_with(before.trim_end_matches('}')),
            "{table}: {before} became {now}"
        );

        sql(&mut conn, &format!("DROP TABLE {table}")).await;
    }

    store::migrate(&mut app.migrator().await).await.unwrap();
    app.assert_inserts_work("adopted").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_adoption_may_be_killed_anywhere() {
    let app = App::new(&binaries()[0], Owner::Superuser).await;
    let (quiet, _) = quiet(&app).await;
    let writers = Writers::start(&app).await;
    let mut conn = app.superuser().await;
    let mut killed = 0;
    for pause in (5..).step_by(35) {
        let mut migrator = app.migrator().await;
        let adoption = tokio::spawn(async move { store::migrate(&mut migrator).await });
        tokio::time::sleep(Duration::from_millis(pause)).await;
        sql(
            &mut conn,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE \
            application_name = 'migrator'",
        )
        .await;

        let done = adoption.await.unwrap();
        app.assert_inserts_work(&format!("killed after {pause} ms"))
            .await;
        if done.is_ok() {
            break;
        }

        killed += 1;
        assert!(killed < 200, "{done:?}");
    }

    assert!(killed > 2, "killed {killed} times only");
    writers.assert_undisturbed("killed", quiet).await;
}

/// What the refusal asks for, run by a superuser.
async fn grant_what_is_lacking(app: &App, error: &StoreError) -> Vec<String> {
    let StoreError::Migration(error) = error else {
        panic!("{error}")
    };
    let MigrationError::Lacking(lacking) = &**error else {
        panic!("{error}")
    };
    let mut conn = app.superuser().await;
    for statement in &lacking.statements {
        sql(&mut conn, statement).await;
    }

    lacking.statements.clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_that_owns_too_little_is_told_all_it_lacks_before_anything_changes() {
    for bin in binaries() {
        let app = App::new(&bin, Owner::PlainInPart).await;
        let what = bin.display().to_string();
        let mut conn = app.superuser().await;
        sql(
            &mut conn,
            "ALTER ROLE owner NOCREATEROLE; CREATE VIEW blueteam.\"Their view\" AS SELECT 1",
        )
        .await;

        let schema = "SELECT string_agg(c.oid::regclass || coalesce(relacl::text, ''), ' ' ORDER \
            BY c.oid)
                        FROM pg_class c WHERE relnamespace::regnamespace::text IN ('public', \
                        'blueteam', 'users', 'audit')";
        let before: String = sqlx::query_scalar(schema)
            .fetch_one(&mut conn)
            .await
            .unwrap();

        let error = store::migrate(&mut app.migrator().await).await.unwrap_err();
        let after: String = sqlx::query_scalar(schema)
            .fetch_one(&mut conn)
            .await
            .unwrap();
        assert_eq!(before, after, "{what}");
        app.assert_inserts_work(&what).await;

        let asked = grant_what_is_lacking(&app, &error).await;
        for expect in [
            "ALTER SCHEMA blueteam OWNER TO owner;",
            "ALTER VIEW blueteam.\"Their view\" OWNER TO owner;",
            "CREATE ROLE blueteam_engine NOLOGIN;",
        ] {
            assert!(
                asked.iter().any(|statement| statement == expect),
                "{what}: {asked:?}"
            );
        }

        assert!(error.to_string().contains(&asked.join("\n    ")), "{error}");

        store::migrate(&mut app.migrator().await)
            .await
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        app.assert_inserts_work(&what).await;
        let mut owner = app.migrator().await;
        for role in ["blueteam_engine", "blueteam_ingest", "blueteam_admin"] {
            sql(&mut owner, &format!("SET ROLE {role}; RESET ROLE")).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_makes_an_empty_database() {
    for bin in binaries() {
        let server = Server::start(&bin).await;
        let mut admin = server
            .options("postgres", "postgres")
            .connect()
            .await
            .unwrap();
        sql(&mut admin, "CREATE ROLE owner LOGIN CREATEROLE").await;

        // The second finds the roles that the first made, in another database of the cluster.
        for database in ["one", "two"] {
            sql(
                &mut admin,
                &format!("CREATE DATABASE {database} OWNER owner"),
            )
            .await;

            let mut owner = server.options("owner", database).connect().await.unwrap();
            store::migrate(&mut owner)
                .await
                .unwrap_or_else(|error| panic!("{}: {error}", bin.display()));
            for role in ["blueteam_engine", "blueteam_ingest", "blueteam_admin"] {
                sql(&mut owner, &format!("SET ROLE {role}; RESET ROLE")).await;
            }

            store::ensure_partitions(&mut owner, 4).await.unwrap();
        }
    }
}
