//! SIGHUP: the configuration is read again while connections stay open. All of it is checked before
//! any of it counts; what is wrong leaves everything as it was.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use app::certificates::{self, Named};
use app::database::Role;
use app::running::RunningSources;
use app::self_audit::Component;
use app::tls::Pair;
use config::{Config, ConfigErrors, Loaded};
use model::{Clock as _, SystemClock, TenantId};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::context::{TaskContext, open_channels};
use crate::supervisor::{Lifetime, Supervisor};
use crate::tasks::ALL;
use crate::tasks::detection::engine_maker;
use crate::{Daemon, prepare_rules};

/// How long a reload waits for a database that does not answer before it says so.
const PATIENCE: Duration = Duration::from_mins(1);
/// Sections whose keys count from the next start on; of three of them, the certificates count at
/// once.
const AT_START: [&str; 5] = ["database", "ingest", "console", "collect", "logging"];

/// The tasks that live as long as the configuration.
pub(super) struct Reloadable {
    tasks: Supervisor,
    stop: CancellationToken,
    loaded: Arc<Loaded>,
}

impl Reloadable {
    /// Starts those that the configuration of the context wants.
    pub(super) fn start(context: &TaskContext) -> anyhow::Result<Self> {
        let stop = CancellationToken::new();
        let mut tasks = Supervisor::default();
        tasks.start(ALL, Lifetime::Configuration, &context.with_stop(&stop))?;

        Ok(Self {
            tasks,
            stop,
            loaded: Arc::clone(&context.loaded),
        })
    }

    /// Looks after all tasks until the stop, or until one has ended that should not have.
    pub(super) async fn supervise(
        &mut self,
        permanent: &mut Supervisor,
        daemon: &Daemon<'_>,
        context: &TaskContext,
        on_ready: impl FnOnce(),
    ) {
        let mut on_ready = Some(on_ready);
        loop {
            tokio::select! {
                () = context.health.ready.notified(), if on_ready.is_some() => {
                    if let Some(on_ready) = on_ready.take() {
                        on_ready();
                    }
                }
                () = daemon.control.reload.notified() => {
                    let prepared = tokio::select! {
                        prepared = prepare_reload(daemon) => prepared,
                        () = daemon.control.stop.cancelled() => return,
                    };

                    match prepared {
                        Ok(next) => self.replace(next, context).await,
                        Err(cause) => refuse_reload(context, &cause),
                    }
                }
                () = daemon.control.stop.cancelled() => return,
                () = self.tasks.unexpected_end() => return,
                () = permanent.unexpected_end() => return,
            }
        }
    }

    /// Puts the new configuration into force. Nobody else can detect before detection has let go,
    /// so the old tasks end first.
    async fn replace(&mut self, next: Next, context: &TaskContext) {
        let Next { loaded, pairs } = next;
        for warning in loaded.renamed.iter().chain(&loaded.config.warnings()) {
            warn!("{warning}");
        }

        certificates::log_warnings(&loaded.config, SystemClock.now());
        context.certificates.replace(pairs);
        self.stop.cancel();
        if let Err(cause) = std::mem::take(&mut self.tasks).retire().await {
            warn!("a task ended with an error as it was replaced: {cause:#}");
        }

        let before = Arc::clone(&self.loaded);
        let of =
            |loaded: &Arc<Loaded>| Self::start(&context.with_configuration(Arc::clone(loaded))?);
        let started = of(&loaded).or_else(|cause| {
            refuse_reload(context, &cause);
            of(&before)
        });

        match started {
            Ok(started) => {
                *self = started;
                let late = counts_at_start(&before.config, &self.loaded.config);
                if !late.is_empty() {
                    warn!(
                        "changed, but in force only after a restart: {}",
                        late.join(", ")
                    );
                }

                // The context's is the configuration of the start.
                let running = RunningSources::of(&context.loaded);
                for change in running.changes(&self.loaded).sentences() {
                    warn!("{change}");
                }

                info!("the configuration was reloaded");
            }
            Err(cause) => {
                // Neither the new one nor the old one, which ran a moment ago: the next start says
                // why.
                error!("detection cannot be started again after the reload: {cause:#}");
                self.tasks.spawn("reload", std::future::ready(Err(cause)));
            }
        }
    }

    /// Ends them, and waits until they have ended.
    pub(super) async fn end(self) -> anyhow::Result<()> {
        self.stop.cancel();
        self.tasks.finish().await
    }
}

