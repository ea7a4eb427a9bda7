//! Changes on their way into the database: one that cannot be written holds up none of the others
//! (decision 0029).

use std::borrow::Cow;
use std::collections::VecDeque;
use std::ops::Range;

use model::{Alert, AlertId, AlertState, Channel, DetectionUpdate, IncidentId, SilenceId, Span};
use sqlx::{Executor as _, PgConnection};
use uuid::Uuid;

use super::apply::write_part;
use super::messages;
use super::pending::{self, Pending};
use crate::StoreError;
use crate::outbox::ChannelTraits;

/// What applying a batch did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Alerts that were not there before.
    pub opened: Vec<AlertId>,
    /// Alerts that grew or closed.
    pub updated: u64,
    /// Incidents that were opened.
    pub incidents: Vec<IncidentId>,
    /// Deliveries written.
    pub deliveries: u64,
    /// Changes that could not be written and wait to be tried again.
    pub pending: Vec<Pending>,
}

impl Applied {
    /// Adds what applying another batch did.
    pub fn add(&mut self, other: Self) {
        self.opened.extend(other.opened);
        self.updated += other.updated;
        self.incidents.extend(other.incidents);
        self.deliveries += other.deliveries;
        self.pending.extend(other.pending);
    }
}

/// Where the notification of an alert goes; by default nowhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// Its channels.
    pub channels: Vec<Channel>,
    /// The silence that covers the alert: no channel gets it.
    pub muted_by: Option<SilenceId>,
    /// How many messages of new alerts a channel that people read takes, and in how long; beyond,
    /// they are folded into a summary. None: all.
    pub most: Option<(u32, Span)>,
}

impl From<Vec<Channel>> for Route {
    fn from(channels: Vec<Channel>) -> Self {
        Self {
            channels,
            muted_by: None,
            most: None,
        }
    }
}

/// An alert as a change left it.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one fact of the row, not a state"
)]
pub struct WrittenAlert {
    /// The alert: open, or closed by the change.
    pub alert: Alert,
    /// Whether it was not there before.
    pub is_new: bool,
    /// Where its notification goes, to be set where [`WrittenAlert::needs_route`].
    pub route: Route,
    /// Whether it was there and open before.
    pub(super) was_open: bool,
    /// Whether a silence has kept it quiet so far.
    pub(super) is_silenced: bool,
    /// Whether its events were one tenant's until now.
    pub(super) is_widened: bool,
}

impl WrittenAlert {
    /// Whether there may be a notification to route: the alert is new, or it goes on and was
    /// silenced so far or sent to the channels of one tenant alone.
    pub fn needs_route(&self) -> bool {
        let goes_on = self.alert.state == AlertState::Open;
        self.is_new || goes_on && (self.is_silenced || self.is_widened)
    }
}

/// How long a batch of changes waits for a row that another session holds. People hold one for as
/// long as a click takes.
const PATIENTLY: &str = "2s";
/// The same once it is known that something in the batch is held, and the rest must not wait for
/// it.
const BRIEFLY: &str = "50ms";
/// Failures one after the other, without a change between them that could be written, after which
/// the rest is taken to fail too: each costs a wait, and a table that is locked fails them all.
const FAILURES_MAX: usize = 20;

/// Why a change could not be written.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    /// In the database's words.
    pub(super) reason: String,
    /// Whether another session was in the way.
    pub(super) conflict: bool,
}

/// Changes to write, part by part, in the caller's transaction and after
/// [`take_turn`](super::take_turn):
///
/// ```ignore
/// let mut batch = alerts::apply(&changes);
/// let applied = loop {
///     match batch.write_next(&mut tx).await? {
///         Next::Written(mut part) => {
///             for written in part.alerts.iter_mut().filter(|w| w.needs_route()) {
///                 written.route = route(&written.alert);
///             }
///             batch = part.enqueue(&mut tx, &traits).await?;
///         }
///         Next::Done(applied) => break applied,
///     }
/// };
/// ```
///
/// At first all changes are one part. Where the alerts or the notifications of a part cannot be
/// written, because the database refuses them or another session holds their rows, the part is
/// undone and tried again in halves. A single change that cannot be written is kept in
/// `pending_alerts`; all others are written.
#[derive(Debug)]
pub struct Batch<'a> {
    changes: Cow<'a, [DetectionUpdate]>,
    /// Where the changes were pending already: under which keys.
    fingerprints: Option<Vec<Uuid>>,
    todo: VecDeque<Range<usize>>,
    patience: &'static str,
    failures: Vec<(usize, Failure)>,
    failures_in_a_row: usize,
    applied: Applied,
}

/// What comes next of a batch.
#[derive(Debug)]
pub enum Next<'a> {
    /// Alerts that were written. Their notifications must follow before anything else.
    Written(Part<'a>),
    /// Everything is written, or kept for later.
    Done(Applied),
}

/// Alerts that were written, behind a savepoint.
#[derive(Debug)]
#[must_use = "alerts are complete with their notifications only"]
pub struct Part<'a> {
    /// The alerts that the changes opened, extended or closed, in the order of the changes. A
    /// change that the database already knows is left out.
    pub alerts: Vec<WrittenAlert>,
    incidents: Vec<IncidentId>,
    range: Range<usize>,
    batch: Batch<'a>,
}

