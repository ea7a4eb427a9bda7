//! What a measurement changes: a monitor is over its threshold from the first value above it until
//! values have been well below for a while.

use model::{
    Detection, DetectionUpdate, Entity, EntityKind, Fingerprint, Phase, Source, Span, Timestamp,
};
use store::monitors::Monitored;
use uuid::Uuid;

use super::{Measured, Monitor};

/// Of the threshold: a value that is not below this is not calm yet.
const CALM: f64 = 0.9;

/// What a monitor says after a measurement, and what that changes about its alert.
pub fn step(
    monitor: &Monitor,
    before: Option<&Monitored>,
    measured: Measured,
    threshold: f64,
    clear_after: Span,
    now: Timestamp,
) -> (Monitored, Option<DetectionUpdate>) {
    let (watched, value, detail) = match measured {
        Measured::Value(value, detail) => (true, Some(value), detail),
        Measured::Worst(detail) => (true, None, detail),
        Measured::NotWatched(detail) => (false, None, detail),
    };
    let over = watched && value.is_none_or(|value| value > threshold);
    let calm = !watched || value.is_some_and(|value| value <= threshold * CALM);
    let mut next = Monitored {
        name: monitor.name.to_owned(),
        watched,
        value,
        threshold,
        detail,
        measured_at: now,
        over_since: before.and_then(|b| b.over_since),
        last_over: before.and_then(|b| b.last_over),
        calm_since: None,
        peak: before.and_then(|b| b.peak),
        times_over: before.map_or(0, |b| b.times_over),
        alert_id: before.and_then(|b| b.alert_id),
    };
    if next.over_since.is_none() && over {
        // Its first letters, by which people name it, must not be those of whatever else begins at
        // this moment.
        let id = Uuid::new_v5(&Uuid::now_v7(), b"alert");
        next = Monitored {
            over_since: Some(now),
            last_over: Some(now),
            peak: value,
            times_over: 1,
            alert_id: Some(id),
            ..next
        };

        let change = phase_change(monitor, &next, Phase::Opened);
        return (next, change);
    }
    if next.over_since.is_none() {
        return (next, None);
    }
    if over {
        next.last_over = Some(now);
        next.times_over = next.times_over.saturating_add(1);
        next.peak = next.peak.zip(value).map(|(peak, value)| peak.max(value));
        return (next, None);
    }
    if calm {
        next.calm_since = before.and_then(|b| b.calm_since).or(Some(now));
    }
    // A monitor that no longer measures has no value, and its alert would stay open forever.
    if watched
        && next
            .calm_since
            .is_none_or(|since| now.since(since) < clear_after)
    {
        return (next, None);
    }
    let change = phase_change(monitor, &next, Phase::Closed);
    (
        Monitored {
            over_since: None,
            last_over: None,
            calm_since: None,
            peak: None,
            times_over: 0,
            alert_id: None,
            ..next
        },
        change,
    )
}

/// The alert, as it is to be written; none when nothing is over.
fn phase_change(monitor: &Monitor, m: &Monitored, phase: Phase) -> Option<DetectionUpdate> {
    let (first_seen, id) = (m.over_since?, m.alert_id?);
    let more = monitor.show(m.threshold);
    let title = match m.peak {
        Some(peak) => format!(
            "{}: {} (threshold: {})",
            monitor.what,
            monitor.show(peak),
            monitor.number(m.threshold)
        ),
        None if phase == Phase::Opened => format!("{}: {}", monitor.what, m.detail),
        None => format!(
            "{}: it could not be measured for a while, or was worse than any number",
            monitor.what
        ),
    };

    let description = if phase == Phase::Closed {
        format!(
            "It was over its threshold of {more} from {first_seen} to {}; now: {}.",
            m.last_over.unwrap_or(first_seen),
            m.detail
        )
    } else {
        let value = m.value.map(|value| format!(" {},", monitor.show(value)));
        format!(
            "{}:{} {}. `blueteam monitors show {}` shows earlier values.",
            monitor.what,
            value.unwrap_or_default(),
            m.detail,
            monitor.name
        )
    };

    let detection = Detection {
        rule_id: monitor.rule_id(),
        severity: monitor.severity,
        title,
        description,
        entity: Entity {
            kind: EntityKind::Source,
            value: format!("monitor {}", monitor.name),
        },
        entity_name: None,
        first_seen,
        last_seen: m.last_over.unwrap_or(first_seen),
        event_count: m.times_over,
        event_ids: Vec::new(),
        nist_controls: monitor.controls.to_vec(),
        source: Source::AuditDb,
        cui_involved: false,
        tenant: None,
        fingerprint: Fingerprint(id),
        episode: 0,
    };

    Some(DetectionUpdate {
        opened: phase == Phase::Opened,
        phase,
        detection,
        events: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::named;

    fn at(minute: i64) -> Timestamp {
        Timestamp::parse("2026-03-02T10:00:00Z")
            .unwrap_or(Timestamp::from_micros(0))
            .plus(Span::mins(minute))
    }

    /// What becomes of a monitor with a threshold of 80 that measures these values, one a minute:
    /// letters for what each changed.
    fn run(values: &[Option<f64>]) -> String {
        let monitor = named("connections").unwrap_or(super::super::ALL[0]);
        let mut now = None;
        let mut told = String::new();
        for (minute, value) in (0..).zip(values) {
            let measured = value.map_or(Measured::NotWatched(String::new()), |value| {
                Measured::Value(value, String::new())
            });
            let (next, change) = step(
                monitor,
                now.as_ref(),
                measured,
                80.0,
                Span::mins(2),
                at(minute),
            );

            told.push(match change {
                None => '.',
                Some(change) if change.opened => 'o',
                Some(change) => {
                    assert!(change.detection.event_count > 0 && change.phase == Phase::Closed);
                    'c'
                }
            });

            now = Some(next);
        }

        told
    }

    #[test]
    fn one_alert_while_it_lasts_and_none_at_the_edge() {
        let some = |values: &[f64]| run(&values.iter().map(|v| Some(*v)).collect::<Vec<_>>());
        assert_eq!(some(&[10., 80., 81., 95., 90.]), "..o..");

        // Just below the threshold is not calm, and a value above it starts the wait over.
        assert_eq!(some(&[81., 79., 79., 79., 79.]), "o....");
        assert_eq!(some(&[81., 50., 50., 50., 50.]), "o..c.");
        assert_eq!(some(&[81., 50., 81., 50., 50., 50.]), "o....c");
        assert_eq!(some(&[81., 50., 79., 50., 50., 50.]), "o....c");
        assert_eq!(some(&[81., 50., 50., 50., 81.]), "o..co");
        assert_eq!(run(&[Some(81.), None, Some(81.)]), "oco");
        assert_eq!(run(&[None, None]), "..");
    }
}
