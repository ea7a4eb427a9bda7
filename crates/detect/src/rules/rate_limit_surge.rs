//! More than 50 rate limit hits of one source in a minute.

use model::event::EventTags;
use model::{ControlId, EntityKind, RuleId, SecurityEvent, Severity, Source, Span};
use serde::{Deserialize, Serialize};

use super::Counting;
use crate::keyed::Key;
use crate::open::{NewDetection, Texts};
use crate::rule::{Built, Context, Definition, Info, Rule, Usage, default_params, parse_params};

pub(super) const RULE: Definition = Definition {
    info: &Info {
        id: RuleId::builtin("rate_limit_surge"),
        name: "Rate limit surge",
        description: "More than `threshold` rate limit hits of one source within `window`.",
        severity: Severity::Medium,
        controls: &[ControlId::known("3.14.6")],
        attack: &["T1499"],
        interest: EventTags::RATE_LIMIT,
        feeds: &[Source::AuditDb],
    },
    defaults: default_params::<Params>,
    fixtures: include_str!("fixtures/rate_limit_surge.ndjson"),
    build: |value, max_keys| {
        let p: Params = parse_params(value)?;
        let rule = RateLimitSurge {
            counting: Counting::new(p.threshold, p.window, max_keys),
            window: p.window,
        };

        Ok(Built {
            rule: Box::new(rule),
            cooldown: p.window,
            lookback: p.window,
        })
    },
};

#[derive(Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// Maximum number of hits that is still normal.
    threshold: u32,
    window: Span,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            threshold: 50,
            window: Span::mins(1),
        }
    }
}

struct RateLimitSurge {
    counting: Counting,
    window: Span,
}

impl Rule for RateLimitSurge {
    fn observe(&mut self, event: &SecurityEvent<'_>, cx: &mut Context<'_>) {
        let source = event.source;
        let window = self.window;
        let Some(hits) = self
            .counting
            .count_and_check(Key::source(source), event, cx)
        else {
            return;
        };
        cx.fire(Key::source(source), event, || {
            NewDetection::counting(
                EntityKind::Source,
                source,
                hits,
                window,
                move |count, within| Texts {
                    title: format!("Rate limit surge: {count} hits in {source} within {within}"),
                    description: format!(
                        "The application refused {count} requests within {within} because they \
                            came too fast. Someone is flooding or probing it, or a client of \
                            yours malfunctions."
                    ),
                },
            )
        });
    }

    fn usage(&self) -> Usage {
        self.counting.usage()
    }
}
