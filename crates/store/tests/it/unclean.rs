//! A private cluster that died uncleanly starts again where `/proc` shows only processes of the
//! same user, as `ProcSubset=pid` and `ProtectProc=invisible` of the delivered unit have it.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use cluster::{Cluster, ClusterConfig, Login};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use sqlx::{ConnectOptions as _, PgConnection};

const RESTRICTED: &str = "mount -t proc -o subset=pid,hidepid=invisible proc /proc && exec \"$0\" \
    --exact \"$1\" --nocapture";

/// Runs a test of this file again with such a `/proc`. True in the process that has it.
fn restricted(name: &str) -> bool {
    if std::env::var_os("RESTRICTED_PROC").is_some() {
        assert!(!Path::new("/proc/sysvipc").exists() && !Path::new("/proc/net").exists());
        return true;
    }

    let mut command = Command::new("unshare");
    if rustix::process::geteuid().is_root() {
        command.arg("--mount");
    } else {
        command.args([
            "--user",
            "--map-current-user",
            "--keep-caps",
            "--mount",
            "--pid",
            "--fork",
        ]);
    }

    command
        .args(["sh", "-c", RESTRICTED])
        .arg(std::env::current_exe().unwrap());
    let done = command
        .arg(format!("unclean::{name}"))
        .env("RESTRICTED_PROC", "1")
        .output()
        .unwrap();
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );

    false
}

fn state_dir() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
    dir
}

fn config(dir: &Path) -> ClusterConfig {
    ClusterConfig {
        start_timeout: Duration::from_mins(1),
        ..ClusterConfig::new(dir)
    }
}

fn send(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid as i32).unwrap(), signal).unwrap();
}

fn lives(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    test_kill_process(Pid::from_raw(pid as i32).unwrap()).is_ok() && !stat.contains(") Z")
}

fn lock_file(dir: &Path) -> PathBuf {
    dir.join("postgres/data/postmaster.pid")
}

async fn connect(cluster: &Cluster) -> PgConnection {
    cluster
        .options(Login::Owner, "postgres")
        .unwrap()
        .connect()
        .await
        .unwrap()
}

/// A process of the server's user that is no server.
fn bystander(data: &Path) -> Child {
    let owner = std::fs::metadata(data).unwrap();
    let mut command = Command::new("sleep");
    if rustix::process::geteuid().is_root() {
        command.uid(owner.uid()).gid(owner.gid());
    }
    command.arg("600").spawn().unwrap()
}

#[tokio::test]
async fn a_killed_server_is_started_again() {
    if !restricted("a_killed_server_is_started_again") {
        return;
    }

    let dir = state_dir();
    let mut cluster = Cluster::start(config(dir.path())).await.unwrap();
    let mut held = connect(&cluster).await;
    sqlx::query("CREATE TABLE kept AS SELECT 1 AS n")
        .execute(&mut held)
        .await
        .unwrap();

    // By the daemon that runs on.
    let killed = cluster.pid();
    send(killed, Signal::KILL);
    while cluster.is_alive() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    assert!(cluster.ensure_running().await.unwrap());
    assert_ne!(cluster.pid(), killed);
    let kept: i32 = sqlx::query_scalar("SELECT n FROM kept")
        .fetch_one(&mut connect(&cluster).await)
        .await
        .unwrap();
    assert_eq!(kept, 1);

    // By the next start.
    send(cluster.pid(), Signal::KILL);
    drop(cluster);
    let cluster = Cluster::start(config(dir.path())).await.unwrap();
    assert!(!cluster.was_adopted());
    cluster.stop().await.unwrap();
}

