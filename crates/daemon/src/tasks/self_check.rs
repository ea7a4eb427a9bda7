//! Being stuck is being down: the database cannot be reached, events are not stored, they wait
//! unread, or alerts cannot be written. None of that can be stored as an alert (3.3.4). The
//! contacts are still notified, from the configuration alone: once for each trouble, and again when
//! it is over. A small file remembers it through restarts.

mod signs;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::{Channel, Clock, Content, Notice, Severity, Span, Timestamp, Topic};
use notify::channels::by_design;
use notify::{Channels, Kind, Notification};
use serde::{Deserialize, Serialize};
use store::PgConnectOptions;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use uuid::Uuid;

use app::health::Verdict;
use app::self_audit::{Component, Failures};
use config::StateDir;

use crate::context::TaskContext;
use crate::supervisor::{Lifetime, Running, Task};
pub use signs::{Signs, Unstored};

/// The task.
pub const TASK: Task = Task {
    name: "self-check",
    lifetime: Lifetime::Configuration,
    start,
};

#[expect(
    clippy::unnecessary_wraps,
    reason = "the list takes starts that may fail"
)]
fn start(context: &TaskContext) -> anyhow::Result<Option<Running>> {
    let (arrivals, clock) = (context.arrivals.clone(), Arc::clone(&context.clock));
    let options = Options {
        database: context.database.engine.clone(),
        channels: Arc::clone(&context.outbox.channels),
        patience: Patience::of(&context.loaded.config.watchdog),
        state: context.state.clone(),
        clock: Arc::clone(&context.clock),
        signs: Signs {
            pulse: Some(Arc::clone(&context.health.pulse)),
            stalls: context.failures.stalls().clone(),
            unstored: Some(Arc::new(move || arrivals.unstored(clock.now()))),
        },
        verdict: Arc::clone(&context.health.verdict),
        failures: Some(context.failures.clone()),
        withheld: None,
    };

    Ok(Some(Box::pin(run(options, context.stop.clone()))))
}

/// How often the signs are looked at.
const EVERY: Duration = Duration::from_secs(2);
/// The file that remembers who was notified.
const FILE: &str = "outage.json";

/// What can be wrong with blueteam's own work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Trouble {
    /// The database cannot be reached.
    Database,
    /// Events that were taken in, or that a collector has read, are not stored.
    Storing,
    /// Stored events wait to be read by the rules.
    Reading,
    /// Alerts that the rules found are not written.
    Alerting,
    /// The state directory cannot be written to.
    State,
    /// The database waits for a person's consent to be brought up to date.
    Upgrade,
}

impl Trouble {
    /// Every trouble.
    pub const ALL: [Self; 6] = [
        Self::Database,
        Self::Storing,
        Self::Reading,
        Self::Alerting,
        Self::State,
        Self::Upgrade,
    ];

    /// How long it may last before people are notified, from the moment at which a look finds it.
    fn patience(self, patience: Patience) -> Span {
        match self {
            Self::Database | Self::Upgrade => patience.database,
            Self::Storing | Self::Reading | Self::Alerting | Self::State => {
                Span::micros(patience.stuck.as_micros() - patience.noticed().as_micros())
            }
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Database => "The database of the audit record is unreachable",
            Self::Storing => "Events are not being stored",
            Self::Reading => "Events are not being analyzed",
            Self::Alerting => "Alerts cannot be written",
            Self::State => "The state directory cannot be written to",
            Self::Upgrade => "The audit record waits for a backup before its upgrade",
        }
    }

    fn description(self) -> &'static str {
        match self {
            Self::Database => {
                "Nothing can be recorded or analyzed. Events that arrive are kept on disk as long \
                    as there is room; a daemon that has been started meanwhile keeps those that \
                    applications send over HTTP. Start PostgreSQL, or find out why it cannot be \
                    reached."
            }
            Self::Storing => {
                "PostgreSQL answers, but events do not get into their tables. What applications \
                    send is kept on disk as \
                 long as there is room; collectors wait."
            }
            Self::Reading => {
                "Events are stored, but the rules have not seen the latest ones: an attack would \
                    not be noticed now. \
                 `blueteam status` shows how many wait."
            }
            Self::Alerting => {
                "The rules have found something that cannot be stored as an alert. It is kept and \
                    tried again; until then \
                 it is in no list and goes out through no channel."
            }
            Self::State => {
                "Detection goes on, but nothing that must survive a restart can be kept: no event \
                    is spooled when the database becomes unreachable, and the daemon cannot be \
                    started again. Look for a file system that was mounted read-only after an \
                    error, or for a full disk."
            }
            Self::Upgrade => {
                "A newer blueteam was started, and nothing is recorded or analyzed until its \
                    database is brought up to date. What applications send over HTTP is kept on \
                    disk as long as there is room."
            }
        }
    }
}

/// How long something may go wrong before people are notified: a restart of PostgreSQL, a large
/// commit and a person's short transaction are no news.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// The database cannot be reached.
    pub database: Span,
    /// Anything else.
    pub stuck: Span,
}

