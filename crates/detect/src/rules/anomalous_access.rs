//! A known user appears from an address or with an agent never seen for that user.

use model::event::EventTags;
use model::{ControlId, RuleId, SecurityEvent, Severity, Source, Span};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::open::NewDetection;
use crate::profile::Familiarity;
use crate::rule::{
    Built, Context, Definition, Info, ParamError, Rule, default_params, parse_params,
};

pub(super) const RULE: Definition = Definition {
    info: &Info {
        id: RuleId::builtin("anomalous_access"),
        name: "Anomalous access",
        description: "A known user appears from an address or with a user agent never seen for \
            that user. A user is known after `known_after_events` successful events spread over \
            at least `known_after`.",
        severity: Severity::Medium,
        controls: &[ControlId::known("3.14.7")],
        attack: &["T1078"],
        interest: EventTags::USER_SUCCESS,
        feeds: &[Source::AuditDb, Source::Syslog],
    },
    defaults: default_params::<Params>,
    fixtures: include_str!("fixtures/anomalous_access.ndjson"),
    build: |value, _| {
        let _: Params = parse_params(value)?;
        Ok(Built {
            rule: Box::new(AnomalousAccess),
            cooldown: Span::hours(1),
            lookback: Span::ZERO,
        })
    },
};

#[derive(Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Params {
    known_after_events: u32,
    known_after: Span,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            known_after_events: 20,
            known_after: Span::hours(24),
        }
    }
}

/// Returns the rule's parameters as the shared profiles need them.
pub(super) fn familiarity(configured: Option<&Value>) -> Result<Familiarity, ParamError> {
    // Errors are reported when the rule is built; common parameters are ignored here.
    let mut p = Params::default();

    if let Some(events) = configured
        .and_then(|c| c.get("known_after_events"))
        .and_then(Value::as_u64)
    {
        p.known_after_events = u32::try_from(events).unwrap_or(u32::MAX);
    }

    if let Some(spread) = configured
        .and_then(|c| c.get("known_after"))
        .and_then(Value::as_str)
    {
        p.known_after = spread
            .parse()
            .map_err(|e: model::time::SpanError| ParamError {
                rule: "anomalous_access".to_owned(),
                key: Some("known_after".to_owned()),
                message: e.to_string(),
            })?;
    }

    Ok(Familiarity {
        events: p.known_after_events,
        spread: p.known_after,
    })
}

/// Its state is the shared profiles.
struct AnomalousAccess;

impl Rule for AnomalousAccess {
    fn observe(&mut self, event: &SecurityEvent<'_>, cx: &mut Context<'_>) {
        let novelty = cx.novelty;
        if !novelty.known || !(novelty.ip || novelty.agent) {
            return;
        }

        let (Some(key), Some(id)) = (cx.user, &event.user_id) else {
            return;
        };
        let users = cx.users;
        cx.fire(key, event, || {
            let user = users.person(id, event);
            let ip = event
                .ip_address
                .filter(|_| novelty.ip)
                .map(|ip| format!("address {ip}"));
            let agent = event
                .user_agent
                .as_ref()
                .filter(|_| novelty.agent)
                .map(|a| format!("agent “{a}”"));
            let new = [ip, agent]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join(" and ");

            let title = format!("Anomalous access: user {user} with new {new}");
            let description = format!(
                "User {user} was never seen with {new} before. Ask the user; if it was someone \
                    else, end the sessions and reset the password."
            );
            NewDetection::about_user(id, &user, title, description)
        });
    }

    fn only_on_novelty(&self) -> bool {
        true
    }
}
