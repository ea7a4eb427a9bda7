//! A user reaches data of a tenant that is not their own.

use std::collections::VecDeque;
use std::sync::Arc;

use model::event::{EventTags, UserId};
use model::{ControlId, Outcome, RuleId, SecurityEvent, Severity, Source, Span, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::event_header::RulePredicate;
use crate::keyed::Key;
use crate::open::NewDetection;
use crate::rule::{Built, Context, Definition, Info, Rule, default_params, parse_params};

pub(super) const RULE: Definition = Definition {
    info: &Info {
        id: RuleId::builtin("cross_tenant"),
        name: "Cross-tenant access",
        description: "A user reaches data of a tenant that is not their home tenant, successfully \
            or not.",
        severity: Severity::Critical,
        controls: &[ControlId::known("3.1.3")],
        attack: &["T1078", "T1530"],
        interest: EventTags::REACH,
        feeds: &[Source::AuditDb],
    },
    defaults: default_params::<Params>,
    fixtures: include_str!("fixtures/cross_tenant.ndjson"),
    build: |value, _| {
        let _: Params = parse_params(value)?;
        Ok(Built {
            rule: Box::new(CrossTenant::default()),
            cooldown: Span::hours(1),
            lookback: Span::ZERO,
        })
    },
};

#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Params {}

/// A user's home tenant, by how it is known.
enum HomeTenant {
    /// Stated by the event or by `users.users`.
    Stated(Uuid),
    /// The tenant of the last successful login, which may change while events arrive out of order.
    LoggedInTo(Uuid),
}

/// Maximum number of undecided accesses. Beyond it, an access is reported at once, not dropped.
const PENDING_MAX: usize = 10_000;

/// Holds accesses that look foreign by the last login known so far: an earlier login may still
/// arrive.
#[derive(Default)]
struct CrossTenant {
    pending: VecDeque<(Key, SecurityEvent<'static>)>,
}

fn home_tenant(event: &SecurityEvent<'_>, key: Key, cx: &Context<'_>) -> Option<HomeTenant> {
    if let Some(tenant) = event.details.uuid("home_instance_id") {
        return Some(HomeTenant::Stated(tenant));
    }
    if let Some(UserId::Uuid(id)) = event.user_id
        && let Some(tenant) = cx.users.get(id).and_then(|u| u.tenant)
    {
        return Some(HomeTenant::Stated(tenant));
    }
    cx.profiles
        .get(key)?
        .tenant_at(event.timestamp)
        .map(HomeTenant::LoggedInTo)
}

fn fire_access(key: Key, event: &SecurityEvent<'_>, home: Uuid, cx: &mut Context<'_>) {
    let (Some(id), Some(tenant)) = (&event.user_id, event.instance_id) else {
        return;
    };
    let users = cx.users;
    cx.fire(key, event, || {
        let user = users.person(id, event);
        let how = if event.result == Outcome::Success {
            "succeeded"
        } else {
            "was refused"
        };

        let title = format!(
            "Cross-tenant access: user {user} of tenant {home} in tenant {tenant}, which {how}"
        );

        let description = format!(
            "User {user} belongs to tenant {home} and did `{}` in tenant {tenant}; it {how}. If \
                the user has no business there, the separation of tenants is broken.",
            event.action
        );
        NewDetection::about_user(id, &user, title, description)
    });
}

impl Rule for CrossTenant {
    fn predicate(&self) -> Option<RulePredicate> {
        // Most events state that the tenant is the user's own.
        Some(Arc::new(|event| {
            event
                .instance_id
                .is_some_and(|tenant| event.details.uuid("home_instance_id") != Some(tenant))
        }))
    }

    fn needs_clock(&self) -> bool {
        true
    }

    fn observe(&mut self, event: &SecurityEvent<'_>, cx: &mut Context<'_>) {
        let (Some(key), Some(tenant)) = (cx.user, event.instance_id) else {
            return;
        };
        match home_tenant(event, key, cx) {
            Some(HomeTenant::Stated(home)) if home != tenant => fire_access(key, event, home, cx),
            Some(HomeTenant::LoggedInTo(home)) if home != tenant => {
                if self.pending.len() < PENDING_MAX {
                    self.pending.push_back((key, event.clone().into_owned()));
                } else {
                    fire_access(key, event, home, cx);
                }
            }
            _ => {}
        }
    }

    fn advance_watermark(&mut self, source: Source, now: Timestamp, cx: &mut Context<'_>) {
        if self.pending.is_empty() {
            return;
        }

        // While windows are rebuilt: accesses before the watermark were decided before the restart,
        // and their alerts stored together with the reader's cursor.
        if cx.is_rebuilding() {
            self.pending
                .retain(|(_, event)| event.source != source || event.timestamp > now);
            return;
        }

        for (key, event) in std::mem::take(&mut self.pending) {
            if event.source != source || event.timestamp > now {
                self.pending.push_back((key, event));
            } else if let Some(HomeTenant::LoggedInTo(home) | HomeTenant::Stated(home)) =
                home_tenant(&event, key, cx)
                && Some(home) != event.instance_id
            {
                fire_access(key, &event, home, cx);
            }
        }
    }

    fn finish(&mut self, cx: &mut Context<'_>) {
        for source in Source::ALL {
            self.advance_watermark(source, Timestamp::MAX, cx);
        }
    }
}
