//! From entries to rows: what every collector does with what it has read. Parses, stores, and keeps
//! the source's account.

use std::net::IpAddr;

use anyhow::Context as _;
use collect::entries::Entry;
use collect::sequence::{Place, Sequencer, Taken};
use collect::source_tracking::{Cadence, Hours};
use collect::{Format, LineId, LineParser, ParseContext, Parsed, masking};
use model::Network;
use model::civil::Zone;
use model::time::Calendar;
use model::{SecurityEvent, ServiceName, Source, Span, Text, Timestamp};
use store::PgConnection;
use store::log_events::{Account, Position};
use store::sources::{DeadLetter, ENTRY_MAX, Gap, SourceRow, weigh_time};
use tracing::warn;

mod senders;

use senders::Senders;

/// Entries that could not be read are kept up to this many a batch; beyond, they are counted in one
/// more.
const LETTERS_MAX: usize = 1000;

/// How a source breathes: what is learned of its pauses.
pub struct Breath {
    calendar: Calendar,
    rhythm: Cadence,
    last_received: Option<Timestamp>,
}

impl Breath {
    /// Takes up what the ledger has of it.
    pub fn of(row: &SourceRow, calendar: Calendar) -> Self {
        // What an older version stored in another form is learned again.
        let rhythm = serde_json::from_value(row.rhythm.clone()).unwrap_or_default();
        Self {
            calendar,
            rhythm,
            last_received: row.last_received_at,
        }
    }

    /// It has spoken. What is learned, if that has changed.
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

/// Entries that were received at once from one peer.
pub struct Run<'a> {
    /// When. What a line means may depend on it.
    pub received: Timestamp,
    /// Who sent them to a listener.
    pub peer: Option<IpAddr>,
    /// The entries.
    pub entries: Vec<Entry<'a>>,
}

