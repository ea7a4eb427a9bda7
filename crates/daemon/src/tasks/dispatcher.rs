//! Works off the outbox: claims what is due, sends it, and notes what became of it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::{Channel, Clock, Content, Severity, Span, Timestamp, WallClock};
use notify::channels::{ALL, Definition, find};
use notify::{Channels, Kind, Notification, Retry, backoff};
use store::outbox::{self, Delivery, Wanted};
use store::{PgConnectOptions, PgConnection};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use crate::context::TaskContext;
use crate::supervisor::{Lifetime, Running, Task};
use app::ack_links::Links;
use app::self_audit::{Component, Failures};
use config::{Config, Contacts, Person};

/// The task.
pub const TASK: Task = Task {
    name: "notification dispatcher",
    lifetime: Lifetime::Configuration,
    start,
};

fn start(context: &TaskContext) -> anyhow::Result<Option<Running>> {
    let config = &context.loaded.config;
    let options = Options {
        database: context.database.engine.clone(),
        channels: Arc::clone(&context.outbox.channels),
        names: Arc::new(Names {
            contacts: config.contacts.clone(),
            links: Links::open(&config.escalation, &context.state)?,
            patience: config.escalation.patience().to_vec(),
            readers: readers(config),
            clock: WallClock::of_zone(&config.business_hours.time_zone).unwrap_or_default(),
        }),
        wake: Arc::clone(&context.outbox.wake),
        clock: Arc::clone(&context.clock),
        failures: context.failures.clone(),
    };

    Ok(Some(Box::pin(run(options, context.stop.clone()))))
}

/// Who reads the messages that name no person: people by name where the contacts have them.
fn readers(config: &Config) -> Vec<String> {
    let mailbox = |text: &str| {
        let inner = text
            .rsplit_once('<')
            .map_or(text, |(_, rest)| rest.trim_end_matches('>'));
        inner.trim().to_owned()
    };
    let name = |to: &String| {
        let address = mailbox(to);
        let people = &config.contacts.people;
        people
            .iter()
            .find(|person| person.email.eq_ignore_ascii_case(&address))
            .map_or(address, |person| person.name.clone())
    };

    let sections = config.channels.all();
    sections
        .iter()
        .filter(|(_, section)| section.is_configured())
        .flat_map(|(_, section)| section.readers())
        .map(name)
        .collect()
}

/// A delivery that nobody reports on for this long is tried again; longer than any channel's own
/// time limit.
const LEASE: Span = Span::mins(2);
/// A way out that takes a message within this is quick.
const QUICK: Duration = Duration::from_millis(250);
/// Claimed at once for a quick way out: a few seconds of work, much less than a lease.
const WINDOW_MAX: usize = 512;
/// First pause after a failure, and the longest.
const RETRY_BASE: Duration = Duration::from_secs(2);
const RETRY_CAP: Duration = Duration::from_mins(15);
/// Tries before a delivery is given up: about four days of them.
const TRIES_MAX: u32 = 400;
/// Failures in a row after which a channel counts as failing.
const FAILING_AFTER: u32 = 3;

/// Who is called what, and where they answer.
#[derive(Debug, Default)]
pub struct Names {
    /// The people that messages may go to by name.
    pub contacts: Contacts,
    /// By which those who get a mail acknowledge; none: by command only.
    pub links: Option<Links>,
    /// Within what time an alert of each severity should be looked into.
    pub patience: Vec<(Severity, Span)>,
    /// Who gets mails that name no person.
    pub readers: Vec<String>,
    /// The time zone of the people at work.
    pub clock: WallClock,
}

/// Configuration of the dispatcher.
pub struct Options {
    /// How to connect, as the engine's role.
    pub database: PgConnectOptions,
    /// The ways out.
    pub channels: Arc<Channels>,
    /// What messages say beside the alert.
    pub names: Arc<Names>,
    /// Rings when deliveries were written.
    pub wake: Arc<Notify>,
    /// The present.
    pub clock: Arc<dyn Clock>,
    /// Where failing channels are recorded.
    pub failures: Failures,
}

