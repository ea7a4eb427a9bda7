//! `blueteam serve` and `blueteam monitor`: the daemon.

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use app::running::DAEMON_LOCK;
use config::StateDir;
use config::{Loaded, LogFormat};
use daemon::{self, Control, Parts, Ready};

use super::Command;
use super::session::Globals;

pub(super) const SERVE: Command = Command {
    name: "serve",
    arguments: |command| {
        let about = "Run everything: HTTP server, collectors, detection and alerts";
        Args::augment_args(command)
            .about(about)
            .long_about(None::<&str>)
    },
    run: |_, globals| run(Parts::Everything, globals),
};

pub(super) const MONITOR: Command = Command {
    name: "monitor",
    arguments: |command| {
        let about = "Run collectors, detection and alerts without the HTTP server";
        Args::augment_args(command)
            .about(about)
            .long_about(None::<&str>)
    },
    run: |_, globals| run(Parts::Monitor, globals),
};

/// Where the daemon keeps its state is a global option; the rest is in the configuration file.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  blueteam serve\n  blueteam --state-dir /var/lib/blueteam --config /etc/blueteam.toml serve\n  blueteam monitor     (collectors, detection and alerts, without the HTTP server)"
)]
struct Args {}

fn run(parts: Parts, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let (config, state_dir) = (globals.config, globals.state_dir);
    let loaded = config::load(config, config::environment())?;
    let state = StateDir::resolve(state_dir)?;
    let is_first = !state.join(DAEMON_LOCK).exists();
    start_logging(&loaded)?;
    for warning in loaded.renamed.iter().chain(&loaded.config.warnings()) {
        tracing::warn!("{warning}");
    }

    runtime()?.block_on(async {
        let (stop, reload) = (CancellationToken::new(), Arc::new(Notify::new()));
        stop_on_signals(&stop)?;
        reload_on_hangup(&reload)?;
        let control = Control {
            stop,
            reload,
            config: config.map(Path::to_owned),
        };

        daemon::run(Arc::new(loaded), &state, parts, control, |ready| {
            print_greeting(ready, &state, is_first);
        })
        .await
    })?;

    Ok(ExitCode::SUCCESS)
}

/// The daemon's runtime: a thread per core.
pub(crate) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")
}

/// The program's own log, on standard error.
pub(crate) fn start_logging(loaded: &Loaded) -> anyhow::Result<()> {
    let logging = &loaded.config.logging;
    let filter =
        tracing_subscriber::EnvFilter::try_new(&logging.filter).context("logging.filter")?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false);

    // A broken pipe of the log must not end the daemon: the library would complain on the same
    // standard error, and panic there.
    let builder = builder
        .with_ansi(std::io::stderr().is_terminal())
        .log_internal_errors(false);
    match logging.format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }

    Ok(())
}

/// Ctrl-C and SIGTERM end the daemon cleanly.
pub(crate) fn stop_on_signals(stop: &CancellationToken) -> anyhow::Result<()> {
    for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
        let (mut signals, stop) = (signal(kind)?, stop.clone());
        tokio::spawn(async move {
            signals.recv().await;
            tracing::info!("stopping");
            stop.cancel();
        });
    }

    Ok(())
}

/// SIGHUP has the daemon read its configuration again. Several of them while it does so are one.
fn reload_on_hangup(reload: &Arc<Notify>) -> anyhow::Result<()> {
    let (mut signals, reload) = (signal(SignalKind::hangup())?, Arc::clone(reload));
    tokio::spawn(async move {
        while signals.recv().await.is_some() {
            reload.notify_one();
        }
    });
    Ok(())
}

/// Says that it is ready and, at the first start, how to send a first event.
fn print_greeting(ready: &Ready, state: &StateDir, is_first: bool) {
    let program = std::env::current_exe()
        .map_or_else(|_| "blueteam".to_owned(), |path| path.display().to_string());
    let dir = state.path().display();
    let mut out = std::io::stdout().lock();
    let _ = writeln!(
        out,
        "\nblueteam is ready after {:.1} s. State: {dir}",
        ready.after.as_secs_f64()
    );

    if let Some(listen) = ready.listen.filter(|_| is_first) {
        let _ = writeln!(
            out,
            "
Send a first event, from another terminal:

  KEY=$({program} --state-dir {dir} keys create first-key --scope events:write)
  curl -sS http://{listen}/v1/events -H \"Authorization: Bearer $KEY\" -H 'Content-Type: \
  application/json' \\
    -d '{{\"category\": \"auth\", \"action\": \"login_failed\", \"result\": \"failure\", \"ip_address\": \"203.0.113.9\",
    \"metadata\": {{\"username\": \"root\"}}}}'

Six of them within five minutes are a brute force attack:

  {program} --state-dir {dir} alerts list

For people there are pages at http://{listen}/. This makes the first account, and prints the code to set it
up with:

  {program} --state-dir {dir} users create YOUR-NAME --email you@example.com --role system_admin

Ctrl-C ends it; the next start goes on where this one stopped."
        );
    }

    let _ = out.flush();
}
