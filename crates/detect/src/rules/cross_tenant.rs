//! A user reaches data of a tenant that is not their own.

use std::collections::VecDeque;
use std::sync::Arc;

use model::event::{Marks, UserId};
use model::{
    ControlId, EntityKind, Outcome, RuleId, SecurityEvent, Severity, Source, Span, Timestamp,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::glance::Screen;
use crate::keyed::Key;
use crate::open::Opening;
use crate::rule::{Built, Context, Definition, Info, Rule, defaults, params};

pub(super) const RULE: Definition = Definition {
    info: &Info {
        id: RuleId::builtin("cross_tenant"),
        name: "Cross-tenant access",
        description: "A user reaches data of a tenant that is not their home tenant, successfully \
            or not.",
        severity: Severity::Critical,
        controls: &[ControlId::known("3.1.3")],
        attack: &["T1078", "T1530"],
        interest: Marks::REACH,
        feeds: &[Source::AuditDb],
    },
    defaults: defaults::<Params>,
    fixtures: include_str!("fixtures/cross_tenant.ndjson"),
    build: |value, _| {
        let _: Params = params(value)?;
        Ok(Built {
            rule: Box::new(CrossTenant::default()),
            cooldown: Span::hours(1),
            memory: Span::ZERO,
        })
    },
};

#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Params {}

/// Where a home tenant was learnt from.
enum Home {
    /// The event or `users.users` says it.
    Stated(Uuid),
    /// The last successful login; that may yet change when events arrive out of order.
    LoggedInTo(Uuid),
}

/// Undecided accesses at most. Beyond it, one is told at once rather than forgotten.
const PENDING_MAX: usize = 10_000;

/// Accesses that look foreign by the last login known so far. A login a second before may yet
/// arrive.
#[derive(Default)]
struct CrossTenant {
    pending: VecDeque<(Key, SecurityEvent<'static>)>,
}

fn home(event: &SecurityEvent<'_>, key: Key, cx: &Context<'_>) -> Option<Home> {
    if let Some(tenant) = event.details.uuid("home_instance_id") {
        return Some(Home::Stated(tenant));
    }
    if let Some(UserId::Uuid(id)) = event.user_id
        && let Some(tenant) = cx.users.get(id).and_then(|u| u.tenant)
    {
        return Some(Home::Stated(tenant));
    }
    cx.profiles
        .get(key)?
        .tenant_at(event.timestamp)
        .map(Home::LoggedInTo)
}

fn fire(key: Key, event: &SecurityEvent<'_>, home: Uuid, cx: &mut Context<'_>) {
    let (Some(user), Some(tenant)) = (&event.user_id, event.instance_id) else {
        return;
    };
    cx.fire(key, event, || {
        let how = if event.result == Outcome::Success {
            "succeeded"
        } else {
            "was refused"
        };

        let title = format!(
            "Cross-tenant access: user {user} of tenant {home} in tenant \
            {tenant}, which {how}"
        );

        let description = format!(
            "User {user} belongs to tenant {home} and did `{}` in tenant {tenant}; it {how}. If \
                the user has no business there, \
             the separation of tenants is broken.",
            event.action
        );
        Opening::new(EntityKind::User, user, title, description)
    });
}

impl Rule for CrossTenant {
    fn screen(&self) -> Option<Screen> {
        // Most events say themselves that the tenant is the user's own.
        Some(Arc::new(|event| {
            event
                .instance_id
                .is_some_and(|tenant| event.details.uuid("home_instance_id") != Some(tenant))
        }))
    }

    fn keeps_time(&self) -> bool {
        true
    }

    fn observe(&mut self, event: &SecurityEvent<'_>, cx: &mut Context<'_>) {
        let (Some(key), Some(tenant)) = (cx.user, event.instance_id) else {
            return;
        };
        match home(event, key, cx) {
            Some(Home::Stated(home)) if home != tenant => fire(key, event, home, cx),
            Some(Home::LoggedInTo(home)) if home != tenant => {
                if self.pending.len() < PENDING_MAX {
                    self.pending.push_back((key, event.clone().into_owned()));
                } else {
                    fire(key, event, home, cx);
                }
            }
            _ => {}
        }
    }

    fn advance(&mut self, source: Source, now: Timestamp, cx: &mut Context<'_>) {
        if self.pending.is_empty() {
            return;
        }

        // While windows are rebuilt: what time has passed over was decided before the restart, and
        // its alert stored with the reader's place.
        if cx.is_muted() {
            self.pending
                .retain(|(_, event)| event.source != source || event.timestamp > now);
            return;
        }

        for (key, event) in std::mem::take(&mut self.pending) {
            if event.source != source || event.timestamp > now {
                self.pending.push_back((key, event));
            } else if let Some(Home::LoggedInTo(home) | Home::Stated(home)) = home(&event, key, cx)
                && Some(home) != event.instance_id
            {
                fire(key, &event, home, cx);
            }
        }
    }

    fn finish(&mut self, cx: &mut Context<'_>) {
        for source in Source::ALL {
            self.advance(source, Timestamp::MAX, cx);
        }
    }
}
