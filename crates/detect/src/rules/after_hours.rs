//! CUI accessed outside business hours: one detection per user and off-hours period.

use model::event::EventTags;
use model::{ControlId, RuleId, SecurityEvent, Severity, Source, Span};
use serde::{Deserialize, Serialize};

use crate::open::NewDetection;
use crate::rule::{Built, Context, Definition, Info, Rule, default_params, parse_params};

pub(super) const RULE: Definition = Definition {
    info: &Info {
        id: RuleId::builtin("after_hours"),
        name: "After-hours access",
        description: "A user accesses CUI outside business hours.",
        severity: Severity::Medium,
        controls: &[ControlId::known("3.14.7")],
        attack: &["T1078"],
        interest: EventTags::CUI,
        feeds: &[Source::AuditDb],
    },
    defaults: default_params::<Params>,
    fixtures: include_str!("fixtures/after_hours.ndjson"),
    build: |value, _| {
        let _: Params = parse_params(value)?;
        Ok(Built {
            rule: Box::new(AfterHours),
            cooldown: Span::hours(1),
            lookback: Span::ZERO,
        })
    },
};

/// No parameters: business hours have a section of their own in the configuration.
#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Params {}

struct AfterHours;

impl Rule for AfterHours {
    fn observe(&mut self, event: &SecurityEvent<'_>, cx: &mut Context<'_>) {
        let (Some(key), Some(id)) = (cx.user, &event.user_id) else {
            return;
        };
        let period = cx.calendar.period(event.timestamp);
        if period.open {
            return;
        }

        let users = cx.users;
        let clock = cx.calendar.wall_clock();
        cx.fire_episode(key, period.start.as_micros(), event, || {
            let user = users.person(id, event);
            let at = clock.minutes(event.timestamp);
            let title = format!("After-hours access: user {user} accessed CUI at {at}");
            let description = format!("User {user} accessed CUI outside business hours, at {at}.");
            let mut opening = NewDetection::about_user(id, &user, title, description);
            opening.hold_until = Some(period.end);

            opening
        });
    }
}
