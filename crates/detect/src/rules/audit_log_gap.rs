//! Expected audit events stop arriving, or logging says itself that it failed.

use model::event::Marks;
use model::time::Period;
use model::{ControlId, EntityKind, RuleId, SecurityEvent, Severity, Source, Span, Timestamp};
use serde::{Deserialize, Serialize};

use crate::keyed::Key;
use crate::open::Opening;
use crate::rule::{Built, Context, Definition, Info, Rule, defaults, params};

pub(super) const RULE: Definition = Definition {
    info: &Info {
        id: RuleId::builtin("audit_log_gap"),
        name: "Audit log gap",
        description: "During business hours, an expected source is silent for more than \
            `silence`; or a source reports that \
                      audit logging failed.",
        severity: Severity::Critical,
        controls: &[ControlId::known("3.3.4")],
        attack: &["T1562.008", "T1070"],
        interest: Marks::ANY,
        feeds: &[],
    },
    defaults: defaults::<Params>,
    fixtures: include_str!("fixtures/audit_log_gap.ndjson"),
    build: |value, _| {
        let Params { silence, expected } = params(value)?;
        let watches = expected
            .into_iter()
            .map(|source| (source, Watch::default()))
            .collect();
        Ok(Built {
            rule: Box::new(AuditLogGap { watches, silence }),
            cooldown: Span::hours(1),
            memory: silence,
        })
    },
};

#[derive(Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Params {
    silence: Span,
    /// Sources that are expected to speak.
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

/// Silences remembered until late events can no longer break them.
const SILENCES_MAX: usize = 64;

/// What is known of one expected source.
#[derive(Debug, Default)]
struct Watch {
    /// Newest event, or the start of the watch.
    last: Option<Timestamp>,
    /// Silences between two events, until late ones can no longer fall into them.
    silences: Vec<(Timestamp, Timestamp)>,
}

impl Watch {
    fn spoke(&mut self, at: Timestamp, silence: Span) {
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

/// The part of blueteam of that name. Others are not told apart: whoever may write events chooses
/// the name.
fn component(name: &str) -> Option<&'static str> {
    const COMPONENTS: [&str; 8] = [
        "reader",
        "channel",
        "collector",
        "writer",
        "database",
        "ingest",
        "configuration",
        "certificate",
    ];

    COMPONENTS.into_iter().find(|known| *known == name)
}

struct AuditLogGap {
    watches: Vec<(Source, Watch)>,
    silence: Span,
}

impl AuditLogGap {
    /// Tells a silence as far as it lies in business hours, each working day for itself.
    fn tell(&self, source: Source, (from, to): (Timestamp, Timestamp), cx: &mut Context<'_>) {
        let mut at = from;
        while at < to {
            let Period { open, end, .. } = cx.calendar.period(at);
            let until = end.min(to);
            if open && until.since(at) > self.silence {
                // Nobody counts the microseconds of a silence.
                let silent = Span::secs(until.since(at).as_micros() / 1_000_000);
                let title = format!("Audit log gap: no events from {source} since {at}");
                let description = format!(
                    "{source} was expected to report during business hours, and nothing arrived \
                        for {silent} from {at} on. Check \
                     that the application logs and that its events reach the database."
                );
                let opening = Opening::new(EntityKind::Source, source, title, description);
                cx.fire_silence(Key::source(source), at.as_micros(), at, until, opening);
            }

            at = until;
        }
    }
}

impl Rule for AuditLogGap {
    fn observe(&mut self, event: &SecurityEvent<'_>, cx: &mut Context<'_>) {
        let glance = cx.glance;
        // What we write ourselves does not show that the source still speaks.
        if !glance.marks.intersects(Marks::OWN_FAILURE)
            && let Some((_, watch)) = self
                .watches
                .iter_mut()
                .find(|(source, _)| *source == glance.source)
        {
            watch.spoke(glance.at, self.silence);
        }
        if glance.marks.intersects(Marks::OWN_FAILURE)
            && let Some(component) = event
                .details
                .text("component")
                .as_deref()
                .and_then(component)
        {
            // Each part of blueteam for itself: a new failure must reach people though another one
            // is open.
            let entity = format!("blueteam {component}");
            let key = Key::new(event.source, cx.names.value(&entity));
            cx.fire(key, event, || {
                let what = event.details.text("message").unwrap_or_else(|| {
                    "it reports a \
                    failure"
                        .to_owned()
                });

                let title = format!("{entity}: {what}");
                let description = format!(
                    "The {component} of blueteam reports: {what}. `blueteam status` shows \
                        what is affected."
                );
                Opening::new(EntityKind::Source, entity, title, description)
            });
        } else if glance.marks.intersects(Marks::AUDIT_FAILURE) {
            let source = event.source;
            cx.fire(Key::source(source), event, || {
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

                Opening::new(EntityKind::Source, source, title, description)
            });
        }
    }

    fn keeps_time(&self) -> bool {
        true
    }

    fn advance(&mut self, source: Source, now: Timestamp, cx: &mut Context<'_>) {
        let Some(i) = self.watches.iter().position(|(s, _)| *s == source) else {
            return;
        };
        let watch = &mut self.watches[i].1;

        // While windows are rebuilt the past is shown in the order of its times, not of its
        // arrival. What was silence in it was told then, but for what has just ended; and a long
        // one that has just ended is rather an old event that arrived late.
        if cx.is_muted() {
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
        for silence in settled {
            self.tell(source, silence, cx);
        }

        if now.since(last) > self.silence {
            self.tell(source, (last, now), cx);
        }
    }

    fn finish(&mut self, cx: &mut Context<'_>) {
        for i in 0..self.watches.len() {
            let (source, watch) = &mut self.watches[i];
            let source = *source;
            for silence in std::mem::take(&mut watch.silences) {
                self.tell(source, silence, cx);
            }
        }
    }
}
