//! A role of the database became a superuser, to whom no privilege and no trigger is a limit.

use model::event::EventTags;
use model::{
    ControlId, EntityKind, Outcome, RuleId, SecurityEvent, Severity, Source, Span, Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::account_changes::{AccountChange, account_changes};
use crate::keyed::Key;
use crate::open::NewDetection;
use crate::pending::Pending;
use crate::rule::{Built, Context, Definition, Info, Rule, Usage, default_params, parse_params};

pub(super) const RULE: Definition = Definition {
    info: &Info {
        id: RuleId::builtin("database_superuser_made"),
        name: "Database superuser made",
        description: "A statement made a role of PostgreSQL a superuser, or a member of one.",
        severity: Severity::Critical,
        controls: &[
            ControlId::known("3.1.5"),
            ControlId::known("3.1.7"),
            ControlId::known("3.3.9"),
        ],
        attack: &["T1098", "T1078.002"],
        interest: EventTags::DATABASE,
        feeds: &[Source::Postgres],
    },
    defaults: default_params::<Params>,
    fixtures: include_str!("fixtures/database_superuser_made.ndjson"),
    build: |value, _| {
        let p: Params = parse_params(value)?;
        Ok(Built {
            rule: Box::new(DatabaseSuperuserMade {
                superusers: p.superusers,
                pending: Pending::new(PATIENCE),
            }),
            cooldown: Span::hours(1),
            lookback: PATIENCE,
        })
    },
};

/// PostgreSQL logs a statement before it runs it, and the refusal right after.
const PATIENCE: Span = Span::secs(2);

#[derive(Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// Roles that are superusers, in lowercase: their members can become them.
    superusers: Vec<String>,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            superusers: vec!["postgres".to_owned()],
        }
    }
}

struct DatabaseSuperuserMade {
    superusers: Vec<String>,
    pending: Pending,
}

/// Returns the role that an event makes a superuser, or a member of one of `superusers`.
fn superuser(event: &SecurityEvent<'_>, superusers: &[String]) -> Option<String> {
    account_changes(event)
        .into_iter()
        .find_map(|change| match change {
            AccountChange::Superuser(name) => Some(name),
            AccountChange::Granted { account, group } if superusers.contains(&group) => {
                Some(account)
            }
            _ => None,
        })
}

/// Returns whether two events are of one process, and so of one session.
fn is_same_session(a: &SecurityEvent<'_>, b: &SecurityEvent<'_>) -> bool {
    let pid = |event: &SecurityEvent<'_>| event.provenance.as_ref().and_then(|place| place.pid);
    pid(a).is_some() && pid(a) == pid(b) && a.host() == b.host()
}

fn fire(key: Key, name: &str, event: &SecurityEvent<'_>, cx: &mut Context<'_>) {
    cx.fire(key, event, || {
        let place = super::place_of(event);
        let by = event
            .user_id
            .as_ref()
            .map_or_else(String::new, |user| format!(" by role {user}"));
        let title = format!("Database superuser made: {name}{place}{by}");
        let description = format!(
            "The role {name} was made a superuser of PostgreSQL{place}{by}. A superuser can change \
                the audit trail and the triggers that protect it. Unless this was planned, revoke \
                it (ALTER ROLE … NOSUPERUSER, or REVOKE) and find out what the role did since."
        );
        NewDetection::new(EntityKind::User, name, title, description)
    });
}

impl Rule for DatabaseSuperuserMade {
    fn needs_clock(&self) -> bool {
        true
    }

    fn observe(&mut self, event: &SecurityEvent<'_>, cx: &mut Context<'_>) {
        if event.result == Outcome::Denied {
            self.pending.excuse(|_, waiting| {
                is_same_session(waiting, event) && event.timestamp >= waiting.timestamp
            });
            return;
        }

        if let Some(name) = superuser(event, &self.superusers) {
            let key = Key::new(event.source, cx.key_hasher.hash_name(&name));
            if let Some((key, event)) = self.pending.push(key, event) {
                fire(key, &name, &event, cx);
            }
        }
    }

    fn advance_watermark(&mut self, source: Source, now: Timestamp, cx: &mut Context<'_>) {
        for (key, event) in self.pending.take_due(source, now, cx) {
            if let Some(name) = superuser(&event, &self.superusers) {
                fire(key, &name, &event, cx);
            }
        }
    }

    fn finish(&mut self, cx: &mut Context<'_>) {
        self.advance_watermark(Source::Postgres, Timestamp::MAX, cx);
    }

    fn usage(&self) -> Usage {
        Usage {
            keys: self.pending.len(),
            evicted: 0,
        }
    }
}
