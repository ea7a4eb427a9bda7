//! One address that guesses passwords at the shell and looks for holes in the web server.

use model::event::Marks;
use model::{ControlId, EntityKind, RuleId, SecurityEvent, Severity, Source, Span, Timestamp};
use serde::{Deserialize, Serialize};

use crate::keyed::{Key, Keyed};
use crate::open::Opening;
use crate::rule::{Built, Context, Definition, Info, Rule, Usage, defaults, params};
use crate::window::{Hit, Recent};

pub(super) const RULE: Definition = Definition {
    info: &Info {
        id: RuleId::builtin("cross_source_attack"),
        name: "Attack across sources",
        description: "Within `window` one address fails at least `failures` logins in the \
            system's log and gets at least `errors` \
                      refusals or errors from the web server.",
        severity: Severity::High,
        controls: &[ControlId::known("3.14.6"), ControlId::known("3.3.5")],
        attack: &["T1110", "T1595"],
        interest: Marks::FAILED_LOGIN.union(Marks::WEB),
        feeds: &[Source::Syslog, Source::Nginx],
    },
    defaults: defaults::<Params>,
    fixtures: include_str!("fixtures/cross_source_attack.ndjson"),
    build: |value, max_keys| {
        let params: Params = params(value)?;
        let (cooldown, memory) = (params.window, params.window);
        Ok(Built {
            rule: Box::new(CrossSourceAttack {
                keys: Keyed::new(max_keys),
                params,
            }),
            cooldown,
            memory,
        })
    },
};

#[derive(Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Params {
    failures: u32,
    errors: u32,
    window: Span,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            failures: 3,
            errors: 3,
            window: Span::hours(1),
        }
    }
}

#[derive(Debug, Default)]
struct State {
    failures: Recent,
    errors: Recent,
    /// When it was told, and of which source's event: the sources' keys differ, the attack is one.
    told: Option<(Timestamp, Source)>,
}

struct CrossSourceAttack {
    keys: Keyed<State>,
    params: Params,
}

impl Rule for CrossSourceAttack {
    fn observe(&mut self, event: &SecurityEvent<'_>, cx: &mut Context<'_>) {
        let Some(ip) = event.ip_address else { return };
        let Params {
            failures,
            errors,
            window,
        } = self.params;
        let web = event.source == Source::Nginx;
        if web
            && !event.marks.intersects(Marks::FAILED_LOGIN)
            && event.details.number("status").is_none_or(|s| s < 400)
            || !web && event.source != Source::Syslog
        {
            return;
        }
        // The one rule whose key is of no source: the address in all of them.
        let (state, newest) =
            self.keys
                .touch(Key::ip(Source::Syslog, ip), event.timestamp, cx.stale);
        let (of, enough) = if web {
            (&mut state.errors, errors)
        } else {
            (&mut state.failures, failures)
        };
        of.offer(Hit::of(event), newest, window, enough);
        let cutoff = newest.minus(window);
        let count = |r: &Recent| {
            r.hits()
                .iter()
                .filter(|h| h.at > cutoff)
                .fold(0, |sum, h| h.times.saturating_add(sum))
        };
        if count(&state.failures) < failures || count(&state.errors) < errors {
            return;
        }
        if state
            .told
            .is_some_and(|(at, source)| source != event.source && newest.since(at) < window)
        {
            return;
        }
        state.told = Some((newest, event.source));
        let evidence: Vec<Hit> = state
            .failures
            .hits()
            .iter()
            .chain(state.errors.hits())
            .copied()
            .collect();
        cx.fire(Key::ip(event.source, ip), event, || {
            let title = format!(
                "Attack across sources: {ip} at the shell and at the web server \
                within {window}"
            );
            let description = format!(
                "Someone at {ip} failed to log in to the system and got refusals from the web \
                    server, both within {window}. This is no \
                 mistyped password: block the address everywhere."
            );
            Opening::new(EntityKind::Ip, ip, title, description).evidence(evidence)
        });
    }

    fn usage(&self) -> Usage {
        Usage {
            keys: self.keys.len(),
            evicted: self.keys.evicted(),
        }
    }
}
