//! The daemon runs as a login that owns nothing, set up as docs/operations.md says.

use std::process::Stdio;

use serde_json::Value;
use sqlx::{AssertSqlSafe, Executor as _, PgConnection};

use super::daemon::{Daemon, PATIENCE, alert_comes, failure};
use super::spools::Server;

/// The code blocks of the section, with names that nothing else on the server has.
fn documented() -> [String; 3] {
    let text = include_str!("../../../../../docs/operations.md");
    let section = text
        .split("\n## ")
        .find(|section| section.starts_with("A login that owns nothing"))
        .unwrap();
    let blocks: Vec<String> = section
        .split("\n\n")
        .filter(|block| block.starts_with("    "))
        .map(|block| {
            block
                .replace("blueteam_owner", "records_owner")
                .replace("blueteam_service", "records_service")
                .replace("DATABASE blueteam ", "DATABASE records ")
                .replace('…', "secret")
        })
        .collect();

    assert!(blocks[1].contains("blueteam migrate"), "{blocks:?}");
    blocks.try_into().unwrap()
}

async fn run_sql(conn: &mut PgConnection, script: &str) {
    for statement in script.split_inclusive(';') {
        let done = conn.execute(AssertSqlSafe(statement.to_owned())).await;
        assert!(done.is_ok(), "{statement}: {done:?}");
    }
}

/// What a command that must work prints.
fn run(daemon: &Daemon, args: &[&str]) -> String {
    let out = daemon.command().args(args).output().unwrap();
    let (text, errors) = (
        String::from_utf8_lossy(&out.stdout).into_owned(),
        String::from_utf8_lossy(&out.stderr).into_owned(),
    );
    assert!(
        matches!(out.status.code(), Some(0 | 3)) && !errors.contains("denied"),
        "{args:?}: {text}{errors}"
    );
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_daemon_runs_as_a_login_that_owns_nothing() {
    let mut server = Server::new().await;
    let [logins, _, grants] = documented();
    let mut superuser = server.connect_to("postgres").await;
    run_sql(&mut superuser, &logins).await;

    let url = server.url_file_of("records_service", "secret", "records");
    let owner = std::fs::read_to_string(server.url_file_of("records_owner", "secret", "records"));
    let mut daemon = Daemon::stopped(&format!("[database]\nurl_file = \"{url}\"\n"));
    let migrate = || {
        let mut command = daemon.command();
        command
            .env("DATABASE_URL", owner.as_ref().unwrap())
            .arg("migrate");
        let out = command.stdin(Stdio::null()).output().unwrap();
        assert!(
            out.status.success(),
            "{}",
            String::from_utf8_lossy(&out.stderr)
        );
    };

    migrate();
    run_sql(&mut superuser, &grants).await;
    daemon.start().await;

    // Taking in, detection and alerts.
    daemon
        .client()
        .send(&vec![failure("192.0.2.7", "root"); 6])
        .await;
    let mut records = server.connect_to("records").await;
    alert_comes(&mut records, "brute_force", "192.0.2.7", PATIENCE).await;

    // People's commands, checks with their evidence, upkeep.
    let alerts: Value = serde_json::from_str(&run(&daemon, &["alerts", "list", "--json"])).unwrap();
    run(
        &daemon,
        &["alerts", "ack", alerts[0]["alert_id"].as_str().unwrap()],
    );
    run(&daemon, &["compliance", "checks", "run"]);
    run(&daemon, &["monitors", "list"]);
    run(&daemon, &["migrate"]);
    let engine = "SET ROLE blueteam_engine; SELECT blueteam.ensure_partitions(4); \
        SELECT audit.drop_old_events(12); RESET ROLE";
    run_sql(&mut records, engine).await;

    let status: Value = serde_json::from_str(&run(&daemon, &["status", "--json"])).unwrap();
    let login = &status["login"];
    assert_eq!(login["name"], "records_service", "{status}");
    assert_eq!(
        (&login["owned_tables"], &login["superuser"]),
        (&0.into(), &false.into())
    );

    let log = daemon.log();
    for trouble in [
        "denied",
        "must be owner",
        "ERROR",
        "owns the product's tables",
    ] {
        assert!(!log.contains(trouble), "{trouble}: {log}");
    }

    // A schema that is behind is refused, with what to do and as whom.
    assert!(daemon.terminate().await.success(), "{}", daemon.log());
    let newest = "DELETE FROM _sqlx_migrations
        WHERE version = (SELECT max(version) FROM _sqlx_migrations)";
    run_sql(&mut records, newest).await;
    let out = daemon.command().arg("serve").output().unwrap();
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(!out.status.success());
    assert!(
        errors.contains("belongs to \"records_owner\": run `blueteam migrate` once"),
        "{errors}"
    );
    drop((superuser, records));
    server.stop().await;
}
