//! Works off the outbox: claims what is due, sends it, and notes what became of it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use model::{Alert, Channel, Clock, Span, Timestamp};
use notify::{Channels, Kind, Message, Retry, backoff};
use store::outbox::{self, Delivery};
use store::{PgConnectOptions, PgConnection};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use crate::config::{Person, Personnel};
use crate::failures::{Component, Failures};
use crate::links::Links;

/// Deliveries of one channel under way at once. Each channel has places of its own, and a place is taken again as soon as it is
/// free: a way out that is slow or hangs delays nobody else's messages. Mail servers take few connections from one sender.
const fn places(channel: Channel) -> usize {
    if matches!(channel, Channel::Email) { 4 } else { 32 }
}
/// A delivery that nobody reports on for this long is tried again; longer than any channel's own time limit.
const LEASE: Span = Span::mins(2);
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
    pub(crate) personnel: Personnel,
    /// By which those who get a mail acknowledge; none: by command only.
    pub(crate) links: Option<Links>,
}

/// What the dispatcher is told.
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
    /// Where a failing channel is told.
    pub failures: Failures,
}

/// Sends until told to stop. What is under way is finished; what is not begun stays in the outbox.
pub async fn run(options: Options, stop: CancellationToken) -> anyhow::Result<()> {
    let mut pool = Pool { options, under_way: JoinSet::new(), busy: HashMap::new(), sent: VecDeque::new(), conn: None };
    loop {
        let rest = match pool.work(stop.is_cancelled()).await {
            Ok(()) if stop.is_cancelled() && pool.under_way.is_empty() => return Ok(()),
            Ok(()) => Duration::from_secs(1),
            Err(cause) => {
                warn!("deliveries wait for the database: {cause}");
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

/// A delivery and what became of it.
type Sent = (Delivery, Outcome);

/// Deliveries under way.
struct Pool {
    options: Options,
    under_way: JoinSet<Sent>,
    /// The channel of each that is under way.
    busy: HashMap<tokio::task::Id, Channel>,
    /// Sent, but not noted yet.
    sent: VecDeque<Sent>,
    conn: Option<PgConnection>,
}

impl Pool {
    /// Notes what was sent, and sends what is due as far as there are places; when `ending`, nothing new.
    async fn work(&mut self, ending: bool) -> Result<(), store::StoreError> {
        let mut conn = match self.conn.take() {
            Some(conn) => conn,
            None => store::connect(&self.options.database).await?,
        };
        self.note(&mut conn).await?;
        // What is claimed now and not sent would wait for the end of its lease.
        if !ending {
            // Deliveries for a channel that is not configured any more are claimed too: to be given up, and said.
            for channel in outbox::due(&mut conn).await? {
                let free = places(channel).saturating_sub(self.busy.values().filter(|busy| **busy == channel).count());
                if free > 0 {
                    for delivery in outbox::claim(&mut conn, &[channel], free as u32, LEASE).await? {
                        self.send(delivery);
                    }
                }
            }
        }
        self.conn = Some(conn);
        Ok(())
    }

    /// Notes what became of what was sent: arrivals in one statement, the rest one by one.
    async fn note(&mut self, conn: &mut PgConnection) -> Result<(), store::StoreError> {
        let arrived = |sent: &&Sent| sent.1.is_ok();
        let told: Vec<(Uuid, &str)> = self
            .sent
            .iter()
            .filter_map(|(delivery, outcome)| Some((delivery.delivery_id, outcome.as_ref().ok()?.as_str())))
            .collect();
        if !told.is_empty() {
            outbox::delivered(conn, &told).await?;
            for (delivery, outcome) in self.sent.iter().filter(arrived) {
                let (channel, delivery_id) = (delivery.channel, delivery.delivery_id);
                info!(%channel, %delivery_id, "delivered: {}", outcome.as_deref().unwrap_or_default());
            }
            self.sent.retain(|sent| !arrived(&sent));
        }
        while let Some((delivery, Err(failure))) = self.sent.front() {
            note_failure(&self.options, conn, delivery, failure).await?;
            self.sent.pop_front();
        }
        Ok(())
    }

    fn send(&mut self, delivery: Delivery) {
        let (channels, now) = (Arc::clone(&self.options.channels), self.options.clock.now());
        let names = Arc::clone(&self.options.names);
        let channel = delivery.channel;
        let task = self.under_way.spawn(async move {
            let outcome = send(&channels, &names, &delivery, now).await;
            (delivery, outcome)
        });
        self.busy.insert(task.id(), channel);
    }

    /// A place is free again.
    fn take_back(&mut self, done: Result<(tokio::task::Id, Sent), tokio::task::JoinError>) {
        let id = match done {
            Ok((id, sent)) => {
                self.sent.push_back(sent);
                id
            }
            // It comes back when its lease is over.
            Err(panic) => panic.id(),
        };
        self.busy.remove(&id);
    }
}

async fn send(channels: &Channels, names: &Names, delivery: &Delivery, now: Timestamp) -> Outcome {
    let known = channels.configured().contains(&delivery.channel);
    let Ok(alert) = serde_json::from_value::<Alert>(delivery.payload.clone()) else {
        return Err(("the stored message cannot be read".to_owned(), None));
    };
    let Ok(kind) = delivery.kind.parse::<Kind>() else {
        return Err((format!("nobody knows how to tell `{}`", delivery.kind), None));
    };
    // Who is no longer among the personnel is not written to; when nobody is left, the channel's usual readers are.
    let people = delivery.people.iter().filter_map(|name| names.personnel.named(name)).map(Person::told).collect();
    let link = |links: &Links| links.to(delivery.alert_id?, kind, &delivery.people, now);
    let ack_url = names.links.as_ref().filter(|_| delivery.channel == Channel::Email).and_then(link);
    let message = Message { alert, delivery_id: delivery.delivery_id, kind, sent_at: now, people, ack_url };
    let sent = channels.send(delivery.channel, &message).await;
    sent.map(|receipt| receipt.detail).map_err(|error| {
        let retry = match error.retry {
            Retry::Later { after } if known => Some(after),
            _ => None,
        };
        (error.to_string(), retry)
    })
}

/// What went wrong, and whether and when to try again.
type NotSent = (String, Option<Option<Duration>>);
type Outcome = Result<String, NotSent>;

async fn note_failure(
    options: &Options,
    conn: &mut PgConnection,
    delivery: &Delivery,
    failure: &NotSent,
) -> Result<(), store::StoreError> {
    let Delivery { delivery_id, channel, attempts, .. } = *delivery;
    match failure {
        (error, Some(after)) if attempts < TRIES_MAX => {
            let random = getrandom::u64().unwrap_or(u64::from(attempts));
            let wait = after.unwrap_or_else(|| backoff(attempts, RETRY_BASE, RETRY_CAP, random));
            warn!(%channel, %delivery_id, attempts, "not delivered, again in {} s: {error}", wait.as_secs());
            if attempts == FAILING_AFTER {
                options.failures.tell(Component::Channel, format!("alerts do not go out by {channel}: {error}"));
            }
            let wait = Span::micros(i64::try_from(wait.as_micros()).unwrap_or(i64::MAX));
            outbox::failed(conn, delivery_id, error, wait).await
        }
        (error, _) => {
            warn!(%channel, %delivery_id, attempts, "given up: {error}");
            options.failures.tell(Component::Channel, format!("an alert was not delivered by {channel}: {error}"));
            outbox::dead(conn, delivery_id, error).await
        }
    }
}
