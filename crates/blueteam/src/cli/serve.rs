//! `blueteam serve` and `blueteam monitor`: the daemon.

use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use app::Session;
use app::accounts::{self, Invitation};
use app::actor::operator;
use app::database::Database;
use app::running::DAEMON_LOCK;
use config::StateDir;
use config::{Config, Loaded, LogFormat};
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

        let loaded = Arc::new(loaded);
        let (of_greeting, people) = (Arc::clone(&loaded), parts == Parts::Everything);
        daemon::run(loaded, &state, parts, control, |ready| {
            print_greeting(ready, &state, is_first);
            // Only a terminal is looked at by whoever started this and by nobody else: a pipe may end in
            // a journal or a file, and the code lets whoever reads it in (decision 0059).
            if people && std::io::stdout().is_terminal() {
                let (state, listen) = (state.clone(), ready.listen);
                tokio::spawn(async move { greet_people(&of_greeting, &state, listen).await });
            } else if is_first {
                print_first_account(&state);
            }
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
    let program = program();
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

Ctrl-C ends it; the next start goes on where this one stopped."
        );
    }

    let _ = out.flush();
}

/// Says how to make the first account.
fn print_first_account(state: &StateDir) {
    let (program, dir) = (program(), state.path().display());
    let mut out = std::io::stdout().lock();
    let _ = writeln!(
        out,
        "
There are pages for people, too. This makes the first account, and prints the code to set it up with:

  {program} --state-dir {dir} users create YOUR-NAME --email you@example.com --role system_admin"
    );
    let _ = out.flush();
}

/// Shows at a terminal where the pages are, and, as long as nobody can sign in, the code to set the
/// first account up with.
async fn greet_people(loaded: &Loaded, state: &StateDir, listen: Option<SocketAddr>) {
    let Some(listen) = listen.filter(|listen| is_private(&loaded.config, *listen)) else {
        return;
    };
    let place = match loaded.config.ingest.listen.port() {
        // Whichever was free.
        0 => format!("http://localhost:{}", listen.port()),
        _ => accounts::public_url(&loaded.config),
    };
    let invited = invite_first(loaded, state).await;
    let mut out = std::io::stdout().lock();
    let _ = match invited {
        Ok(None) => writeln!(out, "\nPages for people: {place}/"),
        Ok(Some(invitation)) => writeln!(
            out,
            "
Pages for people: {place}/
Nobody can sign in yet. Open {place}/enroll and set up the account {name} with this code, once,
before {until}:

  {code}

It is shown here alone, and each start makes another one until the account is set up; so does
  {program} --state-dir {dir} users enroll-link {name}",
            name = invitation.username,
            until = super::out::time(invitation.until),
            code = invitation.token.expose(),
            program = program(),
            dir = state.path().display(),
        ),
        Err(error) => writeln!(
            out,
            "\nPages for people: {place}/ (the first account cannot be made: {error:#})"
        ),
    };
    let _ = out.flush();
}

/// Whether what is sent there is read by nobody on the way.
fn is_private(config: &Config, listen: SocketAddr) -> bool {
    let (address, certificate) = match config.console.address() {
        Some(address) => (address, &config.console.tls_cert_file),
        None => (listen, &config.ingest.tls_cert_file),
    };
    address.ip().is_loopback() || !certificate.is_empty()
}

async fn invite_first(loaded: &Loaded, state: &StateDir) -> anyhow::Result<Option<Invitation>> {
    // The running cluster is adopted, not started again.
    let database = Database::open(loaded, state).await?;
    let invited = async {
        let mut session = Session::open(&database, operator(None), None).await?;
        let invited = accounts::invite_first(&mut session).await;
        session.close().await;
        Ok(invited?)
    };
    let invited = invited.await;
    database.leave().await?;
    invited
}

fn program() -> String {
    std::env::current_exe()
        .map_or_else(|_| "blueteam".to_owned(), |path| path.display().to_string())
}