/// A source that is being read.
pub struct Intake {
    source_id: String,
    format: &'static Format,
    settle: Span,
    zone: Zone,
    trusted_proxies: Vec<Network>,
    service: Option<ServiceName>,
    breath: Breath,
    newest: Option<Timestamp>,
    sequencer: Sequencer,
    senders: Senders,
    /// The machine of events whose lines name none.
    host: Option<String>,
    /// The age up to which raw lines are kept.
    keep_raw: Span,
    /// Entries read so far.
    entries_read: u64,
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
        let known = store::senders::list(conn, Some(&source_id)).await?;
        Ok(Self {
            senders: Senders::of(known.into_iter().map(|sender| sender.key)),
            host: None,
            keep_raw: Span::ZERO,
            breath: Breath::of(&row, calendar),
            newest: row.last_event_at,
            sequencer: Sequencer::of_file(row.last_event_at),
            entries_read: 0,
            source_id,
            format,
            settle,
            zone: Zone::UTC,
            trusted_proxies: Vec::new(),
            service: None,
        })
    }

    /// Times that name no zone are of this one.
    pub fn in_zone(self, zone: Zone) -> Self {
        Self { zone, ..self }
    }

    /// Sets the proxies whose word about the client's address is trusted.
    pub fn behind(self, trusted_proxies: Vec<Network>) -> Self {
        Self {
            trusted_proxies,
            ..self
        }
    }

    /// Events whose lines name no machine are of this one.
    pub fn on_host(self, host: String) -> Self {
        Self {
            host: Some(host),
            ..self
        }
    }

    /// Keeps the raw lines of events up to this age.
    pub fn keeping_raw(self, keep_raw: Span) -> Self {
        Self { keep_raw, ..self }
    }

    /// Its entries arrive when they are written.
    pub fn of_socket(self) -> Self {
        Self {
            sequencer: Sequencer::of_socket(),
            ..self
        }
    }

    /// Returns whether entries wait for others that may be about the same. [`Self::store`] with no
    /// entries stores those that have waited long enough.
    pub fn holds_events(&self) -> bool {
        self.sequencer.holds_events()
    }

    /// Stores the events that wait for other entries: none will come.
    pub async fn finish(&mut self, conn: &mut PgConnection, now: Timestamp) -> anyhow::Result<()> {
        let mut events = Vec::new();
        self.sequencer.finish(&mut events);
        if events.is_empty() {
            return Ok(());
        }
        let source_id = self.source_id.clone();
        let mut account = self.account(&source_id, now, Vec::new());
        self.complete(&mut events, 0, &mut account);
        account.senders = self.senders.take();
        self.insert(conn, &events, None, &account).await
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
        let run = Run {
            received: now,
            peer: None,
            entries,
        };
        self.store_received(conn, vec![run], beside).await
    }

    /// The same for entries that were received at various times from various peers.
    pub async fn store_received(
        &mut self,
        conn: &mut PgConnection,
        runs: Vec<Run<'_>>,
        beside: Beside,
    ) -> anyhow::Result<()> {
        let source_id = self.source_id.clone();
        let Some(spoke) = runs.last().map(|run| run.received) else {
            return Ok(());
        };
        let mut account = self.account(&source_id, spoke, beside.gaps);

        let mut events: Vec<SecurityEvent<'_>> = Vec::new();
        for run in &runs {
            account.now = run.received;
            self.read(run, &mut account, &mut events);
        }

        account.now = spoke;
        let before = events.len();
        self.sequencer.flush(spoke, &mut events);
        self.complete(&mut events, before, &mut account);
        account.ignored += self.sequencer.take_dropped();

        if !account.letters.is_empty() {
            warn!(
                "{}: {} entries are not in the format {}; see `blueteam sources dead-letters`",
                self.source_id,
                account.letters.len() as u64 + account.unkept,
                self.format.name
            );
        }

        account.senders = self.senders.take();
        if events.len() as u64 + account.ignored > 0 {
            account.rhythm = self.breath.spoke(spoke)?;
        }

        self.insert(conn, &events, beside.position.as_ref(), &account)
            .await
    }

    fn account<'a>(&self, source_id: &'a str, now: Timestamp, gaps: Vec<Gap>) -> Account<'a> {
        Account {
            source_id,
            kind: self.format.source,
            now,
            ignored: 0,
            late: 0,
            newest: self.newest,
            skew: None,
            letters: Vec::new(),
            unkept: 0,
            gaps,
            rhythm: None,
            senders: Vec::new(),
        }
    }

    async fn insert(
        &mut self,
        conn: &mut PgConnection,
        events: &[SecurityEvent<'_>],
        position: Option<&Position>,
        account: &Account<'_>,
    ) -> anyhow::Result<()> {
        let stored = store::log_events::insert(conn, events, position, Some(account))
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
        &mut self,
        run: &'a Run<'_>,
        account: &mut Account<'_>,
        events: &mut Vec<SecurityEvent<'a>>,
    ) {
        let arrived = Some(account.now);
        let context = ParseContext {
            latest: account.now,
            zone: self.zone.clone(),
            arrived,
            trusted_proxies: self.trusted_proxies.clone(),
        };

        let parser: Box<dyn LineParser> = (self.format.parser)(context);
        for (id, entry) in &run.entries {
            let (id, before) = (*id, events.len());
            let place = Place {
                number: self.entries_read,
                id,
                arrived,
            };
            self.entries_read += 1;

            let mut line = parser.read(entry, id);
            self.senders
                .note_line(run.peer, !matches!(line.parsed, Parsed::Rejected(_)));
            if let Parsed::Event(event) = &mut line.parsed {
                self.place_event(event, entry, run);
            }

            match self.sequencer.push(line, place, events) {
                Taken::Event | Taken::Held => {}
                Taken::Ignored => account.ignored += 1,
                Taken::Rejected(reason) if account.letters.len() < LETTERS_MAX => {
                    account.letters.push(to_dead_letter(id, reason, entry));
                }
                Taken::Rejected(_) => account.unkept += 1,
            }
            self.complete(events, before, account);
        }
    }

    /// Says where an event was, beside what its line says, and masks secrets in it.
    fn place_event<'a>(&self, event: &mut SecurityEvent<'a>, entry: &'a [u8], run: &Run<'_>) {
        if event.source == Source::Nginx
            && let Some(target) = event
                .resource_id
                .as_deref()
                .and_then(masking::masked_target)
        {
            event.resource_id = Some(target.into());
        }

        let age = run.received.since(event.timestamp);
        let provenance = event.provenance.get_or_insert_default();
        provenance.peer = run.peer;
        provenance.raw = (age < self.keep_raw).then(|| masking::raw_line(entry));
        // What a peer sends is of a machine that only its lines can name.
        if provenance.host.is_none() && run.peer.is_none() {
            provenance.host = self.host.clone().map(Text::from);
        }
    }

    /// Completes the events from this index on.
    fn complete(
        &mut self,
        events: &mut [SecurityEvent<'_>],
        from: usize,
        account: &mut Account<'_>,
    ) {
        for event in events.iter_mut().skip(from) {
            event.fit();
            if let Some(service) = &self.service {
                event.details = event.details.with_service(service);
            }
            self.senders.note_event(event);
            weigh_event(event, account, self.settle);
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
    weigh_time(
        &mut account.newest,
        &mut account.skew,
        event.timestamp,
        account.now,
    );
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
