//! A password change, then data access from an address new to the user within 30 minutes.

use std::net::IpAddr;

use model::event::EventTags;
use model::{ControlId, RuleId, SecurityEvent, Severity, Source, Span, Timestamp};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::clock_cache::ClockCache;
use crate::keyed::Key;
use crate::open::NewDetection;
use crate::rule::{Built, Context, Definition, Info, Rule, Usage, default_params, parse_params};
use crate::window::Hit;

pub(super) const RULE: Definition = Definition {
    info: &Info {
        id: RuleId::builtin("account_takeover"),
        name: "Account takeover",
        description: "A password is changed or reset, then data is accessed within `window` from \
            an address that the user was not known at before the change.",
        severity: Severity::Critical,
        controls: &[ControlId::known("3.5.2"), ControlId::known("3.14.6")],
        attack: &["T1098", "T1531"],
        interest: EventTags::PASSWORD.union(EventTags::DATA),
        feeds: &[Source::AuditDb],
    },
    defaults: default_params::<Params>,
    fixtures: include_str!("fixtures/account_takeover.ndjson"),
    build: |value, max_keys| {
        let Params { window } = parse_params(value)?;
        let rule = AccountTakeover {
            users: ClockCache::new(max_keys),
            window,
        };

        Ok(Built {
            rule: Box::new(rule),
            cooldown: window,
            lookback: window,
        })
    },
};

#[derive(Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Params {
    window: Span,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            window: Span::mins(30),
        }
    }
}

/// Maximum number of remembered changes and accesses per user.
const KEPT: usize = 64;

#[derive(Debug, Default)]
struct UserState {
    /// Password changes, in the order in which they arrived.
    changes: SmallVec<[Hit; 1]>,
    /// Data accesses from addresses that were new at the time: the change may arrive later.
    accesses: SmallVec<[(Hit, IpAddr); 1]>,
}

/// Adds to a list of limited length. The first item is kept as long as it counts: with repeated
/// password changes, the thief's address is no longer new at the last one.
fn push_capped<T>(list: &mut SmallVec<[T; 1]>, item: T, counts: impl Fn(&T) -> bool) {
    if list.len() >= KEPT {
        list.retain(|old| counts(old));
    }
    if list.len() >= KEPT {
        list.remove(1);
    }
    list.push(item);
}

struct AccountTakeover {
    users: ClockCache<UserState>,
    window: Span,
}

impl AccountTakeover {
    /// Returns whether an access from an address first seen at `first_seen` makes a takeover of a
    /// password change.
    fn is_takeover(&self, change: Hit, access: Hit, first_seen: Option<Timestamp>) -> bool {
        access.at > change.at
            && access.at.since(change.at) < self.window
            && first_seen.is_none_or(|first| first >= change.at)
    }

    fn fire(
        cx: &mut Context<'_>,
        key: Key,
        event: &SecurityEvent<'_>,
        change: Hit,
        access: Hit,
        ip: IpAddr,
    ) {
        let Some(id) = &event.user_id else { return };
        let users = cx.users;
        let clock = cx.calendar.wall_clock();
        cx.fire(key, event, || {
            let user = users.person(id, event);
            let after = access.at.since(change.at);
            let title = format!(
                "Account takeover: user {user} changed the password, then read data from new \
                    address {ip}"
            );
            let description = format!(
                "The password of user {user} was changed at {}, and {after} later data was \
                    accessed from {ip}, an address that the user had never used. Lock the account \
                    and call the user.",
                clock.minutes(change.at)
            );

            NewDetection::about_user(id, &user, title, description).with_evidence([change, access])
        });
    }
}

impl Rule for AccountTakeover {
    fn observe(&mut self, event: &SecurityEvent<'_>, cx: &mut Context<'_>) {
        // Nearly every access ends here: the address has been known for longer than events can be
        // late.
        let old = |first| cx.header.at.since(first) > cx.allowed_lateness.max(self.window);
        if !cx.header.marks.intersects(EventTags::PASSWORD)
            && cx.novelty.ip_known_since.is_some_and(old)
        {
            return;
        }

        let Some(key) = cx.user else { return };
        let hit = Hit::of(event);
        let counts_from = hit.at.minus(self.window).minus(cx.allowed_lateness);
        let first_seen = |cx: &Context<'_>, ip| cx.user_profile().and_then(|p| p.first_seen_at(ip));

        if event.marks.intersects(EventTags::DATA)
            && let Some(ip) = event.ip_address
        {
            let first = cx.novelty.ip_known_since.or_else(|| first_seen(cx, ip));
            let new = first
                .is_none_or(|first| hit.at.since(first) <= cx.allowed_lateness.max(self.window));
            if new {
                let change = self.users.get(key).and_then(|s| {
                    s.changes
                        .iter()
                        .rev()
                        .find(|change| self.is_takeover(**change, hit, first))
                        .copied()
                });

                if let Some(change) = change {
                    Self::fire(cx, key, event, change, hit, ip);
                } else {
                    let (state, _) = self.users.touch(key, event.timestamp, cx.stale_before);
                    push_capped(&mut state.accesses, (hit, ip), |(old, _)| {
                        old.at > counts_from
                    });
                }
            }
        }

        if event.marks.intersects(EventTags::PASSWORD) {
            let (state, _) = self.users.touch(key, event.timestamp, cx.stale_before);
            push_capped(&mut state.changes, hit, |old| old.at > counts_from);
            let accesses = std::mem::take(&mut state.accesses);
            for (access, ip) in &accesses {
                if self.is_takeover(hit, *access, first_seen(cx, *ip)) {
                    Self::fire(cx, key, event, hit, *access, *ip);
                }
            }

            self.users
                .touch(key, event.timestamp, cx.stale_before)
                .0
                .accesses = accesses;
        }
    }

    fn usage(&self) -> Usage {
        Usage {
            keys: self.users.len(),
            evicted: self.users.evicted(),
        }
    }
}