impl Patience {
    /// As the configuration has it.
    pub fn of(config: &config::Watchdog) -> Self {
        Self {
            database: config.database_down_after,
            stuck: config.stuck_after,
        }
    }

    /// What has waited for this long is found by a look. Part of `stuck`.
    fn noticed(self) -> Span {
        Span::micros(self.stuck.as_micros() / 3)
    }
}

/// Configuration of the self-check.
pub struct Options {
    /// How to connect.
    pub database: PgConnectOptions,
    /// The ways out.
    pub channels: Arc<Channels>,
    /// How long it may last before anyone is notified.
    pub patience: Patience,
    /// Where the file is kept.
    pub state: StateDir,
    /// The present.
    pub clock: Arc<dyn Clock>,
    /// What shows that work gets on, beside the database.
    pub signs: Signs,
    /// Where the watchdog finds what was found.
    pub verdict: Arc<Verdict>,
    /// Where troubles that are over are recorded; `None` while there is no database.
    pub failures: Option<Failures>,
    /// Why the database must not be used yet, if that is so.
    pub withheld: Option<String>,
}

/// A trouble, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Outage {
    /// Since when.
    since: Option<Timestamp>,
    /// Who knows of it, and not yet that it is over.
    told: Vec<Channel>,
}

/// What a look found of one trouble.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It gets on.
    Well,
    /// It does not, and why.
    Stuck(String),
    /// Nobody can say: what shows it is unreachable itself.
    Unknown,
}

impl Outage {
    /// Returns the notifications that are due, with their channels. Each one that was sent must be
    /// recorded with [`Self::note`].
    fn next(
        &mut self,
        well: bool,
        now: Timestamp,
        after: Span,
        all: &[Channel],
    ) -> Vec<(Channel, Kind)> {
        if well {
            if self.told.is_empty() {
                self.since = None;
            }
            return self
                .told
                .iter()
                .map(|channel| (*channel, Kind::Resolved))
                .collect();
        }

        self.since.get_or_insert(now);
        let due = self.is_due(now, after);
        all.iter()
            .filter(|c| due && !self.told.contains(c))
            .map(|c| (*c, Kind::Opened))
            .collect()
    }

    /// Whether it has lasted for longer than a passing hitch does.
    fn is_due(&self, now: Timestamp, after: Span) -> bool {
        self.since.is_some_and(|since| now.since(since) >= after)
    }

    fn note(&mut self, channel: Channel, kind: Kind) {
        self.told.retain(|told| *told != channel);
        if kind == Kind::Opened {
            self.told.push(channel);
        }
    }
}

/// The troubles that there are.
type Outages = BTreeMap<Trouble, Outage>;

/// Looks until `stop` is cancelled.
pub async fn run(options: Options, stop: CancellationToken) -> anyhow::Result<()> {
    let read = std::fs::read(options.state.join(FILE)).ok();
    let mut outages: Outages = read
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default();
    let configured = options.channels.configured();
    let all: Vec<_> = by_design(Severity::Critical)
        .into_iter()
        .filter(|c| configured.contains(c))
        .collect();

    let mut look = options.signs.look(options.patience.noticed());

    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stop.cancelled() => return Ok(()),
        }

        let mut findings = if let Some(why) = &options.withheld {
            // Nobody asks it, so nothing else is known.
            BTreeMap::from([(Trouble::Upgrade, Finding::Stuck(why.clone()))])
        } else {
            let mut found = look.findings(&options.database, options.clock.now()).await;
            found.insert(Trouble::Upgrade, Finding::Well);
            found
        };
        findings.insert(Trouble::State, state_finding(&options.state));
        if stop.is_cancelled() {
            return Ok(());
        }

        let before = outages.clone();
        for trouble in Trouble::ALL {
            match findings.get(&trouble).unwrap_or(&Finding::Unknown) {
                Finding::Unknown => {}
                Finding::Well => report_outage(&options, trouble, None, &mut outages, &all).await,
                Finding::Stuck(why) => {
                    report_outage(&options, trouble, Some(why), &mut outages, &all).await;
                }
            }
        }

        let now = options.clock.now();
        // What is over counts no longer, though a channel may not have taken the news yet.
        let lasts = |trouble: &Trouble| findings.get(trouble) != Some(&Finding::Well);
        let due = outages.iter().any(|(trouble, outage)| {
            lasts(trouble) && outage.is_due(now, trouble.patience(options.patience))
        });
        options.verdict.note(!due, now);

        if before != outages {
            save_outages(&options.state, &outages);
        }
    }
}

/// Whether the state directory can be written to.
fn state_finding(state: &StateDir) -> Finding {
    match state.try_write() {
        Ok(()) => Finding::Well,
        Err(error) => Finding::Stuck(format!("{}: {error}", state.path().display())),
    }
}

