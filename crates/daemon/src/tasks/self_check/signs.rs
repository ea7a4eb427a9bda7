//! What shows that events are stored, read and turned into alerts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::{Span, Timestamp};
use store::{PgConnectOptions, PgConnection};
use tokio::time::timeout;

use super::{Finding, Trouble};
use crate::tasks::detection::CURSOR;
use app::health::{Pulse, Stalls};

/// A database that takes longer to connect or to answer counts as unreachable.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often the database is asked what waits in it, at most.
const ASK_EVERY: Span = Span::secs(10);
/// How long the first reading of the stored past may take before it counts as being stuck.
const START: Span = Span::mins(1);

/// Asks why accepted events are not in their table; none when they are.
pub type Unstored = Arc<dyn Fn() -> Option<String> + Send + Sync>;

/// The parts that show whether work gets on.
#[derive(Default)]
pub struct Signs {
    /// Of the monitor; none while it has not been started.
    pub pulse: Option<Arc<Pulse>>,
    /// Of the collectors.
    pub stalls: Stalls,
    /// Of the ingest, where there is one.
    pub unstored: Option<Unstored>,
}

impl Signs {
    /// Begins to look.
    pub fn look(&self, waits_after: Span) -> Look<'_> {
        Look {
            signs: self,
            waits_after,
            began: None,
            asked: None,
            reading: Finding::Well,
            alerting: Finding::Well,
        }
    }
}

/// A look at the signs, and what the database answered last.
pub struct Look<'s> {
    signs: &'s Signs,
    /// A pulse, an event or an alert that is older than this does not get on.
    waits_after: Span,
    began: Option<Timestamp>,
    asked: Option<Timestamp>,
    reading: Finding,
    alerting: Finding,
}

impl Look<'_> {
    /// What there is to find now.
    pub async fn findings(
        &mut self,
        database: &PgConnectOptions,
        now: Timestamp,
    ) -> BTreeMap<Trouble, Finding> {
        self.began.get_or_insert(now);
        let conn = timeout(PATIENCE, store::connect(database)).await;
        let mut conn = match conn {
            Ok(Ok(conn)) => conn,
            // What else does not get on follows from this, and is found when the database is back.
            Ok(Err(cause)) => {
                return BTreeMap::from([(Trouble::Database, Finding::Stuck(cause.to_string()))]);
            }
            Err(_) => {
                let why = format!("no connection within {} s", PATIENCE.as_secs());
                return BTreeMap::from([(Trouble::Database, Finding::Stuck(why))]);
            }
        };

        if self
            .asked
            .is_none_or(|asked| now.since(asked) >= ASK_EVERY.min(self.waits_after))
        {
            self.asked = Some(now);
            self.ask(&mut conn).await;
        }
        BTreeMap::from([
            (Trouble::Database, Finding::Well),
            (Trouble::Storing, self.storing()),
            (
                Trouble::Reading,
                self.pulse(now).unwrap_or_else(|| self.reading.clone()),
            ),
            (Trouble::Alerting, self.alerting.clone()),
        ])
    }

    /// Asks the database what waits in it.
    async fn ask(&mut self, conn: &mut PgConnection) {
        if self.signs.pulse.is_none() {
            return;
        }
        self.reading = match timeout(
            PATIENCE,
            store::overview::waits_unread(conn, CURSOR, self.waits_after),
        )
        .await
        {
            Ok(Ok(false)) => Finding::Well,
            Ok(Ok(true)) => Finding::Stuck(format!(
                "events of more than {} ago wait unread",
                self.waits_after
            )),
            Ok(Err(_)) | Err(_) => Finding::Unknown,
        };
        self.alerting =
            match timeout(PATIENCE, store::alerts::pending(conn, self.waits_after)).await {
                Ok(Ok(None)) => Finding::Well,
                Ok(Ok(Some(waiting))) => Finding::Stuck(format!(
                    "{} waiting since {}: {}",
                    model::text::counted(waiting.alerts, "alert"),
                    waiting.since,
                    waiting.reason
                )),
                Ok(Err(_)) | Err(_) => Finding::Unknown,
            };
    }

    fn storing(&self) -> Finding {
        if let Some(why) = self.signs.unstored.as_ref().and_then(|unstored| unstored()) {
            return Finding::Stuck(why);
        }

        match self.signs.stalls.oldest() {
            Some((who, stall)) => Finding::Stuck(format!(
                "{who} has stored nothing since {}: {}",
                stall.since, stall.why
            )),
            None => Finding::Well,
        }
    }

    /// What the monitor's pulse shows; none when it beats.
    fn pulse(&self, now: Timestamp) -> Option<Finding> {
        let pulse = self.signs.pulse.as_ref()?;
        let waited = match (pulse.last(), self.began) {
            (Some(last), _) => now.since(last) > self.waits_after,
            (None, Some(began)) => now.since(began) > START,
            (None, None) => false,
        };

        waited.then(|| {
            let why = pulse.failure().unwrap_or_else(|| match pulse.last() {
                Some(last) => format!("the monitor has been busy since {last}"),
                None => "the monitor is still reading the stored past".to_owned(),
            });
            Finding::Stuck(why)
        })
    }
}
