//! The database is away: nothing is stored then, not even that it is so (3.3.4). The personnel are told all the same, by what the
//! configuration alone says: once in an outage, and again when it is over. A small file remembers it through restarts.

use std::sync::Arc;
use std::time::Duration;

use model::{
    Alert, AlertId, AlertState, Channel, Clock, ControlId, Entity, EntityKind, Fingerprint, RuleId, Severity, Span,
    Timestamp,
};
use notify::routing::by_design;
use notify::{Channels, Kind, Message};
use serde::{Deserialize, Serialize};
use store::PgConnectOptions;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use uuid::Uuid;

use crate::state::StateDir;

/// How often we look.
const EVERY: Duration = Duration::from_secs(2);
/// A database that takes longer to let us in is away.
const PATIENCE: Duration = Duration::from_secs(5);
/// The file that remembers who was told.
const FILE: &str = "outage.json";

/// What the watch over the database is told.
pub(crate) struct Options {
    /// How to connect.
    pub database: PgConnectOptions,
    /// The ways out.
    pub channels: Arc<Channels>,
    /// How long the database may be away before anybody is told.
    pub after: Span,
    /// Where the file is kept.
    pub state: StateDir,
    /// The present.
    pub clock: Arc<dyn Clock>,
}

/// An outage, as far as we know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Outage {
    /// Since when.
    since: Option<Timestamp>,
    /// Who knows of it, and not yet that it is over.
    told: Vec<Channel>,
}

impl Outage {
    /// What is to be told now, and to whom. What was told must be noted with [`Self::note`].
    fn next(&mut self, up: bool, now: Timestamp, after: Span, all: &[Channel]) -> Vec<(Channel, Kind)> {
        if up {
            if self.told.is_empty() {
                self.since = None;
            }
            return self.told.iter().map(|channel| (*channel, Kind::Resolved)).collect();
        }
        let since = *self.since.get_or_insert(now);
        let due = now.since(since) >= after;
        all.iter().filter(|c| due && !self.told.contains(c)).map(|c| (*c, Kind::Opened)).collect()
    }

    fn note(&mut self, channel: Channel, kind: Kind) {
        self.told.retain(|told| *told != channel);
        if kind == Kind::Opened {
            self.told.push(channel);
        }
    }
}

/// Looks until told to stop.
pub(crate) async fn run(options: Options, stop: CancellationToken) -> anyhow::Result<()> {
    let read = std::fs::read(options.state.join(FILE)).ok();
    let mut outage: Outage = read.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
    let configured = options.channels.configured();
    let all: Vec<_> = by_design(Severity::Critical).iter().copied().filter(|c| configured.contains(c)).collect();
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stop.cancelled() => return Ok(()),
        }
        let up = matches!(tokio::time::timeout(PATIENCE, store::connect(&options.database)).await, Ok(Ok(_)));
        if stop.is_cancelled() {
            return Ok(());
        }
        let before = outage.clone();
        let now = options.clock.now();
        for (channel, kind) in outage.next(up, now, options.after, &all) {
            let message = message(kind, outage.since.unwrap_or(now), now);
            match options.channels.send(channel, &message).await {
                Ok(_) => {
                    outage.note(channel, kind);
                    // At once: who was told is not told again by the next start.
                    save(&options.state, &outage);
                }
                Err(cause) => warn!(%channel, "the state of the database cannot be told: {cause}"),
            }
        }
        if before.told.is_empty() && !outage.told.is_empty() {
            error!("the database is away; the personnel were told");
        } else if !before.told.is_empty() && outage.told.is_empty() {
            info!("the database is back; the personnel were told");
        }
        if before != outage {
            save(&options.state, &outage);
        }
    }
}

fn save(state: &StateDir, outage: &Outage) {
    let written = serde_json::to_vec(outage).map_err(anyhow::Error::from);
    if let Err(cause) = written.and_then(|bytes| state.replace(FILE, &bytes)) {
        warn!("cannot remember who knows of the outage: {cause:#}");
    }
}

fn message(kind: Kind, since: Timestamp, now: Timestamp) -> Message {
    // The same at each attempt and after each restart, so that a receiver knows a repetition.
    let number = u128::from(since.as_micros().unsigned_abs()) * 2;
    let id = Uuid::from_u128(number + u128::from(kind == Kind::Resolved));
    let alert = Alert {
        services: Vec::new(),
        tenant: None,
        alert_id: AlertId(Uuid::from_u128(number)),
        rule_id: RuleId::builtin("audit_log_gap"),
        severity: Severity::Critical,
        title: "The database of the audit record is away".to_owned(),
        description:
            "Nothing can be recorded or analysed. Events that arrive are kept on disk as long as there is room. Start \
                      PostgreSQL, or find out why it cannot be reached. This alert is not in the list of alerts."
                .to_owned(),
        entity: Entity { kind: EntityKind::Source, value: "database".to_owned() },
        source: "blueteam".to_owned(),
        first_seen: since,
        last_seen: now,
        event_count: 1,
        event_ids: Vec::new(),
        nist_controls: vec![ControlId::known("3.3.4")],
        cui_involved: false,
        incident_id: None,
        state: if kind == Kind::Resolved { AlertState::Closed } else { AlertState::Open },
        fingerprint: Fingerprint(Uuid::from_u128(number)),
        acknowledged_by: None,
        acknowledged_at: None,
        created_at: since,
        muted_by: None,
    };
    Message { alert, delivery_id: id, kind, sent_at: now, people: Vec::new(), ack_url: None, within: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_is_told_once_and_once_more_when_it_is_over() {
        use Channel::{Console, Email};
        let (all, at, after) = ([Email, Console], Timestamp::from_secs, Span::secs(60));
        let mut outage = Outage::default();
        assert_eq!(outage.next(true, at(1), after, &all), []);
        assert_eq!(outage.next(false, at(10), after, &all), [], "it may be a restart");
        assert_eq!(outage.next(true, at(20), after, &all), []);
        assert_eq!(outage.next(false, at(30), after, &all), [], "another one");
        assert_eq!(outage.next(false, at(89), after, &all), []);
        assert_eq!(outage.next(false, at(90), after, &all), [(Email, Kind::Opened), (Console, Kind::Opened)]);
        outage.note(Console, Kind::Opened);
        assert_eq!(outage.next(false, at(92), after, &all), [(Email, Kind::Opened)], "the mail did not go out");
        outage.note(Email, Kind::Opened);
        assert_eq!(outage.next(false, at(94), after, &all), []);
        // A restart of ours changes nothing.
        let mut outage: Outage = serde_json::from_value(serde_json::to_value(&outage).unwrap()).unwrap();
        assert_eq!(outage.next(true, at(100), after, &all), [(Console, Kind::Resolved), (Email, Kind::Resolved)]);
        outage.note(Email, Kind::Resolved);
        assert_eq!(outage.next(true, at(102), after, &all), [(Console, Kind::Resolved)]);
        outage.note(Console, Kind::Resolved);
        assert_eq!(outage.next(true, at(104), after, &all), []);
        assert_eq!(outage, Outage::default());
    }
}
