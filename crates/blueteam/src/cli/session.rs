//! What every command that asks the database needs: a runtime, a connection, and a name for who
//! asks.

use std::path::Path;

use anyhow::Context as _;
use store::{Connection as _, PgConnection};

use app::database::{Database, Role};
use config::Loaded;
use config::StateDir;

/// The options that every command has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Globals<'a> {
    pub config: Option<&'a Path>,
    pub state_dir: Option<&'a Path>,
}

impl Globals<'_> {
    pub(super) fn load(&self) -> anyhow::Result<Loaded> {
        Ok(config::load(self.config, config::environment())?)
    }

    pub(super) fn state(&self) -> anyhow::Result<StateDir> {
        StateDir::resolve(self.state_dir)
    }
}

/// Runs a command to its end: one thread is enough for one connection.
pub(super) fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(work)
}

/// Does `work` with a connection that may do what people may, and leaves the database as it was
/// found.
pub(super) fn with_database<T>(
    globals: Globals<'_>,
    work: impl AsyncFnOnce(&mut PgConnection, &Loaded) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let (loaded, state) = (globals.load()?, globals.state()?);
    block_on(async {
        let database = Database::existing(&loaded, &state).await?;
        let done = async {
            let mut conn = database.connect(Role::Operator).await?;
            let done = work(&mut conn, &loaded).await;
            // Nothing hangs on a polite goodbye.
            let _ = conn.close().await;
            done
        };

        let done = done.await;
        database.leave().await?;
        done
    })
}

/// Who acts, for the record: the name that was given, else the system's user name, as `sudo` and
/// the shell know it.
pub(super) fn actor(given: Option<&str>) -> String {
    let known = |name: &str| {
        std::env::var(name)
            .ok()
            .filter(|user| !user.trim().is_empty())
    };

    given
        .map(str::to_owned)
        .or_else(|| known("SUDO_USER"))
        .or_else(|| known("USER"))
        .or_else(|| known("LOGNAME"))
        .or_else(|| account(rustix::process::getuid().as_raw()))
        .unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()))
}

/// The name of a local account: services and `sudo -i` in containers set no variables.
fn account(uid: u32) -> Option<String> {
    let accounts = std::fs::read_to_string("/etc/passwd").ok()?;
    let mut fields = accounts
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>());
    fields
        .find_map(|of| {
            (of.get(2)?.parse() == Ok(uid)).then(|| (*of.first().unwrap_or(&"")).to_owned())
        })
        .filter(|n| !n.is_empty())
}
