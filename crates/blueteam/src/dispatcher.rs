//! Works off the outbox: claims what is due, sends it, and notes what became of it.

use std::sync::Arc;
use std::time::Duration;

use model::{Alert, Channel, Clock, Span};
use notify::{Channels, Kind, Message, Retry, backoff};
use store::outbox::{self, Delivery};
use store::{PgConnectOptions, PgConnection};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::failures::{Component, Failures};

/// Deliveries under way at once.
const AT_ONCE: u32 = 16;
/// A delivery that nobody reports on for this long is tried again; longer than any channel's own time limit.
const LEASE: Span = Span::mins(2);
/// First pause after a failure, and the longest.
const RETRY_BASE: Duration = Duration::from_secs(2);
const RETRY_CAP: Duration = Duration::from_mins(15);
/// Tries before a delivery is given up: about four days of them.
const TRIES_MAX: u32 = 400;
/// Failures in a row after which a channel counts as failing.
const FAILING_AFTER: u32 = 3;

/// What the dispatcher is told.
pub struct Options {
    /// How to connect, as the engine's role.
    pub database: PgConnectOptions,
    /// The ways out.
    pub channels: Arc<Channels>,
    /// Rings when deliveries were written.
    pub wake: Arc<Notify>,
    /// The present.
    pub clock: Arc<dyn Clock>,
    /// Where a failing channel is told.
    pub failures: Failures,
}

/// Sends until told to stop. What is under way is finished; what is not begun stays in the outbox.
pub async fn run(options: Options, stop: CancellationToken) -> anyhow::Result<()> {
    let mut conn: Option<PgConnection> = None;
    loop {
        let mut open = match conn.take() {
            Some(open) => open,
            None => match store::connect(&options.database).await {
                Ok(open) => open,
                Err(cause) => {
                    warn!("deliveries wait for the database: {cause}");
                    if pause(&options, &stop, Duration::from_secs(2)).await {
                        return Ok(());
                    }
                    continue;
                }
            },
        };
        let rest = match round(&options, &mut open, &stop).await {
            Ok(sent) => {
                conn = Some(open);
                if sent { Duration::ZERO } else { Duration::from_secs(1) }
            }
            Err(cause) => {
                warn!("deliveries are interrupted: {cause}");
                Duration::from_secs(1)
            }
        };
        if pause(&options, &stop, rest).await {
            return Ok(());
        }
    }
}

/// Waits; true when told to stop.
async fn pause(options: &Options, stop: &CancellationToken, rest: Duration) -> bool {
    tokio::select! {
        biased;
        () = stop.cancelled() => true,
        () = options.wake.notified() => false,
        () = tokio::time::sleep(rest) => false,
    }
}

/// Sends what is due; false when nothing was.
async fn round(
    options: &Options,
    conn: &mut PgConnection,
    stop: &CancellationToken,
) -> Result<bool, store::StoreError> {
    let configured = options.channels.configured();
    // What is claimed now and not sent would wait for the end of its lease.
    if stop.is_cancelled() {
        return Ok(false);
    }
    // Deliveries for a channel that is not configured any more are claimed too: to be given up, and said.
    let due = outbox::claim(conn, &Channel::ALL, AT_ONCE, LEASE).await?;
    if due.is_empty() {
        return Ok(false);
    }
    let mut under_way = JoinSet::new();
    for delivery in due {
        let (channels, now) = (Arc::clone(&options.channels), options.clock.now());
        let known = configured.contains(&delivery.channel);
        under_way.spawn(async move {
            let result = match serde_json::from_value::<Alert>(delivery.payload.clone()) {
                Ok(alert) => {
                    let kind = Kind::Opened;
                    let message = Message { alert, delivery_id: delivery.delivery_id, kind, sent_at: now };
                    channels.send(delivery.channel, &message).await.map_err(|error| {
                        let retry = match error.retry {
                            Retry::Later { after } if known => Some(after),
                            _ => None,
                        };
                        (error.to_string(), retry)
                    })
                }
                Err(_) => Err(("the stored message cannot be read".to_owned(), None)),
            };
            (delivery, result.map(|receipt| receipt.detail))
        });
    }
    while let Some(done) = under_way.join_next().await {
        // A send that panicked comes back when its lease is over.
        if let Ok((delivery, result)) = done {
            note(options, conn, delivery, result).await?;
        }
    }
    Ok(true)
}

type Outcome = Result<String, (String, Option<Option<Duration>>)>;

async fn note(
    options: &Options,
    conn: &mut PgConnection,
    delivery: Delivery,
    result: Outcome,
) -> Result<(), store::StoreError> {
    let Delivery { delivery_id, channel, attempts, .. } = delivery;
    match result {
        Ok(detail) => {
            info!(%channel, %delivery_id, "delivered: {detail}");
            outbox::delivered(conn, delivery_id).await
        }
        Err((error, Some(after))) if attempts < TRIES_MAX => {
            let random = getrandom::u64().unwrap_or(u64::from(attempts));
            let wait = after.unwrap_or_else(|| backoff(attempts, RETRY_BASE, RETRY_CAP, random));
            warn!(%channel, %delivery_id, attempts, "not delivered, again in {} s: {error}", wait.as_secs());
            if attempts == FAILING_AFTER {
                options.failures.tell(Component::Channel, format!("alerts do not go out by {channel}: {error}"));
            }
            let wait = Span::micros(i64::try_from(wait.as_micros()).unwrap_or(i64::MAX));
            outbox::failed(conn, delivery_id, &error, wait).await
        }
        Err((error, _)) => {
            warn!(%channel, %delivery_id, attempts, "given up: {error}");
            options.failures.tell(Component::Channel, format!("an alert was not delivered by {channel}: {error}"));
            outbox::dead(conn, delivery_id, &error).await
        }
    }
}
