//! What the database says about its upkeep, and the statistics that are taken.

use model::Clock as _;
use model::{Actor, Span, SystemClock};
use sqlx::{AssertSqlSafe, ConnectOptions as _, PgConnection};
use store::upkeep::{self, Disk};
use testkit::TestDb;

use crate::servers::{Server, binaries};
use crate::{at, count, person, sql, try_sql};

async fn text(conn: &mut PgConnection, query: &str) -> Option<String> {
    sqlx::query_scalar(AssertSqlSafe(query.to_owned()))
        .fetch_one(conn)
        .await
        .unwrap()
}

#[tokio::test]
async fn statistics_are_taken_of_our_tables_and_of_no_other() {
    let db = TestDb::new().await;
    let mut owner = db.connect().await;
    sql(
        &mut owner,
        "CREATE TABLE public.orders (n int); INSERT INTO public.orders VALUES (1);
         CREATE TABLE users.profiles (n int); INSERT INTO users.profiles VALUES (1);
         INSERT INTO audit_events (category, action, result) VALUES ('auth', 'login', 'success')",
    )
    .await;

    let mut engine = db.connect_as("blueteam_engine").await;
    assert_eq!(upkeep::last_analyze(&mut engine).await.unwrap(), None);
    upkeep::analyze(&mut engine, &Actor::task("upkeep"))
        .await
        .unwrap();
    let run = upkeep::last_analyze(&mut engine).await.unwrap().unwrap();
    assert_eq!(
        (run.done_by.as_str(), &run.skipped),
        ("upkeep", &Vec::new())
    );
    assert!(run.analyzed > 50, "{run:?}");

    // The partitioned table has statistics of its own, which autovacuum never takes.
    let known = "pg_stats WHERE tablename = 'audit_events' AND inherited";
    assert!(count(&mut owner, known).await > 0);
    let others = "pg_stats WHERE tablename IN ('orders', 'profiles')";
    assert_eq!(count(&mut owner, others).await, 0);

    // Whoever may have it done may have it done to nothing else, and in nobody else's name.
    let mut admin = db.connect_as("blueteam_admin").await;
    for name in [
        "public.orders",
        "users.profiles",
        "pg_catalog.pg_authid",
        "x; DROP TABLE y",
    ] {
        let done = format!("SELECT blueteam.analyze_table('{name}')::text");
        assert_eq!(
            text(&mut admin, &done).await.as_deref(),
            Some("false"),
            "{name}"
        );
    }
    let forged = "INSERT INTO blueteam.analyze_runs (done_by, analyzed) VALUES ('alice', 1)";
    try_sql(&mut admin, forged).await.unwrap_err();
    upkeep::analyze(&mut admin, &person("alice")).await.unwrap();
    let run = upkeep::last_analyze(&mut admin).await.unwrap().unwrap();
    assert_eq!(run.done_by, "alice");

    for role in ["blueteam_ingest", "blueteam_reader", "blueteam_accounts"] {
        let mut other = db.connect_as(role).await;
        try_sql(
            &mut other,
            "SELECT blueteam.analyze_table('public.audit_events')",
        )
        .await
        .unwrap_err();
    }
}

#[tokio::test]
async fn a_table_that_is_locked_is_skipped_and_named() {
    let db = TestDb::new().await;
    let mut holder = db.connect().await;
    sql(&mut holder, "BEGIN; LOCK TABLE blueteam.silences").await;
    let mut engine = db.connect_as("blueteam_engine").await;
    upkeep::analyze(&mut engine, &Actor::task("upkeep"))
        .await
        .unwrap();
    let run = upkeep::last_analyze(&mut engine).await.unwrap().unwrap();
    assert_eq!(run.skipped, ["blueteam.silences"]);
}

#[tokio::test]
async fn one_sample_a_day_is_kept() {
    let db = TestDb::new().await;
    let mut engine = db.connect_as("blueteam_engine").await;
    let disk = Disk { used: 1, size: 2 };
    assert!(
        upkeep::add_sample(&mut engine, at(0), Some(disk))
            .await
            .unwrap()
    );
    assert!(
        !upkeep::add_sample(&mut engine, at(3600), None)
            .await
            .unwrap()
    );
    assert!(
        upkeep::add_sample(&mut engine, at(86_400), None)
            .await
            .unwrap()
    );
    let old = at(-800 * 86_400);
    assert!(upkeep::add_sample(&mut engine, old, None).await.unwrap());
    upkeep::forget_samples(&mut engine, at(0)).await.unwrap();

    let mut admin = db.connect_as("blueteam_admin").await;
    let samples = upkeep::samples(&mut admin, old).await.unwrap();
    let disks: Vec<_> = samples.iter().map(|s| s.disk).collect();
    assert_eq!(disks, [Some(disk), None]);
    assert!(samples.iter().all(|s| s.database_bytes > 1_000_000));
}