impl<'a> Batch<'a> {
    /// New changes.
    pub(super) fn of_changes(changes: &'a [DetectionUpdate]) -> Self {
        Self::new(Cow::Borrowed(changes), None, PATIENTLY)
    }

    /// Changes that could not be written before, with their keys in `pending_alerts`.
    pub(super) fn of_pending(changes: Vec<DetectionUpdate>, fingerprints: Vec<Uuid>) -> Self {
        Self::new(Cow::Owned(changes), Some(fingerprints), BRIEFLY)
    }

    fn new(
        changes: Cow<'a, [DetectionUpdate]>,
        fingerprints: Option<Vec<Uuid>>,
        patience: &'static str,
    ) -> Self {
        let all = 0..changes.len();
        Self {
            changes,
            fingerprints,
            todo: if all.is_empty() {
                VecDeque::new()
            } else {
                VecDeque::from([all])
            },
            patience,
            failures: Vec::new(),
            failures_in_a_row: 0,
            applied: Applied::default(),
        }
    }

    /// Writes the next alerts, or settles what could not be written.
    pub async fn write_next(mut self, conn: &mut PgConnection) -> Result<Next<'a>, StoreError> {
        while let Some(range) = self.next_range() {
            conn.execute("SAVEPOINT part").await?;
            match write_part(conn, &self.changes[range.clone()], self.patience).await {
                Ok((alerts, incidents)) => {
                    return Ok(Next::Written(Part {
                        alerts,
                        incidents,
                        range,
                        batch: self,
                    }));
                }
                Err(error) => self.undo(conn, range, error).await?,
            }
        }

        self.settle_failures(conn).await?;
        Ok(Next::Done(self.applied))
    }

    /// The next changes to try, unless so many failed that the rest is taken to fail too.
    fn next_range(&mut self) -> Option<Range<usize>> {
        if self.failures_in_a_row >= FAILURES_MAX
            && let Some((_, failure)) = self.failures.last().cloned()
        {
            let rest = self.todo.drain(..).flatten();
            self.failures.extend(rest.map(|at| (at, failure.clone())));
        }

        self.todo.pop_front()
    }

    /// Takes back a part that could not be written, and has its halves tried. Errors that do not
    /// concern rows are returned.
    async fn undo(
        &mut self,
        conn: &mut PgConnection,
        range: Range<usize>,
        error: StoreError,
    ) -> Result<(), StoreError> {
        if !error.concerns_rows() {
            return Err(error);
        }

        conn.execute("ROLLBACK TO SAVEPOINT part; RELEASE SAVEPOINT part")
            .await?;
        self.patience = BRIEFLY;

        if range.len() == 1 {
            let failure = Failure {
                reason: error.to_string(),
                conflict: error.is_conflict(),
            };
            self.failures.push((range.start, failure));
            self.failures_in_a_row += 1;
        } else {
            let middle = range.start.midpoint(range.end);
            self.todo.push_front(middle..range.end);
            self.todo.push_front(range.start..middle);
        }

        Ok(())
    }

    /// Keeps what could not be written for later, and forgets what waited and is written now.
    async fn settle_failures(&mut self, conn: &mut PgConnection) -> Result<(), StoreError> {
        let failures = std::mem::take(&mut self.failures);
        let Some(fingerprints) = &self.fingerprints else {
            for (at, failure) in failures {
                let pending = pending::postpone(conn, &self.changes[at], failure).await?;
                self.applied.pending.push(pending);
            }
            return Ok(());
        };

        for (at, fingerprint) in fingerprints.iter().enumerate() {
            match failures.iter().find(|(place, _)| *place == at) {
                Some((_, failure)) => {
                    pending::put_off(conn, *fingerprint, failure.conflict).await?;
                }
                None => pending::forget(conn, *fingerprint).await?,
            }
        }

        Ok(())
    }
}

impl<'a> Part<'a> {
    /// Enqueues the notifications of the alerts as they are routed: those of new alerts, and those
    /// that say that an alert is over. An alert that its route silences, or that a critical one
    /// about the same entity inhibits, gets none.
    pub async fn enqueue(
        mut self,
        conn: &mut PgConnection,
        traits: &ChannelTraits,
    ) -> Result<Batch<'a>, StoreError> {
        let deliveries = match messages::enqueue(conn, &self.alerts, traits).await {
            Ok(deliveries) => deliveries,
            Err(error) => {
                self.batch.undo(conn, self.range, error).await?;
                return Ok(self.batch);
            }
        };
        conn.execute("RELEASE SAVEPOINT part").await?;

        let applied = &mut self.batch.applied;
        let (opened, updated): (Vec<_>, Vec<_>) = self.alerts.iter().partition(|w| w.is_new);
        applied
            .opened
            .extend(opened.iter().map(|written| written.alert.alert_id));
        applied.updated += updated.len() as u64;
        applied.incidents.append(&mut self.incidents);
        applied.deliveries += deliveries;
        self.batch.failures_in_a_row = 0;

        Ok(self.batch)
    }
}
