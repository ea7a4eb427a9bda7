//! `blueteam doctor`: whether an installation is fit for its work, part by part, and what to do
//! where it is not. `status` says what happened; this says whether anything could.
//!
//! Invariants: nothing is changed, started or sent; a part that hangs costs no other part its
//! answer, on a runtime with a thread for each; what could not be looked at is
//! [`Verdict::Unknown`], never well.

mod backup;
pub mod bundle;
mod certificates;
mod clock;
mod configuration;
mod daemon;
mod database;
mod disk;
mod healthz;
mod mail;
mod permissions;
mod ports;
mod rules;
mod sources;
mod tenants;
mod versions;

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use config::{ConfigErrors, Loaded, StateDir};
use futures_util::future::join_all;
use model::{Actor, Clock as _, SystemClock, Timestamp};
use serde::Serialize;
use tokio::time::timeout;

use crate::Session;
use crate::actor::{Action, Resource, require};
use crate::database::Database;
use crate::running::daemon_runs;

/// A part of an installation that is looked at: one file, and its line in [`ALL`].
pub struct Part {
    /// Its name.
    pub name: &'static str,
    look: Look,
}

/// How a part is looked at. An error is a finding that nothing is known.
#[derive(Clone, Copy)]
enum Look {
    /// By reading files, which may hang with their file system.
    Files(fn(&Site) -> anyhow::Result<Vec<Finding>>),
    /// By asking the database, or over the network.
    Asks(for<'a> fn(&'a Site) -> Looking<'a>),
}

/// A look under way.
type Looking<'a> = Pin<Box<dyn Future<Output = anyhow::Result<Vec<Finding>>> + Send + 'a>>;

/// Every part, in the order in which they are shown: what others rest on comes first.
pub const ALL: &[&Part] = &[
    &versions::PART,
    &configuration::PART,
    &permissions::PART,
    &daemon::PART,
    &database::PART,
    &disk::PART,
    &clock::PART,
    &ports::PART,
    &mail::PART,
    &backup::PART,
    &certificates::PART,
    &sources::PART,
    &rules::PART,
    &tenants::PART,
];

/// How long a part may take. All are looked at together.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is thought of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It could not be looked at.
    Unknown,
    /// It works, and a person should look at it.
    Warning,
    /// It does not work, or the record is in danger.
    Wrong,
}

impl Verdict {
    /// As it is shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unknown => "unknown",
            Self::Warning => "warning",
            Self::Wrong => "wrong",
        }
    }
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// What is thought of it.
    pub verdict: Verdict,
    /// What is so, as a phrase.
    pub says: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

impl Finding {
    fn new(verdict: Verdict, says: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            verdict,
            says: says.into(),
            advice: Some(advice.into()),
        }
    }

    fn ok(says: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Ok,
            says: says.into(),
            advice: None,
        }
    }

    fn warning(says: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(Verdict::Warning, says, advice)
    }

    fn wrong(says: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(Verdict::Wrong, says, advice)
    }

    fn unknown(says: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(Verdict::Unknown, says, advice)
    }
}

/// A part as it was found.
#[derive(Clone, Debug, Serialize)]
pub struct Examined {
    /// Its name.
    pub part: &'static str,
    /// The worst of its findings.
    pub verdict: Verdict,
    /// What was found, the worst first.
    pub findings: Vec<Finding>,
}

/// What was found of everything.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// When.
    pub at: Timestamp,
    /// The version of this program.
    pub version: &'static str,
    /// The worst of all.
    pub verdict: Verdict,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// The parts.
    pub parts: Vec<Examined>,
}

impl Report {
    /// How many parts are like this.
    pub fn count(&self, verdict: Verdict) -> u64 {
        let like = self.parts.iter().filter(|part| part.verdict == verdict);
        like.count() as u64
    }
}

/// An installation, as far as it can be reached.
pub struct Site {
    file: Option<PathBuf>,
    loaded: Result<Loaded, ConfigErrors>,
    state: StateDir,
    daemon_runs: bool,
    database: Result<Database, String>,
    actor: Actor,
}

