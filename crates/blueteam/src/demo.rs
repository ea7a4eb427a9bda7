//! The demonstration: a daemon on a throw-away state directory, and a day of activity with attacks
//! in it, sent down the roads that real events take: application events by HTTP, sshd's lines by a
//! log file that is followed.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use model::{Alert, SystemClock};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use app::compliance::assessment_package::AssessmentData;
use app::database::Database;
pub use app::demo::MadeUpPerson;
use app::incidents::{self, Incident};
use app::{Session, keys};
use config::StateDir;
use config::{Config, File, Loaded, Secrets};
use daemon::{self, Parts, Ready};
use model::Actor;
use scenario::{Activity, Expected};

/// The followed file, below the state directory.
const LOG: &str = "auth.log";
/// Events in one request.
const BATCH: usize = 500;
/// Everything is sent and nothing is unread, and no alert has come for this long: nothing more will
/// come.
const QUIET: Duration = Duration::from_millis(1500);
/// The longest wait for the analysis.
const PATIENCE: Duration = Duration::from_mins(2);
/// Alerts and incidents that are shown at most; more than any plan makes.
const SHOWN_MAX: u32 = 1000;

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// Alerts, the newest first.
    pub alerts: Vec<Alert>,
    /// Incidents, the newest first.
    pub incidents: Vec<Incident>,
    /// What was expected, or found, too often or not at all: positive when found more often than
    /// expected.
    pub differences: BTreeMap<Expected, i64>,
    /// The facts that the demonstration shows to an assessor.
    pub assessment: AssessmentData,
}

/// What runs on after the play, until it is stopped.
#[derive(Debug)]
pub struct Served {
    /// Where, on this machine alone.
    pub listen: SocketAddr,
    /// Who signs in.
    pub people: Vec<MadeUpPerson>,
}

/// The configuration: defaults, on a free port of this machine, with no one to notify.
pub fn configuration(state: &StateDir) -> Loaded {
    let mut config = Config::default();
    config.ingest.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    config.collect.files = vec![File {
        path: state.join(LOG).display().to_string(),
        format: "syslog".to_owned(),
        expected_interval: None,
        time_zone: None,
        trusted_proxies: Vec::new(),
        service: None,
        host: None,
        tenant: None,
    }];

    config.channels.console.enabled = false;
    // The day is in the past: by today's clock its sources are silent.
    config.detection.expected_sources.clear();

    // They run once, when everything is played.
    config.compliance.interval = model::Span::ZERO;
    "warn".clone_into(&mut config.logging.filter);

    // Neither DATABASE_URL nor any other secret of the surroundings: the demonstration writes into
    // its own database alone.
    Loaded {
        file: None,
        renamed: Vec::new(),
        doubts: Vec::new(),
        config,
        secrets: Secrets::default(),
    }
}

/// What is printed about the demonstration while it runs.
pub struct Told<P, S> {
    /// Gets how many events are sent.
    pub progress: P,
    /// Gets what came of it, where the daemon runs on until it is stopped.
    pub served: Option<S>,
}

/// Runs the daemon, plays the activity, and ends the daemon: at once, or when it is stopped.
pub async fn run(
    loaded: &std::sync::Arc<Loaded>,
    state: &StateDir,
    activity: &Activity,
    stop: CancellationToken,
    told: Told<impl Fn(u64), impl FnOnce(&Outcome, &Served)>,
) -> anyhow::Result<Outcome> {
    state.create()?;
    // There from the start, so that nothing warns of its absence.
    std::fs::write(state.join(LOG), "").context("cannot write into the state directory")?;
    let (ready, started) = oneshot::channel::<Ready>();
    let ended = CancellationToken::new();
    let daemon = async {
        let on_ready = |told: &Ready| drop(ready.send(told.clone()));
        let control = daemon::Control {
            stop: stop.clone(),
            reload: std::sync::Arc::default(),
            config: None,
        };

        let done = daemon::run(
            std::sync::Arc::clone(loaded),
            state,
            Parts::Everything,
            control,
            on_ready,
        )
        .await;
        ended.cancel();
        done
    };

    let play = async {
        let played = tokio::select! {
            // First, so that a demonstration that runs until it is stopped ends well by that.
            biased;
            played = play_scenario(loaded, state, activity, started, told, &stop) => played,
            () = ended.cancelled() => Err(anyhow::anyhow!("the daemon ended before the \
                demonstration did")),
            () = stop.cancelled() => Err(anyhow::anyhow!("interrupted")),
        };
        stop.cancel();
        played
    };

    let (ran, played) = tokio::join!(daemon, play);
    // A daemon that failed is the cause of a play that did.
    ran?;
    played
}

