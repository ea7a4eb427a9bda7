//! What every command that asks the database needs: a runtime, a connection, and a name for who
//! asks.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
pub(super) use app::actor::operator as actor;

use super::out;
use app::Session;
use app::database::Database;
use app::remote::{Remote, Target};
use config::Loaded;
use config::StateDir;
use model::{Actor, TenantName};
use serde::de::DeserializeOwned;

use super::out::usage;

/// The options that every command has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Globals<'a> {
    pub config: Option<&'a Path>,
    pub state_dir: Option<&'a Path>,
    /// The state directory of the command line, and not of the environment.
    pub given_state_dir: Option<&'a Path>,
    /// The daemon elsewhere that is asked instead of the database.
    pub remote: Option<Target<'a>>,
    /// The organization that a command is about.
    pub tenant: Option<&'a TenantName>,
}

/// Returns the configuration file: the given one, or that of the installed service for those who
/// act for it. Another state directory is another installation, whose file must be named as well.
pub(super) fn config_file(given: Option<PathBuf>, state_dir: Option<&Path>) -> Option<PathBuf> {
    given.or_else(|| state_dir.map_or_else(config::service_config, |_| None))
}

impl Globals<'_> {
    /// Loads the configuration of this machine, which no command needs that asks elsewhere.
    pub(super) fn load(&self) -> anyhow::Result<Loaded> {
        if self.remote.is_some() {
            usage!("--server: this command works on the machine itself");
        }
        let loaded = config::load(self.config, config::environment())?;
        for warning in &loaded.renamed {
            out::note(format_args!("warning: {warning}"));
        }

        Ok(loaded)
    }

    /// The daemon to ask, if it is elsewhere.
    pub(super) fn remote(&self) -> anyhow::Result<Option<Remote>> {
        self.remote.as_ref().map(Remote::open).transpose()
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

/// The first `limit` entries of a list: of the daemon elsewhere if one is named, else as `here` says.
pub(super) fn list_anywhere<T: DeserializeOwned>(
    globals: Globals<'_>,
    path: &str,
    query: &[(&str, String)],
    limit: u32,
    here: impl FnOnce() -> anyhow::Result<Vec<T>>,
) -> anyhow::Result<Vec<T>> {
    match globals.remote()? {
        Some(remote) => block_on(remote.list(path, query, limit)),
        None => here(),
    }
}

/// Does `work` as the operator, on behalf of the person that `--on-behalf-of` names, if any, and
/// leaves the database as it was found.
pub(super) fn with_session<T>(
    globals: Globals<'_>,
    on_behalf_of: Option<&str>,
    work: impl AsyncFnOnce(&mut Session, &Loaded) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let actor = current_operator(on_behalf_of)?;
    let (loaded, state) = (globals.load()?, globals.state()?);
    block_on(async {
        let database = Database::existing(&loaded, &state).await?;
        let done = async {
            let mut session = Session::open(&database, actor, globals.tenant).await?;
            note_tenant(&session);
            let done = work(&mut session, &loaded).await;
            session.close().await;
            done
        };

        let done = done.await;
        database.leave().await?;
        done
    })
}

/// Says for whom a command works that names none of several organizations.
fn note_tenant(session: &Session) {
    if session.assumes_tenant() {
        out::note(
            "note: several organizations use this installation, and this is about `default`; \
             --tenant names another (`blueteam tenants list`)",
        );
    }
}

/// Does `work` as the operator who looks after the organizations of an installation.
pub(super) fn with_organizations<T>(
    globals: Globals<'_>,
    on_behalf_of: Option<&str>,
    work: impl AsyncFnOnce(&Database, &mut Session) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    if globals.tenant.is_some() {
        usage!("--tenant: `tenants` is about all organizations; name one as its argument");
    }
    let actor = current_operator(on_behalf_of)?;
    let (loaded, state) = (globals.load()?, globals.state()?);
    block_on(async {
        let database = Database::existing(&loaded, &state).await?;
        let done = async {
            let mut session = app::tenants::open(&database, actor).await?;
            let done = work(&database, &mut session).await;
            session.close().await;
            done
        };

        let done = done.await;
        database.leave().await?;
        done
    })
}

/// Like [`with_session`], for a look that says something without the database as well: `work` gets
/// the error where there is one that does not answer. One that was never made is an error here.
pub(super) fn with_session_if_any<T>(
    globals: Globals<'_>,
    work: impl AsyncFnOnce(anyhow::Result<&mut Session>, &Loaded) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let actor = current_operator(None)?;
    let (loaded, state) = (globals.load()?, globals.state()?);
    block_on(async {
        let database = match Database::existing(&loaded, &state).await {
            Ok(database) => database,
            Err(error) if Database::exists(&loaded, &state) => {
                return work(Err(error), &loaded).await;
            }
            Err(error) => return Err(error),
        };

        let done = match Session::open(&database, actor, globals.tenant).await {
            Ok(mut session) => {
                note_tenant(&session);
                let done = work(Ok(&mut session), &loaded).await;
                session.close().await;
                done
            }
            Err(error) => work(Err(error), &loaded).await,
        };
        database.leave().await?;
        done
    })
}

/// The longest name that `--on-behalf-of` takes, in characters. Beside an account it fits where a
/// table takes 200.
const NAME_MAX: usize = 120;

/// Who acts. The name of another person must be one that others can read in the record.
fn current_operator(on_behalf_of: Option<&str>) -> anyhow::Result<Actor> {
    let person = on_behalf_of.map(str::trim);
    let is_name = |name: &str| {
        (1..=NAME_MAX).contains(&name.chars().count()) && name.contains(char::is_alphanumeric)
    };
    if person.is_some_and(|name| !is_name(name)) {
        usage!(
            "--on-behalf-of: a name of 1 to {NAME_MAX} characters, one of them a letter or digit; it stands \
                in the record"
        );
    }

    Ok(actor(person))
}
