//! A user asked for privileges that they do not have.

use model::event::EventTags;
use model::{ControlId, EntityKind, Outcome, RuleId, SecurityEvent, Severity, Source, Span};
use serde::{Deserialize, Serialize};

use crate::open::NewDetection;
use crate::rule::{Built, Context, Definition, Info, Rule, default_params, parse_params};

pub(super) const RULE: Definition = Definition {
    info: &Info {
        id: RuleId::builtin("sudo_refused"),
        name: "sudo refused",
        description: "sudo refused a command to a user who is not allowed to run it.",
        severity: Severity::Medium,
        controls: &[
            ControlId::known("3.1.5"),
            ControlId::known("3.1.7"),
            ControlId::known("3.14.7"),
        ],
        attack: &["T1548.003"],
        interest: EventTags::ACCOUNT_CHANGE,
        feeds: &[Source::Syslog],
    },
    defaults: default_params::<Params>,
    fixtures: include_str!("fixtures/sudo_refused.ndjson"),
    build: |value, _| {
        let _: Params = parse_params(value)?;
        Ok(Built {
            rule: Box::new(SudoRefused),
            cooldown: Span::hours(1),
            lookback: Span::ZERO,
        })
    },
};

/// No parameters of its own.
#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Params {}

struct SudoRefused;

impl Rule for SudoRefused {
    fn observe(&mut self, event: &SecurityEvent<'_>, cx: &mut Context<'_>) {
        // A mistyped password is a failure, not a refusal.
        if &*event.action != "sudo" || event.result != Outcome::Denied {
            return;
        }
        let (Some(key), Some(user)) = (cx.user, &event.user_id) else {
            return;
        };

        cx.fire(key, event, || {
            let place = super::place_of(event);
            let command = event.resource_id.as_deref().unwrap_or("a command");
            let title = format!("sudo refused: user {user}{place}");
            let description = format!(
                "User {user} asked sudo for `{command}`{place} and is not allowed to run it. Ask \
                    them; if they did not type it, someone else uses their account."
            );
            NewDetection::new(EntityKind::User, user, title, description)
        });
    }
}
