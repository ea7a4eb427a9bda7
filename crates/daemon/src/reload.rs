//! SIGHUP: the configuration is read again while connections stay open. All of it is checked before
//! any of it counts; what is wrong leaves everything as it was.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context as _;
use app::tls::Pair;
use model::{Clock as _, SystemClock};
use serde_json::Value;
use tracing::{error, info, warn};

use super::supervisor::Tasks;
use super::{Control, Running, Shared, engine_maker, open_channels, prepare_rules};
use app::certificates::{self, Named};
use app::database::Role;
use app::self_audit::Component;
use config::{Config, ConfigErrors, Loaded};

/// How long a reload waits for a database that does not answer before it says so.
const PATIENCE: Duration = Duration::from_mins(1);
/// Sections whose keys count from the next start on; of two of them, the certificates count at
/// once.
const AT_START: [&str; 4] = ["database", "ingest", "collect", "logging"];

/// Looks after the parts until the stop, or until one has ended that should not have. Returns those
/// that run then.
pub(crate) async fn supervise(
    (loaded, mut running): (&Loaded, Running),
    shared: &Shared<'_>,
    (tasks, control): (&mut Tasks, &Control),
    on_ready: impl FnOnce(),
) -> Running {
    let mut on_ready = Some(on_ready);
    let mut current: Option<Loaded> = None;
    loop {
        tokio::select! {
            () = shared.ready.notified(), if on_ready.is_some() => {
                if let Some(on_ready) = on_ready.take() {
                    on_ready();
                }
            }
            () = control.reload.notified() => {
                let prepared = tokio::select! {
                    prepared = prepare(shared, control) => prepared,
                    () = control.stop.cancelled() => return running,
                };

                match prepared {
                    Ok((next, pairs)) => {
                        let before = current.as_ref().unwrap_or(loaded);
                        running = replace(running, (before, &next), pairs, shared).await;
                        current = Some(next);
                    }
                    Err(cause) => refuse(shared, &cause),
                }
            }
            () = running.tasks.ended_or(&control.stop) => return running,
            () = tasks.ended_or(&control.stop) => return running,
        }
    }
}

/// Reads and checks everything; changes nothing but the table of rules, which needs the new ones
/// before anything can be found by them.
async fn prepare(
    shared: &Shared<'_>,
    control: &Control,
) -> anyhow::Result<(Loaded, Vec<(Named, Pair)>)> {
    info!("SIGHUP: reading the configuration again");
    let loaded = config::load(control.config.as_deref(), config::environment())?;
    let pairs = certificates::read_all(&loaded.config)?;
    config::rules::sigma_or_all_errors(&loaded.config)?;
    engine_maker(&loaded)(&[])?;
    open_channels(&loaded)?;
    loaded.config.alerts.routing(&loaded.config.channels)?;
    loaded.config.watchdog.heartbeat(&loaded.secrets)?;

    let written = async {
        let mut operator = shared.database.connect(Role::Operator).await?;
        prepare_rules(&loaded, &mut operator).await
    };

    let written = tokio::time::timeout(PATIENCE, written)
        .await
        .context("the database does not answer")?;
    written.context(
        "the rules cannot be written to the database; send SIGHUP again when it is reachable",
    )?;

    Ok((loaded, pairs))
}

/// Has the new configuration count.
async fn replace(
    running: Running,
    (before, next): (&Loaded, &Loaded),
    pairs: Vec<(Named, Pair)>,
    shared: &Shared<'_>,
) -> Running {
    for warning in next.renamed.iter().chain(&next.config.warnings()) {
        warn!("{warning}");
    }

    certificates::log_warnings(&next.config, SystemClock.now());
    shared.certificates.replace(pairs);
    if let Err(cause) = running.retire().await {
        warn!("a part ended with an error as it was replaced: {cause:#}");
    }

    let started = Running::start(next, shared).or_else(|cause| {
        refuse(shared, &cause);
        Running::start(before, shared)
    });

    match started {
        Ok(running) => {
            let late = counts_at_start(&before.config, &next.config);
            if !late.is_empty() {
                warn!(
                    "changed, but in force only after a restart: {}",
                    late.join(", ")
                );
            }

            info!("the configuration was reloaded");
            running
        }
        Err(cause) => {
            // Neither the new one nor the old one, which ran a moment ago: the next start says why.
            error!("detection cannot be started again after the reload: {cause:#}");
            Running::failed(cause)
        }
    }
}

/// Says what was wrong, each error in a line of its own, to the log and to people.
fn refuse(shared: &Shared<'_>, cause: &anyhow::Error) {
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
    shared
        .failures
        .tell_of(Component::Configuration, "reload", message);
}

/// The keys that differ and count from the next start on.
fn counts_at_start(before: &Config, next: &Config) -> Vec<String> {
    let flat = |config: &Config| {
        let mut keys = BTreeSet::new();
        let value = serde_json::to_value(config).unwrap_or_default();
        for section in AT_START {
            flatten(section, &value[section], &mut keys);
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
fn flatten(key: &str, value: &Value, keys: &mut BTreeSet<(String, String)>) {
    match value {
        Value::Object(fields) => fields
            .iter()
            .for_each(|(name, value)| flatten(&format!("{key}.{name}"), value, keys)),
        Value::Array(items) => {
            items
                .iter()
                .enumerate()
                .for_each(|(i, item)| flatten(&format!("{key}[{i}]"), item, keys));
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
