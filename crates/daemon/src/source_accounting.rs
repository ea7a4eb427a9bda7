//! The completeness ledger of the table of audit events, kept by its reader: applications insert
//! into the table themselves, so only the reader sees what arrived. Numbered producers are
//! followed, and holes in their numbers are reported. Each tenant has a ledger of its own: what one
//! sends fills no other's.

use std::collections::BTreeMap;

use anyhow::Context as _;
use collect::source_tracking::{Cadence, Hours, Sequence, SequenceGap};
use model::event::EventTags;
use model::time::Calendar;
use model::{SecurityEvent, ServiceName, Source, Span, TenantId, Timestamp};
use store::sources::{self, Cause, Gap, Intake, weigh_time};
use store::{Connection as _, PgConnection, StoreError};

use app::self_audit::{Component, Failures};

/// The table's own source.
const TABLE: &str = "audit_db";
/// What a numbered producer's source is called, before its name.
const PRODUCER: &str = "producer:";
/// What a service's source is called, before its name.
pub const SERVICE: &str = "service:";
/// Services that are followed; a relay says names.
const SERVICES_MAX: usize = 1000;
/// Producers that are followed; names come from outside.
const PRODUCERS_MAX: usize = 10_000;
/// The longest name of one.
const NAME_MAX: usize = 128;
/// A number that is missing for this long is lost: transactions may stay open, and spools drain.
const LOST_AFTER: Span = Span::mins(5);

/// One numbered producer.
#[derive(Default)]
struct Producer {
    sequence: Sequence,
    intake: Intake,
}

/// One service: an application that says in its events who it is.
#[derive(Default)]
struct Service {
    rhythm: Cadence,
    last_received: Option<Timestamp>,
    intake: Intake,
}

/// What has been read since the last save, and what is known of before.
pub struct AuditTableLedger {
    calendar: Calendar,
    settle: Span,
    tenants: BTreeMap<TenantId, TenantLedger>,
}

/// The same of one tenant.
#[derive(Default)]
struct TenantLedger {
    rhythm: Cadence,
    last_received: Option<Timestamp>,
    intake: Intake,
    producers: BTreeMap<String, Producer>,
    services: BTreeMap<String, Service>,
}

fn add_event(intake: &mut Intake, event: &SecurityEvent<'_>, now: Timestamp, settle: Span) {
    intake.accepted += 1;
    intake.late += u64::from(
        intake
            .newest
            .is_some_and(|newest| event.timestamp < newest.minus(settle)),
    );
    weigh_time(&mut intake.newest, &mut intake.skew, event.timestamp, now);
}

fn hours_at(calendar: &mut Calendar, now: Timestamp) -> Hours {
    if calendar.period(now).open {
        Hours::Business
    } else {
        Hours::Off
    }
}

/// Learns from the pause that ends now. What comes within a second belongs to what came before, so
/// that a burst does not pass for a habit, and a stream for none.
fn record_pause(rhythm: &mut Cadence, last: &mut Option<Timestamp>, now: Timestamp, hours: Hours) {
    let Some(pause) = last.map(|last| now.since(last)) else {
        *last = Some(now);
        return;
    };

    if pause >= Span::secs(1) {
        rhythm.record_pause(pause, hours);
        *last = Some(now);
    }
}

/// Books what a speaker of the table has sent, and that it is not silent.
async fn save_account(
    conn: &mut PgConnection,
    source_id: &str,
    intake: &Intake,
    rhythm: &Cadence,
    now: Timestamp,
) -> anyhow::Result<()> {
    sources::book(conn, source_id, Source::AuditDb, intake, now).await?;
    sources::save_ledger(conn, source_id, &serde_json::to_value(rhythm)?, None).await?;
    sources::end_silence(conn, source_id, now).await?;
    Ok(())
}

/// What is booked; the newest time is kept for the next batch.
fn take_intake(intake: &mut Intake) -> Intake {
    let next = Intake {
        newest: intake.newest,
        ..Intake::default()
    };
    std::mem::replace(intake, next)
}

impl AuditTableLedger {
    /// Loads the state of the ledger.
    pub async fn open(
        conn: &mut PgConnection,
        calendar: Calendar,
        settle: Span,
    ) -> anyhow::Result<Self> {
        let mut tenants = BTreeMap::new();
        for tenant in store::tenants::list(conn).await? {
            let mut tx = conn.begin().await.map_err(StoreError::from)?;
            store::tenants::act_for_now(&mut tx, tenant.id).await?;
            tenants.insert(tenant.id, TenantLedger::open(&mut tx).await?);
            tx.commit().await.map_err(StoreError::from)?;
        }

        Ok(Self {
            calendar,
            settle,
            tenants,
        })
    }

    /// Records that an event was read.
    pub fn record_event(&mut self, event: &SecurityEvent<'_>, now: Timestamp) {
        // blueteam's own events do not show whether applications still send.
        if event.source != Source::AuditDb || event.marks.intersects(EventTags::OWN_FAILURE) {
            return;
        }

        let ledger = self.tenants.entry(event.tenant).or_default();
        ledger.record_event(event, now, self.settle);
    }

    /// Books what was read; belongs into the transaction that saves the cursor, which then works
    /// for no tenant. Tells of numbers that are lost.
    pub async fn save(
        &mut self,
        conn: &mut PgConnection,
        now: Timestamp,
        failures: &Failures,
    ) -> anyhow::Result<()> {
        let hours = hours_at(&mut self.calendar, now);
        for (tenant, ledger) in &mut self.tenants {
            let lost = ledger.take_lost(now);
            if ledger.is_empty() && lost.is_empty() {
                continue;
            }
            store::tenants::act_for_now(conn, *tenant).await?;
            ledger.save(conn, now, hours, lost, failures).await?;
        }
        Ok(())
    }
}

