//! A newer program on a database that has been used waits for a backup before it migrates.

use std::fs;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::daemon::{Daemon, PATIENCE, failure};
use super::offline::keys_kept;
use super::spools::Server;

/// A migration that may be applied twice.
const REPEATABLE: i64 = 52;

/// Makes the database that of an older program, in use for a month.
async fn age(server: &mut Server) {
    let mut conn = server.connect().await;
    sqlx::query("DELETE FROM _sqlx_migrations WHERE version = $1")
        .bind(REPEATABLE)
        .execute(&mut conn)
        .await
        .unwrap();
    sqlx::query("UPDATE _sqlx_migrations SET installed_on = installed_on - interval '30 days'")
        .execute(&mut conn)
        .await
        .unwrap();
}

async fn says(daemon: &Daemon, what: &str) {
    let since = Instant::now();
    while !daemon.log().contains(what) {
        assert!(since.elapsed() < PATIENCE, "no {what:?}:\n{}", daemon.log());
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_without_a_backup_waits_and_loses_nothing() {
    let mut server = Server::new().await;
    let url = server.url_file();
    let backups = tempfile::tempdir().unwrap();
    let dump = backups.path().join("blueteam.dump");
    let mut daemon = Daemon::new(&format!(
        "[database]\nurl_file = \"{url}\"\n[monitors]\nbackup_files = [\"{}\"]\n",
        backups.path().join("*.dump").display()
    ))
    .await;
    let client = daemon.client();
    client.answers(&[failure("192.0.2.78", "root")], 200).await;
    keys_kept(&daemon, 1).await;
    assert!(daemon.terminate().await.success(), "{}", daemon.log());
    age(&mut server).await;

    // A backup of last month is none, and the command says so, too.
    fs::write(&dump, "a dump").unwrap();
    let month = Duration::from_hours(30 * 24);
    let old = std::time::SystemTime::now() - month;
    fs::File::options()
        .write(true)
        .open(&dump)
        .unwrap()
        .set_modified(old)
        .unwrap();
    let refused = daemon.command().arg("migrate").output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(why.contains("more than a day ago"), "{why}");
    assert!(why.contains("blueteam migrate --without-backup"), "{why}");

    // The daemon waits with an open door.
    daemon.start_unready();
    says(&daemon, "not upgrading: the database lacks 1 migration").await;
    client.answers(&[failure("192.0.2.78", "root")], 202).await;
    let doctor = daemon
        .command()
        .args(["doctor", "--json"])
        .output()
        .unwrap();
    let report: serde_json::Value = serde_json::from_slice(&doctor.stdout).unwrap();
    assert!(
        report
            .to_string()
            .contains("runs and does not work: the database lacks 1 migration"),
        "{report:#}"
    );

    // A key that is revoked meanwhile lets nobody in, although the database is withheld.
    let revoked = daemon.client();
    revoked.answers(&[failure("192.0.2.99", "root")], 202).await;
    let sql = "UPDATE users.api_keys SET is_active = false
        WHERE key_id = (SELECT key_id FROM users.api_keys ORDER BY created_at DESC LIMIT 1)";
    let mut conn = server.connect().await;
    sqlx::query(sql).execute(&mut conn).await.unwrap();
    drop(conn);
    revoked.answers(&[failure("192.0.2.99", "root")], 401).await;

    // With a backup it goes on, and what came meanwhile is stored.
    fs::write(&dump, "a new dump").unwrap();
    daemon.ready().await;
    assert!(
        daemon.log().contains("migration 1 of 1: 0052"),
        "{}",
        daemon.log()
    );
    let mut conn = server.connect().await;
    let since = Instant::now();
    let stored = "SELECT count(*) FROM audit_events WHERE ip_address = '192.0.2.78'";
    while sqlx::query_scalar::<_, i64>(stored)
        .fetch_one(&mut conn)
        .await
        .unwrap()
        != 2
    {
        assert!(since.elapsed() < PATIENCE, "{}", daemon.log());
        sleep(Duration::from_millis(100)).await;
    }
    assert!(daemon.terminate().await.success(), "{}", daemon.log());

    // A person's word is as good, and the waiting daemon takes it.
    fs::remove_file(&dump).unwrap();
    age(&mut server).await;
    daemon.start_unready();
    says(&daemon, "there is no backup at").await;
    let args = ["migrate", "--without-backup"];
    let migrated = daemon.command().args(args).output().unwrap();
    assert!(migrated.status.success(), "{migrated:?}");
    daemon.ready().await;
    assert!(daemon.terminate().await.success(), "{}", daemon.log());

    // So is one that is put into the configuration meanwhile.
    age(&mut server).await;
    daemon.start_unready();
    sleep(Duration::from_secs(1)).await;
    let file = daemon.path("blueteam.toml");
    let text = fs::read_to_string(&file).unwrap();
    let consents = text.replace(
        "[database]\n",
        "[database]\nmigrate_without_backup = true\n",
    );
    fs::write(&file, consents).unwrap();
    daemon.hang_up();
    daemon.ready().await;
    assert!(daemon.terminate().await.success(), "{}", daemon.log());
}

/// Stops it, which takes a few seconds at most.
async fn stops_at_once(daemon: &mut Daemon) {
    let since = Instant::now();
    assert!(daemon.terminate().await.success(), "{}", daemon.log());
    let took = since.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}:\n{}", daemon.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_that_waits_to_upgrade_stops_when_it_is_told_to() {
    let mut server = Server::new().await;
    let url = server.url_file();
    // A mail server that takes connections and says nothing.
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mail = format!(
        "[watchdog]\ndatabase_down_after = \"1s\"\n[alerts]\ncritical = [\"email\"]\n\
         [channels.email]\nhost = \"127.0.0.1\"\nport = {}\nsecurity = \"plain\"\n\
         from = \"a@example.com\"\nto = [\"b@example.com\"]\n",
        mute.local_addr().unwrap().port()
    );
    let mut daemon = Daemon::new(&format!("[database]\nurl_file = \"{url}\"\n{mail}")).await;
    assert!(daemon.terminate().await.success(), "{}", daemon.log());
    age(&mut server).await;

    // For a backup, while a message about that is on its way.
    daemon.start_unready();
    says(&daemon, "not upgrading").await;
    let (_held, _) = mute.accept().unwrap();
    stops_at_once(&mut daemon).await;

    // For a table that another session has locked.
    let file = daemon.path("blueteam.toml");
    let text = fs::read_to_string(&file).unwrap();
    let consents = text.replace(
        "[database]\n",
        "[database]\nmigrate_without_backup = true\n",
    );
    fs::write(&file, consents).unwrap();
    let mut other = server.connect().await;
    sqlx::raw_sql("BEGIN; LOCK TABLE blueteam.advisory_sources")
        .execute(&mut other)
        .await
        .unwrap();
    daemon.start_unready();
    says(&daemon, "migration 1 of 1: 0052").await;
    sleep(Duration::from_millis(500)).await;
    stops_at_once(&mut daemon).await;

    // Without the lock the next start goes on from there.
    drop(other);
    daemon.start().await;
    assert!(daemon.terminate().await.success(), "{}", daemon.log());
}