/// Sends until `stop` is cancelled. What is under way is finished; what is not begun stays in the
/// outbox.
pub async fn run(options: Options, stop: CancellationToken) -> anyhow::Result<()> {
    let lanes = ALL.iter().copied().map(Lane::new).collect();
    let mut pool = Pool {
        options,
        under_way: JoinSet::new(),
        lanes,
        tasks: HashMap::new(),
        sent: Vec::new(),
        conn: None,
    };

    loop {
        let rest = match pool.work(stop.is_cancelled()).await {
            Ok(()) if stop.is_cancelled() && pool.under_way.is_empty() => return Ok(()),
            Ok(()) => Duration::from_secs(1),
            Err(cause) => {
                warn!("cannot read the outbox; retrying: {cause}");
                pool.conn = None;
                if stop.is_cancelled() && pool.under_way.is_empty() {
                    return Ok(());
                }
                Duration::from_secs(2)
            }
        };

        tokio::select! {
            biased;
            Some(done) = pool.under_way.join_next_with_id() => {
                pool.take_back(done);
                // Noted together with whatever else has arrived by now: one commit for all.
                while let Some(done) = pool.under_way.try_join_next_with_id() {
                    pool.take_back(done);
                }
            }

            () = stop.cancelled(), if !stop.is_cancelled() => {}
            () = pool.options.wake.notified() => {}
            () = tokio::time::sleep(rest) => {}
        }
    }
}

/// A delivery, what became of it, and how long that took.
struct Sent {
    delivery: Delivery,
    outcome: Outcome,
    took: Duration,
}

/// One way out: its places, and what is claimed for them. While it is quick, more is claimed than
/// there are places, so that one transaction serves many; once it fails or is slow, what is not
/// begun goes back to the outbox, where no lease holds it.
struct Lane {
    channel: Channel,
    /// Sends under way at once. Each channel has places of its own, and a place is taken again as
    /// soon as it is free: a way out that is slow or hangs delays nobody else's messages.
    places: usize,
    /// Under way.
    busy: usize,
    /// Claimed, and not begun.
    queue: VecDeque<Delivery>,
    /// What may be claimed at once, under way or not.
    window: usize,
}

impl Lane {
    const fn new(definition: &Definition) -> Self {
        Self {
            channel: definition.channel,
            places: definition.parallel_sends,
            busy: 0,
            queue: VecDeque::new(),
            window: definition.parallel_sends,
        }
    }

    /// How many more to claim. With a wide window it is not asked for each place that gets free.
    fn wants(&self) -> u32 {
        if self.queue.len() > (self.window - self.places) / 2 {
            return 0;
        }
        u32::try_from(self.window.saturating_sub(self.busy + self.queue.len())).unwrap_or(u32::MAX)
    }

    /// The next one, when there is a place for it.
    fn next(&mut self) -> Option<Delivery> {
        if self.busy >= self.places {
            return None;
        }
        self.queue.pop_front().inspect(|_| self.busy += 1)
    }

    /// A place is free again.
    fn came_back(&mut self, quick: bool) {
        self.busy = self.busy.saturating_sub(1);
        // One more for each that was quick doubles it with each round.
        self.window = if quick {
            (self.window + 1).min(WINDOW_MAX)
        } else {
            self.places
        };
    }

    /// What is claimed and must not wait here.
    fn given_up(&mut self, ending: bool) -> Vec<Uuid> {
        if ending || (self.window == self.places && self.busy > 0) {
            self.queue
                .drain(..)
                .map(|delivery| delivery.delivery_id)
                .collect()
        } else {
            Vec::new()
        }
    }
}

/// Deliveries under way.
struct Pool {
    options: Options,
    under_way: JoinSet<Sent>,
    lanes: Vec<Lane>,
    /// The channel of each task that is under way.
    tasks: HashMap<tokio::task::Id, Channel>,
    /// Sent, but not noted yet.
    sent: Vec<Sent>,
    conn: Option<PgConnection>,
}

impl Pool {
    /// Notes what was sent, and sends what is due as far as there are places; when `ending`,
    /// nothing new.
    async fn work(&mut self, ending: bool) -> Result<(), store::StoreError> {
        let mut conn = match self.conn.take() {
            Some(conn) => conn,
            None => outbox::connect(&self.options.database).await?,
        };

        self.note(&mut conn).await?;
        let back: Vec<Uuid> = self
            .lanes
            .iter_mut()
            .flat_map(|lane| lane.given_up(ending))
            .collect();
        if !back.is_empty() {
            outbox::put_back(&mut conn, &back).await?;
        }

        // What is claimed now and not sent would wait for the end of its lease.
        if !ending {
            // Deliveries for a channel that is not configured any more are given up in the end, and
            // that is said; not at once, because another program at this database may have the
            // channel.
            let known = self.options.channels.configured();
            let wanted = self.lanes.iter().map(|lane| Wanted {
                channel: lane.channel,
                most: lane.wants(),
                ours: known.contains(&lane.channel),
            });

            let wanted: Vec<Wanted> = wanted.filter(|w| w.most > 0).collect();
            if !wanted.is_empty() {
                for delivery in outbox::claim(&mut conn, &wanted, LEASE).await? {
                    if let Some(lane) = self
                        .lanes
                        .iter_mut()
                        .find(|lane| lane.channel == delivery.channel)
                    {
                        lane.queue.push_back(delivery);
                    }
                }
            }

            self.begin();
        }

        self.conn = Some(conn);
        Ok(())
    }

