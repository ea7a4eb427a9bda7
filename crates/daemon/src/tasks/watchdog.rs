//! The dead man's switch: as long as events are read, an outside service is pinged, and raises the
//! alarm when the pings stop. A failure that takes blueteam down with it (of the machine, the
//! database, the network) can be reported by no one else (3.3.4).

use std::sync::Arc;
use std::time::Duration;

use model::{Clock, Span};
use notify::http_post::Heartbeat;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::context::TaskContext;
use crate::supervisor::{Lifetime, Running, Task};
use app::health::{Pulse, Verdict};

/// The task.
pub const TASK: Task = Task {
    name: "dead man's switch",
    lifetime: Lifetime::Configuration,
    start,
};

fn start(context: &TaskContext) -> anyhow::Result<Option<Running>> {
    let config = &context.loaded.config.watchdog;
    let Some(heartbeat) = config.heartbeat(&context.loaded.secrets)? else {
        return Ok(None);
    };

    let options = Options {
        heartbeat,
        every: config.interval,
        pulse: Arc::clone(&context.health.pulse),
        verdict: Arc::clone(&context.health.verdict),
        clock: Arc::clone(&context.clock),
    };

    Ok(Some(Box::pin(run(options, context.stop.clone()))))
}

/// Configuration of the watchdog.
pub struct Options {
    /// The outside service that is pinged.
    pub heartbeat: Heartbeat,
    /// How often.
    pub every: Span,
    /// Of the monitor.
    pub pulse: Arc<Pulse>,
    /// Of the watch over blueteam's own work.
    pub verdict: Arc<Verdict>,
    /// The present.
    pub clock: Arc<dyn Clock>,
}

/// Pings until `stop` is cancelled.
pub async fn run(options: Options, stop: CancellationToken) -> anyhow::Result<()> {
    let mut tick = tokio::time::interval(options.every.to_std().max(Duration::from_secs(1)));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = tick.tick() => {}
        }

        let now = options.clock.now();
        if !options.pulse.is_fresh(now) {
            warn!("skipping watchdog ping: no events are being processed");
            continue;
        }

        if !options.verdict.is_well(now) {
            warn!(
                "skipping watchdog ping: events are not stored, or wait unread, or alerts cannot \
                    be written"
            );
            continue;
        }

        let told = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            told = options.heartbeat.beat(now) => told,
        };

        match told {
            Ok(_) => failing = false,
            // Once is enough: the service itself will say that it hears nothing.
            Err(error) if !failing => {
                failing = true;
                warn!("cannot ping the watchdog: {error}");
            }
            Err(_) => {}
        }
    }
}
