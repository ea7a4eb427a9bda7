//! Three guardrail triggers of one user in 10 minutes.

use model::event::EventTags;
use model::{ControlId, EntityKind, RuleId, SecurityEvent, Severity, Source, Span};
use serde::{Deserialize, Serialize};

use super::Counting;
use crate::open::NewDetection;
use crate::rule::{Built, Context, Definition, Info, Rule, Usage, default_params, parse_params};

pub(super) const RULE: Definition = Definition {
    info: &Info {
        id: RuleId::builtin("ai_abuse"),
        name: "AI abuse pattern",
        description: "At least `threshold` guardrail or jailbreak triggers of one user within \
            `window`.",
        severity: Severity::High,
        controls: &[ControlId::known("3.14.6")],
        attack: &["AML.T0054"],
        interest: EventTags::GUARDRAIL,
        feeds: &[Source::AuditDb],
    },
    defaults: default_params::<Params>,
    fixtures: include_str!("fixtures/ai_abuse.ndjson"),
    build: |value, max_keys| {
        let p: Params = parse_params(value)?;
        let counting = Counting::new(p.threshold.saturating_sub(1), p.window, max_keys);
        Ok(Built {
            rule: Box::new(AiAbuse {
                counting,
                window: p.window,
            }),
            cooldown: p.window,
            lookback: p.window,
        })
    },
};

#[derive(Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// Minimum number of triggers.
    threshold: u32,
    window: Span,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            threshold: 3,
            window: Span::mins(10),
        }
    }
}

struct AiAbuse {
    counting: Counting,
    window: Span,
}

impl Rule for AiAbuse {
    fn observe(&mut self, event: &SecurityEvent<'_>, cx: &mut Context<'_>) {
        let (Some(key), Some(user)) = (cx.user, &event.user_id) else {
            return;
        };
        let window = self.window;
        let Some(hits) = self.counting.count_and_check(key, event, cx) else {
            return;
        };
        cx.fire(key, event, || {
            let count: u32 = hits.iter().map(|h| h.times).sum();
            let title =
                format!("AI abuse: {count} guardrail triggers of user {user} within {window}");
            let description = format!(
                "User {user} triggered the model's guardrails {count} times within {window}. Read \
                    the conversation: either someone is trying to misuse the model, or a \
                    guardrail is too strict."
            );

            NewDetection::new(EntityKind::User, user, title, description)
                .with_evidence(hits.iter().copied())
        });
    }

    fn usage(&self) -> Usage {
        self.counting.usage()
    }
}
