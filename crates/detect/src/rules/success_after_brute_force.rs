//! A login succeeds from an address that has just been guessing passwords.

use model::event::EventTags;
use model::{ControlId, EntityKind, RuleId, SecurityEvent, Severity, Source, Span};
use serde::{Deserialize, Serialize};

use crate::clock_cache::ClockCache;
use crate::keyed::Key;
use crate::open::NewDetection;
use crate::rule::{Built, Context, Definition, Info, Rule, Usage, default_params, parse_params};
use crate::window::{Hit, Recent};

pub(super) const RULE: Definition = Definition {
    info: &Info {
        id: RuleId::builtin("success_after_brute_force"),
        name: "Success after brute force",
        description: "A login succeeds from an address with more than `threshold` failed ones \
            within `window` before it.",
        severity: Severity::Critical,
        controls: &[ControlId::known("3.1.8"), ControlId::known("3.14.6")],
        attack: &["T1110.001", "T1078"],
        interest: EventTags::FAILED_LOGIN.union(EventTags::LOGIN),
        feeds: &[Source::Syslog, Source::Postgres],
    },
    defaults: default_params::<Params>,
    fixtures: include_str!("fixtures/success_after_brute_force.ndjson"),
    build: |value, max_keys| {
        let params: Params = parse_params(value)?;
        let (cooldown, lookback) = (params.window, params.window);
        Ok(Built {
            rule: Box::new(SuccessAfterBruteForce {
                keys: ClockCache::new(max_keys),
                params,
            }),
            cooldown,
            lookback,
        })
    },
};

#[derive(Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// Maximum number of failures that is still normal.
    threshold: u32,
    window: Span,
    /// Sources whose logins count. For the logins of applications the specification asks for
    /// `brute_force` alone; add `audit_db` for more.
    sources: Vec<Source>,
}

impl Default for Params {
    fn default() -> Self {
        let sources = vec![Source::Syslog, Source::Nginx, Source::Postgres];
        Self {
            threshold: 5,
            window: Span::mins(5),
            sources,
        }
    }
}

#[derive(Debug, Default)]
struct AddressState {
    failures: Recent,
    /// The latest success, because failures before it may arrive after it.
    success: Option<Hit>,
}

struct SuccessAfterBruteForce {
    keys: ClockCache<AddressState>,
    params: Params,
}

impl Rule for SuccessAfterBruteForce {
    fn observe(&mut self, event: &SecurityEvent<'_>, cx: &mut Context<'_>) {
        let Params {
            threshold,
            window,
            ref sources,
        } = self.params;
        let Some(ip) = event.ip_address.filter(|_| sources.contains(&event.source)) else {
            return;
        };
        let key = Key::ip(event.source, ip);

        let hit = Hit::of(event);
        let succeeded = event.marks.intersects(EventTags::LOGIN);

        // A success whose failures arrive late is reported when they arrive.
        let (state, newest) = self.keys.touch(key, event.timestamp, cx.stale_before);
        if succeeded {
            state.success = state.success.max(Some(hit));
        } else {
            state
                .failures
                .offer(hit, newest, window, threshold.saturating_add(1));
        }

        let Some(success) = state.success else { return };
        let before = |h: &&Hit| h.at <= success.at && success.at.since(h.at) < window;
        let failures: Vec<Hit> = state
            .failures
            .hits()
            .iter()
            .filter(before)
            .copied()
            .collect();

        let count: u32 = failures.iter().map(|h| h.times).sum();
        if count <= threshold || !(succeeded || hit.at <= success.at) {
            return;
        }

        let users = cx.users;
        cx.fire(key, event, || {
            let who = event
                .user_id
                .as_ref()
                .filter(|_| succeeded)
                .map(|id| format!(" as {}", users.person(id, event)))
                .unwrap_or_default();
            let title = format!(
                "Success after brute force: a login from {ip}{who} after {count} failed ones \
                    within {window}"
            );

            let description = format!(
                "Someone at {ip} failed to log in {count} times within {window}, and then \
                    succeeded{who}. A guessed password is the likeliest reason: end the account's \
                    sessions, reset its password, and look at what it did since."
            );
            NewDetection::new(EntityKind::Ip, ip, title, description)
                .with_evidence(failures.into_iter().chain([success]))
        });
    }

    fn usage(&self) -> Usage {
        Usage {
            keys: self.keys.len(),
            evicted: self.keys.evicted(),
        }
    }
}