    /// Notes what became of what was sent: a statement for all that arrived, one for all that
    /// failed, one for all that is given up.
    async fn note(&mut self, conn: &mut PgConnection) -> Result<(), store::StoreError> {
        let (mut arrived, mut failed, mut dead) = (Vec::new(), Vec::new(), Vec::new());
        for Sent {
            delivery, outcome, ..
        } in &self.sent
        {
            match outcome {
                Ok(detail) => arrived.push((delivery.delivery_id, detail.as_str())),
                Err(failure) => match retry_delay(delivery, failure.again) {
                    Some(wait) => failed.push((delivery.delivery_id, failure.what.as_str(), wait)),
                    None => dead.push((delivery.delivery_id, failure.what.as_str())),
                },
            }
        }
        if !arrived.is_empty() {
            outbox::delivered(conn, &arrived).await?;
        }
        if !failed.is_empty() {
            outbox::failed(conn, &failed).await?;
        }
        if !dead.is_empty() {
            outbox::dead(conn, &dead).await?;
        }
        for sent in self.sent.drain(..) {
            log_failures(&self.options.failures, &sent);
        }
        Ok(())
    }

    /// Begins what is claimed, as far as there are places.
    fn begin(&mut self) {
        let (options, now) = (&self.options, self.options.clock.now());
        for lane in &mut self.lanes {
            while let Some(delivery) = lane.next() {
                let (channels, names) = (Arc::clone(&options.channels), Arc::clone(&options.names));
                let task = self.under_way.spawn(async move {
                    let begun = Instant::now();
                    let outcome = send_delivery(&channels, &names, &delivery, now).await;
                    Sent {
                        delivery,
                        outcome,
                        took: begun.elapsed(),
                    }
                });

                self.tasks.insert(task.id(), lane.channel);
            }
        }
    }

    /// A place is free again, and taken at once.
    fn take_back(&mut self, done: Result<(tokio::task::Id, Sent), tokio::task::JoinError>) {
        let (id, quick) = match done {
            Ok((id, sent)) => {
                let quick = sent.outcome.is_ok() && sent.took < QUICK;
                self.sent.push(sent);
                (id, quick)
            }
            // It comes back when its lease is over.
            Err(panic) => (panic.id(), false),
        };
        let channel = self.tasks.remove(&id);
        if let Some(lane) = self
            .lanes
            .iter_mut()
            .find(|lane| Some(lane.channel) == channel)
        {
            lane.came_back(quick);
        }
    }
}

async fn send_delivery(
    channels: &Channels,
    names: &Names,
    delivery: &Delivery,
    now: Timestamp,
) -> Outcome {
    let known = channels.configured().contains(&delivery.channel);
    let Ok(content) = Content::from_stored(delivery.payload.clone()) else {
        return Err(NotSent::ever(
            "the stored message cannot be read".to_owned(),
        ));
    };

    let Ok(kind) = delivery.kind.parse::<Kind>() else {
        return Err(NotSent::ever(format!(
            "unknown kind of message `{}`",
            delivery.kind
        )));
    };

    // Who is no longer among the contacts is not written to; when nobody is left, the channel's
    // usual readers are.
    let people = delivery
        .people
        .iter()
        .filter_map(|name| names.contacts.named(name))
        .map(Person::told)
        .collect();
    let told = if delivery.people.is_empty() {
        &names.readers
    } else {
        &delivery.people
    };
    let link = |links: &Links| links.to(delivery.alert_id?, kind, told, now);
    let ack_url = names
        .links
        .as_ref()
        .filter(|_| find(delivery.channel.as_str()).is_some_and(|d| d.names_people))
        .and_then(link);

    let within = names
        .patience
        .iter()
        .find(|(severity, _)| *severity == content.severity())
        .map(|(_, patience)| *patience);
    let message = Notification {
        content,
        delivery_id: delivery.delivery_id,
        kind,
        sent_at: now,
        people,
        ack_url,
        within,
        clock: names.clock.clone(),
    };

    let sent = channels.send(delivery.channel, &message).await;
    sent.map(|receipt| receipt.detail).map_err(|error| {
        let again = match error.retry {
            Retry::Later { after } if known => after.map_or(Again::Later, Again::After),
            _ => Again::Never,
        };
        NotSent {
            what: error.to_string(),
            again,
        }
    })
}

