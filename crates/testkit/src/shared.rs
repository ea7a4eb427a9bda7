//! The cluster that all tests of a machine's target directory share.

use std::fs::{File, OpenOptions};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cluster::{Cluster, ClusterConfig, Login};
use rustix::fs::{FlockOperation, flock};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, PgConnection};
use tokio::sync::OnceCell;

use crate::{connect_retrying, fail_loudly, run_sql};

/// Stops the cluster when no process has held the lock for half a minute. Arguments: lock file,
/// postmaster's pid.
const REAPER: &str = r#"
while sleep 30; do
    kill -0 "$2" 2>/dev/null || exit 0
    flock --nonblock --exclusive "$1" kill -INT "$2" && exit 0
done"#;

static SHARED: OnceCell<(PgConnectOptions, String)> = OnceCell::const_new();

/// How to connect to the cluster as its superuser, and the name of the migrated template database.
pub(crate) async fn shared() -> (PgConnectOptions, String) {
    SHARED.get_or_init(start_cluster).await.clone()
}

fn shared_directory() -> PathBuf {
    // Root's checkout may lie where the server's user cannot go; a directory of ours in the
    // system's temporary one is open to both. Named after the checkout, so that two of them do not
    // meet.
    let mut hasher = DefaultHasher::new();
    env!("CARGO_MANIFEST_DIR").hash(&mut hasher);
    std::env::temp_dir().join(format!(
        "blueteam-test-{:016x}-{}",
        hasher.finish(),
        rustix::process::geteuid().as_raw()
    ))
}

async fn start_cluster() -> (PgConnectOptions, String) {
    let dir = shared_directory();
    let done = prepare_cluster(&dir).await;
    done.unwrap_or_else(|error| {
        fail_loudly(&format!("the test cluster in {}: {error}", dir.display()))
    })
}

async fn prepare_cluster(
    dir: &Path,
) -> Result<(PgConnectOptions, String), Box<dyn std::error::Error>> {
    std::fs::create_dir_all(dir)?;
    let open = |name: &str| {
        OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(dir.join(name))
    };

    let users = open("users.lock")?;
    flock(&users, FlockOperation::LockShared)?;

    // Held until the process ends, which is when the system closes it.
    std::mem::forget(users);
    let setup = open("setup.lock")?;
    lock_exclusively(&setup).await?;

    let config = ClusterConfig {
        durable: false,
        max_connections: 300,
        ..ClusterConfig::new(dir.join("state"))
    };

    let cluster = Cluster::start(config).await?;
    let admin = cluster.options(Login::Owner, "postgres")?;
    let mut conn = connect_retrying(&admin).await;
    let reaped = dir.join("reaper.pid");
    if std::fs::read_to_string(&reaped).unwrap_or_default() != cluster.pid().to_string() {
        Command::new("sh")
            .args(["-c", REAPER, "reaper"])
            .arg(dir.join("users.lock"))
            .arg(cluster.pid().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;

        std::fs::write(&reaped, cluster.pid().to_string())?;
        sweep_databases(&mut conn).await?;
    }

    let template = create_template(&mut conn, &admin).await?;
    Ok((admin, template))
}

/// Waits for the lock without holding up the runtime.
async fn lock_exclusively(file: &File) -> std::io::Result<()> {
    let file = file.try_clone()?;
    let done =
        tokio::task::spawn_blocking(move || flock(file, FlockOperation::LockExclusive)).await;
    done.map_err(std::io::Error::other)?.map_err(Into::into)
}

/// Drops what tests that were killed left behind.
async fn sweep_databases(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    let left: Vec<String> =
        sqlx::query_scalar(r"SELECT datname FROM pg_database WHERE datname LIKE 't\_%'")
            .fetch_all(&mut *conn)
            .await?;
    for name in left {
        sqlx::query(AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)")))
            .execute(&mut *conn)
            .await?;
    }

    Ok(())
}

/// The template with today's migrations; made once for each state of them and each month.
async fn create_template(
    conn: &mut PgConnection,
    admin: &PgConnectOptions,
) -> Result<String, Box<dyn std::error::Error>> {
    let mut hasher = DefaultHasher::new();
    for migration in store::MIGRATOR.iter() {
        migration.checksum.hash(&mut hasher);
    }
    // A migrated database has partitions for the coming months, as of the month that it is.
    let month: String = sqlx::query_scalar("SELECT to_char(now(), 'YYYY-MM')")
        .fetch_one(&mut *conn)
        .await?;
    month.hash(&mut hasher);

    let name = format!("template_{:016x}", hasher.finish());
    let known: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
            .bind(&name)
            .fetch_one(&mut *conn)
            .await?;

    if !known {
        run_sql(conn, &format!("DROP DATABASE IF EXISTS draft_{name}")).await;
        run_sql(conn, &format!("CREATE DATABASE draft_{name}")).await;
        let mut draft = connect_retrying(&admin.clone().database(&format!("draft_{name}"))).await;
        store::migrate(&mut draft).await?;
        sqlx::Connection::close(draft).await?;
        run_sql(
            conn,
            &format!("ALTER DATABASE draft_{name} RENAME TO {name}"),
        )
        .await;
    }

    Ok(name)
}