/// Sends what is due about one trouble; `why` is none when it is over.
async fn report_outage(
    options: &Options,
    trouble: Trouble,
    why: Option<&str>,
    outages: &mut Outages,
    all: &[Channel],
) {
    let mut outage = outages.remove(&trouble).unwrap_or_default();
    let (known, began) = (!outage.told.is_empty(), outage.since);
    let now = options.clock.now();
    for (channel, kind) in outage.next(why.is_none(), now, trouble.patience(options.patience), all)
    {
        let message = outage_message(trouble, kind, why, outage.since.unwrap_or(now), now);
        match options.channels.send(channel, &message).await {
            Ok(_) => {
                outage.note(channel, kind);
                // At once, so that the next start does not notify the same channel again.
                outages.insert(trouble, outage.clone());
                save_outages(&options.state, outages);
            }
            Err(cause) => warn!(%channel, "cannot report \"{}\": {cause}", trouble.title()),
        }
    }

    match (known, outage.told.is_empty()) {
        (false, false) => error!(
            reason = why,
            "{}; reported to the contacts",
            trouble.title()
        ),
        (true, true) => {
            info!("resolved: {}; reported to the contacts", trouble.title());
            if trouble == Trouble::Alerting
                && let (Some(failures), Some(since)) = (&options.failures, began)
            {
                let message = format!(
                    "alerts could not be written from {since} to {now}; they were written afterward"
                );
                failures.tell_of(Component::Reader, "alerting", message);
            }
        }
        _ => {}
    }
    if outage != Outage::default() {
        outages.insert(trouble, outage);
    }
}

fn save_outages(state: &StateDir, outages: &Outages) {
    let written = serde_json::to_vec(outages).map_err(anyhow::Error::from);
    if let Err(cause) = written.and_then(|bytes| state.replace(FILE, &bytes)) {
        warn!("cannot save who was notified of the outage: {cause:#}");
    }
}

fn outage_message(
    trouble: Trouble,
    kind: Kind,
    why: Option<&str>,
    since: Timestamp,
    now: Timestamp,
) -> Notification {
    // The same at each attempt and after each restart, so that a receiver knows a repetition.
    let place = Trouble::ALL
        .iter()
        .position(|t| *t == trouble)
        .unwrap_or_default() as u128;
    let number = (u128::from(since.as_micros().unsigned_abs()) << 8) | (place << 1);
    let id = Uuid::from_u128(number | u128::from(kind == Kind::Resolved));
    let reason = why
        .map(|why| format!(" Reason: {}.", model::text::sanitize(why)))
        .unwrap_or_default();
    let notice = Notice {
        id: Uuid::from_u128(number),
        topic: Topic::SelfCheck,
        severity: Severity::Critical,
        title: trouble.title().to_owned(),
        body: format!(
            "{}{reason} This alert is not in the list of alerts.",
            trouble.description()
        ),
        about: "database".to_owned(),
        from: since,
        to: now,
        count: 1,
        lasts: kind != Kind::Resolved,
    };

    Notification {
        content: Content::Notice(notice),
        delivery_id: id,
        kind,
        sent_at: now,
        people: Vec::new(),
        ack_url: None,
        clock: model::WallClock::default(),
        within: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_channel_gets_an_outage_once_and_its_end_once() {
        let (console, email) = (Channel::named("console"), Channel::named("email"));
        let (all, at, after) = ([email, console], Timestamp::from_secs, Span::secs(60));
        let mut outage = Outage::default();
        assert_eq!(outage.next(true, at(1), after, &all), []);
        assert_eq!(
            outage.next(false, at(10), after, &all),
            [],
            "it may be a restart"
        );

        assert_eq!(outage.next(true, at(20), after, &all), []);
        assert_eq!(outage.next(false, at(30), after, &all), [], "another one");
        assert_eq!(outage.next(false, at(89), after, &all), []);
        assert!(!outage.is_due(at(89), after) && outage.is_due(at(90), after));
        assert_eq!(
            outage.next(false, at(90), after, &all),
            [(email, Kind::Opened), (console, Kind::Opened)]
        );

        outage.note(console, Kind::Opened);
        assert_eq!(
            outage.next(false, at(92), after, &all),
            [(email, Kind::Opened)],
            "the mail did not go out"
        );
        outage.note(email, Kind::Opened);
        assert_eq!(outage.next(false, at(94), after, &all), []);

        // A restart of blueteam changes nothing.
        let mut outage: Outage =
            serde_json::from_value(serde_json::to_value(&outage).unwrap()).unwrap();
        assert_eq!(
            outage.next(true, at(100), after, &all),
            [(console, Kind::Resolved), (email, Kind::Resolved)]
        );
        outage.note(email, Kind::Resolved);
        assert_eq!(
            outage.next(true, at(102), after, &all),
            [(console, Kind::Resolved)]
        );

        outage.note(console, Kind::Resolved);
        assert_eq!(outage.next(true, at(104), after, &all), []);
        assert_eq!(outage, Outage::default());
    }

    #[test]
    fn troubles_that_begin_together_are_told_apart() {
        let at = Timestamp::from_secs(1_000);
        let ids: std::collections::BTreeSet<_> = Trouble::ALL
            .into_iter()
            .flat_map(|trouble| [Kind::Opened, Kind::Resolved].map(|kind| (trouble, kind)))
            .map(|(trouble, kind)| outage_message(trouble, kind, None, at, at).delivery_id)
            .collect();
        assert_eq!(ids.len(), 2 * Trouble::ALL.len());
    }
}
