//! More than 5 failed logins from one address in 5 minutes.

use model::event::EventTags;
use model::{ControlId, RuleId, SecurityEvent, Severity, Source, Span};
use serde::{Deserialize, Serialize};

use super::Counting;
use crate::client::Client;
use crate::open::{NewDetection, Texts};
use crate::rule::{Built, Context, Definition, Info, Rule, Usage, default_params, parse_params};

pub(super) const RULE: Definition = Definition {
    info: &Info {
        id: RuleId::builtin("brute_force"),
        name: "Brute force",
        description: "More than `threshold` failed logins from one address within `window`.",
        severity: Severity::High,
        controls: &[ControlId::known("3.1.8"), ControlId::known("3.14.6")],
        attack: &["T1110.001"],
        interest: EventTags::FAILED_LOGIN,
        feeds: &[Source::AuditDb, Source::Syslog],
    },
    defaults: default_params::<Params>,
    fixtures: include_str!("fixtures/brute_force.ndjson"),
    build: |value, max_keys| {
        let p: Params = parse_params(value)?;
        let rule = BruteForce {
            counting: Counting::new(p.threshold, p.window, max_keys),
            window: p.window,
        };

        Ok(Built {
            rule: Box::new(rule),
            cooldown: p.window,
            lookback: p.window,
        })
    },
};

#[derive(Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// Maximum number of failures that is still normal.
    threshold: u32,
    window: Span,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            threshold: 5,
            window: Span::mins(5),
        }
    }
}

fn unknown_client_texts(count: u64, origin: &str, within: Span) -> Texts {
    Texts {
        title: format!(
            "Brute force: {count} failed logins at {origin} within {within}, by an unknown client"
        ),
        description: format!(
            "Someone is trying passwords at {origin}: {count} logins failed within {within}. The \
                log names no client, or a text that the client sent makes it ambiguous. Look at \
                the log itself, and at who was connected at that time."
        ),
    }
}

fn client_texts(count: u64, client: &str, within: Span) -> Texts {
    Texts {
        title: format!("Brute force: {count} failed logins from {client} within {within}"),
        description: format!(
            "Someone at {client} is trying passwords: {count} logins failed within {within}. \
                Block the address if it is not one of yours, and check whether a login from it \
                succeeded."
        ),
    }
}

struct BruteForce {
    counting: Counting,
    window: Span,
}

impl Rule for BruteForce {
    fn observe(&mut self, event: &SecurityEvent<'_>, cx: &mut Context<'_>) {
        let Some(client) = Client::of(event) else {
            return;
        };
        let key = client.key(event, cx);

        let window = self.window;
        let Some(hits) = self.counting.count_and_check(key, event, cx) else {
            return;
        };
        cx.fire(key, event, || {
            let name = client.to_string();
            let texts = match &client {
                Client::Unnamed(_) => unknown_client_texts,
                Client::Address(_) | Client::Named(_) => client_texts,
            };
            let kind = client.entity_kind();
            NewDetection::counting(kind, client, hits, window, move |count, within| {
                texts(count, &name, within)
            })
        });
    }

    fn usage(&self) -> Usage {
        self.counting.usage()
    }
}
