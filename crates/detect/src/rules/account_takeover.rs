//! A password change, then data access from an address new to the user within 30 minutes.

use std::net::IpAddr;

use model::event::Marks;
use model::{ControlId, EntityKind, RuleId, SecurityEvent, Severity, Source, Span, Timestamp};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::keyed::{Key, Keyed};
use crate::open::Opening;
use crate::rule::{Built, Context, Definition, Info, Rule, Usage, defaults, params};
use crate::window::Hit;

pub(super) const RULE: Definition = Definition {
    info: &Info {
        id: RuleId::builtin("account_takeover"),
        name: "Account takeover",
        description: "A password is changed or reset, then data is accessed within `window` from \
            an address that was not among \
                      the user's known ones before the change.",
        severity: Severity::Critical,
        controls: &[ControlId::known("3.5.2"), ControlId::known("3.14.6")],
        attack: &["T1098", "T1531"],
        interest: Marks::PASSWORD.union(Marks::DATA),
        feeds: &[Source::AuditDb],
    },
    defaults: defaults::<Params>,
    fixtures: include_str!("fixtures/account_takeover.ndjson"),
    build: |value, max_keys| {
        let Params { window } = params(value)?;
        let rule = AccountTakeover {
            users: Keyed::new(max_keys),
            window,
        };

        Ok(Built {
            rule: Box::new(rule),
            cooldown: window,
            memory: window,
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

/// Changes and accesses remembered a user.
const KEPT: usize = 64;

#[derive(Debug, Default)]
struct State {
    /// Password changes, in the order in which they arrived.
    changes: SmallVec<[Hit; 1]>,
    /// Data accesses from addresses that were new just then: the change may yet arrive.
    accesses: SmallVec<[(Hit, IpAddr); 1]>,
}

/// The first is kept as long as it counts: a thief who changes the password again and again knows
/// no address that was new at the last change.
fn remember<T>(list: &mut SmallVec<[T; 1]>, item: T, counts: impl Fn(&T) -> bool) {
    if list.len() >= KEPT {
        list.retain(|old| counts(old));
    }
    if list.len() >= KEPT {
        list.remove(1);
    }
    list.push(item);
}

struct AccountTakeover {
    users: Keyed<State>,
    window: Span,
}

impl AccountTakeover {
    /// Whether an access at `access` from `ip` makes a takeover of a change at `change`.
    fn is_takeover(&self, change: Hit, access: Hit, first_seen: Option<Timestamp>) -> bool {
        access.at > change.at
            && access.at.since(change.at) < self.window
            && first_seen.is_none_or(|first| first >= change.at)
    }

    fn fire(
        cx: &mut Context<'_>,
        key: Key,
        event: &SecurityEvent<'_>,
        (change, access): (Hit, Hit),
        ip: IpAddr,
    ) {
        let Some(user) = &event.user_id else { return };
        cx.fire(key, event, || {
            let after = access.at.since(change.at);
            let title = format!(
                "Account takeover: user {user} changed the password, then read \
                data from new address {ip}"
            );

            let description = format!(
                "The password of user {user} was changed at {}, and {after} later data was \
                    accessed from {ip}, where the user had \
                 never been. Lock the account and call the user.",
                change.at
            );
            Opening::new(EntityKind::User, user, title, description).evidence([change, access])
        });
    }
}

impl Rule for AccountTakeover {
    fn observe(&mut self, event: &SecurityEvent<'_>, cx: &mut Context<'_>) {
        // Nearly every access ends here: an address known for longer than events can be late.
        let old = |first| cx.glance.at.since(first) > cx.settle.max(self.window);
        if !cx.glance.marks.intersects(Marks::PASSWORD) && cx.novelty.here_since.is_some_and(old) {
            return;
        }
        let Some(key) = cx.user else { return };
        let hit = Hit::of(event);
        let counts_from = hit.at.minus(self.window).minus(cx.settle);
        let first_seen = |cx: &Context<'_>, ip| cx.normal().and_then(|p| p.first_seen_at(ip));
        if event.marks.intersects(Marks::DATA)
            && let Some(ip) = event.ip_address
        {
            let first = cx.novelty.here_since.or_else(|| first_seen(cx, ip));
            let new = first.is_none_or(|first| hit.at.since(first) <= cx.settle.max(self.window));
            if new {
                let change = self.users.get(key).and_then(|s| {
                    s.changes
                        .iter()
                        .rev()
                        .find(|change| self.is_takeover(**change, hit, first))
                        .copied()
                });

                if let Some(change) = change {
                    Self::fire(cx, key, event, (change, hit), ip);
                } else {
                    let (state, _) = self.users.touch(key, event.timestamp, cx.stale);
                    remember(&mut state.accesses, (hit, ip), |(old, _)| {
                        old.at > counts_from
                    });
                }
            }
        }
        if event.marks.intersects(Marks::PASSWORD) {
            let (state, _) = self.users.touch(key, event.timestamp, cx.stale);
            remember(&mut state.changes, hit, |old| old.at > counts_from);
            let accesses = std::mem::take(&mut state.accesses);
            for (access, ip) in &accesses {
                if self.is_takeover(hit, *access, first_seen(cx, *ip)) {
                    Self::fire(cx, key, event, (hit, *access), *ip);
                }
            }

            self.users.touch(key, event.timestamp, cx.stale).0.accesses = accesses;
        }
    }

    fn usage(&self) -> Usage {
        Usage {
            keys: self.users.len(),
            evicted: self.users.evicted(),
        }
    }
}
