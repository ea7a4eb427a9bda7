//! Applications with databases of their own: each is read by itself, and one that is away holds up
//! no other.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Executor as _, PgConnection};
use testkit::TestDb;
use tokio::time::sleep;

use super::daemon::{Daemon, PATIENCE, alert_comes};

/// The documents' table, and nothing of ours.
const TABLE: &str = "CREATE TABLE audit_events (event_id UUID PRIMARY KEY DEFAULT \
    gen_random_uuid(), timestamp TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    category TEXT NOT NULL, action TEXT NOT NULL, result TEXT NOT NULL, user_id UUID, session_id \
    TEXT, ip_address INET, user_agent VARCHAR(500),
    resource_type TEXT, resource_id TEXT, instance_id UUID, cui_accessed BOOLEAN DEFAULT FALSE, \
    metadata JSONB DEFAULT '{}',
    created_at TIMESTAMPTZ NOT NULL DEFAULT NOW()); CREATE INDEX idx_audit_ts ON audit_events \
    (timestamp DESC)";

/// A database with that table, and the file with the URL of a login that may read it.
async fn application(dir: &Path, name: &str) -> (TestDb, PgConnection, String) {
    let db = TestDb::empty().await;
    let mut owner = db.connect().await;
    let login = format!("{name}_{}", std::process::id());
    run(&mut owner, TABLE).await;

    run(
        &mut owner,
        &format!(
            "DROP ROLE IF EXISTS {login}; CREATE ROLE {login} LOGIN PASSWORD \
        'x'; GRANT SELECT ON audit_events TO {login}"
        ),
    )
    .await;

    let options = db.options().username(&login).password("x");
    let url = sqlx::ConnectOptions::to_url_lossy(&options).to_string();
    std::fs::write(dir.join(name), url).unwrap();
    let path = dir.join(name);
    let config = format!(
        "[[collect.databases]]\nservice = \"{name}\"\nurl_file = \"{}\"\npoll = \"200ms\"\nsweep \
            = \"2s\"\n",
        path.display()
    );

    (db, owner, config)
}

async fn run(conn: &mut PgConnection, text: &str) {
    conn.execute(sqlx::raw_sql(AssertSqlSafe(text.to_owned())))
        .await
        .unwrap();
}

/// Failed logins of one address, each in a transaction of its own.
async fn fail(conn: &mut PgConnection, ip: &str, times: u32) {
    for _ in 0..times {
        let text = format!(
            "INSERT INTO audit_events (category, action, result, ip_address) VALUES ('auth', \
                'login_failed', 'failure', '{ip}')"
        );
        run(conn, &text).await;
    }
}

fn source(daemon: &Daemon, name: &str) -> Value {
    let output = daemon
        .command()
        .args(["sources", "list", "--json"])
        .output()
        .unwrap();
    let rows: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    rows.into_iter()
        .find(|row| row["source_id"] == format!("database:{name}"))
        .unwrap_or_default()
}

async fn until(what: &str, daemon: &Daemon, mut holds: impl FnMut() -> bool) {
    let since = Instant::now();
    while !holds() {
        assert!(
            since.elapsed() < PATIENCE,
            "{what} did not happen:\n{}",
            daemon.log()
        );
        sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_databases_are_read_and_one_that_is_away_holds_up_none() {
    let dir = tempfile::tempdir().unwrap();
    let (artemis, mut artemis_app, one) = application(dir.path(), "artemis").await;
    let (_mqtt, mut mqtt_app, two) = application(dir.path(), "mqtt").await;
    fail(&mut artemis_app, "203.0.113.7", 3).await;
    let mut daemon = Daemon::new(&format!("{one}{two}")).await;

    fail(&mut artemis_app, "203.0.113.7", 3).await;
    fail(&mut mqtt_app, "203.0.113.8", 6).await;
    let mut conn = daemon.connect().await;
    for ip in ["203.0.113.7", "203.0.113.8"] {
        alert_comes(&mut conn, "brute_force", ip, PATIENCE).await;
    }

    until("the accounts", &daemon, || {
        source(&daemon, "artemis")["accepted"] == 6 && source(&daemon, "mqtt")["accepted"] == 6
    })
    .await;
    let listed = daemon
        .command()
        .args(["alerts", "list", "--service", "mqtt", "--json"])
        .output()
        .unwrap();
    let listed: Vec<Value> = serde_json::from_slice(&listed.stdout).unwrap();

    assert!(
        !listed.is_empty()
            && listed
                .iter()
                .all(|alert| alert["services"] == json!(["mqtt"])),
        "{listed:?}"
    );

    // One is gone: its connections are cut, and it takes no new ones. The other goes on, also over
    // a kill of the daemon.
    let admin = TestDb::empty().await;
    let name: String = sqlx::query_scalar("SELECT current_database()")
        .fetch_one(&mut artemis_app)
        .await
        .unwrap();
    let mut outside = admin.connect().await;
    run(
        &mut outside,
        &format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false"),
    )
    .await;

    let cut = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}' AND \
            application_name = 'blueteam'"
    );
    run(&mut outside, &cut).await;
    fail(&mut artemis_app, "203.0.113.9", 6).await;
    until("the outage", &daemon, || {
        source(&daemon, "artemis")["silent_since"].is_string()
    })
    .await;

    fail(&mut mqtt_app, "203.0.113.10", 6).await;
    alert_comes(&mut conn, "brute_force", "203.0.113.10", PATIENCE).await;
    alert_comes(&mut conn, "audit_log_gap", "blueteam collector", PATIENCE).await;
    daemon.kill();
    fail(&mut mqtt_app, "203.0.113.11", 6).await;
    daemon.start().await;

    let mut conn = daemon.connect().await;
    alert_comes(&mut conn, "brute_force", "203.0.113.11", PATIENCE).await;

    // It is back: what was written meanwhile comes, once.
    run(
        &mut outside,
        &format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true"),
    )
    .await;
    alert_comes(&mut conn, "brute_force", "203.0.113.9", PATIENCE).await;
    until("the end of the outage", &daemon, || {
        source(&daemon, "artemis")["silent_since"].is_null()
    })
    .await;

    for (name, events) in [("artemis", 12), ("mqtt", 18)] {
        let row = source(&daemon, name);
        assert_eq!(
            (&row["received"], &row["accepted"]),
            (&json!(events), &json!(events)),
            "{row}"
        );
    }

    let gaps: Vec<(String, bool)> = sqlx::query_as(
        "SELECT cause, ended_at IS NOT NULL FROM blueteam.source_gaps WHERE source_id = \
            'database:artemis'",
    )
    .fetch_all(&mut conn)
    .await
    .unwrap();
    assert_eq!(gaps, [("outage".to_owned(), true)]);

    drop((artemis, admin));
}