/// A configuration that is about to be put into force.
struct Next {
    loaded: Arc<Loaded>,
    pairs: Vec<(Named, Pair)>,
}

/// Reads and checks everything; changes nothing but the rules table, which needs the new ones
/// before anything can be found by them.
async fn prepare_reload(daemon: &Daemon<'_>) -> anyhow::Result<Next> {
    info!("reading the configuration again");
    let loaded = config::load(daemon.control.config.as_deref(), config::environment())?;
    let pairs = certificates::read_all(&loaded.config)?;
    config::rules::sigma_or_all_errors(&loaded.config)?;
    engine_maker(&loaded)(&[])?;
    open_channels(&loaded)?;
    loaded.config.alerts.routing(&loaded.config.channels)?;
    loaded.config.watchdog.heartbeat(&loaded.secrets)?;

    let written = async {
        let mut operator = daemon.database.connect(Role::Operator).await?;
        store::tenants::act_for(&mut operator, TenantId::DEFAULT).await?;
        prepare_rules(&loaded, &mut operator).await
    };

    let written = tokio::time::timeout(PATIENCE, written)
        .await
        .context("the database does not answer")?;
    written.context(
        "the rules cannot be written to the database; send SIGHUP again when it is reachable",
    )?;

    Ok(Next {
        loaded: Arc::new(loaded),
        pairs,
    })
}

/// Says what was wrong, each error in a line of its own, to the log and to people.
fn refuse_reload(context: &TaskContext, cause: &anyhow::Error) {
    match cause.downcast_ref::<ConfigErrors>() {
        Some(errors) => errors
            .0
            .iter()
            .for_each(|error| error!("not reloaded: {error}")),
        None => format!("{cause:#}")
            .lines()
            .for_each(|line| error!("not reloaded: {line}")),
    }

    let message =
        format!("the configuration was not reloaded; the old one stays in force: {cause:#}");
    context
        .failures
        .tell_of(Component::Configuration, "reload", message);
}

/// The keys that differ and count from the next start on.
fn counts_at_start(before: &Config, next: &Config) -> Vec<String> {
    let flat = |config: &Config| {
        let mut keys = BTreeSet::new();
        let value = serde_json::to_value(config).unwrap_or_default();
        for section in AT_START {
            flatten_keys(section, &value[section], &mut keys);
        }
        keys
    };

    let (before, next) = (flat(before), flat(next));
    let mut keys: Vec<String> = before
        .symmetric_difference(&next)
        .map(|(key, _)| key.clone())
        .collect();
    keys.dedup();

    keys
}

/// Every value by its key, but for the files of certificates that are there before and after.
fn flatten_keys(key: &str, value: &Value, keys: &mut BTreeSet<(String, String)>) {
    match value {
        Value::Object(fields) => fields
            .iter()
            .for_each(|(name, value)| flatten_keys(&format!("{key}.{name}"), value, keys)),
        Value::Array(items) => {
            items
                .iter()
                .enumerate()
                .for_each(|(i, item)| flatten_keys(&format!("{key}[{i}]"), item, keys));
        }
        Value::String(file)
            if key.ends_with(".tls_cert_file") || key.ends_with(".tls_key_file") =>
        {
            keys.insert((key.to_owned(), (!file.is_empty()).to_string()));
        }
        value => {
            keys.insert((key.to_owned(), value.to_string()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(toml: &str) -> Config {
        toml::from_str(toml).unwrap()
    }

    #[test]
    fn what_needs_a_restart_is_named_and_certificates_do_not() {
        let listener = "[[collect.listeners]]\naddress = \"tls:127.0.0.1:1\"\n";
        let before = config(&format!(
            "{listener}tls_cert_file = \"a\"\ntls_key_file = \"b\""
        ));
        let next = config(&format!(
            "{listener}tls_cert_file = \"c\"\ntls_key_file = \"d\""
        ));
        assert!(counts_at_start(&before, &next).is_empty());

        let next = config("[ingest]\nlisten = \"127.0.0.1:9\"\n[detection]\nexpected_sources = []");
        let late = counts_at_start(&before, &next);
        assert!(late.contains(&"ingest.listen".to_owned()), "{late:?}");
        assert!(
            late.contains(&"collect.listeners[0].address".to_owned()),
            "{late:?}"
        );
        assert!(
            !late.iter().any(|key| key.starts_with("detection")),
            "{late:?}"
        );
    }
}