impl Site {
    /// Reaches what can be reached. Starts no database: that is the daemon's work.
    pub async fn reach(file: Option<&Path>, state: StateDir, actor: Actor) -> anyhow::Result<Self> {
        require(&actor, Action::Read, Resource::System)?;
        // Whoever else looks sees other files, and takes the daemon's own ports for a stranger's.
        if let Ok(about) = std::fs::metadata(state.path())
            && about.uid() != rustix::process::geteuid().as_raw()
        {
            let dir = state.path().display();
            anyhow::bail!(
                "{dir} belongs to the user {user}: check the installation as that user (sudo -u \
                    '#{user}' blueteam doctor)",
                user = about.uid()
            );
        }

        let (path, place) = (file.map(Path::to_owned), state.clone());
        let read = move || {
            let loaded = config::load(path.as_deref(), config::environment());
            (loaded, daemon_runs(&place))
        };
        // Whatever lies in the place of a file may make its reader wait.
        let read = timeout(PATIENCE, aside(read)).await;
        let (loaded, daemon_runs) = read.context(
            "the files of the configuration cannot be read: one of them is a pipe, or on a file \
                system that does not answer",
        )??;

        let database = match &loaded {
            Err(_) => Err("the configuration cannot be read".to_owned()),
            Ok(loaded) => match timeout(PATIENCE, Database::running(loaded, &state)).await {
                Ok(Ok(Some(database))) => Ok(database),
                Ok(Ok(None)) => {
                    Err("the private cluster, which runs with the daemon, does not run".to_owned())
                }
                Ok(Err(error)) => Err(format!("{error:#}")),
                Err(_) => Err("the database does not answer".to_owned()),
            },
        };

        Ok(Self {
            file: file.map(Path::to_owned),
            loaded,
            state,
            daemon_runs,
            database,
            actor,
        })
    }

    /// The configuration. An error is a finding of its own elsewhere.
    fn loaded(&self) -> anyhow::Result<&Loaded> {
        let loaded = self.loaded.as_ref().ok();
        loaded.context("the configuration cannot be read")
    }

    /// A session of its own for each part, so that none waits for another.
    async fn session(&self) -> anyhow::Result<Session> {
        match &self.database {
            Ok(database) => Session::open(database, self.actor.clone(), None).await,
            Err(why) => anyhow::bail!("{why}"),
        }
    }

    /// The same for what is about all organizations.
    async fn organizations(&self) -> anyhow::Result<Session> {
        match &self.database {
            Ok(database) => crate::tenants::open(database, self.actor.clone()).await,
            Err(why) => anyhow::bail!("{why}"),
        }
    }

    /// Looks at every part.
    pub async fn examine(self: &Arc<Self>) -> Report {
        let began = Instant::now();
        let parts = join_all(ALL.iter().map(|part| self.look_at(part))).await;
        let verdict = parts.iter().map(|part| part.verdict).max();

        Report {
            at: SystemClock.now(),
            version: env!("CARGO_PKG_VERSION"),
            verdict: verdict.unwrap_or(Verdict::Unknown),
            took_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            parts,
        }
    }

    async fn look_at(self: &Arc<Self>, part: &Part) -> Examined {
        let (site, how) = (Arc::clone(self), part.look);
        // A task of its own: what blocks its thread keeps no other part from its answer.
        let look = tokio::spawn(async move {
            match how {
                Look::Asks(look) => look(&site).await,
                Look::Files(look) => aside(move || look(&site)).await?,
            }
        });
        let mut findings = match timeout(PATIENCE, look).await {
            Ok(Ok(Ok(findings))) => findings,
            Ok(Err(error)) => vec![Finding {
                verdict: Verdict::Unknown,
                says: error.to_string(),
                advice: None,
            }],
            Ok(Ok(Err(error))) => vec![Finding {
                verdict: Verdict::Unknown,
                says: format!("{error:#}"),
                advice: None,
            }],
            Err(_) => vec![Finding::unknown(
                format!("no answer within {} s", PATIENCE.as_secs()),
                "try again; if it stays so, look what the machine waits for",
            )],
        };
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.verdict));

        Examined {
            part: part.name,
            verdict: findings.first().map_or(Verdict::Unknown, |f| f.verdict),
            findings,
        }
    }

    /// Leaves everything as it was found.
    pub async fn leave(self: Arc<Self>) -> anyhow::Result<()> {
        match Arc::into_inner(self).map(|site| site.database) {
            Some(Ok(database)) => database.leave().await,
            // A look that hangs still holds it.
            Some(Err(_)) | None => Ok(()),
        }
    }
}

/// Does what may block on a thread of its own. One that never comes back ends with the program.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> anyhow::Result<T> {
    let (done, answer) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        // Whoever asked may have gone.
        let _ = done.send(work());
    });
    answer.await.context("the look ended early")
}
