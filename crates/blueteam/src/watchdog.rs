//! Who watches the watcher: as long as events are read, a service outside hears from us; when it no longer does, it raises the alarm. What
//! ends with us (the machine, the database, the network) cannot be told by us (3.3.4).

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use model::{Clock, Span, Timestamp};
use notify::post::Heartbeat;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// A monitor that has not come round for this long reads nothing. It comes round each second, but for a large commit.
const STALE: Span = Span::secs(60);

/// When the monitor last came round: it was connected, it had read, and it went on.
#[derive(Debug, Default)]
pub struct Pulse(AtomicI64);

impl Pulse {
    /// The monitor came round.
    pub fn beat(&self, now: Timestamp) {
        self.0.store(now.as_micros(), Ordering::Relaxed);
    }

    fn is_fresh(&self, now: Timestamp) -> bool {
        now.since(Timestamp::from_micros(self.0.load(Ordering::Relaxed))) <= STALE
    }
}

/// What the watchdog is told.
pub struct Options {
    /// Whom to tell.
    pub heartbeat: Heartbeat,
    /// How often.
    pub every: Span,
    /// Of the monitor.
    pub pulse: Arc<Pulse>,
    /// The present.
    pub clock: Arc<dyn Clock>,
}

/// Tells until told to stop.
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
            warn!("the watchdog is not told that we live, because events are not being read");
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
                warn!("the watchdog cannot be told that we live: {error}");
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pulse_is_fresh_for_a_minute() {
        let (pulse, at) = (Pulse::default(), Timestamp::from_secs);
        assert!(!pulse.is_fresh(at(1_000)), "it has never come round");
        pulse.beat(at(1_000));
        assert!(pulse.is_fresh(at(1_060)) && !pulse.is_fresh(at(1_061)));
    }
}
