//! From entries to rows: what every collector does with what it has read. Parses, stores, and keeps
//! the source's account.

use anyhow::Context as _;
use collect::entries::Entry;
use collect::source_tracking::{Cadence, Hours};
use collect::{Format, LineId, LineParser, ParseContext, Parsed};
use model::civil::Zone;
use model::time::Calendar;
use model::{SecurityEvent, ServiceName, Span, Timestamp};
use store::PgConnection;
use store::log_events::{Account, Position};
use store::sources::{DeadLetter, ENTRY_MAX, Gap, SourceRow};
use tracing::warn;

/// Entries that could not be read are kept up to this many a batch; beyond, they are counted in one
/// more.
const LETTERS_MAX: usize = 1000;

/// How a source breathes: what is learnt of its pauses.
pub struct Breath {
    calendar: Calendar,
    rhythm: Cadence,
    last_received: Option<Timestamp>,
}

impl Breath {
    /// Takes up what the ledger has of it.
    pub fn of(row: &SourceRow, calendar: Calendar) -> Self {
        // What was learnt by an older version in another form is learnt anew.
        let rhythm = serde_json::from_value(row.rhythm.clone()).unwrap_or_default();
        Self {
            calendar,
            rhythm,
            last_received: row.last_received_at,
        }
    }

    /// It has spoken. What is learnt, if that has changed.
    pub fn spoke(&mut self, now: Timestamp) -> anyhow::Result<Option<serde_json::Value>> {
        let last = self.last_received.replace(now);
        // What comes in one burst says nothing of how often it speaks.
        let Some(pause) = last
            .map(|last| now.since(last))
            .filter(|pause| *pause >= Span::secs(1))
        else {
            return Ok(None);
        };

        let hours = if self.calendar.period(now).open {
            Hours::Business
        } else {
            Hours::Off
        };

        self.rhythm.record_pause(pause, hours);
        Ok(Some(serde_json::to_value(&self.rhythm)?))
    }
}

/// A source that is being read.
pub struct Intake {
    source_id: String,
    format: &'static Format,
    settle: Span,
    zone: Zone,
    service: Option<ServiceName>,
    breath: Breath,
    newest: Option<Timestamp>,
}

/// What came with the entries.
#[derive(Default)]
pub struct Beside {
    /// Where reading stands after them; `None` for a source that cannot be read again.
    pub position: Option<Position>,
    /// What was lost on the way.
    pub gaps: Vec<Gap>,
}

impl Intake {
    /// Makes the source known, and takes up what the ledger has of it.
    pub async fn open(
        conn: &mut PgConnection,
        source_id: String,
        format: &'static Format,
        expected_every: Option<Span>,
        calendar: Calendar,
        settle: Span,
    ) -> anyhow::Result<Self> {
        store::sources::declare(conn, &source_id, format.source, expected_every).await?;
        let row = store::sources::find(conn, &source_id)
            .await?
            .context("the source was not made known")?;
        Ok(Self {
            breath: Breath::of(&row, calendar),
            newest: row.last_event_at,
            source_id,
            format,
            settle,
            zone: Zone::UTC,
            service: None,
        })
    }

    /// Times that name no zone are of this one.
    pub fn in_zone(self, zone: Zone) -> Self {
        Self { zone, ..self }
    }

    /// Its events are this service's.
    pub fn of_service(self, service: Option<ServiceName>) -> Self {
        Self { service, ..self }
    }

    /// Parses and stores entries, with their account and the position after them in one
    /// transaction.
    pub async fn store(
        &mut self,
        conn: &mut PgConnection,
        entries: Vec<Entry<'_>>,
        beside: Beside,
        now: Timestamp,
    ) -> anyhow::Result<()> {
        self.store_received(conn, vec![(now, entries)], beside)
            .await
    }

    /// The same for entries that were received at various times: what a line means may depend on
    /// it.
    pub async fn store_received(
        &mut self,
        conn: &mut PgConnection,
        runs: Vec<(Timestamp, Vec<Entry<'_>>)>,
        beside: Beside,
    ) -> anyhow::Result<()> {
        let source_id = self.source_id.clone();
        let Some(&(spoke, _)) = runs.last() else {
            return Ok(());
        };
        let mut account = Account {
            source_id: &source_id,
            kind: self.format.source,
            now: spoke,
            ignored: 0,
            late: 0,
            newest: self.newest,
            skew: None,
            letters: Vec::new(),
            unkept: 0,
            gaps: beside.gaps,
            rhythm: None,
        };

        let mut events: Vec<SecurityEvent<'_>> = Vec::new();
        for (received, entries) in &runs {
            account.now = *received;
            self.read(entries, &mut account, &mut events);
        }

        account.now = spoke;
        if !account.letters.is_empty() {
            warn!(
                "{}: {} entries are not in the format {}; see `blueteam sources dead-letters`",
                self.source_id,
                account.letters.len() as u64 + account.unkept,
                self.format.name
            );
        }

        if events.len() as u64 + account.ignored > 0 {
            account.rhythm = self.breath.spoke(spoke)?;
        }

        let stored =
            store::log_events::insert(conn, &events, beside.position.as_ref(), Some(&account))
                .await
                .context("cannot store events")?;
        self.newest = account.newest;

        if !stored.rejected.is_empty() {
            warn!(
                "{}: the database refused {} events; see `blueteam sources dead-letters`",
                self.source_id,
                stored.rejected.len()
            );
        }

        Ok(())
    }

    /// Parses entries that were received at the account's time.
    fn read<'a>(
        &self,
        entries: &'a [Entry<'_>],
        account: &mut Account<'_>,
        events: &mut Vec<SecurityEvent<'a>>,
    ) {
        let context = ParseContext {
            latest: account.now,
            zone: self.zone.clone(),
        };

        let parser: Box<dyn LineParser> = (self.format.parser)(context);
        for (id, entry) in entries {
            let id = *id;
            match parser.parse(entry, id) {
                Parsed::Event(mut event) => {
                    event.fit();
                    if let Some(service) = &self.service {
                        event.details = event.details.with_service(service);
                    }
                    weigh_event(&event, account, self.settle);
                    events.push(event);
                }
                Parsed::Nothing => account.ignored += 1,
                Parsed::Rejected(reason) if account.letters.len() < LETTERS_MAX => {
                    account.letters.push(to_dead_letter(id, reason, entry));
                }
                Parsed::Rejected(_) => account.unkept += 1,
            }
        }
    }
}

/// What an event says of its source: whether it is late, and how far the source's clock can be from
/// ours.
fn weigh_event(event: &SecurityEvent<'_>, account: &mut Account<'_>, settle: Span) {
    account.late += u64::from(
        account
            .newest
            .is_some_and(|newest| event.timestamp < newest.minus(settle)),
    );
    account.newest = account.newest.max(Some(event.timestamp));
    let behind = account.now.since(event.timestamp);
    account.skew = Some(account.skew.map_or(behind, |least| least.min(behind)));
}

fn to_dead_letter(id: LineId, reason: String, entry: &[u8]) -> DeadLetter {
    let kept = entry.len().min(ENTRY_MAX);
    DeadLetter {
        place: format!("file {:08x}, byte {}", id.file, id.offset),
        reason,
        entry: entry[..kept].to_vec(),
        length: entry.len() as u64,
    }
}