#[tokio::test]
async fn failures_are_counted_by_account_and_by_address() {
    let db = TestDb::new().await;
    let mut owner = db.connect().await;
    let now = SystemClock.now();
    // Three addresses try alice; one of them tries two other accounts. The last is of another day.
    for (account, address, hours) in [
        ("alice", "203.0.113.1", 0),
        ("alice", "203.0.113.2", 0),
        ("alice", "203.0.113.3", 48),
        ("bob", "203.0.113.1", 0),
        ("carol", "203.0.113.1", 0),
    ] {
        sql(
            &mut owner,
            &format!(
                "INSERT INTO audit_events (timestamp, category, action, result, ip_address, metadata)
                 VALUES (now() - interval '{hours} hours', 'auth', 'login_failed', 'failure', '{address}',
                         '{{\"username\": \"{account}\"}}')"
            ),
        )
        .await;
    }
    sql(
        &mut owner,
        "INSERT INTO blueteam.log_events (timestamp, source, category, action, result, account, occurrences)
         VALUES (now(), 'syslog', 'auth', 'login', 'failure', 'alice', 7),
                (now(), 'syslog', 'auth', 'account_locked', 'success', 'alice', 1),
                (now(), 'syslog', 'auth', 'login', 'success', 'dana', 1)",
    )
    .await;

    let mut admin = db.connect_as("blueteam_admin").await;
    let (week, day) = (now.minus(Span::days(7)), now.minus(Span::hours(24)));
    let rows = upkeep::sign_in_failures(&mut admin, week, day, 2)
        .await
        .unwrap();
    let found: Vec<_> = rows
        .iter()
        .map(|r| {
            let name = r.name.as_deref().unwrap_or("-");
            (
                r.kind.as_str(),
                r.by.as_str(),
                name,
                r.today,
                r.week,
                r.others,
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            ("failed", "account", "alice", 9, 10, 3),
            ("failed", "account", "bob", 1, 1, 1),
            ("failed", "address", "203.0.113.1", 3, 3, 3),
            ("failed", "address", "203.0.113.2", 1, 1, 1),
            ("failed", "all", "-", 11, 12, 3),
            ("locked", "account", "alice", 1, 1, 0),
            ("locked", "all", "-", 1, 1, 1),
        ]
    );
}

#[tokio::test]
async fn an_index_of_partitions_is_one_and_a_unique_one_is_marked() {
    let db = TestDb::new().await;
    let mut owner = db.connect().await;
    sql(
        &mut owner,
        "CREATE TABLE things (id int PRIMARY KEY, day date, code int);
         CREATE INDEX things_by_code ON things (code);
         INSERT INTO things SELECT n, current_date, n FROM generate_series(1, 20000) n;
         CREATE TABLE parts (day date, code int) PARTITION BY RANGE (day);
         CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
         CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
         CREATE INDEX parts_by_code ON parts (code);
         INSERT INTO parts SELECT '2026-01-15'::date + n % 30, n FROM generate_series(1, 20000) n",
    )
    .await;

    let mut admin = db.connect_as("blueteam_admin").await;
    let all = upkeep::unused_indexes(&mut admin, 1000).await.unwrap();
    let named = |name: &str| all.iter().find(|i| i.name == name);
    assert!(named("things_pkey").unwrap().constrains);
    assert!(!named("things_by_code").unwrap().constrains);
    let whole = named("parts_by_code").unwrap();
    assert_eq!(whole.table, "parts");
    let (one, two): (i64, i64) = sqlx::query_as(
        "SELECT pg_relation_size('parts_1_code_idx'), pg_relation_size('parts_2_code_idx')",
    )
    .fetch_one(&mut owner)
    .await
    .unwrap();
    assert_eq!(whole.bytes, (one + two).unsigned_abs());
    assert!(named("parts_1_code_idx").is_none());

    let largest = upkeep::largest_tables(&mut admin, 2).await.unwrap();
    let names: Vec<_> = largest.iter().map(|t| t.name.as_str()).collect();
    assert!(
        names.contains(&"parts") && names.contains(&"things"),
        "{names:?}"
    );
}

#[tokio::test]
async fn accounts_are_held_against_the_policy_of_their_tenant() {
    let db = TestDb::new().await;
    let mut owner = db.connect().await;
    let insert = "INSERT INTO users.users
                      (username, email, role, password_hash, password_last_changed, must_change_password)
                  VALUES ('alice', 'alice@x.example', 'user', '$argon2id$x', now() - interval '40 days', false),
                         ('bob', 'bob@x.example', 'user', '$argon2id$x', now(), true)";
    sql(&mut owner, insert).await;
    let mut admin = db.connect_as("blueteam_admin").await;
    let now = SystemClock.now();
    let states = upkeep::password_states(&mut admin, now).await.unwrap();
    let found: Vec<_> = states
        .iter()
        .map(|s| {
            (
                s.username.as_str(),
                s.is_past_age,
                s.has_no_factor,
                s.must_change,
            )
        })
        .collect();
    // The first policy has no age.
    assert_eq!(
        found,
        [("alice", false, true, false), ("bob", false, true, true)]
    );

    sql(
        &mut owner,
        "UPDATE users.password_policies SET max_age_days = 30",
    )
    .await;
    let states = upkeep::password_states(&mut admin, now).await.unwrap();
    let past: Vec<_> = states.iter().map(|s| s.is_past_age).collect();
    assert_eq!(past, [true, false]);
}

#[tokio::test]
async fn statements_are_shown_without_what_may_be_a_secret() {
    let bin = binaries().into_iter().next_back().unwrap();
    let server = Server::start_with(&bin, &["shared_preload_libraries=pg_stat_statements"]).await;
    let mut owner = server
        .options("postgres", "postgres")
        .connect()
        .await
        .unwrap();
    store::migrate(&mut owner).await.unwrap();
    let mut admin = server
        .options("postgres", "postgres")
        .connect()
        .await
        .unwrap();
    sql(&mut admin, "SET ROLE blueteam_admin").await;

    let totals = upkeep::statement_totals(&mut admin).await.unwrap();
    assert!(totals.why.unwrap().contains("is not in this database"));

    sql(&mut owner, "CREATE EXTENSION pg_stat_statements").await;
    for query in [
        "SELECT 'hunter2', 4711 FROM pg_class /* hunter2 */",
        "SELECT 1 AS a -- hunter2",
        "CREATE ROLE somebody PASSWORD 'hunter2'",
        "DO $$ BEGIN PERFORM 'hunter2'; END $$",
    ] {
        sql(&mut owner, query).await;
    }

    let totals = upkeep::statement_totals(&mut admin).await.unwrap();
    assert_eq!((totals.why, totals.hidden), (None, 0));
    assert!(totals.calls > 3 && totals.mean_ms.unwrap() > 0.0 && totals.since.is_some());
    let all = upkeep::slow_statements(&mut admin, 100).await.unwrap();
    assert!(
        all.iter().any(|s| s.statement.contains("FROM pg_class")),
        "{all:#?}"
    );
    for shown in &all {
        let word = shown.statement.split(' ').next().unwrap().to_uppercase();
        assert!(["SELECT", "INSERT", "UPDATE", "DELETE"].contains(&word.as_str()));
        assert!(!shown.statement.contains("hunter2") && shown.statement.len() <= 300);
    }

    // The extension forgets constants; what it keeps as it was is masked once more.
    for (query, expected) in [
        (
            "select a from b where c = 'hunter2' and d = 12.5",
            Some("select a from b where c = ? and d = ?"),
        ),
        (
            "UPDATE a SET b1 = $1 -- hunter2\nWHERE c = $2",
            Some("UPDATE a SET b1 = $1 ? WHERE c = $2"),
        ),
        (
            "/* hunter2 */ DELETE FROM a WHERE b = 'it''s hunter2'",
            Some("DELETE FROM a WHERE b = ?"),
        ),
        (r"SELECT E'\'hunter2'", Some("SELECT …")),
        ("SELECT $x$hunter2$x$", Some("SELECT …")),
        ("SELECT \"a'b\" = 'hunter2' AND \"c'd\"", Some("SELECT …")),
        ("SELECT /* a /* b */ hunter2 */ 1", Some("SELECT …")),
        ("SELECT 'hunter2", Some("SELECT …")),
        ("ALTER ROLE a PASSWORD 'hunter2'", None),
        ("COPY a FROM '/hunter2'", None),
        ("<insufficient privilege>", None),
    ] {
        let shown: Option<String> = sqlx::query_scalar("SELECT blueteam.statement_text($1)")
            .bind(query)
            .fetch_one(&mut owner)
            .await
            .unwrap();
        let shown = shown.map(|s| s.split_whitespace().collect::<Vec<_>>().join(" "));
        assert_eq!(shown.as_deref(), expected, "{query}");
    }

    // A view of that name that somebody else made is not the extension's.
    sql(
        &mut owner,
        "DROP EXTENSION pg_stat_statements; CREATE VIEW public.pg_stat_statements AS SELECT 1 AS calls",
    )
    .await;
    let totals = upkeep::statement_totals(&mut admin).await.unwrap();
    assert!(totals.why.is_some());
    assert_eq!(upkeep::slow_statements(&mut admin, 9).await.unwrap(), []);
}