async fn play_scenario(
    loaded: &Loaded,
    state: &StateDir,
    activity: &Activity,
    started: oneshot::Receiver<Ready>,
    told: Told<impl Fn(u64), impl FnOnce(&Outcome, &Served)>,
    stop: &CancellationToken,
) -> anyhow::Result<Outcome> {
    let ready = started.await.context("the daemon did not start")?;
    let listen = ready.listen.context("the daemon does not listen")?;

    // The running cluster is adopted, not started again.
    let database = Database::open(loaded, state).await?;
    let mut session = Session::open(&database, Actor::task("blueteam demo"), None).await?;
    let key = issue_key(&mut session).await?;
    append_log(state, activity)?;
    post_events(listen, &key, activity, told.progress).await?;

    let made_up_person = Actor::task(app::demo::WHO);
    let mut office = Session::open(&database, made_up_person, None).await?;
    let outcome = looked_at(&mut session, &mut office, loaded, state, activity).await;
    let served = match (&outcome, told.served) {
        (Ok(_), Some(tell)) => {
            let people = app::demo::people(&mut session, &database, state).await;
            Some((people.context("nobody can be made up")?, tell))
        }
        _ => None,
    };
    session.close().await;
    office.close().await;
    database.leave().await?;

    let outcome = outcome?;
    if let Some((people, tell)) = served {
        tell(&outcome, &Served { listen, people });
        stop.cancelled().await;
    }
    Ok(outcome)
}

/// Makes the key that the demo sends its events with.
async fn issue_key(session: &mut Session) -> anyhow::Result<String> {
    let request = keys::Request {
        name: "demo",
        scopes: &["events:write".to_owned()],
        service: None,
        valid_for: None,
        owner: None,
    };

    Ok(keys::create(session, &request).await?.secret)
}

async fn looked_at(
    session: &mut Session,
    office: &mut Session,
    loaded: &Loaded,
    state: &StateDir,
    activity: &Activity,
) -> anyhow::Result<Outcome> {
    let (alerts, incidents) = wait_analyzed(session, activity).await?;
    let now = model::Clock::now(&SystemClock);
    let assessment = app::demo::assess(office, &loaded.config, state, now)
        .await
        .context("the assessment failed")?;
    let differences = alert_differences(&activity.expected, &alerts);

    Ok(Outcome {
        alerts,
        incidents,
        differences,
        assessment,
    })
}

/// Writes sshd's lines as syslog does.
fn append_log(state: &StateDir, activity: &Activity) -> anyhow::Result<()> {
    let mut log = std::fs::File::options()
        .append(true)
        .open(state.join(LOG))
        .context("cannot open the log file")?;
    for (at, message) in &activity.ssh {
        writeln!(log, "{at} bastion sshd[4242]: {message}").context("cannot write the log file")?;
    }
    Ok(())
}

/// Sends the application's events in their order.
async fn post_events(
    listen: SocketAddr,
    key: &str,
    activity: &Activity,
    progress: impl Fn(u64),
) -> anyhow::Result<()> {
    // The client wants a provider even where there is nothing to encrypt; one that is there already
    // is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(30))
        .build()?;
    let url = format!("http://{listen}/v1/events");
    let mut sent = 0;

    for batch in activity.events.chunks(BATCH) {
        let body = serde_json::to_vec(&batch.iter().map(|e| &e.json).collect::<Vec<_>>())?;
        let request = client
            .post(&url)
            .bearer_auth(key)
            .header("content-type", "application/json")
            .body(body);
        let response = request
            .send()
            .await
            .context("the daemon does not take events")?;
        let (status, text) = (response.status(), response.text().await.unwrap_or_default());
        if !status.is_success() {
            bail!(
                "the daemon answered {status}: {}",
                model::text::sanitize(&text)
            );
        }
        let answer: serde_json::Value =
            serde_json::from_str(&text).context("the daemon's answer cannot be read")?;
        if answer["rejected"]
            .as_array()
            .is_some_and(|rejected| !rejected.is_empty())
        {
            bail!(
                "the daemon refused events: {}",
                model::text::sanitize(&answer["rejected"][0].to_string())
            );
        }
        sent += batch.len() as u64;
        progress(sent);
    }

    Ok(())
}

/// Waits until every event is read and the alerts have stopped to grow.
async fn wait_analyzed(
    session: &mut Session,
    activity: &Activity,
) -> anyhow::Result<(Vec<Alert>, Vec<Incident>)> {
    let deadline = Instant::now() + PATIENCE;
    let mut last = (u64::MAX, usize::MAX);
    let mut since = Instant::now();
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let seen = app::demo::progress(session, SHOWN_MAX).await?;
        let unread = seen.unread.context("nobody reads the events")?;

        let alerts = seen.alerts;
        let grown = alerts.iter().map(|a| a.event_count).sum::<u64>();
        let pending = unread > 0 || (!seen.has_log_lines && !activity.ssh.is_empty());
        if pending || (grown, alerts.len()) != last {
            last = (grown, alerts.len());
            since = Instant::now();
        }

        if since.elapsed() >= QUIET {
            let config = Config::default();
            let incidents = incidents::list(session, &config, true, SHOWN_MAX).await?;
            return Ok((alerts, incidents));
        }

        if Instant::now() > deadline {
            bail!(
                "the events are not analyzed after {} s: {} are unread",
                PATIENCE.as_secs(),
                unread
            );
        }
    }
}

fn alert_differences(expected: &[Expected], alerts: &[Alert]) -> BTreeMap<Expected, i64> {
    let mut counts = BTreeMap::new();
    for one in expected {
        *counts.entry(one.clone()).or_default() -= 1;
    }

    for alert in alerts {
        let rule = alert.rule_id.to_string().into();
        *counts
            .entry(Expected {
                rule,
                entity: alert.entity.value.clone(),
            })
            .or_default() += 1;
    }

    counts.retain(|_, n| *n != 0);
    counts
}
