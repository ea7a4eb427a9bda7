//! One address guesses passwords at the shell and probes the web server.

use model::event::EventTags;
use model::{ControlId, EntityKind, RuleId, SecurityEvent, Severity, Source, Span, Timestamp};
use serde::{Deserialize, Serialize};

use super::Distinct;
use crate::clock_cache::ClockCache;
use crate::glob::plain_path;
use crate::keyed::Key;
use crate::open::NewDetection;
use crate::rule::{Built, Context, Definition, Info, Rule, Usage, default_params, parse_params};
use crate::window::{Hit, Recent};

pub(super) const RULE: Definition = Definition {
    info: &Info {
        id: RuleId::builtin("cross_source_attack"),
        name: "Attack across sources",
        description: "Within `window` one address fails at least `failures` logins in the \
            system's log and gets at least `errors` refusals or errors from the web server.",
        severity: Severity::High,
        controls: &[ControlId::known("3.14.6"), ControlId::known("3.3.5")],
        attack: &["T1110", "T1595"],
        interest: EventTags::FAILED_LOGIN.union(EventTags::WEB),
        feeds: &[Source::Syslog, Source::Nginx],
    },
    defaults: default_params::<Params>,
    fixtures: include_str!("fixtures/cross_source_attack.ndjson"),
    build: |value, max_keys| {
        let params: Params = parse_params(value)?;
        let (cooldown, lookback) = (params.window, params.window);
        Ok(Built {
            rule: Box::new(CrossSourceAttack {
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
    failures: u32,
    /// Failures on fewer accounts than this are mistyped passwords, unless there are more than
    /// `failures_on_one`.
    accounts: usize,
    failures_on_one: u32,
    errors: u32,
    /// Errors of fewer paths than this are a broken page.
    paths: usize,
    window: Span,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            failures: 3,
            accounts: 2,
            failures_on_one: 10,
            errors: 3,
            paths: 3,
            window: Span::hours(1),
        }
    }
}

#[derive(Debug, Default)]
struct AddressState {
    failures: Recent,
    accounts: Distinct,
    errors: Recent,
    paths: Distinct,
    /// When it was reported, and for an event of which source: the keys of the sources differ, but
    /// it is one attack.
    fired: Option<(Timestamp, Source)>,
}

struct CrossSourceAttack {
    keys: ClockCache<AddressState>,
    params: Params,
}

impl Rule for CrossSourceAttack {
    fn observe(&mut self, event: &SecurityEvent<'_>, cx: &mut Context<'_>) {
        let Some(ip) = event.ip_address else { return };
        let Params {
            failures,
            accounts,
            failures_on_one,
            errors,
            paths,
            window,
        } = self.params;
        let web = event.source == Source::Nginx;
        if web
            && !event.marks.intersects(EventTags::FAILED_LOGIN)
            && event.details.number("status").is_none_or(|s| s < 400)
            || !web && event.source != Source::Syslog
        {
            return;
        }

        // The only rule whose key spans sources: the address in all of them.
        let (state, newest) = self.keys.touch(
            Key::ip(Source::Syslog, ip),
            event.timestamp,
            cx.stale_before,
        );
        if web {
            let target = event.resource_id.as_deref().unwrap_or_default();
            let path = cx.key_hasher.short_hash(&plain_path(target));
            state.paths.record(path, event.timestamp);
            state.errors.offer(Hit::of(event), newest, window, errors);
        } else {
            let account = event.account().unwrap_or_default();
            let account = cx.key_hasher.short_hash(&account);
            state.accounts.record(account, event.timestamp);
            let enough = failures.max(failures_on_one.saturating_add(1));
            state.failures.offer(Hit::of(event), newest, window, enough);
        }

        let cutoff = newest.minus(window);
        let count = |r: &Recent| {
            r.hits()
                .iter()
                .filter(|h| h.at > cutoff)
                .fold(0, |sum, h| h.times.saturating_add(sum))
        };

        let failed = count(&state.failures);
        let guesses = failed > failures_on_one
            || failed >= failures && state.accounts.count_after(cutoff) >= accounts;
        let scans = count(&state.errors) >= errors && state.paths.count_after(cutoff) >= paths;
        if !guesses || !scans {
            return;
        }

        if state
            .fired
            .is_some_and(|(at, source)| source != event.source && newest.since(at) < window)
        {
            return;
        }

        state.fired = Some((newest, event.source));
        let evidence: Vec<Hit> = state
            .failures
            .hits()
            .iter()
            .chain(state.errors.hits())
            .copied()
            .collect();

        cx.fire(Key::ip(event.source, ip), event, || {
            let title = format!(
                "Attack across sources: {ip} at the shell and at the web server within {window}"
            );
            let description = format!(
                "Someone at {ip} failed to log in to the system and was refused by the web server, \
                    both within {window}. This is not a mistyped password: block the address \
                    everywhere."
            );

            NewDetection::new(EntityKind::Ip, ip, title, description).with_evidence(evidence)
        });
    }

    fn usage(&self) -> Usage {
        Usage {
            keys: self.keys.len(),
            evicted: self.keys.evicted(),
        }
    }
}