/// The state as a power cut leaves it: the lock files of a server that no longer exists, with
/// whatever process has its number now, of this boot or another.
#[tokio::test]
async fn stale_lock_files_keep_no_server_from_starting() {
    if !restricted("stale_lock_files_keep_no_server_from_starting") {
        return;
    }

    let (dir, elsewhere) = (state_dir(), state_dir());
    let cluster = Cluster::start(config(dir.path())).await.unwrap();
    let other = Cluster::start(config(elsewhere.path())).await.unwrap();
    let lock = std::fs::read_to_string(lock_file(dir.path())).unwrap();
    let socket = dir.path().join("postgres/run/.s.PGSQL.5432.lock");
    let socket_lock = std::fs::read_to_string(&socket).unwrap();

    cluster.stop().await.unwrap();

    let mut sleeper = bystander(&dir.path().join("postgres/data"));
    // A thread's number is taken as well.
    let (_keep, kept) = std::sync::mpsc::channel::<()>();
    std::thread::spawn(move || kept.recv());
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let mut threads = tasks.map(|task| {
        task.unwrap()
            .file_name()
            .into_string()
            .unwrap()
            .parse::<u32>()
            .unwrap()
    });

    let thread = threads.find(|id| *id != std::process::id()).unwrap() as i32;
    let memory = std::fs::read_to_string(lock_file(elsewhere.path())).unwrap();
    let memory = memory.lines().nth(6).unwrap().to_owned();
    let its_child = format!("/proc/{0}/task/{0}/children", other.pid());
    let child = std::fs::read_to_string(its_child).unwrap();
    let child: i32 = child.split_whitespace().next().unwrap().parse().unwrap();

    let own_memory = lock.lines().nth(6).unwrap();
    let of = |pid: i32| {
        let renamed = |text: &str| format!("{pid}\n{}", text.split_once('\n').unwrap().1);
        (renamed(&lock), renamed(&socket_lock))
    };

    let emptied = (String::new(), String::new());
    let zeros = ("\0".repeat(lock.len()), "\0".repeat(socket_lock.len()));
    let another_boot = (
        of(sleeper.id() as i32).0.replace(own_memory, &memory),
        of(sleeper.id() as i32).1,
    );
    let cases = [
        ("a process that is gone", of(4_194_303)),
        ("a process of another user", of(1)),
        ("a process of the same user", of(sleeper.id() as i32)),
        ("ourselves", of(std::process::id() as i32)),
        ("a thread of ours", of(thread)),
        ("another server", of(other.pid() as i32)),
        ("another server's child", of(child)),
        (
            "a standalone backend that is gone",
            of(-(sleeper.id() as i32)),
        ),
        ("another server's memory", another_boot),
        ("nothing", emptied),
        ("zeros", zeros),
    ];

    for (what, (lock, socket_lock)) in cases {
        for (path, text) in [(lock_file(dir.path()), lock), (socket.clone(), socket_lock)] {
            std::fs::write(&path, text).unwrap();
            let file = std::fs::File::options().write(true).open(&path).unwrap();
            file.set_modified(std::time::SystemTime::now() - Duration::from_mins(1))
                .unwrap();
            let data = std::fs::metadata(dir.path().join("postgres/data")).unwrap();
            std::os::unix::fs::chown(&path, Some(data.uid()), Some(data.gid())).unwrap();
        }

        let cluster = Cluster::start(config(dir.path()))
            .await
            .map_err(|error| format!("{what}: {error}"))
            .unwrap();
        connect(&cluster).await;
        cluster.stop().await.unwrap();
    }

    assert!(lives(other.pid()) && lives(child as u32));
    connect(&other).await;
    other.stop().await.unwrap();
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
}

/// A backend that does not notice that its postmaster was killed still has the memory: nobody else
/// may write until it has ended.
#[tokio::test]
async fn a_backend_that_was_left_behind_is_ended_first() {
    if !restricted("a_backend_that_was_left_behind_is_ended_first") {
        return;
    }

    for with_lock_file in [true, false] {
        let dir = state_dir();
        let cluster = Cluster::start(config(dir.path())).await.unwrap();
        let mut held = connect(&cluster).await;
        let backend: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
            .fetch_one(&mut held)
            .await
            .unwrap();
        send(backend as u32, Signal::STOP);

        send(cluster.pid(), Signal::KILL);
        drop(cluster);
        if !with_lock_file {
            std::fs::write(lock_file(dir.path()), "").unwrap();
        }

        let impatient = ClusterConfig {
            start_timeout: Duration::from_millis(1500),
            ..config(dir.path())
        };

        let error = Cluster::start(impatient).await.unwrap_err().to_string();
        // A lock file that is empty could be of a server that is just starting.
        assert!(
            error.contains("pre-existing shared memory") || error.contains("is empty"),
            "{error}"
        );
        assert!(lives(backend as u32), "it was given no time");

        let cluster = Cluster::start(config(dir.path())).await.unwrap();
        assert!(!lives(backend as u32), "two at one data directory");
        connect(&cluster).await;
        cluster.stop().await.unwrap();
    }
}

/// Started by hand, in words that we would not use: it is left alone.
#[tokio::test]
async fn a_server_that_somebody_else_started_is_not_replaced() {
    if !restricted("a_server_that_somebody_else_started_is_not_replaced") {
        return;
    }

    let dir = state_dir();
    let cluster = Cluster::start(config(dir.path())).await.unwrap();
    let program = std::fs::read_link(format!("/proc/{}/exe", cluster.pid())).unwrap();
    cluster.stop().await.unwrap();
    let data = dir.path().join("postgres/data");
    let owner = std::fs::metadata(&data).unwrap();
    let mut command = Command::new(program);
    if rustix::process::geteuid().is_root() {
        command.uid(owner.uid()).gid(owner.gid());
    }

    let sockets = format!(
        "unix_socket_directories={}",
        dir.path().join("postgres/run").display()
    );
    command
        .args(["-D", ".", "-c", "listen_addresses=", "-c", &sockets])
        .current_dir(&data)
        .stderr(Stdio::null())
        .stdin(Stdio::null());

    let mut child = command.spawn().unwrap();
    let ready =
        || std::fs::read_to_string(lock_file(dir.path())).is_ok_and(|text| text.contains("ready"));
    while !ready() {
        assert_eq!(child.try_wait().unwrap(), None);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    let before = std::fs::read_to_string(lock_file(dir.path())).unwrap();
    let impatient = ClusterConfig {
        start_timeout: Duration::from_secs(3),
        ..config(dir.path())
    };

    let error = Cluster::start(impatient).await.unwrap_err().to_string();
    assert!(error.contains("already exists"), "{error}");
    assert_eq!(
        std::fs::read_to_string(lock_file(dir.path())).unwrap(),
        before
    );
    assert_eq!(child.try_wait().unwrap(), None, "it runs on");
    send(child.id(), Signal::INT);

    child.wait().unwrap();
}
