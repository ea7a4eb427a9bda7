use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use cluster::{Cluster, ClusterConfig, ClusterError, Login};
use rustix::process::{Pid, Signal, kill_process};
use sqlx::{ConnectOptions as _, Connection as _};

use crate::{LOGIN, count, row};

fn config(dir: &Path) -> ClusterConfig {
    ClusterConfig {
        durable: false,
        ..ClusterConfig::new(dir)
    }
}

/// A directory that the server's user may pass through.
fn state_dir() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
    dir
}

fn kill(pid: u32) {
    kill_process(
        Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(),
        Signal::KILL,
    )
    .unwrap();
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one story, told in order")]
async fn a_cluster_lives_through_both_kinds_of_kill() {
    let dir = state_dir();
    // Durable: what is committed must outlive the kill.
    let config = |dir: &Path| ClusterConfig::new(dir);
    let mut cluster = Cluster::start(config(dir.path())).await.unwrap();
    let mut owner = cluster
        .options(Login::Owner, "postgres")
        .unwrap()
        .connect()
        .await
        .unwrap();
    sqlx::query("CREATE DATABASE blueteam")
        .execute(&mut owner)
        .await
        .unwrap();

    let mut db = cluster
        .options(Login::Owner, "blueteam")
        .unwrap()
        .connect()
        .await
        .unwrap();
    store::migrate(&mut db).await.unwrap();

    for login in [Login::Daemon, Login::Operator] {
        for _ in 0..2 {
            store::ensure_login(
                &mut db,
                login.name(),
                &cluster.password(login).unwrap(),
                login.roles(),
            )
            .await
            .unwrap();
        }

        cluster
            .options(login, "blueteam")
            .unwrap()
            .connect()
            .await
            .unwrap()
            .close()
            .await
            .unwrap();
    }

    let wrong = cluster
        .options(Login::Daemon, "blueteam")
        .unwrap()
        .password("wrong")
        .connect()
        .await;
    assert!(wrong.is_err(), "passwords are asked for");

    let mut daemon = cluster
        .options(Login::Daemon, "blueteam")
        .unwrap()
        .connect()
        .await
        .unwrap();
    store::events::insert_audit(&mut daemon, &[row(LOGIN, 1)])
        .await
        .unwrap();

    let checksums: String = sqlx::query_scalar("SHOW data_checksums")
        .fetch_one(&mut db)
        .await
        .unwrap();
    let listens: String = sqlx::query_scalar("SHOW listen_addresses")
        .fetch_one(&mut db)
        .await
        .unwrap();
    assert_eq!((checksums.as_str(), listens.as_str()), ("on", ""));

    // We are killed, the server goes on: the next start adopts it.
    let pid = cluster.pid();
    drop(cluster);
    cluster = Cluster::start(config(dir.path())).await.unwrap();
    assert_eq!(cluster.pid(), pid);
    assert!(!cluster.ensure_running().await.unwrap());

    // The server is killed, we go on.
    kill(pid);
    let begin = Instant::now();
    while cluster.is_alive() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    assert!(cluster.ensure_running().await.unwrap());
    assert!(begin.elapsed() < Duration::from_secs(10));
    let mut db = cluster
        .options(Login::Owner, "blueteam")
        .unwrap()
        .connect()
        .await
        .unwrap();
    assert_eq!(count(&mut db, "audit_events").await, 1);

    // Both are killed, and the stale pid file names a process that is somebody else's: ours.
    kill(cluster.pid());
    drop(cluster);
    let data = dir.path().join("postgres/data");
    tokio::time::sleep(Duration::from_millis(300)).await;
    let stale = std::fs::read_to_string(data.join("postmaster.pid")).unwrap();
    let rest = stale.split_once('\n').unwrap().1;
    std::fs::write(
        data.join("postmaster.pid"),
        format!("{}\n{rest}", std::process::id()),
    )
    .unwrap();

    let cluster = Cluster::start(config(dir.path())).await.unwrap();
    let pid = cluster.pid();
    cluster.stop().await.unwrap();
    assert!(!data.join("postmaster.pid").exists());

    // A process that has let go of everything may still be on its way out of the table.
    let begin = Instant::now();
    while Path::new(&format!("/proc/{pid}")).exists() {
        assert!(
            begin.elapsed() < Duration::from_secs(5),
            "the server is still there"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    let begin = Instant::now();
    let cluster = Cluster::start(config(dir.path())).await.unwrap();
    assert!(
        begin.elapsed() < Duration::from_millis(1500),
        "{:?}",
        begin.elapsed()
    );
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_deep_state_directory_gets_a_short_socket() {
    let dir = state_dir();
    let deep = dir.path().join("a".repeat(60)).join("b".repeat(60));
    let cluster = Cluster::start(config(&deep)).await.unwrap();
    let mut conn = cluster
        .options(Login::Owner, "postgres")
        .unwrap()
        .connect()
        .await
        .unwrap();
    let socket: String = sqlx::query_scalar("SHOW unix_socket_directories")
        .fetch_one(&mut conn)
        .await
        .unwrap();

    assert!(socket.len() < 90, "{socket}");
    conn.close().await.unwrap();
    cluster.stop().await.unwrap();
    std::fs::remove_dir_all(socket).unwrap();
}

#[tokio::test]
async fn a_server_that_cannot_start_says_why() {
    let dir = state_dir();
    let cluster = Cluster::start(config(dir.path())).await.unwrap();
    let log = cluster.log_file().to_owned();
    cluster.stop().await.unwrap();
    std::fs::write(
        dir.path().join("postgres/data/postgresql.conf"),
        "no_such_setting = 1\n",
    )
    .unwrap();

    let error = Cluster::start(config(dir.path())).await.unwrap_err();
    assert!(
        matches!(&error, ClusterError::Start { log: l, .. } if *l == log),
        "{error}"
    );
    std::fs::write(dir.path().join("postgres/data/PG_VERSION"), "9\n").unwrap();

    let error = Cluster::start(config(dir.path())).await.unwrap_err();
    assert!(error.to_string().contains("pg_upgrade"), "{error}");
}

#[tokio::test]
async fn a_directory_that_the_server_cannot_enter_is_named() {
    if !rustix::process::geteuid().is_root() {
        return;
    }

    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let error = Cluster::start(config(&dir.path().join("state")))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, ClusterError::Untraversable { .. }),
        "{error}"
    );

    assert!(error.to_string().contains("chmod o+x"));
}
