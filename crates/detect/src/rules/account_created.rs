//! An account that allows logins was created.

use model::event::EventTags;
use model::{ControlId, EntityKind, RuleId, SecurityEvent, Severity, Source, Span, Timestamp};
use serde::{Deserialize, Serialize};

use crate::account_changes::{AccountChange, account_changes};
use crate::clock_cache::ClockCache;
use crate::keyed::Key;
use crate::open::NewDetection;
use crate::rule::{Built, Context, Definition, Info, Rule, Usage, default_params, parse_params};

pub(super) const RULE: Definition = Definition {
    info: &Info {
        id: RuleId::builtin("account_created"),
        name: "Account created",
        description: "An account was created; high outside business hours, or by an account that was \
            itself created within `young`.",
        severity: Severity::Medium,
        controls: &[
            ControlId::known("3.1.1"),
            ControlId::known("3.5.1"),
            ControlId::known("3.14.7"),
        ],
        attack: &["T1136"],
        interest: EventTags::ACCOUNT_CHANGE,
        feeds: &[Source::Syslog, Source::Postgres],
    },
    defaults: default_params::<Params>,
    fixtures: include_str!("fixtures/account_created.ndjson"),
    build: |value, max_keys| {
        let p: Params = parse_params(value)?;
        Ok(Built {
            rule: Box::new(AccountCreated {
                young: p.young,
                created: ClockCache::new(max_keys),
                tools: ClockCache::new(max_keys),
            }),
            cooldown: Span::hours(1),
            lookback: p.young,
        })
    },
};

/// How long after `sudo useradd` a new account counts as created by the caller of sudo.
const TOOL_RUNS: Span = Span::mins(2);
/// The programs that create accounts, as sudo logs their commands.
const TOOLS: [&str; 4] = ["useradd", "adduser", "newusers", "usermod"];

#[derive(Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// An account that is younger than this and creates others is suspect.
    young: Span,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            young: Span::days(1),
        }
    }
}

struct AccountCreated {
    young: Span,
    /// When each account was created.
    created: ClockCache<Option<Timestamp>>,
    /// Of each machine, who last ran a tool that creates accounts, and when. useradd itself does
    /// not log who called it.
    tools: ClockCache<Option<(String, Timestamp)>>,
}

impl AccountCreated {
    fn note_tool(&mut self, event: &SecurityEvent<'_>, cx: &Context<'_>) {
        let command = event.resource_id.as_deref().unwrap_or_default();
        let program = command.split_whitespace().next().unwrap_or_default();
        let name = program.rsplit('/').next().unwrap_or_default();
        let Some(user) = event.user_id.as_ref().filter(|_| TOOLS.contains(&name)) else {
            return;
        };

        let host = machine_key(event, cx);
        let (last, _) = self.tools.touch(host, event.timestamp, cx.stale_before);
        *last = Some((user.to_string(), event.timestamp));
    }

    /// Returns who created an account, as far as the logs say it.
    fn creator(&self, event: &SecurityEvent<'_>, cx: &Context<'_>) -> Option<String> {
        if let Some(user) = &event.user_id {
            return Some(user.to_string());
        }
        let (user, at) = self.tools.get(machine_key(event, cx))?.as_ref()?;
        let since = event.timestamp.since(*at);
        (Span::ZERO..=TOOL_RUNS)
            .contains(&since)
            .then(|| user.clone())
    }

    fn is_young(&self, name: &str, event: &SecurityEvent<'_>, cx: &Context<'_>) -> bool {
        let key = Key::new(event.source, cx.key_hasher.hash_name(name));
        let created = self.created.get(key).copied().flatten();
        created.is_some_and(|at| event.timestamp.since(at) < self.young)
    }
}

fn machine_key(event: &SecurityEvent<'_>, cx: &Context<'_>) -> Key {
    let host = event.host().unwrap_or_default().to_ascii_lowercase();
    Key::new(event.source, cx.key_hasher.hash_name(&host))
}

impl Rule for AccountCreated {
    fn observe(&mut self, event: &SecurityEvent<'_>, cx: &mut Context<'_>) {
        if &*event.action == "sudo" {
            self.note_tool(event, cx);
            return;
        }

        for change in account_changes(event) {
            let AccountChange::Created(name) = change else {
                continue;
            };
            let creator = self.creator(event, cx);
            let by_young = creator
                .as_ref()
                .is_some_and(|creator| self.is_young(creator, event, cx));
            let open = cx.calendar.period(event.timestamp).open;

            let key = Key::new(event.source, cx.key_hasher.hash_name(&name));
            let (created, _) = self.created.touch(key, event.timestamp, cx.stale_before);
            *created = Some(event.timestamp);
            cx.fire(key, event, || {
                opening(&name, creator.as_deref(), by_young, open, event)
            });
        }
    }

    fn usage(&self) -> Usage {
        Usage {
            keys: self.created.len() + self.tools.len(),
            evicted: self.created.evicted() + self.tools.evicted(),
        }
    }
}

fn opening(
    name: &str,
    creator: Option<&str>,
    by_young: bool,
    in_business_hours: bool,
    event: &SecurityEvent<'_>,
) -> NewDetection {
    let by = creator.map_or_else(String::new, |creator| format!(" by {creator}"));
    let place = super::place_of(event);
    let why = match (by_young, in_business_hours) {
        (true, _) => " The account that created it is itself less than a day old.",
        (_, false) => " This happened outside business hours.",
        _ => "",
    };

    let title = format!("Account created: {name}{place}{by}");
    let description = format!(
        "The account {name} was created{place}{by}.{why} Check that it was approved; an \
            intruder creates accounts to come back."
    );
    let severity = if by_young || !in_business_hours {
        Severity::High
    } else {
        Severity::Medium
    };
    NewDetection::new(EntityKind::User, name, title, description).with_severity(severity)
}
