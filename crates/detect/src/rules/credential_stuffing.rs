//! Failed logins on more than 10 different accounts from one address in 10 minutes.

use foldhash::quality::RandomState;
use model::event::EventTags;
use model::{ControlId, RuleId, SecurityEvent, Severity, Source, Span};
use serde::{Deserialize, Serialize};
use std::hash::BuildHasher;

use crate::client::Client;
use crate::clock_cache::ClockCache;
use crate::open::NewDetection;
use crate::rule::{Built, Context, Definition, Info, Rule, Usage, default_params, parse_params};
use crate::window::{Distinct, Hit, Offered};

pub(super) const RULE: Definition = Definition {
    info: &Info {
        id: RuleId::builtin("credential_stuffing"),
        name: "Credential stuffing",
        description: "Failed logins on more than `threshold` different accounts from one address \
            within `window`.",
        severity: Severity::Critical,
        controls: &[ControlId::known("3.1.8"), ControlId::known("3.14.6")],
        attack: &["T1110.004", "T1110.003"],
        interest: EventTags::FAILED_LOGIN,
        feeds: &[Source::AuditDb, Source::Syslog],
    },
    defaults: default_params::<Params>,
    fixtures: include_str!("fixtures/credential_stuffing.ndjson"),
    build: |value, max_keys| {
        let params: Params = parse_params(value)?;
        let (cooldown, lookback) = (params.window, params.window);
        let rule = CredentialStuffing {
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
}

impl Default for Params {
    fn default() -> Self {
        Self {
            threshold: 10,
            window: Span::mins(10),
        }
    }
}

struct CredentialStuffing {
    keys: ClockCache<Distinct>,
    hasher: RandomState,
    params: Params,
}

impl Rule for CredentialStuffing {
    fn observe(&mut self, event: &SecurityEvent<'_>, cx: &mut Context<'_>) {
        let (Some(client), Some(account)) = (Client::of(event), event.account()) else {
            return;
        };
        let key = client.key(event, cx);
        let Params { threshold, window } = self.params;
        let value = self.hasher.hash_one(account.as_str());

        let (distinct, newest) = self.keys.touch(key, event.timestamp, cx.stale_before);
        match distinct.offer(
            Hit::of(event),
            value,
            newest,
            window,
            threshold.saturating_add(1),
        ) {
            Offered::Counts if distinct.count() > threshold => {}
            Offered::Late => {
                cx.counters.late += 1;
                return;
            }
            Offered::Counts | Offered::Again => return,
        }

        cx.fire(key, event, || {
            let count = distinct.count();
            let from = match &client {
                Client::Unnamed(host) => format!("at {host}, by an unknown client,"),
                Client::Address(_) | Client::Named(_) => format!("from {client}"),
            };
            let title =
                format!("Credential stuffing: {count} accounts tried {from} within {window}");
            let description = format!(
                "Someone at {client} is trying stolen or guessed passwords on many accounts: at least \
                    {count} different ones within {window}. Block the address, and look for a \
                    login from it that succeeded."
            );

            NewDetection::new(client.entity_kind(), client, title, description).with_evidence(distinct.hits())
        });
    }

    fn usage(&self) -> Usage {
        Usage {
            keys: self.keys.len(),
            evicted: self.keys.evicted(),
        }
    }
}
