//! Three guardrail triggers of one user in 10 minutes.

use model::event::EventTags;
use model::{ControlId, EntityKind, RuleId, SecurityEvent, Severity, Source, Span};
use serde::{Deserialize, Serialize};

use super::Counting;
use crate::open::{NewDetection, Texts};
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
        let (Some(key), Some(id)) = (cx.user, &event.user_id) else {
            return;
        };
        let window = self.window;
        let users = cx.users;
        let Some(hits) = self.counting.count_and_check(key, event, cx) else {
            return;
        };
        cx.fire(key, event, || {
            let user = users.person(id, event);
            let name = user.to_string();
            NewDetection::counting(EntityKind::User, id, hits, window, move |count, within| Texts {
                title: format!(
                    "AI abuse: {count} guardrail triggers of user {name} within {within}"
                ),
                description: format!(
                    "User {name} triggered the model's guardrails {count} times within {within}. \
                        Read the conversation: either someone is trying to misuse the model, or a \
                        guardrail is too strict."
                ),
            })
            .named(&user)
        });
    }

    fn usage(&self) -> Usage {
        self.counting.usage()
    }
}
