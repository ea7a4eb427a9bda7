//! Expected audit events stop arriving, or a source reports that logging failed.

use model::event::EventTags;
use model::time::Period;
use model::{ControlId, EntityKind, RuleId, SecurityEvent, Severity, Source, Span, Timestamp};
use serde::{Deserialize, Serialize};

use crate::keyed::Key;
use crate::open::NewDetection;
use crate::rule::{Built, Context, Definition, Info, Rule, default_params, parse_params};

pub(super) const RULE: Definition = Definition {
    info: &Info {
        id: RuleId::builtin("audit_log_gap"),
        name: "Audit log gap",
        description: "During business hours, an expected source is silent for more than \
            `silence`; or a source reports that audit logging failed.",
        severity: Severity::Critical,
        controls: &[ControlId::known("3.3.4")],
        attack: &["T1562.008", "T1070"],
        interest: EventTags::ANY,
        feeds: &[],
    },
    defaults: default_params::<Params>,
    fixtures: include_str!("fixtures/audit_log_gap.ndjson"),
    build: |value, _| {
        let Params { silence, expected } = parse_params(value)?;
        let watches = expected
            .into_iter()
            .map(|source| (source, SourceWatch::default()))
            .collect();
        Ok(Built {
            rule: Box::new(AuditLogGap { watches, silence }),
            cooldown: Span::hours(1),
            lookback: silence,
        })
    },
};

#[derive(Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Params {
    silence: Span,
    /// Sources that are expected to send events.
    expected: Vec<Source>,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            silence: Span::mins(5),
            expected: vec![Source::AuditDb],
        }
    }
}

/// Maximum number of silences that wait for late events.
const SILENCES_MAX: usize = 64;

/// State of one expected source.
#[derive(Debug, Default)]
struct SourceWatch {
    /// Newest event, or the start of the watch.
    last: Option<Timestamp>,
    /// Silences between two events that late events may still fall into.
    silences: Vec<(Timestamp, Timestamp)>,
}

impl SourceWatch {
    fn record_event(&mut self, at: Timestamp, silence: Span) {
        let Some(last) = self.last else {
            self.last = Some(at);
            return;
        };

        if at > last {
            if at.since(last) > silence && self.silences.len() < SILENCES_MAX {
                self.silences.push((last, at));
            }
            self.last = Some(at);
        } else if let Some(i) = self
            .silences
            .iter()
            .position(|(from, to)| *from < at && at < *to)
        {
            let (from, to) = self.silences.swap_remove(i);
            self.silences.extend(
                [(from, at), (at, to)]
                    .into_iter()
                    .filter(|(a, b)| b.since(*a) > silence),
            );
        }
    }
}

/// Returns the component of blueteam with this name. Unknown names are not distinguished: any
/// sender of events can choose them.
fn known_component(name: &str) -> Option<&'static str> {
    const COMPONENTS: [&str; 9] = [
        "reader",
        "channel",
        "collector",
        "writer",
        "database",
        "ingest",
        "configuration",
        "certificate",
        "clock",
    ];

    COMPONENTS.into_iter().find(|known| *known == name)
}

struct AuditLogGap {
    watches: Vec<(Source, SourceWatch)>,
    silence: Span,
}

impl AuditLogGap {
    /// Reports the parts of a silence that lie in business hours, one for each working day.
    fn fire_gaps(&self, source: Source, from: Timestamp, to: Timestamp, cx: &mut Context<'_>) {
        let mut at = from;
        while at < to {
            let Period { open, end, .. } = cx.calendar.period(at);
            let until = end.min(to);
            if open && until.since(at) > self.silence {
                // Whole seconds are precise enough for a message.
                let silent = Span::secs(until.since(at).as_micros() / 1_000_000);
                let title = format!("Audit log gap: no events from {source} since {at}");
                let description = format!(
                    "{source} was expected to report during business hours, but no event arrived \
                        for {silent} from {at} on. Check that the application logs and that its \
                        events reach the database."
                );

                let opening = NewDetection::new(EntityKind::Source, source, title, description);
                cx.fire_silence(Key::source(source), at.as_micros(), at, until, opening);
            }

            at = until;
        }
    }
}

