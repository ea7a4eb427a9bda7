//! One account tried from many addresses, each of which stays below `brute_force`.

use std::hash::BuildHasher as _;

use foldhash::quality::RandomState;
use model::event::EventTags;
use model::{ControlId, EntityKind, RuleId, SecurityEvent, Severity, Source, Span};
use serde::{Deserialize, Serialize};

use crate::client::Client;
use crate::clock_cache::ClockCache;
use crate::keyed::Key;
use crate::open::{NewDetection, Texts};
use crate::rule::{
    Built, Context, Definition, Info, Rule, Usage, default_params, parse_params, quiet_since,
};
use crate::window::{Distinct, Hit, Offered, Recent};

pub(super) const RULE: Definition = Definition {
    info: &Info {
        id: RuleId::builtin("distributed_guessing"),
        name: "Distributed password guessing",
        description: "Failed logins on one account within `window`: from more than `addresses` \
            addresses, or more than `failures` from more than one.",
        severity: Severity::Medium,
        controls: &[ControlId::known("3.1.8"), ControlId::known("3.14.6")],
        attack: &["T1110.001", "T1110.004"],
        interest: EventTags::FAILED_LOGIN,
        feeds: &[Source::AuditDb, Source::Syslog],
    },
    defaults: default_params::<Params>,
    fixtures: include_str!("fixtures/distributed_guessing.ndjson"),
    build: |value, max_keys| {
        let params: Params = parse_params(value)?;
        let (cooldown, lookback) = (params.window, Span::ZERO);
        let rule = DistributedGuessing {
            accounts: ClockCache::new(max_keys),
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
    /// Maximum number of addresses that is still normal: a person's devices, at home and away.
    addresses: usize,
    /// Maximum number of failures that is still normal when they come from more than one address.
    failures: u32,
    window: Span,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            addresses: 10,
            failures: 20,
            window: Span::hours(1),
        }
    }
}

#[derive(Debug, Default)]
struct AccountState {
    addresses: Distinct,
    failures: Recent,
}

impl AccountState {
    /// The failures that show what is going on: one of each address, and the newest.
    fn hits(&self) -> Vec<Hit> {
        let mut hits: Vec<Hit> = self.addresses.hits().collect();
        hits.extend(self.failures.hits());
        hits.sort_unstable();
        hits.dedup();
        hits
    }
}

struct DistributedGuessing {
    accounts: ClockCache<AccountState>,
    hasher: RandomState,
    params: Params,
}

impl DistributedGuessing {
    /// Counts the event; returns the account's state if the condition holds at it.
    fn count_and_check(
        &mut self,
        key: Key,
        client: Key,
        event: &SecurityEvent<'_>,
        cx: &mut Context<'_>,
    ) -> Option<&AccountState> {
        let Params {
            addresses,
            failures,
            window,
        } = self.params;
        let hit = Hit::of(event);
        let (state, newest) =
            self.accounts
                .touch(key, event.timestamp, quiet_since(event.timestamp, window));

        let enough = failures.saturating_add(1);
        match state.failures.offer(hit, newest, window, enough) {
            Offered::Counts => {}
            Offered::Late => {
                cx.counters.late += 1;
                return None;
            }
            Offered::Again => return None,
        }

        let value = self.hasher.hash_one(client);
        let enough = addresses.saturating_add(1).max(2);
        state.addresses.offer(hit, value, newest, window, enough);

        let seen = state.addresses.count();
        let has_many = seen > addresses.max(1);
        let fails_much = seen > 1 && state.failures.count() > failures;
        (has_many || fails_much).then_some(&*state)
    }
}

fn guessing_texts(account: &str, count: u64, within: Span) -> Texts {
    Texts {
        title: format!(
            "Distributed password guessing: {count} failed logins as {account} from several \
                addresses within {within}"
        ),
        description: format!(
            "Someone tries passwords of the account {account} from one address after the other, \
                so that each stays unnoticed: {count} logins failed within {within}. Blocking \
                addresses does not help: lock the account or give it another factor, and look for \
                a login that succeeded."
        ),
    }
}

impl Rule for DistributedGuessing {
    fn observe(&mut self, event: &SecurityEvent<'_>, cx: &mut Context<'_>) {
        let (Some(client), Some(account)) = (Client::of(event), event.account()) else {
            return;
        };
        let name = account.as_str().to_owned();
        // Who varies the case tries the same account.
        let folded = cx.key_hasher.hash_name(&name.to_lowercase());
        let key = Key::new(event.source, folded);
        let client = client.key(event, cx);

        let window = self.params.window;
        let Some(state) = self.count_and_check(key, client, event, cx) else {
            return;
        };
        cx.fire(key, event, || {
            let shown = name.clone();
            NewDetection::counting(
                EntityKind::User,
                name,
                &state.hits(),
                window,
                move |count, within| guessing_texts(&shown, count, within),
            )
        });
    }

    fn login_lookback(&self) -> Span {
        self.params.window
    }

    fn usage(&self) -> Usage {
        Usage {
            keys: self.accounts.len(),
            evicted: self.accounts.evicted(),
        }
    }
}