/// What went wrong, and whether to try again.
struct NotSent {
    what: String,
    again: Again,
}

/// When to try again.
#[derive(Clone, Copy)]
enum Again {
    Never,
    Later,
    /// As the other side asked for.
    After(Duration),
}

impl NotSent {
    const fn ever(what: String) -> Self {
        Self {
            what,
            again: Again::Never,
        }
    }
}

type Outcome = Result<String, NotSent>;

/// In how long a delivery that failed is tried again; none: never.
fn retry_delay(delivery: &Delivery, again: Again) -> Option<Span> {
    let attempts = delivery.attempts;
    let wait = match again {
        _ if attempts >= TRIES_MAX => return None,
        Again::Never => return None,
        Again::After(wait) => wait,
        Again::Later => {
            let random = getrandom::u64().unwrap_or(u64::from(attempts));
            backoff(attempts, RETRY_BASE, RETRY_CAP, random)
        }
    };

    Some(Span::micros(
        i64::try_from(wait.as_micros()).unwrap_or(i64::MAX),
    ))
}

/// Reports what became of a delivery: in the log, and as a failure of blueteam when people are not
/// reached.
fn log_failures(failures: &Failures, sent: &Sent) {
    let Delivery {
        delivery_id,
        channel,
        attempts,
        ..
    } = sent.delivery;

    match &sent.outcome {
        Ok(detail) => info!(%channel, %delivery_id, "delivered: {detail}"),
        Err(NotSent {
            what: error,
            again: Again::Later | Again::After(_),
        }) if attempts < TRIES_MAX => {
            warn!(%channel, %delivery_id, attempts, "cannot deliver; retrying: {error}");
            if attempts == FAILING_AFTER {
                failures.tell(
                    Component::Channel,
                    format!("alerts do not go out by {channel}: {error}"),
                );
            }
        }
        Err(NotSent { what: error, .. }) => {
            warn!(%channel, %delivery_id, attempts, "cannot deliver; giving up: {error}");
            failures.tell(
                Component::Channel,
                format!("an alert was not delivered by {channel}: {error}"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(n: u128) -> Delivery {
        Delivery {
            delivery_id: Uuid::from_u128(n),
            alert_id: None,
            channel: Channel::named("webhook"),
            kind: "opened".to_owned(),
            payload: serde_json::Value::Null,
            people: Vec::new(),
            attempts: 1,
        }
    }

    #[test]
    fn a_quick_way_gets_more_at_once_and_a_slow_one_gives_back_what_it_has_not_begun() {
        let mut lane = Lane::new(find("webhook").unwrap());
        let mut sent = 0;
        for _ in 0..6 {
            let most = lane.wants();
            lane.queue.extend((0..most).map(|n| delivery(n.into())));
            while lane.next().is_some() {}
            assert!(lane.busy <= 32 && lane.busy + lane.queue.len() <= lane.window);

            while lane.busy > 0 {
                lane.came_back(true);
                sent += 1;
                let _ = lane.next();
            }
        }

        assert!(
            sent > 1000 && lane.window == WINDOW_MAX,
            "{sent}, {}",
            lane.window
        );

        let most = lane.wants();
        lane.queue.extend((0..most).map(|n| delivery(n.into())));
        while lane.next().is_some() {}
        let waiting = lane.queue.len();
        assert!(lane.given_up(false).is_empty());
        lane.came_back(false);
        assert_eq!((lane.given_up(false).len(), lane.queue.len()), (waiting, 0));
        assert_eq!(lane.wants(), 1, "the place that is free");
    }

    #[test]
    fn a_mail_server_gets_few_connections() {
        let mut lane = Lane::new(find("email").unwrap());
        lane.queue.extend((0..10).map(delivery));
        assert_eq!(std::iter::from_fn(|| lane.next()).count(), 4);
        assert_eq!(lane.given_up(true).len(), 6);
    }
}