/// Numbers of a producer that never came, by its name.
type Lost = BTreeMap<String, Vec<SequenceGap>>;

impl TenantLedger {
    /// Loads the state of the ledger of the tenant that the connection works for.
    async fn open(conn: &mut PgConnection) -> anyhow::Result<Self> {
        sources::declare(conn, TABLE, Source::AuditDb, None).await?;
        let mut ledger = Self::default();

        for row in sources::list(conn).await? {
            let intake = Intake {
                newest: row.last_event_at,
                ..Intake::default()
            };

            if row.source_id == TABLE {
                ledger.rhythm = serde_json::from_value(row.rhythm).unwrap_or_default();
                ledger.last_received = row.last_received_at;
                ledger.intake = intake;
            } else if let Some(name) = row.source_id.strip_prefix(PRODUCER) {
                let sequence = row
                    .sequence
                    .and_then(|s| serde_json::from_value(s).ok())
                    .unwrap_or_default();
                ledger
                    .producers
                    .insert(name.to_owned(), Producer { sequence, intake });
            } else if let Some(name) = row.source_id.strip_prefix(SERVICE) {
                let service = Service {
                    rhythm: serde_json::from_value(row.rhythm).unwrap_or_default(),
                    last_received: row.last_received_at,
                    intake,
                };
                ledger.services.insert(name.to_owned(), service);
            }
        }

        Ok(ledger)
    }

    fn record_event(&mut self, event: &SecurityEvent<'_>, now: Timestamp, settle: Span) {
        add_event(&mut self.intake, event, now, settle);
        self.note_service(event, now, settle);
        let Some(number) = event.details.number("producer_seq") else {
            return;
        };

        let Some(name) = event
            .details
            .text("producer")
            .filter(|n| !n.is_empty() && n.len() <= NAME_MAX)
        else {
            return;
        };

        if self.producers.len() >= PRODUCERS_MAX && !self.producers.contains_key(&name) {
            return;
        }

        let producer = self.producers.entry(name).or_default();
        producer.sequence.record_arrival(number, now);
        add_event(&mut producer.intake, event, now, settle);
    }

    fn note_service(&mut self, event: &SecurityEvent<'_>, now: Timestamp, settle: Span) {
        let named = event.details.text("service");
        let Some(name) = named.and_then(|name| name.parse::<ServiceName>().ok()) else {
            return;
        };

        if let Some(service) = self.services.get_mut(name.as_str()) {
            add_event(&mut service.intake, event, now, settle);
        } else if self.services.len() < SERVICES_MAX {
            let service = self.services.entry(name.into()).or_default();
            add_event(&mut service.intake, event, now, settle);
        }
    }

    /// Whether nothing has been read since the last save.
    fn is_empty(&self) -> bool {
        // What a service or a producer sent is the table's, too.
        self.intake.is_empty()
    }

    /// Numbers that have been missing for too long.
    fn take_lost(&mut self, now: Timestamp) -> Lost {
        let mut lost = Lost::new();
        for (name, producer) in &mut self.producers {
            let holes = producer.sequence.take_overdue(now.minus(LOST_AFTER));
            if !holes.is_empty() {
                lost.insert(name.clone(), holes);
            }
        }
        lost
    }

    async fn save(
        &mut self,
        conn: &mut PgConnection,
        now: Timestamp,
        hours: Hours,
        mut lost: Lost,
        failures: &Failures,
    ) -> anyhow::Result<()> {
        if !self.intake.is_empty() {
            record_pause(&mut self.rhythm, &mut self.last_received, now, hours);
            let intake = take_intake(&mut self.intake);
            save_account(conn, TABLE, &intake, &self.rhythm, now).await?;
        }

        for (name, service) in &mut self.services {
            if service.intake.is_empty() {
                continue;
            }

            record_pause(&mut service.rhythm, &mut service.last_received, now, hours);
            let intake = take_intake(&mut service.intake);
            let source_id = format!("{SERVICE}{name}");
            save_account(conn, &source_id, &intake, &service.rhythm, now).await?;
        }

        for (name, producer) in &mut self.producers {
            let lost = lost.remove(name).unwrap_or_default();
            if producer.intake.is_empty() && lost.is_empty() {
                continue;
            }

            let source_id = format!("{PRODUCER}{name}");
            sources::book(
                conn,
                &source_id,
                Source::AuditDb,
                &take_intake(&mut producer.intake),
                now,
            )
            .await?;

            let sequence =
                serde_json::to_value(&producer.sequence).context("cannot save a sequence")?;
            sources::save_ledger(conn, &source_id, &serde_json::json!({}), Some(&sequence)).await?;

            for hole in lost {
                let detail = format!("numbers {} to {} of {name} never came", hole.from, hole.to);
                failures.tell_of(
                    Component::Collector,
                    &source_id,
                    format!("{detail}: {} events are missing", hole.len()),
                );

                let gap = Gap {
                    cause: Cause::Sequence,
                    started_at: hole.since,
                    ended_at: Some(hole.since),
                    lost: Some(hole.len()),
                    detail,
                };

                sources::note_gap(conn, &source_id, &gap).await?;
            }
        }

        Ok(())
    }
}
