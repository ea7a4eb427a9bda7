//! What in a status needs attention.

use std::path::Path;

use ingest::SpoolOnDisk;
use model::{Severity, Span, Timestamp};
use store::overview::Schema;
use store::sources::RefusedRows;

use super::{ClockDoubt, NotRead, Over, PendingAlerts, Status, Unreadable};
use crate::spools::Held;

/// A committed event that waits longer than this is overdue.
const LAG_ALLOWED: Span = Span::mins(1);
/// What a listener holds for less than this is only passing through.
const HOLD_ALLOWED: Span = Span::mins(1);

/// Something that needs attention.
#[derive(Clone, Debug)]
pub enum Attention<'a> {
    /// Incidents must be reported to the DoD, the first of them by then.
    ReportsDue {
        /// How many.
        incidents: u64,
        /// When the first report is due.
        first: Timestamp,
    },
    /// Alerts of a severity have not been acknowledged.
    Unacknowledged {
        /// The severity.
        severity: Severity,
        /// How many.
        alerts: u64,
    },
    /// The schema is behind the program.
    SchemaBehind(Schema),
    /// Nothing is detected.
    DaemonNotRunning,
    /// The state directory is on a file system that takes no writes.
    StateReadOnly(&'a str),
    /// The clocks cannot be believed.
    Clock(&'a ClockDoubt),
    /// Events have not been read since then.
    Unread(Timestamp),
    /// Alerts could not be written.
    UnwrittenAlerts(&'a PendingAlerts),
    /// The rules have not seen these rows.
    UnreadableRows(&'a Unreadable),
    /// An expected source has never sent anything.
    Unheard(&'a str),
    /// No channel is configured for alerts of these severities.
    NoChannel(&'a [Severity]),
    /// A certificate is about to expire, has expired, or is not valid yet, in a sentence.
    Certificate(String),
    /// The database refused events within a week.
    RefusedRows(&'a RefusedRows),
    /// The spool of what applications sent.
    Spool(Spool<'a>),
    /// The spool of a listener.
    ListenerSpool(ListenerSpool<'a>),
    /// A monitor is over its threshold.
    OverThreshold(&'a Over),
    /// So many notifications were given up.
    Undelivered(u64),
    /// A source of the configuration does not run, or one that runs is not in it, in a sentence.
    SourceChanged(String),
    /// Part of the status could not be read.
    NotRead(&'a NotRead),
}

/// What in the spool of applications' events needs attention.
#[derive(Clone, Copy, Debug)]
pub enum Spool<'a> {
    /// The file of refused events is full, so that further ones are only counted.
    RefusedFull(&'a Path),
    /// The database refused events of the spool; they are in this file.
    Refused(&'a Path),
    /// Events wait for the database.
    Waiting {
        /// So many bytes.
        bytes: u64,
        /// Since when.
        since: Option<Timestamp>,
    },
    /// So many bytes of events conflict with an open transaction.
    Conflicting(u64),
    /// There is no room for more of them.
    ConflictingFull(u64),
    /// A damaged file was set aside.
    Damaged(&'a Path),
}

/// What in a listener's spool needs attention.
#[derive(Clone, Copy, Debug)]
pub enum ListenerSpool<'a> {
    /// A damaged file was set aside.
    Damaged {
        /// The listener's.
        held: &'a Held,
        /// The file.
        file: &'a Path,
    },
    /// Messages wait for the database.
    Waiting {
        /// The listener's.
        held: &'a Held,
        /// Since when.
        since: Timestamp,
    },
}

/// Returns what needs attention, the worst first.
pub fn attention(status: &Status) -> Vec<Attention<'_>> {
    let mut all = Vec::new();
    people_attention(status, &mut all);
    detection_attention(status, &mut all);
    storage_attention(status, &mut all);

    all.extend(
        status
            .findings
            .over_threshold
            .iter()
            .map(Attention::OverThreshold),
    );
    let deliveries = status.findings.deliveries.as_ref();
    let dead = deliveries.map_or(0, |deliveries| deliveries.dead);
    if dead > 0 {
        all.push(Attention::Undelivered(dead));
    }
    all.extend(status.not_read.iter().map(Attention::NotRead));

    all
}

/// What waits for people.
fn people_attention<'a>(status: &'a Status, all: &mut Vec<Attention<'a>>) {
    let findings = &status.findings;
    if let Some(due) = findings.dfars_report_due {
        all.push(Attention::ReportsDue {
            incidents: findings.incidents.map_or(0, |all| all.dfars_unreported),
            first: due,
        });
    }

    let alerts = findings.alerts.iter().flatten();
    let waiting =
        alerts.filter(|count| count.severity >= Severity::High && count.unacknowledged > 0);
    all.extend(waiting.map(|count| Attention::Unacknowledged {
        severity: count.severity,
        alerts: count.unacknowledged,
    }));
}

/// What keeps attacks from being detected, or people from being notified of them.
fn detection_attention<'a>(status: &'a Status, all: &mut Vec<Attention<'a>>) {
    let (here, findings, backlog) = (&status.installation, &status.findings, &status.backlog);
    if let Some(schema) = here.schema
        && schema.applied < schema.known
    {
        all.push(Attention::SchemaBehind(schema));
    }

    if !here.daemon_running {
        all.push(Attention::DaemonNotRunning);
    }

    if here.state_read_only {
        all.push(Attention::StateReadOnly(&here.state_dir));
    }
    let changes = here.source_changes.sentences().into_iter();
    all.extend(changes.map(Attention::SourceChanged));
    all.extend(here.clock.as_ref().map(Attention::Clock));
    if let Some(oldest) = findings.reader.and_then(|lag| lag.oldest)
        && here.at.since(oldest) > LAG_ALLOWED
    {
        all.push(Attention::Unread(oldest));
    }

    all.extend(
        backlog
            .pending_alerts
            .as_ref()
            .map(Attention::UnwrittenAlerts),
    );
    all.extend(backlog.unreadable.iter().map(Attention::UnreadableRows));
    all.extend(
        findings
            .unheard
            .iter()
            .map(|source| Attention::Unheard(source)),
    );

    if !findings.untold.is_empty() {
        all.push(Attention::NoChannel(&findings.untold));
    }

    let warnings = backlog
        .certificates
        .iter()
        .filter_map(|certificate| certificate.warning(here.at));
    all.extend(warnings.map(Attention::Certificate));
}

/// What the database refused or does not have yet.
fn storage_attention<'a>(status: &'a Status, all: &mut Vec<Attention<'a>>) {
    let backlog = &status.backlog;
    all.extend(backlog.refused.iter().map(Attention::RefusedRows));

    all.extend(
        spool_attention(&backlog.spool)
            .into_iter()
            .map(Attention::Spool),
    );

    let held = backlog.listeners.iter();
    all.extend(
        held.filter_map(|held| listener_attention(held, status.installation.at))
            .map(Attention::ListenerSpool),
    );
}

fn spool_attention(spool: &SpoolOnDisk) -> Vec<Spool<'_>> {
    let mut all = Vec::new();
    if spool.refused_full {
        all.push(Spool::RefusedFull(&spool.refused_file));
    } else if spool.refused_bytes > 0 {
        all.push(Spool::Refused(&spool.refused_file));
    }

    if spool.waiting_bytes > 0 {
        all.push(Spool::Waiting {
            bytes: spool.waiting_bytes,
            since: spool.since,
        });
    }

    if spool.conflicting_full {
        all.push(Spool::ConflictingFull(spool.conflicting_bytes));
    } else if spool.conflicting_bytes > 0 {
        all.push(Spool::Conflicting(spool.conflicting_bytes));
    }

    all.extend(spool.damaged.iter().map(|file| Spool::Damaged(file)));
    all
}

fn listener_attention(held: &Held, now: Timestamp) -> Option<ListenerSpool<'_>> {
    if let Some(file) = held.damaged.first() {
        return Some(ListenerSpool::Damaged { held, file });
    }

    let since = held
        .since
        .filter(|since| held.waiting_bytes > 0 && now.since(*since) > HOLD_ALLOWED)?;
    Some(ListenerSpool::Waiting { held, since })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(waiting_bytes: u64, damaged: &[&str]) -> Held {
        Held {
            source: "syslog:udp:127.0.0.1:5514".to_owned(),
            waiting_bytes,
            since: Some(Timestamp::from_secs(1_000)),
            damaged: damaged.iter().map(Into::into).collect(),
        }
    }

    #[test]
    fn messages_that_pass_through_a_listener_need_no_attention() {
        let at = Timestamp::from_secs;
        assert!(listener_attention(&held(10, &[]), at(1_060)).is_none());
        assert!(listener_attention(&held(0, &[]), at(2_000)).is_none());
        assert!(matches!(
            listener_attention(&held(10, &[]), at(1_061)),
            Some(ListenerSpool::Waiting { since, .. }) if since == at(1_000)
        ));
        assert!(matches!(
            listener_attention(&held(0, &["0001.damaged"]), at(1_000)),
            Some(ListenerSpool::Damaged { .. })
        ));
    }
}