impl Rule for AuditLogGap {
    fn observe(&mut self, event: &SecurityEvent<'_>, cx: &mut Context<'_>) {
        let header = cx.header;
        // blueteam's own events do not show that the source is still sending.
        if !header.marks.intersects(EventTags::OWN_FAILURE)
            && let Some((_, watch)) = self
                .watches
                .iter_mut()
                .find(|(source, _)| *source == header.source)
        {
            watch.record_event(header.at, self.silence);
        }

        if header.marks.intersects(EventTags::OWN_FAILURE)
            && let Some(component) = event
                .details
                .text("component")
                .as_deref()
                .and_then(known_component)
        {
            // One key per component: a new failure must reach people while another one is open.
            let entity = format!("blueteam {component}");
            let key = Key::new(event.source, cx.key_hasher.hash_name(&entity));
            cx.fire(key, event, || {
                let what = event
                    .details
                    .text("message")
                    .unwrap_or_else(|| "it reports a failure".to_owned());

                let title = format!("{entity}: {what}");
                let description = format!(
                    "The {component} of blueteam reports: {what}. `blueteam status` shows \
                        what is affected."
                );
                NewDetection::new(EntityKind::Source, entity, title, description)
            });
        } else if header.marks.intersects(EventTags::AUDIT_FAILURE) {
            let source = event.source;
            // A client may have written the words into another message.
            let unconfirmed = source == Source::Nginx
                && event.details.text("certainty").as_deref() == Some("unconfirmed");
            let key = if unconfirmed {
                let name = format!("{source}, unconfirmed");
                Key::new(source, cx.key_hasher.hash_name(&name))
            } else {
                Key::source(source)
            };
            cx.fire(key, event, || {
                let what = event
                    .details
                    .text("message")
                    .or_else(|| event.details.text("component"));
                let what = what.map(|w| format!(": {w}")).unwrap_or_default();
                let title = format!("Audit logging failed in {source}{what}");
                let description = format!(
                    "{source} reports that audit events could not be recorded{what}. Events may \
                        be missing from this time on."
                );
                if !unconfirmed {
                    return NewDetection::new(EntityKind::Source, source, title, description);
                }

                let title = format!("Audit logging may have failed in {source}{what}");
                let description = format!(
                    "{description} The words stand behind another message of the same log entry, \
                        where a client may have written them; the log of the application says \
                        whether it failed."
                );
                NewDetection::new(EntityKind::Source, source, title, description)
                    .with_severity(Severity::Medium)
            });
        }
    }

    fn needs_clock(&self) -> bool {
        true
    }

    fn advance_watermark(&mut self, source: Source, now: Timestamp, cx: &mut Context<'_>) {
        let Some(i) = self.watches.iter().position(|(s, _)| *s == source) else {
            return;
        };
        let watch = &mut self.watches[i].1;

        // While windows are rebuilt, past events come in the order of their times, not of their
        // arrival. Their silences were reported then, except those that have just ended; and a long
        // one that has just ended is more likely an old event that arrived late.
        if cx.is_rebuilding() {
            watch
                .silences
                .retain(|(from, to)| *to > now && now.since(*from) < Span::hours(1));
            return;
        }

        let last = *watch.last.get_or_insert(now);
        let settled: Vec<_> = watch
            .silences
            .extract_if(.., |(_, to)| *to <= now)
            .collect();
        for (from, to) in settled {
            self.fire_gaps(source, from, to, cx);
        }

        if now.since(last) > self.silence {
            self.fire_gaps(source, last, now, cx);
        }
    }

    fn finish(&mut self, cx: &mut Context<'_>) {
        for i in 0..self.watches.len() {
            let (source, watch) = &mut self.watches[i];
            let source = *source;
            for (from, to) in std::mem::take(&mut watch.silences) {
                self.fire_gaps(source, from, to, cx);
            }
        }
    }
}
