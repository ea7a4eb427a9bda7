//! Many accounts tried from one address in a day, too slowly for `credential_stuffing`.

use foldhash::quality::RandomState;
use std::hash::BuildHasher as _;

use model::event::EventTags;
use model::{ControlId, RuleId, SecurityEvent, Severity, Source, Span, Timestamp};
use serde::{Deserialize, Serialize};

use crate::client::Client;
use crate::clock_cache::ClockCache;
use crate::open::NewDetection;
use crate::rule::{
    Built, Context, Definition, Info, Rule, Usage, default_params, parse_params, quiet_since,
};
use crate::window::{Distinct, Hit, Offered};

pub(super) const RULE: Definition = Definition {
    info: &Info {
        id: RuleId::builtin("slow_spray"),
        name: "Slow password spray",
        description: "Failed logins from one address try more than `threshold` accounts within \
            `window`, but never that many within `fast`.",
        severity: Severity::High,
        controls: &[ControlId::known("3.1.8"), ControlId::known("3.14.6")],
        attack: &["T1110.003"],
        interest: EventTags::FAILED_LOGIN,
        feeds: &[Source::Syslog],
    },
    defaults: default_params::<Params>,
    fixtures: include_str!("fixtures/slow_spray.ndjson"),
    build: |value, max_keys| {
        let params: Params = parse_params(value)?;
        let (cooldown, lookback) = (params.window, Span::ZERO);
        let rule = SlowSpray {
            keys: ClockCache::new(max_keys),
            hasher: RandomState::default(),
            params,
        };

        Ok(Built {
            rule: Box::new(rule),
            cooldown,
            lookback,
        })
    },
};

#[derive(Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// Maximum number of accounts that is still normal.
    threshold: usize,
    window: Span,
    /// That many accounts within this span are left to `credential_stuffing`.
    fast: Span,
    /// Sources whose logins count. For the logins of applications the specification asks for
    /// `credential_stuffing` alone; add `audit_db` for more.
    sources: Vec<Source>,
}

impl Default for Params {
    fn default() -> Self {
        let sources = vec![Source::Syslog, Source::Nginx, Source::Postgres];
        Self {
            threshold: 10,
            window: Span::hours(24),
            fast: Span::mins(10),
            sources,
        }
    }
}

#[derive(Debug, Default)]
struct AddressState {
    accounts: Distinct,
    /// When it was last fast enough for `credential_stuffing`, which reported that.
    fast: Option<Timestamp>,
}

struct SlowSpray {
    keys: ClockCache<AddressState>,
    hasher: RandomState,
    params: Params,
}

impl Rule for SlowSpray {
    fn observe(&mut self, event: &SecurityEvent<'_>, cx: &mut Context<'_>) {
        let Params {
            threshold,
            window,
            fast,
            ref sources,
        } = self.params;

        if !sources.contains(&event.source) {
            return;
        }

        let (Some(client), Some(account)) = (Client::of(event), event.account()) else {
            return;
        };
        let key = client.key(event, cx);
        let value = self.hasher.hash_one(account.as_str());
        let (state, newest) =
            self.keys
                .touch(key, event.timestamp, quiet_since(event.timestamp, window));

        match state.accounts.offer(
            Hit::of(event),
            value,
            newest,
            window,
            threshold.saturating_add(1),
        ) {
            Offered::Counts if state.accounts.count() > threshold => {}
            Offered::Late => {
                cx.counters.late += 1;
                return;
            }
            Offered::Counts | Offered::Again => return,
        }

        let hits: Vec<Hit> = state.accounts.hits().collect();
        let times = || hits.iter().map(|h| h.at);
        let (first, last) = (
            times().min().unwrap_or(event.timestamp),
            times().max().unwrap_or(event.timestamp),
        );
        if last.since(first) < fast {
            state.fast = state.fast.max(Some(last));
        }

        if state.fast.is_some_and(|at| newest.since(at) < window) {
            return;
        }

        cx.fire(key, event, || {
            let count = state.accounts.count();
            let from = match &client {
                Client::Unnamed(host) => format!("at {host}, by an unknown client,"),
                Client::Address(_) | Client::Named(_) => format!("from {client}"),
            };
            let title =
                format!("Slow password spray: {count} accounts tried {from} within {window}");
            let description = format!(
                "Someone at {client} is trying one account after the other, slowly enough to go \
                    unnoticed: at least {count} within {window}. Block the address, and look for \
                    a login from it that succeeded."
            );

            NewDetection::new(client.entity_kind(), client, title, description).with_evidence(hits)
        });
    }

    fn login_lookback(&self) -> Span {
        self.params.window
    }

    fn usage(&self) -> Usage {
        Usage {
            keys: self.keys.len(),
            evicted: self.keys.evicted(),
        }
    }
}
